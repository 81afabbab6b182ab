//! Products and convolutions against the evaluator: every transposition, odd sizes, split sums, packed operands, the
//! layers of small networks.

mod common;
#[path = "common/program.rs"]
mod program;

use common::Numbers;
use dl_codegen::Isa;
use dl_ir::eval::{self, Inputs, Tensor};
use dl_ir::plan::fuse;
use dl_ir::{Attrs, Builder, DType, Dim, Graph, InputKind, NodeId, Op, Role, Type};
use program::{Machine, differs, run_graph};

/// Two inputs, what `f` makes of them, and that through an epilogue with a bias along the last axis and a residual.
fn graph(a: &[i64], b: &[i64], dtype: DType, f: impl Fn(&mut Builder, NodeId, NodeId) -> NodeId) -> Graph {
    let mut g = Builder::new();
    let a = g.input(InputKind::Arg, "a", Type::new(dtype, a.iter().copied()));
    let b = g.input(InputKind::Arg, "b", Type::new(dtype, b.iter().copied()));
    let y = f(&mut g, a, b);
    let ty = g.ty(y).clone();
    let bias = g.input(InputKind::Arg, "bias", Type { shape: ty.shape.last().cloned().into_iter().collect(), dtype });
    let residual = g.input(InputKind::Arg, "residual", ty);
    let z = g.add(y, bias).unwrap();
    let z = g.max(z, residual).unwrap();
    g.output(Role::Result, z);
    g.finish()
}

fn draw(graph: &Graph) -> Inputs {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let mut tensor = |ty: &Type| {
        let shape = ty.sizes().unwrap();
        let count: usize = shape.iter().product();
        Tensor::floats(ty.dtype, &shape, (0..count).map(|_| numbers.unit()).collect())
    };
    graph.inputs.iter().map(|i| (i.name.clone(), tensor(graph.ty(i.node)))).collect()
}

/// Compares compiled code with the evaluator. The error of a sum of `depth` products of numbers below 1 grows with the
/// number of roundings, each of half a unit in the last place of a running sum of some units.
fn assert_right(graph: &Graph, depth: i64) {
    let narrow = graph.nodes.iter().any(|n| n.ty.dtype == DType::F32);
    let unit = if narrow { f64::from(f32::EPSILON) } else { f64::EPSILON } / 2.0;
    let relative = unit * depth.max(40) as f64;
    let inputs = draw(graph);
    let expected = eval::run(graph, &inputs).unwrap();
    let compare = |machine: Machine<'_>, name: &dyn std::fmt::Display| {
        let actual = run_graph(graph, &inputs, machine).unwrap();
        for (a, e) in actual.iter().zip(&expected) {
            if let Some(what) = differs(a, e, relative) {
                panic!("on {name}: {what}\n{graph}{}", fuse(graph).show(graph, None));
            }
        }
    };
    for isa in Isa::all().unwrap() {
        compare(Machine::Compiled(&isa), &isa.level());
    }
    // It also checks every access; what is larger takes it too long.
    if is_minimal(graph) && graph.nodes.iter().all(|n| n.ty.sizes().unwrap().iter().product::<usize>() < 3000) {
        compare(Machine::Interpreter, &"the interpreter");
    }
}

/// The product of an `m` x `k` and a `k` x `n` matrix, either kept transposed.
fn matrices([m, n, k]: [i64; 3], (ta, tb): (bool, bool), dtype: DType) -> Graph {
    let (a, b) = (if ta { [k, m] } else { [m, k] }, if tb { [n, k] } else { [k, n] });
    graph(&a, &b, dtype, |g, a, b| g.dot(a, b, &[], &[(usize::from(!ta), usize::from(tb))]).unwrap())
}

const TRANSPOSITIONS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

#[test]
fn every_transposition_of_odd_matrices() {
    for t in TRANSPOSITIONS {
        for size in [
            [1, 1, 1],
            [1, 7, 5],
            [7, 1, 5],
            [1, 33, 40],
            [33, 1, 40],
            [5, 3, 2],
            [2, 3, 65],
            [13, 19, 11],
            [64, 10, 37],
            [17, 64, 9],
            [31, 29, 67],
        ] {
            assert_right(&matrices(size, t, DType::F32), size[2]);
            assert_right(&matrices(size, t, DType::F64), size[2]);
        }
    }
}

