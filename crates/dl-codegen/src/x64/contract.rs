//! Leaves of contractions: tiles of accumulators in registers over all loops of the sum, then the epilogue on them.
//!
//! A tile is a number of rows by a number of vectors of columns. For each step of the sum it loads its vectors of `b`
//! once and broadcasts one element of `a` for each row. Rows and columns that do not fill the largest tile are dealt
//! out evenly, so that there are at most two sizes of each, and the last vector of columns may be masked.

use super::alloc::TEMP;
use super::asm::{Cond, Gpr, Label, Masked, Mem, Reg, Rm};
use super::body::Body;
use super::fetch::{Fetch, Rounds};
use super::lir::V;
use super::op;
use super::tile::{Runs, Tile, plan};
use super::vector::framed;
use super::{Arg, Leaf, Outside, Result, Unsupported, is_wide};
use crate::kernel::ranges::Ranges;
use crate::kernel::*;

/// Multiply-adds that one block of straight code may have.
const STRAIGHT: usize = 320;
/// Steps of the innermost loop at once, where it is long.
const STEPS: u64 = 4;
/// The next rows of `b` are fetched so many steps ahead, by tiles that take their time with each: more where `b` does not
/// stay in the second-level cache.
const PREFETCH_STEPS: i64 = 8;
const PREFETCH_STEPS_FAR: i64 = 32;
const LARGE: u64 = 1 << 21;
const PREFETCH_ROWS: usize = 6;

/// A contraction as a leaf.
pub fn contract(
    kernel: &Kernel,
    ranges: &Ranges,
    evex: bool,
    outside: &dyn Fn(Value) -> Outside,
    c: &Contract,
) -> Result<Leaf> {
    let dtype = kernel.bufs[c.a.buf.0 as usize].dtype;
    if !dtype.is_float() || c.lanes != Lanes::N || c.b.at.coeff(c.n.var) != 1 {
        return Err(Unsupported);
    }
    let mut b = Body::new(kernel, ranges, evex, outside, 0);
    let lanes = b.code.width.bytes() / dtype.size();
    // Counters are compared with numbers of 32 bits.
    let fits = c.m.extent.max(c.n.extent) < (1 << 31) - 64;
    if !fits || c.n.extent < 2 || !evex && is_wide(dtype) {
        return Err(Unsupported);
    }
    let size = dtype.size() as i64;
    let k = c.k.iter().map(|k| Level {
        bounds: k.lo.as_const().zip(k.hi.as_const()),
        lo: k.lo.clone(),
        hi: k.hi.clone(),
        a: c.a.at.coeff(k.var) * size,
        b: c.b.at.coeff(k.var) * size,
    });
    let (a_row, k) = (c.a.at.coeff(c.m.var) * size, k.collect());
    b.define(&[c.m.var, c.n.var], &c.epilogue);
    // The loops of the sum are run by hand.
    let own: Vec<Var> = c.k.iter().map(|k| k.var).chain([c.m.var, c.n.var]).collect();
    let outer = |place: &Place| own.iter().fold(place.at.clone(), |at, v| at.without(*v));
    let start = |b: &mut Body<'_>, place: &Place| {
        let at = outer(place);
        let base = i32::try_from(at.base() * size).map_err(|_| Unsupported)?;
        Ok((b.arg(Arg::Pointer(place.buf, at.clone() - at.base())), base))
    };
    let (a_arg, b_arg) = (start(&mut b, &c.a)?, start(&mut b, &c.b)?);
    let regs = [b.gpr()?, b.gpr()?, b.gpr()?, b.gpr()?, b.gpr()?];
    let [a_ptr, b_ptr, trip, row, column] = regs;
    let mut w = Writer {
        b,
        c,
        dtype,
        lanes,
        k,
        a_row,
        a_arg,
        b_arg,
        a_ptr,
        b_ptr,
        trip,
        row,
        column,
        tail: None,
        fetches: vec![],
    };
    w.write()?;
    let args = w.b.args;
    Ok(Leaf { code: framed(w.b.code, &w.b.saved)?, args })
}

/// A loop of the sum: bounds, and the bytes that a step moves in each operand.
struct Level {
    bounds: Option<(i64, i64)>,
    lo: Affine,
    hi: Affine,
    a: i64,
    b: i64,
}

