//! Running a program: where its inputs lie, and what becomes of its results.

use std::ops::Range;

use dl_ir::{DType, Role};

use crate::array::AnyArray;
use crate::compile::Code;
use crate::error::{Error, Result};
use crate::interpret::interpret;
use crate::memory::Buffer;
use crate::optim::{OptimizerState, WIDE};
use crate::params::Params;
use crate::pool::lock;
use crate::program::Program;

/// What a program reads, and what a training program also writes.
pub(crate) struct Inputs<'a, 'd> {
    pub(crate) args: &'a [AnyArray<'d>],
    pub(crate) params: Weights<'a>,
    pub(crate) state: Option<&'a mut OptimizerState>,
    pub(crate) scalars: &'a [(&'static str, f64)],
    /// Seed and step of the random numbers.
    pub(crate) key: [u64; 2],
}

/// The model's parameters and buffers.
pub(crate) enum Weights<'a> {
    Read(&'a Params),
    Write(&'a mut Params),
}

/// One input of a program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InputSlot {
    pub(crate) source: InputSource,
    /// Where in the staging memory it is put if it does not lie somewhere densely.
    pub(crate) staged: Range<usize>,
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InputSource {
    /// The argument of that number.
    Arg(usize),
    /// The parameter or buffer of that number.
    Param(usize),
    /// A tensor of the optimizer.
    State(String),
    /// A number of the optimizer.
    Scalar(String, DType),
    /// Seed and step.
    Key,
}

/// Runs `program` and returns its results and gradients. On an error nothing of model and optimizer has changed.
pub(crate) fn run(program: &Program, mut inputs: Inputs<'_, '_>) -> Result<Vec<(Role, AnyArray<'static>)>> {
    if program.commits && !matches!(inputs.params, Weights::Write(_)) {
        return Err(Error::internal(format!("running `{}`", program.name), "it writes to a shared model"));
    }
    let kept = lock(&program.stages).pop();
    let mut stage = match kept {
        Some(stage) => stage,
        None => Buffer::zeroed(program.staging, &format!("the arguments of `{}`", program.name))?,
    };
    let outcome = addresses(program, &mut inputs, &mut stage).and_then(|addresses| match &program.code {
        // SAFETY: `addresses` gives each input's array, dense and of the bound type; arguments and shared parameters are
        // borrowed, and those that are updated are borrowed exclusively, which was checked above.
        Code::Interpreted => unsafe { interpret(program, &addresses) },
        // SAFETY: as above.
        Code::Kernels(kernels) => unsafe { kernels.run(program, addresses) },
    });
    lock(&program.stages).push(stage);
    outcome
}

/// The address of every input; those that do not lie densely in memory are copied to `staging`.
fn addresses(program: &Program, inputs: &mut Inputs<'_, '_>, staging: &mut Buffer) -> Result<Vec<*mut u8>> {
    let base = staging.as_ptr();
    let mut addresses = Vec::with_capacity(program.inputs.len());
    for slot in &program.inputs {
        let absent = |what: &str| Error::internal(format!("running `{}`", program.name), format!("{what} is absent"));
        let stage = &mut staging.bytes_mut()[slot.staged.clone()];
        let staged = base.wrapping_add(slot.staged.start);
        addresses.push(match &slot.source {
            InputSource::Arg(index) => {
                let array = inputs.args.get(*index).ok_or_else(|| absent("an argument"))?;
                match array.dense_ptr() {
                    // Kernels only read arguments.
                    Some(address) => address.cast_mut(),
                    None => {
                        array.copy_to(stage);
                        staged
                    }
                }
            }
            InputSource::Param(index) => match &mut inputs.params {
                Weights::Read(params) => params.at(*index).map(|param| param.tensor.as_ptr()),
                Weights::Write(params) => params.at(*index).map(|param| param.tensor.as_ptr()),
            }
            .ok_or_else(|| absent("a parameter"))?,
            InputSource::State(name) => {
                let tensor = inputs.state.as_mut().and_then(|state| state.tensors.get(name));
                tensor.ok_or_else(|| absent(name))?.as_ptr()
            }
            InputSource::Scalar(name, dtype) => {
                let plain = name.strip_suffix(WIDE).unwrap_or(name);
                let (_, value) = inputs.scalars.iter().find(|(n, _)| *n == plain).ok_or_else(|| absent(name))?;
                match dtype {
                    DType::F64 => stage.copy_from_slice(&value.to_ne_bytes()),
                    _ => stage.copy_from_slice(&(*value as f32).to_ne_bytes()),
                }
                staged
            }
            InputSource::Key => {
                let [seed, step] = inputs.key.map(u64::to_ne_bytes);
                stage[..8].copy_from_slice(&seed);
                stage[8..].copy_from_slice(&step);
                staged
            }
        });
    }
    Ok(addresses)
}