#[test]
fn split_sums_and_blocks_with_remainders() {
    for t in TRANSPOSITIONS {
        // Long sums into few elements: in chunks that divide the sum and that do not.
        assert_right(&matrices([24, 40, 3072], t, DType::F32), 3072);
        assert_right(&matrices([23, 41, 3001], t, DType::F32), 3001);
        // More rows and columns than a block has, in numbers without divisors.
        assert_right(&matrices([211, 223, 61], t, DType::F32), 61);
    }
    assert_right(&matrices([1, 1, 70_001], (false, true), DType::F32), 70_001);
    assert_right(&matrices([9, 5, 20_011], (true, false), DType::F64), 20_011);
}

#[test]
fn rows_at_multiples_of_a_page_are_packed() {
    for t in TRANSPOSITIONS {
        assert_right(&matrices([96, 512, 64], t, DType::F32), 64);
    }
}

#[test]
fn operands_that_fall_into_the_same_cache_sets_are_copied() {
    for t in TRANSPOSITIONS {
        // Rows of the left operand at multiples of a page, and one whose columns lie far apart.
        assert_right(&matrices([40, 100, 1024], t, DType::F32), 1024);
        assert_right(&matrices([141, 97, 1003], t, DType::F32), 1003);
    }
}

#[test]
fn parameters_are_copied_for_few_rows_too() {
    for (m, n, k) in [(1, 256, 300), (5, 100, 70), (49, 130, 600)] {
        for transposed in [false, true] {
            let mut g = Builder::new();
            let a = g.input(InputKind::Arg, "a", Type::new(DType::F32, [m, k]));
            let shape = if transposed { [n, k] } else { [k, n] };
            let b = g.input(InputKind::Param, "b", Type::new(DType::F32, shape));
            let y = g.dot(a, b, &[], &[(1, usize::from(transposed))]).unwrap();
            g.output(Role::Result, y);
            assert_right(&g.finish(), k);
        }
    }
}

#[test]
fn batches_and_several_axes_of_every_kind() {
    // Attention: q k^T and its product with v, heads in the middle.
    let heads = [2, 17, 3, 8];
    assert_right(&graph(&heads, &heads, DType::F32, |g, q, k| g.dot(q, k, &[(0, 0), (2, 2)], &[(3, 3)]).unwrap()), 40);
    let weights = [2, 3, 17, 17];
    assert_right(
        &graph(&weights, &heads, DType::F32, |g, p, v| g.dot(p, v, &[(0, 0), (1, 2)], &[(3, 1)]).unwrap()),
        40,
    );
    // Rows of two axes; the batch innermost; two summed axes in different orders; only batches.
    assert_right(&graph(&[5, 6, 7], &[9, 7], DType::F32, |g, x, w| g.dot(x, w, &[], &[(2, 1)]).unwrap()), 40);
    assert_right(&graph(&[6, 7, 5], &[7, 4, 5], DType::F32, |g, x, w| g.dot(x, w, &[(2, 2)], &[(1, 0)]).unwrap()), 40);
    assert_right(
        &graph(&[6, 7, 5], &[5, 4, 6], DType::F32, |g, x, w| g.dot(x, w, &[], &[(0, 2), (2, 0)]).unwrap()),
        40,
    );
    assert_right(&graph(&[11, 9], &[11, 9], DType::F32, |g, x, w| g.dot(x, w, &[(0, 0)], &[(1, 1)]).unwrap()), 40);
    assert_right(&graph(&[9, 11], &[9, 11], DType::F32, |g, x, w| g.dot(x, w, &[(1, 1)], &[(0, 0)]).unwrap()), 40);
}

#[test]
fn operands_are_read_as_views() {
    // A transposed slice, and rows that are all the same.
    assert_right(
        &graph(&[9, 12], &[4, 6], DType::F32, |g, x, w| {
            let ints = |v: [i64; 2]| v.map(Dim::from);
            let x = g.slice(x, &ints([1, 2]), &ints([9, 12]), &[2, 2]).unwrap();
            let x = g.transpose(x, &[1, 0]).unwrap();
            g.dot(x, w, &[], &[(1, 0)]).unwrap()
        }),
        40,
    );
    assert_right(
        &graph(&[1, 12], &[12, 6], DType::F32, |g, x, w| {
            let x = g.broadcast(x, &[Dim::from(7), Dim::from(12)]).unwrap();
            g.dot(x, w, &[], &[(1, 0)]).unwrap()
        }),
        40,
    );
}

