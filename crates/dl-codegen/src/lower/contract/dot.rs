//! The loops of a `dot`.

use super::emit::lower;
use super::{Contraction, Loop, Writer};
use crate::lower::LowerError;
use crate::lower::cx::shape;

/// Writes the kernels of a `dot`: result axes are batch, the rest of a, the rest of b.
pub(super) fn product(w: &mut Writer<'_>) -> Result<(), LowerError> {
    let node = &w.graph[w.anchor];
    let axes = |name| node.attrs.get_axes(name);
    let (batch_a, batch_b, sum_a, sum_b) = (axes("batch_a"), axes("batch_b"), axes("sum_a"), axes("sum_b"));
    let ((a, in_a), (b, in_b)) = (w.operand(0)?, w.operand(1)?);
    let (shape_a, shape_b) = (shape(w.graph, node.args[0]), shape(w.graph, node.args[1]));
    let mut loops = vec![];
    let free = |loops: &mut Vec<Loop>, extent: i64, a: i64, b: i64| {
        let out = loops.len();
        loops.push(Loop { extent: extent as u64, a, b, out: Some((out, 1)) });
    };
    for (&x, &y) in batch_a.iter().zip(&batch_b) {
        free(&mut loops, shape_a[x], in_a.strides[x], in_b.strides[y]);
    }
    for x in (0..shape_a.len()).filter(|x| !batch_a.contains(x) && !sum_a.contains(x)) {
        free(&mut loops, shape_a[x], in_a.strides[x], 0);
    }
    for y in (0..shape_b.len()).filter(|y| !batch_b.contains(y) && !sum_b.contains(y)) {
        free(&mut loops, shape_b[y], 0, in_b.strides[y]);
    }
    let out = vec![0; loops.len()];
    for (&x, &y) in sum_a.iter().zip(&sum_b) {
        loops.push(Loop { extent: shape_a[x] as u64, a: in_a.strides[x], b: in_b.strides[y], out: None });
    }
    let dtype = node.ty.dtype;
    lower(w, &Contraction { dtype, a, b, loops, out, again: false })
}
