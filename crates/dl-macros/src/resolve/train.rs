//! `#[train]`: the gradient of a function and which parameters it updates.

use dl_ir::autodiff::{GradError, gradient};
use dl_ir::{Builder, DType, FnKind, Graph, InputKind, Loc, NodeId, Op, Role};
use proc_macro2::TokenStream;

use super::functions::Compiled;
use super::{GradientGraphs, MADE_UP, MODEL, Resolver};
use crate::diag::{did_you_mean, list_names};
use crate::syntax::{Function, Results, Train};

impl<'a> Resolver<'a, '_> {
    /// Adds a finished function to the module.
    pub fn push_function(&mut self, function: &Function, kind: FnKind, compiled: Compiled) -> usize {
        let Compiled { graph, calls } = compiled;
        self.module.functions.push(dl_ir::Function { name: function.name.to_string(), kind, graph, calls });
        self.module.functions.len() - 1
    }

    /// Adds the training graph of a function (its value in training mode, the gradients, and the new values of buffers)
    /// and, unless the mode makes no difference, the gradients of its evaluation graph, which is number `eval`.
    pub fn train_function(&mut self, function: &'a Function, train: &'a Train, eval: usize) -> Option<GradientGraphs> {
        self.check_loss(function)?;
        let training = self.build(MODEL, function, FnKind::Train)?;
        let evaluation = &self.module.functions[eval].graph;
        let evaluation = (*evaluation != training.graph).then(|| evaluation.clone());
        let train_index = self.push_gradients(function, train, FnKind::Train, training)?;
        let grad_index = match evaluation {
            // The layers' calls are told by the evaluation graph itself.
            Some(graph) => self.push_gradients(function, train, FnKind::Grad, Compiled { graph, calls: Vec::new() })?,
            None => train_index,
        };
        Some(GradientGraphs { train: train_index, grad: grad_index })
    }

    /// Adds a graph of a function with the gradients of its value.
    fn push_gradients(
        &mut self,
        function: &Function,
        train: &Train,
        kind: FnKind,
        compiled: Compiled,
    ) -> Option<usize> {
        let Compiled { graph, calls } = compiled;
        let loss = graph.results().next()?;
        let params = self.trained(function, train, &graph, loss)?;
        let nodes: Vec<NodeId> = params.iter().map(|(_, node)| *node).collect();
        let mut builder = Builder::on(graph);
        match gradient(&mut builder, loss, &nodes) {
            Ok(gradients) => {
                for ((name, _), node) in params.into_iter().zip(gradients) {
                    if let Some(node) = node {
                        builder.output(Role::Grad(name), node);
                    }
                }
                Some(self.push_function(function, kind, Compiled { graph: builder.finish(), calls }))
            }
            Err(errors) => {
                self.report_gradients(function, errors);
                None
            }
        }
    }

    fn report_gradients(&mut self, function: &Function, errors: Vec<GradError>) {
        let mut cuts: Vec<(Loc, Op, &str, Vec<String>)> = Vec::new();
        for error in errors {
            match error {
                GradError::Cut { param, op, reason, loc } => {
                    match cuts.iter_mut().find(|cut| (cut.0, cut.1) == (loc, op)) {
                        Some((.., params)) => params.push(param),
                        None => cuts.push((loc, op, reason, vec![param])),
                    }
                }
                other => self.diagnostics.at(&function.name, other),
            }
        }
        for (loc, op, reason, params) in cuts {
            let span = self.spans.get(loc.0 as usize).copied().unwrap_or_else(|| function.name.span());
            let reach = if params.len() == 1 { "reaches" } else { "reach" };
            let message = format!(
                "{} {reach} `{}` only through `{}`, which has no gradient: {reason}; if they are not to be trained, write `.detach()`",
                list_names(&params),
                function.name,
                op.name(),
            );
            self.diagnostics.at_span(span, message);
        }
    }

    /// A loss is one number with a gradient.
    fn check_loss(&mut self, function: &'a Function) -> Option<()> {
        let signature = function.signature.as_ref()?;
        let name = &function.name;
        match &signature.results {
            Results::Tuple(types) => {
                let message = format!("`#[train]` minimises one number, but `{name}` returns {} values", types.len());
                self.diagnostics.at(name, message);
                None
            }
            Results::One(ty) if !ty.dims.is_empty() => {
                let message = format!(
                    "`#[train]` minimises one number, but `{name}` returns {}; end it with `.mean()` or `.sum()` and return `{}`",
                    ty.text(),
                    ty.dtype
                );
                self.diagnostics.at(&ty.dtype, message);
                None
            }
            Results::One(ty) if !DType::from_name(&ty.dtype.to_string()).is_some_and(DType::is_float) => {
                let message = format!(
                    "`#[train]` needs a number with a gradient, `f32` or `f64`, but `{name}` returns {}",
                    ty.text()
                );
                self.diagnostics.at(&ty.dtype, message);
                None
            }
            Results::One(_) => Some(()),
        }
    }

    /// The parameters that the function trains: those its value depends on, or of them those of the layers that `only`
    /// names.
    fn trained(
        &mut self,
        function: &Function,
        train: &Train,
        graph: &Graph,
        loss: NodeId,
    ) -> Option<Vec<(String, NodeId)>> {
        let needed = dependencies(graph, loss);
        let params = graph.inputs.iter().filter(|i| i.kind == InputKind::Param && needed[i.node.index()]);
        let mut params: Vec<(String, NodeId)> = params.map(|i| (i.name.clone(), i.node)).collect();
        // What stands for a value in error hides the parameters behind it.
        let hidden = graph.inputs.iter().any(|i| i.name.starts_with(MADE_UP) && needed[i.node.index()]);
        if params.is_empty() && !hidden {
            let message = format!("`{}` depends on no parameter: there is nothing to train", function.name);
            self.diagnostics.at(&function.name, message);
            return None;
        }
        if !train.only.is_empty() {
            for (layer, tokens) in &train.only {
                let maybe = hidden && self.module.params.iter().any(|p| p.trainable && is_within(&p.name, layer));
                if !maybe && !params.iter().any(|(name, _)| is_within(name, layer)) {
                    self.nothing_to_train(function, layer, tokens);
                }
            }
            params.retain(|(name, _)| train.only.iter().any(|(layer, _)| is_within(name, layer)));
        }
        (!hidden && !params.is_empty()).then_some(params)
    }

    fn nothing_to_train(&mut self, function: &Function, layer: &str, tokens: &TokenStream) {
        let message = if self.module.params.iter().any(|p| p.trainable && is_within(&p.name, layer)) {
            format!("`{layer}` takes no part in `{}`, so there is nothing to train", function.name)
        } else if self.module.layers.iter().any(|l| l.name == layer || is_within(&l.name, layer)) {
            format!("`{layer}` has no parameters to train")
        } else {
            let names = self.module.layers.iter().map(|l| l.name.as_str());
            let roots = self.scope(MODEL).layers.iter().map(|(ident, _)| ident.to_string()).collect::<Vec<_>>();
            let hint = did_you_mean(layer, roots.iter().map(String::as_str).chain(names));
            format!("there is no layer `{layer}`{hint}")
        };
        self.diagnostics.at(tokens, message);
    }
}

/// Whether a name belongs to a layer: `head.0.weight` to `head` and to `head.0`.
pub fn is_within(name: &str, layer: &str) -> bool {
    name.strip_prefix(layer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Which nodes `of` is computed from.
fn dependencies(graph: &Graph, of: NodeId) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes.len()];
    needed[of.index()] = true;
    for id in graph.ids().rev() {
        if needed[id.index()] {
            graph[id].args.iter().for_each(|arg| needed[arg.index()] = true);
        }
    }
    needed
}
