//! Loops over slices: see [`scan`](crate::scan).

use crate::attrs::AttrKind;
use crate::error::{OpError, Problem};
use crate::eval::{EvalError, Tensor};
use crate::graph::{Graph, Role};
use crate::op::{Arity, Class, Eval, Infer, OpDef, Vjp};
use crate::scan::{PORTS, Scan, port};
use crate::types::{DType, Type};
use crate::verify::verify;

/// A loop.
pub const SCAN: OpDef = OpDef {
    name: "scan",
    doc: "Runs `body` for each slice of its operands along their first axis, from the last one on if `reverse` is 1",
    arity: Arity::AtLeast(0),
    class: Class::Loop,
    attrs: &[
        ("carries", AttrKind::Int),
        ("slices", AttrKind::Int),
        ("reverse", AttrKind::Int),
        ("recompute", AttrKind::Int),
        ("length", AttrKind::Dims),
        ("body", AttrKind::Graph),
    ],
    infer: |i| {
        let scan = Scan::of(i.attrs);
        let Some(body) = i.attrs.get_graph("body") else { return i.bad_attr("body", "must be a graph") };
        check_ports(i, &scan, body)?;
        if let Err(error) = verify(body) {
            return i.bad_attr("body", format!("is no valid graph: {error}"));
        }
        Ok(Type::scalar(DType::Bool))
    },
    eval: by_the_evaluator,
    vjp: Vjp::Loop,
    samples: Vec::new,
};

/// A result of a loop.
pub const SCAN_RESULT: OpDef = OpDef {
    name: "scan_result",
    doc: "Result `index` of a `scan`: first the carried values after its last iteration, then what all iterations gave",
    arity: Arity::Exact(1),
    class: Class::Loop,
    attrs: &[("index", AttrKind::Int), ("dtype", AttrKind::DType), ("shape", AttrKind::Dims)],
    // Whether the loop has such a result is seen by the verifier, which knows the operand.
    infer: |i| Ok(Type { dtype: i.attrs.get_dtype("dtype"), shape: i.attrs.get_dims("shape").to_vec() }),
    eval: by_the_evaluator,
    vjp: Vjp::Loop,
    samples: Vec::new,
};

/// Several results do not fit what one op gives: the evaluator of graphs runs loops itself.
fn by_the_evaluator(e: &Eval<'_>) -> Result<Tensor, EvalError> {
    Err(EvalError::Symbolic(e.ty.clone()))
}

/// Checks that operands, inputs and outputs of the body belong together.
fn check_ports(i: &Infer<'_>, scan: &Scan, body: &Graph) -> Result<(), OpError> {
    if scan.carries + scan.slices > i.args.len() || body.inputs.len() != i.args.len() {
        let why = format!("has {} inputs, but the loop has {} operands", body.inputs.len(), i.args.len());
        return i.bad_attr("body", why);
    }
    if i.attrs.get_dims("length").len() != 1 {
        return i.bad_attr("length", "must be one dimension");
    }
    if let Some(length) = scan.length.as_const().filter(|&length| length < 1) {
        return i.bad_attr("length", format!("must be at least 1, but it is {length}"));
    }
    for (at, (input, arg)) in body.inputs.iter().zip(i.args).enumerate() {
        let expected = &PORTS[scan.port(at)];
        if input.kind != expected.1 || input.name != port(scan, at) {
            return i
                .bad_attr("body", format!("must have the input `{}` in place of `{}`", port(scan, at), input.name));
        }
        let inner = body.ty(input.node);
        let sliced = scan.is_slice(at);
        let rank = inner.rank() + usize::from(sliced);
        i.want_rank(at, rank)?;
        if arg.dtype != inner.dtype {
            return i.fail(Problem::DType { arg: at, expected: inner.dtype.to_string(), found: arg.dtype });
        }
        if sliced {
            i.want_size((at, 0), &scan.length, None)?;
        }
        for (axis, size) in inner.shape.iter().enumerate() {
            i.want_size((at, axis + usize::from(sliced)), size, None)?;
        }
    }
    let (carried, rest) = body.outputs.split_at(scan.carries.min(body.outputs.len()));
    let in_order = carried.iter().enumerate().all(|(k, o)| o.role == Role::Update(port(scan, k)));
    if carried.len() < scan.carries || !in_order || rest.iter().any(|o| o.role != Role::Result) {
        return i.bad_attr("body", "must give the new value of each carry, in order, and then results");
    }
    Ok(())
}
