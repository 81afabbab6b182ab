//! Binding: symbols become numbers.
//!
//! Before: a valid graph. After: every shape and every attribute is a number, `dim_value` nodes are constants, no axis
//! is empty, and every shape rule has been checked again with the numbers, which decides what symbols left open.

use std::fmt;

use crate::attrs::{Attr, Attrs};
use crate::dim::{Bindings, Dim, DimError, Facts};
use crate::graph::{Graph, Loc, NodeId};
use crate::op::Op;
use crate::types::{Scalar, Type};
use crate::verify::{VerifyError, verify};

/// Why a graph does not work at these sizes.
#[derive(Clone, Debug, PartialEq)]
pub enum BindError {
    /// A dimension has no value.
    Dim(DimError),
    /// A required divisibility does not hold.
    Fact {
        /// What must be divisible.
        p: Dim,
        /// Its value.
        value: i64,
        /// By what.
        q: Dim,
        /// Its value.
        by: i64,
    },
    /// An axis would be empty.
    Empty {
        /// The type, in symbols.
        declared: Type,
        /// The type at these sizes.
        ty: Type,
        /// Where it comes from.
        loc: Loc,
        /// The input that has it, if one does.
        input: Option<String>,
    },
    /// The values together need more memory than any machine has.
    TooLarge {
        /// The type of the value with which they do.
        ty: Type,
        /// Where it comes from.
        loc: Loc,
    },
    /// An op does not work at these sizes.
    Refused {
        /// Where it comes from.
        loc: Loc,
        /// Why.
        error: VerifyError,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Dim(error) => error.fmt(f),
            BindError::Fact { p, value, q, by } => {
                write!(f, "`{p}` must be divisible by `{q}`, but {p} is {value} and {q} is {by}")
            }
            BindError::Empty { declared, ty, input, .. } => {
                let what = input.as_ref().map_or("a value".to_string(), |name| format!("`{name}`"));
                write!(
                    f,
                    "{what} of type {declared} would be {ty}, which is empty: every axis needs at least one element"
                )
            }
            BindError::TooLarge { ty, .. } => {
                let sizes = ty.shape.iter().map(|d| d.as_const().unwrap_or(i64::MAX) as f64);
                let tib = sizes.product::<f64>() * ty.dtype.size() as f64 / TIB;
                let most = MOST_BYTES as f64 / TIB;
                write!(
                    f,
                    "a value of type {ty} needs {tib:.1} TiB, and all values of a program together may have {most} TiB; use smaller sizes"
                )
            }
            BindError::Refused { error: VerifyError::Op { error, .. }, .. } => error.fmt(f),
            BindError::Refused { error, .. } => error.fmt(f),
        }
    }
}

impl std::error::Error for BindError {}

impl From<DimError> for BindError {
    fn from(error: DimError) -> BindError {
        BindError::Dim(error)
    }
}

/// All values of a graph together may have so many bytes (64 TiB, more than any memory): sums of sizes and addresses
/// then never overflow.
const MOST_BYTES: u64 = 1 << 46;

const TIB: f64 = (1u64 << 40) as f64;

/// `None` if it cannot be counted.
fn byte_size(ty: &Type) -> Option<u64> {
    let sizes = ty.shape.iter().map(|d| d.as_const().and_then(|c| u64::try_from(c).ok()));
    sizes.chain([Some(ty.dtype.size() as u64)]).try_fold(1u64, |product, size| product.checked_mul(size?))
}

