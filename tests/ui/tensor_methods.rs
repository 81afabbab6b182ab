//! Tensor methods: sorting, running folds, parts, windows, diagonals, indices.
dl::model! {
    pub model Net {
        pub fn k(x: f32[N, 7]) -> (f32[N, 9], i64[N, 9]) {
            x.topk(9)
        }

        pub fn nothing(x: f32[N, 7]) -> (f32[N], i64[N]) {
            x.kthvalue(0)
        }

        pub fn sort_axis(x: f32[N, 7]) -> i64[N, 7] {
            x.argsort(axis = 2)
        }

        pub fn two_results(x: f32[N, 7]) -> f32[N, 7] {
            x.sort()
        }

        pub fn quantile(x: f32[N, 7]) -> f32[N] {
            x.quantile(25, axis = 1)
        }

        pub fn running(x: bool[N, 7]) -> i64[N, 7] {
            x.cumsum()
        }

        pub fn order(x: f32[N, 7]) -> f32[N] {
            x.norm(axis = 1, p = "max")
        }

        pub fn sizes(x: f32[N, 7]) -> f32[N, 3] {
            let (a, b) = x.split([3, 3], axis = 1);
            a + b
        }

        pub fn parts(x: f32[N, 7]) -> f32[7] {
            let (a, b) = x.unbind();
            a + b
        }

        pub fn window(x: f32[N, 7]) -> f32[N, 1, 8] {
            x.unfold(axis = 1, size = 8)
        }

        pub fn repeats(x: f32[N, 7]) -> f32[2 * N, 7] {
            x.repeat(2, 1)
        }

        pub fn tile(x: f32[N, 7]) -> f32[N, 7] {
            x.tile(0, 1)
        }

        pub fn moved(x: f32[N, 7]) -> f32[7, N] {
            x.movedim([0, 1], 1)
        }

        pub fn diagonal(x: f32[2, 3]) -> f32[1] {
            x.diag(3)
        }

        pub fn vectors(x: f32[N, 2], y: f32[3]) -> f32[N, 3] {
            x.outer(y)
        }

        pub fn cross(x: f32[N, 4], y: f32[N, 4]) -> f32[N, 4] {
            x.cross(y)
        }

        pub fn distances(x: f32[P, 3], y: f32[R, 4]) -> f32[P, R] {
            x.cdist(y)
        }

        pub fn index_dtype(x: f32[N, 7], index: f32[N, 2]) -> f32[N, 2] {
            x.take_along(index)
        }

        pub fn written(x: f32[N, 7], index: i64[N, 2], src: f32[N, 3]) -> f32[N, 7] {
            x.scatter(index, src, axis = 1)
        }

        pub fn added(x: f32[N, 7], index: i64[2], src: f32[N, 3]) -> f32[N, 7] {
            x.index_add(index, src, axis = 1)
        }

        pub fn bound(x: f32[N, 7], low: f32[2]) -> f32[N, 7] {
            x.clamp(min = low)
        }

        pub fn product(x: f32[4], a: f32[N, 3], b: f32[4, 5]) -> f32[N, 5] {
            x.addmm(a, b)
        }

        pub fn count() -> i64[5] {
            arange(5, 5)
        }

        pub fn logical(x: i64[N], y: i64[N]) -> bool[N] {
            x.logical_xor(y)
        }
    }
}

fn main() {}
