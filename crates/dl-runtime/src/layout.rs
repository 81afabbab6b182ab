//! Where the values of a graph lie: the graph of a function, or the body of a loop within the memory of the graph around it.

use std::collections::HashMap;

use dl_codegen::kernel::{Access, Kernel};
use dl_codegen::lower::BufRef;
use dl_ir::plan::{Fused, MemoryPlan, Slot};
use dl_ir::{Graph, NodeId, Op, Role};

use crate::compile::bound_type;
use crate::kernels::{Place, ResultSlot};
use crate::memory::ALIGN;
use crate::rounds::Draft;

pub(crate) use dl_ir::scan::DEPTH;

/// Where a buffer lies, in each iteration of the loops around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) place: Place,
    /// Bytes from there in the first iteration.
    pub(crate) offset: isize,
    /// Bytes that it moves by with each iteration of each loop, from the outermost on.
    pub(crate) moves: [isize; DEPTH],
    /// All bytes from the place on that it moves over; 0 if it stays.
    pub(crate) span: usize,
}

impl Spot {
    /// One that stays.
    pub(crate) fn at(place: Place) -> Spot {
        Spot { place, offset: 0, moves: [0; DEPTH], span: 0 }
    }

    /// The slices, each of so many bytes, of what lies here: those of a loop's iterations, from the last one on if
    /// `reverse`.
    pub(crate) fn slices(self, bytes: usize, count: usize, depth: usize, reverse: bool) -> Spot {
        let mut spot = self;
        spot.moves[depth] = if reverse { -(bytes as isize) } else { bytes as isize };
        if reverse {
            spot.offset += (bytes * (count - 1)) as isize;
        }
        spot.span = spot.span.max(bytes * count);
        spot
    }

    /// Whether it moves or lies behind its place.
    pub(crate) fn slides(&self) -> bool {
        self.offset != 0 || self.moves != [0; DEPTH]
    }
}

/// Where the temporary memory of one group lies.
pub(crate) struct Temps {
    pub(crate) end: usize,
    pub(crate) places: HashMap<u32, Place>,
}

impl Temps {
    pub(crate) fn from(end: usize) -> Temps {
        Temps { end, places: HashMap::new() }
    }

    /// Memory in the arena.
    pub(crate) fn take(&mut self, bytes: usize) -> Place {
        let start = self.end;
        self.end += bytes.next_multiple_of(ALIGN);
        Place::Arena(start)
    }
}

/// Where values lie.
pub(crate) struct Layout<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) fused: &'a Fused,
    pub(crate) plan: &'a MemoryPlan,
    /// Where its inputs lie.
    inputs: Vec<Spot>,
    /// The outputs whose arrays kernels write: one for each value that is returned.
    pub(crate) fresh: Vec<NodeId>,
    /// Where these lie.
    results: Vec<Spot>,
    /// Where its part of the arena begins.
    arena: usize,
    /// Bytes of the temporaries that are kept from call to call: inputs behind those of the graph.
    pub(crate) kept: Vec<usize>,
}

impl<'a> Layout<'a> {
    /// That of a function: inputs and results lie where the caller has them.
    pub(crate) fn new(graph: &'a Graph, fused: &'a Fused, plan: &'a MemoryPlan) -> Layout<'a> {
        let inputs = (0..graph.inputs.len()).map(|at| Spot::at(Place::Input(at))).collect();
        let mut layout = Layout::within(graph, fused, plan, inputs, vec![], 0);
        layout.results = (0..layout.fresh.len()).map(|at| Spot::at(Place::Result(at))).collect();
        layout
    }

    /// That of a loop's body, whose inputs and results lie in the memory of the graph around it.
    pub(crate) fn within(
        graph: &'a Graph,
        fused: &'a Fused,
        plan: &'a MemoryPlan,
        inputs: Vec<Spot>,
        results: Vec<Spot>,
        arena: usize,
    ) -> Layout<'a> {
        let mut layout = Layout { graph, fused, plan, inputs, fresh: vec![], results, arena, kept: vec![] };
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
    pub(crate) fn keep(&mut self, kernel: &Kernel, bufs: &[BufRef], temps: &mut Temps) -> bool {
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
    pub(crate) fn renumber(&self, steps: &mut [Draft]) -> Vec<usize> {
        let first = self.graph.inputs.len();
        let inputs = |steps: &[Draft]| -> Vec<usize> {
            let places = steps.iter().flat_map(|step| &step.spots).map(|spot| spot.place);
            places.filter_map(|place| if let Place::Input(at) = place { Some(at) } else { None }).collect()
        };
        let mut reads: Vec<usize> = inputs(steps).into_iter().filter(|at| *at < first).collect();
        reads.sort_unstable();
        reads.dedup();
        for spot in steps.iter_mut().flat_map(|step| &mut step.spots) {
            if let Place::Input(at) = &mut spot.place {
                *at = reads.iter().position(|read| read == at).unwrap_or(reads.len() + at.saturating_sub(first));
            }
        }
        reads
    }

    /// Where the buffers of a kernel lie; `scratch` grows to what it needs of a worker's own memory.
    pub(crate) fn spots(&self, bufs: &[BufRef], temps: &mut Temps, scratch: &mut usize) -> Result<Vec<Spot>, String> {
        let mut own = 0;
        let mut spots = vec![];
        for buf in bufs {
            spots.push(match *buf {
                BufRef::Node(node) => self.spot(node)?,
                BufRef::Temp { index, bytes } => Spot::at(match temps.places.get(&index) {
                    Some(&place) => place,
                    None => {
                        let place = temps.take(bytes as usize);
                        temps.places.insert(index, place);
                        place
                    }
                }),
                BufRef::Scratch { bytes } => {
                    let start = own;
                    own += aligned(bytes);
                    Spot::at(Place::Scratch(start))
                }
            });
        }
        *scratch = (*scratch).max(own);
        Ok(spots)
    }

    /// Where the value of a node that is in memory lies.
    pub(crate) fn spot(&self, node: NodeId) -> Result<Spot, String> {
        // An input that no group reads has no home, but an update may be copied to it.
        let root = if self.graph[node].op == Op::Input { Some(node) } else { self.fused.root(node) };
        match root.and_then(|root| self.plan.slots[root.index()]) {
            Some(Slot::Arena { offset, .. }) => Ok(Spot::at(Place::Arena(self.arena + offset as usize))),
            Some(Slot::Result(_)) => {
                let index = self.fresh.iter().position(|&output| self.fused.root(output) == root);
                let spot = index.and_then(|index| self.results.get(index).copied());
                spot.ok_or_else(|| format!("node {} is no result", node.0))
            }
            Some(Slot::Input(input)) => {
                let index = self.graph.inputs.iter().position(|i| i.node == input);
                let spot = index.and_then(|index| self.inputs.get(index).copied());
                spot.ok_or_else(|| format!("node {} lies over no input", node.0))
            }
            None => Err(format!("node {} has no place", node.0)),
        }
    }

    /// Where the value of a node of a function's graph lies.
    fn place(&self, node: NodeId) -> Result<Place, String> {
        self.spot(node).map(|spot| spot.place)
    }

    /// The results, and the updates to copy: from, to, bytes.
    #[expect(clippy::type_complexity, reason = "two lists that are made together")]
    pub(crate) fn outputs(&self) -> Result<(Vec<ResultSlot>, Vec<(Place, Place, usize)>), String> {
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

pub(crate) fn aligned(bytes: u64) -> usize {
    (bytes as usize).next_multiple_of(ALIGN)
}
