//! The registers of a lane group: types, broadcasts, single lanes, masks.

use super::*;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Endianness, MemFlagsData, Type};

/// The type of one value as a scalar.
pub(super) fn scalar_type(dtype: DType) -> Type {
    match dtype {
        DType::F32 => types::F32,
        DType::F64 => types::F64,
        DType::I64 => types::I64,
        DType::I32 => types::I32,
        DType::U8 | DType::Bool => types::I8,
    }
}

/// The type of one register of lanes.
pub(super) fn vector_type(dtype: DType) -> Type {
    match dtype {
        DType::F32 => types::F32X4,
        DType::F64 => types::F64X2,
        DType::I64 => types::I64X2,
        DType::I32 | DType::U8 | DType::Bool => types::I32X4,
    }
}

/// Lanes in one register.
pub(super) fn lanes_of(dtype: DType) -> usize {
    vector_type(dtype).lane_count() as usize
}

impl Emitter<'_> {
    /// Registers of one value of the current lane group.
    pub fn registers(&self, dtype: DType) -> usize {
        self.groups * 4 / lanes_of(dtype)
    }

    /// Whether the value is held by lanes.
    pub fn is_lanes(&self, value: Value) -> bool {
        matches!(self.values[value.0 as usize], Rep::Lanes(_))
    }

    /// A value that is the same in all lanes.
    pub fn scalar(&mut self, value: Value) -> ir::Value {
        match &self.values[value.0 as usize] {
            Rep::Scalar(v) => *v,
            Rep::Const(lit) => {
                let lit = *lit;
                self.constant(lit)
            }
            Rep::Lanes(_) | Rep::Unset => unreachable!("verified: v{} is defined and does not vary by lane", value.0),
        }
    }

    /// A scalar constant.
    pub fn constant(&mut self, lit: Lit) -> ir::Value {
        match lit.dtype {
            DType::F32 => self.b.ins().f32const(f32::from_bits(lit.bits as u32)),
            DType::F64 => self.b.ins().f64const(f64::from_bits(lit.bits)),
            dtype => self.b.ins().iconst(scalar_type(dtype), lit.bits as i64),
        }
    }

    /// The same constant in all lanes of a register.
    pub fn vector_constant(&mut self, lit: Lit) -> ir::Value {
        let bits = if lit.dtype == DType::Bool { 0u64.wrapping_sub(lit.bits) } else { lit.bits };
        let bytes: Vec<u8> = match lit.dtype {
            DType::F64 | DType::I64 => bits.to_le_bytes().repeat(2),
            _ => (bits as u32).to_le_bytes().repeat(4),
        };
        let constant = self.b.func.dfg.constants.insert(bytes.into());
        self.b.ins().vconst(vector_type(lit.dtype), constant)
    }

    /// A value as the registers of the lane group.
    pub fn lanes(&mut self, value: Value) -> Vec<ir::Value> {
        let dtype = self.dtype(value);
        match self.values[value.0 as usize].clone() {
            Rep::Lanes(registers) => registers,
            Rep::Const(lit) => vec![self.vector_constant(lit); self.registers(dtype)],
            Rep::Scalar(scalar) => {
                // By the scalar, as the rows of a contraction give one value many.
                let key = (dtype, scalar);
                let known = self.splats.iter().rev().find(|(of, _)| *of == key).map(|(_, register)| *register);
                let register = known.unwrap_or_else(|| {
                    let register = self.splat(dtype, scalar);
                    self.splats.push((key, register));
                    register
                });
                vec![register; self.registers(dtype)]
            }
            Rep::Unset => unreachable!("verified: v{} is defined", value.0),
        }
    }

    /// A scalar in all lanes of a register.
    pub fn splat(&mut self, dtype: DType, scalar: ir::Value) -> ir::Value {
        let scalar = if dtype == DType::Bool { self.widen_bool(scalar) } else { scalar };
        self.b.ins().splat(vector_type(dtype), scalar)
    }

    /// One lane as a scalar.
    pub fn extract(&mut self, dtype: DType, registers: &[ir::Value], lane: usize) -> ir::Value {
        let per = lanes_of(dtype);
        let x = self.b.ins().extractlane(registers[lane / per], (lane % per) as u8);
        match dtype {
            DType::Bool => {
                let byte = self.b.ins().ireduce(types::I8, x);
                self.b.ins().band_imm_u(byte, 1)
            }
            _ => x,
        }
    }

    /// Scalars as the registers of a lane group, one for each lane.
    pub fn assemble(&mut self, dtype: DType, scalars: &[ir::Value]) -> Vec<ir::Value> {
        scalars
            .chunks(lanes_of(dtype))
            .map(|chunk| {
                let mut register = None;
                for (lane, scalar) in chunk.iter().enumerate() {
                    let x = if dtype == DType::Bool { self.widen_bool(*scalar) } else { *scalar };
                    register = Some(match register {
                        None => self.b.ins().scalar_to_vector(vector_type(dtype), x),
                        Some(register) => self.b.ins().insertlane(register, x, lane as u8),
                    });
                }
                register.unwrap_or_else(|| unreachable!("a chunk has a lane"))
            })
            .collect()
    }

    /// Computes lane by lane what has no vector instruction.
    pub fn by_lane(
        &mut self,
        (from, to): (DType, DType),
        operands: &[&[ir::Value]],
        f: impl Fn(&mut Self, &[ir::Value]) -> ir::Value,
    ) -> Vec<ir::Value> {
        let scalars: Vec<ir::Value> = (0..self.groups * 4)
            .map(|lane| {
                let args: Vec<ir::Value> = operands.iter().map(|o| self.extract(from, o, lane)).collect();
                f(self, &args)
            })
            .collect();
        self.assemble(to, &scalars)
    }

    /// The bits of a register as another type.
    pub fn recast(&mut self, to: Type, register: ir::Value) -> ir::Value {
        if self.b.func.dfg.value_type(register) == to {
            return register;
        }
        self.b.ins().bitcast(to, MemFlagsData::new().with_endianness(Endianness::Little), register)
    }

    /// 16 bytes chosen from two registers.
    pub fn shuffle(&mut self, a: ir::Value, b: ir::Value, bytes: [u8; 16], to: Type) -> ir::Value {
        let (a, b) = (self.recast(types::I8X16, a), self.recast(types::I8X16, b));
        let mask = self.b.func.dfg.immediates.push(ir::ConstantData::from(&bytes[..]));
        let mixed = self.b.ins().shuffle(a, b, mask);
        self.recast(to, mixed)
    }

    /// Four 32-bit lanes chosen from two registers (0..4 from `a`, 4..8 from `b`).
    pub fn shuffle32(&mut self, a: ir::Value, b: ir::Value, lanes: [u8; 4], to: Type) -> ir::Value {
        self.shuffle(a, b, std::array::from_fn(|i| lanes[i / 4] * 4 + (i % 4) as u8), to)
    }

    /// Masks of 64-bit lanes (two registers for four lanes) as masks of 32-bit lanes.
    pub fn narrow(&mut self, registers: &[ir::Value]) -> Vec<ir::Value> {
        registers.chunks(2).map(|pair| self.shuffle32(pair[0], pair[1], [0, 2, 4, 6], types::I32X4)).collect()
    }

    /// The mask of the lanes in one register of `dtype`; `register` counts those.
    pub fn mask_for(&mut self, dtype: DType, masks: &[ir::Value], register: usize) -> ir::Value {
        if lanes_of(dtype) == 4 {
            return masks[register];
        }
        match register % 2 {
            0 => self.b.ins().swiden_low(masks[register / 2]),
            _ => self.b.ins().swiden_high(masks[register / 2]),
        }
    }

    /// `mask ? a : b` for one register.
    pub fn blend(&mut self, mask: ir::Value, a: ir::Value, b: ir::Value) -> ir::Value {
        let ty = self.b.func.dfg.value_type(a);
        let bits = if ty.lane_bits() == 64 { types::I64X2 } else { types::I32X4 };
        if self.isa.has_blend(ty) {
            let (mask, a, b) = (self.recast(bits, mask), self.recast(bits, a), self.recast(bits, b));
            let blended = self.b.ins().blendv(mask, a, b);
            return self.recast(ty, blended);
        }
        let mask = self.recast(ty, mask);
        self.b.ins().bitselect(mask, a, b)
    }

    /// The lane numbers `0, 1, 2, 3` plus `first`, as I32 lanes.
    pub fn lane_numbers(&mut self, first: i32) -> ir::Value {
        let bytes: Vec<u8> = (0..4).flat_map(|lane| (first + lane).to_le_bytes()).collect();
        let constant = self.b.func.dfg.constants.insert(bytes.into());
        self.b.ins().vconst(types::I32X4, constant)
    }

    /// 0 or 1 as 0 or -1, 32 bits.
    fn widen_bool(&mut self, x: ir::Value) -> ir::Value {
        let wide = self.b.ins().uextend(types::I32, x);
        self.b.ins().ineg(wide)
    }

    /// `x != 0` as 0 or 1.
    pub fn truth(&mut self, x: ir::Value) -> ir::Value {
        self.b.ins().icmp_imm_s(IntCC::NotEqual, x, 0)
    }
}
