//! Recurrent layers: loops over the time axis, whose size compiles to nothing.
//!
//! What the input contributes is one product over all steps, before the loop; an iteration multiplies only the state.
//! Inside, time is the first axis.

use super::args::Args;
use super::common::{iota, squeeze, unsqueeze};
use super::dropout::{dropped, probability};
use super::error::{ArgError, CallError};
use super::layer::{Call, LayerDef, trainable};
use super::linear::{BIAS, positive_dim};
use super::params::{Default, Kind, Param};
use super::value::Value;
use crate::build::{Builder, Built};
use crate::dim::Dim;
use crate::error::OpError;
use crate::graph::NodeId;
use crate::module::{Init, ParamDecl};
use crate::types::{DType, Type};

const SIZES: Param = Param::required("input", Kind::Map { pair: true }, "features of x => features of the state");
const LAYERS_OF: Param =
    Param::optional("layers", Kind::Int, Default::Int(1), "how many layers, each on the last one's");
const BOTH_WAYS: Param =
    Param::optional("bidirectional", Kind::Bool, Default::Bool(false), "whether a second state goes from end to start");
const BATCH_FIRST: Param = Param::optional(
    "batch_first",
    Kind::Bool,
    Default::Bool(true),
    "whether x is [N, T, in]; if not, [T, N, in], the default of PyTorch",
);
const DROPOUT: Param =
    Param::optional("dropout", Kind::Float, Default::Float(0.0), "dropout in training between one layer and the next");
const NONLINEARITY: Param = Param::optional(
    "nonlinearity",
    Kind::Word(&["tanh", "relu"]),
    Default::Word("tanh"),
    "the activation of the state",
);

const X: Param = Param::required("x", Kind::Tensor, "the sequence, [N, T, in]");
const STATE: Param =
    Param::optional("state", Kind::Tensor, Default::Absent, "the initial state, [layers * directions, N, hidden]");
const STATES: Param = Param::optional(
    "state",
    Kind::Tensors,
    Default::Absent,
    "the initial state `(h, c)`, each [layers * directions, N, hidden]",
);
const LENGTHS: Param = Param::optional(
    "lengths",
    Kind::Tensor,
    Default::Absent,
    "i64 [N], how many steps of each sequence count, held between 0 and T: behind them the state stays and the result \
     is 0",
);

const CELL_X: Param = Param::required("x", Kind::Tensor, "the input of one step, [N, in]");
const CELL_STATE: Param = Param::optional("state", Kind::Tensor, Default::Absent, "the state, [N, hidden]; zeros");
const CELL_STATES: Param =
    Param::optional("state", Kind::Tensors, Default::Absent, "the state `(h, c)`, each [N, hidden]; zeros");

/// The layers of this file.
pub const LAYERS: &[LayerDef] = &[
    LayerDef::own(
        "Rnn",
        "h = tanh(W_ih x + b_ih + W_hh h + b_hh) along the time axis of [N, T, in] (Elman 1990); gives `(y, h)`: all \
         states of the last layer, [N, T, directions * hidden], and the last ones, [layers * directions, N, hidden]",
        &[SIZES, LAYERS_OF, NONLINEARITY, BIAS, DROPOUT, BOTH_WAYS, BATCH_FIRST],
        |a| declare(a, Cell::Rnn),
        |c| sequence(c, Cell::Rnn),
    )
    .taking(&[X, STATE, LENGTHS])
    .passing_first(),
    LayerDef::own(
        "Lstm",
        "long short-term memory (Hochreiter & Schmidhuber 1997) along the time axis of [N, T, in]; gives `(y, h, c)`: all \
         states of the last layer, [N, T, directions * hidden], and the last states and cells, \
         [layers * directions, N, hidden]",
        &[SIZES, LAYERS_OF, BIAS, DROPOUT, BOTH_WAYS, BATCH_FIRST],
        |a| declare(a, Cell::Lstm),
        |c| sequence(c, Cell::Lstm),
    )
    .taking(&[X, STATES, LENGTHS])
    .passing_first(),
    LayerDef::own(
        "Gru",
        "a gated recurrent unit (Cho et al. 2014) along the time axis of [N, T, in]; gives `(y, h)`: all states of the last \
         layer, [N, T, directions * hidden], and the last ones, [layers * directions, N, hidden]",
        &[SIZES, LAYERS_OF, BIAS, DROPOUT, BOTH_WAYS, BATCH_FIRST],
        |a| declare(a, Cell::Gru),
        |c| sequence(c, Cell::Gru),
    )
    .taking(&[X, STATE, LENGTHS])
    .passing_first(),
    LayerDef::own(
        "RnnCell",
        "one step of `Rnn`: [N, in] and a state to the next state, [N, hidden]",
        &[SIZES, NONLINEARITY, BIAS],
        |a| declare_cell(a, Cell::Rnn),
        |c| one_step(c, Cell::Rnn),
    )
    .taking(&[CELL_X, CELL_STATE]),
    LayerDef::own(
        "LstmCell",
        "one step of `Lstm`: [N, in] and a state `(h, c)` to the next, `(h, c)`, each [N, hidden]",
        &[SIZES, BIAS],
        |a| declare_cell(a, Cell::Lstm),
        |c| one_step(c, Cell::Lstm),
    )
    .taking(&[CELL_X, CELL_STATES])
    .passing_first(),
    LayerDef::own(
        "GruCell",
        "one step of `Gru`: [N, in] and a state to the next state, [N, hidden]",
        &[SIZES, BIAS],
        |a| declare_cell(a, Cell::Gru),
        |c| one_step(c, Cell::Gru),
    )
    .taking(&[CELL_X, CELL_STATE]),
];

