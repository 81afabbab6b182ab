//! Which parameters lie in which order.

use super::*;
use crate::attrs::Attrs;
use crate::build::Builder;
use crate::module::{FnKind, Function, Init, ParamDecl};
use crate::{DType, Role, Type};

/// A model with one parameter `w` of that shape, `H` being a dimension, and functions that read it.
fn module(shape: &[Dim], functions: &[fn(&mut Builder, crate::NodeId) -> crate::Built]) -> Module {
    let ty = Type::new(DType::F32, shape.to_vec());
    let function = |read: &fn(&mut Builder, crate::NodeId) -> crate::Built| {
        let mut b = Builder::new();
        let w = b.input(InputKind::Param, "w", ty.clone());
        let y = read(&mut b, w).unwrap();
        b.output(Role::Result, y);
        Function { name: "f".into(), kind: FnKind::Eval, graph: b.finish(), calls: vec![] }
    };
    Module {
        params: vec![ParamDecl { name: "w".into(), ty: ty.clone(), init: Init::Zeros, trainable: true }],
        functions: functions.iter().map(function).collect(),
        ..Module::default()
    }
}

fn order(shape: &[i64], functions: &[fn(&mut Builder, crate::NodeId) -> crate::Built]) -> Option<Vec<usize>> {
    let shape: Vec<Dim> = shape.iter().map(|&size| if size == 0 { Dim::sym("H") } else { Dim::from(size) }).collect();
    let storage = Storage::choose(&module(&shape, functions), &Bindings::from([("H".into(), 20)]));
    storage.order("w").map(|order| order.axes().to_vec())
}

fn conv(b: &mut Builder, w: crate::NodeId) -> crate::Built {
    let channels = b.shape(w)[1].clone();
    let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, [Dim::from(2), channels, Dim::from(9), Dim::from(9)]));
    let attrs = Attrs::new().ints("stride", [1, 1]).ints("lo", [0, 0]).ints("hi", [0, 0]).ints("dilation", [1, 1]);
    b.push(Op::Conv, &[x, w], attrs.int("groups", 1).word("layout", "first"))
}

fn penalty(b: &mut Builder, w: crate::NodeId) -> crate::Built {
    let square = b.mul(w, w)?;
    b.sum(square, &[0, 1, 2, 3], false)
}

#[test]
fn orders_permute_and_come_back() {
    let order = Order::of_filters(4);
    assert_eq!(order.axes(), [2, 3, 1, 0]);
    assert_eq!(order.permuted(&['o', 'i', 'h', 'w']), ['h', 'w', 'i', 'o']);
    assert_eq!(order.inverse().permuted(&order.permuted(&[1, 2, 3, 4])), [1, 2, 3, 4]);
    assert_eq!(Order::new(vec![1, 0]).unwrap(), Order::of_filters(2));
    assert!(Order::new(vec![0, 2]).is_none() && Order::new(vec![0, 0]).is_none());
    let moves = |shape: [i64; 4]| !order.moves_nothing(&shape.map(Dim::from));
    assert!(moves([8, 3, 1, 1]) && !moves([8, 1, 1, 1]) && !moves([1, 3, 1, 1]) && moves([1, 3, 3, 1]));
}

#[test]
fn filters_lie_as_convolutions_read_them() {
    let last = Some(vec![2, 3, 1, 0]);
    assert_eq!(order(&[8, 3, 3, 3], &[conv]), last);
    assert_eq!(order(&[8, 0, 3, 3], &[conv, penalty]), last, "an elementwise reader takes any order");
    assert_eq!(order(&[8, 3, 3, 3], &[penalty]), None);
    assert_eq!(order(&[8, 1, 1, 1], &[conv]), None, "nothing would move");
}

/// `x * w^T` over the last axis, as a linear layer.
fn linear(b: &mut Builder, w: crate::NodeId) -> crate::Built {
    let features = b.shape(w)[1].clone();
    let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, [Dim::from(2), Dim::from(9), features]));
    b.dot(x, w, &[], &[(2, 1)])
}

/// The gradient of the operand of [`linear`].
fn backward(b: &mut Builder, w: crate::NodeId) -> crate::Built {
    let features = b.shape(w)[0].clone();
    let dy = b.input(InputKind::Arg, "dy", Type::new(DType::F32, [Dim::from(2), features]));
    b.dot(dy, w, &[], &[(1, 0)])
}

#[test]
fn matrices_lie_with_the_features_of_the_result_last() {
    let columns = Some(vec![1, 0]);
    assert_eq!(order(&[16, 300], &[linear, backward]), columns);
    assert_eq!(order(&[0, 300], &[linear]), columns, "20 by the dimension of the model");
    assert_eq!(order(&[15, 300], &[linear]), None, "too few");
    assert_eq!(order(&[300, 1], &[linear]), None, "nothing would move");
    assert_eq!(order(&[16, 300], &[backward]), None);
    let batched = order(
        &[16, 300],
        &[|b, w| {
            let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, [16i64, 300]));
            b.dot(x, w, &[(0, 0)], &[(1, 1)])
        }],
    );
    assert_eq!(batched, None);
    let rows = |b: &mut Builder, w| {
        let index = b.input(InputKind::Arg, "i", Type::new(DType::I64, [2i64, 300]));
        b.push(Op::Gather, &[w, index], Attrs::new().int("axis", 0))
    };
    assert_eq!(order(&[16, 300], &[linear, rows]), None, "an embedding that is also the last layer");
}

#[test]
fn one_reader_that_wants_another_order_decides() {
    assert_eq!(order(&[8, 3, 3, 3], &[conv, |b, w| b.reshape(w, &[Dim::from(216)])]), None);
    assert_eq!(order(&[8, 3, 3, 3], &[conv, |_, w| Ok(w)]), None, "a result is what was declared");
    let dead = order(
        &[8, 3, 3, 3],
        &[|b, w| {
            b.reshape(w, &[Dim::from(216)])?;
            conv(b, w)
        }],
    );
    assert!(dead.is_some(), "a reader whom no output needs");
}

#[test]
fn what_an_optimizer_keeps_lies_like_its_parameter() {
    let order = |axes: &[usize]| Order::new(axes.to_vec()).unwrap();
    let storage: Storage =
        [("a".to_string(), order(&[1, 0])), ("a.b".to_string(), order(&[2, 0, 1]))].into_iter().collect();
    let of = |kind, name: &str, rank| {
        let input = Input { name: name.into(), kind, node: crate::NodeId(0) };
        storage.order_of(&input, rank).map(|order| order.axes().to_vec())
    };
    assert_eq!(of(InputKind::State, "a.exp_avg", 2), Some(vec![1, 0]));
    assert_eq!(of(InputKind::State, "a.b.exp_avg", 3), Some(vec![2, 0, 1]));
    assert_eq!(of(InputKind::State, "a.exp_avg", 3), None);
    assert_eq!(of(InputKind::State, "ab.exp_avg", 2), None);
    assert_eq!(of(InputKind::Param, "a", 2), Some(vec![1, 0]));
    assert_eq!(of(InputKind::Arg, "a", 2), None);
}
