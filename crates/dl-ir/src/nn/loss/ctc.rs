//! Connectionist temporal classification: sequences of labels whose places in time nobody wrote down.

use super::super::args::Args;
use super::super::common::{Made, REDUCTION, floats, iota, narrow, unsqueeze};
use super::super::elementwise::at_least;
use super::super::error::CallError;
use super::super::index::whole_numbers;
use super::super::method::MethodDef;
use super::super::params::{Default, Kind, Param};
use super::super::reduce::logsumexp;
use super::super::value::Value;
use super::{reduced, table};
use crate::attrs::Attrs;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::error::OpError;
use crate::graph::NodeId;
use crate::op::Op;
use crate::types::{DType, Scalar};

/// Stands for the logarithm of 0: sums and differences of it are numbers, so that no gradient is NaN.
const IMPOSSIBLE: f64 = -1e30;

table! {
    "ctc" ["ctc_loss"], [
        Param::required("x", Kind::Tensor, "log-probabilities of the classes at each time, [T, N, C]"),
        Param::required("target", Kind::Tensor, "the labels in order, whole numbers [N, S], none of them the blank"),
        Param::optional("input_lengths", Kind::Counts, Default::Absent,
            "how many times count of each sequence, i64[N] or a list; all if left out"),
        Param::optional("target_lengths", Kind::Counts, Default::Absent,
            "how many labels count of each sequence, i64[N] or a list; all if left out"),
        Param::optional("blank", Kind::Int, Default::Int(0), "the class that says nothing"),
        REDUCTION,
        Param::optional("zero_infinity", Kind::Bool, Default::Bool(false),
            "whether a sequence too short for its labels costs 0 in place of infinity")],
        "the negative log-probability that the labels are what is read, without blanks and repetitions (Graves et al. \
         2006); \"mean\" divides each sequence's by its number of labels. The gradient is that of x as the log_softmax of \
         something, as in PyTorch: it has e^x in it, which the gradient of log_softmax takes out again",
        ctc;
}

fn ctc(b: &mut Builder, args: &Args) -> Made {
    let (x, target) = (args.tensor("x"), args.tensor("target"));
    floats(b, 0, x)?;
    for (input, node, rank, layout) in [(0, x, 3, "[T, N, C]"), (1, target, 2, "[N, S]")] {
        if b.rank(node) != rank {
            let (expected, found) = (format!("{rank} axes, {layout}"), b.ty(node).clone());
            return Err(CallError::Rank { input, expected, found, fix: None });
        }
    }
    let target = whole_numbers(b, 1, target)?;
    let (times, batch, classes) = (b.shape(x)[0].clone(), b.shape(x)[1].clone(), b.shape(x)[2].clone());
    let labels = b.shape(target)[1].clone();
    if !b.graph.facts.equal(&b.shape(target)[0], &batch) {
        let (left, right) = (b.ty(x), b.ty(args.tensor("target")));
        return Err(CallError::Inputs(format!(
            "{{0}} is {left}, [T, N, C], so the target must be i64[{batch}, S], but {{1}} is {right}"
        )));
    }
    let blank = args.int("blank");
    if blank < 0 || (classes.clone() - Dim::from(blank)).as_const().is_some_and(|rest| rest < 1) {
        return Err(args.error("blank", format!("class {blank} is none of the {classes} classes")).into());
    }
    let inputs = lengths(b, args, "input_lengths", &batch, &times)?;
    let targets = lengths(b, args, "target_lengths", &batch, &labels)?;

    // Blanks around and between the labels: 2 S + 1 places.
    let blank = b.constant(DType::I64, blank as f64);
    let number = iota(b, DType::I64, &[batch.clone(), labels.clone()], 1)?;
    let counts = unsqueeze(b, targets, 1)?;
    let real = b.lt(number, counts)?;
    let target = b.select(real, target, blank)?;
    let places = labels.clone() * Dim::from(2) + Dim::ONE;
    let pairs = [batch.clone(), labels, Dim::ONE];
    let (blanks, target) = (b.broadcast(blank, &pairs)?, b.reshape(target, &pairs)?);
    let pairs = b.concat(&[blanks, target], 2)?;
    let pairs = b.reshape(pairs, &[batch.clone(), places.clone() - Dim::ONE])?;
    let last = b.broadcast(blank, &[batch.clone(), Dim::ONE])?;
    let places_of = b.concat(&[pairs, last], 1)?;
    // From a label the next one can follow at once, unless it is the same.
    let before = shifted(b, places_of, 2, blank)?;
    let (label, differs) = (b.ne(places_of, blank)?, b.ne(places_of, before)?);
    let skips = b.and(label, differs)?;

    let full = [times.clone(), batch.clone(), places.clone()];
    let index = b.broadcast(places_of, &full)?;
    let emitted = b.push(Op::Gather, &[x, index], Attrs::new().int("axis", 2))?;
    let emitted = at_least(b, emitted, IMPOSSIBLE)?;
    // Before the first time there is only the beginning.
    let dtype = b.dtype(x);
    let (impossible, certain) = (b.constant(dtype, IMPOSSIBLE), b.constant(dtype, 0.0));
    let place = iota(b, DType::I64, &[batch, places], 1)?;
    let zero = b.constant(DType::I64, 0.0);
    let first = b.eq(place, zero)?;
    let start = b.select(first, certain, impossible)?;
    let time = iota(b, DType::I64, std::slice::from_ref(&times), 0)?;
    let counts = unsqueeze(b, inputs, 1)?;
    let scanned = b.scan(&[start], &[emitted, time], times, false, |b, carried, slices| {
        let next = step(b, carried[0], slices[0], skips, impossible)?;
        let runs = b.lt(slices[1], counts)?;
        Ok::<_, OpError>((vec![b.select(runs, next, carried[0])?], vec![]))
    })?;

    // The last label, or the blank behind it.
    let (one, two) = (b.constant(DType::I64, 1.0), b.constant(DType::I64, 2.0));
    let end = b.mul(targets, two)?;
    let end = unsqueeze(b, end, 1)?;
    let label = b.sub(end, one)?;
    let (at_end, at_label) = (b.eq(place, end)?, b.eq(place, label)?);
    let ends = b.or(at_end, at_label)?;
    let ends = b.select(ends, scanned.carries[0], impossible)?;
    let total = logsumexp(b, ends, &[1], false)?;
    let half = b.constant(dtype, 0.5 * IMPOSSIBLE);
    let hopeless = b.lt(total, half)?;
    let loss = b.neg(total)?;
    let loss = normalised(b, loss, x, inputs)?;
    let price = b.constant(dtype, if args.bool("zero_infinity") { 0.0 } else { f64::INFINITY });
    let mut loss = b.select(hopeless, price, loss)?;
    if args.word("reduction") == "mean" {
        let counts = b.max(targets, one)?;
        let counts = b.cast(counts, dtype)?;
        loss = b.div(loss, counts)?;
    }
    reduced(b, loss, args)
}

