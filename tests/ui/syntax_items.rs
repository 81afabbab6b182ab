//! Syntax errors between the items: each is reported, the good items stay.
dl::model! {
    pub model Net {
        lett a = Relu;
        let b = Linear(4 => );
        let c = 5;
        const SIZE: usize = 4;
        dim WIDTH = 3;
        let d = Linear(4 => 2)
        let e = Relu;
        pub let f = Relu;

        fn no_result(x: f32[N]) {
            x
        }

        fn no_type(x) -> f32[N] {
            x
        }

        fn generic<T>(x: f32[N]) -> f32[N] {
            x
        }

        pub fn forward(x: f32[N, 4]) -> f32[N, 2] {
            e(d(x))
        }
    }
}

fn main() {}
