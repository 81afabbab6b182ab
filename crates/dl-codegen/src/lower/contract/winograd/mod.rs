//! Convolutions of 3x3 taps with steps of one by minimal filtering, F(2x2, 3x3): Winograd 1980, Lavin and Gray 2016.
//!
//! A tile of 2x2 results reads 4x4 elements, `d`. With the filter `g` it is `A' ((G g G') * (B' d B)) A`, where `*` goes
//! element by element: 16 products for what takes 36, and sums that no number is multiplied in. Over all channels each
//! of the 16 places is a matrix product. The gradient to the filter is `G' ((B' d B) * (A y A')) G`, where the products
//! sum over tiles. A part takes a block of tiles through all steps, within its cache.
//!
//! A sum has a few more roundings than the direct one. An infinity or NaN reaches all results of the tiles that read it.

mod results;
mod weights;

use dl_ir::DType;

use super::super::cx::Cx;
use super::super::nest::ceil_div;
use super::Operand;
use crate::kernel::{Affine, Axis, BinOp, BufId, Contract, Expr, IndexExpr, KLoop, Lanes, Place, Stmt, Value, Var};

pub(super) use results::lower as results;
pub(super) use weights::lower as weights;

/// Places of a tile, in rows and columns of four.
const PLACES: i64 = 16;

/// Elements of the transformed input of a block, so that it stays in the second-level cache with its results.
const BLOCK: i64 = 1 << 17;

/// The most tiles of a block, and the fewest that it is cut into for more parts.
const MOST_TILES: i64 = 64;
const FEWEST_TILES: i64 = 7;

/// So many parts, if there is work for them, and at most so many.
const WANTED_PARTS: i64 = 8;
const MAX_PARTS: i64 = 256;

/// What transforms cost in multiply-adds, for a channel of a tile or of a filter.
const INPUT_WORK: i64 = 100;
const RESULT_WORK: i64 = 130;
const FILTER_WORK: i64 = 60;

/// A convolution of 3x3 taps over images with channels last.
pub(super) struct Winograd {
    /// Images, rows and columns of the result.
    pub images: i64,
    pub height: i64,
    pub width: i64,
    /// Channels that are summed over, and those of the result.
    pub inputs: i64,
    pub outputs: i64,
}

/// Images with zeros around them.
#[derive(Clone, Copy)]
pub(super) struct Images {
    /// The first element.
    pub start: Operand,
    /// Of images, rows, columns and channels.
    pub strides: [i64; 4],
    /// Rows and columns.
    pub size: [i64; 2],
    /// How many rows and columns of zeros are before the first: there the first tile begins.
    pub lo: [i64; 2],
}

/// Filters of 3x3 taps.
#[derive(Clone, Copy)]
pub(super) struct Filters {
    /// The first element.
    pub start: Operand,
    /// Of rows, columns, channels that are summed over and channels of the result.
    pub strides: [i64; 4],
    /// Whether taps go backwards.
    pub flipped: bool,
}

impl Winograd {
    fn rows(&self) -> i64 {
        ceil_div(self.height, 2)
    }

    fn columns(&self) -> i64 {
        ceil_div(self.width, 2)
    }

    fn tiles(&self) -> i64 {
        self.images * self.rows() * self.columns()
    }

    /// Whether there is anything to compute, in channels that fill vectors and rows of tiles that stay in the cache.
    fn fits(&self) -> bool {
        let (c, o) = (self.inputs, self.outputs);
        self.tiles() > 0 && c >= 16 && o > 0 && o % 16 == 0 && PLACES * self.columns() * c <= 2 * BLOCK
    }

    /// Whether `transforms` multiply-adds more leave it clearly faster than the sum over all taps.
    fn saves(&self, transforms: i64) -> bool {
        let (c, o) = (self.inputs, self.outputs);
        let direct = self.images * self.height * self.width * 9 * c * o;
        (self.tiles() * PLACES * c * o + transforms) * 5 < direct * 4
    }

    /// Whether it takes clearly less time than the sum over all taps. `kept` filters are not transformed in each call.
    pub fn is_worth_it(&self, kept: bool) -> bool {
        let (c, o) = (self.inputs, self.outputs);
        let filters = if kept { 0 } else { c * o * FILTER_WORK };
        self.fits() && self.saves(self.tiles() * (c * INPUT_WORK + o * RESULT_WORK) + filters)
    }

    /// What transforms tiles of so many channels from the first one on.
    fn transform(&self, images: Images, step: i64, first: Affine, channels: i64) -> Transform {
        Transform { images, step, rows: self.rows(), columns: self.columns(), first, channels }
    }

    /// Channels of the result that are multiplied at once.
    fn panel(&self) -> i64 {
        [64, 48, 32, 16].into_iter().find(|n| self.outputs % n == 0).unwrap_or(16)
    }
}

