//! The context in which a kernel of a group is written: open blocks, buffers, and what is known of index variables.
//!
//! Every expression is placed in the outermost open block where its operands are defined, once: what does not depend on
//! a loop's counter is computed before the loop.

use std::collections::HashMap;

use dl_ir::plan::{Fused, Group};
use dl_ir::{DType, Graph, NodeId};

use super::{BufRef, LowerError, LoweredKernel};
use crate::kernel::{
    Access, Affine, BinOp, BufId, Builder, Carry, CmpOp, Expr, IndexExpr, Lit, Place, Reduce, ReduceOp, Stmt, UnOp,
    Value, Var,
};

/// A kernel under construction.
pub struct Cx<'g> {
    /// The bound graph.
    pub graph: &'g Graph,
    /// Where nodes live.
    pub fused: &'g Fused,
    /// The group that is being lowered.
    pub group: &'g Group,
    pub(super) k: Builder,
    bufs: Vec<(BufRef, Access)>,
    blocks: Vec<Block>,
    /// The block in which each value is defined, by value.
    pub(super) value_level: Vec<usize>,
    pub(super) vars: Vec<VarInfo>,
    pub(super) memo: HashMap<Key, u32>,
    places: HashMap<NodeId, PlacedNode>,
    error: Option<LowerError>,
}

#[derive(Default)]
struct Block {
    stmts: Vec<Stmt>,
    /// Whether statements must stay inside (the body of an `if`).
    fixed: bool,
    /// What to forget when the block closes.
    keys: Vec<Key>,
}

/// Where the kernel itself has put the values of a node.
#[derive(Clone)]
pub(super) struct PlacedNode {
    pub(super) buf: BufId,
    pub(super) offset: Affine,
    pub(super) strides: Vec<i64>,
    /// What the coordinates must be on some axes, as only these elements are there.
    pub(super) only: Vec<(usize, Affine)>,
    /// The block in which the buffer is written: loads must not move out of it.
    level: usize,
}

#[derive(Clone)]
pub(super) struct VarInfo {
    pub(super) level: usize,
    pub(super) lo: i64,
    pub(super) hi: i64,
    /// How it is derived, if it is a quotient or remainder.
    pub(super) def: Option<IndexExpr>,
}

impl VarInfo {
    pub(super) fn new(level: usize, (lo, hi): (i64, i64)) -> VarInfo {
        VarInfo { level, lo, hi, def: None }
    }
}

/// What has been computed already.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Node(NodeId, Vec<Affine>, Option<Value>),
    Expr(Expr),
    Index(IndexExpr),
}

impl<'g> Cx<'g> {
    /// Starts a kernel of `group` with so many parts.
    pub fn new(graph: &'g Graph, fused: &'g Fused, group: &'g Group, name: &str, parts: u64) -> Cx<'g> {
        Cx {
            graph,
            fused,
            group,
            k: Builder::new(name, parts),
            bufs: vec![],
            blocks: vec![Block::default()],
            value_level: vec![],
            vars: vec![VarInfo::new(0, (0, parts as i64 - 1))],
            memo: HashMap::new(),
            places: HashMap::new(),
            error: None,
        }
    }

    /// The kernel and what its buffers are.
    ///
    /// # Errors
    /// The first that was met on the way.
    pub fn finish(mut self) -> Result<LoweredKernel, LowerError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let body = self.blocks.into_iter().flat_map(|b| b.stmts).collect();
        super::dead::remove(body).into_iter().for_each(|s| self.k.push(s));
        let mut kernel = self.k.finish();
        for (buf, (_, access)) in kernel.bufs.iter_mut().zip(&self.bufs) {
            buf.access = *access;
        }
        Ok(LoweredKernel { kernel, bufs: self.bufs.into_iter().map(|(r, _)| r).collect() })
    }

    /// Records that `node` cannot be lowered here; [`Cx::finish`] reports it.
    pub fn fail(&mut self, node: NodeId, why: &str) -> Value {
        let op = self.graph[node].op.name();
        self.error.get_or_insert(LowerError { node, what: format!("`{op}` {why}") });
        self.zero(self.graph.ty(node).dtype)
    }

    /// The sizes of a node.
    pub fn shape(&self, node: NodeId) -> Vec<i64> {
        shape(self.graph, node)
    }

    // Buffers

    /// The buffer of a node that is in memory; an alias gives that of its root.
    pub fn buf(&mut self, node: NodeId, access: Access) -> BufId {
        let Some(root) = self.fused.root(node) else {
            self.fail(node, "is not in memory");
            return BufId(0);
        };
        let ty = self.graph.ty(root);
        let len = self.shape(root).iter().product::<i64>();
        let dtype = ty.dtype;
        // What is stored here and loaded from elsewhere in place has two buffers of one address.
        self.declare(BufRef::Node(root), dtype, len as u64, access)
    }

