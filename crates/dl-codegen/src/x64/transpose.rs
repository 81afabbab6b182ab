//! Leaves of transposing copies: rows are read and columns written, in square blocks turned in registers.

use super::alloc::{ARGS, TEMP};
use super::asm::{Cond, Gpr, Masked, Mem, Reg, Rm, Width};
use super::body::Body;
use super::op;
use super::vector::framed;
use super::{Arg, Leaf, Outside, Result, Unsupported};
use crate::kernel::ranges::Ranges;
use crate::kernel::*;

/// The mask of the last columns of a block's rows, and of its results.
const ROW_MASK: u8 = 1;
const COLUMN_MASK: u8 = 2;

/// The loop `for k in 0..hi { vec n in 0..extent { store to[.. + k * pitch + n], from[.. + k + n * pitch] } }`.
struct Copy<'k> {
    from: &'k Place,
    to: &'k Place,
    k: (Var, u64),
    n: (Var, u64),
}

/// Recognises a copy of 32-bit elements that reads along one loop and writes along the other.
fn recognise<'k>(
    kernel: &Kernel,
    (var, lo, hi): (Var, &Affine, &Affine),
    carries: &[Carry],
    body: &'k [Stmt],
) -> Option<Copy<'k>> {
    let (Some(0), Some(hi), [], [Stmt::Vec { var: n, extent, reduces, body }]) =
        (lo.as_const(), hi.as_const(), carries, body)
    else {
        return None;
    };
    let [Stmt::Let(value, Expr::Load(from)), Stmt::Store { place: to, value: stored, add: false, guard: None }] =
        &body[..]
    else {
        return None;
    };
    let size = |place: &Place| kernel.bufs[place.buf.0 as usize].dtype.size();
    // In one buffer a block could overwrite what a later one reads.
    let apart = from.buf != to.buf;
    let turned =
        apart && from.at.coeff(var) == 1 && from.at.coeff(*n) > 1 && to.at.coeff(*n) == 1 && to.at.coeff(var) > 1;
    let fine = turned
        && reduces.is_empty()
        && value == stored
        && size(from) == 4
        && size(to) == 4
        && (2..1 << 31).contains(&hi);
    fine.then_some(Copy { from, to, k: (var, hi as u64), n: (*n, *extent) })
}

/// Whether a statement is a copy that turns rows to columns.
pub fn turns(kernel: &Kernel, stmt: &Stmt) -> bool {
    match stmt {
        Stmt::For { var, lo, hi, carries, body } => recognise(kernel, (*var, lo, hi), carries, body).is_some(),
        _ => false,
    }
}

/// A transposing copy as a leaf.
pub fn transpose(
    kernel: &Kernel,
    ranges: &Ranges,
    evex: bool,
    outside: &dyn Fn(Value) -> Outside,
    head: (Var, &Affine, &Affine),
    carries: &[Carry],
    body: &[Stmt],
) -> Result<Leaf> {
    let copy = recognise(kernel, head, carries, body).ok_or(Unsupported)?;
    let side = if evex { 16 } else { 8 };
    if copy.k.1 < side / 2 || copy.n.1 < side / 2 || !evex && (copy.k.1 % side != 0 || copy.n.1 % side != 0) {
        return Err(Unsupported);
    }
    let mut b = Body::new(kernel, ranges, evex, outside, 0);
    let pointer = |b: &mut Body<'_>, place: &Place| {
        let at = place.at.without(copy.k.0).without(copy.n.0);
        b.arg(Arg::Pointer(place.buf, at))
    };
    let (from, to) = (pointer(&mut b, copy.from), pointer(&mut b, copy.to));
    let bytes = |x: i64| i32::try_from(x * 4 * side as i64).map_err(|_| Unsupported);
    let (from_pitch, to_pitch) = (bytes(copy.from.at.coeff(copy.n.0))?, bytes(copy.to.at.coeff(copy.k.0))?);
    let [src, dst, k, n] = [b.gpr()?, b.gpr()?, b.gpr()?, b.gpr()?];
    let side_bytes = 4 * side as i32;
    let (k_left, n_left) = (copy.k.1 % side, copy.n.1 % side);
    for (mask, left) in [(ROW_MASK, k_left), (COLUMN_MASK, n_left)] {
        if left > 0 {
            b.code.asm.set(TEMP, (1 << left) - 1);
            b.code.asm.vector(op::KMOVW_GPR, Width::B16, mask, 0, Rm::Gpr(TEMP), Masked::default(), &[]);
        }
    }
    let mut w = Writer { b, src, dst, side: side as usize, from_pitch, to_pitch };
    // Rows of blocks: along `n` outside, so that what is written stays together.
    let columns = |w: &mut Writer<'_>, first: u64, count: u64, width: usize| {
        if count == 0 {
            return;
        }
        w.b.code.asm.set(n, 0);
        let again = w.b.code.asm.here();
        let asm = &mut w.b.code.asm;
        asm.load(w.src, Mem::at(ARGS, from));
        asm.load(w.dst, Mem::at(ARGS, to));
        asm.mul(TEMP, n, w.from_pitch);
        asm.add_reg(w.src, TEMP);
        asm.mul(TEMP, n, side_bytes);
        asm.add_reg(w.dst, TEMP);
        if first > 0 {
            asm.set(TEMP, first as i64 * i64::from(w.from_pitch));
            asm.add_reg(w.src, TEMP);
            asm.set(TEMP, first as i64 * i64::from(side_bytes));
            asm.add_reg(w.dst, TEMP);
        }
        if copy.k.1 >= side {
            w.b.code.asm.set(k, 0);
            let top = w.b.code.asm.here();
            w.block(side as usize, width);
            let asm = &mut w.b.code.asm;
            asm.add(w.src, side_bytes);
            asm.add(w.dst, w.to_pitch);
            asm.add(k, 1);
            asm.cmp(k, (copy.k.1 / side) as i32);
            asm.jump_if(Cond::Less, top);
        }
        if k_left > 0 {
            w.block(k_left as usize, width);
        }
        let asm = &mut w.b.code.asm;
        asm.add(n, 1);
        asm.cmp(n, count as i32);
        asm.jump_if(Cond::Less, again);
    };
    columns(&mut w, 0, copy.n.1 / side, side as usize);
    columns(&mut w, copy.n.1 / side, u64::from(n_left > 0), n_left as usize);
    let args = w.b.args;
    Ok(Leaf { code: framed(w.b.code, &w.b.saved)?, args })
}

