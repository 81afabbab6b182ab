//! What holds for every op of the table.

use super::*;
use crate::attrs::AttrKind;
use crate::build::infer;
use crate::dim::Facts;
use crate::op::{Arity, Class, Op};

#[test]
fn every_sample_infers_a_concrete_type() {
    let facts = Facts::new();
    for &op in Op::ALL {
        let samples = (op.def().samples)();
        let without = op == Op::Input || op.class() == Class::Loop;
        assert!(without || samples.len() >= 2, "{} has too few samples", op.name());
        for s in &samples {
            assert_eq!(s.args.len(), s.ranges.len(), "{}", op.name());
            let args: Vec<&Type> = s.args.iter().collect();
            let ty = infer(op, &args, &s.attrs, &facts).unwrap_or_else(|e| panic!("{e} on {s:?}"));
            assert!(ty.sizes().is_some());
        }
    }
    // These build their operands by the shape rule of the forward op: none may have been dropped.
    for (op, n) in [(Op::Conv, 9), (Op::ConvInputGrad, 9), (Op::MaxPool, 7), (Op::SumPoolGrad, 7)] {
        assert_eq!((op.def().samples)().len(), n);
    }
}

#[test]
fn names_are_unique_and_lead_back() {
    for &op in Op::ALL {
        assert_eq!(Op::from_name(op.name()), Some(op));
    }
    assert_eq!(Op::from_name("nonesuch"), None);
}

#[test]
fn arity_and_attributes_are_checked_before_the_rule() {
    let (f, facts) = (Type::new(DType::F32, [2i64]), Facts::new());
    let message = |op, args: &[&Type], attrs: Attrs| infer(op, args, &attrs, &facts).unwrap_err().to_string();
    assert_eq!(message(Op::Add, &[&f], Attrs::new()), "`add`: takes 2 operands, but 1 are given");
    assert!(message(Op::ReduceSum, &[&f], Attrs::new()).starts_with("`reduce_sum`: `axes`"));
    for &op in Op::ALL {
        let def = op.def();
        if def.attrs.iter().any(|(_, kind)| *kind != AttrKind::Word) {
            let n = match def.arity {
                Arity::Exact(n) | Arity::AtLeast(n) => n,
            };
            assert!(infer(op, &vec![&f; n], &Attrs::new(), &facts).is_err(), "{}", op.name());
        }
        assert!(def.class != Class::Elementwise || def.attrs.is_empty() || op == Op::Cast);
    }
}

#[test]
fn refusals_name_operands_axes_and_sizes() {
    let facts = Facts::new();
    let n = || Dim::sym("N");
    let mut b = Builder::new();
    let input = |b: &mut Builder, name: &str, shape: Vec<Dim>| {
        b.input(crate::graph::InputKind::Arg, name, Type { dtype: DType::F32, shape })
    };
    let x = input(&mut b, "x", vec![n(), 3.into(), 8.into(), 8.into()]);
    let y = input(&mut b, "y", vec![n(), 5.into()]);
    let w = input(&mut b, "w", vec![4.into(), 2.into(), 9.into(), 9.into()]);
    let conv = |groups| {
        Attrs::new()
            .ints("stride", [1i64, 1])
            .ints("lo", [0i64, 0])
            .ints("hi", [0i64, 0])
            .ints("dilation", [1i64, 1])
            .int("groups", groups)
            .word("layout", "first")
    };
    let say = |r: Built| r.unwrap_err().to_string();
    assert_eq!(
        say(b.push(Op::Conv, &[x, w], conv(1))),
        "`conv`: axis 1 of operand 0 is 3, but axis 1 of operand 1 is 2"
    );
    let w3 = input(&mut b, "w3", vec![4.into(), 3.into(), 9.into(), 9.into()]);
    assert_eq!(
        say(b.push(Op::Conv, &[x, w3], conv(1))),
        "`conv`: axis 2 of the result would have size 0: the window reaches over 9, but the axis has 8 and padding 0 and 0"
    );
    assert_eq!(say(b.dot(y, x, &[], &[(1, 1)])), "`dot`: axis 1 of operand 0 is 5, but axis 1 of operand 1 is 3");
    assert_eq!(say(b.reshape(y, &[6.into(), n()])), "`reshape`: f32[N, 5] has 5*N elements, but [6, N] has 6*N");
    assert_eq!(
        say(b.slice(y, &[0.into(), 2.into()], &[n(), 7.into()], &[1, 1])),
        "`slice`: `stop` is 7 on axis 1, which has size 5"
    );
    assert_eq!(say(b.sum(y, &[2], false)), "`reduce_sum`: axis 2 is out of range for f32[N, 5]");
    assert_eq!(say(b.transpose(y, &[1, 1])), "`transpose`: `perm` names axis 1 twice");
    assert_eq!(say(b.not(y)), "`not`: operand 0 must be bool, but it is f32");
    assert!(infer(Op::Broadcast, &[b.ty(y)], &Attrs::new().dims("shape", vec![n(), 6.into()]), &facts).is_err());
}
