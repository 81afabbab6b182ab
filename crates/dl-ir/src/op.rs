//! The ops: one field-less enum, and for each op one [`OpDef`] in a file of `ops/`.

use crate::attrs::{AttrKind, Attrs};
use crate::build::Builder;
use crate::dim::{Dim, Facts};
use crate::error::OpError;
use crate::eval::{EvalError, Tensor};
use crate::graph::NodeId;
use crate::ops;
use crate::types::Type;

/// Everything there is to know of an op. Declared as a `const` with every field, so an op with a missing rule does not compile.
pub struct OpDef {
    /// The name in the text form.
    pub name: &'static str,
    /// What the op computes, in one line.
    pub doc: &'static str,
    /// How many operands it takes.
    pub arity: Arity,
    /// What kind of computation it is.
    pub class: Class,
    /// Names and kinds of its attributes, all of them required.
    pub attrs: &'static [(&'static str, AttrKind)],
    /// The result type; also what the verifier checks. Arity and the kinds of attributes have been checked before.
    pub infer: fn(&Infer<'_>) -> Result<Type, OpError>,
    /// The meaning of the op on concrete values, in the plainest code.
    pub eval: fn(&Eval<'_>) -> Result<Tensor, EvalError>,
    /// The vector-Jacobian product.
    pub vjp: Vjp,
    /// Operand types, attributes and value ranges that the tests of the op table run.
    pub samples: fn() -> Vec<Sample>,
}

/// A number of operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// So many.
    Exact(usize),
    /// So many or more.
    AtLeast(usize),
}

/// The kinds of computation that passes tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// An input of the graph.
    Input,
    /// Makes a value from attributes alone (and a key): const, iota, random.
    Source,
    /// Each result element depends on the operands' elements at the same index; all shapes are equal.
    Elementwise,
    /// Rearranges elements: reshape, transpose, broadcast, slice, pad, concat, flip.
    Movement,
    /// Folds axes.
    Reduce,
    /// Products summed over axes: dot and convolutions.
    Contract,
    /// Pooling windows and their adjoints.
    Window,
    /// Reads or writes at indices that are data.
    Index,
    /// Runs a graph of its own for each slice of its operands, or takes a result of that.
    Loop,
    /// Puts the elements of an axis in order.
    Sort,
}

/// What a shape rule sees.
pub struct Infer<'a> {
    /// The op.
    pub op: Op,
    /// Types of the operands.
    pub args: &'a [&'a Type],
    /// Attributes.
    pub attrs: &'a Attrs,
    /// What is known of the symbols.
    pub facts: &'a Facts,
}

impl Infer<'_> {
    /// Whether two dims are known to be equal.
    pub fn same(&self, a: &Dim, b: &Dim) -> bool {
        self.facts.equal(a, b)
    }
}

/// What an evaluation rule sees. The result type is concrete.
pub struct Eval<'a> {
    /// Values of the operands.
    pub args: &'a [&'a Tensor],
    /// Attributes, with every dim a number.
    pub attrs: &'a Attrs,
    /// The result type.
    pub ty: &'a Type,
}

/// The cotangent of each operand, `None` where no gradient flows.
pub type Cotangents = Result<Vec<Option<NodeId>>, OpError>;

