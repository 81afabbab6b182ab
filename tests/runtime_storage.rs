//! Parameters lie in memory as kernels read them, which shows nowhere: a convolution against plain loops, through steps,
//! files and accessors.

use std::path::PathBuf;

use dl::Options;
use dl::prelude::*;
use dl_runtime::Isa;
use ndarray::{Array, Array4, ArrayD, Axis, Ix1, Ix2, Ix4, s};
use safetensors::SafeTensors;

dl::model! {
    /// One convolution, and the mean square of what it gives.
    model Filters {
        let conv = Conv2d(2 => 3, kernel = (2, 3), bias = false);

        pub fn forward(x: f32[N, 2, 5, 6]) -> f32[N, 3, 4, 4] {
            conv(x)
        }

        #[train]
        pub fn loss(x: f32[N, 2, 5, 6]) -> f32 {
            let y = forward(x);
            (y * y).mean()
        }
    }
}

dl::model! {
    /// Two matrices: of enough columns for vectors, and of too few.
    model Dense {
        let wide = Linear(30 => 24, bias = false);
        let narrow = Linear(24 => 4);

        pub fn forward(x: f32[N, 30]) -> f32[N, 4] {
            narrow(wide(x))
        }

        #[train]
        pub fn loss(x: f32[N, 30]) -> f32 {
            let y = forward(x);
            (y * y).sum()
        }
    }
}

/// What compiles, whatever the environment asks for.
fn compiled() -> Options {
    let mut options = Options::from_env().unwrap();
    options.isa = Isa::Native;
    options
}

fn images(n: usize) -> Array4<f32> {
    Array::from_shape_fn((n, 2, 5, 6), |(n, c, h, w)| ((n * 31 + c * 17 + h * 7 + w * 3) % 13) as f32 / 6.0 - 1.0)
}

fn weight(net: &Filters) -> Array4<f32> {
    net.parameter("conv.weight").unwrap().to_array::<f32>().unwrap().into_dimensionality::<Ix4>().unwrap()
}

/// The convolution by its definition.
fn convolved(x: &Array4<f32>, w: &Array4<f32>) -> Array4<f32> {
    Array::from_shape_fn((x.dim().0, 3, 4, 4), |(n, o, h, v)| {
        let seen = x.slice(s![n, .., h..h + 2, v..v + 3]);
        (&seen * &w.slice(s![o, .., .., ..])).sum()
    })
}

/// The gradient of the loss by its definition.
fn gradient(x: &Array4<f32>, w: &Array4<f32>) -> Array4<f32> {
    let y = convolved(x, w);
    let scale = 2.0 / y.len() as f32;
    Array::from_shape_fn(w.dim(), |(o, i, h, v)| {
        let seen = x.slice(s![.., i, h..h + 4, v..v + 4]);
        (&seen * &y.slice(s![.., o, .., ..])).sum() * scale
    })
}

fn close(found: &ArrayD<f32>, expected: &Array4<f32>) {
    assert_eq!(found.shape(), expected.shape());
    let error = (found - expected).iter().fold(0.0f32, |worst, d| worst.max(d.abs()));
    assert!(error < 1e-5, "off by {error}: {found}\n{expected}");
}

#[test]
fn linear_layers_are_those_of_the_declared_weights() {
    let mut net = Dense::new(Seed(1)).unwrap();
    let x = Array::from_shape_fn((7, 30), |(n, c)| ((n * 31 + c * 17) % 13) as f32 / 12.0 - 0.5);
    let read = |net: &Dense, name: &str| net.parameter(name).unwrap().to_array::<f32>().unwrap();
    let matrix = |net: &Dense, name: &str| read(net, name).into_dimensionality::<Ix2>().unwrap();
    let (mut wide, mut narrow) = (matrix(&net, "wide.weight"), matrix(&net, "narrow.weight"));
    assert_eq!((wide.dim(), narrow.dim()), ((24, 30), (4, 24)));
    let mut bias = read(&net, "narrow.bias").into_dimensionality::<Ix1>().unwrap();
    for _ in 0..3 {
        let hidden = x.dot(&wide.t());
        let y = hidden.dot(&narrow.t()) + &bias;
        assert!((net.forward(&x).unwrap() - &y).iter().all(|d| d.abs() < 1e-4));
        let dy = y * 2.0;
        let (to_narrow, to_wide) = (dy.t().dot(&hidden), dy.dot(&narrow).t().dot(&x));
        let (_, gradients) = net.grad_loss(&x).unwrap();
        let found = gradients.get::<f32>("wide.weight").unwrap();
        assert!((found - to_wide.clone().into_dyn()).iter().all(|d| d.abs() < 1e-4));
        (wide, narrow, bias) = (wide - to_wide * 0.01, narrow - to_narrow * 0.01, bias - dy.sum_axis(Axis(0)) * 0.01);
        net.train_loss(&mut Sgd::new(0.01), &x).unwrap();
        for (name, expected) in [("wide.weight", &wide), ("narrow.weight", &narrow)] {
            assert!((matrix(&net, name) - expected).iter().all(|d| d.abs() < 1e-4), "{name}");
        }
    }
    let text = Dense::with_options(Seed(1), compiled()).unwrap().explain_train_loss(&Adam::new(0.1), &x).unwrap();
    assert!(text.contains("f32[30, 24]") && text.contains("f32[4, 24]") && !text.contains("transpose"), "{text}");
}

