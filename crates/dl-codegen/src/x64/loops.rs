//! Loops: names that are carried from iteration to iteration, and what stays in registers over all of them.

use super::Result;
use super::alloc::{ARGS, Code, Hint};
use super::asm::{Cond, Mem};
use super::lir::{Carried, End, Home, Kind, Loop, V};
use super::liveness::{length, pressure};

impl Code {
    pub(super) fn repeat(&mut self, l: &Loop) -> Result<()> {
        // The first iteration starts with the initial values in the registers of the loop.
        for (at, c) in l.carries.iter().enumerate() {
            let again = l.carries[at + 1..].iter().any(|later| later.init == c.init);
            let reg = if again {
                // Its register cannot be taken over yet.
                self.hints.remove(&c.now);
                let source = self.fetch(c.init)?;
                let reg = self.allocate(c.now)?;
                self.copy(self.kind(c.now), reg, source);
                reg
            } else {
                self.result_from(c.now, c.init)?
            };
            self.names[c.now.0 as usize].held = true;
            debug_assert!(self.names[c.now.0 as usize].reg == Some(reg));
            self.locked.clear();
            if !again && self.dies(c.init) {
                self.release(c.init);
            }
        }
        // What else lives on stays in registers as far as they go; the rest is in memory throughout.
        let mut kept = vec![];
        for kind in [Kind::Vector, Kind::Mask] {
            let need = pressure(&l.body, |v| self.kind(v) == kind);
            let mut live: Vec<V> = self.holders_of(kind).iter().flatten().copied().collect();
            live.retain(|v| !self.names[v.0 as usize].held);
            live.sort_by_key(|v| self.names[v.0 as usize].uses.last().copied().unwrap_or(u32::MAX));
            let total = live.len() + self.free(kind);
            let keep = total.saturating_sub(need).min(live.len());
            for &v in &live[keep..] {
                self.save(v);
                self.release(v);
            }
            live.truncate(keep);
            for &v in &live {
                // Saved now, as it would else be saved in every iteration if it comes to that.
                self.names[v.0 as usize].held = true;
            }
            kept.extend(live);
        }
        let done = self.asm.label();
        if !l.entered {
            self.compare(l);
            self.asm.jump_if(Cond::GreaterEqual, done);
        }
        let top = self.asm.here();
        let end = self.position + length(&l.body) + 1;
        for c in &l.carries {
            // Not if another one takes the old value over at the end.
            if l.carries.iter().all(|other| other.next != c.now) {
                self.hints.insert(c.next, Hint { old: c.now, end });
            }
        }
        self.block(&l.body)?;
        self.position += 1;
        self.carry(l)?;
        // Without an iteration nothing would have been loaded here.
        let loaded: Vec<V> = self.vectors.iter().chain(&self.masks).flatten().copied().collect();
        loaded.into_iter().for_each(|v| self.release(v));
        for &(reg, step) in &l.steps {
            self.asm.add(reg, step);
        }
        self.asm.add(l.counter, l.by);
        self.compare(l);
        self.asm.jump_if(Cond::Less, top);
        self.asm.place(done);
        for v in kept
            .into_iter()
            .chain(l.carries.iter().map(|c| c.now))
            .filter(|v| !self.placed.contains(v))
            .collect::<Vec<_>>()
        {
            self.names[v.0 as usize].held = false;
            self.pass(v);
        }
        Ok(())
    }

    /// Ends an iteration: what is next becomes what is now, in the same registers as before.
    fn carry(&mut self, l: &Loop) -> Result<()> {
        // What is moved goes by way of fresh registers where it is an old name itself; names that took the place of an
        // old one then give it back.
        let (placed, moves): (Vec<Carried>, Vec<Carried>) =
            l.carries.iter().partition(|c| self.names[c.now.0 as usize].reg.is_none());
        l.carries.iter().for_each(|c| _ = self.hints.remove(&c.next));
        let olds: Vec<V> = l.carries.iter().map(|c| c.now).collect();
        let mut sources = vec![];
        for c in moves.iter().filter(|c| c.next != c.now) {
            let from = self.fetch(c.next)?;
            if olds.contains(&c.next) {
                let kind = self.kind(c.now);
                let copy = self.name(kind, Home::None);
                let reg = self.allocate(copy)?;
                self.copy(kind, reg, from);
                sources.push((copy, reg));
            } else {
                sources.push((c.next, from));
            }
        }
        for (c, (source, from)) in moves.iter().filter(|c| c.next != c.now).zip(sources) {
            let to = self.names[c.now.0 as usize].reg.unwrap_or_else(|| unreachable!("held"));
            self.copy(self.kind(c.now), to, from);
            self.pass(source);
        }
        for c in placed {
            let reg = self.names[c.next.0 as usize].reg.take();
            let reg = reg.unwrap_or_else(|| unreachable!("{:?} is in the place of {:?}", c.next, c.now));
            self.names[c.next.0 as usize].held = false;
            self.placed.retain(|v| *v != c.next);
            self.names[c.now.0 as usize].reg = Some(reg);
            self.holders(c.now)[reg as usize] = Some(c.now);
        }
        self.locked.clear();
        Ok(())
    }

    fn compare(&mut self, l: &Loop) {
        match l.end {
            End::Number(end) => self.asm.cmp(l.counter, end),
            End::Arg(at) => self.asm.cmp_load(l.counter, Mem::at(ARGS, at)),
        }
    }
}
