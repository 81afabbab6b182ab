//! Building graphs: every node that enters has been checked by its op's shape rule.

use crate::attrs::{Attr, Attrs};
use crate::dim::Dim;
use crate::error::{OpError, Problem};
use crate::graph::{Graph, Input, InputKind, Loc, Node, NodeId, Output, Role};
use crate::op::{Arity, Class, Infer, Op};
use crate::types::{DType, Scalar, Type};

/// The result of appending a node.
pub type Built = Result<NodeId, OpError>;

/// Appends nodes to a graph. New nodes carry the current [`loc`](Builder::loc).
///
/// ```
/// use dl_ir::{Builder, DType, InputKind, Type};
/// let mut b = Builder::new();
/// let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, ["N".into(), dl_ir::Dim::from(10i64)]));
/// let bias = b.input(InputKind::Param, "bias", Type::new(DType::F32, [10i64]));
/// let y = b.add(x, bias)?; // broadcasts
/// assert_eq!(b.ty(y).to_string(), "f32[N, 10]");
/// # Ok::<(), dl_ir::OpError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    /// The graph so far.
    pub graph: Graph,
    /// The place in the source that new nodes carry.
    pub loc: Loc,
    /// Whether layers are built in training mode (dropout active, batch statistics).
    pub training: bool,
    streams: i64,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// An empty graph, in evaluation mode.
    pub fn new() -> Builder {
        Builder::on(Graph::default())
    }

    /// Goes on building `graph`.
    pub fn on(graph: Graph) -> Builder {
        let streams = graph.nodes.iter().filter(|n| n.op == Op::Random).map(|n| n.attrs.get_int("stream") + 1).max();
        Builder { graph, loc: Loc::NONE, training: false, streams: streams.unwrap_or(0) }
    }

    /// The finished graph.
    pub fn finish(self) -> Graph {
        self.graph
    }

    /// The type of a node's result.
    pub fn ty(&self, id: NodeId) -> &Type {
        self.graph.ty(id)
    }

    /// The shape of a node's result.
    pub fn shape(&self, id: NodeId) -> &[Dim] {
        &self.graph.ty(id).shape
    }

    /// The rank of a node's result.
    pub fn rank(&self, id: NodeId) -> usize {
        self.graph.ty(id).rank()
    }

    /// The element type of a node's result.
    pub fn dtype(&self, id: NodeId) -> DType {
        self.graph.ty(id).dtype
    }

    /// Declares an input; if there is one of that name, kind and type already, returns its node. One of the same name
    /// and another kind or type is declared as a second one, which [`verify`](crate::verify::verify) refuses.
    pub fn input(&mut self, kind: InputKind, name: &str, ty: Type) -> NodeId {
        if let Some(input) = self.graph.input(name)
            && input.kind == kind
            && *self.graph.ty(input.node) == ty
        {
            return input.node;
        }
        let node = self.raw(Node { op: Op::Input, args: vec![], attrs: Attrs::new(), ty, loc: self.loc });
        self.graph.inputs.push(Input { name: name.to_string(), kind, node });
        node
    }

    /// Declares an output.
    pub fn output(&mut self, role: Role, node: NodeId) {
        self.graph.outputs.push(Output { role, node });
    }

    /// Appends a node, after the checks of arity, attributes and shapes.
    ///
    /// # Errors
    /// What the op's shape rule refuses.
    pub fn push(&mut self, op: Op, args: &[NodeId], attrs: Attrs) -> Built {
        let types: Vec<&Type> = args.iter().map(|&a| self.graph.ty(a)).collect();
        let ty = infer(op, &types, &attrs, &self.graph.facts)?;
        Ok(self.raw(Node { op, args: args.to_vec(), attrs, ty, loc: self.loc }))
    }

    fn raw(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.graph.nodes.len() as u32);
        self.graph.nodes.push(node);
        id
    }

    /// A scalar constant.
    pub fn constant(&mut self, dtype: DType, value: f64) -> NodeId {
        self.constants(dtype, &[], vec![Scalar::of(dtype, value)])
    }

    /// A constant of rank 0 or 1.
    pub fn constants(&mut self, dtype: DType, shape: &[Dim], values: Vec<Scalar>) -> NodeId {
        let attrs = Attrs::new().dtype("dtype", dtype).dims("shape", shape).scalars("values", values);
        self.raw(Node { op: Op::Const, args: vec![], attrs, ty: Type { dtype, shape: shape.to_vec() }, loc: self.loc })
    }

    /// `value` in the shape and element type of `like`.
    pub fn full_like(&mut self, like: NodeId, value: f64) -> Built {
        let (dtype, shape) = (self.dtype(like), self.shape(like).to_vec());
        let c = self.constant(dtype, value);
        self.broadcast(c, &shape)
    }

    /// An elementwise op without attributes; the operands are broadcast together first.
    ///
    /// # Errors
    /// If the operands do not broadcast or their element types do not fit.
    pub fn elementwise(&mut self, op: Op, args: &[NodeId]) -> Built {
        let shape = self.broadcast_shape(op, args)?;
        let args = args.iter().map(|&a| self.broadcast(a, &shape)).collect::<Result<Vec<_>, _>>()?;
        self.push(op, &args, Attrs::new())
    }

    /// The shape to which all of `args` broadcast, by numpy's rule.
    ///
    /// # Errors
    /// If there is none.
    pub fn broadcast_shape(&self, op: Op, args: &[NodeId]) -> Result<Vec<Dim>, OpError> {
        let mut shape: Vec<Dim> = self.shape(args[0]).to_vec();
        for (i, &arg) in args.iter().enumerate().skip(1) {
            let other = self.shape(arg);
            while shape.len() < other.len() {
                shape.insert(0, Dim::ONE);
            }
            let skip = shape.len() - other.len();
            for (a, b) in shape[skip..].iter_mut().zip(other) {
                if a.is(1) {
                    *a = b.clone();
                } else if !b.is(1) && !self.graph.facts.equal(a, b) {
                    let (left, right) = (self.ty(args[i - 1]).clone(), self.ty(arg).clone());
                    return Err(OpError::new(op, Problem::Broadcast { left, right }));
                }
            }
        }
        Ok(shape)
    }

    /// Repeats `x` to `shape`; the node itself if it has that shape.
    pub fn broadcast(&mut self, x: NodeId, shape: &[Dim]) -> Built {
        if self.shape(x) == shape {
            return Ok(x);
        }
        self.push(Op::Broadcast, &[x], Attrs::new().dims("shape", shape))
    }

    /// The same elements in another shape.
    pub fn reshape(&mut self, x: NodeId, shape: &[Dim]) -> Built {
        if self.shape(x) == shape {
            return Ok(x);
        }
        self.push(Op::Reshape, &[x], Attrs::new().dims("shape", shape))
    }

    /// Result axis i is axis `perm[i]` of `x`.
    pub fn transpose(&mut self, x: NodeId, perm: &[usize]) -> Built {
        if perm.iter().enumerate().all(|(i, &p)| i == p) && perm.len() == self.rank(x) {
            return Ok(x);
        }
        self.push(Op::Transpose, &[x], Attrs::new().ints("perm", axes(perm)))
    }

    /// Converts the element type.
    pub fn cast(&mut self, x: NodeId, dtype: DType) -> Built {
        if self.dtype(x) == dtype {
            return Ok(x);
        }
        self.push(Op::Cast, &[x], Attrs::new().dtype("dtype", dtype))
    }

    /// Folds `dims` with a reduction op; with `keep`, the axes stay with size 1.
    pub fn reduce(&mut self, op: Op, x: NodeId, over: &[usize], keep: bool) -> Built {
        debug_assert!(op.class() == Class::Reduce && op != Op::ArgMax);
        if over.is_empty() {
            return Ok(x);
        }
        let mut shape = self.shape(x).to_vec();
        let mut sorted = over.to_vec();
        sorted.sort_unstable();
        let y = self.push(op, &[x], Attrs::new().ints("axes", axes(&sorted)))?;
        if !keep {
            return Ok(y);
        }
        for &axis in over {
            shape[axis] = Dim::ONE;
        }
        self.reshape(y, &shape)
    }

    /// Sum over axes.
    pub fn sum(&mut self, x: NodeId, over: &[usize], keep: bool) -> Built {
        self.reduce(Op::ReduceSum, x, over, keep)
    }

    /// Mean over axes. The divisor is a constant once the dims are bound.
    pub fn mean(&mut self, x: NodeId, over: &[usize], keep: bool) -> Built {
        let count = over.iter().fold(Dim::ONE, |n, &a| n * self.shape(x)[a].clone());
        let sum = self.sum(x, over, keep)?;
        let count = self.dim_value(&count, self.dtype(x))?;
        self.elementwise(Op::Div, &[sum, count])
    }

    /// A dimension as a scalar: a constant, or `dim_value`, which becomes one when the symbols are bound.
    pub fn dim_value(&mut self, dim: &Dim, dtype: DType) -> Built {
        if let Some(c) = dim.as_const() {
            return Ok(self.constant(dtype, c as f64));
        }
        let attrs = Attrs::new().dtype("dtype", dtype).dims("dim", vec![dim.clone()]);
        self.push(Op::DimValue, &[], attrs)
    }

    /// Slices every axis from `start` to `stop` (exclusive) in steps.
    pub fn slice(&mut self, x: NodeId, start: &[Dim], stop: &[Dim], step: &[i64]) -> Built {
        self.push(Op::Slice, &[x], Attrs::new().dims("start", start).dims("stop", stop).ints("step", step))
    }

    /// Pads every axis with `value` (a scalar node).
    pub fn pad(&mut self, x: NodeId, value: NodeId, lo: &[Dim], hi: &[Dim]) -> Built {
        self.push(Op::Pad, &[x, value], Attrs::new().dims("lo", lo).dims("hi", hi))
    }

    /// Joins along `axis`.
    pub fn concat(&mut self, parts: &[NodeId], axis: usize) -> Built {
        self.push(Op::Concat, parts, Attrs::new().int("axis", axis as i64))
    }

    /// Sum of products over `sum` axes, batched over `batch` axes, each a pair (axis of a, axis of b).
    pub fn dot(&mut self, a: NodeId, b: NodeId, batch: &[(usize, usize)], sum: &[(usize, usize)]) -> Built {
        let side = |pairs: &[(usize, usize)], right: bool| -> Vec<i64> {
            pairs.iter().map(|p| if right { p.1 as i64 } else { p.0 as i64 }).collect()
        };
        let attrs = Attrs::new()
            .ints("batch_a", side(batch, false))
            .ints("batch_b", side(batch, true))
            .ints("sum_a", side(sum, false))
            .ints("sum_b", side(sum, true));
        self.push(Op::Dot, &[a, b], attrs)
    }

    /// Random numbers of their own stream; declares the key input on first use. `dist` is `uniform` or `normal`.
    pub fn random(&mut self, dist: &str, dtype: DType, shape: &[Dim]) -> Built {
        let key = self.input(InputKind::Key, "random.key", Type::new(DType::I64, [2i64]));
        let stream = self.streams;
        self.streams += 1;
        let attrs = Attrs::new().word("dist", dist).int("stream", stream).dtype("dtype", dtype).dims("shape", shape);
        self.push(Op::Random, &[key], attrs)
    }
}

