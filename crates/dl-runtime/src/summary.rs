//! A table of a model's layers, as Keras prints it.

use std::collections::HashMap;
use std::fmt;

use dl_ir::scan::Scan;
use dl_ir::{Bindings, Dim, Function, Graph, InputKind, Module, NodeId, Op};

/// The layers of a model: what each gives, holds and costs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The model's name.
    pub model: String,
    /// One row for each call of a layer, in the order of the calls.
    pub rows: Vec<SummaryRow>,
    /// Elements of all trainable parameters.
    pub trainable: usize,
    /// Elements of all buffers, such as running statistics.
    pub buffers: usize,
    /// Multiply-adds of the whole function with every symbolic dimension 1: those of one sample.
    pub multiply_adds: i64,
}

/// One layer of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SummaryRow {
    /// The layer's name, such as `conv1`.
    pub layer: String,
    /// What it is, as written: `Conv2d(1 => 32, kernel = 3)`.
    pub what: String,
    /// The type of its result, such as `f32[N, 32, 28, 28]`.
    pub output: String,
    /// Elements of its trainable parameters; 0 where the layer is called again.
    pub parameters: usize,
    /// Multiply-adds of one sample.
    pub multiply_adds: i64,
}

/// Summarises the function with the most layer calls, or all layers if none calls any.
pub(crate) fn summarise(module: &Module, dims: &Bindings) -> Summary {
    let function = module.functions.iter().rev().max_by_key(|f| f.calls.len());
    let size = |decl: &dl_ir::ParamDecl| decl.ty.elements().eval(dims).map_or(0, |n| usize::try_from(n).unwrap_or(0));
    let count = |trainable: bool| module.params.iter().filter(|p| p.trainable == trainable).map(size).sum();
    let own = |layer: &str| -> usize {
        module.params.iter().filter(|p| p.trainable && layer_of(module, &p.name) == Some(layer)).map(size).sum()
    };
    let costs = function.map(|f| costs(module, f, dims)).unwrap_or_default();
    let total = |costs: &mut dyn Iterator<Item = i64>| costs.fold(0, i64::saturating_add);
    let cost = |layer: &str| total(&mut costs.iter().filter(|(name, _)| *name == Some(layer)).map(|&(_, cost)| cost));
    let calls = |layer: u32| function.map_or(0, |f| f.calls.iter().filter(|(l, _)| *l == layer).count() as i64);
    let mut rows: Vec<SummaryRow> = vec![];
    for (index, ty) in function.iter().flat_map(|f| &f.calls) {
        let Some(layer) = module.layers.get(*index as usize) else { continue };
        let again = rows.iter().any(|row| row.layer == layer.name);
        rows.push(SummaryRow {
            layer: layer.name.clone(),
            what: layer.what.clone(),
            output: ty.to_string(),
            parameters: if again { 0 } else { own(&layer.name) },
            multiply_adds: cost(&layer.name) / calls(*index).max(1),
        });
    }
    let multiply_adds = total(&mut costs.iter().map(|&(_, cost)| cost));
    Summary { model: module.name.clone(), rows, trainable: count(true), buffers: count(false), multiply_adds }
}

/// The layer whose name is the longest prefix of a parameter's name.
fn layer_of<'a>(module: &'a Module, param: &str) -> Option<&'a str> {
    let names = module.layers.iter().map(|l| l.name.as_str());
    names
        .filter(|name| param.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        .max_by_key(|name| name.len())
}

/// Multiply-adds of every product in the graph and its loops, with the layer whose parameter it uses.
fn costs<'a>(module: &'a Module, function: &Function, dims: &Bindings) -> Vec<(Option<&'a str>, i64)> {
    let graph = &function.graph;
    let params = graph.inputs.iter().filter(|i| i.kind == InputKind::Param);
    let owners = params.filter_map(|i| Some((i.node, layer_of(module, &i.name)?))).collect();
    let mut costs = vec![];
    add_costs(graph, &owners, &Dim::ONE, dims, &mut costs);
    costs
}

