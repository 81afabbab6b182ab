//! Compiled programs: kernels in machine code, the memory they share, and the workers that run them.
//!
//! All workers walk the same list of steps, one kernel each. A step has a number of parts, fixed when it was compiled; a
//! worker runs its share of them. Where a step needs what another worker made, all meet at a barrier first. Before the
//! first step that writes to the model, every worker looks at the fault cells: an index out of range ends the run while
//! the model is still as it was.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use dl_codegen::abi::Fault;
use dl_codegen::jit::Library;
use dl_ir::{DType, NodeId, Role};

use crate::array::AnyArray;
use crate::denormals::FlushDenormals;
use crate::error::{Error, Result};
use crate::fresh::Fresh;
use crate::memory::{ALIGN, Buffer};
use crate::pool::{Aborted, Pool, Worker, lock};
use crate::profile::{Profile, Watch};
use crate::program::Program;

/// The kernels of a program.
pub(crate) struct Kernels {
    pub(crate) steps: Vec<Step>,
    pub(crate) results: Vec<ResultSlot>,
    /// The arrays that kernels write results to.
    pub(crate) fresh: Vec<(DType, Vec<usize>)>,
    /// Updates that no kernel could write in place, copied at the end: from, to, bytes.
    pub(crate) copies: Vec<(Place, Place, usize)>,
    pub(crate) sizes: Sizes,
    /// Whether a kernel that checks indices runs after one that writes to the model.
    pub(crate) late_checks: bool,
    /// The code of the steps.
    pub(crate) library: Arc<Library>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) flush_denormals: bool,
    /// Present if the steps are timed.
    pub(crate) profile: Option<Profile>,
    /// Memory of earlier runs.
    pub(crate) kept: Mutex<Vec<Memory>>,
}

/// How one kernel is run.
pub(crate) struct Step {
    /// Its number in the library.
    pub(crate) code: usize,
    pub(crate) parts: usize,
    pub(crate) buffers: Vec<Place>,
    /// Whether all workers meet before it.
    pub(crate) barrier: bool,
    /// Whether it writes to the model or the optimizer.
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
    /// One for each worker: a fault cell on a line of its own, then the scratch memory.
    workers: Vec<Buffer>,
}

impl Kernels {
    /// Runs the kernels on inputs at these addresses and returns the results.
    ///
    /// # Safety
    /// Each address is that of a dense array of the input's type. Nobody else writes to it, and nobody else reads those
    /// that the program updates.
    pub(crate) unsafe fn run(
        &self,
        program: &Program,
        addresses: Vec<*mut u8>,
    ) -> Result<Vec<(Role, AnyArray<'static>)>> {
        let started = self.profile.as_ref().map(|_| Instant::now());
        let kept = lock(&self.kept).pop();
        let mut memory = match kept {
            Some(memory) => memory,
            None => Memory::new(&program.name, self.sizes, self.pool.threads())?,
        };
        memory.clear_faults();
        let fresh = self.fresh.iter().map(|(dtype, shape)| Fresh::new(*dtype, shape, &program.name));
        let mut fresh = fresh.collect::<Result<Vec<_>>>()?;
        let results = fresh.iter_mut().map(Fresh::as_mut_ptr).collect();
        let run = Run { memory: &memory, addresses, results, watches: Mutex::default() };
        let outcome = self.pool.run(&|worker| {
            let _flush = self.flush_denormals.then(FlushDenormals::enable);
            // SAFETY: by this function's contract.
            unsafe { run.steps(self, worker) }
        });
        let outcome = outcome.and_then(|()| match memory.fault() {
            Some(fault) => Err(program.index_error(NodeId((fault.site - 1) as u32), fault.value)),
            None => self.finish(program, &run, fresh),
        });
        if let (Some(profile), Some(started), Ok(_)) = (&self.profile, started, &outcome) {
            profile.add(&lock(&run.watches), started.elapsed());
        }
        drop(run);
        lock(&self.kept).push(memory);
        outcome
    }

    /// Copies updates in, and out what results have no array of their own. All workers have ended.
    fn finish(&self, program: &Program, run: &Run<'_>, fresh: Vec<Fresh>) -> Result<Vec<(Role, AnyArray<'static>)>> {
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
            let array = AnyArray::from_bytes(result.dtype, &result.shape, &run.copy(result.place, len));
            let array = array
                .ok_or_else(|| Error::internal(format!("running `{}`", program.name), "a result's size is wrong"))?;
            Ok((result.role.clone(), array))
        });
        let results = results.collect::<Result<_>>()?;
        // All are read before the first is written: one may be another's source.
        let values: Vec<Vec<u8>> = self.copies.iter().map(|&(from, _, len)| run.copy(from, len)).collect();
        for (&(_, to, len), value) in self.copies.iter().zip(values) {
            // SAFETY: an update has the type of its input, so `to` has room for it, and it is written by nobody else.
            unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), run.address(to, 0), len) };
        }
        Ok(results)
    }
}

