//! `arg_sort`: each row by a library function.

use dl_ir::Graph;
use dl_ir::plan::Fused;

use super::cx::{Cx, shape};
use super::nest::{run, split};
use super::{LowerError, LoweredKernel};
use crate::kernel::{Access, Place, Stmt};

/// The kernel of a sort: rows are shared out, and each is sorted by one thread.
pub(super) fn lower(graph: &Graph, fused: &Fused, index: usize) -> Result<Vec<LoweredKernel>, LowerError> {
    let group = &fused.groups[index];
    let node = group.anchor.unwrap_or(group.outputs[0]);
    let (domain, operand) = (shape(graph, node), graph[node].args[0]);
    let len = domain.last().copied().unwrap_or(1);
    let rows = domain.iter().product::<i64>() / len;
    // A comparison takes some nanoseconds; the loop of one iteration keeps single rows apart.
    let (extents, ns) = ([rows, 1], 3.0 * len as f64 * (len as f64 + 1.0).log2());
    let split = split(&extents, ns);
    let mut cx = Cx::new(graph, fused, group, &group.title(graph), split.parts);
    let (from, to) = (cx.buf(operand, Access::Read), cx.output_buf(node, Access::Write));
    let descending = graph[node].attrs.get_word("order") == "descending";
    run(&mut cx, &extents, split, &mut |cx, counters, _, _| {
        let at = counters[0].clone() * len;
        let (from, to) = (Place { buf: from, at: at.clone() }, Place { buf: to, at });
        cx.push(Stmt::Sort { from, to, len: len as u64, descending });
    });
    Ok(vec![cx.finish()?])
}
