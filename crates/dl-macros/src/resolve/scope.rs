//! Names: scopes, constants, dimensions, and what is declared twice or never used.

use std::collections::HashMap;

use dl_ir::Dim;
use dl_ir::nn::Value;
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{BinOp, Expr, Ident, Lit};

use super::expr::Frame;
use super::layers::InstanceId;
use super::value::{Arithmetic, arithmetic};
use super::{MODEL, Resolver};
use crate::diag::source_text;
use crate::syntax::{Block, Body, Const, Function, Model};

/// A model or an instance of a block.
pub struct Scope<'a> {
    /// Its items.
    pub body: &'a Body,
    /// Where the block is declared: its constants and blocks are visible here too.
    pub parent: Option<ScopeId>,
    /// What the names of its parameters begin with: empty, or `blocks.0.`
    pub prefix: String,
    /// Values of the block's arguments.
    pub args: Vec<(&'a Ident, Option<Value>)>,
    /// Values of the constants, as far as they have been asked for.
    consts: Vec<ConstState>,
    /// The layers, in the order of declaration.
    pub layers: Vec<(&'a Ident, InstanceId)>,
}

/// Index of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScopeId(pub u32);

#[derive(Clone)]
enum ConstState {
    Pending,
    InProgress,
    Done(Option<Value>),
}

/// The names of the element types.
pub fn dtype_names() -> impl Iterator<Item = &'static str> {
    dl_ir::DType::ALL.into_iter().map(dl_ir::DType::name)
}