/// A kind of recurrence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Rnn,
    Lstm,
    Gru,
}

impl Cell {
    /// How many vectors of the state's size a step computes.
    fn gates(self) -> i64 {
        match self {
            Cell::Rnn => 1,
            Cell::Gru => 3,
            Cell::Lstm => 4,
        }
    }

    /// How many vectors are the state.
    fn states(self) -> usize {
        1 + usize::from(self == Cell::Lstm)
    }
}

fn declare(args: &Args, cell: Cell) -> Result<Vec<ParamDecl>, ArgError> {
    probability(args, "dropout")?;
    let layers = args.int("layers");
    if !(1..=256).contains(&layers) {
        return Err(args.error("layers", format!("`layers` must be between 1 and 256, but it is {layers}")));
    }
    let mut params = vec![];
    for layer in 0..layers {
        for suffix in suffixes(args) {
            let from = if layer == 0 { args.map("input").0 } else { features(args) };
            params.extend(parameters(args, cell, from, &format!("_l{layer}{suffix}"))?);
        }
    }
    Ok(params)
}

fn declare_cell(args: &Args, cell: Cell) -> Result<Vec<ParamDecl>, ArgError> {
    parameters(args, cell, args.map("input").0, "")
}

/// The parameters of one layer in one direction, with PyTorch's names and initialisation.
fn parameters(args: &Args, cell: Cell, from: Dim, suffix: &str) -> Result<Vec<ParamDecl>, ArgError> {
    let (input, hidden) = args.map("input");
    positive_dim(args, "input", &input)?;
    positive_dim(args, "input", &hidden)?;
    let rows = Dim::from(cell.gates()) * hidden.clone();
    let init = || Init::FanIn(hidden.clone());
    let named = |name: &str, shape| trainable(&format!("{name}{suffix}"), DType::F32, shape, init());
    let mut params =
        vec![named("weight_ih", vec![rows.clone(), from]), named("weight_hh", vec![rows.clone(), hidden.clone()])];
    if args.bool("bias") {
        params.push(named("bias_ih", vec![rows.clone()]));
        params.push(named("bias_hh", vec![rows]));
    }
    Ok(params)
}

/// What the names of a layer's directions end with.
fn suffixes(args: &Args) -> &'static [&'static str] {
    if args.bool("bidirectional") { &["", "_reverse"] } else { &[""] }
}

/// Features of a layer's result: the states of all directions.
fn features(args: &Args) -> Dim {
    args.map("input").1 * Dim::from(suffixes(args).len())
}

/// The weights of one layer in one direction.
struct Weights {
    input: NodeId,
    state: NodeId,
    bias: Option<(NodeId, NodeId)>,
}

impl Weights {
    fn of(c: &mut Call<'_>, suffix: &str) -> Result<Weights, CallError> {
        let mut param = |name: &str| c.param(&format!("{name}{suffix}"));
        let missing = || CallError::Inputs("has no weights".to_string());
        let (input, state) = (param("weight_ih").ok_or_else(missing)?, param("weight_hh").ok_or_else(missing)?);
        Ok(Weights { input, state, bias: param("bias_ih").zip(param("bias_hh")) })
    }

    /// What the input contributes to the gates: of all biases those that do not depend on the state's product.
    fn of_input(&self, b: &mut Builder, x: NodeId, cell: Cell) -> Built {
        let last = b.rank(x) - 1;
        let product = b.dot(x, self.input, &[], &[(last, 1)])?;
        match self.bias {
            Some((input, _)) if cell == Cell::Gru => b.add(product, input),
            Some((input, state)) => {
                let both = b.add(input, state)?;
                b.add(product, both)
            }
            None => Ok(product),
        }
    }

