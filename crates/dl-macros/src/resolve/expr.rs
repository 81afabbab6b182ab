//! Expressions: what each form of Rust's expression grammar means in a model.

use dl_ir::nn::Value;
use dl_ir::{DType, Dim, NodeId};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{BinOp, Expr, ExprBinary, ExprCast, ExprPath, Ident, Lit, RangeLimits, UnOp};

use super::Resolver;
use super::args::{Site, Written};
use super::scope::{ScopeId, lone_ident};
use super::value::{Arithmetic, FLOAT_METHODS, arithmetic, float_method, number, rust_constant};
use crate::diag::{did_you_mean, nearest, source_text};

/// The evaluation of one function body, or of one expression outside of functions.
pub struct Frame<'a> {
    /// Where names are looked up after the locals.
    pub scope: ScopeId,
    /// Names bound so far, innermost last.
    pub locals: Vec<Local<'a>>,
    /// The function's symbolic dimensions.
    pub symbols: Vec<(String, Dim)>,
    /// What an upper-case name means that is nowhere declared.
    pub unknown_names: UnknownNames,
    /// Whether names that nothing used are reported: when a body is checked by itself, not when it is inlined.
    pub reports_unused: bool,
    /// What expressions gave, for messages that say where something comes from.
    pub nodes: Vec<(*const Expr, NodeId)>,
}

/// What an upper-case name means that is nowhere declared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum UnknownNames {
    /// A mistake.
    Error,
    /// A symbolic dimension.
    Symbol,
}

/// An argument or a `let` of a function.
pub struct Local<'a> {
    /// Its name.
    pub name: &'a Ident,
    /// Its value; absent after an error.
    pub value: Option<Value>,
    /// Where the value comes from; absent for arguments.
    pub init: Option<&'a Expr>,
}

impl<'a> Frame<'a> {
    /// Nothing but what the scope declares.
    pub fn constant(scope: ScopeId) -> Frame<'a> {
        Frame {
            scope,
            locals: Vec::new(),
            symbols: Vec::new(),
            unknown_names: UnknownNames::Error,
            reports_unused: false,
            nodes: Vec::new(),
        }
    }

    /// As [`Frame::constant`], with symbolic dimensions of functions allowed.
    pub fn fact(scope: ScopeId) -> Frame<'a> {
        Frame { unknown_names: UnknownNames::Symbol, ..Frame::constant(scope) }
    }

    /// The tensor that an expression gave.
    pub fn node_of(&self, expr: &Expr) -> Option<NodeId> {
        self.nodes.iter().find(|(seen, _)| std::ptr::eq(*seen, expr)).map(|(_, node)| *node)
    }

    /// The innermost local of that name.
    pub fn local(&self, name: &Ident) -> Option<&Local<'a>> {
        self.locals.iter().rev().find(|local| local.name == name)
    }
}

/// Whether a name is written like a constant or a dimension.
pub fn is_upper_case(name: &str) -> bool {
    let mut letters = name.chars().filter(|c| c.is_alphabetic()).peekable();
    letters.peek().is_some() && letters.all(char::is_uppercase)
}

