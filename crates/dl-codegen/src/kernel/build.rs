//! Builds kernels: statements are appended to the innermost open block.
//!
//! The builder computes result types and names; it does not check. Mistakes are reported by the verifier, which sees
//! every kernel before it is compiled.

use super::*;

/// A kernel under construction.
///
/// ```
/// use dl_codegen::kernel::{Access, Builder, DType, Place, Var};
/// // y[r, c] = x[r, c] * s[r], one part per row
/// let mut k = Builder::new("scale_rows", 8);
/// let x = k.buf(DType::F32, 8 * 100, Access::Read);
/// let s = k.buf(DType::F32, 8, Access::Read);
/// let y = k.buf(DType::F32, 8 * 100, Access::Write);
/// let scale = k.load(s, Var::PART);
/// k.vec(100, |k, c| {
///     let v = k.load(x, Var::PART * 100 + c);
///     let v = k.mul(v, scale);
///     k.store(y, Var::PART * 100 + c, v);
/// });
/// let kernel = k.finish();
/// ```
pub struct Builder {
    kernel: Kernel,
    open: Vec<Stmt>,
}

impl Builder {
    /// Starts a kernel of `parts` parts.
    pub fn new(name: impl Into<String>, parts: u64) -> Builder {
        let kernel =
            Kernel { name: name.into(), bufs: Vec::new(), parts, vars: 1, values: Vec::new(), body: Vec::new() };
        Builder { kernel, open: Vec::new() }
    }

    /// Goes on with a kernel, whose statements are dropped: a pass appends them anew.
    pub fn resume(kernel: Kernel) -> Builder {
        Builder { kernel, open: Vec::new() }
    }

    /// The kernel.
    pub fn finish(mut self) -> Kernel {
        self.kernel.body = self.open;
        self.kernel
    }

    /// Declares a buffer of `len` elements.
    pub fn buf(&mut self, dtype: DType, len: u64, access: Access) -> BufId {
        self.kernel.bufs.push(Buf { dtype, len, access });
        BufId(self.kernel.bufs.len() as u32 - 1)
    }

    /// The type of a value.
    pub fn dtype(&self, value: Value) -> DType {
        self.kernel.values[value.0 as usize]
    }

    /// Appends any statement.
    pub fn push(&mut self, stmt: Stmt) {
        self.open.push(stmt);
    }

    /// A fresh index variable, for statements made by hand.
    pub fn fresh_var(&mut self) -> Var {
        self.kernel.vars += 1;
        Var(self.kernel.vars - 1)
    }

    /// A fresh value, for statements made by hand.
    pub fn fresh_value(&mut self, dtype: DType) -> Value {
        self.kernel.values.push(dtype);
        Value(self.kernel.values.len() as u32 - 1)
    }

    /// Takes out the statements of the open block.
    pub fn take(&mut self) -> Vec<Stmt> {
        std::mem::take(&mut self.open)
    }

    /// Collects the statements that `f` appends, without appending them.
    pub fn block<T>(&mut self, f: impl FnOnce(&mut Builder) -> T) -> (Vec<Stmt>, T) {
        let outer = std::mem::take(&mut self.open);
        let result = f(self);
        (std::mem::replace(&mut self.open, outer), result)
    }

    /// `for var in lo..hi` without carried values.
    pub fn for_(&mut self, lo: impl Into<Affine>, hi: impl Into<Affine>, f: impl FnOnce(&mut Builder, Var)) {
        self.for_carry(lo, hi, &[], |k, var, _| {
            f(k, var);
            Vec::new()
        });
    }

