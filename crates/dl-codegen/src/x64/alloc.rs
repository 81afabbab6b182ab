//! Gives registers to the names of vector code and encodes it, in one walk.
//!
//! A name gets a register where it is defined and loses it after its last use, or when registers run out and it is the
//! one needed again last: it is then saved on the stack, if it has no other home. Loops keep what they can in registers
//! over all iterations and everything else in memory, so that each iteration finds things as the first one did. Names
//! that are *held* keep their registers from one piece of code to the next: accumulators, constants of a loop.

use std::collections::HashMap;

use super::asm::{Asm, Base, Gpr, Mask, Masked, Mem, Reg, Rm, Width};
use super::lir::{Home, Inst, Kind, Src, V};
use super::liveness::number;
use super::op::{self, Op};
use super::{Result, Unsupported};

/// Bytes of a saved register.
const SLOT: i32 = 64;
/// Mask registers that can mask: all but the first.
const MASKS: std::ops::Range<usize> = 1..8;
/// For addresses that have no register of their own.
pub const TEMP: Gpr = Gpr::RAX;
/// Where the arguments are.
pub const ARGS: Gpr = Gpr::RDI;

/// A name.
#[derive(Clone, Debug)]
pub(super) struct Info {
    pub(super) kind: Kind,
    pub(super) home: Home,
    pub(super) reg: Option<u8>,
    /// Where it is saved on the stack.
    pub(super) slot: Option<i32>,
    pub(super) held: bool,
    /// Positions of its uses that are still to come, last one first.
    pub(super) uses: Vec<u32>,
}

/// The name that another one replaces at the end of a loop, and where that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    pub(super) old: V,
    pub(super) end: u32,
}

/// Code with its registers.
pub struct Code {
    pub asm: Asm,
    /// The width of whole registers.
    pub width: Width,
    pub(super) names: Vec<Info>,
    pub(super) vectors: Vec<Option<V>>,
    pub(super) masks: Vec<Option<V>>,
    /// Bytes of the stack in use, from the stack pointer upwards.
    frame: i32,
    /// Places on the stack whose names are gone.
    spare: Vec<i32>,
    /// Whether registers ran out.
    pub short: bool,
    /// Registers that the running instruction needs.
    pub(super) locked: Vec<V>,
    /// What becomes of a name at the end of a loop: it takes the register of another one.
    pub(super) hints: HashMap<V, Hint>,
    /// Names in the register of a carried one that they will replace.
    pub(super) placed: Vec<V>,
    pub(super) position: u32,
}

impl Code {
    pub fn new(evex: bool) -> Code {
        let (width, count) = if evex { (Width::B64, 32) } else { (Width::B32, 16) };
        Code {
            asm: Asm::new(evex),
            width,
            names: vec![],
            vectors: vec![None; count],
            masks: vec![None; if evex { MASKS.end } else { 0 }],
            frame: 0,
            spare: vec![],
            short: false,
            locked: vec![],
            hints: HashMap::new(),
            placed: vec![],
            position: 0,
        }
    }

    /// A fresh name.
    pub fn name(&mut self, kind: Kind, home: Home) -> V {
        self.names.push(Info { kind, home, reg: None, slot: None, held: false, uses: vec![] });
        V(self.names.len() as u32 - 1)
    }

    pub fn kind(&self, v: V) -> Kind {
        self.names[v.0 as usize].kind
    }

    pub fn home(&self, v: V) -> Home {
        self.names[v.0 as usize].home
    }

    /// Bytes on the stack for the caller's own use.
    pub fn reserve(&mut self, bytes: i32) -> i32 {
        let at = self.frame;
        self.frame += (bytes + SLOT - 1) / SLOT * SLOT;
        at
    }

    /// Bytes of the stack that the code uses.
    pub fn frame(&self) -> i32 {
        self.frame
    }

    /// Registers that are free for names.
    pub fn free(&self, kind: Kind) -> usize {
        match kind {
            Kind::Vector => self.vectors.iter().filter(|r| r.is_none()).count(),
            Kind::Mask => self.masks.iter().skip(1).filter(|r| r.is_none()).count(),
        }
    }

