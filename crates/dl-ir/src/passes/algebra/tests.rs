//! Each rule, and cases which look like it and must stay.

use super::super::{after, cse, dce};

/// The nodes after simplification, without the inputs `%x`, `%y` of type f32[3, 4] and without types.
fn simple(body: &str) -> Vec<String> {
    let text = format!("%x = input arg \"x\" f32[3, 4]\n%y = input arg \"y\" f32[3, 4]\n{body}");
    let text = after(|g| dce::run(&cse::run(&super::run(g)?)?), &text);
    let line = |l: &str| l.split(" : ").next().unwrap_or_default().to_string();
    text.lines().skip(2).map(line).collect()
}

fn constant(value: &str) -> String {
    format!("%s = const dtype=f32 shape=[] values=[{value}]\n%c = broadcast %s shape=[3, 4]\n")
}

#[test]
fn neutral_operands_go() {
    for body in ["mul %x %c", "mul %c %x", "div %x %c", "pow %x %c"] {
        assert_eq!(simple(&format!("{}%r = {body}\nresult %r", constant("1.0"))), ["result %0"], "{body}");
    }
    assert_eq!(simple(&format!("{}%r = sub %x %c\nresult %r", constant("0.0"))), ["result %0"]);
    assert_eq!(simple(&format!("{}%r = add %c %x\nresult %r", constant("-0.0"))), ["result %0"]);
    // -0 + 0 is 0, and NaN * 0 is NaN.
    for body in ["add %x %c", "mul %x %c"] {
        assert_eq!(simple(&format!("{}%r = {body}\nresult %r", constant("0.0"))).len(), 4, "{body}");
    }
    let text = "%k = input arg \"k\" i64[]\n%0 = const dtype=i64 shape=[] values=[0]\n%r = add %k %0\nresult %r";
    assert_eq!(simple(text), ["%2 = input arg \"k\" i64[]", "result %2"]);
}

#[test]
fn divisions_by_powers_of_two_are_products() {
    let of = |divisor: &str| simple(&format!("{}%r = div %x %c\nresult %r", constant(divisor)));
    assert_eq!(of("4.0")[2..], ["%4 = mul %0 %3", "result %4"]);
    assert!(of("4.0")[0].contains("values=[0.25]"));
    assert_eq!(of("3.0")[2], "%4 = div %0 %3");
    assert_eq!(of("0.0")[2], "%4 = div %0 %3");
}

#[test]
fn small_powers_are_products() {
    let of = |exponent: &str| simple(&format!("{}%r = pow %x %c\nresult %r", constant(exponent)));
    assert_eq!(of("2.0"), ["%2 = mul %0 %0", "result %2"]);
    assert_eq!(of("3.0"), ["%2 = mul %0 %0", "%3 = mul %2 %0", "result %3"]);
    assert_eq!(of("-1.0")[2], "%4 = div %3 %0");
    assert_eq!(of("0.0")[1..], ["%3 = broadcast %2 shape=[3, 4]", "result %3"]);
    assert_eq!(of("2.5")[2], "%4 = pow %0 %3");
}

#[test]
fn signs_meet() {
    assert_eq!(simple("%a = neg %x\n%b = neg %a\nresult %b"), ["result %0"]);
    assert_eq!(simple("%a = neg %y\n%b = add %x %a\nresult %b"), ["%2 = sub %0 %1", "result %2"]);
    assert_eq!(simple("%a = neg %y\n%b = sub %x %a\nresult %b"), ["%2 = add %0 %1", "result %2"]);
    assert_eq!(simple("%a = neg %x\n%b = neg %y\n%c = mul %a %b\nresult %c"), ["%2 = mul %0 %1", "result %2"]);
    assert_eq!(simple("%a = neg %x\n%b = abs %a\n%c = abs %b\nresult %c"), ["%2 = abs %0", "result %2"]);
    assert_eq!(simple("%a = detach %x\nresult %a"), ["result %0"]);
    assert_eq!(simple("%a = max %x %x\nresult %a"), ["result %0"]);
}

#[test]
fn choices_that_are_known_are_made() {
    let truth = |t: &str| {
        format!("%s = const dtype=bool shape=[] values=[{t}]\n%c = broadcast %s shape=[3, 4]\n%l = lt %x %y\n")
    };
    assert_eq!(simple(&format!("{}%r = select %c %x %y\nresult %r", truth("true"))), ["result %0"]);
    assert_eq!(simple(&format!("{}%r = select %c %x %y\nresult %r", truth("false"))), ["result %1"]);
    assert_eq!(simple(&format!("{}%r = and %c %l\nresult %r", truth("true"))), ["%2 = lt %0 %1", "result %2"]);
    assert!(simple(&format!("{}%r = or %l %c\nresult %r", truth("true")))[1].starts_with("%3 = broadcast"));
    assert_eq!(
        simple("%l = lt %x %y\n%n = not %l\n%r = select %n %x %y\nresult %r"),
        ["%2 = lt %0 %1", "%3 = select %2 %1 %0", "result %3"]
    );
}