/// How far the values of one place lie from those of the next: not at the same lines of a page, which would be the same
/// set of a cache.
fn spread(len: i64) -> i64 {
    (len as u64).next_multiple_of(1024) as i64 + 16
}

/// The size of blocks of at most `most` of `all`: a divisor if there is one near, so that no block is another, and
/// otherwise as equal as may be.
fn even(all: i64, most: i64) -> i64 {
    let divisor = (most / 2 + 1..=most).rev().find(|size| all % size == 0);
    divisor.unwrap_or_else(|| ceil_div(all, ceil_div(all, most)))
}

/// Runs `f` where `at`, an index of `0..end`, lies in `lo..hi`.
fn within<'g>(cx: &mut Cx<'g>, at: Affine, lo: i64, hi: i64, end: i64, f: impl FnOnce(&mut Cx<'g>, Affine)) {
    if lo >= hi {
        return;
    }
    if (lo, hi) == (0, end) {
        return f(cx, at);
    }
    let here = cx.let_(Expr::InRange { at: at.clone(), lo, hi });
    cx.if_(here, |cx| {
        let at = if hi - lo == 1 { Affine::from(lo) } else { cx.index(IndexExpr::Within(at, lo, hi)).into() };
        f(cx, at);
    });
}

/// Runs `f` for block `at` of `all` rows of tiles, in blocks of `size`: with its first row and how many it has.
fn block_of<'g>(cx: &mut Cx<'g>, at: Affine, all: i64, size: i64, f: impl Fn(&mut Cx<'g>, Affine, i64)) {
    let (whole, blocks) = (all / size, ceil_div(all, size));
    within(cx, at.clone(), 0, whole, blocks, |cx, at| f(cx, at * size, size));
    within(cx, at, whole, blocks, blocks, |cx, at| f(cx, at * size, all % size));
}

/// A product of matrices of so many rows and columns, summed over so many elements, which are at the places that
/// `operands` gives for a row, a column and an element; `epilogue` gets a row, a column and its sum.
fn multiply<'g>(
    cx: &mut Cx<'g>,
    [rows, columns, depth]: [i64; 3],
    operands: impl FnOnce(Var, Var, Var) -> [Place; 2],
    epilogue: impl FnOnce(&mut Cx<'g>, Var, Var, Value),
) {
    let (epilogue, (m, n, k, [a, b], acc)) = cx.block(|cx| {
        let m = Axis { var: cx.fresh_var(0, rows - 1), extent: rows as u64 };
        let n = Axis { var: cx.fresh_var(0, columns - 1), extent: columns as u64 };
        let k = KLoop { var: cx.fresh_var(0, depth - 1), lo: Affine::from(0), hi: Affine::from(depth) };
        let acc = cx.fresh_value(DTYPE);
        epilogue(cx, m.var, n.var, acc);
        let places = operands(m.var, n.var, k.var);
        (m, n, vec![k], places, acc)
    });
    cx.push(Stmt::Contract(Box::new(Contract { m, n, k, a, b, lanes: Lanes::N, acc, epilogue })));
}

/// What transforms tiles of images into scratch memory: `[places][tiles, channels]`, the places `step` elements apart.
struct Transform {
    images: Images,
    step: i64,
    /// Rows of tiles in an image, and tiles in a row.
    rows: i64,
    columns: i64,
    /// The first channel, and how many.
    first: Affine,
    channels: i64,
}

/// A channel of a tile.
struct Tile<'a> {
    images: BufId,
    /// The element at the tile's first position, which may lie outside of the image.
    from: Affine,
    /// Which rows and columns of the tile lie in the image.
    there: [&'a [bool]; 2],
    /// The first place in scratch memory.
    to: Affine,
}

/// Tiles of an axis, from one on and before another, that have the same positions within the image.
type Run = (i64, i64, Vec<bool>);

impl Transform {
    /// All runs of an axis, of tiles that read `lines` positions.
    fn runs(&self, axis: usize, lines: i64) -> Vec<Run> {
        let (size, lo, tiles) = (self.images.size[axis], self.images.lo[axis], [self.rows, self.columns][axis]);
        let mut runs: Vec<Run> = vec![];
        for tile in 0..tiles {
            let there = (0..lines).map(|i| (0..size).contains(&(2 * tile - lo + i))).collect();
            match runs.last_mut() {
                Some((_, end, same)) if *same == there => *end += 1,
                _ => runs.push((tile, tile + 1, there)),
            }
        }
        runs
    }

