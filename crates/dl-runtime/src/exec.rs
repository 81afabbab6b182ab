//! Running a program: where its inputs lie, and what becomes of its results.

use std::ops::Range;

use dl_ir::{DType, Role};

use crate::array::AnyArray;
use crate::compile::Code;
use crate::error::{Error, Result};
use crate::interpret::interpret;
use crate::memory::{Buffer, Tensor, type_name};
use crate::optim::{Key, OptimizerState, Scalars};
use crate::params::Params;
use crate::pool::lock;
use crate::program::Program;

/// What a program reads, and what a training program also writes.
pub(crate) struct Inputs<'a, 'd> {
    pub(crate) args: &'a [AnyArray<'d>],
    pub(crate) params: Weights<'a>,
    /// What the prologue keeps, in order: written by it, read by the program that it belongs to.
    pub(crate) fixed: &'a [Tensor],
    pub(crate) state: Option<&'a mut OptimizerState>,
    pub(crate) scalars: &'a Scalars,
    /// Seed and step of the random numbers.
    pub(crate) key: [u64; 2],
    /// Arrays whose memory the results may use, in the order of these.
    pub(crate) spares: Vec<Option<AnyArray<'static>>>,
}

/// The model's parameters and buffers.
pub(crate) enum Weights<'a> {
    Read(&'a Params),
    Write(&'a mut Params),
}

impl<'a> Weights<'a> {
    /// Parameters to be changed: nothing that was computed from them holds from now on.
    pub(crate) fn write(params: &'a mut Params) -> Weights<'a> {
        params.change();
        Weights::Write(params)
    }
}

/// One input of a program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InputSlot {
    pub(crate) source: InputSource,
    /// Where in the staging memory it is put if it does not lie somewhere densely.
    pub(crate) staged: Range<usize>,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
}

impl InputSlot {
    /// The address of a tensor of the model or the optimizer. The program was compiled for one type, and an optimizer
    /// can be anybody's code.
    fn address(&self, tensor: &Tensor, function: &str) -> Result<*mut u8> {
        if tensor.dtype == self.dtype && tensor.lies_as(&self.shape) {
            return Ok(tensor.as_ptr());
        }
        let expected = type_name(self.dtype, &self.shape);
        let found = type_name(tensor.dtype, &tensor.stored_shape());
        Err(Error::internal(
            format!("running `{function}`"),
            format!("{:?} is {found}, but the program was compiled for {expected}", self.source),
        ))
    }
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InputSource {
    /// The argument of that number.
    Arg(usize),
    /// The parameter or buffer of that number.
    Param(usize),
    /// What the prologue keeps, of that number.
    Fixed(usize),
    /// A tensor of the optimizer.
    State(String),
    /// A number of the optimizer.
    Scalar(Key),
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
    let spares = std::mem::take(&mut inputs.spares);
    let outcome = addresses(program, &mut inputs, &mut stage).and_then(|addresses| match &program.code {
        // SAFETY: `addresses` gives each input's array, dense and of the bound type; arguments and shared parameters are
        // borrowed, and those that are updated are borrowed exclusively, which was checked above. Kept values are updated
        // by their prologue only, to whose run they are lent while nobody else has them.
        Code::Interpreted => unsafe { interpret(program, &addresses) },
        // SAFETY: as above.
        Code::Kernels(kernels) => unsafe { kernels.run(program, addresses, spares) },
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
            InputSource::Param(index) => {
                let param = match &inputs.params {
                    Weights::Read(params) => params.at(*index),
                    Weights::Write(params) => params.at(*index),
                };
                slot.address(&param.ok_or_else(|| absent("a parameter"))?.tensor, &program.name)?
            }
            InputSource::Fixed(index) => {
                let tensor = inputs.fixed.get(*index);
                slot.address(tensor.ok_or_else(|| absent("a kept value"))?, &program.name)?
            }
            InputSource::State(name) => {
                let tensor = inputs.state.as_ref().and_then(|state| state.tensors.get(name));
                slot.address(tensor.ok_or_else(|| absent(name))?, &program.name)?
            }
            InputSource::Scalar(key) => {
                let value = inputs.scalars.get(key).ok_or_else(|| absent(&key.name))?;
                match slot.dtype {
                    DType::F64 => stage.copy_from_slice(&value.to_ne_bytes()),
                    _ => stage.copy_from_slice(&(value as f32).to_ne_bytes()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tensor_of_the_compiled_type_is_handed_to_kernels() {
        let slot = InputSlot { source: InputSource::Param(0), staged: 0..0, dtype: DType::F32, shape: vec![2, 3] };
        let tensor = |dtype, shape: &[usize]| Tensor::zeros(dtype, shape, "t").unwrap();
        let same = tensor(DType::F32, &[2, 3]);
        assert_eq!(slot.address(&same, "loss").unwrap(), same.as_ptr());
        for other in [tensor(DType::F64, &[2, 3]), tensor(DType::F32, &[3, 2]), tensor(DType::F32, &[6])] {
            let message = slot.address(&other, "loss").unwrap_err().to_string();
            assert!(
                message.contains("`loss`: Param(0) is ") && message.contains("compiled for f32[2, 3]"),
                "{message}"
            );
        }
    }
}