/// Adds what a graph costs that runs so many times; `owners` are the layers of its inputs.
fn add_costs<'a>(
    graph: &Graph,
    owners: &HashMap<NodeId, &'a str>,
    times: &Dim,
    dims: &Bindings,
    costs: &mut Vec<(Option<&'a str>, i64)>,
) {
    let live = graph.live();
    for id in graph.ids().filter(|id| live[id.index()]) {
        let node = &graph[id];
        if let Some(body) = node.attrs.get_graph("body") {
            let inputs = body.inputs.iter().zip(&node.args);
            let owners = inputs.filter_map(|(input, &arg)| Some((input.node, owner(graph, owners, arg)?))).collect();
            let times = times.clone() * Scan::of(&node.attrs).length;
            add_costs(body, &owners, &times, dims, costs);
        } else if let Some(cost) = product_cost(graph, id) {
            let owner = node.args.iter().find_map(|&arg| owner(graph, owners, arg));
            costs.extend(at_least_one(&(cost * times.clone()), dims).map(|cost| (owner, cost)));
        }
    }
}

/// The layer whose parameter a value is, or a view of.
fn owner<'a>(graph: &Graph, owners: &HashMap<NodeId, &'a str>, value: NodeId) -> Option<&'a str> {
    let mut source = value;
    while let (Op::Reshape | Op::Transpose | Op::Broadcast | Op::Cast | Op::Slice, [only, ..]) =
        (graph[source].op, &graph[source].args[..])
    {
        source = *only;
    }
    owners.get(&source).copied()
}

/// The number with every symbol that has no value 1.
fn at_least_one(count: &Dim, dims: &Bindings) -> Option<i64> {
    let mut sample = dims.clone();
    count.for_each_sym(&mut |symbol| _ = sample.entry(symbol.to_string()).or_insert(1));
    count.eval(&sample).ok()
}

/// Multiply-adds of a product.
fn product_cost(graph: &Graph, id: NodeId) -> Option<Dim> {
    let node = &graph[id];
    let (times, summed) = match node.op {
        Op::Dot => {
            let shape = &graph.ty(node.args[0]).shape;
            (
                node.ty.elements(),
                node.attrs.get_axes("sum_a").into_iter().fold(Dim::ONE, |n, axis| n * shape[axis].clone()),
            )
        }
        // All of a filter but its output channels: w is [O, C/groups, kernel…], or [kernel…, C/groups, O]. A transposed
        // convolution multiplies each element that comes in with as much.
        Op::Conv | Op::ConvInputGrad => {
            let shape = &graph.ty(node.args[1]).shape;
            let filter = if node.attrs.get_word("layout") == "last" { &shape[..shape.len() - 1] } else { &shape[1..] };
            let times = if node.op == Op::Conv { node.ty.elements() } else { graph.ty(node.args[0]).elements() };
            (times, filter.iter().fold(Dim::ONE, |n, dim| n * dim.clone()))
        }
        _ => return None,
    };
    Some(times * summed)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["layer", "", "output", "parameters", "multiply-adds"].map(String::from);
        let cells = |row: &SummaryRow| {
            [
                row.layer.clone(),
                row.what.clone(),
                row.output.clone(),
                grouped(row.parameters as i64),
                grouped(row.multiply_adds),
            ]
        };
        let rows: Vec<[String; 5]> = std::iter::once(titles).chain(self.rows.iter().map(cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 5] = std::array::from_fn(width);
        let line = "-".repeat(widths.iter().sum::<usize>() + 8);
        writeln!(f, "{}\n{line}", self.model)?;
        for (i, row) in rows.iter().enumerate() {
            let [layer, what, output, parameters, cost] = row;
            let [a, b, c, d, e] = widths;
            writeln!(f, "{layer:a$}  {what:b$}  {output:c$}  {parameters:>d$}  {cost:>e$}")?;
            if i == 0 {
                writeln!(f, "{line}")?;
            }
        }
        let kib = |elements: usize| elements as f64 * 4.0 / 1024.0;
        writeln!(f, "{line}\nparameters: {} ({:.1} KiB)", grouped(self.trainable as i64), kib(self.trainable))?;
        if self.buffers > 0 {
            writeln!(f, "buffers: {}", grouped(self.buffers as i64))?;
        }
        write!(f, "multiply-adds a sample: {}", grouped(self.multiply_adds))
    }
}