impl<'a> Resolver<'a, '_> {
    /// The value of an expression; nothing if there is an error in it, which has been reported.
    pub fn eval(&mut self, frame: &mut Frame<'a>, expr: &'a Expr) -> Option<Value> {
        let value = self.eval_form(frame, expr);
        if let Some(Value::Tensor(node)) = value {
            frame.nodes.push((expr, node));
        }
        value
    }

    fn eval_form(&mut self, frame: &mut Frame<'a>, expr: &'a Expr) -> Option<Value> {
        match expr {
            Expr::Lit(lit) => self.literal(&lit.lit),
            Expr::Path(path) => self.path(frame, path),
            Expr::Paren(paren) => self.eval(frame, &paren.expr),
            Expr::Group(group) => self.eval(frame, &group.expr),
            Expr::Unary(unary) => self.unary(frame, expr, &unary.op, &unary.expr),
            Expr::Binary(binary) => self.binary(frame, expr, binary),
            Expr::Call(call) => self.call(frame, expr, call),
            Expr::MethodCall(call) => self.method_call(frame, expr, call),
            Expr::Cast(cast) => self.cast(frame, cast),
            Expr::Range(range) => self.range(frame, range),
            Expr::Tuple(tuple) => self.list(frame, tuple.elems.iter()),
            Expr::Array(array) => self.list(frame, array.elems.iter()),
            Expr::Field(field) => self.field(frame, field),
            Expr::Block(block) if block.label.is_none() => self.block(frame, &block.block),
            Expr::Reference(reference) => self.eval(frame, &reference.expr),
            Expr::Infer(_) => Some(Value::Infer),
            Expr::Verbatim(_) => None,
            other => self.unsupported(frame, other),
        }
    }

    fn list(&mut self, frame: &mut Frame<'a>, elements: impl Iterator<Item = &'a Expr>) -> Option<Value> {
        // All of them are evaluated before the first error ends it.
        let values: Vec<Option<Value>> = elements.map(|e| self.eval(frame, e)).collect();
        values.into_iter().collect::<Option<Vec<Value>>>().map(Value::List)
    }

    fn range(&mut self, frame: &mut Frame<'a>, range: &'a syn::ExprRange) -> Option<Value> {
        let start = range.start.as_ref().map(|e| self.whole(frame, e));
        let end = range.end.as_ref().map(|e| self.whole(frame, e));
        let past = Dim::from(i64::from(matches!(range.limits, RangeLimits::Closed(_))));
        let start = start.map_or(Some(None), |s| s.map(Some))?;
        let end = end.map_or(Some(None), |e| e.map(|e| Some(e + past)))?;
        Some(Value::Range(start, end))
    }

    fn literal(&mut self, lit: &Lit) -> Option<Value> {
        match lit {
            Lit::Int(int) => match int.suffix() {
                "f32" | "f64" => int.base10_parse().ok().map(Value::Float),
                _ => match int.base10_digits().parse::<i64>() {
                    Ok(value) => Some(Value::Int(Dim::from(value))),
                    Err(_) => self.error(lit, "the number does not fit in 64 bits"),
                },
            },
            Lit::Float(float) => match float.base10_digits().parse() {
                Ok(value) => Some(Value::Float(value)),
                Err(_) => self.error(lit, "this is not a number"),
            },
            Lit::Bool(bool) => Some(Value::Bool(bool.value)),
            Lit::Str(text) => Some(Value::Str(text.value())),
            other => self.error(other, "a model has numbers, `true`, `false` and strings as literals"),
        }
    }

    fn path(&mut self, frame: &Frame<'a>, path: &'a ExprPath) -> Option<Value> {
        if let Some(value) = rust_constant(&path.path) {
            return Some(Value::Float(value));
        }
        let Some(ident) = path.path.get_ident() else {
            let message = "names in a model have one part: it sees its own layers, constants and arguments, and constants of \
                           floats such as `f32::INFINITY`";
            return self.error(path, message);
        };
        if let Some(local) = frame.local(ident) {
            let (name, value) = (local.name, local.value.clone());
            self.used.insert(name);
            return value;
        }
        let name = ident.to_string();
        if let Some(value) = self.named_value(frame.scope, &name) {
            return value;
        }
        if let Some((_, dim)) = frame.symbols.iter().find(|(symbol, _)| *symbol == name) {
            return Some(Value::Int(dim.clone()));
        }
        if let Some(dtype) = DType::from_name(&name) {
            return Some(Value::DType(dtype));
        }
        self.unknown_name(frame, ident, &name)
    }

    fn unknown_name(&mut self, frame: &Frame<'a>, ident: &Ident, name: &str) -> Option<Value> {
        if let Some(layer) = self.named_layer(frame.scope, ident) {
            let message = format!("`{name}` is a layer: call it, `{name}({})`", self.operand_of(layer));
            return self.error(ident, message);
        }
        if self.named_function(frame.scope, ident).is_some() {
            return self.error(ident, format!("`{name}` is a function: call it, `{name}(...)`"));
        }
        if frame.unknown_names == UnknownNames::Symbol && is_upper_case(name) {
            return Some(Value::Int(Dim::sym(name)));
        }
        let mut known = self.value_names(frame.scope);
        known.extend(frame.locals.iter().map(|local| local.name.to_string()));
        known.extend(frame.symbols.iter().map(|(symbol, _)| symbol.clone()));
        let meant = nearest(name, known.iter().map(String::as_str));
        let hint = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        if let Some(meant) = meant {
            self.use_name(frame, meant);
        }
        let message = if frame.unknown_names == UnknownNames::Symbol && hint.is_empty() {
            format!(
                "there is no `{name}` here; symbolic dimensions are written in upper case: `{}`",
                name.to_uppercase()
            )
        } else if !is_upper_case(name) || !hint.is_empty() {
            format!("there is no `{name}` here{hint}")
        } else if frame.locals.is_empty() {
            format!("`{name}` is not declared: add `const {name} = ...;` or `dim {name};` to the model")
        } else {
            format!(
                "`{name}` is no dimension of an argument and is not declared: add `const {name} = ...;` or `dim {name};`"
            )
        };
        self.error(ident, message)
    }

    /// A whole number, or nothing after a report.
    pub fn whole(&mut self, frame: &mut Frame<'a>, expr: &'a Expr) -> Option<Dim> {
        match self.eval(frame, expr)? {
            Value::Int(dim) => Some(dim),
            other => {
                let found = self.described(&other);
                self.error(expr, format!("expected a whole number, but this is {found}"));
                None
            }
        }
    }

    fn unary(&mut self, frame: &mut Frame<'a>, expr: &'a Expr, op: &UnOp, operand: &'a Expr) -> Option<Value> {
        let value = self.eval(frame, operand)?;
        let (name, text) = match op {
            UnOp::Neg(_) => ("neg", "`-`"),
            UnOp::Not(_) => ("not", "`!`"),
            _ => return self.error(expr, "tensors are values: there is nothing to dereference"),
        };
        match (value, op) {
            (Value::Int(dim), UnOp::Neg(_)) => Some(Value::Int(Dim::from(0i64) - dim)),
            (Value::Float(value), UnOp::Neg(_)) => Some(Value::Float(-value)),
            (Value::Bool(value), UnOp::Not(_)) => Some(Value::Bool(!value)),
            (value, _) => {
                self.set_loc(op.span());
                let args = [Written { name: None, value: Some(value), site: Site::One(operand) }];
                self.call_operator(frame, name, text, &args, expr)
            }
        }
    }

    fn binary(&mut self, frame: &mut Frame<'a>, expr: &'a Expr, binary: &'a ExprBinary) -> Option<Value> {
        let left = self.eval(frame, &binary.left);
        let right = self.eval(frame, &binary.right);
        let (left, right) = (left?, right?);
        let text = source_text(binary.op);
        if !matches!(left, Value::Tensor(_)) && !matches!(right, Value::Tensor(_)) {
            return match Arithmetic::of(&binary.op).map(|op| arithmetic(op, &left, &right)) {
                Some(Ok(value)) => Some(value),
                Some(Err(reason)) => self.error(expr, reason),
                None => self.error(expr, format!("`{text}` needs a tensor on one side at least")),
            };
        }
        let Some(name) = operator_method(&binary.op) else {
            return self.error(expr, format!("`{text}` does not apply to tensors"));
        };
        self.set_loc(binary.op.span());
        let written = |value, site| Written { name: None, value: Some(value), site: Site::One(site) };
        let args = [written(left, &*binary.left), written(right, &*binary.right)];
        self.call_operator(frame, name, &format!("`{text}`"), &args, expr)
    }

    fn cast(&mut self, frame: &mut Frame<'a>, cast: &'a ExprCast) -> Option<Value> {
        let value = self.eval(frame, &cast.expr)?;
        let target = source_text(&cast.ty);
        match (value, target.as_str()) {
            (Value::Tensor(_), target) => {
                self.error(cast, format!("tensors are converted by `.to({target})`; `as` is for numbers"))
            }
            (value @ (Value::Int(_) | Value::Float(_)), "f32" | "f64") => {
                Some(number(&value).map_or(value, Value::Float))
            }
            (Value::Int(dim), "usize" | "i64" | "i32" | "u64" | "u32" | "isize") => Some(Value::Int(dim)),
            (Value::Float(value), "usize" | "i64" | "i32" | "u64" | "u32" | "isize") => {
                Some(Value::Int(Dim::from(value as i64)))
            }
            (other, target) => {
                let found = self.described(&other);
                self.error(cast, format!("{found} cannot be converted to `{target}`"))
            }
        }
    }

    fn field(&mut self, frame: &mut Frame<'a>, field: &'a syn::ExprField) -> Option<Value> {
        let value = self.eval(frame, &field.base)?;
        let syn::Member::Unnamed(index) = &field.member else {
            return self.error(&field.member, "tensors have methods but no fields");
        };
        match value {
            Value::List(items) if (index.index as usize) < items.len() => Some(items[index.index as usize].clone()),
            Value::List(items) => self.error(index, format!("there are only {} values here", items.len())),
            _ => self.error(
                index,
                format!("`{}` is one tensor; `.index({})` takes a part of it", source_text(&field.base), index.index),
            ),
        }
    }

    /// A method of a number that is known at compile time.
    pub fn number_method(
        &mut self,
        value: &Value,
        call: &'a syn::ExprMethodCall,
        args: &[Written<'a>],
    ) -> Option<Value> {
        let name = call.method.to_string();
        let numbers: Option<Vec<f64>> = args.iter().map(|arg| number(arg.value.as_ref()?)).collect();
        let (Some(x), Some(numbers)) = (number(value), numbers) else {
            let text = source_text(&call.receiver);
            return self.error(
                &call.method,
                format!("the value of `{text}` is only known when the model runs; use `.{name}` on a tensor"),
            );
        };
        match float_method(&name, x, &numbers) {
            Some(value) => Some(Value::Float(value)),
            None => {
                let hint = did_you_mean(&name, FLOAT_METHODS);
                self.error(&call.method, format!("a number has no method `{name}`{hint}"))
            }
        }
    }

    /// A value in words, with the type of a tensor.
    pub fn described(&self, value: &Value) -> String {
        match value {
            Value::Tensor(node) => self.builder.ty(*node).to_string(),
            other => other.describe(),
        }
    }

    fn unsupported(&mut self, frame: &mut Frame<'a>, expr: &'a Expr) -> Option<Value> {
        self.use_names(frame, expr.to_token_stream());
        let message = match expr {
            Expr::Assign(assign) => match lone_ident(&assign.left) {
                Some(name) => format!("a name is bound once; write `let {name} = {};`", source_text(&assign.right)),
                None => "tensors are values and cannot be assigned to".to_string(),
            },
            Expr::Index(index) => {
                // The parts may hold mistakes of their own.
                self.eval(frame, &index.expr);
                let text = source_text(&index.expr);
                format!(
                    "tensors are not indexed with brackets: `{text}.index(0)` takes one element, `{text}.slice(.., 0..3)` a part"
                )
            }
            Expr::If(_) | Expr::Match(_) => {
                "a model has no branches; `select(condition, a, b)` chooses element by element".to_string()
            }
            Expr::ForLoop(_) | Expr::While(_) | Expr::Loop(_) => {
                "a model has no loops; `[Layer; n]` repeats layers, and `scan(init, xs, |state, x| ..)` goes along an axis".to_string()
            }
            Expr::Return(_) => "the last expression of a function is its result; leave out `return`".to_string(),
            Expr::Macro(_) => "macros are not expanded within a model".to_string(),
            Expr::Try(_) => "`?` has no meaning here: what can fail is checked at compile time".to_string(),
            Expr::Closure(_) => "a closure is not a tensor; `scan` takes one".to_string(),
            Expr::Await(_) | Expr::Async(_) => "a model has no asynchronous code".to_string(),
            Expr::Repeat(_) => "a list of equal values is written with `full([2, 3], value)`".to_string(),
            _ => "this has no meaning in a model".to_string(),
        };
        self.error(expr, message)
    }
}

/// The method of the table that a Rust operator stands for.
fn operator_method(op: &BinOp) -> Option<&'static str> {
    Some(match op {
        BinOp::Add(_) => "add",
        BinOp::Sub(_) => "sub",
        BinOp::Mul(_) => "mul",
        BinOp::Div(_) => "div",
        BinOp::Rem(_) => "rem",
        BinOp::Lt(_) => "lt",
        BinOp::Le(_) => "le",
        BinOp::Gt(_) => "gt",
        BinOp::Ge(_) => "ge",
        BinOp::Eq(_) => "eq",
        BinOp::Ne(_) => "ne",
        BinOp::And(_) | BinOp::BitAnd(_) => "and",
        BinOp::Or(_) | BinOp::BitOr(_) => "or",
        _ => return None,
    })
}