/// The graph with every symbol replaced by its value.
///
/// # Errors
/// If a symbol has no value, a required divisibility does not hold, an axis would be empty, the values would fit
/// into no memory, or an op does not work at these sizes.
pub fn bind(graph: &Graph, bindings: &Bindings) -> Result<Graph, BindError> {
    for (p, q) in graph.facts.divides() {
        let (value, by) = (p.eval(bindings)?, q.eval(bindings)?);
        if by == 0 || value % by != 0 {
            return Err(BindError::Fact { p: p.clone(), value, q: q.clone(), by });
        }
    }
    let mut bound = graph.clone();
    bound.facts = Facts::new();
    let mut total = 0u64;
    for (i, node) in bound.nodes.iter_mut().enumerate() {
        let ty = node.ty.bind(bindings)?;
        let declared = std::mem::replace(&mut node.ty, ty);
        if node.ty.shape.iter().any(|d| d.as_const().is_none_or(|c| c < 1)) {
            let input = graph.inputs.iter().find(|input| input.node == NodeId(i as u32)).map(|i| i.name.clone());
            return Err(BindError::Empty { declared, ty: node.ty.clone(), loc: node.loc, input });
        }
        let bytes = byte_size(&node.ty);
        total = total.saturating_add(bytes.unwrap_or(u64::MAX));
        if total > MOST_BYTES {
            return Err(BindError::TooLarge { ty: node.ty.clone(), loc: node.loc });
        }
        for (_, attr) in node.attrs.iter_mut() {
            match attr {
                Attr::Dims(dims) => {
                    dims.iter_mut().try_for_each(|d| d.eval(bindings).map(|value| *d = Dim::from(value)))?;
                }
                Attr::Graph(body) => **body = bind(body, bindings)?,
                _ => {}
            }
        }
        if node.op == Op::DimValue {
            let value = node.attrs.get_dims("dim")[0].as_const().unwrap_or(0) as f64;
            let dtype = node.ty.dtype;
            node.op = Op::Const;
            node.attrs = Attrs::new()
                .dtype("dtype", dtype)
                .dims("shape", vec![])
                .scalars("values", vec![Scalar::of(dtype, value)]);
        }
    }
    verify(&bound).map_err(|error| {
        let loc = match &error {
            VerifyError::Op { node, .. } | VerifyError::Type { node, .. } => bound[*node].loc,
            _ => Loc::NONE,
        };
        BindError::Refused { loc, error }
    })?;
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse_graph;

    fn bound(text: &str, values: &[(&str, i64)]) -> Result<String, BindError> {
        let bindings = values.iter().map(|(name, value)| (name.to_string(), *value)).collect();
        bind(&parse_graph(text).unwrap(), &bindings).map(|g| g.to_string())
    }

    const MEAN: &str = "require D % H\n%0 = input arg \"x\" f32[N, D]\n%1 = reduce_sum %0 axes=[0, 1]\n\
                        %2 = dim_value dtype=f32 dim=[D*N]\n%3 = div %1 %2\n%4 = reshape %0 shape=[N, H, floor(D / H)]\n\
                        %5 = slice %0 start=[0, 0] stop=[N, 3] step=[1, 1] @5\nresult %3\nresult %4\nresult %5";

    #[test]
    fn symbols_become_numbers() {
        assert_eq!(
            bound(MEAN, &[("N", 3), ("D", 4), ("H", 2)]).unwrap(),
            "%0 = input arg \"x\" f32[3, 4]\n%1 = reduce_sum %0 axes=[0, 1] : f32[]\n\
             %2 = const dtype=f32 shape=[] values=[12.0] : f32[]\n%3 = div %1 %2 : f32[]\n\
             %4 = reshape %0 shape=[3, 2, 2] : f32[3, 2, 2]\n\
             %5 = slice %0 start=[0, 0] stop=[3, 3] step=[1, 1] : f32[3, 3] @5\nresult %3\nresult %4\nresult %5\n"
        );
    }

    #[test]
    fn sizes_that_do_not_work_are_refused() {
        let say = |values: &[(&str, i64)]| bound(MEAN, values).unwrap_err();
        assert_eq!(say(&[("N", 3)]), BindError::Dim(DimError::Unbound("D".into())));
        assert_eq!(
            say(&[("N", 3), ("D", 5), ("H", 2)]).to_string(),
            "`D` must be divisible by `H`, but D is 5 and H is 2"
        );
        assert_eq!(
            say(&[("N", 0), ("D", 4), ("H", 2)]).to_string(),
            "`x` of type f32[N, D] would be f32[0, 4], which is empty: every axis needs at least one element"
        );
        let short = say(&[("N", 3), ("D", 2), ("H", 2)]);
        assert!(matches!(short, BindError::Refused { loc: Loc(5), .. }));
        assert_eq!(short.to_string(), "`slice`: `stop` is 3 on axis 1, which has size 2");
    }

    #[test]
    fn sizes_beyond_any_memory_are_refused() {
        let say = |values: &[(&str, i64)]| bound(MEAN, values).unwrap_err();
        let large = say(&[("N", 1 << 40), ("D", 64), ("H", 2)]);
        assert_eq!(
            large.to_string(),
            "a value of type f32[1099511627776, 64] needs 256.0 TiB, and all values of a program together may have \
             64 TiB; use smaller sizes"
        );
        let uncounted = say(&[("N", i64::MAX), ("D", 4), ("H", 2)]).to_string();
        assert!(uncounted.contains("needs 134217728.0 TiB"), "{uncounted}");
        let attribute = "%0 = dim_value dtype=f32 dim=[N*N]\nresult %0";
        assert!(bound(attribute, &[("N", i64::MAX)]).unwrap_err().to_string().contains("overflows"));
        let sum = "%0 = input arg \"x\" f32[N]\n%1 = exp %0\n%2 = exp %1\n%3 = exp %2\nresult %3";
        assert!(bound(sum, &[("N", 1 << 42)]).is_ok(), "four times 16 TiB");
        let beyond = bound(sum, &[("N", (1 << 42) + 1)]).unwrap_err();
        assert!(matches!(beyond, BindError::TooLarge { .. }), "{beyond}");
    }
}
