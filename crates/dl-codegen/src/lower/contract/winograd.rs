//! Convolutions of 3x3 taps with steps of one by minimal filtering, F(2x2, 3x3): Winograd 1980, Lavin and Gray 2016.
//!
//! A tile of 2x2 results reads 4x4 elements, `d`. With the filter `g` it is `A' ((G g G') * (B' d B)) A`, where `*` goes
//! element by element: 16 products for what takes 36, and sums that no number is multiplied in. Over all channels each
//! of the 16 places is a matrix product. A part takes a block of tiles from elements to results, within its cache:
//! it transforms what the tiles read, multiplies, and transforms back for a panel of channels after the other.
//!
//! A sum has a few more roundings than the direct one. An infinity or NaN reaches all results of the tiles that read it.

use dl_ir::DType;

use super::copy::{self, copy};
use super::{Operand, Source, Writer, at_most, buffer, store};
use crate::kernel::{
    Access, Affine, Axis, BinOp, BufId, Contract, Expr, IndexExpr, KLoop, Lanes, Place, Stmt, Value, Var,
};
use crate::lower::LowerError;
use crate::lower::cx::Cx;

/// Places of a tile, in rows and columns of four.
const PLACES: i64 = 16;

/// Elements of the transformed input of a block, so that it stays in the second-level cache with its results.
const BLOCK: i64 = 1 << 17;

/// The most tiles of a block, and the fewest that it is cut into for more parts.
const MOST_TILES: i64 = 64;
const FEWEST_TILES: i64 = 7;

/// So many blocks, if there are tiles for them.
const WANTED_BLOCKS: i64 = 8;

/// At most so many parts.
const MAX_PARTS: i64 = 256;

/// Elements that a part of the filters' transform reads, about.
const FILTERS_PART: i64 = 1 << 14;

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
    /// Whether transformed filters are kept from call to call.
    pub kept: bool,
}

/// An array of four axes.
#[derive(Clone, Copy)]
pub(super) struct Strided {
    /// The element at index 0 of each axis.
    pub start: Operand,
    /// Of images: image, row, column, channel. Of filters: row, column, input, output.
    pub strides: [i64; 4],
}

impl Winograd {
    fn rows(&self) -> i64 {
        (self.height + 1) / 2
    }

    fn columns(&self) -> i64 {
        (self.width + 1) / 2
    }

    /// Whether it takes clearly less time than the sum over all taps.
    pub fn is_worth_it(&self) -> bool {
        let (c, o) = (self.inputs, self.outputs);
        let tiles = self.images * self.rows() * self.columns();
        let transforms = tiles * (c * INPUT_WORK + o * RESULT_WORK) + if self.kept { 0 } else { c * o * FILTER_WORK };
        let direct = self.images * self.height * self.width * 9 * c * o;
        let fits = c >= 16 && o % 16 == 0 && o > 0 && PLACES * self.columns() * c <= 2 * BLOCK;
        fits && (tiles * PLACES * c * o + transforms) * 5 < direct * 4
    }

    /// Rows of tiles of a block.
    fn block(&self) -> i64 {
        let (all, columns) = (self.images * self.rows(), self.columns());
        let most = (BLOCK / PLACES / self.inputs).clamp(FEWEST_TILES, MOST_TILES);
        let mut rows = (most / columns).clamp(1, all);
        while rows > 1 && all / rows < WANTED_BLOCKS && (rows - 1) * columns >= FEWEST_TILES {
            rows -= 1;
        }
        // As equal as may be.
        let blocks = (all + rows - 1) / rows;
        (all + blocks - 1) / blocks
    }

    /// Channels of the result that are multiplied at once.
    fn panel(&self) -> i64 {
        [64, 48, 32, 16].into_iter().find(|n| self.outputs % n == 0).unwrap_or(16)
    }

