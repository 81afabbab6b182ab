//! Layers and methods against plain computations.

#[path = "support/nn.rs"]
mod nn;

use dl_ir::eval::{Inputs, Tensor, run};
use dl_ir::nn::Given;
use dl_ir::{Builder, DType, InputKind, Role};
use nn::{build, count, eval, layer, map, named, pos, refusal, tensor};

/// `(a, b)` of `[n, m]` numbers in row-major order.
fn at(values: &[f64], width: usize, row: usize, column: usize) -> f64 {
    values[row * width + column]
}

fn close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{what}: element {i} is {a} for {b}");
    }
}

fn waves(shape: &[usize], speed: f64) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| (speed * i as f64).sin() as f32).collect();
    Tensor::f32s(shape, &values)
}

/// What the layer gives with these values of parameters, by their local names.
fn call(name: &str, given: &[Given], operands: &[(Option<&str>, Tensor)], params: &[(&str, Tensor)]) -> Tensor {
    let mut b = Builder::new();
    let mut inputs = Inputs::new();
    let mut call = vec![];
    for (i, (by, value)) in operands.iter().enumerate() {
        let input = format!("x{i}");
        let node = b.input(InputKind::Arg, &input, value.ty());
        inputs.insert(input, value.clone());
        call.push(by.map_or_else(|| pos(node), |by| named(by, node)));
    }
    let layer = layer(name, given).unwrap();
    let bound = layer.bind(name, &call).unwrap();
    let result = tensor(layer.call(&mut b, "l", &bound).unwrap());
    b.output(Role::Result, result);
    inputs.extend(params.iter().map(|(name, value)| (format!("l.{name}"), value.clone())));
    run(&b.finish(), &inputs).unwrap().remove(0)
}

#[test]
fn transposed_convolution_adds_windows() {
    let (x, w) = (waves(&[1, 2, 5], 0.7), waves(&[2, 3, 4], 1.3));
    for (stride, padding, beyond, dilation) in [(1, 0, 0, 1), (2, 1, 1, 1), (3, 2, 2, 2), (2, 0, 0, 3)] {
        let given = [
            map(2, 3),
            pos(4),
            named("stride", stride as i64),
            named("padding", padding as i64),
            named("output_padding", beyond as i64),
            named("dilation", dilation as i64),
            named("bias", false),
        ];
        let y = call("ConvTranspose1d", &given, &[(None, x.clone())], &[("weight", w.clone())]);
        let size = (5 - 1) * stride + dilation * 3 + beyond + 1 - 2 * padding;
        assert_eq!(y.shape, [1, 3, size]);
        let (xs, ws) = (x.to_f64s(), w.to_f64s());
        let mut expected = vec![0.0; 3 * size];
        for (c, o, i, k) in
            (0..2).flat_map(|c| (0..3).flat_map(move |o| (0..5).flat_map(move |i| (0..4).map(move |k| (c, o, i, k)))))
        {
            let place = (i * stride + k * dilation) as i64 - padding as i64;
            if (0..size as i64).contains(&place) {
                expected[o * size + place as usize] += xs[c * 5 + i] * ws[(c * 3 + o) * 4 + k];
            }
        }
        close(&y.to_f64s(), &expected, &format!("stride {stride}, dilation {dilation}"));
    }
}

#[test]
fn bilinear_sums_over_pairs() {
    let (x, y, w) = (waves(&[2, 3], 0.4), waves(&[2, 4], 1.1), waves(&[5, 3, 4], 0.3));
    let given = [pos(3), pos(4), pos(5), named("bias", false)];
    let found = call("Bilinear", &given, &[(None, x.clone()), (None, y.clone())], &[("weight", w.clone())]);
    let (x, y, w) = (x.to_f64s(), y.to_f64s(), w.to_f64s());
    let mut expected = vec![];
    for (n, o) in (0..2).flat_map(|n| (0..5).map(move |o| (n, o))) {
        let pairs = (0..3).flat_map(|i| (0..4).map(move |j| (i, j)));
        expected.push(pairs.map(|(i, j)| at(&x, 3, n, i) * w[(o * 3 + i) * 4 + j] * at(&y, 4, n, j)).sum());
    }
    close(&found.to_f64s(), &expected, "bilinear");
}

