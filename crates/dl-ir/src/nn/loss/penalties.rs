//! Penalties on the size of parameters, to be added to a loss.

use super::super::args::Args;
use super::super::common::{Made, floats};
use super::super::error::CallError;
use super::super::method::MethodDef;
use super::super::params::{Kind, Param};
use super::table;
use crate::build::{Builder, Built};
use crate::graph::NodeId;

const PARAMETERS: Param =
    Param::required("parameters", Kind::Parameters, "layers, single parameters such as `fc.weight`, or tensors").rest();

table! {
    "l1_penalty" [], [PARAMETERS],
        "the sum of |w| over all elements of parameters: `loss + 1e-4 * l1_penalty(conv1, head.0.weight)`",
        |b, a| penalty(b, a, |b, w| b.abs(w));
    "l2_penalty" [], [PARAMETERS],
        "the sum of w^2 over all elements of parameters: `loss + 1e-4 * l2_penalty(conv1, head.0.weight)`",
        |b, a| penalty(b, a, |b, w| b.mul(w, w));
}

fn penalty(b: &mut Builder, args: &Args, size: fn(&mut Builder, NodeId) -> Built) -> Made {
    let mut total = None;
    for (input, w) in args.tensors("parameters").into_iter().enumerate() {
        let dtype = floats(b, input, w)?;
        let size = size(b, w)?;
        let all: Vec<usize> = (0..b.rank(size)).collect();
        let mut sum = b.sum(size, &all, false)?;
        if let Some(before) = total {
            if b.dtype(before) != dtype {
                let fix = Some(format!("convert it with `.to({})`", b.dtype(before)));
                let (expected, found) = (format!("{} throughout", b.dtype(before)), b.ty(w).clone());
                return Err(CallError::DType { input, expected, found, fix });
            }
            sum = b.add(before, sum)?;
        }
        total = Some(sum);
    }
    match total {
        Some(total) => Ok(total.into()),
        None => Err(args.error("parameters", "there must be at least one parameter").into()),
    }
}
