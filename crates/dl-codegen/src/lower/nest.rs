//! Loop nests over the axes of a domain: which axes are one loop, which one is the vector loop, how the work is split.

use std::collections::HashMap;

use dl_ir::Graph;
use dl_ir::plan::{Fused, Group};

use super::LowerError;
use super::cx::Cx;
use super::dead::affines;
use crate::kernel::walk::walk;
use crate::kernel::{Affine, Expr, IndexExpr, Stmt, UnOp, Value, Var};

/// A part should take about so many nanoseconds.
const PART_NS: f64 = 40_000.0;
/// There are at most about so many parts.
const MOST_PARTS: i64 = 256;

/// Chunks of a vector loop have at least so many iterations: a cache line, four vectors.
const LEAST_CHUNK: i64 = 16;
/// More chunks than that are a multiple of it.
const EVEN: i64 = 8;

/// Adjacent axes of a domain that every access treats as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loop {
    /// The axes of more than one element, outermost first, with their sizes.
    pub axes: Vec<(usize, i64)>,
    /// The number of iterations.
    pub extent: i64,
}

/// What the body of a nest does, found by writing it once.
#[derive(Debug)]
pub(super) struct Probe {
    rows: Vec<Row>,
    domain: Vec<i64>,
    /// Roughly the nanoseconds of one element.
    pub ns: f64,
}

