//! An assembler for the instructions that wide kernels need: general registers, jumps, and the two vector encodings.
//!
//! It is a page of bit fields instead of a dependency: a full assembler would cost a user more build time than the
//! rest of this crate. Every form is disassembled and compared in `tests/x64.rs`.

use super::op::{Op, Tuple};

/// A general register, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gpr(pub u8);

impl Gpr {
    pub const RAX: Gpr = Gpr(0);
    pub const RSP: Gpr = Gpr(4);
    /// The first argument of a function, in the System V convention.
    pub const RDI: Gpr = Gpr(7);
    /// Those that a function must hand back as they were, but for the stack pointer.
    pub const SAVED: [Gpr; 6] = [Gpr(3), Gpr(5), Gpr(12), Gpr(13), Gpr(14), Gpr(15)];
    /// Those that a function may use freely.
    pub const FREE: [Gpr; 9] = [Gpr(0), Gpr(1), Gpr(2), Gpr(6), Gpr(7), Gpr(8), Gpr(9), Gpr(10), Gpr(11)];
}

/// A vector register, by number: 32 with AVX-512, 16 without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(pub u8);

/// A mask register of AVX-512, by number. Number 0 cannot mask an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mask(pub u8);

/// The length of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Width {
    B16,
    B32,
    B64,
}

impl Width {
    /// Bytes of a register.
    pub fn bytes(self) -> usize {
        16 << self as usize
    }
}

/// A place in the code to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(u32);

/// A constant behind the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Const(u32);

/// What an address starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    Gpr(Gpr),
    Const(Const),
}

/// A memory operand: `base + index * 2^scale + disp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mem {
    pub base: Base,
    pub index: Option<(Gpr, u8)>,
    pub disp: i32,
}

impl Mem {
    /// `[base + disp]`.
    pub fn at(base: Gpr, disp: i32) -> Mem {
        Mem { base: Base::Gpr(base), index: None, disp }
    }

    /// A constant.
    pub fn constant(c: Const) -> Mem {
        Mem { base: Base::Const(c), index: None, disp: 0 }
    }
}

/// The last operand of a vector instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rm {
    Reg(Reg),
    Mem(Mem),
    /// One element, repeated: only with AVX-512.
    Splat(Mem),
    Gpr(Gpr),
    Mask(Mask),
    /// An address whose index is a vector register (gathers).
    Lanes(Gpr, Reg, u8, i32),
}

impl From<Reg> for Rm {
    fn from(r: Reg) -> Rm {
        Rm::Reg(r)
    }
}

impl From<Mem> for Rm {
    fn from(m: Mem) -> Rm {
        Rm::Mem(m)
    }
}

/// Which lanes an instruction writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// The lanes whose bit is set; all for mask 0.
    pub mask: u8,
    /// Zero the other ones, instead of keeping them.
    pub zero: bool,
}

/// Conditions of jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cond {
    Below = 2,
    NotEqual = 5,
    Equal = 4,
    Less = 12,
    GreaterEqual = 13,
}

/// Code that grows.
pub struct Asm {
    /// Whether vector instructions are encoded for AVX-512.
    pub evex: bool,
    code: Vec<u8>,
    labels: Vec<Option<usize>>,
    /// Places of 32-bit distances to labels, counted from their ends.
    jumps: Vec<(usize, Label)>,
    /// Places of distances to constants, with how many bytes of the instruction follow.
    loads: Vec<(usize, Const, usize)>,
    constants: Vec<Vec<u8>>,
}

impl Asm {
    pub fn new(evex: bool) -> Asm {
        Asm { evex, code: vec![], labels: vec![], jumps: vec![], loads: vec![], constants: vec![] }
    }