/// A convolution of square images and its two adjoints.
struct Case {
    images: i64,
    channels: i64,
    filters: i64,
    size: i64,
    kernel: i64,
    stride: i64,
    padding: (i64, i64),
    groups: i64,
}

const CASE: Case =
    Case { images: 2, channels: 3, filters: 8, size: 9, kernel: 3, stride: 1, padding: (1, 1), groups: 1 };

fn assert_convolution(c: &Case, layout: &str) {
    let last = layout == "last";
    let image = |channels, size| if last { [c.images, size, size, channels] } else { [c.images, channels, size, size] };
    let inner = c.channels / c.groups;
    let w = if last { [c.kernel, c.kernel, inner, c.filters] } else { [c.filters, inner, c.kernel, c.kernel] };
    let places = (c.size + c.padding.0 + c.padding.1 - c.kernel) / c.stride + 1;
    let (x, y) = (image(c.channels, c.size), image(c.filters, places));
    let attrs = || {
        let pair = |v| [v, v];
        let attrs = Attrs::new().ints("stride", pair(c.stride)).ints("lo", pair(c.padding.0));
        let attrs = attrs.ints("hi", pair(c.padding.1)).ints("dilation", pair(1));
        attrs.int("groups", c.groups).word("layout", layout)
    };
    let push = |op: Op, attrs: Attrs| move |g: &mut Builder, a, b| g.push(op, &[a, b], attrs.clone()).unwrap();
    let size = vec![Dim::from(c.size); 2];
    let f32 = DType::F32;
    assert_right(&graph(&x, &w, f32, push(Op::Conv, attrs())), inner * c.kernel * c.kernel);
    assert_right(
        &graph(&y, &w, f32, push(Op::ConvInputGrad, attrs().dims("size", size))),
        c.filters * c.kernel * c.kernel,
    );
    assert_right(
        &graph(&x, &y, f32, push(Op::ConvWeightGrad, attrs().ints("kernel", [c.kernel, c.kernel]))),
        c.images * places * places,
    );
}

#[test]
fn convolutions_of_small_networks() {
    for c in [
        Case { channels: 1, filters: 32, size: 28, ..CASE },
        Case { channels: 32, filters: 16, size: 14, ..CASE },
        Case { channels: 16, filters: 24, size: 8, stride: 2, ..CASE },
        Case { channels: 3, filters: 16, size: 32, kernel: 7, stride: 2, padding: (3, 3), images: 1, ..CASE },
        Case { channels: 16, filters: 32, size: 7, kernel: 1, padding: (0, 0), ..CASE },
        Case { channels: 16, filters: 32, size: 7, kernel: 1, stride: 2, padding: (0, 0), ..CASE },
    ] {
        assert_convolution(&c, "last");
    }
}

#[test]
fn convolutions_with_large_weights_on_small_images() {
    for c in [
        Case { images: 1, channels: 344, filters: 344, size: 5, ..CASE },
        Case { images: 2, channels: 344, filters: 344, size: 6, stride: 2, ..CASE },
        Case { images: 1, channels: 1032, filters: 1032, size: 5, kernel: 1, stride: 2, padding: (0, 0), ..CASE },
        // Images at multiples of a page.
        Case { images: 3, channels: 512, filters: 16, size: 4, ..CASE },
    ] {
        assert_convolution(&c, "last");
    }
}

#[test]
fn weight_gradients_of_more_than_the_cache_holds() {
    assert_convolution(&Case { images: 17, channels: 40, filters: 48, size: 16, ..CASE }, "last");
    assert_convolution(&Case { images: 6, channels: 70, filters: 66, size: 32, stride: 2, ..CASE }, "last");
}

#[test]
fn convolutions_in_groups_and_with_odd_padding() {
    for layout in ["first", "last"] {
        for c in [
            CASE,
            Case { stride: 3, ..CASE },
            Case { kernel: 2, padding: (0, 1), stride: 2, ..CASE },
            Case { kernel: 4, padding: (3, 0), size: 5, ..CASE },
            Case { channels: 12, filters: 12, groups: 12, ..CASE },
            Case { channels: 12, filters: 24, groups: 12, stride: 2, ..CASE },
            Case { channels: 8, filters: 12, groups: 4, ..CASE },
        ] {
            assert_convolution(&c, layout);
        }
    }
}

