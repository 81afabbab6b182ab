//! Diagonals, and products and distances of vectors.

use super::args::Args;
use super::common::{LAST_AXIS, Made, X, elementwise, floats, iota, made, narrow, scale, unsqueeze};
use super::error::CallError;
use super::method::MethodDef;
use super::params::{Default, Kind, Param};
use super::reduce::p_norm;
use super::value::Value;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::DType;

const OFFSET: Param = Param::optional(
    "offset",
    Kind::Int,
    Default::Int(0),
    "0 for the main diagonal, above 0 for one further to the right",
);
const Y: Param = Param::required("y", Kind::Tensor, "the right side");

const fn factor(name: &'static str, doc: &'static str) -> Param {
    Param::optional(name, Kind::Float, Default::Float(1.0), doc)
}

macro_rules! methods {
    ($($name:literal $aliases:tt, [$($param:expr),*], $doc:literal, $build:expr;)*) => {
        /// The methods of this file.
        pub const METHODS: &[MethodDef] = &[
            $(MethodDef { name: $name, aliases: &$aliases, doc: $doc, params: &[X, $($param),*], build: $build }),*
        ];
    };
}

methods! {
    "diag" [], [OFFSET], "of a matrix its diagonal, of a vector the matrix with that diagonal", |b, a| {
        let x = a.tensor("x");
        match b.rank(x) {
            1 => made(embedded(b, x, a.int("offset"))),
            2 => diagonal_of(b, a, 0, 1),
            _ => rank(b, x, "1 or 2 axes"),
        }
    };
    "diagonal" [], [OFFSET,
        Param::optional("axis1", Kind::Axis, Default::Int(0), "the axis of rows"),
        Param::optional("axis2", Kind::Axis, Default::Int(1), "the axis of columns")],
        "the diagonals of matrices, as a new last axis in place of two axes", diagonal;
    "diag_embed" [], [OFFSET], "matrices with the last axis as their diagonals and 0 elsewhere", |b, a| {
        let x = a.tensor("x");
        if b.rank(x) == 0 { rank(b, x, "at least 1 axis") } else { made(embedded(b, x, a.int("offset"))) }
    };
    "trace" [], [], "the sum of the diagonal of a matrix", |b, a| {
        let x = a.tensor("x");
        if b.rank(x) != 2 {
            return rank(b, x, "2 axes");
        }
        let hits = on_diagonal(b, x, 0)?;
        made(b.sum(hits, &[0, 1], false))
    };
    "outer" ["ger"], [Y], "the product of each element of a vector with each of another", |b, a| {
        let (x, y) = vectors(b, a)?;
        let column = unsqueeze(b, x, 1)?;
        elementwise(b, Op::Mul, &[column, y]).map(Value::Tensor)
    };
    "dot" ["inner", "vdot"], [Y], "the sum of products of two vectors", dot;
    "addmm" [], [
        Param::required("mat1", Kind::Tensor, "the left matrix"), Param::required("mat2", Kind::Tensor, "the right matrix"),
        factor("beta", "the factor of x"), factor("alpha", "the factor of the product")],
        "beta * x + alpha * (mat1 @ mat2), with x broadcast to the product", |b, a| added(b, a, "mat1", "mat2");
    "baddbmm" [], [
        Param::required("batch1", Kind::Tensor, "the left matrices"),
        Param::required("batch2", Kind::Tensor, "the right matrices"),
        factor("beta", "the factor of x"), factor("alpha", "the factor of the product")],
        "beta * x + alpha * (batch1 @ batch2), matrix by matrix, with x broadcast to the product",
        |b, a| added(b, a, "batch1", "batch2");
    "cross" [], [Y, LAST_AXIS], "the vector product along an axis of size 3", cross;
    "cdist" [], [Y, Param::optional("p", Kind::Float, Default::Float(2.0), "the order of the norm, from 0 on")],
        "the p-norm distance of each row of x, [.., P, M], from each of y, [.., R, M]: [.., P, R]", cdist;
}

fn rank<T>(b: &Builder, x: NodeId, expected: &str) -> Result<T, CallError> {
    Err(CallError::Rank { input: 0, expected: expected.to_string(), found: b.ty(x).clone(), fix: None })
}

