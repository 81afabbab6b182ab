//! Checks that a kernel keeps the rules of the IR, so that what is compiled cannot touch memory outside its buffers.
//!
//! Every name is defined once and used in its scope; operands have the types that operations want; loads and stores
//! are allowed by the buffer and, by interval analysis, in bounds (guarded ones where the guard holds, which is the
//! lowering's promise); vector loops are not nested; loop bounds and conditions do not vary by lane.

use super::ranges::Ranges;
use super::*;
use crate::Error;

/// Checks a kernel.
///
/// # Errors
/// The first rule that is broken, with the statement.
pub fn verify(kernel: &Kernel) -> Result<(), Error> {
    let mut checker = Checker {
        kernel,
        ranges: Ranges::of(kernel),
        vars: vec![State::Undefined; kernel.vars as usize],
        values: vec![State::Undefined; kernel.values.len()],
        lanes: false,
    };
    checker.kernel().map_err(|(at, message)| Error::Verify { kernel: kernel.name.clone(), at, message })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Undefined,
    Uniform,
    /// Different from lane to lane of the open vector loop.
    Varying,
    /// Its block is closed.
    Gone,
}

struct Checker<'k> {
    kernel: &'k Kernel,
    ranges: Ranges,
    vars: Vec<State>,
    values: Vec<State>,
    /// Inside a vector loop or an epilogue.
    lanes: bool,
}

type Check<T = ()> = Result<T, String>;

