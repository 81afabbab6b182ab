//! From the syntax tree to a [`Module`]: names, constants, shapes, layers, calls and gradients.
//!
//! Functions are evaluated symbolically: an expression's value is a node of the graph being built, or something
//! known at compile time. Every function is first checked by itself, with its own symbolic dimensions; a call then
//! evaluates the callee's body again on the caller's values. An error is reported at its token and the evaluation
//! goes on with a value of the declared type, or without one, about which nothing more is said.

mod args;
mod body;
mod calls;
mod explain;
mod expr;
mod functions;
mod layers;
mod methods;
mod parameters;
mod scan;
mod scope;
mod train;
mod value;

use std::collections::{HashMap, HashSet};

use dl_ir::nn::Value;
use dl_ir::{Builder, Facts, FnKind, Loc, Module, Type};
use proc_macro2::Span;
use quote::ToTokens;
use syn::Ident;

use crate::diag::Diagnostics;
use crate::syntax::{Function, Model};
use layers::Instance;
use scope::{Scope, ScopeId};

/// What the expansion needs of a model.
pub struct Resolved<'a> {
    /// The module; absent if anything is wrong.
    pub module: Option<Module>,
    /// The public functions, in the order of declaration.
    pub functions: Vec<PublicFunction<'a>>,
}

/// A function that becomes a method.
pub struct PublicFunction<'a> {
    /// As declared.
    pub syntax: &'a Function,
    /// Index of its evaluation graph in the module; 0 after an error.
    pub eval: usize,
    /// Its graphs with gradients, if it is marked `#[train]` and free of errors.
    pub gradients: Option<GradientGraphs>,
}

/// The graphs with gradients of a function, by index in the module.
#[derive(Clone, Copy, Default)]
pub struct GradientGraphs {
    /// In training mode.
    pub train: usize,
    /// In evaluation mode: the same one where the mode makes no difference.
    pub grad: usize,
}

/// Resolves one model. `complete` says that its syntax had no errors: only then can unused names be told.
pub fn resolve<'a>(model: &'a Model, complete: bool, diagnostics: &mut Diagnostics) -> Resolved<'a> {
    let mut resolver = Resolver::new(model, complete, diagnostics);
    resolver.declare_model(model);
    let functions = resolver.public_functions(model);
    resolver.check_private(model);
    if complete {
        resolver.report_unused(&model.body);
    }
    let module = resolver.diagnostics.is_empty().then(|| std::mem::take(&mut resolver.module));
    Resolved { module, functions }
}

/// What the names of inputs begin with that stand for values in error; no argument is called so.
const MADE_UP: &str = "made up";

/// The state of resolving one model.
struct Resolver<'a, 'd> {
    diagnostics: &'d mut Diagnostics,
    module: Module,
    /// The model and every block that was instantiated.
    scopes: Vec<Scope<'a>>,
    /// Every layer, nested ones included.
    instances: Vec<Instance<'a>>,
    /// Declarations that something refers to, by the address of their name.
    used: HashSet<*const Ident>,
    locs: HashMap<(u32, u32), Loc>,
    /// The span of each place in the module's table.
    spans: Vec<Span>,
    /// The graph under construction.
    builder: Builder,
    /// Types that layers gave in the function under construction, by index into the module's layers.
    calls: Vec<(u32, Type)>,
    /// Functions under evaluation, outermost first.
    stack: Vec<(ScopeId, &'a Function)>,
    /// Blocks whose layers are being declared, outermost first.
    opening: Vec<&'a Ident>,
    /// Functions that have been checked, and whether they are free of errors.
    checked: HashMap<(ScopeId, *const Function), bool>,
    /// Whether the syntax had no errors.
    complete: bool,
    /// Number of values made up after errors.
    made_up: usize,
}

const MODEL: ScopeId = ScopeId(0);

impl<'a, 'd> Resolver<'a, 'd> {
    fn new(model: &'a Model, complete: bool, diagnostics: &'d mut Diagnostics) -> Resolver<'a, 'd> {
        Resolver {
            diagnostics,
            module: Module { name: model.name.to_string(), ..Module::default() },
            scopes: Vec::new(),
            instances: Vec::new(),
            used: HashSet::new(),
            locs: HashMap::new(),
            spans: Vec::new(),
            builder: Builder::new(),
            calls: Vec::new(),
            stack: Vec::new(),
            opening: Vec::new(),
            checked: HashMap::new(),
            complete,
            made_up: 0,
        }
    }

    fn public_functions(&mut self, model: &'a Model) -> Vec<PublicFunction<'a>> {
        let mut public = Vec::new();
        for function in &model.body.functions {
            if matches!(function.vis, syn::Visibility::Inherited) {
                continue;
            }
            self.used.insert(&function.name);
            public.push(self.public_function(function));
        }
        public
    }

    fn public_function(&mut self, function: &'a Function) -> PublicFunction<'a> {
        let eval = match self.check(MODEL, function) {
            Some(compiled) => self.push_function(function, FnKind::Eval, compiled),
            None => 0,
        };
        let gradients = match &function.train {
            Some(train) if self.checked[&(MODEL, function as *const _)] => self.train_function(function, train, eval),
            _ => None,
        };
        PublicFunction { syntax: function, eval, gradients }
    }

    /// Checks the functions that nothing public has reached.
    fn check_private(&mut self, model: &'a Model) {
        for function in &model.body.functions {
            if !self.checked.contains_key(&(MODEL, function as *const _)) {
                self.check(MODEL, function);
            }
            if let Some(train) = &function.train
                && matches!(function.vis, syn::Visibility::Inherited)
            {
                let message = format!(
                    "`#[train]` makes the methods `train_{0}` and `grad_{0}`, so `{0}` must be public: write `pub fn {0}`",
                    function.name
                );
                self.diagnostics.at_span(train.span, message);
                // Public it would need no caller.
                self.used.insert(&function.name);
            }
        }
    }

    /// Reports an error at all of `tokens`; what is wrong has no value.
    fn error(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) -> Option<Value> {
        self.diagnostics.at(tokens, message);
        None
    }

    /// New nodes come from here.
    fn set_loc(&mut self, span: Span) {
        let start = span.start();
        let place = (start.line as u32, start.column as u32 + 1);
        let (locs, spans) = (&mut self.module.locs, &mut self.spans);
        self.builder.loc = *self.locs.entry(place).or_insert_with(|| {
            locs.push(place);
            spans.push(span);
            Loc(locs.len() as u32 - 1)
        });
    }

    /// A value of a known type that stands for one in error. The graph it enters is never used.
    fn made_up(&mut self, ty: Type) -> Option<Value> {
        self.made_up += 1;
        let name = format!("{MADE_UP} {}", self.made_up);
        Some(Value::Tensor(self.builder.input(dl_ir::InputKind::Arg, &name, ty)))
    }

    /// What is known of the symbols in the model.
    fn facts(&self) -> &Facts {
        &self.module.facts
    }
}

#[cfg(test)]
mod tests;
