//! Optimizers as tables: one line a hyperparameter, from which its field, its setter, its check and its part in the
//! name of the program follow.

use crate::error::{Error, Result};

/// What a hyperparameter may be.
pub(super) struct Limit {
    pub(super) holds: fn(f64) -> bool,
    pub(super) expected: &'static str,
}

/// Rates, penalties and what keeps a divisor from zero.
pub(super) const NOT_NEGATIVE: Limit = Limit { holds: |v| v >= 0.0, expected: "a finite number, 0 or more" };

/// Lengths that gradients are brought to.
pub(super) const POSITIVE: Limit = Limit { holds: |v| v > 0.0, expected: "a finite number above 0" };

/// Decay rates of averages.
pub(super) const FRACTION: Limit = Limit { holds: |v| (0.0..1.0).contains(&v), expected: "at least 0 and below 1" };

/// Decay rates of averages that may also keep everything.
pub(super) const UP_TO_ONE: Limit = Limit { holds: |v| (0.0..=1.0).contains(&v), expected: "from 0 to 1" };

impl Limit {
    /// Checks one value; none may be infinite or NaN.
    pub(super) fn check(&self, optimizer: &'static str, name: &'static str, value: f64) -> Result<()> {
        if value.is_finite() && (self.holds)(value) {
            return Ok(());
        }
        Err(Error::BadHyperparameter { optimizer, name, value, expected: self.expected })
    }
}

/// Declares an optimizer. Kinds of hyperparameters, each with its default and, but for `flag`, its [`Limit`]:
///
/// - `number`: a scalar of the program;
/// - `switch`: a scalar whose part is left out of the program while it is 0;
/// - `flag`: changes the program;
/// - `betas`: two numbers, checked as `beta1` and `beta2`.
///
/// Two methods are left to write: `numbers(&self, t: f64)`, the value of every scalar in step t, and
/// `build(&self, &mut Update)`.
macro_rules! optimizer {
    (
        $(#[$about:meta])*
        $ty:ident($lr:expr) {
            $($(#[$field_about:meta])* $kind:ident $field:ident = $default:expr $(, $limit:ident)?;)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone)]
        pub struct $ty {
            /// The learning rate.
            pub lr: f64,
            $($(#[$field_about])* pub $field: optimizer!(@type $kind),)*
            state: OptimizerState,
        }

        impl $ty {
            /// With learning rate `lr` and the defaults for the rest.
            pub fn new(lr: f64) -> $ty {
                $ty { lr, $($field: $default,)* state: OptimizerState::default() }
            }

            /// With another learning rate.
            pub fn lr(mut self, lr: f64) -> $ty {
                self.lr = lr;
                self
            }

            $(optimizer!(@setter $kind $field $(#[$field_about])*);)*

            fn check(&self) -> Result<()> {
                NOT_NEGATIVE.check(stringify!($ty), "lr", self.lr)?;
                $($(optimizer!(@check self, $ty, $kind $field, $limit);)?)*
                Ok(())
            }
        }

        #[doc = concat!("With a learning rate of ", stringify!($lr), ".")]
        impl Default for $ty {
            fn default() -> $ty {
                $ty::new($lr)
            }
        }

        impl Optimizer for $ty {
            fn name(&self) -> &'static str {
                stringify!($ty)
            }

            fn structure(&self) -> String {
                #[allow(unused_mut, reason = "some have nothing that changes the program")]
                let mut name = String::from(stringify!($ty));
                $(optimizer!(@structure self, name, $kind $field);)*
                name
            }

            fn scalars(&self, step: u64) -> Result<Vec<(&'static str, f64)>> {
                self.check()?;
                self.numbers(step as f64)
            }

            fn update(&self, update: &mut Update<'_>) -> Result<(), OpError> {
                self.build(update)
            }

            fn state(&self) -> &OptimizerState {
                &self.state
            }

            fn state_mut(&mut self) -> &mut OptimizerState {
                &mut self.state
            }
        }
    };
    (@type flag) => { bool };
    (@type betas) => { (f64, f64) };
    (@type $kind:ident) => { f64 };
    (@setter betas $field:ident $(#[$about:meta])*) => {
        $(#[$about])*
        pub fn $field(mut self, beta1: f64, beta2: f64) -> Self {
            self.$field = (beta1, beta2);
            self
        }
    };
    (@setter $kind:ident $field:ident $(#[$about:meta])*) => {
        $(#[$about])*
        pub fn $field(mut self, $field: optimizer!(@type $kind)) -> Self {
            self.$field = $field;
            self
        }
    };
    (@check $self:ident, $ty:ident, betas $field:ident, $limit:ident) => {
        $limit.check(stringify!($ty), "beta1", $self.$field.0)?;
        $limit.check(stringify!($ty), "beta2", $self.$field.1)?;
    };
    (@check $self:ident, $ty:ident, $kind:ident $field:ident, $limit:ident) => {
        $limit.check(stringify!($ty), stringify!($field), $self.$field)?;
    };
    (@structure $self:ident, $name:ident, flag $field:ident) => {
        $name += &format!(concat!(" ", stringify!($field), "={}"), $self.$field);
    };
    (@structure $self:ident, $name:ident, switch $field:ident) => {
        $name += &format!(concat!(" ", stringify!($field), "={}"), $self.$field != 0.0);
    };
    (@structure $self:ident, $name:ident, $kind:ident $field:ident) => {};
}
pub(super) use optimizer;

/// What the file of an optimizer needs.
pub(super) mod prelude {
    pub(in crate::optim) use super::{FRACTION, NOT_NEGATIVE, optimizer};
    pub(in crate::optim) use crate::error::Result;
    pub(in crate::optim) use crate::optim::{NodeId, OpError, Optimizer, OptimizerState, Start, Update};

    /// The scalars of a step.
    pub(in crate::optim) type Numbers = Result<Vec<(&'static str, f64)>>;
}