    /// The next state.
    fn step(&self, b: &mut Builder, how: (Cell, bool), x: NodeId, state: &[NodeId]) -> Result<Vec<NodeId>, OpError> {
        let (cell, relu) = how;
        let product = b.dot(state[0], self.state, &[], &[(1, 1)])?;
        Ok(match cell {
            Cell::Rnn => {
                let sum = b.add(x, product)?;
                let zero = b.constant(b.dtype(x), 0.0);
                vec![if relu { b.max(sum, zero)? } else { b.tanh(sum)? }]
            }
            Cell::Lstm => {
                let sum = b.add(x, product)?;
                let gates = parts(b, sum, 4)?;
                let (input, forget, output) = (b.sigmoid(gates[0])?, b.sigmoid(gates[1])?, b.sigmoid(gates[3])?);
                let new = b.tanh(gates[2])?;
                let (kept, added) = (b.mul(forget, state[1])?, b.mul(input, new)?);
                let c = b.add(kept, added)?;
                let squashed = b.tanh(c)?;
                vec![b.mul(output, squashed)?, c]
            }
            Cell::Gru => {
                let product = match self.bias {
                    Some((_, bias)) => b.add(product, bias)?,
                    None => product,
                };
                let (x, h) = (parts(b, x, 3)?, parts(b, product, 3)?);
                let (reset, update) = (b.add(x[0], h[0])?, b.add(x[1], h[1])?);
                let (reset, update) = (b.sigmoid(reset)?, b.sigmoid(update)?);
                let kept = b.mul(reset, h[2])?;
                let new = b.add(x[2], kept)?;
                let new = b.tanh(new)?;
                // (1 - z) * n + z * h
                let difference = b.sub(state[0], new)?;
                let moved = b.mul(update, difference)?;
                vec![b.add(new, moved)?]
            }
        })
    }
}

/// Equal parts of the last axis of a matrix.
fn parts(b: &mut Builder, x: NodeId, count: i64) -> Result<Vec<NodeId>, OpError> {
    let shape = b.shape(x).to_vec();
    let size = shape[1].floor_div(&Dim::from(count)).unwrap_or(Dim::ONE);
    let part = |at: i64| {
        let (from, to) = (size.clone() * Dim::from(at), size.clone() * Dim::from(at + 1));
        b.slice(x, &[Dim::from(0), from], &[shape[0].clone(), to], &[1, 1])
    };
    (0..count).map(part).collect()
}

fn sequence(c: &mut Call<'_>, cell: Cell) -> Result<Value, CallError> {
    let batch_first = c.args().bool("batch_first");
    c.check_dtype()?;
    c.check_rank(3, if batch_first { "[N, T, in]" } else { "[T, N, in]" })?;
    c.check_features("input", 2, "features", &c.args().map("input").0)?;
    let (x, hidden) = (c.x(), c.args().map("input").1);
    let mut y = if batch_first { c.b.transpose(x, &[1, 0, 2])? } else { x };
    let (length, batch) = (c.b.shape(y)[0].clone(), c.b.shape(y)[1].clone());
    let (layers, ways) = (c.args().int("layers") as usize, suffixes(c.args()));
    let all = Dim::from(layers * ways.len());
    let initial = initial(c, cell, &[all, batch.clone(), hidden.clone()])?;
    let counts = counts(c, &length, &batch)?;
    let relu = c.args().word("nonlinearity") == "relu";
    let dropout = c.args().float("dropout");
    let mut last: Vec<Vec<NodeId>> = vec![vec![]; cell.states()];
    for layer in 0..layers {
        let mut given = vec![];
        for (way, suffix) in ways.iter().enumerate() {
            let weights = Weights::of(c, &format!("_l{layer}{suffix}"))?;
            let xs = weights.of_input(c.b, y, cell)?;
            let dtype = c.dtype();
            let shape = [batch.clone(), hidden.clone()];
            let start = start(c.b, &initial, layer * ways.len() + way, (dtype, &shape), cell)?;
            let slices: Vec<NodeId> = std::iter::once(xs).chain(counts).collect();
            let scanned = c.b.scan(&start, &slices, length.clone(), way == 1, |b, state, slices| {
                let next = weights.step(b, (cell, relu), slices[0], state)?;
                match slices.get(1) {
                    None => Ok::<_, OpError>((next.clone(), vec![next[0]])),
                    Some(&counts) => {
                        let shape = b.shape(next[0]).to_vec();
                        let counts = b.broadcast(counts, &shape)?;
                        let kept = next.iter().zip(state).map(|(&new, &old)| b.select(counts, new, old));
                        let kept = kept.collect::<Result<Vec<_>, _>>()?;
                        let zero = b.full_like(next[0], 0.0)?;
                        let shown = b.select(counts, next[0], zero)?;
                        Ok((kept, vec![shown]))
                    }
                }
            })?;
            given.push(scanned.results[0]);
            last.iter_mut().zip(scanned.carries).for_each(|(all, state)| all.push(state));
        }
        y = if given.len() == 1 { given[0] } else { c.b.concat(&given, 2)? };
        if layer + 1 < layers {
            let shape = c.b.shape(y).to_vec();
            y = dropped(c.b, y, dropout, &shape)?;
        }
    }
    if batch_first {
        y = c.b.transpose(y, &[1, 0, 2])?;
    }
    let mut results = vec![Value::Tensor(y)];
    for states in last {
        let states = states.into_iter().map(|state| unsqueeze(c.b, state, 0)).collect::<Result<Vec<_>, _>>()?;
        results.push(Value::Tensor(c.b.concat(&states, 0)?));
    }
    Ok(Value::List(results))
}

