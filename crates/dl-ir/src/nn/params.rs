//! What the arguments of layers and methods accept, as data.

use super::value::Value;
use crate::types::DType;

/// One argument of a layer or method.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it accepts.
    pub kind: Kind,
    /// Its value when it is left out.
    pub default: Default,
    /// Whether it takes all positional arguments that remain: `permute(0, 2, 1)`.
    pub rest: bool,
    /// What it means.
    pub doc: &'static str,
}

impl Param {
    /// An argument that must be given.
    pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Param {
        Param { name, kind, default: Default::Required, rest: false, doc }
    }

    /// An argument that may be left out.
    pub const fn optional(name: &'static str, kind: Kind, default: Default, doc: &'static str) -> Param {
        Param { name, kind, default, rest: false, doc }
    }

    /// The argument, taking all positional values that remain.
    pub const fn rest(self) -> Param {
        Param { rest: true, ..self }
    }
}

/// What an argument accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tensor.
    Tensor,
    /// A tensor or a number.
    Operand,
    /// A list of tensors.
    Tensors,
    /// A list of tensors; in a model, layers stand for their parameters.
    Parameters,
    /// A whole number known at compile time.
    Int,
    /// A whole number, possibly symbolic.
    Dim,
    /// A real number known at compile time.
    Float,
    /// A real number, or one of these words, as a string.
    FloatOr(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// One of these words, as a string.
    Word(&'static [&'static str]),
    /// A string with a grammar of its own.
    Pattern,
    /// An element type.
    DType,
    /// An axis; negative ones count from the end.
    Axis,
    /// An axis or a list of them.
    Axes,
    /// A whole number known at compile time, or one for each spatial axis.
    Sizes,
    /// As [`Kind::Sizes`], or `"same"` or `"valid"`.
    Padding,
    /// A tensor of whole numbers, or a list of them known at compile time.
    Counts,
    /// A list of dimensions.
    Shape,
    /// A list of dimensions of which one may be `_` or `-1`: whatever is left.
    ShapeInfer,
    /// A range or index for each axis.
    Ranges,
    /// Elements `(before, after)` for each of the last axes.
    Pads,
    /// `features_in => features_out`; with `pair`, also two numbers.
    Map {
        /// Whether two numbers in a row will do.
        pair: bool,
    },
    /// Any arguments by name, each a dimension.
    Names,
}

