//! What `model!` says about mistakes: each file of `tests/ui` with the messages and tokens that it must give.
//!
//! `TRYBUILD=overwrite cargo test --test diagnostics` writes the expectations anew.

#[test]
fn mistakes_are_reported_at_their_tokens() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
