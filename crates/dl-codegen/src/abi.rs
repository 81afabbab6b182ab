//! The calling convention of compiled kernels.

/// A compiled kernel: runs the parts `begin..end`.
///
/// `bufs` points to `kernel.bufs.len() + 1` addresses: one for each buffer in order, then that of a [`Fault`].
/// Buffers are as long as declared and aligned to their elements, no more: some are arrays of the user, which may begin
/// anywhere in an allocation. Emitters therefore use unaligned accesses for vectors. The fault cell is aligned to itself.
/// Scratch buffers and the fault cell belong to the calling thread; the other ones are shared, so a table of addresses is
/// made for each thread.
///
/// Kernels do not unwind, do not allocate and keep no state.
pub type KernelFn = unsafe extern "C" fn(bufs: *const *mut u8, begin: u64, end: u64);

/// Where a kernel reports the first [`Check`](crate::kernel::Stmt::Check) that failed. A kernel writes to it only
/// while `site` is 0, and goes on with index 0. Threads run consecutive parts, so the first cell with a fault (in
/// thread order) holds the fault of the lowest part, whatever the number of threads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// 0 for none, else the check's site + 1.
    pub site: u64,
    /// The value out of range.
    pub value: i64,
}

impl Fault {
    /// Offset of `site`, as used by emitters.
    pub const SITE: i32 = std::mem::offset_of!(Fault, site) as i32;
    /// Offset of `value`.
    pub const VALUE: i32 = std::mem::offset_of!(Fault, value) as i32;
}
