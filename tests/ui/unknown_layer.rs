//! Layers that do not exist.
dl::model! {
    pub model Net {
        let a = Liner(4 => 2);
        let b = [conv2d(1 => 2, kernel = 3), Rleu];
        let c = Transmogrify(3);

        pub fn forward(x: f32[N, 4], y: f32[N, 1, 5, 5]) -> f32[N, 2] {
            a(x) + b(y).flatten() + c(x)
        }
    }
}

fn main() {}
