//! Tests as files: `tests/filetests/**/*.dlir`, as `tests/filetests/README.md` describes them.

mod common;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use common::jit::{call, difference, options};
use dl_codegen::Level;
use dl_ir::autodiff::gradient;
use dl_ir::eval::{Inputs, Tensor, run};
use dl_ir::passes::{PIPELINE, bind::bind, split, split::Split, store};
use dl_ir::plan::{check, fuse, memory};
use dl_ir::text::parse_graph;
use dl_ir::{
    Attrs, Bindings, Builder, DType, Eval, Graph, InputKind, NodeId, Op, Order, Role, Sample, Scalar, Storage, Type,
    infer, verify,
};
use dl_runtime::{Isa, Options};

/// What a file asks for.
struct Case<'a> {
    command: Vec<&'a str>,
    /// The values of symbols.
    sizes: Bindings,
    /// Limits of inputs that have others than those of their type.
    ranges: BTreeMap<&'a str, (f64, f64)>,
    /// The order of inputs that do not lie as declared.
    orders: BTreeMap<&'a str, Order>,
    /// All before the expectation.
    source: &'a str,
}

/// What came of a case that is sound.
#[derive(Debug)]
enum Found {
    /// To be printed after `; ---`; may be nothing.
    Text(String),
    /// The message of a refusal, for an `; error: ` line.
    Refused(String),
}

impl<'a> Case<'a> {
    fn parse(text: &'a str) -> Result<Case<'a>, String> {
        let source = text.split("; ---\n").next().unwrap_or_default();
        let first = source.lines().next().and_then(|line| line.strip_prefix("; test "));
        let words = first.ok_or("the first line must be `; test COMMAND`")?.split_whitespace();
        let (sizes, ranges, orders) = Default::default();
        let mut case = Case { command: vec![], sizes, ranges, orders, source };
        for word in words {
            match word.split_once('=') {
                Some((symbol, size)) => {
                    let size = size.parse().map_err(|_| format!("`{word}` gives no size"))?;
                    case.sizes.insert(symbol.to_string(), size);
                }
                None => case.command.push(word),
            }
        }
        for line in source.lines().filter_map(|line| line.strip_prefix("; range ")) {
            let number = |word: &str| word.parse().map_err(|_| format!("`{word}` is no limit of a range"));
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [input, lo, hi] => case.ranges.insert(input, (number(lo)?, number(hi)?)),
                _ => return Err(format!("`; range {line}` is not `; range INPUT LO HI`")),
            };
        }
        for line in source.lines().filter_map(|line| line.strip_prefix("; order ")) {
            let mut words = line.split_whitespace();
            let input = words.next().unwrap_or_default();
            let axes = words.map(str::parse).collect::<Result<_, _>>().ok().and_then(Order::new);
            case.orders.insert(input, axes.ok_or_else(|| format!("`; order {line}` is not `; order INPUT AXES…`"))?);
        }
        Ok(case)
    }

    /// Does what the file asks for; an error if a check fails that no expectation can change.
    fn run(&self) -> Result<Found, String> {
        let graph = match parse_graph(self.source) {
            Ok(graph) => graph,
            Err(error) => return self.invalid(&error),
        };
        round_trip(&graph)?;
        if let Err(error) = verify(&graph) {
            return self.invalid(&error);
        }
        match self.command[..] {
            ["verify"] => Ok(Found::Text(String::new())),
            ["pass", "bind"] => self.bind(&graph),
            ["pass", "store"] => self.store(&graph),
            ["pass", ref names @ ..] if !names.is_empty() => self.passes(&graph, names),
            ["split"] => self.split(&graph),
            ["grad"] => grad(graph),
            ["run"] => self.compiled(&graph),
            ["fuse" | "memory"] => {
                let fused = fuse(&graph);
                let plan = memory(&graph, &fused);
                check(&graph, &fused, &plan).map_err(|e| e.to_string())?;
                Ok(Found::Text(fused.show(&graph, (self.command[0] == "memory").then_some(&plan))))
            }
            _ => Err(format!("there is no command `{}`", self.command.join(" "))),
        }
    }

    /// Only `verify` is about graphs that are not valid.
    fn invalid(&self, error: &dyn Error) -> Result<Found, String> {
        if self.command == ["verify"] { Ok(Found::Refused(error.to_string())) } else { Err(error.to_string()) }
    }

