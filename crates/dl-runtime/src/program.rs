//! Programs: functions bound to sizes and compiled, and the cache that keeps them.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dl_ir::{Bindings, Class, DType, Graph, InputKind, Loc, Module, NodeId, Op, Storage};

use crate::array::AnyArray;
use crate::assemble::Target;
use crate::bind::bind;
use crate::cache::Cache;
use crate::compilation::{Compilation, Work};
use crate::compile::{Code, compile};
use crate::error::{Error, Result};
use crate::exec::{InputSlot, InputSource};
use crate::memory::{Buffer, Tensor};
use crate::optim::{CALLS, Optimizer, OptimizerState, Scalars, StateSlot};
use crate::options::Options;
use crate::params::Params;
use crate::pool::lock;
use crate::prologue::Prologue;

/// What a function is compiled for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Its results.
    Call,
    /// Its result and gradients.
    Grad,
    /// A step of training.
    Train {
        /// That of the optimizer.
        structure: String,
        /// Whether gradients are only gathered.
        gathers: bool,
    },
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Purpose::Call => f.write_str("evaluation"),
            Purpose::Grad => f.write_str("gradients"),
            Purpose::Train { structure, gathers: false } => write!(f, "training with {structure}"),
            Purpose::Train { structure, gathers: true } => write!(f, "gathering gradients for {structure}"),
        }
    }
}

/// A function bound to sizes, ready to run.
pub(crate) struct Program {
    /// The function's name.
    pub(crate) name: String,
    pub(crate) inputs: Vec<InputSlot>,
    /// Whether a run writes to the model.
    pub(crate) commits: bool,
    /// Bytes needed to stage inputs that must be copied.
    pub(crate) staging: usize,
    /// Staging memory of earlier runs.
    pub(crate) stages: Mutex<Vec<Buffer>>,
    /// The optimizer's tensors.
    pub(crate) state: Vec<StateSlot>,
    /// The bound graph after all passes.
    pub(crate) graph: Graph,
    pub(crate) code: Code,
    /// What it computes from parameters alone, if that is kept between calls.
    pub(crate) prologue: Option<Box<Prologue>>,
    pub(crate) places: Places,
    /// What was compiled, fused and planned, as text.
    pub(crate) explanation: String,
}

/// Where nodes stand in the user's source.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) file: &'static str,
    pub(crate) locs: Arc<[(u32, u32)]>,
}

impl Places {
    /// `src/net.rs:12:9`, or only the file for a node without a place.
    pub(crate) fn name(&self, loc: Loc) -> String {
        match self.locs.get(loc.0 as usize) {
            Some((line, column)) => format!("{}:{line}:{column}", self.file),
            None => self.file.to_string(),
        }
    }
}

