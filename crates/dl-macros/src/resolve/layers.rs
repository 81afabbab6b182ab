//! Layers: declaring them with their parameters, calling them, and methods of the table.

use dl_ir::nn::{self, CallError, Layer, LayerDef, Value};
use dl_ir::{LayerDecl, NodeId, Type};
use syn::{Expr, Ident, Member};

use super::Resolver;
use super::args::{Site, Written, given};
use super::explain::Operand;
use super::expr::Frame;
use super::scope::{ScopeId, is_plain, lone_ident};
use crate::diag::{did_you_mean, source_text};
use crate::syntax::{self, Block, BlockParam, LayerArg, LayerCall};

/// A layer of the model, with its arguments evaluated and its parameters declared.
pub enum Instance<'a> {
    /// One of the table.
    Leaf(Box<Leaf<'a>>),
    /// Applied in order.
    Sequence(Vec<InstanceId>),
    /// An instance of a block.
    Block(ScopeId),
    /// In error.
    Unknown,
}

/// A layer of the table.
pub struct Leaf<'a> {
    layer: Layer,
    /// The name that its parameters begin with.
    path: String,
    /// Index into the module's layers.
    index: u32,
    /// Where it is declared.
    call: &'a LayerCall,
}

/// Index of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceId(pub u32);

/// More repetitions than any model has: guards the build against a slip of the pen.
const MOST_REPETITIONS: i64 = 4096;

