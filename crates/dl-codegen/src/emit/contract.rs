//! Contractions: tiles of accumulators in registers over all loops of the sum, then the epilogue.

use super::lanes::{lanes_of, vector_type};
use super::tile::{Columns, Run, plan};
use super::*;
use cranelift_codegen::ir::{MemFlagsData, StackSlotData, StackSlotKind};

/// Multiply-adds that one block of straight code may have.
const UNROLL: usize = 64;
/// Steps of the innermost loop at once, where it is long.
const STEPS: usize = 4;
/// An epilogue of more statements is a loop over the rows of the tile instead of a copy for each.
const LONG_EPILOGUE: usize = 12;

/// The operands during the loops of the sum: an address and a constant displacement each, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    pub a: ir::Value,
    pub b: ir::Value,
    pub a_disp: i64,
    pub b_disp: i64,
}

/// Emits what one iteration adds to the sums.
type Step<'f, E> = &'f dyn Fn(&mut E, Cursor, Vec<ir::Value>) -> Vec<ir::Value>;

/// A tile and the bytes from one element to the next.
pub(super) struct Tile<'c> {
    pub contract: &'c Contract,
    pub dtype: DType,
    pub rows: usize,
    pub columns: Columns,
    /// Of `a`, from row to row.
    pub a_row: i64,
    /// Of `b`, from column to column.
    pub b_column: i64,
    /// Of `a` and `b`, for each loop of the sum.
    pub k: Vec<(i64, i64)>,
}

impl Tile<'_> {
    fn constant_trips(&self, level: usize) -> Option<(i64, u64)> {
        let k = &self.contract.k[level];
        let (lo, hi) = (k.lo.as_const()?, k.hi.as_const()?);
        Some((lo, (hi - lo).max(0) as u64))
    }
}

