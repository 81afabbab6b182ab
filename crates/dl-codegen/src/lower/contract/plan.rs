//! Roles, order and blocks of the loops of a contraction.

use super::{Contraction, Loop, Operand};

/// A part is worth at least so many multiply-adds: a microsecond of one core, some times as long as it takes to meet.
const PART_WORK: u64 = 1 << 17;

/// An element of an operand that is used a few times only takes as long as so many multiply-adds.
const ELEMENT_WORK: u64 = 8;

/// At most so many parts.
const MAX_PARTS: u64 = 256;

/// How many parts a product should have if it is worth them.
const WANTED_PARTS: u64 = 16;

/// As many where more would take more memory for sums.
const FEW_PARTS: u64 = 8;

/// Elements of a block of an operand that should stay in half of the second-level cache.
const BLOCK_ELEMENTS: u64 = 1 << 16;

/// Sums longer than this are added up in blocks, to keep what a block reads in the cache.
const LONG_SUM: u64 = 1 << 13;

/// The fewest lanes worth a vector.
const LANES: u64 = 4;

/// A copy of an operand, which makes each part of it lie together, is worth it for so many uses of each element.
const WORTH_A_COPY: u64 = 96;

/// An operand of so many elements does not stay in the second-level cache while it is used.
const LARGE_OPERAND: u64 = 1 << 17;

/// With fewer rows it is not worth it to turn the right operand for vectors along the columns.
const FEW_ROWS: u64 = 8;

/// How vectors lie in the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Along `n`: a contraction statement with [`Lanes::N`](crate::kernel::Lanes::N).
    Columns,
    /// Along the innermost summed loop: a contraction statement with [`Lanes::K`](crate::kernel::Lanes::K).
    Sums,
    /// Along a loop which moves in both operands, here `n`: a vector loop around the sum (depthwise convolutions).
    Both,
}

/// A loop of the product with the axes of the result that it walks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub extent: u64,
    pub a: i64,
    pub b: i64,
    /// Axis of the result, its step, and the extent of that part of the loop; outermost first, none if summed.
    pub outs: Vec<(usize, i64, u64)>,
}

/// A free loop cut into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    /// Which of [`Plan::free`].
    pub axis: usize,
    /// Iterations of a block.
    pub size: u64,
    /// The number of blocks; the last one may be smaller.
    pub count: u64,
}

/// What is to be done to an operand before the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pack {
    /// Nothing.
    No,
    /// The right operand is copied with `n` innermost.
    Columns,
    /// The right operand is copied with the last summed loop innermost.
    Sums,
}

/// How a contraction is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whether the operands change places: `a` of the plan is the right operand of the contraction.
    pub swap: bool,
    pub form: Form,
    pub pack: Pack,
    /// Whether the copy of the right operand is kept from call to call.
    pub kept: bool,
    /// Whether the left operand is copied to rows of the sum.
    pub pack_rows: bool,
    /// The free loops, in the order of the result's axes.
    pub free: Vec<Axis>,
    /// The summed loops, outermost first; one at least.
    pub sums: Vec<Axis>,
    /// The rows of the product statement, if there is a loop for them.
    pub m: Option<Blocks>,
    /// Its columns, likewise.
    pub n: Option<Blocks>,
    /// The loops around the statement, outermost first; among them the blocks of `m` and `n`.
    pub outer: Vec<Blocks>,
    /// How many iterations of the outer loops, taken as one, belong to a part.
    pub group: u64,
    /// How the sum is split, if it is.
    pub split: Option<Split>,
}

/// A sum in blocks: `sums[..at]` and blocks of `sums[at]` are loops around the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// The loop that is cut into blocks.
    pub at: usize,
    /// Iterations of a block; the last one may be smaller.
    pub size: u64,
    /// Blocks in all, over all outer loops.
    pub blocks: u64,
    /// Blocks which one part adds up.
    pub group: u64,
}

impl Split {
    /// The number of sums that are kept apart until the end.
    pub fn chunks(&self) -> u64 {
        self.blocks.div_ceil(self.group)
    }
}

