//! Each layer of a family on a tensor of another rank, with sizes that do not fit, or with settings of the others.
dl::model! {
    pub model Net {
        let max1 = MaxPool1d(2);
        let max3 = MaxPool3d(2);
        let avg1 = AvgPool1d(9);
        let avg3 = AvgPool3d((2, 2));
        let lp1 = LpPool1d(2.0, kernel = 9);
        let lp3 = LpPool3d(0.0, kernel = 2);
        let adaptive1 = AdaptiveAvgPool1d((2, 2));
        let adaptive3 = AdaptiveAvgPool3d(2);
        let adaptive_max1 = AdaptiveMaxPool1d(0);
        let adaptive_max3 = AdaptiveMaxPool3d(2);
        let norm = BatchNorm(4);
        let norm3 = BatchNorm3d(3);
        let instance1 = InstanceNorm1d(4);
        let instance3 = InstanceNorm3d(3);
        let drop1 = Dropout1d(1.5);
        let drop2 = Dropout2d(0.5);
        let drop3 = Dropout3d(-0.5);
        let reflect1 = ReflectionPad1d(8);
        let reflect3 = ReflectionPad3d(1);
        let repeat1 = ReplicationPad1d((1, 2, 3));
        let repeat2 = ReplicationPad2d(1);
        let repeat3 = ReplicationPad3d(1);
        let around1 = CircularPad1d(9);
        let around2 = CircularPad2d(1);
        let around3 = CircularPad3d(1);
        let constant1 = ConstantPad1d(1);
        let constant2 = ConstantPad2d(1, "zero");
        let constant3 = ConstantPad3d(1, 0.0);
        let zero1 = ZeroPad1d((1, 2, 3));
        let zero3 = ZeroPad3d(1);
        let unshuffle = PixelUnshuffle(3);
        let soft = Softmax(axis = 3);
        let log_soft = LogSoftmax(axis = "rows");
        let least = Softmin(axis = 3);
        let elu = Elu("one");
        let celu = Celu(alpha = 0.0);
        let gelu = Gelu(approximate = "fast");
        let hard = Hardshrink(-1.0);
        let shrink = Softshrink(lambda = -1.0);
        let threshold = Threshold(0.1);
        let flat = Flatten(start = 4);

        pub fn windows(x: f32[N, 3, 8], y: f32[N, 3, 8, 8]) -> f32[N] {
            let a = max1(y);
            let b = max3(y);
            let c = avg1(x);
            let d = avg3(y);
            let e = lp1(x);
            let f = lp3(y);
            let g = adaptive1(x);
            let h = adaptive3(y);
            let i = adaptive_max1(x);
            let j = adaptive_max3(y);
            x.sum((1, 2))
        }

        pub fn norms(x: f32[N, 3, 8], y: f32[N, 3, 8, 8]) -> f32[N] {
            let b = norm3(y);
            let d = instance3(y);
            norm(x).sum((1, 2)) + instance1(x).sum((1, 2))
        }

        pub fn dropped(x: f32[N, 3]) -> f32[N] {
            let a = drop1(x);
            let b = drop2(x);
            let c = drop3(x);
            x.sum(1)
        }

        pub fn padded(x: f32[N, 3, 8], y: f32[N, 3, 8, 8], v: f32[N, 3]) -> f32[N] {
            let a = reflect1(x);
            let b = reflect3(v);
            let c = repeat1(x);
            let d = repeat2(v);
            let e = repeat3(v);
            let f = around1(x);
            let g = around2(v);
            let h = around3(v);
            let i = constant1(x);
            let j = constant2(y);
            let k = constant3(v);
            let l = zero1(x);
            let m = zero3(v);
            x.sum((1, 2))
        }

        pub fn activations(x: f32[N, 3, 8], y: f32[N, 3, 8, 8], i: i64[N, 3]) -> f32[N] {
            let a = unshuffle(y);
            let b = soft(x);
            let c = log_soft(x);
            let d = least(x);
            let e = elu(i);
            let f = celu(i);
            let g = gelu(i);
            let h = hard(x);
            let j = shrink(x);
            let k = threshold(i);
            let l = flat(x);
            x.sum((1, 2))
        }
    }
}

fn main() {}
