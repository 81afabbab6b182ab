//! Losses: targets of other shapes and types, reductions, weights and numbers that make no sense.
dl::model! {
    pub model Net {
        pub fn target_shape(x: f32[N, 4], t: f32[N, 1]) -> f32 {
            x.huber(t)
        }

        pub fn target_dtype(x: f32[N, 4], t: i64[N, 4]) -> f32 {
            x.poisson_nll(t)
        }

        pub fn classes_are_floats(x: f32[N, 4], t: f32[N]) -> f32 {
            x.multi_margin(t)
        }

        pub fn class_shape(x: f32[N, 4, H, W], t: i64[N, H]) -> f32 {
            x.nll_loss(t)
        }

        pub fn class_weight(x: f32[N, 4], t: i64[N], w: f32[5]) -> f32 {
            x.cross_entropy(t, weight = w)
        }

        pub fn smoothing(x: f32[N, 4], t: i64[N]) -> f32 {
            x.cross_entropy(t, label_smoothing = 1.5)
        }

        pub fn reduction(x: f32[N, 4], t: f32[N, 4]) -> f32 {
            x.bce_with_logits(t, reduction = "avarage")
        }

        pub fn batchmean(x: f32[N, 4], t: f32[N, 4]) -> f32 {
            x.mse(t, reduction = "batchmean")
        }

        pub fn element_weight(x: f32[N, 4], t: f32[N, 4], w: f32[N]) -> f32 {
            x.bce(t, weight = w)
        }

        pub fn variance(x: f32[N, 4], t: f32[N, 4], v: f32[N]) -> f32 {
            x.gaussian_nll(t, v)
        }

        pub fn no_variance(x: f32[N, 4], t: f32[N, 4]) -> f32 {
            x.gaussian_nll_loss(t)
        }

        pub fn delta(x: f32[N], t: f32[N]) -> f32 {
            x.huber(t, delta = 0.0)
        }

        pub fn gamma(x: f32[N], t: f32[N]) -> f32 {
            x.focal(t, gamma = -2.0)
        }

        pub fn axis(x: f32[N, 4], t: f32[N, 4]) -> f32 {
            x.dice(t, axis = 2)
        }

        pub fn signs(x: f32[N, 8], y: f32[N, 8], t: i64[N, 1]) -> f32 {
            x.cosine_embedding(y, t)
        }

        pub fn ranking(x: f32[N], y: f32[M], t: f32[N]) -> f32 {
            x.margin_ranking(y, t)
        }

        pub fn triplet(a: f32[N, 8], p: f32[N, 8], n: f32[N, 9]) -> f32 {
            a.triplet_margin(p, n)
        }

        pub fn power(x: f32[N, 4], t: i64[N]) -> f32 {
            x.multi_margin(t, p = 3)
        }

        pub fn hinge(x: f32[N, 1], t: f32[N]) -> f32 {
            x.hinge_embedding(t)
        }

        pub fn misspelt(x: f32[N], t: f32[N]) -> f32 {
            x.smooth_l1_los(t)
        }

        pub fn ctc_axes(x: f32[T, N, 5], t: i64[S]) -> f32 {
            x.ctc_loss(t)
        }

        pub fn ctc_batch(x: f32[N, T, 5], t: i64[N, S]) -> f32 {
            x.ctc(t)
        }

        pub fn ctc_blank(x: f32[T, N, 5], t: i64[N, S]) -> f32 {
            x.ctc(t, blank = 5)
        }

        pub fn ctc_lengths(x: f32[T, 3, 5], t: i64[3, 4]) -> f32 {
            x.ctc(t, target_lengths = [4, 5, 1])
        }

        pub fn not_scalar(x: f32[N], t: f32[N]) -> f32 {
            x.soft_margin(t, reduction = "none")
        }
    }
}

fn main() {}