impl Plan {
    /// Joins summed loops which both operands walk as one, now that they are where they are.
    pub fn merge(&mut self) {
        if self.split.is_none() {
            let mut merged: Vec<Axis> = vec![];
            for x in std::mem::take(&mut self.sums) {
                match merged.last_mut() {
                    Some(p) if chains(p, &x) => *p = Axis { extent: p.extent * x.extent, ..x },
                    _ => merged.push(x),
                }
            }
            self.sums = merged;
        }
    }

    /// The number of iterations of the outer loops, taken as one.
    pub fn outer_count(&self) -> u64 {
        self.outer.iter().map(|o| o.count).product()
    }

    /// The number of parts.
    pub fn parts(&self) -> u64 {
        self.outer_count().div_ceil(self.group) * self.split.map_or(1, |s| s.chunks())
    }
}

/// Plans a contraction; `None` if its result is empty. Neighbouring axes of the result may become one loop, so that
/// their coordinates are quotients and remainders of its counter. `kept` says of which operand a copy is made only once.
pub(super) fn plan(c: &Contraction, sizes: &[u64], kept: [bool; 2]) -> Option<Plan> {
    let (mut free, mut sums) = (vec![], vec![]);
    for l in c.loops.iter().filter(|l| l.extent != 1) {
        match l.out {
            Some(_) if l.extent == 0 => return None,
            Some((out, step)) => free.push(Axis { outs: vec![(out, step, l.extent)], ..axis(l) }),
            None => sums.push(axis(l)),
        }
    }
    free.sort_by_key(|x| x.outs[0].0);
    let swap = free.last().is_some_and(|lead| lead.a != 0 && lead.b == 0);
    if swap {
        free.iter_mut().chain(&mut sums).for_each(|x| std::mem::swap(&mut x.a, &mut x.b));
    }
    let free = merge_free(free, sizes, &c.out);
    if sums.iter().any(|s| s.extent == 0) {
        sums = vec![Axis { extent: 0, a: 0, b: 0, outs: vec![] }];
    }
    let sums = merge_sums(sums);
    let mut p = roles(swap, free, sums, kept[usize::from(!swap)]);
    p.block(c.again);
    Some(p)
}

fn axis(l: &Loop) -> Axis {
    Axis { extent: l.extent, a: l.a, b: l.b, outs: vec![] }
}

/// Joins free loops over neighbouring axes where both operands walk them as one. The last loop stays by itself: its
/// coordinate varies by lane.
fn merge_free(free: Vec<Axis>, sizes: &[u64], out: &[i64]) -> Vec<Axis> {
    let used = |axis: usize| free.iter().flat_map(|x| &x.outs).filter(|o| o.0 == axis).count();
    let whole: Vec<bool> = free
        .iter()
        .map(|x| x.outs[0].1 == 1 && used(x.outs[0].0) == 1 && out[x.outs[0].0] == 0 && sizes[x.outs[0].0] == x.extent)
        .collect();
    let last = free.len().saturating_sub(1);
    let mut merged: Vec<Axis> = vec![];
    let mut open = false;
    for (i, x) in free.iter().enumerate() {
        let neighbours = |p: &Axis| p.outs.last().is_some_and(|o| (o.0 + 1..x.outs[0].0).all(|s| sizes[s] == 1));
        match merged.last_mut() {
            Some(p) if open && whole[i] && i != last && neighbours(p) && chains(p, x) => {
                *p = Axis {
                    extent: p.extent * x.extent,
                    a: x.a,
                    b: x.b,
                    outs: [p.outs.clone(), x.outs.clone()].concat(),
                };
            }
            _ => merged.push(x.clone()),
        }
        open = whole[i];
    }
    merged
}

/// Orders summed loops by how far they move and joins those that both operands walk as one.
fn merge_sums(mut sums: Vec<Axis>) -> Vec<Axis> {
    sums.sort_by_key(|s| std::cmp::Reverse(s.a.unsigned_abs().max(s.b.unsigned_abs())));
    let mut merged: Vec<Axis> = vec![];
    for x in sums {
        match merged.last_mut() {
            Some(p) if chains(p, &x) => *p = Axis { extent: p.extent * x.extent, ..x },
            _ => merged.push(x),
        }
    }
    if merged.is_empty() {
        merged.push(Axis { extent: 1, a: 1, b: 1, outs: vec![] });
    }
    merged
}

