//! Only a number can be trained.
dl::model! {
    pub model Net {
        let layer = Linear(4 => 2);

        #[train]
        pub fn squares(x: f32[N, 4]) -> f32[N, 2] {
            layer(x).square()
        }

        #[train]
        pub fn two(x: f32[N, 4]) -> (f32, f32) {
            let h = layer(x);
            (h.mean(), h.sum())
        }

        #[train]
        pub fn whole(x: f32[N, 4]) -> i64 {
            layer(x).sum().to(i64)
        }
    }
}

fn main() {}
