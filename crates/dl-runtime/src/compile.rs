//! From a function of a module to a program: attach the optimizer, bind sizes, read parameters as they are stored, run the
//! passes, split off what parameters alone decide, fuse, plan memory, lower and compile.

use std::ops::Range;

use dl_ir::passes::{self, bind::BindError, split::Split};
use dl_ir::{Bindings, DType, DimError, Graph, InputKind, Loc, NodeId, Order, Role};

use crate::assemble::{Assembled, Copies, Target, assemble};
use crate::compilation::{Work, timed};
use crate::error::{Error, Result};
use crate::exec::{InputSlot, InputSource};
use crate::kernels::Kernels;
use crate::memory::{ALIGN, Buffer, byte_len};
use crate::optim::{Optimizer, Ports, StateSlot, Whole, attach};
use crate::program::{Context, Program, Purpose, sizes};
use crate::prologue::Prologue;

/// How a program is run.
pub(crate) enum Code {
    /// By the evaluator.
    Interpreted,
    /// By machine code.
    Kernels(Box<Kernels>),
}

impl Code {
    /// The number of kernels.
    pub(crate) fn kernels(&self) -> usize {
        match self {
            Code::Interpreted => 0,
            Code::Kernels(kernels) => kernels.steps.len(),
        }
    }

    /// Bytes of memory for intermediate values.
    pub(crate) fn arena(&self) -> usize {
        match self {
            Code::Interpreted => 0,
            Code::Kernels(kernels) => kernels.sizes.arena,
        }
    }
}

/// Compiles function number `function` of the module. What that takes is added to `work`.
pub(crate) fn compile(
    context: &Context<'_>,
    function: usize,
    purpose: &Purpose,
    bindings: &Bindings,
    optimizer: Option<&dyn Optimizer>,
    work: &mut Work,
) -> Result<Program> {
    let function = &context.module.functions[function];
    let name = &function.name;
    let mut ports = Ports::default();
    let graph = timed(&mut work.phases.bind, || {
        let mut graph = function.graph.clone();
        match (purpose, optimizer) {
            (Purpose::Train { gathers, .. }, Some(optimizer)) => {
                let (optimizer_name, gathers) = (optimizer.name(), *gathers);
                let whole = Whole { optimizer: optimizer_name, function: name, names: context.trainable, gathers };
                (graph, ports) = attach(whole, graph, optimizer)?;
            }
            _ => graph.outputs.retain(|output| !matches!(output.role, Role::Update(_))),
        }
        let graph = passes::bind::bind(&graph, bindings).map_err(|e| unfit(context, name, bindings, &e))?;
        passes::store::run(&graph, context.storage).map_err(|e| Error::internal(format!("compiling `{name}`"), e))
    })?;
    let Some(target) = context.target else {
        check_memory(name, &graph)?;
        let explanation = "not compiled: the evaluator runs the graph\n".to_string();
        return program(context, name, graph, &ports, Code::Interpreted, explanation);
    };
    let inference = *purpose == Purpose::Call;
    let (graph, split) = timed(&mut work.phases.passes, || {
        let graph = simplify(name, &graph, inference, target)?;
        // Of fewer passes the result is looked at as it is.
        let split = match inference && target.passes >= passes::PIPELINE.len() {
            true => passes::split::run(&graph).map_err(|e| Error::internal(format!("compiling `{name}`"), e))?,
            false => None,
        };
        Ok::<_, Error>((graph, split))
    })?;
    let mut assembled = |graph: Graph| {
        let Assembled { kernels, copies, explanation } = assemble(name, &graph, target, work)?;
        let mut program = program(context, name, graph, &ports, Code::Kernels(Box::new(kernels)), explanation)?;
        let copies = copies.map(|copies| copying(&mut program, copies));
        Ok((program, copies))
    };
    let Some(Split { prologue, main }) = split else {
        let (mut program, copies) = assembled(graph)?;
        program.prologue = copies.map(|copies| Box::new(Prologue::new(vec![copies], &program.inputs)));
        return Ok(program);
    };
    if target.dump.graph {
        eprint!("; `{name}`, when parameters have changed\n{prologue}; `{name}`, each call\n{main}");
    }
    let ((prologue, _), (mut main, copies)) = (assembled(prologue)?, assembled(main)?);
    main.explanation += "when parameters have changed, before the next call:\n";
    main.explanation += &prologue.explanation;
    let programs = std::iter::once(prologue).chain(copies).collect();
    main.prologue = Some(Box::new(Prologue::new(programs, &main.inputs)));
    Ok(main)
}

