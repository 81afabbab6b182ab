//! Results that are not as declared.
dl::model! {
    pub model Net {
        let head = Linear(4 => 12);

        pub fn size(x: f32[N, 4]) -> f32[N, 10] {
            let logits = head(x);
            logits
        }

        pub fn rank(x: f32[N, 4]) -> f32 {
            head(x).mean(axis = 1)
        }

        pub fn count(x: f32[N, 4]) -> (f32[N, 12], f32) {
            head(x)
        }

        pub fn second(x: f32[N, 4]) -> (f32[N, 12], f32) {
            let h = head(x);
            (h, h)
        }

        pub fn semicolon(x: f32[N, 4]) -> f32[N, 12] {
            head(x);
        }

        pub fn empty(x: f32[N, 4]) -> f32[N, 12] {
            let _h = head(x);
        }
    }
}

fn main() {}
