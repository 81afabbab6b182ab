//! The gradients to the filters of a convolution.

use super::{
    BLOCK, DTYPE, FILTER_WORK, INPUT_WORK, Images, MAX_PARTS, MOST_TILES, PLACES, RESULT_WORK, WANTED_PARTS, Winograd,
    block_of, ceil_div, even, multiply, spread,
};
use crate::kernel::{Access, Affine, BinOp, BufId, Place, Stmt, Value, Var};
use crate::lower::LowerError;
use crate::lower::contract::{Source, Writer, at_most, buffer, store, sum_in_pairs};
use crate::lower::cx::Cx;

/// What adding to the sums of a filter costs in multiply-adds, for each block, and clearing and reading them for each
/// chunk.
const SUM_WORK: i64 = 24;

/// The most input channels of a part, so that its sums stay in the second-level cache.
const MOST_INPUTS: i64 = 128;

impl Winograd {
    /// Whether the gradients to the filters take clearly less time than the sums over all places.
    pub fn is_worth_it_for_weights(&self) -> bool {
        if !self.fits() || self.portion() < 16 {
            return false;
        }
        // Parts with other channels transform the same tiles again.
        let again = [self.outputs / self.panel(), self.inputs / self.portion()];
        let transforms = self.inputs * INPUT_WORK * again[0] + self.outputs * RESULT_WORK * again[1];
        let (chunks, each, _) = self.chunks();
        let sums = self.inputs * self.outputs * (FILTER_WORK + SUM_WORK * chunks * (1 + each));
        self.saves(self.tiles() * transforms + sums)
    }

    /// The number of chunks that sums are kept of, the blocks of each, and the rows of tiles of a block.
    fn chunks(&self) -> (i64, i64, i64) {
        let all = self.images * self.rows();
        let most = (BLOCK / PLACES / self.portion()).clamp(1, MOST_TILES);
        let size = even(all, (most / self.columns()).clamp(1, all));
        let blocks = ceil_div(all, size);
        let portions = self.outputs / self.panel() * (self.inputs / self.portion());
        let each = ceil_div(blocks, ceil_div(WANTED_PARTS, portions).min(blocks));
        (ceil_div(blocks, each), each, size)
    }

    /// Input channels of a part: all, or a part of them that divides them.
    fn portion(&self) -> i64 {
        (1..=MOST_INPUTS.min(self.inputs)).rev().find(|n| self.inputs % n == 0).unwrap_or(1)
    }
}

/// Writes the kernels: sums in chunks of tiles, and their way back to filters.
pub(in super::super) fn lower(
    w: &mut Writer<'_>,
    shape: &Winograd,
    images: Images,
    gradients: Images,
) -> Result<(), LowerError> {
    let (inputs, panel, portion) = (shape.inputs, shape.panel(), shape.portion());
    let (panels, portions) = (shape.outputs / panel, inputs / portion);
    let all = shape.images * shape.rows();
    let (chunks, each, size) = shape.chunks();
    let blocks = ceil_div(all, size);
    let tiles = size * shape.columns();
    let sums = Sums { shape, temp: w.temp((chunks * PLACES * inputs * shape.outputs) as u64), chunks };
    let (input, gradient) = (spread(tiles * portion), spread(tiles * panel));
    w.kernel("_tiles", (chunks * panels * portions) as u64, |cx| {
        let from = [images, gradients].map(|i| buffer(cx, i.start.source, DTYPE, Access::Read));
        let to = [input, gradient].map(|step| cx.scratch(DTYPE, (PLACES * step) as u64));
        let (rest, c) = cx.div_mod(&Affine::from(Var::PART), portions);
        let (chunk, p) = cx.div_mod(&rest, panels);
        let read = shape.transform(images, input, c.clone() * portion, portion);
        let back = shape.transform(gradients, gradient, p.clone() * panel, panel);
        let into = sums.place(chunk.clone(), p, Affine::from(0)) + c * (portion * panel);
        sums.clear(cx, &into, portion);
        let lo = chunk * each;
        let hi = at_most(cx, lo.clone() + each, blocks as u64);
        cx.for_(lo, hi, |cx, at| {
            block_of(cx, at.into(), all, size, |cx, first, rows| {
                read.input(cx, from[0], to[0], (&first, rows));
                back.gradient(cx, from[1], to[1], (&first, rows));
                cx.for_(0, PLACES, |cx, place| {
                    let operands = [(to[0], place * input, portion), (to[1], place * gradient, panel)];
                    sums.multiply(cx, operands, into.clone() + place * (inputs * panel), rows * shape.columns());
                });
            });
        });
    })?;
    sums.finish(w)
}

