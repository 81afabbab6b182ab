//! Runs whole graphs: fused, lowered, and compiled or interpreted, group by group.

use std::collections::HashMap;

use dl_codegen::Isa;
use dl_codegen::abi::Fault;
use dl_codegen::kernel::{Access, interp, verify::verify};
use dl_codegen::lower::{self, BufRef};
use dl_ir::eval::{Data, Inputs, Tensor};
use dl_ir::plan::{MemoryPlan, Slot, check, fuse, memory};
use dl_ir::{Graph, NodeId, Output, Role};

/// What runs the kernels; not every test file needs both.
#[derive(Clone, Copy)]
#[allow(dead_code)]
pub enum Machine<'a> {
    Interpreter,
    Compiled(&'a Isa),
}

/// The outputs of a bound graph, or the first fault. Values lie where the memory plan puts them, and updates are read
/// from the inputs that they replace.
pub fn run_graph(graph: &Graph, inputs: &Inputs, machine: Machine<'_>) -> Result<Vec<Tensor>, Fault> {
    let fused = fuse(graph);
    let plan = memory(graph, &fused);
    let show = || format!("{}\n{graph}", fused.show(graph, Some(&plan)));
    check(graph, &fused, &plan).unwrap_or_else(|e| panic!("{e}\n{}", show()));
    let mut storage = Storage { plan: &plan, arena: vec![0xCD; plan.arena_bytes as usize], owned: HashMap::new() };
    for input in &graph.inputs {
        storage.owned.insert(input.node, inputs[&input.name].to_bytes());
    }
    for index in 0..fused.groups.len() {
        let lowered = lower::group(graph, &fused, index).unwrap_or_else(|e| panic!("group {index}: {e}\n{}", show()));
        let mut temps: HashMap<u32, Vec<u8>> = HashMap::new();
        for l in lowered.kernels {
            verify(&l.kernel).unwrap_or_else(|e| panic!("{e}\n{}\n{}", l.kernel, show()));
            let mut content = |(i, buf): (usize, &BufRef)| {
                let b = &l.kernel.bufs[i];
                let bytes = b.len as usize * b.dtype.size();
                match buf {
                    BufRef::Node(node) => storage.bytes(*node, bytes).to_vec(),
                    BufRef::Temp { index, .. } => temps.get(index).cloned().unwrap_or_else(|| vec![0xCD; bytes]),
                    BufRef::Scratch { .. } => vec![0xCD; bytes],
                }
            };
            let mut bufs: Vec<Vec<u8>> = l.bufs.iter().enumerate().map(&mut content).collect();
            let fault = match machine {
                Machine::Interpreter => interp::run(&l.kernel, &mut bufs, 0..l.kernel.parts)
                    .unwrap_or_else(|e| panic!("{e}\n{}\n{}", l.kernel, show())),
                Machine::Compiled(isa) => crate::common::run(&l.kernel, isa, &mut bufs),
            };
            if fault.site != 0 {
                return Err(fault);
            }
            for (i, bytes) in bufs.into_iter().enumerate() {
                match l.bufs[i] {
                    _ if l.kernel.bufs[i].access == Access::Read => {}
                    BufRef::Node(node) => storage.bytes(node, bytes.len()).copy_from_slice(&bytes),
                    BufRef::Temp { index, .. } => _ = temps.insert(index, bytes),
                    BufRef::Scratch { .. } => {}
                }
            }
        }
    }
    let size = |node: NodeId| graph.ty(node).sizes().unwrap().iter().product::<usize>() * graph.ty(node).dtype.size();
    let copied: Vec<_> = plan.copies.iter().map(|&(from, to)| (to, storage.bytes(from, size(from)).to_vec())).collect();
    let mut tensor = |output: &Output| {
        let ty = graph.ty(output.node);
        let from = match &output.role {
            Role::Update(name) => graph.input(name).unwrap().node,
            _ => fused.root(output.node).unwrap(),
        };
        let bytes = match copied.iter().find(|(to, _)| *to == from && matches!(output.role, Role::Update(_))) {
            Some((_, bytes)) => bytes.clone(),
            None => storage.bytes(from, size(output.node)).to_vec(),
        };
        Tensor::from_bytes(ty.dtype, &ty.sizes().unwrap(), &bytes).unwrap()
    };
    Ok(graph.outputs.iter().map(&mut tensor).collect())
}

/// The memory of a program.
struct Storage<'a> {
    plan: &'a MemoryPlan,
    arena: Vec<u8>,
    /// Inputs and results.
    owned: HashMap<NodeId, Vec<u8>>,
}

impl Storage<'_> {
    /// The value of a node of so many bytes.
    fn bytes(&mut self, node: NodeId, size: usize) -> &mut [u8] {
        match self.plan.slots[node.index()].unwrap() {
            Slot::Input(own) | Slot::Result(own) => {
                &mut self.owned.entry(own).or_insert_with(|| vec![0xCD; size])[..size]
            }
            Slot::Arena { offset, .. } => &mut self.arena[offset as usize..offset as usize + size],
        }
    }
}

/// Whether two tensors agree: integers exactly, floats within `relative` of their size or of 1.
pub fn differs(actual: &Tensor, expected: &Tensor, relative: f64) -> Option<String> {
    if actual.ty() != expected.ty() {
        return Some(format!("{:?} instead of {:?}", actual.ty(), expected.ty()));
    }
    let tolerance = match &expected.data {
        Data::Float(_) => relative,
        Data::Int(_) => 0.0,
    };
    let pairs = actual.to_f64s().into_iter().zip(expected.to_f64s()).enumerate();
    let mut wrong = pairs.filter(|(_, (a, e))| {
        let same = a == e || (a.is_nan() && e.is_nan());
        let near = (a - e).abs() <= tolerance * e.abs().max(1.0);
        !same && !near
    });
    wrong.next().map(|(i, (a, e))| format!("element {i} is {a:e}, expected {e:e}"))
}
