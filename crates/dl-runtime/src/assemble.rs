//! From a bound graph to kernels: fuse, plan memory, lower each group, compile, and decide where workers must meet.

use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::Instant;

use dl_codegen::cache::{CodeCache, Unnamed};
use dl_codegen::kernel::{Kernel, MAX_VECTOR_EXTENT, Stmt, walk::walk};
use dl_codegen::lower::LoweredKernel;
use dl_codegen::{Isa, jit, lower};
use dl_ir::Graph;
use dl_ir::plan::{Fused, GroupKind, MemoryPlan, check, fuse, memory};

use crate::compilation::{Work, timed};
use crate::compile::bound_type;
use crate::error::{Error, Result};
use crate::kernels::{Kernels, Round, Sizes};
use crate::layout::{Layout, Spot, Temps, aligned};
use crate::loops::{Item, Section, flat, schedule};
use crate::memory::Buffer;
use crate::options::Dump;
use crate::pool::Pool;
use crate::profile::{Known, Profile};
use crate::rounds::{Draft, moving, ready, rounds};

/// What kernels are compiled for and run by.
pub(crate) struct Target {
    pub(crate) isa: Isa,
    pub(crate) pool: Arc<Pool>,
    /// Shared by the programs of a model, and with other models.
    pub(crate) code: CodeCache,
    pub(crate) flush_denormals: bool,
    pub(crate) dump: Dump,
    /// How many passes to run.
    pub(crate) passes: usize,
    /// Whether programs time their steps.
    pub(crate) profile: bool,
}

/// A compiled graph.
pub(crate) struct Assembled {
    pub(crate) kernels: Kernels,
    /// Copies of parameters in the order in which kernels read them, if any are kept.
    pub(crate) copies: Option<Copies>,
    /// What was fused and where values lie, as text.
    pub(crate) explanation: String,
}

/// Kernels that copy parameters, to be run when these have changed.
pub(crate) struct Copies {
    pub(crate) kernels: Kernels,
    /// The inputs of the graph that they read. The copies are their further inputs, and those of the graph's kernels.
    pub(crate) reads: Vec<usize>,
    /// Bytes of each copy.
    pub(crate) bytes: Vec<usize>,
}

