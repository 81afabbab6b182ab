//! Fetches into the first-level cache, while a tile's sums are computed, what its epilogue will read and write, and the
//! left operand of the next tile: short pieces of many rows, which the hardware does not foresee.

use super::Arg;
use super::alloc::{ARGS, TEMP};
use super::asm::{Gpr, Mem};
use super::contract::Writer;
use super::tile::Tile;
use crate::kernel::*;

/// Bytes of a cache line.
const LINE: i32 = 64;
/// Smaller operands, in bytes, stay in the second-level cache.
const FAR: u64 = 1 << 18;
/// More would not stay in the first-level cache until it is used.
const NEAR: i64 = 1 << 15;
/// Sums of fewer rounds end before anything would arrive.
const FEW_ROUNDS: u64 = 4;

/// The innermost loop of a sum.
pub(super) struct Rounds {
    /// How often a tile runs it.
    pub times: u64,
    /// How often each time it runs its body.
    pub count: u64,
    /// The bytes of a row of the left operand that it reads, if these lie together.
    pub along: Option<i64>,
}

/// An operand to fetch: a few pieces in each round of the innermost loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetch {
    pointer: Gpr,
    /// Where each run of the loop begins, from the pointer to the left operand; otherwise it goes on.
    start: Option<i32>,
    /// The first rounds of each run fetch.
    rounds: u64,
    /// Pieces of a round, bytes from one to the next and bytes of each.
    pieces: i32,
    step: i32,
    bytes: i32,
}

impl Fetch {
    /// Deals `pieces` out to the rounds.
    fn new(pointer: Gpr, rounds: &Rounds, pieces: u64, step: i32, bytes: i32) -> Fetch {
        let each = pieces.div_ceil(rounds.count);
        Fetch { pointer, start: None, rounds: pieces.div_ceil(each), pieces: each as i32, step, bytes }
    }
}

impl Writer<'_> {
    /// Finds what a tile will fetch, as far as there are registers for pointers.
    pub(super) fn begin_fetches(&mut self, tile: Tile, one_row: bool, one_column: bool) {
        let Some(rounds) = self.rounds(tile).filter(|r| r.count * r.times >= FEW_ROUNDS && r.times > 0) else { return };
        if !one_row {
            self.begin_rows(tile, &rounds);
        }
        let mut places: Vec<Place> = vec![];
        walk::walk(&self.c.epilogue, &mut |stmt| {
            places.extend(stmt.place().filter(|place| !places.contains(place)).cloned());
        });
        for place in places {
            self.begin_place(tile, &rounds, &place, one_row, one_column);
        }
    }

    /// The left operand of the next tile, where it lies together.
    fn begin_rows(&mut self, tile: Tile, rounds: &Rounds) {
        let bytes = tile.rows as i64 * self.a_row;
        let together = self.a_row > 0 && rounds.along.is_some_and(|along| self.a_row <= along) && bytes <= NEAR;
        if !together || !self.is_far(self.c.a.buf) {
            return;
        }
        let Ok(pointer) = self.b.gpr() else { return };
        let lines = (bytes as u64).div_ceil(LINE as u64);
        self.fetches.push(Fetch { start: Some(bytes as i32), ..Fetch::new(pointer, rounds, lines, LINE, LINE) });
    }

    /// A place of the epilogue.
    fn begin_place(&mut self, tile: Tile, rounds: &Rounds, place: &Place, one_row: bool, one_column: bool) {
        let (m, n) = (self.c.m.var, self.c.n.var);
        let size = self.b.kernel.bufs[place.buf.0 as usize].dtype.size() as i64;
        let outer = place.at.without(m).without(n);
        let outside = outer.terms().iter().all(|(v, _)| !self.b.mine.contains(v));
        let disp = i32::try_from(outer.base() * size);
        let step = i32::try_from(place.at.coeff(m) * size).ok().filter(|s| *s != 0 && s.unsigned_abs() < 1 << 20);
        let (true, Ok(disp), Some(step)) = (outside && place.at.coeff(n) == 1, disp, step) else { return };
        if !self.is_far(place.buf) {
            return;
        }
        let Ok(pointer) = self.b.gpr() else { return };
        let at = self.b.arg(Arg::Pointer(place.buf, outer.clone() - outer.base()));
        let asm = &mut self.b.code.asm;
        asm.load(pointer, Mem::at(ARGS, at));
        asm.add(pointer, disp);
        for (counter, step, is_one) in [(self.row, step, one_row), (self.column, size as i32, one_column)] {
            if !is_one {
                asm.mul(TEMP, counter, step);
                asm.add_reg(pointer, TEMP);
            }
        }
        let bytes = (tile.vectors * self.lanes) as i32 * size as i32;
        let rows = (tile.rows as u64).div_ceil(rounds.times);
        self.fetches.push(Fetch::new(pointer, rounds, rows, step, bytes));
    }

    fn is_far(&self, buf: BufId) -> bool {
        let buf = &self.b.kernel.bufs[buf.0 as usize];
        buf.len * buf.dtype.size() as u64 >= FAR
    }

    /// The rounds of the innermost loop in pieces, with what is fetched in each. `start` is where its run begins in the
    /// left operand.
    pub(super) fn fetches(&mut self, rounds: u64, start: i32) -> Vec<(u64, Vec<Fetch>)> {
        for fetch in &self.fetches {
            if let Some(offset) = fetch.start {
                self.b.code.asm.mov(fetch.pointer, self.a_ptr);
                self.b.code.asm.add(fetch.pointer, start.wrapping_add(offset));
            }
        }
        let mut ends: Vec<u64> = self.fetches.iter().map(|f| f.rounds).chain([rounds]).collect();
        ends.sort_unstable();
        let mut done = 0;
        let piece = |end| {
            let count = end - std::mem::replace(&mut done, end);
            (count, self.fetches.iter().filter(|f| f.rounds >= end).copied().collect())
        };
        ends.into_iter().map(piece).filter(|(count, _)| *count > 0).collect()
    }

    /// Fetches the next pieces.
    pub(super) fn fetch(&mut self, fetches: &[Fetch]) {
        let asm = &mut self.b.code.asm;
        for fetch in fetches {
            for piece in 0..fetch.pieces {
                for line in (0..fetch.bytes).step_by(LINE as usize) {
                    asm.prefetch(Mem::at(fetch.pointer, piece * fetch.step + line));
                }
            }
            asm.add(fetch.pointer, fetch.pieces * fetch.step);
        }
    }

    /// Gives the pointers back.
    pub(super) fn end_fetches(&mut self) {
        for fetch in std::mem::take(&mut self.fetches) {
            self.b.free_gpr(fetch.pointer);
        }
    }
}
