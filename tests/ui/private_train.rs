//! `#[train]` on what is not public, and twice.
dl::model! {
    pub model Net {
        let layer = Linear(4 => 2);

        #[train]
        fn hidden(x: f32[N, 4]) -> f32 {
            layer(x).mean()
        }

        #[train]
        #[train]
        pub fn twice(x: f32[N, 4]) -> f32 {
            hidden(x)
        }
    }
}

fn main() {}
