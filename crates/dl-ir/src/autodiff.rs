//! Reverse-mode differentiation as a graph-to-graph transform over the ops' vector-Jacobian rules.

use std::collections::HashMap;
use std::fmt;

use crate::build::Builder;
use crate::error::OpError;
use crate::graph::{Graph, Loc, NodeId};
use crate::op::{Op, Vjp, VjpArgs};
use crate::scan;
use crate::types::Type;

/// Why there is no gradient.
#[derive(Clone, Debug, PartialEq)]
pub enum GradError {
    /// The loss is not a scalar of a float type.
    Loss {
        /// Its type.
        ty: Type,
        /// Its place.
        loc: Loc,
    },
    /// The parameter is not of a float type.
    NotFloat {
        /// Its name.
        param: String,
        /// Its type.
        ty: Type,
    },
    /// The parameter reaches the loss only through ops that have no gradient.
    Cut {
        /// Its name.
        param: String,
        /// The first such op.
        op: Op,
        /// Why the op has no gradient.
        reason: &'static str,
        /// Where the op comes from.
        loc: Loc,
    },
    /// The loss does not depend on the parameter.
    Unused {
        /// Its name.
        param: String,
    },
    /// An op's rule made nodes that do not fit: a defect of the rule.
    Rule {
        /// The op whose gradient was asked for.
        op: Op,
        /// Where it comes from.
        loc: Loc,
        /// What was refused.
        error: OpError,
    },
}

impl fmt::Display for GradError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GradError::Loss { ty, .. } => {
                write!(f, "a loss must be a scalar float, but it is {ty}; reduce it, e.g. by `.mean()`")
            }
            GradError::NotFloat { param, ty } => {
                write!(f, "parameter `{param}` is {ty}, and only floats have gradients")
            }
            GradError::Cut { param, op, reason, .. } => write!(
                f,
                "parameter `{param}` reaches the loss only through `{}`, which has no gradient: {reason}",
                op.name()
            ),
            GradError::Unused { param } => write!(f, "the loss does not depend on parameter `{param}`"),
            GradError::Rule { op, error, .. } => write!(f, "the gradient of `{}` is at fault: {error}", op.name()),
        }
    }
}

impl std::error::Error for GradError {}

/// Appends the gradient of `loss` with respect to each of `wrt` and returns its node; `None` for one that reaches the
/// loss only through `detach`, which keeps it as it is on purpose. Contributions are added in the reverse order of
/// the nodes that make them, so the result does not depend on anything but the graph.
///
/// Gradients are of the first order: layers detach what adds nothing to these, so that gradients of gradients would not
/// be right.
///
/// # Errors
/// If the loss is not a scalar float; and for each of `wrt` that has no gradient, why.
pub fn gradient(b: &mut Builder, loss: NodeId, wrt: &[NodeId]) -> Result<Vec<Option<NodeId>>, Vec<GradError>> {
    let ty = b.ty(loss);
    if ty.rank() != 0 || !ty.dtype.is_float() {
        return Err(vec![GradError::Loss { ty: ty.clone(), loc: b.graph[loss].loc }]);
    }
    let loc = std::mem::replace(&mut b.loc, b.graph[loss].loc);
    let one = b.constant(b.dtype(loss), 1.0);
    let gradients = pullback(b, &[(loss, one)], wrt).map_err(|error| vec![error])?;
    b.loc = loc;
    let without = wrt.iter().zip(&gradients).filter(|(_, gradient)| gradient.is_none());
    let errors: Vec<GradError> = without.filter_map(|(&param, _)| explain(&b.graph, param, loss)).collect();
    if errors.is_empty() { Ok(gradients) } else { Err(errors) }
}

