//! Loops: what they go along, what they carry, what a step gives.
dl::model! {
    pub model Net {
        let cell = GruCell(4 => 8);
        let norm = BatchNorm1d(8);

        pub fn nothing(x: f32[N, T, 4]) -> f32[N, 8] {
            scan(x)
        }

        pub fn arguments(x: f32[N, T, 4], h: f32[N, 8]) -> f32[N, 8] {
            scan(h, x, axes = 1, |h, x| cell(x, h)) + scan(h, x, 1, |h, x| cell(x, h))
        }

        pub fn axis(x: f32[N, T, 4], h: f32[N, 8]) -> f32[N, 8] {
            scan(h, x, axis = 3, |h, x| cell(x, h))
        }

        pub fn step(x: f32[N, T, 4], h: f32[N, 8]) -> f32[N, 8] {
            scan(h, x, axis = 1, |h| h)
        }

        pub fn shape(x: f32[N, T, 4], h: f32[N, 8]) -> f32[N, 8] {
            scan(h, x, axis = 1, |h, x| h.concat(x, axis = 1))
        }

        pub fn lengths(x: f32[N, T, 4], y: f32[N, S, 4], h: f32[N, 8]) -> f32[N, 8] {
            scan(h, (x, y), axis = 1, |h, (x, y)| cell(x + y, h))
        }

        pub fn results(x: f32[N, T, 4], h: f32[N, 8]) -> f32[N, 8] {
            scan((h, h), x, axis = 1, |(h, g), x| (cell(x, h), g, h))
        }

        pub fn statistics(x: f32[N, T, 4], h: f32[N, 8]) -> f32[N, 8] {
            scan(h, x, axis = 1, |h, x| cell(h, x))
        }

        pub fn names(x: f32[N, T, 4], h: f32[N, 8]) -> f32[N, 8] {
            scan(h, x, axis = 1, |h, y| cell(x, h))
        }

        pub fn lengths_of_loops(x: f32[N, T, 4], h: f32[N, 8]) -> f32[N, 8] {
            scan(h, (), |h, _x| h) + scan(h, length = 0, |h| h)
        }

        pub fn too_deep(x: f32[A, B, C, D]) -> f32[D] {
            scan(zeros([D]), x, |h, x| {
                scan(h, x, |h, x| scan(h, x, |h, x| scan(h, length = 2, |h| h + x)))
            })
        }

        #[train]
        pub fn running(x: f32[N, T, 4], h: f32[N, 8]) -> f32 {
            scan(h, x, axis = 1, |h, x| norm(cell(x, h))).sum()
        }
    }
}

fn main() {}
