//! What an optimizer remembers between steps.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use dl_ir::{DType, Order};
use ndarray::ArrayViewD;

use crate::array::Element;
use crate::checkpoint::{self, Checkpoint};
use crate::error::{Error, Result};
use crate::memory::{Tensor, type_name};
use crate::optim::{Begin, Scalars};
use crate::params::Params;

/// The number of steps taken and the tensors kept for each parameter, such as `conv1.weight.exp_avg`.
#[derive(Default, Clone)]
pub struct OptimizerState {
    pub(crate) steps: u64,
    /// Calls since the last step that only gathered gradients.
    pub(crate) gathered: u64,
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

/// A tensor that an optimizer keeps, as a program expects it.
#[derive(Debug, Clone)]
pub(crate) struct StateSlot {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    /// As declared.
    pub(crate) shape: Vec<usize>,
    /// How the axes lie.
    pub(crate) order: Order,
    /// What it holds at first, if not zeros.
    pub(crate) begin: Option<Begin>,
}

impl StateSlot {
    /// The tensor before the first step.
    fn first(&self, scalars: &Scalars, params: &Params) -> Result<Tensor> {
        let StateSlot { name, dtype, shape, order, begin } = self;
        match begin {
            Some(Begin::Param(param)) => params.get(param)?.tensor.reordered(order, name),
            Some(Begin::Scalar(key)) => {
                let mut tensor = Tensor::zeros_in(*dtype, shape, order.clone(), name)?;
                tensor.fill(scalars.get(key).unwrap_or_default());
                Ok(tensor)
            }
            None => Tensor::zeros_in(*dtype, shape, order.clone(), name),
        }
    }
}

impl OptimizerState {
    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Calls since the last step that only gathered gradients; see [`Accumulate`](super::Accumulate).
    pub fn gathered(&self) -> u64 {
        self.gathered
    }

    /// The names of the tensors kept: the parameter's name, a dot and the optimizer's name for it.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor kept. `None` if there is none of that name and element type.
    pub fn get<T: Element>(&self, name: &str) -> Option<ArrayViewD<'_, T>> {
        self.tensors.get(name)?.view()
    }

    /// The tensor of that name, made if there is none yet. One that was loaded has its axes as declared, and is
    /// brought into the order in which they shall lie.
    pub(crate) fn ensure(
        &mut self,
        optimizer: &'static str,
        slot: &StateSlot,
        scalars: &Scalars,
        params: &Params,
    ) -> Result<()> {
        let StateSlot { name, dtype, shape, order, .. } = slot;
        let tensor = match self.tensors.get(name) {
            Some(tensor) if tensor.dtype != *dtype || tensor.shape != *shape => {
                let (expected, found) = (type_name(*dtype, shape), tensor.type_name());
                return Err(Error::OptimizerState { optimizer, name: name.clone(), expected, found });
            }
            Some(tensor) if tensor.order() == order => return Ok(()),
            Some(tensor) => tensor.reordered(order, name)?,
            None => slot.first(scalars, params)?,
        };
        self.tensors.insert(name.clone(), tensor);
        Ok(())
    }

    pub(crate) fn save(&self, optimizer: &str, path: &Path) -> Result<()> {
        let facts = BTreeMap::from([
            ("optimizer", optimizer.to_string()),
            ("steps", self.steps.to_string()),
            ("gathered", self.gathered.to_string()),
        ]);
        checkpoint::save(path, self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), &facts)
    }

    pub(crate) fn load(&mut self, optimizer: &'static str, path: &Path) -> Result<()> {
        let file = Checkpoint::read(path)?;
        let facts = file.facts()?;
        let number = |name: &str| facts.get(name).and_then(|text| text.parse().ok());
        let (Some(kind), Some(steps)) = (facts.get("optimizer"), number("steps")) else {
            return Err(wrong(path, optimizer, "no optimizer state".into()));
        };
        if kind != optimizer {
            return Err(wrong(path, optimizer, format!("the state of {kind}")));
        }
        let gathered = number("gathered").unwrap_or(0);
        *self = OptimizerState { steps, gathered, tensors: file.tensors()?.into_iter().collect() };
        Ok(())
    }
}

fn wrong(path: &Path, optimizer: &str, found: String) -> Error {
    Error::WrongCheckpoint { path: path.to_path_buf(), expected: format!("the state of {optimizer}"), found }
}

impl fmt::Debug for OptimizerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptimizerState").field("steps", &self.steps).field("tensors", &self.tensors.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{Adam, Optimizer, Sgd};
    use crate::params::Seed;
    use dl_ir::{Bindings, Storage};

    fn slot(shape: &[usize]) -> StateSlot {
        let order = Order::declared(shape.len());
        StateSlot { name: "w.exp_avg".into(), dtype: DType::F32, shape: shape.to_vec(), order, begin: None }
    }

    fn ensure(state: &mut OptimizerState, slot: &StateSlot) -> Result<()> {
        let params = Params::new("M", &[], &Bindings::new(), &Storage::default(), Seed(0))?;
        state.ensure("Adam", slot, &Scalars::default(), &params)
    }

    #[test]
    fn state_is_made_once_and_checked_afterwards() {
        let mut state = OptimizerState::default();
        ensure(&mut state, &slot(&[2])).unwrap();
        ensure(&mut state, &slot(&[2])).unwrap();
        let error = ensure(&mut state, &slot(&[3])).unwrap_err().to_string();
        assert_eq!(
            error,
            "Adam holds `w.exp_avg` as f32[2], but this model needs f32[3]: it was used with another model; create one optimizer for each model"
        );
    }

    #[test]
    fn state_is_saved_and_loaded_only_by_the_same_optimizer() {
        let path = std::env::temp_dir().join(format!("dl-optimizer-{}.safetensors", std::process::id()));
        let mut adam = Adam::new(0.1);
        ensure(adam.state_mut(), &slot(&[2])).unwrap();
        adam.state_mut().tensors.get_mut("w.exp_avg").unwrap().as_slice_mut::<f32>().unwrap()[1] = 3.5;
        adam.state_mut().steps = 12;
        adam.save(&path).unwrap();
        let mut other = Adam::new(0.2);
        other.load(&path).unwrap();
        assert_eq!((other.state().steps(), other.state().get::<f32>("w.exp_avg").unwrap()[1]), (12, 3.5));
        let error = Sgd::new(0.1).load(&path).unwrap_err().to_string();
        assert!(error.ends_with("holds the state of Adam, but the state of Sgd is needed"), "{error}");
        let _ = std::fs::remove_file(&path);
    }
}
