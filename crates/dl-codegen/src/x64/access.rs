//! Loads and stores of vector code.

use super::body::{Body, Held};
use super::lir::{Addr, Inst, V};
use super::op::{self, Op};
use super::{Result, Unsupported, is_wide};
use crate::kernel::*;

impl Body<'_> {
    /// Loads a place; one register for all groups if it is the same in all lanes.
    pub fn load(&mut self, place: &Place) -> Result<Held> {
        let stride = self.stride(place);
        let memory = self.memory(place.buf);
        let addr = self.address(place)?;
        if stride == 0 {
            let (op, wide) = match memory.size() {
                4 => (op::BROADCASTSS, false),
                8 => (op::BROADCASTSD, true),
                _ => return Err(Unsupported),
            };
            debug_assert_eq!(wide, is_wide(memory));
            return Ok(Held { regs: vec![self.op1(op, super::lir::Src::Mem(addr))], uniform: true });
        }
        let regs = (0..self.count(memory))
            .map(|i| {
                let mask = self.mask_of(memory, i)?;
                self.load_part(memory, addr, stride, i, mask)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Held { regs, uniform: false })
    }

    /// Loads a place where `guard` is true.
    pub fn load_if(&mut self, place: &Place, guard: Value, other: Value) -> Result<Held> {
        let stride = self.stride(place);
        let memory = self.memory(place.buf);
        let addr = self.address(place)?;
        let (guard, other_held) = (self.held(guard)?, self.held(other)?);
        let zero = self.constant_of(other).is_some_and(|lit| lit.bits == 0);
        let wide = is_wide(memory);
        if memory == DType::Bool && !(zero && stride == 1 && self.evex()) {
            return Err(Unsupported);
        }
        let uniform = stride == 0 && guard.uniform && other_held.uniform;
        let regs = (0..if uniform { 1 } else { self.count(memory) })
            .map(|i| {
                let mut mask = Self::part(&guard, i >> usize::from(wide));
                let mut whole = self.masks[i >> usize::from(wide)].filter(|_| !uniform);
                if self.evex() {
                    if let Some(group) = whole {
                        mask = self.mask_op(op::KANDW, Some(group), mask);
                    }
                } else if let Some(group) = whole.take() {
                    mask = self.op2(op::PANDD, group, mask);
                }
                if wide {
                    mask = self.half_mask(mask, i & 1)?;
                }
                let loaded = match stride {
                    0 if self.evex() && memory.size() >= 4 => {
                        let op = if wide { op::BROADCASTSD } else { op::BROADCASTSS };
                        self.masked(op, None, super::lir::Src::Mem(addr), mask, None)
                    }
                    0 => return Err(Unsupported),
                    _ => self.load_part(memory, addr, stride, i, Some(mask))?,
                };
                Ok(if zero { loaded } else { self.blend(wide, mask, loaded, Self::part(&other_held, i)) })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Held { regs, uniform })
    }

    /// The address of register `i` of consecutive elements.
    fn part_address(&self, memory: DType, addr: Addr, stride: i64, i: usize) -> Result<Addr> {
        let lanes = if is_wide(memory) { self.lanes() / 2 } else { self.lanes() };
        let bytes = i as i64 * lanes as i64 * stride * memory.size() as i64;
        let disp = i32::try_from(i64::from(addr.disp) + bytes).map_err(|_| Unsupported)?;
        Ok(Addr { disp, ..addr })
    }

    fn load_part(&mut self, memory: DType, addr: Addr, stride: i64, i: usize, mask: Option<V>) -> Result<V> {
        let addr = self.part_address(memory, addr, stride, i)?;
        let src = super::lir::Src::Mem(addr);
        let wide = is_wide(memory);
        if stride != 1 {
            let op = if wide { op::GATHERDPD } else { op::GATHERDPS };
            let (addr, lanes, mask) = self.lanes_apart(memory, addr, stride, mask)?;
            let (to, width) = (self.vector(), self.code.width);
            self.push(Inst::Gather { op, width, to, base: addr, lanes, mask });
            return Ok(to);
        }
        let bytes = matches!(memory, DType::U8 | DType::Bool);
        let op = match (bytes, wide) {
            (true, _) => op::PMOVZXBD,
            (_, true) => op::MOVUPD,
            (_, false) => op::MOVUPS,
        };
        let loaded = match mask {
            None => self.op1(op, src),
            Some(mask) if self.evex() => self.masked(op, None, src, mask, None),
            Some(_) if bytes => return Err(Unsupported),
            Some(mask) => self.op2(op::MASKMOVPS, mask, src),
        };
        if memory != DType::Bool {
            return Ok(loaded);
        }
        let zero = self.int(0);
        Ok(match self.evex() {
            true => self.masking(op::PCMPD, loaded, zero, 4),
            false => self.op2(op::PCMPGTD, loaded, zero),
        })
    }

    /// For a gather or scatter: the address, the distances of the lanes, and a mask that may be used up.
    fn lanes_apart(&mut self, memory: DType, addr: Addr, stride: i64, mask: Option<V>) -> Result<(Addr, V, V)> {
        if !self.evex() || memory.size() < 4 {
            return Err(Unsupported);
        }
        let mut addr = addr;
        if addr.index.is_some() {
            return Err(Unsupported);
        }
        let count = if is_wide(memory) { 8 } else { 16 };
        let step = stride * memory.size() as i64;
        let bytes: Vec<u8> = (0..16i64)
            .map(|lane| i32::try_from(if lane < count { lane * step } else { 0 }).map_err(|_| Unsupported))
            .collect::<Result<Vec<i32>>>()?
            .into_iter()
            .flat_map(i32::to_le_bytes)
            .collect();
        let lanes = self.lane_constants(&bytes);
        let mask = match mask {
            // A copy, as it is used up.
            Some(mask) => self.mask_op(op::KORW, Some(mask), mask),
            None => self.first_lanes(16),
        };
        // The base is a register of its own for the instruction.
        if let super::lir::AddrBase::Arg(_) = addr.base {
            let reg = super::alloc::TEMP;
            self.general(super::lir::General::Load(reg, load_of(addr.base)));
            addr.base = super::lir::AddrBase::Gpr(reg);
        }
        Ok((addr, lanes, mask))
    }

    /// Stores to a place.
    pub fn store(&mut self, place: &Place, value: Value, add: bool, guard: Option<Value>) -> Result<()> {
        let stride = self.stride(place);
        if stride == 0 {
            return Err(Unsupported);
        }
        let memory = self.memory(place.buf);
        let held = self.held(value)?;
        let guard = guard.map(|g| self.held(g)).transpose()?;
        let addr = self.address(place)?;
        let wide = is_wide(memory);
        for i in 0..self.count(memory) {
            let mut mask = self.masks[i >> usize::from(wide)];
            if let Some(guard) = &guard {
                let chosen = Self::part(guard, i >> usize::from(wide));
                mask = Some(match (mask, self.evex()) {
                    (None, _) => chosen,
                    (Some(group), true) => self.mask_op(op::KANDW, Some(group), chosen),
                    (Some(group), false) => self.op2(op::PANDD, group, chosen),
                });
            }
            if wide && let Some(whole) = mask {
                mask = Some(self.half_mask(whole, i & 1)?);
            }
            let mut from = Self::part(&held, i);
            if add {
                if matches!(memory, DType::U8 | DType::Bool) {
                    return Err(Unsupported);
                }
                let old = self.load_part(memory, addr, stride, i, mask)?;
                from = self.add(memory, old, from);
            }
            self.store_part(memory, addr, stride, i, from, mask)?;
        }
        Ok(())
    }

    fn add(&mut self, dtype: DType, a: V, b: V) -> V {
        let op: Op = match dtype {
            DType::F32 => op::ADDPS,
            DType::F64 => op::ADDPD,
            DType::I64 => op::PADDQ,
            _ => op::PADDD,
        };
        self.op2(op, a, b)
    }

    fn store_part(&mut self, memory: DType, addr: Addr, stride: i64, i: usize, from: V, mask: Option<V>) -> Result<()> {
        let addr = self.part_address(memory, addr, stride, i)?;
        let (wide, width) = (is_wide(memory), self.code.width);
        if stride != 1 {
            let op = if wide { op::SCATTERDPD } else { op::SCATTERDPS };
            let (base, lanes, mask) = self.lanes_apart(memory, addr, stride, mask)?;
            self.push(Inst::Scatter { op, width, from, base, lanes, mask });
            return Ok(());
        }
        let (op, from) = match memory {
            DType::F32 | DType::I32 => (op::MOVUPS_TO, from),
            DType::F64 | DType::I64 => (op::MOVUPD_TO, from),
            _ if !self.evex() => return Err(Unsupported),
            DType::U8 => (op::PMOVDB, from),
            DType::Bool => {
                let one = self.int(1);
                (op::PMOVDB, self.masked(op::MOVAPS, None, one, from, None))
            }
        };
        let op = if !self.evex() && mask.is_some() { op::MASKMOVPS_TO } else { op };
        self.push(Inst::Store { op, width, to: addr, from, mask });
        Ok(())
    }
}

fn load_of(base: super::lir::AddrBase) -> Addr {
    match base {
        super::lir::AddrBase::Arg(at) => super::body::arg_place(at),
        base => Addr { base, index: None, disp: 0 },
    }
}