impl Program {
    /// The numbers of step number `step`, given those that hold for all parameters; `calls` is one of each group.
    pub(crate) fn scalars(
        &self,
        optimizer: &dyn Optimizer,
        step: u64,
        calls: u64,
        whole: Vec<(&'static str, f64)>,
    ) -> Result<Scalars> {
        let mut scalars = Scalars::default();
        let insert = |scalars: &mut Scalars, group: &str, mut numbers: Vec<(&'static str, f64)>| {
            numbers.push((CALLS, calls as f64));
            scalars.insert(group.to_string(), numbers);
        };
        insert(&mut scalars, "", whole);
        for slot in &self.inputs {
            let InputSource::Scalar(key) = &slot.source else { continue };
            if !scalars.has(&key.group) {
                insert(&mut scalars, &key.group, optimizer.group_scalars(&key.group, step)?);
            }
            if scalars.get(key).is_none() {
                let problem = format!("`scalars` gives no `{}`, which its update uses", key.name);
                return Err(Error::BadOptimizer { optimizer: optimizer.name(), function: self.name.clone(), problem });
            }
        }
        Ok(scalars)
    }

    /// Makes the tensors that the optimizer keeps, or checks those it has.
    pub(crate) fn prepare(
        &self,
        optimizer: &'static str,
        state: &mut OptimizerState,
        scalars: &Scalars,
        params: &Params,
    ) -> Result<()> {
        self.state.iter().try_for_each(|slot| state.ensure(optimizer, slot, scalars, params))
    }

    /// Where the time of its runs went, if they were timed.
    fn profile(&self) -> Option<String> {
        let Code::Kernels(kernels) = &self.code else { return None };
        let table = kernels.profile.as_ref()?.show(&self.name, &kernels.steps, |loc| self.places.name(loc))?;
        Some(format!("; {}\n{table}", self.explanation.lines().next()?))
    }

    /// The values that it keeps between calls, for these parameters.
    pub(crate) fn kept(&self, params: &Params) -> Result<Arc<Vec<Tensor>>> {
        self.prologue.as_ref().map_or_else(|| Ok(Arc::default()), |prologue| prologue.values(params))
    }

    /// The error for an index out of range at a node.
    pub(crate) fn index_error(&self, node: NodeId, index: i64) -> Error {
        let Some((graph, at)) = self.graph.nested(node.index()) else {
            return Error::internal(format!("running `{}`", self.name), format!("a fault at node {}", node.0));
        };
        let at = &graph[at];
        let axis = at.attrs.get_int("axis").max(0) as usize;
        let indexed = at.args.first().map(|&arg| &graph.ty(arg).shape);
        let size = indexed.and_then(|shape| shape.get(axis)?.as_const()).unwrap_or(0);
        let location = self.places.name(at.loc);
        // What the body of a loop reads has no name of the user's.
        let named = at.args.get(1).filter(|_| std::ptr::eq(graph, &self.graph));
        let argument = named.and_then(|&arg| self.argument(arg)).unwrap_or_default();
        Error::IndexOutOfRange { function: self.name.clone(), argument, location, index, size }
    }

    /// The argument whose elements a node rearranges, also where some are replaced, as ignored labels are.
    fn argument(&self, node: NodeId) -> Option<String> {
        let at = &self.graph[node];
        match (at.op, &at.args[..]) {
            (Op::Input, _) => {
                let input = self.graph.inputs.iter().find(|i| i.node == node && i.kind == InputKind::Arg)?;
                Some(input.name.clone())
            }
            (Op::Cast, [arg, ..]) => self.argument(*arg),
            (Op::Select, [_, first, second]) => self.argument(*first).or_else(|| self.argument(*second)),
            (op, [arg, ..]) if op.class() == Class::Movement => self.argument(*arg),
            _ => None,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(profile) = self.profile() {
            eprint!("{profile}");
        }
    }
}

/// What a compilation needs to know of the model.
pub(crate) struct Context<'a> {
    pub(crate) module: &'a Module,
    /// The names of its parameters that can be trained.
    pub(crate) trainable: &'a [String],
    /// Its own dimensions.
    pub(crate) dims: &'a Bindings,
    /// How its parameters lie.
    pub(crate) storage: &'a Storage,
    pub(crate) places: &'a Places,
    pub(crate) options: &'a Options,
    /// `None` for the evaluator.
    pub(crate) target: Option<&'a Target>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    function: usize,
    purpose: Purpose,
    /// The values of the function's symbols, in the order of their names.
    sizes: Vec<i64>,
}

/// What a function was called with, and the program for that.
struct Recent {
    key: Key,
    args: Vec<(DType, Vec<usize>)>,
}

/// The compiled programs of a model.
pub(crate) struct Programs {
    born: Instant,
    cache: Cache<Key, Program>,
    /// The last call of each function.
    recent: Mutex<Vec<Option<Recent>>>,
    log: Mutex<Vec<(Key, Compilation)>>,
}

impl Programs {
    /// Keeps the `most` programs that were used last.
    pub(crate) fn new(most: usize) -> Programs {
        Programs { born: Instant::now(), cache: Cache::new(most), recent: Mutex::default(), log: Mutex::default() }
    }

    pub(crate) fn log(&self) -> Vec<Compilation> {
        lock(&self.log).iter().map(|(_, compilation)| compilation.clone()).collect()
    }

