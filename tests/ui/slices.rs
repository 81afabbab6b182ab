//! Slices, indices, joins and permutations that do not fit.
dl::model! {
    pub model Net {
        pub fn past_the_end(x: f32[N, 4]) -> f32[N, 3] {
            x.slice(.., 2..5)
        }

        pub fn too_many(x: f32[N, 4]) -> f32[N, 4] {
            x.slice(.., .., 0..1)
        }

        pub fn join(x: f32[N, 4], y: f32[N, 5]) -> f32[2 * N, 4] {
            concat([x, y], axis = 0)
        }

        pub fn order(x: f32[N, 4]) -> f32[4, N] {
            x.permute(1, 1)
        }
    }
}

fn main() {}