/// Appends what flows back to each of `wrt` from nodes with these cotangents, each `(node, cotangent)`; `None` where
/// nothing does.
///
/// # Errors
/// If an op's rule is at fault.
pub(crate) fn pullback(
    b: &mut Builder,
    seeds: &[(NodeId, NodeId)],
    wrt: &[NodeId],
) -> Result<Vec<Option<NodeId>>, GradError> {
    let carries = carriers(&b.graph, wrt);
    let mut cotangents: Vec<Option<NodeId>> = vec![None; b.graph.nodes.len()];
    for &(node, cotangent) in seeds {
        let fault = fault(&b.graph, node);
        add(b, &mut cotangents[node.index()], cotangent).map_err(fault)?;
    }
    let Some(last) = seeds.iter().map(|(node, _)| node.0).max() else { return Ok(vec![None; wrt.len()]) };
    // Of each loop the cotangents of its results, which come before those of the loop itself.
    let mut loops: HashMap<NodeId, Vec<Option<NodeId>>> = HashMap::new();
    for id in (0..=last).rev().map(NodeId).filter(|id| carries[id.index()]) {
        let fault = fault(&b.graph, id);
        let node = b.graph[id].clone();
        let given = cotangents[id.index()];
        b.loc = node.loc;
        let parts = match node.op.def().vjp {
            Vjp::Rule(rule) => {
                let Some(cotangent) = given else { continue };
                rule(b, &VjpArgs { args: &node.args, attrs: &node.attrs, out: id, cotangent }).map_err(fault)?
            }
            Vjp::Loop => match (scan::as_result(&b.graph, id), loops.remove(&id)) {
                (Some((of, index)), _) => {
                    let results = loops.entry(of).or_default();
                    results.resize(results.len().max(index + 1), None);
                    results[index] = given;
                    continue;
                }
                (None, Some(results)) => {
                    let wanted: Vec<bool> = node.args.iter().map(|arg| carries[arg.index()]).collect();
                    scan::gradient(b, id, &results, &wanted)?
                }
                (None, None) => continue,
            },
            Vjp::None(_) | Vjp::Blocked => continue,
        };
        for (arg, part) in node.args.iter().zip(parts) {
            let Some(part) = part.filter(|_| carries[arg.index()]) else { continue };
            add(b, &mut cotangents[arg.index()], part).map_err(fault)?;
        }
    }
    Ok(wrt.iter().map(|p| cotangents.get(p.index()).copied().flatten()).collect())
}

fn add(b: &mut Builder, sum: &mut Option<NodeId>, part: NodeId) -> Result<(), OpError> {
    *sum = Some(match *sum {
        Some(before) => b.add(before, part)?,
        None => part,
    });
    Ok(())
}

fn fault(graph: &Graph, id: NodeId) -> impl Fn(OpError) -> GradError + Copy + use<> {
    let (op, loc) = (graph[id].op, graph[id].loc);
    move |error| GradError::Rule { op, loc, error }
}

/// Which nodes gradients pass on their way to one of `wrt`.
pub(crate) fn carriers(graph: &Graph, wrt: &[NodeId]) -> Vec<bool> {
    let mut carries = vec![false; graph.nodes.len()];
    wrt.iter().for_each(|p| carries[p.index()] = true);
    let mut results: HashMap<NodeId, Vec<bool>> = HashMap::new();
    for id in graph.ids() {
        let node = &graph[id];
        carries[id.index()] |= match (&node.op.def().vjp, scan::as_result(graph, id)) {
            (Vjp::Rule(_), _) => node.ty.dtype.is_float() && node.args.iter().any(|a| carries[a.index()]),
            (Vjp::Loop, Some((of, index))) => results.get(&of).is_some_and(|of| of.get(index) == Some(&true)),
            (Vjp::Loop, None) => {
                let args: Vec<bool> = node.args.iter().map(|a| carries[a.index()]).collect();
                let flows = node.attrs.get_graph("body").map(|body| scan::flows(body, &args)).unwrap_or_default();
                let any = flows.contains(&true);
                results.insert(id, flows);
                any
            }
            (Vjp::None(_) | Vjp::Blocked, _) => false,
        };
    }
    carries
}

