//! Calls of leaves: functions of wide vectors that take the place of a vector loop or a contraction.

use super::*;
use crate::isa::Level;
use crate::x64::{self, Arg, Leaf, Outside};
use cranelift_codegen::ir::{MemFlagsData, StackSlotData, StackSlotKind};
use cranelift_codegen::isa::CallConv;

/// The namespace of leaves among the functions that a kernel calls.
pub(crate) const NAMESPACE: u32 = 1;
/// Entries of the table that a leaf is given.
const TABLE: usize = 64;

impl Emitter<'_> {
    /// Whether leaves have AVX-512; `None` if there are none for this instruction set.
    pub fn wide(&self) -> Option<bool> {
        match self.isa.level() {
            Level::Baseline => None,
            Level::Avx2 => Some(false),
            Level::Avx512 => Some(true),
        }
    }

    /// Replaces a vector loop by a leaf, if there can be one.
    pub fn vector_leaf(&mut self, var: Var, extent: u64, reduces: &[Reduce], body: &[Stmt]) -> bool {
        let Some(evex) = self.wide() else { return false };
        let outside = |v: Value| outside(&self.values[v.0 as usize]);
        let leaf = x64::vector(self.kernel, &self.ranges, evex, &outside, (var, extent, reduces, body));
        leaf.is_ok_and(|leaf| self.call_leaf(leaf))
    }

    /// Replaces a transposing copy by a leaf, if the loop is one.
    pub fn transpose_leaf(&mut self, head: (Var, &Affine, &Affine), carries: &[Carry], body: &[Stmt]) -> bool {
        let Some(evex) = self.wide().filter(|_| self.groups == 0) else { return false };
        let outside = |v: Value| outside(&self.values[v.0 as usize]);
        let leaf = x64::transpose(self.kernel, &self.ranges, evex, &outside, head, carries, body);
        leaf.is_ok_and(|leaf| self.call_leaf(leaf))
    }

    /// Replaces serial loops around vector loops by a leaf, if there can be one.
    pub fn nest_leaf(&mut self, stmt: &Stmt) -> bool {
        let Some(evex) = self.wide() else { return false };
        let outside = |v: Value| outside(&self.values[v.0 as usize]);
        let leaf = x64::nest(self.kernel, &self.ranges, evex, &outside, stmt);
        leaf.is_ok_and(|leaf| self.call_leaf(leaf))
    }

    /// Replaces a contraction by a leaf, if there can be one.
    pub fn contract_leaf(&mut self, c: &Contract) -> bool {
        let Some(evex) = self.wide() else { return false };
        let outside = |v: Value| outside(&self.values[v.0 as usize]);
        let leaf = x64::contract(self.kernel, &self.ranges, evex, &outside, c);
        leaf.is_ok_and(|leaf| self.call_leaf(leaf))
    }

    fn call_leaf(&mut self, leaf: Leaf) -> bool {
        if leaf.args.len() > TABLE {
            return false;
        }
        let flags = MemFlagsData::trusted();
        let slot = *self.table.get_or_insert_with(|| {
            self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, TABLE as u32 * 8, 3))
        });
        let table = self.b.ins().stack_addr(types::I64, slot, 0);
        let mut outs = vec![];
        for (i, arg) in leaf.args.iter().enumerate() {
            let value = match arg {
                Arg::Pointer(buf, at) => {
                    let place = Place { buf: *buf, at: at.clone() };
                    match self.address(&place) {
                        index::Address::Strided { pointer, disp: 0, .. } => pointer,
                        index::Address::Strided { pointer, disp, .. } => {
                            self.b.ins().iadd_imm_s(pointer, i64::from(disp))
                        }
                        index::Address::Lanes(_) => unreachable!("outside of vector loops nothing has lanes"),
                    }
                }
                Arg::Value(value) => {
                    let scalar = self.scalar(*value);
                    if self.dtype(*value) == DType::Bool { self.b.ins().uextend(types::I64, scalar) } else { scalar }
                }
                Arg::Index(at) => self.index_value(at),
                Arg::Out(value) => {
                    outs.push((*value, i));
                    continue;
                }
            };
            self.b.ins().store(flags, value, table, i as i32 * 8);
        }
        let mut signature = Signature::new(CallConv::SystemV);
        signature.params.push(AbiParam::new(types::I64));
        let signature = self.b.import_signature(signature);
        let name = ir::UserExternalName { namespace: NAMESPACE, index: self.leaves.len() as u32 };
        let name = self.b.func.declare_imported_user_function(name);
        let function = self.b.import_function(ir::ExtFuncData {
            name: ir::ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        });
        self.leaves.push(leaf.code);
        self.b.ins().call(function, &[table]);
        for (value, i) in outs {
            let ty = lanes::scalar_type(self.dtype(value));
            let result = self.b.ins().load(ty, flags, table, i as i32 * 8);
            self.set(value, Rep::Scalar(result));
        }
        true
    }
}

fn outside(rep: &Rep) -> Outside {
    match rep {
        Rep::Const(lit) => Outside::Const(*lit),
        _ => Outside::Scalar,
    }
}
