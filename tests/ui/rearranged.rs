//! Methods that move elements and join tensors: axes and sizes that are not there.
dl::model! {
    pub model Net {
        pub fn axes(x: f32[N, 3, 4]) -> f32[N, 3, 4] {
            let a = x.transpose(0, 3);
            let b = x.flip(3);
            let c = x.squeeze(1);
            let d = x.unflatten(2, 3, 2);
            let e = x.unflatten(3, 2, 2);
            let f = x.broadcast_to(N, 3, 5);
            let g = x.index_select(1.5, axis = 1);
            let h = x.diag_embed(offset = "up");
            let i = x.roll(1, axis = 3);
            let k = x.reduce("n c t -> n c", "average");
            let l = x.rearrange("n c -> c n");
            let m = x.size(3);
            x
        }

        pub fn vectors(x: f32[N], y: f32[3], z: f32[N, 3]) -> f32[N] {
            let a = x.triu();
            let b = y.dot(x);
            let c = z.dot(y);
            let d = x.transpose();
            let e = y.index_select(y);
            x
        }

        pub fn batches(x: f32[N, 3, 4], a: f32[N, 3, 5], b: f32[N, 6, 4], v: f32[3]) -> f32[N, 3, 4] {
            let c = x.baddbmm(a, b);
            let d = x.baddbmm(v, b);
            let e = x.addmm(a, b);
            x
        }

        pub fn like(x: f32[N, 3]) -> f32[N, 3] {
            let a = x.full_like();
            let b = x.zeros_like(3);
            let c = x.ones_like(dtype = f32);
            let d = x.identity(1);
            let e = x.detach(true);
            x
        }
    }
}

fn main() {}
