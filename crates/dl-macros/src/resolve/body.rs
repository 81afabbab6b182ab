//! Statements: `let` with names and tuples, blocks, and the value of a body.

use dl_ir::nn::Value;
use syn::{Expr, Pat, Stmt};

use super::Resolver;
use super::expr::{Frame, Local};
use crate::diag::source_text;

impl<'a> Resolver<'a, '_> {
    /// The value of `{ ... }` within a body: its names end with it.
    pub fn block(&mut self, frame: &mut Frame<'a>, block: &'a syn::Block) -> Option<Value> {
        let outer = frame.locals.len();
        let value = self.statements(frame, &block.stmts);
        self.end_of_scope(frame, outer);
        match value {
            Some(value) => value,
            None => self.error(block, "this block has no value; its last expression must stand without `;`"),
        }
    }

    /// Runs statements; the outer option says whether there is a last expression without `;`, whose value it is.
    pub fn statements(&mut self, frame: &mut Frame<'a>, statements: &'a [Stmt]) -> Option<Option<Value>> {
        let mut result = None;
        for (i, statement) in statements.iter().enumerate() {
            let last = i + 1 == statements.len();
            match statement {
                Stmt::Local(local) => self.local(frame, local),
                Stmt::Expr(expr, None) if last => result = Some(self.eval(frame, expr)),
                Stmt::Expr(expr, _) => {
                    let value = self.eval(frame, expr);
                    if value.is_some() && !last {
                        self.error(expr, "the value of this expression is not used; bind it with `let` or remove it");
                    } else if value.is_none() && last {
                        // What is wrong with it has been said.
                        result = Some(None);
                    }
                }
                Stmt::Item(item) => {
                    self.error(item, "items stand in the model, beside its functions");
                }
                Stmt::Macro(mac) => {
                    self.error(mac, "macros are not expanded within a model");
                }
            }
        }
        result
    }

    fn local(&mut self, frame: &mut Frame<'a>, local: &'a syn::Local) {
        let value = match &local.init {
            Some(init) => {
                if let Some((token, _)) = &init.diverge {
                    self.error(token, "`let ... else` has no meaning in a model");
                }
                self.eval(frame, &init.expr)
            }
            None => self.error(local, format!("`{}` gets no value; write `let {0} = ...;`", source_text(&local.pat))),
        };
        let init = local.init.as_ref().map(|init| &*init.expr);
        self.bind(frame, &local.pat, value, init);
    }

    /// Binds the names of a pattern.
    pub fn bind(&mut self, frame: &mut Frame<'a>, pattern: &'a Pat, value: Option<Value>, init: Option<&'a Expr>) {
        match pattern {
            Pat::Ident(ident) if ident.subpat.is_none() => {
                if let Some(word) = &ident.mutability {
                    self.error(word, "tensors never change; bind the new value with another `let`");
                }
                frame.locals.push(Local { name: &ident.ident, value, init });
            }
            Pat::Wild(_) => {}
            Pat::Paren(paren) => self.bind(frame, &paren.pat, value, init),
            Pat::Tuple(tuple) => {
                let values = match value {
                    Some(Value::List(values)) if values.len() == tuple.elems.len() => {
                        values.into_iter().map(Some).collect()
                    }
                    None => vec![None; tuple.elems.len()],
                    Some(other) => {
                        let found = match &other {
                            Value::List(values) => format!("{} values", values.len()),
                            other => self.described(other),
                        };
                        self.error(tuple, format!("{} names, but the value is {found}", tuple.elems.len()));
                        vec![None; tuple.elems.len()]
                    }
                };
                for (element, value) in tuple.elems.iter().zip(values) {
                    self.bind(frame, element, value, init);
                }
            }
            Pat::Type(typed) => {
                self.error(&typed.ty, "a name takes the type of its value; leave out `:` and the type");
                self.bind(frame, &typed.pat, value, init);
            }
            other => {
                self.error(other, "a `let` binds a name or a tuple of names");
            }
        }
    }

    /// Drops the locals past the first `outer`; names that nothing used are errors where the body is checked by itself.
    pub fn end_of_scope(&mut self, frame: &mut Frame<'a>, outer: usize) {
        let ended: Vec<Local<'a>> = frame.locals.drain(outer..).collect();
        if frame.reports_unused {
            // Of a value in error, that has been said.
            for Local { name, .. } in ended.iter().filter(|local| local.value.is_some()) {
                self.unused(name, |name| format!("`{name}` is never used; remove it or write `_{name}`"));
            }
        }
    }
}