/// Sums over tiles: `[chunks, panels, places, inputs, panel]`.
struct Sums<'a> {
    shape: &'a Winograd,
    temp: Source,
    chunks: i64,
}

impl Sums<'_> {
    fn buffer(&self, cx: &mut Cx<'_>, access: Access) -> BufId {
        buffer(cx, self.temp, DTYPE, access)
    }

    /// The first sum of a place.
    fn place(&self, chunk: Affine, p: Affine, place: Affine) -> Affine {
        let Winograd { inputs, outputs, .. } = *self.shape;
        chunk * (PLACES * inputs * outputs)
            + p * (PLACES * inputs * self.shape.panel())
            + place * (inputs * self.shape.panel())
    }

    /// Sets the sums of `portion` input channels to 0.
    fn clear(&self, cx: &mut Cx<'_>, into: &Affine, portion: i64) {
        let panel = self.shape.panel();
        let (buf, zero) = (self.buffer(cx, Access::Write), cx.zero(DTYPE));
        cx.for_(0, PLACES, |cx, place| {
            let at = into.clone() + place * (self.shape.inputs * panel);
            cx.vec((portion * panel) as u64, |cx, i| cx.store(buf, at + i, zero));
        });
    }

    /// Adds the product of one place: input channels by those of a panel, summed over tiles. Operands are a buffer, the
    /// first element and the number of channels.
    fn multiply(&self, cx: &mut Cx<'_>, operands: [(BufId, Affine, i64); 2], into: Affine, tiles: i64) {
        let panel = self.shape.panel();
        let buf = self.buffer(cx, Access::ReadWrite);
        let [(left, a, rows), (right, b, columns)] = operands;
        let places = |m: Var, n: Var, k: Var| {
            [Place { buf: left, at: a + k * rows + m }, Place { buf: right, at: b + k * columns + n }]
        };
        multiply(cx, [rows, columns, tiles], places, |cx, m, n, value| {
            let place = Place { buf, at: into + m * panel + n };
            cx.push(Stmt::Store { place, value, add: true, guard: None });
        });
    }

    /// The kernel that adds up the chunks, in pairs, and takes `G' s G` of the sums.
    fn finish(&self, w: &mut Writer<'_>) -> Result<(), LowerError> {
        let (inputs, panel) = (self.shape.inputs, self.shape.panel());
        let anchor = w.anchor;
        let group = ceil_div(inputs, MAX_PARTS).max((1 << 12) / self.shape.outputs).min(inputs);
        w.kernel("_sum", ceil_div(inputs, group) as u64, |cx| {
            let buf = self.buffer(cx, Access::Read);
            let half = cx.number(DTYPE, 0.5);
            // The sums of the last row and column have the other sign.
            let three = |cx: &mut Cx<'_>, [a, b, c, d]: [Value; 4]| {
                let (sum, rest) = (cx.bin(BinOp::Add, b, c), cx.bin(BinOp::Sub, b, c));
                let (sum, rest) = (cx.bin(BinOp::Mul, sum, half), cx.bin(BinOp::Mul, rest, half));
                [cx.bin(BinOp::Add, a, sum), rest, cx.bin(BinOp::Sub, sum, d)]
            };
            let lo = Var::PART * group;
            let hi = at_most(cx, lo.clone() + group, inputs as u64);
            cx.for_(lo, hi, |cx, c| {
                cx.for_(0, self.shape.outputs / panel, |cx, p| {
                    cx.vec(panel as u64, |cx, o| {
                        let sum = |cx: &mut Cx<'_>, place: i64| {
                            let values = (0..self.chunks)
                                .map(|chunk| {
                                    let at = self.place(chunk.into(), p.into(), place.into());
                                    cx.load(buf, at + c * panel + o)
                                })
                                .collect();
                            sum_in_pairs(cx, values)
                        };
                        let sides: [[Value; 3]; 4] = std::array::from_fn(|x| {
                            let places = std::array::from_fn(|y| sum(cx, (y * 4 + x) as i64));
                            three(cx, places)
                        });
                        for y in 0..3 {
                            let row = three(cx, sides.map(|side| side[y]));
                            for (x, value) in row.into_iter().enumerate() {
                                let at = [(y as i64).into(), (x as i64).into(), c.into(), p * panel + o];
                                store(cx, anchor, &at, value);
                            }
                        }
                    });
                });
            });
        })
    }
}