    /// `for var in lo..hi` carrying values: `f` gets those at the start of an iteration and returns those at its end.
    /// Returns the values after the loop.
    pub fn for_carry(
        &mut self,
        lo: impl Into<Affine>,
        hi: impl Into<Affine>,
        init: &[Value],
        f: impl FnOnce(&mut Builder, Var, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let var = self.fresh_var();
        let params: Vec<Value> = init.iter().map(|v| self.fresh_value(self.dtype(*v))).collect();
        let (body, next) = self.block(|k| f(k, var, &params));
        let outs: Vec<Value> = init.iter().map(|v| self.fresh_value(self.dtype(*v))).collect();
        let carries = (0..init.len().min(next.len()))
            .map(|i| Carry { param: params[i], init: init[i], next: next[i], out: outs[i] })
            .collect();
        self.push(Stmt::For { var, lo: lo.into(), hi: hi.into(), carries, body });
        outs
    }

    /// Vector loop over `0..extent` without reductions.
    pub fn vec(&mut self, extent: u64, f: impl FnOnce(&mut Builder, Var)) {
        self.vec_reduce(extent, |k, var| {
            f(k, var);
            Vec::new()
        });
    }

    /// Vector loop over `0..extent` reducing the values which `f` returns. Returns the results.
    pub fn vec_reduce(
        &mut self,
        extent: u64,
        f: impl FnOnce(&mut Builder, Var) -> Vec<(ReduceOp, Value)>,
    ) -> Vec<Value> {
        let var = self.fresh_var();
        let (body, values) = self.block(|k| f(k, var));
        let reduces: Vec<Reduce> = values
            .into_iter()
            .map(|(op, value)| {
                let dtype = match op {
                    ReduceOp::ArgMax | ReduceOp::ArgMin => DType::I64,
                    _ => self.dtype(value),
                };
                Reduce { op, value, out: self.fresh_value(dtype) }
            })
            .collect();
        let outs = reduces.iter().map(|r| r.out).collect();
        self.push(Stmt::Vec { var, extent, reduces, body });
        outs
    }

    /// `if cond { .. }`.
    pub fn if_(&mut self, cond: Value, f: impl FnOnce(&mut Builder)) {
        let (body, ()) = self.block(f);
        self.push(Stmt::If { cond, body });
    }

    /// Values where `cond` holds, which are computed only if it does in some lane, and `others` elsewhere.
    pub fn rarely<const N: usize>(
        &mut self,
        cond: Value,
        others: [Value; N],
        f: impl FnOnce(&mut Builder) -> [Value; N],
    ) -> [Value; N] {
        let (body, inside) = self.block(f);
        let outs = others.map(|other| self.fresh_value(self.dtype(other)));
        let picks = (0..N).map(|i| Pick { inside: inside[i], other: others[i], out: outs[i] }).collect();
        self.push(Stmt::Rarely { cond, picks, body });
        outs
    }

    /// A contraction of `m` rows and `n` columns. `operands` gets the variables `(m, n, k loops)` and returns `a` and
    /// `b`; `epilogue` gets `(m, n, acc)`.
    pub fn contract(
        &mut self,
        (m, n): (u64, u64),
        k: &[(Affine, Affine)],
        lanes: Lanes,
        operands: impl FnOnce(&mut Builder, Var, Var, &[Var]) -> (Place, Place),
        epilogue: impl FnOnce(&mut Builder, Var, Var, Value),
    ) {
        let m = Axis { var: self.fresh_var(), extent: m };
        let n = Axis { var: self.fresh_var(), extent: n };
        let k: Vec<KLoop> =
            k.iter().map(|(lo, hi)| KLoop { var: self.fresh_var(), lo: lo.clone(), hi: hi.clone() }).collect();
        let k_vars: Vec<Var> = k.iter().map(|l| l.var).collect();
        let (a, b) = operands(self, m.var, n.var, &k_vars);
        let acc = self.fresh_value(value_type(self.kernel.bufs[a.buf.0 as usize].dtype));
        let (epilogue, ()) = self.block(|builder| epilogue(builder, m.var, n.var, acc));
        self.push(Stmt::Contract(Box::new(Contract { m, n, k, a, b, lanes, acc, epilogue })));
    }

    /// Defines an index variable.
    pub fn index(&mut self, expr: IndexExpr) -> Var {
        let var = self.fresh_var();
        self.push(Stmt::Index(var, expr));
        var
    }

    /// `floor(a / d)`.
    pub fn div_index(&mut self, a: impl Into<Affine>, d: u64) -> Var {
        self.index(IndexExpr::Div(a.into(), d))
    }

    /// `a mod d`.
    pub fn mod_index(&mut self, a: impl Into<Affine>, d: u64) -> Var {
        self.index(IndexExpr::Mod(a.into(), d))
    }

    /// Uses a computed value as an index in `0..limit`; a fault with the number `site` otherwise.
    pub fn check(&mut self, value: Value, limit: u64, site: u32) -> Var {
        let var = self.fresh_var();
        self.push(Stmt::Check { var, value, limit, site });
        var
    }

    /// Lets the last statement, which defines `from`, define `to` instead.
    pub fn rename(&mut self, from: Value, to: Value) {
        if let Some(Stmt::Let(value, _)) = self.open.last_mut()
            && *value == from
        {
            *value = to;
        }
    }

    /// Assigns any expression.
    pub fn let_(&mut self, expr: Expr) -> Value {
        let dtype = self.type_of(&expr);
        let value = self.fresh_value(dtype);
        self.push(Stmt::Let(value, expr));
        value
    }

    /// A constant.
    pub fn lit(&mut self, lit: Lit) -> Value {
        self.let_(Expr::Const(lit))
    }

    /// An F32 constant.
    pub fn f32(&mut self, x: f32) -> Value {
        self.lit(Lit::f32(x))
    }

    /// An I32 constant.
    pub fn i32(&mut self, x: i32) -> Value {
        self.lit(Lit::i32(x))
    }

    /// Loads an element.
    pub fn load(&mut self, buf: BufId, at: impl Into<Affine>) -> Value {
        self.let_(Expr::Load(Place { buf, at: at.into() }))
    }

    /// Loads an element where `guard` holds, `other` elsewhere.
    pub fn load_if(&mut self, buf: BufId, at: impl Into<Affine>, guard: Value, other: Value) -> Value {
        self.let_(Expr::LoadIf { place: Place { buf, at: at.into() }, guard, other })
    }

    /// Stores an element.
    pub fn store(&mut self, buf: BufId, at: impl Into<Affine>, value: Value) {
        self.push(Stmt::Store { place: Place { buf, at: at.into() }, value, add: false, guard: None });
    }

    /// Adds to an element.
    pub fn store_add(&mut self, buf: BufId, at: impl Into<Affine>, value: Value) {
        self.push(Stmt::Store { place: Place { buf, at: at.into() }, value, add: true, guard: None });
    }

    /// Unary operation.
    pub fn un(&mut self, op: UnOp, a: Value) -> Value {
        self.let_(Expr::Un(op, a))
    }

    /// Binary operation.
    pub fn bin(&mut self, op: BinOp, a: Value, b: Value) -> Value {
        self.let_(Expr::Bin(op, a, b))
    }

    /// `a + b`.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.bin(BinOp::Add, a, b)
    }

