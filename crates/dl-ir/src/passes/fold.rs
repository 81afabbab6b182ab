//! Constant folding.
//!
//! Before: any valid graph. After: a node of few elements whose operands are all known is a constant; a node whose
//! elements are all equal, of whatever shape, is a scalar constant, broadcast.

use super::rewrite;
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::error::OpError;
use crate::eval::Tensor;
use crate::graph::{Graph, Node};
use crate::op::{Class, Eval, Op};
use crate::types::{Scalar, Type};

/// The most elements of a constant that is not the same everywhere.
const LIMIT: usize = 64;

/// What is known of a node's value.
#[derive(Clone)]
enum Known {
    /// Every element is this.
    Uniform(Scalar),
    /// The value, of at most `LIMIT` elements.
    Value(Tensor),
}

/// Replaces nodes whose value is known.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    let mut known: Vec<Option<Known>> = Vec::with_capacity(graph.nodes.len());
    rewrite(graph, |b, id, node| {
        let old = &graph[id];
        let args: Vec<Option<&Known>> = old.args.iter().map(|a| known[a.index()].as_ref()).collect();
        let value = learn(graph, old, &args);
        // A constant that is broadcast is the form to which everything uniform is brought.
        let is_final = node.op == Op::Const
            || (node.op == Op::Broadcast && b.graph[node.args[0]].op == Op::Const && b.rank(node.args[0]) == 0);
        let replacement = match &value {
            Some(value) if !is_final => Some(write(b, value, &node.ty)?),
            _ => None,
        };
        known.push(value);
        Ok(replacement)
    })
}

/// The value of a node, given what is known of its operands.
fn learn(graph: &Graph, node: &Node, args: &[Option<&Known>]) -> Option<Known> {
    let class = node.op.class();
    let starts =
        matches!(node.op, Op::Const) || (node.op == Op::DimValue && node.attrs.get_dims("dim")[0].as_const().is_some());
    if matches!(class, Class::Input | Class::Source) && !starts {
        return None;
    }
    let args: Vec<&Known> = args.iter().copied().collect::<Option<_>>()?;
    let uniform: Option<Vec<Scalar>> =
        args.iter().map(|a| if let Known::Uniform(s) = a { Some(*s) } else { None }).collect();
    if let Some(values) = uniform.filter(|_| !starts) {
        match class {
            Class::Elementwise => return evaluate_uniform(graph, node, &values),
            Class::Movement if values.iter().all(|v| *v == values[0]) => return Some(Known::Uniform(values[0])),
            _ if matches!(node.op, Op::ReduceMax | Op::ReduceMin) => return Some(Known::Uniform(values[0])),
            _ => {}
        }
    }
    let small = |ty: &Type| ty.sizes().filter(|s| s.iter().product::<usize>() <= LIMIT);
    small(&node.ty)?;
    let tensors = node.args.iter().zip(&args).map(|(id, known)| match known {
        Known::Uniform(value) => small(graph.ty(*id)).map(|shape| Tensor::full(graph.ty(*id).dtype, &shape, *value)),
        Known::Value(tensor) => Some(tensor.clone()),
    });
    let tensors: Vec<Tensor> = tensors.collect::<Option<_>>()?;
    let result = evaluate(node, &tensors.iter().collect::<Vec<_>>(), &node.ty)?;
    let first = result.get(0);
    Some(match (1..result.len()).all(|i| result.get(i) == first) {
        true => Known::Uniform(first),
        false => Known::Value(result),
    })
}

fn evaluate_uniform(graph: &Graph, node: &Node, values: &[Scalar]) -> Option<Known> {
    let operands = node.args.iter().zip(values);
    let tensors: Vec<Tensor> = operands.map(|(id, v)| Tensor::full(graph.ty(*id).dtype, &[], *v)).collect();
    let result = evaluate(node, &tensors.iter().collect::<Vec<_>>(), &Type::scalar(node.ty.dtype))?;
    Some(Known::Uniform(result.get(0)))
}

/// An op that fails (an index out of range) is left to fail when it is run.
fn evaluate(node: &Node, args: &[&Tensor], ty: &Type) -> Option<Tensor> {
    (node.op.def().eval)(&Eval { args, attrs: &node.attrs, ty }).ok()
}

fn write(b: &mut Builder, value: &Known, ty: &Type) -> Built {
    match value {
        Known::Uniform(value) => {
            let scalar = b.constants(ty.dtype, &[], vec![*value]);
            b.broadcast(scalar, &ty.shape)
        }
        Known::Value(tensor) => {
            let values = (0..tensor.len()).map(|i| tensor.get(i)).collect();
            let list = b.constants(ty.dtype, &[Dim::from(tensor.len())], values);
            match ty.rank() {
                1 => Ok(list),
                _ => b.push(Op::Reshape, &[list], Attrs::new().dims("shape", ty.shape.clone())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{after, dce};

    fn folded(text: &str) -> String {
        after(|g| dce::run(&super::run(g)?), text)
    }

    #[test]
    fn scalars_fold() {
        let text = "%0 = const dtype=f32 shape=[] values=[3.0]\n%1 = dim_value dtype=f32 dim=[4]\n%2 = mul %0 %1\n\
                    %3 = sqrt %2\n%4 = cast %3 dtype=i64\nresult %4";
        assert_eq!(folded(text), "%0 = const dtype=i64 shape=[] values=[3] : i64[]\nresult %0\n");
    }

    #[test]
    fn what_is_uniform_folds_in_any_shape() {
        let text = "%0 = const dtype=f32 shape=[] values=[3.0]\n%1 = broadcast %0 shape=[N, 9]\n%2 = neg %1\n\
                    %3 = transpose %2 perm=[1, 0]\n%4 = add %3 %3\n%5 = reduce_max %4 axes=[0]\nresult %4\nresult %5";
        assert_eq!(
            folded(text),
            "%0 = const dtype=f32 shape=[] values=[-6.0] : f32[]\n%1 = broadcast %0 shape=[9, N] : f32[9, N]\n\
             %2 = const dtype=f32 shape=[] values=[-6.0] : f32[]\n%3 = broadcast %2 shape=[N] : f32[N]\n\
             result %1\nresult %3\n"
        );
    }

    #[test]
    fn small_lists_fold_into_lists() {
        let text = "%0 = const dtype=i64 shape=[4] values=[1, 2, 3, 4]\n%1 = reshape %0 shape=[2, 2]\n\
                    %2 = transpose %1 perm=[1, 0]\n%3 = reduce_sum %2 axes=[0, 1]\nresult %2\nresult %3";
        assert_eq!(
            folded(text),
            "%0 = const dtype=i64 shape=[4] values=[1, 3, 2, 4] : i64[4]\n%1 = reshape %0 shape=[2, 2] : i64[2, 2]\n\
             %2 = const dtype=i64 shape=[] values=[10] : i64[]\nresult %1\nresult %2\n"
        );
    }

    #[test]
    fn what_is_large_or_unknown_stays() {
        let text = "%0 = iota dtype=i64 shape=[100] axis=0 : i64[100]\n%1 = neg %0 : i64[100]\n\
                    %2 = dim_value dtype=i64 dim=[N] : i64[]\n%3 = neg %2 : i64[]\nresult %1\nresult %3\n";
        assert_eq!(folded(text), text);
        // An index out of range fails when it is run, not here.
        let text =
            "%0 = const dtype=i64 shape=[2] values=[1, 9] : i64[2]\n%1 = gather %0 %0 axis=0 : i64[2]\nresult %1\n";
        assert_eq!(folded(text), text);
    }
}
