//! From a bound graph to kernels: fuse, plan memory, lower each group, compile, and decide where workers must meet.

use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::Instant;

use dl_codegen::kernel::{Access, Kernel, MAX_VECTOR_EXTENT, Stmt, walk::walk};
use dl_codegen::lower::{BufRef, LoweredKernel};
use dl_codegen::{Isa, jit, lower};
use dl_ir::plan::{Fused, MemoryPlan, Slot, check, fuse, memory};
use dl_ir::{Graph, NodeId, Role};

use crate::compile::bound_type;
use crate::error::{Error, Result};
use crate::kernels::{Kernels, Place, ResultSlot, Sizes, Step};
use crate::memory::{ALIGN, Buffer};
use crate::options::Dump;
use crate::pool::Pool;
use crate::profile::Profile;

/// What kernels are compiled for and run by.
pub(crate) struct Target {
    pub(crate) isa: Isa,
    pub(crate) pool: Arc<Pool>,
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
pub(crate) fn assemble(name: &str, graph: &Graph, target: &Target) -> Result<Assembled> {
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
                once.push(Draft { code: kernels.add(kernel), commits: false, ..draft });
                continue;
            }
            let places = layout.places(&bufs, &mut temps).map_err(|e| internal(&e))?;
            if let Some(profile) = &mut profile {
                let only = only || kept < layout.kept.len();
                profile.push(graph, &fused.groups[group], &kernel, only, &places);
            }
            let draft = Draft::new(&kernel, places);
            steps.push(Draft { code: kernels.add(kernel), ..draft });
        }
        layout.sizes.arena = layout.sizes.arena.max(temps.end);
    }
    let kernels = kernels.list;
    dump(name, &kernels, target).map_err(|e| internal(&e))?;
    let started = Instant::now();
    let library = jit::Library::compile(&kernels, &target.isa, target.pool.threads()).map_err(|e| internal(&e))?;
    let library = Arc::new(library);
    let barriers = barriers(&steps);
    let _ = writeln!(
        explanation,
        "{} kernels for {}, {} of them distinct, {} barriers, {:.1} KiB of machine code made in {:.1} ms, {:.1} KiB of scratch memory a thread",
        steps.len(),
        target.isa.level(),
        kernels.len(),
        barriers.iter().filter(|&&meet| meet).count(),
        library.code_size() as f64 / 1024.0,
        started.elapsed().as_secs_f64() * 1e3,
        layout.sizes.scratch as f64 / 1024.0,
    );
    let first_commit = steps.iter().position(|step| step.commits).unwrap_or(steps.len());
    let late_checks = steps[first_commit..].iter().any(|step| step.checks);
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
    let ready = |steps: Vec<Draft>, barriers: Vec<bool>| {
        let steps = steps.into_iter().zip(barriers);
        steps.map(|(Draft { code, parts, places: buffers, commits, .. }, barrier)| Step {
            code,
            parts,
            buffers,
            barrier,
            commits,
        })
    };
    let copies_made = (!once.is_empty()).then(|| {
        let reads = layout.renumber(&mut once);
        let barriers = self::barriers(&once);
        let kernels = Kernels {
            steps: ready(once, barriers).collect(),
            results: vec![],
            fresh: vec![],
            copies: vec![],
            sizes: Sizes { arena: 0, scratch: layout.sizes.scratch },
            late_checks: false,
            library: Arc::clone(&library),
            pool: Arc::clone(&target.pool),
            flush_denormals: target.flush_denormals,
            profile: None,
            kept: Default::default(),
        };
        Copies { kernels, reads, bytes: layout.kept.clone() }
    });
    let kernels = Kernels {
        steps: ready(steps, barriers).collect(),
        results,
        fresh,
        copies,
        sizes: layout.sizes,
        late_checks,
        library,
        pool: Arc::clone(&target.pool),
        flush_denormals: target.flush_denormals,
        profile,
        kept: Default::default(),
    };
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
fn dump(name: &str, kernels: &[Kernel], target: &Target) -> Result<(), dl_codegen::Error> {
    let Dump { kernel: ir, clif, asm, .. } = target.dump;
    let mut text = String::new();
    for kernel in kernels.iter().filter(|_| ir || clif || asm) {
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
    list: Vec<Kernel>,
    index: HashMap<Kernel, usize>,
}

impl Distinct {
    /// The number of a kernel that does the same as this one.
    fn add(&mut self, kernel: Kernel) -> usize {
        let nameless = Kernel { name: String::new(), ..kernel.clone() };
        *self.index.entry(nameless).or_insert_with(|| {
            self.list.push(kernel);
            self.list.len() - 1
        })
    }
}

/// A step before it is compiled.
struct Draft {
    /// The number of its kernel among the distinct ones.
    code: usize,
    parts: usize,
    places: Vec<Place>,
    /// What it reads and writes of the memory that workers share.
    touches: Vec<Touch>,
    /// Whether it writes to an input of the graph: to the model or the optimizer.
    commits: bool,
    /// Whether it checks indices.
    checks: bool,
}

/// A use of shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Touch {
    /// What it lies in, with an offset of 0.
    region: Place,
    /// The bytes from `start` to `end`.
    start: usize,
    end: usize,
    writes: bool,
}