/// Whether the rows of a left operand fall into the same few cache sets, or its columns lie far apart.
fn scattered(row: &Axis, sum: &Axis) -> bool {
    let turned = sum.a != 1 && sum.extent * row.extent >= LARGE_OPERAND;
    let aliased = sum.a == 1 && row.a % 1024 == 0 && sum.extent >= 128 && row.extent >= 8;
    turned || aliased
}

fn chains(outer: &Axis, inner: &Axis) -> bool {
    let size = inner.extent as i64;
    outer.a == inner.a * size && outer.b == inner.b * size
}

/// Chooses rows, columns, the vector axis and what is packed.
fn roles(swap: bool, free: Vec<Axis>, mut sums: Vec<Axis>, kept: bool) -> Plan {
    let last = free.len().checked_sub(1);
    let lead = last.map(|i| &free[i]);
    let both = lead.is_some_and(|x| x.a == x.b && (x.a == 0 || x.a == 1) && x.extent >= LANES);
    let columns = last.filter(|&i| both || free[i].a == 0 && free[i].b != 0);
    let rows =
        (0..free.len()).filter(|&i| !both && free[i].b == 0 && free[i].a != 0).max_by_key(|&i| (free[i].extent, i));
    let one = |axis: usize| Blocks { axis, size: free[axis].extent, count: 1 };
    let height: u64 = free.iter().filter(|x| x.a != 0 && x.b == 0).map(|x| x.extent).product();
    let (width, step) = columns.map_or((1, 0), |i| (free[i].extent, free[i].b));
    let unit = |f: &dyn Fn(&Axis) -> bool| sums.iter().position(|s| s.extent >= 2 * LANES && f(s));
    let depth: u64 = sums.iter().map(|s| s.extent).product();
    // Rows of a large right operand at multiples of half a page fall into the same few cache sets.
    let far = sums.last().is_some_and(|s| s.b != 0 && s.b % 512 == 0 && s.extent >= 64);
    let large = depth * width >= LARGE_OPERAND && sums.last().is_some_and(|s| s.b > 128);
    let (form, pack, inner) = if both {
        (Form::Both, Pack::No, None)
    } else if width >= LANES && step == 1 {
        let apart = kept && depth > 1 && sums.last().is_some_and(|s| s.b > 64);
        let pack = (far || large) && height >= WORTH_A_COPY || apart;
        (Form::Columns, if pack { Pack::Columns } else { Pack::No }, None)
    } else if width >= LANES && (height >= FEW_ROWS || kept && width >= 4 * LANES) {
        (Form::Columns, Pack::Columns, None)
    } else if let Some(k) = unit(&|s| s.a == 1 && s.b == 1) {
        (Form::Sums, Pack::No, Some(k))
    } else if width >= LANES {
        (Form::Columns, if height >= LANES { Pack::Columns } else { Pack::No }, None)
    } else if let Some(k) = unit(&|s| s.a == 1 && s.b != 0).filter(|_| height >= 2 * LANES) {
        (Form::Sums, Pack::Sums, Some(k))
    } else {
        (Form::Columns, Pack::No, None)
    };
    if let Some(k) = inner {
        let x = sums.remove(k);
        sums.push(x);
    }
    if pack == Pack::Columns {
        // The copy follows the order of the sums, which may then be the left operand's.
        sums.sort_by_key(|s| std::cmp::Reverse(s.a.unsigned_abs()));
    }
    let pack_rows = form == Form::Columns
        && width >= WORTH_A_COPY
        && sums.len() == 1
        && rows.is_some_and(|m| scattered(&free[m], &sums[0]));
    let (m, n) = (rows.map(one), columns.map(one));
    Plan { kept, pack_rows, swap, form, pack, free, sums, m, n, outer: vec![], group: 1, split: None }
}

