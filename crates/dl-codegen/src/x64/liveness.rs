//! Which names are live where: the numbering of instructions that register allocation goes by.

use std::collections::HashMap;

use super::lir::{Inst, V};

/// Numbers instructions and collects the uses of names, in order. What a loop reads from outside it needs until its end.
pub fn number(insts: &[Inst], position: &mut u32, uses: &mut Vec<(V, u32)>) {
    for inst in insts {
        *position += 1;
        inst.reads(&mut |v| uses.push((v, *position)));
        if let Inst::Loop(l) = inst {
            let from = uses.len();
            number(&l.body, position, uses);
            *position += 1;
            let mut defined: Vec<V> = vec![];
            definitions(&l.body, &mut defined);
            let mut outside: Vec<V> = uses[from..].iter().map(|u| u.0).filter(|v| !defined.contains(v)).collect();
            outside.extend(l.carries.iter().flat_map(|c| [c.next, c.now]));
            outside.sort_unstable();
            outside.dedup();
            uses.extend(outside.into_iter().map(|v| (v, *position)));
        }
    }
}

/// How many numbers instructions take.
pub fn length(insts: &[Inst]) -> u32 {
    let of = |inst: &Inst| match inst {
        Inst::Loop(l) => 2 + length(&l.body),
        _ => 1,
    };
    insts.iter().map(of).sum()
}

fn definitions(insts: &[Inst], into: &mut Vec<V>) {
    for inst in insts {
        into.extend(inst.writes());
        if let Inst::Loop(l) = inst {
            into.extend(l.carries.iter().map(|c| c.now));
            definitions(&l.body, into);
        }
    }
}

/// The registers that instructions need at once for what they define themselves, with some for operands in memory.
pub fn pressure(insts: &[Inst], counts: impl Fn(V) -> bool + Copy) -> usize {
    let (mut position, mut uses) = (0, vec![]);
    number(insts, &mut position, &mut uses);
    let mut last: HashMap<V, u32> = HashMap::new();
    uses.into_iter().filter(|(v, _)| counts(*v)).for_each(|(v, at)| _ = last.insert(v, at));
    let (mut at, mut live, mut most) = (0, vec![], 0);
    walk(insts, &mut at, &last, &mut live, &mut most, counts);
    most + 3
}

fn walk(
    insts: &[Inst],
    at: &mut u32,
    last: &HashMap<V, u32>,
    live: &mut Vec<V>,
    most: &mut usize,
    counts: impl Fn(V) -> bool + Copy,
) {
    for inst in insts {
        *at += 1;
        if let Some(v) = inst.writes().filter(|v| counts(*v) && !live.contains(v)) {
            live.push(v);
        }
        *most = (*most).max(live.len());
        if let Inst::Loop(l) = inst {
            live.extend(l.carries.iter().map(|c| c.now).filter(|v| counts(*v)));
            walk(&l.body, at, last, live, most, counts);
            *at += 1;
        }
        let now = *at;
        live.retain(|v| last.get(v).is_some_and(|end| *end > now));
    }
}