/// The log-probabilities of having read up to each place one time later: from the place itself, from the one before,
/// and where that is allowed from the one before that.
fn step(b: &mut Builder, alpha: NodeId, emitted: NodeId, skips: NodeId, impossible: NodeId) -> Built {
    let (one, two) = (shifted(b, alpha, 1, impossible)?, shifted(b, alpha, 2, impossible)?);
    let two = b.select(skips, two, impossible)?;
    let ways = [unsqueeze(b, alpha, 2)?, unsqueeze(b, one, 2)?, unsqueeze(b, two, 2)?];
    let ways = b.concat(&ways, 2)?;
    let sum = logsumexp(b, ways, &[2], false)?;
    let next = b.add(sum, emitted)?;
    // It sinks no deeper, however long the loop.
    at_least(b, next, IMPOSSIBLE)
}

/// `x` moved along its last axis by `by` places, which are filled with `value`.
fn shifted(b: &mut Builder, x: NodeId, by: i64, value: NodeId) -> Built {
    let (zeros, size) = (vec![Dim::from(0); 2], b.shape(x)[1].clone());
    let moved = b.pad(x, value, &[Dim::from(0), Dim::from(by)], &zeros)?;
    narrow(b, moved, 1, Dim::from(0), size)
}

/// `loss`, to whose gradient e^x is added at the times that count.
fn normalised(b: &mut Builder, loss: NodeId, x: NodeId, inputs: NodeId) -> Built {
    let shape = b.shape(x).to_vec();
    let (time, zero) = (iota(b, DType::I64, &shape, 0)?, b.constant(b.dtype(x), 0.0));
    let counts = unsqueeze(b, inputs, 1)?;
    let runs = b.lt(time, counts)?;
    let p = b.exp(x)?;
    let p = b.select(runs, p, zero)?;
    let sum = b.sum(p, &[0, 2], false)?;
    let same = b.detach(sum)?;
    let nothing = b.sub(sum, same)?;
    b.add(loss, nothing)
}

/// The numbers of that name, one for each sequence, none above `most`: `most` for all if they were left out.
fn lengths(b: &mut Builder, args: &Args, name: &str, batch: &Dim, most: &Dim) -> Result<NodeId, CallError> {
    let most_node = b.dim_value(most, DType::I64)?;
    match args.get(name) {
        None => Ok(b.broadcast(most_node, std::slice::from_ref(batch))?),
        Some(Value::Tensor(node)) => {
            let fits = b.dtype(*node).is_int() && b.rank(*node) == 1 && b.graph.facts.equal(&b.shape(*node)[0], batch);
            if !fits {
                let message = format!("`{name}` must be i64[{batch}], but it is {}", b.ty(*node));
                return Err(args.error(name, message).into());
            }
            let counts = b.cast(*node, DType::I64)?;
            Ok(b.min(counts, most_node)?)
        }
        _ => {
            let counts: Vec<i64> = args.shape(name).iter().filter_map(Dim::as_const).collect();
            if !b.graph.facts.equal(&Dim::from(counts.len()), batch) {
                let message = format!("`{name}` must have {batch} numbers, but it has {}", counts.len());
                return Err(args.error(name, message).into());
            }
            let above = |c: &&i64| **c < 0 || (most.clone() - Dim::from(**c)).as_const().is_some_and(|rest| rest < 0);
            if let Some(bad) = counts.iter().find(above) {
                let message = format!("every number of `{name}` must be from 0 to {most}, but one is {bad}");
                return Err(args.error(name, message).into());
            }
            let count = [Dim::from(counts.len())];
            Ok(b.constants(DType::I64, &count, counts.into_iter().map(Scalar::Int).collect()))
        }
    }
}
