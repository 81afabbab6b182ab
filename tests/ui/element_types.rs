//! `dtype`: twice, of no float, in a block; operands of another type than the layers.
dl::model! {
    pub model Twice {
        dtype f64;
        dtype f32;
        let a = Linear(2 => 2);

        pub fn forward(x: f64[N, 2]) -> f64[N, 2] {
            a(x)
        }
    }

    pub model Whole {
        dtype i64;
        let a = Linear(2 => 2);

        pub fn forward(x: f32[N, 2]) -> f32[N, 2] {
            a(x)
        }
    }

    pub model Inner {
        block Part() {
            dtype f64;
            let a = Linear(2 => 2);

            fn forward(x: f32[N, 2]) -> f32[N, 2] {
                a(x)
            }
        }

        let part = Part();

        pub fn forward(x: f32[N, 2]) -> f32[N, 2] {
            part(x)
        }
    }

    pub model Unnamed {
        dtype;
        let a = Linear(2 => 2);

        pub fn forward(x: f32[N, 2]) -> f32[N, 2] {
            a(x)
        }
    }
}

dl::model! {
    pub model Double {
        dtype f64;
        let a = Linear(2 => 2);
        let norm = LayerNorm(2);

        pub fn narrow(x: f32[N, 2]) -> f64[N, 2] {
            a(x)
        }

        pub fn whole(x: i64[N, 2]) -> f64[N, 2] {
            norm(x)
        }
    }

    pub model Single {
        let a = Linear(2 => 2);

        pub fn wide(x: f64[N, 2]) -> f32[N, 2] {
            a(x)
        }

        pub fn constants(x: f64[N, 2]) -> f64[N, 2] {
            x + randn([N, 2])
        }
    }
}

fn main() {}