    /// Gives a name a register until [`Code::drop`], undefined or loaded from its home.
    pub fn hold(&mut self, v: V) -> Result<()> {
        match self.names[v.0 as usize].reg {
            Some(_) => {}
            None if self.home(v) == Home::None => _ = self.allocate(v)?,
            None => _ = self.fetch(v)?,
        }
        self.names[v.0 as usize].held = true;
        self.locked.clear();
        Ok(())
    }

    /// Takes a given register for a name that is already in it.
    pub fn hold_in(&mut self, v: V, reg: u8) {
        self.vectors[reg as usize] = Some(v);
        let info = &mut self.names[v.0 as usize];
        (info.reg, info.held) = (Some(reg), true);
    }

    /// Loads a name that has a home into a given register and keeps it there.
    pub fn hold_at(&mut self, v: V, reg: u8) {
        let Home::Vector(c) = self.home(v) else { unreachable!("{v:?} is a constant of its own in each lane") };
        self.asm.v(op::MOVUPS, self.width, Reg(reg), Reg(0), Mem::constant(c));
        self.hold_in(v, reg);
    }

    /// Lets a name that is held lose its register after its last use, or to others.
    pub fn loosen(&mut self, v: V) {
        self.names[v.0 as usize].held = false;
    }

    /// Ends [`Code::hold`].
    pub fn drop(&mut self, v: V) {
        self.names[v.0 as usize].held = false;
        self.release(v);
    }

    /// The register of a held name.
    pub fn reg(&self, v: V) -> Reg {
        Reg(self.names[v.0 as usize].reg.unwrap_or_else(|| unreachable!("{v:?} is held")))
    }

    /// Encodes instructions. Names that are not held are gone afterwards. Fails if held names leave too few registers.
    pub fn run(&mut self, insts: &[Inst]) -> Result<()> {
        let mut position = self.position;
        let mut uses = vec![];
        number(insts, &mut position, &mut uses);
        for (v, at) in uses.into_iter().rev() {
            self.names[v.0 as usize].uses.push(at);
        }
        self.block(insts)?;
        let live: Vec<V> = self.vectors.iter().chain(&self.masks).flatten().copied().collect();
        live.into_iter().for_each(|v| self.release(v));
        Ok(())
    }

    pub(super) fn block(&mut self, insts: &[Inst]) -> Result<()> {
        for inst in insts {
            self.position += 1;
            self.inst(inst)?;
            self.locked.clear();
            let mut done = vec![];
            inst.reads(&mut |v| done.push(v));
            done.extend(inst.writes());
            for v in done {
                self.pass(v);
            }
        }
        Ok(())
    }

    /// Forgets uses up to now, and the name if that was its last.
    pub(super) fn pass(&mut self, v: V) {
        let now = self.position;
        let uses = &mut self.names[v.0 as usize].uses;
        while uses.last().is_some_and(|at| *at <= now) {
            uses.pop();
        }
        if uses.is_empty() {
            self.release(v);
            let info = &mut self.names[v.0 as usize];
            if !info.held {
                self.spare.extend(info.slot.take());
            }
        }
    }

    pub(super) fn release(&mut self, v: V) {
        let info = &mut self.names[v.0 as usize];
        if !info.held
            && let Some(reg) = info.reg.take()
        {
            self.holders(v)[reg as usize] = None;
        }
    }

    pub(super) fn holders(&mut self, v: V) -> &mut Vec<Option<V>> {
        match self.kind(v) {
            Kind::Vector => &mut self.vectors,
            Kind::Mask => &mut self.masks,
        }
    }

    /// Whether this is the last use of a name that nobody holds.
    pub(super) fn dies(&self, v: V) -> bool {
        let info = &self.names[v.0 as usize];
        !info.held && info.uses.iter().all(|at| *at <= self.position)
    }

    /// A register for a name.
    pub(super) fn allocate(&mut self, v: V) -> Result<u8> {
        let first = if self.kind(v) == Kind::Mask { MASKS.start } else { 0 };
        let free = self.holders(v).iter().skip(first).position(Option::is_none).map(|at| at + first);
        let reg = free.map_or_else(|| self.evict(v), Ok)?;
        self.holders(v)[reg] = Some(v);
        self.names[v.0 as usize].reg = Some(reg as u8);
        self.locked.push(v);
        Ok(reg as u8)
    }

