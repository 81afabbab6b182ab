//! Running a program by the evaluator, without compiling it: `DL_ISA=interpreter`. Slow, and the reference that compiled
//! programs are compared with.

use dl_ir::Role;
use dl_ir::eval::{self, EvalError, Tensor};

use crate::array::AnyArray;
use crate::compile::bound_type;
use crate::error::{Error, Result};
use crate::program::Program;

/// Runs `program` on inputs at these addresses, one for each input of its graph, and writes the updates to them.
///
/// # Safety
/// Each address is that of a dense array of the input's type, nobody else writes to it, and nobody else reads those that
/// the graph updates.
pub(crate) unsafe fn interpret(program: &Program, addresses: &[*mut u8]) -> Result<Vec<(Role, AnyArray<'static>)>> {
    let graph = &program.graph;
    let internal = |what: &dyn std::fmt::Display| Error::internal(format!("evaluating `{}`", program.name), what);
    let mut inputs = eval::Inputs::new();
    for (input, &address) in graph.inputs.iter().zip(addresses) {
        let (dtype, shape) = bound_type(&program.graph, input.node)?;
        let len = shape.iter().product::<usize>() * dtype.size();
        // SAFETY: by this function's contract.
        let bytes = unsafe { std::slice::from_raw_parts(address, len) };
        let tensor = Tensor::from_bytes(dtype, &shape, bytes).ok_or_else(|| internal(&"an input's size is wrong"))?;
        inputs.insert(input.name.clone(), tensor);
    }
    let values = eval::run(graph, &inputs).map_err(|error| match error {
        EvalError::Node { node, error, .. } if matches!(*error, EvalError::Index { .. }) => match *error {
            EvalError::Index { index, .. } => program.index_error(node, index),
            other => internal(&other),
        },
        other => internal(&other),
    })?;
    let mut results = vec![];
    for (output, value) in graph.outputs.iter().zip(values) {
        let bytes = value.to_bytes();
        if let Role::Update(name) = &output.role {
            let at = graph.inputs.iter().position(|input| input.name == *name);
            let address = at.and_then(|at| addresses.get(at)).ok_or_else(|| internal(&format!("no input `{name}`")))?;
            // SAFETY: the verifier has checked that an update has the type of its input, so it is as long; the rest by
            // this function's contract.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), *address, bytes.len()) };
        } else {
            let array = AnyArray::from_bytes(value.dtype, &value.shape, &bytes);
            results.push((output.role.clone(), array.ok_or_else(|| internal(&"a result's size is wrong"))?));
        }
    }
    Ok(results)
}