impl Memory {
    fn new(function: &str, sizes: Sizes, threads: usize) -> Result<Memory> {
        let what = format!("the memory of `{function}`");
        let worker = |_| Buffer::zeroed(ALIGN + sizes.scratch, &what);
        Ok(Memory {
            workers: (0..threads).map(worker).collect::<Result<_>>()?,
            arena: Buffer::zeroed(sizes.arena, &what)?,
        })
    }

    fn clear_faults(&mut self) {
        self.workers.iter_mut().for_each(|worker| worker.bytes_mut()[..size_of::<Fault>()].fill(0));
    }

    /// The fault of the lowest part. No kernel that could write one is running.
    fn fault(&self) -> Option<Fault> {
        let cells = self.workers.iter().map(|worker| {
            // SAFETY: the buffer begins with room for a fault cell, aligned to 64 and initialised. Only kernels of that
            // worker write to it, and the caller has met with them at a barrier, or they have ended.
            unsafe { worker.as_ptr().cast::<Fault>().read() }
        });
        cells.into_iter().find(|fault| fault.site != 0)
    }
}

/// A run: its memory and the addresses of its inputs.
struct Run<'a> {
    memory: &'a Memory,
    addresses: Vec<*mut u8>,
    /// Where results are written.
    results: Vec<*mut u8>,
    /// Of the workers that have ended, if the steps are timed.
    watches: Mutex<Vec<Watch>>,
}

// SAFETY: the addresses are used only by kernels, which share them out: no part of a step reads or writes what another
// part writes, and steps that depend on each other are separated by barriers.
unsafe impl Sync for Run<'_> {}

impl Run<'_> {
    fn address(&self, place: Place, worker: usize) -> *mut u8 {
        match place {
            Place::Arena(offset) => self.memory.arena.as_ptr().wrapping_add(offset),
            Place::Input(index) => self.addresses[index],
            Place::Result(index) => self.results[index],
            Place::Scratch(offset) => self.memory.workers[worker].as_ptr().wrapping_add(ALIGN + offset),
        }
    }

    /// A copy of a value's bytes. All workers have ended.
    fn copy(&self, place: Place, len: usize) -> Vec<u8> {
        // SAFETY: the value lies there by the memory plan, `len` bytes long, and nobody writes to it.
        unsafe { std::slice::from_raw_parts(self.address(place, 0), len) }.to_vec()
    }

    /// One worker's share of all steps.
    ///
    /// # Safety
    /// As for [`Kernels::run`].
    unsafe fn steps(&self, kernels: &Kernels, worker: &Worker<'_>) -> Result<(), Aborted> {
        let mut table = vec![];
        let functions = kernels.library.kernels();
        let mut committing = false;
        let mut watch = kernels.profile.as_ref().map(|_| Watch::start(kernels.steps.len()));
        for (index, step) in kernels.steps.iter().enumerate() {
            let first_commit = step.commits && !committing;
            if step.barrier || first_commit {
                worker.barrier()?;
            }
            if first_commit {
                if self.memory.fault().is_some() {
                    return Ok(());
                }
                if kernels.late_checks {
                    // All must come to the same decision before anyone can report another fault.
                    worker.barrier()?;
                }
                committing = true;
            }
            if let Some(watch) = &mut watch {
                watch.waited(index);
            }
            let share = worker.share(step.parts);
            if share.is_empty() {
                continue;
            }
            table.clear();
            table.extend(step.buffers.iter().map(|&place| self.address(place, worker.index())));
            table.push(self.memory.workers[worker.index()].as_ptr());
            // SAFETY: the table holds the address of every buffer that the kernel declares, in order, and that of this
            // worker's fault cell. Each buffer is as long as declared: arena and scratch memory by the memory plan,
            // inputs by the contract, results by their type. Scratch memory and fault cell are this worker's own. The library keeps
            // the code.
            unsafe { functions[step.code](table.as_ptr(), share.start as u64, share.end as u64) }
            if let Some(watch) = &mut watch {
                watch.ran(index);
            }
        }
        if let Some(watch) = watch {
            lock(&self.watches).push(watch);
        }
        Ok(())
    }
}