/// One index expression of the body.
#[derive(Debug)]
struct Row {
    /// Coefficients of the axes.
    coeffs: Vec<i64>,
    /// The axes on which it depends in other ways.
    irregular: u64,
    kind: RowKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowKind {
    Load,
    Store,
    Index,
}

/// Writes `body` for a nest with one loop for each axis of `domain` and finds out what it does.
pub(super) fn probe<'g>(
    (graph, fused, group): (&'g Graph, &'g Fused, &'g Group),
    domain: &[i64],
    body: impl FnOnce(&mut Cx<'g>, &[Affine]),
) -> Result<Probe, LowerError> {
    let mut cx = Cx::new(graph, fused, group, "probe", 1);
    let (stmts, vars) = cx.block(|cx| {
        let vars: Vec<Var> = domain.iter().map(|&size| cx.fresh_var(0, size - 1)).collect();
        let coords: Vec<Affine> = vars.iter().map(|&v| v.into()).collect();
        body(cx, &coords);
        vars
    });
    stmts.into_iter().for_each(|s| cx.push(s));
    let kernel = cx.finish()?.kernel;
    let mut probe = Probe { rows: vec![], domain: domain.to_vec(), ns: 0.0 };
    let mut masks = Masks { axes: vars, vars: HashMap::new(), values: HashMap::new() };
    walk(&kernel.body, &mut |stmt| {
        let kind = match stmt {
            Stmt::Store { .. } => RowKind::Store,
            Stmt::Let(_, Expr::Load(_) | Expr::LoadIf { .. }) => RowKind::Load,
            _ => RowKind::Index,
        };
        let mut irregular_access = false;
        affines(stmt, |a| {
            let coeffs = masks.axes.iter().map(|&v| a.coeff(v)).collect();
            let irregular = masks.irregular(a);
            irregular_access |= irregular != 0 && kind != RowKind::Index;
            probe.rows.push(Row { coeffs, irregular, kind });
        });
        if masks.visit(stmt) != 0 {
            probe.ns += if irregular_access { 3.0 } else { cost(stmt) };
        }
    });
    Ok(probe)
}

/// Roughly the nanoseconds that a statement takes for one element in a vector loop.
fn cost(stmt: &Stmt) -> f64 {
    match stmt {
        Stmt::Store { .. } | Stmt::Let(_, Expr::Load(_) | Expr::LoadIf { .. }) => 0.3,
        Stmt::Let(_, Expr::Random { .. }) => 4.0,
        Stmt::Let(_, Expr::Un(op, _)) => match op {
            UnOp::Neg | UnOp::Abs | UnOp::Not | UnOp::Floor | UnOp::Ceil | UnOp::Round | UnOp::Trunc => 0.1,
            UnOp::Sqrt => 0.7,
            _ => 2.0,
        },
        Stmt::Let(..) => 0.1,
        Stmt::Index(_, IndexExpr::Div(..) | IndexExpr::Mod(..)) => 2.0,
        _ => 1.0,
    }
}

/// On which axes variables and values depend.
struct Masks {
    axes: Vec<Var>,
    vars: HashMap<Var, u64>,
    values: HashMap<Value, u64>,
}

impl Masks {
    /// The axes on which `a` depends through derived variables.
    fn irregular(&self, a: &Affine) -> u64 {
        a.terms().iter().fold(0, |mask, (v, _)| mask | self.vars.get(v).copied().unwrap_or(0))
    }

    fn affine(&self, a: &Affine) -> u64 {
        let direct = |v: &Var| self.axes.iter().position(|x| x == v).map_or(0, |at| 1 << at);
        a.terms().iter().fold(self.irregular(a), |mask, (v, _)| mask | direct(v))
    }

    /// The axes on which the statement depends.
    fn visit(&mut self, stmt: &Stmt) -> u64 {
        let mut mask = 0;
        affines(stmt, |a| mask |= self.affine(a));
        stmt.operands(|v| mask |= self.values.get(&v).copied().unwrap_or(0));
        match stmt {
            Stmt::Let(value, _) => _ = self.values.insert(*value, mask),
            Stmt::Index(var, _) | Stmt::Check { var, .. } => _ = self.vars.insert(*var, mask),
            _ => {}
        }
        mask
    }
}

impl Probe {
    /// The loops over the axes of more than one element. Only axes for which `class` is equal are joined.
    pub fn loops(&self, class: impl Fn(usize) -> bool) -> Vec<Loop> {
        let mut loops: Vec<Loop> = vec![];
        for (axis, &size) in self.domain.iter().enumerate().filter(|(_, size)| **size != 1) {
            match loops.last_mut() {
                Some(l) if self.joins(l.axes[l.axes.len() - 1].0, axis, size) && class(l.axes[0].0) == class(axis) => {
                    l.axes.push((axis, size));
                    l.extent *= size;
                }
                _ => loops.push(Loop { axes: vec![(axis, size)], extent: size }),
            }
        }
        loops
    }

    /// Whether every index expression steps from one axis to the next as over one axis.
    fn joins(&self, outer: usize, inner: usize, size: i64) -> bool {
        self.rows.iter().all(|row| row.coeffs[outer] == row.coeffs[inner] * size)
    }

    /// How well a vector loop over these axes goes: stores and loads of neighbours count, strided ones count against.
    pub fn score(&self, l: &Loop) -> i64 {
        let inner = l.axes[l.axes.len() - 1].0;
        let mask = l.axes.iter().fold(0, |mask, (a, _)| mask | 1u64 << a);
        let rows = self.rows.iter().filter(|row| row.kind != RowKind::Index);
        let each = rows.map(|row| {
            let weight = if row.kind == RowKind::Store { 3 } else { 2 };
            match row.coeffs[inner] {
                _ if row.irregular & mask != 0 => -2 * weight,
                0 if row.kind == RowKind::Load => 1,
                1 => weight,
                _ => -2 * weight,
            }
        });
        // A few iterations hardly fill a vector.
        each.sum::<i64>() - if l.extent < 4 { 4 } else { 0 }
    }

    /// The loop among `loops` for which vectors go best; of equals the innermost.
    pub fn best_vector(&self, loops: &[Loop]) -> Option<usize> {
        (0..loops.len()).max_by_key(|&i| (self.score(&loops[i]), i))
    }
}

/// A loop whose iterations are taken in blocks: a copy that turns axes reads along it, and writes along the vector loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The number of the loop.
    pub of: usize,
    /// How many iterations a block has; they divide the loop.
    pub size: i64,
}

/// The lengths of blocks: their squares fill registers, and their lines stay in the nearest cache.
const BLOCKS: std::ops::RangeInclusive<i64> = 8..=128;

/// Of a copy of more elements than that, which the second-level cache does not hold, only as many rows are written at
/// once as a line that is read has elements: lines that are not there are waited for, and of so few rows the next ones
/// are foreseen.
const LARGE_COPY: i64 = 1 << 17;
const LINE: i64 = 16;

impl Probe {
    /// The block to run inside of all loops but the last, the vector loop, if the body only copies and turns axes.
    pub fn turned(&self, loops: &[Loop]) -> Option<Block> {
        let [
            Row { kind: RowKind::Load, coeffs: from, irregular: 0 },
            Row { kind: RowKind::Store, coeffs: to, irregular: 0 },
        ] = &self.rows[..]
        else {
            return None;
        };
        let inner = |l: &Loop| l.axes[l.axes.len() - 1].0;
        let (vector, outer) = loops.split_last()?;
        let turns = |l: &Loop| from[inner(l)] == 1 && to[inner(l)] > 1;
        if from[inner(vector)] <= 1 || to[inner(vector)] != 1 {
            return None;
        }
        let of = outer.iter().position(turns)?;
        let extent = outer[of].extent;
        let fits = |size: &i64| extent % size == 0 && *size < extent;
        let large = loops.iter().map(|l| l.extent).product::<i64>() > LARGE_COPY;
        let size = Some(LINE).filter(|line| large && fits(line)).or_else(|| BLOCKS.rev().find(fits))?;
        Some(Block { of, size })
    }
}

/// The coordinates of all axes of a domain of that rank, where `counters` are those of the loops.
pub(super) fn coords(cx: &mut Cx<'_>, rank: usize, loops: &[Loop], counters: &[Affine]) -> Vec<Affine> {
    let mut coords = vec![Affine::from(0); rank];
    for (l, counter) in loops.iter().zip(counters) {
        let mut rest = counter.clone();
        for &(axis, size) in l.axes[1..].iter().rev() {
            (rest, coords[axis]) = cx.div_mod(&rest, size);
        }
        coords[l.axes[0].0] = rest;
    }
    coords
}

/// How the iterations of nested loops are shared out: each part runs all of the inner loops for `chunk` iterations of
/// loop number `at` and one of each loop before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub parts: u64,
    at: usize,
    chunk: i64,
    chunks: i64,
}

