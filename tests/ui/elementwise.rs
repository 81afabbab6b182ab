//! Elementwise methods on whole numbers, conditions and tensors of shapes that do not broadcast.
dl::model! {
    pub model Net {
        pub fn floats(i: i64[N, 3]) -> i64[N, 3] {
            let a = i.sqrt() + i.rsqrt() + i.exp();
            let b = i.rsqrt();
            let c = i.expm1();
            let d = i.log();
            let e = i.log1p();
            let f = i.log2();
            let g = i.log10();
            let h = i.exp2();
            let j = i.sin();
            let k = i.cos();
            let l = i.tan();
            let m = i.asin();
            let n = i.acos();
            let o = i.atan();
            let p = i.sinh();
            let q = i.cosh();
            let r = i.tanh();
            let s = i.asinh();
            let t = i.acosh();
            let u = i.atanh();
            let v = i.erf();
            let w = i.reciprocal();
            let x = i.logit();
            i
        }

        pub fn activations(i: i64[N, 4]) -> i64[N, 4] {
            let b = i.leaky_relu();
            let c = i.elu();
            let d = i.celu();
            let e = i.selu();
            let f = i.gelu();
            let g = i.silu();
            let h = i.mish();
            let j = i.softplus();
            let k = i.softsign();
            let l = i.sigmoid();
            let m = i.log_sigmoid();
            let n = i.hard_sigmoid();
            let o = i.hard_swish();
            let p = i.softmax();
            let q = i.log_softmax();
            let r = i.softmin();
            let s = i.gumbel_softmax();
            let t = i.glu();
            let u = i.tanh_shrink();
            i
        }

        pub fn settings(x: f32[N, 4]) -> f32[N, 4] {
            let b = x.gelu(approximate = "fast");
            let c = x.softmax(axis = 2);
            let d = x.log_softmax(axis = 2);
            let e = x.softmin(axis = -3);
            let f = x.softmax2d();
            let g = x.gumbel_softmax(tau = 0.0);
            let h = x.glu(axis = 2);
            let i = x.threshold(0.1);
            let j = x.soft_shrink(lambda = -1.0);
            let k = x.hard_shrink(lambda = -1.0);
            let l = x.leaky_relu(slope = "small");
            let m = x.celu(alpha = 0.0);
            let n = x.relu6(6);
            let o = x.hard_tanh(-1.0);
            let p = x.nan_to_num(nan = "zero");
            let q = x.logit(eps = 0.7);
            x
        }

        pub fn pairs(x: f32[N, 3], y: f32[N, 4], whole: i64[N, 3]) -> f32[N, 3] {
            let a = x.add(y);
            let b = x.sub(y);
            let c = x.mul(y);
            let d = x.div(y);
            let e = x.rem(y);
            let f = x.fmod(y);
            let g = x.floor_divide(y);
            let h = x.maximum(y);
            let i = x.minimum(y);
            let j = x.atan2(y);
            let k = x.hypot(y);
            let l = x.logaddexp(y);
            let m = x.xlogy(y);
            let n = x.pow(y);
            let o = x.addcmul(y, y);
            let p = x.addcdiv(x, y);
            let q = x.addcmul(x, whole);
            x
        }

        pub fn comparisons(x: f32[N, 3], y: f32[N, 4]) -> bool[N, 3] {
            let a = x.lt(y);
            let b = x.le(y);
            let c = x.gt(y);
            let d = x.ge(y);
            let e = x.ne(y);
            x.eq(y)
        }

        pub fn conditions(x: f32[N, 3], b: bool[N, 3], i: i64[N, 3]) -> bool[N, 3] {
            let c = x.not();
            let d = x.and(b);
            let e = b.or(x);
            let f = b.xor(i);
            let g = b.neg();
            let h = b.sign();
            b
        }

        pub fn rounded(b: bool[N, 3]) -> bool[N, 3] {
            let c = b.floor();
            let d = b.ceil();
            let e = b.trunc();
            let f = b.frac();
            let g = b.isnan();
            let h = b.isinf();
            let i = b.isfinite();
            b
        }
    }
}

fn main() {}
