//! Graphs with loops, each also without: the same computation written out for every iteration.

use dl_ir::autodiff::gradient;
use dl_ir::{Attrs, Builder, DType, Dim, Graph, InputKind, NodeId, Op, OpError, Role, Type};

type Body = fn(&mut Builder, &[NodeId], &[NodeId], &[NodeId]) -> Result<(Vec<NodeId>, Vec<NodeId>), OpError>;

/// How the iterations of a case are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// One after the other.
    Out,
    /// As a loop whose gradient keeps values.
    Kept,
    /// As a loop whose gradient computes them again.
    Recomputed,
}

/// A loop: types of initial values, of tensors to cut and of constants, and what an iteration does.
pub struct Case {
    pub name: &'static str,
    pub init: &'static [&'static [i64]],
    pub slices: &'static [&'static [i64]],
    pub consts: &'static [&'static [i64]],
    pub body: Body,
}

pub const CASES: &[Case] = &[
    Case {
        name: "sum",
        init: &[&[3]],
        slices: &[&[3]],
        consts: &[],
        body: |b, carry, slice, _| {
            let next = b.add(carry[0], slice[0])?;
            Ok((vec![next], vec![next]))
        },
    },
    Case {
        name: "elman",
        init: &[&[2, 4]],
        slices: &[&[2, 3]],
        consts: &[&[4, 3], &[4, 4], &[4]],
        body: |b, carry, slice, w| {
            let x = b.dot(slice[0], w[0], &[], &[(1, 1)])?;
            let h = b.dot(carry[0], w[1], &[], &[(1, 1)])?;
            let sum = b.add(x, h)?;
            let sum = b.add(sum, w[2])?;
            let next = b.tanh(sum)?;
            Ok((vec![next], vec![next]))
        },
    },
    Case { name: "lstm", init: &[&[2, 4], &[2, 4]], slices: &[&[2, 16]], consts: &[&[16, 4]], body: lstm },
    Case {
        name: "lstm_of_many_units",
        init: &[&[24, 72], &[24, 72]],
        slices: &[&[24, 288]],
        consts: &[&[288, 72]],
        body: lstm,
    },
    Case {
        name: "swap",
        init: &[&[3], &[3]],
        slices: &[&[3]],
        consts: &[&[3]],
        body: |b, carry, slice, w| {
            let next = b.mul(carry[0], slice[0])?;
            let given = b.sub(next, carry[1])?;
            let given = b.mul(given, w[0])?;
            Ok((vec![carry[1], next], vec![given, carry[0], slice[0]]))
        },
    },
    Case {
        name: "only_results",
        init: &[],
        slices: &[&[2, 3], &[2, 3]],
        consts: &[&[3]],
        body: |b, _, slice, w| {
            let product = b.mul(slice[0], slice[1])?;
            let product = b.mul(product, w[0])?;
            let sum = b.sum(product, &[1], false)?;
            Ok((vec![], vec![product, sum]))
        },
    },
    Case {
        name: "nested",
        init: &[&[2]],
        slices: &[&[3, 2]],
        consts: &[&[2]],
        body: |b, carry, slice, w| {
            let w = w[0];
            let inner = b.scan(&[carry[0]], &[slice[0]], Dim::from(3), true, |b, carry, slice| {
                let product = b.mul(carry[0], w)?;
                let next = b.sin(product)?;
                let next = b.add(next, slice[0])?;
                Ok::<_, OpError>((vec![next], vec![product]))
            })?;
            Ok((vec![inner.carries[0]], vec![inner.results[0]]))
        },
    },
];

fn lstm(
    b: &mut Builder,
    carry: &[NodeId],
    slice: &[NodeId],
    w: &[NodeId],
) -> Result<(Vec<NodeId>, Vec<NodeId>), OpError> {
    let h = b.dot(carry[0], w[0], &[], &[(1, 1)])?;
    let gates = b.add(slice[0], h)?;
    let shape = b.shape(carry[0]).to_vec();
    let gate = |b: &mut Builder, at: i64| {
        let (from, to) = (shape[1].clone() * Dim::from(at), shape[1].clone() * Dim::from(at + 1));
        b.slice(gates, &[0.into(), from], &[shape[0].clone(), to], &[1, 1])
    };
    let gates = [gate(b, 0)?, gate(b, 1)?, gate(b, 2)?, gate(b, 3)?];
    let (i, f, o) = (b.sigmoid(gates[0])?, b.sigmoid(gates[1])?, b.sigmoid(gates[3])?);
    let g = b.tanh(gates[2])?;
    let (kept, new) = (b.mul(f, carry[1])?, b.mul(i, g)?);
    let c = b.add(kept, new)?;
    let t = b.tanh(c)?;
    let h = b.mul(o, t)?;
    Ok((vec![h, c], vec![h]))
}