    /// The program of the last call of a function, if that was for the same purpose and with arguments of the same types:
    /// these then fit as they did, and nothing need be looked at again.
    pub(crate) fn recent(&self, function: usize, purpose: &Purpose, args: &[AnyArray<'_>]) -> Option<Arc<Program>> {
        let recent = lock(&self.recent);
        let recent = recent.get(function)?.as_ref().filter(|recent| recent.key.purpose == *purpose)?;
        let same = |(arg, (dtype, shape)): (&AnyArray<'_>, &(DType, Vec<usize>))| {
            arg.dtype() == *dtype && arg.shape() == shape.as_slice()
        };
        let all = args.len() == recent.args.len() && args.iter().zip(&recent.args).all(same);
        // Asked for by its key, it counts as used, and is not kept for longer than others.
        all.then(|| self.cache.get(&recent.key))?
    }

    /// The program of that key, compiled now if there is none. Threads that need the same one wait for it.
    pub(crate) fn get(
        &self,
        context: &Context<'_>,
        function: usize,
        purpose: Purpose,
        args: &[AnyArray<'_>],
        optimizer: Option<&dyn Optimizer>,
    ) -> Result<Arc<Program>> {
        let declared = &context.module.functions[function];
        let bindings = bind(&declared.name, &declared.graph, context.dims, args)?;
        let key = Key { function, purpose, sizes: bindings.values().copied().collect() };
        let program = self.cache.get_or_make(&key, || {
            let started = Instant::now();
            let mut work = Work::default();
            let mut program = compile(context, function, &key.purpose, &bindings, optimizer, &mut work)?;
            let dropped = lock(&self.log).iter().any(|(before, _)| *before == key);
            let reason = match dropped {
                true => format!("dropped before, as only the last {} programs are kept", context.options.programs),
                false => reason(&key, &self.cache.keys(), &bindings),
            };
            let compilation = Compilation {
                function: program.name.clone(),
                purpose: key.purpose.to_string(),
                sizes: sizes(&bindings),
                reason,
                at: started.duration_since(self.born),
                took: started.elapsed(),
                phases: work.phases,
                kernels: program.code.kernels(),
                compiled: work.compiled,
                found: work.found,
                arena: program.code.arena(),
                kept: program.prologue.as_ref().map_or(0, |prologue| prologue.bytes()),
            };
            let phases = context.target.map_or_else(String::new, |_| format!("{}\n", compilation.phases));
            program.explanation.insert_str(0, &format!("{compilation}\n{phases}"));
            if context.options.dump.compile {
                eprintln!("{compilation}");
            }
            lock(&self.log).push((key.clone(), compilation));
            Ok(program)
        })?;
        let args = args.iter().map(|arg| (arg.dtype(), arg.shape().to_vec())).collect();
        let mut recent = lock(&self.recent);
        if recent.len() <= function {
            recent.resize_with(function + 1, || None);
        }
        recent[function] = Some(Recent { key, args });
        Ok(program)
    }
}

/// `N = 64, T = 8`.
pub(crate) fn sizes(bindings: &Bindings) -> String {
    let parts: Vec<String> = bindings.iter().map(|(symbol, size)| format!("{symbol} = {size}")).collect();
    parts.join(", ")
}

/// Why a program is compiled that is like others, but not equal.
fn reason(key: &Key, others: &[Key], bindings: &Bindings) -> String {
    let same: Vec<&Key> = others.iter().filter(|other| other.function == key.function).collect();
    let alike = |other: &&&Key| std::mem::discriminant(&other.purpose) == std::mem::discriminant(&key.purpose);
    let Some(nearest) = same.iter().filter(alike).min_by_key(|other| {
        let differing = key.sizes.iter().zip(&other.sizes).filter(|(a, b)| a != b).count();
        (other.purpose != key.purpose, differing)
    }) else {
        return if same.is_empty() { "first call".into() } else { "first call for this purpose".into() };
    };
    let changed: Vec<String> = bindings
        .iter()
        .zip(&nearest.sizes)
        .filter(|((_, now), before)| now != before)
        .map(|((symbol, now), before)| format!("{symbol} is {now}, was {before}"))
        .collect();
    match (&key.purpose, &nearest.purpose) {
        (Purpose::Train { structure: now, .. }, Purpose::Train { structure: before, .. }) if now != before => {
            format!("the optimizer is {now}, was {before}")
        }
        (Purpose::Train { gathers: now, .. }, Purpose::Train { gathers: before, .. }) if now != before => match now {
            true => "gradients are gathered".into(),
            false => "gradients that were gathered make a step".into(),
        },
        _ => changed.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(purpose: Purpose, n: i64) -> Key {
        Key { function: 0, purpose, sizes: vec![n] }
    }

    #[test]
    fn every_compilation_has_a_reason() {
        let train = |s: &str| Purpose::Train { structure: s.into(), gathers: false };
        let say =
            |purpose, n, others: &[Key]| reason(&key(purpose, n), others, &Bindings::from([("N".to_string(), n)]));
        assert_eq!(say(Purpose::Call, 1, &[]), "first call");
        assert_eq!(say(Purpose::Grad, 1, &[key(Purpose::Call, 1)]), "first call for this purpose");
        assert_eq!(say(Purpose::Call, 2, &[key(Purpose::Call, 1)]), "N is 2, was 1");
        let others = [key(train("Adam"), 1), key(Purpose::Call, 2)];
        assert_eq!(say(train("Sgd"), 1, &others), "the optimizer is Sgd, was Adam");
        let gathers = Purpose::Train { structure: "Adam".into(), gathers: true };
        assert_eq!(say(gathers.clone(), 1, &others), "gradients are gathered");
        assert_eq!(say(train("Adam"), 1, &[key(gathers, 1)]), "gradients that were gathered make a step");
    }
}