/// Splits loops with these numbers of iterations, each of the innermost ones taking `ns`.
pub(super) fn split(extents: &[i64], ns: f64) -> Split {
    let total: i64 = extents.iter().product();
    let fair = ((PART_NS / ns.max(0.01)) as i64).max(total / MOST_PARTS).max(1);
    let whole = Split { parts: 1, at: 0, chunk: extents.first().copied().unwrap_or(1), chunks: 1 };
    if extents.is_empty() || total <= fair + fair / 2 {
        return whole;
    }
    let inner = |at: usize| extents[at + 1..].iter().product::<i64>();
    let at = (0..extents.len()).find(|&at| inner(at) <= fair).unwrap_or(extents.len() - 1);
    let vector = at + 1 == extents.len();
    let least = if vector { LEAST_CHUNK.min(extents[at]) } else { 1 };
    let most = (fair / inner(at)).clamp(least, extents[at]);
    // A number of chunks that few threads share evenly.
    let wanted = ceil_div(extents[at], most);
    let wanted = if wanted > EVEN { ceil_div(wanted, EVEN) * EVEN } else { wanted };
    let mut chunk = ceil_div(extents[at], wanted.min(extents[at]));
    if vector {
        // Vector loops have no variable extent: a chunk that divides spares a second copy of the loop.
        let divides = |c: &i64| extents[at] % c == 0 && (c % 4 == 0 || *c == extents[at]);
        let near = (chunk * 2 / 3).max(least)..=(chunk * 3 / 2).min(extents[at]);
        chunk = near.rev().find(divides).unwrap_or(ceil_div(chunk, LEAST_CHUNK) * LEAST_CHUNK).min(extents[at]);
    }
    let chunks = ceil_div(extents[at], chunk);
    let parts = extents[..at].iter().product::<i64>() * chunks;
    Split { parts: parts as u64, at, chunk, chunks }
}

pub(super) fn ceil_div(a: i64, b: i64) -> i64 {
    (a + b - 1) / b
}

/// What runs in a nest: gets the counters of all loops but the last, the first iteration of the last, and their number.
pub(super) type Body<'a, 'g> = &'a mut dyn FnMut(&mut Cx<'g>, &[Affine], Affine, u64);

/// Writes the loops of one part of a [`split`]. The body may be called twice.
pub(super) fn run<'g>(cx: &mut Cx<'g>, extents: &[i64], split: Split, body: Body<'_, 'g>) {
    let Some((&last, outer)) = extents.split_last() else {
        return body(cx, &[], Affine::from(0), 1);
    };
    let (mut rest, chunk) = cx.div_mod(&Var::PART.into(), split.chunks);
    let mut counters = vec![Affine::from(0); split.at];
    for at in (0..split.at).rev() {
        (rest, counters[at]) = cx.div_mod(&rest, extents[at]);
    }
    let Split { at, chunk: size, chunks, .. } = split;
    let even = extents[at] % size == 0;
    if at < outer.len() {
        let lo = chunk * size;
        let hi = match even {
            true => lo.clone() + size,
            false => cx.index(IndexExpr::Min(lo.clone() + size, extents[at].into())).into(),
        };
        if size == 1 {
            counters.push(lo);
            return serial(cx, outer, counters, last, body);
        }
        return cx.for_(lo, hi, |cx, var| {
            counters.push(var.into());
            serial(cx, outer, counters, last, body);
        });
    }
    if even {
        return body(cx, &counters, chunk * size, size as u64);
    }
    let full = chunks - 1;
    let whole = cx.let_(Expr::InRange { at: chunk.clone(), lo: 0, hi: full });
    cx.if_(whole, |cx| {
        let chunk = cx.index(IndexExpr::Within(chunk.clone(), 0, full));
        body(cx, &counters, chunk * size, size as u64);
    });
    let tail = cx.let_(Expr::InRange { at: chunk, lo: full, hi: chunks });
    cx.if_(tail, |cx| body(cx, &counters, (full * size).into(), (last - full * size) as u64));
}

/// Serial loops over what is left of `outer`, then the body.
fn serial<'g>(cx: &mut Cx<'g>, outer: &[i64], counters: Vec<Affine>, last: i64, body: Body<'_, 'g>) {
    match outer.get(counters.len()) {
        None => body(cx, &counters, 0.into(), last as u64),
        Some(&extent) => cx.for_(0, extent, |cx, var| {
            let mut counters = counters;
            counters.push(var.into());
            serial(cx, outer, counters, last, body);
        }),
    }
}
