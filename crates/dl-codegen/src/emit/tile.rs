//! Tiles of contractions: how many rows and columns share their loads in registers.

use super::lanes::lanes_of;
use crate::kernel::{DType, Lanes};

/// Registers of the CPU.
const REGISTERS: usize = 16;
/// Cycles from a multiply-add to the next one on the same accumulator; two start in each cycle.
const LATENCY: usize = 4;

/// A run of `count` equal tiles along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// First row or column.
    pub start: u64,
    /// Rows or columns of a tile.
    pub size: usize,
    /// Number of tiles.
    pub count: u64,
}

/// Columns of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Columns {
    /// Groups of four, as vectors. The last group starts `back` columns early, so as to end with the block: it
    /// computes that many columns which the group before it computes too, and keeps the others only.
    Groups {
        /// Number of groups.
        groups: usize,
        /// Columns computed twice, less than four.
        back: usize,
    },
    /// Fewer than four, one by one: all columns of a narrow block.
    Scalars(usize),
}

impl Columns {
    /// Where column `j` of the tile's registers is, counted from the tile's start; before it, if the tile is one
    /// overlapping group.
    pub fn column(self, j: usize) -> i64 {
        match self {
            Columns::Groups { groups, back } if j >= (groups - 1) * 4 => j as i64 - back as i64,
            _ => j as i64,
        }
    }
}

/// Divides `extent` into as few chunks as `max` allows, of at most two sizes which differ by one.
pub(crate) fn split(extent: u64, max: usize) -> Vec<Run> {
    let chunks = extent.div_ceil(max.max(1) as u64);
    if chunks == 0 {
        return Vec::new();
    }
    let (small, larger) = (extent / chunks, extent % chunks);
    let runs = [
        Run { start: 0, size: small as usize + 1, count: larger },
        Run { start: larger * (small + 1), size: small as usize, count: chunks - larger },
    ];
    runs.into_iter().filter(|r| r.count > 0 && r.size > 0).collect()
}

/// The columns of an `m` x `n` block, and for each run of column tiles the rows of its tiles.
pub(super) fn plan(m: u64, n: u64, dtype: DType, lanes: Lanes, fma: bool) -> Vec<(Run, Columns, Vec<Run>)> {
    if n < 4 {
        let run = Run { start: 0, size: n as usize, count: 1 };
        let panel = (run, Columns::Scalars(n as usize), split(m, rows(n as usize, lanes, fma)));
        return if n == 0 { Vec::new() } else { vec![panel] };
    }
    let groups = n.div_ceil(4);
    let back = (groups * 4 - n) as usize;
    let mut runs = split(groups, choose(m, groups, dtype, lanes, fma));
    // The tile with the overlapping group is a run of its own.
    if let Some(last) = runs.last_mut().filter(|last| back > 0 && last.count > 1) {
        last.count -= 1;
        let start = last.start + last.size as u64 * last.count;
        let alone = Run { start, size: last.size, count: 1 };
        runs.push(alone);
    }
    runs.iter()
        .map(|run| {
            let overlaps = (run.start + run.size as u64 * run.count) == groups;
            let columns = Columns::Groups { groups: run.size, back: if overlaps { back } else { 0 } };
            let panel = Run { start: run.start * 4, size: run.size * 4, count: run.count };
            (panel, columns, split(m, rows(registers(run.size, dtype, lanes), lanes, fma)))
        })
        .collect()
}

/// Accumulators for one row of a tile.
fn registers(groups: usize, dtype: DType, lanes: Lanes) -> usize {
    match lanes {
        Lanes::N => groups * 4 / lanes_of(dtype),
        // One for each column.
        Lanes::K => groups * 4,
    }
}

/// The most rows of a tile with so many accumulators in a row.
fn rows(registers: usize, lanes: Lanes, fma: bool) -> usize {
    match lanes {
        // The elements of a column of `a`, one of `b` and a product besides the accumulators.
        Lanes::N if !fma => ((REGISTERS - 2) / (registers + 1)).clamp(1, 8),
        // A row of `b`, an element of `a`, a copy that is overwritten and one to spare besides the accumulators.
        Lanes::N => ((REGISTERS - 3 - registers) / registers.max(1)).clamp(1, 8),
        Lanes::K => (8 / registers.max(1)).clamp(1, 4),
    }
}