    /// Memory of the running part, of `len` elements. Each call gives another piece.
    pub fn scratch(&mut self, dtype: DType, len: u64) -> BufId {
        let id = self.k.buf(dtype, len, Access::Scratch);
        self.bufs.push((BufRef::Scratch { bytes: len * dtype.size() as u64 }, Access::Scratch));
        id
    }

    /// Memory shared by the kernels of the group: number `index`, of `len` elements.
    pub fn temp(&mut self, index: u32, dtype: DType, len: u64, access: Access) -> BufId {
        self.declare(BufRef::Temp { index, bytes: len * dtype.size() as u64 }, dtype, len, access)
    }

    fn declare(&mut self, what: BufRef, dtype: DType, len: u64, access: Access) -> BufId {
        let found = self.bufs.iter().position(|(r, _)| *r == what);
        if let Some(at) = found {
            if self.bufs[at].1 != access {
                self.bufs[at].1 = Access::ReadWrite;
            }
            return BufId(at as u32);
        }
        self.bufs.push((what, access));
        self.k.buf(dtype, len, access)
    }

    // Blocks

    fn open(&mut self, fixed: bool) {
        self.blocks.push(Block { fixed, ..Block::default() });
    }

    fn close(&mut self) -> Vec<Stmt> {
        let block = self.blocks.pop().unwrap_or_default();
        for key in &block.keys {
            self.memo.remove(key);
        }
        block.stmts
    }

    fn level(&self) -> usize {
        self.blocks.len() - 1
    }

