//! The binding of what was given to a layer or method to its arguments.

use super::error::ArgError;
use super::params::{Default, Kind, Param, signature};
use super::value::{Given, Value};
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::suggest::{did_you_mean, list_names, nearest};
use crate::types::DType;

/// No window is wider: products of three sizes stay within 64 bits.
const LARGEST: i64 = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    name: &'static str,
    value: Option<Value>,
    at: Option<usize>,
}

/// Arguments bound to their names, checked against their kinds, defaults filled in.
///
/// The getters panic for no input a user can give: binding has checked every kind. They return an empty or zero value
/// for an argument that the definition does not have.
#[derive(Clone, Debug, PartialEq)]
pub struct Args {
    callee: String,
    entries: Vec<Entry>,
    names: Vec<(String, Dim)>,
    given: Vec<Given>,
}

/// Binds what was given to the arguments of `callee`.
///
/// # Errors
/// Every argument that is unknown, missing, given twice, one too many, or of another kind.
pub fn bind(callee: &str, params: &[Param], given: &[Given]) -> Result<Args, Vec<ArgError>> {
    let mut entries: Vec<Entry> = params.iter().map(|p| Entry { name: p.name, value: None, at: None }).collect();
    let (mut names, mut errors) = (vec![], vec![]);
    // Arguments that a misspelt name stands for: not missing as well.
    let mut meant = vec![];
    let free_names = params.iter().any(|p| p.kind == Kind::Names);
    let mut next = 0;
    let mut i = 0;
    while i < given.len() {
        let at = i;
        let (slot, value) = match &given[i].name {
            Some(name) => {
                i += 1;
                let named = |n: &str| params.iter().position(|p| p.name == n && p.kind != Kind::Names);
                match (named(name).or_else(|| torch_names(name).find_map(named)), &given[at].value) {
                    (Some(slot), value) => (slot, value.clone()),
                    (None, Value::Int(dim)) if free_names => {
                        names.push((name.clone(), dim.clone()));
                        continue;
                    }
                    (None, value) => {
                        errors.push(ArgError::new(Some(at), unknown(callee, params, name, value, free_names)));
                        meant.extend(nearest(name, params.iter().map(|p| p.name)));
                        continue;
                    }
                }
            }
            None => {
                let Some(param) = params.get(next).filter(|p| p.kind != Kind::Names) else {
                    errors.push(ArgError::new(
                        Some(at),
                        format!("one argument too many: it is `{}`", signature(callee, params)),
                    ));
                    i += 1;
                    continue;
                };
                let slot = next;
                next += 1;
                (slot, take_positional(param, given, &mut i))
            }
        };
        let param = &params[slot];
        if entries[slot].at.is_some() {
            errors.push(ArgError::new(Some(at), format!("`{}` is given twice", param.name)));
            continue;
        }
        entries[slot].at = Some(at);
        match param.kind.accept(&value) {
            Some(value) => entries[slot].value = Some(value),
            None => errors.push(ArgError::new(Some(at), wrong_kind(callee, param, &value))),
        }
    }
    for (slot, param) in params.iter().enumerate().filter(|(_, p)| p.kind != Kind::Names) {
        if entries[slot].at.is_none() {
            match param.default {
                Default::Required if meant.contains(&param.name) => {}
                Default::Required => errors.push(ArgError::new(
                    None,
                    format!("`{callee}` needs `{}`, {}: it is `{}`", param.name, param.doc, signature(callee, params)),
                )),
                Default::Same(other) => {
                    entries[slot].value = entries.iter().find(|e| e.name == other).and_then(|e| e.value.clone());
                }
                default => entries[slot].value = default.value().and_then(|value| param.kind.accept(&value)),
            }
        }
    }
    if errors.is_empty() {
        Ok(Args { callee: callee.to_string(), entries, names, given: given.to_vec() })
    } else {
        Err(errors)
    }
}

/// The value of the next positional argument: several in a row for a `rest` argument or a pair.
fn take_positional(param: &Param, given: &[Given], i: &mut usize) -> Value {
    let first = given[*i].value.clone();
    *i += 1;
    let more = given[*i..].iter().take_while(|g| g.name.is_none()).count();
    let listed = matches!(first, Value::List(_)) && param.kind != Kind::Pads;
    if param.rest && (more > 0 || matches!(param.kind, Kind::Tensors | Kind::Parameters)) && !listed {
        let mut items = vec![first];
        items.extend(given[*i..*i + more].iter().map(|g| g.value.clone()));
        *i += more;
        return Value::List(items);
    }
    if let (Kind::Map { pair: true }, Value::Int(a), Some(Given { name: None, value: Value::Int(b) })) =
        (param.kind, &first, given.get(*i))
    {
        *i += 1;
        return Value::Map(a.clone(), b.clone());
    }
    first
}

