//! Kernels of dl: loop nests, lowering from fused groups and machine code through Cranelift.
//!
//! [`kernel`] is the second of the two intermediate representations: a kernel is a loop nest over expressions whose
//! lane count is left to the emitter.

pub mod kernel;
