//! Matrix products.

use super::args::Args;
use super::common::{Made, X, floats};
use super::error::CallError;
use super::method::MethodDef;
use super::params::{Kind, Param};
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::graph::NodeId;

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[MethodDef {
    name: "matmul",
    aliases: &["mm", "bmm", "mv"],
    doc: "the matrix product of the last two axes, the axes before them broadcast; a vector is a row on the left and a \
          column on the right",
    params: &[X, Param::required("y", Kind::Tensor, "the right side")],
    build: matmul,
}];

fn matmul(b: &mut Builder, args: &Args) -> Made {
    Ok(matrix_product(b, args.tensor("x"), args.tensor("y"))?.into())
}

/// The matrix product of the last two axes. Errors name `x` operand 0 and `y` operand 1.
pub fn matrix_product(b: &mut Builder, x: NodeId, y: NodeId) -> Result<NodeId, CallError> {
    for (input, node) in [(0, x), (1, y)] {
        floats(b, input, node)?;
        if b.rank(node) == 0 {
            let (expected, fix) = ("at least 1 axis".to_string(), Some("multiply by a scalar with `*`".to_string()));
            return Err(CallError::Rank { input, expected, found: b.ty(node).clone(), fix });
        }
    }
    if b.dtype(x) != b.dtype(y) {
        let fix = Some(format!("convert it with `.to({})`", b.dtype(x)));
        return Err(CallError::DType {
            input: 1,
            expected: format!("{} on both sides", b.dtype(x)),
            found: b.ty(y).clone(),
            fix,
        });
    }
    let (rank_x, rank_y) = (b.rank(x), b.rank(y));
    let (sum_x, sum_y) = (rank_x - 1, rank_y.saturating_sub(2));
    let (inner_x, inner_y) = (b.shape(x)[sum_x].clone(), b.shape(y)[sum_y].clone());
    if !b.graph.facts.equal(&inner_x, &inner_y) {
        let which = if rank_y == 1 { "only" } else { "second last" };
        let mut sentence = format!(
            "{{0}} is {} and {{1}} is {}: the last axis of the first ({inner_x}) must equal the {which} axis of the \
             second ({inner_y})",
            b.ty(x),
            b.ty(y)
        );
        if rank_y > 1 && b.graph.facts.equal(&inner_x, &b.shape(y)[rank_y - 1]) {
            sentence += "; `.transpose(-2, -1)` on the second would make them fit";
        } else if let Some((p, q)) = b.graph.facts.missing(&inner_x, &inner_y) {
            sentence += &format!("; they are equal with `require {p} % {q} == 0;`");
        }
        return Err(CallError::Inputs(sentence));
    }
    let (batch_x, batch_y) = (rank_x.saturating_sub(2), rank_y.saturating_sub(2));
    if batch_y == 0 {
        return Ok(b.dot(x, y, &[], &[(sum_x, sum_y)])?);
    }
    if batch_x == 0 {
        // The result's axes are x's rows, y's batch, y's columns; the batch goes first.
        let product = b.dot(x, y, &[], &[(sum_x, sum_y)])?;
        let rows = rank_x - 1;
        let perm: Vec<usize> = (rows..rows + batch_y).chain(0..rows).chain(rows + batch_y..b.rank(product)).collect();
        return Ok(b.transpose(product, &perm)?);
    }
    let batch = batch_shape(b, x, y)?;
    let (x, y) = (with_batch(b, x, &batch)?, with_batch(b, y, &batch)?);
    let pairs: Vec<(usize, usize)> = (0..batch.len()).map(|a| (a, a)).collect();
    Ok(b.dot(x, y, &pairs, &[(batch.len() + 1, batch.len())])?)
}

/// The axes before the last two, broadcast.
///
/// # Errors
/// If they do not broadcast together.
pub fn batch_shape(b: &Builder, x: NodeId, y: NodeId) -> Result<Vec<Dim>, CallError> {
    let (left, right) = (b.shape(x), b.shape(y));
    let (left, right) = (&left[..left.len() - 2], &right[..right.len() - 2]);
    let rank = left.len().max(right.len());
    let at = |s: &[Dim], i: usize| (i + s.len()).checked_sub(rank).map_or(Dim::ONE, |i| s[i].clone());
    (0..rank)
        .map(|i| match (at(left, i), at(right, i)) {
            (a, c) if a.is(1) || b.graph.facts.equal(&a, &c) => Ok(c),
            (a, c) if c.is(1) => Ok(a),
            _ => {
                let (x, y) = (b.ty(x), b.ty(y));
                let sentence =
                    format!("{{0}} is {x} and {{1}} is {y}: the axes before the last two do not broadcast together");
                Err(CallError::Inputs(sentence))
            }
        })
        .collect()
}

/// `x` with its axes before the last two broadcast to `batch`.
pub fn with_batch(b: &mut Builder, x: NodeId, batch: &[Dim]) -> Built {
    let tail = b.shape(x)[b.rank(x) - 2..].to_vec();
    let shape: Vec<Dim> = batch.iter().cloned().chain(tail).collect();
    b.broadcast(x, &shape)
}