    /// Frees the register whose name is needed last.
    fn evict(&mut self, like: V) -> Result<usize> {
        let holders = self.holders(like).clone();
        let next = |v: &V| self.names[v.0 as usize].uses.last().copied().unwrap_or(u32::MAX);
        let can = |v: &V| !self.names[v.0 as usize].held && !self.locked.contains(v);
        let found = holders
            .iter()
            .enumerate()
            .filter_map(|(reg, v)| Some((reg, (*v)?)))
            .filter(|(_, v)| can(v))
            .max_by_key(|(_, v)| next(v))
            .ok_or(Unsupported);
        self.short |= found.is_err();
        let (reg, victim) = found?;
        self.save(victim);
        self.names[victim.0 as usize].reg = None;
        self.holders(like)[reg] = None;
        Ok(reg)
    }

    /// Makes sure that a name is in memory, too.
    pub(super) fn save(&mut self, v: V) {
        let Info { kind, home, reg, slot, .. } = self.names[v.0 as usize];
        let (Some(reg), Home::None, None) = (reg, home, slot) else { return };
        let slot = self.spare.pop().unwrap_or_else(|| self.reserve(SLOT));
        self.names[v.0 as usize].slot = Some(slot);
        let mem = Rm::Mem(Mem::at(Gpr::RSP, slot));
        match kind {
            Kind::Vector => self.asm.vector(op::MOVUPS_TO, self.width, reg, 0, mem, Masked::default(), &[]),
            Kind::Mask => self.asm.vector(op::KMOVW_TO, Width::B16, reg, 0, mem, Masked::default(), &[]),
        }
    }

    /// The register of a name, which is loaded if it is in memory.
    pub(super) fn fetch(&mut self, v: V) -> Result<u8> {
        self.locked.push(v);
        if let Some(reg) = self.names[v.0 as usize].reg {
            return Ok(reg);
        }
        let reg = self.allocate(v)?;
        let Info { kind, home, slot, .. } = self.names[v.0 as usize];
        let (op, mem) = match home {
            Home::Const(c, wide) => (broadcast(wide), Mem::constant(c)),
            Home::Arg(at, wide) => (broadcast(wide), Mem::at(ARGS, at)),
            Home::Vector(c) => (op::MOVUPS, Mem::constant(c)),
            Home::None => {
                let slot = slot.unwrap_or_else(|| unreachable!("{v:?} is defined before it is used"));
                (if kind == Kind::Mask { op::KMOVW } else { op::MOVUPS }, Mem::at(Gpr::RSP, slot))
            }
        };
        let width = if kind == Kind::Mask { Width::B16 } else { self.width };
        self.asm.vector(op, width, reg, 0, Rm::Mem(mem), Masked::default(), &[]);
        Ok(reg)
    }

    /// The last operand of an instruction: memory, where the instruction can read the name from there.
    fn operand(&mut self, op: Op, width: Width, b: Src) -> Result<Rm> {
        let v = match b {
            Src::V(v) => v,
            Src::Mem(addr) => return Ok(Rm::Mem(self.mem(addr))),
        };
        let info = &self.names[v.0 as usize];
        if info.reg.is_some() || self.kind(v) == Kind::Mask {
            let reg = self.fetch(v)?;
            return Ok(if self.kind(v) == Kind::Mask { Rm::Mask(Mask(reg)) } else { Rm::Reg(Reg(reg)) });
        }
        let again = info.uses.iter().any(|at| *at > self.position);
        let room = self.vectors.iter().filter(|r| r.is_none()).count() > 2;
        let whole = width == self.width && op.tuple == op::Tuple::Full;
        if again && room || !whole || !self.asm.evex {
            return Ok(Rm::Reg(Reg(self.fetch(v)?)));
        }
        Ok(match (info.home, info.slot) {
            (Home::Const(c, wide), _) if wide == op.w => Rm::Splat(Mem::constant(c)),
            (Home::Arg(at, wide), _) if wide == op.w => Rm::Splat(Mem::at(ARGS, at)),
            (Home::Vector(c), _) => Rm::Mem(Mem::constant(c)),
            (Home::None, Some(slot)) => Rm::Mem(Mem::at(Gpr::RSP, slot)),
            _ => Rm::Reg(Reg(self.fetch(v)?)),
        })
    }

