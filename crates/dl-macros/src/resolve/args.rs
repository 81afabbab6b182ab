//! Arguments as written, and errors about them at their tokens.

use dl_ir::nn::{ArgError, Given, Value};
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, Token};

use super::Resolver;
use super::expr::Frame;
use super::scope::{ScopeId, lone_ident};
use crate::syntax::LayerArg;

/// One argument: its name, value and tokens.
pub struct Written<'a> {
    /// The name, if it was given by name.
    pub name: Option<&'a Ident>,
    /// The value; absent after an error.
    pub value: Option<Value>,
    /// Where it stands.
    pub site: Site<'a>,
}

/// The tokens of an argument.
#[derive(Clone, Copy)]
pub enum Site<'a> {
    /// An expression.
    One(&'a Expr),
    /// Two sides of a `=>`.
    Map(&'a Expr, &'a Expr),
    /// A name and its value.
    Named(&'a Ident, &'a Expr),
}

impl<'a> Site<'a> {
    /// The expression of the value, if it is one.
    pub fn expr(self) -> Option<&'a Expr> {
        match self {
            Site::One(expr) | Site::Named(_, expr) => Some(expr),
            Site::Map(..) => None,
        }
    }
}

impl ToTokens for Site<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Site::One(expr) => expr.to_tokens(tokens),
            Site::Map(from, to) => {
                from.to_tokens(tokens);
                <Token![=>]>::default().to_tokens(tokens);
                to.to_tokens(tokens);
            }
            Site::Named(name, value) => {
                name.to_tokens(tokens);
                <Token![=]>::default().to_tokens(tokens);
                value.to_tokens(tokens);
            }
        }
    }
}

impl<'a> Resolver<'a, '_> {
    /// Evaluates the arguments of a call; `name = value` gives one by name.
    pub fn written_args(&mut self, frame: &mut Frame<'a>, args: &'a Punctuated<Expr, Token![,]>) -> Vec<Written<'a>> {
        let mut written = Vec::with_capacity(args.len());
        for arg in args {
            let (name, expr) = match arg {
                Expr::Assign(assign) if lone_ident(&assign.left).is_some() => {
                    (lone_ident(&assign.left), &*assign.right)
                }
                other => (None, other),
            };
            written.push(Written { name, value: self.eval(frame, expr), site: Site::One(expr) });
        }
        self.check_order(&written);
        written
    }

    /// Evaluates the arguments of a layer.
    pub fn layer_args(&mut self, scope: ScopeId, args: &'a [LayerArg]) -> Vec<Written<'a>> {
        let mut frame = Frame::constant(scope);
        let mut written = Vec::with_capacity(args.len());
        for arg in args {
            written.push(match arg {
                LayerArg::Positional(expr) => {
                    Written { name: None, value: self.eval(&mut frame, expr), site: Site::One(expr) }
                }
                LayerArg::Named(name, expr) => {
                    Written { name: Some(name), value: self.eval(&mut frame, expr), site: Site::Named(name, expr) }
                }
                LayerArg::Map(from, to) => {
                    let (a, b) = (self.whole(&mut frame, from), self.whole(&mut frame, to));
                    let value = a.zip(b).map(|(a, b)| Value::Map(a, b));
                    Written { name: None, value, site: Site::Map(from, to) }
                }
            });
        }
        self.check_order(&written);
        written
    }

    fn check_order(&mut self, written: &[Written<'a>]) {
        let first_named = written.iter().position(|arg| arg.name.is_some()).unwrap_or(written.len());
        if let Some(late) = written[first_named..].iter().find(|arg| arg.name.is_none()) {
            self.error(late.site, "arguments by position stand before those by name");
        }
    }

    /// Reports errors about arguments, each at the argument or, if something is missing, at the call.
    pub fn report_arguments(
        &mut self,
        errors: Vec<ArgError>,
        args: &[Written<'a>],
        call: impl ToTokens,
    ) -> Option<Value> {
        for error in errors {
            let Some(arg) = error.at.and_then(|at| args.get(at)) else {
                self.error(&call, error.message);
                continue;
            };
            let text = match (&arg.value, error.within) {
                (Some(Value::Str(text)), Some(within)) => text.get(within).filter(|part| !error.message.contains(part)),
                _ => None,
            };
            match text {
                Some(part) => self.error(arg.site, format!("{}, at `{part}`", error.message)),
                None => self.error(arg.site, error.message),
            };
        }
        None
    }
}

/// The arguments for a definition of the table, unless one of them is in error.
pub fn given(args: &[Written<'_>]) -> Option<Vec<Given>> {
    let one = |arg: &Written<'_>| Some(Given { name: arg.name.map(Ident::to_string), value: arg.value.clone()? });
    args.iter().map(one).collect()
}
