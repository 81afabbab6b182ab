//! Which steps of a program can run without a worker waiting for another.

use dl_codegen::kernel::{Access, Kernel, Stmt};

use crate::kernels::{Place, Round, Slide, Step};
use crate::layout::Spot;
use crate::loops::Section;

/// A step before it is compiled.
pub(crate) struct Draft {
    /// The number of its kernel among the distinct ones.
    code: usize,
    pub(crate) parts: usize,
    pub(crate) spots: Vec<Spot>,
    /// What it reads and writes of the memory that workers share.
    touches: Vec<Touch>,
    /// Whether it writes to an input of the graph: to the model or the optimizer.
    commits: bool,
    /// Whether it checks indices.
    checks: bool,
}

/// A use of shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Touch {
    /// What it lies in, with an offset of 0.
    region: Place,
    /// The bytes from `start` to `end`.
    start: usize,
    end: usize,
    writes: bool,
}

impl Draft {
    pub(crate) fn new(kernel: &Kernel, spots: Vec<Spot>) -> Draft {
        let touches: Vec<Touch> = spots
            .iter()
            .zip(&kernel.bufs)
            .filter_map(|(spot, buf)| {
                let (region, start) = match spot.place {
                    Place::Arena(start) => (Place::Arena(0), start),
                    Place::Input(_) | Place::Result(_) => (spot.place, 0),
                    Place::Scratch(_) => return None,
                };
                // What moves is taken to be everywhere at once: rounds are the same in all iterations.
                let end = start + spot.span.max(buf.len as usize * buf.dtype.size());
                Some(Touch { region, start, end, writes: buf.access != Access::Read })
            })
            .collect();
        Draft {
            code: 0,
            parts: kernel.parts as usize,
            spots,
            commits: touches.iter().any(|touch| touch.writes && matches!(touch.region, Place::Input(_))),
            touches,
            checks: has_check(&kernel.body),
        }
    }

    /// The same step, by the kernel of that number.
    pub(crate) fn of(self, code: usize) -> Draft {
        Draft { code, ..self }
    }

    /// The same step of a program of which what it writes is no part of the model.
    pub(crate) fn kept(self) -> Draft {
        Draft { commits: false, ..self }
    }

    /// Whether one of the two writes what the other reads or writes.
    fn conflicts(&self, other: &Draft) -> bool {
        let meet =
            |a: &Touch, b: &Touch| (a.writes || b.writes) && a.region == b.region && a.start < b.end && b.start < a.end;
        self.touches.iter().any(|a| other.touches.iter().any(|b| meet(a, b)))
    }
}

fn has_check(body: &[Stmt]) -> bool {
    body.iter().any(|stmt| match stmt {
        Stmt::Check { .. } => true,
        Stmt::For { body, .. } | Stmt::Vec { body, .. } | Stmt::If { body, .. } | Stmt::Rarely { body, .. } => {
            has_check(body)
        }
        Stmt::Contract(contract) => has_check(&contract.epilogue),
        _ => false,
    })
}

/// Groups steps in rounds: one ends before a step that conflicts with one of it. Two steps of one part each are no reason,
/// as both are in the same share. Another ends before the first step that writes to the model, and if indices are checked
/// behind that, an empty one comes first, in which it is decided whether to go on. None reaches into a loop or out of one.
pub(crate) fn rounds(steps: &[Draft], tree: &[Section]) -> Vec<Round> {
    let mut borders = vec![];
    tree.iter().for_each(|section| section.borders(&mut borders));
    let commit = steps.iter().position(|step| step.commits).unwrap_or(steps.len());
    let late_checks = steps[commit..].iter().any(|step| step.checks);
    let mut rounds = vec![];
    let mut since = 0;
    for (at, step) in steps.iter().enumerate() {
        let conflicts = |before: &Draft| (before.parts > 1 || step.parts > 1) && before.conflicts(step);
        if at > since && (at == commit || borders.contains(&at) || steps[since..at].iter().any(conflicts)) {
            rounds.push(Round { steps: since..at, commits: since >= commit });
            since = at;
        }
        if at == commit && late_checks {
            rounds.push(Round { steps: at..at, commits: true });
        }
    }
    if since < steps.len() {
        rounds.push(Round { steps: since..steps.len(), commits: since >= commit });
    }
    rounds
}

/// Where in the table of [`ready`] steps inputs and results stand.
pub(crate) fn moving(steps: &[Draft]) -> Vec<(usize, Place)> {
    let places = |step: &Draft| step.spots.iter().map(|spot| Some(spot.place)).chain([None]).collect::<Vec<_>>();
    let entries = steps.iter().flat_map(places).enumerate();
    let moves = |place: &Place| matches!(place, Place::Input(_) | Place::Result(_));
    entries.filter_map(|(at, place)| place.filter(moves).map(|place| (at, place))).collect()
}

