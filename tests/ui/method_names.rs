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

        // Nobody makes `loss_into`, and a private function is no method.
        pub fn loss_into(x: f32[N, 4]) -> f32[N, 3] {
            hidden_into(hidden(forward(x)))
        }

        fn hidden(x: f32[N, 3]) -> f32[N, 3] {
            x
        }

        fn hidden_into(x: f32[N, 3]) -> f32[N, 3] {
            x
        }

        pub fn save(x: f32[N, 4]) -> f32[N, 3] {
            forward(x)
        }

        pub fn explain_both(x: f32[N, 4]) -> f32[N, 3] {
            forward(x)
        }

        pub fn both_into(x: f32[N, 4]) -> f32[N, 3] {
            forward(x)
        }
    }
}

fn main() {}