/// The program that makes copies of parameters for `reader`, which gets them as further inputs.
fn copying(reader: &mut Program, copies: Copies) -> Program {
    let Copies { kernels, reads, bytes } = copies;
    // None of them is staged.
    let read = |&at: &usize| InputSlot { staged: 0..0, ..reader.inputs[at].clone() };
    let mut inputs: Vec<InputSlot> = reads.iter().map(read).collect();
    let kept = reader.inputs.iter().filter(|slot| matches!(slot.source, InputSource::Fixed(_))).count();
    let copied = bytes.into_iter().enumerate().map(|(at, bytes)| InputSlot {
        source: InputSource::Fixed(kept + at),
        staged: 0..0,
        dtype: DType::U8,
        shape: vec![bytes],
    });
    let copied: Vec<InputSlot> = copied.collect();
    reader.inputs.extend_from_slice(&copied);
    inputs.extend(copied);
    Program {
        name: reader.name.clone(),
        inputs,
        commits: false,
        staging: 0,
        stages: Default::default(),
        state: vec![],
        graph: Graph::default(),
        code: Code::Kernels(Box::new(kernels)),
        prologue: None,
        places: reader.places.clone(),
        explanation: String::new(),
    }
}

/// The program of a graph that has been compiled to `code`.
fn program(
    context: &Context<'_>,
    name: &str,
    graph: Graph,
    ports: &Ports,
    code: Code,
    explanation: String,
) -> Result<Program> {
    let (inputs, staging) = inputs(context, &graph, ports)?;
    let state = graph.inputs.iter().filter(|input| input.kind == InputKind::State).map(|input| {
        let (dtype, stored) = bound_type(&graph, input.node)?;
        let order = context.storage.order_of(input, stored.len()).cloned();
        let order = order.unwrap_or_else(|| Order::declared(stored.len()));
        let begin = ports.begins.get(&input.name).cloned();
        Ok(StateSlot { name: input.name.clone(), dtype, shape: order.inverse().permuted(&stored), order, begin })
    });
    let state = state.collect::<Result<_>>()?;
    let of_model = |name: &str| graph.input(name).is_some_and(|input| input.kind != InputKind::Fixed);
    Ok(Program {
        name: name.to_string(),
        inputs,
        commits: graph.outputs.iter().any(|o| matches!(&o.role, Role::Update(name) if of_model(name))),
        staging,
        stages: Default::default(),
        state,
        graph,
        code,
        prologue: None,
        places: context.places.clone(),
        explanation,
    })
}

/// The evaluator keeps every value, and cannot report that there is no memory for it.
fn check_memory(name: &str, graph: &Graph) -> Result<()> {
    let bytes = graph.ids().map(|id| {
        let (_, shape) = bound_type(graph, id)?;
        // It computes with numbers of 64 bits.
        Ok(byte_len(DType::F64, &shape).unwrap_or(usize::MAX))
    });
    let total = bytes.collect::<Result<Vec<usize>>>()?.into_iter().fold(0, usize::saturating_add);
    Buffer::zeroed(total, &format!("the memory of `{name}`")).map(drop)
}

/// Runs the passes, printing what they do if asked.
fn simplify(name: &str, graph: &Graph, inference: bool, target: &Target) -> Result<Graph> {
    let mut print = |step: &passes::Step<'_>| eprint!("; `{name}`\n{step}");
    let mut options = passes::Options { stop_after: target.passes, inference, ..passes::Options::default() };
    if target.dump.graph {
        eprint!("; `{name}`, bound\n{graph}");
        options.observe = Some(&mut print);
    }
    passes::simplify(graph, &mut options).map_err(|e| Error::internal(format!("compiling `{name}`"), e))
}

/// The error for a function that does not work at these sizes, although each argument alone is as declared.
fn unfit(context: &Context<'_>, function: &str, bindings: &Bindings, error: &BindError) -> Error {
    let loc = match error {
        BindError::Dim(DimError::Unbound(dim)) => {
            return Error::DimUnsolved { function: function.to_string(), dim: dim.clone() };
        }
        BindError::Empty { loc, .. } | BindError::TooLarge { loc, .. } | BindError::Refused { loc, .. } => *loc,
        BindError::Dim(_) | BindError::Fact { .. } => Loc::NONE,
    };
    Error::UnfitSizes {
        function: function.to_string(),
        location: context.places.name(loc),
        sizes: sizes(bindings),
        problem: error.to_string(),
    }
}

/// Where each input of the graph comes from, and the bytes needed to stage those that must be copied.
fn inputs(context: &Context<'_>, graph: &Graph, ports: &Ports) -> Result<(Vec<InputSlot>, usize)> {
    let (mut args, mut fixed, mut staging) = (0, 0, 0);
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
            InputKind::Hyper => InputSource::Scalar(ports.key(&input.name)),
            InputKind::Key => InputSource::Key,
            InputKind::Fixed => {
                fixed += 1;
                InputSource::Fixed(fixed - 1)
            }
        };
        let lies = matches!(source, InputSource::Param(_) | InputSource::State(_) | InputSource::Fixed(_));
        let needed = if lies { 0 } else { bytes };
        let staged: Range<usize> = staging..staging + needed;
        staging = staged.end.next_multiple_of(ALIGN);
        slots.push(InputSlot { source, staged, dtype, shape });
    }
    Ok((slots, staging))
}

/// Element type and sizes of a node of a bound graph.
pub(crate) fn bound_type(graph: &Graph, node: NodeId) -> Result<(DType, Vec<usize>)> {
    let ty = graph.ty(node);
    let unbound = || Error::internal("compiling a function", format!("{ty} is not bound"));
    Ok((ty.dtype, ty.sizes().ok_or_else(unbound)?))
}