impl Plan {
    /// Cuts the loops into blocks and parts.
    fn block(&mut self, again: bool) {
        let depth: u64 = self.sums.iter().map(|s| s.extent).product();
        let extent = |b: Option<Blocks>| b.map_or(1, |b| self.free[b.axis].extent);
        let (results, sides) = (self.free.iter().map(|x| x.extent).product::<u64>(), extent(self.m) + extent(self.n));
        let area = extent(self.m) * extent(self.n);
        let work = results * depth.max(1) * (ELEMENT_WORK * sides / area).max(1);
        // Few rows read each element of the right operand once: in long runs, if a copy is kept.
        let few = self.kept && self.pack == Pack::Columns && extent(self.m) < FEW_ROWS;
        let wanted = (work / PART_WORK).clamp(1, if few { FEW_PARTS } else { WANTED_PARTS });
        let room = (BLOCK_ELEMENTS / depth.clamp(1, LONG_SUM)).max(1);
        // What is read along rows of a few vectors only is read slowly.
        let least = if extent(self.m) < FEW_ROWS { 128 } else { 64 };
        // A copy that is kept has as many columns together as a tile, so that it is read from beginning to end.
        let narrow =
            self.pack == Pack::Columns && extent(self.m) >= FEW_ROWS && depth >= if self.kept { 512 } else { 2048 };
        let least = if narrow || few { 32 } else { least };
        let (mut rows, mut columns) = (room.clamp(48, 1024), if narrow { 32 } else { room.clamp(least, 512) });
        loop {
            self.cut(rows, columns);
            if self.outer_count() >= wanted || rows <= 48 && columns <= least {
                break;
            }
            if rows > 48 {
                rows = (rows / 2).max(48);
            } else {
                columns = (columns / 2).max(least);
            }
        }
        if again && self.block_sum(depth, work) {
            return;
        }
        let count = self.outer_count();
        // More parts than the results have take more memory for sums.
        let short = count < wanted.min(FEW_PARTS) && depth >= 256;
        if few && short {
            self.split = self.cut_sum(depth, wanted.div_ceil(count), depth);
        } else if depth > LONG_SUM || short {
            let longest = if self.form == Form::Sums { 512 } else { 256 };
            self.split = self.cut_sum(depth, if short { wanted } else { 1 }, longest);
        }
        let chunks = self.split.map_or(1, |s| s.chunks());
        // What a part is worth at least, and at most so many of them.
        let each = (work / count / chunks).max(1);
        let least = if chunks > 1 { count * chunks / wanted } else { PART_WORK.div_ceil(each) };
        let least = least.max((count * chunks).div_ceil(MAX_PARTS)).clamp(1, count);
        // An even number of them, equally large, as far as that goes.
        let parts = count.div_ceil(least);
        self.group = count.div_ceil(if parts > 1 { parts.next_multiple_of(2) } else { 1 });
    }

    /// Cuts `m` and `n` into blocks of about so many iterations and orders the loops around them: columns outside, so
    /// that a block of the right operand is used for all rows of a part.
    fn cut(&mut self, rows: u64, columns: u64) {
        let (free, m, n) = (&self.free, self.m, self.n);
        let cut = |b: Option<Blocks>, target: u64, unit: u64| {
            b.map(|b| {
                let extent = free[b.axis].extent;
                let size = block(extent, target, unit);
                Blocks { size, count: extent.div_ceil(size), ..b }
            })
        };
        let m = cut(m, rows, 12);
        let n = cut(n, columns, 16);
        let inside = |i: usize| m.is_some_and(|m| m.axis == i) || n.is_some_and(|n| n.axis == i);
        let rest: Vec<usize> = (0..free.len()).filter(|&i| !inside(i)).collect();
        let one = |&i: &usize| Blocks { axis: i, size: 1, count: free[i].extent };
        let is_row = |i: &usize| free[*i].a != 0 && free[*i].b == 0;
        let mut outer: Vec<Blocks> = rest.iter().filter(|i| !is_row(i)).map(one).collect();
        outer.extend(n.filter(|n| n.count > 1));
        outer.extend(rest.iter().filter(|i| is_row(i)).map(one));
        outer.extend(m.filter(|m| m.count > 1));
        (self.m, self.n, self.outer) = (m, n, outer);
    }