#[test]
fn padding_continues_an_axis() {
    let x = Tensor::f32s(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0]);
    let of = |name: &str, more: &[Given]| {
        let given = [&[pos(vec![2, 1])], more].concat();
        call(name, &given, &[(None, x.clone())], &[]).to_f64s()
    };
    assert_eq!(of("ReflectionPad1d", &[]), [3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0]);
    assert_eq!(of("ReplicationPad1d", &[]), [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
    assert_eq!(of("CircularPad1d", &[]), [3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0]);
    assert_eq!(of("ConstantPad1d", &[pos(9)]), [9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 9.0]);
    assert_eq!(of("ZeroPad1d", &[]), [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0]);
    // The pairs stand from the last axis to the first, as in PyTorch.
    let image = count(&[1, 1, 2, 3]);
    let padded = call("ZeroPad2d", &[pos(vec![1, 0, 0, 2])], &[(None, image)], &[]);
    assert_eq!(padded.shape, [1, 1, 4, 4]);
    assert_eq!(padded.to_f64s()[..8], [0.0, 0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 5.0]);
}

#[test]
fn adaptive_pooling_takes_parts_as_equal_as_can_be() {
    for (size, parts) in [(7, 3), (5, 5), (3, 5), (10, 4), (1, 3), (12, 4)] {
        let x = waves(&[1, 2, size], 0.9);
        let part = |i: usize| i * size / parts..((i + 1) * size).div_ceil(parts);
        let values = x.to_f64s();
        let expected = |f: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
            (0..2).flat_map(|c| (0..parts).map(move |i| (c, i))).map(|(c, i)| f(&values[c * size..][part(i)])).collect()
        };
        let of = |name: &str| call(name, &[pos(parts as i64)], &[(None, x.clone())], &[]).to_f64s();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        close(&of("AdaptiveAvgPool1d"), &expected(&mean), &format!("means of {size} in {parts}"));
        let most = |v: &[f64]| v.iter().copied().fold(f64::MIN, f64::max);
        close(&of("AdaptiveMaxPool1d"), &expected(&most), &format!("maxima of {size} in {parts}"));
    }
}

#[test]
fn pooling_may_reach_beyond_the_end() {
    // Sizes, kernels, strides, paddings, and how many windows PyTorch makes with `ceil_mode`.
    for (size, kernel, stride, padding, windows) in [
        (6, 3, 2, 0, 3),
        (6, 2, 2, 1, 4),
        (5, 2, 2, 0, 3),
        (5, 3, 3, 1, 2),
        (7, 2, 3, 0, 3),
        (4, 3, 2, 1, 3),
        (3, 2, 2, 1, 2),
    ] {
        let x = waves(&[1, 1, size], 0.8);
        let values = x.to_f64s();
        let given = [
            pos(kernel as i64),
            named("stride", stride as i64),
            named("padding", padding as i64),
            named("ceil_mode", true),
        ];
        let window = |w: usize, end: usize| (w * stride)..(w * stride + kernel).min(end);
        let inside =
            |w: usize| window(w, size + 2 * padding + kernel).filter(|&i| (padding..size + padding).contains(&i));
        let what = format!("{size} by {kernel}, stride {stride}, padding {padding}");
        let expected: Vec<f64> =
            (0..windows).map(|w| inside(w).map(|i| values[i - padding]).fold(f64::MIN, f64::max)).collect();
        close(&call("MaxPool1d", &given, &[(None, x.clone())], &[]).to_f64s(), &expected, &what);
        for include in [true, false] {
            let expected: Vec<f64> = (0..windows)
                .map(|w| {
                    let sum: f64 = inside(w).map(|i| values[i - padding]).sum();
                    sum / if include { window(w, size + 2 * padding).count() } else { inside(w).count() } as f64
                })
                .collect();
            let given = [&given[..], &[named("count_include_pad", include)]].concat();
            close(&call("AvgPool1d", &given, &[(None, x.clone())], &[]).to_f64s(), &expected, &what);
        }
    }
    let symbolic = |args: &[Given]| nn::type_of("max_pool1d", &["f32[N, 2, T]"], args);
    assert_eq!(symbolic(&[pos(3), named("stride", 2), named("ceil_mode", true)]).unwrap(), "f32[N, 2, floor(T/2)]");
    let refused = refusal("max_pool1d", &["f32[N, 2, T]"], &[pos(2), named("stride", 3), named("ceil_mode", true)]);
    assert!(refused.contains("the stride must be at most 2 there"), "{refused}");
}

