//! The verifier's and the parser's refusals.

use dl_codegen::kernel::{parse::parse, verify::verify};

/// A kernel of two parts with a float input `b0`, an output `b1`, integers `b2` and `b3` and the given statements.
fn kernel(body: &str) -> String {
    format!(
        "kernel \"k\" parts 2 {{\n b0: f32[20] read\n b1: f32[20] write\n b2: i64[20] read b3: i64[20] readwrite\n{body}\n}}"
    )
}

fn refusal(body: &str) -> String {
    let kernel = parse(&kernel(body)).unwrap_or_else(|e| panic!("{e}"));
    verify(&kernel).expect_err(body).to_string()
}

#[test]
fn a_good_kernel_passes() {
    let body = "v0: f32 = load b0[i0*10]
        vec i1 in 0..10 { v1: f32 = load b0[i0*10 + i1] v2: f32 = mul v0, v1 store b1[i0*10 + i1], v2 }";
    verify(&parse(&kernel(body)).unwrap()).unwrap();
}

#[test]
fn refusals_name_the_rule() {
    let cases = [
        ("store b1[0], v0", "v0 is not defined here"),
        ("v0: f32 = const 1.0 v0: f32 = const 2.0", "v0 is defined twice"),
        ("v0: f32 = load b0[i3]", "i3 is not defined here"),
        ("v0: f32 = load b7[0]", "there is no buffer b7"),
        ("v0: f32 = load b1[0]", "b1 is declared Write"),
        ("v0: f32 = load b0[0] store b0[1], v0", "b0 is declared Read"),
        ("v0: f32 = load b0[i0*20]", "b0[i0*20] spans 0..=20, of 20 elements"),
        ("v0: f32 = load b0[i0 - 1]", "spans -1..=0"),
        ("v0: i64 = load b0[0]", "v0 is i64, expected f32"),
        ("v0: f32 = load b0[0] v1: i64 = load b2[0] v2: f32 = add v0, v1", "v1 is i64, expected f32"),
        ("v0: f32 = load b0[0] v1: f32 = and v0, v0", "v0 is f32, expected i64 or i32 or bool"),
        ("v0: i64 = load b2[0] v1: i64 = shl v0, v0", "a shift is by a constant less than the width"),
        ("v0: i64 = const 64 v1: i64 = shl v0, v0", "a shift is by a constant less than the width"),
        ("v0: f32 = load b0[0] v1: i64 = bitcast v0 to i64", "no bitcast from f32 to i64"),
        ("vec i1 in 0..4 { vec i2 in 0..4 { } }", "vector loops are not nested"),
        ("vec i1 in 0..4 { v0: f32 = load b0[i1] } store b1[0], v0", "v0 is used outside of its block"),
        ("vec i1 in 0..4 { } v0: f32 = load b0[i1]", "i1 is used outside of its block"),
        ("for i1 in 0..4 { } for i1 in 0..4 { }", "i1 is defined twice"),
        ("vec i1 in 0..4 { for i2 in 0..i1 { } }", "loop bounds are the same in all lanes"),
        ("vec i1 in 0..4 { v0: bool = inrange i1 in 0..2 if v0 { } }", "a condition is the same in all lanes"),
        ("v0: f32 = load b0[0] if v0 { }", "v0 is f32, expected bool"),
        ("v0: i64 = load b2[0] i1 = check v0 < 0 site 1", "the limit is positive"),
        ("v0: i64 = load b2[0] i1 = check v0 < 21 site 1 v1: f32 = load b0[i1]", "spans 0..=20"),
        ("i1 = div i0, 0", "the divisor is positive"),
        ("vec i1 in 0..4 { v0: f32 = load b0[i1] } -> (v1: i64 = sum v0)", "v1 is i64, expected f32"),
        (
            "vec i1 in 0..4 { v0: bool = inrange i1 in 0..2 } -> (v1: bool = sum v0)",
            "of truth values there is only `max` and `min`",
        ),
        (
            "contract i1 < 2, i2 < 4, i3 in 0..5 lanes n: v0: f32 = b0[i1 + i2] * b0[i2 + i3] { }",
            "`a` does not depend on the column",
        ),
        ("contract i1 < 2, i2 < 4, i3 in 0..5 lanes n: v0: f32 = b0[i1] * b0[i2*5 + i3 + 1] { }", "spans 1..=20"),
        ("sort b0[i0*10], b3[i0*11], 10 ascending", "spans 9..=20"),
        ("sort b0[i0*11], b3[0], 10 descending", "spans 9..=20"),
        ("sort b0[0], b1[0], 3 ascending", "numbers are sorted, and their positions are i64"),
        ("sort b3[0], b3[10], 3 ascending", "a row is not sorted in place"),
        ("sort b0[0], b3[0], 0 ascending", "one element at least"),
        ("vec i1 in 0..4 { sort b0[0], b3[0], 3 ascending }", "rows are not sorted in vector loops"),
        ("contract i1 < 2, i2 < 4 lanes n: v0: f32 = b0[i1] * b0[i2] { }", "a contraction sums over one loop at least"),
    ];
    for (body, rule) in cases {
        let message = refusal(body);
        assert!(message.contains(rule), "{body}\n  says: {message}\n  expected: {rule}");
    }
}

#[test]
fn syntax_errors_name_the_line() {
    let cases = [
        ("v0: f33 = const 1", 5, "`f33` is not a type"),
        ("\nv0: f32 = frobnicate v1", 6, "`frobnicate` is not an operation"),
        ("store b1[0] v0", 5, "expected `,`, found `v0`"),
        ("v0: f32 = const x", 5, "`x` is not a f32"),
        ("for i1 in 0..4 (v1: f32 = v0) { }", 5, "carries 1 values, not 0"),
        ("vec i1 in 1..4 { }", 5, "expected `0..` and a number"),
        ("v99999999999: f32 = const 1.0", 5, "expected `v` and a number"),
        ("vec i1 in 0..4 {", 6, "ends too early"),
    ];
    for (body, line, message) in cases {
        let error = parse(&kernel(body)).expect_err(body).to_string();
        assert!(error.contains(message) && error.contains(&format!("line {line}")), "{body}: {error}");
    }
}
