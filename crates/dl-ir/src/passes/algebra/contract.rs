//! Rules for `dot`: transposes around it become a choice of axes.

use super::{At, Rewritten, make, operand};
use crate::attrs::Attrs;
use crate::build::Builder;
use crate::op::Op;

/// A transposed operand whose remaining axes keep their order is taken as it was.
pub(super) fn simpler(b: &mut Builder, at: &At<'_>) -> Rewritten {
    if at.op != Op::Dot {
        return Ok(None);
    }
    for (arg, [batch, sum]) in [(0, ["batch_a", "sum_a"]), (1, ["batch_b", "sum_b"])] {
        let x = at.args[arg];
        let Some(source) = operand(b, x, Op::Transpose) else { continue };
        let perm = b.graph[x].attrs.get_axes("perm");
        let used = [at.attrs.get_axes(batch), at.attrs.get_axes(sum)].concat();
        let rest = (0..perm.len()).filter(|a| !used.contains(a)).map(|a| perm[a]);
        if !rest.is_sorted() {
            continue;
        }
        let renamed = at.attrs.iter().fold(Attrs::new(), |attrs, (name, value)| match [batch, sum].contains(name) {
            true => attrs.ints(name, at.attrs.get_axes(name).iter().map(|&a| perm[a] as i64).collect::<Vec<_>>()),
            false => attrs.with(name, value.clone()),
        });
        let mut args = at.args.to_vec();
        args[arg] = source;
        return make(b, Op::Dot, &args, renamed).map(Some);
    }
    Ok(None)
}

/// A transpose that puts the rest of b before the rest of a is a `dot` with its operands exchanged.
pub(super) fn swapped(b: &mut Builder, at: &At<'_>, perm: &[usize]) -> Rewritten {
    let node = &b.graph[at.args[0]];
    if node.op != Op::Dot || (at.shared)(0) {
        return Ok(None);
    }
    let axes = |name| node.attrs.get_ints(name).to_vec();
    let (batch_a, batch_b, sum_a, sum_b) = (axes("batch_a"), axes("batch_b"), axes("sum_a"), axes("sum_b"));
    let n = batch_a.len();
    let rest_a = b.rank(node.args[0]) - n - sum_a.len();
    let exchanged = (0..n).chain(n + rest_a..perm.len()).chain(n..n + rest_a);
    if !exchanged.eq(perm.iter().copied()) {
        return Ok(None);
    }
    let args = [node.args[1], node.args[0]];
    let attrs =
        Attrs::new().ints("batch_a", batch_b).ints("batch_b", batch_a).ints("sum_a", sum_b).ints("sum_b", sum_a);
    make(b, Op::Dot, &args, attrs).map(Some)
}
