//! Methods on tensors of other sizes, ranks and types than they take.
dl::model! {
    pub model Net {
        pub fn triangles(x: f32[N]) -> f32[N] {
            x.tril()
        }

        pub fn parts(x: f32[N, 7]) -> f32[N, 7] {
            let (a, b) = x.split([3, 3], axis = 1);
            let c = x.chunk(0, axis = 1);
            let d = x.unfold(1, 9);
            a
        }

        pub fn joined(x: f32[N, 7], y: f32[N, 6]) -> f32[N, 2, 7] {
            stack(x, y, axis = 1)
        }

        pub fn running(x: f32[N, 7], mask: bool[N, 7]) -> f32[N, 7] {
            x.cumsum(axis = 2) + mask.cumprod(axis = 1)
        }

        pub fn indices(x: f32[N, 7], i: f32[N, 2], j: i64[N, 2, 2]) -> f32[N, 2] {
            x.gather(i, axis = 1) + x.take_along(j)
        }

        pub fn scattered(x: f32[N, 7], i: i64[N, 2], y: f32[N, 3]) -> f32[N, 7] {
            x.scatter_add(i, y, axis = 1)
        }

        pub fn matrices(x: f32[N, 4], y: f32[M, 5]) -> f32[N, M] {
            cdist(x, y) + x.cross(x) + x.trace()
        }

        pub fn chosen(x: f32[N, 7], y: f32[N, 6], mask: f32[N, 7]) -> f32[N, 7] {
            where_(mask, x, x) + x.masked_fill(y > 0.0, 0.0) + x.lerp(y, 0.5)
        }

        pub fn numbered(x: f32[N]) -> i64[N, 5] {
            x.one_hot(5)
        }

        pub fn repeated(x: f32[N, 7]) -> f32[N, 14] {
            x.repeat_interleave(0, axis = 1) + x.roll(1, axis = 5)
        }
    }
}

fn main() {}
