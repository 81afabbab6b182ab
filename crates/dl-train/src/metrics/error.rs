use std::fmt;

/// Why a metric is not defined for its input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricError {
    /// Inputs that belong together differ in length.
    Lengths {
        /// The first input.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The second input.
        other: &'static str,
        /// Its length.
        other_len: usize,
    },
    /// Inputs that belong together differ in shape.
    Shapes {
        /// The shape of the first input, the predictions.
        predicted: Vec<usize>,
        /// The shape of the second input, the targets.
        target: Vec<usize>,
    },
    /// There are no samples.
    Empty,
    /// A label or a predicted class is not one of the classes.
    Label {
        /// The sample, counted from 0.
        index: usize,
        /// Its label.
        label: i64,
        /// How many classes there are.
        classes: usize,
    },
    /// A score or a probability is NaN.
    NotANumber {
        /// The sample, counted from 0.
        index: usize,
    },
    /// Scores can only be ranked where samples lie both inside and outside of a class.
    OneSided {
        /// The class.
        class: usize,
        /// Whether all samples belong to it; otherwise none does.
        all: bool,
    },
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Lengths { what, len, other, other_len } => {
                write!(f, "there are {len} {what}, but {other_len} {other}; each sample needs one of both")
            }
            Self::Shapes { predicted, target } => {
                write!(f, "predictions have shape {predicted:?}, but targets have {target:?}; they must be the same")
            }
            Self::Empty => write!(f, "there are no samples to judge"),
            Self::Label { index, label, classes } => {
                write!(f, "class {label} of sample {index} is out of range: ")?;
                match classes {
                    0 => write!(f, "there are no classes"),
                    _ => write!(f, "the {classes} classes are 0 to {}", classes - 1),
                }
            }
            Self::NotANumber { index } => write!(f, "the score of sample {index} is NaN"),
            Self::OneSided { class, all } => {
                let how_many = if *all { "all samples are" } else { "no sample is" };
                write!(f, "{how_many} of class {class}; ranking needs samples inside and outside of it")
            }
        }
    }
}

impl std::error::Error for MetricError {}

impl From<MetricError> for dl_runtime::Error {
    fn from(error: MetricError) -> Self {
        Self::Other(Box::new(error))
    }
}
