//! Leaves of serial loops around vector loops: a call for every pixel of a few channels would take longer than its
//! vectors, and rows that are reduced and used again would wait for each other. Short vector loops are written out.

use super::body::{Body, Own, count};
use super::lir::{Home, Inst, Kind, V};
use super::liveness::pressure;
use super::transpose::turns;
use super::vector::{count_uses, framed, groups, simple_tail};
use super::{Leaf, Outside, Result, Unsupported};
use crate::kernel::ranges::Ranges;
use crate::kernel::*;

/// The longest vector loop that is written out, in iterations, and the most statements that all may become.
pub(super) const LONGEST: u64 = 256;
const MOST_STATEMENTS: usize = 400;
/// A leaf of its own for a loop of more iterations costs little.
const LONGEST_ROW: u64 = 1 << 14;
/// As in `vector`; the pointers that move need registers too.
const PINNED: [usize; 2] = [3, 0];

/// Serial loops around vector loops as a leaf.
pub fn nest(
    kernel: &Kernel,
    ranges: &Ranges,
    evex: bool,
    outside: &dyn Fn(Value) -> Outside,
    stmt: &Stmt,
) -> Result<Leaf> {
    let lanes = if evex { 16 } else { 8 };
    let (mut vectors, mut looped, mut fine) = (false, false, true);
    walk::walk(std::slice::from_ref(stmt), &mut |s| {
        if let Stmt::Vec { extent, reduces, body, .. } = s {
            vectors = true;
            looped |= !reduces.is_empty() || *extent > LONGEST;
            fine &= (lanes / 2..=LONGEST_ROW).contains(extent);
            fine &= evex || extent.is_multiple_of(lanes) || simple_tail(kernel, body);
        }
        // That has a leaf of its own.
        fine &= !turns(kernel, s);
    });
    if !vectors || !fine || !is_nest(stmt) {
        return Err(Unsupported);
    }
    let body = super::plain::plain(std::slice::from_ref(stmt));
    if !looped && count(&body) > MOST_STATEMENTS || looped && emitted(kernel, &body) > MOST_STATEMENTS {
        return Err(Unsupported);
    }
    let mut last = Err(Unsupported);
    for most in PINNED {
        last = write(Body::new(kernel, ranges, evex, outside, most), &body);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// Whether outside of the vector loops there are only serial loops that carry nothing, and values.
fn is_nest(stmt: &Stmt) -> bool {
    match stmt {
        Stmt::For { carries, body, .. } => carries.is_empty() && body.iter().all(is_nest),
        Stmt::Let(..) | Stmt::Index(..) | Stmt::Vec { .. } => true,
        _ => false,
    }
}

/// About how many statements become of a body with vector loops that stay loops.
fn emitted(kernel: &Kernel, body: &[Stmt]) -> usize {
    let of = |stmt: &Stmt| match stmt {
        Stmt::For { body, .. } => emitted(kernel, body),
        // The loop, and what is left behind it.
        Stmt::Vec { reduces, body, .. } => {
            2 * count(body) * groups(kernel, reduces, body) as usize + 16 * reduces.len()
        }
        _ => 1,
    };
    body.iter().map(of).sum()
}

fn write(mut b: Body<'_>, body: &[Stmt]) -> Result<Leaf> {
    let mut vars = vec![];
    walk::walk(body, &mut |s| {
        if let Stmt::Vec { var, .. } = s {
            vars.push(*var);
        }
    });
    b.define(&vars, body);
    for &var in &vars {
        b.bind(var, Own { reg: None, plus: 0, lanes: true });
    }
    b.masks = vec![None];
    b.pin(body)?;
    b.flush()?;
    b.block(body)?;
    let insts = std::mem::take(&mut b.insts);
    let held = b.hold(&insts)?;
    b.code.run(&insts)?;
    held.into_iter().for_each(|v| b.code.drop(v));
    Ok(Leaf { code: framed(b.code, &b.saved)?, args: b.args })
}

impl Body<'_> {
    /// A vector loop, written out.
    pub fn unrolled(&mut self, var: Var, extent: u64, body: &[Stmt]) -> Result<()> {
        let lanes = self.lanes() as u64;
        let (whole, tail) = (extent / lanes, (extent % lanes) as usize);
        let together = match count(body) {
            0..=12 => 4,
            13..=30 => 2,
            _ => 1,
        };
        let outer = std::mem::take(&mut self.masks);
        let mut at = 0;
        while at < whole {
            let groups = (whole - at).min(together);
            self.masks = vec![None; groups as usize];
            self.bind(var, Own { reg: None, plus: (at * lanes) as i64, lanes: true });
            self.block(body)?;
            at += groups;
        }
        if tail > 0 {
            let mask = self.first_lanes(tail);
            self.masks = vec![Some(mask)];
            self.bind(var, Own { reg: None, plus: (whole * lanes) as i64, lanes: true });
            self.block(body)?;
        }
        self.masks = outer;
        self.bind(var, Own { reg: None, plus: 0, lanes: true });
        Ok(())
    }

    /// Keeps what comes from outside in registers during loops, as far as they go: the most used first.
    pub fn hold(&mut self, insts: &[Inst]) -> Result<Vec<V>> {
        let code = &self.code;
        let need = pressure(insts, |v| code.kind(v) == Kind::Vector && code.home(v) == Home::None);
        let mut uses = std::collections::HashMap::<V, usize>::new();
        count_uses(insts, &mut |v| *uses.entry(v).or_default() += 1);
        let mut all: Vec<V> = self.all_fixed().into_iter().filter(|v| uses.contains_key(v)).collect();
        all.sort_by_key(|v| std::cmp::Reverse(uses[v]));
        all.truncate(self.code.free(Kind::Vector).saturating_sub(need));
        for &v in &all {
            self.code.hold(v)?;
        }
        Ok(all)
    }
}