    /// Collects the statements that `f` adds to a new block in which the variables it makes are defined. What can
    /// stand before the block does not go into it. For statements made by hand (the epilogue of a contraction).
    pub fn block<T>(&mut self, f: impl FnOnce(&mut Cx<'g>) -> T) -> (Vec<Stmt>, T) {
        self.open(false);
        let result = f(self);
        (self.close(), result)
    }

    /// A fresh index variable of the innermost block, between `lo` and `hi` (inclusive).
    pub fn fresh_var(&mut self, lo: i64, hi: i64) -> Var {
        let var = self.k.fresh_var();
        self.vars.push(VarInfo::new(self.level(), (lo, hi)));
        var
    }

    /// A fresh value of the innermost block.
    pub fn fresh_value(&mut self, dtype: DType) -> Value {
        let value = self.k.fresh_value(dtype);
        self.value_level.push(self.level());
        value
    }

    /// The type of a value.
    pub fn dtype(&self, value: Value) -> DType {
        self.k.dtype(value)
    }

    /// Appends a statement to the innermost block.
    pub fn push(&mut self, stmt: Stmt) {
        if let Some(block) = self.blocks.last_mut() {
            block.stmts.push(stmt);
        }
    }

    /// `for var in lo..hi`.
    pub fn for_(&mut self, lo: impl Into<Affine>, hi: impl Into<Affine>, f: impl FnOnce(&mut Cx<'g>, Var)) {
        self.for_carry(lo, hi, &[], |cx, var, _| {
            f(cx, var);
            vec![]
        });
    }

    /// `for var in lo..hi` carrying values: `f` gets those at the start of an iteration and returns those at its end.
    pub fn for_carry(
        &mut self,
        lo: impl Into<Affine>,
        hi: impl Into<Affine>,
        init: &[Value],
        f: impl FnOnce(&mut Cx<'g>, Var, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let (lo, hi) = (lo.into(), hi.into());
        let (first, last) = (self.range(&lo).0, self.range(&hi).1 - 1);
        let types: Vec<DType> = init.iter().map(|&v| self.dtype(v)).collect();
        let (body, (var, params, next)) = self.block(|cx| {
            let var = cx.fresh_var(first, last);
            let params: Vec<Value> = types.iter().map(|&t| cx.fresh_value(t)).collect();
            let next = f(cx, var, &params);
            (var, params, next)
        });
        let outs: Vec<Value> = types.iter().map(|&t| self.fresh_value(t)).collect();
        let carries =
            (0..init.len()).map(|i| Carry { param: params[i], init: init[i], next: next[i], out: outs[i] }).collect();
        self.push(Stmt::For { var, lo, hi, carries, body });
        outs
    }

    /// Vector loop over `0..extent`.
    pub fn vec(&mut self, extent: u64, f: impl FnOnce(&mut Cx<'g>, Var)) {
        self.vec_reduce(extent, |cx, var| {
            f(cx, var);
            vec![]
        });
    }

    /// Vector loop over `0..extent` reducing the values which `f` returns.
    pub fn vec_reduce(
        &mut self,
        extent: u64,
        f: impl FnOnce(&mut Cx<'g>, Var) -> Vec<(ReduceOp, Value)>,
    ) -> Vec<Value> {
        let (body, (var, values)) = self.block(|cx| {
            let var = cx.fresh_var(0, extent as i64 - 1);
            let values = f(cx, var);
            (var, values)
        });
        let reduces: Vec<Reduce> = values
            .into_iter()
            .map(|(op, value)| {
                let dtype = match op {
                    ReduceOp::ArgMax | ReduceOp::ArgMin => DType::I64,
                    _ => self.dtype(value),
                };
                Reduce { op, value, out: self.fresh_value(dtype) }
            })
            .collect();
        let outs = reduces.iter().map(|r| r.out).collect();
        self.push(Stmt::Vec { var, extent, reduces, body });
        outs
    }

    /// `if cond { .. }`.
    pub fn if_(&mut self, cond: Value, f: impl FnOnce(&mut Cx<'g>)) {
        self.open(true);
        f(self);
        let body = self.close();
        self.push(Stmt::If { cond, body });
    }

    // Values

    /// Computes an expression in the outermost block where its operands are defined, or finds it computed.
    pub fn let_(&mut self, expr: Expr) -> Value {
        self.let_from(0, expr)
    }

    /// As [`Cx::let_`], not further out than block number `outermost`.
    fn let_from(&mut self, outermost: usize, expr: Expr) -> Value {
        // A load may be of memory that the kernel changes: `value_at` remembers loads of what it does not.
        let pure = !matches!(expr, Expr::Load(_) | Expr::LoadIf { .. });
        let key = Key::Expr(expr);
        if pure && let Some(&value) = self.memo.get(&key) {
            return Value(value);
        }
        let Key::Expr(expr) = key.clone() else { return Value(0) };
        let level = self.expr_level(&expr).max(self.floor()).max(outermost);
        let (mut stmts, value) = self.k.block(|k| k.let_(expr));
        self.value_level.push(level);
        self.blocks[level].stmts.append(&mut stmts);
        if pure {
            self.remember(level, key, value.0);
        }
        value
    }

    /// Zero, false.
    pub fn zero(&mut self, dtype: DType) -> Value {
        self.number(dtype, 0.0)
    }

    /// A constant of the type that values of `dtype` have, converted from `x`.
    pub fn number(&mut self, dtype: DType, x: f64) -> Value {
        self.let_(Expr::Const(match dtype {
            DType::F32 => Lit::f32(x as f32),
            DType::F64 => Lit::f64(x),
            DType::I64 => Lit::i64(x as i64),
            DType::I32 | DType::U8 => Lit::i32(x as i32),
            DType::Bool => Lit::bool(x != 0.0),
        }))
    }

    /// An index as a value.
    pub fn index_value(&mut self, at: Affine) -> Value {
        let at = self.joined_up(&at);
        self.let_(Expr::Index(at))
    }

    /// Loads an element.
    pub fn load(&mut self, buf: BufId, at: impl Into<Affine>) -> Value {
        self.let_(Expr::Load(Place { buf, at: at.into() }))
    }

    /// Unary operation.
    pub fn un(&mut self, op: UnOp, a: Value) -> Value {
        self.let_(Expr::Un(op, a))
    }

    /// Binary operation.
    pub fn bin(&mut self, op: BinOp, a: Value, b: Value) -> Value {
        self.let_(Expr::Bin(op, a, b))
    }

    /// Comparison.
    pub fn cmp(&mut self, op: CmpOp, a: Value, b: Value) -> Value {
        self.let_(Expr::Cmp(op, a, b))
    }

    /// `cond ? a : b`.
    pub fn select(&mut self, cond: Value, a: Value, b: Value) -> Value {
        self.let_(Expr::Select(cond, a, b))
    }

    /// Stores an element in the innermost block.
    pub fn store(&mut self, buf: BufId, at: impl Into<Affine>, value: Value) {
        self.push(Stmt::Store { place: Place { buf, at: at.into() }, value, add: false, guard: None });
    }

    /// Stores the value of an output of the group at `coords`.
    pub fn store_node(&mut self, node: NodeId, coords: &[Affine], value: Value) {
        let at = self.at(&self.shape(node), coords);
        let buf = self.output_buf(node, Access::Write);
        self.store(buf, at, value);
    }

    /// Adds to an output of the group at `coords`, if `guard` holds.
    pub fn add_to_node(&mut self, node: NodeId, coords: &[Affine], value: Value, guard: Option<Value>) {
        let at = self.at(&self.shape(node), coords);
        let buf = self.output_buf(node, Access::ReadWrite);
        self.push(Stmt::Store { place: Place { buf, at }, value, add: true, guard });
    }

    /// The buffer to which the group stores an output.
    pub fn output_buf(&mut self, node: NodeId, access: Access) -> BufId {
        let dtype = self.graph.ty(node).dtype;
        let len = self.shape(node).iter().product::<i64>();
        self.declare(BufRef::Node(node), dtype, len as u64, access)
    }

    /// From now on the value of `node` at `coords` is `value`, wherever the innermost block reaches.
    pub fn bind(&mut self, node: NodeId, coords: &[Affine], value: Value) {
        let level = self.level();
        let key = Key::Node(node, self.normal(node, coords), None);
        self.remember(level, key, value.0);
    }

    /// From now on the values of `node` whose coordinates on some axes are those of `only` are loaded from
    /// `buf[offset + sum(strides[i] * coords[i])]`, which is written in the innermost block.
    pub fn place(
        &mut self,
        node: NodeId,
        buf: BufId,
        (offset, strides): (Affine, Vec<i64>),
        only: Vec<(usize, Affine)>,
    ) {
        let level = self.level();
        self.places.insert(node, PlacedNode { buf, offset, strides, only, level });
    }

    /// Ends [`Cx::place`] for all nodes.
    pub fn forget_places(&mut self) {
        self.places.clear();
    }

    pub(super) fn placed(&self, node: NodeId, coords: &[Affine]) -> Option<PlacedNode> {
        self.places.get(&node).filter(|p| p.only.iter().all(|(axis, c)| coords[*axis] == *c)).cloned()
    }

    /// A load of memory that the kernel writes in the block where `placed` was declared.
    pub(super) fn load_placed(&mut self, placed: &PlacedNode, at: Affine) -> Value {
        self.let_from(placed.level, Expr::Load(Place { buf: placed.buf, at }))
    }

    /// Coordinates with 0 on axes of size 1.
    pub(super) fn normal(&self, node: NodeId, coords: &[Affine]) -> Vec<Affine> {
        let ty = self.graph.ty(node);
        debug_assert_eq!(ty.rank(), coords.len(), "coordinates of a node of type {ty}");
        let fix = |(c, d): (&Affine, &dl_ir::Dim)| if d.is(1) { Affine::from(0) } else { c.clone() };
        coords.iter().zip(&ty.shape).map(fix).collect()
    }

    pub(super) fn find(&self, key: &Key) -> Option<Value> {
        self.memo.get(key).map(|&v| Value(v))
    }

    /// Remembers a value of the innermost block where it and the variables of the key are defined.
    pub(super) fn note(&mut self, key: Key, value: Value) {
        let level = match &key {
            Key::Node(_, coords, _) => coords.iter().map(|c| self.affine_level(c)).max().unwrap_or(0),
            _ => 0,
        };
        self.remember(level.max(self.value_level[value.0 as usize]), key, value.0);
    }

    pub(super) fn remember(&mut self, level: usize, key: Key, what: u32) {
        self.blocks[level].keys.push(key.clone());
        self.memo.insert(key, what);
    }

    pub(super) fn place_at(&mut self, level: usize, stmt: Stmt) {
        self.blocks[level].stmts.push(stmt);
    }

    /// The outermost block into which statements may move.
    pub(super) fn floor(&self) -> usize {
        self.blocks.iter().rposition(|b| b.fixed).unwrap_or(0)
    }

    pub(super) fn affine_level(&self, a: &Affine) -> usize {
        a.terms().iter().map(|(v, _)| self.vars[v.0 as usize].level).max().unwrap_or(0).max(self.floor())
    }

    fn expr_level(&self, expr: &Expr) -> usize {
        let of = |v: &Value| self.value_level[v.0 as usize];
        match expr {
            Expr::Const(_) => 0,
            Expr::Index(at) | Expr::InRange { at, .. } => self.affine_level(at),
            Expr::Load(place) => self.affine_level(&place.at),
            Expr::LoadIf { place, guard, other } => self.affine_level(&place.at).max(of(guard)).max(of(other)),
            Expr::Un(_, a) | Expr::Cast(a, _) | Expr::Bitcast(a, _) => of(a),
            Expr::Bin(_, a, b) | Expr::Cmp(_, a, b) => of(a).max(of(b)),
            Expr::Select(a, b, c) | Expr::MulAdd(a, b, c) => of(a).max(of(b)).max(of(c)),
            Expr::Random { seed, step, index, .. } => self.affine_level(index).max(of(seed)).max(of(step)),
        }
    }
}

/// The sizes of a node of a bound graph.
pub fn shape(graph: &Graph, node: NodeId) -> Vec<i64> {
    graph.ty(node).shape.iter().map(|d| d.as_const().unwrap_or(0)).collect()
}
