//! Kernels of dl: loop nests, lowering from fused groups and machine code through Cranelift
