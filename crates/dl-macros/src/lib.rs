//! The `model!` macro of `dl`: syntax, resolution, diagnostics and expansion.
//!
//! ```text
//! tokens --syntax--> tree --resolve--> Module (dl-ir) --expand--> struct, methods and the module as text
//! ```
//!
//! With `DL_MACRO_TIME=1` in the environment, each expansion prints the time it took to standard error.

mod diag;
mod expand;
mod resolve;
mod syntax;

use proc_macro::TokenStream;

/// Declares models. Use it as `dl::model!`, which adds the path of `dl` in front: `[path] model Name { ... } ...`.
#[proc_macro]
pub fn model(input: TokenStream) -> TokenStream {
    if std::env::var_os("DL_MACRO_TIME").is_none() {
        return expand::expand(input.into()).into();
    }
    let start = std::time::Instant::now();
    let output = expand::expand(input.into()).into();
    eprintln!("model! expanded in {:.3} ms", start.elapsed().as_secs_f64() * 1e3);
    output
}
