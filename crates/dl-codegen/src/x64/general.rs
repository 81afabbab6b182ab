//! General registers of vector code: addresses of operands, and arithmetic on indices.

use super::alloc::{ARGS, Code, TEMP};
use super::asm::{Base, Mem};
use super::lir::{Addr, AddrBase, General};

impl Code {
    pub(super) fn mem(&mut self, addr: Addr) -> Mem {
        let base = match addr.base {
            AddrBase::Gpr(base) => base,
            AddrBase::Arg(at) => {
                self.asm.load(TEMP, Mem::at(ARGS, at));
                TEMP
            }
        };
        Mem { base: Base::Gpr(base), index: addr.index, disp: addr.disp }
    }

    pub(super) fn general(&mut self, general: General) {
        match general {
            General::Set(to, x) => self.asm.set(to, x),
            General::Load(to, from) => {
                let mem = self.mem(from);
                self.asm.load(to, mem);
            }
            General::Lea(to, address) => {
                let mem = self.mem(address);
                self.asm.lea(to, mem);
            }
            General::AddReg(to, from) => self.asm.add_reg(to, from),
            General::Mul(to, from, x) => self.asm.mul(to, from, x),
            General::Negate(r) => self.asm.mul(r, r, -1),
        }
    }
}
