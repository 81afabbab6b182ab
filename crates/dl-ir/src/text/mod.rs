//! The text form of graphs and modules: the wire format from macro to runtime, and the language of the file tests.
//!
//! ```text
//! module := "dlir" INT "model" NAME item*
//! item   := "dim" NAME | "require" dim "%" dim | "param" STR type init | "buffer" STR type init
//!         | "layer" STR STR | "locs" (INT ":" INT)* | "fn" NAME ("eval" | "train" | "grad") "{" graph call* "}"
//! init   := "zeros" | "ones" | "full" NUM | "fan_in" dim | "normal" NUM NUM | "uniform" NUM NUM
//! graph  := ("require" dim "%" dim)* node* output*
//! node   := VALUE "=" "input" KIND STR type ["@" INT]
//!         | VALUE "=" OP VALUE* (NAME "=" attr)* [":" type] ["@" INT]
//! output := "result" VALUE | "grad" STR VALUE | "update" STR VALUE
//! call   := "call" INT ":" type
//! type   := DTYPE "[" [dim ("," dim)*] "]"
//! dim    := term (("+" | "-") term)*      term := factor ("*" factor)*
//! factor := INT | "-" factor | NAME | "(" dim ")" | "floor" "(" dim "/" factor ")"
//! attr   := INT | "[" … "]" | WORD | "{" graph "}"
//! ```
//! `VALUE` is `%` and a name; printing numbers them by position. A node without a type gets the one that its op infers.
//! From `;` to the end of the line is a comment.

mod lex;
mod parse;

pub use parse::{ParseError, parse_dim, parse_graph, parse_module, parse_type};

use std::fmt::{self, Write};

use crate::attrs::Attr;
use crate::graph::{Graph, Loc, Node, Role};
use crate::module::{FnKind, Init, Module};
use crate::op::Op;
use crate::types::Scalar;

/// Prints a module; [`parse_module`] reads it back unchanged.
pub fn print_module(module: &Module) -> String {
    let mut out = String::new();
    write_module(&mut out, module).expect("writing to a string does not fail");
    out
}

fn write_module(out: &mut String, module: &Module) -> fmt::Result {
    writeln!(out, "dlir {}\nmodel {}", crate::module::VERSION, module.name)?;
    for dim in &module.dims {
        writeln!(out, "dim {dim}")?;
    }
    for (p, q) in module.facts.divides() {
        writeln!(out, "require {p} % {q}")?;
    }
    for param in &module.params {
        let word = if param.trainable { "param" } else { "buffer" };
        write!(out, "{word} {:?} {} ", param.name, param.ty)?;
        match &param.init {
            Init::Zeros => writeln!(out, "zeros")?,
            Init::Ones => writeln!(out, "ones")?,
            Init::Full(v) => writeln!(out, "full {v:?}")?,
            Init::FanIn(d) => writeln!(out, "fan_in {d}")?,
            Init::Xavier(d) => writeln!(out, "xavier {d}")?,
            Init::Normal(a, b) => writeln!(out, "normal {a:?} {b:?}")?,
            Init::Uniform(a, b) => writeln!(out, "uniform {a:?} {b:?}")?,
        }
    }
    for layer in &module.layers {
        writeln!(out, "layer {:?} {:?}", layer.name, layer.what)?;
    }
    if !module.locs.is_empty() {
        out.push_str("locs");
        for (line, column) in &module.locs {
            write!(out, " {line}:{column}")?;
        }
        out.push('\n');
    }
    for function in &module.functions {
        let kind = match function.kind {
            FnKind::Eval => "eval",
            FnKind::Train => "train",
            FnKind::Grad => "grad",
        };
        writeln!(out, "fn {} {kind} {{", function.name)?;
        write_graph(out, &function.graph, "  ")?;
        for (layer, ty) in &function.calls {
            writeln!(out, "  call {layer} : {ty}")?;
        }
        out.push_str("}\n");
    }
    Ok(())
}

fn write_graph(out: &mut String, graph: &Graph, indent: &str) -> fmt::Result {
    for (p, q) in graph.facts.divides() {
        writeln!(out, "{indent}require {p} % {q}")?;
    }
    // Inputs are found by position, so that printing stays linear.
    let mut inputs = vec![None; graph.nodes.len()];
    for input in &graph.inputs {
        inputs[input.node.index()] = Some(input);
    }
    for (i, node) in graph.nodes.iter().enumerate() {
        write!(out, "{indent}%{i} = ")?;
        match inputs[i] {
            Some(input) => write!(out, "input {} {:?} {}", input.kind.name(), input.name, node.ty)?,
            None => write_node(out, node, indent)?,
        }
        if node.loc != Loc::NONE {
            write!(out, " @{}", node.loc.0)?;
        }
        out.push('\n');
    }
    for output in &graph.outputs {
        match &output.role {
            Role::Result => writeln!(out, "{indent}result %{}", output.node.0)?,
            Role::Grad(name) => writeln!(out, "{indent}grad {name:?} %{}", output.node.0)?,
            Role::Update(name) => writeln!(out, "{indent}update {name:?} %{}", output.node.0)?,
        }
    }
    Ok(())
}

