//! Loads and stores.

use super::index::Address;
use super::lanes::{lanes_of, scalar_type, vector_type};
use super::*;
use cranelift_codegen::ir::{MemFlagsData, StackSlotData, StackSlotKind};

/// Accesses cannot trap: the verifier has proved them in bounds. Vectors are not aligned.
const FLAGS: MemFlagsData = MemFlagsData::new().with_notrap();

impl Emitter<'_> {
    /// Loads a place: a scalar if it is the same for all lanes.
    pub fn load(&mut self, place: &Place) -> Rep {
        let memory = self.kernel.bufs[place.buf.0 as usize].dtype;
        match self.address(place) {
            Address::Strided { pointer, disp, stride } if stride == 0 || self.groups == 0 => {
                Rep::Scalar(self.load_scalar(memory, pointer, disp))
            }
            Address::Strided { pointer, disp, stride } if stride == memory.size() as i64 => {
                Rep::Lanes(self.load_lanes(memory, pointer, disp))
            }
            Address::Strided { pointer, disp, stride } => {
                let scalars: Vec<ir::Value> = (0..self.groups * 4)
                    .map(|lane| self.load_scalar(memory, pointer, disp + lane as i32 * stride as i32))
                    .collect();
                Rep::Lanes(self.assemble(value_type(memory), &scalars))
            }
            Address::Lanes(addresses) => {
                let scalars: Vec<ir::Value> = addresses.iter().map(|a| self.load_scalar(memory, *a, 0)).collect();
                Rep::Lanes(self.assemble(value_type(memory), &scalars))
            }
        }
    }

    /// Loads a place where `guard` is true.
    pub fn load_if(&mut self, place: &Place, guard: Value, other: Value) -> Rep {
        let memory = self.kernel.bufs[place.buf.0 as usize].dtype;
        let dtype = value_type(memory);
        let uniform = !self.varies(&place.at) && !self.is_lanes(guard) && !self.is_lanes(other);
        if self.groups == 0 || uniform {
            let (guard, other) = (self.scalar(guard), self.scalar(other));
            let loaded = self.branch(guard, &[other], |e| match e.load(place) {
                Rep::Scalar(x) => vec![x],
                _ => unreachable!("scalar code loads scalars"),
            });
            return Rep::Scalar(loaded[0]);
        }
        let other = self.lanes(other);
        if !self.is_lanes(guard) {
            let guard = self.scalar(guard);
            return Rep::Lanes(self.branch(guard, &other, |e| e.load_all(place)));
        }
        let masks = self.lanes(guard);
        // Most lane groups lie wholly inside: those take one vector load.
        let inside = self.all(&masks);
        let (fast, slow, after) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let outs = self.params(after, &other);
        self.b.ins().brif(inside, fast, &[], slow, &[]);
        self.b.switch_to_block(fast);
        self.b.seal_block(fast);
        let loaded: Vec<ir::BlockArg> = self.scope(|e| e.load_all(place)).into_iter().map(Into::into).collect();
        self.b.ins().jump(after, &loaded);
        self.b.switch_to_block(slow);
        self.b.seal_block(slow);
        let blended: Vec<ir::BlockArg> = self.scope(|e| {
            let scalars: Vec<ir::Value> = (0..e.groups * 4)
                .map(|lane| {
                    let address = e.guarded_address(place, &masks, lane);
                    e.load_scalar(memory, address, 0)
                })
                .collect();
            let loaded = e.assemble(dtype, &scalars);
            e.blend_all(dtype, &masks, &loaded, &other).into_iter().map(Into::into).collect()
        });
        self.b.ins().jump(after, &blended);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        Rep::Lanes(outs)
    }

    /// Stores to a place.
    pub fn store(&mut self, place: &Place, value: Value, add: bool, guard: Option<Value>) {
        match guard {
            Some(guard) if self.groups > 0 && self.is_lanes(guard) => {
                let (masks, registers) = (self.lanes(guard), self.lanes(value));
                for lane in 0..self.groups * 4 {
                    let address = self.guarded_address(place, &masks, lane);
                    let scalar = self.extract(self.dtype(value), &registers, lane);
                    self.store_scalar(place, address, 0, scalar, add);
                }
            }
            Some(guard) => {
                let guard = self.scalar(guard);
                self.branch(guard, &[], |e| {
                    e.store_plain(place, value, add);
                    Vec::new()
                });
            }
            None => self.store_plain(place, value, add),
        }
    }

    fn store_plain(&mut self, place: &Place, value: Value, add: bool) {
        let memory = self.kernel.bufs[place.buf.0 as usize].dtype;
        let address = self.address(place);
        if self.groups == 0 {
            let Address::Strided { pointer, disp, .. } = address else { unreachable!("scalar code has no lanes") };
            let scalar = self.scalar(value);
            return self.store_scalar(place, pointer, disp, scalar, add);
        }
        match address {
            Address::Strided { pointer, disp, stride } if stride == memory.size() as i64 => {
                let mut registers = self.lanes(value);
                if add {
                    let dtype = self.dtype(value);
                    let old = self.load_lanes(memory, pointer, disp);
                    registers = old.iter().zip(&registers).map(|(a, b)| self.sum(dtype, *a, *b)).collect();
                }
                self.store_lanes(memory, pointer, disp, &registers);
            }
            // The same element for all lanes: the last one wins.
            Address::Strided { pointer, disp, stride: 0 } if !add && !self.is_lanes(value) => {
                let scalar = self.scalar(value);
                self.store_scalar(place, pointer, disp, scalar, false);
            }
            address => {
                let registers = self.lanes(value);
                for lane in 0..self.groups * 4 {
                    let scalar = self.extract(self.dtype(value), &registers, lane);
                    let (pointer, disp) = match &address {
                        Address::Strided { pointer, disp, stride } => (*pointer, disp + lane as i32 * *stride as i32),
                        Address::Lanes(addresses) => (addresses[lane], 0),
                    };
                    self.store_scalar(place, pointer, disp, scalar, add);
                }
            }
        }
    }

    /// Runs `f` if `guard` (0 or 1) is set; its results, or `other` if not.
    pub fn branch(
        &mut self,
        guard: ir::Value,
        other: &[ir::Value],
        f: impl FnOnce(&mut Self) -> Vec<ir::Value>,
    ) -> Vec<ir::Value> {
        let (inside, after) = (self.b.create_block(), self.b.create_block());
        let outs = self.params(after, other);
        let skip: Vec<ir::BlockArg> = other.iter().copied().map(Into::into).collect();
        self.b.ins().brif(guard, inside, &[], after, &skip);
        self.b.switch_to_block(inside);
        self.b.seal_block(inside);
        let results: Vec<ir::BlockArg> = self.scope(f).into_iter().map(Into::into).collect();
        self.b.ins().jump(after, &results);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        outs
    }

    /// `mask ? a : b` for all registers.
    pub fn blend_all(&mut self, dtype: DType, masks: &[ir::Value], a: &[ir::Value], b: &[ir::Value]) -> Vec<ir::Value> {
        (0..a.len())
            .map(|i| {
                let mask = self.mask_for(dtype, masks, i);
                self.blend(mask, a[i], b[i])
            })
            .collect()
    }

    /// Loads consecutive elements, one for each lane.
    pub fn load_lanes(&mut self, memory: DType, pointer: ir::Value, disp: i32) -> Vec<ir::Value> {
        let dtype = value_type(memory);
        let step = (lanes_of(dtype) * memory.size()) as i32;
        (0..self.registers(dtype) as i32).map(|i| self.load_register(memory, pointer, disp + i * step)).collect()
    }

    /// Loads one register of consecutive elements.
    pub fn load_register(&mut self, memory: DType, pointer: ir::Value, disp: i32) -> ir::Value {
        if memory.is_float() && !self.isa.has_fma() {
            // Cranelift folds a load of floats into `cmpps`, which without AVX faults on unaligned memory.
            let bits = if memory == DType::F32 { types::I32X4 } else { types::I64X2 };
            let bits = self.b.ins().load(bits, FLAGS, pointer, disp);
            return self.recast(vector_type(memory), bits);
        }
        if memory.size() > 1 {
            return self.b.ins().load(vector_type(memory), FLAGS, pointer, disp);
        }
        let bytes = self.b.ins().load(types::I32, FLAGS, pointer, disp);
        let bytes = self.b.ins().scalar_to_vector(types::I32X4, bytes);
        let bytes = self.recast(types::I8X16, bytes);
        let words = self.b.ins().uwiden_low(bytes);
        let ints = self.b.ins().uwiden_low(words);
        if memory == DType::U8 {
            return ints;
        }
        let zero = self.vector_constant(Lit::i32(0));
        self.b.ins().icmp(ir::condcodes::IntCC::SignedGreaterThan, ints, zero)
    }

    /// Loads one element.
    pub fn load_scalar(&mut self, memory: DType, pointer: ir::Value, disp: i32) -> ir::Value {
        match memory {
            DType::U8 => self.b.ins().uload8(types::I32, FLAGS, pointer, disp),
            DType::Bool => {
                let byte = self.b.ins().load(types::I8, FLAGS, pointer, disp);
                self.truth(byte)
            }
            memory => self.b.ins().load(scalar_type(memory), FLAGS, pointer, disp),
        }
    }

    /// Stores the registers of a lane group to consecutive elements.
    pub fn store_lanes(&mut self, memory: DType, pointer: ir::Value, disp: i32, registers: &[ir::Value]) {
        let step = (lanes_of(value_type(memory)) * memory.size()) as i32;
        for (i, register) in registers.iter().enumerate() {
            let disp = disp + i as i32 * step;
            if memory.size() > 1 {
                self.b.ins().store(FLAGS, *register, pointer, disp);
                continue;
            }
            let keep = self.vector_constant(Lit::i32(if memory == DType::Bool { 1 } else { 255 }));
            let ints = self.b.ins().band(*register, keep);
            let words = self.b.ins().snarrow(ints, ints);
            let bytes = self.b.ins().unarrow(words, words);
            let four = self.recast(types::I32X4, bytes);
            let four = self.b.ins().extractlane(four, 0);
            self.b.ins().store(FLAGS, four, pointer, disp);
        }
    }

    fn store_scalar(&mut self, place: &Place, pointer: ir::Value, disp: i32, value: ir::Value, add: bool) {
        let memory = self.kernel.bufs[place.buf.0 as usize].dtype;
        let value = if add {
            let old = self.load_scalar(memory, pointer, disp);
            self.sum(value_type(memory), old, value)
        } else {
            value
        };
        match memory {
            DType::U8 => self.b.ins().istore8(FLAGS, value, pointer, disp),
            _ => self.b.ins().store(FLAGS, value, pointer, disp),
        };
    }

    /// Loads a place for all lanes, as registers.
    fn load_all(&mut self, place: &Place) -> Vec<ir::Value> {
        let dtype = value_type(self.kernel.bufs[place.buf.0 as usize].dtype);
        match self.load(place) {
            Rep::Scalar(x) => vec![self.splat(dtype, x); self.registers(dtype)],
            Rep::Lanes(registers) => registers,
            Rep::Const(_) | Rep::Unset => unreachable!("a load gives a value"),
        }
    }

    /// The address of a lane, or of spare memory where its mask is not set.
    fn guarded_address(&mut self, place: &Place, masks: &[ir::Value], lane: usize) -> ir::Value {
        let size = self.kernel.bufs[place.buf.0 as usize].dtype.size() as i64;
        let set = self.extract(DType::Bool, masks, lane);
        let element = self.lane_value(&place.at, lane);
        let bytes = self.times(element, size);
        let address = self.b.ins().iadd(self.bases[place.buf.0 as usize], bytes);
        let slot = *self.spare.get_or_insert_with(|| {
            self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4))
        });
        let spare = self.b.ins().stack_addr(types::I64, slot, 0);
        self.b.ins().select(set, address, spare)
    }

    /// Whether all masks are set, as 0 or 1.
    pub fn all(&mut self, masks: &[ir::Value]) -> ir::Value {
        let both = masks[1..].iter().fold(masks[0], |all, m| self.b.ins().band(all, *m));
        self.b.ins().vall_true(both)
    }

    fn sum(&mut self, dtype: DType, a: ir::Value, b: ir::Value) -> ir::Value {
        match dtype {
            DType::F32 | DType::F64 => self.b.ins().fadd(a, b),
            DType::Bool => self.b.ins().bor(a, b),
            DType::I64 | DType::I32 | DType::U8 => self.b.ins().iadd(a, b),
        }
    }
}
