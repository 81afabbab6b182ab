//! Row groups: full-domain nodes and reductions over the trailing axes, row by row.
//!
//! Each row runs in phases: a phase folds the reductions whose operands need only results of earlier phases; the last
//! phase stores the outputs. Dear values that several phases need are kept in a scratch row.

use std::collections::BTreeSet;

use dl_ir::plan::{Fused, Group, is_dear};
use dl_ir::{Class, Graph, NodeId};

use super::cx::{Cx, shape};
use super::nest::{probe, run, split};
use super::reduce::{reduce_op, reduced};
use super::{LowerError, LoweredKernel};
use crate::kernel::{Affine, Value};

/// The kernel of a row group.
pub(super) fn lower(graph: &Graph, fused: &Fused, index: usize) -> Result<Vec<LoweredKernel>, LowerError> {
    let group = &fused.groups[index];
    let rows = Rows::new(graph, group);
    let ns = rows.cost(graph, fused)?;
    let length: i64 = rows.domain[rows.kept..].iter().product();
    let extents = [rows.domain[..rows.kept].iter().product(), 1];
    let split = split(&extents, ns * length as f64 * rows.phases.len() as f64);
    let mut cx = Cx::new(graph, fused, group, &group.title(graph), split.parts);
    run(&mut cx, &extents, split, &mut |cx, outer, _, _| rows.row(cx, &outer[0], length));
    Ok(vec![cx.finish()?])
}

struct Rows<'g> {
    graph: &'g Graph,
    group: &'g Group,
    domain: Vec<i64>,
    /// How many leading axes number the rows.
    kept: usize,
    /// The reductions of each phase.
    phases: Vec<Vec<NodeId>>,
    /// What the last phase stores for each element.
    full: Vec<NodeId>,
    /// What is stored once a row.
    single: Vec<NodeId>,
    /// Dear nodes which more than one phase needs.
    spilled: BTreeSet<NodeId>,
}

