//! Kernels that rearrange a strided array into a dense buffer, with zeros around it.

use dl_ir::DType;

use super::{Operand, Writer, at_most, buffer};
use crate::kernel::{Access, Affine, BufId, Expr, IndexExpr, UnOp, Var};
use crate::lower::LowerError;
use crate::lower::cx::Cx;

/// A part is worth at least so many elements.
const PART_ELEMENTS: u64 = 1 << 15;

/// A copy that turns axes is cut into so many parts at least, if it can be.
const WANTED_PARTS: u64 = 16;

/// At most so many parts.
const MAX_PARTS: u64 = 256;

/// An axis of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Zeros before.
    pub lo: u64,
    /// Number of copied elements.
    pub size: u64,
    /// Zeros after.
    pub hi: u64,
    /// Elements after those, which are left as they are.
    pub gap: u64,
    /// Distance of neighbours in the source.
    pub stride: i64,
}

impl Axis {
    /// An axis without padding.
    pub fn plain(size: u64, stride: i64) -> Axis {
        Axis { lo: 0, size, hi: 0, gap: 0, stride }
    }

    /// The size in the copy.
    pub fn full(&self) -> u64 {
        self.lo + self.size + self.hi + self.gap
    }
}

/// Copies a strided array into a fresh temporary, dense and row-major in `axes`.
pub(super) fn copy(w: &mut Writer<'_>, from: Operand, dtype: DType, axes: &[Axis]) -> Result<Operand, LowerError> {
    let len: u64 = axes.iter().map(Axis::full).product();
    let to = w.temp(len);
    let mut axes = merge(axes);
    let turned = share_turned(&mut axes);
    // Rows along the leading axes are shared out, as many axes as it takes to have enough of them.
    let mut outer = 0;
    while outer + 1 + usize::from(turned) < axes.len()
        && axes[outer].size == axes[outer].full()
        && axes[..outer].iter().map(|a| a.size).product::<u64>() < MAX_PARTS
    {
        outer += 1;
    }
    let whole: u64 = axes[..outer].iter().map(|a| a.size).product();
    // Where these are few, the rows of a padded axis are shared out too, those of zeros among them.
    let padded = (whole < WANTED_PARTS && outer + 1 + usize::from(turned) < axes.len()).then(|| axes[outer]);
    let inner = outer + usize::from(padded.is_some());
    let rows = whole * padded.map_or(1, |axis| axis.full());
    let row: u64 = axes[inner..].iter().map(Axis::full).product();
    let group = PART_ELEMENTS.div_ceil(row.max(1)).max(rows.div_ceil(MAX_PARTS)).max(1);
    w.kernel("_pack", rows.div_ceil(group).max(1), |cx| {
        let src = buffer(cx, from.source, dtype, Access::Read);
        let dst = buffer(cx, to, dtype, Access::Write);
        let dense = Dense { src, dst, dtype };
        let lo = Var::PART * group as i64;
        let hi = at_most(cx, lo.clone() + group as i64, rows);
        cx.for_(lo, hi, |cx, t| {
            let mut rest = Affine::from(t);
            let place = padded.map(|axis| {
                let (next, i) = cx.div_mod(&rest, axis.full() as i64);
                rest = next;
                i
            });
            let mut at = Affine::from(from.offset);
            for axis in axes[..outer].iter().rev() {
                let (next, i) = cx.div_mod(&rest, axis.size as i64);
                at = at + i * axis.stride;
                rest = next;
            }
            let to = t * row as i64;
            let (Some(axis), Some(i)) = (padded, place) else { return dense.fill(cx, &axes[inner..], at, to) };
            let (first, end) = (axis.lo as i64, (axis.lo + axis.size) as i64);
            let inside = cx.let_(Expr::InRange { at: i.clone(), lo: first, hi: end });
            cx.if_(inside, |cx| {
                let here = cx.index(IndexExpr::Within(i, first, end));
                dense.fill(cx, &axes[inner..], at + (here - first) * axis.stride, to.clone());
            });
            let outside = cx.un(UnOp::Not, inside);
            cx.if_(outside, |cx| dense.zero(cx, row, to));
        });
    })?;
    Ok(Operand { source: to, offset: 0 })
}

/// Joins neighbouring axes that are one in the source too.
fn merge(axes: &[Axis]) -> Vec<Axis> {
    let mut merged: Vec<Axis> = vec![];
    for &axis in axes.iter().filter(|a| a.full() != 1 || a.size == 0) {
        match merged.last_mut() {
            Some(last)
                if axis.size == axis.full() && last.gap == 0 && last.stride == axis.stride * axis.size as i64 =>
            {
                let (lo, size, hi) = (last.lo * axis.size, last.size * axis.size, last.hi * axis.size);
                *last = Axis { lo, size, hi, gap: 0, stride: axis.stride };
            }
            _ => merged.push(axis),
        }
    }
    if merged.is_empty() {
        merged.push(Axis::plain(1, 1));
    }
    merged
}

/// Whether the copy turns its last two axes: it reads along the one before the last. There is then something to share
/// out before them.
fn share_turned(axes: &mut Vec<Axis>) -> bool {
    let [.., rows, columns] = axes[..] else { return false };
    let turned = rows.stride == 1 && columns.stride > 1 && rows.size == rows.full() && columns.lo + columns.hi == 0;
    let outer: u64 = axes[..axes.len() - 2].iter().map(|a| a.size).product();
    if turned && outer < WANTED_PARTS {
        // Blocks are turned whole.
        let block = [128, 64, 32, 16].into_iter().find(|b| rows.size.is_multiple_of(*b) && rows.size > *b);
        if let Some(block) = block {
            let at = axes.len() - 2;
            axes.insert(at, Axis::plain(rows.size / block, block as i64));
            axes[at + 1].size = block;
        }
    }
    turned
}

struct Dense {
    src: BufId,
    dst: BufId,
    dtype: DType,
}

impl Dense {
    /// Writes the dense array of `axes` from element `to` on.
    fn fill(&self, cx: &mut Cx<'_>, axes: &[Axis], from: Affine, to: Affine) {
        let Some((axis, inner)) = axes.split_first() else { return };
        let step: u64 = inner.iter().map(Axis::full).product();
        self.zero(cx, axis.lo * step, to.clone());
        let body = to.clone() + (axis.lo * step) as i64;
        if inner.is_empty() {
            cx.vec(axis.size, |cx, i| {
                let value = cx.load(self.src, from + i * axis.stride);
                cx.store(self.dst, body + i, value);
            });
        } else {
            cx.for_(0, axis.size as i64, |cx, i| {
                self.fill(cx, inner, from + i * axis.stride, body + i * step as i64);
            });
        }
        self.zero(cx, axis.hi * step, to + ((axis.lo + axis.size) * step) as i64);
    }

    fn zero(&self, cx: &mut Cx<'_>, count: u64, to: Affine) {
        if count > 0 {
            let zero = cx.zero(self.dtype);
            cx.vec(count, |cx, i| cx.store(self.dst, to + i, zero));
        }
    }
}