impl Emitter<'_> {
    /// Emits a contraction: for each run of column tiles, for each run of row tiles, the loops over both.
    pub fn contract(&mut self, c: &Contract) {
        if self.contract_leaf(c) {
            return;
        }
        let (a, b) = (self.kernel.bufs[c.a.buf.0 as usize].dtype, self.kernel.bufs[c.b.buf.0 as usize].dtype);
        let (a_size, b_size) = (a.size() as i64, b.size() as i64);
        [&c.a, &c.b].into_iter().for_each(|place| self.hoist_place(place));
        self.hoist(&c.epilogue);
        for (panel, columns, runs) in plan(c.m.extent, c.n.extent, a, c.lanes, self.isa.has_fma()) {
            self.tiles(&panel, |e, n| {
                e.bind(c.n.var, n.clone());
                for run in &runs {
                    let tile = Tile {
                        contract: c,
                        dtype: a,
                        rows: run.size,
                        columns,
                        a_row: c.a.at.coeff(c.m.var) * a_size,
                        b_column: c.b.at.coeff(c.n.var) * b_size,
                        k: c.k.iter().map(|k| (c.a.at.coeff(k.var) * a_size, c.b.at.coeff(k.var) * b_size)).collect(),
                    };
                    e.tiles(run, |e, m| e.tile(&tile, &m, &n));
                }
                e.unbind(c.n.var);
            });
        }
    }

    fn tiles(&mut self, run: &Run, f: impl FnOnce(&mut Self, Ix)) {
        self.repeat((run.start as i64, run.size as i64, run.count), &[], |e, ix, _| {
            f(e, ix);
            Vec::new()
        });
    }

    fn tile(&mut self, tile: &Tile, m: &Ix, n: &Ix) {
        let c = tile.contract;
        self.bind(c.m.var, m.clone());
        for k in &c.k {
            self.bind(k.var, Ix::constant(0));
        }
        let (a, a_disp) = self.start(&c.a);
        let (b, b_disp) = self.start(&c.b);
        c.k.iter().for_each(|k| self.unbind(k.var));
        let cursor = Cursor { a, b, a_disp, b_disp };
        let sums = match c.lanes {
            Lanes::N => {
                let zero = self.zeros(tile, self.row_registers(tile) * tile.rows);
                self.sum_n(tile, 0, cursor, zero)
            }
            Lanes::K => self.sum_k(tile, cursor),
        };
        self.epilogue(tile, m, n, &sums);
        self.unbind(c.m.var);
    }

    fn start(&mut self, place: &Place) -> (ir::Value, i64) {
        match self.address(place) {
            index::Address::Strided { pointer, disp, .. } => (pointer, i64::from(disp)),
            index::Address::Lanes(_) => unreachable!("verified: no vector loop around a contraction"),
        }
    }

    /// Registers of one row of the results.
    pub fn row_registers(&self, tile: &Tile) -> usize {
        match tile.columns {
            Columns::Groups { groups, .. } => groups * 4 / lanes_of(tile.dtype),
            Columns::Scalars(n) => n,
        }
    }

    fn zeros(&mut self, tile: &Tile, n: usize) -> Vec<ir::Value> {
        let zero = Lit { dtype: tile.dtype, bits: 0 };
        (0..n)
            .map(|_| match tile.columns {
                Columns::Groups { .. } => self.vector_constant(zero),
                Columns::Scalars(_) => self.constant(zero),
            })
            .collect()
    }

    /// The loops of the sum from `level` inwards, vectors along the columns.
    fn sum_n(&mut self, tile: &Tile, level: usize, at: Cursor, sums: Vec<ir::Value>) -> Vec<ir::Value> {
        let fmas = sums.len();
        // The innermost loops which together are short run as straight code.
        let (mut flat, mut loops) = (vec![(0, 0)], tile.k.len());
        while loops > level
            && let Some((lo, trips)) = tile.constant_trips(loops - 1)
            && flat.len() * trips as usize * fmas <= UNROLL.max(fmas * STEPS)
        {
            loops -= 1;
            let (a, b) = tile.k[loops];
            let outer = (lo..lo + trips as i64).map(|i| (i * a, i * b));
            flat = outer.flat_map(|(a, b)| flat.iter().map(move |(x, y)| (a + x, b + y))).collect();
        }
        if loops == level {
            return flat.iter().fold(sums, |sums, (a, b)| {
                self.step(tile, Cursor { a_disp: at.a_disp + a, b_disp: at.b_disp + b, ..at }, sums)
            });
        }
        let steps = if loops == level + 1 { (STEPS / flat.len().max(1)).max(1) } else { 1 };
        self.k_loop(tile, level, steps, at, sums, &|e, at, sums| e.sum_n(tile, level + 1, at, sums))
    }

    /// One loop of the sum, `steps` iterations at once; what is left over follows it.
    pub fn k_loop(
        &mut self,
        tile: &Tile,
        level: usize,
        steps: usize,
        at: Cursor,
        sums: Vec<ir::Value>,
        body: Step<Self>,
    ) -> Vec<ir::Value> {
        let (a_step, b_step) = tile.k[level];
        let several = |e: &mut Self, at: Cursor, sums: Vec<ir::Value>, n: usize| {
            (0..n as i64).fold(sums, |sums, i| {
                let (a_disp, b_disp) = (at.a_disp + i * a_step, at.b_disp + i * b_step);
                body(e, Cursor { a_disp, b_disp, ..at }, sums)
            })
        };
        let advance = |e: &mut Self, at: Cursor, n: i64| {
            [e.b.ins().iadd_imm_s(at.a, n * a_step), e.b.ins().iadd_imm_s(at.b, n * b_step)]
        };
        let Some((lo, trips)) = tile.constant_trips(level) else {
            let k = &tile.contract.k[level];
            let (lo, hi) = (self.index_value(&k.lo), self.index_value(&k.hi));
            let (a, b) = (self.times(lo, a_step), self.times(lo, b_step));
            let (a, b) = (self.b.ins().iadd(at.a, a), self.b.ins().iadd(at.b, b));
            let init = [&[a, b], sums.as_slice()].concat();
            let outs = self.counted(lo, hi, &init, |e, _, now| {
                let at = Cursor { a: now[0], b: now[1], ..at };
                let sums = body(e, at, now[2..].to_vec());
                [advance(e, at, 1).as_slice(), &sums].concat()
            });
            return outs[2..].to_vec();
        };
        let at = Cursor { a_disp: at.a_disp + lo * a_step, b_disp: at.b_disp + lo * b_step, ..at };
        let (rounds, left) = (trips / steps as u64, trips as usize % steps);
        if rounds <= 1 {
            return several(self, at, sums, trips as usize);
        }
        let init = [&[at.a, at.b], sums.as_slice()].concat();
        let outs = self.repeat((0, 1, rounds), &init, |e, _, now| {
            let at = Cursor { a: now[0], b: now[1], ..at };
            let sums = several(e, at, now[2..].to_vec(), steps);
            [advance(e, at, steps as i64).as_slice(), &sums].concat()
        });
        several(self, Cursor { a: outs[0], b: outs[1], ..at }, outs[2..].to_vec(), left)
    }

    /// Adds one product to each accumulator.
    fn step(&mut self, tile: &Tile, at: Cursor, mut sums: Vec<ir::Value>) -> Vec<ir::Value> {
        let row = self.row_registers(tile);
        if !self.isa.has_fma() {
            // Products overwrite a factor, and each copy before is an instruction more: the last row has none, so tiles
            // are of few rows and many columns, whose elements of `b` are loaded one after the other.
            let a: Vec<ir::Value> = (0..tile.rows).map(|i| self.load_a(tile, at, i)).collect();
            for j in 0..row {
                let b = self.load_b(tile, at, j);
                for (i, a) in a.iter().enumerate() {
                    let sum = &mut sums[i * row + j];
                    let (first, second) = if i + 1 == tile.rows { (b, *a) } else { (*a, b) };
                    *sum = self.multiply_add(tile.dtype, first, second, *sum);
                }
            }
            return sums;
        }
        let b: Vec<ir::Value> = (0..row).map(|j| self.load_b(tile, at, j)).collect();
        for i in 0..tile.rows {
            let a = self.load_a(tile, at, i);
            for j in 0..row {
                let sum = &mut sums[i * row + j];
                // The instruction overwrites its first factor: in the last row that is `b`, which saves a copy.
                *sum = if i + 1 == tile.rows {
                    self.multiply_add(tile.dtype, b[j], a, *sum)
                } else {
                    self.multiply_add(tile.dtype, a, b[j], *sum)
                };
            }
        }
        sums
    }

    /// An element of `a`, spread over a register.
    fn load_a(&mut self, tile: &Tile, at: Cursor, row: usize) -> ir::Value {
        let (pointer, disp) = self.displaced(at.a, at.a_disp + row as i64 * tile.a_row);
        let a = self.load_scalar(tile.dtype, pointer, disp);
        match tile.columns {
            Columns::Groups { .. } => self.splat(tile.dtype, a),
            Columns::Scalars(_) => a,
        }
    }

    fn load_b(&mut self, tile: &Tile, at: Cursor, register: usize) -> ir::Value {
        let scalars = |e: &mut Self, first: usize, n: usize| -> Vec<ir::Value> {
            (first..first + n)
                .map(|column| {
                    let offset = tile.columns.column(column) * tile.b_column;
                    let (pointer, disp) = e.displaced(at.b, at.b_disp + offset);
                    e.load_scalar(tile.dtype, pointer, disp)
                })
                .collect()
        };
        let lanes = lanes_of(tile.dtype);
        match tile.columns {
            Columns::Scalars(_) => scalars(self, register, 1)[0],
            Columns::Groups { .. } if tile.b_column == tile.dtype.size() as i64 => {
                let offset = tile.columns.column(register * lanes) * tile.b_column;
                let (pointer, disp) = self.displaced(at.b, at.b_disp + offset);
                self.load_register(tile.dtype, pointer, disp)
            }
            Columns::Groups { .. } => {
                let all = scalars(self, register * lanes, lanes);
                self.assemble(tile.dtype, &all)[0]
            }
        }
    }

    /// `a * b + c` of the tile's type.
    pub fn multiply_add(&mut self, dtype: DType, a: ir::Value, b: ir::Value, c: ir::Value) -> ir::Value {
        if dtype.is_float() {
            return self.fused(a, b, c);
        }
        let product = self.b.ins().imul(a, b);
        self.b.ins().iadd(product, c)
    }

    /// An address whose displacement fits an instruction.
    pub fn displaced(&mut self, pointer: ir::Value, disp: i64) -> (ir::Value, i32) {
        match i32::try_from(disp) {
            Ok(disp) => (pointer, disp),
            Err(_) => (self.b.ins().iadd_imm_s(pointer, disp), 0),
        }
    }

    fn epilogue(&mut self, tile: &Tile, m: &Ix, n: &Ix, sums: &[ir::Value]) {
        let c = tile.contract;
        let row = self.row_registers(tile);
        let mut statements = 0;
        crate::kernel::walk::walk(&c.epilogue, &mut |_| statements += 1);
        if statements <= LONG_EPILOGUE || tile.rows == 1 {
            self.scope(|e| {
                for (i, sums) in sums.chunks(row).enumerate() {
                    e.bind(c.m.var, m.offset(i as i64));
                    e.epilogue_row(tile, n, sums);
                }
            });
            return;
        }
        // Through memory, so that the code is there once.
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, (sums.len() * 16) as u32, 4);
        let slot = self.b.create_sized_stack_slot(slot);
        let base = self.b.ins().stack_addr(types::I64, slot, 0);
        let flags = MemFlagsData::new().with_notrap();
        for (i, sum) in sums.iter().enumerate() {
            self.b.ins().store(flags, *sum, base, (i * 16) as i32);
        }
        let first = self.index_value(&c.m.var.into());
        let ty = match tile.columns {
            Columns::Groups { .. } => vector_type(tile.dtype),
            Columns::Scalars(_) => lanes::scalar_type(tile.dtype),
        };
        self.repeat((0, 1, tile.rows as u64), &[], |e, i, _| {
            let i = match i {
                Ix::Uniform { base: Some(i), .. } => i,
                _ => e.iconst(0),
            };
            let offset = e.times(i, (row * 16) as i64);
            let here = e.b.ins().iadd(base, offset);
            let sums: Vec<ir::Value> = (0..row).map(|j| e.b.ins().load(ty, flags, here, (j * 16) as i32)).collect();
            let now = e.b.ins().iadd(first, i);
            e.bind(c.m.var, Ix::of(now));
            e.epilogue_row(tile, n, &sums);
            Vec::new()
        });
    }

    fn epilogue_row(&mut self, tile: &Tile, n: &Ix, sums: &[ir::Value]) {
        let c = tile.contract;
        match tile.columns {
            Columns::Groups { groups, back } => {
                // Of the overlapping group the columns that are its own are finished one by one.
                let (whole, last) = sums.split_at(sums.len() * (groups - usize::from(back > 0)) / groups);
                if !whole.is_empty() {
                    self.groups = whole.len() * lanes_of(tile.dtype) / 4;
                    self.bind(c.n.var, n.clone().vector());
                    self.set(c.acc, Rep::Lanes(whole.to_vec()));
                    self.block(&c.epilogue);
                    self.groups = 0;
                }
                for lane in (back..4).filter(|_| !last.is_empty()) {
                    let sum = self.extract(tile.dtype, last, lane);
                    let column = tile.columns.column((groups - 1) * 4 + lane);
                    self.bind(c.n.var, n.offset(column));
                    self.set(c.acc, Rep::Scalar(sum));
                    self.block(&c.epilogue);
                }
            }
            Columns::Scalars(_) => {
                for (j, sum) in sums.iter().enumerate() {
                    self.bind(c.n.var, n.offset(j as i64));
                    self.set(c.acc, Rep::Scalar(*sum));
                    self.block(&c.epilogue);
                }
            }
        }
        self.bind(c.n.var, n.clone());
    }
}
