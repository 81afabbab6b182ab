//! Layers as functions, with weights that do not fit; buckets.
dl::model! {
    pub model Net {
        pub fn linear(x: f32[N, 8], w: f32[4, 7], v: f32[4], s: f32) -> f32[N, 4] {
            let a = x.linear(w);
            let b = x.linear(v);
            let c = s.linear(w);
            x.linear()
        }

        pub fn biased(x: f32[N, 8], w: f32[4, 8], v: f32[8], d: f64[4]) -> f32[N, 4] {
            let a = x.linear(w, bias = d);
            x.linear(w, v)
        }

        pub fn convolutions(x: f32[N, 6, 9, 9], w: f32[8, 4, 3, 3], u: f32[8, 3, K, K], i: i64[8, 6, 3, 3]) -> f32[N, 8, 7, 7] {
            let a = x.conv2d(w);
            let b = x.conv2d(u, groups = 2);
            let c = x.conv2d(i);
            let d = x.conv1d(w);
            let e = x.conv2d(w, groups = 4);
            let f = x.conv3d(w);
            x.conv2d(w, kernel = 3)
        }

        pub fn windows(x: f32[N, 4, 2, 2], w: f32[8, 4, 3, 3], v: f32[4]) -> f32[N, 8, 1, 1] {
            let a = x.conv2d(w, padding = 1, bias = v);
            x.conv2d(w)
        }

        pub fn buckets(x: f32[N], edges: f32[N, 3], whole: i64[4]) -> i64[N] {
            let a = x.bucketize(edges);
            x.bucketize(whole)
        }
    }
}

fn main() {}