/// The groups of a tile that take the fewest quarters of cycles.
fn choose(m: u64, groups: u64, dtype: DType, lanes: Lanes, fma: bool) -> usize {
    let (widths, others) = if fma { (1..=8usize, 4) } else { (1..=12, 3) };
    let fits = |g: &usize| registers(*g, dtype, lanes) + others <= REGISTERS;
    let cost = |g: &usize| -> u64 {
        let tiles = |run: &Run, columns: &Run| {
            let (rows, row) = (run.size, registers(columns.size, dtype, lanes));
            // Two multiply-adds start in a cycle. Without them it is six instructions that a core takes in: a load for
            // a column, two for a row, and a copy, a product and a sum; the last row needs no copies.
            let work = if fma { 2 * rows * row } else { (2 * rows + 3 * rows * row) * 2 / 3 };
            let quarters = work.max(2 * (rows + row)).max(4 * LATENCY);
            run.count * columns.count * quarters as u64
        };
        split(groups, *g)
            .iter()
            .map(|columns| {
                let rows = rows(registers(columns.size, dtype, lanes), lanes, fma);
                split(m, rows).iter().map(|run| tiles(run, columns)).sum::<u64>()
            })
            .sum()
    };
    widths.filter(fits).min_by_key(cost).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_each_axis_once() {
        for extent in 1..60 {
            for max in 1..9 {
                let mut next = 0;
                for run in split(extent, max) {
                    assert_eq!(run.start, next);
                    assert!(run.size <= max);
                    next += run.size as u64 * run.count;
                }
                assert_eq!(next, extent);
            }
        }
        assert!(split(0, 4).is_empty());
    }

    #[test]
    fn columns_are_covered_once() {
        for lanes in [Lanes::N, Lanes::K] {
            for n in 1..50 {
                let mut seen = vec![0; n as usize];
                for (run, columns, _) in plan(7, n, DType::F32, lanes, true) {
                    for tile in 0..run.count as usize {
                        let start = run.start as i64 + (tile * run.size) as i64;
                        let kept = |j: &usize| match columns {
                            Columns::Groups { groups, back } => *j < (groups - 1) * 4 || j % 4 >= back,
                            Columns::Scalars(_) => true,
                        };
                        (0..run.size).filter(kept).for_each(|j| seen[(start + columns.column(j)) as usize] += 1);
                        (0..run.size).for_each(|j| assert!((0..n as i64).contains(&(start + columns.column(j)))));
                    }
                }
                assert!(seen.iter().all(|times| *times == 1), "{n}: {seen:?}");
            }
        }
    }

    #[test]
    fn tiles_fit_the_registers() {
        for dtype in [DType::F32, DType::F64, DType::I32] {
            for (m, n) in [(1, 1), (1, 64), (6, 8), (7, 28), (64, 64), (100, 1000), (3, 5)] {
                for (_, columns, rows) in plan(m, n, dtype, Lanes::N, true) {
                    let row = match columns {
                        Columns::Groups { groups, .. } => registers(groups, dtype, Lanes::N),
                        Columns::Scalars(n) => n,
                    };
                    // A single row takes `b` from memory.
                    let fits = |r: &Run| r.size == 1 || r.size * row + row + 3 <= REGISTERS;
                    assert!(rows.iter().all(fits), "{m}x{n} {rows:?} {row}");
                }
            }
        }
        // The tile of a large f32 product has 10 accumulators; without fused multiply-add 12, of fewer rows.
        for (fma, groups, rows) in [(true, 2, 5), (false, 6, 2)] {
            let (_, columns, runs) = plan(60, 64, DType::F32, Lanes::N, fma).remove(0);
            assert_eq!((columns, runs[0].size), (Columns::Groups { groups, back: 0 }, rows));
        }
    }
}
