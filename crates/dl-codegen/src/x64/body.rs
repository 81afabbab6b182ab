//! Statements of the kernel IR as vector code.
//!
//! A *group* is one vector of consecutive iterations: 16 with AVX-512 and 8 with AVX2, whatever their type, so that
//! values of 64 bits take two registers for each group. Several groups run side by side, each instruction for all of
//! them. The last group may be masked.

use std::collections::{HashMap, HashSet};

use super::alloc::{ARGS, Code, TEMP};
use super::asm::{Gpr, Width};
use super::lir::{Addr, AddrBase, General, Home, Inst, Kind, Src, V};
use super::nest::LONGEST;
use super::op::{self, Op};
use super::{Arg, Outside, Result, Unsupported, is_wide};
use crate::kernel::ranges::Ranges;
use crate::kernel::*;

/// A second register for index arithmetic.
pub(super) const TEMP2: Gpr = Gpr(1);

/// How a variable of the leaf is held: `reg + plus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    pub reg: Option<Gpr>,
    pub plus: i64,
    /// Whether it is the variable of the vector loop, one more in each lane.
    pub lanes: bool,
}

/// The registers of a value: one for each group (two if it is wide), or one that is the same for all.
#[derive(Clone, Debug)]
pub struct Held {
    pub regs: Vec<V>,
    pub uniform: bool,
}

/// A pointer that a loop moves: the buffer, what is from outside, and the variables in registers with their steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) buf: BufId,
    pub(super) outer: Affine,
    pub(super) terms: Vec<(Var, i64)>,
}

/// A leaf under construction.
pub struct Body<'k> {
    pub kernel: &'k Kernel,
    pub ranges: &'k Ranges,
    pub outside: &'k dyn Fn(Value) -> Outside,
    pub code: Code,
    pub args: Vec<Arg>,
    pub insts: Vec<Inst>,
    /// The mask of each group, if it has one.
    pub masks: Vec<Option<V>>,
    pub(super) own: HashMap<Var, Own>,
    /// The variables that the leaf defines, those of inner loops included.
    pub(super) mine: HashSet<Var>,
    values: HashMap<Value, Held>,
    literals: HashMap<Value, Lit>,
    /// Values from outside, by what they are.
    fixed: Vec<(Home, V)>,
    pub(super) running: Vec<(Key, Gpr)>,
    /// Arguments with a register of their own.
    pub(super) pinned: Vec<(usize, Gpr)>,
    pub(super) most_pinned: usize,
    gprs: Vec<Gpr>,
    /// Registers that must be handed back as they were.
    pub saved: Vec<Gpr>,
    /// Whether general registers ran out.
    pub short: bool,
}

