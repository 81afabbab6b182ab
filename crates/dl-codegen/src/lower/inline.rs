//! The element of any node at given coordinates.

use dl_ir::plan::{is_one_hot, reshape_blocks};
use dl_ir::{NodeId, Op, Scalar};

use super::cx::{Cx, Key};
use super::indices::row_major_at;
use crate::kernel::{Access, Affine, BinOp, CmpOp, DType, Dist, Expr, Lit, Place, Value, Var};

impl Cx<'_> {
    /// The element of `node` at `coords` (one for each axis, within the axis): bound by [`Cx::bind`], loaded if the node
    /// is in memory and not computed by this group, else computed from its operands. Computed once for each place.
    pub fn value_at(&mut self, node: NodeId, coords: &[Affine]) -> Value {
        self.guarded(node, coords, None)
    }

    /// As [`Cx::value_at`]; where `guard` is false, memory is not touched and the value means nothing.
    pub(super) fn guarded(&mut self, node: NodeId, coords: &[Affine], guard: Option<Value>) -> Value {
        let coords = self.normal(node, coords);
        let plain = Key::Node(node, coords.clone(), None);
        if let Some(value) = self.find(&plain) {
            return value;
        }
        let key = Key::Node(node, coords.clone(), guard);
        if let Some(value) = self.find(&key) {
            return value;
        }
        let value = match self.placed(node, &coords) {
            Some(placed) => {
                let start = placed.offset.clone();
                let at = coords.iter().zip(&placed.strides).fold(start, |at, (c, s)| at + c.clone() * *s);
                let at = self.joined_up(&at);
                self.load_placed(&placed, at)
            }
            None if self.is_loaded(node) => {
                let at = self.at(&self.shape(node), &coords);
                let buf = self.buf(node, Access::Read);
                match guard {
                    None => self.load(buf, at),
                    Some(guard) => {
                        let other = self.zero(self.graph.ty(node).dtype);
                        self.let_(Expr::LoadIf { place: Place { buf, at }, guard, other })
                    }
                }
            }
            None => self.computed(node, &coords, guard),
        };
        self.note(key, value);
        value
    }

    /// Whether the value is in memory before the group runs.
    pub fn is_loaded(&self, node: NodeId) -> bool {
        self.fused.root(node).is_some_and(|root| self.group.nodes.binary_search(&root).is_err())
    }

    fn computed(&mut self, node: NodeId, coords: &[Affine], guard: Option<Value>) -> Value {
        let graph = self.graph;
        let n = &graph[node];
        let ty = &n.ty;
        match n.op {
            Op::Const => self.constant(node, coords),
            Op::DimValue => match n.attrs.get_dims("dim").first().and_then(|d| d.as_const()) {
                Some(value) => self.number(ty.dtype, value as f64),
                None => self.fail(node, "has no value, as its dimension is not bound"),
            },
            Op::Iota => {
                let at = self.index_value(coords[n.attrs.get_int("axis") as usize].clone());
                self.convert(at, DType::I64, ty.dtype)
            }
            Op::Random => {
                let seed = self.guarded(n.args[0], &[Affine::from(0)], None);
                let step = self.guarded(n.args[0], &[Affine::from(1)], None);
                let (seed, step) = (self.wide(seed), self.wide(step));
                let dist = if n.attrs.get_word("dist") == "normal" { Dist::Normal } else { Dist::Uniform };
                let index = self.at(&self.shape(node), coords);
                let stream = n.attrs.get_int("stream") as u32;
                let value = self.let_(Expr::Random { dist, seed, step, stream, index });
                self.convert(value, DType::F32, ty.dtype)
            }
            Op::Reshape => {
                let coords = self.reshaped(&self.shape(n.args[0]), &self.shape(node), coords);
                self.guarded(n.args[0], &coords, guard)
            }
            Op::Transpose => {
                let mut from = vec![Affine::from(0); coords.len()];
                for (axis, p) in n.attrs.get_axes("perm").into_iter().enumerate() {
                    from[p] = coords[axis].clone();
                }
                self.guarded(n.args[0], &from, guard)
            }
            Op::Broadcast => {
                let skip = coords.len() - graph.ty(n.args[0]).rank();
                self.guarded(n.args[0], &coords[skip..], guard)
            }
            Op::Slice => {
                let starts = n.attrs.get_dims("start").iter().map(|d| d.as_const().unwrap_or(0));
                let steps = n.attrs.get_ints("step");
                let from: Vec<Affine> =
                    starts.zip(steps).zip(coords).map(|((start, step), c)| c.clone() * *step + start).collect();
                self.guarded(n.args[0], &from, guard)
            }
            Op::Flip => {
                let mut from = coords.to_vec();
                for axis in n.attrs.get_axes("axes") {
                    from[axis] = Affine::from(self.shape(node)[axis] - 1) - coords[axis].clone();
                }
                self.guarded(n.args[0], &from, guard)
            }
            Op::Pad => self.padded(node, coords, guard),
            Op::Concat => self.joined(node, coords, guard),
            Op::Gather => {
                let axis = n.attrs.get_int("axis") as usize;
                let index = self.guarded(n.args[1], coords, guard);
                let at = self.check(index, self.shape(n.args[0])[axis] as u64, node);
                let mut from = coords.to_vec();
                from[axis] = Affine::from(at);
                self.guarded(n.args[0], &from, guard)
            }
            Op::ScatterAdd if is_one_hot(graph, node) => self.one_hot(node, coords, guard),
            _ if n.op.class() == dl_ir::Class::Elementwise => {
                let args: Vec<Value> = n.args.iter().map(|&a| self.guarded(a, coords, guard)).collect();
                self.elementwise(node, &args)
            }
            _ => self.fail(node, "cannot be computed element by element"),
        }
    }

    /// The coordinates in an array of shape `from` of the element at `coords` of its reshape to `to`.
    pub(super) fn reshaped(&mut self, from: &[i64], to: &[i64], coords: &[Affine]) -> Vec<Affine> {
        let mut result = vec![Affine::from(0); from.len()];
        for ((i0, i1), (j0, j1)) in reshape_blocks(from, to) {
            let mut at = row_major_at(&to[j0..j1], &coords[j0..j1]);
            // The outermost axis that is not 1 takes what is left, within its size as the coordinates are.
            let outermost = (i0..i1).find(|&axis| from[axis] != 1);
            for axis in (i0..i1).rev().filter(|&axis| from[axis] != 1) {
                if Some(axis) == outermost {
                    result[axis] = at.clone();
                } else {
                    (at, result[axis]) = self.div_mod(&at, from[axis]);
                }
            }
        }
        result
    }

    /// Whether `at` lies in `lo..hi`; `None` if it always does.
    pub(super) fn inside(&mut self, at: &Affine, lo: i64, hi: i64) -> Option<Value> {
        let (least, greatest) = self.range(at);
        let at = self.joined_up(at);
        (least < lo || greatest >= hi).then(|| self.let_(Expr::InRange { at, lo, hi }))
    }

    pub(super) fn and(&mut self, a: Option<Value>, b: Option<Value>) -> Option<Value> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.bin(BinOp::And, a, b)),
            (a, b) => a.or(b),
        }
    }

    fn padded(&mut self, node: NodeId, coords: &[Affine], guard: Option<Value>) -> Value {
        let n = &self.graph[node];
        let inner = self.shape(n.args[0]);
        let lo = n.attrs.get_dims("lo").iter().map(|d| d.as_const().unwrap_or(0));
        let from: Vec<Affine> = coords.iter().zip(lo).map(|(c, lo)| c.clone() - lo).collect();
        let mut inside = None;
        for (at, &size) in from.iter().zip(&inner) {
            let here = self.inside(at, 0, size);
            inside = self.and(inside, here);
        }
        let Some(inside) = inside else {
            return self.guarded(n.args[0], &from, guard);
        };
        let guard = self.and(guard, Some(inside));
        let value = self.guarded(n.args[0], &from, guard);
        let filling = self.guarded(n.args[1], &[], None);
        self.select(inside, value, filling)
    }

    fn joined(&mut self, node: NodeId, coords: &[Affine], guard: Option<Value>) -> Value {
        let n = &self.graph[node];
        let axis = n.attrs.get_int("axis") as usize;
        let mut end = self.shape(node)[axis];
        let mut result: Option<Value> = None;
        for &part in n.args.iter().rev() {
            let start = end - self.shape(part)[axis];
            let (least, greatest) = self.range(&coords[axis]);
            if greatest >= start && least < end {
                let mut from = coords.to_vec();
                from[axis] = coords[axis].clone() - start;
                let here = self.inside(&coords[axis], start, end);
                let inner = self.and(guard, here);
                let value = self.guarded(part, &from, inner);
                result = Some(match (result, here) {
                    (Some(other), Some(here)) => self.select(here, value, other),
                    _ => value,
                });
            }
            end = start;
        }
        // Under a guard the coordinates may lie outside altogether.
        result.unwrap_or_else(|| self.zero(n.ty.dtype))
    }

    /// A scatter of one element for each place on the other axes: `base + (i == index ? update : 0)`.
    fn one_hot(&mut self, node: NodeId, coords: &[Affine], guard: Option<Value>) -> Value {
        let n = &self.graph[node];
        let axis = n.attrs.get_int("axis") as usize;
        let base = self.guarded(n.args[0], coords, guard);
        let mut one = coords.to_vec();
        one[axis] = Affine::from(0);
        let index = self.guarded(n.args[1], &one, guard);
        let update = self.guarded(n.args[2], &one, guard);
        let hit: Var = self.check(index, self.shape(node)[axis] as u64, node);
        let (hit, here) = (self.index_value(hit.into()), self.index_value(coords[axis].clone()));
        let hit = self.cmp(CmpOp::Eq, hit, here);
        let sum = self.arith(BinOp::Add, n.ty.dtype, base, update);
        self.select(hit, sum, base)
    }

    fn constant(&mut self, node: NodeId, coords: &[Affine]) -> Value {
        let n = &self.graph[node];
        let dtype = n.ty.dtype;
        let values = n.attrs.get_scalars("values");
        let pick = coords.first().map_or(Some(0), Affine::as_const);
        let lit = |cx: &mut Self, v: &Scalar| cx.literal(dtype, *v);
        let Some(last) = values.last() else { return self.zero(dtype) };
        if let Some(value) = pick.and_then(|at| values.get(at as usize)) {
            return lit(self, value);
        }
        let mut result = lit(self, last);
        for (i, value) in values.iter().enumerate().rev().skip(1) {
            let value = lit(self, value);
            let here = self.let_(Expr::InRange { at: coords[0].clone(), lo: i as i64, hi: i as i64 + 1 });
            result = self.select(here, value, result);
        }
        result
    }

    /// A constant element.
    pub fn literal(&mut self, dtype: DType, value: Scalar) -> Value {
        self.let_(Expr::Const(match dtype {
            DType::F32 => Lit::f32(value.as_f64() as f32),
            DType::F64 => Lit::f64(value.as_f64()),
            DType::I64 => Lit::i64(value.as_i64()),
            DType::I32 | DType::U8 => Lit::i32(value.as_i64() as i32),
            DType::Bool => Lit::bool(value.as_i64() != 0),
        }))
    }

    fn wide(&mut self, value: Value) -> Value {
        let from = self.dtype(value);
        self.convert(value, from, DType::I64)
    }
}
