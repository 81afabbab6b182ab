//! Functions that kernels call, for what has no vector code: double-precision mathematics, powers and remainders, and the
//! sorting of rows.

use super::*;
use crate::kernel::math;

/// A function that kernels can call.
pub(crate) struct Extern {
    /// The symbol.
    pub name: &'static str,
    /// Its address.
    pub address: fn() -> *const u8,
    params: &'static [ir::Type],
    result: Option<ir::Type>,
}

macro_rules! externs {
    ($($name:ident($($arg:ident),*): $ty:ident, $of:ident, $body:expr;)* => $($sort:literal $element:ty),*) => {
        $(extern "C" fn $name($($arg: $ty),*) -> $ty {
            $body
        })*

        /// The functions, in the order of their identifiers in a module.
        pub(crate) const EXTERNS: [Extern; [$(stringify!($name),)* $($sort),*].len()] = [$(Extern {
            name: concat!("dl_", stringify!($name)),
            address: || $name as *const u8,
            params: &[types::$of; [$(stringify!($arg)),*].len()],
            result: Some(types::$of),
        },)* $(Extern {
            name: $sort,
            address: || sort::sort::<$element> as *const u8,
            params: &[types::I64; 4],
            result: None,
        }),*];
    };
}

externs! {
    exp(x): f64, F64, x.exp();
    expm1(x): f64, F64, x.exp_m1();
    log(x): f64, F64, x.ln();
    log1p(x): f64, F64, x.ln_1p();
    tanh(x): f64, F64, x.tanh();
    sigmoid(x): f64, F64, math::sigmoid(x);
    erf(x): f64, F64, math::erf(x);
    sin(x): f64, F64, x.sin();
    cos(x): f64, F64, x.cos();
    pow(x, y): f64, F64, x.powf(y);
    rem(x, y): f64, F64, x % y;
    powf(x, y): f32, F32, x.powf(y);
    remf(x, y): f32, F32, x % y;
    sinf(x): f32, F32, x.sin();
    cosf(x): f32, F32, x.cos();
    => "dl_sort_f32" f32, "dl_sort_f64" f64, "dl_sort_i64" i64, "dl_sort_i32" i32, "dl_sort_u8" u8
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

/// The function that sorts rows of that type.
pub(super) fn sort(dtype: DType) -> usize {
    let name = match dtype {
        DType::F32 => "dl_sort_f32",
        DType::F64 => "dl_sort_f64",
        DType::I64 => "dl_sort_i64",
        DType::I32 => "dl_sort_i32",
        DType::U8 | DType::Bool => "dl_sort_u8",
    };
    position(name).unwrap_or(0)
}

fn position(name: &str) -> Option<usize> {
    EXTERNS.iter().position(|e| e.name == name)
}

impl Emitter<'_> {
    /// Calls a function on scalars.
    pub fn call(&mut self, function: usize, args: &[ir::Value]) -> ir::Value {
        let call = self.invoke(function, args);
        self.b.inst_results(call)[0]
    }

    /// Calls a function, which may have no result.
    pub fn invoke(&mut self, function: usize, args: &[ir::Value]) -> ir::Inst {
        let reference = self.externs[function].unwrap_or_else(|| {
            let Extern { params, result, .. } = EXTERNS[function];
            let mut signature = Signature::new(self.isa.target().default_call_conv());
            signature.params.extend(params.iter().map(|&ty| AbiParam::new(ty)));
            signature.returns.extend(result.map(AbiParam::new));
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
        self.b.ins().call(reference, args)
    }
}