/// How gradients pass through an op.
pub enum Vjp {
    /// For each operand its cotangent, or `None` where no gradient flows by the op's meaning (an index, a condition).
    Rule(fn(&mut Builder, &VjpArgs<'_>) -> Cotangents),
    /// Not differentiable; the reason completes "`floor` has no gradient: …". A parameter that reaches the loss
    /// only through such ops is an error.
    None(&'static str),
    /// A loop, whose gradient is a loop of its own: see [`scan`](crate::scan).
    Loop,
    /// Blocks gradients on purpose (`detach`); never an error by itself.
    Blocked,
}

/// What a vector-Jacobian rule sees: nodes of the builder's graph.
pub struct VjpArgs<'a> {
    /// The operands.
    pub args: &'a [NodeId],
    /// The attributes.
    pub attrs: &'a Attrs,
    /// The result.
    pub out: NodeId,
    /// The cotangent of the result.
    pub cotangent: NodeId,
}

/// One test input of an op: the table tests run every op on each of its samples.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Concrete operand types.
    pub args: Vec<Type>,
    /// Attributes.
    pub attrs: Attrs,
    /// The interval from which each operand's values are drawn (whole numbers for integer types).
    pub ranges: Vec<(f64, f64)>,
}

macro_rules! ops {
    ($($(#[$doc:meta])* $variant:ident => $def:path,)*) => {
        /// An operation on tensors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Op { $($(#[$doc])* $variant,)* }

        impl Op {
            /// Every op.
            pub const ALL: &'static [Op] = &[$(Op::$variant,)*];

            /// Its definition.
            pub fn def(self) -> &'static OpDef {
                match self { $(Op::$variant => &$def,)* }
            }
        }
    };
}

ops! {
    /// An input of the graph.
    Input => ops::source::INPUT,
    /// Constant elements: `dtype`, `shape` (dims, rank 0 or 1), `values`.
    Const => ops::source::CONST,
    /// The index along `axis`: `dtype`, `shape`, `axis`.
    Iota => ops::source::IOTA,
    /// A dimension as a scalar number: `dtype`, `dim` (one of dims).
    DimValue => ops::source::DIM_VALUE,
    /// Random numbers by counter from a key `i64[2]` (seed, step): `dist` (uniform | normal), `stream`, `dtype`, `shape`.
    Random => ops::source::RANDOM,
    /// -x
    Neg => ops::unary::NEG,
    /// |x|
    Abs => ops::unary::ABS,
    /// -1, 0, 1; NaN for NaN
    Sign => ops::unary::SIGN,
    /// Rounds down.
    Floor => ops::unary::FLOOR,
    /// Rounds up.
    Ceil => ops::unary::CEIL,
    /// Rounds to nearest, ties to even.
    Round => ops::unary::ROUND,
    /// Square root.
    Sqrt => ops::unary::SQRT,
    /// 1 / sqrt(x)
    Rsqrt => ops::unary::RSQRT,
    /// e^x
    Exp => ops::unary::EXP,
    /// e^x - 1
    Expm1 => ops::unary::EXPM1,
    /// Natural logarithm.
    Log => ops::unary::LOG,
    /// log(1 + x)
    Log1p => ops::unary::LOG1P,
    /// Sine of radians.
    Sin => ops::unary::SIN,
    /// Cosine of radians.
    Cos => ops::unary::COS,
    /// Hyperbolic tangent.
    Tanh => ops::unary::TANH,
    /// 1 / (1 + e^-x)
    Sigmoid => ops::unary::SIGMOID,
    /// The error function.
    Erf => ops::unary::ERF,
    /// Logical not.
    Not => ops::unary::NOT,
    /// Conversion to `dtype`: to integers truncating, saturating, NaN to 0; to bool `x != 0`.
    Cast => ops::unary::CAST,
    /// The identity, without gradient.
    Detach => ops::unary::DETACH,
    /// x + y
    Add => ops::binary::ADD,
    /// x - y
    Sub => ops::binary::SUB,
    /// x * y
    Mul => ops::binary::MUL,
    /// x / y; integers divide towards zero
    Div => ops::binary::DIV,
    /// Remainder with the divisor's sign, as in PyTorch and Python.
    Rem => ops::binary::REM,
    /// x^y
    Pow => ops::binary::POW,
    /// The larger; NaN if either is.
    Max => ops::binary::MAX,
    /// The smaller; NaN if either is.
    Min => ops::binary::MIN,
    /// Angle of the point (x, y) as in `atan2(y, x)`: operand 0 is y.
    Atan2 => ops::binary::ATAN2,
    /// x < y
    Lt => ops::binary::LT,
    /// x <= y
    Le => ops::binary::LE,
    /// x == y
    Eq => ops::binary::EQ,
    /// x != y
    Ne => ops::binary::NE,
    /// Logical and.
    And => ops::binary::AND,
    /// Logical or.
    Or => ops::binary::OR,
    /// Operand 1 where operand 0 is true, else operand 2.
    Select => ops::binary::SELECT,
    /// Same elements in row-major order, other `shape` (dims).
    Reshape => ops::movement::RESHAPE,
    /// Result axis i is operand axis `perm[i]`.
    Transpose => ops::movement::TRANSPOSE,
    /// Repeats axes of size 1 and adds leading axes, to `shape` (dims).
    Broadcast => ops::movement::BROADCAST,
    /// Per axis elements `start`, `start + step`, … below `stop` (dims; `step` ints, positive).
    Slice => ops::movement::SLICE,
    /// Per axis `lo` elements before and `hi` after (dims, >= 0), filled with operand 1 (a scalar).
    Pad => ops::movement::PAD,
    /// Joins operands along `axis`.
    Concat => ops::movement::CONCAT,
    /// Reverses `axes`.
    Flip => ops::movement::FLIP,
    /// Sum over `axes`, which disappear.
    ReduceSum => ops::reduce::SUM,
    /// Product over `axes`.
    ReduceProd => ops::reduce::PROD,
    /// Maximum over `axes`; NaN propagates.
    ReduceMax => ops::reduce::MAX,
    /// Minimum over `axes`; NaN propagates.
    ReduceMin => ops::reduce::MIN,
    /// Index (i64) of the first maximum along `axis`, which disappears; NaN counts as the maximum.
    ArgMax => ops::reduce::ARGMAX,
    /// Positions (i64) of the elements along the last axis, in `order` (ascending | descending); equal ones as they come, NaN greatest.
    ArgSort => ops::sort::ARGSORT,
    /// Sum of products: axes `batch_a`/`batch_b` go together, `sum_a`/`sum_b` are summed; result axes: batch, rest of a, rest of b.
    Dot => ops::contract::DOT,
    /// Convolution (cross-correlation) of x `[N, C, spatial…]` with w `[O, C/groups, kernel…]`:
    /// `stride`, `lo`, `hi` (padding), `dilation`, `groups`, `layout` (first | last).
    /// With layout `last`, x is `[N, spatial…, C]`, w `[kernel…, C/groups, O]` and the result `[N, spatial…, O]`.
    Conv => ops::contract::CONV,
    /// Adjoint of `conv` to x: operands dy, w; besides its attributes `size` (dims): the spatial sizes of x.
    ConvInputGrad => ops::contract::CONV_INPUT_GRAD,
    /// Adjoint of `conv` to w: operands x, dy; besides its attributes `kernel` (ints).
    ConvWeightGrad => ops::contract::CONV_WEIGHT_GRAD,
    /// Maximum over windows of the spatial axes: `kernel`, `stride`, `lo`, `hi`, `dilation`, `layout`; padding counts as -inf.
    MaxPool => ops::window::MAX_POOL,
    /// Adjoint of `max_pool`: operands x, dy; the first maximum of a window receives its cotangent.
    MaxPoolGrad => ops::window::MAX_POOL_GRAD,
    /// Sum over windows; padding counts as 0.
    SumPool => ops::window::SUM_POOL,
    /// Adjoint of `sum_pool`: operand dy; besides its attributes `size` (dims): the spatial sizes of x.
    SumPoolGrad => ops::window::SUM_POOL_GRAD,
    /// Result index (…, i, …) is operand 0 at (…, index[…, i, …], …) along `axis`; both of one rank, index sizes at most x's on the other axes.
    Gather => ops::index::GATHER,
    /// Operand 0 plus operand 2 added at operand 1's indices along `axis` (adjoint of `gather`).
    ScatterAdd => ops::index::SCATTER_ADD,
    /// Runs `body` for each slice of operands along their first axis; a token, whose results are taken by `scan_result`.
    /// Operands: `carries` initial values, `slices` tensors that are cut, and what every iteration reads.
    Scan => ops::scan::SCAN,
    /// Result `index` of a `scan`: a last carried value, or a result of all iterations joined along a new first axis.
    ScanResult => ops::scan::SCAN_RESULT,
}

impl Op {
    /// The name in the text form.
    pub fn name(self) -> &'static str {
        self.def().name
    }

    /// The op of that name.
    pub fn from_name(name: &str) -> Option<Op> {
        Op::ALL.iter().copied().find(|op| op.name() == name)
    }

    /// What kind of computation it is.
    pub fn class(self) -> Class {
        self.def().class
    }
}
