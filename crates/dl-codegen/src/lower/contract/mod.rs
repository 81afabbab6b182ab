//! The general affine contraction: `y[free loops] = sum over the other loops of a * b`, where each loop moves each
//! operand by a fixed stride. Products of any transposition and all convolutions come down to it.
//!
//! * [`plan`] gives the loops their roles, chooses the vector axis, the order and the blocks, and decides whether an
//!   operand is packed first and whether the sum is split.
//! * [`emit`] writes the kernels: the product, and for a split sum the kernel which adds up the chunks.
//! * [`copy`] writes kernels that rearrange and pad an operand first.
//! * [`dot`] and [`conv`] give the loops of a node.
//!
//! Everything depends on shapes alone, so results do not depend on the number of threads.

mod conv;
mod copy;
mod dot;
mod emit;
mod plan;
mod winograd;

use dl_ir::plan::{Fused, Group, View, view};
use dl_ir::{DType, Graph, NodeId, Op};

use super::cx::Cx;
use super::map::store_outputs;
use super::{LowerError, LoweredKernel};
use crate::kernel::{Access, Affine, BinOp, BufId, IndexExpr, Value};

/// The kernels of a contraction with its epilogue.
pub(super) fn lower(graph: &Graph, fused: &Fused, index: usize) -> Result<Vec<LoweredKernel>, LowerError> {
    let group = &fused.groups[index];
    let anchor = group.anchor.unwrap_or(group.outputs[0]);
    let mut writer = Writer { graph, fused, group, anchor, kernels: vec![], temps: 0 };
    match graph[anchor].op {
        Op::Conv => conv::forward(&mut writer)?,
        Op::ConvInputGrad => conv::input_grad(&mut writer)?,
        Op::ConvWeightGrad => conv::weight_grad(&mut writer)?,
        _ => dot::product(&mut writer)?,
    }
    Ok(writer.kernels)
}

/// A contraction.
#[derive(Clone, Debug)]
struct Contraction {
    /// The element type of operands and sum: F32, F64, I32 or I64.
    pub dtype: DType,
    /// The left operand.
    pub a: Operand,
    /// The right operand.
    pub b: Operand,
    /// The loops.
    pub loops: Vec<Loop>,
    /// For each axis of the result its coordinate for all loop counters 0.
    pub out: Vec<i64>,
    /// Whether free loops besides rows and columns read the same elements again (the taps of a weight gradient).
    pub again: bool,
}

/// An operand of a contraction: a buffer, and the element at which all loops start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operand {
    /// The buffer.
    pub source: Source,
    /// The element for all loop counters 0.
    pub offset: i64,
}

/// Where an operand lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The value of a node that is in memory.
    Node(NodeId),
    /// A temporary of the group: its number and length in elements.
    Temp(u32, u64),
}

/// A loop of a contraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Loop {
    /// Number of iterations.
    pub extent: u64,
    /// How far an iteration moves in the left operand, in elements.
    pub a: i64,
    /// How far it moves in the right operand.
    pub b: i64,
    /// The axis of the result along which it moves and by how much; `None` if it is summed over.
    pub out: Option<(usize, i64)>,
}

/// What the kernels of a group are written with.
struct Writer<'g> {
    graph: &'g Graph,
    fused: &'g Fused,
    group: &'g Group,
    /// The contraction.
    pub anchor: NodeId,
    kernels: Vec<LoweredKernel>,
    temps: u32,
}

impl<'g> Writer<'g> {
    /// An operand of the contraction, as a strided array.
    fn operand(&self, arg: usize) -> Result<(Operand, View), LowerError> {
        let node = self.graph[self.anchor].args[arg];
        let view = view(self.graph, self.fused, node).ok_or_else(|| LowerError {
            node: self.anchor,
            what: format!("operand {arg} is no strided view of a buffer"),
        })?;
        Ok((Operand { source: Source::Node(view.root), offset: view.offset }, view))
    }

    /// Whether copies of an operand are kept from call to call, as it changes with the parameters only.
    fn is_kept(&self, operand: Operand) -> bool {
        matches!(operand.source, Source::Node(node) if self.graph.is_kept(node))
    }

    /// A fresh temporary of `len` elements.
    pub fn temp(&mut self, len: u64) -> Source {
        self.temps += 1;
        Source::Temp(self.temps - 1, len)
    }

    /// Writes a kernel: `what` is joined to the name of the contraction.
    pub fn kernel(&mut self, what: &str, parts: u64, write: impl FnOnce(&mut Cx<'g>)) -> Result<(), LowerError> {
        let name = format!("{}_{}{what}", self.graph[self.anchor].op.name(), self.anchor.0);
        let mut cx = Cx::new(self.graph, self.fused, self.group, &name, parts);
        write(&mut cx);
        self.kernels.push(cx.finish()?);
        Ok(())
    }
}

/// Stores what the group makes of the contraction's element `acc` at `coords`.
fn store(cx: &mut Cx<'_>, anchor: NodeId, coords: &[Affine], acc: Value) {
    cx.bind(anchor, coords, acc);
    store_outputs(cx, coords);
}

/// Declares the buffer of an operand.
fn buffer(cx: &mut Cx<'_>, source: Source, dtype: DType, access: Access) -> BufId {
    match source {
        Source::Node(node) => cx.buf(node, access),
        Source::Temp(index, len) => cx.temp(index, dtype, len, access),
    }
}

/// The sum of values, in pairs.
fn sum_in_pairs(cx: &mut Cx<'_>, mut values: Vec<Value>) -> Value {
    while values.len() > 1 {
        let pair = |v: &[Value]| if let [x, y] = *v { cx.bin(BinOp::Add, x, y) } else { v[0] };
        values = values.chunks(2).map(pair).collect();
    }
    values[0]
}

/// The lesser of an index and a number.
fn at_most(cx: &mut Cx<'_>, index: Affine, limit: u64) -> Affine {
    if cx.range(&index).1 <= limit as i64 {
        return index;
    }
    cx.index(IndexExpr::Min(index, Affine::from(limit as i64))).into()
}
