//! Refusals in the user's terms: what was called, on what, and where that came from.

use dl_ir::NodeId;
use dl_ir::nn::{CallError, Value};
use quote::ToTokens;
use syn::Expr;

use super::Resolver;
use super::args::Written;
use super::expr::Frame;
use super::functions::shown;
use super::scope::lone_ident;
use crate::diag::source_text;

/// A tensor that takes part in a call.
pub struct Operand<'a> {
    /// How the user names it.
    pub text: String,
    /// The expression, if it has one of its own.
    pub expr: Option<&'a Expr>,
    /// Its node.
    pub node: NodeId,
}

impl<'a> Operand<'a> {
    /// An operand that an expression gives.
    pub fn of(expr: &'a Expr, node: NodeId) -> Operand<'a> {
        Operand { text: format!("`{}`", source_text(expr)), expr: Some(expr), node }
    }
}

impl<'a> Resolver<'a, '_> {
    /// The message of a refused call.
    pub fn refusal(&self, frame: &Frame<'a>, error: &CallError, callee: &str, operands: &[Operand<'a>]) -> String {
        let names: Vec<String> = operands.iter().map(|operand| operand.text.clone()).collect();
        let mut message = error.describe(callee, &names).replace("[]", "");
        for (i, name) in names.iter().enumerate() {
            message = message.replace(&format!("operand {i}"), name);
        }
        for operand in concerned(error).iter().filter_map(|&input| operands.get(input)) {
            if let Some(expr) = operand.expr {
                message.push_str(&self.origin(frame, expr));
            }
        }
        message
    }

    /// Where a tensor comes from: the `let` of a name, or the type of what a method was called on.
    pub fn origin(&self, frame: &Frame<'a>, expr: &'a Expr) -> String {
        let inner = match expr {
            Expr::MethodCall(call) => Some(&*call.receiver),
            Expr::Call(call) if call.args.len() == 1 => call.args.first(),
            _ => None,
        };
        if let Some((inner, node)) = inner.and_then(|inner| Some((inner, frame.node_of(inner)?))) {
            return format!("; `{}` is {}", source_text(inner), shown(self.builder.ty(node)));
        }
        let local = lone_ident(expr).and_then(|name| frame.local(name));
        match local.and_then(|local| Some((local.name, local.init?))) {
            Some((name, init)) => format!("; `{name}` is `{}` in line {}", source_text(init), name.span().start().line),
            None => String::new(),
        }
    }
}

/// The operands that an error is about.
pub fn concerned(error: &CallError) -> Vec<usize> {
    match error {
        CallError::Features { input, .. } | CallError::Rank { input, .. } | CallError::DType { input, .. } => {
            vec![*input]
        }
        CallError::Broadcast { left, right } => vec![left.0, right.0],
        CallError::Inputs(_) | CallError::Op(_) => vec![0],
        CallError::Arg(_) | CallError::Given(_) => Vec::new(),
    }
}

/// The tensors in an argument, in order.
pub fn operands_of<'a>(arg: &Written<'a>) -> Vec<Operand<'a>> {
    let Some(expr) = arg.site.expr() else { return Vec::new() };
    match &arg.value {
        Some(Value::Tensor(node)) => vec![Operand::of(expr, *node)],
        Some(Value::List(items)) => {
            let parts: Vec<&Expr> = match expr {
                Expr::Array(array) => array.elems.iter().collect(),
                Expr::Tuple(tuple) => tuple.elems.iter().collect(),
                // A list that a name stands for: every item is told by that name.
                other => vec![other; items.len()],
            };
            let node = |value: &Value| if let Value::Tensor(node) = value { Some(*node) } else { None };
            items.iter().zip(parts).filter_map(|(value, part)| Some(Operand::of(part, node(value)?))).collect()
        }
        _ => Vec::new(),
    }
}

/// Tokens of the part of a method call after the receiver: what an error about the method points at.
pub fn method_tokens(call: &syn::ExprMethodCall) -> impl ToTokens + '_ {
    let mut tokens = call.method.to_token_stream();
    call.paren_token.surround(&mut tokens, |inner| call.args.to_tokens(inner));
    tokens
}