#[test]
fn conversions_that_lose_nothing_go() {
    assert_eq!(simple("%a = cast %x dtype=f64\n%b = cast %a dtype=f32\nresult %b"), ["result %0"]);
    let ints = |through: &str, to: &str| {
        let lines = simple(&format!(
            "%k = input arg \"k\" i32[5]\n%a = cast %k dtype={through}\n%b = cast %a dtype={to}\nresult %b"
        ));
        lines[1..].to_vec()
    };
    assert_eq!(ints("i64", "u8"), ["%3 = cast %2 dtype=u8", "result %3"]);
    assert_eq!(ints("f64", "i32"), ["result %2"]);
    // A float saturates where an integer wraps; f32 does not hold every i32.
    assert_eq!(ints("f64", "u8").len(), 3);
    assert_eq!(ints("f32", "i64").len(), 3);
}

#[test]
fn movements_become_one() {
    assert_eq!(simple("%a = reshape %x shape=[12]\n%b = reshape %a shape=[3, 4]\nresult %b"), ["result %0"]);
    assert_eq!(simple("%a = transpose %x perm=[1, 0]\n%b = transpose %a perm=[1, 0]\nresult %b"), ["result %0"]);
    assert_eq!(
        simple("%a = reshape %x shape=[3, 1, 4]\n%b = transpose %a perm=[1, 0, 2]\nresult %b"),
        ["%2 = reshape %0 shape=[1, 3, 4]", "result %2"]
    );
    assert_eq!(
        simple(
            "%a = reshape %x shape=[1, 3, 4]\n%b = broadcast %a shape=[2, 3, 4]\n%c = broadcast %b shape=[5, 2, 3, 4]\nresult %c"
        ),
        ["%2 = broadcast %0 shape=[5, 2, 3, 4]", "result %2"]
    );
    assert_eq!(
        simple("%a = flip %x axes=[0, 1]\n%b = flip %a axes=[1]\nresult %b"),
        ["%2 = flip %0 axes=[0]", "result %2"]
    );
    assert_eq!(simple("%a = slice %x start=[0, 0] stop=[3, 4] step=[1, 1]\nresult %a"), ["result %0"]);
    assert_eq!(simple("%a = concat %x axis=1\nresult %a"), ["result %0"]);
    assert_eq!(
        simple("%z = const dtype=f32 shape=[] values=[0.0]\n%a = pad %x %z lo=[0, 0] hi=[0, 0]\nresult %a"),
        ["result %0"]
    );
}

#[test]
fn reductions_of_repeated_values_are_products() {
    assert_eq!(
        simple("%a = broadcast %x shape=[5, 3, 4]\n%b = reduce_sum %a axes=[0]\nresult %b"),
        ["%2 = const dtype=f32 shape=[] values=[5.0]", "%3 = broadcast %2 shape=[3, 4]", "%4 = mul %0 %3", "result %4"]
    );
    assert_eq!(simple("%a = broadcast %x shape=[5, 3, 4]\n%b = reduce_max %a axes=[0]\nresult %b"), ["result %0"]);
    assert_eq!(
        simple("%a = broadcast %x shape=[N, 3, 4]\n%b = reduce_sum %a axes=[0, 2]\nresult %b"),
        [
            "%2 = reduce_sum %0 axes=[1]",
            "%3 = dim_value dtype=f32 dim=[N]",
            "%4 = broadcast %3 shape=[3]",
            "%5 = mul %2 %4",
            "result %5"
        ]
    );
    assert_eq!(
        simple("%a = reduce_sum %x axes=[1]\n%b = reduce_sum %a axes=[0]\nresult %b"),
        ["%2 = reduce_sum %0 axes=[0, 1]", "result %2"]
    );
    assert_eq!(
        simple("%a = reshape %x shape=[3, 1, 4]\n%b = reduce_max %a axes=[1, 2]\nresult %b"),
        ["%2 = reduce_max %0 axes=[1]", "result %2"]
    );
    assert_eq!(simple("%a = reduce_sum %x axes=[]\nresult %a"), ["result %0"]);
}

#[test]
fn repeated_values_are_computed_once() {
    assert_eq!(
        simple(
            "%a = broadcast %x shape=[5, 3, 4]\n%b = broadcast %y shape=[5, 3, 4]\n%c = mul %a %b\n%d = exp %c\nresult %d"
        ),
        ["%2 = mul %0 %1", "%3 = exp %2", "%4 = broadcast %3 shape=[5, 3, 4]", "result %4"]
    );
}

#[test]
fn transposes_become_axes_of_dot() {
    let none = "batch_a=[] batch_b=[]";
    assert_eq!(
        simple(&format!("%t = transpose %y perm=[1, 0]\n%d = dot %x %t {none} sum_a=[1] sum_b=[0]\nresult %d")),
        ["%2 = dot %0 %1 batch_a=[] batch_b=[] sum_a=[1] sum_b=[1]", "result %2"]
    );
    assert_eq!(
        simple(&format!("%d = dot %x %y {none} sum_a=[0] sum_b=[0]\n%t = transpose %d perm=[1, 0]\nresult %t")),
        ["%2 = dot %1 %0 batch_a=[] batch_b=[] sum_a=[0] sum_b=[0]", "result %2"]
    );
    // With another user the product would be computed twice.
    let shared = simple(&format!(
        "%d = dot %x %y {none} sum_a=[0] sum_b=[0]\n%t = transpose %d perm=[1, 0]\nresult %t\nresult %d"
    ));
    assert_eq!(shared[1], "%3 = transpose %2 perm=[1, 0]");
}
