//! The `model!` macro of `dl`: syntax, resolution, diagnostics and expansion.