struct File(PathBuf);

impl File {
    fn new(name: &str) -> File {
        File(std::env::temp_dir().join(format!("dl-storage-{name}-{}.safetensors", std::process::id())))
    }

    /// A tensor of the file, as its bytes lie.
    fn tensor(&self, name: &str) -> Array4<f32> {
        let bytes = std::fs::read(&self.0).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.shape(), [3, 2, 2, 3]);
        let values = tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Array4::from_shape_vec((3, 2, 2, 3), values).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn functions_gradients_and_steps_are_those_of_the_declared_weights() {
    let mut net = Filters::new(Seed(1)).unwrap();
    let (x, mut w) = (images(3), weight(&net));
    close(&net.forward(&x).unwrap().into_dyn(), &convolved(&x, &w));
    let (_, gradients) = net.grad_loss(&x).unwrap();
    let found = gradients.get::<f32>("conv.weight").unwrap();
    assert!(found.is_standard_layout());
    close(&found, &gradient(&x, &w));
    let mut velocity = Array4::<f32>::zeros(w.dim());
    let mut sgd = Sgd::new(0.1).momentum(0.5);
    for _ in 0..4 {
        velocity = velocity * 0.5 + gradient(&x, &w);
        w = w - &velocity * 0.1;
        net.train_loss(&mut sgd, &x).unwrap();
        close(&weight(&net).into_dyn(), &w);
        let kept = dl::optim::Optimizer::state(&sgd).get::<f32>("conv.weight.momentum_buffer").unwrap();
        close(&kept.to_owned(), &velocity);
    }
}

#[test]
fn parameters_are_read_and_written_as_declared() {
    let mut net = Filters::new(Seed(1)).unwrap();
    let w = Array::from_shape_fn((3, 2, 2, 3), |(o, i, h, v)| (o * 1000 + i * 100 + h * 10 + v) as f32);
    net.set_parameter("conv.weight", &w).unwrap();
    let parameter = net.parameter("conv.weight").unwrap();
    assert_eq!(parameter.shape(), [3, 2, 2, 3]);
    assert_eq!(parameter.view::<f32>().unwrap(), w.view().into_dyn());
    let copy = parameter.to_array::<f32>().unwrap();
    assert!(copy.is_standard_layout() && copy == w.clone().into_dyn());
    // A view whose elements lie in no order.
    let turned = w.t().as_standard_layout().into_owned();
    net.set_parameter("conv.weight", &turned.t()).unwrap();
    assert_eq!(weight(&net), w);
    let stored = w.permuted_axes([2, 3, 1, 0]);
    let error = net.set_parameter("conv.weight", &stored).unwrap_err().to_string();
    assert_eq!(error, "parameter `conv.weight` is f32[3, 2, 2, 3], but the array given is f32[2, 3, 2, 3]");
}

#[test]
fn files_hold_what_is_declared_and_training_goes_on_from_them() {
    let (net_file, adam_file) = (File::new("net"), File::new("adam"));
    let x = images(4);
    let (mut net, mut adam) = (Filters::new(Seed(2)).unwrap(), Adam::new(0.01));
    (0..3).for_each(|_| _ = net.train_loss(&mut adam, &x).unwrap());
    net.save(&net_file.0).unwrap();
    dl::optim::Optimizer::save(&adam, &adam_file.0).unwrap();
    assert_eq!(net_file.tensor("conv.weight"), weight(&net));
    let average = |adam: &Adam| dl::optim::Optimizer::state(adam).get::<f32>("conv.weight.exp_avg").unwrap().to_owned();
    assert_eq!(adam_file.tensor("conv.weight.exp_avg").into_dyn(), average(&adam));
    let (mut again, mut other) = (Filters::new(Seed(9)).unwrap(), Adam::new(0.01));
    again.load(&net_file.0).unwrap();
    dl::optim::Optimizer::load(&mut other, &adam_file.0).unwrap();
    assert_eq!(average(&other), average(&adam), "before the first step");
    for _ in 0..3 {
        assert_eq!(net.train_loss(&mut adam, &x).unwrap(), again.train_loss(&mut other, &x).unwrap());
    }
    assert_eq!((weight(&net), average(&adam)), (weight(&again), average(&other)));
}

#[test]
fn no_step_moves_a_weight() {
    let net = Filters::with_options(Seed(1), compiled()).unwrap();
    let text = net.explain_train_loss(&Adam::new(0.1), &images(2)).unwrap();
    assert!(text.contains("f32[2, 3, 2, 3]") && !text.contains("f32[3, 2, 2, 3]"), "{text}");
}
