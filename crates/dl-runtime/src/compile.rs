//! From a function of a module to a program: bind sizes, attach the optimizer, run the passes, fuse, plan memory, lower
//! and compile.

use std::ops::Range;

use dl_ir::{Attr, Bindings, DType, Graph, InputKind, Role};

use crate::error::{Error, Result};
use crate::exec::{InputSlot, InputSource};
use crate::memory::{ALIGN, byte_len};
use crate::optim::{Optimizer, attach};
use crate::program::{Context, Program, Purpose};

/// How a program is run.
pub(crate) enum Code {
    /// By the evaluator.
    Interpreted,
}

impl Code {
    /// The number of kernels.
    pub(crate) fn kernels(&self) -> usize {
        0
    }

    /// Bytes of memory for intermediate values.
    pub(crate) fn arena(&self) -> usize {
        0
    }
}

/// Compiles function number `function` of the module.
pub(crate) fn compile(
    context: &Context<'_>,
    function: usize,
    purpose: &Purpose,
    bindings: &Bindings,
    optimizer: Option<&dyn Optimizer>,
) -> Result<Program> {
    let function = &context.module.functions[function];
    let internal = |what: &dyn std::fmt::Display| Error::internal(format!("compiling `{}`", function.name), what);
    let mut graph = function.graph.clone();
    match (purpose, optimizer) {
        (Purpose::Train(_), Some(optimizer)) => graph = attach(graph, optimizer).map_err(|e| internal(&e))?,
        _ => graph.outputs.retain(|output| !matches!(output.role, Role::Update(_))),
    }
    bind_graph(&mut graph, bindings).map_err(|e| internal(&e))?;
    dl_ir::verify(&graph).map_err(|e| internal(&e))?;
    let (inputs, staging) = inputs(context, &graph)?;
    let state = graph.inputs.iter().filter(|input| input.kind == InputKind::State).map(|input| {
        let (dtype, shape) = bound_type(&graph, input.node)?;
        Ok((input.name.clone(), dtype, shape))
    });
    let state = state.collect::<Result<_>>()?;
    Ok(Program {
        name: function.name.clone(),
        inputs,
        commits: graph.outputs.iter().any(|output| matches!(output.role, Role::Update(_))),
        staging,
        stages: Default::default(),
        state,
        graph,
        code: Code::Interpreted,
        places: context.places.clone(),
        explanation: String::new(),
    })
}

/// Replaces every symbol by its number.
fn bind_graph(graph: &mut Graph, bindings: &Bindings) -> Result<(), dl_ir::DimError> {
    for node in &mut graph.nodes {
        node.ty = node.ty.bind(bindings)?;
        for (_, attr) in node.attrs.iter_mut() {
            if let Attr::Dims(dims) = attr {
                for dim in dims {
                    *dim = dim.eval(bindings)?.into();
                }
            }
        }
    }
    Ok(())
}

/// Where each input of the graph comes from, and the bytes needed to stage those that must be copied.
fn inputs(context: &Context<'_>, graph: &Graph) -> Result<(Vec<InputSlot>, usize)> {
    let (mut args, mut staging) = (0, 0);
    let mut slots = vec![];
    for input in &graph.inputs {
        let (dtype, shape) = bound_type(graph, input.node)?;
        let bytes = byte_len(dtype, &shape)
            .ok_or(Error::OutOfMemory { what: format!("`{}`", input.name), bytes: usize::MAX })?;
        let source = match input.kind {
            InputKind::Arg => {
                args += 1;
                InputSource::Arg(args - 1)
            }
            InputKind::Param | InputKind::Buffer => {
                let index = context.module.params.iter().position(|p| p.name == input.name);
                let unknown = || Error::internal("compiling a function", format!("`{}` is not declared", input.name));
                InputSource::Param(index.ok_or_else(unknown)?)
            }
            InputKind::State => InputSource::State(input.name.clone()),
            InputKind::Hyper => InputSource::Scalar(input.name.clone(), dtype),
            InputKind::Key => InputSource::Key,
        };
        let needed = if matches!(source, InputSource::Param(_) | InputSource::State(_)) { 0 } else { bytes };
        let staged: Range<usize> = staging..staging + needed;
        staging = staged.end.next_multiple_of(ALIGN);
        slots.push(InputSlot { source, staged });
    }
    Ok((slots, staging))
}

/// Element type and sizes of a node of a bound graph.
pub(crate) fn bound_type(graph: &Graph, node: dl_ir::NodeId) -> Result<(DType, Vec<usize>)> {
    let ty = graph.ty(node);
    let unbound = || Error::internal("compiling a function", format!("{ty} is not bound"));
    Ok((ty.dtype, ty.sizes().ok_or_else(unbound)?))
}