impl Level {
    fn trips(&self) -> Option<u64> {
        self.bounds.map(|(lo, hi)| (hi - lo).max(0) as u64)
    }
}

pub(super) struct Writer<'k> {
    pub(super) b: Body<'k>,
    pub(super) c: &'k Contract,
    pub(super) dtype: DType,
    pub(super) lanes: usize,
    k: Vec<Level>,
    /// Bytes from row to row of `a`.
    pub(super) a_row: i64,
    /// The operands: argument and constant displacement.
    pub(super) a_arg: (i32, i32),
    pub(super) b_arg: (i32, i32),
    pub(super) a_ptr: Gpr,
    pub(super) b_ptr: Gpr,
    pub(super) trip: Gpr,
    /// The first row and column of the running tile.
    pub(super) row: Gpr,
    pub(super) column: Gpr,
    /// The mask of the last vector of columns.
    pub(super) tail: Option<V>,
    /// What the running tile fetches.
    pub(super) fetches: Vec<Fetch>,
}

impl Writer<'_> {
    fn write(&mut self) -> Result<()> {
        let c = self.c;
        let depth = self.k.iter().map(|k| k.trips().unwrap_or(64)).product::<u64>();
        let vectors = c.n.extent.div_ceil(self.lanes as u64);
        let evex = self.b.evex();
        let over = (c.n.extent % self.lanes as u64) as usize;
        if over > 0 {
            let mask = self.b.first_lanes(over);
            match evex {
                true => self.b.code.hold(mask)?,
                // Accumulators are in the registers from the first one on.
                false => self.b.code.hold_at(mask, 15),
            }
            self.b.flush()?;
            self.tail = Some(mask);
        }
        let registers = if evex { 32 } else { 16 - usize::from(over > 0) };
        let plan = plan(c.m.extent, vectors, over > 0, depth, registers);
        let single = plan.len() == 1 && plan[0].columns.count == 1;
        for Runs { columns, rows } in &plan {
            self.set(self.column, columns.start as i64 * self.lanes as i64);
            let again = self.loop_start(columns.count);
            for run in rows {
                let one_row = rows.len() == 1 && run.count == 1;
                self.set(self.row, run.start as i64);
                let next = self.loop_start(run.count);
                let tile = Tile {
                    rows: run.size,
                    vectors: columns.size,
                    masked: over > 0 && columns.start + columns.size as u64 * columns.count == vectors,
                };
                self.tile(tile, one_row, single)?;
                self.loop_end(next, self.row, run.start + run.size as u64 * run.count, 0);
            }
            let step = columns.size * self.lanes;
            let end = (columns.start + columns.size as u64 * columns.count) * self.lanes as u64;
            self.loop_end(again, self.column, end, step as i32);
        }
        Ok(())
    }

    fn set(&mut self, reg: Gpr, x: i64) {
        self.b.code.asm.set(reg, x);
    }

    fn loop_start(&mut self, count: u64) -> Option<Label> {
        (count > 1).then(|| self.b.code.asm.here())
    }

    fn loop_end(&mut self, start: Option<Label>, reg: Gpr, end: u64, step: i32) {
        if step != 0 {
            self.b.code.asm.add(reg, step);
        }
        if let Some(start) = start {
            self.b.code.asm.cmp(reg, end as i32);
            self.b.code.asm.jump_if(Cond::Less, start);
        }
    }

    /// One tile; afterwards `row` is at the next one.
    fn tile(&mut self, tile: Tile, one_row: bool, one_column: bool) -> Result<()> {
        let size = self.dtype.size() as i32;
        let a_row = i32::try_from(self.a_row).map_err(|_| Unsupported)?;
        if i64::from(a_row) * tile.rows as i64 > i64::from(i32::MAX / 2) {
            return Err(Unsupported);
        }
        let sums = tile.rows * tile.vectors * tile.sets(self.registers());
        let width = self.b.code.width;
        let asm = &mut self.b.code.asm;
        asm.load(self.a_ptr, Mem::at(super::alloc::ARGS, self.a_arg.0));
        if !one_row {
            asm.mul(TEMP, self.row, a_row);
            asm.add_reg(self.a_ptr, TEMP);
        }
        asm.load(self.b_ptr, Mem::at(super::alloc::ARGS, self.b_arg.0));
        if !one_column {
            asm.mul(TEMP, self.column, size);
            asm.add_reg(self.b_ptr, TEMP);
        }
        for r in 0..sums {
            asm.v(op::PXORD, width, Reg(r as u8), Reg(r as u8), Reg(r as u8));
        }
        self.begin_fetches(tile, one_row, one_column);
        self.level(tile, 0, Disp { a: i64::from(self.a_arg.1), b: i64::from(self.b_arg.1) })?;
        self.end_fetches();
        self.join_sets(tile);
        self.epilogue(tile, one_row, one_column)
    }

    fn registers(&self) -> usize {
        if self.b.evex() { 32 } else { 16 - usize::from(self.tail.is_some()) }
    }

    /// The innermost loops, not further out than `level`, which together are short enough to run as straight code: where
    /// their steps are in the operands; and the number of loops around them.
    fn flat(&self, tile: Tile, level: usize) -> (Vec<(i64, i64)>, usize) {
        let fmas = tile.rows * tile.vectors;
        let (mut flat, mut loops) = (vec![(0i64, 0i64)], self.k.len());
        while loops > level
            && let Some((lo, _)) = self.k[loops - 1].bounds
            && let Some(trips) = self.k[loops - 1].trips()
            && flat.len() as u64 * trips * fmas as u64 <= STRAIGHT.max(fmas * STEPS as usize) as u64
        {
            loops -= 1;
            let (a, b) = (self.k[loops].a, self.k[loops].b);
            let outer = (lo..lo + trips as i64).map(|i| (i * a, i * b));
            flat = outer.flat_map(|(a, b)| flat.iter().map(move |(x, y)| (a + x, b + y))).collect();
        }
        (flat, loops)
    }

    /// The innermost loop of the sum that is not straight code, if its length is known: how often a tile runs it, its
    /// rounds, and whether it reads rows of `a` from beginning to end.
    pub(super) fn rounds(&self, tile: Tile) -> Option<Rounds> {
        let (flat, loops) = self.flat(tile, 0);
        let (inner, outer) = self.k[..loops].split_last()?;
        let times = outer.iter().map(Level::trips).product::<Option<u64>>()?;
        let trips = inner.trips()?;
        let along = (flat.len() == 1).then_some(inner.a * trips as i64);
        Some(Rounds { times, count: trips / steps_at_once(&flat), along: along.filter(|_| inner.a == self.size()) })
    }

    pub(super) fn size(&self) -> i64 {
        self.dtype.size() as i64
    }

    /// The loops of the sum from `level` inwards.
    fn level(&mut self, tile: Tile, level: usize, at: Disp) -> Result<()> {
        let (flat, loops) = self.flat(tile, level);
        if loops == level {
            return self.steps(tile, at, &flat);
        }
        let (a_step, b_step) = (self.k[level].a, self.k[level].b);
        let (a_add, b_add) = (int(a_step)?, int(b_step)?);
        let innermost = level + 1 == self.k.len();
        let flat_inner = loops == level + 1;
        let steps = if flat_inner { steps_at_once(&flat) } else { 1 };
        let unrolled: Vec<(i64, i64)> =
            (0..steps as i64).flat_map(|i| flat.iter().map(move |(a, b)| (i * a_step + a, i * b_step + b))).collect();
        match self.k[level].bounds {
            Some((lo, _)) => {
                let trips = self.k[level].trips().unwrap_or(0);
                let at = Disp { a: at.a + lo * a_step, b: at.b + lo * b_step };
                let (rounds, left) = (trips / steps, trips % steps);
                if flat_inner {
                    let (a, b) = (int(a_step * steps as i64)?, int(b_step * steps as i64)?);
                    for (rounds, fetches) in self.fetches(rounds, int(at.a)?) {
                        self.counted(rounds, |w| {
                            w.fetch(&fetches);
                            w.steps(tile, at, &unrolled)?;
                            w.advance(a, b);
                            Ok(())
                        })?;
                    }
                    let rest: Vec<(i64, i64)> = (0..left as i64)
                        .flat_map(|i| flat.iter().map(move |(a, b)| (i * a_step + a, i * b_step + b)))
                        .collect();
                    return self.steps(tile, at, &rest);
                }
                let saved = self.b.code.reserve(24);
                self.set(TEMP, trips as i64);
                self.b.code.asm.store(Mem::at(Gpr::RSP, saved), TEMP);
                if trips == 0 {
                    return Ok(());
                }
                let top = self.b.code.asm.here();
                self.nested(tile, level, at, saved, (a_add, b_add))?;
                self.b.code.asm.add_mem(Mem::at(Gpr::RSP, saved), -1);
                self.b.code.asm.jump_if(Cond::NotEqual, top);
                Ok(())
            }
            None => {
                let (lo, hi) = (self.k[level].lo.clone(), self.k[level].hi.clone());
                let (lo, hi) = (self.b.arg(Arg::Index(lo)), self.b.arg(Arg::Index(hi)));
                let asm = &mut self.b.code.asm;
                asm.load(self.trip, Mem::at(super::alloc::ARGS, lo));
                asm.mul(TEMP, self.trip, a_add);
                asm.add_reg(self.a_ptr, TEMP);
                asm.mul(TEMP, self.trip, b_add);
                asm.add_reg(self.b_ptr, TEMP);
                asm.load(TEMP, Mem::at(super::alloc::ARGS, hi));
                asm.sub_reg(TEMP, self.trip);
                asm.mov(self.trip, TEMP);
                let done = asm.label();
                asm.cmp(self.trip, 1);
                asm.jump_if(Cond::Less, done);
                if innermost || flat_inner {
                    let top = asm.here();
                    self.steps(tile, at, &flat)?;
                    self.advance(a_add, b_add);
                    self.b.code.asm.add(self.trip, -1);
                    self.b.code.asm.jump_if(Cond::NotEqual, top);
                } else {
                    let saved = self.b.code.reserve(24);
                    let asm = &mut self.b.code.asm;
                    asm.store(Mem::at(Gpr::RSP, saved), self.trip);
                    let top = asm.here();
                    self.nested(tile, level, at, saved, (a_add, b_add))?;
                    self.b.code.asm.add_mem(Mem::at(Gpr::RSP, saved), -1);
                    self.b.code.asm.jump_if(Cond::NotEqual, top);
                }
                self.b.code.asm.place(done);
                Ok(())
            }
        }
    }

    /// An iteration of a loop with loops inside, which move the pointers.
    fn nested(&mut self, tile: Tile, level: usize, at: Disp, saved: i32, (a, b): (i32, i32)) -> Result<()> {
        let asm = &mut self.b.code.asm;
        asm.store(Mem::at(Gpr::RSP, saved + 8), self.a_ptr);
        asm.store(Mem::at(Gpr::RSP, saved + 16), self.b_ptr);
        self.level(tile, level + 1, at)?;
        let asm = &mut self.b.code.asm;
        asm.load(self.a_ptr, Mem::at(Gpr::RSP, saved + 8));
        asm.load(self.b_ptr, Mem::at(Gpr::RSP, saved + 16));
        self.advance(a, b);
        Ok(())
    }

    /// A loop of so many rounds.
    fn counted(&mut self, rounds: u64, body: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if rounds == 1 {
            return body(self);
        }
        self.set(self.trip, rounds as i64);
        self.b.code.asm.align(32);
        let top = self.b.code.asm.here();
        body(self)?;
        self.b.code.asm.add(self.trip, -1);
        self.b.code.asm.jump_if(Cond::NotEqual, top);
        Ok(())
    }

    fn advance(&mut self, a: i32, b: i32) {
        if a != 0 {
            self.b.code.asm.add(self.a_ptr, a);
        }
        if b != 0 {
            self.b.code.asm.add(self.b_ptr, b);
        }
    }

    /// Adds the products of some steps.
    fn steps(&mut self, tile: Tile, at: Disp, steps: &[(i64, i64)]) -> Result<()> {
        let sets = tile.sets(self.registers());
        for (i, (a, b)) in steps.iter().enumerate() {
            self.step(tile, i % sets, at.a + a, at.b + b)?;
        }
        Ok(())
    }

    /// Adds one product to each accumulator of a set.
    fn step(&mut self, tile: Tile, set: usize, a: i64, b: i64) -> Result<()> {
        let (width, wide) = (self.b.code.width, is_wide(self.dtype));
        let (load, broadcast, fma) = match wide {
            false => (op::MOVUPS, op::BROADCASTSS, op::FMADD231PS),
            true => (op::MOVUPD, op::BROADCASTSD, op::FMADD231PD),
        };
        let sums = tile.rows * tile.vectors;
        let first = sums * tile.sets(self.registers());
        let tail = self.tail.map(|v| self.b.code.reg(v).0);
        let evex = self.b.evex();
        let asm = &mut self.b.code.asm;
        let acc = |i: usize, j: usize| Reg((set * sums + i * tile.vectors + j) as u8);
        let b_reg = |j: usize| Reg((first + j) as u8);
        let a_reg = Reg((first + tile.vectors) as u8);
        let vector = width.bytes() as i64;
        // A single row reads `b` once only: straight from memory.
        let direct = tile.rows == 1 && !tile.masked;
        if !direct {
            // Rows of `b` are read once for many rows of `a`: they come from further away than the first-level cache.
            if let Some(k) = self.k.last().filter(|_| tile.rows >= PREFETCH_ROWS) {
                let b_buf = &self.b.kernel.bufs[self.c.b.buf.0 as usize];
                let large = b_buf.len * b_buf.dtype.size() as u64 >= LARGE;
                let ahead = b + k.b * if large { PREFETCH_STEPS_FAR } else { PREFETCH_STEPS };
                for j in 0..tile.vectors {
                    if let Ok(disp) = int(ahead + j as i64 * vector) {
                        asm.prefetch(Mem::at(self.b_ptr, disp));
                    }
                }
            }
            for j in 0..tile.vectors {
                let mem = Mem::at(self.b_ptr, int(b + j as i64 * vector)?);
                if tile.masked && j + 1 == tile.vectors {
                    let mask = tail.unwrap_or(0);
                    match evex {
                        true => {
                            let masked = Masked { mask, zero: true };
                            asm.vector(load, width, b_reg(j).0, 0, Rm::Mem(mem), masked, &[]);
                        }
                        false => asm.v(op::MASKMOVPS, width, b_reg(j), Reg(mask), mem),
                    }
                } else {
                    asm.v(load, width, b_reg(j), Reg(0), mem);
                }
            }
        }
        for i in 0..tile.rows {
            let mem = Mem::at(self.a_ptr, int(a + i as i64 * self.a_row)?);
            if tile.vectors == 1 && evex && !direct {
                // One use: the instruction repeats the element itself.
                asm.v(fma, width, acc(i, 0), b_reg(0), Rm::Splat(mem));
                continue;
            }
            asm.v(broadcast, width, a_reg, Reg(0), mem);
            for j in 0..tile.vectors {
                if direct {
                    let mem = Mem::at(self.b_ptr, int(b + j as i64 * vector)?);
                    asm.v(fma, width, acc(i, j), a_reg, mem);
                } else {
                    asm.v(fma, width, acc(i, j), a_reg, b_reg(j));
                }
            }
        }
        Ok(())
    }

    /// Adds the sets of accumulators up.
    fn join_sets(&mut self, tile: Tile) {
        let sums = tile.rows * tile.vectors;
        let (add, width) = (if is_wide(self.dtype) { op::ADDPD } else { op::ADDPS }, self.b.code.width);
        for set in 1..tile.sets(self.registers()) {
            for r in 0..sums {
                let (to, from) = (Reg(r as u8), Reg((set * sums + r) as u8));
                self.b.code.asm.v(add, width, to, to, from);
            }
        }
    }
}

/// Constant displacements of the operands, in bytes.
#[derive(Clone, Copy)]
struct Disp {
    a: i64,
    b: i64,
}

/// How many steps of the innermost loop around straight code run in one round.
fn steps_at_once(flat: &[(i64, i64)]) -> u64 {
    (STEPS / flat.len().max(1) as u64).max(1)
}

fn int(x: i64) -> Result<i32> {
    i32::try_from(x).map_err(|_| Unsupported)
}
