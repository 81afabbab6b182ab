//! `#[train]`: the gradient of a function and which parameters it updates.

use dl_ir::{FnKind, Graph};

use super::Resolver;
use crate::syntax::Function;

impl<'a> Resolver<'a, '_> {
    /// Adds a finished graph to the module.
    pub fn push_function(&mut self, function: &Function, kind: FnKind, graph: Graph) {
        let calls = std::mem::take(&mut self.calls);
        self.module.functions.push(dl_ir::Function { name: function.name.to_string(), kind, graph, calls });
    }

    pub fn train_function(&mut self, function: &'a Function) -> Option<usize> {
        None
    }
}
