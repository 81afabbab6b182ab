//! Parameters that stand by themselves: a class token, positions, a fixed table.

use dl::prelude::*;

dl::model! {
    model Vision {
        dim WIDTH;
        let token = Parameter(1, 1, WIDTH, init = "normal");
        let scale = Parameter(WIDTH, init = "ones");
        let table = Parameter(WIDTH, trainable = false);
        let head = Linear(WIDTH => 2);

        pub fn forward(x: f32[N, T, WIDTH]) -> f32[N, 2] {
            let tokens = concat(token().expand(N, 1, WIDTH), x, axis = 1);
            head((tokens * scale() + table()).mean(1))
        }

        #[train]
        pub fn loss(x: f32[N, T, WIDTH], label: i64[N]) -> f32 {
            forward(x).cross_entropy(label)
        }

        #[train(only = token)]
        pub fn prompt(x: f32[N, T, WIDTH], label: i64[N]) -> f32 {
            forward(x).cross_entropy(label)
        }
    }
}

#[test]
fn lone_parameters_are_named_trained_and_counted() -> dl::Result<()> {
    let mut net = Vision::new(4, Seed(1))?;
    let names: Vec<String> = net.parameters().map(|p| p.name().to_string()).collect();
    assert_eq!(names, ["token", "scale", "table", "head.weight", "head.bias"]);
    assert!(net.summary().to_string().contains("token"), "{}", net.summary());
    let x = Array3::from_shape_fn((6, 3, 4), |(i, j, k)| ((i * 5 + j * 3 + k) % 7) as f32 - 3.0);
    let label = ndarray::array![0, 1, 0, 1, 1, 0];
    let of = |net: &Vision, name: &str| net.parameter(name).unwrap().to_array::<f32>().unwrap();
    assert!(of(&net, "token").iter().any(|&v| v != 0.0) && of(&net, "scale").iter().all(|&v| v == 1.0));
    let before = ["token", "scale", "table", "head.weight"].map(|name| of(&net, name));
    net.train_prompt(&mut Sgd::new(0.5), &x, &label)?;
    assert!(of(&net, "token") != before[0] && of(&net, "scale") == before[1] && of(&net, "head.weight") == before[3]);
    net.train_loss(&mut Adam::new(0.1), &x, &label)?;
    assert!(of(&net, "scale") != before[1] && of(&net, "table") == before[2]);
    Ok(())
}
