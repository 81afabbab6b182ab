//! Layers as arguments of functions of the table that take parameters: `l2_penalty(conv1, head.0.weight)`.

use dl_ir::InputKind;
use dl_ir::nn::{self, Kind, Value};
use syn::punctuated::Punctuated;
use syn::{Expr, Token};

use super::Resolver;
use super::args::{Site, Written};
use super::expr::Frame;
use super::scope::lone_ident;
use super::train::is_within;
use crate::diag::{did_you_mean, nearest, source_text};

impl<'a> Resolver<'a, '_> {
    /// Whether an expression that is called means a function of the table that takes parameters.
    pub fn takes_parameters(&mut self, frame: &Frame<'a>, callee: &'a Expr) -> bool {
        let Some(name) = lone_ident(callee) else { return false };
        let def = nn::method(&name.to_string());
        let takes = def.and_then(|d| d.params.first()).is_some_and(|p| p.kind == Kind::Parameters);
        takes && self.named_function(frame.scope, name).is_none() && frame.local(name).is_none()
    }

    /// The arguments of such a function: a layer stands for all of its parameters, each an argument by itself.
    pub fn parameter_args(&mut self, frame: &mut Frame<'a>, args: &'a Punctuated<Expr, Token![,]>) -> Vec<Written<'a>> {
        let mut written = Vec::with_capacity(args.len());
        for expr in args {
            let site = Site::One(expr);
            if !self.names_layer(frame, expr) {
                let value = if self.misspells_layer(frame, expr) { None } else { self.eval(frame, expr) };
                written.push(Written { name: None, value, site });
                continue;
            }
            match self.parameters_at(frame, expr) {
                Some(values) => {
                    written.extend(values.into_iter().map(|value| Written { name: None, value: Some(value), site }));
                }
                None => written.push(Written { name: None, value: None, site }),
            }
        }
        written
    }

    /// The trained parameters of the layer that an expression names, or the one that it names itself.
    fn parameters_at(&mut self, frame: &Frame<'a>, expr: &'a Expr) -> Option<Vec<Value>> {
        let text: String = source_text(expr).split_whitespace().collect();
        let path = format!("{}{text}", self.scope(frame.scope).prefix);
        let own = |name: &str, path: &str| name == path || is_within(name, path);
        let found: Vec<_> = self.module.params.iter().filter(|p| p.trainable && own(&p.name, &path)).cloned().collect();
        match expr {
            Expr::Field(field) if found.iter().any(|p| p.name == path) => _ = self.layer_at(frame, &field.base),
            Expr::Field(field) if found.is_empty() && self.is_leaf(&path) => {
                let base = path.rsplit_once('.').map_or("", |(base, _)| base).to_string();
                self.layer_at(frame, &field.base);
                let names = self.module.params.iter().filter(|p| p.trainable && is_within(&p.name, &base));
                let names: Vec<String> = names.map(|p| p.name[base.len() + 1..].to_string()).collect();
                let wanted = source_text(&field.member);
                let hint = did_you_mean(&wanted, names.iter().map(String::as_str));
                self.error(expr, format!("`{}` has no parameter `{wanted}`{hint}", source_text(&field.base)));
                return None;
            }
            _ => _ = self.layer_at(frame, expr)?,
        }
        if found.is_empty() {
            self.error(expr, format!("`{text}` has no parameters"));
            return None;
        }
        let builder = &mut self.builder;
        Some(found.into_iter().map(|p| Value::Tensor(builder.input(InputKind::Param, &p.name, p.ty))).collect())
    }

    /// Reports a name that is nearly that of a layer and nothing else.
    fn misspells_layer(&mut self, frame: &Frame<'a>, expr: &'a Expr) -> bool {
        let mut root = expr;
        while let Expr::Field(field) = root {
            root = &field.base;
        }
        let Some(name) = lone_ident(root).filter(|name| frame.local(name).is_none()) else { return false };
        let text = name.to_string();
        let known: Vec<String> = self.scope(frame.scope).layers.iter().map(|(layer, _)| layer.to_string()).collect();
        let Some(meant) = nearest(&text, known.iter().map(String::as_str)) else { return false };
        self.use_name(frame, meant);
        self.error(name, format!("there is no layer `{text}`; did you mean `{meant}`?"));
        true
    }

    /// Whether what a path without its last name says is a layer of the table.
    fn is_leaf(&self, path: &str) -> bool {
        path.rsplit_once('.').is_some_and(|(base, _)| self.module.layers.iter().any(|l| l.name == base))
    }
}