#[test]
fn interpolation_of_sizes_and_scales() {
    let x = Tensor::f32s(&[1, 1, 3], &[0.0, 10.0, 40.0]);
    let of = |given: &[Given]| call("Upsample", given, &[(None, x.clone())], &[]).to_f64s();
    let linear = |more: Given| of(&[more, named("mode", "linear")]);
    assert_eq!(of(&[named("scale", 2.0)]), [0.0, 0.0, 10.0, 10.0, 40.0, 40.0]);
    assert_eq!(of(&[named("size", 4)]), [0.0, 0.0, 10.0, 40.0]);
    assert_eq!(of(&[named("size", 2)]), [0.0, 10.0]);
    assert_eq!(of(&[named("scale", 1.5)]), [0.0, 0.0, 10.0, 40.0]);
    close(&linear(named("scale", 2.0)), &[0.0, 2.5, 7.5, 17.5, 32.5, 40.0], "scale 2");
    close(&linear(named("size", 2)), &[2.5, 32.5], "size 2");
    let corners = of(&[named("size", 5), named("mode", "linear"), named("align_corners", true)]);
    close(&corners, &[0.0, 5.0, 10.0, 25.0, 40.0], "corners");
    let one = of(&[named("size", 1), named("mode", "linear"), named("align_corners", true)]);
    close(&one, &[0.0], "a single element is the first");
}

#[test]
fn pixels_move_between_channels() {
    let x = count(&[1, 4, 1, 2]);
    let y = call("PixelShuffle", &[pos(2)], &[(None, x.clone())], &[]);
    assert_eq!((y.shape.as_slice(), y.to_f64s()), (&[1, 1, 2, 4][..], vec![0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]));
    let back = call("PixelUnshuffle", &[pos(2)], &[(None, y)], &[]);
    assert_eq!((back.shape.clone(), back.to_f64s()), (x.shape.clone(), x.to_f64s()));
}

/// `softmax(q k^T / sqrt(E)) v` of one head, where `seen(t, s)`; 0 where nothing is.
fn plain_attention(q: &[f64], k: &[f64], v: &[f64], width: usize, seen: &dyn Fn(usize, usize) -> bool) -> Vec<f64> {
    let (rows, keys) = (q.len() / width, k.len() / width);
    let mut result = vec![];
    for t in 0..rows {
        let score = |s: usize| (0..width).map(|e| at(q, width, t, e) * at(k, width, s, e)).sum::<f64>();
        let weights: Vec<f64> =
            (0..keys).map(|s| if seen(t, s) { (score(s) / (width as f64).sqrt()).exp() } else { 0.0 }).collect();
        let sum: f64 = weights.iter().sum::<f64>().max(1e-300);
        result.extend((0..width).map(|e| (0..keys).map(|s| weights[s] / sum * at(v, width, s, e)).sum::<f64>()));
    }
    result
}

#[test]
fn attention_sees_what_the_masks_leave() {
    let [q, k, v] = [0.3, 0.5, 0.7].map(|speed| waves(&[1, 4, 3], speed));
    let values = [&q, &k, &v].map(Tensor::to_f64s);
    let [qs, ks, vs] = &values;
    let of = |given: &[Given]| eval("sdpa", &[q.clone(), k.clone(), v.clone()], given).unwrap().to_f64s();
    close(&of(&[]), &plain_attention(qs, ks, vs, 3, &|_, _| true), "all");
    close(&of(&[named("causal", true)]), &plain_attention(qs, ks, vs, 3, &|t, s| s <= t), "the past");
    // Nothing is seen in row 2, which gives 0 and no NaN.
    let seen = |t: usize, s: usize| t != 2 && !(t + s).is_multiple_of(3);
    let mask: Vec<i64> = (0..16).map(|i| i64::from(seen(i / 4, i % 4))).collect();
    let mask = Tensor::ints(DType::Bool, &[4, 4], mask);
    let masked = eval("sdpa", &[q.clone(), k.clone(), v.clone(), mask], &[]).unwrap().to_f64s();
    close(&masked, &plain_attention(qs, ks, vs, 3, &seen), "a mask");
}

