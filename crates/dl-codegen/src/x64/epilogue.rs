//! What follows the sums of a contraction, on the accumulators of a tile.

use super::asm::{Gpr, Masked, Mem, Rm};
use super::body::{Held, Own, count};
use super::contract::Writer;
use super::lir::{Addr, AddrBase, End, General, Inst, Loop, Src, V};
use super::op;
use super::tile::Tile;
use super::{Result, is_wide};

/// An epilogue that would become more instructions is a loop over the rows of the tile.
const LONG_EPILOGUE: usize = 280;

impl Writer<'_> {
    /// Runs the epilogue on the accumulators of a tile.
    pub(super) fn epilogue(&mut self, tile: Tile, one_row: bool, one_column: bool) -> Result<()> {
        let c = self.c;
        let groups = if is_wide(self.dtype) { tile.vectors.div_ceil(2) } else { tile.vectors };
        self.b.masks = vec![None; groups];
        if tile.masked {
            self.b.masks[groups - 1] = self.tail;
        }
        if is_wide(self.dtype) && (tile.masked || !tile.vectors.is_multiple_of(2)) {
            // Lanes of 64 bits are masked by halves of a group.
            let last = (tile.vectors - 1) % 2 * self.lanes;
            let over = (c.n.extent % self.lanes as u64) as usize;
            let kept = last + if tile.masked { over } else { self.lanes };
            self.b.masks[groups - 1] = (kept < 2 * self.lanes).then(|| self.b.first_lanes(kept));
        }
        let column = Own { reg: (!one_column).then_some(self.column), plus: 0, lanes: true };
        self.b.bind(c.n.var, column);
        let statements = count(&c.epilogue);
        // The next tile sets these anew.
        let idle = [self.a_ptr, self.b_ptr, self.trip];
        self.b.lend(&idle);
        if statements * tile.rows * tile.vectors <= LONG_EPILOGUE || tile.rows == 1 {
            self.straight_epilogue(tile, one_row)?;
            self.b.code.asm.add(self.row, tile.rows as i32);
        } else {
            self.looped_epilogue(tile)?;
        }
        self.b.reclaim(&idle);
        Ok(())
    }

    fn straight_epilogue(&mut self, tile: Tile, one_row: bool) -> Result<()> {
        let c = self.c;
        let reg = (!one_row).then_some(self.row);
        self.b.bind(c.m.var, Own { reg, plus: 0, lanes: false });
        let pointers = if one_row { vec![] } else { self.b.run_pointers(c.m.var, &c.epilogue, 1)? };
        let mut names = vec![];
        for i in 0..tile.rows {
            self.b.bind(c.m.var, Own { reg, plus: i as i64, lanes: false });
            self.b.forget();
            let mut regs = vec![];
            for j in 0..tile.vectors {
                let name = self.b.vector();
                self.b.code.hold_in(name, (i * tile.vectors + j) as u8);
                regs.push(name);
            }
            names.extend(&regs);
            self.pad(&mut regs);
            self.b.set(c.acc, Held { regs, uniform: false });
            self.b.block(&c.epilogue)?;
        }
        // What is needed last makes room, if registers run out.
        for name in names {
            self.b.code.loosen(name);
        }
        self.b.flush()?;
        self.b.end_pointers(&pointers);
        Ok(())
    }

    /// Groups of 64-bit lanes take two registers: one that is masked out stands for a missing one.
    fn pad(&self, regs: &mut Vec<V>) {
        if is_wide(self.dtype) && !regs.len().is_multiple_of(2) {
            regs.push(regs[0]);
        }
    }

    /// Through memory, so that the code is there once.
    fn looped_epilogue(&mut self, tile: Tile) -> Result<()> {
        let c = self.c;
        let width = self.b.code.width;
        let row_bytes = (tile.vectors * width.bytes()) as i32;
        let slot = self.b.code.reserve(row_bytes * tile.rows as i32);
        for r in 0..tile.rows * tile.vectors {
            let mem = Mem::at(Gpr::RSP, slot + (r * width.bytes()) as i32);
            self.b.code.asm.vector(op::MOVUPS_TO, width, r as u8, 0, Rm::Mem(mem), Masked::default(), &[]);
        }
        self.b.bind(c.m.var, Own { reg: Some(self.row), plus: 0, lanes: false });
        self.b.forget();
        let (tile_ptr, counter) = (self.b.gpr()?, self.b.gpr()?);
        let sp = Addr { base: AddrBase::Gpr(Gpr::RSP), index: None, disp: slot };
        self.b.general(General::Lea(tile_ptr, sp));
        self.b.general(General::Set(counter, 0));
        let mut steps = self.b.run_pointers(c.m.var, &c.epilogue, 1)?;
        let pointers = steps.clone();
        steps.push((tile_ptr, row_bytes));
        steps.push((self.row, 1));
        let outer = std::mem::take(&mut self.b.insts);
        let mut regs = vec![];
        for j in 0..tile.vectors {
            let disp = (j * width.bytes()) as i32;
            let mem = Src::Mem(Addr { base: AddrBase::Gpr(tile_ptr), index: None, disp });
            regs.push(self.b.op1(op::MOVUPS, mem));
        }
        self.pad(&mut regs);
        self.b.set(c.acc, Held { regs, uniform: false });
        self.b.block(&c.epilogue)?;
        let body = std::mem::replace(&mut self.b.insts, outer);
        let end = End::Number(tile.rows as i32);
        let rows = Loop { counter, by: 1, end, entered: true, steps, carries: vec![], body };
        self.b.push(Inst::Loop(Box::new(rows)));
        self.b.flush()?;
        self.b.end_pointers(&pointers);
        self.b.free_gpr(tile_ptr);
        self.b.free_gpr(counter);
        Ok(())
    }
}