    /// The register for a result: its own if it is held, that of the name whose place it will take, or a fresh one.
    fn result(&mut self, v: V) -> Result<u8> {
        if let Some(reg) = self.names[v.0 as usize].reg {
            return Ok(reg);
        }
        if let Some(&Hint { old, end }) = self.hints.get(&v)
            && self.names[old.0 as usize].uses.iter().all(|at| *at <= self.position || *at >= end)
            && let Some(reg) = self.names[old.0 as usize].reg
        {
            // The old name's value is used up: the new one takes its place already.
            self.hints.remove(&v);
            self.placed.push(v);
            self.names[old.0 as usize].reg = None;
            self.names[v.0 as usize].reg = Some(reg);
            self.names[v.0 as usize].held = true;
            self.holders(v)[reg as usize] = Some(v);
            return Ok(reg);
        }
        self.allocate(v)
    }

    /// The register for a result that starts as `from`: taken over if that is used up, else copied.
    pub(super) fn result_from(&mut self, to: V, from: V) -> Result<u8> {
        let source = self.fetch(from)?;
        if to == from {
            return Ok(source);
        }
        // A register that is to be overwritten first must not hold another operand.
        if self.hints.get(&to).is_some_and(|hint| hint.old != from) {
            self.hints.remove(&to);
        }
        if self.dies(from) && self.names[to.0 as usize].reg.is_none() && !self.hints.contains_key(&to) {
            self.names[from.0 as usize].reg = None;
            self.names[to.0 as usize].reg = Some(source);
            self.holders(to)[source as usize] = Some(to);
            self.locked.push(to);
            return Ok(source);
        }
        let reg = self.result(to)?;
        self.copy(self.kind(to), reg, source);
        Ok(reg)
    }

    pub(super) fn copy(&mut self, kind: Kind, to: u8, from: u8) {
        if to == from {
            return;
        }
        match kind {
            Kind::Vector => self.asm.v(op::MOVAPS, self.width, Reg(to), Reg(0), Reg(from)),
            Kind::Mask => {
                let from = Rm::Mask(Mask(from));
                self.asm.vector(op::KMOVW, Width::B16, to, 0, from, Masked::default(), &[]);
            }
        }
    }

    fn masked(&mut self, mask: Option<V>, zero: bool) -> Result<Masked> {
        Ok(match mask {
            Some(mask) => Masked { mask: self.fetch(mask)?, zero },
            None => Masked::default(),
        })
    }

