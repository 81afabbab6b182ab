//! Layers, activations, losses and tensor methods, as tables.
//!
//! An entry says its names, arguments, defaults and documentation as data, and builds itself in a graph. `model!` knows
//! nothing else of them, so that adding one is adding an entry here: a [`MethodDef`] to its file's `METHODS`, or a
//! [`LayerDef`] to its file's `LAYERS`.
//!
//! ```
//! use dl_ir::nn::{self, Given, Value};
//! use dl_ir::{Builder, DType, Dim, InputKind, Type};
//! let mut b = Builder::new();
//! let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, [Dim::sym("N"), Dim::from(784)]));
//! let linear = nn::layer("Linear").unwrap().with(&[Given::positional(Value::Map(784.into(), 10.into()))]).unwrap();
//! let y = linear.apply(&mut b, "head", x).unwrap(); // declares head.weight and head.bias
//! let softmax = nn::method("softmax").unwrap();
//! let args = softmax.bind(&[Given::positional(y), Given::named("axis", -1)]).unwrap();
//! assert_eq!(softmax.build(&mut b, &args).unwrap(), Value::Tensor(dl_ir::NodeId(b.graph.nodes.len() as u32 - 1)));
//! ```

mod activation;
mod adaptive;
mod args;
mod attention;
mod common;
mod conv;
mod conv_transpose;
mod cumulative;
mod distance;
mod dropout;
mod einsum;
mod elementwise;
mod error;
mod functional;
mod index;
mod instance_norm;
mod layer;
mod linear;
mod loss;
mod math;
mod matrix;
mod method;
mod movement;
mod multihead;
mod norm;
mod order;
mod padding;
mod parameter;
mod params;
mod parts;
mod pool;
mod product;
mod rearrange;
mod recurrent;
mod reduce;
mod resample;
mod source;
mod torch;
mod transformer;
mod value;

pub use args::{Args, TORCH_ARGUMENTS, bind};
pub use error::{ArgError, CallError};
pub use layer::{Body, Call, Layer, LayerDef, Passes};
pub use method::MethodDef;
pub use params::{Default, Kind, Param, signature};
pub use torch::{of_torch, torch_name};
pub use value::{Given, Value};

/// The entries of each file, with its name.
type Tables<T> = &'static [(&'static str, &'static [T])];

macro_rules! tables {
    ($($table:path),* $(,)?) => { &[$((stringify!($table), $table)),*] };
}

/// The methods and functions, a slice a file.
const METHODS: Tables<MethodDef> = tables![
    elementwise::METHODS,
    math::METHODS,
    activation::METHODS,
    reduce::METHODS,
    cumulative::METHODS,
    order::METHODS,
    movement::METHODS,
    parts::METHODS,
    index::METHODS,
    product::METHODS,
    functional::METHODS,
    matrix::METHODS,
    einsum::METHODS,
    rearrange::METHODS,
    pool::METHODS,
    adaptive::METHODS,
    instance_norm::METHODS,
    distance::METHODS,
    padding::METHODS,
    resample::METHODS,
    source::METHODS,
    dropout::METHODS,
    attention::METHODS,
    loss::METHODS,
    loss::classes::METHODS,
    loss::ctc::METHODS,
    loss::margins::METHODS,
    loss::penalties::METHODS,
];

/// The layers, a slice a file.
const LAYERS: Tables<LayerDef> = tables![
    linear::LAYERS,
    conv::LAYERS,
    conv_transpose::LAYERS,
    padding::LAYERS,
    resample::LAYERS,
    norm::LAYERS,
    pool::LAYERS,
    adaptive::LAYERS,
    instance_norm::LAYERS,
    distance::LAYERS,
    activation::LAYERS,
    movement::LAYERS,
    source::LAYERS,
    dropout::LAYERS,
    attention::LAYERS,
    multihead::LAYERS,
    transformer::LAYERS,
    recurrent::LAYERS,
    parameter::LAYERS,
];

/// Every method and function.
pub fn methods() -> impl Iterator<Item = &'static MethodDef> {
    METHODS.iter().flat_map(|(_, table)| *table)
}

/// Every layer, those that are methods without parameters included.
pub fn layers() -> impl Iterator<Item = &'static LayerDef> {
    LAYERS.iter().flat_map(|(_, table)| *table)
}

/// Every method and function, by the file that defines it: `reduce`, `loss::margins`.
pub fn method_tables() -> impl Iterator<Item = (&'static str, &'static [MethodDef])> {
    METHODS.iter().map(|(name, table)| (name.trim_end_matches("::METHODS"), *table))
}

/// Every layer, by the file that defines it: `conv`.
pub fn layer_tables() -> impl Iterator<Item = (&'static str, &'static [LayerDef])> {
    LAYERS.iter().map(|(name, table)| (name.trim_end_matches("::LAYERS"), *table))
}

/// The method or function of that name or alias.
pub fn method(name: &str) -> Option<&'static MethodDef> {
    methods().find(|m| m.name == name || m.aliases.contains(&name))
}

/// The layer of that name.
pub fn layer(name: &str) -> Option<&'static LayerDef> {
    layers().find(|l| l.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn check_params(owner: &str, params: &[Param]) {
        let mut seen = BTreeSet::new();
        for param in params {
            assert!(seen.insert(param.name), "{owner} has `{}` twice", param.name);
            assert!(!param.doc.is_empty(), "{owner}: `{}` is not explained", param.name);
            if let Some(value) = param.default.value() {
                let fits = param.kind.accept(&value).is_some();
                assert!(fits, "{owner}: the default of `{}`, {value}, is not {}", param.name, param.kind.expects());
            }
            if let Default::Same(other) = param.default {
                assert!(
                    seen.contains(other),
                    "{owner}: `{}` defaults to `{other}`, which is no earlier argument",
                    param.name
                );
            }
        }
    }

    #[test]
    fn the_tables_hold_together() {
        let mut seen = BTreeSet::new();
        for method in methods() {
            for name in [&method.name].into_iter().chain(method.aliases) {
                assert!(seen.insert(*name), "two methods are called `{name}`");
            }
            assert!(!method.doc.is_empty(), "`{}` is not explained", method.name);
            check_params(method.name, method.params);
        }
        for layer in layers() {
            assert!(seen.insert(layer.name), "two layers are called `{}`", layer.name);
            assert!(!layer.doc.is_empty(), "`{}` is not explained", layer.name);
            check_params(layer.name, layer.params);
        }
    }

    #[test]
    fn signatures_read_as_calls() {
        assert_eq!(
            method("max_pool2d").map(MethodDef::signature).as_deref(),
            Some("max_pool2d(kernel, stride = kernel, padding = 0, dilation = 1, ceil_mode = false)")
        );
        assert_eq!(method("mse_loss").map(MethodDef::signature).as_deref(), Some("mse(target, reduction = \"mean\")"));
    }
}
