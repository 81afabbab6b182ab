//! From a kernel to a Cranelift function, with vectors of 128 bits.
//!
//! In a vector loop each value is held for a *lane group* of several consecutive iterations: `groups` times four
//! lanes, in one register per four lanes of 32 bits or two of 64 bits. The main loop runs as many groups at once as
//! hide the latency; what remains runs in one straight block of fewer groups and a scalar tail. All three come from
//! the same code, which holds a value either as one scalar or as the registers of the lane group.
//!
//! Cranelift's optimiser is off (it costs compile time): addresses and broadcasts are hoisted here.

mod cast;
mod contract;
mod dot;
mod expr;
mod externs;
mod index;
mod lanes;
mod leaf;
mod memory;
mod sort;
mod stmt;
mod tile;
mod vector;

pub(crate) use externs::EXTERNS;
pub(crate) use leaf::NAMESPACE as LEAVES;
pub(crate) use tile::{Run, split};

use crate::isa::Isa;
use crate::kernel::ranges::Ranges;
use crate::kernel::*;
use cranelift_codegen::ir::{self, AbiParam, InstBuilder, Signature, UserFuncName, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use index::{Address, Ix, Pointer};

/// Compiles a verified kernel without compound operations (see `expand`) to a Cranelift function and the machine code
/// of the leaves that it calls.
pub(crate) fn emit(kernel: &Kernel, isa: &Isa, context: &mut FunctionBuilderContext) -> (ir::Function, Vec<Vec<u8>>) {
    let mut signature = Signature::new(isa.target().default_call_conv());
    signature.params.extend([AbiParam::new(types::I64); 3]);
    let mut function = ir::Function::with_name_signature(UserFuncName::user(0, 0), signature);
    let mut b = FunctionBuilder::new(&mut function, context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let [table, begin, end] = [0, 1, 2].map(|i| b.block_params(entry)[i]);
    let address = |b: &mut FunctionBuilder, i: usize| {
        b.ins().load(types::I64, ir::MemFlagsData::trusted(), table, (i * 8) as i32)
    };
    let bases = (0..kernel.bufs.len()).map(|i| address(&mut b, i)).collect();
    let fault = address(&mut b, kernel.bufs.len());
    let mut emitter = Emitter {
        b,
        kernel,
        isa,
        ranges: Ranges::of(kernel),
        bases,
        fault,
        ix: vec![Ix::Unset; kernel.vars as usize],
        order: vec![0; kernel.vars as usize],
        bound: 0,
        values: vec![Rep::Unset; kernel.values.len()],
        groups: 0,
        pointers: Vec::new(),
        splats: Vec::new(),
        spare: None,
        externs: [None; EXTERNS.len()],
        table: None,
        leaves: Vec::new(),
    };
    emitter.parts(begin, end);
    emitter.b.ins().return_(&[]);
    emitter.b.finalize(isa.target().frontend_config());
    let leaves = emitter.leaves;
    (function, leaves)
}

/// How a value is held.
#[derive(Clone, Debug)]
enum Rep {
    Unset,
    /// Materialised where it is used.
    Const(Lit),
    /// The same in all lanes; Bool as an I8 of 0 or 1.
    Scalar(ir::Value),
    /// The registers of the lane group; Bool as 32-bit lanes of 0 or -1.
    Lanes(Vec<ir::Value>),
}

struct Emitter<'a> {
    b: FunctionBuilder<'a>,
    kernel: &'a Kernel,
    isa: &'a Isa,
    ranges: Ranges,
    /// Address of each buffer.
    bases: Vec<ir::Value>,
    /// Address of the fault cell.
    fault: ir::Value,
    ix: Vec<Ix>,
    /// When each variable was bound: pointers add outer variables first.
    order: Vec<u32>,
    bound: u32,
    values: Vec<Rep>,
    /// Groups of four lanes, 0 for scalar code.
    groups: usize,
    /// Addresses computed in the open scopes.
    pointers: Vec<Pointer>,
    /// Broadcasts computed in the open scopes.
    splats: Vec<((DType, ir::Value), ir::Value)>,
    /// Memory that lanes which must not touch theirs are sent to.
    spare: Option<ir::StackSlot>,
    externs: [Option<ir::FuncRef>; EXTERNS.len()],
    /// What leaves are given.
    table: Option<ir::StackSlot>,
    leaves: Vec<Vec<u8>>,
}

impl Emitter<'_> {
    fn dtype(&self, value: Value) -> DType {
        self.kernel.values[value.0 as usize]
    }

    fn set(&mut self, value: Value, rep: Rep) {
        self.values[value.0 as usize] = rep;
    }

    /// Runs `f`; addresses and broadcasts computed inside are not used after it.
    fn scope<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let (pointers, splats) = (self.pointers.len(), self.splats.len());
        let result = f(self);
        self.pointers.truncate(pointers);
        self.splats.truncate(splats);
        result
    }

    fn parts(&mut self, begin: ir::Value, end: ir::Value) {
        let kernel = self.kernel;
        if kernel.parts == 1 {
            self.bind(Var::PART, Ix::constant(0));
            let any = self.b.ins().icmp(ir::condcodes::IntCC::UnsignedLessThan, begin, end);
            self.branch(any, &[], |e| {
                e.block(&kernel.body);
                Vec::new()
            });
            return;
        }
        self.hoist(&kernel.body);
        self.counted(begin, end, &[], |e, part, _| {
            e.bind(Var::PART, Ix::of(part));
            e.block(&kernel.body);
            Vec::new()
        });
    }

    /// A loop over `lo..hi` (checked at entry), carrying values; returns them after the loop.
    fn counted(
        &mut self,
        lo: ir::Value,
        hi: ir::Value,
        init: &[ir::Value],
        body: impl FnOnce(&mut Self, ir::Value, &[ir::Value]) -> Vec<ir::Value>,
    ) -> Vec<ir::Value> {
        let (header, inside, after) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let counter = self.b.append_block_param(header, types::I64);
        let params = self.params(header, init);
        let start: Vec<ir::BlockArg> = std::iter::once(lo).chain(init.iter().copied()).map(Into::into).collect();
        self.b.ins().jump(header, &start);
        self.b.switch_to_block(header);
        let more = self.b.ins().icmp(ir::condcodes::IntCC::SignedLessThan, counter, hi);
        self.b.ins().brif(more, inside, &[], after, &[]);
        self.b.switch_to_block(inside);
        self.b.seal_block(inside);
        let next = self.scope(|e| body(e, counter, &params));
        let counted = self.b.ins().iadd_imm_s(counter, 1);
        let back: Vec<ir::BlockArg> = std::iter::once(counted).chain(next).map(Into::into).collect();
        self.b.ins().jump(header, &back);
        self.b.seal_block(header);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        params
    }

    /// A loop of a known number of iterations, at least one, counting from `start` by `step`; tested at the bottom.
    /// A single iteration is emitted without a loop.
    fn repeat(
        &mut self,
        (start, step, trips): (i64, i64, u64),
        init: &[ir::Value],
        body: impl FnOnce(&mut Self, Ix, &[ir::Value]) -> Vec<ir::Value>,
    ) -> Vec<ir::Value> {
        if trips == 1 {
            return self.scope(|e| body(e, Ix::constant(start), init));
        }
        let (inside, after) = (self.b.create_block(), self.b.create_block());
        let counter = self.b.append_block_param(inside, types::I64);
        let params = self.params(inside, init);
        let first = self.iconst(start);
        let enter: Vec<ir::BlockArg> = std::iter::once(first).chain(init.iter().copied()).map(Into::into).collect();
        self.b.ins().jump(inside, &enter);
        self.b.switch_to_block(inside);
        let next = self.scope(|e| body(e, Ix::of(counter), &params));
        let outs = self.params(after, &next);
        let counted = self.b.ins().iadd_imm_s(counter, step);
        let end = start + step * trips as i64;
        let more = self.b.ins().icmp_imm_s(ir::condcodes::IntCC::NotEqual, counted, end);
        let leave: Vec<ir::BlockArg> = next.iter().copied().map(Into::into).collect();
        let back: Vec<ir::BlockArg> = std::iter::once(counted).chain(next).map(Into::into).collect();
        self.b.ins().brif(more, inside, &back, after, &leave);
        self.b.seal_block(inside);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        outs
    }

    fn params(&mut self, block: ir::Block, like: &[ir::Value]) -> Vec<ir::Value> {
        like.iter()
            .map(|v| {
                let ty = self.b.func.dfg.value_type(*v);
                self.b.append_block_param(block, ty)
            })
            .collect()
    }

    fn iconst(&mut self, x: i64) -> ir::Value {
        self.b.ins().iconst(types::I64, x)
    }
}