    fn bind(&self, graph: &Graph) -> Result<Found, String> {
        let bound = match bind(graph, &self.sizes) {
            Ok(bound) => bound,
            Err(error) => return Ok(Found::Refused(error.to_string())),
        };
        changed("bind", graph, &bound)?;
        run(&bound, &self.inputs(&bound)).map_err(|e| e.to_string())?;
        Ok(Found::Text(bound.to_string()))
    }

    /// The stored graph takes permuted inputs and gives permuted gradients and new values.
    fn store(&self, graph: &Graph) -> Result<Found, String> {
        let storage: Storage = self.orders.iter().map(|(name, order)| (name.to_string(), order.clone())).collect();
        let stored = store::run(graph, &storage).map_err(|e| e.to_string())?;
        changed("store", graph, &stored)?;
        let bound = |graph: &Graph| bind(graph, &self.sizes).map_err(|e| e.to_string());
        let (old, new) = (bound(graph)?, bound(&stored)?);
        let inputs = self.inputs(&old);
        let order = |name: &str| {
            let input = old.input(name).expect("it is an input");
            storage.order_of(input, old.ty(input.node).rank())
        };
        let permuted = |name: &str, value: &Tensor| order(name).map_or(value.clone(), |order| transposed(value, order));
        let stored_inputs = inputs.iter().map(|(name, value)| (name.clone(), permuted(name, value))).collect();
        let values = |graph: &Graph, inputs: &Inputs| run(graph, inputs).map_err(|e| e.to_string());
        let mut expected = values(&old, &inputs)?;
        for (output, value) in old.outputs.iter().zip(&mut expected) {
            if let Role::Grad(name) | Role::Update(name) = &output.role {
                *value = permuted(name, value);
            }
        }
        agree(&values(&new, &stored_inputs)?, &expected, 0.0)?;
        Ok(Found::Text(stored.to_string()))
    }

    /// The main graph on what the prologue keeps gives what the whole graph gives.
    fn split(&self, graph: &Graph) -> Result<Found, String> {
        let Some(Split { prologue, main }) = split::run(graph).map_err(|e| e.to_string())? else {
            return Ok(Found::Text("nothing is kept\n".into()));
        };
        changed("split", graph, &main)?;
        changed("split", graph, &prologue)?;
        let inputs = self.inputs(graph);
        let values = |graph: &Graph, inputs: &Inputs| run(graph, inputs).map_err(|e| e.to_string());
        let mut all = inputs.clone();
        for input in prologue.inputs.iter().filter(|input| input.kind == InputKind::Fixed) {
            let ty = prologue.ty(input.node);
            let shape = ty.sizes().ok_or("`split` is for graphs without symbols")?;
            all.insert(input.name.clone(), Tensor::full(ty.dtype, &shape, Scalar::of(ty.dtype, 0.0)));
        }
        for (output, value) in prologue.outputs.iter().zip(values(&prologue, &all)?) {
            let Role::Update(name) = &output.role else { return Err("the prologue has a result".into()) };
            all.insert(name.clone(), value);
        }
        agree(&values(&main, &all)?, &values(graph, &inputs)?, 0.0)?;
        Ok(Found::Text(format!("{prologue}; main\n{main}")))
    }

    /// Every pass must change the graph, or the file would not tell whether it works, and must keep its values.
    fn passes(&self, graph: &Graph, names: &[&str]) -> Result<Found, String> {
        let mut after = graph.clone();
        for name in names {
            let pass = PIPELINE.iter().find(|p| p.name == *name).ok_or_else(|| format!("there is no pass `{name}`"))?;
            let next = (pass.run)(&after).map_err(|e| e.to_string())?;
            changed(name, &after, &next)?;
            after = next;
        }
        let bound = |graph: &Graph| bind(graph, &self.sizes).map_err(|e| e.to_string());
        let (old, new) = (bound(graph)?, bound(&after)?);
        let inputs = self.inputs(&old);
        for inputs in [special(&inputs), inputs] {
            let values = |graph: &Graph| run(graph, &inputs).map_err(|e| e.to_string());
            agree(&values(&new)?, &values(&old)?, tolerance(&old)).map_err(|e| format!("{e}, for {inputs:?}"))?;
        }
        Ok(Found::Text(after.to_string()))
    }