impl Draft {
    fn new(kernel: &Kernel, places: Vec<Place>) -> Draft {
        let touches: Vec<Touch> = places
            .iter()
            .zip(&kernel.bufs)
            .filter_map(|(place, buf)| {
                let (region, start) = match *place {
                    Place::Arena(start) => (Place::Arena(0), start),
                    Place::Input(_) | Place::Result(_) => (*place, 0),
                    Place::Scratch(_) => return None,
                };
                let end = start + buf.len as usize * buf.dtype.size();
                Some(Touch { region, start, end, writes: buf.access != Access::Read })
            })
            .collect();
        Draft {
            code: 0,
            parts: kernel.parts as usize,
            places,
            commits: touches.iter().any(|touch| touch.writes && matches!(touch.region, Place::Input(_))),
            touches,
            checks: has_check(&kernel.body),
        }
    }

    /// Whether one of the two writes what the other reads or writes.
    fn conflicts(&self, other: &Draft) -> bool {
        let meet =
            |a: &Touch, b: &Touch| (a.writes || b.writes) && a.region == b.region && a.start < b.end && b.start < a.end;
        self.touches.iter().any(|a| other.touches.iter().any(|b| meet(a, b)))
    }
}

fn has_check(body: &[Stmt]) -> bool {
    body.iter().any(|stmt| match stmt {
        Stmt::Check { .. } => true,
        Stmt::For { body, .. } | Stmt::Vec { body, .. } | Stmt::If { body, .. } => has_check(body),
        _ => false,
    })
}

/// Before which steps all workers meet: those that conflict with one since the last barrier. Two steps of one part each
/// need none, as both are run by the same worker.
fn barriers(steps: &[Draft]) -> Vec<bool> {
    let mut since = 0;
    let needs = |(at, step): (usize, &Draft)| {
        let open = &steps[since..at];
        let needed = open.iter().any(|before| (before.parts > 1 || step.parts > 1) && before.conflicts(step));
        if needed {
            since = at;
        }
        needed
    };
    steps.iter().enumerate().map(needs).collect()
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

    fn step(parts: usize, reads: &[usize], writes: &[usize]) -> Draft {
        let touch = |&start: &usize, writes| Touch { region: Place::Arena(0), start, end: start + 8, writes };
        let touches = reads.iter().map(|at| touch(at, false)).chain(writes.iter().map(|at| touch(at, true)));
        Draft { code: 0, parts, places: vec![], touches: touches.collect(), commits: false, checks: false }
    }

    #[test]
    fn workers_meet_only_where_a_step_depends_on_another_workers() {
        let write_then_read = [step(4, &[], &[0]), step(4, &[0], &[8])];
        assert_eq!(barriers(&write_then_read), [false, true]);
        let read_then_overwrite = [step(4, &[0], &[8]), step(4, &[], &[0])];
        assert_eq!(barriers(&read_then_overwrite), [false, true]);
        let apart = [step(4, &[0], &[8]), step(4, &[0], &[16]), step(4, &[8], &[24])];
        assert_eq!(barriers(&apart), [false, false, true]);
        let alone = [step(1, &[], &[0]), step(1, &[0], &[8]), step(2, &[8], &[16])];
        assert_eq!(barriers(&alone), [false, false, true]);
        let overlapping = [step(2, &[], &[0]), step(2, &[4], &[32])];
        assert_eq!(barriers(&overlapping), [false, true], "ranges that overlap in part");
        let after_a_barrier = [step(2, &[], &[0]), step(2, &[0], &[8]), step(2, &[0], &[16])];
        assert_eq!(barriers(&after_a_barrier), [false, true, false]);
    }

    #[test]
    fn equal_kernels_are_compiled_once() {
        let kernel = |name, parts| dl_codegen::kernel::Builder::new(name, parts).finish();
        let mut distinct = Distinct::default();
        let numbers = [("a", 2), ("b", 2), ("a", 3)].map(|(name, parts)| distinct.add(kernel(name, parts)));
        assert_eq!((numbers, distinct.list.len()), ([0, 0, 1], 2));
    }

    #[test]
    fn inputs_are_apart_from_the_arena_and_each_other() {
        let touch = |region, writes| Touch { region, start: 0, end: 8, writes };
        let draft = |touches| Draft { touches, ..step(2, &[], &[]) };
        let write = |region| draft(vec![touch(region, true)]);
        let all = [Place::Arena(0), Place::Input(0), Place::Input(1), Place::Result(0), Place::Result(1)];
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
            assert_eq!(write(a).conflicts(&write(b)), a == b, "{a:?} {b:?}");
        }
        assert!(write(Place::Input(0)).conflicts(&draft(vec![touch(Place::Input(0), false)])));
    }
}
