//! The results of a convolution, or the gradients to its input.

use super::{
    BLOCK, DTYPE, FEWEST_TILES, Filters, Images, MAX_PARTS, MOST_TILES, PLACES, WANTED_PARTS, Winograd, block_of,
    ceil_div, even, multiply, spread, within,
};
use crate::kernel::{Access, Affine, BinOp, BufId, Place, Value, Var};
use crate::lower::LowerError;
use crate::lower::contract::copy::{self, copy};
use crate::lower::contract::{Source, Writer, at_most, buffer, store};
use crate::lower::cx::Cx;

/// For so many channels of the result, the input may be transformed once: a tenth of the time of their products.
const FEW_OUTPUTS: i64 = 64;

/// Elements that a part of the filters' transform reads, about.
const FILTERS_PART: i64 = 1 << 14;

/// How the work is cut up.
struct Cut {
    /// Rows of tiles of a block.
    rows: i64,
    blocks: i64,
    /// Blocks of a part.
    group: i64,
    /// Panels of a part.
    panels: i64,
    /// Into how many portions all panels are cut.
    portions: i64,
}

impl Cut {
    /// Large blocks, since each reads all filters, and parts of the panels where that makes too few parts: the input is
    /// transformed again for each.
    fn new(shape: &Winograd) -> Cut {
        let (all, columns, panels) = (shape.images * shape.rows(), shape.columns(), shape.outputs / shape.panel());
        let most = (shape.outputs / FEW_OUTPUTS).clamp(1, panels);
        let tiles = (BLOCK / PLACES / shape.inputs).clamp(FEWEST_TILES, MOST_TILES);
        let mut rows = (tiles / columns).clamp(1, all);
        while rows > 1 && ceil_div(all, rows) * most < WANTED_PARTS && (rows - 1) * columns >= FEWEST_TILES {
            rows -= 1;
        }
        let rows = even(all, rows);
        let blocks = ceil_div(all, rows);
        let panels_each = ceil_div(panels, ceil_div(WANTED_PARTS, blocks).min(most));
        Cut {
            rows,
            blocks,
            group: ceil_div(blocks, MAX_PARTS),
            panels: panels_each,
            portions: ceil_div(panels, panels_each),
        }
    }

    /// Parts with the same panels.
    fn parts(&self) -> i64 {
        ceil_div(self.blocks, self.group)
    }
}

/// Writes the kernels.
pub(in super::super) fn lower(
    w: &mut Writer<'_>,
    shape: &Winograd,
    images: Images,
    filters: Filters,
) -> Result<(), LowerError> {
    let filters = transformed(w, shape, filters)?;
    let cut = Cut::new(shape);
    let tiles = cut.rows * shape.columns();
    let transform = shape.transform(images, spread(tiles * shape.inputs), Affine::from(0), shape.inputs);
    let product = Product { shape, anchor: w.anchor, input: transform.step, sum: spread(tiles * shape.panel()) };
    w.kernel("_tiles", (cut.parts() * cut.portions) as u64, |cx| {
        let images = buffer(cx, images.start.source, DTYPE, Access::Read);
        let memory = Memory {
            filters: buffer(cx, filters, DTYPE, Access::Read),
            input: cx.scratch(DTYPE, (PLACES * product.input) as u64),
            sum: cx.scratch(DTYPE, (PLACES * product.sum) as u64),
        };
        let panel = shape.panel();
        let (portion, part) = cx.div_mod(&Affine::from(Var::PART), cut.parts());
        let lo = part * cut.group;
        let hi = at_most(cx, lo.clone() + cut.group, cut.blocks as u64);
        let first = portion * cut.panels;
        let end = at_most(cx, first.clone() + cut.panels, (shape.outputs / panel) as u64);
        cx.for_(lo, hi, |cx, at| {
            block_of(cx, at.into(), shape.images * shape.rows(), cut.rows, |cx, row, rows| {
                transform.input(cx, images, memory.input, (&row, rows));
                cx.for_(first.clone(), end.clone(), |cx, p| {
                    cx.for_(0, PLACES, |cx, place| product.multiply(cx, &memory, place, p, rows * shape.columns()));
                    product.write(cx, &memory, &row, rows, p * panel);
                });
            });
        });
    })
}