    /// `a - b`.
    pub fn sub(&mut self, a: Value, b: Value) -> Value {
        self.bin(BinOp::Sub, a, b)
    }

    /// `a * b`.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.bin(BinOp::Mul, a, b)
    }

    /// `a / b`.
    pub fn div(&mut self, a: Value, b: Value) -> Value {
        self.bin(BinOp::Div, a, b)
    }

    /// Comparison.
    pub fn cmp(&mut self, op: CmpOp, a: Value, b: Value) -> Value {
        self.let_(Expr::Cmp(op, a, b))
    }

    /// `cond ? a : b`.
    pub fn select(&mut self, cond: Value, a: Value, b: Value) -> Value {
        self.let_(Expr::Select(cond, a, b))
    }

    /// `a * b + c`.
    pub fn mul_add(&mut self, a: Value, b: Value, c: Value) -> Value {
        self.let_(Expr::MulAdd(a, b, c))
    }

    /// Conversion.
    pub fn cast(&mut self, a: Value, to: DType) -> Value {
        self.let_(Expr::Cast(a, to))
    }

    fn type_of(&self, expr: &Expr) -> DType {
        match expr {
            Expr::Const(lit) => lit.dtype,
            Expr::Index(_) => DType::I64,
            Expr::InRange { .. } | Expr::Cmp(..) => DType::Bool,
            Expr::Load(place) => value_type(self.kernel.bufs[place.buf.0 as usize].dtype),
            Expr::LoadIf { other, .. } => self.dtype(*other),
            Expr::Un(_, a) | Expr::Bin(_, a, _) | Expr::Select(_, a, _) | Expr::MulAdd(a, ..) => self.dtype(*a),
            Expr::Cast(_, to) | Expr::Bitcast(_, to) => value_type(*to),
            Expr::Random { .. } => DType::F32,
        }
    }
}
