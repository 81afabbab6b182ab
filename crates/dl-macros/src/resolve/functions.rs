//! Functions: their declared types, checking one by itself, and calling one from another.

use dl_ir::nn::Value;
use dl_ir::{DType, Dim, FnKind, Graph, InputKind, Role, Type};
use quote::ToTokens;
use syn::{Expr, ExprCall, Ident};

use super::Resolver;
use super::args::Written;
use super::expr::{Frame, Local, UnknownNames};
use super::scope::{ScopeId, dtype_names, lone_ident};
use super::value::number;
use crate::diag::{did_you_mean, list_names, source_text};
use crate::syntax::{Function, Param, Results, Signature, TypeExpr};

/// What a function computes, and what its layers gave.
pub struct Compiled {
    /// The graph.
    pub graph: Graph,
    /// The result of each call of a layer, by index into the module's layers.
    pub calls: Vec<(u32, Type)>,
}

impl<'a> Resolver<'a, '_> {
    /// The type that a type expression means.
    fn type_of(&mut self, frame: &mut Frame<'a>, ty: &'a TypeExpr) -> Option<Type> {
        let name = ty.dtype.to_string();
        let dtype = DType::from_name(&name);
        if dtype.is_none() {
            let mut hint = did_you_mean(&name, dtype_names());
            if hint.is_empty() {
                let known: Vec<&str> = dtype_names().collect();
                hint = format!("; there are {}", list_names(&known));
            }
            self.error(&ty.dtype, format!("`{name}` is no element type{hint}"));
        }
        let shape = self.shape_of(frame, ty)?;
        if shape.iter().filter_map(Dim::as_const).try_fold(1i64, i64::checked_mul).is_none() {
            self.error(ty.dims.first(), "a tensor of this shape has more elements than fit in 64 bits");
            return None;
        }
        dtype.map(|dtype| Type { dtype, shape })
    }

    /// The dimensions of a type expression.
    fn shape_of(&mut self, frame: &mut Frame<'a>, ty: &'a TypeExpr) -> Option<Vec<Dim>> {
        let mut shape = Vec::with_capacity(ty.dims.len());
        for expr in &ty.dims {
            let size = self.whole(frame, expr);
            let too_small = size.as_ref().and_then(Dim::as_const).filter(|&size| size < 1);
            if let Some(size) = too_small {
                self.error(expr, format!("a dimension is at least 1, but this is {size}"));
            }
            shape.push(size.filter(|_| too_small.is_none()));
        }
        shape.into_iter().collect()
    }

    /// Checks a function by itself, once, and gives its evaluation graph if it is free of errors.
    pub fn check(&mut self, scope: ScopeId, function: &'a Function) -> Option<Compiled> {
        let before = self.diagnostics.len();
        self.checked.insert((scope, function as *const _), false);
        let compiled = self.build(scope, function, FnKind::Eval);
        let fine = self.diagnostics.len() == before && function.signature.is_some();
        self.checked.insert((scope, function as *const _), fine);
        compiled.filter(|_| fine)
    }

    /// Whether a function is free of errors by itself; checks it if that has not been done.
    fn is_sound(&mut self, scope: ScopeId, function: &'a Function) -> bool {
        match self.checked.get(&(scope, function as *const _)) {
            Some(fine) => *fine,
            // What is wrong in one instance of a block has been said; the others would only repeat it.
            None if self.checked.iter().any(|(&(_, f), fine)| std::ptr::eq(f, function) && !fine) => false,
            None => {
                self.check(scope, function);
                self.checked[&(scope, function as *const _)]
            }
        }
    }

    /// Builds the graph of a function on symbolic arguments. The graph under construction is put aside.
    pub fn build(&mut self, scope: ScopeId, function: &'a Function, kind: FnKind) -> Option<Compiled> {
        let signature = function.signature.as_ref()?;
        let outer = std::mem::take(&mut self.builder);
        let outer_calls = std::mem::take(&mut self.calls);
        self.builder.training = kind == FnKind::Train;
        self.builder.graph.facts = self.facts().clone();
        self.stack.push((scope, function));
        let reports_unused = kind == FnKind::Eval && self.complete;
        let mut frame = Frame { reports_unused, ..Frame::fact(scope) };
        for param in &signature.params {
            let value = self.argument(&mut frame, param);
            frame.locals.push(Local { name: &param.name, value, init: None });
        }
        self.check_symbols(&mut frame, signature);
        frame.unknown_names = UnknownNames::Error;
        let value = self.body_value(&mut frame, function);
        let expected: Vec<Option<Type>> =
            signature.results.types().iter().map(|t| self.type_of(&mut frame, t)).collect();
        let results = self.results(&frame, function, value, &expected);
        self.end_of_scope(&mut frame, 0);
        self.stack.pop();
        let mut built = std::mem::replace(&mut self.builder, outer);
        let calls = std::mem::replace(&mut self.calls, outer_calls);
        for node in results.into_iter().flatten() {
            built.output(Role::Result, node);
        }
        Some(Compiled { graph: built.finish(), calls })
    }

    fn argument(&mut self, frame: &mut Frame<'a>, param: &'a Param) -> Option<Value> {
        match self.type_of(frame, &param.ty) {
            Some(ty) => {
                self.set_loc(param.name.span());
                Some(Value::Tensor(self.builder.input(InputKind::Arg, &param.name.to_string(), ty)))
            }
            None => None,
        }
    }

    /// The symbols of the arguments, each of which a call must be able to work out.
    fn check_symbols(&mut self, frame: &mut Frame<'a>, signature: &'a Signature) {
        let mut open = Vec::new();
        for param in &signature.params {
            for expr in &param.ty.dims {
                open.extend(self.whole(frame, expr).map(|dim| (dim, expr)));
            }
        }
        let model_dims = self.module.dims.clone();
        // Any sizes will do: this asks which symbols an equation `size = number` gives away.
        let mut sizes = dl_ir::Bindings::new();
        let mut bound: dl_ir::Bindings = model_dims.iter().map(|d| (d.clone(), 840)).collect();
        for (dim, _) in &open {
            dim.for_each_sym(&mut |s| {
                sizes.insert(s.to_string(), 840);
            });
        }
        loop {
            let before = bound.len();
            for (dim, _) in &open {
                if let Ok(size) = dim.eval(&sizes)
                    && let Some((name, value)) = dim.solve(size, &bound)
                {
                    bound.insert(name, value);
                }
            }
            if bound.len() == before {
                break;
            }
        }
        for (dim, expr) in &open {
            let mut unsolved = None;
            dim.for_each_sym(&mut |s| {
                if !bound.contains_key(s) {
                    unsolved = Some(s.to_string());
                }
            });
            if let Some(symbol) = unsolved {
                let message = format!(
                    "a call cannot work out `{symbol}` from `{dim}`; let some argument have `{symbol}` as a dimension of its own"
                );
                self.error(expr, message);
                bound.insert(symbol, 840);
            }
        }
        frame.symbols = bound
            .into_keys()
            .filter(|name| !model_dims.contains(name))
            .map(|name| (name.clone(), Dim::sym(&name)))
            .collect();
    }

    /// The value of the body of a function.
    fn body_value(&mut self, frame: &mut Frame<'a>, function: &'a Function) -> Option<Value> {
        match self.statements(frame, &function.body) {
            Some(value) => value,
            None => {
                let results = function.signature.as_ref().map(|s| s.results.text()).unwrap_or_default();
                let message = match function.body.last() {
                    Some(syn::Stmt::Expr(_, Some(semi))) => {
                        self.diagnostics.at(semi, format!("`{}` returns {results}: leave out this `;`", function.name));
                        return None;
                    }
                    _ => format!("`{}` returns {results}, but its body ends without a value", function.name),
                };
                self.diagnostics.at_span(function.end, message);
                None
            }
        }
    }

    /// The nodes of the results, after comparing them with what is declared.
    fn results(
        &mut self,
        frame: &Frame<'a>,
        function: &'a Function,
        value: Option<Value>,
        expected: &[Option<Type>],
    ) -> Vec<Option<dl_ir::NodeId>> {
        let tail = match function.body.last() {
            Some(syn::Stmt::Expr(expr, None)) => expr,
            _ => return Vec::new(),
        };
        let is_tuple = function.signature.as_ref().is_some_and(|s| matches!(s.results, Results::Tuple(_)));
        let values = match value {
            None => return Vec::new(),
            Some(Value::List(values)) if is_tuple => values,
            Some(other) => vec![other],
        };
        if values.len() != expected.len() {
            let found = match values.as_slice() {
                [one] => self.described(one),
                many => format!("{} values", many.len()),
            };
            let declared = function.signature.as_ref().map(|s| s.results.text()).unwrap_or_default();
            self.error(tail, format!("`{}` returns {declared}, but this is {found}", function.name));
            return Vec::new();
        }
        let parts = parts_of(tail, values.len());
        values
            .into_iter()
            .zip(expected)
            .zip(parts)
            .map(|((value, expected), part)| self.result(frame, function, value, expected.as_ref()?, part))
            .collect()
    }

    fn result(
        &mut self,
        frame: &Frame<'a>,
        function: &Function,
        value: Value,
        expected: &Type,
        expr: &'a Expr,
    ) -> Option<dl_ir::NodeId> {
        let node = match value {
            Value::Tensor(node) => node,
            other => {
                if let Some(value) = number(&other).filter(|_| expected.rank() == 0) {
                    return Some(self.builder.constant(expected.dtype, value));
                }
                let found = self.described(&other);
                self.error(expr, format!("`{}` returns {}, but this is {found}", function.name, shown(expected)));
                return None;
            }
        };
        let found = self.builder.ty(node).clone();
        if let Some(why) = self.type_difference(expected, &found) {
            let from = self.origin(frame, expr);
            let message = format!(
                "`{}` returns {}, but `{}` is {}{from}: {why}",
                function.name,
                shown(expected),
                source_text(expr),
                shown(&found)
            );
            self.error(expr, message);
            return None;
        }
        Some(node)
    }

    /// How two types differ, in words, or nothing if they are equal under the facts.
    pub fn type_difference(&self, expected: &Type, found: &Type) -> Option<String> {
        if expected.rank() != found.rank() {
            let axes = |n: usize| if n == 1 { "1 axis".to_string() } else { format!("{n} axes") };
            return Some(format!("{} instead of {}", axes(found.rank()), axes(expected.rank())));
        }
        if expected.dtype != found.dtype {
            return Some(format!("the elements are {}; `.to({})` converts them", found.dtype, expected.dtype));
        }
        let facts = self.facts();
        let pairs = expected.shape.iter().zip(&found.shape).enumerate();
        let mut different = pairs.filter(|(_, (a, b))| !facts.equal(a, b));
        let (axis, (a, b)) = different.next()?;
        let fact = match facts.missing(a, b) {
            Some((p, q)) => format!("; they are equal if `require {p} % {q} == 0;` stands in the model"),
            None => String::new(),
        };
        Some(format!("axis {axis} is {b} instead of {a}{fact}"))
    }

    /// Calls a function of the model or of a block: checks the arguments against the declaration, then evaluates the
    /// body on them. `what` names the function in messages.
    pub fn call_function(
        &mut self,
        scope: ScopeId,
        function: &'a Function,
        what: &str,
        args: &[Written<'a>],
        call: &'a dyn ToTokens,
    ) -> Option<Value> {
        if self.stack.iter().any(|&(s, f)| s == scope && std::ptr::eq(f, function)) {
            let message = match self.stack.last() {
                Some((_, caller)) if std::ptr::eq(*caller, function) => {
                    format!("`{what}` calls itself; a model has no recursion")
                }
                _ => {
                    format!("`{what}` is being called already: functions of a model cannot call each other in a circle")
                }
            };
            self.error(call, message);
            return None;
        }
        let sound = self.is_sound(scope, function);
        let signature = function.signature.as_ref()?;
        let (mut frame, fits) = self.bind_arguments(scope, signature, what, args, call);
        if !sound || !fits {
            return self.declared_results(&mut frame, signature);
        }
        self.stack.push((scope, function));
        let loc = self.builder.loc;
        let value = self.body_value(&mut frame, function);
        self.builder.loc = loc;
        self.stack.pop();
        value
    }

    /// The frame of a call: arguments bound to their names and symbols to the caller's dimensions, and whether all fit.
    fn bind_arguments(
        &mut self,
        scope: ScopeId,
        signature: &'a Signature,
        what: &str,
        args: &[Written<'a>],
        call: &'a dyn ToTokens,
    ) -> (Frame<'a>, bool) {
        let mut values: Vec<Option<&Written<'a>>> = vec![None; signature.params.len()];
        let mut fits = true;
        for (i, arg) in args.iter().enumerate() {
            let slot = match arg.name {
                Some(name) => signature.params.iter().position(|p| p.name == *name),
                None => (i < values.len()).then_some(i),
            };
            match slot {
                Some(slot) if values[slot].is_none() => values[slot] = Some(arg),
                Some(slot) => {
                    fits = false;
                    self.error(arg.site, format!("`{}` of `{what}` is given twice", signature.params[slot].name));
                }
                None => {
                    fits = false;
                    let known: Vec<String> = signature.params.iter().map(|p| p.name.to_string()).collect();
                    let message = match arg.name {
                        Some(name) => {
                            let hint = did_you_mean(&name.to_string(), known.iter().map(String::as_str));
                            format!("`{what}` has no argument `{name}`{hint}")
                        }
                        None => format!(
                            "`{what}` takes {} ({}), but {} are given",
                            count(known.len()),
                            known.join(", "),
                            args.len()
                        ),
                    };
                    self.error(arg.site, message);
                }
            }
        }
        let missing: Vec<String> = signature
            .params
            .iter()
            .zip(&values)
            .filter(|(_, v)| v.is_none())
            .map(|(p, _)| p.name.to_string())
            .collect();
        if !missing.is_empty() {
            if fits {
                self.error(call, format!("`{what}` needs {} too", list_names(&missing)));
            }
            fits = false;
        }
        let mut frame = Frame::fact(scope);
        let declared: Vec<Option<Type>> = signature.params.iter().map(|p| self.type_of(&mut frame, &p.ty)).collect();
        for pass in [Solve::Symbols, Solve::Equations] {
            for (value, declared) in values.iter().zip(&declared) {
                if let (Some(Written { value: Some(Value::Tensor(node)), .. }), Some(declared)) = (value, declared) {
                    let found = self.builder.ty(*node).clone();
                    solve_symbols(&mut frame.symbols, declared, &found, pass, &self.module.dims);
                }
            }
        }
        for ((param, value), declared) in signature.params.iter().zip(&values).zip(&declared) {
            let value = match (value, declared) {
                (Some(written), Some(declared)) => {
                    self.bind_argument(&frame, param, written, declared, what, &mut fits)
                }
                _ => {
                    fits = false;
                    None
                }
            };
            frame.locals.push(Local { name: &param.name, value, init: None });
        }
        (frame, fits)
    }

    fn bind_argument(
        &mut self,
        frame: &Frame<'a>,
        param: &Param,
        written: &Written<'a>,
        declared: &Type,
        what: &str,
        fits: &mut bool,
    ) -> Option<Value> {
        let node = match &written.value {
            Some(Value::Tensor(node)) => *node,
            None => {
                *fits = false;
                return None;
            }
            Some(other) => {
                if let Some(value) = number(other).filter(|_| declared.rank() == 0) {
                    return Some(Value::Tensor(self.builder.constant(declared.dtype, value)));
                }
                *fits = false;
                let found = self.described(other);
                return self.error(
                    written.site,
                    format!("`{}` of `{what}` is {}, but this is {found}", param.name, shown(declared)),
                );
            }
        };
        let found = self.builder.ty(node).clone();
        let expected = substitute(declared, &frame.symbols);
        if let Some(why) = self.type_difference(&expected, &found) {
            *fits = false;
            let text = source_text(written.site);
            let message = format!(
                "`{}` of `{what}` is {}, but `{text}` is {}: {why}",
                param.name,
                shown(declared),
                shown(&found)
            );
            return self.error(written.site, message);
        }
        written.value.clone()
    }

    /// Values of the declared result types: what a call in error gives, so that its caller can be checked further.
    fn declared_results(&mut self, frame: &mut Frame<'a>, signature: &'a Signature) -> Option<Value> {
        let types: Vec<Option<Type>> = signature.results.types().iter().map(|t| self.type_of(frame, t)).collect();
        let values = types.into_iter().map(|ty| self.made_up(ty?)).collect::<Option<Vec<Value>>>()?;
        match (&signature.results, values.first()) {
            (Results::One(_), Some(one)) => Some(one.clone()),
            _ => Some(Value::List(values)),
        }
    }

    /// `callee(args)`: a layer, a function of the scope, or a function of the table.
    pub fn call(&mut self, frame: &mut Frame<'a>, expr: &'a Expr, call: &'a ExprCall) -> Option<Value> {
        let args = self.written_args(frame, &call.args);
        if self.names_layer(frame, &call.func) {
            return self.call_layer(frame, &call.func, &args, expr);
        }
        let Some(name) = lone_ident(&call.func) else {
            return self.error(&call.func, "expected the name of a layer or a function");
        };
        if frame.local(name).is_some() {
            self.eval(frame, &call.func);
            return self.error(name, format!("`{name}` is a tensor and cannot be called"));
        }
        if let Some(function) = self.named_function(frame.scope, name) {
            return self.call_function(frame.scope, function, &name.to_string(), &args, expr);
        }
        self.call_builtin(frame, expr, name, &args)
    }

    /// A name that nothing is called by.
    pub fn unknown_callable(
        &mut self,
        scope: ScopeId,
        name: &Ident,
        builtins: impl Iterator<Item = &'static str>,
    ) -> Option<Value> {
        let mut known = self.callable_names(scope);
        known.extend(builtins.map(str::to_string));
        let text = name.to_string();
        let hint = did_you_mean(&text, known.iter().map(String::as_str));
        self.error(name, format!("there is no layer or function `{text}`{hint}"))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Solve {
    /// Dimensions that are a lone symbol.
    Symbols,
    /// Dimensions that are linear in one symbol, such as `2 * T`.
    Equations,
}

/// Binds the symbols of a declared type to what the argument's dimensions say of them.
fn solve_symbols(symbols: &mut Vec<(String, Dim)>, declared: &Type, found: &Type, pass: Solve, model_dims: &[String]) {
    if declared.rank() != found.rank() {
        return;
    }
    for (dim, size) in declared.shape.iter().zip(&found.shape) {
        let mut open: Vec<String> = Vec::new();
        dim.for_each_sym(&mut |s| {
            let known = symbols.iter().any(|(name, _)| name == s) || model_dims.iter().any(|d| d == s);
            if !known && !open.iter().any(|o| o == s) {
                open.push(s.to_string());
            }
        });
        let [symbol] = open.as_slice() else { continue };
        if dim.as_sym().is_some() {
            symbols.push((symbol.clone(), size.clone()));
        } else if pass == Solve::Equations {
            let at = |value: i64| {
                dim.substitute(&|s| match s {
                    s if s == symbol => Some(Dim::from(value)),
                    s => symbols.iter().find(|(name, _)| name == s).map(|(_, d)| d.clone()),
                })
            };
            let (offset, slope) = (at(0), at(1) - at(0));
            if let Ok(value) = (size.clone() - offset).floor_div(&slope) {
                symbols.push((symbol.clone(), value));
            }
        }
    }
}

/// The type with symbols replaced by the caller's dimensions.
fn substitute(ty: &Type, symbols: &[(String, Dim)]) -> Type {
    let with = |s: &str| symbols.iter().find(|(name, _)| name == s).map(|(_, dim)| dim.clone());
    Type { dtype: ty.dtype, shape: ty.shape.iter().map(|d| d.substitute(&with)).collect() }
}

/// A type as users write it: a scalar without brackets.
pub fn shown(ty: &Type) -> String {
    if ty.rank() == 0 { ty.dtype.to_string() } else { ty.to_string() }
}

/// The expressions of the parts of a result: the elements of a tuple, or the whole for each.
fn parts_of(tail: &Expr, count: usize) -> Vec<&Expr> {
    match tail {
        Expr::Tuple(tuple) if tuple.elems.len() == count => tuple.elems.iter().collect(),
        other => vec![other; count],
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 argument".to_string() } else { format!("{n} arguments") }
}
