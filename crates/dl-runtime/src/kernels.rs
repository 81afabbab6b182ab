//! Compiled programs: kernels in machine code, the memory they share, and the workers that run them.
//!
//! The steps of a program, one kernel each, are grouped in rounds: a new one begins where a step needs what another worker
//! made. A step has a number of parts, fixed when it was compiled, and each share of a round runs its parts of every step.
//! Before the first step that writes to the model, every worker looks at the fault cells: an index out of range ends the
//! run while the model is still as it was.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dl_codegen::abi::Fault;
use dl_codegen::cache::LoadedKernels;
use dl_ir::{DType, NodeId, Role};

use crate::array::AnyArray;
use crate::denormals::FlushDenormals;
use crate::error::{Error, Result};
use crate::fresh::Fresh;
use crate::layout::DEPTH;
use crate::memory::{ALIGN, Buffer};
use crate::pool::{Pool, Turn, alone, lock};
use crate::profile::{Profile, Watch};
use crate::program::Program;

/// The kernels of a program.
pub(crate) struct Kernels {
    pub(crate) steps: Vec<Step>,
    pub(crate) rounds: Vec<Round>,
    /// The rounds as they are run, those of loops again and again.
    pub(crate) schedule: Vec<Turnpoint>,
    /// The places in the table of addresses that can differ from run to run: inputs and results.
    pub(crate) moving: Vec<(usize, Place)>,
    pub(crate) results: Vec<ResultSlot>,
    /// The arrays that kernels write results to.
    pub(crate) fresh: Vec<(DType, Vec<usize>)>,
    /// Updates that no kernel could write in place, copied at the end: from, to, bytes.
    pub(crate) copies: Vec<(Place, Place, usize)>,
    pub(crate) sizes: Sizes,
    /// Whether there is nothing to share out.
    pub(crate) alone: bool,
    /// The functions of the steps.
    pub(crate) code: Arc<LoadedKernels>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) flush_denormals: bool,
    /// Present if the steps are timed.
    pub(crate) profile: Option<Profile>,
    /// Memory of earlier runs.
    pub(crate) kept: Mutex<Vec<Memory>>,
}

/// How one kernel is run.
pub(crate) struct Step {
    /// The number of its function.
    pub(crate) code: usize,
    pub(crate) parts: usize,
    pub(crate) buffers: Vec<Place>,
    /// Where its buffers begin among those of all steps, each step having one more entry for its fault cell.
    pub(crate) table: usize,
    /// Those of the buffers that lie elsewhere in each iteration of a loop.
    pub(crate) slides: Vec<Slide>,
}

/// A buffer that moves with the iterations of the loops around its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slide {
    /// Its number among the step's buffers.
    pub(crate) buffer: usize,
    /// Bytes from its place in the first iteration.
    pub(crate) offset: isize,
    /// Bytes that it moves by with each iteration of each loop, from the outermost on.
    pub(crate) moves: [isize; DEPTH],
}

/// A round in one iteration of the loops around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turnpoint {
    /// The number of the round.
    pub(crate) round: usize,
    /// The iteration of each loop around it, from the outermost on.
    pub(crate) at: [u32; DEPTH],
}

/// Steps between which no worker waits for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) steps: Range<usize>,
    /// Whether only a run without a fault may go on here, for from here on it writes to the model or the optimizer.
    pub(crate) commits: bool,
}

/// Where a buffer of a kernel lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the arena, at that byte.
    Arena(usize),
    /// The input of that number.
    Input(usize),
    /// In the array of a result of that number.
    Result(usize),
    /// In the worker's own memory, at that byte.
    Scratch(usize),
}

/// A result or gradient of a program.
pub(crate) struct ResultSlot {
    pub(crate) role: Role,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) place: Place,
}

/// Bytes of memory that one run needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Shared by all workers.
    pub(crate) arena: usize,
    /// Of each worker.
    pub(crate) scratch: usize,
}

/// The memory of one run.
pub(crate) struct Memory {
    arena: Buffer,
    /// One for each worker: a fault cell on a line of its own, then the scratch memory. The cell is that of the share of
    /// the worker's number, whoever does it.
    workers: Vec<Buffer>,
    /// For each worker the addresses of all steps' buffers.
    tables: Vec<Buffer>,
    /// The inputs and results of the run before, by which the tables are right.
    addresses: Vec<*mut u8>,
    results: Vec<*mut u8>,
}

// SAFETY: the addresses are only compared with others.
unsafe impl Send for Memory {}