impl Checker<'_> {
    fn kernel(&mut self) -> Result<(), (String, String)> {
        let top = |message: &str| Err(("kernel".to_string(), message.to_string()));
        if self.kernel.parts == 0 || self.kernel.vars == 0 {
            return top("there is at least one part and one variable");
        }
        if self.kernel.name.is_empty()
            || !self.kernel.name.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))
        {
            return top("the name consists of letters, digits, `_` and `.`");
        }
        if self.kernel.values.contains(&DType::U8) {
            return top("bytes are I32 in values");
        }
        self.vars[0] = State::Uniform;
        self.block(&self.kernel.body)
    }

    fn block(&mut self, body: &[Stmt]) -> Result<(), (String, String)> {
        for stmt in body {
            let report = |message| (text::head(self.kernel, stmt), message);
            match self.stmt(stmt).map_err(report)? {
                Inside::Nothing => {}
                Inside::Block(body, then) => {
                    let (vars, values, lanes) = (self.vars.clone(), self.values.clone(), self.lanes);
                    self.lanes |= matches!(stmt, Stmt::Vec { .. } | Stmt::Contract(_));
                    self.enter(stmt);
                    self.block(body)?;
                    self.leave(stmt).map_err(|message| (text::head(self.kernel, stmt), message))?;
                    close(&mut self.vars, &vars);
                    close(&mut self.values, &values);
                    self.lanes = lanes;
                    for (value, state) in then {
                        self.define(value, state).map_err(|message| (text::head(self.kernel, stmt), message))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks what a statement itself says; returns its block and the values defined after it.
    fn stmt<'s>(&mut self, stmt: &'s Stmt) -> Check<Inside<'s>> {
        match stmt {
            Stmt::Let(value, expr) => {
                let state = self.expr(*value, expr)?;
                self.define(*value, state)?;
            }
            Stmt::Index(var, expr) => {
                let (a, b) = match expr {
                    IndexExpr::Affine(a) | IndexExpr::Within(a, ..) => (a, None),
                    IndexExpr::Div(_, d) | IndexExpr::Mod(_, d) if *d == 0 || *d > i64::MAX as u64 => {
                        return Err("the divisor is positive".into());
                    }
                    IndexExpr::Div(a, _) | IndexExpr::Mod(a, _) => (a, None),
                    IndexExpr::Min(a, b) | IndexExpr::Max(a, b) => (a, Some(b)),
                };
                let first = self.affine(a)?;
                let second = b.map_or(Ok(State::Uniform), |b| self.affine(b))?;
                self.define_var(*var, join(first, second))?;
            }
            Stmt::Check { var, value, limit, .. } => {
                let state = self.value(*value)?;
                self.want(*value, &[DType::I64, DType::I32])?;
                if *limit == 0 || *limit > i64::MAX as u64 {
                    return Err("the limit is positive".into());
                }
                self.define_var(*var, state)?;
            }
            Stmt::Store { place, value, add, guard } => {
                self.value(*value)?;
                if let Some(guard) = guard {
                    self.value(*guard)?;
                    self.want(*guard, &[DType::Bool])?;
                }
                self.place(place, guard.is_none(), *add, true)?;
                let memory = self.kernel.bufs[place.buf.0 as usize].dtype;
                self.want(*value, &[value_type(memory)])?;
                if *add && memory == DType::Bool {
                    return Err("truth values cannot be added".into());
                }
            }
            Stmt::For { var, lo, hi, carries, body } => {
                self.fresh_var(*var)?;
                if join(self.affine(lo)?, self.affine(hi)?) == State::Varying {
                    return Err("loop bounds are the same in all lanes".into());
                }
                for c in carries {
                    self.fresh(c.param)?;
                    self.value(c.init)?;
                    let dtype = self.dtype(c.init)?;
                    for v in [c.param, c.next, c.out] {
                        self.want(v, &[dtype])?;
                    }
                }
                let outs = carries.iter().map(|c| (c.out, self.by_lane())).collect();
                return Ok(Inside::Block(body, outs));
            }
            Stmt::Vec { var, extent, reduces, body } => {
                self.fresh_var(*var)?;
                if self.lanes {
                    return Err("vector loops are not nested".into());
                }
                if *extent > MAX_VECTOR_EXTENT {
                    return Err("a vector loop has less than 2^31 iterations".into());
                }
                return Ok(Inside::Block(body, reduces.iter().map(|r| (r.out, State::Uniform)).collect()));
            }
            Stmt::If { cond, body } => {
                if self.value(*cond)? == State::Varying {
                    return Err("a condition is the same in all lanes".into());
                }
                self.want(*cond, &[DType::Bool])?;
                return Ok(Inside::Block(body, Vec::new()));
            }
            Stmt::Rarely { cond, picks, body } => {
                self.value(*cond)?;
                self.want(*cond, &[DType::Bool])?;
                if body
                    .iter()
                    .any(|s| !matches!(s, Stmt::Let(_, e) if !matches!(e, Expr::Load(_) | Expr::LoadIf { .. })))
                {
                    return Err("what may be skipped consists of definitions without loads".into());
                }
                for p in picks {
                    self.value(p.other)?;
                    let dtype = self.dtype(p.other)?;
                    self.want(p.other, &[DType::F32, DType::I32])?;
                    self.want(p.inside, &[dtype])?;
                    self.want(p.out, &[dtype])?;
                }
                return Ok(Inside::Block(body, picks.iter().map(|p| (p.out, self.by_lane())).collect()));
            }
            Stmt::Sort { from, to, len, .. } => {
                if self.lanes {
                    return Err("rows are not sorted in vector loops".into());
                }
                if *len == 0 || *len > i64::MAX as u64 {
                    return Err("a row that is sorted has one element at least".into());
                }
                for (place, load) in [(from, true), (to, false)] {
                    let last = Place { buf: place.buf, at: place.at.clone() + (*len as i64 - 1) };
                    self.place(place, true, load, !load)?;
                    self.place(&last, true, load, !load)?;
                }
                if from.buf == to.buf {
                    return Err("a row is not sorted in place".into());
                }
                let memory = |place: &Place| self.kernel.bufs[place.buf.0 as usize].dtype;
                if memory(from) == DType::Bool || memory(to) != DType::I64 {
                    return Err("numbers are sorted, and their positions are i64".into());
                }
            }
            Stmt::Contract(c) => {
                if self.lanes {
                    return Err("contractions are not in vector loops".into());
                }
                self.contract(c)?;
                return Ok(Inside::Block(&c.epilogue, Vec::new()));
            }
        }
        Ok(Inside::Nothing)
    }

    fn contract(&mut self, c: &Contract) -> Check {
        self.fresh(c.acc)?;
        if c.k.is_empty() {
            return Err("a contraction sums over one loop at least".into());
        }
        for k in &c.k {
            self.affine(&k.lo)?;
            self.affine(&k.hi)?;
        }
        let vars: Vec<Var> = [c.m.var, c.n.var].into_iter().chain(c.k.iter().map(|k| k.var)).collect();
        for var in &vars {
            self.define_var(*var, State::Uniform)?;
        }
        if c.a.at.coeff(c.n.var) != 0 || c.b.at.coeff(c.m.var) != 0 {
            return Err("`a` does not depend on the column, nor `b` on the row".into());
        }
        for place in [&c.a, &c.b] {
            self.place(place, c.m.extent > 0 && c.n.extent > 0, true, false)?;
            let dtype = self.kernel.bufs[place.buf.0 as usize].dtype;
            if !matches!(dtype, DType::F32 | DType::F64 | DType::I32 | DType::I64) {
                return Err(format!("there are no products of {dtype}"));
            }
            self.want(c.acc, &[dtype])?;
        }
        vars.iter().for_each(|v| self.vars[v.0 as usize] = State::Undefined);
        Ok(())
    }

    /// Defines what a block's statement defines for it.
    fn enter(&mut self, stmt: &Stmt) {
        let mut set = |var: Var, state: State| {
            if let Some(slot) = self.vars.get_mut(var.0 as usize) {
                *slot = state;
            }
        };
        match stmt {
            Stmt::For { var, carries, .. } => {
                set(*var, State::Uniform);
                let state = self.by_lane();
                carries.iter().for_each(|c| self.values[c.param.0 as usize] = state);
            }
            Stmt::Vec { var, .. } => set(*var, State::Varying),
            Stmt::Contract(c) => {
                set(c.m.var, State::Uniform);
                set(c.n.var, State::Varying);
                self.values[c.acc.0 as usize] = State::Varying;
            }
            _ => {}
        }
    }

    /// Checks what a block's statement takes from it.
    fn leave(&mut self, stmt: &Stmt) -> Check {
        match stmt {
            Stmt::For { carries, .. } => carries.iter().try_for_each(|c| self.value(c.next).map(drop)),
            Stmt::Rarely { picks, .. } => picks.iter().try_for_each(|p| self.value(p.inside).map(drop)),
            Stmt::Vec { reduces, .. } => {
                for r in reduces {
                    self.value(r.value)?;
                    let dtype = self.dtype(r.value)?;
                    let result = match r.op {
                        ReduceOp::ArgMax | ReduceOp::ArgMin => DType::I64,
                        _ => dtype,
                    };
                    self.want(r.out, &[result])?;
                    if dtype == DType::Bool && !matches!(r.op, ReduceOp::Max | ReduceOp::Min) {
                        return Err("of truth values there is only `max` and `min`".into());
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn expr(&mut self, out: Value, expr: &Expr) -> Check<State> {
        use DType::*;
        const NUMBERS: &[DType] = &[F32, F64, I64, I32];
        let mut state = State::Uniform;
        let mut failed = None;
        expr.operands(|v| match self.value(v) {
            Ok(s) => state = join(state, s),
            Err(e) => failed = failed.take().or(Some(e)),
        });
        failed.map_or(Ok(()), Err)?;
        let same = |c: &Self, v: Value| c.want(out, &[c.dtype(v)?]);
        match expr {
            Expr::Const(lit) => self.want(out, &[lit.dtype])?,
            Expr::Index(at) => {
                self.want(out, &[I64])?;
                state = self.affine(at)?;
            }
            Expr::InRange { at, .. } => {
                self.want(out, &[Bool])?;
                state = self.affine(at)?;
            }
            Expr::Load(place) | Expr::LoadIf { place, .. } => {
                state = join(state, self.place(place, matches!(expr, Expr::Load(_)), true, false)?);
                self.want(out, &[value_type(self.kernel.bufs[place.buf.0 as usize].dtype)])?;
                if let Expr::LoadIf { guard, other, .. } = expr {
                    self.want(*guard, &[Bool])?;
                    same(self, *other)?;
                }
            }
            Expr::Un(op, a) => {
                self.want(
                    *a,
                    match op {
                        UnOp::Neg | UnOp::Abs => NUMBERS,
                        UnOp::Not => &[I64, I32, Bool],
                        _ => &[F32, F64],
                    },
                )?;
                same(self, *a)?;
            }
            Expr::Bin(op, a, b) => {
                self.want(
                    *a,
                    match op {
                        BinOp::Add | BinOp::Sub | BinOp::Mul | BinOp::Div | BinOp::Rem => NUMBERS,
                        BinOp::Min | BinOp::Max => &[F32, F64, I64, I32, Bool],
                        BinOp::Pow => &[F32, F64],
                        BinOp::And | BinOp::Or | BinOp::Xor => &[I64, I32, Bool],
                        BinOp::Shl | BinOp::Shr | BinOp::Sar => &[I64, I32],
                        BinOp::MulHiU => &[I32],
                        BinOp::Scale => &[F32],
                    },
                )?;
                self.want(*b, &[self.dtype(*a)?])?;
                same(self, *a)?;
                if matches!(op, BinOp::Shl | BinOp::Shr | BinOp::Sar) {
                    self.shift_amount(*b)?;
                }
            }
            Expr::Cmp(op, a, b) => {
                let truth = matches!(op, CmpOp::Eq | CmpOp::Ne);
                self.want(*a, if truth { &[F32, F64, I64, I32, Bool] } else { NUMBERS })?;
                self.want(*b, &[self.dtype(*a)?])?;
                self.want(out, &[Bool])?;
            }
            Expr::Select(cond, a, b) => {
                self.want(*cond, &[Bool])?;
                self.want(*b, &[self.dtype(*a)?])?;
                same(self, *a)?;
            }
            Expr::MulAdd(a, b, c) => {
                self.want(*a, &[F32, F64])?;
                self.want(*b, &[self.dtype(*a)?])?;
                self.want(*c, &[self.dtype(*a)?])?;
                same(self, *a)?;
            }
            Expr::Cast(_, to) => self.want(out, &[value_type(*to)])?,
            Expr::Bitcast(a, to) => {
                let pairs = [(F32, I32), (I32, F32), (F64, I64), (I64, F64)];
                if !pairs.contains(&(self.dtype(*a)?, *to)) {
                    return Err(format!("there is no bitcast from {} to {to}", self.dtype(*a)?));
                }
                self.want(out, &[*to])?;
            }
            Expr::Random { seed, step, index, .. } => {
                self.want(*seed, &[I64])?;
                self.want(*step, &[I64])?;
                self.want(out, &[F32])?;
                state = join(state, self.affine(index)?);
            }
        }
        Ok(state)
    }

    /// A shift is by a constant value less than the width.
    fn shift_amount(&self, amount: Value) -> Check {
        let mut constant = None;
        walk::walk(&self.kernel.body, &mut |stmt| {
            if let Stmt::Let(v, Expr::Const(lit)) = stmt
                && *v == amount
            {
                constant = Some(*lit);
            }
        });
        match constant {
            Some(lit) if lit.bits < 8 * lit.dtype.size() as u64 => Ok(()),
            _ => Err("a shift is by a constant less than the width".into()),
        }
    }

    /// Checks an access; `bounded` asks for a proof that it is in bounds.
    fn place(&self, place: &Place, bounded: bool, load: bool, store: bool) -> Check<State> {
        let Some(buf) = self.kernel.bufs.get(place.buf.0 as usize) else {
            return Err(format!("there is no buffer b{}", place.buf.0));
        };
        let state = self.affine(&place.at)?;
        if load && buf.access == Access::Write || store && buf.access == Access::Read {
            return Err(format!("b{} is declared {:?}", place.buf.0, buf.access));
        }
        let (lo, hi) = self.ranges.affine(&place.at);
        let unreachable = place.at.terms().iter().any(|(v, _)| {
            let (lo, hi) = self.ranges.var(*v);
            lo > hi
        });
        if bounded && !unreachable && (lo < 0 || hi as u64 >= buf.len) {
            return Err(format!("b{}[{}] spans {lo}..={hi}, of {} elements", place.buf.0, place.at, buf.len));
        }
        Ok(state)
    }

    fn affine(&self, a: &Affine) -> Check<State> {
        a.terms().iter().try_fold(State::Uniform, |state, (var, _)| {
            match self.vars.get(var.0 as usize).copied().unwrap_or(State::Undefined) {
                State::Undefined => Err(format!("{var} is not defined here")),
                State::Gone => Err(format!("{var} is used outside of its block")),
                known => Ok(join(state, known)),
            }
        })
    }

    fn value(&self, value: Value) -> Check<State> {
        match self.values.get(value.0 as usize).copied().unwrap_or(State::Undefined) {
            State::Undefined => Err(format!("v{} is not defined here", value.0)),
            State::Gone => Err(format!("v{} is used outside of its block", value.0)),
            known => Ok(known),
        }
    }

    fn define(&mut self, value: Value, state: State) -> Check {
        self.fresh(value)?;
        self.values[value.0 as usize] = state;
        Ok(())
    }

    fn define_var(&mut self, var: Var, state: State) -> Check {
        self.fresh_var(var)?;
        self.vars[var.0 as usize] = state;
        Ok(())
    }

    fn fresh(&self, value: Value) -> Check {
        match self.values.get(value.0 as usize) {
            Some(State::Undefined) => Ok(()),
            _ => Err(format!("v{} is defined twice", value.0)),
        }
    }

    fn fresh_var(&self, var: Var) -> Check {
        match self.vars.get(var.0 as usize) {
            Some(State::Undefined) => Ok(()),
            _ => Err(format!("{var} is defined twice")),
        }
    }

    /// How a carried value is held.
    fn by_lane(&self) -> State {
        if self.lanes { State::Varying } else { State::Uniform }
    }

    fn dtype(&self, value: Value) -> Check<DType> {
        self.kernel.values.get(value.0 as usize).copied().ok_or_else(|| format!("there is no value v{}", value.0))
    }

    fn want(&self, value: Value, types: &[DType]) -> Check {
        let dtype = self.dtype(value)?;
        if types.contains(&dtype) {
            return Ok(());
        }
        let wanted: Vec<String> = types.iter().map(DType::to_string).collect();
        Err(format!("v{} is {dtype}, expected {}", value.0, wanted.join(" or ")))
    }
}

/// What follows the check of a statement.
enum Inside<'s> {
    Nothing,
    Block(&'s [Stmt], Vec<(Value, State)>),
}

fn join(a: State, b: State) -> State {
    if a == State::Varying || b == State::Varying { State::Varying } else { State::Uniform }
}

/// What was defined in a block cannot be used, or defined again, after it.
fn close(now: &mut [State], before: &[State]) {
    for (now, before) in now.iter_mut().zip(before) {
        if *before == State::Undefined && *now != State::Undefined {
            *now = State::Gone;
        }
    }
}
