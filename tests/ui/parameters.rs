//! Parameters that stand alone: how they are declared and called.
dl::model! {
    pub model Net {
        let token = Parameter(4, init = "random");
        let scale = Parameter(4, std = -1.0);
        let empty = Parameter(0);
        let shift = Parameter(4);
        let table = Parameter(4);
        let other = Parameter(4);

        pub fn forward(x: f32[N, 4]) -> f32[N, 4] {
            x + token() * scale() + empty() + shift(x) + table
        }

        pub fn sizes(x: f32[N, 5]) -> f32[N, 5] {
            x + other().unsqueeze(0) + other.unsqueeze(0)
        }
    }
}

fn main() {}
