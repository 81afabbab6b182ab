//! The syntax of `model!`: the tree and its parser.

mod ast;
mod parse;
mod recover;

pub use ast::*;
pub use parse::parse;

#[cfg(test)]
mod tests;