    fn inst(&mut self, inst: &Inst) -> Result<()> {
        match *inst {
            Inst::Op { op, width, to, a, b, immediate, mask, merge } => {
                let a = a.map_or(Ok(0), |a| self.fetch(a))?;
                // The moves that narrow write their last operand.
                let b = self.operand(op, width, b)?;
                let masked = self.masked(mask, merge.is_none() && op.zeroes())?;
                let reg = match merge {
                    Some(merge) => self.result_from(to, merge)?,
                    None => {
                        // A result may take the register of an operand that is used up.
                        inst.reads(&mut |v| self.pass(v));
                        self.result(to)?
                    }
                };
                let immediate = immediate.as_slice();
                match b {
                    Rm::Reg(b) if op.reversed() => {
                        self.asm.vector(op, width, b.0, a, Rm::Reg(Reg(reg)), masked, immediate);
                    }
                    b => self.asm.vector(op, width, reg, a, b, masked, immediate),
                }
            }
            Inst::MulAdd { wide, to, a, b, c } => self.mul_add(wide, to, [a, b, c])?,
            Inst::Blend { op, to, mask, a, b } => {
                let (mask, a, b) = (self.fetch(mask)?, self.fetch(a)?, self.fetch(b)?);
                let reg = self.result(to)?;
                // Where the mask is set, the last operand.
                self.asm.vi(op, self.width, Reg(reg), Reg(b), Reg(a), mask << 4);
            }
            Inst::Store { op, width, to, from, mask } => {
                let from = self.fetch(from)?;
                if self.asm.evex {
                    let masked = self.masked(mask, false)?;
                    let mem = self.mem(to);
                    self.asm.vector(op, width, from, 0, Rm::Mem(mem), masked, &[]);
                } else {
                    let mask = mask.map_or(Ok(0), |m| self.fetch(m))?;
                    let mem = self.mem(to);
                    self.asm.vector(op, width, from, mask, Rm::Mem(mem), Masked::default(), &[]);
                }
            }
            Inst::Gather { op, width, to, base, lanes, mask } => {
                let (lanes, mask) = (self.fetch(lanes)?, self.fetch(mask)?);
                let reg = self.result(to)?;
                self.asm.v(op::PXORD, self.width, Reg(reg), Reg(reg), Reg(reg));
                let mem = self.mem(base);
                let Base::Gpr(base) = mem.base else { unreachable!("a register") };
                let rm = Rm::Lanes(base, Reg(lanes), 0, mem.disp);
                self.asm.vector(op, width, reg, 0, rm, Masked { mask, zero: false }, &[]);
            }
            Inst::Scatter { op, width, from, base, lanes, mask } => {
                let (from, lanes, mask) = (self.fetch(from)?, self.fetch(lanes)?, self.fetch(mask)?);
                let mem = self.mem(base);
                let Base::Gpr(base) = mem.base else { unreachable!("a register") };
                let rm = Rm::Lanes(base, Reg(lanes), 0, mem.disp);
                self.asm.vector(op, width, from, 0, rm, Masked { mask, zero: false }, &[]);
            }
            Inst::Spread { op, width, to, from } => {
                let reg = self.result(to)?;
                self.asm.vector(op, width, reg, 0, Rm::Gpr(from), Masked::default(), &[]);
            }
            Inst::Lanes { to, from } => {
                let reg = self.fetch(from)?;
                let (op, width, rm) = match self.kind(from) {
                    Kind::Mask => (op::KMOVW_LANES, Width::B16, Rm::Mask(Mask(reg))),
                    Kind::Vector => (op::MOVMSKPS, self.width, Rm::Reg(Reg(reg))),
                };
                self.asm.vector(op, width, to.0, 0, rm, Masked::default(), &[]);
            }
            Inst::General(general) => self.general(general),
            Inst::Loop(ref l) => self.repeat(l)?,
        }
        Ok(())
    }

    fn mul_add(&mut self, wide: bool, to: V, [a, b, c]: [V; 3]) -> Result<()> {
        let [f213, f231] = match wide {
            false => [op::FMADD213PS, op::FMADD231PS],
            true => [op::FMADD213PD, op::FMADD231PD],
        };
        let width = self.width;
        let (ra, rb) = (self.fetch(a)?, self.fetch(b)?);
        let distinct = a != b && a != c && b != c;
        let replaces = self.hints.get(&to).is_some_and(|hint| hint.old == c);
        if to == c || replaces || !distinct || self.dies(c) || !(self.dies(a) || self.dies(b)) {
            let reg = self.result_from(to, c)?;
            self.asm.v(f231, width, Reg(reg), Reg(ra), Reg(rb));
            return Ok(());
        }
        // `to` is a factor at first: the sum may come from memory.
        let (first, other) = if self.dies(a) { (a, rb) } else { (b, ra) };
        let c = self.operand(f213, width, Src::V(c))?;
        let reg = self.result_from(to, first)?;
        self.asm.v(f213, width, Reg(reg), Reg(other), c);
        Ok(())
    }

    pub(super) fn holders_of(&self, kind: Kind) -> &[Option<V>] {
        match kind {
            Kind::Vector => &self.vectors,
            Kind::Mask => &self.masks,
        }
    }
}

fn broadcast(wide: bool) -> Op {
    if wide { op::BROADCASTSD } else { op::BROADCASTSS }
}
