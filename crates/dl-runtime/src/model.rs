//! A model at run time: its parameters and its compiled functions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dl_ir::{Bindings, DType, FnKind, Module, Role, Storage};
use ndarray::{ArrayD, ArrayViewD, Dimension, Ix0};

use crate::array::{AnyArray, Element, Gradients, IntoArg, Outputs};
use crate::assemble::Target;
use crate::bind::check_facts;
use crate::checkpoint::{self, Checkpoint, LoadReport};
use crate::compilation::Compilation;
use crate::error::{Error, Result};
use crate::exec::{Inputs, Weights, run};
use crate::memory::type_name;
use crate::optim::{Optimizer, Scalars};
use crate::options::Options;
use crate::params::{Param, Params, Seed};
use crate::program::{Context, Places, Program, Programs, Purpose};
use crate::summary::{Summary, summarise};

/// A model as `model!` embeds it.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The module's text.
    pub text: &'static str,
    /// The file that holds the model, as `file!()` gives it.
    pub file: &'static str,
}

/// Parameters and compiled functions of one model. The struct that `model!` writes holds one and gives its functions
/// their names and types.
///
/// Functions are compiled when they are first called with arguments of some sizes; later calls with the same sizes run
/// at once. Evaluation takes `&self`, so a model can be shared between threads.
pub struct Model {
    module: Module,
    /// The names of the parameters that can be trained.
    trainable: Vec<String>,
    places: Places,
    dims: Bindings,
    /// How the parameters lie in memory.
    storage: Storage,
    params: Params,
    options: Options,
    /// `None` for the evaluator.
    target: Option<Target>,
    programs: Programs,
    seed: Seed,
    /// Training steps taken: with the seed, the key of the random numbers of the next step.
    steps: u64,
    /// Evaluations that drew random numbers.
    draws: AtomicU64,
}

/// Keeps the random numbers of evaluations apart from those of training steps.
const EVALUATION: u64 = 1 << 62;

impl Model {
    /// A new model with the options of the environment; see [`Options::from_env`].
    ///
    /// `dims` gives every dimension that the model declares with `dim`.
    ///
    /// Errors: [`Error::ModelDim`], [`Error::FactViolated`], [`Error::BadSetting`], [`Error::OutOfMemory`].
    pub fn new(source: &Source, dims: &[(&str, usize)], seed: Seed) -> Result<Model> {
        Model::with_options(source, dims, seed, Options::from_env()?)
    }

    /// A new model.
    ///
    /// Errors: as [`Model::new`].
    pub fn with_options(source: &Source, dims: &[(&str, usize)], seed: Seed, options: Options) -> Result<Model> {
        let module = dl_ir::text::parse_module(source.text)
            .map_err(|e| Error::internal(format!("reading the model of {}", source.file), e))?;
        let dims = model_dims(&module, dims)?;
        check_facts(&format!("{}::new", module.name), &module.facts, &dims)?;
        let storage = Storage::choose(&module, &dims);
        let params = Params::new(&module.name, &module.params, &dims, &storage, seed)?;
        let target = options.target()?;
        let programs = Programs::new(options.programs);
        let places = Places { file: source.file, locs: module.locs.as_slice().into() };
        let draws = AtomicU64::new(0);
        let trainable = module.params.iter().filter(|p| p.trainable).map(|p| p.name.clone()).collect();
        Ok(Model { module, trainable, places, dims, storage, params, options, target, programs, seed, steps: 0, draws })
    }