    /// The compiled program against the evaluator, for all instruction sets of this CPU.
    fn compiled(&self, graph: &Graph) -> Result<Found, String> {
        let bound = bind(graph, &self.sizes).map_err(|e| e.to_string())?;
        let inputs = self.inputs(&bound);
        let expected = run(&bound, &inputs).map_err(|e| e.to_string())?;
        for options in every_isa() {
            let found = call(graph, &inputs, &options).map_err(|e| e.to_string())?;
            agree(&found, &expected, tolerance(&bound)).map_err(|e| format!("{:?}: {e}", options.isa))?;
        }
        Ok(Found::Text(String::new()))
    }

    /// Values of the inputs, the same each time.
    fn inputs(&self, graph: &Graph) -> Inputs {
        let range = |name: &str, ty: &Type| match (self.ranges.get(name), ty.dtype) {
            (Some(&range), _) => range,
            (None, DType::F32 | DType::F64) => (-2.0, 2.0),
            (None, DType::I64 | DType::I32) => (-9.0, 9.0),
            (None, DType::U8) => (0.0, 255.0),
            (None, DType::Bool) => (0.0, 1.0),
        };
        let args: Vec<Type> = graph.inputs.iter().map(|i| graph.ty(i.node).clone()).collect();
        let ranges = graph.inputs.iter().zip(&args).map(|(i, ty)| range(&i.name, ty)).collect();
        let values = Sample { args, ranges, attrs: Attrs::new() }.values(5);
        graph.inputs.iter().map(|i| i.name.clone()).zip(values).collect()
    }
}

/// The value with its axes in that order.
fn transposed(value: &Tensor, order: &Order) -> Tensor {
    let attrs = Attrs::new().ints("perm", order.axes().iter().map(|&axis| axis as i64).collect::<Vec<_>>());
    let ty = infer(Op::Transpose, &[&value.ty()], &attrs, &Default::default()).expect("the order fits the value");
    (Op::Transpose.def().eval)(&Eval { args: &[value], attrs: &attrs, ty: &ty }).expect("a transpose works")
}

/// The gradients of the first result to all float inputs, without what no output needs.
fn grad(graph: Graph) -> Result<Found, String> {
    let loss = graph.results().next().ok_or("there is no result")?;
    let mut b = Builder::on(graph);
    let inputs: Vec<(String, NodeId)> = b.graph.inputs.iter().map(|i| (i.name.clone(), i.node)).collect();
    let (names, wrt): (Vec<_>, Vec<_>) = inputs.into_iter().filter(|&(_, node)| b.dtype(node).is_float()).unzip();
    let gradients = match gradient(&mut b, loss, &wrt) {
        Ok(gradients) => gradients,
        Err(errors) => {
            let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
            return Ok(Found::Refused(messages.join("\n")));
        }
    };
    for (name, node) in names.into_iter().zip(gradients) {
        node.into_iter().for_each(|node| b.output(Role::Grad(name.clone()), node));
    }
    let graph = dl_ir::passes::dce::run(&b.finish()).map_err(|e| e.to_string())?;
    round_trip(&graph)?;
    verify(&graph).map_err(|e| e.to_string())?;
    Ok(Found::Text(graph.to_string()))
}

fn round_trip(graph: &Graph) -> Result<(), String> {
    match parse_graph(&graph.to_string()) {
        Ok(read) if read == *graph => Ok(()),
        other => Err(format!("does not come back from its text:\n{graph}\n{other:?}")),
    }
}

fn changed(pass: &str, before: &Graph, after: &Graph) -> Result<(), String> {
    verify(after).map_err(|e| format!("the result of `{pass}` is not valid: {e}\n{after}"))?;
    round_trip(after)?;
    if after == before { Err(format!("`{pass}` changes nothing:\n{after}")) } else { Ok(()) }
}

/// The inputs with floats among which rewritings err.
fn special(inputs: &Inputs) -> Inputs {
    const SPECIAL: [f64; 7] = [-0.0, f64::NAN, 1.0, f64::INFINITY, 0.0, -2.5, f64::NEG_INFINITY];
    let mut inputs = inputs.clone();
    for (i, value) in inputs.values_mut().enumerate().filter(|(_, v)| v.dtype.is_float()) {
        // Another step for each input, so that they meet in many ways.
        let values = (0..value.len()).map(|k| SPECIAL[(i + k * (i + 1)) % SPECIAL.len()]).collect();
        *value = Tensor::floats(value.dtype, &value.shape, values);
    }
    inputs
}

