//! Bodies: the bodies of loops are simplified as graphs of their own.
//!
//! Before: any valid graph. After: every body has been through the pipeline, so that the passes behind this one see it in
//! its final form.

use super::{Options, PIPELINE, PassError, rewrite};
use crate::error::{OpError, Problem};
use crate::graph::Graph;
use crate::op::Op;
use crate::scan::Scan;
use crate::verify::VerifyError;

/// Simplifies the bodies of loops.
///
/// # Errors
/// If a pass is defective.
pub fn run(graph: &Graph) -> Result<Graph, OpError> {
    if graph.bodies().next().is_none() {
        return Ok(graph.clone());
    }
    rewrite(graph, |b, _, node| {
        let Some(body) = node.attrs.get_graph("body") else { return Ok(None) };
        let attrs = Scan::of(&node.attrs).attrs(simplified(body)?);
        b.push(Op::Scan, &node.args, attrs).map(Some)
    })
}

/// A body after all passes.
pub(super) fn simplified(body: &Graph) -> Result<Graph, OpError> {
    super::run(body, PIPELINE, &mut Options { verify: false, ..Options::default() }).map_err(
        |PassError { pass, error }| match error {
            VerifyError::Op { error, .. } => error,
            error => OpError::new(Op::Scan, Problem::Attr { name: "body", why: format!("pass `{pass}`: {error}") }),
        },
    )
}