    /// A label without a place yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() as u32 - 1)
    }

    /// Puts a label here.
    pub fn place(&mut self, label: Label) {
        self.labels[label.0 as usize] = Some(self.code.len());
    }

    /// A label here.
    pub fn here(&mut self) -> Label {
        let label = self.label();
        self.place(label);
        label
    }

    /// Fills up with instructions that do nothing, to the next multiple of `to`.
    pub fn align(&mut self, to: usize) {
        // The recommended instructions of 1 to 9 bytes.
        const NOPS: [&[u8]; 9] = [
            &[0x90],
            &[0x66, 0x90],
            &[0x0f, 0x1f, 0x00],
            &[0x0f, 0x1f, 0x40, 0x00],
            &[0x0f, 0x1f, 0x44, 0x00, 0x00],
            &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
            &[0x0f, 0x1f, 0x80, 0, 0, 0, 0],
            &[0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
            &[0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
        ];
        let mut gap = self.code.len().next_multiple_of(to) - self.code.len();
        while gap > 0 {
            let nop = NOPS[gap.min(9) - 1];
            self.code.extend(nop);
            gap -= nop.len();
        }
    }

    /// Bytes behind the code, aligned to their own length, once for equal ones.
    pub fn constant(&mut self, bytes: &[u8]) -> Const {
        let known = self.constants.iter().position(|c| c == bytes);
        let at = known.unwrap_or_else(|| {
            self.constants.push(bytes.to_vec());
            self.constants.len() - 1
        });
        Const(at as u32)
    }

    /// The code behind `start`, with its constants. It may be placed at any address that is a multiple of 64.
    pub fn finish(mut self, start: Asm) -> Vec<u8> {
        let shift = start.code.len();
        self.code.splice(0..0, start.code);
        self.labels.iter_mut().flatten().for_each(|at| *at += shift);
        self.jumps.iter_mut().for_each(|(at, _)| *at += shift);
        self.loads.iter_mut().for_each(|(at, ..)| *at += shift);
        for (at, label) in std::mem::take(&mut self.jumps) {
            let target = self.labels[label.0 as usize].unwrap_or_else(|| unreachable!("every label is placed"));
            self.patch(at, target as i64 - (at + 4) as i64);
        }
        // Large ones first, so that each is aligned.
        let mut order: Vec<usize> = (0..self.constants.len()).collect();
        order.sort_by_key(|&c| std::cmp::Reverse(self.constants[c].len()));
        let mut places = vec![0; order.len()];
        for c in order {
            let bytes = std::mem::take(&mut self.constants[c]);
            let gap = self.code.len().next_multiple_of(bytes.len().next_power_of_two()) - self.code.len();
            self.code.extend(vec![0xcc; gap]);
            places[c] = self.code.len();
            self.code.extend(bytes);
        }
        for (at, c, behind) in std::mem::take(&mut self.loads) {
            self.patch(at, places[c.0 as usize] as i64 - (at + 4 + behind) as i64);
        }
        self.code
    }

    fn patch(&mut self, at: usize, distance: i64) {
        self.code[at..at + 4].copy_from_slice(&(distance as i32).to_le_bytes());
    }

    // General registers, 64 bits.

    /// `to = from`.
    pub fn mov(&mut self, to: Gpr, from: Gpr) {
        self.general(0x8b, to.0, Rm::Gpr(from), &[]);
    }

    /// `to = [from]`.
    pub fn load(&mut self, to: Gpr, from: Mem) {
        self.general(0x8b, to.0, Rm::Mem(from), &[]);
    }

    /// `[to] = from`.
    pub fn store(&mut self, to: Mem, from: Gpr) {
        self.general(0x89, from.0, Rm::Mem(to), &[]);
    }

    /// `to = x`.
    pub fn set(&mut self, to: Gpr, x: i64) {
        match i32::try_from(x) {
            Ok(0) => self.short(0x33, to.0, to.0),
            Ok(x) => self.general(0xc7, 0, Rm::Gpr(to), &x.to_le_bytes()),
            Err(_) => {
                self.code.extend([0x48 | to.0 >> 3, 0xb8 | to.0 & 7]);
                self.code.extend(x.to_le_bytes());
            }
        }
    }

    /// `to = address`.
    pub fn lea(&mut self, to: Gpr, address: Mem) {
        self.general(0x8d, to.0, Rm::Mem(address), &[]);
    }

    /// `to += x`.
    pub fn add(&mut self, to: Gpr, x: i32) {
        self.immediate(0, Rm::Gpr(to), x);
    }

    /// `[to] += x`.
    pub fn add_mem(&mut self, to: Mem, x: i32) {
        self.immediate(0, Rm::Mem(to), x);
    }

    /// `to += from`.
    pub fn add_reg(&mut self, to: Gpr, from: Gpr) {
        self.general(0x03, to.0, Rm::Gpr(from), &[]);
    }

    /// `to -= from`.
    pub fn sub_reg(&mut self, to: Gpr, from: Gpr) {
        self.general(0x2b, to.0, Rm::Gpr(from), &[]);
    }

    /// `to = from * x`.
    pub fn mul(&mut self, to: Gpr, from: Gpr, x: i32) {
        self.general(0x69, to.0, Rm::Gpr(from), &x.to_le_bytes());
    }

    /// Compares `a` with `x`.
    pub fn cmp(&mut self, a: Gpr, x: i32) {
        self.immediate(7, Rm::Gpr(a), x);
    }

    /// Compares `a` with `[b]`.
    pub fn cmp_load(&mut self, a: Gpr, b: Mem) {
        self.general(0x3b, a.0, Rm::Mem(b), &[]);
    }

    pub fn push(&mut self, r: Gpr) {
        self.single(0x50, r);
    }

    pub fn pop(&mut self, r: Gpr) {
        self.single(0x58, r);
    }

    pub fn ret(&mut self) {
        self.code.push(0xc3);
    }

    pub fn jump_if(&mut self, cond: Cond, to: Label) {
        self.code.extend([0x0f, 0x80 | cond as u8]);
        self.distance(to);
    }

    /// Loads a line of memory into the first-level cache.
    pub fn prefetch(&mut self, m: Mem) {
        self.optional(0, &m);
        self.code.extend([0x0f, 0x18]);
        self.operand(1, Rm::Mem(m), 0, 1);
    }

    /// Ends the use of wide registers.
    pub fn vzeroupper(&mut self) {
        self.code.extend([0xc5, 0xf8, 0x77]);
    }

    fn distance(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.code.extend([0; 4]);
    }

    fn single(&mut self, op: u8, r: Gpr) {
        if r.0 > 7 {
            self.code.push(0x41);
        }
        self.code.push(op | r.0 & 7);
    }

    /// 32 bits, of two registers.
    fn short(&mut self, op: u8, reg: u8, rm: u8) {
        if reg > 7 || rm > 7 {
            self.code.push(0x40 | reg >> 3 << 2 | rm >> 3);
        }
        self.code.extend([op, 0xc0 | (reg & 7) << 3 | rm & 7]);
    }

    fn immediate(&mut self, what: u8, rm: Rm, x: i32) {
        match i8::try_from(x) {
            Ok(x) => self.general(0x83, what, rm, &[x as u8]),
            Err(_) => self.general(0x81, what, rm, &x.to_le_bytes()),
        }
    }

    fn general(&mut self, op: u8, reg: u8, rm: Rm, immediate: &[u8]) {
        let (x, b) = high(rm);
        self.code.push(0x48 | reg >> 3 << 2 | x << 1 | b);
        self.code.push(op);
        self.operand(reg, rm, immediate.len(), 1);
        self.code.extend(immediate);
    }

    /// A prefix for high registers, where there are any.
    fn optional(&mut self, reg: u8, m: &Mem) {
        let (x, b) = high(Rm::Mem(*m));
        let bits = reg >> 3 << 2 | x << 1 | b;
        if bits != 0 {
            self.code.push(0x40 | bits);
        }
    }

    // Vectors.

    /// An instruction on `to`, `a` and `b`; of two operands `a` is not used and 0.
    pub fn v(&mut self, op: Op, width: Width, to: Reg, a: Reg, b: impl Into<Rm>) {
        self.vector(op, width, to.0, a.0, b.into(), Masked::default(), &[]);
    }

    /// The same with an immediate operand.
    pub fn vi(&mut self, op: Op, width: Width, to: Reg, a: Reg, b: impl Into<Rm>, x: u8) {
        self.vector(op, width, to.0, a.0, b.into(), Masked::default(), &[x]);
    }

    /// An instruction on numbered registers of any kind.
    #[expect(clippy::too_many_arguments, reason = "the fields of an instruction")]
    pub fn vector(&mut self, op: Op, width: Width, reg: u8, v: u8, rm: Rm, masked: Masked, immediate: &[u8]) {
        let (reg, v) = match op.digit {
            // The operation is in place of the register, which is written through the other field.
            Some(digit) => (digit, reg),
            None => (reg, v),
        };
        if self.evex && !op.vex_only {
            self.evex(op, width, reg, v, rm, masked, immediate);
        } else {
            self.vex(op, width, reg, v, rm, immediate);
        }
    }

    fn vex(&mut self, op: Op, width: Width, reg: u8, v: u8, rm: Rm, immediate: &[u8]) {
        debug_assert!(width != Width::B64 && reg < 16 && v < 16, "no such register without AVX-512");
        let (x, b) = high(rm);
        let (r, v) = (!reg >> 3 & 1, !v & 15);
        let (length, w) = (op.length.unwrap_or(width as u8), u8::from(op.vex_w));
        if x == 0 && b == 0 && w == 0 && op.map == 1 {
            self.code.extend([0xc5, r << 7 | v << 3 | length << 2 | op.prefix]);
        } else {
            self.code.extend([
                0xc4,
                r << 7 | (1 - x) << 6 | (1 - b) << 5 | op.map,
                w << 7 | v << 3 | length << 2 | op.prefix,
            ]);
        }
        self.code.push(op.code);
        self.operand(reg, rm, immediate.len(), 1);
        self.code.extend(immediate);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of an instruction")]
    fn evex(&mut self, op: Op, width: Width, reg: u8, v: u8, rm: Rm, masked: Masked, immediate: &[u8]) {
        let splat = matches!(rm, Rm::Splat(_));
        let (mut x, b) = high(rm);
        let mut v_high = v >> 4;
        match rm {
            Rm::Reg(r) => x = r.0 >> 4,
            Rm::Lanes(_, index, ..) => v_high = index.0 >> 4,
            _ => {}
        }
        let element = if op.w { 8 } else { 4 };
        let scale = match op.tuple {
            Tuple::Full if splat => element,
            Tuple::Full | Tuple::Bytes => width.bytes(),
            Tuple::Half => width.bytes() / 2,
            Tuple::Quarter => width.bytes() / 4,
            Tuple::One => element,
        };
        let length = op.length.unwrap_or(width as u8);
        self.code.extend([
            0x62,
            (!reg >> 3 & 1) << 7 | (1 - x) << 6 | (1 - b) << 5 | (!reg >> 4 & 1) << 4 | op.map,
            u8::from(op.w) << 7 | (!v & 15) << 3 | 4 | op.prefix,
            u8::from(masked.zero) << 7 | length << 5 | u8::from(splat) << 4 | (1 - v_high) << 3 | masked.mask,
            op.code,
        ]);
        self.operand(reg, rm, immediate.len(), scale as i32);
        self.code.extend(immediate);
    }

    /// The operand bytes. Displacements of 8 bits count in units of `scale`; `behind` bytes follow.
    fn operand(&mut self, reg: u8, rm: Rm, behind: usize, scale: i32) {
        let reg = (reg & 7) << 3;
        let (base, index, disp) = match rm {
            Rm::Reg(Reg(r)) | Rm::Gpr(Gpr(r)) | Rm::Mask(Mask(r)) => return self.code.push(0xc0 | reg | r & 7),
            Rm::Mem(m) | Rm::Splat(m) => (m.base, m.index.map(|(r, s)| (r.0, s)), m.disp),
            Rm::Lanes(base, index, shift, disp) => (Base::Gpr(base), Some((index.0, shift)), disp),
        };
        let base = match base {
            Base::Gpr(base) => base.0 & 7,
            Base::Const(c) => {
                self.code.push(reg | 5);
                self.loads.push((self.code.len(), c, behind));
                self.code.extend(disp.to_le_bytes());
                return;
            }
        };
        let small = (disp % scale == 0).then(|| i8::try_from(disp / scale).ok()).flatten();
        let mode = match small {
            // With base 5 (rbp, r13) no displacement would mean another thing.
            Some(0) if base != 5 => 0,
            Some(_) => 0x40,
            None => 0x80,
        };
        match index {
            Some((index, shift)) => self.code.extend([mode | reg | 4, shift << 6 | (index & 7) << 3 | base]),
            None if base == 4 => self.code.extend([mode | reg | 4, 0x24]),
            None => self.code.push(mode | reg | base),
        }
        match small {
            Some(_) if mode == 0 => {}
            Some(small) => self.code.push(small as u8),
            None => self.code.extend(disp.to_le_bytes()),
        }
    }
}

/// The fourth bits of an operand's registers: of the index and of the base.
fn high(rm: Rm) -> (u8, u8) {
    match rm {
        Rm::Reg(Reg(r)) | Rm::Gpr(Gpr(r)) | Rm::Mask(Mask(r)) => (0, r >> 3 & 1),
        Rm::Mem(m) | Rm::Splat(m) => {
            let base = if let Base::Gpr(base) = m.base { base.0 >> 3 } else { 0 };
            (m.index.map_or(0, |(index, _)| index.0 >> 3), base)
        }
        Rm::Lanes(base, index, ..) => (index.0 >> 3 & 1, base.0 >> 3),
    }
}