/// Compiles a graph without symbols, after all passes on it.
pub(crate) fn assemble(name: &str, graph: &Graph, target: &Target, work: &mut Work) -> Result<Assembled> {
    let started = Instant::now();
    let internal = |what: &dyn Display| Error::internal(format!("compiling `{name}`"), what);
    let mut assembly = Assembly {
        name,
        target,
        kernels: Distinct::default(),
        sizes: Sizes::default(),
        once: vec![],
        explanation: String::new(),
    };
    let (fused, plan) = assembly.plan(graph)?;
    assembly.sizes.arena = aligned(plan.arena_bytes);
    let mut layout = Layout::new(graph, &fused, &plan);
    let mut items = vec![];
    for group in 0..fused.groups.len() {
        items.extend(assembly.group(&mut layout, group)?);
    }
    let Assembly { kernels, sizes, mut once, mut explanation, .. } = assembly;
    let (steps, known, tree) = flat(items);
    let kernels = kernels.list;
    dump(name, &kernels, target).map_err(|e| internal(&e))?;
    work.phases.lower += started.elapsed();
    let code = timed(&mut work.phases.compile, || target.code.compile(&kernels, &target.isa, target.pool.threads()));
    let code = Arc::new(code.map_err(|e| internal(&e))?);
    work.count(&code);
    let parts = rounds(&steps, &tree);
    let _ = writeln!(
        explanation,
        "{} kernels for {} in {} rounds, {:.1} KiB of scratch memory a thread",
        steps.len(),
        target.isa.level(),
        parts.len(),
        sizes.scratch as f64 / 1024.0,
    );
    let (results, copies) = layout.outputs().map_err(|e| internal(&e))?;
    let fresh = layout.fresh.iter().map(|&output| bound_type(graph, output)).collect::<Result<_>>()?;
    if !once.is_empty() {
        let bytes: usize = layout.kept.iter().sum();
        let _ = writeln!(
            explanation,
            "{} more kernels copy parameters to {:.1} KiB in the order in which they are read, when they have changed",
            once.len(),
            bytes as f64 / 1024.0
        );
    }
    let _ = writeln!(
        explanation,
        "{} of all these are distinct: {} compiled to {:.1} KiB of machine code, {} found",
        kernels.len(),
        code.compiled(),
        code.code_size() as f64 / 1024.0,
        code.found(),
    );
    let kernels = |steps: Vec<Draft>, rounds: Vec<Round>, schedule, sizes| Kernels {
        alone: steps.iter().all(|step| step.parts == 1),
        schedule,
        rounds,
        moving: moving(&steps),
        steps: ready(steps),
        results: vec![],
        fresh: vec![],
        copies: vec![],
        sizes,
        code: Arc::clone(&code),
        pool: Arc::clone(&target.pool),
        flush_denormals: target.flush_denormals,
        profile: None,
        kept: Default::default(),
    };
    let copies_made = match once.is_empty() {
        true => None,
        false => {
            let reads = layout.renumber(&mut once);
            let sizes = Sizes { arena: 0, scratch: sizes.scratch };
            let tree = [Section::Steps(0..once.len())];
            let rounds = rounds(&once, &tree);
            let schedule = schedule(name, &rounds, &tree)?;
            Some(Copies { kernels: kernels(once, rounds, schedule, sizes), reads, bytes: layout.kept.clone() })
        }
    };
    let profile = target.profile.then(|| Profile::new(known));
    let schedule = schedule(name, &parts, &tree)?;
    let kernels = Kernels { results, fresh, copies, profile, ..kernels(steps, parts, schedule, sizes) };
    Ok(Assembled { kernels, copies: copies_made, explanation })
}

/// A program while its graph, and the bodies of its loops, are taken apart.
pub(crate) struct Assembly<'a> {
    pub(crate) name: &'a str,
    target: &'a Target,
    kernels: Distinct,
    pub(crate) sizes: Sizes,
    /// Steps that copy parameters, to be run when these have changed.
    once: Vec<Draft>,
    explanation: String,
}

impl Assembly<'_> {
    pub(crate) fn internal(&self, what: impl Display) -> Error {
        Error::internal(format!("compiling `{}`", self.name), what)
    }

    /// Fuses a graph and plans its memory.
    pub(crate) fn plan(&mut self, graph: &Graph) -> Result<(Fused, MemoryPlan)> {
        let fused = fuse(graph);
        let plan = memory(graph, &fused);
        // Asked for now, since an arena beyond all memory has sizes that no kernel is made for.
        Buffer::check(aligned(plan.arena_bytes), &format!("the memory of `{}`", self.name))?;
        // Kernels trust the plan: a mistake in it would be undefined behaviour. Costs a thousandth of compiling.
        check(graph, &fused, &plan).map_err(|e| self.internal(e))?;
        let shown = fused.show(graph, Some(&plan));
        if self.target.dump.fuse {
            eprintln!("; `{}` fused\n{shown}", self.name);
        }
        self.explanation += &shown;
        Ok((fused, plan))
    }

    /// The steps of a group of a function's graph. Temporary memory lives as long as its group.
    fn group(&mut self, layout: &mut Layout<'_>, group: usize) -> Result<Vec<Item>> {
        let mut temps = Temps::from(aligned(layout.plan.arena_bytes));
        let items = match layout.fused.groups[group].kind {
            GroupKind::Loop => self.of_loop(layout, group, &mut temps, 0, layout.graph.nodes.len())?,
            _ => self.kernels_of(layout, group, &mut temps)?,
        };
        self.sizes.arena = self.sizes.arena.max(temps.end);
        Ok(items)
    }

    fn kernels_of(&mut self, layout: &mut Layout<'_>, group: usize, temps: &mut Temps) -> Result<Vec<Item>> {
        let lowered = lower::group(layout.graph, layout.fused, group).map_err(|e| self.internal(e))?;
        let kept = layout.kept.len();
        let only = lowered.kernels.len() == 1;
        let mut items = vec![];
        for LoweredKernel { kernel, bufs } in lowered.kernels {
            if layout.keep(&kernel, &bufs, temps) {
                let spots = layout.spots(&bufs, temps, &mut self.sizes.scratch).map_err(|e| self.internal(e))?;
                let draft = self.draft(kernel, spots)?;
                self.once.push(draft.kept());
                continue;
            }
            let spots = layout.spots(&bufs, temps, &mut self.sizes.scratch).map_err(|e| self.internal(e))?;
            let only = only || kept < layout.kept.len();
            let known = Known::new(layout.graph, &layout.fused.groups[group], &kernel, only, &spots);
            items.push(Item::Step(Box::new(self.draft(kernel, spots)?), Box::new(known)));
        }
        Ok(items)
    }

    /// A step that runs a kernel on buffers there.
    pub(crate) fn draft(&mut self, kernel: Kernel, spots: Vec<Spot>) -> Result<Draft> {
        check_extents(self.name, &kernel)?;
        let draft = Draft::new(&kernel, spots);
        Ok(draft.of(self.kernels.add(kernel)))
    }
}

