//! Functions that kernels call, for what has no vector code: double-precision mathematics, powers and remainders.

use super::*;
use crate::kernel::math;

/// A function of doubles or floats that kernels can call.
pub(crate) struct Extern {
    /// The symbol.
    pub name: &'static str,
    /// Its address.
    pub address: fn() -> *const u8,
    single: bool,
    arity: usize,
}

macro_rules! externs {
    ($($name:ident($($arg:ident),*): $ty:ty, $single:expr, $body:expr;)*) => {
        $(extern "C" fn $name($($arg: $ty),*) -> $ty {
            $body
        })*

        /// The functions, in the order of their identifiers in a module.
        pub(crate) const EXTERNS: [Extern; [$(stringify!($name)),*].len()] = [$(Extern {
            name: concat!("dl_", stringify!($name)),
            address: || $name as *const u8,
            single: $single,
            arity: [$(stringify!($arg)),*].len(),
        }),*];
    };
}

externs! {
    exp(x): f64, false, x.exp();
    expm1(x): f64, false, x.exp_m1();
    log(x): f64, false, x.ln();
    log1p(x): f64, false, x.ln_1p();
    tanh(x): f64, false, x.tanh();
    sigmoid(x): f64, false, math::sigmoid(x);
    erf(x): f64, false, math::erf(x);
    sin(x): f64, false, x.sin();
    cos(x): f64, false, x.cos();
    pow(x, y): f64, false, x.powf(y);
    rem(x, y): f64, false, x % y;
    powf(x, y): f32, true, x.powf(y);
    remf(x, y): f32, true, x % y;
    sinf(x): f32, true, x.sin();
    cosf(x): f32, true, x.cos();
}

/// The function for a unary operation, an index into [`EXTERNS`].
pub(super) fn unary(op: UnOp, dtype: DType) -> Option<usize> {
    let name = match (op, dtype) {
        (UnOp::Exp, DType::F64) => "dl_exp",
        (UnOp::Expm1, DType::F64) => "dl_expm1",
        (UnOp::Log, DType::F64) => "dl_log",
        (UnOp::Log1p, DType::F64) => "dl_log1p",
        (UnOp::Tanh, DType::F64) => "dl_tanh",
        (UnOp::Sigmoid, DType::F64) => "dl_sigmoid",
        (UnOp::Erf, DType::F64) => "dl_erf",
        (UnOp::Sin, DType::F64) => "dl_sin",
        (UnOp::Cos, DType::F64) => "dl_cos",
        (UnOp::Sin, DType::F32) => "dl_sinf",
        (UnOp::Cos, DType::F32) => "dl_cosf",
        _ => return None,
    };
    position(name)
}

/// The function for a binary operation.
pub(super) fn binary(op: BinOp, dtype: DType) -> Option<usize> {
    let name = match (op, dtype) {
        (BinOp::Pow, DType::F64) => "dl_pow",
        (BinOp::Rem, DType::F64) => "dl_rem",
        (BinOp::Pow, DType::F32) => "dl_powf",
        (BinOp::Rem, DType::F32) => "dl_remf",
        _ => return None,
    };
    position(name)
}

fn position(name: &str) -> Option<usize> {
    EXTERNS.iter().position(|e| e.name == name)
}

impl Emitter<'_> {
    /// Calls a function on scalars.
    pub fn call(&mut self, function: usize, args: &[ir::Value]) -> ir::Value {
        let reference = self.externs[function].unwrap_or_else(|| {
            let Extern { single, arity, .. } = EXTERNS[function];
            let ty = AbiParam::new(if single { types::F32 } else { types::F64 });
            let mut signature = Signature::new(self.isa.target().default_call_conv());
            signature.params.extend(vec![ty; arity]);
            signature.returns.push(ty);
            let signature = self.b.import_signature(signature);
            let name = ir::UserExternalName { namespace: 0, index: function as u32 };
            let name = self.b.func.declare_imported_user_function(name);
            self.b.import_function(ir::ExtFuncData {
                name: ir::ExternalName::user(name),
                signature,
                colocated: false,
                patchable: false,
            })
        });
        self.externs[function] = Some(reference);
        let call = self.b.ins().call(reference, args);
        self.b.inst_results(call)[0]
    }
}