/// `x`, but 0 where the column is not the row plus `offset`, of the last two axes.
fn on_diagonal(b: &mut Builder, x: NodeId, offset: i64) -> Built {
    let last = b.shape(x)[b.rank(x) - 2..].to_vec();
    let (row, column) = (iota(b, DType::I64, &last, 0)?, iota(b, DType::I64, &last, 1)?);
    let offset = b.constant(DType::I64, offset as f64);
    let row = b.add(row, offset)?;
    let (hit, zero) = (b.eq(row, column)?, b.constant(b.dtype(x), 0.0));
    b.select(hit, x, zero)
}

fn diagonal(b: &mut Builder, args: &Args) -> Made {
    let x = args.tensor("x");
    let count = b.rank(x);
    if count < 2 {
        return rank(b, x, "at least 2 axes");
    }
    let (rows, columns) = (args.axis("axis1", count)?, args.axis("axis2", count)?);
    if rows == columns {
        return Err(args.error("axis2", format!("rows and columns are both axis {rows}")).into());
    }
    diagonal_of(b, args, rows, columns)
}

fn diagonal_of(b: &mut Builder, args: &Args, rows: usize, columns: usize) -> Made {
    let (mut x, offset) = (args.tensor("x"), args.int("offset"));
    if b.dtype(x) == DType::Bool {
        let message = "convert it with `.to(i64)`".to_string();
        let (expected, found) = ("numbers".to_string(), b.ty(x).clone());
        return Err(CallError::DType { input: 0, expected, found, fix: Some(message) });
    }
    let mut perm: Vec<usize> = (0..b.rank(x)).filter(|&a| a != rows && a != columns).collect();
    perm.extend([rows, columns]);
    x = b.transpose(x, &perm)?;
    let last = b.rank(x) - 1;
    let (height, width) = (b.shape(x)[last - 1].clone(), b.shape(x)[last].clone());
    // From row `from` on, as long as there are rows and columns.
    let from = Dim::from(offset.min(0).saturating_neg());
    let (below, right) = (height.clone() - from.clone(), width.clone() - Dim::from(offset.max(0)));
    let length = match (right.clone() - below.clone()).as_const() {
        Some(more) if more >= 0 => below,
        Some(_) => right,
        None => {
            let sentence = format!("{{0}} is {}: which of its sides is longer must be known", b.ty(args.tensor("x")));
            return Err(CallError::Inputs(sentence));
        }
    };
    if length.as_const().is_some_and(|n| n < 1) {
        let message = format!("there is no diagonal {offset} in {height} rows and {width} columns");
        return Err(args.error("offset", message).into());
    }
    let hits = on_diagonal(b, x, offset)?;
    let sums = b.sum(hits, &[last], false)?;
    made(narrow(b, sums, last - 1, from.clone(), from + length))
}

fn embedded(b: &mut Builder, x: NodeId, offset: i64) -> Built {
    let last = b.rank(x) - 1;
    let size = b.shape(x)[last].clone() + Dim::from(offset.saturating_abs());
    let zero = b.constant(b.dtype(x), 0.0);
    // Along the rows, element i stands in row i less what the offset is below 0.
    let (mut lo, mut hi) = (vec![Dim::from(0); last + 1], vec![Dim::from(0); last + 1]);
    (lo[last], hi[last]) = (Dim::from(offset.min(0).saturating_neg()), Dim::from(offset.max(0)));
    let column = if offset == 0 { x } else { b.pad(x, zero, &lo, &hi)? };
    let column = unsqueeze(b, column, last + 1)?;
    let mut shape = b.shape(column).to_vec();
    shape[last + 1] = size;
    let square = b.broadcast(column, &shape)?;
    on_diagonal(b, square, offset)
}

/// The two operands, vectors.
fn vectors(b: &Builder, args: &Args) -> Result<(NodeId, NodeId), CallError> {
    let (x, y) = (args.tensor("x"), args.tensor("y"));
    for (input, node) in [(0, x), (1, y)] {
        if b.rank(node) != 1 {
            let fix = Some("see `matmul`".to_string());
            return Err(CallError::Rank { input, expected: "vectors".into(), found: b.ty(node).clone(), fix });
        }
    }
    Ok((x, y))
}

