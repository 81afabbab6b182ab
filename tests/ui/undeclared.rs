//! Names that are declared nowhere, some of them misspelt.
dl::model! {
    pub model Net {
        const HIDDEN = 16;

        let encoder = Linear(4 => HIDEN);
        let decoder = Linear(HIDDEN => CLASSES);

        pub fn forward(x: f32[N, 4]) -> f32[N, 2] {
            let hidden = encodr(x);
            decoder(hiden + shift)
        }

        pub fn batch(x: f32[N, 4]) -> f32[N, 4] {
            x.reshape([M, 4])
        }

        pub fn call(x: f32[N, 4]) -> f32[N, 2] {
            forwad(x)
        }
    }
}

fn main() {}