    /// Runs a function in evaluation mode.
    ///
    /// Errors: those of wrong arguments, and [`Error::IndexOutOfRange`].
    pub fn call(&self, function: usize, args: &[AnyArray<'_>]) -> Result<Outputs> {
        self.call_with(function, args, vec![])
    }

    /// As [`call`](Model::call), with arrays whose memory the results may use: of the result of that number if it has the
    /// same type and as many elements. What they hold does not matter.
    ///
    /// Errors: as [`call`](Model::call). The arrays are then gone.
    pub fn call_with(
        &self,
        function: usize,
        args: &[AnyArray<'_>],
        spares: Vec<Option<AnyArray<'static>>>,
    ) -> Result<Outputs> {
        let program = self.program(function, Purpose::Call, args, None)?;
        let key = [self.seed.0, EVALUATION | self.draws.fetch_add(1, Ordering::Relaxed)];
        let (params, fixed) = (Weights::Read(&self.params), program.kept(&self.params)?);
        let inputs = Inputs { args, params, fixed: &fixed, state: None, scalars: &Scalars::default(), key, spares };
        let results = run(&program, inputs)?;
        Ok(Outputs(results.into_iter().map(|(_, array)| array).collect()))
    }

    /// Runs a function with gradients and returns its loss with the gradient of every parameter that it trains, in the
    /// function's mode: `model!` asks for evaluation. Nothing of the model changes; random numbers are drawn anew only
    /// after a training step.
    ///
    /// Errors: those of wrong arguments, [`Error::IndexOutOfRange`] and [`Error::NotTrainable`].
    pub fn grad<T: Element>(&self, function: usize, args: &[AnyArray<'_>]) -> Result<(T, Gradients)> {
        self.check_kind(function, &[FnKind::Train, FnKind::Grad])?;
        let program = self.program(function, Purpose::Grad, args, None)?;
        let inputs = Inputs {
            args,
            params: Weights::Read(&self.params),
            fixed: &[],
            state: None,
            scalars: &Scalars::default(),
            key: [self.seed.0, self.steps],
            spares: vec![],
        };
        let (mut loss, mut gradients) = (None, vec![]);
        for (role, array) in run(&program, inputs)? {
            match role {
                Role::Result => loss = Some(array),
                Role::Grad(name) => {
                    let array = match self.storage.order(&name) {
                        Some(order) => array.declared(order),
                        None => array,
                    };
                    gradients.push((name, array));
                }
                Role::Update(_) => {}
            }
        }
        Ok((scalar(loss)?, Gradients(gradients)))
    }

    /// One step of training: runs a training function forward and backward and updates the parameters, as one
    /// program. Returns the loss before the update. An optimizer that [gathers](crate::optim::Accumulate) gradients takes
    /// several calls for one step.
    ///
    /// Errors: those of wrong arguments, [`Error::IndexOutOfRange`], [`Error::NotTrainable`],
    /// [`Error::BadHyperparameter`], [`Error::UnmatchedPattern`], [`Error::OptimizerState`],
    /// [`Error::AveragesInUse`] and [`Error::BadOptimizer`]. Model and optimizer are then unchanged.
    pub fn train<T: Element>(
        &mut self,
        function: usize,
        optimizer: &mut dyn Optimizer,
        args: &[AnyArray<'_>],
    ) -> Result<T> {
        self.check_kind(function, &[FnKind::Train])?;
        let purpose = self.training(optimizer);
        let gathers = matches!(purpose, Purpose::Train { gathers: true, .. });
        let step = optimizer.state().steps().saturating_add(1);
        let calls = optimizer.state().gathered().saturating_add(1);
        let scalars = optimizer.scalars(step)?;
        let program = self.program(function, purpose, args, Some(optimizer))?;
        let scalars = program.scalars(optimizer, step, calls, scalars)?;
        // Asked for once: what is checked here is what the program writes to.
        let (name, state) = (optimizer.name(), optimizer.state_mut());
        program.prepare(name, state, &scalars, &self.params)?;
        let key = [self.seed.0, self.steps];
        let params = Weights::write(&mut self.params);
        let inputs =
            Inputs { args, params, fixed: &[], state: Some(&mut *state), scalars: &scalars, key, spares: vec![] };
        let results = run(&program, inputs)?;
        match gathers {
            true => state.gathered = calls,
            false => (state.steps, state.gathered) = (step, 0),
        }
        self.steps = self.steps.wrapping_add(1);
        scalar(results.into_iter().find(|(role, _)| *role == Role::Result).map(|(_, array)| array))
    }

    /// The parameters and buffers, in the order of declaration.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = Parameter<'_>> {
        self.params.iter().map(Parameter)
    }

    /// The parameter or buffer of that name, such as `conv1.weight`.
    ///
    /// Errors: [`Error::UnknownParameter`], with the nearest name.
    pub fn parameter(&self, name: &str) -> Result<Parameter<'_>> {
        self.params.get(name).map(Parameter)
    }

    /// Sets a parameter or buffer to the elements of an array or view of its type and shape.
    ///
    /// Errors: [`Error::UnknownParameter`] and [`Error::ParameterMismatch`].
    pub fn set_parameter<'a, T: Element, D: Dimension>(
        &mut self,
        name: &str,
        value: impl IntoArg<'a, T, D>,
    ) -> Result<()> {
        self.set_any_parameter(name, &value.into_arg())
    }

    /// As [`set_parameter`](Model::set_parameter), for an array whose type is known at run time only.
    pub fn set_any_parameter(&mut self, name: &str, value: &AnyArray<'_>) -> Result<()> {
        let tensor = &mut self.params.get_mut(name)?.tensor;
        if tensor.dtype != value.dtype() || tensor.shape != value.shape() {
            let (expected, found) = (tensor.type_name(), type_name(value.dtype(), value.shape()));
            return Err(Error::ParameterMismatch { name: name.to_string(), expected, found });
        }
        let mut bytes = vec![0; tensor.bytes().len()];
        value.copy_to(&mut bytes);
        tensor.set_declared_bytes(&bytes);
        Ok(())
    }

    /// The number of elements of all trainable parameters.
    pub fn num_parameters(&self) -> usize {
        self.params.iter().filter(|p| p.trainable).map(|p| p.tensor.len()).sum()
    }

    /// Saves all parameters and buffers in a safetensors file, under PyTorch's names. The file is replaced in one
    /// step: a crash leaves the old one or the new one.
    ///
    /// Errors: [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let facts = BTreeMap::from([
            ("model", self.module.name.clone()),
            ("seed", self.seed.0.to_string()),
            ("steps", self.steps.to_string()),
        ]);
        checkpoint::save(path.as_ref(), self.params.iter().map(|p| (p.name.as_str(), &p.tensor)), &facts)
    }

    /// Loads all parameters and buffers from a safetensors file, which must hold exactly these. A file that
    /// [`save`](Model::save) wrote also restores the random numbers, so that training goes on as if it had not stopped.
    ///
    /// PyTorch's weights come by their names, with `num_batches_tracked` left out and half precision widened. In Python,
    /// with `from safetensors.torch import save_file`:
    ///
    /// ```python
    /// save_file({k: v.contiguous().clone() for k, v in torch.load("model.pt", weights_only=True).items()}, "model.safetensors")
    /// ```
    ///
    /// or the same with `model.state_dict()`.
    ///
    /// Errors: [`Error::Io`], [`Error::CorruptCheckpoint`], and [`Error::CheckpointMismatch`] with everything that does
    /// not fit. The model is then unchanged.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.load_from(path.as_ref(), false).map(|_| ())
    }

    /// Loads what fits from a safetensors file and reports the rest.
    ///
    /// Errors: [`Error::Io`] and [`Error::CorruptCheckpoint`]. The model is then unchanged.
    pub fn load_partial(&mut self, path: impl AsRef<Path>) -> Result<LoadReport> {
        self.load_from(path.as_ref(), true)
    }

    fn load_from(&mut self, path: &Path, partial: bool) -> Result<LoadReport> {
        let file = Checkpoint::read(path)?;
        let facts = file.facts()?;
        let mut tensors: Vec<_> = self.params.iter_mut().map(|p| (p.name.as_str(), &mut p.tensor)).collect();
        let report = file.load_into(&mut tensors, partial)?;
        let number = |key: &str| facts.get(key).and_then(|text| text.parse::<u64>().ok());
        if let (false, Some(seed), Some(steps)) = (partial, number("seed"), number("steps")) {
            (self.seed, self.steps) = (Seed(seed), steps);
        }
        Ok(report)
    }

    /// The layers with what they give, hold and cost; print it for a table.
    pub fn summary(&self) -> Summary {
        summarise(&self.module, &self.dims)
    }

    /// What a function was compiled to for arguments like these: the fused kernels, the memory plan and its peak, and
    /// how long compiling took. Compiles it if that has not happened yet. For a function with gradients it is the
    /// program of these; [`explain_train`](Model::explain_train) tells of a step.
    ///
    /// Errors: those of wrong arguments.
    pub fn explain(&self, function: usize, args: &[AnyArray<'_>]) -> Result<String> {
        let purpose = match self.function(function)?.kind {
            FnKind::Eval => Purpose::Call,
            FnKind::Train | FnKind::Grad => Purpose::Grad,
        };
        Ok(self.program(function, purpose, args, None)?.explanation.clone())
    }

    /// As [`explain`](Model::explain), of the program that [`train`](Model::train) runs with this optimizer: forward pass,
    /// backward pass and update.
    ///
    /// Errors: those of wrong arguments, [`Error::NotTrainable`], [`Error::UnmatchedPattern`] and
    /// [`Error::BadOptimizer`].
    pub fn explain_train(&self, function: usize, optimizer: &dyn Optimizer, args: &[AnyArray<'_>]) -> Result<String> {
        self.check_kind(function, &[FnKind::Train])?;
        let purpose = self.training(optimizer);
        Ok(self.program(function, purpose, args, Some(optimizer))?.explanation.clone())
    }

    /// Everything compiled so far: what, when, why and how long it took.
    pub fn compilations(&self) -> Vec<Compilation> {
        self.programs.log()
    }

    /// What the next call with this optimizer is compiled for.
    fn training(&self, optimizer: &dyn Optimizer) -> Purpose {
        let gathers = optimizer.state().gathered().saturating_add(1) < optimizer.window();
        Purpose::Train { structure: optimizer.structure_of(&self.trainable), gathers }
    }

    /// The parameters and buffers, to be changed.
    pub(crate) fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// The program for arguments like these, compiled if need be.
    fn program(
        &self,
        function: usize,
        purpose: Purpose,
        args: &[AnyArray<'_>],
        optimizer: Option<&dyn Optimizer>,
    ) -> Result<Arc<Program>> {
        if let Some(program) = self.programs.recent(function, &purpose, args) {
            return Ok(program);
        }
        self.function(function)?;
        let context = Context {
            module: &self.module,
            trainable: &self.trainable,
            dims: &self.dims,
            storage: &self.storage,
            places: &self.places,
            options: &self.options,
            target: self.target.as_ref(),
        };
        self.programs.get(&context, function, purpose, args, optimizer)
    }

    fn function(&self, index: usize) -> Result<&dl_ir::Function> {
        let count = self.module.functions.len();
        let none = || Error::internal("calling a function", format!("function {index} of {count} was asked for"));
        self.module.functions.get(index).ok_or_else(none)
    }

    fn check_kind(&self, function: usize, kinds: &[FnKind]) -> Result<()> {
        let declared = self.function(function)?;
        if kinds.contains(&declared.kind) {
            Ok(())
        } else {
            Err(Error::NotTrainable { function: declared.name.clone() })
        }
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct(&self.module.name);
        out.field("dims", &self.dims).field("parameters", &self.num_parameters()).field("steps", &self.steps).finish()
    }
}

/// A parameter or buffer of a model.
#[derive(Clone, Copy)]
pub struct Parameter<'a>(&'a Param);

impl<'a> Parameter<'a> {
    /// Its name, such as `conv1.weight`.
    pub fn name(&self) -> &'a str {
        &self.0.name
    }

    /// The size of each axis.
    pub fn shape(&self) -> &'a [usize] {
        &self.0.tensor.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.0.tensor.dtype
    }

    /// Whether optimizers train it; if not, it is a buffer, such as a running mean.
    pub fn is_trainable(&self) -> bool {
        self.0.trainable
    }

    /// Its elements. Their strides are those with which they lie in memory, which need not be in row-major order.
    ///
    /// Errors: [`Error::ParameterMismatch`] if they are not of type `T`.
    pub fn view<T: Element>(&self) -> Result<ArrayViewD<'a, T>> {
        let Param { name, tensor, .. } = self.0;
        tensor.view().ok_or_else(|| Error::ParameterMismatch {
            name: name.clone(),
            expected: tensor.type_name(),
            found: type_name(T::DTYPE, &tensor.shape),
        })
    }

    /// A copy of its elements, in row-major order.
    ///
    /// Errors: as [`view`](Parameter::view).
    pub fn to_array<T: Element>(&self) -> Result<ArrayD<T>> {
        Ok(self.view()?.as_standard_layout().into_owned())
    }
}

