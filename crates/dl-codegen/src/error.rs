//! What can go wrong here.

use std::fmt;

/// An error of code generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The instruction set asked for is unknown, or the CPU lacks it.
    Isa(String),
    /// The text of a kernel cannot be read.
    Parse {
        /// Line, from 1.
        line: usize,
        /// What was expected.
        message: String,
    },
    /// A kernel breaks a rule of the IR: a mistake in lowering.
    Verify {
        /// Its name.
        kernel: String,
        /// The statement, as printed.
        at: String,
        /// The rule.
        message: String,
    },
    /// Cranelift refused a kernel, or there is no executable memory.
    Compile {
        /// Its name.
        kernel: String,
        /// Cranelift's message.
        message: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Isa(message) => f.write_str(message),
            Error::Parse { line, message } => write!(f, "kernel text, line {line}: {message}"),
            Error::Verify { kernel, at, message } => write!(f, "invalid kernel `{kernel}`: {message}, at `{at}`"),
            Error::Compile { kernel, message } => write!(f, "cannot compile kernel `{kernel}`: {message}"),
        }
    }
}

impl std::error::Error for Error {}