impl<'a> Resolver<'a, '_> {
    /// Declares everything in the model: names, dimensions, facts, layers.
    pub fn declare_model(&mut self, model: &'a Model) {
        self.check_names(&model.body, None);
        self.check_method_names(&model.body);
        self.module.dims = model.body.dims.iter().map(Ident::to_string).collect();
        let scope = self.push_scope(&model.body, None, String::new(), Vec::new());
        debug_assert_eq!(scope, MODEL);
        self.declare_items(scope);
    }

    /// Adds a scope, without its layers yet.
    pub fn push_scope(
        &mut self,
        body: &'a Body,
        parent: Option<ScopeId>,
        prefix: String,
        args: Vec<(&'a Ident, Option<Value>)>,
    ) -> ScopeId {
        let consts = vec![ConstState::Pending; body.consts.len()];
        self.scopes.push(Scope { body, parent, prefix, args, consts, layers: Vec::new() });
        ScopeId(self.scopes.len() as u32 - 1)
    }

    /// The constants, facts and layers of a scope.
    pub fn declare_items(&mut self, scope: ScopeId) {
        let body = self.scope(scope).body;
        for index in 0..body.consts.len() {
            self.constant(scope, index);
        }
        for fact in &body.facts {
            self.declare_fact(scope, fact);
        }
        for decl in &body.layers {
            let path = format!("{}{}", self.scope(scope).prefix, decl.name);
            let before = self.diagnostics.len();
            let instance = match &decl.layer {
                Some(layer) => self.instantiate(scope, layer, path),
                None => self.unknown_instance(),
            };
            if self.diagnostics.len() > before {
                // What is wrong with it has been said; that nothing calls it may come of that.
                self.used.insert(&decl.name);
            }
            self.scopes[scope.0 as usize].layers.push((&decl.name, instance));
        }
    }

    /// The scope of that id.
    pub fn scope(&self, id: ScopeId) -> &Scope<'a> {
        &self.scopes[id.0 as usize]
    }

    /// The scope and those around it, innermost first.
    pub fn enclosing(&self, scope: ScopeId) -> impl Iterator<Item = ScopeId> {
        std::iter::successors(Some(scope), |&id| self.scope(id).parent)
    }

    /// The value of a constant, dimension or block argument in scope; the inner option is empty after an error.
    pub fn named_value(&mut self, scope: ScopeId, name: &str) -> Option<Option<Value>> {
        let mut at = Some(scope);
        while let Some(id) = at {
            let Scope { body, parent, ref args, .. } = *self.scope(id);
            if let Some((ident, value)) = args.iter().find(|(ident, _)| *ident == name) {
                let (ident, value) = (*ident, value.clone());
                self.used.insert(ident);
                return Some(value);
            }
            if let Some(index) = body.consts.iter().position(|c| c.name == name) {
                self.used.insert(&body.consts[index].name);
                return Some(self.constant(id, index));
            }
            if let Some(ident) = body.dims.iter().find(|d| *d == name) {
                self.used.insert(ident);
                return Some(Some(Value::Int(Dim::sym(name))));
            }
            at = parent;
        }
        None
    }

    /// The block of that name, with the scope that declares it.
    pub fn named_block(&self, scope: ScopeId, name: &Ident) -> Option<(ScopeId, &'a Block)> {
        self.enclosing(scope).find_map(|id| {
            let blocks: &'a [Block] = &self.scope(id).body.blocks;
            blocks.iter().find(|b| b.name == *name).map(|b| (id, b))
        })
    }

    /// Marks everything of that name in scope as used: it is meant, though there is an error in how.
    pub fn use_name(&mut self, frame: &Frame<'a>, name: &str) {
        for id in self.enclosing(frame.scope).collect::<Vec<_>>() {
            let Body { consts, dims, layers, functions, .. } = self.scope(id).body;
            let own = self.scope(id).args.iter().map(|(ident, _)| *ident);
            let values = consts.iter().map(|c| &c.name).chain(dims).chain(own);
            let callables = layers.iter().map(|l| &l.name).chain(functions.iter().map(|f| &f.name));
            let meant: Vec<&Ident> = values.chain(callables).filter(|ident| *ident == name).collect();
            self.used.extend(meant.into_iter().map(std::ptr::from_ref));
        }
        let locals = frame.locals.iter().map(|local| local.name).filter(|ident| *ident == name);
        self.used.extend(locals.map(std::ptr::from_ref));
    }

    /// Marks every name in some tokens as used.
    pub fn use_names(&mut self, frame: &Frame<'a>, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => self.use_name(frame, &ident.to_string()),
                TokenTree::Group(group) => self.use_names(frame, group.stream()),
                _ => {}
            }
        }
    }

    /// The layer declared with that name in this very scope.
    pub fn named_layer(&mut self, scope: ScopeId, name: &Ident) -> Option<InstanceId> {
        let (ident, instance) = *self.scope(scope).layers.iter().find(|(ident, _)| *ident == name)?;
        self.used.insert(ident);
        Some(instance)
    }

    /// The function declared with that name in this very scope.
    pub fn named_function(&mut self, scope: ScopeId, name: &Ident) -> Option<&'a Function> {
        let function = self.scope(scope).body.functions.iter().find(|f| f.name == *name)?;
        self.used.insert(&function.name);
        Some(function)
    }

    fn constant(&mut self, scope: ScopeId, index: usize) -> Option<Value> {
        let Const { name, value } = &self.scope(scope).body.consts[index];
        match self.scope(scope).consts[index].clone() {
            ConstState::Done(value) => return value,
            ConstState::InProgress => {
                return self.error(name, format!("the value of `{name}` depends on itself"));
            }
            ConstState::Pending => {}
        }
        self.scopes[scope.0 as usize].consts[index] = ConstState::InProgress;
        let value = match value {
            Some(expr) => match self.compile_time(scope, expr) {
                value @ (None | Some(Value::Int(_) | Value::Float(_) | Value::Bool(_))) => value,
                Some(other) => self.error(expr, format!("a constant is a number, but this is {}", other.describe())),
            },
            None => None,
        };
        self.scopes[scope.0 as usize].consts[index] = ConstState::Done(value.clone());
        value
    }

    /// Evaluates an expression outside of any function: arguments of layers, constants, repetitions.
    pub fn compile_time(&mut self, scope: ScopeId, expr: &'a Expr) -> Option<Value> {
        let mut frame = Frame::constant(scope);
        self.eval(&mut frame, expr)
    }

    /// `require P % Q == 0;`
    fn declare_fact(&mut self, scope: ScopeId, fact: &'a Expr) {
        let Some((p, q)) = divisibility(fact) else {
            self.error(fact, "a fact has the form `require DIM % HEADS == 0;`");
            return;
        };
        let mut frame = Frame::fact(scope);
        let (p, q) = match (self.eval(&mut frame, p), self.eval(&mut frame, q)) {
            (Some(Value::Int(p)), Some(Value::Int(q))) => (p, q),
            (Some(_), Some(_)) => {
                self.error(fact, "a fact is about whole numbers: `require DIM % HEADS == 0;`");
                return;
            }
            _ => return,
        };
        let rest = arithmetic(Arithmetic::Rem, &Value::Int(p.clone()), &Value::Int(q.clone()));
        match rest {
            Err(reason) => {
                self.error(fact, reason);
            }
            Ok(Value::Int(rest)) if rest.as_const().is_some_and(|c| c != 0) => {
                let place = self.scope(scope).prefix.trim_end_matches('.').to_string();
                let place = if place.is_empty() { String::new() } else { format!(" in `{place}`") };
                let fact_text = source_text(fact);
                self.error(fact, format!("`{fact_text}` does not hold{place}: {p} % {q} is {rest}"));
            }
            Ok(Value::Int(rest)) if rest.is(0) => {}
            Ok(_) => self.module.facts.add_divides(p, q),
        }
    }

    /// Names declared twice in one place.
    pub fn check_names(&mut self, body: &'a Body, params: Option<&'a Block>) {
        let params = params.into_iter().flat_map(|block| block.params.iter().map(|p| &p.name));
        let values = params.chain(body.dims.iter()).chain(body.consts.iter().map(|c| &c.name));
        self.report_duplicates(values);
        let callables = body.layers.iter().map(|l| &l.name).chain(body.functions.iter().map(|f| &f.name));
        self.report_duplicates(callables);
        self.report_duplicates(body.blocks.iter().map(|b| &b.name));
        for function in &body.functions {
            if let Some(signature) = &function.signature {
                self.report_duplicates(signature.params.iter().map(|p| &p.name));
            }
        }
        for block in &body.blocks {
            if dl_ir::nn::layer(&block.name.to_string()).is_some() {
                self.error(
                    &block.name,
                    format!("there is a layer `{}` already; give the block another name", block.name),
                );
            }
            self.check_names(&block.body, Some(block));
        }
    }

    /// Functions whose names the expansion needs for itself.
    fn check_method_names(&mut self, body: &'a Body) {
        let is_public = |f: &&Function| !matches!(f.vis, syn::Visibility::Inherited);
        let mut owners: HashMap<String, &Ident> = HashMap::new();
        let mut pairs: Vec<(&Ident, &Ident, String)> = vec![];
        for function in body.functions.iter().filter(is_public) {
            for method in methods_beside(function) {
                let first = *owners.entry(method.clone()).or_insert(&function.name);
                if *first != function.name {
                    pairs.push((first, &function.name, method));
                }
            }
        }
        let mut reported: Vec<&Ident> = vec![];
        for function in &body.functions {
            let name = function.name.unraw().to_string();
            if matches!(name.as_str(), "new" | "with_options") {
                self.error(&function.name, format!("`{name}` makes the model; give the function another name"));
            } else if is_public(&function) && OF_EVERY_MODEL.contains(&name.as_str()) {
                let message =
                    format!("every model has a method `{name}`, which this would hide; give the function another name");
                self.error(&function.name, message);
            } else if let Some(owner) = owners.get(&name).filter(|_| is_public(&function)) {
                let message =
                    format!("`{owner}` makes a method `{name}` beside its own; give this function another name");
                self.error(&function.name, message);
                reported.extend([*owner, &function.name]);
            }
        }
        for (first, second, method) in pairs.iter().filter(|p| !reported.contains(&p.0) && !reported.contains(&p.1)) {
            let message = format!("`{first}` and `{second}` both make a method `{method}`; give one another name");
            self.error(second, message);
        }
    }

    fn report_duplicates(&mut self, names: impl Iterator<Item = &'a Ident>) {
        let mut seen: Vec<&Ident> = Vec::new();
        for name in names {
            match seen.iter().find(|first| **first == name) {
                Some(first) => {
                    let line = first.span().start().line;
                    // Which of them is meant where the name occurs cannot be told.
                    self.used.extend([std::ptr::from_ref(name), std::ptr::from_ref(*first)]);
                    self.diagnostics.at(name, format!("`{name}` is declared twice; the first is in line {line}"));
                }
                None => seen.push(name),
            }
        }
    }

    /// Names that nothing refers to. Run when everything has been evaluated.
    pub fn report_unused(&mut self, body: &'a Body) {
        let remove = |what: &str, name: &Ident| format!("{what} `{name}` is never used; remove it");
        for constant in &body.consts {
            self.unused(&constant.name, |name| remove("constant", name));
        }
        for dim in &body.dims {
            self.unused(dim, |name| remove("dimension", name));
        }
        for layer in &body.layers {
            self.unused(&layer.name, |name| {
                format!(
                    "layer `{name}` is never called: its parameters would never change the result; call it or remove it"
                )
            });
        }
        for function in &body.functions {
            self.unused(&function.name, |name| {
                format!("function `{name}` is never called; make it `pub` or remove it")
            });
        }
        for block in &body.blocks {
            if !self.used.contains(&(&block.name as *const _)) {
                self.unused(&block.name, |name| remove("block", name));
                continue;
            }
            for param in &block.params {
                self.unused(&param.name, |name| remove("argument", name));
            }
            self.report_unused(&block.body);
        }
    }

    /// Reports a name that nothing refers to, unless it begins with `_`.
    pub fn unused(&mut self, name: &Ident, message: impl FnOnce(&Ident) -> String) {
        if !self.used.contains(&(name as *const _)) && !name.to_string().starts_with('_') {
            self.diagnostics.at(name, message(name));
        }
    }

    /// Names of values in scope, for suggestions.
    pub fn value_names(&self, scope: ScopeId) -> Vec<String> {
        let mut names = Vec::new();
        for id in self.enclosing(scope) {
            let scope = self.scope(id);
            names.extend(scope.args.iter().map(|(ident, _)| ident.to_string()));
            names.extend(scope.body.consts.iter().map(|c| c.name.to_string()));
            names.extend(scope.body.dims.iter().map(Ident::to_string));
        }
        names
    }

    /// Names of layers and functions in scope, for suggestions.
    pub fn callable_names(&self, scope: ScopeId) -> Vec<String> {
        let body = self.scope(scope).body;
        let layers = body.layers.iter().map(|l| l.name.to_string());
        layers.chain(body.functions.iter().map(|f| f.name.to_string())).collect()
    }
}