fn write_node(out: &mut String, node: &Node, indent: &str) -> fmt::Result {
    debug_assert!(node.op != Op::Input);
    out.push_str(node.op.name());
    for arg in &node.args {
        write!(out, " %{}", arg.0)?;
    }
    for (name, value) in node.attrs.iter() {
        write!(out, " {name}=")?;
        match value {
            Attr::Int(v) => write!(out, "{v}")?,
            Attr::Ints(v) => write_list(out, v.iter())?,
            Attr::Dims(v) => write_list(out, v.iter())?,
            Attr::DType(v) => write!(out, "{v}")?,
            Attr::Word(v) => out.push_str(v),
            Attr::Scalars(v) => write_list(out, v.iter())?,
            Attr::Graph(v) => {
                out.push_str("{\n");
                write_graph(out, v, &format!("{indent}  "))?;
                write!(out, "{indent}}}")?;
            }
        }
    }
    write!(out, " : {}", node.ty)
}

fn write_list(out: &mut String, items: impl Iterator<Item = impl fmt::Display>) -> fmt::Result {
    out.push('[');
    for (i, item) in items.enumerate() {
        write!(out, "{}{item}", if i == 0 { "" } else { ", " })?;
    }
    out.push(']');
    Ok(())
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        write_graph(&mut out, self, "")?;
        f.write_str(&out)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Float(v) => write!(f, "{v:?}"),
            Scalar::Int(v) => write!(f, "{v}"),
            Scalar::Bool(v) => write!(f, "{v}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{InputKind, NodeId};
    use crate::module::{Function, LayerDecl, ParamDecl};
    use crate::types::{DType, Type};
    use crate::{Attrs, Builder, Dim};

    fn sample() -> Graph {
        let mut b = Builder::new();
        b.loc = Loc(3);
        b.graph.facts.add_divides(Dim::sym("D"), Dim::from(4));
        let x = b.input(InputKind::Arg, "x", Type::new(DType::F32, [Dim::sym("N"), Dim::from(10)]));
        let half = b.constant(DType::F32, 0.5);
        let y = b.mul(x, half).unwrap();
        b.loc = Loc::NONE;
        let strange = b.constants(
            DType::F64,
            &[Dim::from(5)],
            vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e-300].into_iter().map(Scalar::Float).collect(),
        );
        let cast = b.cast(strange, DType::F32).unwrap();
        let sum = b.sum(cast, &[0], false).unwrap();
        let z = b.add(y, sum).unwrap();
        let noise = b.random("normal", DType::F32, &[Dim::sym("N"), Dim::from(10)]).unwrap();
        let z = b.add(z, noise).unwrap();
        b.output(Role::Result, z);
        b.output(Role::Grad("a.\"weight\"\n".into()), y);
        b.output(Role::Update("x".into()), z);
        b.finish()
    }

    #[test]
    fn graphs_come_back_unchanged() {
        let graph = sample();
        let text = graph.to_string();
        assert_eq!(parse_graph(&text).unwrap(), graph, "{text}");
    }

    #[test]
    fn modules_come_back_unchanged() {
        let dim = (Dim::sym("D") + Dim::ONE).floor_div(&Dim::from(2)).unwrap();
        let param = |name: &str, init, trainable| ParamDecl {
            name: name.into(),
            ty: Type::new(DType::F32, [dim.clone()]),
            init,
            trainable,
        };
        let graph = sample();
        let module = Module {
            name: "Net".into(),
            dims: vec!["D".into()],
            facts: graph.facts.clone(),
            params: vec![
                param("a", Init::FanIn(dim.clone() * Dim::sym("D") - Dim::from(3)), true),
                param("x", Init::Xavier(Dim::sym("D")), true),
                param("b", Init::Normal(0.0, 0.02), true),
                param("c", Init::Uniform(-1.0, 1e-9), true),
                param("d", Init::Full(-2.5), false),
            ],
            layers: vec![LayerDecl { name: "head.0".into(), what: "Linear(1 => 2) \\ \u{e9}".into() }],
            functions: [FnKind::Eval, FnKind::Train, FnKind::Grad]
                .map(|kind| Function {
                    name: "forward".into(),
                    kind,
                    calls: vec![(0, graph.ty(NodeId(0)).clone())],
                    graph: graph.clone(),
                })
                .into(),
            locs: vec![(1, 2), (30, 4)],
        };
        let text = print_module(&module);
        assert_eq!(parse_module(&text).unwrap(), module, "{text}");
    }

    #[test]
    fn a_missing_type_is_inferred() {
        let text = "%a = input arg \"x\" f32[2, 3] ; the operand\n%b = exp %a\n%c = reduce_sum %b axes=[1]\nresult %c";
        let graph = parse_graph(text).unwrap();
        assert_eq!(graph.nodes[2].ty, Type::new(DType::F32, [2]));
        assert_eq!(graph.nodes[1].attrs, Attrs::new());
    }

    #[test]
    fn errors_name_the_line() {
        let error = |text: &str| parse_graph(text).unwrap_err().to_string();
        assert_eq!(error("%0 = input arg \"x\" f32[2]\n%1 = expp %0"), "line 2: there is no op `expp`");
        assert_eq!(error("%0 = expp\n\nresult %0"), "line 1: there is no op `expp`");
        assert!(error("%0 = input arg \"x\" f32[2]\n\u{e9}").starts_with("line 2: only strings"));
        assert_eq!(error("%0 = exp %9\nresult %0"), "line 1: %9 is used before it is defined");
        assert!(error("%0 = input arg \"x\" f32[2]\n%1 = exp %0 %0").contains("takes 1 operands"));
        assert!(parse_module("dlir 99\n").unwrap_err().to_string().contains("version 99"));
        assert!(parse_module("dlir 1\nmodel A\nfn f eval {").is_err());
        assert!(parse_graph("%0 = input arg \"x").is_err());
    }
}
