//! From a bound graph to kernels: fuse, plan memory, lower each group, compile, and decide where workers must meet.

use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::Instant;

use dl_codegen::cache::{CodeCache, Unnamed};
use dl_codegen::kernel::{Access, Kernel, MAX_VECTOR_EXTENT, Stmt, walk::walk};
use dl_codegen::lower::{BufRef, LoweredKernel};
use dl_codegen::{Isa, jit, lower};
use dl_ir::plan::{Fused, MemoryPlan, Slot, check, fuse, memory};
use dl_ir::{Graph, NodeId, Role};

use crate::compilation::{Work, timed};
use crate::compile::bound_type;
use crate::error::{Error, Result};
use crate::kernels::{Kernels, Place, ResultSlot, Sizes};
use crate::memory::{ALIGN, Buffer};
use crate::options::Dump;
use crate::pool::Pool;
use crate::profile::Profile;
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
    let fused = fuse(graph);
    let plan = memory(graph, &fused);
    // Asked for now, since an arena beyond all memory has sizes that no kernel is made for.
    Buffer::check(aligned(plan.arena_bytes), &format!("the memory of `{name}`"))?;
    // Kernels trust the plan: a mistake in it would be undefined behaviour. Costs a thousandth of compiling.
    check(graph, &fused, &plan).map_err(|e| internal(&e))?;
    let mut explanation = fused.show(graph, Some(&plan));
    if target.dump.fuse {
        eprintln!("; `{name}` fused\n{explanation}");
    }
    let mut layout = Layout::new(graph, &fused, &plan);
    let mut kernels = Distinct::default();
    let (mut steps, mut once): (Vec<Draft>, Vec<Draft>) = (vec![], vec![]);
    let mut profile = target.profile.then(Profile::default);
    let arena = layout.sizes.arena;
    for group in 0..fused.groups.len() {
        let lowered = lower::group(graph, &fused, group).map_err(|e| internal(&e))?;
        // Temporary memory lives as long as its group.
        let mut temps = Temps { end: arena, places: HashMap::new() };
        let kept = layout.kept.len();
        let only = lowered.kernels.len() == 1;
        for LoweredKernel { kernel, bufs } in lowered.kernels {
            check_extents(name, &kernel)?;
            if layout.keep(&kernel, &bufs, &mut temps) {
                let places = layout.places(&bufs, &mut temps).map_err(|e| internal(&e))?;
                let draft = Draft::new(&kernel, places);
                once.push(draft.of(kernels.add(kernel)).kept());
                continue;
            }
            let places = layout.places(&bufs, &mut temps).map_err(|e| internal(&e))?;
            if let Some(profile) = &mut profile {
                let only = only || kept < layout.kept.len();
                profile.push(graph, &fused.groups[group], &kernel, only, &places);
            }
            let draft = Draft::new(&kernel, places);
            steps.push(draft.of(kernels.add(kernel)));
        }
        layout.sizes.arena = layout.sizes.arena.max(temps.end);
    }
    let kernels = kernels.list;
    dump(name, &kernels, target).map_err(|e| internal(&e))?;
    work.phases.lower += started.elapsed();
    let code = timed(&mut work.phases.compile, || target.code.compile(&kernels, &target.isa, target.pool.threads()));
    let code = Arc::new(code.map_err(|e| internal(&e))?);
    work.count(&code);
    let _ = writeln!(
        explanation,
        "{} kernels for {} in {} rounds, {:.1} KiB of scratch memory a thread",
        steps.len(),
        target.isa.level(),
        rounds(&steps).len(),
        layout.sizes.scratch as f64 / 1024.0,
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
    let kernels = |steps: Vec<Draft>, sizes| Kernels {
        alone: steps.iter().all(|step| step.parts == 1),
        rounds: rounds(&steps),
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
    let copies_made = (!once.is_empty()).then(|| {
        let reads = layout.renumber(&mut once);
        let sizes = Sizes { arena: 0, scratch: layout.sizes.scratch };
        Copies { kernels: kernels(once, sizes), reads, bytes: layout.kept.clone() }
    });
    let kernels = Kernels { results, fresh, copies, profile, ..kernels(steps, layout.sizes) };
    Ok(Assembled { kernels, copies: copies_made, explanation })
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

/// Where the temporary memory of one group lies.
struct Temps {
    end: usize,
    places: HashMap<u32, Place>,
}

/// Where values lie.
struct Layout<'a> {
    graph: &'a Graph,
    fused: &'a Fused,
    plan: &'a MemoryPlan,
    /// The outputs whose arrays kernels write: one for each value that is returned.
    fresh: Vec<NodeId>,
    /// Bytes of the temporaries that are kept from call to call: inputs behind those of the graph.
    kept: Vec<usize>,
    sizes: Sizes,
}

impl<'a> Layout<'a> {
    fn new(graph: &'a Graph, fused: &'a Fused, plan: &'a MemoryPlan) -> Layout<'a> {
        let sizes = Sizes { arena: aligned(plan.arena_bytes), scratch: 0 };
        let mut layout = Layout { graph, fused, plan, fresh: vec![], kept: vec![], sizes };
        let results = graph.outputs.iter().filter(|o| !matches!(o.role, Role::Update(_)));
        for output in results.map(|o| o.node) {
            let root = |node| fused.root(node).filter(|r| plan.slots[r.index()] == Some(Slot::Result(*r)));
            if root(output).is_some() && layout.fresh.iter().all(|&other| root(other) != root(output)) {
                layout.fresh.push(output);
            }
        }
        layout
    }

    /// Whether a kernel only makes temporaries of what does not change from call to call; these then have a place that
    /// is kept.
    fn keep(&mut self, kernel: &Kernel, bufs: &[BufRef], temps: &mut Temps) -> bool {
        let first = self.graph.inputs.len();
        let fixed = |buf: &BufRef| match buf {
            BufRef::Node(node) => self.fused.root(*node).is_some_and(|root| self.graph.is_kept(root)),
            BufRef::Temp { index, .. } => matches!(temps.places.get(index), Some(Place::Input(at)) if *at >= first),
            BufRef::Scratch { .. } => true,
        };
        let fresh = |buf: &BufRef| matches!(buf, BufRef::Temp { index, .. } if !temps.places.contains_key(index));
        let all = bufs.iter().zip(&kernel.bufs).all(|(buf, access)| match access.access {
            Access::Read | Access::Scratch => fixed(buf),
            Access::Write => fresh(buf),
            Access::ReadWrite => false,
        });
        let writes = bufs.iter().zip(&kernel.bufs).filter(|(_, b)| b.access == Access::Write).map(|(buf, _)| *buf);
        let writes: Vec<BufRef> = writes.collect();
        if !all || writes.is_empty() {
            return false;
        }
        for buf in writes {
            if let BufRef::Temp { index, bytes } = buf {
                temps.places.insert(index, Place::Input(first + self.kept.len()));
                self.kept.push(bytes as usize);
            }
        }
        true
    }

    /// Numbers the inputs of steps that copy parameters: first those of the graph that they read, which are returned,
    /// then the copies.
    fn renumber(&self, steps: &mut [Draft]) -> Vec<usize> {
        let first = self.graph.inputs.len();
        let inputs = |steps: &[Draft]| -> Vec<usize> {
            let places = steps.iter().flat_map(|step| &step.places);
            places.filter_map(|place| if let Place::Input(at) = place { Some(*at) } else { None }).collect()
        };
        let mut reads: Vec<usize> = inputs(steps).into_iter().filter(|at| *at < first).collect();
        reads.sort_unstable();
        reads.dedup();
        for place in steps.iter_mut().flat_map(|step| &mut step.places) {
            if let Place::Input(at) = place {
                *at = reads.iter().position(|read| read == at).unwrap_or(reads.len() + at.saturating_sub(first));
            }
        }
        reads
    }

    fn places(&mut self, bufs: &[BufRef], temps: &mut Temps) -> Result<Vec<Place>, String> {
        let mut scratch = 0;
        let mut places = vec![];
        for buf in bufs {
            places.push(match *buf {
                BufRef::Node(node) => self.place(node)?,
                BufRef::Temp { index, bytes } => *temps.places.entry(index).or_insert_with(|| {
                    let start = temps.end;
                    temps.end += aligned(bytes);
                    Place::Arena(start)
                }),
                BufRef::Scratch { bytes } => {
                    let start = scratch;
                    scratch += aligned(bytes);
                    Place::Scratch(start)
                }
            });
        }
        self.sizes.scratch = self.sizes.scratch.max(scratch);
        Ok(places)
    }

    /// Where the value of a node that is in memory lies.
    fn place(&self, node: NodeId) -> Result<Place, String> {
        let root = self.fused.root(node);
        match root.and_then(|root| self.plan.slots[root.index()]) {
            Some(Slot::Arena { offset, .. }) => Ok(Place::Arena(offset as usize)),
            Some(Slot::Result(_)) => {
                let index = self.fresh.iter().position(|&output| self.fused.root(output) == root);
                index.map(Place::Result).ok_or_else(|| format!("node {} is no result", node.0))
            }
            Some(Slot::Input(input)) => {
                let index = self.graph.inputs.iter().position(|i| i.node == input);
                index.map(Place::Input).ok_or_else(|| format!("node {} lies over no input", node.0))
            }
            None => Err(format!("node {} has no place", node.0)),
        }
    }

    /// The results, and the updates to copy: from, to, bytes.
    #[expect(clippy::type_complexity, reason = "two lists that are made together")]
    fn outputs(&self) -> Result<(Vec<ResultSlot>, Vec<(Place, Place, usize)>), String> {
        let typed = |node| bound_type(self.graph, node).map_err(|e| e.to_string());
        let mut results = vec![];
        for output in self.graph.outputs.iter().filter(|o| !matches!(o.role, Role::Update(_))) {
            let (dtype, shape) = typed(output.node)?;
            results.push(ResultSlot { role: output.role.clone(), dtype, shape, place: self.place(output.node)? });
        }
        let copies = self.plan.copies.iter().map(|&(from, to)| {
            let (dtype, shape) = typed(to)?;
            Ok((self.place(from)?, self.place(to)?, shape.iter().product::<usize>() * dtype.size()))
        });
        Ok((results, copies.collect::<Result<_, String>>()?))
    }
}

fn aligned(bytes: u64) -> usize {
    (bytes as usize).next_multiple_of(ALIGN)
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
