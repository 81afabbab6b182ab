//! Functions: their declared types, checking one by itself, and calling one from another.

use dl_ir::nn::Value;
use dl_ir::{DType, Dim, FnKind, Graph, InputKind, Role, Type};
use syn::Expr;

use super::Resolver;
use super::expr::{Frame, Local, UnknownNames};
use super::scope::{ScopeId, dtype_names};
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
    pub fn type_of(&mut self, frame: &mut Frame<'a>, ty: &'a TypeExpr) -> Option<Type> {
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
    pub fn is_sound(&mut self, scope: ScopeId, function: &'a Function) -> bool {
        if let Some(fine) = self.checked.get(&(scope, function as *const _)) {
            return *fine;
        }
        let others = self.checked.iter().filter(|&(&(_, f), _)| std::ptr::eq(f, function));
        for (&(other, _), fine) in others {
            // What is wrong in one instance of a block has been said; the others would only repeat it. What is right
            // in one is right in those declared alike.
            let (a, b) = (self.scope(scope), self.scope(other));
            if !fine || (a.parent == b.parent && a.args == b.args) {
                return *fine;
            }
        }
        self.check(scope, function);
        self.checked[&(scope, function as *const _)]
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
            let mut unsolved = Vec::new();
            dim.for_each_sym(&mut |s| {
                if !bound.contains_key(s) {
                    unsolved.push(s.to_string());
                }
            });
            if let Some(symbol) = unsolved.first() {
                let message = format!(
                    "a call cannot work out `{symbol}` from `{dim}`; let some argument have `{symbol}` as a dimension of its own"
                );
                self.error(expr, message);
                bound.extend(unsolved.into_iter().map(|symbol| (symbol, 840)));
            }
        }
        frame.symbols = bound
            .into_keys()
            .filter(|name| !model_dims.contains(name))
            .map(|name| (name.clone(), Dim::sym(&name)))
            .collect();
    }

    /// The value of the body of a function.
    pub fn body_value(&mut self, frame: &mut Frame<'a>, function: &'a Function) -> Option<Value> {
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
                let found = match &other {
                    Value::List(items) if items.len() > 1 => {
                        let names = vec!["_"; items.len() - 1].join(", ");
                        format!("{} values; `let (y, {names}) = ..;` takes the first", items.len())
                    }
                    other => self.described(other),
                };
                self.error(expr, format!("`{}` returns {}, but this is {found}", function.name, shown(expected)));
                return None;
            }
        };
        let found = self.builder.ty(node).clone();
        if let Some(why) = self.type_difference(expected, &found) {
            let from = self.origin(frame, expr);
            let message = format!(
                "`{}` returns {}, but `{}` is {}: {why}{from}",
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
