//! The `model!` macro of `dl`: syntax, resolution, diagnostics and expansion.
//!
//! ```text
//! tokens --syntax--> tree --resolve--> Module (dl-ir) --expand--> struct, methods and the module as text
//! ```

mod diag;
mod syntax;