impl Kernels {
    /// Runs the kernels on inputs at these addresses and returns the results, in the memory of `spares` where that fits.
    ///
    /// # Safety
    /// Each address is that of a dense array of the input's type. Nobody else writes to it, and nobody else reads those
    /// that the program updates.
    pub(crate) unsafe fn run(
        &self,
        program: &Program,
        addresses: Vec<*mut u8>,
        mut spares: Vec<Option<AnyArray<'static>>>,
    ) -> Result<Vec<(Role, AnyArray<'static>)>> {
        let started = self.profile.as_ref().map(|_| Instant::now());
        let kept = lock(&self.kept).pop();
        let mut memory = match kept {
            Some(memory) => memory,
            None => Memory::new(&program.name, self)?,
        };
        let fresh = self.fresh.iter().enumerate().map(|(at, (dtype, shape))| {
            let result = self.results.iter().position(|result| result.place == Place::Result(at));
            let spare = result.and_then(|result| spares.get_mut(result)?.take());
            Fresh::new(*dtype, shape, &program.name, spare)
        });
        let mut fresh = fresh.collect::<Result<Vec<_>>>()?;
        memory.point(self, addresses, fresh.iter_mut().map(Fresh::as_mut_ptr).collect());
        let run = Run::new(self, &memory);
        // SAFETY: by this function's contract; the pool runs each share of a round once, after the round before.
        let task = |turn: Turn| unsafe { run.turn(turn) };
        let outcome = match self.alone {
            true => alone(self.schedule.len(), &task),
            false => self.pool.run(self.schedule.len(), &task),
        };
        let outcome = outcome.and_then(|()| match memory.fault() {
            Some(fault) => Err(program.index_error(NodeId((fault.site - 1) as u32), fault.value)),
            None => self.finish(program, &memory, fresh),
        });
        if let (Some(profile), Some(started), Ok(_)) = (&self.profile, started, &outcome) {
            let watches: Vec<Watch> = run.watches.iter().filter_map(|watch| lock(watch).take()).collect();
            profile.add(&watches, started.elapsed());
        }
        if outcome.is_err() {
            memory.clear_faults();
        }
        lock(&self.kept).push(memory);
        outcome
    }

    /// Copies updates in, and out what results have no array of their own. All workers have ended.
    fn finish(&self, program: &Program, memory: &Memory, fresh: Vec<Fresh>) -> Result<Vec<(Role, AnyArray<'static>)>> {
        let mut fresh: Vec<Option<Fresh>> = fresh.into_iter().map(Some).collect();
        let results = self.results.iter().map(|result| {
            if let Place::Result(at) = result.place
                && let Some(fresh) = fresh[at].take()
            {
                // SAFETY: a step stores every element of the value for which the memory plan has this place, bools as
                // 0 or 1, and all steps have run.
                return Ok((result.role.clone(), unsafe { fresh.written() }));
            }
            // An input, or what is returned already: its array lives on among these results.
            let len = result.shape.iter().product::<usize>() * result.dtype.size();
            let array = AnyArray::from_bytes(result.dtype, &result.shape, &memory.copy(result.place, len));
            let array = array
                .ok_or_else(|| Error::internal(format!("running `{}`", program.name), "a result's size is wrong"))?;
            Ok((result.role.clone(), array))
        });
        let results = results.collect::<Result<_>>()?;
        // All are read before the first is written: one may be another's source.
        let values: Vec<Vec<u8>> = self.copies.iter().map(|&(from, _, len)| memory.copy(from, len)).collect();
        for (&(_, to, len), value) in self.copies.iter().zip(values) {
            // SAFETY: an update has the type of its input, so `to` has room for it, and it is written by nobody else.
            unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), memory.address(to, 0), len) };
        }
        Ok(results)
    }
}

impl Memory {
    fn new(function: &str, kernels: &Kernels) -> Result<Memory> {
        let what = format!("the memory of `{function}`");
        let (sizes, threads) = (kernels.sizes, kernels.pool.threads());
        let last = kernels.steps.last().map_or(0, |step| step.table + step.buffers.len() + 1);
        let buffers =
            |bytes: usize| -> Result<Vec<Buffer>> { (0..threads).map(|_| Buffer::zeroed(bytes, &what)).collect() };
        let mut memory = Memory {
            workers: buffers(ALIGN + sizes.scratch)?,
            tables: buffers(last * size_of::<*mut u8>())?,
            arena: Buffer::zeroed(sizes.arena, &what)?,
            addresses: vec![],
            results: vec![],
        };
        for step in &kernels.steps {
            for (at, &place) in step.buffers.iter().enumerate() {
                for worker in 0..threads {
                    if let Place::Arena(_) | Place::Scratch(_) = place {
                        let address = memory.address(place, worker);
                        memory.tables[worker].pointers_mut()[step.table + at] = address;
                    }
                }
            }
        }
        Ok(memory)
    }

    /// Writes to the tables where this run's inputs and results lie.
    fn point(&mut self, kernels: &Kernels, addresses: Vec<*mut u8>, results: Vec<*mut u8>) {
        let before = (std::mem::replace(&mut self.addresses, addresses), std::mem::replace(&mut self.results, results));
        if (&before.0, &before.1) == (&self.addresses, &self.results) {
            return;
        }
        for &(at, place) in &kernels.moving {
            let changed = match place {
                Place::Input(index) => before.0.get(index) != self.addresses.get(index),
                Place::Result(index) => before.1.get(index) != self.results.get(index),
                Place::Arena(_) | Place::Scratch(_) => false,
            };
            if changed {
                let address = self.address(place, 0);
                self.tables.iter_mut().for_each(|table| table.pointers_mut()[at] = address);
            }
        }
    }

