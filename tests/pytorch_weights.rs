//! Models that PyTorch saved load by name and answer as in PyTorch; `tests/data/pytorch/generate.py` made the files.

use std::fs;

use dl::prelude::*;
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

dl::model! {
    model LeNet {
        let conv1 = Conv2d(1 => 6, kernel = 5, padding = 2);
        let conv2 = Conv2d(6 => 16, kernel = 5);
        let fc1 = Linear(400 => 120);
        let fc2 = Linear(120 => 84);
        let fc3 = Linear(84 => 10);

        pub fn forward(x: f32[N, 1, 28, 28]) -> f32[N, 10] {
            let x = conv1(x).relu().max_pool2d(2);
            let x = conv2(x).relu().max_pool2d(2);
            fc3(fc2(fc1(x.flatten()).relu()).relu())
        }
    }
}

dl::model! {
    model ResNet18 {
        block BasicBlock(WIDTH) {
            let conv1 = Conv2d(WIDTH => WIDTH, kernel = 3, padding = 1, bias = false);
            let bn1 = BatchNorm2d(WIDTH);
            let conv2 = Conv2d(WIDTH => WIDTH, kernel = 3, padding = 1, bias = false);
            let bn2 = BatchNorm2d(WIDTH);

            fn forward(x: f32[N, WIDTH, H, W]) -> f32[N, WIDTH, H, W] {
                (x + bn2(conv2(bn1(conv1(x)).relu()))).relu()
            }
        }

        block Down(FROM, TO) {
            let conv1 = Conv2d(FROM => TO, kernel = 3, stride = 2, padding = 1, bias = false);
            let bn1 = BatchNorm2d(TO);
            let conv2 = Conv2d(TO => TO, kernel = 3, padding = 1, bias = false);
            let bn2 = BatchNorm2d(TO);
            let downsample = [Conv2d(FROM => TO, kernel = 1, stride = 2, bias = false), BatchNorm2d(TO)];

            fn forward(x: f32[N, FROM, H, W]) -> f32[N, TO, (H - 1) / 2 + 1, (W - 1) / 2 + 1] {
                (downsample(x) + bn2(conv2(bn1(conv1(x)).relu()))).relu()
            }
        }

        let conv1 = Conv2d(3 => 8, kernel = 7, stride = 2, padding = 3, bias = false);
        let bn1 = BatchNorm2d(8);
        let layer1 = [BasicBlock(8); 2];
        let layer2 = [Down(8, 16), BasicBlock(16)];
        let layer3 = [Down(16, 32), BasicBlock(32)];
        let layer4 = [Down(32, 64), BasicBlock(64)];
        let fc = Linear(64 => 10);

        pub fn forward(x: f32[N, 3, H, W]) -> f32[N, 10] {
            let x = bn1(conv1(x)).relu().max_pool2d(3, stride = 2, padding = 1);
            fc(layer4(layer3(layer2(layer1(x)))).mean(axis = [2, 3]))
        }
    }
}

dl::model! {
    model Tagger {
        let lstm = Lstm(8 => 16, layers = 2, bidirectional = true);
        let out = Linear(32 => 5);

        pub fn forward(x: f32[N, T, 8]) -> (f32[N, T, 5], f32[4, N, 16], f32[4, N, 16]) {
            let (y, h, c) = lstm(x);
            (out(y), h, c)
        }
    }
}

