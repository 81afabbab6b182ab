//! Every op through the whole compiler, against the evaluator.

mod common;

use common::jit::{call, difference, options};
use dl_ir::eval::{Inputs, Tensor, run, to_f64};
use dl_ir::{Attrs, Class, DType, Graph, Op, Sample, Type};
use dl_runtime::Options;

/// f32 results: polynomials of a few ulp and sums in another order, each below 2e-6 of the largest element.
const F32: f64 = 5e-6;
/// f64 results: likewise.
const F64: f64 = 1e-13;

fn samples() -> impl Iterator<Item = (Op, Sample)> {
    Op::ALL.iter().flat_map(|&op| (op.def().samples)().into_iter().map(move |s| (op, s)))
}

fn inputs(sample: &Sample, graph: &Graph) -> Inputs {
    let values = sample.values(5).into_iter().zip(&graph.inputs);
    values.map(|(v, input)| (input.name.clone(), v.cast(graph.ty(input.node).dtype))).collect()
}

fn compare(what: &str, graph: &Graph, inputs: &Inputs, tolerance: f64, options: &Options) -> Result<(), String> {
    let expected = run(graph, inputs).map_err(|e| format!("{what}: evaluator: {e}"))?;
    let found = call(graph, inputs, options).map_err(|e| format!("{what}: {e}"))?;
    for (found, expected) in found.iter().zip(&expected) {
        let error = difference(found, expected);
        if error > tolerance {
            return Err(format!("{what}: off by {error:e}\nfound    {found:?}\nexpected {expected:?}\nin\n{graph}"));
        }
    }
    Ok(())
}

fn all_pass(results: impl Iterator<Item = Result<(), String>>) {
    let failures: Vec<String> = results.filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_op_equals_the_evaluator() {
    for threads in [1, 2] {
        let options = options(threads);
        all_pass(samples().map(|(op, sample)| {
            let graph = sample.graph(op).map_err(|e| e.to_string())?;
            compare(op.name(), &graph, &inputs(&sample, &graph), F32, &options)
        }));
    }
}

#[test]
fn every_op_equals_the_evaluator_in_f64() {
    let options = options(1);
    all_pass(samples().map(|(op, sample)| {
        let graph = to_f64(&sample.graph(op).map_err(|e| e.to_string())?);
        // Random numbers are of f32 precision, whatever the type that holds them.
        let tolerance = if op == Op::Random { F32 } else { F64 };
        compare(op.name(), &graph, &inputs(&sample, &graph), tolerance, &options)
    }));
}

/// Infinities, NaN, zeros of both signs and values at the ends of the polynomials' domains.
#[test]
fn special_values_of_elementwise_ops() {
    let special = [
        0.0f32,
        -0.0,
        1.0,
        -1.0,
        0.5,
        2.5,
        -2.5,
        1e-30,
        -1e-30,
        1e30,
        -1e30,
        88.5,
        -88.5,
        104.0,
        -104.0,
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        9.0,
        -9.5,
        3.5,
        16.0,
        -17.0,
        1e-8,
        0.99999994,
    ];
    // Kernels take denormal numbers as zero unless asked not to.
    let mut options = options(1);
    options.keep_denormals = true;
    let elementwise = Op::ALL.iter().copied().filter(|op| op.class() == Class::Elementwise);
    all_pass(elementwise.filter_map(|op| {
        let first = (op.def().samples)().into_iter().find(|s| s.args.iter().all(|t| t.dtype == DType::F32))?;
        let n = special.len();
        // Every pair of special values, flattened.
        let columns: Vec<Vec<f32>> = match first.args.len() {
            1 if is_periodic(op) => vec![angles(&special)],
            1 => vec![special.to_vec()],
            2 => vec![
                special.iter().flat_map(|&a| vec![a; n]).collect(),
                special.iter().flat_map(|_| special.to_vec()).collect(),
            ],
            _ => return None,
        };
        let types = columns.iter().map(|c| Type::new(DType::F32, [c.len()])).collect();
        let attrs: Attrs = first.attrs.clone();
        let sample = Sample { args: types, attrs, ranges: vec![(0.0, 1.0); columns.len()] };
        let graph = sample.graph(op).ok()?;
        let inputs: Inputs =
            columns.iter().zip(&graph.inputs).map(|(c, i)| (i.name.clone(), Tensor::f32s(&[c.len()], c))).collect();
        Some(elementwise_equal(op, &graph, &inputs, &options))
    }));
}

fn is_periodic(op: Op) -> bool {
    matches!(op, Op::Sin | Op::Cos)
}

/// Up to this size, in radians, f32 angles are fine enough for sine and cosine to be worth something.
const MAX_ANGLE: f32 = 1e4;

/// Those of `special` that are angles or not finite, and angles of all sizes in all quadrants.
fn angles(special: &[f32]) -> Vec<f32> {
    let special = special.iter().copied().filter(|x| !x.is_finite() || x.abs() <= MAX_ANGLE);
    let quarters = (-9i8..=9).map(|i| f32::from(i) * std::f32::consts::FRAC_PI_2);
    let spread = (0i16..200).map(|i| (f32::from(i) - 99.5) * MAX_ANGLE / 99.5);
    special.chain(quarters).chain(spread).collect()
}

/// Element by element, since one large value would hide the others' errors.
fn elementwise_equal(op: Op, graph: &Graph, inputs: &Inputs, options: &Options) -> Result<(), String> {
    let expected = run(graph, inputs).map_err(|e| e.to_string())?.remove(0);
    let found = call(graph, inputs, options).map_err(|e| format!("{}: {e}", op.name()))?.remove(0);
    let args: Vec<Vec<f64>> = graph.inputs.iter().map(|i| inputs[&i.name].to_f64s()).collect();
    let wrong: Vec<String> = found
        .to_f64s()
        .iter()
        .zip(expected.to_f64s())
        .enumerate()
        .filter(|&(i, (&a, b))| {
            let close = (a - b).abs() <= 2e-6 * b.abs().max(f64::from(f32::MIN_POSITIVE));
            // Where the reduction of the angle cancels, what is left of it is exact only in absolute terms.
            let reduced = is_periodic(op) && args[0][i].abs() > 1.0 && (a - b).abs() <= 1e-6;
            !(a == b || (a.is_nan() && b.is_nan()) || close || reduced)
        })
        .map(|(i, (a, b))| {
            let args: Vec<f64> = args.iter().map(|c| c[i]).collect();
            format!("{}{args:?} = {a:e}, expected {b:e}", op.name())
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