/// The value of an argument that is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// None: the argument must be given.
    Required,
    /// The layer or method decides; its documentation says how.
    Absent,
    /// A whole number.
    Int(i64),
    /// A real number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A word.
    Word(&'static str),
    /// An element type.
    DType(DType),
    /// The value of another argument.
    Same(&'static str),
}

impl Default {
    pub(super) fn value(self) -> Option<Value> {
        match self {
            Default::Required | Default::Absent | Default::Same(_) => None,
            Default::Int(c) => Some(c.into()),
            Default::Float(c) => Some(c.into()),
            Default::Bool(c) => Some(c.into()),
            Default::Word(c) => Some(c.into()),
            Default::DType(c) => Some(c.into()),
        }
    }
}

impl Kind {
    /// What it accepts, in words.
    pub fn expects(self) -> String {
        match self {
            Kind::Tensor => "a tensor".into(),
            Kind::Operand => "a tensor or a number".into(),
            Kind::Tensors => "a list of tensors".into(),
            Kind::Parameters => "layers or tensors".into(),
            Kind::Int => "a whole number known at compile time".into(),
            Kind::Dim => "a whole number".into(),
            Kind::Float => "a real number known at compile time".into(),
            Kind::FloatOr(words) => {
                format!("a number, or one of {}", words.iter().map(|w| format!("{w:?}")).collect::<Vec<_>>().join(", "))
            }
            Kind::Bool => "`true` or `false`".into(),
            Kind::Word(words) => {
                format!("one of {}", words.iter().map(|w| format!("{w:?}")).collect::<Vec<_>>().join(", "))
            }
            Kind::Pattern => "a string".into(),
            Kind::DType => format!("an element type ({})", DType::ALL.map(DType::name).join(", ")),
            Kind::Axis => "an axis, such as `1` or `-1`".into(),
            Kind::Axes => "an axis or a list of axes, such as `1` or `(0, 2)`".into(),
            Kind::Sizes => "a whole number, or one for each spatial axis, such as `3` or `(5, 3)`".into(),
            Kind::Padding => "a whole number, one for each spatial axis, \"same\" or \"valid\"".into(),
            Kind::Counts => "a tensor of whole numbers, or a list such as `[9, 7]`".into(),
            Kind::Shape => "a shape, such as `[N, 20]`".into(),
            Kind::ShapeInfer => "a shape, such as `[N, 20]` or `[N, _]`".into(),
            Kind::Ranges => "a range or an index for each axis, such as `.., 0..3`".into(),
            Kind::Pads => "a pair `(before, after)` for each of the last axes".into(),
            Kind::Map { pair: false } => "`features_in => features_out`".into(),
            Kind::Map { pair: true } => "`a => b`".into(),
            Kind::Names => "dimensions by name".into(),
        }
    }

    /// The value in the form in which [`Args`] keeps it, if it is of this kind.
    pub(super) fn accept(self, value: &Value) -> Option<Value> {
        let constant = |v: &Value| matches!(v, Value::Int(d) if d.as_const().is_some());
        let list = |items: &[Value], fits: &dyn Fn(&Value) -> bool| {
            items.iter().all(fits).then(|| Value::List(items.to_vec()))
        };
        match (self, value) {
            (Kind::Tensor | Kind::Counts, Value::Tensor(_))
            | (Kind::Operand, Value::Tensor(_) | Value::Int(_) | Value::Float(_))
            | (Kind::Dim, Value::Int(_))
            | (Kind::Float | Kind::FloatOr(_), Value::Float(_))
            | (Kind::Bool, Value::Bool(_))
            | (Kind::Pattern, Value::Str(_))
            | (Kind::DType, Value::DType(_))
            | (Kind::Map { .. }, Value::Map(..)) => Some(value.clone()),
            (Kind::Float | Kind::FloatOr(_), Value::Int(d)) => d.as_const().map(|c| Value::Float(c as f64)),
            (Kind::Int | Kind::Axis, Value::Int(_)) => constant(value).then(|| value.clone()),
            (Kind::Word(words) | Kind::FloatOr(words), Value::Str(s)) => {
                words.contains(&s.as_str()).then(|| value.clone())
            }
            (Kind::Padding, Value::Str(s)) => matches!(s.as_str(), "same" | "valid").then(|| value.clone()),
            (Kind::Tensors | Kind::Parameters, Value::List(items)) => list(items, &|v| matches!(v, Value::Tensor(_))),
            (Kind::Axes, Value::Int(_)) => constant(value).then(|| Value::List(vec![value.clone()])),
            (Kind::Sizes | Kind::Padding, Value::Int(_)) => constant(value).then(|| value.clone()),
            (Kind::Axes | Kind::Sizes | Kind::Padding | Kind::Counts, Value::List(items)) => list(items, &constant),
            (Kind::Shape | Kind::ShapeInfer, Value::Int(_)) => Some(Value::List(vec![value.clone()])),
            (Kind::Shape, Value::List(items)) => list(items, &|v| matches!(v, Value::Int(_))),
            (Kind::ShapeInfer, Value::Infer) => Some(Value::List(vec![Value::Infer])),
            (Kind::ShapeInfer, Value::List(items)) => list(items, &|v| matches!(v, Value::Int(_) | Value::Infer)),
            (Kind::Pads, Value::List(items)) => {
                let pair = |v: &Value| matches!(v, Value::List(p) if matches!(p[..], [Value::Int(_), Value::Int(_)]));
                match &items[..] {
                    [Value::Int(_), Value::Int(_)] => Some(Value::List(vec![value.clone()])),
                    _ => list(items, &pair),
                }
            }
            (Kind::Ranges, Value::Range(..) | Value::Int(_)) => Some(Value::List(vec![value.clone()])),
            (Kind::Ranges, Value::List(items)) => list(items, &|v| matches!(v, Value::Range(..) | Value::Int(_))),
            _ => None,
        }
    }
}

/// The call as documentation shows it: `max_pool2d(kernel, stride = kernel, padding = 0)`.
pub fn signature(callee: &str, params: &[Param]) -> String {
    let shown = params.iter().map(|p| match (p.kind, p.default) {
        (Kind::Map { .. }, _) => format!("{} => out", p.name),
        (Kind::Names, _) => "name = size, ..".to_string(),
        (_, Default::Required) if p.rest => format!("{}..", p.name),
        (_, Default::Required) => p.name.to_string(),
        (_, Default::Absent) => format!("{} = ..", p.name),
        (_, Default::Same(other)) => format!("{} = {other}", p.name),
        (_, default) => format!("{} = {}", p.name, default.value().map(|v| v.to_string()).unwrap_or_default()),
    });
    format!("{callee}({})", shown.collect::<Vec<_>>().join(", "))
}