/// The steps as they are run.
pub(crate) fn ready(steps: Vec<Draft>) -> Vec<Step> {
    let mut end = 0;
    let step = |Draft { code, parts, spots, .. }: Draft| {
        let table = end;
        end += spots.len() + 1;
        let slides = spots.iter().enumerate().filter(|(_, spot)| spot.slides());
        let slides = slides.map(|(buffer, spot)| Slide { buffer, offset: spot.offset, moves: spot.moves });
        let slides = slides.collect();
        Step { code, parts, buffers: spots.iter().map(|spot| spot.place).collect(), table, slides }
    };
    steps.into_iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    fn step(parts: usize, reads: &[usize], writes: &[usize]) -> Draft {
        let touch = |&start: &usize, writes| Touch { region: Place::Arena(0), start, end: start + 8, writes };
        let touches = reads.iter().map(|at| touch(at, false)).chain(writes.iter().map(|at| touch(at, true)));
        Draft { code: 0, parts, spots: vec![], touches: touches.collect(), commits: false, checks: false }
    }

    /// Where the rounds end.
    fn ends<const N: usize>(steps: [Draft; N]) -> Vec<usize> {
        rounds(&steps, &[]).iter().map(|round| round.steps.end).collect()
    }

    #[test]
    fn a_round_ends_only_where_a_step_depends_on_another_workers() {
        assert!(ends([]).is_empty());
        assert_eq!(ends([step(4, &[], &[0]), step(4, &[0], &[8])]), [1, 2], "write, then read");
        assert_eq!(ends([step(4, &[0], &[8]), step(4, &[], &[0])]), [1, 2], "read, then overwrite");
        assert_eq!(ends([step(4, &[0], &[8]), step(4, &[0], &[16]), step(4, &[8], &[24])]), [2, 3]);
        assert_eq!(ends([step(1, &[], &[0]), step(1, &[0], &[8]), step(2, &[8], &[16])]), [2, 3]);
        assert_eq!(ends([step(2, &[], &[0]), step(2, &[4], &[32])]), [1, 2], "ranges that overlap in part");
        assert_eq!(ends([step(2, &[], &[0]), step(2, &[0], &[8]), step(2, &[0], &[16])]), [1, 3], "after a round");
    }

    #[test]
    fn all_indices_are_checked_before_the_model_changes() {
        let commit = |checks| Draft { commits: true, checks, ..step(2, &[], &[64]) };
        let of = |steps: &[Draft]| -> Vec<(Range<usize>, bool)> {
            rounds(steps, &[]).into_iter().map(|round| (round.steps, round.commits)).collect()
        };
        let checks = || Draft { checks: true, ..step(2, &[], &[0]) };
        assert_eq!(of(&[checks(), commit(false)]), [(0..1, false), (1..2, true)]);
        assert_eq!(of(&[checks(), step(2, &[8], &[16]), commit(true)]), [(0..2, false), (2..2, true), (2..3, true)]);
        assert_eq!(of(&[commit(true)]), [(0..0, true), (0..1, true)]);
        assert_eq!(of(&[commit(false), step(2, &[64], &[72])]), [(0..1, true), (1..2, true)]);
    }

    #[test]
    fn inputs_are_apart_from_the_arena_and_each_other() {
        let touch = |region, writes| Touch { region, start: 0, end: 8, writes };
        let draft = |touches| Draft { touches, ..step(2, &[], &[]) };
        let write = |region| draft(vec![touch(region, true)]);
        let all = [Place::Arena(0), Place::Input(0), Place::Input(1), Place::Result(0), Place::Result(1)];
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
            assert_eq!(write(a).conflicts(&write(b)), a == b, "{a:?} {b:?}");
        }
        assert!(write(Place::Input(0)).conflicts(&draft(vec![touch(Place::Input(0), false)])));
    }

    #[test]
    fn the_table_has_an_entry_for_each_buffer_and_a_fault_cell() {
        let of = |places: &[Place]| {
            let spots = places.iter().map(|&place| Spot::at(place)).collect();
            Draft { spots, ..step(1, &[], &[]) }
        };
        let steps = || {
            vec![
                of(&[Place::Input(3), Place::Arena(0)]),
                of(&[]),
                of(&[Place::Scratch(0), Place::Result(1), Place::Input(3)]),
            ]
        };
        assert_eq!(moving(&steps()), [(0, Place::Input(3)), (5, Place::Result(1)), (6, Place::Input(3))]);
        assert_eq!(ready(steps()).iter().map(|step| step.table).collect::<Vec<_>>(), [0, 3, 4]);
    }
}
