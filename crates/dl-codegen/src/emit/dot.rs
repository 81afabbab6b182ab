//! Contractions with vectors along the innermost loop of the sum (a product with a transposed right side).

use super::contract::{Cursor, Tile};
use super::lanes::{lanes_of, vector_type};
use super::tile::Columns;
use super::*;

impl Emitter<'_> {
    /// The sums of a tile, in the registers that the epilogue expects.
    pub fn sum_k(&mut self, tile: &Tile, at: Cursor) -> Vec<ir::Value> {
        let columns = match tile.columns {
            Columns::Groups { groups, .. } => groups * 4,
            Columns::Scalars(n) => n,
        };
        let zero = Lit { dtype: tile.dtype, bits: 0 };
        let zeros = (0..tile.rows * columns).map(|_| self.vector_constant(zero)).collect();
        let sums = self.outer_k(tile, columns, 0, at, zeros);
        let mut results = Vec::new();
        for row in sums.chunks(columns) {
            match tile.columns {
                Columns::Groups { .. } => {
                    for group in row.chunks(4) {
                        results.extend(self.transposed_sums(tile.dtype, group));
                    }
                }
                Columns::Scalars(_) => {
                    results.extend(row.iter().map(|sum| self.across(BinOp::Add, tile.dtype, &[*sum])));
                }
            }
        }
        results
    }

    fn outer_k(
        &mut self,
        tile: &Tile,
        columns: usize,
        level: usize,
        at: Cursor,
        sums: Vec<ir::Value>,
    ) -> Vec<ir::Value> {
        if level + 1 < tile.k.len() {
            return self.k_loop(tile, level, 1, at, sums, &|e, at, sums| e.outer_k(tile, columns, level + 1, at, sums));
        }
        let lanes = lanes_of(tile.dtype) as u64;
        let inner = &tile.contract.k[level];
        let (Some(lo), Some(hi)) = (inner.lo.as_const(), inner.hi.as_const()) else {
            // Bounds which are not known: one element at a time, in lane 0.
            return self.k_loop(tile, level, 1, at, sums, &|e, at, sums| e.step_k(tile, columns, at, sums, false));
        };
        let trips = (hi - lo).max(0) as u64;
        let (a_step, b_step) = tile.k[level];
        let at = Cursor { a_disp: at.a_disp + lo * a_step, b_disp: at.b_disp + lo * b_step, ..at };
        let (rounds, left) = (trips / lanes, trips % lanes);
        let (a_jump, b_jump) = (lanes as i64 * a_step, lanes as i64 * b_step);
        let steps = if rounds >= 4 { 2 } else { rounds.max(1) };
        let several = |e: &mut Self, at: Cursor, sums: Vec<ir::Value>, n: u64| {
            (0..n as i64).fold(sums, |sums, i| {
                let at = Cursor { a_disp: at.a_disp + i * a_jump, b_disp: at.b_disp + i * b_jump, ..at };
                e.step_k(tile, columns, at, sums, true)
            })
        };
        let (mut at, mut sums) = (at, sums);
        if rounds / steps > 1 {
            let init = [&[at.a, at.b], sums.as_slice()].concat();
            let outs = self.repeat((0, 1, rounds / steps), &init, |e, _, now| {
                let here = Cursor { a: now[0], b: now[1], ..at };
                let sums = several(e, here, now[2..].to_vec(), steps);
                let a = e.b.ins().iadd_imm_s(now[0], steps as i64 * a_jump);
                let b = e.b.ins().iadd_imm_s(now[1], steps as i64 * b_jump);
                [&[a, b], sums.as_slice()].concat()
            });
            (at.a, at.b, sums) = (outs[0], outs[1], outs[2..].to_vec());
        } else {
            sums = several(self, at, sums, rounds / steps * steps);
            let done = (rounds / steps * steps) as i64;
            at = Cursor { a_disp: at.a_disp + done * a_jump, b_disp: at.b_disp + done * b_jump, ..at };
        }
        let over = rounds % steps;
        sums = several(self, at, sums, over);
        (0..left as i64).fold(sums, |sums, i| {
            let a_disp = at.a_disp + over as i64 * a_jump + i * a_step;
            let b_disp = at.b_disp + over as i64 * b_jump + i * b_step;
            self.step_k(tile, columns, Cursor { a_disp, b_disp, ..at }, sums, false)
        })
    }

    /// Adds the products of a vector of elements, or of one element in lane 0, to each accumulator.
    fn step_k(
        &mut self,
        tile: &Tile,
        columns: usize,
        at: Cursor,
        mut sums: Vec<ir::Value>,
        vector: bool,
    ) -> Vec<ir::Value> {
        let (a_step, b_step) = tile.k[tile.k.len() - 1];
        let load = |e: &mut Self, pointer: ir::Value, disp: i64, step: i64| {
            let (pointer, first) = e.displaced(pointer, disp);
            match vector {
                true if step == tile.dtype.size() as i64 => e.load_register(tile.dtype, pointer, first),
                true => {
                    let scalars: Vec<ir::Value> = (0..lanes_of(tile.dtype) as i64)
                        .map(|lane| {
                            let (pointer, disp) = e.displaced(pointer, i64::from(first) + lane * step);
                            e.load_scalar(tile.dtype, pointer, disp)
                        })
                        .collect();
                    e.assemble(tile.dtype, &scalars)[0]
                }
                false => {
                    let x = e.load_scalar(tile.dtype, pointer, first);
                    e.b.ins().scalar_to_vector(vector_type(tile.dtype), x)
                }
            }
        };
        let a: Vec<ir::Value> =
            (0..tile.rows).map(|i| load(self, at.a, at.a_disp + i as i64 * tile.a_row, a_step)).collect();
        for j in 0..columns {
            let b = load(self, at.b, at.b_disp + tile.columns.column(j) * tile.b_column, b_step);
            for i in 0..tile.rows {
                let sum = &mut sums[i * columns + j];
                *sum = if j + 1 == columns {
                    self.multiply_add(tile.dtype, a[i], b, *sum)
                } else {
                    self.multiply_add(tile.dtype, b, a[i], *sum)
                };
            }
        }
        sums
    }

    /// The lane sums of four registers, in order, as a group of four lanes.
    fn transposed_sums(&mut self, dtype: DType, x: &[ir::Value]) -> Vec<ir::Value> {
        let ty = vector_type(dtype);
        let pair = |e: &mut Self, a: ir::Value, b: ir::Value, low: [u8; 4], high: [u8; 4]| {
            let (low, high) = (e.shuffle32(a, b, low, ty), e.shuffle32(a, b, high, ty));
            e.bin(BinOp::Add, dtype, low, high)
        };
        if lanes_of(dtype) == 2 {
            return x.chunks(2).map(|x| pair(self, x[0], x[1], [0, 1, 4, 5], [2, 3, 6, 7])).collect();
        }
        let left = pair(self, x[0], x[1], [0, 4, 1, 5], [2, 6, 3, 7]);
        let right = pair(self, x[2], x[3], [0, 4, 1, 5], [2, 6, 3, 7]);
        vec![pair(self, left, right, [0, 1, 4, 5], [2, 3, 6, 7])]
    }
}
