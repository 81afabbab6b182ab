//! Elementwise groups: every element of the outputs by itself.

use dl_ir::Graph;
use dl_ir::plan::{Fused, Group};

use super::cx::Cx;
use super::nest::{Block, Loop, coords, probe, run, split};
use super::{LowerError, LoweredKernel};
use crate::kernel::Affine;

/// The kernel of a map.
pub(super) fn lower(graph: &Graph, fused: &Fused, index: usize) -> Result<Vec<LoweredKernel>, LowerError> {
    let group = &fused.groups[index];
    let name = group.title(graph);
    if let Some(list) = group.anchor {
        return Ok(vec![constants(Cx::new(graph, fused, group, &name, 1), list)?]);
    }
    let Some(&first) = group.outputs.first() else { return Ok(vec![]) };
    let domain = super::cx::shape(graph, first);
    Ok(vec![nest((graph, fused, group), &name, &domain, |cx, coords| store_outputs(cx, coords))?])
}

/// Stores all outputs of the group at `coords`: all values before the first store, as an output may lie over an input.
pub(super) fn store_outputs(cx: &mut Cx<'_>, coords: &[Affine]) {
    let outputs = &cx.group.outputs;
    let values: Vec<_> = outputs.iter().map(|&o| cx.value_at(o, coords)).collect();
    for (&output, value) in outputs.iter().zip(values) {
        cx.store_node(output, coords, value);
    }
}

/// A kernel that runs `body` for every element of `domain`, in any order.
pub(super) fn nest<'g>(
    source: (&'g Graph, &'g Fused, &'g Group),
    name: &str,
    domain: &[i64],
    body: impl Fn(&mut Cx<'g>, &[Affine]),
) -> Result<LoweredKernel, LowerError> {
    let probe = probe(source, domain, &body)?;
    let mut loops = probe.loops(|_| true);
    if let Some(vector) = probe.best_vector(&loops) {
        let vector = loops.remove(vector);
        loops.push(vector);
    }
    let mut extents: Vec<i64> = loops.iter().map(|l: &Loop| l.extent).collect();
    let block = probe.turned(&loops);
    if let Some(Block { of, size }) = block {
        extents[of] /= size;
        extents.insert(loops.len() - 1, size);
    }
    let split = split(&extents, probe.ns);
    let mut cx = Cx::new(source.0, source.1, source.2, name, split.parts);
    run(&mut cx, &extents, split, &mut |cx, outer, start, count| {
        if loops.is_empty() {
            let at = vec![Affine::from(0); domain.len()];
            return body(cx, &at);
        }
        let mut outer = outer.to_vec();
        if let (Some(Block { of, size }), Some(within)) = (block, block.and_then(|_| outer.pop())) {
            outer[of] = outer[of].clone() * size + within;
        }
        cx.vec(count, |cx, var| {
            let counters = [&outer[..], &[start + var]].concat();
            let at = coords(cx, domain.len(), &loops, &counters);
            body(cx, &at);
        });
    });
    cx.finish()
}

/// Stores the elements of a constant list one by one.
fn constants(mut cx: Cx<'_>, list: dl_ir::NodeId) -> Result<LoweredKernel, LowerError> {
    let graph = cx.graph;
    for (i, value) in graph[list].attrs.get_scalars("values").iter().enumerate() {
        let value = cx.literal(graph.ty(list).dtype, *value);
        cx.store_node(list, &[Affine::from(i as i64)], value);
    }
    cx.finish()
}