/// `1234567` as `1,234,567`.
fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::from(if n < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use dl_ir::{Attrs, Builder, DType, FnKind, Init, LayerDecl, ParamDecl, Role, Type};

    fn module() -> Module {
        let mut b = Builder::new();
        let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, [Dim::sym("N"), Dim::sym("H")]));
        let w = b.input(InputKind::Param, "fc.weight", Type::new(DType::F32, [Dim::from(10i64), Dim::sym("H")]));
        let y = b.dot(x, w, &[], &[(1, 1)]).unwrap();
        b.output(Role::Result, y);
        let ty = b.ty(y).clone();
        let param = |name: &str, shape: Vec<Dim>, trainable| ParamDecl {
            name: name.into(),
            ty: Type::new(DType::F32, shape),
            init: Init::Zeros,
            trainable,
        };
        Module {
            name: "Net".into(),
            dims: vec!["H".into()],
            params: vec![
                param("fc.weight", vec![Dim::from(10i64), Dim::sym("H")], true),
                param("fc.bias", vec![Dim::from(10i64)], true),
                param("norm.running_mean", vec![Dim::from(10i64)], false),
            ],
            layers: vec![LayerDecl { name: "fc".into(), what: "Linear(H => 10)".into() }],
            functions: vec![Function {
                name: "forward".into(),
                kind: FnKind::Eval,
                graph: b.finish(),
                calls: vec![(0, ty.clone()), (0, ty)],
            }],
            ..Module::default()
        }
    }

    #[test]
    fn layers_are_listed_with_what_they_hold_and_cost() {
        let summary = summarise(&module(), &Bindings::from([("H".into(), 300)]));
        assert_eq!((summary.trainable, summary.buffers, summary.multiply_adds), (3010, 10, 3000));
        assert_eq!((summary.rows[0].parameters, summary.rows[1].parameters), (3010, 0), "shared weights count once");
        let text = summary.to_string();
        assert!(text.contains("fc     Linear(H => 10)  f32[N, 10]       3,010"), "{text}");
        assert!(text.ends_with("parameters: 3,010 (11.8 KiB)\nbuffers: 10\nmultiply-adds a sample: 3,000"), "{text}");
    }

    #[test]
    fn a_transposed_convolution_costs_what_the_convolution_back_does() {
        let cost = |op| {
            let mut b = Builder::new();
            let mut input = |shape: &[i64]| {
                let ty = Type::new(DType::F32, shape.iter().map(|&n| Dim::from(n)));
                b.input(InputKind::Arg, &format!("{shape:?}"), ty)
            };
            // Windows of 4 in steps of 2: 6 channels of 8x8 to 5 of 4x4, or the way back.
            let (large, small, w) = (input(&[1, 6, 8, 8]), input(&[1, 5, 4, 4]), input(&[5, 6, 4, 4]));
            let attrs =
                Attrs::new().ints("stride", [2, 2]).ints("lo", [1, 1]).ints("hi", [1, 1]).ints("dilation", [1, 1]);
            let attrs = attrs.int("groups", 1).word("layout", "first");
            let y = match op {
                Op::Conv => b.push(op, &[large, w], attrs),
                _ => b.push(op, &[small, w], attrs.dims("size", [Dim::from(8i64), Dim::from(8i64)])),
            };
            let y = y.unwrap();
            b.output(Role::Result, y);
            product_cost(&b.finish(), y)
        };
        assert_eq!(cost(Op::Conv), Some(Dim::from(5i64 * 4 * 4 * 6 * 4 * 4)));
        assert_eq!(cost(Op::ConvInputGrad), cost(Op::Conv));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