/// Whether a kernel goes over tiles: the convolution is computed by minimal filtering.
fn is_minimal(graph: &Graph) -> bool {
    let fused = fuse(graph);
    let kernels = |i| dl_codegen::lower::group(graph, &fused, i).unwrap().kernels;
    (0..fused.groups.len()).flat_map(kernels).any(|k| k.kernel.name.ends_with("_tiles"))
}

#[test]
fn convolutions_by_minimal_filtering() {
    for c in [
        // Tiles that fill the result, and that reach over it; one image and many; channels of one panel and several.
        Case { images: 1, channels: 32, filters: 64, size: 14, ..CASE },
        Case { images: 3, channels: 20, filters: 16, size: 13, ..CASE },
        Case { images: 7, channels: 33, filters: 48, size: 7, ..CASE },
        Case { images: 1, channels: 64, filters: 96, size: 9, ..CASE },
        Case { images: 2, channels: 16, filters: 112, size: 31, ..CASE },
        Case { images: 5, channels: 48, filters: 64, size: 4, ..CASE },
        Case { images: 3, channels: 16, filters: 16, size: 5, ..CASE },
        // Borders of all kinds; without one nothing is copied before.
        Case { images: 2, channels: 32, filters: 32, size: 12, padding: (0, 0), ..CASE },
        Case { images: 2, channels: 32, filters: 32, size: 11, padding: (0, 2), ..CASE },
        Case { images: 2, channels: 32, filters: 32, size: 12, padding: (2, 1), ..CASE },
    ] {
        assert_convolution(&c, "last");
    }
}

#[test]
fn minimal_filtering_of_images_with_channels_first() {
    let attrs = Attrs::new().ints("stride", [1; 2]).ints("lo", [1; 2]).ints("hi", [1; 2]).ints("dilation", [1; 2]);
    let attrs = attrs.int("groups", 1).word("layout", "last");
    let (x, y, w) = ([2, 40, 12, 13], [2, 12, 13, 48], [3, 3, 40, 48]);
    let convolution = graph(&x, &w, DType::F32, |g, x, w| {
        let x = g.transpose(x, &[0, 2, 3, 1]).unwrap();
        g.push(Op::Conv, &[x, w], attrs.clone()).unwrap()
    });
    let gradient = graph(&x, &y, DType::F32, |g, x, dy| {
        let x = g.transpose(x, &[0, 2, 3, 1]).unwrap();
        g.push(Op::ConvWeightGrad, &[x, dy], attrs.clone().ints("kernel", [3, 3])).unwrap()
    });
    for graph in [convolution, gradient] {
        assert!(is_minimal(&graph));
        assert_right(&graph, 9 * 40);
    }
}

#[test]
fn minimal_filtering_is_for_windows_of_3x3_in_steps_of_one() {
    let of = |op: Op, size: i64, channels: i64, filters: i64, kernel: i64, stride: i64, dtype: DType| {
        let attrs = Attrs::new().ints("stride", [stride; 2]).ints("lo", [1; 2]).ints("hi", [1; 2]);
        let attrs = attrs.ints("dilation", [1; 2]).int("groups", 1).word("layout", "last");
        let (x, y) = ([2, size, size, channels], [2, size.div_euclid(stride), size.div_euclid(stride), filters]);
        let w = [kernel, kernel, channels, filters];
        let (a, b, attrs) = match op {
            Op::ConvInputGrad => (&y, &w, attrs.dims("size", vec![Dim::from(size); 2])),
            Op::ConvWeightGrad => (&x, &y, attrs.ints("kernel", [kernel; 2])),
            _ => (&x, &w, attrs),
        };
        is_minimal(&graph(a, b, dtype, |g, a, b| g.push(op, &[a, b], attrs.clone()).unwrap()))
    };
    for op in [Op::Conv, Op::ConvInputGrad, Op::ConvWeightGrad] {
        assert!(of(op, 14, 32, 64, 3, 1, DType::F32), "{op:?}");
        assert!(!of(op, 14, 32, 64, 3, 1, DType::F64) && !of(op, 14, 32, 64, 3, 2, DType::F32), "{op:?}");
        // Transforms would take more time than they save.
        assert!(!of(op, 14, 3, 64, 3, 1, DType::F32) && !of(op, 14, 32, 10, 3, 1, DType::F32), "{op:?}");
    }
    assert!(!of(Op::Conv, 14, 32, 64, 5, 1, DType::F32) && !of(Op::Conv, 2, 64, 64, 3, 1, DType::F32));
    assert!(!of(Op::ConvWeightGrad, 2, 512, 512, 3, 1, DType::F32));
}
