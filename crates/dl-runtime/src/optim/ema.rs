//! Averages of the parameters over time.

use std::ops::DerefMut;

use ndarray::ArrayViewD;

use super::table::{UP_TO_ONE, prelude::*};
use super::{Step, wrap::wraps};
use crate::array::Element;
use crate::error::Error;
use crate::memory::Tensor;
use crate::model::Model;

/// An optimizer that also keeps an exponential moving average of the parameters that it trains, which often does better
/// in evaluation: after each step `average = decay * average + (1 - decay) * parameter`, and after the first one the
/// parameter itself, as `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn(decay)`. Buffers, such as
/// running means, are not averaged.
///
/// [`averaged`](Ema::averaged) evaluates or saves the model with the averages in place of its parameters. They are
/// part of the optimizer's state and are [saved](Optimizer::save) with it.
///
/// ```
/// # extern crate dl_runtime as dl;
/// use dl::{Adam, Optimizer};
///
/// let ema = Adam::new(1e-3).ema(0.999);
/// assert_eq!((ema.lr, ema.decay), (1e-3, 0.999));
/// assert!(ema.average::<f32>("fc.weight").is_none(), "before the first step");
/// // let accuracy = ema.averaged(&mut net, |net| net.accuracy(&x, &label))??;
/// // ema.averaged(&mut net, |net| net.save("averaged.safetensors"))??;
/// ```
#[derive(Debug, Clone)]
pub struct Ema<O> {
    /// How much of the average is kept in each step, from 0 to 1.
    pub decay: f64,
    /// Whether a model's parameters are here and the averages there.
    swapped: bool,
    inner: O,
}

/// The name of the averages.
const AVERAGE: &str = "ema";

impl<O: Optimizer> Ema<O> {
    /// Averages what `inner` trains.
    pub fn new(inner: O, decay: f64) -> Ema<O> {
        Ema { decay, swapped: false, inner }
    }

    /// The average of the parameter of that name. `None` if there is none of that element type, as before the first
    /// step.
    pub fn average<T: Element>(&self, name: &str) -> Option<ArrayViewD<'_, T>> {
        self.inner.state().get(&format!("{name}.{AVERAGE}"))
    }

    /// Calls `f` with the averages in place of the parameters, which then come back.
    ///
    /// Errors: as [`swap`](Ema::swap); what `f` returns is passed on as it is.
    pub fn averaged<M: DerefMut<Target = Model>, R>(
        &mut self,
        model: &mut M,
        f: impl FnOnce(&mut M) -> R,
    ) -> Result<R> {
        self.check()?;
        self.swap(model)?;
        let result = f(model);
        self.swap(model)?;
        Ok(result)
    }

    /// Exchanges the parameters of `model` with their averages, and back when called again. Between these two calls
    /// this optimizer neither trains nor saves.
    ///
    /// Errors: [`Error::NoAverages`] before the first step, [`Error::UnknownParameter`] and [`Error::OptimizerState`]
    /// for a model that it has not trained; nothing has changed then.
    pub fn swap(&mut self, model: &mut Model) -> Result<()> {
        let (optimizer, params) = (self.inner.name(), model.params_mut());
        let mut averages = averages(self.inner.state_mut());
        if averages.is_empty() {
            return Err(Error::NoAverages { optimizer });
        }
        for (name, average) in &mut averages {
            let tensor = &params.get(name)?.tensor;
            if (tensor.dtype, &tensor.shape) != (average.dtype, &average.shape) {
                let (expected, found) = (tensor.type_name(), average.type_name());
                return Err(Error::OptimizerState { optimizer, name: format!("{name}.{AVERAGE}"), expected, found });
            }
            // After loading it may lie in another order, while kernels expect the parameter's.
            if average.order() != tensor.order() {
                **average = average.reordered(tensor.order(), name)?;
            }
        }
        for (name, average) in averages {
            std::mem::swap(&mut params.get_mut(name)?.tensor, average);
        }
        self.swapped = !self.swapped;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match self.swapped {
            true => Err(Error::AveragesInUse { optimizer: self.inner.name() }),
            false => Ok(()),
        }
    }

    fn named(&self, inner: String) -> String {
        format!("{inner} ema")
    }

    fn numbers(&self, step: u64, mut inner: Vec<(&'static str, f64)>) -> Numbers {
        self.check()?;
        UP_TO_ONE.check("Ema", "decay", self.decay)?;
        let decay = if step == 1 { 0.0 } else { self.decay };
        inner.extend([("ema.kept", decay), ("ema.new", 1.0 - decay)]);
        Ok(inner)
    }

    fn build(&self, step: &mut Step<'_>) -> Result<()> {
        self.inner.step(step)?;
        step.each(|update| {
            let Some(param) = update.new_param() else { return Ok(()) };
            // One that is first trained in a later step starts as it was before.
            update.state_from(AVERAGE, Start::Param);
            update.average(AVERAGE, ("ema.kept", "ema.new"), param)?;
            Ok(())
        })
    }
}

/// The averages that an optimizer keeps, each with the name of its parameter.
fn averages(state: &mut OptimizerState) -> Vec<(&str, &mut Tensor)> {
    let named = |name: &'_ str| name.strip_suffix(AVERAGE)?.strip_suffix('.').map(str::len);
    let all = state.tensors.iter_mut();
    all.filter_map(|(name, tensor)| Some((&name[..named(name)?], tensor))).collect()
}

wraps!(Ema; window checked_files);
