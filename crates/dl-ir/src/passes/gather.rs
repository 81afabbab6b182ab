//! Gathering: a sum of products over the iterations of a loop is one product.
//!
//! Before: a valid graph. After: what a loop only adds up, from zero and over all iterations, as products or sums of what
//! an iteration computes, is computed behind it: the loop gives the factors of all iterations, and one product sums over
//! them. So the gradient of a recurrent layer's weights, a product of few rows in each iteration, is a product of as many
//! rows as all iterations have.

use std::collections::HashMap;

use super::{prune, rewrite};
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::error::OpError;
use crate::graph::{Graph, InputKind, Node, NodeId, Output, Role};
use crate::op::Op;
use crate::scan::{Scan, as_result, fits_at_once, result_attrs};
use crate::types::Type;

/// Gathers sums over iterations.
///
/// # Errors
/// None.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    let sums: HashMap<NodeId, Vec<(usize, Term)>> = graph
        .bodies()
        .map(|(id, body)| (id, terms(graph, id, body)))
        .filter(|(_, terms): &(_, Vec<_>)| !terms.is_empty())
        .collect();
    if sums.is_empty() {
        return Ok(graph.clone());
    }
    // Where the values of all iterations are, by loop and node of its body.
    let mut joined: HashMap<(NodeId, NodeId), NodeId> = HashMap::new();
    // Which results of a loop are taken for that: the same node takes them where they were taken before.
    let mut taken: HashMap<(NodeId, usize), NodeId> = HashMap::new();
    let gathered = rewrite(graph, |b, id, node| {
        if let (Some(body), Some(terms)) = (node.attrs.get_graph("body"), sums.get(&id)) {
            return give_factors(b, (id, node, body), terms, &mut joined, &mut taken).map(Some);
        }
        let Some((of, index)) = as_result(graph, id) else { return Ok(None) };
        let term = sums.get(&of).and_then(|terms| terms.iter().find(|(k, _)| *k == index));
        match term {
            Some((_, term)) => term.build(b, &|inner| joined[&(of, inner)]).map(Some),
            None => Ok(taken.get(&(of, index)).copied()),
        }
    })?;
    prune::run(&gathered)
}

/// What an iteration adds to a sum, of nodes of the body.
enum Term {
    /// A product without batch axes.
    Dot { a: NodeId, b: NodeId, sum: Vec<(usize, usize)> },
    /// A sum over axes.
    Sum { of: NodeId, axes: Vec<usize> },
    /// One of these in another order of axes.
    Transpose { of: Box<Term>, perm: Vec<usize> },
    /// One of these in another shape.
    Reshape { of: Box<Term>, ty: Type },
}

/// The carried values of a loop that are such sums.
fn terms(graph: &Graph, id: NodeId, body: &Graph) -> Vec<(usize, Term)> {
    let scan = Scan::of(&graph[id].attrs);
    let uses = body.use_counts();
    let term = |k: usize| {
        let (carry, next) = (body.inputs[k].node, body.outputs[k].node);
        let add = &body[next];
        let starts_from_zero = is_zero(graph, graph[id].args[k]);
        if add.op != Op::Add || uses[carry.index()] != 1 || uses[next.index()] != 1 || !starts_from_zero {
            return None;
        }
        let added = match add.args[..] {
            [a, b] if a == carry && b != carry => b,
            [a, b] if b == carry && a != carry => a,
            _ => return None,
        };
        let term = Term::of(body, added)?;
        let fits = |factor: &NodeId| fits_at_once(&scan.length, body.ty(*factor));
        term.factors().iter().all(fits).then_some((k, term))
    };
    (0..scan.carries).filter_map(term).collect()
}

fn is_zero(graph: &Graph, node: NodeId) -> bool {
    let n = &graph[node];
    match n.op {
        Op::Broadcast => is_zero(graph, n.args[0]),
        Op::Const => n.attrs.get_scalars("values").iter().all(|v| v.as_f64() == 0.0),
        _ => false,
    }
}

