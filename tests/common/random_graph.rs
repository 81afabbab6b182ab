//! Valid graphs from arbitrary bytes, so that a failing one shrinks to few instructions.
//!
//! Values are kept within a few units, and ops that jump (floor, comparisons, argmax) are applied to inputs only:
//! then a rounding difference in one place stays small in the results.

use dl_ir::{Attrs, Builder, Built, DType, Dim, Graph, InputKind, NodeId, Op, Role, Type};

/// One step of the generator: which op, and what picks its operands and attributes.
pub type Instruction = [u8; 4];

/// No value grows beyond so many elements.
const MAX_ELEMENTS: i64 = 600;

/// A graph with one op or more for each instruction. Inputs: `x0`, `x1`, `x2` (f32) and `index` (i64, from 0 to 1).
/// The result is the last value; with it every value that nothing uses, so that each instruction counts.
pub fn build(sizes: [u8; 3], program: &[Instruction]) -> Graph {
    let mut b = Builder::new();
    let [p, q, r] = sizes.map(|s| Dim::from(i64::from(s % 6) + 2));
    let shapes = [vec![p.clone(), q.clone()], vec![q.clone(), r.clone()], vec![p, q, r]];
    let mut values = vec![];
    for (i, shape) in shapes.iter().enumerate() {
        values.push(b.input(InputKind::Arg, &format!("x{i}"), Type { dtype: DType::F32, shape: shape.clone() }));
    }
    let index = b.input(InputKind::Arg, "index", Type::new(DType::I64, [5]));
    for &instruction in program {
        let x = values[usize::from(instruction[1]) % values.len()];
        let y = step(&mut b, &values, index, instruction).unwrap_or_else(|e| panic!("{e} in\n{}", b.graph));
        let fits = b.ty(y).elements().as_const().is_some_and(|n| (1..=MAX_ELEMENTS).contains(&n)) && b.rank(y) <= 4;
        values.push(if fits { y } else { b.tanh(x).expect("tanh takes any float") });
    }
    let uses = b.graph.use_counts();
    for &value in &values[3..] {
        if uses[value.index()] == 0 {
            b.output(Role::Result, value);
        }
    }
    b.finish()
}

fn step(b: &mut Builder, values: &[NodeId], index: NodeId, [op, first, second, how]: Instruction) -> Built {
    let x = values[usize::from(first) % values.len()];
    let y = values[usize::from(second) % values.len()];
    let rank = b.rank(x);
    let how = usize::from(how);
    let axis = how % rank.max(1);
    match op % 27 {
        0 => b.tanh(x),
        1 => b.sigmoid(x),
        2 => b.sin(x),
        3 => {
            let half = b.full_like(x, -0.5)?;
            let negative = b.abs(x)?;
            let scaled = b.mul(half, negative)?;
            b.exp(scaled)
        }
        4 => {
            let zero = b.full_like(x, 0.0)?;
            b.max(x, zero)
        }
        5 => {
            let square = b.mul(x, x)?;
            let one = b.full_like(x, 1.0)?;
            let sum = b.add(square, one)?;
            if how % 2 == 0 { b.sqrt(sum) } else { b.rsqrt(sum) }
        }
        6 => {
            let positive = b.abs(x)?;
            if how % 2 == 0 { b.log1p(positive) } else { b.erf(positive) }
        }
        7 | 8 => with_broadcast(b, x, y, Builder::add),
        9 => with_broadcast(b, x, y, Builder::sub),
        10 => with_broadcast(b, x, y, |b, x, y| {
            let bounded = b.tanh(y)?;
            b.mul(x, bounded)
        }),
        11 => with_broadcast(b, x, y, |b, x, y| {
            let square = b.mul(y, y)?;
            let one = b.full_like(square, 1.0)?;
            let divisor = b.add(square, one)?;
            b.div(x, divisor)
        }),
        12 => with_broadcast(b, x, y, if how % 2 == 0 { Builder::max } else { Builder::min }),
        13 if rank > 0 => b.mean(x, &[axis], how % 3 == 0),
        14 if rank > 0 => b.reduce(if how % 2 == 0 { Op::ReduceMax } else { Op::ReduceMin }, x, &[axis], how % 3 == 0),
        15 if rank > 1 => b.mean(x, &[axis, (axis + 1) % rank], how % 2 == 0),
        16 if rank > 0 => softmax(b, x, axis),
        17 if rank > 1 => {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(axis, (axis + 1 + how / 4) % rank);
            b.transpose(x, &perm)
        }
        18 if rank > 1 => {
            let mut shape = b.shape(x).to_vec();
            let at = axis.min(rank - 2);
            let merged = shape.remove(at + 1) * shape[at].clone();
            shape[at] = merged;
            b.reshape(x, &shape)
        }
        19 => {
            let mut shape = b.shape(x).to_vec();
            shape.insert(how % (rank + 1), Dim::ONE);
            b.reshape(x, &shape)
        }
        20 if rank > 0 => slice(b, x, axis, how),
        21 if rank > 0 => {
            let value = b.constant(DType::F32, 0.25);
            let (mut lo, mut hi) = (vec![Dim::from(0); rank], vec![Dim::from(0); rank]);
            lo[axis] = Dim::from((how % 3) as i64);
            hi[axis] = Dim::from((how / 3 % 3) as i64);
            b.pad(x, value, &lo, &hi)
        }
        22 if rank > 0 => {
            let flipped = b.push(Op::Flip, &[x], Attrs::new().ints("axes", vec![axis as i64]))?;
            if how % 2 == 0 { Ok(flipped) } else { b.concat(&[x, flipped], axis) }
        }
        23 | 24 => dot(b, x, y, how),
        25 if rank > 0 => {
            // index holds 0 and 1 only; every axis of an input has two elements or more, of a value maybe one.
            if b.shape(x)[axis].is(1) {
                return b.neg(x);
            }
            let mut shape = b.shape(x).to_vec();
            let mut column = vec![Dim::ONE; rank];
            column[axis] = Dim::from(5);
            shape[axis] = Dim::from(5);
            let index = b.reshape(index, &column)?;
            let index = b.broadcast(index, &shape)?;
            b.push(Op::Gather, &[x, index], Attrs::new().int("axis", axis as i64))
        }
        26 => {
            let input = values[usize::from(second) % 3];
            let zero = b.full_like(input, 0.0)?;
            let condition = b.lt(zero, input)?;
            let small = b.tanh(input)?;
            b.select(condition, input, small)
        }
        _ => b.cos(x),
    }
}