/// The initial states as given, checked; `None` for zeros.
fn initial(c: &Call<'_>, cell: Cell, shape: &[Dim]) -> Result<Option<Vec<NodeId>>, CallError> {
    let states = match cell {
        Cell::Lstm => c.given.tensors("state"),
        _ => c.given.tensor_if("state").into_iter().collect(),
    };
    if !c.given.is_given("state") {
        return Ok(None);
    }
    if states.len() != cell.states() {
        let message = format!("the state of an `Lstm` is `(h, c)`, two tensors, but {} are given", states.len());
        return Err(CallError::Given(c.given.error("state", message)));
    }
    let expected = Type { dtype: c.dtype(), shape: shape.to_vec() };
    for &state in &states {
        let found = c.b.ty(state);
        let facts = &c.b.graph.facts;
        let fits = found.dtype == expected.dtype
            && found.rank() == expected.rank()
            && found.shape.iter().zip(shape).all(|(a, b)| facts.equal(a, b));
        if !fits {
            let message = format!("the state must be {expected}, but it is {found}");
            return Err(CallError::Given(c.given.error("state", message)));
        }
    }
    Ok(Some(states))
}

/// The state in which one direction of one layer starts.
fn start(
    b: &mut Builder,
    initial: &Option<Vec<NodeId>>,
    at: usize,
    (dtype, shape): (DType, &[Dim]),
    cell: Cell,
) -> Result<Vec<NodeId>, OpError> {
    match initial {
        Some(states) => {
            let states = states.iter().map(|&state| {
                let part = super::common::narrow(b, state, 0, Dim::from(at), Dim::from(at + 1))?;
                squeeze(b, part, 0)
            });
            states.collect()
        }
        None => Ok(vec![zeros(b, dtype, shape)?; cell.states()]),
    }
}

fn zeros(b: &mut Builder, dtype: DType, shape: &[Dim]) -> Built {
    let zero = b.constant(dtype, 0.0);
    b.broadcast(zero, shape)
}

/// Whether each step of each sequence counts, [T, N, 1], if lengths are given.
fn counts(c: &mut Call<'_>, length: &Dim, batch: &Dim) -> Result<Option<NodeId>, CallError> {
    let Some(lengths) = c.given.tensor_if("lengths") else { return Ok(None) };
    let found = c.b.ty(lengths).clone();
    if found.dtype != DType::I64 || found.rank() != 1 || !c.b.graph.facts.equal(&found.shape[0], batch) {
        let message = format!("`lengths` must be i64[{batch}], the steps of each sequence, but it is {found}");
        return Err(CallError::Given(c.given.error("lengths", message)));
    }
    let steps = iota(c.b, DType::I64, &[length.clone(), batch.clone()], 0)?;
    let counts = c.b.lt(steps, lengths)?;
    Ok(Some(unsqueeze(c.b, counts, 2)?))
}

fn one_step(c: &mut Call<'_>, cell: Cell) -> Result<Value, CallError> {
    c.check_dtype()?;
    c.check_rank(2, "[N, in]")?;
    c.check_features("input", 1, "features", &c.args().map("input").0)?;
    let x = c.x();
    let shape = [c.b.shape(x)[0].clone(), c.args().map("input").1];
    let state = match initial(c, cell, &shape)? {
        Some(state) => state,
        None => vec![zeros(c.b, c.dtype(), &shape)?; cell.states()],
    };
    let weights = Weights::of(c, "")?;
    let xs = weights.of_input(c.b, x, cell)?;
    let relu = c.args().word("nonlinearity") == "relu";
    let next = weights.step(c.b, (cell, relu), xs, &state)?;
    Ok(match next[..] {
        [one] => one.into(),
        _ => Value::List(next.into_iter().map(Value::Tensor).collect()),
    })
}
