//! Layers: declaring them with their parameters, calling them, and methods of the table.

use dl_ir::nn::{self, CallError, Given, Layer, LayerDef, Passes, Value};
use dl_ir::{DType, LayerDecl};
use syn::{Expr, Ident, Member};

use super::args::{Site, Written, given};
use super::explain::{Operand, concerned, operands_of};
use super::expr::Frame;
use super::scope::{ScopeId, is_plain, lone_ident};
use super::{MODEL, Resolver};
use crate::diag::{did_you_mean, list_names, source_text};
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

/// How to use a layer that does not fit into a sequence.
const BY_ITSELF: &str = "declare it with a `let` of its own and call it by itself";

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
            let hint = match nn::of_torch(&name) {
                Some(ours) => format!("; did you mean `{ours}`?"),
                None => did_you_mean(&name, known.iter().map(String::as_str)),
            };
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
        let dtype = self.scope(MODEL).body.dtype.as_ref().and_then(|name| DType::from_name(&name.to_string()));
        let layer = layer.of_dtype(dtype.unwrap_or(DType::F32));
        for param in &layer.params {
            let mut param = param.clone();
            // A lone parameter is called like its layer.
            param.name = if param.name.is_empty() { path.clone() } else { format!("{path}.{}", param.name) };
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

    /// What stands between the parentheses of a call, for messages: nothing where the layer takes nothing.
    pub fn operand_of(&self, instance: InstanceId) -> &'static str {
        match &self.instances[instance.0 as usize] {
            Instance::Leaf(leaf) if leaf.layer.def.takes.is_empty() => "",
            _ => "x",
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
        match &self.instances[instance.0 as usize] {
            Instance::Unknown => None,
            Instance::Block(scope) => {
                let scope = *scope;
                self.call_block(scope, what, args, expr)
            }
            Instance::Leaf(_) => {
                let operands: Vec<Operand<'a>> = args.iter().flat_map(operands_of).collect();
                self.apply_leaf(frame, instance, what, args, &operands, expr)
            }
            Instance::Sequence(_) => {
                let [Written { name: None, value, site: Site::One(input) }] = args else {
                    let message = format!("`{what}` is a sequence, which takes one tensor: `{what}(x)`");
                    return self.error(expr, message);
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
        }
    }

    /// Calls a layer of a sequence: on one tensor, of which it makes one.
    fn apply_to(
        &mut self,
        frame: &Frame<'a>,
        instance: InstanceId,
        operand: Operand<'a>,
        expr: &'a Expr,
    ) -> Option<Operand<'a>> {
        let site = Site::One(operand.expr.unwrap_or(expr));
        let args = [Written { name: None, value: Some(Value::Tensor(operand.node)), site }];
        let (path, value, passes, call) = match &self.instances[instance.0 as usize] {
            Instance::Unknown => return None,
            Instance::Sequence(parts) => {
                let mut operand = operand;
                for part in parts.clone() {
                    operand = self.apply_to(frame, part, operand, expr)?;
                }
                return Some(operand);
            }
            Instance::Leaf(leaf) => {
                let (path, passes, call) = (leaf.path.clone(), leaf.layer.def.passes, leaf.call);
                let needed = leaf.layer.def.takes.iter().filter(|param| param.default == nn::Default::Required);
                let needed: Vec<String> = needed.map(|param| param.name.to_string()).collect();
                if needed.len() > 1 {
                    let message = format!(
                        "`{path}` ({}) takes {}, and a sequence passes on one tensor; {BY_ITSELF}",
                        call.name,
                        list_names(&needed)
                    );
                    self.error(call, message);
                    return None;
                }
                (path.clone(), self.apply_leaf(frame, instance, &path, &args, &[operand], expr)?, passes, Some(call))
            }
            Instance::Block(scope) => {
                let scope = *scope;
                let path = self.scope(scope).prefix.trim_end_matches('.').to_string();
                (path.clone(), self.call_block(scope, &path, &args, expr)?, Passes::One, None)
            }
        };
        let passed = match (value, passes) {
            (Value::List(results), Passes::First) => results.into_iter().next()?,
            (value, _) => value,
        };
        match (passed, call) {
            (Value::Tensor(node), _) => {
                return Some(Operand { text: format!("the result of `{path}`"), expr: None, node });
            }
            (other, Some(call)) => {
                let found = self.described(&other);
                let message =
                    format!("`{path}` ({}) gives {found}, and a sequence passes on one tensor; {BY_ITSELF}", call.name);
                self.error(call, message);
            }
            (other, None) => {
                let found = self.described(&other);
                self.error(expr, format!("`{path}` gives {found}, which the next layer cannot take"));
            }
        }
        None
    }

    /// Calls a layer of the table. `operands` are the tensors in `args`, in order.
    fn apply_leaf(
        &mut self,
        frame: &Frame<'a>,
        instance: InstanceId,
        what: &str,
        args: &[Written<'a>],
        operands: &[Operand<'a>],
        expr: &'a Expr,
    ) -> Option<Value> {
        let given = given(args)?;
        let Instance::Leaf(leaf) = &self.instances[instance.0 as usize] else { return None };
        let (path, index, call) = (leaf.path.clone(), leaf.index, leaf.call);
        let bound = match leaf.layer.bind(what, &given) {
            Ok(bound) => bound,
            Err(errors) => return self.report_arguments(errors, args, expr),
        };
        let value = match leaf.layer.call(&mut self.builder, &path, &bound) {
            Ok(value) => value,
            Err(CallError::Given(error)) => return self.report_arguments(vec![error], args, expr),
            Err(error) => {
                let callee = format!("`{path}` ({})", call.name);
                let mut message = self.refusal(frame, &error, &callee, operands);
                message.push_str(&declared_sizes(&error, call));
                let about = concerned(&error).first().and_then(|&input| operands.get(input)).and_then(|o| o.expr);
                match (&error, about) {
                    (CallError::Arg(error), _) => {
                        // The argument stands in the declaration.
                        let site = error.at.and_then(|at| call.args.get(at));
                        match site {
                            Some(LayerArg::Positional(e) | LayerArg::Named(_, e)) => self.error(e, message),
                            _ => self.error(call, message),
                        }
                    }
                    (_, Some(about)) => self.error(about, message),
                    (_, None) => self.error(call, message),
                };
                self.apply_mended(instance, &error, given)?
            }
        };
        let first = match &value {
            Value::List(results) => results.first(),
            one => Some(one),
        };
        if let Some(Value::Tensor(node)) = first {
            self.calls.push((index, self.builder.ty(*node).clone()));
        }
        Some(value)
    }

    /// After an error: the result that the layer gives on the operand that it asks for.
    fn apply_mended(&mut self, instance: InstanceId, error: &CallError, mut given: Vec<Given>) -> Option<Value> {
        let CallError::Features { input, expected, found, .. } = error else { return None };
        let slot = given.iter().enumerate().filter(|(_, g)| matches!(g.value, Value::Tensor(_))).nth(*input)?.0;
        for axis in (0..found.rank()).rev() {
            let mut ty = found.clone();
            ty.shape[axis] = expected.clone();
            given[slot].value = self.made_up(ty)?;
            let Instance::Leaf(leaf) = &self.instances[instance.0 as usize] else { return None };
            let bound = leaf.layer.bind(&leaf.path, &given).ok()?;
            if let Ok(value) = leaf.layer.call(&mut self.builder, &leaf.path, &bound) {
                return Some(value);
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