impl std::fmt::Debug for Parameter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0.name, self.0.tensor.type_name())
    }
}

/// Every declared dimension with its value.
fn model_dims(module: &Module, given: &[(&str, usize)]) -> Result<Bindings> {
    let wrong = |dim: &str, problem: String| Error::ModelDim { model: module.name.clone(), dim: dim.into(), problem };
    let mut dims = Bindings::new();
    for &(dim, size) in given {
        if !module.dims.iter().any(|declared| declared == dim) {
            let known = module.dims.join("`, `");
            let known = if known.is_empty() { "it declares none".into() } else { format!("it declares `{known}`") };
            return Err(wrong(dim, format!("is not one of the model's; {known}")));
        }
        if size < 1 {
            return Err(wrong(dim, format!("is {size}, but must be at least 1")));
        }
        let size = i64::try_from(size).map_err(|_| wrong(dim, format!("is {size}, which is too large")))?;
        dims.insert(dim.to_string(), size);
    }
    match module.dims.iter().find(|dim| !dims.contains_key(*dim)) {
        Some(dim) => Err(wrong(dim, "was given no value".into())),
        None => Ok(dims),
    }
}

/// The one element of a loss.
fn scalar<T: Element>(loss: Option<AnyArray<'static>>) -> Result<T> {
    let loss = loss.ok_or_else(|| Error::internal("returning a loss", "the program has no result"))?;
    Ok(loss.into_array::<T, Ix0>()?.into_scalar())
}