    /// Where the last position of the images that a tile reads lies, the first being 0.
    pub fn reach(&self) -> [i64; 2] {
        [2 * self.rows() + 1, 2 * self.columns() + 1]
    }
}

/// Writes the kernels. The images begin at the first element that a tile reads and have all that any tile does; the
/// taps of a filter go as those of a correlation, or backwards if `flipped`.
pub(super) fn lower(
    w: &mut Writer<'_>,
    shape: &Winograd,
    images: Strided,
    filters: Strided,
    flipped: bool,
) -> Result<(), LowerError> {
    let filters = transformed(w, shape, filters, flipped)?;
    let block = shape.block();
    let all = shape.images * shape.rows();
    let blocks = (all + block - 1) / block;
    let group = (blocks + MAX_PARTS - 1) / MAX_PARTS;
    let tiles = block * shape.columns();
    let product = Product {
        shape,
        images,
        anchor: w.anchor,
        input: spread(tiles * shape.inputs),
        sum: spread(tiles * shape.panel()),
    };
    w.kernel("", ((blocks + group - 1) / group) as u64, |cx| {
        let memory = Memory {
            images: buffer(cx, images.start.source, DType::F32, Access::Read),
            filters: buffer(cx, filters, DType::F32, Access::Read),
            input: cx.scratch(DType::F32, (PLACES * product.input) as u64),
            sum: cx.scratch(DType::F32, (PLACES * product.sum) as u64),
        };
        let lo = Var::PART * group;
        let hi = at_most(cx, lo.clone() + group, blocks as u64);
        let whole = all / block;
        cx.for_(lo, hi, |cx, at| {
            within(cx, at.into(), 0, whole, blocks, |cx, at| product.block(cx, &memory, at * block, block));
            within(cx, at.into(), whole, blocks, blocks, |cx, at| product.block(cx, &memory, at * block, all % block));
        });
    })
}

/// How far the values of one place lie from those of the next: not at the same lines of a page, which would be the same
/// set of a cache.
fn spread(len: i64) -> i64 {
    (len as u64).next_multiple_of(1024) as i64 + 16
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

/// `G g G'` for every filter: `[places, panels, inputs, panel]`.
fn transformed(w: &mut Writer<'_>, shape: &Winograd, filters: Strided, flipped: bool) -> Result<Source, LowerError> {
    let (inputs, outputs, panel) = (shape.inputs, shape.outputs, shape.panel());
    let mut filters = filters;
    if filters.strides[3] != 1 {
        let sizes = [3, 3, inputs, outputs];
        let axes: Vec<copy::Axis> =
            sizes.iter().zip(filters.strides).map(|(&size, stride)| copy::Axis::plain(size as u64, stride)).collect();
        let start = copy(w, filters.start, DType::F32, &axes)?;
        filters = Strided { start, strides: [3 * inputs * outputs, inputs * outputs, outputs, 1] };
    }
    let to = w.temp((PLACES * inputs * outputs) as u64);
    let group = (FILTERS_PART / outputs).clamp(1, inputs).max(inputs / MAX_PARTS);
    w.kernel("_filters", (inputs as u64).div_ceil(group as u64), |cx| {
        let from = buffer(cx, filters.start.source, DType::F32, Access::Read);
        let to = buffer(cx, to, DType::F32, Access::Write);
        let half = cx.number(DType::F32, 0.5);
        let lo = Var::PART * group;
        let hi = at_most(cx, lo.clone() + group, inputs as u64);
        cx.for_(lo, hi, |cx, c| {
            cx.for_(0, outputs / panel, |cx, p| {
                cx.vec(panel as u64, |cx, o| {
                    // Along rows, then along columns.
                    let one = |cx: &mut Cx<'_>, [a, b, c]: [Value; 3]| {
                        let ends = cx.bin(BinOp::Add, a, c);
                        let (more, less) = (cx.bin(BinOp::Add, ends, b), cx.bin(BinOp::Sub, ends, b));
                        [a, cx.bin(BinOp::Mul, more, half), cx.bin(BinOp::Mul, less, half), c]
                    };
                    let [rows, columns, input, output] = filters.strides;
                    let start = c * input + p * (panel * output) + o * output + filters.start.offset;
                    let sides: [[Value; 4]; 3] = std::array::from_fn(|x| {
                        let taps = std::array::from_fn(|y| {
                            let (y, x) = if flipped { (2 - y, 2 - x) } else { (y, x) };
                            cx.load(from, start.clone() + (y as i64 * rows + x as i64 * columns))
                        });
                        one(cx, taps)
                    });
                    for y in 0..4 {
                        let row = one(cx, sides.map(|side| side[y]));
                        for (x, value) in row.into_iter().enumerate() {
                            let place = (y * 4 + x) as i64 * inputs * outputs;
                            cx.store(to, p * (inputs * panel) + c * panel + o + place, value);
                        }
                    }
                });
            });
        });
    })?;
    Ok(to)
}