/// The two sides of `p % q == 0`.
fn divisibility(fact: &Expr) -> Option<(&Expr, &Expr)> {
    let Expr::Binary(equation) = fact else { return None };
    let Expr::Lit(zero) = &*equation.right else { return None };
    let Expr::Binary(rest) = &*equation.left else { return None };
    let is_zero = matches!(&zero.lit, Lit::Int(lit) if lit.base10_digits() == "0");
    let fits = matches!(equation.op, BinOp::Eq(_)) && matches!(rest.op, BinOp::Rem(_)) && is_zero;
    fits.then_some((&*rest.left, &*rest.right))
}

/// The name that an expression consists of.
pub fn lone_ident(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Path(path) => path.path.get_ident(),
        Expr::Paren(paren) => lone_ident(&paren.expr),
        Expr::Group(group) => lone_ident(&group.expr),
        _ => None,
    }
}

/// Whether the tokens are a plain number, which needs no explanation of where it comes from.
pub fn is_plain(expr: &Expr) -> bool {
    expr.to_token_stream().into_iter().nth(1).is_none() && matches!(expr, Expr::Lit(_))
}

/// Methods that users of a model call.
const OF_EVERY_MODEL: [&str; 9] = [
    "compilations",
    "load",
    "load_partial",
    "num_parameters",
    "parameter",
    "parameters",
    "save",
    "set_parameter",
    "summary",
];

/// The names of the methods that a public function makes beside its own.
fn methods_beside(function: &Function) -> Vec<String> {
    let name = function.name.unraw();
    let mut methods = vec![format!("explain_{name}")];
    if function.signature.as_ref().is_some_and(|s| s.results.types().iter().any(|ty| !ty.dims.is_empty())) {
        methods.push(format!("{name}_into"));
    }
    if function.train.is_some() {
        methods.extend(["train_", "grad_", "explain_train_"].map(|prefix| format!("{prefix}{name}")));
    }
    methods
}