impl<'a> Resolver<'a, '_> {
    /// Declares a layer under the name `path`.
    pub fn instantiate(&mut self, scope: ScopeId, layer: &'a syntax::Layer, path: String) -> InstanceId {
        match layer {
            syntax::Layer::Call(call) => self.instantiate_call(scope, call, path),
            syntax::Layer::Sequence(bracket, layers) => {
                if layers.is_empty() {
                    self.diagnostics.at_span(bracket.span.join(), "an empty sequence does nothing; list its layers");
                }
                let parts = layers.iter().enumerate();
                let parts: Vec<_> =
                    parts.map(|(i, layer)| self.instantiate(scope, layer, format!("{path}.{i}"))).collect();
                self.push_instance(Instance::Sequence(parts))
            }
            syntax::Layer::Repeat(layer, count) => {
                let Some(times) = self.repetitions(scope, count) else { return self.unknown_instance() };
                let parts: Vec<_> = (0..times).map(|i| self.instantiate(scope, layer, format!("{path}.{i}"))).collect();
                self.push_instance(Instance::Sequence(parts))
            }
        }
    }

    fn repetitions(&mut self, scope: ScopeId, count: &'a Expr) -> Option<i64> {
        let mut frame = Frame::constant(scope);
        let times = self.whole(&mut frame, count)?;
        match times.as_const() {
            Some(times @ 1..=MOST_REPETITIONS) => Some(times),
            Some(times) => {
                self.error(count, format!("a layer is repeated 1 to {MOST_REPETITIONS} times, but this is {times}"));
                None
            }
            None => {
                self.error(
                    count,
                    format!("the number of repetitions must be known at compile time, but this is {times}"),
                );
                None
            }
        }
    }

    fn push_instance(&mut self, instance: Instance<'a>) -> InstanceId {
        self.instances.push(instance);
        InstanceId(self.instances.len() as u32 - 1)
    }

    /// A layer about which nothing is known.
    pub fn unknown_instance(&mut self) -> InstanceId {
        self.push_instance(Instance::Unknown)
    }

    fn instantiate_call(&mut self, scope: ScopeId, call: &'a LayerCall, path: String) -> InstanceId {
        let args = self.layer_args(scope, &call.args);
        let name = call.name.to_string();
        let Some(def) = nn::layer(&name) else {
            if let Some((home, block)) = self.named_block(scope, &call.name) {
                return self.instantiate_block(home, block, call, args, path);
            }
            let mut known: Vec<String> = nn::layers().map(|l| l.name.to_string()).collect();
            for id in self.enclosing(scope) {
                known.extend(self.scope(id).body.blocks.iter().map(|b| b.name.to_string()));
            }
            let hint = did_you_mean(&name, known.iter().map(String::as_str));
            self.error(&call.name, format!("there is no layer `{name}`{hint}"));
            return self.unknown_instance();
        };
        self.instantiate_leaf(def, call, &args, path)
    }

    fn instantiate_leaf(
        &mut self,
        def: &'static LayerDef,
        call: &'a LayerCall,
        args: &[Written<'a>],
        path: String,
    ) -> InstanceId {
        let Some(given) = given(args) else { return self.unknown_instance() };
        let layer = match def.with(&given) {
            Ok(layer) => layer,
            Err(errors) => {
                self.report_arguments(errors, args, call);
                return self.unknown_instance();
            }
        };
        for param in &layer.params {
            let mut param = param.clone();
            param.name = format!("{path}.{}", param.name);
            self.module.params.push(param);
        }
        self.module.layers.push(LayerDecl { name: path.clone(), what: layer.written() });
        let index = self.module.layers.len() as u32 - 1;
        self.push_instance(Instance::Leaf(Box::new(Leaf { layer, path, index, call })))
    }

    fn instantiate_block(
        &mut self,
        home: ScopeId,
        block: &'a Block,
        call: &'a LayerCall,
        args: Vec<Written<'a>>,
        path: String,
    ) -> InstanceId {
        self.used.insert(&block.name);
        if !block.complete {
            return self.unknown_instance();
        }
        if self.enclosing(home).any(|id| std::ptr::eq(self.scope(id).body, &block.body))
            || self.opening.contains(&&block.name)
        {
            self.error(&call.name, format!("block `{}` contains itself", block.name));
            return self.unknown_instance();
        }
        let Some(values) = self.block_arguments(home, block, call, args) else { return self.unknown_instance() };
        let scope = self.push_scope(&block.body, Some(home), format!("{path}."), values);
        self.opening.push(&block.name);
        self.declare_items(scope);
        self.opening.pop();
        self.push_instance(Instance::Block(scope))
    }

    fn block_arguments(
        &mut self,
        home: ScopeId,
        block: &'a Block,
        call: &'a LayerCall,
        args: Vec<Written<'a>>,
    ) -> Option<Vec<(&'a Ident, Option<Value>)>> {
        let names: Vec<String> = block.params.iter().map(|p| p.name.to_string()).collect();
        let mut values: Vec<Option<Option<Value>>> = vec![None; names.len()];
        let before = self.diagnostics.len();
        for (i, arg) in args.into_iter().enumerate() {
            let slot = match arg.name {
                Some(name) => names.iter().position(|n| name == n),
                None => (i < names.len()).then_some(i),
            };
            match (slot, &arg.value) {
                (Some(slot), _) if values[slot].is_some() => {
                    self.error(arg.site, format!("`{}` is given twice", names[slot]));
                }
                (Some(slot), None | Some(Value::Int(_) | Value::Float(_) | Value::Bool(_))) => {
                    values[slot] = Some(arg.value)
                }
                (Some(slot), Some(other)) => {
                    let message = format!(
                        "`{}` of `{}` must be a number, but it is {}",
                        names[slot],
                        block.name,
                        other.describe()
                    );
                    self.error(arg.site, message);
                    values[slot] = Some(None);
                }
                (None, _) => {
                    let message = match arg.name {
                        Some(name) => {
                            let hint = did_you_mean(&name.to_string(), names.iter().map(String::as_str));
                            format!("`{}` has no argument `{name}`{hint}", block.name)
                        }
                        None => format!("one argument too many: it is `{}({})`", block.name, names.join(", ")),
                    };
                    self.error(arg.site, message);
                }
            }
        }
        let mut bound = Vec::with_capacity(names.len());
        for (BlockParam { name, default }, value) in block.params.iter().zip(values) {
            let value = match (value, default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.compile_time(home, default),
                (None, None) => {
                    self.error(call, format!("`{}` needs `{name}`: it is `{0}({})`", block.name, names.join(", ")));
                    None
                }
            };
            bound.push((name, value));
        }
        (self.diagnostics.len() == before).then_some(bound)
    }

    /// Whether an expression begins with the name of a layer, as in `conv1` or `head.0`.
    pub fn names_layer(&mut self, frame: &Frame<'a>, expr: &'a Expr) -> bool {
        match expr {
            Expr::Field(field) => self.names_layer(frame, &field.base),
            other => lone_ident(other)
                .is_some_and(|name| frame.local(name).is_none() && self.named_layer(frame.scope, name).is_some()),
        }
    }

    /// The layer that an expression names: `conv1`, `head.0`, `encoder.attn`.
    pub fn layer_at(&mut self, frame: &Frame<'a>, expr: &'a Expr) -> Option<InstanceId> {
        let Expr::Field(field) = expr else {
            return lone_ident(expr).and_then(|name| self.named_layer(frame.scope, name));
        };
        let base = self.layer_at(frame, &field.base)?;
        match (&self.instances[base.0 as usize], &field.member) {
            (Instance::Sequence(parts), Member::Unnamed(index)) => {
                let found = parts.get(index.index as usize).copied();
                let count = parts.len();
                if found.is_none() {
                    self.error(
                        index,
                        format!("`{}` has {count} layers, 0 to {}", source_text(&field.base), count.max(1) - 1),
                    );
                }
                found
            }
            (Instance::Block(scope), Member::Named(name)) => {
                let scope = *scope;
                let found = self.named_layer(scope, name);
                if found.is_none() {
                    let known = self.callable_names(scope);
                    let hint = did_you_mean(&name.to_string(), known.iter().map(String::as_str));
                    self.error(name, format!("`{}` has no layer `{name}`{hint}", source_text(&field.base)));
                }
                found
            }
            (Instance::Unknown, _) => None,
            _ => {
                self.error(expr, format!("`{}` has no layers within", source_text(&field.base)));
                None
            }
        }
    }

    /// Calls the layer that `callee` names.
    pub fn call_layer(
        &mut self,
        frame: &Frame<'a>,
        callee: &'a Expr,
        args: &[Written<'a>],
        expr: &'a Expr,
    ) -> Option<Value> {
        let instance = self.layer_at(frame, callee)?;
        self.apply(frame, instance, &source_text(callee), args, expr)
    }

    fn apply(
        &mut self,
        frame: &Frame<'a>,
        instance: InstanceId,
        what: &str,
        args: &[Written<'a>],
        expr: &'a Expr,
    ) -> Option<Value> {
        if let Instance::Block(scope) = self.instances[instance.0 as usize] {
            return self.call_block(scope, what, args, expr);
        }
        let [Written { name: None, value, site: Site::One(input) }] = args else {
            return self.error(expr, format!("`{what}` takes one tensor: `{what}(x)`"));
        };
        let node = match value.as_ref()? {
            Value::Tensor(node) => *node,
            other => {
                let found = self.described(other);
                return self.error(input, format!("`{what}` takes a tensor, but this is {found}"));
            }
        };
        let operand = Operand::of(input, node);
        self.apply_to(frame, instance, operand, expr).map(|operand| Value::Tensor(operand.node))
    }

    /// Calls a layer that takes one tensor.
    fn apply_to(
        &mut self,
        frame: &Frame<'a>,
        instance: InstanceId,
        operand: Operand<'a>,
        expr: &'a Expr,
    ) -> Option<Operand<'a>> {
        match &self.instances[instance.0 as usize] {
            Instance::Unknown => None,
            Instance::Leaf(_) => self.apply_leaf(frame, instance, operand),
            Instance::Sequence(parts) => {
                let mut operand = operand;
                for part in parts.clone() {
                    operand = self.apply_to(frame, part, operand, expr)?;
                }
                Some(operand)
            }
            Instance::Block(scope) => {
                let scope = *scope;
                let path = self.scope(scope).prefix.trim_end_matches('.').to_string();
                let site = Site::One(operand.expr.unwrap_or(expr));
                let args = [Written { name: None, value: Some(Value::Tensor(operand.node)), site }];
                match self.call_block(scope, &path, &args, expr)? {
                    Value::Tensor(node) => Some(Operand { text: format!("the result of `{path}`"), expr: None, node }),
                    other => {
                        let found = self.described(&other);
                        self.error(expr, format!("`{path}` gives {found}, which the next layer cannot take"));
                        None
                    }
                }
            }
        }
    }

    fn apply_leaf(&mut self, frame: &Frame<'a>, instance: InstanceId, operand: Operand<'a>) -> Option<Operand<'a>> {
        let Instance::Leaf(leaf) = &self.instances[instance.0 as usize] else { return None };
        let (path, index, call) = (leaf.path.clone(), leaf.index, leaf.call);
        let node = match leaf.layer.call(&mut self.builder, &path, &[operand.node]) {
            Ok(node) => node,
            Err(error) => {
                let mended = mended_input(&error, self.builder.ty(operand.node));
                let callee = format!("`{path}` ({})", call.name);
                let mut message = self.refusal(frame, &error, &callee, std::slice::from_ref(&operand));
                message.push_str(&declared_sizes(&error, call));
                match (operand.expr, error) {
                    (_, CallError::Arg(error)) => {
                        // The argument stands in the declaration.
                        let site = error.at.and_then(|at| call.args.get(at));
                        match site {
                            Some(LayerArg::Positional(e) | LayerArg::Named(_, e)) => self.error(e, message),
                            _ => self.error(call, message),
                        };
                    }
                    (Some(expr), _) => {
                        self.error(expr, message);
                    }
                    (None, _) => {
                        self.error(call, message);
                    }
                }
                self.apply_mended(instance, mended)?
            }
        };
        self.calls.push((index, self.builder.ty(node).clone()));
        Some(Operand { text: format!("the result of `{path}`"), expr: None, node })
    }

    /// After an error: the result that the layer gives on the operand that it asks for.
    fn apply_mended(&mut self, instance: InstanceId, inputs: Vec<Type>) -> Option<NodeId> {
        for ty in inputs {
            let Some(Value::Tensor(input)) = self.made_up(ty) else { continue };
            let Instance::Leaf(leaf) = &self.instances[instance.0 as usize] else { return None };
            if let Ok(node) = leaf.layer.call(&mut self.builder, &leaf.path, &[input]) {
                return Some(node);
            }
        }
        None
    }

    fn call_block(&mut self, scope: ScopeId, what: &str, args: &[Written<'a>], expr: &'a Expr) -> Option<Value> {
        let body = self.scope(scope).body;
        match body.functions.iter().find(|f| f.name == "forward") {
            Some(forward) => {
                self.used.insert(&forward.name);
                self.call_function(scope, forward, what, args, expr)
            }
            None => self.error(expr, format!("`{what}` cannot be called: its block has no `fn forward`")),
        }
    }
}

/// What the layer would have taken in place of what it was given.
fn mended_input(error: &CallError, found: &Type) -> Vec<Type> {
    let CallError::Features { expected, .. } = error else { return Vec::new() };
    let with_axis = |axis: usize| {
        let mut ty = found.clone();
        ty.shape[axis] = expected.clone();
        ty
    };
    (0..found.rank()).rev().map(with_axis).collect()
}

/// How the declared size was computed, where the declaration has a formula.
fn declared_sizes(error: &CallError, call: &LayerCall) -> String {
    let CallError::Features { expected, .. } = error else { return String::new() };
    let formula = call.args.iter().find_map(|arg| match arg {
        LayerArg::Map(from, _) | LayerArg::Positional(from) if !is_plain(from) => Some(from),
        _ => None,
    });
    match formula.map(source_text) {
        Some(text) if text != expected.to_string() => format!("; {expected} is `{text}`"),
        _ => String::new(),
    }
}