    fn clear_faults(&mut self) {
        self.workers.iter_mut().for_each(|worker| worker.bytes_mut()[..size_of::<Fault>()].fill(0));
    }

    /// The fault of the lowest part. No kernel that could write one is running.
    fn fault(&self) -> Option<Fault> {
        let cells = self.workers.iter().map(|worker| {
            // SAFETY: the buffer begins with room for a fault cell, aligned to 64 and initialised. Only kernels that check
            // indices write to it; those that have run have done so in a round before, and others do not run meanwhile.
            unsafe { worker.as_ptr().cast::<Fault>().read() }
        });
        cells.into_iter().find(|fault| fault.site != 0)
    }

    fn address(&self, place: Place, worker: usize) -> *mut u8 {
        match place {
            Place::Arena(offset) => self.arena.as_ptr().wrapping_add(offset),
            Place::Input(index) => self.addresses[index],
            Place::Result(index) => self.results[index],
            Place::Scratch(offset) => self.workers[worker].as_ptr().wrapping_add(ALIGN + offset),
        }
    }

    /// A copy of a value's bytes. All workers have ended.
    fn copy(&self, place: Place, len: usize) -> Vec<u8> {
        // SAFETY: the value lies there by the memory plan, `len` bytes long, and nobody writes to it.
        unsafe { std::slice::from_raw_parts(self.address(place, 0), len) }.to_vec()
    }
}

/// A run.
struct Run<'a> {
    kernels: &'a Kernels,
    memory: &'a Memory,
    /// Whether it may write to the model.
    verdict: AtomicU8,
    /// One for each worker, if the steps are timed.
    watches: Vec<Mutex<Option<Watch>>>,
}

const UNKNOWN: u8 = 0;
const GO: u8 = 1;
const STOP: u8 = 2;

// SAFETY: the addresses in the memory are used only by kernels, which share them out: no part of a step reads or writes
// what another part writes, and steps that depend on each other are in different rounds. The tables and scratch memory of
// a worker are its own.
unsafe impl Sync for Run<'_> {}

impl<'a> Run<'a> {
    fn new(kernels: &'a Kernels, memory: &'a Memory) -> Run<'a> {
        let watch = || Mutex::new(Some(Watch::start(kernels.steps.len())));
        let watches = kernels.profile.iter().flat_map(|_| memory.workers.iter().map(|_| watch())).collect();
        Run { kernels, memory, verdict: AtomicU8::new(UNKNOWN), watches }
    }

    /// Whether no index was out of range before the first write to the model. All say the same: before the round that
    /// asks first all checks have been made, and in that round there are none.
    fn may_commit(&self) -> bool {
        let verdict = match self.verdict.load(Ordering::Relaxed) {
            UNKNOWN if self.memory.fault().is_some() => STOP,
            UNKNOWN => GO,
            known => known,
        };
        self.verdict.store(verdict, Ordering::Relaxed);
        verdict == GO
    }

    /// One share of one round.
    ///
    /// # Safety
    /// As for [`Kernels::run`]; and all shares of the round before are done, and nobody else is this worker or does this
    /// share.
    unsafe fn turn(&self, turn: Turn) {
        let Run { kernels, memory, .. } = self;
        let Turnpoint { round, at } = kernels.schedule[turn.round];
        let round = &kernels.rounds[round];
        if round.commits && !self.may_commit() {
            return;
        }
        let functions = kernels.code.functions();
        let mut watch = self.watches.get(turn.worker).map(lock);
        let mut watch = watch.as_mut().and_then(|watch| watch.as_mut());
        let _flush = kernels.flush_denormals.then(FlushDenormals::enable);
        for (index, step) in round.steps.clone().zip(&kernels.steps[round.steps.clone()]) {
            let parts = turn.of(step.parts);
            if let Some(watch) = &mut watch {
                watch.waited(index);
            }
            if parts.is_empty() {
                continue;
            }
            // SAFETY: the table holds the address of every buffer that the kernel declares, in order, and behind them is
            // room for that of this share's fault cell. Each buffer is as long as declared: arena and scratch memory by
            // the memory plan, inputs by the contract, results by their type, and what moves stays within a tensor of
            // which it is a slice. The table and scratch memory are this worker's own, the fault cell is this share's.
            // The code is kept.
            unsafe {
                let table = memory.tables[turn.worker].as_ptr().cast::<*mut u8>().add(step.table);
                table.add(step.buffers.len()).write(memory.workers[turn.share].as_ptr());
                for slide in &step.slides {
                    let moved: isize = slide.moves.iter().zip(at).map(|(by, at)| by * at as isize).sum();
                    let start = memory.address(step.buffers[slide.buffer], turn.worker);
                    table.add(slide.buffer).write(start.wrapping_offset(slide.offset + moved));
                }
                functions[step.code](table.cast_const(), parts.start as u64, parts.end as u64)
            }
            if let Some(watch) = &mut watch {
                watch.ran(index);
            }
        }
    }
}