/// Refuses sizes at which a vector loop is too long.
fn check_extents(name: &str, kernel: &Kernel) -> Result<()> {
    let mut longest = 0;
    walk(&kernel.body, &mut |stmt| {
        if let Stmt::Vec { extent, .. } = stmt {
            longest = longest.max(*extent);
        }
    });
    match longest > MAX_VECTOR_EXTENT {
        true => Err(Error::TooLarge { function: name.to_string(), iterations: longest }),
        false => Ok(()),
    }
}

/// Prints the kernels as far as asked for.
fn dump(name: &str, kernels: &[Unnamed], target: &Target) -> Result<(), dl_codegen::Error> {
    let Dump { kernel: ir, clif, asm, .. } = target.dump;
    let mut text = String::new();
    for kernel in kernels.iter().map(Unnamed::kernel).filter(|_| ir || clif || asm) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "; `{name}`, kernel `{}`", kernel.name);
        if ir {
            let _ = writeln!(text, "{kernel}");
        }
        if clif {
            let _ = writeln!(text, "{}", jit::clif(kernel, &target.isa)?);
        }
        if asm {
            let _ = writeln!(text, "{}", jit::asm(kernel, &target.isa)?);
        }
    }
    eprint!("{text}");
    Ok(())
}

/// Kernels without repetition: equal layers share their code.
#[derive(Default)]
struct Distinct {
    list: Vec<Unnamed>,
    index: HashMap<Unnamed, usize>,
}

impl Distinct {
    /// The number of a kernel that does the same as this one.
    fn add(&mut self, kernel: Kernel) -> usize {
        let kernel = Unnamed::from(kernel);
        *self.index.entry(kernel.clone()).or_insert_with(|| {
            self.list.push(kernel);
            self.list.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_kernels_are_compiled_once() {
        let kernel = |name, parts| dl_codegen::kernel::Builder::new(name, parts).finish();
        let mut distinct = Distinct::default();
        let numbers = [("a", 2), ("b", 2), ("a", 3)].map(|(name, parts)| distinct.add(kernel(name, parts)));
        assert_eq!((numbers, distinct.list.len()), ([0, 0, 1], 2));
    }

    #[test]
    fn what_is_too_little_for_two_is_left_to_the_caller() {
        let target = crate::Options { threads: 2, ..Default::default() }.target().unwrap().unwrap();
        let alone = |size: usize| {
            let text = format!("%0 = input arg \"x\" f32[{size}]\n%1 = exp %0\n%2 = exp %1\nresult %1\nresult %2\n");
            let graph = dl_ir::text::parse_graph(&text).unwrap();
            assemble("f", &graph, &target, &mut Work::default()).unwrap().kernels.alone
        };
        assert_eq!([alone(4096), alone(1 << 22)], [true, false]);
    }
}
