//! `scan(init, xs, axis = 1, |state, x| ..)`: a loop over slices, whose body is a closure.

use dl_ir::nn::Value;
use dl_ir::{DType, Dim, NodeId, Problem, Type};
use quote::ToTokens;
use syn::{Expr, ExprCall, ExprClosure, Ident};

use super::Resolver;
use super::expr::Frame;
use super::functions::shown;
use super::scope::lone_ident;
use super::value::number;
use crate::diag::{did_you_mean, source_text};

/// How it is written, for messages.
const FORM: &str = "`scan(init, xs, axis = 0, |state, x| ..)`";

/// The arguments as written.
#[derive(Default)]
struct Parts<'a> {
    init: Option<&'a Expr>,
    xs: Option<&'a Expr>,
    axis: Option<&'a Expr>,
    reverse: Option<&'a Expr>,
    recompute: Option<&'a Expr>,
    length: Option<&'a Expr>,
    body: Option<&'a ExprClosure>,
}

/// Tensors that stand alone or in a tuple.
struct Several {
    nodes: Vec<NodeId>,
    in_tuple: bool,
}

impl Several {
    fn value(&self, nodes: &[NodeId]) -> Value {
        match nodes {
            [one] if !self.in_tuple => Value::Tensor(*one),
            _ => Value::List(nodes.iter().copied().map(Value::Tensor).collect()),
        }
    }
}