/// The op on `x` and `y` where they broadcast; otherwise on `x` and the mean of `y`.
fn with_broadcast(b: &mut Builder, x: NodeId, y: NodeId, op: impl Fn(&mut Builder, NodeId, NodeId) -> Built) -> Built {
    if b.broadcast_shape(Op::Add, &[x, y]).is_ok() {
        return op(b, x, y);
    }
    let all: Vec<usize> = (0..b.rank(y)).collect();
    let mean = b.mean(y, &all, false)?;
    op(b, x, mean)
}

fn softmax(b: &mut Builder, x: NodeId, axis: usize) -> Built {
    let max = b.reduce(Op::ReduceMax, x, &[axis], true)?;
    let max = b.detach(max)?;
    let shifted = b.sub(x, max)?;
    let exp = b.exp(shifted)?;
    let sum = b.sum(exp, &[axis], true)?;
    b.div(exp, sum)
}

fn slice(b: &mut Builder, x: NodeId, axis: usize, how: usize) -> Built {
    let shape = b.shape(x).to_vec();
    let size = shape[axis].as_const().unwrap_or(1);
    let from = how as i64 % size;
    let to = from + 1 + (how as i64 / 8) % (size - from);
    let (mut start, mut step) = (vec![Dim::from(0); shape.len()], vec![1; shape.len()]);
    let mut stop = shape;
    start[axis] = Dim::from(from);
    stop[axis] = Dim::from(to);
    step[axis] = 1 + (how % 2) as i64;
    b.slice(x, &start, &stop, &step)
}

/// A product over the first pair of equal axes, scaled down; batched over another pair if there is one.
fn dot(b: &mut Builder, x: NodeId, y: NodeId, how: usize) -> Built {
    let (left, right) = (b.shape(x).to_vec(), b.shape(y).to_vec());
    let mut pairs = vec![];
    for (i, size) in left.iter().enumerate() {
        if let Some(j) = right.iter().enumerate().position(|(j, s)| s == size && pairs.iter().all(|&(_, k)| k != j)) {
            pairs.push((i, j));
        }
    }
    if pairs.is_empty() {
        return b.neg(x);
    }
    let sum = pairs.remove(how % pairs.len());
    let batch: Vec<(usize, usize)> = pairs.into_iter().take(how / 4 % 2).collect();
    let product = b.dot(x, y, &batch, &[sum])?;
    let scale = b.full_like(product, 1.0 / left[sum.0].as_const().unwrap_or(1) as f64)?;
    b.mul(product, scale)
}