struct Product<'a> {
    shape: &'a Winograd,
    images: Strided,
    anchor: dl_ir::NodeId,
    /// Elements from place to place of the transformed input and of the sums.
    input: i64,
    sum: i64,
}

struct Memory {
    images: BufId,
    filters: BufId,
    input: BufId,
    sum: BufId,
}

impl Product<'_> {
    /// The block of `rows` rows of tiles from row `first` on, of all images one after the other.
    fn block(&self, cx: &mut Cx<'_>, memory: &Memory, first: Affine, rows: i64) {
        self.read(cx, memory, &first, rows);
        let panel = self.shape.panel();
        cx.for_(0, self.shape.outputs / panel, |cx, p| {
            cx.for_(0, PLACES, |cx, place| self.multiply(cx, memory, place, p, rows * self.shape.columns()));
            self.write(cx, memory, &first, rows, p * panel);
        });
    }

    /// `B' d B` for every tile and channel.
    fn read(&self, cx: &mut Cx<'_>, memory: &Memory, first: &Affine, rows: i64) {
        let Winograd { inputs, .. } = *self.shape;
        let columns = self.shape.columns();
        let [image, row, column, channel] = self.images.strides;
        cx.for_(0, rows, |cx, r| {
            let (n, y) = cx.div_mod(&(first.clone() + r), self.shape.rows());
            let from = n * image + y * (2 * row) + self.images.start.offset;
            cx.for_(0, columns, |cx, x| {
                cx.vec(inputs as u64, |cx, c| {
                    let from = from.clone() + x * (2 * column) + c * channel;
                    let to = r * (columns * inputs) + x * inputs + c;
                    let line = |cx: &mut Cx<'_>, y: i64| -> [Value; 4] {
                        std::array::from_fn(|x| cx.load(memory.images, from.clone() + (y * row + x as i64 * column)))
                    };
                    let place = |cx: &mut Cx<'_>, y: i64, [a, b, c, d]: [Value; 4]| {
                        let row = [
                            cx.bin(BinOp::Sub, a, c),
                            cx.bin(BinOp::Add, b, c),
                            cx.bin(BinOp::Sub, c, b),
                            cx.bin(BinOp::Sub, b, d),
                        ];
                        for (x, value) in row.into_iter().enumerate() {
                            cx.store(memory.input, to.clone() + (y * 4 + x as i64) * self.input, value);
                        }
                    };
                    // Lines are loaded again rather than kept, as they would take all registers.
                    let both = |cx: &mut Cx<'_>, op: BinOp, a: [Value; 4], b: [Value; 4]| -> [Value; 4] {
                        std::array::from_fn(|x| cx.bin(op, a[x], b[x]))
                    };
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
            });
        });
    }

    /// The matrix product of one place: tiles by the channels of a panel.
    fn multiply(&self, cx: &mut Cx<'_>, memory: &Memory, place: Var, p: Var, tiles: i64) {
        let (inputs, panel) = (self.shape.inputs, self.shape.panel());
        let (epilogue, (m, n, k, a, b, acc)) = cx.block(|cx| {
            let m = Axis { var: cx.fresh_var(0, tiles - 1), extent: tiles as u64 };
            let n = Axis { var: cx.fresh_var(0, panel - 1), extent: panel as u64 };
            let k = cx.fresh_var(0, inputs - 1);
            let a = place * self.input + m.var * inputs + k;
            let b = place * (inputs * self.shape.outputs) + p * (inputs * panel) + k * panel + n.var;
            let acc = cx.fresh_value(DType::F32);
            cx.store(memory.sum, place * self.sum + m.var * panel + n.var, acc);
            let k = vec![KLoop { var: k, lo: Affine::from(0), hi: Affine::from(inputs) }];
            (m, n, k, Place { buf: memory.input, at: a }, Place { buf: memory.filters, at: b }, acc)
        });
        cx.push(Stmt::Contract(Box::new(Contract { m, n, k, a, b, lanes: Lanes::N, acc, epilogue })));
    }

    /// `A' s A` for every tile and channel of a panel, and what the group makes of it.
    fn write(&self, cx: &mut Cx<'_>, memory: &Memory, first: &Affine, rows: i64, channel: Affine) {
        let height = self.shape.height;
        cx.for_(0, rows, |cx, r| {
            let (n, y) = cx.div_mod(&(first.clone() + r), self.shape.rows());
            let all = self.shape.rows();
            within(cx, y.clone(), 0, height / 2, all, |cx, y| {
                self.row(cx, memory, r.into(), &[n.clone(), y], 2, channel.clone());
            });
            within(cx, y, height / 2, all, all, |cx, y| {
                self.row(cx, memory, r.into(), &[n.clone(), y], 1, channel.clone());
            });
        });
    }

    /// The tiles of a row, of which `height` rows of results are there.
    fn row(&self, cx: &mut Cx<'_>, memory: &Memory, r: Affine, at: &[Affine; 2], height: usize, channel: Affine) {
        let (columns, whole) = (self.shape.columns(), self.shape.width / 2);
        if whole > 0 {
            cx.for_(0, whole, |cx, x| {
                self.tile(cx, memory, r.clone() * columns + x, at, x.into(), [height, 2], channel.clone())
            });
        }
        if whole < columns {
            self.tile(cx, memory, r * columns + whole, at, Affine::from(whole), [height, 1], channel);
        }
    }

    fn tile(
        &self,
        cx: &mut Cx<'_>,
        memory: &Memory,
        tile: Affine,
        at: &[Affine; 2],
        x: Affine,
        size: [usize; 2],
        channel: Affine,
    ) {
        let panel = self.shape.panel();
        let [n, y] = at;
        cx.vec(panel as u64, |cx, o| {
            let from = tile * panel + o;
            let two = |cx: &mut Cx<'_>, [a, b, c, d]: [Value; 4]| {
                let (sum, rest) = (cx.bin(BinOp::Add, b, c), cx.bin(BinOp::Sub, b, c));
                [cx.bin(BinOp::Add, a, sum), cx.bin(BinOp::Sub, rest, d)]
            };
            let sides: [[Value; 2]; 4] = std::array::from_fn(|x| {
                let places = std::array::from_fn(|y| cx.load(memory.sum, from.clone() + (y * 4 + x) as i64 * self.sum));
                two(cx, places)
            });
            for dy in 0..size[0] {
                let values = two(cx, sides.map(|side| side[dy]));
                for (dx, value) in values.into_iter().enumerate().take(size[1]) {
                    let coords = [n.clone(), y.clone() * 2 + dy as i64, x.clone() * 2 + dx as i64, channel.clone() + o];
                    store(cx, self.anchor, &coords, value);
                }
            }
        });
    }
}
