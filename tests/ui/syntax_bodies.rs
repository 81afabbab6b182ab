//! Syntax errors within functions: every bad statement is reported, the good ones are checked.
dl::model! {
    pub model Net {
        let layer = Linear(4 => 2);

        pub fn forward(x: f32[N, 4]) -> f32[N, 2] {
            let a = x +;
            let b = layer(x) * * 2.0;
            let c = layer(x.index(0).exp());
            a + b + c.unknown()
        }
    }
}

fn main() {}
