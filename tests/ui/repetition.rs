//! Repetitions whose number makes no sense.
dl::model! {
    pub model Net {
        dim DEPTH;

        let none = [Linear(4 => 4); 0];
        let open = [Linear(4 => 4); DEPTH];
        let fraction = [Linear(4 => 4); 1.5];
        let empty = [];
        let chain = [Linear(4 => 8); 2];

        pub fn forward(x: f32[N, 4]) -> f32[N, 4] {
            none(open(fraction(empty(x)))) + chain(x)
        }
    }
}

fn main() {}
