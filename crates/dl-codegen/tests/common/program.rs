//! Runs whole graphs: fused, lowered, and compiled or interpreted, group by group.

use std::collections::HashMap;

use dl_codegen::Isa;
use dl_codegen::abi::Fault;
use dl_codegen::kernel::{Access, interp, verify::verify};
use dl_codegen::lower::{self, BufRef};
use dl_ir::eval::{Data, Inputs, Tensor};
use dl_ir::plan::{check, fuse, memory};
use dl_ir::{Graph, NodeId};

/// What runs the kernels.
#[derive(Clone, Copy)]
pub enum Machine<'a> {
    Interpreter,
    Compiled(&'a Isa),
}

/// The outputs of a bound graph, or the first fault.
pub fn run_graph(graph: &Graph, inputs: &Inputs, machine: Machine<'_>) -> Result<Vec<Tensor>, Fault> {
    let fused = fuse(graph);
    let plan = memory(graph, &fused);
    check(graph, &fused, &plan).unwrap_or_else(|e| panic!("{e}\n{}", fused.show(graph, Some(&plan))));
    let mut memory: HashMap<NodeId, Vec<u8>> = HashMap::new();
    for input in &graph.inputs {
        memory.insert(input.node, inputs[&input.name].to_bytes());
    }
    for (index, group) in fused.groups.iter().enumerate() {
        let lowered = lower::group(graph, &fused, index)
            .unwrap_or_else(|e| panic!("{e}\n{}\n{graph}", fused.show(graph, Some(&plan))));
        let mut temps: HashMap<u32, Vec<u8>> = HashMap::new();
        for l in lowered.kernels {
            verify(&l.kernel).unwrap_or_else(|e| panic!("{e}\n{}\n{graph}", l.kernel));
            let content = |(i, buf): (usize, &BufRef)| {
                let b = &l.kernel.bufs[i];
                let blank = || vec![0xCD; b.len as usize * b.dtype.size()];
                match buf {
                    BufRef::Node(node) => memory.get(node).cloned().unwrap_or_else(blank),
                    BufRef::Temp { index, .. } => temps.get(index).cloned().unwrap_or_else(blank),
                    BufRef::Scratch { .. } => blank(),
                }
            };
            let mut bufs: Vec<Vec<u8>> = l.bufs.iter().enumerate().map(content).collect();
            let fault = match machine {
                Machine::Interpreter => interp::run(&l.kernel, &mut bufs, 0..l.kernel.parts)
                    .unwrap_or_else(|e| panic!("{e}\n{}\n{graph}", l.kernel)),
                Machine::Compiled(isa) => crate::common::run(&l.kernel, isa, &mut bufs),
            };
            if fault.site != 0 {
                return Err(fault);
            }
            for (i, bytes) in bufs.into_iter().enumerate() {
                if l.kernel.bufs[i].access == Access::Read {
                    continue;
                }
                match l.bufs[i] {
                    BufRef::Node(node) => _ = memory.insert(node, bytes),
                    BufRef::Temp { index, .. } => _ = temps.insert(index, bytes),
                    BufRef::Scratch { .. } => {}
                }
            }
        }
        assert!(group.outputs.iter().all(|o| memory.contains_key(o)), "group {index} did not store its outputs");
    }
    let tensor = |node: NodeId| {
        let (ty, root) = (graph.ty(node), fused.root(node).unwrap());
        Tensor::from_bytes(ty.dtype, &ty.sizes().unwrap(), &memory[&root]).unwrap()
    };
    Ok(graph.outputs.iter().map(|o| tensor(o.node)).collect())
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