/// Attention whose projections are the identity shows the masks of the layer.
#[test]
fn multihead_attention_leaves_out_padding() {
    let x = waves(&[2, 4, 3], 0.6);
    let unit = |rows: usize| {
        let values: Vec<f32> = (0..rows * 3).map(|i| if i / 3 % 3 == i % 3 { 1.0 } else { 0.0 }).collect();
        Tensor::f32s(&[rows, 3], &values)
    };
    let given = [pos(3), pos(1), named("bias", false)];
    let padding = Tensor::ints(DType::Bool, &[2, 4], vec![0, 0, 1, 0, 1, 0, 0, 1]);
    let found = call(
        "MultiheadAttention",
        &given,
        &[(None, x.clone()), (Some("key_padding_mask"), padding)],
        &[("in_proj_weight", unit(9)), ("out_proj.weight", unit(3))],
    );
    let x = x.to_f64s();
    let (first, second) = (&x[..12], &x[12..]);
    let expected = [
        plain_attention(first, first, first, 3, &|_, s| s != 2),
        plain_attention(second, second, second, 3, &|_, s| s == 1 || s == 2),
    ]
    .concat();
    close(&found.to_f64s(), &expected, "padding");
}

#[test]
fn positions_turn_pairs() {
    let x = waves(&[3, 4], 0.9);
    let values = x.to_f64s();
    let angle = |t: usize, pair: usize| (t + 2) as f64 * 100f64.powf(-2.0 * pair as f64 / 4.0);
    for interleaved in [false, true] {
        let given = [named("base", 100.0), named("offset", 2), named("interleaved", interleaved)];
        let found = eval("rope", std::slice::from_ref(&x), &given).unwrap().to_f64s();
        let mut expected = vec![0.0; 12];
        for (t, pair) in (0..3).flat_map(|t| (0..2).map(move |p| (t, p))) {
            let (i, j) = if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + 2) };
            let (a, b, (sin, cos)) = (at(&values, 4, t, i), at(&values, 4, t, j), angle(t, pair).sin_cos());
            (expected[t * 4 + i], expected[t * 4 + j]) = (a * cos - b * sin, a * sin + b * cos);
        }
        close(&found, &expected, "rope");
    }
    let table = eval("positional_encoding", &[Tensor::f32s(&[3, 4], &[0.0; 12])], &[]).unwrap().to_f64s();
    let expected: Vec<f64> = (0..12)
        .map(|i| {
            let angle = (i / 4) as f64 * 10_000f64.powf(-2.0 * (i % 4 / 2) as f64 / 4.0);
            if i % 2 == 0 { angle.sin() } else { angle.cos() }
        })
        .collect();
    close(&table, &expected, "sinusoids");
}

#[test]
fn distances_and_norms_of_neighbours() {
    let (x, y) = (waves(&[2, 3], 0.4), waves(&[2, 3], 1.9));
    let found = call("PairwiseDistance", &[pos(1.0)], &[(None, x.clone()), (None, y.clone())], &[]).to_f64s();
    let (xs, ys) = (x.to_f64s(), y.to_f64s());
    let expected: Vec<f64> =
        (0..2).map(|n| (0..3).map(|i| (at(&xs, 3, n, i) - at(&ys, 3, n, i) + 1e-6).abs()).sum()).collect();
    close(&found, &expected, "distance");
    // A vector of zeros has cosine 0 and a finite slope.
    let zero = call("CosineSimilarity", &[], &[(None, Tensor::f32s(&[1, 3], &[0.0; 3])), (None, count(&[1, 3]))], &[]);
    assert_eq!(zero.to_f64s(), [0.0]);

    let x = waves(&[1, 5, 2], 0.7);
    let found = call("LocalResponseNorm", &[pos(4), named("alpha", 2.0), named("k", 0.5)], &[(None, x.clone())], &[]);
    let xs = x.to_f64s();
    let expected: Vec<f64> = (0..10)
        .map(|i| {
            let (c, column) = (i as i64 / 2, i % 2);
            let near = (c - 2..c + 2).filter(|c| (0..5).contains(c)).map(|c| at(&xs, 2, c as usize, column).powi(2));
            xs[i] / (0.5 + 2.0 / 4.0 * near.sum::<f64>()).powf(0.75)
        })
        .collect();
    close(&found.to_f64s(), &expected, "local response");
}

