//! `einsum` and the einops patterns: values, and errors at their place in the pattern.

#[path = "support/nn.rs"]
mod nn;

use dl_ir::nn::{CallError, Value};
use dl_ir::{Builder, Dim};
use nn::{build, count, dim, eval, named, pos, refusal, ty, type_of};

/// The part of the pattern that the error points at, and its sentence.
fn pointed(name: &str, pattern: &str, types: &[&str], sizes: &[(&str, i64)]) -> (String, String) {
    let mut args = vec![pos(pattern)];
    args.extend(sizes.iter().map(|(n, s)| named(n, *s)));
    match type_of(name, types, &args) {
        Err(CallError::Arg(e)) => (e.within.map_or(String::new(), |part| pattern[part].to_string()), e.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn einsum_types() {
    let types = |pattern: &str, types: &[&str]| type_of("einsum", types, &[pos(pattern)]).unwrap();
    assert_eq!(types("bhtd,bhsd->bhts", &["f32[B, H, T, 64]", "f32[B, H, S, 64]"]), "f32[B, H, T, S]");
    assert_eq!(types("ij->ji", &["f32[N, 3]"]), "f32[3, N]");
    assert_eq!(types("i,j->ij", &["f32[N]", "f32[M]"]), "f32[N, M]");
    assert_eq!(types("ij->", &["f32[N, 3]"]), "f32[]");
    assert_eq!(types("ij,jk", &["f32[2, 3]", "f32[3, 4]"]), "f32[2, 4]");
    assert_eq!(types("...i,ij->...j", &["f32[A, B, 3]", "f32[3, 5]"]), "f32[A, B, 5]");
    assert_eq!(types("...ij,...jk->...ik", &["f32[A, 1, 2, 3]", "f32[B, 3, 4]"]), "f32[A, B, 2, 4]");
    assert_eq!(types("ab,bc,cd->ad", &["f32[N, 2]", "f32[2, 3]", "f32[3, M]"]), "f32[N, M]");
    assert_eq!(types(" b i , b i -> b ", &["f32[N, 2]", "f32[N, 2]"]), "f32[N]");
}

#[test]
fn einsum_values() {
    // sum over j and k of x[i, j] * y[j, k] * z[k, i], by hand.
    let (x, y, z) = (count(&[2, 3]), count(&[3, 4]), count(&[4, 2]));
    let found = eval("einsum", &[x.clone(), y.clone(), z.clone()], &[pos("ij,jk,ki->i")]).unwrap();
    let (x, y, z) = (x.to_f64s(), y.to_f64s(), z.to_f64s());
    let by_hand = |i: usize| -> f64 {
        (0..3).flat_map(|j| (0..4).map(move |k| (j, k))).map(|(j, k)| x[i * 3 + j] * y[j * 4 + k] * z[k * 2 + i]).sum()
    };
    assert_eq!(found.to_f64s(), [by_hand(0), by_hand(1)]);

    // A product without a sum, and a sum of an axis that only one tensor has.
    let outer = eval("einsum", &[count(&[2]), count(&[3])], &[pos("i,j->ji")]).unwrap();
    assert_eq!(outer.to_f64s(), [0.0, 0.0, 0.0, 1.0, 0.0, 2.0]);
    let weighted = eval("einsum", &[count(&[2, 2]), count(&[2])], &[pos("ij,k->i")]).unwrap();
    assert_eq!(weighted.to_f64s(), [1.0, 5.0]);
    let spread = eval("einsum", &[count(&[2, 1, 2]), count(&[3, 2])], &[pos("...i,...i->...")]).unwrap();
    assert_eq!(spread.shape, [2, 3]);
    assert_eq!(spread.to_f64s(), [1.0, 3.0, 5.0, 3.0, 13.0, 23.0]);
}

#[test]
fn einsum_errors_point_into_the_pattern() {
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("ij,jk->iz", &["f32[2, 3]", "f32[3, 4]"], "z", "axis `z` of the result is in none of the tensors"),
        ("ii->i", &["f32[2, 2]"], "i", "axis `i` is repeated in `ii`"),
        (
            "ij,jk->ik",
            &["f32[2, 3]", "f32[4, 5]"],
            "j",
            "axis `j` is 3 in tensor 1 (f32[2, 3]) and 4 in tensor 2 (f32[4, 5])",
        ),
        (
            "i,jk->ik",
            &["f32[2, 3]", "f32[4, 5]"],
            "i",
            "names 1 axes, but tensor 1 is f32[2, 3]; `...` would stand for the others",
        ),
        ("ijk->i", &["f32[2, 3]"], "ijk", "names 3 axes"),
        ("...i->i", &["f32[2, 3]"], "i", "the result needs `...` too"),
        ("i1->i", &["f32[2, 3]"], "1", "`1` is not a letter"),
        ("i..->i", &["f32[2, 3]"], ".", "three dots"),
        ("ij->ij", &["f32[2, 3]", "f32[2, 3]"], "ij->ij", "the pattern is for 1 tensors, but 2 are given"),
    ];
    for (pattern, types, part, message) in cases {
        let (found, sentence) = pointed("einsum", pattern, types, &[]);
        assert_eq!(found, *part, "{pattern}: {sentence}");
        assert!(sentence.contains(message), "{pattern}: {sentence}");
    }
    let at = pointed("einsum", "ij,jk->ik", &["f32[2, D]", "f32[E, 5]"], &[]).1;
    assert!(at.contains("is D in tensor 1") && at.contains("and E in tensor 2"), "{at}");
}

#[test]
fn rearrange_types() {
    let types = |pattern: &str, from: &str, sizes: &[(&str, i64)]| {
        let mut args = vec![pos(pattern)];
        args.extend(sizes.iter().map(|(n, s)| named(n, *s)));
        type_of("rearrange", &[from], &args).unwrap()
    };
    assert_eq!(
        types("b t (three h d) -> three b h t d", "f32[B, T, 96]", &[("three", 3), ("h", 4)]),
        "f32[3, B, 4, T, 8]"
    );
    assert_eq!(
        types("b (h p) (w q) c -> b (h w) (p q c)", "f32[B, 28, 28, 1]", &[("p", 7), ("q", 7)]),
        "f32[B, 16, 49]"
    );
    assert_eq!(types("b c h w -> b (c h w)", "f32[N, 3, H, W]", &[]), "f32[N, 3*H*W]");
    assert_eq!(types("... c -> (...) c", "f32[A, B, 3]", &[]), "f32[A*B, 3]");
    assert_eq!(types("a ... -> ... a", "f32[A, B, 3]", &[]), "f32[B, 3, A]");
    assert_eq!(types("b 1 c -> b c", "f32[B, 1, 3]", &[]), "f32[B, 3]");
    assert_eq!(types("b c -> b 1 c ()", "f32[B, 3]", &[]), "f32[B, 1, 3, 1]");
    assert_eq!(types("(n two) -> two n", "f32[2*N]", &[("two", 2)]), "f32[2, N]");
}

#[test]
fn rearrange_values() {
    let found = eval("rearrange", &[count(&[2, 6])], &[pos("a (b c) -> c (a b)"), named("b", 3)]).unwrap();
    assert_eq!(found.shape, [2, 6]);
    let by_hand: Vec<f64> =
        (0..2).flat_map(|c| (0..2).flat_map(move |a| (0..3).map(move |b| (a * 6 + b * 2 + c) as f64))).collect();
    assert_eq!(found.to_f64s(), by_hand);

    let folded = eval("reduce", &[count(&[2, 4])], &[pos("a (b c) -> c"), pos("max"), named("c", 2)]).unwrap();
    assert_eq!(folded.to_f64s(), [6.0, 7.0]);
    let mean = eval("reduce", &[count(&[2, 2])], &[pos("a b -> b a"), pos("mean")]).unwrap();
    assert_eq!(mean.to_f64s(), [0.0, 2.0, 1.0, 3.0]);
    let repeated = eval("repeat", &[count(&[2])], &[pos("a -> (a r) two"), named("r", 2), named("two", 2)]).unwrap();
    assert_eq!(repeated.shape, [4, 2]);
    assert_eq!(repeated.to_f64s(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
}

#[test]
fn rearrange_errors_point_into_the_pattern() {
    type Row<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, i64)], &'a str, &'a str);
    let cases: &[Row] = &[
        (
            "rearrange",
            "b t (three h d) -> three b h t d",
            "f32[B, T, 96]",
            &[("three", 3)],
            "(three h d)",
            "sizes of `h` and `d` are not determined",
        ),
        ("rearrange", "a b -> a c", "f32[2, 3]", &[], "c", "axis `c` is not on the left"),
        ("rearrange", "height width -> width heigt", "f32[2, 3]", &[], "heigt", "did you mean `height`?"),
        ("rearrange", "a b -> a", "f32[2, 3]", &[], "b", "axis `b` is not on the right"),
        ("rearrange", "a a -> a", "f32[2, 3]", &[], "a", "axis `a` is repeated"),
        (
            "rearrange",
            "a (b c) -> a b c",
            "f32[2, 7]",
            &[("b", 2)],
            "(b c)",
            "has size 7 (the tensor is f32[2, 7]), which does not divide by 2",
        ),
        ("rearrange", "a (b c) -> a b c", "f32[2, 7]", &[("b", 2), ("c", 3)], "(b c)", "but the pattern makes it 6"),
        (
            "rearrange",
            "a b -> a b",
            "f32[2, 3]",
            &[("b", 4)],
            "b",
            "has size 3 (the tensor is f32[2, 3]), but the pattern makes it 4",
        ),
        ("rearrange", "a 1 -> a", "f32[2, 3]", &[], "1", "but the pattern makes it 1"),
        ("rearrange", "a b -> b a", "f32[2, 3, 4]", &[], "a b", "names 2 axes, but the tensor is f32[2, 3, 4]; `...`"),
        ("rearrange", "a ... -> a", "f32[2, 3, 4]", &[], "...", "stands on the left, but not on the right"),
        ("rearrange", "a (b c -> a b c", "f32[2, 3]", &[], "(", "never closed"),
        ("rearrange", "a b) -> a b", "f32[2, 3]", &[], ")", "closes nothing"),
        ("rearrange", "a 2 -> a", "f32[2, 2]", &[], "2", "`2` is no name"),
        ("rearrange", "a b", "f32[2, 2]", &[], "a b", "`->`"),
        ("repeat", "a -> a b", "f32[2]", &[], "b", "`b = ..`"),
    ];
    for (name, pattern, from, sizes, part, message) in cases {
        let (found, sentence) = pointed(name, pattern, &[from], sizes);
        assert_eq!(found, *part, "{pattern}: {sentence}");
        assert!(sentence.contains(message), "{pattern}: {sentence}");
    }
    let unused = refusal("rearrange", &["f32[2, 3]"], &[pos("a b -> b a"), named("c", 3)]);
    assert!(unused.contains("no axis `c`"), "{unused}");
    let word = refusal("reduce", &["f32[2, 3]"], &[pos("a b -> a"), pos("avg")]);
    assert!(word.contains("\"mean\""), "{word}");
}

#[test]
fn splitting_a_symbol_needs_a_fact() {
    let args = [pos("b (h d) -> b h d"), named("h", Value::Int(dim("HEADS")))];
    let refused = refusal("rearrange", &["f32[B, DIM]"], &args);
    assert!(refused.contains("`require DIM % HEADS == 0;`"), "{refused}");
    let mut b = Builder::new();
    b.graph.facts.add_divides(Dim::sym("DIM"), Dim::sym("HEADS"));
    let node = nn::tensor(build(&mut b, "rearrange", &[ty("f32[B, DIM]")], &args).unwrap());
    assert_eq!(b.ty(node).to_string(), "f32[B, HEADS, floor(DIM/HEADS)]");
}
