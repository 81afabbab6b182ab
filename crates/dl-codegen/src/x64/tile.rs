//! Tiles of contractions for wide vectors.

use crate::emit::{Run, split};

/// Cycles from a multiply-add to the next one on the same accumulator, times the two that start in each cycle.
const IN_FLIGHT: usize = 8;
/// The most vectors of columns and the most rows of a tile.
const MOST_VECTORS: usize = 16;
const MOST_ROWS: usize = 28;

/// The size of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    pub rows: usize,
    /// Vectors of columns.
    pub vectors: usize,
    /// Whether the last of them is masked.
    pub masked: bool,
}

impl Tile {
    /// How many sets of accumulators share the steps of the sum, so that enough multiply-adds are in flight.
    pub fn sets(self, registers: usize) -> usize {
        let sums = self.rows * self.vectors;
        let mut sets = 1;
        while sums * sets < IN_FLIGHT && sums * sets * 2 + self.vectors < registers && sets < 4 {
            sets *= 2;
        }
        sets
    }
}

/// Runs of tiles over the same columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    pub columns: Run,
    pub rows: Vec<Run>,
}

/// The tiles of a block of `m` rows and so many vectors of columns, the last of which may be masked; the sum has about
/// `depth` steps.
pub fn plan(m: u64, vectors: u64, masked: bool, depth: u64, registers: usize) -> Vec<Runs> {
    let widths = 1..=MOST_VECTORS.min(vectors.max(1) as usize);
    let cost = |&width: &usize| cost(m, vectors, width, depth, registers);
    let width = widths.filter(|w| rows(*w, registers) > 0).min_by_key(cost).unwrap_or(1);
    let mut columns = split(vectors, width);
    // The tile with the masked vector is a run of its own.
    if let Some(last) = columns.last_mut().filter(|last| masked && last.count > 1) {
        last.count -= 1;
        let start = last.start + last.size as u64 * last.count;
        let alone = Run { start, size: last.size, count: 1 };
        columns.push(alone);
    }
    columns.into_iter().map(|c| Runs { columns: c, rows: split(m, rows(c.size, registers)) }).collect()
}

/// The most rows of a tile of so many vectors: accumulators, a row of `b` and an element of `a` are in registers.
fn rows(vectors: usize, registers: usize) -> usize {
    (registers.saturating_sub(vectors + 1) / vectors).min(MOST_ROWS)
}

/// Half cycles that a block takes in tiles of that width.
fn cost(m: u64, vectors: u64, width: usize, depth: u64, registers: usize) -> u64 {
    let tile = |rows: usize, vectors: usize| {
        // Multiply-adds, loads, and the time until the first accumulator is ready again.
        let sets = Tile { rows, vectors, masked: false }.sets(registers);
        let loads = if rows == 1 { 1 + vectors } else { rows + vectors };
        let step = (rows * vectors).max(loads).max(IN_FLIGHT / sets);
        step as u64 * depth + (2 * rows * vectors + 24) as u64
    };
    let mut sum = 0;
    for columns in split(vectors, width) {
        for run in split(m, rows(columns.size, registers)) {
            sum += columns.count * run.count * tile(run.size, columns.size);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_a_block_and_fit_the_registers() {
        for registers in [16, 15, 32] {
            for (m, vectors) in [(1, 1), (1, 33), (7, 4), (14, 4), (56, 4), (3, 2), (100, 7), (512, 32), (1000, 1)] {
                for masked in [false, true] {
                    let runs = plan(m, vectors, masked, 64, registers);
                    let covered: u64 = runs.iter().map(|r| r.columns.size as u64 * r.columns.count).sum();
                    assert_eq!(covered, vectors);
                    for r in &runs {
                        assert_eq!(r.rows.iter().map(|run| run.size as u64 * run.count).sum::<u64>(), m);
                        for run in &r.rows {
                            let tile = Tile { rows: run.size, vectors: r.columns.size, masked };
                            let sums = tile.rows * tile.vectors * tile.sets(registers);
                            assert!(sums + tile.vectors < registers, "{tile:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn large_blocks_have_the_best_tiles() {
        let tile = |m, vectors| {
            let runs = plan(m, vectors, false, 512, 32);
            (runs[0].rows[0].size, runs[0].columns.size)
        };
        assert_eq!(tile(14, 2), (14, 2));
        assert_eq!(tile(7, 4), (7, 2), "seven rows of four vectors would leave no register for `a`");
        assert!(tile(1, 32).1 >= 8, "a single row has many columns in flight");
    }
}