/// `G g G'` for every filter: `[places, panels, inputs, panel]`.
fn transformed(w: &mut Writer<'_>, shape: &Winograd, filters: Filters) -> Result<Source, LowerError> {
    let (inputs, outputs, panel) = (shape.inputs, shape.outputs, shape.panel());
    let mut filters = filters;
    if filters.strides[3] != 1 {
        let sizes = [3, 3, inputs, outputs];
        let axes: Vec<copy::Axis> =
            sizes.iter().zip(filters.strides).map(|(&size, stride)| copy::Axis::plain(size as u64, stride)).collect();
        let start = copy(w, filters.start, DTYPE, &axes)?;
        filters = Filters { start, strides: [3 * inputs * outputs, inputs * outputs, outputs, 1], ..filters };
    }
    let to = w.temp((PLACES * inputs * outputs) as u64);
    let group = (FILTERS_PART / outputs).clamp(1, inputs).max(ceil_div(inputs, MAX_PARTS));
    w.kernel("_filters", ceil_div(inputs, group) as u64, |cx| {
        let from = buffer(cx, filters.start.source, DTYPE, Access::Read);
        let to = buffer(cx, to, DTYPE, Access::Write);
        let half = cx.number(DTYPE, 0.5);
        let four = |cx: &mut Cx<'_>, [a, b, c]: [Value; 3]| {
            let ends = cx.bin(BinOp::Add, a, c);
            let (more, less) = (cx.bin(BinOp::Add, ends, b), cx.bin(BinOp::Sub, ends, b));
            [a, cx.bin(BinOp::Mul, more, half), cx.bin(BinOp::Mul, less, half), c]
        };
        let [rows, columns, input, output] = filters.strides;
        let lo = Var::PART * group;
        let hi = at_most(cx, lo.clone() + group, inputs as u64);
        cx.for_(lo, hi, |cx, c| {
            cx.for_(0, outputs / panel, |cx, p| {
                cx.vec(panel as u64, |cx, o| {
                    let start = c * input + p * (panel * output) + o * output + filters.start.offset;
                    let sides: [[Value; 4]; 3] = std::array::from_fn(|x| {
                        let taps = std::array::from_fn(|y| {
                            let (y, x) = if filters.flipped { (2 - y, 2 - x) } else { (y, x) };
                            cx.load(from, start.clone() + (y as i64 * rows + x as i64 * columns))
                        });
                        four(cx, taps)
                    });
                    for y in 0..4 {
                        let row = four(cx, sides.map(|side| side[y]));
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
    anchor: dl_ir::NodeId,
    /// Elements from place to place of the transformed input and of the sums.
    input: i64,
    sum: i64,
}

struct Memory {
    filters: BufId,
    input: BufId,
    sum: BufId,
}

/// Some of the results of a tile.
#[derive(Clone)]
struct Tile {
    /// Which of the block.
    number: Affine,
    /// Its image, its row and column among the tiles of that, and the first channel.
    at: [Affine; 4],
    /// Rows and columns of results that are there.
    size: [usize; 2],
}

impl Product<'_> {
    /// The matrix product of one place: tiles by the channels of a panel.
    fn multiply(&self, cx: &mut Cx<'_>, memory: &Memory, place: Var, p: Var, tiles: i64) {
        let (inputs, panel) = (self.shape.inputs, self.shape.panel());
        let operands = |m: Var, n: Var, k: Var| {
            let a = place * self.input + m * inputs + k;
            let b = place * (inputs * self.shape.outputs) + p * (inputs * panel) + k * panel + n;
            [Place { buf: memory.input, at: a }, Place { buf: memory.filters, at: b }]
        };
        multiply(cx, [tiles, panel, inputs], operands, |cx, m, n, acc| {
            cx.store(memory.sum, place * self.sum + m * panel + n, acc);
        });
    }

    /// `A' s A` for every tile and channel of a panel, and what the group makes of it.
    fn write(&self, cx: &mut Cx<'_>, memory: &Memory, first: &Affine, rows: i64, channel: Affine) {
        let Winograd { height, width, .. } = *self.shape;
        let (all, columns) = (self.shape.rows(), self.shape.columns());
        cx.for_(0, rows, |cx, r| {
            let (n, y) = cx.div_mod(&(first.clone() + r), all);
            for (lo, hi, tall) in [(0, height / 2, 2), (height / 2, all, 1)] {
                within(cx, y.clone(), lo, hi, all, |cx, y| {
                    let tile = |x: Affine, wide| Tile {
                        number: r * columns + x.clone(),
                        at: [n.clone(), y.clone(), x, channel.clone()],
                        size: [tall, wide],
                    };
                    if width > 1 {
                        cx.for_(0, width / 2, |cx, x| self.tile(cx, memory, &tile(x.into(), 2)));
                    }
                    if width % 2 == 1 {
                        self.tile(cx, memory, &tile(Affine::from(width / 2), 1));
                    }
                });
            }
        });
    }

    fn tile(&self, cx: &mut Cx<'_>, memory: &Memory, tile: &Tile) {
        let panel = self.shape.panel();
        let two = |cx: &mut Cx<'_>, [a, b, c, d]: [Value; 4]| {
            let (sum, rest) = (cx.bin(BinOp::Add, b, c), cx.bin(BinOp::Sub, b, c));
            [cx.bin(BinOp::Add, a, sum), cx.bin(BinOp::Sub, rest, d)]
        };
        cx.vec(panel as u64, |cx, o| {
            let from = tile.number.clone() * panel + o;
            let sides: [[Value; 2]; 4] = std::array::from_fn(|x| {
                let places = std::array::from_fn(|y| cx.load(memory.sum, from.clone() + (y * 4 + x) as i64 * self.sum));
                two(cx, places)
            });
            let [n, y, x, channel] = tile.at.clone();
            for dy in 0..tile.size[0] {
                let values = two(cx, sides.map(|side| side[dy]));
                for (dx, value) in values.into_iter().enumerate().take(tile.size[1]) {
                    let at = [n.clone(), y.clone() * 2 + dy as i64, x.clone() * 2 + dx as i64, channel.clone() + o];
                    store(cx, self.anchor, &at, value);
                }
            }
        });
    }
}