fn dot(b: &mut Builder, args: &Args) -> Made {
    let (x, y) = vectors(b, args)?;
    if !b.graph.facts.equal(&b.shape(x)[0], &b.shape(y)[0]) || b.dtype(x) != b.dtype(y) {
        let sentence = format!("{{0}} is {} and {{1}} is {}: both must be alike", b.ty(x), b.ty(y));
        return Err(CallError::Inputs(sentence));
    }
    let products = b.mul(x, y)?;
    made(b.sum(products, &[0], false))
}

fn added(b: &mut Builder, args: &Args, left: &str, right: &str) -> Made {
    let x = args.tensor("x");
    floats(b, 0, x)?;
    let shifted = |error| match error {
        CallError::Rank { input, expected, found, fix } => CallError::Rank { input: input + 1, expected, found, fix },
        CallError::DType { input, expected, found, fix } => CallError::DType { input: input + 1, expected, found, fix },
        CallError::Inputs(text) => CallError::Inputs(text.replace("{1}", "{2}").replace("{0}", "{1}")),
        other => other,
    };
    let product = super::product::matrix_product(b, args.tensor(left), args.tensor(right)).map_err(shifted)?;
    let fits = b.dtype(x) == b.dtype(product)
        && b.broadcast_shape(Op::Add, &[x, product]).is_ok_and(|shape| shape == b.shape(product));
    if !fits {
        let sentence = format!("{{0}} is {}, which does not broadcast to the product, {}", b.ty(x), b.ty(product));
        return Err(CallError::Inputs(sentence));
    }
    let (x, product) = (scaled(b, x, args.float("beta"))?, scaled(b, product, args.float("alpha"))?);
    made(b.add(x, product))
}

fn scaled(b: &mut Builder, x: NodeId, factor: f64) -> Built {
    if factor == 1.0 { Ok(x) } else { scale(b, x, factor) }
}

fn cross(b: &mut Builder, args: &Args) -> Made {
    let (x, y) = (args.tensor("x"), args.tensor("y"));
    let axis = args.axis("axis", b.rank(x))?;
    if b.ty(x) != b.ty(y) || !b.shape(x)[axis].is(3) {
        let (left, right) = (b.ty(x), b.ty(y));
        let sentence =
            format!("{{0}} is {left} and {{1}} is {right}: both must be alike, with 3 elements on axis {axis}");
        return Err(CallError::Inputs(sentence));
    }
    let mut turned = |x: NodeId, by: i64| -> Built {
        let (start, end) = (Dim::from(0), Dim::from(3));
        let head = narrow(b, x, axis, start, Dim::from(by))?;
        let tail = narrow(b, x, axis, Dim::from(by), end)?;
        b.concat(&[tail, head], axis)
    };
    let (x1, x2, y1, y2) = (turned(x, 1)?, turned(x, 2)?, turned(y, 1)?, turned(y, 2)?);
    let (left, right) = (b.mul(x1, y2)?, b.mul(x2, y1)?);
    made(b.sub(left, right))
}

fn cdist(b: &mut Builder, args: &Args) -> Made {
    let (x, y) = (args.tensor("x"), args.tensor("y"));
    floats(b, 0, x)?;
    let p = args.float("p");
    if p.is_nan() || p < 0.0 {
        return Err(args.error("p", format!("`p` must not be below 0, but it is {p}")).into());
    }
    for (input, node) in [(0, x), (1, y)] {
        if b.rank(node) < 2 {
            let (expected, found) = ("rows of vectors, at least 2 axes".to_string(), b.ty(node).clone());
            return Err(CallError::Rank { input, expected, found, fix: None });
        }
    }
    let (left, right) = (b.shape(x)[b.rank(x) - 1].clone(), b.shape(y)[b.rank(y) - 1].clone());
    let (rows, columns) = (unsqueeze(b, x, b.rank(x) - 1)?, unsqueeze(b, y, b.rank(y) - 2)?);
    let fits = b.dtype(x) == b.dtype(y)
        && b.graph.facts.equal(&left, &right)
        && b.broadcast_shape(Op::Sub, &[rows, columns]).is_ok();
    if !fits {
        let sentence = format!(
            "{{0}} is {} and {{1}} is {}: the last axes must be equal and those before the last two broadcast",
            b.ty(x),
            b.ty(y)
        );
        return Err(CallError::Inputs(sentence));
    }
    let d = b.sub(rows, columns)?;
    // `unsqueeze` has put the vectors' axis last in both.
    let last = b.rank(d) - 1;
    made(p_norm(b, d, p, &[last], false))
}
