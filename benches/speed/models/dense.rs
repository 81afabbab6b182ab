//! Networks of dense layers: a classifier and a variational autoencoder of 28x28 grey images.

dl::model! {
    /// Three dense layers.
    pub model Mlp {
        let net = [Linear(784 => 512), Relu, Linear(512 => 256), Relu, Linear(256 => 10)];

        pub fn forward(x: f32[N, 784]) -> f32[N, 10] {
            net(x)
        }

        #[train]
        pub fn loss(x: f32[N, 784], label: i64[N]) -> f32 {
            forward(x).cross_entropy(label)
        }
    }
}

dl::model! {
    /// Encoder to 20 normal variables, and decoder of a sample of them.
    pub model Vae {
        let encoder = [Linear(784 => 400), Relu];
        let mean = Linear(400 => 20);
        let log_variance = Linear(400 => 20);
        let decoder = [Linear(20 => 400), Relu, Linear(400 => 784)];

        pub fn forward(x: f32[N, 784]) -> (f32[N, 784], f32[N, 20], f32[N, 20]) {
            let h = encoder(x);
            let (mu, lv) = (mean(h), log_variance(h));
            let z = mu + (0.5 * lv).exp() * randn([N, 20]);
            (decoder(z), mu, lv)
        }

        #[train]
        pub fn loss(x: f32[N, 784]) -> f32 {
            let (logits, mu, lv) = forward(x);
            let reconstruction = logits.bce_with_logits(x, reduction = "sum");
            (reconstruction - 0.5 * (1.0 + lv - mu * mu - lv.exp()).sum()) / N
        }
    }
}
