//! Reductions and running folds along axes that are not there, of types they do not take.
dl::model! {
    pub model Net {
        pub fn axes(x: f32[N, 3], b: bool[N, 3]) -> f32[N] {
            let a = x.prod(axis = 2);
            let b2 = x.max(axis = 2);
            let c = x.min(axis = -3);
            let d = x.median(axis = 2);
            let e = x.var(axis = (0, 0));
            let f = x.std(axis = 2);
            let g = x.var_mean(axis = 2);
            let h = x.std_mean(axis = 2);
            let i = x.logsumexp(axis = 2);
            let j = x.argmax(axis = (0, 1));
            let k = x.argmin(axis = 2);
            let l = x.count_nonzero(axis = 2);
            let m = b.all(axis = 2);
            let n = b.any(axis = 2);
            let o = x.normalize(axis = 2);
            let p = x.logcumsumexp(axis = 2);
            let q = x.cummax(axis = 2);
            let r = x.cummin(axis = 2);
            x.sum(axis = 1, keep = 1)
        }

        pub fn types(b: bool[N, 3], i: i64[N, 3]) -> i64[N] {
            let a = b.prod(axis = 1);
            let c = b.max(axis = 1);
            let d = b.min(axis = 1);
            let f = i.var(axis = 1);
            let g = i.std(axis = 1);
            let h = i.var_mean(axis = 1);
            let j = i.std_mean(axis = 1);
            let k = i.logsumexp(axis = 1);
            let l = i.mean(axis = 1);
            let m = i.logcumsumexp(axis = 1);
            let n = i.normalize();
            let o = b.argmax(axis = 1);
            let p = b.argmin(axis = 1);
            let q = i.all(axis = 1);
            let r = i.any(axis = 1);
            i.sum(axis = 1)
        }

        pub fn similar(x: f32[N, 3], y: f32[N, 4]) -> f32[N] {
            let a = x.cosine_similarity(y);
            let b = x.pairwise_distance(y);
            let c = x.cosine_similarity(x, axis = 2);
            x.sum(1)
        }
    }
}

fn main() {}