impl<'k> Body<'k> {
    pub fn new(
        kernel: &'k Kernel,
        ranges: &'k Ranges,
        evex: bool,
        outside: &'k dyn Fn(Value) -> Outside,
        most_pinned: usize,
    ) -> Body<'k> {
        let free = Gpr::FREE.into_iter().filter(|r| ![TEMP, TEMP2, ARGS].contains(r));
        Body {
            kernel,
            ranges,
            outside,
            code: Code::new(evex),
            args: vec![],
            insts: vec![],
            masks: vec![],
            own: HashMap::new(),
            mine: HashSet::new(),
            values: HashMap::new(),
            literals: HashMap::new(),
            fixed: vec![],
            running: vec![],
            pinned: vec![],
            most_pinned,
            // Those that need no saving are taken first.
            gprs: Gpr::SAVED.into_iter().chain(free).collect(),
            saved: vec![],
            short: false,
        }
    }

    pub fn evex(&self) -> bool {
        self.code.asm.evex
    }

    /// Iterations of a group.
    pub fn lanes(&self) -> usize {
        self.code.width.bytes() / 4
    }

    pub fn dtype(&self, v: Value) -> DType {
        self.kernel.values[v.0 as usize]
    }

    pub fn memory(&self, buf: BufId) -> DType {
        self.kernel.bufs[buf.0 as usize].dtype
    }

    /// Encodes what has been written since the last time.
    pub fn flush(&mut self) -> Result<()> {
        let insts = std::mem::take(&mut self.insts);
        self.code.run(&insts)
    }

    /// A general register.
    pub fn gpr(&mut self) -> Result<Gpr> {
        let Some(reg) = self.gprs.pop() else {
            self.short = true;
            return Err(Unsupported);
        };
        if Gpr::SAVED.contains(&reg) && !self.saved.contains(&reg) {
            self.saved.push(reg);
        }
        Ok(reg)
    }

    pub fn free_gpr(&mut self, reg: Gpr) {
        self.gprs.push(reg);
    }

    /// Lets registers that are idle for a while be used, until [`Body::reclaim`].
    pub fn lend(&mut self, regs: &[Gpr]) {
        self.gprs.extend(regs);
    }

    /// Ends [`Body::lend`], when all are free again.
    pub fn reclaim(&mut self, regs: &[Gpr]) {
        debug_assert!(regs.iter().all(|r| self.gprs.contains(r)), "still in use");
        self.gprs.retain(|r| !regs.contains(r));
    }

    pub fn bind(&mut self, var: Var, own: Own) {
        self.own.insert(var, own);
    }

    pub fn set(&mut self, v: Value, held: Held) {
        self.values.insert(v, held);
    }

    /// Forgets the values of a body, before it is written again.
    pub fn forget(&mut self) {
        self.values.clear();
    }

    /// Whether a value is defined in the leaf.
    pub fn is_defined(&self, v: Value) -> bool {
        self.values.contains_key(&v)
    }

    /// The bits of a value that is a constant.
    pub fn constant_of(&self, v: Value) -> Option<Lit> {
        if self.is_defined(v) {
            return self.literals.get(&v).copied();
        }
        match (self.outside)(v) {
            Outside::Const(lit) => Some(lit),
            Outside::Scalar => None,
        }
    }

    /// The offset of an argument in the table.
    pub fn arg(&mut self, arg: Arg) -> i32 {
        let at = self.args.iter().position(|a| *a == arg).unwrap_or_else(|| {
            self.args.push(arg);
            self.args.len() - 1
        });
        at as i32 * 8
    }

    // Names

    pub fn vector(&mut self) -> V {
        self.code.name(Kind::Vector, Home::None)
    }

    pub fn mask_name(&mut self) -> V {
        self.code.name(Kind::Mask, Home::None)
    }

    /// What comes from outside, under one name.
    fn fixed(&mut self, home: Home) -> V {
        if let Some((_, v)) = self.fixed.iter().find(|(h, _)| *h == home) {
            return *v;
        }
        let v = self.code.name(Kind::Vector, home);
        self.fixed.push((home, v));
        v
    }

    /// The constants and scalars from outside that have been used so far.
    pub fn all_fixed(&self) -> Vec<V> {
        self.fixed.iter().map(|(_, v)| *v).collect()
    }

    /// A constant in all lanes; a truth value as 0 or -1.
    pub fn constant(&mut self, lit: Lit) -> V {
        let wide = is_wide(lit.dtype);
        let bits = if lit.dtype == DType::Bool { 0u64.wrapping_sub(lit.bits) } else { lit.bits };
        let c = if wide {
            self.code.asm.constant(&bits.to_le_bytes())
        } else {
            self.code.asm.constant(&(bits as u32).to_le_bytes())
        };
        self.fixed(Home::Const(c, wide))
    }

    pub fn int(&mut self, x: i32) -> V {
        self.constant(Lit::i32(x))
    }

    /// A different constant in each lane.
    pub fn lane_constants(&mut self, bytes: &[u8]) -> V {
        let c = self.code.asm.constant(bytes);
        self.fixed(Home::Vector(c))
    }

    /// A mask of the first `n` lanes.
    pub fn first_lanes(&mut self, n: usize) -> V {
        if self.evex() {
            let mask = self.mask_name();
            self.general(General::Set(TEMP, (1i64 << n) - 1));
            self.insts.push(Inst::Spread { op: op::KMOVW_GPR, width: Width::B16, to: mask, from: TEMP });
            return mask;
        }
        let bytes: Vec<u8> = (0..8).flat_map(|lane| (-i32::from(lane < n)).to_le_bytes()).collect();
        self.lane_constants(&bytes)
    }

    /// The mask of a register of 64-bit lanes: the `half`th of a group.
    pub fn half_mask(&mut self, mask: V, half: usize) -> Result<V> {
        match (self.evex(), half) {
            (false, _) => Err(Unsupported),
            (true, 0) => Ok(mask),
            (true, _) => {
                let to = self.mask_name();
                self.push(Inst::Op {
                    op: op::KSHIFTRW,
                    width: Width::B16,
                    to,
                    a: None,
                    b: mask.into(),
                    immediate: Some(8),
                    mask: None,
                    merge: None,
                });
                Ok(to)
            }
        }
    }

    /// The number of registers of a value of this type.
    pub fn count(&self, dtype: DType) -> usize {
        self.masks.len() << usize::from(is_wide(dtype))
    }

    /// The mask of a register of a value of this type.
    pub fn mask_of(&mut self, dtype: DType, i: usize) -> Result<Option<V>> {
        let wide = is_wide(dtype);
        match self.masks[i >> usize::from(wide)] {
            Some(mask) if wide => self.half_mask(mask, i & 1).map(Some),
            mask => Ok(mask),
        }
    }

    pub fn held(&mut self, v: Value) -> Result<Held> {
        if let Some(held) = self.values.get(&v) {
            return Ok(held.clone());
        }
        let dtype = self.dtype(v);
        let reg = match (self.outside)(v) {
            Outside::Const(lit) if dtype == DType::Bool => self.truth(|b| {
                b.general(General::Set(TEMP, -(lit.bits as i64)));
                Ok(())
            })?,
            Outside::Const(lit) => self.constant(lit),
            Outside::Scalar => {
                let at = self.arg(Arg::Value(v));
                if dtype == DType::Bool {
                    self.truth(|b| {
                        b.general(General::Load(TEMP, arg_place(at)));
                        b.general(General::Negate(TEMP));
                        Ok(())
                    })?
                } else {
                    self.fixed(Home::Arg(at, is_wide(dtype)))
                }
            }
        };
        Ok(Held { regs: vec![reg], uniform: true })
    }

    /// A truth value that is the same in all lanes, from 0 or -1 in a register.
    fn truth(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<V> {
        if !self.evex() {
            return Err(Unsupported);
        }
        write(self)?;
        let mask = self.mask_name();
        self.insts.push(Inst::Spread { op: op::KMOVW_GPR, width: Width::B16, to: mask, from: TEMP });
        Ok(mask)
    }

    /// One register of a value.
    pub fn part(held: &Held, i: usize) -> V {
        if held.uniform { held.regs[0] } else { held.regs[i] }
    }

    // Instructions

    pub fn push(&mut self, inst: Inst) {
        self.insts.push(inst);
    }

    pub fn general(&mut self, general: General) {
        self.insts.push(Inst::General(general));
    }

    /// `op(a, b)` in a new vector.
    pub fn op2(&mut self, op: Op, a: V, b: impl Into<Src>) -> V {
        let to = self.vector();
        self.emit(op, to, Some(a), b.into(), None);
        to
    }

    /// `op(b)` in a new vector.
    pub fn op1(&mut self, op: Op, b: impl Into<Src>) -> V {
        let to = self.vector();
        self.emit(op, to, None, b.into(), None);
        to
    }

    /// `op(b, immediate)` in a new vector.
    pub fn op1i(&mut self, op: Op, b: impl Into<Src>, immediate: u8) -> V {
        let to = self.vector();
        self.emit(op, to, None, b.into(), Some(immediate));
        to
    }

    /// `op(a, b, immediate)` in a new mask.
    pub fn masking(&mut self, op: Op, a: V, b: V, immediate: u8) -> V {
        let to = self.mask_name();
        self.emit(op, to, Some(a), b.into(), Some(immediate));
        to
    }

    /// An operation on masks.
    pub fn mask_op(&mut self, op: Op, a: Option<V>, b: V) -> V {
        let to = self.mask_name();
        let width = Width::B16;
        self.push(Inst::Op { op, width, to, a, b: b.into(), immediate: None, mask: None, merge: None });
        to
    }

    pub fn emit(&mut self, op: Op, to: V, a: Option<V>, b: Src, immediate: Option<u8>) {
        self.push(Inst::Op { op, width: self.code.width, to, a, b, immediate, mask: None, merge: None });
    }

    /// `op(a, b)` where `mask` is set, `merge` elsewhere (0 if there is none).
    pub fn masked(&mut self, op: Op, a: Option<V>, b: impl Into<Src>, mask: V, merge: Option<V>) -> V {
        let (to, b) = (self.vector(), b.into());
        self.push(Inst::Op { op, width: self.code.width, to, a, b, immediate: None, mask: Some(mask), merge });
        to
    }

    /// `mask ? a : b` of 32-bit or 64-bit lanes.
    pub fn blend(&mut self, wide: bool, mask: V, a: V, b: V) -> V {
        if self.evex() {
            let op = if wide { op::BLENDMPD } else { op::BLENDMPS };
            let to = self.vector();
            let (width, a, b) = (self.code.width, Some(b), Src::V(a));
            self.push(Inst::Op { op, width, to, a, b, immediate: None, mask: Some(mask), merge: None });
            return to;
        }
        let op = if wide { op::BLENDVPD } else { op::BLENDVPS };
        let to = self.vector();
        self.push(Inst::Blend { op, to, mask, a, b });
        to
    }

    /// Tells which variables are the leaf's own: `vars` and those of the loops in `body`.
    pub fn define(&mut self, vars: &[Var], body: &[Stmt]) {
        self.mine.extend(vars);
        walk::walk(body, &mut |stmt| {
            if let Stmt::For { var, .. } = stmt {
                self.mine.insert(*var);
            }
        });
    }

    // Statements

    pub fn block(&mut self, body: &[Stmt]) -> Result<()> {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<()> {
        match stmt {
            Stmt::Let(value, expr) => {
                let held = self.expr(*value, expr)?;
                if let Expr::Const(lit) = expr {
                    self.literals.insert(*value, *lit);
                }
                self.set(*value, held);
                Ok(())
            }
            Stmt::Store { place, value, add, guard } => self.store(place, *value, *add, *guard),
            Stmt::For { var, lo, hi, carries, body } => self.serial(*var, (lo, hi), carries, body),
            Stmt::Rarely { cond, picks, body } => self.rarely(*cond, picks, body),
            Stmt::Vec { var, extent, reduces, body } if reduces.is_empty() && *extent <= LONGEST => {
                self.unrolled(*var, *extent, body)
            }
            Stmt::Vec { var, extent, reduces, body } => self.looped(*var, *extent, reduces, body),
            Stmt::Index(..) | Stmt::Check { .. } | Stmt::If { .. } | Stmt::Sort { .. } | Stmt::Contract(_) => {
                Err(Unsupported)
            }
        }
    }
}

/// The statements of a body, as many as they become.
pub fn count(body: &[Stmt]) -> usize {
    let of = |stmt: &Stmt| match stmt {
        Stmt::For { lo, hi, body, .. } => {
            let trips = lo.as_const().zip(hi.as_const()).map_or(8, |(lo, hi)| hi.saturating_sub(lo).max(0) as usize);
            count(body).saturating_mul(trips)
        }
        Stmt::Vec { extent, body, .. } => count(body).saturating_mul(extent.div_ceil(16) as usize),
        _ => 1,
    };
    body.iter().map(of).fold(0, usize::saturating_add)
}

/// An entry of the table of arguments.
pub fn arg_place(at: i32) -> Addr {
    Addr { base: AddrBase::Gpr(ARGS), index: None, disp: at }
}