dl::model! {
    model Gpt {
        const HEADS = 4;

        block Attention(DIM) {
            let c_attn = Linear(DIM => 3 * DIM);
            let c_proj = Linear(DIM => DIM);

            fn forward(x: f32[N, T, DIM]) -> f32[N, T, DIM] {
                let qkv = c_attn(x).rearrange("n t (three h d) -> three n h t d", three = 3, h = HEADS);
                let y = scaled_dot_product_attention(qkv.index(0), qkv.index(1), qkv.index(2), causal = true);
                c_proj(y.rearrange("n h t d -> n t (h d)"))
            }
        }

        block Mlp(DIM) {
            let c_fc = Linear(DIM => 4 * DIM);
            let c_proj = Linear(4 * DIM => DIM);

            fn forward(x: f32[N, T, DIM]) -> f32[N, T, DIM] {
                c_proj(c_fc(x).gelu(approximate = "tanh"))
            }
        }

        block Block(DIM) {
            let ln_1 = LayerNorm(DIM);
            let attn = Attention(DIM);
            let ln_2 = LayerNorm(DIM);
            let mlp = Mlp(DIM);

            fn forward(x: f32[N, T, DIM]) -> f32[N, T, DIM] {
                let x = x + attn(ln_1(x));
                x + mlp(ln_2(x))
            }
        }

        block Transformer(DIM) {
            let wte = Embedding(65, DIM);
            let wpe = Embedding(24, DIM);
            let h = [Block(DIM); 2];
            let ln_f = LayerNorm(DIM);

            fn forward(tokens: i64[N, T]) -> f32[N, T, DIM] {
                ln_f(h(wte(tokens) + wpe(arange(T))))
            }
        }

        let transformer = Transformer(32);
        let lm_head = Linear(32 => 65, bias = false);

        pub fn forward(tokens: i64[N, T]) -> f32[N, T, 65] {
            lm_head(transformer(tokens))
        }
    }
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pytorch");

/// An input or an output.
fn value<const SIZE: usize, T>(model: &str, name: &str, number: fn([u8; SIZE]) -> T) -> ArrayD<T> {
    let bytes = fs::read(format!("{FOLDER}/{model}_values.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let elements = view.data().as_chunks().0.iter().map(|&b| number(b)).collect();
    ArrayD::from_shape_vec(IxDyn(view.shape()), elements).unwrap()
}

fn floats(model: &str, name: &str) -> ArrayD<f32> {
    value(model, name, f32::from_le_bytes)
}

fn assert_close<D: ndarray::Dimension>(model: &str, name: &str, found: ndarray::Array<f32, D>) {
    let (found, expected) = (found.into_dyn(), floats(model, name));
    assert_eq!(found.shape(), expected.shape(), "{model}: {name}");
    let worst = (&found - &expected).iter().fold(0f32, |worst, d| worst.max(d.abs()));
    assert!(worst < 1e-5, "{model}: {name} differs by {worst}");
}

#[test]
fn lenet() -> dl::Result<()> {
    let mut net = LeNet::new(Seed(0))?;
    net.load(format!("{FOLDER}/lenet.safetensors"))?;
    assert_close("lenet", "y0", net.forward(&floats("lenet", "x").into_dimensionality().unwrap())?);
    Ok(())
}

#[test]
fn resnet18_of_torchvision() -> dl::Result<()> {
    let mut net = ResNet18::new(Seed(0))?;
    net.load(format!("{FOLDER}/resnet18.safetensors"))?;
    assert_close("resnet18", "y0", net.forward(&floats("resnet18", "x").into_dimensionality().unwrap())?);
    Ok(())
}

#[test]
fn lstm_of_two_layers_and_directions() -> dl::Result<()> {
    let mut net = Tagger::new(Seed(0))?;
    net.load(format!("{FOLDER}/lstm.safetensors"))?;
    let (y, h, c) = net.forward(&floats("lstm", "x").into_dimensionality().unwrap())?;
    assert_close("lstm", "y0", y);
    assert_close("lstm", "y1", h);
    assert_close("lstm", "y2", c);
    Ok(())
}

#[test]
fn gpt_with_one_product_for_query_key_and_value() -> dl::Result<()> {
    let mut net = Gpt::new(Seed(0))?;
    net.load(format!("{FOLDER}/gpt.safetensors"))?;
    let tokens = value("gpt", "x", i64::from_le_bytes).into_dimensionality().unwrap();
    assert_close("gpt", "y0", net.forward(&tokens)?);
    Ok(())
}

/// What PyTorch's `half()` saves, and a buffer that only PyTorch needs, such as a causal mask.
#[test]
fn half_precision_is_widened_and_what_is_too_much_is_named() -> dl::Result<()> {
    let mut net = LeNet::new(Seed(0))?;
    let shapes: Vec<(String, Vec<usize>)> =
        net.parameters().map(|p| (p.name().to_string(), p.shape().to_vec())).collect();
    // 1.5 in bfloat16.
    let elements = [0xc0u8, 0x3f].repeat(shapes.iter().map(|(_, shape)| shape.iter().product()).max().unwrap_or(0));
    let view = |shape: &[usize]| {
        TensorView::new(Dtype::BF16, shape.to_vec(), &elements[..2 * shape.iter().product::<usize>()]).unwrap()
    };
    let mut tensors: Vec<(String, TensorView)> = shapes.iter().map(|(n, shape)| (n.clone(), view(shape))).collect();
    let path = std::env::temp_dir().join(format!("dl-half-{}.safetensors", std::process::id()));
    fs::write(&path, safetensors::serialize(tensors.clone(), None).unwrap()).unwrap();
    net.load(&path)?;
    assert!(net.parameters().all(|p| p.view::<f32>().is_ok_and(|view| view.iter().all(|&v| v == 1.5))));

    let mut other = LeNet::new(Seed(0))?;
    let before = other.parameter("fc3.bias")?.to_array::<f32>()?;
    tensors.push(("attn.mask".into(), view(&[4, 4])));
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let message = other.load(&path).unwrap_err().to_string();
    assert!(message.contains("`load_partial` takes what fits"), "{message}");
    assert!(message.ends_with("10 fit\n1 unexpected in the file: attn.mask"), "{message}");
    assert_eq!(other.parameter("fc3.bias")?.to_array::<f32>()?, before);
    let report = other.load_partial(&path)?;
    assert_eq!((report.loaded.len(), report.unexpected), (10, vec!["attn.mask".to_string()]));
    assert_eq!(other.parameter("fc3.bias")?.to_array::<f32>()?, net.parameter("fc3.bias")?.to_array::<f32>()?);
    fs::remove_file(path).ok();
    Ok(())
}
