//! The register-tiled product: the one statement that is more than a loop.

use super::{Affine, Place, Stmt, Value, Var};

/// `acc[m, n] = sum over k of a * b` for all `m`, `n` of a block, then `epilogue` for each element.
///
/// The accumulators of a tile of `m` x `n` stay in registers over all of `k`; the emitter chooses the tile for its
/// registers. Products are fused where the CPU can, in the order of the `k` loops (with [`Lanes::K`]: of each lane).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contract {
    /// Rows.
    pub m: Axis,
    /// Columns.
    pub n: Axis,
    /// The loops of the sum, outermost first, one at least. Bounds may depend on variables from outside the statement
    /// (padding: skipped taps), not on `m` or `n`. The sum over no iteration is 0.
    pub k: Vec<KLoop>,
    /// Affine in `m` and the `k` variables, without `n`. F32, F64, I32 or I64.
    pub a: Place,
    /// Affine in `n` and the `k` variables, without `m`; of `a`'s type.
    pub b: Place,
    /// Along which axis the vectors lie.
    pub lanes: Lanes,
    /// The sum, defined for the epilogue.
    pub acc: Value,
    /// Runs for each element as in a vector loop over `n`: loads (bias, residual, the old value), an expression,
    /// stores.
    pub epilogue: Vec<Stmt>,
}

/// One of the two free axes of a [`Contract`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// The counter.
    pub var: Var,
    /// Number of iterations.
    pub extent: u64,
}

/// A loop of the sum of a [`Contract`]: `lo <= var < hi`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KLoop {
    /// The counter.
    pub var: Var,
    /// First value.
    pub lo: Affine,
    /// Exclusive last value.
    pub hi: Affine,
}

/// The vector axis of a [`Contract`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lanes {
    /// Vectors of `b` along `n` (fast where `b`'s coefficient of `n` is 1), elements of `a` broadcast.
    N,
    /// Vectors of `a` and `b` along the innermost `k` loop (fast where both have coefficient 1), lanes added up at the
    /// end: a product with a transposed right side.
    K,
}
