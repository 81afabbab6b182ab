//! Kernels as text.
//!
//! ```text
//! kernel = 'kernel' '"' NAME '"' 'parts' INT '{' buffer* statement* '}'
//! buffer = BUF ':' TYPE '[' INT ']' ('read' | 'write' | 'readwrite' | 'scratch')
//! statement =
//!     VALUE ':' TYPE '=' expression
//!   | VAR '=' ('affine' A | 'div' A ',' INT | 'mod' A ',' INT | 'min' A ',' A | 'max' A ',' A | 'within' A 'in' range)
//!   | VAR '=' 'check' VALUE '<' INT 'site' INT
//!   | ('store' | 'add') place ',' VALUE ['if' VALUE]
//!   | 'for' VAR 'in' A '..' A ['(' (VALUE ':' TYPE '=' VALUE),* ')'] block ['->' '(' (VALUE '=' VALUE),* ')']
//!   | 'vec' VAR 'in' '0..' INT block ['->' '(' (VALUE ':' TYPE '=' REDUCTION VALUE),* ')']
//!   | 'if' VALUE block
//!   | 'sort' place ',' place ',' INT ('ascending' | 'descending')
//!   | 'contract' VAR '<' INT ',' VAR '<' INT (',' VAR 'in' A '..' A)* 'lanes' ('n' | 'k')
//!         ':' VALUE ':' TYPE '=' place '*' place block
//! expression =
//!     'const' LITERAL | 'index' A | 'inrange' A 'in' range | 'load' place | 'loadif' place ',' VALUE ',' VALUE
//!   | ('cast' | 'bitcast') VALUE 'to' TYPE | ('uniform' | 'normal') VALUE ',' VALUE ',' INT ',' A | OPERATION VALUE,*
//! place = BUF '[' A ']'
//! A = affine expression over variables: i0*100 + i1 - 3
//! ```
//! `BUF` is `b0`, `VALUE` is `v0`, `VAR` is `i0` (the part). Literals of floats are decimal, or bits: `0x7fc00000`.

use super::*;
use std::fmt::{self, Write};

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel \"{}\" parts {} {{", self.name, self.parts)?;
        for (i, buf) in self.bufs.iter().enumerate() {
            let access = match buf.access {
                Access::Read => "read",
                Access::Write => "write",
                Access::ReadWrite => "readwrite",
                Access::Scratch => "scratch",
            };
            writeln!(f, "  b{i}: {}[{}] {access}", buf.dtype, buf.len)?;
        }
        block(f, self, &self.body, 1)?;
        writeln!(f, "}}")
    }
}

/// The first line of a statement.
pub fn head(kernel: &Kernel, stmt: &Stmt) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_head(&mut text, kernel, stmt);
    text
}

fn block(f: &mut dyn Write, k: &Kernel, body: &[Stmt], depth: usize) -> fmt::Result {
    for stmt in body {
        write!(f, "{:width$}", "", width = depth * 2)?;
        write_head(f, k, stmt)?;
        let open = matches!(stmt, Stmt::For { .. } | Stmt::Vec { .. } | Stmt::If { .. } | Stmt::Rarely { .. });
        if open || matches!(stmt, Stmt::Contract(_)) {
            writeln!(f, " {{")?;
            block(f, k, stmt.blocks(), depth + 1)?;
            write!(f, "{:width$}}}", "", width = depth * 2)?;
            tail(f, k, stmt)?;
        }
        writeln!(f)?;
    }
    Ok(())
}

fn write_head(f: &mut dyn Write, k: &Kernel, stmt: &Stmt) -> fmt::Result {
    match stmt {
        Stmt::Let(value, expr) => {
            write!(f, "{} = ", typed(k, *value))?;
            write_expr(f, expr)
        }
        Stmt::Index(var, expr) => match expr {
            IndexExpr::Affine(a) => write!(f, "{var} = affine {a}"),
            IndexExpr::Div(a, d) => write!(f, "{var} = div {a}, {d}"),
            IndexExpr::Mod(a, d) => write!(f, "{var} = mod {a}, {d}"),
            IndexExpr::Min(a, b) => write!(f, "{var} = min {a}, {b}"),
            IndexExpr::Max(a, b) => write!(f, "{var} = max {a}, {b}"),
            IndexExpr::Within(a, lo, hi) => write!(f, "{var} = within {a} in {lo}..{hi}"),
        },
        Stmt::Check { var, value, limit, site } => write!(f, "{var} = check {value} < {limit} site {site}"),
        Stmt::Store { place, value, add, guard } => {
            write!(f, "{} {place}, {value}", if *add { "add" } else { "store" })?;
            guard.map_or(Ok(()), |g| write!(f, " if {g}"))
        }
        Stmt::For { var, lo, hi, carries, .. } => {
            write!(f, "for {var} in {lo}..{hi}")?;
            list(f, " (", carries, |f, c| write!(f, "{} = {}", typed(k, c.param), c.init))
        }
        Stmt::Vec { var, extent, .. } => write!(f, "vec {var} in 0..{extent}"),
        Stmt::If { cond, .. } => write!(f, "if {cond}"),
        Stmt::Rarely { cond, .. } => write!(f, "rarely {cond}"),
        Stmt::Sort { from, to, len, descending } => {
            write!(f, "sort {from}, {to}, {len} {}", if *descending { "descending" } else { "ascending" })
        }
        Stmt::Contract(c) => {
            write!(f, "contract {} < {}, {} < {}", c.m.var, c.m.extent, c.n.var, c.n.extent)?;
            for l in &c.k {
                write!(f, ", {} in {}..{}", l.var, l.lo, l.hi)?;
            }
            let lanes = if c.lanes == Lanes::N { "n" } else { "k" };
            write!(f, " lanes {lanes}: {} = {} * {}", typed(k, c.acc), c.a, c.b)
        }
    }
}

