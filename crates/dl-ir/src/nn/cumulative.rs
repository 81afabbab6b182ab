//! Running sums and the like along an axis.
//!
//! Of a short axis each result is a fold over the elements up to its place, all places side by side. A longer one is cut
//! into blocks: folds inside of blocks, a running fold of what the blocks give, and both put together. That costs
//! [`BLOCK`] steps an element, whatever the length, and no infinity is multiplied by the zeros of a triangle.

use super::args::Args;
use super::common::{LAST_AXIS, Made, X, floats, iota, made, narrow, squeeze, unsqueeze};
use super::error::CallError;
use super::method::MethodDef;
use super::reduce::logsumexp;
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

/// The elements of a block.
const BLOCK: i64 = 64;
/// An axis of at most so many elements is one block.
const SHORT: i64 = 128;
/// So often, an axis of unknown length is cut into blocks of blocks: enough for a quarter of a million elements.
const LEVELS: usize = 2;

const fn method(
    name: &'static str,
    doc: &'static str,
    build: fn(&mut Builder, &Args) -> Result<super::value::Value, CallError>,
) -> MethodDef {
    MethodDef { name, aliases: &[], doc, params: &[X, LAST_AXIS], build }
}

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[
    method("cumsum", "the running sum along an axis", |b, a| cumulative(b, a, Fold::Sum)),
    method("cumprod", "the running product along an axis", |b, a| cumulative(b, a, Fold::Prod)),
    method("logcumsumexp", "log(cumsum(e^x)) along an axis, without overflow", |b, a| {
        floats(b, 0, a.tensor("x"))?;
        cumulative(b, a, Fold::LogSumExp)
    }),
    method(
        "cummax",
        "the largest so far along an axis and its index (i64), the last of equal ones; NaN from the first one on",
        |b, a| extreme(b, a, Fold::Max),
    ),
    method(
        "cummin",
        "the smallest so far along an axis and its index (i64), the last of equal ones; NaN from the first one on",
        |b, a| extreme(b, a, Fold::Min),
    ),
];

#[derive(Clone, Copy, PartialEq)]
enum Fold {
    Sum,
    Prod,
    Max,
    Min,
    LogSumExp,
}

impl Fold {
    /// What changes no other element.
    fn neutral(self, b: &mut Builder, dtype: DType) -> NodeId {
        let value = match (self, dtype.is_float()) {
            (Fold::Sum, _) => 0.0,
            (Fold::Prod, _) => 1.0,
            (Fold::Max | Fold::LogSumExp, true) => f64::NEG_INFINITY,
            (Fold::Min, true) => f64::INFINITY,
            (Fold::Max | Fold::LogSumExp, false) => i64::MIN as f64,
            (Fold::Min, false) => i64::MAX as f64,
        };
        b.constant(dtype, value)
    }

    /// Folds the last axis.
    fn last(self, b: &mut Builder, x: NodeId) -> Built {
        let over = [b.rank(x) - 1];
        match self {
            Fold::Sum => b.sum(x, &over, false),
            Fold::Prod => b.reduce(Op::ReduceProd, x, &over, false),
            Fold::Max => b.reduce(Op::ReduceMax, x, &over, false),
            Fold::Min => b.reduce(Op::ReduceMin, x, &over, false),
            Fold::LogSumExp => logsumexp(b, x, &over, false),
        }
    }

    fn both(self, b: &mut Builder, x: NodeId, y: NodeId) -> Built {
        match self {
            Fold::Sum => b.add(x, y),
            Fold::Prod => b.mul(x, y),
            Fold::Max => b.max(x, y),
            Fold::Min => b.min(x, y),
            Fold::LogSumExp => {
                let shape = b.shape(y).to_vec();
                let x = b.broadcast(x, &shape)?;
                let last = shape.len();
                let (x, y) = (unsqueeze(b, x, last)?, unsqueeze(b, y, last)?);
                let pair = b.concat(&[x, y], last)?;
                self.last(b, pair)
            }
        }
    }
}

fn cumulative(b: &mut Builder, args: &Args, fold: Fold) -> Made {
    let x = numbers(b, args)?;
    let axis = args.axis("axis", b.rank(x))?;
    made(running(b, x, axis, fold))
}