impl Term {
    fn of(body: &Graph, id: NodeId) -> Option<Term> {
        let node = &body[id];
        // What is the same in all iterations has no axis for them.
        let varies = |&node: &NodeId| !body.inputs.iter().any(|i| i.node == node && i.kind == InputKind::Fixed);
        match node.op {
            Op::Dot if node.attrs.get_ints("batch_a").is_empty() && node.args.iter().all(varies) => {
                let sum = node.attrs.get_axes("sum_a").into_iter().zip(node.attrs.get_axes("sum_b")).collect();
                Some(Term::Dot { a: node.args[0], b: node.args[1], sum })
            }
            Op::ReduceSum if varies(&node.args[0]) => {
                Some(Term::Sum { of: node.args[0], axes: node.attrs.get_axes("axes") })
            }
            Op::Transpose => {
                let of = Box::new(Term::of(body, node.args[0])?);
                Some(Term::Transpose { of, perm: node.attrs.get_axes("perm") })
            }
            Op::Reshape => Some(Term::Reshape { of: Box::new(Term::of(body, node.args[0])?), ty: node.ty.clone() }),
            _ => None,
        }
    }

    fn factors(&self) -> Vec<NodeId> {
        match self {
            Term::Dot { a, b, .. } => vec![*a, *b],
            Term::Sum { of, .. } => vec![*of],
            Term::Transpose { of, .. } | Term::Reshape { of, .. } => of.factors(),
        }
    }

    /// The sum over all iterations, whose values are along the first axis of what `joined` gives.
    fn build(&self, b: &mut Builder, joined: &dyn Fn(NodeId) -> NodeId) -> Built {
        match self {
            Term::Dot { a, b: other, sum } => {
                let pairs: Vec<(usize, usize)> =
                    std::iter::once((0, 0)).chain(sum.iter().map(|(a, b)| (a + 1, b + 1))).collect();
                b.dot(joined(*a), joined(*other), &[], &pairs)
            }
            Term::Sum { of, axes } => {
                let axes: Vec<usize> = std::iter::once(0).chain(axes.iter().map(|a| a + 1)).collect();
                b.sum(joined(*of), &axes, false)
            }
            Term::Transpose { of, perm } => {
                let x = of.build(b, joined)?;
                b.transpose(x, perm)
            }
            Term::Reshape { of, ty } => {
                let x = of.build(b, joined)?;
                b.push(Op::Reshape, &[x], Attrs::new().dims("shape", ty.shape.clone()))
            }
        }
    }
}

/// The loop with the factors of its sums among its results. What is an operand's slice anyway is there already.
fn give_factors(
    b: &mut Builder,
    (id, node, body): (NodeId, &Node, &Graph),
    terms: &[(usize, Term)],
    joined: &mut HashMap<(NodeId, NodeId), NodeId>,
    taken: &mut HashMap<(NodeId, usize), NodeId>,
) -> Built {
    let scan = Scan::of(&node.attrs);
    let mut body = body.clone();
    let mut given = vec![];
    for factor in terms.iter().flat_map(|(_, term)| term.factors()) {
        if let Some(at) = body.inputs.iter().position(|i| i.node == factor).filter(|&at| scan.is_slice(at)) {
            joined.insert((id, factor), node.args[at]);
            continue;
        }
        let same = |o: &Output| o.role == Role::Result && o.node == factor;
        let index = body.outputs.iter().position(same).unwrap_or_else(|| {
            body.outputs.push(Output { role: Role::Result, node: factor });
            body.outputs.len() - 1
        });
        given.push((factor, index));
    }
    let types: Vec<Option<Type>> = given.iter().map(|(_, index)| scan.result(&body, *index)).collect();
    let token = b.push(Op::Scan, &node.args, scan.attrs(body))?;
    for ((factor, index), ty) in given.into_iter().zip(types) {
        if let Some(ty) = ty {
            let result = match taken.get(&(id, index)) {
                Some(&result) => result,
                None => b.push(Op::ScanResult, &[token], result_attrs(index, &ty))?,
            };
            taken.insert((id, index), result);
            joined.insert((id, factor), result);
        }
    }
    Ok(token)
}
