//! `only` with names that are no layers, or have nothing to train.
dl::model! {
    pub model Gan {
        let generator = [Linear(2 => 8), Relu, Linear(8 => 4)];
        let critic = Linear(4 => 1);

        #[train(only = generatr)]
        pub fn misspelt(z: f32[N, 2]) -> f32 {
            critic(generator(z)).mean()
        }

        #[train(only = generator.1)]
        pub fn no_parameters(z: f32[N, 2]) -> f32 {
            critic(generator(z)).mean()
        }

        #[train(only = generator)]
        pub fn elsewhere(x: f32[N, 4]) -> f32 {
            critic(x).mean()
        }

        #[train(sometimes)]
        pub fn not_only(x: f32[N, 4]) -> f32 {
            critic(x).mean()
        }
    }
}

fn main() {}
