//! What a program computes from parameters alone: before its first call, and again after they have changed.

use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::exec::{InputSlot, InputSource, Inputs, Weights, run};
use crate::memory::Tensor;
use crate::params::Params;
use crate::pool::lock;
use crate::program::Program;

/// A program that writes values to keep, and those of its last run.
pub(crate) struct Prologue {
    pub(crate) program: Program,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    /// Of the parameters from which they were computed.
    version: u64,
    values: Arc<Vec<Tensor>>,
}

impl Prologue {
    pub(crate) fn new(program: Program) -> Prologue {
        Prologue { program, kept: Mutex::default() }
    }

    /// The values for these parameters, computed now if they have changed; other threads that need them wait.
    pub(crate) fn values(&self, params: &Params) -> Result<Arc<Vec<Tensor>>> {
        let mut kept = lock(&self.kept);
        if let Some(Kept { values, .. }) = kept.as_ref().filter(|kept| kept.version == params.version()) {
            return Ok(Arc::clone(values));
        }
        // The memory of the old values serves again, unless a call still reads them.
        let values = match kept.take().map(|old| Arc::try_unwrap(old.values)) {
            Some(Ok(values)) => values,
            _ => self.memory()?,
        };
        let inputs =
            Inputs { args: &[], params: Weights::Read(params), fixed: &values, state: None, scalars: &[], key: [0; 2] };
        run(&self.program, inputs)?;
        let values = Arc::new(values);
        *kept = Some(Kept { version: params.version(), values: Arc::clone(&values) });
        Ok(values)
    }

    /// Bytes of all values.
    pub(crate) fn bytes(&self) -> usize {
        self.slots().map(|slot| slot.shape.iter().product::<usize>() * slot.dtype.size()).sum()
    }

    fn memory(&self) -> Result<Vec<Tensor>> {
        self.slots().map(|slot| Tensor::zeros(slot.dtype, &slot.shape, &self.program.name)).collect()
    }

    fn slots(&self) -> impl Iterator<Item = &InputSlot> {
        self.program.inputs.iter().filter(|slot| matches!(slot.source, InputSource::Fixed(_)))
    }
}