fn tail(f: &mut dyn Write, k: &Kernel, stmt: &Stmt) -> fmt::Result {
    match stmt {
        Stmt::For { carries, .. } => list(f, " -> (", carries, |f, c| write!(f, "{} = {}", c.out, c.next)),
        Stmt::Vec { reduces, .. } => {
            list(f, " -> (", reduces, |f, r| write!(f, "{} = {} {}", typed(k, r.out), r.op.name(), r.value))
        }
        Stmt::Rarely { picks, .. } => {
            list(f, " -> (", picks, |f, p| write!(f, "{} = {} else {}", typed(k, p.out), p.inside, p.other))
        }
        _ => Ok(()),
    }
}

fn write_expr(f: &mut dyn Write, expr: &Expr) -> fmt::Result {
    match expr {
        Expr::Const(lit) => write!(f, "const {lit}"),
        Expr::Index(a) => write!(f, "index {a}"),
        Expr::InRange { at, lo, hi } => write!(f, "inrange {at} in {lo}..{hi}"),
        Expr::Load(place) => write!(f, "load {place}"),
        Expr::LoadIf { place, guard, other } => write!(f, "loadif {place}, {guard}, {other}"),
        Expr::Un(op, a) => write!(f, "{} {a}", op.name()),
        Expr::Bin(op, a, b) => write!(f, "{} {a}, {b}", op.name()),
        Expr::Cmp(op, a, b) => write!(f, "{} {a}, {b}", op.name()),
        Expr::Select(c, a, b) => write!(f, "select {c}, {a}, {b}"),
        Expr::MulAdd(a, b, c) => write!(f, "muladd {a}, {b}, {c}"),
        Expr::Cast(a, to) => write!(f, "cast {a} to {to}"),
        Expr::Bitcast(a, to) => write!(f, "bitcast {a} to {to}"),
        Expr::Random { dist, seed, step, stream, index } => {
            let name = if *dist == Dist::Uniform { "uniform" } else { "normal" };
            write!(f, "{name} {seed}, {step}, {stream}, {index}")
        }
    }
}

fn list<T>(
    f: &mut dyn Write,
    open: &str,
    items: &[T],
    mut item: impl FnMut(&mut dyn Write, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, x) in items.iter().enumerate() {
        f.write_str(if i == 0 { open } else { ", " })?;
        item(f, x)?;
    }
    if items.is_empty() { Ok(()) } else { f.write_str(")") }
}

fn typed(k: &Kernel, value: Value) -> String {
    match k.values.get(value.0 as usize) {
        Some(dtype) => format!("{value}: {dtype}"),
        None => value.to_string(),
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}[{}]", self.buf.0, self.at)
    }
}

impl fmt::Display for Lit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (single, double) = (f32::from_bits(self.bits as u32), f64::from_bits(self.bits));
        match self.dtype {
            DType::F32 if single.is_finite() => write!(f, "{single:?}"),
            DType::F64 if double.is_finite() => write!(f, "{double:?}"),
            DType::F32 | DType::F64 => write!(f, "{:#x}", self.bits),
            DType::Bool => write!(f, "{}", self.bits != 0),
            _ => write!(f, "{}", ops::int(*self)),
        }
    }
}

macro_rules! names {
    ($ty:ident: $($variant:ident $name:literal),* $(,)?) => {
        impl $ty {
            /// The name in text.
            pub fn name(self) -> &'static str {
                match self {
                    $($ty::$variant => $name),*
                }
            }

            /// The one of that name.
            pub fn from_name(name: &str) -> Option<$ty> {
                match name {
                    $($name => Some($ty::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

names!(UnOp: Neg "neg", Abs "abs", Not "not", Sqrt "sqrt", Rsqrt "rsqrt", Floor "floor", Ceil "ceil", Round "round",
    Trunc "trunc", Exp "exp", Expm1 "expm1", Log "log", Log1p "log1p", Tanh "tanh", Sigmoid "sigmoid", Erf "erf",
    Sin "sin", Cos "cos");
names!(BinOp: Add "add", Sub "sub", Mul "mul", Div "div", Rem "rem", Min "min", Max "max", Pow "pow", And "and",
    Or "or", Xor "xor", Shl "shl", Shr "shr", Sar "sar", MulHiU "mulhiu", Scale "scale");
names!(CmpOp: Eq "eq", Ne "ne", Lt "lt", Le "le", Gt "gt", Ge "ge");
names!(ReduceOp: Sum "sum", Prod "prod", Max "max", Min "min", ArgMax "argmax", ArgMin "argmin");