struct Writer<'k> {
    b: Body<'k>,
    src: Gpr,
    dst: Gpr,
    /// Elements of a vector.
    side: usize,
    /// Bytes of so many rows of the source and of the copy.
    from_pitch: i32,
    to_pitch: i32,
}

impl Writer<'_> {
    /// Copies a block: `columns` rows of the source, of which `rows` elements each.
    fn block(&mut self, rows: usize, columns: usize) {
        let (width, side) = (self.b.code.width, self.side);
        let row = |pitch: i32, i: usize| pitch / side as i32 * i as i32;
        for i in 0..side {
            let to = Reg(i as u8);
            if i >= columns {
                self.b.code.asm.v(op::PXORD, width, to, to, to);
                continue;
            }
            let mem = Rm::Mem(Mem::at(self.src, row(self.from_pitch, i)));
            let masked = if rows < side { Masked { mask: ROW_MASK, zero: true } } else { Masked::default() };
            self.b.code.asm.vector(op::MOVUPS, width, to.0, 0, mem, masked, &[]);
        }
        let turned = if side == 16 { self.turn16() } else { self.turn8() };
        for (i, from) in turned.into_iter().enumerate().take(rows) {
            let mem = Rm::Mem(Mem::at(self.dst, row(self.to_pitch, i)));
            let masked = if columns < side { Masked { mask: COLUMN_MASK, zero: false } } else { Masked::default() };
            self.b.code.asm.vector(op::MOVUPS_TO, width, from, 0, mem, masked, &[]);
        }
    }

    /// Turns pairs, then pairs of pairs, within each 16 bytes of registers 0 and on; the results are in the same ones.
    fn turn_quarters(&mut self) {
        let (width, side) = (self.b.code.width, self.side as u8);
        let asm = &mut self.b.code.asm;
        for i in (0..side).step_by(2) {
            asm.v(op::UNPCKLPS, width, Reg(side + i), Reg(i), Reg(i + 1));
            asm.v(op::UNPCKHPS, width, Reg(side + i + 1), Reg(i), Reg(i + 1));
        }
        for i in (0..side).step_by(4) {
            let t = side + i;
            asm.v(op::UNPCKLPD, width, Reg(i), Reg(t), Reg(t + 2));
            asm.v(op::UNPCKHPD, width, Reg(i + 1), Reg(t), Reg(t + 2));
            asm.v(op::UNPCKLPD, width, Reg(i + 2), Reg(t + 1), Reg(t + 3));
            asm.v(op::UNPCKHPD, width, Reg(i + 3), Reg(t + 1), Reg(t + 3));
        }
    }

    /// Where the rows of the turned block are.
    fn turn16(&mut self) -> Vec<u8> {
        self.turn_quarters();
        let width = self.b.code.width;
        let asm = &mut self.b.code.asm;
        for j in 0..4 {
            let t = 16 + 4 * j;
            asm.vi(op::SHUFF32X4, width, Reg(t), Reg(j), Reg(j + 4), 0x88);
            asm.vi(op::SHUFF32X4, width, Reg(t + 1), Reg(j + 8), Reg(j + 12), 0x88);
            asm.vi(op::SHUFF32X4, width, Reg(t + 2), Reg(j), Reg(j + 4), 0xdd);
            asm.vi(op::SHUFF32X4, width, Reg(t + 3), Reg(j + 8), Reg(j + 12), 0xdd);
            asm.vi(op::SHUFF32X4, width, Reg(j), Reg(t), Reg(t + 1), 0x88);
            asm.vi(op::SHUFF32X4, width, Reg(j + 4), Reg(t + 2), Reg(t + 3), 0x88);
            asm.vi(op::SHUFF32X4, width, Reg(j + 8), Reg(t), Reg(t + 1), 0xdd);
            asm.vi(op::SHUFF32X4, width, Reg(j + 12), Reg(t + 2), Reg(t + 3), 0xdd);
        }
        (0..16).collect()
    }

    fn turn8(&mut self) -> Vec<u8> {
        self.turn_quarters();
        let width = self.b.code.width;
        let asm = &mut self.b.code.asm;
        for j in 0..4 {
            asm.vi(op::PERM2F128, width, Reg(8 + j), Reg(j), Reg(j + 4), 0x20);
            asm.vi(op::PERM2F128, width, Reg(12 + j), Reg(j), Reg(j + 4), 0x31);
        }
        (8..16).collect()
    }
}