/// Room for sums in another order and short polynomials, relative to the largest element.
fn tolerance(graph: &Graph) -> f64 {
    if graph.nodes.iter().any(|node| node.ty.dtype == DType::F32) { 5e-6 } else { 1e-13 }
}

fn agree(found: &[Tensor], expected: &[Tensor], tolerance: f64) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} outputs instead of {}", found.len(), expected.len()));
    }
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = difference(found, expected);
        if error > if expected.dtype.is_float() { tolerance } else { 0.0 } {
            return Err(format!("output {i} is off by {error:e}:\n{found:?} instead of\n{expected:?}"));
        }
    }
    Ok(())
}

fn every_isa() -> Vec<Options> {
    let isas = dl_codegen::Isa::all().expect("the compiler knows this CPU");
    let mut all = vec![options(2); isas.len()];
    for (options, isa) in all.iter_mut().zip(isas) {
        options.isa = match isa.level() {
            Level::Baseline => Isa::Baseline,
            Level::Avx2 => Isa::Avx2,
            Level::Avx512 => Isa::Avx512,
        };
    }
    all
}

/// The file as it should be: with the error or the text that was found.
fn rewritten(case: &Case<'_>, found: &Found) -> String {
    let kept = case.source.lines().filter(|line| !line.starts_with("; error: "));
    let mut text: String = kept.map(|line| format!("{line}\n")).collect();
    match found {
        Found::Refused(message) => text.extend(message.lines().map(|line| format!("; error: {line}\n"))),
        Found::Text(found) if found.is_empty() => {}
        Found::Text(found) => text = text + "; ---\n" + found,
    }
    text
}

fn test(text: &str) -> Result<(), String> {
    let case = Case::parse(text)?;
    let expected = rewritten(&case, &case.run()?);
    if expected == text { Ok(()) } else { Err(format!("should be\n{expected}")) }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be read").map(|e| e.expect("it can be read on").path());
    let mut files: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "dlir"))
        .collect();
    files.sort();
    files
}

fn all() -> Vec<(PathBuf, String)> {
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests"));
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("a test file is text"))).collect()
}

#[test]
fn files_hold() {
    let bless = std::env::var_os("DL_BLESS").is_some_and(|v| v == "1");
    let mut failures = vec![];
    for (path, text) in all() {
        let result = match Case::parse(&text).and_then(|case| Ok((case.run()?, case))) {
            Ok((found, case)) if bless => fs::write(&path, rewritten(&case, &found)).map_err(|e| e.to_string()),
            _ => test(&text),
        };
        failures.extend(result.err().map(|why| format!("{}: {why}", path.display())));
    }
    assert!(failures.is_empty(), "{} fail; DL_BLESS=1 rewrites expectations\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_pass_has_a_file() {
    let texts = all();
    let named: Vec<&str> = texts.iter().flat_map(|(_, t)| t.lines().next()).flat_map(str::split_whitespace).collect();
    for name in PIPELINE.iter().map(|p| p.name).filter(|name| !name.contains('-')).chain(["bind", "store"]) {
        assert!(named.contains(&name), "no file tests `{name}`");
    }
}

#[test]
fn a_file_can_fail() {
    let graph = "%0 = input arg \"x\" f32[3]\n%1 = exp %0\n%2 = exp %0\n%3 = add %1 %2\nresult %3\n";
    let fails = |text: &str| test(text).unwrap_err();
    assert!(fails(&format!("; test pass fold\n{graph}")).contains("`fold` changes nothing"));
    assert!(fails(&format!("; test pass cse\n{graph}; ---\n{graph}")).contains("%2 = add %1 %1 : f32[3]"));
    assert!(fails(&format!("; test verify\n; error: no\n{graph}")).ends_with("add %1 %2\nresult %3\n"));
    assert!(fails("; test run\n%0 = exp %1\n").contains("%1 is used before it is defined"));
    assert!(fails("; test verify\n%0 = expp\n").contains("; error: line 2: there is no op `expp`"));
    assert!(fails(&format!("; test run now\n{graph}")).contains("no command `run now`"));
    let of = |value: f64| [Tensor::floats(DType::F64, &[], vec![value])];
    assert!(agree(&of(1.0), &of(1.0), 0.0).is_ok() && agree(&of(1.1), &of(1.0), 1e-6).is_err());
}