impl<'a> Resolver<'a, '_> {
    /// Whether a call is the loop, and not something that the model calls so.
    pub fn is_scan(&self, frame: &Frame<'a>, call: &ExprCall) -> bool {
        let free = |name: &Ident| {
            name == "scan"
                && frame.local(name).is_none()
                && self.scope(frame.scope).layers.iter().all(|(layer, _)| *layer != name)
                && self.scope(frame.scope).body.functions.iter().all(|f| f.name != *name)
        };
        lone_ident(&call.func).is_some_and(free)
    }

    /// The loop.
    pub fn scan(&mut self, frame: &mut Frame<'a>, expr: &'a Expr, call: &'a ExprCall) -> Option<Value> {
        let value = self.scanned_value(frame, expr, call);
        if value.is_none() {
            // What a step in error did not come to may be used there.
            self.use_names(frame, expr.to_token_stream());
        }
        value
    }

    fn scanned_value(&mut self, frame: &mut Frame<'a>, expr: &'a Expr, call: &'a ExprCall) -> Option<Value> {
        let parts = self.scan_parts(frame, expr, call);
        let init = parts.as_ref().and_then(|p| p.init).map(|init| self.several(frame, init, "the initial state"));
        let xs = parts.as_ref().and_then(|p| p.xs).map(|xs| self.several(frame, xs, "what `scan` goes along"));
        let parts = parts?;
        let reverse = self.switch(frame, "reverse", parts.reverse)?;
        let recompute = self.switch(frame, "recompute", parts.recompute)?;
        let init = init.unwrap_or(Some(Several { nodes: vec![], in_tuple: true }))?;
        let xs = xs.map_or(Some(None), |xs| xs.map(Some))?;
        let (slices, axes, length) = self.scanned(frame, expr, &parts, xs.as_ref())?;
        let body = parts.body?;
        let expected = 1 + usize::from(xs.is_some());
        if body.inputs.len() != expected {
            let form = if expected == 2 { "|state, x| .." } else { "|state| .." };
            let message = format!("the closure of this `scan` takes {expected} arguments, `{form}`");
            return self.error(body, if expected == 1 { message.replace("arguments", "argument") } else { message });
        }

        self.set_loc(syn::spanned::Spanned::span(&call.func));
        let loc = self.builder.loc;
        let (nodes, locals) = (self.builder.graph.nodes.len(), frame.locals.len());
        let mut open = self.builder.open_scan(&init.nodes, &slices, length);
        open.recompute = recompute;
        let values = [Some(init.value(&open.carries)), xs.as_ref().map(|xs| xs.value(&open.slices))];
        for (pattern, value) in body.inputs.iter().zip(values) {
            self.bind(frame, pattern, value, None);
        }
        let given = self.eval(frame, &body.body);
        self.end_of_scope(frame, locals);
        // What is within the loop has no number outside of it.
        frame.nodes.retain(|(_, node)| node.index() < nodes);
        let made = given.and_then(|given| self.next_and_results(&init, given, &body.body));
        let Some((next, results)) = made else {
            self.builder.drop_scan(&open);
            return None;
        };
        self.builder.loc = loc;
        let joined: Vec<NodeId> = results.as_ref().map(|r| r.nodes.clone()).unwrap_or_default();
        let scanned = match self.builder.close_scan(open, &next, &joined, reverse) {
            Ok(scanned) => scanned,
            Err(error) => {
                let why = match *error.problem {
                    Problem::Attr { why, .. } => format!("a step {why}"),
                    _ => error.to_string(),
                };
                return self.error(&body.body, why);
            }
        };
        let state = init.value(&scanned.carries);
        let Some(results) = results else { return Some(state) };
        let axis = axes.first().copied().unwrap_or(0);
        let placed: Option<Vec<NodeId>> = scanned.results.iter().map(|&result| self.back_at(result, axis)).collect();
        Some(Value::List(vec![state, results.value(&placed?)]))
    }

    /// An argument that is `true` or `false`, by default the latter.
    fn switch(&mut self, frame: &mut Frame<'a>, name: &str, given: Option<&'a Expr>) -> Option<bool> {
        let Some(given) = given else { return Some(false) };
        match self.eval(frame, given)? {
            Value::Bool(on) => Some(on),
            other => {
                let found = self.described(&other);
                self.error(given, format!("`{name}` is `true` or `false`, but this is {found}"));
                None
            }
        }
    }

    fn scan_parts(&mut self, frame: &mut Frame<'a>, expr: &'a Expr, call: &'a ExprCall) -> Option<Parts<'a>> {
        let mut parts = Parts::default();
        let before = self.diagnostics.len();
        let mut position = 0;
        for arg in &call.args {
            let (name, value) = match arg {
                Expr::Assign(assign) => (lone_ident(&assign.left), &*assign.right),
                other => (None, other),
            };
            if let Expr::Closure(closure) = value {
                parts.body = Some(closure);
                continue;
            }
            let named = match name {
                Some(name) => name.to_string(),
                None => {
                    position += 1;
                    ["init", "xs"].get(position - 1).map_or(String::new(), |name| name.to_string())
                }
            };
            let slot = match named.as_str() {
                "init" => &mut parts.init,
                "xs" => &mut parts.xs,
                "axis" => &mut parts.axis,
                "reverse" => &mut parts.reverse,
                "recompute" => &mut parts.recompute,
                "length" => &mut parts.length,
                "" => {
                    self.eval(frame, value);
                    self.error(arg, format!("one argument too many: it is {FORM}"));
                    continue;
                }
                other => {
                    let hint = did_you_mean(other, ["init", "xs", "axis", "reverse", "recompute", "length"]);
                    self.eval(frame, value);
                    self.error(arg, format!("`scan` has no argument `{other}`{hint}"));
                    continue;
                }
            };
            if slot.replace(value).is_some() {
                self.error(arg, format!("`{named}` is given twice"));
            }
        }
        if parts.body.is_none() {
            self.error(expr, format!("`scan` needs a closure, which is one step: {FORM}"));
        }
        if parts.init.is_none() {
            self.error(expr, format!("`scan` needs an initial state, or `()` for none: {FORM}"));
        }
        if parts.xs.is_none() && parts.length.is_none() {
            self.error(expr, format!("`scan` needs a tensor to go along, or `length = ..`: {FORM}"));
        }
        (self.diagnostics.len() == before).then_some(parts)
    }

    /// A tensor or a tuple of tensors; numbers count as scalars.
    fn several(&mut self, frame: &mut Frame<'a>, expr: &'a Expr, what: &str) -> Option<Several> {
        let value = self.eval(frame, expr)?;
        let (items, in_tuple) = match value {
            Value::List(items) => (items, true),
            one => (vec![one], false),
        };
        let mut nodes = vec![];
        for item in items {
            nodes.push(match (&item, number(&item)) {
                (Value::Tensor(node), _) => *node,
                (_, Some(value)) => self.builder.constant(DType::F32, value),
                (other, None) => {
                    let found = self.described(other);
                    self.error(expr, format!("{what} is a tensor or a tuple of tensors, but this is {found}"));
                    return None;
                }
            });
        }
        Some(Several { nodes, in_tuple })
    }

    /// The tensors with the axis that is gone along first, which axis that is in each, and its size.
    fn scanned(
        &mut self,
        frame: &mut Frame<'a>,
        expr: &'a Expr,
        parts: &Parts<'a>,
        xs: Option<&Several>,
    ) -> Option<(Vec<NodeId>, Vec<usize>, Dim)> {
        let axis = match parts.axis {
            None => 0,
            Some(axis) => match self.whole(frame, axis)?.as_const() {
                Some(axis) => axis,
                None => {
                    self.error(axis, "`axis` must be known at compile time");
                    return None;
                }
            },
        };
        let given = match parts.length {
            None => None,
            Some(length) => Some(self.whole(frame, length)?),
        };
        let site = parts.xs.unwrap_or(expr);
        let (mut slices, mut axes, mut length) = (vec![], vec![], given.clone());
        for &x in xs.map_or(&[][..], |xs| &xs.nodes) {
            let ty = self.builder.ty(x).clone();
            let at = if axis < 0 { axis + ty.rank() as i64 } else { axis };
            let Some(at) = usize::try_from(at).ok().filter(|&at| at < ty.rank()) else {
                let message = format!("`scan` goes along axis {axis}, but {} has no such axis", shown(&ty));
                self.error(parts.axis.unwrap_or(site), message);
                return None;
            };
            let size = ty.shape[at].clone();
            if let Some(length) = &length
                && !self.builder.graph.facts.equal(length, &size)
            {
                let message = format!(
                    "`scan` goes along axis {axis} of all tensors at once, but that is {length} in one and {size} in {}",
                    shown(&ty)
                );
                self.error(site, message);
                return None;
            }
            length.get_or_insert(size);
            let perm: Vec<usize> = std::iter::once(at).chain((0..ty.rank()).filter(|&a| a != at)).collect();
            slices.push(self.moved(x, &perm)?);
            axes.push(at);
        }
        let Some(length) = length else {
            self.error(site, format!("`scan` needs a tensor to go along, or `length = ..`: {FORM}"));
            return None;
        };
        if length.as_const().is_some_and(|length| length < 1) {
            self.error(parts.length.unwrap_or(site), format!("`length` must be at least 1, but it is {length}"));
            return None;
        }
        Some((slices, axes, length))
    }

    /// The transposed tensor, or itself if nothing moves.
    fn moved(&mut self, x: NodeId, perm: &[usize]) -> Option<NodeId> {
        if perm.is_sorted() {
            return Some(x);
        }
        self.builder.transpose(x, perm).ok()
    }

    /// A result with the axis of the iterations, its first, at `axis`, or last if it has fewer.
    fn back_at(&mut self, x: NodeId, axis: usize) -> Option<NodeId> {
        let rank = self.builder.rank(x);
        let mut perm: Vec<usize> = (1..rank).collect();
        perm.insert(axis.min(rank - 1), 0);
        self.moved(x, &perm)
    }

    /// What the closure gave: the next state, checked against the one before, and results.
    fn next_and_results(
        &mut self,
        init: &Several,
        given: Value,
        site: &'a Expr,
    ) -> Option<(Vec<NodeId>, Option<Several>)> {
        let tensors = |value: &Value| -> Option<Vec<NodeId>> {
            match value {
                Value::Tensor(node) => Some(vec![*node]),
                Value::List(items) => {
                    items.iter().map(|item| if let Value::Tensor(node) = item { Some(*node) } else { None }).collect()
                }
                _ => None,
            }
        };
        let as_state = |value: &Value| -> Option<Vec<NodeId>> {
            let nodes = tensors(value)?;
            let fits = nodes.len() == init.nodes.len() && matches!(value, Value::List(_)) == init.in_tuple;
            fits.then_some(nodes)
        };
        let (next, results) = match (&given, as_state(&given)) {
            (_, Some(next)) => (next, None),
            (Value::List(items), _) if items.len() == 2 => match (as_state(&items[0]), tensors(&items[1])) {
                (Some(next), Some(nodes)) => {
                    (next, Some(Several { nodes, in_tuple: matches!(items[1], Value::List(_)) }))
                }
                _ => {
                    self.misformed(init, &given, site);
                    return None;
                }
            },
            _ => {
                self.misformed(init, &given, site);
                return None;
            }
        };
        for (&before, &after) in init.nodes.iter().zip(&next) {
            let (before, after) = (self.builder.ty(before).clone(), self.builder.ty(after).clone());
            if !self.same_type(&before, &after) {
                let message = format!(
                    "the state is {} before a step, but {} after it; it keeps its type and shape",
                    shown(&before),
                    shown(&after)
                );
                self.error(site, message);
                return None;
            }
        }
        Some((next, results))
    }

    fn same_type(&self, a: &Type, b: &Type) -> bool {
        let facts = &self.builder.graph.facts;
        a.dtype == b.dtype && a.rank() == b.rank() && a.shape.iter().zip(&b.shape).all(|(a, b)| facts.equal(a, b))
    }

    fn misformed(&mut self, init: &Several, given: &Value, site: &'a Expr) {
        let state = match (init.in_tuple, init.nodes.len()) {
            (false, _) => "state".to_string(),
            (true, n) => format!("({})", vec!["state"; n].join(", ")),
        };
        let found = match given {
            Value::List(items) => format!("{} values", items.len()),
            other => self.described(other),
        };
        let text = source_text(site);
        let text = if text.len() < 60 { format!("`{text}`") } else { "it".to_string() };
        self.error(site, format!("a step gives `({state}, result)` or only `{state}`, but {text} is {found}"));
    }
}
