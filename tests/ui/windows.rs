//! Pools, padding and resampling by methods: windows larger than the tensor, ranks and settings that do not fit.
dl::model! {
    pub model Net {
        pub fn pools(x: f32[N, 3, 8], y: f32[N, 3, 8, 8], z: f32[N, 3, 8, 8, 8]) -> f32[N] {
            let a = x.max_pool1d(9);
            let b = x.avg_pool1d(9);
            let c = x.lp_pool1d(2.0, 9);
            let d = y.max_pool2d(3, padding = 2);
            let e = y.avg_pool2d((3, 3, 3));
            let f = y.lp_pool2d(0.0, 3);
            let g = z.max_pool3d(9);
            let h = z.avg_pool3d(2, stride = 0);
            let i = z.lp_pool3d(2.0, (9, 1, 1));
            let j = x.max_pool2d(2);
            let k = y.max_pool1d(2);
            let l = y.avg_pool3d(2);
            x.sum((1, 2))
        }

        pub fn adaptive(x: f32[N, 3, 8], y: f32[N, 3, 8, 8], z: f32[N, 3, H, 8, 8], v: f32[N, 3]) -> f32[N] {
            let a = x.adaptive_avg_pool1d(0);
            let b = x.adaptive_max_pool1d((2, 2));
            let c = y.adaptive_avg_pool2d((2, 2, 2));
            let d = y.adaptive_max_pool2d(0);
            let e = z.adaptive_avg_pool3d((2, 2));
            let f = z.adaptive_max_pool3d(2);
            let g = v.global_avg_pool();
            let h = v.global_max_pool();
            x.sum((1, 2))
        }

        pub fn padding(x: f32[N, 3, 4], y: f32[N, 3, 4, 4], z: f32[N, 3, 4, 4, 4]) -> f32[N] {
            let a = x.reflection_pad1d(4);
            let b = y.reflection_pad2d(4);
            let c = z.reflection_pad3d(4);
            let d = x.circular_pad1d(5);
            let e = y.circular_pad2d((5, 0, 0, 0));
            let f = z.circular_pad3d(5);
            let g = x.replication_pad1d((1, 2, 3));
            let h = y.replication_pad2d((1, 2, 3));
            let i = z.replication_pad3d((1, 2));
            let j = x.zero_pad1d(-5);
            let k = y.zero_pad2d("same");
            let l = z.zero_pad3d((1, 1));
            let m = x.constant_pad1d(1);
            let n = y.constant_pad2d(1, "zero");
            let o = z.constant_pad3d((1, 2), 0.0);
            let p = y.pad((1, 1), (1, 1), (1, 1), (1, 1), (1, 1));
            x.sum((1, 2))
        }

        pub fn resampled(x: f32[N, 3, 8, 8], v: f32[N, 3]) -> f32[N] {
            let a = x.pixel_shuffle(2);
            let b = x.pixel_unshuffle(3);
            let c = v.pixel_shuffle(2);
            let d = v.local_response_norm(5);
            let e = x.local_response_norm(0);
            let f = v.positional_encoding();
            v.sum(1)
        }

        pub fn dropped(x: f32[N, 3], i: i64[N, 3]) -> f32[N, 3] {
            let a = x.dropout(1.5);
            let b = x.dropout1d(-0.5);
            let c = x.dropout2d(0.5);
            let d = x.dropout3d(0.5);
            let e = x.drop_path(2.0);
            let f = x.alpha_dropout(1.5);
            let g = i.dropout(0.5);
            let h = i.bernoulli();
            x
        }
    }
}

fn main() {}
