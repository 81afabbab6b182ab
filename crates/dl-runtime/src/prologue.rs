//! What a program computes from parameters alone: before its first call, and again after they have changed.

use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::exec::{InputSlot, InputSource, Inputs, Weights, run};
use crate::memory::Tensor;
use crate::optim::Scalars;
use crate::params::Params;
use crate::pool::lock;
use crate::program::Program;

/// Programs that write values to keep, each reading those of the ones before it, and the values of the last run.
pub(crate) struct Prologue {
    programs: Vec<Program>,
    /// What is kept, as the program reads it that all this is for.
    slots: Vec<InputSlot>,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    /// Of the parameters from which they were computed.
    version: u64,
    values: Arc<Vec<Tensor>>,
}

impl Prologue {
    /// What `programs` compute for one with these inputs.
    pub(crate) fn new(programs: Vec<Program>, inputs: &[InputSlot]) -> Prologue {
        let fixed = inputs.iter().filter(|slot| matches!(slot.source, InputSource::Fixed(_)));
        Prologue { programs, slots: fixed.cloned().collect(), kept: Mutex::default() }
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
        for program in &self.programs {
            let params = Weights::Read(params);
            run(
                program,
                Inputs {
                    args: &[],
                    params,
                    fixed: &values,
                    state: None,
                    scalars: &Scalars::default(),
                    key: [0; 2],
                    spares: vec![],
                },
            )?;
        }
        let values = Arc::new(values);
        *kept = Some(Kept { version: params.version(), values: Arc::clone(&values) });
        Ok(values)
    }

    /// Bytes of all values.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.shape.iter().product::<usize>() * slot.dtype.size()).sum()
    }

    fn memory(&self) -> Result<Vec<Tensor>> {
        let name = self.programs.first().map_or("", |program| &program.name);
        self.slots.iter().map(|slot| Tensor::zeros(slot.dtype, &slot.shape, name)).collect()
    }
}