/// The result of a method or layer in training mode.
fn trained(name: &str, given: &[Given], x: &Tensor) -> Tensor {
    let mut b = Builder::new();
    b.training = true;
    let node = tensor(build(&mut b, name, &[x.ty()], given).unwrap());
    b.output(Role::Result, node);
    let inputs = Inputs::from([("a".to_string(), x.clone()), ("random.key".to_string(), nn::ints(&[3, 1]))]);
    run(&b.finish(), &inputs).unwrap().remove(0)
}

#[test]
fn dropout_of_channels_and_paths() {
    let ones = |shape: &[usize]| Tensor::f32s(shape, &vec![1.0; shape.iter().product()]);
    for (name, shape, whole) in [
        ("dropout1d", &[64, 8, 4][..], 4),
        ("dropout2d", &[32, 8, 2, 3], 6),
        ("dropout3d", &[32, 8, 1, 2, 2], 4),
        ("drop_path", &[512, 2, 3], 6),
    ] {
        let y = trained(name, &[pos(0.25)], &ones(shape)).to_f64s();
        let parts: Vec<&[f64]> = y.chunks(whole).collect();
        assert!(parts.iter().all(|p| p.iter().all(|v| *v == p[0])), "{name} keeps or drops as a whole");
        let kept = parts.iter().filter(|p| p[0] != 0.0).count() as f64 / parts.len() as f64;
        assert!((kept - 0.75).abs() < 0.08, "{name} keeps {kept}");
        assert!(parts.iter().all(|p| p[0] == 0.0 || (p[0] - 4.0 / 3.0).abs() < 1e-6));
    }
    let noise = waves(&[64, 64], 1.7);
    let scaled: Vec<f32> = noise.to_f64s().iter().map(|v| (v * std::f64::consts::SQRT_2) as f32).collect();
    let y = trained("alpha_dropout", &[pos(0.2)], &Tensor::f32s(&[64, 64], &scaled)).to_f64s();
    let mean = y.iter().sum::<f64>() / 4096.0;
    let variance = y.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 4096.0;
    assert!(mean.abs() < 0.06 && (variance - 1.0).abs() < 0.08, "mean {mean}, variance {variance}");
}

#[test]
fn gumbel_draws_one_of_the_classes() {
    // Probabilities 0.7, 0.2, 0.1 in each row.
    let row = [0.7f32, 0.2, 0.1].map(f32::ln);
    let x = Tensor::f32s(&[2000, 3], &row.repeat(2000));
    let hard = trained("gumbel_softmax", &[named("hard", true)], &x).to_f64s();
    let near = |v: f64, to: f64| (v - to).abs() < 1e-6;
    assert!(hard.iter().all(|&v| near(v, 0.0) || near(v, 1.0)));
    for (class, p) in [(0, 0.7), (1, 0.2), (2, 0.1)] {
        let share = hard.iter().skip(class).step_by(3).sum::<f64>() / 2000.0;
        assert!((share - p).abs() < 0.04, "class {class}: {share}");
    }
    let soft = trained("gumbel_softmax", &[named("tau", 0.5)], &x).to_f64s();
    assert!(soft.chunks(3).all(|row| near(row.iter().sum(), 1.0)));
    assert!(soft.iter().any(|&v| v > 0.05 && v < 0.95));
}