/// Arguments that PyTorch calls otherwise, with their names here; both are understood. Where a name is there twice, the
/// layer or method has one of the two.
pub const TORCH_ARGUMENTS: &[(&str, &str)] = &[
    ("dim", "axis"),
    ("dims", "axes"),
    ("dims", "axis"),
    ("dim0", "a"),
    ("dim1", "b"),
    ("dim1", "axis1"),
    ("dim2", "axis2"),
    ("axis0", "a"),
    ("axis1", "b"),
    ("input", "x"),
    ("other", "y"),
    ("other", "target"),
    ("x1", "x"),
    ("x2", "y"),
    ("anchor", "x"),
    ("self", "x"),
    ("exponent", "y"),
    ("shifts", "shift"),
    ("split_size", "sizes"),
    ("split_size_or_sections", "sizes"),
    ("indices", "index"),
    ("source", "src"),
    ("num_classes", "classes"),
    ("ord", "p"),
    ("keepdim", "keep"),
    ("keepdims", "keep"),
    ("kernel_size", "kernel"),
    ("negative_slope", "slope"),
    ("num_features", "channels"),
    ("num_channels", "channels"),
    ("num_groups", "groups"),
    ("normalized_shape", "shape"),
    ("elementwise_affine", "affine"),
    ("start_dim", "start"),
    ("end_dim", "end"),
    ("embed_dim", "dim"),
    ("num_heads", "heads"),
    ("d_model", "dim"),
    ("nhead", "heads"),
    ("dim_feedforward", "ff"),
    ("num_layers", "layers"),
    ("requires_grad", "trainable"),
    ("layer_norm_eps", "eps"),
    ("src", "x"),
    ("tgt", "x"),
    ("attn_mask", "mask"),
    ("src_mask", "mask"),
    ("tgt_mask", "mask"),
    ("src_key_padding_mask", "key_padding_mask"),
    ("tgt_key_padding_mask", "key_padding_mask"),
    ("is_causal", "causal"),
    ("dropout_p", "dropout"),
    ("in1_features", "in1"),
    ("in2_features", "in2"),
    ("out_features", "out"),
    ("output_size", "output"),
    ("scale_factor", "scale"),
    ("upscale_factor", "factor"),
    ("downscale_factor", "factor"),
    ("lambd", "lambda"),
    ("num_parameters", "channels"),
    ("norm_type", "p"),
    ("n", "size"),
    ("size", "shape"),
    ("dims", "repeats"),
    ("dimension", "axis"),
    ("unflattened_size", "sizes"),
    ("fill_value", "value"),
    ("value", "src"),
    ("vec2", "y"),
    ("mat2", "y"),
    ("tensor", "y"),
    ("hx", "state"),
    ("log_probs", "x"),
    ("targets", "target"),
];

/// Names here of an argument that PyTorch calls otherwise.
fn torch_names(name: &str) -> impl Iterator<Item = &'static str> {
    TORCH_ARGUMENTS.iter().filter(move |(torch, _)| *torch == name).map(|(_, ours)| *ours)
}

fn unknown(callee: &str, params: &[Param], name: &str, value: &Value, free_names: bool) -> String {
    if free_names {
        return format!(
            "`{name}` must be a whole number, the size of an axis in the pattern, but it is {}",
            value.describe()
        );
    }
    let known: Vec<&str> = params.iter().map(|p| p.name).collect();
    let hint = did_you_mean(name, known.iter().copied());
    match (hint.is_empty(), known.is_empty()) {
        (true, true) => format!("`{callee}` takes no arguments, so no `{name}`"),
        (true, false) => format!("`{callee}` has no argument `{name}`; it has {}", list_names(&known)),
        (false, _) => format!("`{callee}` has no argument `{name}`{hint}"),
    }
}