impl Case {
    /// The case with so many iterations as a loop or written out, with a loss of all results and its gradients.
    pub fn graph(&self, length: i64, reverse: bool, how: How) -> Graph {
        let mut b = Builder::new();
        let mut names = 0..;
        let mut inputs = |b: &mut Builder, types: &[&[i64]], lead: Option<i64>| -> Vec<NodeId> {
            let of = |shape: &&[i64]| Type::new(DType::F32, lead.into_iter().chain(shape.iter().copied()));
            types.iter().map(|s| b.input(InputKind::Arg, &format!("x{}", names.next().unwrap()), of(s))).collect()
        };
        let init = inputs(&mut b, self.init, None);
        let xs = inputs(&mut b, self.slices, Some(length));
        let consts = inputs(&mut b, self.consts, None);
        let results = if how != How::Out {
            let mut open = b.open_scan(&init, &xs, Dim::from(length));
            open.recompute = how == How::Recomputed;
            let (carries, slices) = (open.carries.clone(), open.slices.clone());
            let (next, results) = (self.body)(&mut b, &carries, &slices, &consts).unwrap();
            let scanned = b.close_scan(open, &next, &results, reverse).unwrap();
            [scanned.carries, scanned.results].concat()
        } else {
            let mut carry = init.clone();
            let mut given: Vec<Vec<NodeId>> = vec![];
            for step in 0..length {
                let at = if reverse { length - 1 - step } else { step };
                let parts: Vec<NodeId> = xs.iter().map(|&x| part(&mut b, x, at)).collect();
                let (next, results) = (self.body)(&mut b, &carry, &parts, &consts).unwrap();
                carry = next;
                given.push(results);
            }
            if reverse {
                given.reverse();
            }
            let joined: Vec<NodeId> = (0..given[0].len())
                .map(|k| {
                    let parts: Vec<NodeId> = given.iter().map(|g| lead(&mut b, g[k])).collect();
                    b.concat(&parts, 0).unwrap()
                })
                .collect();
            [carry, joined].concat()
        };
        let mut loss = b.constant(DType::F32, 0.0);
        for (k, &result) in results.iter().enumerate() {
            b.output(Role::Result, result);
            let weight = b.full_like(result, 0.7 + 0.3 * k as f64).unwrap();
            let bent = b.sin(result).unwrap();
            let weighted = b.mul(bent, weight).unwrap();
            let axes: Vec<usize> = (0..b.rank(weighted)).collect();
            let sum = b.sum(weighted, &axes, false).unwrap();
            loss = b.add(loss, sum).unwrap();
        }
        let wrt = [init, xs, consts].concat();
        let gradients = gradient(&mut b, loss, &wrt).unwrap();
        gradients.into_iter().for_each(|g| b.output(Role::Result, g.unwrap()));
        b.finish()
    }
}

fn part(b: &mut Builder, x: NodeId, at: i64) -> NodeId {
    let shape = b.shape(x).to_vec();
    let (mut start, mut stop) = (vec![Dim::from(0); shape.len()], shape.clone());
    (start[0], stop[0]) = (Dim::from(at), Dim::from(at + 1));
    let part = b.slice(x, &start, &stop, &vec![1; shape.len()]).unwrap();
    b.push(Op::Reshape, &[part], Attrs::new().dims("shape", shape[1..].to_vec())).unwrap()
}

fn lead(b: &mut Builder, x: NodeId) -> NodeId {
    let mut shape = b.shape(x).to_vec();
    shape.insert(0, Dim::ONE);
    b.reshape(x, &shape).unwrap()
}
