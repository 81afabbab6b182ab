//! Calls: of functions by functions, and of names that may be layers, functions or entries of the table.

use dl_ir::nn::Value;
use dl_ir::{Dim, Type};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Expr, ExprCall, Ident};

use super::Resolver;
use super::args::Written;
use super::expr::{Frame, Local};
use super::functions::shown;
use super::scope::{ScopeId, lone_ident};
use super::value::number;
use crate::diag::{did_you_mean, list_names, nearest, source_text};
use crate::syntax::{Function, Param, Results, Signature};

impl<'a> Resolver<'a, '_> {
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
        if self.is_scan(frame, call) {
            return self.scan(frame, expr, call);
        }
        let args = match self.takes_parameters(frame, &call.func) {
            true => self.parameter_args(frame, &call.args),
            false => self.written_args(frame, &call.args),
        };
        if self.names_layer(frame, &call.func) {
            self.set_loc(call.func.span());
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
        frame: &Frame<'a>,
        name: &Ident,
        builtins: impl Iterator<Item = &'static str>,
    ) -> Option<Value> {
        let mut known = self.callable_names(frame.scope);
        known.extend(builtins.map(str::to_string));
        let text = name.to_string();
        let mut message = format!("there is no layer or function `{text}`");
        if let Some(meant) = nearest(&text, known.iter().map(String::as_str)) {
            message.push_str(&format!("; did you mean `{meant}`?"));
            self.use_name(frame, meant);
        }
        self.error(name, message)
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

fn count(n: usize) -> String {
    if n == 1 { "1 argument".to_string() } else { format!("{n} arguments") }
}