impl<'g> Rows<'g> {
    fn new(graph: &'g Graph, group: &'g Group) -> Rows<'g> {
        let reductions: Vec<NodeId> =
            group.nodes.iter().copied().filter(|&n| graph[n].op.class() == Class::Reduce).collect();
        let domain = shape(graph, graph[reductions[0]].args[0]);
        let kept = reduced(graph, reductions[0], domain.len()).iter().filter(|r| !**r).count();
        let (full, single) = group.outputs.iter().partition(|&&o| shape(graph, o) == domain);
        let mut rows = Rows { graph, group, domain, kept, phases: vec![], full, single, spilled: BTreeSet::new() };
        let mut depth = vec![0; graph.nodes.len()];
        for &node in &group.nodes {
            let below = |a: &NodeId| depth[a.index()] + usize::from(graph[*a].op.class() == Class::Reduce);
            let inside = graph[node].args.iter().filter(|a| group.nodes.binary_search(a).is_ok());
            depth[node.index()] = inside.map(below).max().unwrap_or(0);
        }
        for &r in &reductions {
            let phase = depth[r.index()];
            rows.phases.resize_with(rows.phases.len().max(phase + 1), Vec::new);
            rows.phases[phase].push(r);
        }
        let needs: Vec<BTreeSet<NodeId>> =
            (0..=rows.phases.len()).map(|phase| rows.needed(&rows.roots(phase), &BTreeSet::new())).collect();
        let dear = group.nodes.iter().filter(|&&n| is_dear(graph, n) && shape(graph, n) == rows.domain);
        rows.spilled = dear.filter(|n| needs.iter().filter(|need| need.contains(n)).count() > 1).copied().collect();
        rows
    }

    /// The nodes whose elements a phase needs.
    fn roots(&self, phase: usize) -> Vec<NodeId> {
        match self.phases.get(phase) {
            Some(reductions) => reductions.iter().map(|&r| self.graph[r].args[0]).collect(),
            None => [&self.full[..], &self.single].concat(),
        }
    }

    /// The nodes of the group from which `roots` are computed, short of reductions and of what has been `stored`.
    fn needed(&self, roots: &[NodeId], stored: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let mut found = BTreeSet::new();
        let mut open = roots.to_vec();
        while let Some(node) = open.pop() {
            let computed = self.group.nodes.binary_search(&node).is_ok() && !stored.contains(&node);
            if computed && self.graph[node].op.class() != Class::Reduce && found.insert(node) {
                open.extend(&self.graph[node].args);
            }
        }
        found
    }

    /// Roughly the nanoseconds of one element in one phase.
    fn cost(&self, graph: &'g Graph, fused: &'g Fused) -> Result<f64, LowerError> {
        let probe = probe((graph, fused, self.group), &self.domain, |cx, at| {
            for &r in self.phases.iter().flatten() {
                let zero = cx.zero(graph.ty(r).dtype);
                cx.bind(r, &at[..self.kept], zero);
            }
            for root in (0..=self.phases.len()).flat_map(|phase| self.roots(phase)) {
                let at = if shape(graph, root) == self.domain { at } else { &at[..self.kept] };
                let value = cx.value_at(root, at);
                let buf = cx.scratch(graph.ty(root).dtype, 1);
                cx.store(buf, 0, value);
            }
        })?;
        Ok(probe.ns / self.phases.len() as f64)
    }

    /// The coordinates on axes of these sizes of element number `at` in row-major order.
    fn taken_apart(cx: &mut Cx<'g>, sizes: &[i64], at: Affine) -> Vec<Affine> {
        let mut coords = vec![Affine::from(0); sizes.len()];
        let mut rest = at;
        let outermost = sizes.iter().position(|&size| size != 1);
        for axis in (0..sizes.len()).rev().filter(|&axis| sizes[axis] != 1) {
            if Some(axis) == outermost {
                coords[axis] = rest.clone();
            } else {
                (rest, coords[axis]) = cx.div_mod(&rest, sizes[axis]);
            }
        }
        coords
    }

    fn row(&self, cx: &mut Cx<'g>, row: &Affine, length: i64) {
        cx.forget_places();
        let (outer, inner) = self.domain.split_at(self.kept);
        let row = Self::taken_apart(cx, outer, row.clone());
        let only: Vec<(usize, Affine)> =
            (0..self.kept).filter(|&a| outer[a] != 1).map(|a| (a, row[a].clone())).collect();
        let mut strides = vec![0; self.domain.len()];
        let mut stride = 1;
        for axis in (self.kept..self.domain.len()).rev() {
            strides[axis] = stride;
            stride *= self.domain[axis];
        }
        let mut stored = BTreeSet::new();
        for (phase, reductions) in self.phases.iter().enumerate() {
            let needed = self.needed(&self.roots(phase), &stored);
            let spills: Vec<_> = needed.intersection(&self.spilled).copied().collect();
            let bufs: Vec<_> = spills.iter().map(|&n| cx.scratch(self.graph.ty(n).dtype, length as u64)).collect();
            let values = cx.vec_reduce(length as u64, |cx, var| {
                let at = [&row[..], &Self::taken_apart(cx, inner, var.into())].concat();
                for (&node, &buf) in spills.iter().zip(&bufs) {
                    let value = cx.value_at(node, &at);
                    cx.store(buf, var, value);
                }
                let fold = |&r: &NodeId| (reduce_op(self.graph[r].op), cx.value_at(self.graph[r].args[0], &at));
                reductions.iter().map(fold).collect()
            });
            for (&r, value) in reductions.iter().zip(values) {
                let value = cx.wrap(self.graph.ty(r).dtype, value);
                cx.bind(r, &row, value);
            }
            for (&node, &buf) in spills.iter().zip(&bufs) {
                cx.place(node, buf, (0.into(), strides.clone()), only.clone());
            }
            stored.extend(spills);
        }
        for &node in &self.single {
            let value = cx.value_at(node, &row);
            cx.store_node(node, &row, value);
        }
        if self.full.is_empty() {
            return;
        }
        cx.vec(length as u64, |cx, var| {
            let at = [&row[..], &Self::taken_apart(cx, inner, var.into())].concat();
            let values: Vec<Value> = self.full.iter().map(|&n| cx.value_at(n, &at)).collect();
            for (&node, value) in self.full.iter().zip(values) {
                cx.store_node(node, &at, value);
            }
        });
    }
}