macro_rules! elementwise_methods {
    ($($name:ident($($arg:ident),+) => $op:ident),* $(,)?) => {
        /// Elementwise ops with broadcasting; each is documented at its [`Op`].
        #[allow(missing_docs)]
        impl Builder {
            $(pub fn $name(&mut self, $($arg: NodeId),+) -> Built { self.elementwise(Op::$op, &[$($arg),+]) })*
        }
    };
}

elementwise_methods! {
    neg(x) => Neg, abs(x) => Abs, sign(x) => Sign, floor(x) => Floor, ceil(x) => Ceil, round(x) => Round,
    sqrt(x) => Sqrt, rsqrt(x) => Rsqrt, exp(x) => Exp, expm1(x) => Expm1, log(x) => Log, log1p(x) => Log1p,
    sin(x) => Sin, cos(x) => Cos, tanh(x) => Tanh, sigmoid(x) => Sigmoid, erf(x) => Erf, not(x) => Not, detach(x) => Detach,
    add(x, y) => Add, sub(x, y) => Sub, mul(x, y) => Mul, div(x, y) => Div, rem(x, y) => Rem, pow(x, y) => Pow,
    max(x, y) => Max, min(x, y) => Min, atan2(y, x) => Atan2, lt(x, y) => Lt, le(x, y) => Le, eq(x, y) => Eq, ne(x, y) => Ne,
    and(x, y) => And, or(x, y) => Or, select(condition, x, y) => Select,
}

/// The result type of an op on operands of these types, after checking arity and attributes.
///
/// # Errors
/// What the op's shape rule refuses.
pub fn infer(op: Op, args: &[&Type], attrs: &Attrs, facts: &crate::dim::Facts) -> Result<Type, OpError> {
    let def = op.def();
    let (fits, expected) = match def.arity {
        Arity::Exact(n) => (args.len() == n, n.to_string()),
        Arity::AtLeast(n) => (args.len() >= n, format!("at least {n}")),
    };
    if !fits {
        return Err(OpError::new(op, Problem::Arity { expected, found: args.len() }));
    }
    let known = attrs.iter().map(|(name, value): &(&str, Attr)| (*name, value.kind()));
    if !known.eq(def.attrs.iter().copied()) {
        let name = def.attrs.first().map_or("attributes", |a| a.0);
        let why = format!("and all attributes must be given in the order of the schema: {:?}", def.attrs);
        return Err(OpError::new(op, Problem::Attr { name, why }));
    }
    (def.infer)(&Infer { op, args, attrs, facts })
}

fn axes(axes: &[usize]) -> Vec<i64> {
    axes.iter().map(|&a| a as i64).collect()
}