    /// Runs `f` for every tile, of `lines` rows and columns, of `rows` rows of tiles from row `start` on, all images one
    /// after the other, and every channel.
    fn each(
        &self,
        cx: &mut Cx<'_>,
        (images, lines): (BufId, i64),
        (start, rows): (&Affine, i64),
        f: impl Fn(&mut Cx<'_>, &Tile<'_>),
    ) {
        let Images { strides: [image, row, column, channel], lo: [above, before], start: origin, .. } = self.images;
        let origin = self.first.clone() * channel + (origin.offset - above * row - before * column);
        let runs = [self.runs(0, lines), self.runs(1, lines)];
        cx.for_(0, rows, |cx, r| {
            let (n, y) = cx.div_mod(&(start.clone() + r), self.rows);
            for (low, high, ys) in &runs[0] {
                within(cx, y.clone(), *low, *high, self.rows, |cx, y| {
                    let from = origin.clone() + n.clone() * image + y * (2 * row);
                    for (low, high, xs) in &runs[1] {
                        let tile = |cx: &mut Cx<'_>, x: Affine| {
                            cx.vec(self.channels as u64, |cx, c| {
                                let to = r * (self.columns * self.channels) + x.clone() * self.channels + c;
                                let from = from.clone() + x * (2 * column) + c * channel;
                                f(cx, &Tile { images, from, there: [ys, xs], to });
                            });
                        };
                        match high - low {
                            1 => tile(cx, Affine::from(*low)),
                            _ => cx.for_(*low, *high, |cx, x| tile(cx, x.into())),
                        }
                    }
                });
            }
        });
    }

    fn load(&self, cx: &mut Cx<'_>, tile: &Tile<'_>, y: usize, x: usize) -> Value {
        if !tile.there[0][y] || !tile.there[1][x] {
            return cx.zero(DTYPE);
        }
        let [_, row, column, _] = self.images.strides;
        cx.load(tile.images, tile.from.clone() + (y as i64 * row + x as i64 * column))
    }

    fn store(&self, cx: &mut Cx<'_>, (scratch, tile): (BufId, &Tile<'_>), y: i64, row: [Value; 4]) {
        for (x, value) in row.into_iter().enumerate() {
            cx.store(scratch, tile.to.clone() + (y * 4 + x as i64) * self.step, value);
        }
    }

    /// `B' d B`, of what tiles read.
    fn input(&self, cx: &mut Cx<'_>, images: BufId, scratch: BufId, block: (&Affine, i64)) {
        self.each(cx, (images, 4), block, |cx, tile| {
            let line = |cx: &mut Cx<'_>, y| -> [Value; 4] { std::array::from_fn(|x| self.load(cx, tile, y, x)) };
            let place = |cx: &mut Cx<'_>, y: i64, [a, b, c, d]: [Value; 4]| {
                let row = [
                    cx.bin(BinOp::Sub, a, c),
                    cx.bin(BinOp::Add, b, c),
                    cx.bin(BinOp::Sub, c, b),
                    cx.bin(BinOp::Sub, b, d),
                ];
                self.store(cx, (scratch, tile), y, row);
            };
            let both = |cx: &mut Cx<'_>, op: BinOp, a: [Value; 4], b: [Value; 4]| -> [Value; 4] {
                std::array::from_fn(|x| cx.bin(op, a[x], b[x]))
            };
            // Lines are loaded again rather than kept, as they would take all registers.
            let (a, c) = (line(cx, 0), line(cx, 2));
            let values = both(cx, BinOp::Sub, a, c);
            place(cx, 0, values);
            let (b, c) = (line(cx, 1), line(cx, 2));
            let (sums, rest) = (both(cx, BinOp::Add, b, c), both(cx, BinOp::Sub, c, b));
            place(cx, 1, sums);
            place(cx, 2, rest);
            let (b, d) = (line(cx, 1), line(cx, 3));
            let values = both(cx, BinOp::Sub, b, d);
            place(cx, 3, values);
        });
    }

    /// `A y A'`, of the gradients to a tile's results, but for the sign of the last row and column.
    fn gradient(&self, cx: &mut Cx<'_>, images: BufId, scratch: BufId, block: (&Affine, i64)) {
        let four = |cx: &mut Cx<'_>, [a, b]: [Value; 2]| [a, cx.bin(BinOp::Add, a, b), cx.bin(BinOp::Sub, a, b), b];
        self.each(cx, (images, 2), block, |cx, tile| {
            let sides: [[Value; 4]; 2] = std::array::from_fn(|x| {
                let side = std::array::from_fn(|y| self.load(cx, tile, y, x));
                four(cx, side)
            });
            for y in 0..4 {
                let row = four(cx, sides.map(|side| side[y]));
                self.store(cx, (scratch, tile), y as i64, row);
            }
        });
    }
}

/// The element type of everything here.
const DTYPE: DType = DType::F32;
