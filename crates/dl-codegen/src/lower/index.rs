//! `scatter_add`: a copy, then additions at indices which are data.

use dl_ir::Graph;
use dl_ir::plan::Fused;

use super::cx::{Cx, shape};
use super::map::nest;
use super::nest::{run, split};
use super::{LowerError, LoweredKernel};
use crate::kernel::Affine;

/// The kernels of a scatter. Axes other than the scattered one are shared out and vectorised; along it the additions are
/// made in order, so that the result is always the same.
pub(super) fn lower(graph: &Graph, fused: &Fused, index: usize) -> Result<Vec<LoweredKernel>, LowerError> {
    let group = &fused.groups[index];
    let node = group.anchor.unwrap_or(group.outputs[0]);
    let n = &graph[node];
    let name = group.title(graph);
    let base = nest((graph, fused, group), &format!("{name}.base"), &shape(graph, node), |cx, at| {
        let value = cx.value_at(n.args[0], at);
        cx.store_node(node, at, value);
    })?;
    let axis = n.attrs.get_int("axis") as usize;
    let indices = shape(graph, n.args[1]);
    let vector = indices.len() - 1 != axis;
    let outer = if vector { indices.len() - 1 } else { indices.len() };
    let outer: Vec<usize> = (0..outer).filter(|&a| a != axis).collect();
    let last = if vector { indices[indices.len() - 1] } else { 1 };
    let extents: Vec<i64> = outer.iter().map(|&a| indices[a]).chain([last]).collect();
    let split = split(&extents, 2.0 * indices[axis] as f64);
    let mut cx = Cx::new(graph, fused, group, &name, split.parts);
    let add = |cx: &mut Cx<'_>, at: &[Affine]| {
        let found = cx.value_at(n.args[1], at);
        let found = cx.check(found, shape(graph, node)[axis] as u64, node);
        let update = cx.value_at(n.args[2], at);
        let mut to = at.to_vec();
        to[axis] = found.into();
        cx.add_to_node(node, &to, update, None);
    };
    run(&mut cx, &extents, split, &mut |cx, counters, start, count| {
        let mut at = vec![Affine::from(0); indices.len()];
        outer.iter().zip(counters).for_each(|(&a, c)| at[a] = c.clone());
        cx.for_(0, indices[axis], |cx, along| {
            at[axis] = along.into();
            match vector {
                false => add(cx, &at),
                true => cx.vec(count, |cx, var| {
                    at[indices.len() - 1] = start + var;
                    add(cx, &at);
                }),
            }
        });
    });
    Ok(vec![base, cx.finish()?])
}
