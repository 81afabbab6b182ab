//! What can go wrong at run time. Every message says what, where, what was expected, what was found and how to mend it.

use std::fmt;
use std::path::PathBuf;

use crate::checkpoint::LoadReport;

/// The result of everything in the runtime that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A run-time error. Nothing that a program passes in panics: it comes back as one of these.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A function was called with the wrong number of arguments.
    ArgumentCount {
        /// The model's function.
        function: String,
        /// Arguments that it declares.
        expected: usize,
        /// Arguments given.
        found: usize,
    },
    /// An argument's shape does not fit the declaration.
    ShapeMismatch {
        /// The model's function.
        function: String,
        /// The argument's name.
        argument: String,
        /// The declared type, such as `f32[N, 10]`.
        expected: String,
        /// The shape of the array that was passed.
        found: Vec<usize>,
        /// Which axis differs and why, in words; may be empty.
        detail: String,
    },
    /// An argument's element type is not the declared one.
    ElementType {
        /// The model's function.
        function: String,
        /// The argument's name.
        argument: String,
        /// The declared type, such as `i64[N]`.
        expected: String,
        /// The element type that was passed.
        found: &'static str,
    },
    /// Two axes that must be equal differ: both are the same symbolic dimension.
    DimConflict {
        /// The model's function.
        function: String,
        /// The dimension, such as `N`.
        dim: String,
        /// What bound it first, such as "axis 0 of `x`".
        first: String,
        /// The size it got there.
        first_size: i64,
        /// What contradicts it, such as "axis 0 of `label`".
        second: String,
        /// The size found there.
        second_size: i64,
    },
    /// A symbolic dimension cannot be found from the arguments.
    DimUnsolved {
        /// The model's function.
        function: String,
        /// The dimension.
        dim: String,
    },
    /// A dimension of the model (`dim HIDDEN;`) got no value, a bad value, or does not exist.
    ModelDim {
        /// The model.
        model: String,
        /// The dimension.
        dim: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A fact that the model's shapes rely on does not hold for these sizes.
    FactViolated {
        /// Where: the model or the function.
        place: String,
        /// The fact, such as `DIM % HEADS == 0`.
        fact: String,
        /// The sizes at hand, such as `DIM = 30, HEADS = 4`.
        sizes: String,
    },
    /// The arguments are as declared, but an operation of the function does not work at these sizes.
    UnfitSizes {
        /// The model's function.
        function: String,
        /// Where in the model, as `file:line:column`.
        location: String,
        /// The sizes at hand, such as `H = 2, N = 1`.
        sizes: String,
        /// What does not work.
        problem: String,
    },
    /// An argument has no elements.
    EmptyBatch {
        /// The model's function.
        function: String,
        /// The argument's name.
        argument: String,
        /// Its axis of size zero.
        axis: usize,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A label, a token or another index lies outside its range.
    IndexOutOfRange {
        /// The model's function.
        function: String,
        /// The argument that holds the index; empty if it was computed.
        argument: String,
        /// Where in the model it is used, as `file:line:column`.
        location: String,
        /// The index.
        index: i64,
        /// The number of entries: indices run from 0 to `size - 1`.
        size: i64,
    },
    /// The operating system refused something.
    Io {
        /// What was tried, such as "writing the checkpoint".
        action: &'static str,
        /// The file, empty when there is none.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file is not a whole, valid safetensors file.
    CorruptCheckpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A valid file holds something else.
    WrongCheckpoint {
        /// The file.
        path: PathBuf,
        /// What was to be loaded, such as "the state of Adam".
        expected: String,
        /// What it holds.
        found: String,
    },
    /// A file's tensors are not those of the model.
    CheckpointMismatch {
        /// The file.
        path: PathBuf,
        /// Everything that differs.
        report: Box<LoadReport>,
    },
    /// There is no parameter of this name.
    UnknownParameter {
        /// The name asked for.
        name: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// An array does not fit the parameter it is meant for.
    ParameterMismatch {
        /// The parameter's name.
        name: String,
        /// Its type, such as `f32[32, 1, 3, 3]`.
        expected: String,
        /// The type given.
        found: String,
    },
    /// An environment variable or an option has a value that means nothing.
    BadSetting {
        /// The variable or option, such as `DL_THREADS`.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// A hyperparameter of an optimizer is out of its range.
    BadHyperparameter {
        /// The optimizer, such as `Adam`.
        optimizer: &'static str,
        /// The hyperparameter, such as `lr`.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The accepted range.
        expected: &'static str,
    },
    /// The pattern of a group of parameters matches none.
    UnmatchedPattern {
        /// The pattern, such as `head.*`.
        pattern: String,
        /// The parameters of the model that can be trained.
        names: Vec<String>,
    },
    /// The model holds averaged parameters, which must not be trained, nor saved as an optimizer's averages.
    AveragesInUse {
        /// The optimizer.
        optimizer: &'static str,
    },
    /// There are no averaged parameters to put into the model.
    NoAverages {
        /// The optimizer.
        optimizer: &'static str,
    },
    /// An optimizer describes a step that does not work. Those of this library do not.
    BadOptimizer {
        /// The optimizer.
        optimizer: &'static str,
        /// The function that it was to train.
        function: String,
        /// What does not work.
        problem: String,
    },
    /// An optimizer's state belongs to another model.
    OptimizerState {
        /// The optimizer.
        optimizer: &'static str,
        /// The state tensor, such as `conv1.weight.m`.
        name: String,
        /// The type that this model needs.
        expected: String,
        /// The type that the optimizer holds.
        found: String,
    },
    /// `train` or `grad` was asked of a function that is not marked `#[train]`.
    NotTrainable {
        /// The model's function.
        function: String,
    },
    /// Parameters, arguments or intermediate values do not fit into memory.
    OutOfMemory {
        /// What it was for.
        what: String,
        /// Its size, `usize::MAX` if that cannot be counted.
        bytes: usize,
    },
    /// One loop of a program would have more iterations than machine code is made for.
    TooLarge {
        /// The model's function.
        function: String,
        /// The number of iterations.
        iterations: u64,
    },
    /// Something outside the runtime, such as reading a data set.
    Other(Box<dyn std::error::Error + Send + Sync>),
    /// A fault of this library, never of the caller.
    Internal {
        /// What was being done, such as "compiling `loss`".
        stage: String,
        /// What went wrong.
        problem: String,
    },
}

impl Error {
    /// A fault of this library while doing `stage`.
    pub(crate) fn internal(stage: impl Into<String>, problem: impl fmt::Display) -> Error {
        Error::Internal { stage: stage.into(), problem: problem.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::ArgumentCount { function, expected, found } => {
                write!(f, "`{function}` takes {}, but {found} were given", count(*expected, "argument"))
            }
            Error::ShapeMismatch { function, argument, expected, found, detail } => {
                write!(
                    f,
                    "`{function}`: argument `{argument}` is declared {expected}, but an array of shape {found:?} was passed"
                )?;
                if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
            }
            Error::ElementType { function, argument, expected, found } => write!(
                f,
                "`{function}`: argument `{argument}` is declared {expected}, but the array's elements are {found}; convert them with `.mapv(|v| v as _)`"
            ),
            Error::DimConflict { function, dim, first, first_size, second, second_size } => write!(
                f,
                "`{function}`: `{dim}` is {first_size} by {first}, but {second_size} by {second}; both must have the same size"
            ),
            Error::DimUnsolved { function, dim } => write!(
                f,
                "`{function}`: the size `{dim}` does not follow from the shapes of the arguments; give one argument an axis that is just `{dim}`"
            ),
            Error::ModelDim { model, dim, problem } => write!(f, "`{model}::new`: dimension `{dim}` {problem}"),
            Error::FactViolated { place, fact, sizes } => {
                write!(f, "`{place}`: the model needs `{fact}`, which does not hold for {sizes}")
            }
            Error::UnfitSizes { function, location, sizes, problem } => {
                write!(f, "`{function}` does not work at the sizes {sizes}: {problem}, at {location}")
            }
            Error::EmptyBatch { function, argument, axis, found } => write!(
                f,
                "`{function}`: argument `{argument}` has shape {found:?}: axis {axis} is empty; pass at least one sample, or skip the call for an empty batch"
            ),
            Error::IndexOutOfRange { function, argument, location, index, size } => {
                let what = if argument.is_empty() { "an index".into() } else { format!("an index in `{argument}`") };
                let entries = count(usize::try_from(*size).unwrap_or(0), "entry");
                write!(f, "`{function}`: {what} is {index}, but what it selects from at {location} has {entries}")?;
                if *size > 0 {
                    write!(f, ", so indices run from 0 to {}", size - 1)?;
                }
                f.write_str("; the model is unchanged")
            }
            Error::Io { action, path, source } => {
                write!(f, "{action}")?;
                if !path.as_os_str().is_empty() {
                    write!(f, " `{}`", path.display())?;
                }
                write!(f, " failed: {source}")
            }
            Error::CorruptCheckpoint { path, problem } => write!(
                f,
                "`{}` is not a whole safetensors file: {problem}; it may have been cut short while it was copied, or be of another format; the model is unchanged",
                path.display()
            ),
            Error::WrongCheckpoint { path, expected, found } => {
                write!(f, "`{}` holds {found}, but {expected} is needed", path.display())
            }
            Error::CheckpointMismatch { path, report } => {
                write!(
                    f,
                    "`{}` does not fit the model, which is unchanged; `load_partial` takes what fits\n{report}",
                    path.display()
                )
            }
            Error::UnknownParameter { name, suggestion } => {
                write!(f, "the model has no parameter `{name}`")?;
                match suggestion {
                    Some(near) => write!(f, "; did you mean `{near}`?"),
                    None => write!(f, "; `parameters()` lists them"),
                }
            }
            Error::ParameterMismatch { name, expected, found } => {
                write!(f, "parameter `{name}` is {expected}, but the array given is {found}")
            }
            Error::BadSetting { setting, value, expected } => write!(f, "{setting} is `{value}`; {expected}"),
            Error::BadHyperparameter { optimizer, name, value, expected } => {
                write!(f, "{optimizer}: `{name}` is {value}, but must be {expected}; no parameter was changed")
            }
            Error::UnmatchedPattern { pattern, names } => {
                write!(f, "the pattern `{pattern}` of `Groups` matches no parameter; ")?;
                let below = format!("{pattern}.");
                match names.iter().any(|name| name.starts_with(&below)) {
                    true => write!(f, "did you mean `{below}*`? ")?,
                    false => f.write_str("`*` stands for any characters, `?` for one. ")?,
                }
                write!(f, "The parameters are `{}`; no parameter was changed", names.join("`, `"))
            }
            Error::AveragesInUse { optimizer } => write!(
                f,
                "the model holds the averages that {optimizer} was asked to `swap` in; `swap` again before training or saving"
            ),
            Error::NoAverages { optimizer } => write!(
                f,
                "{optimizer} has no averages yet: train a step first, and make the average of whole `Groups`: `Groups::new(..).ema(0.999)`"
            ),
            Error::BadOptimizer { optimizer, function, problem } => {
                write!(f, "{optimizer}, as implemented, cannot train `{function}`: {problem}; no parameter was changed")
            }
            Error::OptimizerState { optimizer, name, expected, found } => write!(
                f,
                "{optimizer} holds `{name}` as {found}, but this model needs {expected}: it was used with another model; create one optimizer for each model"
            ),
            Error::NotTrainable { function } => {
                write!(f, "`{function}` has no gradient program; mark it `#[train]` in the model")
            }
            Error::OutOfMemory { what, bytes } => {
                match *bytes {
                    usize::MAX => write!(f, "{what} needs more bytes than there are addresses")?,
                    bytes => write!(f, "{what} needs {}, which the system does not grant", size(bytes))?,
                }
                f.write_str("; use smaller sizes, such as a smaller batch")
            }
            Error::TooLarge { function, iterations } => write!(
                f,
                "`{function}` would need a loop over {iterations} elements, more than kernels are made for; use smaller sizes"
            ),
            Error::Other(error) => error.fmt(f),
            Error::Internal { stage, problem } => {
                write!(
                    f,
                    "internal error while {stage}: {problem}; this is a fault of dl, please report it with the model"
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Other(error) => error.source(),
            _ => None,
        }
    }
}

/// "3.5 MiB".
fn size(bytes: usize) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let unit = (bytes.max(1024).ilog2() as usize / 10).min(units.len());
    format!("{:.1} {}", bytes as f64 / (1u64 << (10 * unit)) as f64, units[unit - 1])
}

/// "1 argument", "2 arguments", "3 entries".
fn count(n: usize, noun: &str) -> String {
    match (n, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{n} {stem}ies"),
        _ => format!("{n} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_can_cross_threads_and_stay_small() {
        fn check<T: Send + Sync + std::error::Error>() {}
        check::<Error>();
        assert!(size_of::<Error>() <= 128, "{} bytes make every Result slow", size_of::<Error>());
    }

    #[test]
    fn messages_carry_the_facts_and_the_fix() {
        let shape = Error::ShapeMismatch {
            function: "loss".into(),
            argument: "x".into(),
            expected: "f32[N, 10]".into(),
            found: vec![4, 9],
            detail: "axis 1 is 9, expected 10".into(),
        };
        assert_eq!(
            shape.to_string(),
            "`loss`: argument `x` is declared f32[N, 10], but an array of shape [4, 9] was passed: axis 1 is 9, expected 10"
        );
        let index = Error::IndexOutOfRange {
            function: "loss".into(),
            argument: "label".into(),
            location: "src/net.rs:12:9".into(),
            index: 10,
            size: 10,
        };
        assert_eq!(
            index.to_string(),
            "`loss`: an index in `label` is 10, but what it selects from at src/net.rs:12:9 has 10 entries, so indices run from 0 to 9; the model is unchanged"
        );
        let setting = Error::BadSetting { setting: "threads", value: "5000".into(), expected: "give fewer".into() };
        assert_eq!(setting.to_string(), "threads is `5000`; give fewer");
    }

    #[test]
    fn sizes_come_in_fitting_units() {
        let sizes = [1, 1024, 1536 << 10, 3 << 30, 1 << 43, 1 << 53].map(size);
        assert_eq!(sizes, ["0.0 KiB", "1.0 KiB", "1.5 MiB", "3.0 GiB", "8.0 TiB", "8192.0 TiB"]);
    }
}