fn numbers(b: &Builder, args: &Args) -> Result<NodeId, CallError> {
    let x = args.tensor("x");
    if b.dtype(x) != DType::Bool {
        return Ok(x);
    }
    let fix = Some("convert it with `.to(i64)`".to_string());
    Err(CallError::DType { input: 0, expected: "numbers".into(), found: b.ty(x).clone(), fix })
}

/// The values at the places where an element is the largest, or smallest, so far.
fn extreme(b: &mut Builder, args: &Args, fold: Fold) -> Made {
    let x = numbers(b, args)?;
    let axis = args.axis("axis", b.rank(x))?;
    let mut key = b.detach(x)?;
    if b.dtype(x).is_int() {
        key = b.cast(key, DType::I64)?;
    }
    let best = running(b, key, axis, fold)?;
    let (equal, nan) = (b.eq(key, best)?, b.ne(key, key)?);
    let leads = b.or(equal, nan)?;
    let shape = b.shape(x).to_vec();
    let (place, zero) = (iota(b, DType::I64, &shape, axis)?, b.constant(DType::I64, 0.0));
    let place = b.select(leads, place, zero)?;
    let index = running(b, place, axis, Fold::Max)?;
    let values = b.push(Op::Gather, &[x, index], Attrs::new().int("axis", axis as i64))?;
    Ok(vec![values, index].into())
}

/// The running fold along an axis.
fn running(b: &mut Builder, x: NodeId, axis: usize, fold: Fold) -> Built {
    let mut perm: Vec<usize> = (0..b.rank(x)).filter(|&a| a != axis).collect();
    perm.push(axis);
    let last = b.transpose(x, &perm)?;
    let y = prefixes(b, last, fold, LEVELS)?;
    let rank = perm.len();
    let back: Vec<usize> = (0..rank).map(|a| if a == axis { rank - 1 } else { a - usize::from(a > axis) }).collect();
    b.transpose(y, &back)
}

/// The running fold along the last axis.
fn prefixes(b: &mut Builder, x: NodeId, fold: Fold, levels: usize) -> Built {
    let last = b.rank(x) - 1;
    let size = b.shape(x)[last].clone();
    if levels == 0 || size.as_const().is_some_and(|n| n <= SHORT) {
        return triangle(b, x, fold);
    }
    let neutral = fold.neutral(b, b.dtype(x));
    let zeros = vec![Dim::from(0); last + 1];
    let blocks = (size.clone() + Dim::from(BLOCK - 1)).floor_div(&Dim::from(BLOCK)).unwrap_or(Dim::ONE);
    let padded = blocks.clone() * Dim::from(BLOCK);
    let mut hi = zeros.clone();
    hi[last] = padded.clone() - size.clone();
    let whole = if hi[last].is(0) { x } else { b.pad(x, neutral, &zeros, &hi)? };
    let mut shape = b.shape(whole).to_vec();
    (shape[last], _) = (blocks.clone(), shape.push(Dim::from(BLOCK)));
    let cut = b.reshape(whole, &shape)?;
    let inner = triangle(b, cut, fold)?;
    let totals = narrow(b, inner, last + 1, Dim::from(BLOCK - 1), Dim::from(BLOCK))?;
    let totals = squeeze(b, totals, last + 1)?;
    // What comes before a block: the totals moved on by one.
    let mut lo = zeros.clone();
    lo[last] = Dim::ONE;
    let moved = b.pad(totals, neutral, &lo, &zeros)?;
    let moved = narrow(b, moved, last, Dim::from(0), blocks)?;
    let before = prefixes(b, moved, fold, levels - 1)?;
    let before = unsqueeze(b, before, last + 1)?;
    let y = fold.both(b, before, inner)?;
    shape.pop();
    shape[last] = padded;
    let y = b.reshape(y, &shape)?;
    if hi[last].is(0) { Ok(y) } else { narrow(b, y, last, Dim::from(0), size) }
}

/// For each place of the last axis the fold of the elements up to it.
fn triangle(b: &mut Builder, x: NodeId, fold: Fold) -> Built {
    let last = b.rank(x) - 1;
    let size = b.shape(x)[last].clone();
    let square = [size.clone(), size];
    let (place, element) = (iota(b, DType::I64, &square, 0)?, iota(b, DType::I64, &square, 1)?);
    let counts = b.le(element, place)?;
    let neutral = fold.neutral(b, b.dtype(x));
    let rows = unsqueeze(b, x, last)?;
    let rows = b.select(counts, rows, neutral)?;
    fold.last(b, rows)
}
