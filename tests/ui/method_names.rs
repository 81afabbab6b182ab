//! Functions named as methods that others make.

dl::model! {
    pub model Names {
        let fc = Linear(4 => 3);

        pub fn forward(x: f32[N, 4]) -> f32[N, 3] {
            fc(x)
        }

        pub fn forward_into(x: f32[N, 4]) -> f32[N, 3] {
            forward(x)
        }

        pub fn explain_forward(x: f32[N, 4]) -> f32[N, 3] {
            forward(x)
        }

        #[train]
        pub fn loss(x: f32[N, 4]) -> f32 {
            forward(x).mean()
        }

        pub fn train_loss(x: f32[N, 4]) -> f32[N, 3] {
            forward(x)
        }

        pub fn loss_into(x: f32[N, 4]) -> f32[N, 3] {
            forward(x)
        }
    }
}

fn main() {}
