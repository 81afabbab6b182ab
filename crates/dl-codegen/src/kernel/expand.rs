//! Replaces compound operations by basic ones, so that emitters know only arithmetic, bits and comparisons.
//!
//! Before: any verified kernel. After: the same kernel without single-precision `exp`, `expm1`, `log`, `log1p`,
//! `tanh`, `sigmoid`, `erf` and without random numbers; what does not change in a vector loop is computed before it.
//! With fused multiply-add also without single-precision `sin`, `cos` and `rsqrt`, which need it to be accurate.

use super::ranges::Ranges;
use super::walk::walk;
use super::*;

/// Expands a kernel; `fma` says whether multiply-add is fused.
pub fn expand(kernel: &Kernel, fma: bool) -> Kernel {
    let context = Context { ranges: Ranges::of(kernel), fma };
    let mut builder = Builder::resume(Kernel { body: Vec::new(), ..kernel.clone() });
    block(&mut builder, &context, &kernel.body);
    builder.finish()
}

struct Context {
    ranges: Ranges,
    fma: bool,
}

fn block(k: &mut Builder, context: &Context, body: &[Stmt]) {
    for stmt in body {
        match stmt {
            Stmt::Let(value, expr) => define(k, context, *value, expr),
            Stmt::For { body, .. } | Stmt::Vec { body, .. } | Stmt::If { body, .. } | Stmt::Rarely { body, .. } => {
                let (inside, ()) = k.block(|k| block(k, context, body));
                let mut stmt = with_block(stmt, inside);
                if let Stmt::Vec { var, body, .. } = &mut stmt {
                    invariants(*var, body).into_iter().for_each(|s| k.push(s));
                }
                k.push(stmt);
            }
            Stmt::Contract(c) => {
                let (epilogue, ()) = k.block(|k| block(k, context, &c.epilogue));
                k.push(Stmt::Contract(Box::new(Contract { epilogue, ..(**c).clone() })));
            }
            Stmt::Index(..) | Stmt::Check { .. } | Stmt::Store { .. } | Stmt::Sort { .. } => k.push(stmt.clone()),
        }
    }
}

fn with_block(stmt: &Stmt, body: Vec<Stmt>) -> Stmt {
    match stmt {
        Stmt::For { var, lo, hi, carries, .. } => {
            Stmt::For { var: *var, lo: lo.clone(), hi: hi.clone(), carries: carries.clone(), body }
        }
        Stmt::Vec { var, extent, reduces, .. } => {
            Stmt::Vec { var: *var, extent: *extent, reduces: reduces.clone(), body }
        }
        Stmt::If { cond, .. } => Stmt::If { cond: *cond, body },
        Stmt::Rarely { cond, picks, .. } => Stmt::Rarely { cond: *cond, picks: picks.clone(), body },
        other => other.clone(),
    }
}

fn define(k: &mut Builder, context: &Context, value: Value, expr: &Expr) {
    let result = match expr {
        Expr::Un(op, x) if k.dtype(*x) == DType::F32 => match op {
            UnOp::Exp => vecmath::exp(k, *x),
            UnOp::Expm1 => vecmath::expm1(k, *x),
            UnOp::Log => vecmath::log(k, *x),
            UnOp::Log1p => vecmath::log1p(k, *x),
            UnOp::Tanh => vecmath::tanh(k, *x),
            UnOp::Sigmoid => vecmath::sigmoid(k, *x),
            UnOp::Erf => vecmath::erf(k, *x),
            UnOp::Sin if context.fma => trig::sin(k, *x),
            UnOp::Cos if context.fma => trig::cos(k, *x),
            UnOp::Rsqrt if context.fma => vecmath::rsqrt(k, *x),
            _ => return k.push(Stmt::Let(value, expr.clone())),
        },
        Expr::Random { dist, seed, step, stream, index } => {
            let small = context.ranges.affine(index).1 <= i64::from(u32::MAX);
            let words = philox::words(k, (*seed, *step), *stream, index, small);
            match dist {
                Dist::Uniform => philox::unit(k, words[0]),
                Dist::Normal => philox::normal(k, words[0], words[1]),
            }
        }
        _ => return k.push(Stmt::Let(value, expr.clone())),
    };
    k.rename(result, value);
}

/// Takes the definitions out of a vector loop's body that are the same in all its iterations.
fn invariants(var: Var, body: &mut Vec<Stmt>) -> Vec<Stmt> {
    let (mut vars, mut values) = (vec![var], std::collections::HashSet::new());
    walk(body, &mut |stmt| match stmt {
        Stmt::Let(value, _) => drop(values.insert(*value)),
        Stmt::Index(v, _) | Stmt::Check { var: v, .. } => vars.push(*v),
        Stmt::For { var, carries, .. } => {
            vars.push(*var);
            carries.iter().for_each(|c| values.extend([c.param, c.out]));
        }
        Stmt::Rarely { picks, .. } => values.extend(picks.iter().map(|p| p.out)),
        _ => {}
    });
    let mut outside = Vec::new();
    body.retain(|stmt| {
        let Stmt::Let(value, expr) = stmt else { return true };
        let mut fixed = match expr {
            // Memory may change in the loop.
            Expr::Load(_) | Expr::LoadIf { .. } => false,
            Expr::Index(at) | Expr::InRange { at, .. } | Expr::Random { index: at, .. } => {
                !at.terms().iter().any(|(v, _)| vars.contains(v))
            }
            _ => true,
        };
        expr.operands(|v| fixed &= !values.contains(&v));
        if fixed {
            values.remove(value);
            outside.push(stmt.clone());
        }
        !fixed
    });
    outside
}