fn wrong_kind(callee: &str, param: &Param, value: &Value) -> String {
    if let (Kind::Tensors | Kind::Parameters, Value::List(items)) = (param.kind, value)
        && let Some(other) = items.iter().find(|v| !matches!(v, Value::Tensor(_)))
    {
        let (expects, found) = (param.kind.expects(), other.describe());
        return format!("`{}` of `{callee}` must be {expects}, but one of them is {found}", param.name);
    }
    let base =
        format!("`{}` of `{callee}` must be {}, but it is {}", param.name, param.kind.expects(), value.describe());
    match (param.kind, value) {
        (Kind::Word(words) | Kind::FloatOr(words), Value::Str(word)) => {
            base + &did_you_mean(word, words.iter().copied())
        }
        (Kind::Axes, Value::Tensor(_) | Value::Float(_)) if matches!(callee, "max" | "min") => {
            format!("{base}; `{callee}imum` compares element by element")
        }
        (Kind::Pattern, Value::Int(_) | Value::List(_)) if callee == "repeat" => {
            format!("{base}; `tile(..)` repeats axes by numbers")
        }
        (Kind::Map { .. }, Value::Int(dim)) => format!("{base}; write `{dim} => ..`"),
        _ => base,
    }
}

impl Args {
    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name == name)
    }

    /// The value of that name, if it was given or has a default.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entry(name).and_then(|e| e.value.as_ref())
    }

    /// Whether a list was given for the argument of that name, not a number that stands for one.
    pub fn is_list(&self, name: &str) -> bool {
        let at = self.entry(name).and_then(|e| e.at);
        at.is_some_and(|at| matches!(self.given[at].value, Value::List(_)))
    }

    /// Whether the argument was given, not left to its default.
    pub fn is_given(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|e| e.at.is_some())
    }

    /// An error at the argument of that name.
    pub fn error(&self, name: &str, message: impl Into<String>) -> ArgError {
        ArgError::new(self.entry(name).and_then(|e| e.at), message)
    }

    /// An error at one item of a list argument: at the item itself if the items were given one by one.
    pub fn item_error(&self, name: &str, item: usize, message: impl Into<String>) -> ArgError {
        let at = self.entry(name).and_then(|e| e.at);
        let in_list = at.is_some_and(|at| matches!(self.given[at].value, Value::List(_)));
        ArgError::new(at.map(|at| if in_list { at } else { at + item }), message)
    }

    /// The dimension of that name.
    pub fn dim(&self, name: &str) -> Dim {
        match self.get(name) {
            Some(Value::Int(dim)) => dim.clone(),
            _ => Dim::from(0),
        }
    }

    /// The whole number of that name.
    pub fn int(&self, name: &str) -> i64 {
        self.dim(name).as_const().unwrap_or(0)
    }

    /// The real number of that name.
    pub fn float(&self, name: &str) -> f64 {
        match self.get(name) {
            Some(Value::Float(value)) => *value,
            Some(Value::Int(dim)) => dim.as_const().unwrap_or(0) as f64,
            _ => 0.0,
        }
    }

    /// The truth value of that name.
    pub fn bool(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    /// The word or pattern of that name.
    pub fn word(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Value::Str(word)) => word,
            _ => "",
        }
    }

    /// The element type of that name, if there is one.
    pub fn dtype(&self, name: &str) -> Option<DType> {
        match self.get(name) {
            Some(Value::DType(dtype)) => Some(*dtype),
            _ => None,
        }
    }

    /// The tensor of that name; binding has made sure that there is one.
    pub fn tensor(&self, name: &str) -> NodeId {
        self.tensor_if(name).unwrap_or(NodeId(0))
    }

    /// The tensor of that name, if it was given.
    pub fn tensor_if(&self, name: &str) -> Option<NodeId> {
        match self.get(name) {
            Some(Value::Tensor(node)) => Some(*node),
            _ => None,
        }
    }

    /// The items of the list of that name.
    pub fn list(&self, name: &str) -> &[Value] {
        match self.get(name) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// The tensors of that name.
    pub fn tensors(&self, name: &str) -> Vec<NodeId> {
        let node = |v: &Value| if let Value::Tensor(node) = v { Some(*node) } else { None };
        self.list(name).iter().filter_map(node).collect()
    }

    /// The dimensions of that name.
    pub fn shape(&self, name: &str) -> Vec<Dim> {
        let dim = |v: &Value| if let Value::Int(dim) = v { Some(dim.clone()) } else { None };
        self.list(name).iter().filter_map(dim).collect()
    }

    /// The two sides of `a => b`.
    pub fn map(&self, name: &str) -> (Dim, Dim) {
        match self.get(name) {
            Some(Value::Map(a, b)) => (a.clone(), b.clone()),
            _ => (Dim::ONE, Dim::ONE),
        }
    }

    /// The axes given by free names.
    pub fn names(&self) -> &[(String, Dim)] {
        &self.names
    }

    /// The position among the given arguments of one given by a free name.
    pub fn name_at(&self, name: &str) -> Option<usize> {
        self.given.iter().position(|g| g.name.as_deref() == Some(name))
    }

    /// A size for each of `rank` spatial axes, none below `least`.
    ///
    /// # Errors
    /// If it was given for another number of axes, or is too small or beyond all reason.
    pub fn sizes(&self, name: &str, rank: usize, least: i64) -> Result<Vec<i64>, ArgError> {
        let sizes = match self.get(name) {
            Some(Value::List(items)) => {
                let sizes: Vec<i64> =
                    items.iter().filter_map(|v| if let Value::Int(d) = v { d.as_const() } else { None }).collect();
                if sizes.len() != rank {
                    let message =
                        format!("`{name}` has {} sizes, but `{}` has {rank} spatial axes", sizes.len(), self.callee);
                    return Err(self.error(name, message));
                }
                sizes
            }
            _ => vec![self.int(name); rank],
        };
        match sizes.iter().find(|s| !(least..=LARGEST).contains(s)) {
            Some(bad) => {
                let message = format!("`{name}` must be between {least} and {LARGEST}, but it is {bad}");
                Err(self.error(name, message))
            }
            None => Ok(sizes),
        }
    }

    /// The axis of that name in a tensor of that rank, counted from the front.
    ///
    /// # Errors
    /// If there is no such axis.
    pub fn axis(&self, name: &str, rank: usize) -> Result<usize, ArgError> {
        self.resolve_axis(name, self.int(name), rank)
    }

    /// The axes of that name in a tensor of that rank, counted from the front and sorted; all of them if absent.
    ///
    /// # Errors
    /// If there is no such axis or one is named twice.
    pub fn axes(&self, name: &str, rank: usize) -> Result<Vec<usize>, ArgError> {
        if self.get(name).is_none() {
            return Ok((0..rank).collect());
        }
        let mut axes = self.axes_in_order(name, rank)?;
        axes.sort_unstable();
        Ok(axes)
    }

    /// The axes of that name in the order given.
    ///
    /// # Errors
    /// If there is no such axis or one is named twice.
    pub fn axes_in_order(&self, name: &str, rank: usize) -> Result<Vec<usize>, ArgError> {
        let mut axes = vec![];
        for item in self.list(name) {
            let axis = if let Value::Int(d) = item { d.as_const().unwrap_or(i64::MAX) } else { 0 };
            let resolved = self.resolve_axis(name, axis, rank)?;
            if axes.contains(&resolved) {
                return Err(self.error(name, format!("axis {axis} is named twice in `{name}`")));
            }
            axes.push(resolved);
        }
        Ok(axes)
    }

    fn resolve_axis(&self, name: &str, axis: i64, rank: usize) -> Result<usize, ArgError> {
        let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        usize::try_from(from_front).ok().filter(|&a| a < rank).ok_or_else(|| {
            let range = match rank {
                0 => "a scalar has no axes".to_string(),
                1 => "the only axis is 0 (or -1)".to_string(),
                _ => format!("the axes are 0 to {} (or -{rank} to -1)", rank - 1),
            };
            self.error(name, format!("axis {axis} is out of range: {range}"))
        })
    }

    /// How many arguments were given.
    pub(super) fn count(&self) -> usize {
        self.given.len()
    }

    /// These arguments and then `rest`, as those of one call.
    pub(super) fn followed_by(&self, rest: &Args) -> Args {
        let mut all = self.clone();
        let moved = |e: &Entry| Entry { at: e.at.map(|at| at + self.given.len()), ..e.clone() };
        all.entries.extend(rest.entries.iter().map(moved));
        all.names.extend(rest.names.iter().cloned());
        all.given.extend(rest.given.iter().cloned());
        all
    }

    /// The position of the tensor of that name, or of the first in its list, among all tensors given: what
    /// [`CallError`](super::CallError) counts operands by.
    pub fn input(&self, name: &str) -> usize {
        let at = self.entry(name).and_then(|e| e.at).unwrap_or(0);
        self.given[..at].iter().map(|g| g.value.tensors()).sum()
    }

    /// The call as given, with `change` in place of what was given for arguments of those names.
    pub fn written(&self, change: &[(&str, Value)]) -> String {
        let mut parts = vec![];
        for (at, given) in self.given.iter().enumerate() {
            let owner = self.entries.iter().find(|e| e.at == Some(at)).map(|e| e.name);
            let value = change.iter().find(|c| Some(c.0) == owner).map_or(&given.value, |c| &c.1);
            match &given.name {
                Some(name) => parts.push(format!("{name} = {value}")),
                None => parts.push(value.to_string()),
            }
        }
        if parts.is_empty() { self.callee.clone() } else { format!("{}({})", self.callee, parts.join(", ")) }
    }
}
