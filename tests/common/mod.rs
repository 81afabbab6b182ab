//! What the integration tests share; each uses a part of it.
#![allow(dead_code)]

pub mod jit;
pub mod random_graph;