/// Why `param` has no gradient, unless `detach` keeps it from having one.
fn explain(graph: &Graph, param: NodeId, loss: NodeId) -> Option<GradError> {
    let input = graph.inputs.iter().find(|i| i.node == param);
    let name = input.map_or_else(|| format!("node {}", param.0), |i| i.name.clone());
    if !graph.ty(param).dtype.is_float() {
        return Some(GradError::NotFloat { param: name, ty: graph.ty(param).clone() });
    }
    if !leads_to(graph, loss, |_| false)[param.index()] {
        return Some(GradError::Unused { param: name });
    }
    let blocks = |op: Op| matches!(op.def().vjp, Vjp::Blocked);
    let (leads, carries) = (leads_to(graph, loss, blocks), carriers(graph, &[param]));
    let cuts = |id: &NodeId| {
        let node = &graph[*id];
        let reached = node.args.iter().any(|a| carries[a.index()]);
        leads[id.index()] && !carries[id.index()] && reached && !blocks(node.op)
    };
    graph.ids().find(cuts).map(|id| {
        let (op, loc) = (graph[id].op, graph[id].loc);
        let reason = match op.def().vjp {
            Vjp::None(reason) => reason,
            Vjp::Loop => "what it is made from in the loop has none",
            _ => "its result is not a float",
        };
        GradError::Cut { param: name, op, reason, loc }
    })
}

/// Which nodes the loss depends on along paths without ops that `stop`.
fn leads_to(graph: &Graph, loss: NodeId, stop: impl Fn(Op) -> bool) -> Vec<bool> {
    let mut leads = vec![false; graph.nodes.len()];
    leads[loss.index()] = true;
    for id in graph.ids().rev().filter(|id| id.0 <= loss.0) {
        if leads[id.index()] && !stop(graph[id].op) {
            graph[id].args.iter().for_each(|a| leads[a.index()] = true);
        }
    }
    leads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::InputKind;
    use crate::types::DType;

    fn param(b: &mut Builder, name: &str) -> NodeId {
        b.input(InputKind::Param, name, Type::new(DType::F32, [3i64]))
    }

    fn total(b: &mut Builder, x: NodeId) -> NodeId {
        b.sum(x, &[0], false).unwrap()
    }

    #[test]
    fn a_parameter_that_is_cut_off_is_an_error_that_names_the_op() {
        let mut b = Builder::new();
        let (p, q, r) = (param(&mut b, "p"), param(&mut b, "q"), param(&mut b, "r"));
        b.loc = Loc(7);
        let steps = b.floor(p).unwrap();
        b.loc = Loc(8);
        let ok = b.mul(steps, q).unwrap();
        let loss = total(&mut b, ok);
        let errors = gradient(&mut b, loss, &[p, q, r]).unwrap_err();
        assert!(matches!(&errors[0], GradError::Cut { op: Op::Floor, loc: Loc(7), param, .. } if param == "p"));
        assert_eq!(errors[1], GradError::Unused { param: "r".into() });
        assert_eq!(errors.len(), 2);
        assert!(errors[0].to_string().contains("only through `floor`, which has no gradient"));
    }

    #[test]
    fn a_cast_to_integers_cuts_too() {
        let mut b = Builder::new();
        let p = param(&mut b, "p");
        let ints = b.cast(p, DType::I64).unwrap();
        let floats = b.cast(ints, DType::F32).unwrap();
        let loss = total(&mut b, floats);
        let errors = gradient(&mut b, loss, &[p]).unwrap_err();
        assert!(matches!(&errors[0], GradError::Cut { op: Op::Cast, .. }));
    }

    #[test]
    fn detach_is_no_error() {
        let mut b = Builder::new();
        let (p, q) = (param(&mut b, "p"), param(&mut b, "q"));
        let steps = b.floor(p).unwrap();
        let (still, part) = (b.detach(p).unwrap(), b.detach(steps).unwrap());
        let both = b.add(still, part).unwrap();
        let product = b.mul(both, q).unwrap();
        let loss = total(&mut b, product);
        let gradients = gradient(&mut b, loss, &[p, q]).unwrap();
        assert!(gradients[0].is_none() && gradients[1].is_some());
    }

    #[test]
    fn a_loss_must_be_a_scalar_float() {
        let mut b = Builder::new();
        let p = param(&mut b, "p");
        let errors = gradient(&mut b, p, &[p]).unwrap_err();
        assert_eq!(
            errors[0].to_string(),
            "a loss must be a scalar float, but it is f32[3]; reduce it, e.g. by `.mean()`"
        );
    }
}
