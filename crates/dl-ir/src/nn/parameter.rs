//! A tensor of the model that stands by itself: a class token, a scale, a table of one's own.

use super::args::Args;
use super::error::ArgError;
use super::layer::{Call, LayerDef, buffer, trainable};
use super::linear::positive_dim;
use super::params::{Default, Kind, Param};
use super::value::Value;
use crate::module::{Init, ParamDecl};
use crate::types::DType;

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[LayerDef::own(
    "Parameter",
    "a tensor of that shape, called without arguments: `let token = Parameter(1, 64);` and `token()`; its name in the \
     state dict is that of the layer alone",
    &[
        Param::required("shape", Kind::Shape, "the shape").rest(),
        Param::optional(
            "init",
            Kind::Word(&["zeros", "ones", "normal"]),
            Default::Word("zeros"),
            "its first value: normal numbers have mean 0 and the standard deviation `std`",
        ),
        Param::optional("std", Kind::Float, Default::Float(0.02), "the standard deviation of `init = \"normal\"`"),
        Param::optional("trainable", Kind::Bool, Default::Bool(true), "whether optimizers change it; if not, a buffer"),
    ],
    declare,
    |c: &mut Call<'_>| Ok(c.param("").map_or(Value::Infer, Value::Tensor)),
)
.taking(&[])];

fn declare(args: &Args) -> Result<Vec<ParamDecl>, ArgError> {
    let shape = args.shape("shape");
    shape.iter().try_for_each(|size| positive_dim(args, "shape", size))?;
    let std = args.float("std");
    if !(std.is_finite() && std >= 0.0) {
        return Err(args.error("std", format!("`std` must be a finite number, 0 or more, but it is {std}")));
    }
    let init = match args.word("init") {
        "ones" => Init::Ones,
        "normal" => Init::Normal(0.0, std),
        _ => Init::Zeros,
    };
    let declared = if args.bool("trainable") { trainable } else { buffer };
    Ok(vec![declared("", DType::F32, shape, init)])
}