    /// Where the outer loops read the same elements again and these do not stay in the cache: runs them for a block of
    /// the sum after the other, which adds to sums in memory. Returns whether it does.
    fn block_sum(&mut self, depth: u64, work: u64) -> bool {
        let (Some(m), Some(n)) = (self.m, self.n) else { return false };
        let (height, width) = (self.free[m.axis].extent, self.free[n.axis].extent);
        if depth < 1024 || depth * (height + width) < 2 * LARGE_OPERAND {
            return false;
        }
        self.cut(256, 64);
        let columns = self.n.map_or(1, |n| n.count);
        let portions = if self.outer.first().is_some_and(|o| o.axis == n.axis) { columns } else { 1 };
        let step = height + width / portions;
        // The innermost loops which together fit the cache stay whole.
        let inner = |at: usize| self.sums[at + 1..].iter().map(|s| s.extent).product::<u64>();
        let last = self.sums.len() - 1;
        let at = (0..last).find(|&at| inner(at) * step <= BLOCK_ELEMENTS).unwrap_or(last);
        let extent = self.sums[at].extent;
        let most = (BLOCK_ELEMENTS / (inner(at) * step)).clamp(1, extent);
        let size = (1..=most).rev().find(|d| extent.is_multiple_of(*d)).unwrap_or(1);
        let blocks = self.sums[..at].iter().map(|s| s.extent).product::<u64>() * (extent / size);
        let chunks = ((work / PART_WORK).clamp(1, FEW_PARTS) / portions).clamp(1, blocks);
        self.split = Some(Split { at, size, blocks, group: blocks.div_ceil(chunks) });
        self.group = self.outer_count() / portions;
        true
    }

    /// Splits the sum into about so many chunks, of blocks of at most `longest` steps, if it can be cut.
    fn cut_sum(&self, depth: u64, chunks: u64, longest: u64) -> Option<Split> {
        let target = (depth / chunks).clamp(128, longest);
        // The innermost loops which together are not longer than a block stay whole.
        let mut at = self.sums.len() - 1;
        let mut inner = 1;
        while at > 0 && inner * self.sums[at].extent < target {
            inner *= self.sums[at].extent;
            at -= 1;
        }
        let extent = self.sums[at].extent;
        let outer: u64 = self.sums[..at].iter().map(|s| s.extent).product();
        let innermost = at + 1 == self.sums.len();
        let mut size = block(extent, (target / inner).max(1), if innermost { 4 } else { 1 });
        if longest >= depth {
            // As many blocks as chunks, so that each is one sum.
            size = size.max(extent.div_ceil((chunks / outer).max(1)));
        }
        if self.form == Form::Sums && innermost && !extent.is_multiple_of(size) {
            // Vectors along a loop whose length is known only at run time are no vectors.
            size = extent;
        }
        let blocks = outer * extent.div_ceil(size);
        (blocks > 1).then(|| Split { at, size, blocks, group: blocks.div_ceil(chunks.clamp(1, blocks)) })
    }
}

/// The size of blocks of about `target` iterations: all of it if that is not much more, else a divisor if there is one
/// near, a multiple of `unit` where possible.
fn block(extent: u64, target: u64, unit: u64) -> u64 {
    if extent <= target + target / 2 {
        return extent;
    }
    let near = (target / 2).max(1)..=target + target / 2;
    let divisor = near.filter(|d| extent.is_multiple_of(*d)).min_by_key(|d| (d % unit != 0, d.abs_diff(target)));
    divisor.unwrap_or_else(|| target.next_multiple_of(unit))
}

/// The operands in the order of the plan.
pub(super) fn operands(c: &Contraction, plan: &Plan) -> (Operand, Operand) {
    if plan.swap { (c.b, c.a) } else { (c.a, c.b) }
}
