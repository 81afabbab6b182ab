//! Methods, functions and operators of the table, and functions of blocks.

use dl_ir::nn::{self, CallError, MethodDef, Value};
use quote::ToTokens;
use syn::{Expr, ExprMethodCall, Ident};

use super::Resolver;
use super::args::{Site, Written, given};
use super::explain::{Operand, method_tokens, operands_of};
use super::expr::Frame;
use super::layers::Instance;
use super::scope::lone_ident;
use crate::diag::{did_you_mean, source_text};

impl<'a> Resolver<'a, '_> {
    /// `receiver.method(args)`: a function of a block, a method of the table, or one of a number.
    pub fn method_call(&mut self, frame: &mut Frame<'a>, expr: &'a Expr, call: &'a ExprMethodCall) -> Option<Value> {
        let args = if self.names_layer(frame, &call.receiver) {
            let args = self.written_args(frame, &call.args);
            return self.block_method(frame, expr, call, &args);
        } else {
            if let Some(callee) = self.called_on_self(frame, call) {
                let message = format!("layers and functions are called without `self`: `{callee}(..)`");
                return self.error(&call.receiver, message);
            }
            let receiver = self.eval(frame, &call.receiver);
            let mut args = vec![Written { name: None, value: receiver, site: Site::One(&call.receiver) }];
            args.extend(self.written_args(frame, &call.args));
            args
        };
        if let Some(value @ (Value::Int(_) | Value::Float(_))) = &args[0].value
            && args.iter().all(|arg| matches!(arg.value, Some(Value::Int(_) | Value::Float(_))))
        {
            return self.number_method(value, call, &args[1..]);
        }
        let name = call.method.to_string();
        let Some(def) = nn::method(&name) else {
            let known: Vec<&str> = nn::methods().filter(|m| m.is_method()).map(|m| m.name).collect();
            let mut hint = did_you_mean(&name, known);
            if hint.is_empty() && self.callable_names(frame.scope).contains(&name) {
                hint = format!("; layers and functions are called as `{name}({})`", source_text(&call.receiver));
                self.use_name(frame, &name);
            }
            return self.error(&call.method, format!("tensors have no method `{name}`{hint}"));
        };
        self.set_loc(call.method.span());
        self.call_table(frame, def, &format!("`{name}`"), &args, method_tokens(call))
    }

    /// What `self.name(..)` or `self.name.forward(..)` means to call, which counts as used.
    fn called_on_self(&mut self, frame: &mut Frame<'a>, call: &'a ExprMethodCall) -> Option<String> {
        let (on, name) = match &*call.receiver {
            Expr::Field(field) => (&*field.base, source_text(&field.member)),
            other => (other, call.method.to_string()),
        };
        let known =
            lone_ident(on).is_some_and(|word| word == "self") && self.callable_names(frame.scope).contains(&name);
        if known {
            self.use_name(frame, &name);
            // Mistakes in the arguments are told all the same, and the names in them are used.
            self.written_args(frame, &call.args);
        }
        known.then_some(name)
    }

    fn block_method(
        &mut self,
        frame: &Frame<'a>,
        expr: &'a Expr,
        call: &'a ExprMethodCall,
        args: &[Written<'a>],
    ) -> Option<Value> {
        let instance = self.layer_at(frame, &call.receiver)?;
        let layer = source_text(&call.receiver);
        match self.instances[instance.0 as usize] {
            Instance::Block(scope) => match self.named_function(scope, &call.method) {
                Some(function) => self.call_function(scope, function, &format!("{layer}.{}", call.method), args, expr),
                None => {
                    let known: Vec<String> =
                        self.scope(scope).body.functions.iter().map(|f| f.name.to_string()).collect();
                    let hint = did_you_mean(&call.method.to_string(), known.iter().map(String::as_str));
                    self.error(&call.method, format!("the block of `{layer}` has no function `{}`{hint}", call.method))
                }
            },
            Instance::Unknown => None,
            _ => {
                let called = format!("{layer}({})", self.operand_of(instance));
                match call.method == "forward" {
                    true => {
                        let message = format!("`{layer}` is a layer, called by its name: write `{called}`");
                        self.error(&call.method, message)
                    }
                    false => {
                        let message = format!("`{layer}` is a layer: call it first, `{called}.{}(..)`", call.method);
                        self.error(&call.receiver, message)
                    }
                }
            }
        }
    }

    /// A function of the table called by its name.
    pub fn call_builtin(
        &mut self,
        frame: &Frame<'a>,
        expr: &'a Expr,
        name: &Ident,
        args: &[Written<'a>],
    ) -> Option<Value> {
        let Some(def) = nn::method(&name.to_string()) else {
            if nn::layer(&name.to_string()).is_some() || self.named_block(frame.scope, name).is_some() {
                let message = format!(
                    "`{name}` is a kind of layer: declare it in the model, `let layer = {name}(..);`, and call `layer(x)`"
                );
                return self.error(name, message);
            }
            return self.unknown_callable(frame, name, nn::methods().map(|m| m.name).chain(["scan"]));
        };
        self.set_loc(name.span());
        self.call_table(frame, def, &format!("`{name}`"), args, expr)
    }

    /// An operator, which stands for a method of the table.
    pub fn call_operator(
        &mut self,
        frame: &Frame<'a>,
        name: &str,
        text: &str,
        args: &[Written<'a>],
        expr: &'a Expr,
    ) -> Option<Value> {
        let def = nn::method(name)?;
        self.call_table(frame, def, text, args, expr)
    }

    /// Calls a method of the table. `callee` names it in messages, which point at `tokens`.
    fn call_table(
        &mut self,
        frame: &Frame<'a>,
        def: &'static MethodDef,
        callee: &str,
        args: &[Written<'a>],
        tokens: impl ToTokens,
    ) -> Option<Value> {
        let given = given(args)?;
        let bound = match def.bind(&given) {
            Ok(bound) => bound,
            Err(errors) => return self.report_arguments(errors, args, tokens),
        };
        match def.build(&mut self.builder, &bound) {
            Ok(value) => Some(value),
            Err(CallError::Arg(error)) => self.report_arguments(vec![error], args, tokens),
            Err(error) => {
                let operands: Vec<Operand<'a>> = args.iter().flat_map(operands_of).collect();
                let message = self.refusal(frame, &error, callee, &operands);
                self.error(tokens, message)
            }
        }
    }
}
