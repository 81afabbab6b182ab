//! Schedules as tables: what must be given, what has a default, and what each may be.

use dl_runtime::{Error, Result};

/// What a number may be.
pub(super) struct Limit {
    pub(super) holds: fn(f64) -> bool,
    pub(super) expected: &'static str,
}

/// Learning rates and factors.
pub(super) const NOT_NEGATIVE: Limit = Limit { holds: |v| v >= 0.0, expected: "a finite number, 0 or more" };

/// Divisors.
pub(super) const POSITIVE: Limit = Limit { holds: |v| v > 0.0, expected: "a finite number above 0" };

/// Parts of a whole.
pub(super) const PART: Limit = Limit { holds: |v| (0.0..=1.0).contains(&v), expected: "from 0 to 1" };

/// Factors that make smaller.
pub(super) const BELOW_ONE: Limit = Limit { holds: |v| (0.0..1.0).contains(&v), expected: "at least 0 and below 1" };

/// Lengths in steps.
pub(super) const COUNT: Limit = Limit { holds: |v| v >= 1.0, expected: "at least 1" };

impl Limit {
    /// Checks one value; none may be infinite or NaN.
    pub(super) fn check(&self, schedule: &'static str, name: &'static str, value: impl Number) -> Result<()> {
        let value = value.number();
        if value.is_finite() && (self.holds)(value) {
            return Ok(());
        }
        Err(Error::BadHyperparameter { optimizer: schedule, name, value, expected: self.expected })
    }
}

/// What a limit is for.
pub(super) trait Number: Copy {
    fn number(self) -> f64;
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for u64 {
    fn number(self) -> f64 {
        self as f64
    }
}

/// Declares a schedule: in parentheses the arguments of `new`, in braces what has a default and a setter, each with its
/// [`Limit`], if there is one; at the end what it keeps between calls.
macro_rules! schedule {
    (
        $(#[$about:meta])*
        $ty:ident($($arg:ident: $arg_ty:ty $(, $arg_limit:ident)?);*) {
            $($(#[$field_about:meta])* $field:ident: $field_ty:ty = $default:expr $(, $limit:ident)?;)*
        }
        $($kept:ident: $kept_ty:ty)?
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $ty {
            $($arg: $arg_ty,)*
            $($field: $field_ty,)*
            $($kept: $kept_ty,)?
        }

        impl $ty {
            /// With the defaults for what is not given.
            ///
            /// Errors: [`Error::BadHyperparameter`](dl_runtime::Error::BadHyperparameter).
            pub fn new($($arg: $arg_ty),*) -> Result<$ty> {
                $($($arg_limit.check(stringify!($ty), stringify!($arg), $arg)?;)?)*
                Ok($ty { $($arg,)* $($field: $default,)* $($kept: Default::default(),)? })
            }

            $(
                $(#[$field_about])*
                ///
                /// Errors: [`Error::BadHyperparameter`](dl_runtime::Error::BadHyperparameter).
                pub fn $field(mut self, $field: $field_ty) -> Result<$ty> {
                    $($limit.check(stringify!($ty), stringify!($field), $field)?;)?
                    self.$field = $field;
                    Ok(self)
                }
            )*
        }
    };
}
pub(super) use schedule;
