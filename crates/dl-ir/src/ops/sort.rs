//! The order of the elements of an axis. Sorted values are gathered at what comes out here, and so have gradients.

use std::cmp::Ordering;

use super::{Kind, sample};
use crate::attrs::{AttrKind, Attrs};
use crate::error::Problem;
use crate::eval::{Data, Tensor};
use crate::op::{Arity, Class, OpDef, Vjp};
use crate::types::DType;

/// Positions in order.
pub const ARGSORT: OpDef = OpDef {
    name: "arg_sort",
    doc: "Positions (i64) of the elements along the last axis in `order`, ascending or descending; equal elements keep \
          theirs, and NaN is greater than all",
    arity: Arity::Exact(1),
    class: Class::Sort,
    attrs: &[("order", AttrKind::Word)],
    infer: |i| {
        i.want(0, Kind::Number)?;
        if i.args[0].rank() == 0 {
            return i.fail(Problem::Rank { arg: 0, expected: "at least 1".to_string(), found: i.args[0].clone() });
        }
        if !matches!(i.attrs.get_word("order"), "ascending" | "descending") {
            return i.bad_attr("order", "must be `ascending` or `descending`");
        }
        Ok(i.args[0].with_dtype(DType::I64))
    },
    eval: |e| {
        let (x, descending) = (e.args[0], e.attrs.get_word("order") == "descending");
        let len = x.shape.last().copied().unwrap_or(1);
        let mut order = Vec::with_capacity(x.len());
        for row in 0..x.len() / len {
            let mut places: Vec<usize> = (0..len).collect();
            places.sort_by(|&a, &b| {
                let (a, b) = if descending { (b, a) } else { (a, b) };
                compare(x, row * len + a, row * len + b)
            });
            order.extend(places.into_iter().map(|p| p as i64));
        }
        e.ints(order)
    },
    vjp: Vjp::None("its result is an index"),
    samples: || {
        let of = |dtype, shape: &[i64], order, range| sample(dtype, &[shape], Attrs::new().word("order", order), range);
        vec![
            of(DType::F32, &[9], "ascending", (-3.0, 3.0)),
            of(DType::F32, &[9], "descending", (-3.0, 3.0)),
            of(DType::F32, &[3, 1, 37], "ascending", (-3.0, 3.0)),
            of(DType::F64, &[5, 70], "descending", (-3.0, 3.0)),
            of(DType::F32, &[4, 1], "ascending", (-3.0, 3.0)),
            // Many equal elements.
            of(DType::I64, &[3, 50], "ascending", (-4.0, 4.0)),
            of(DType::I32, &[3, 50], "descending", (-4.0, 4.0)),
            of(DType::U8, &[200], "descending", (0.0, 9.0)),
        ]
    },
};

/// Two elements, where NaN is greater than all and equal to itself.
fn compare(x: &Tensor, a: usize, b: usize) -> Ordering {
    match &x.data {
        Data::Float(v) => v[a].partial_cmp(&v[b]).unwrap_or_else(|| v[a].is_nan().cmp(&v[b].is_nan())),
        Data::Int(v) => v[a].cmp(&v[b]),
    }
}
