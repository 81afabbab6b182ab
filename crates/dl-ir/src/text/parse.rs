//! Parsing the text form.

use std::collections::HashMap;
use std::fmt;

use super::lex::{Lexer, Token, unescape};
use crate::attrs::{Attr, AttrKind, Attrs};
use crate::build::infer;
use crate::dim::{Dim, Facts};
use crate::graph::{Graph, Input, InputKind, Loc, Node, NodeId, Output, Role};
use crate::module::{FnKind, Function, Init, LayerDecl, Module, ParamDecl, VERSION};
use crate::op::Op;
use crate::types::{DType, Scalar, Type};

/// Where and why a text is not a graph or module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

/// Reads a module as printed by [`print_module`](super::print_module).
///
/// # Errors
/// If the text is no module, or of another version.
pub fn parse_module(text: &str) -> Result<Module, ParseError> {
    let mut lx = Lexer::new(text)?;
    keyword(&mut lx, "dlir")?;
    let version = int(&mut lx)?;
    if version != i64::from(VERSION) {
        return Err(lx.error(format!("this is version {version} of the format, but version {VERSION} is expected")));
    }
    keyword(&mut lx, "model")?;
    let mut module = Module { name: word(&mut lx)?.to_string(), ..Module::default() };
    loop {
        match lx.bump()? {
            Token::End => return Ok(module),
            Token::Word("dim") => module.dims.push(word(&mut lx)?.to_string()),
            Token::Word("require") => fact(&mut lx, &mut module.facts)?,
            Token::Word("param") => module.params.push(param(&mut lx, true)?),
            Token::Word("buffer") => module.params.push(param(&mut lx, false)?),
            Token::Word("layer") => {
                let (name, what) = (string(&mut lx)?, string(&mut lx)?);
                module.layers.push(LayerDecl { name, what });
            }
            Token::Word("locs") => {
                while let Token::Int(line) = lx.token {
                    lx.bump()?;
                    punct(&mut lx, b':')?;
                    module.locs.push((line as u32, int(&mut lx)? as u32));
                }
            }
            Token::Word("fn") => module.functions.push(function(&mut lx)?),
            other => return Err(lx.error(format!("an item of a module is expected before {}", show(other)))),
        }
    }
}

/// Reads a graph as printed by its `Display`.
///
/// # Errors
/// If the text is no graph, or a node without a type has operands that its op refuses.
pub fn parse_graph(text: &str) -> Result<Graph, ParseError> {
    let mut lx = Lexer::new(text)?;
    let graph = graph(&mut lx)?;
    end(&mut lx)?;
    Ok(graph)
}

/// Reads a type: `f32[N, 10]`.
///
/// # Errors
/// If the text is no type.
pub fn parse_type(text: &str) -> Result<Type, ParseError> {
    let mut lx = Lexer::new(text)?;
    let ty = ty(&mut lx)?;
    end(&mut lx)?;
    Ok(ty)
}

/// Reads a dimension: `2*N + 1`.
///
/// # Errors
/// If the text is no dimension.
pub fn parse_dim(text: &str) -> Result<Dim, ParseError> {
    let mut lx = Lexer::new(text)?;
    let d = dim(&mut lx)?;
    end(&mut lx)?;
    Ok(d)
}

fn function(lx: &mut Lexer<'_>) -> Result<Function, ParseError> {
    let name = word(lx)?.to_string();
    let kind = match word(lx)? {
        "eval" => FnKind::Eval,
        "train" => FnKind::Train,
        "grad" => FnKind::Grad,
        other => return Err(lx.error(format!("`eval`, `train` or `grad` is expected, not `{other}`"))),
    };
    punct(lx, b'{')?;
    let graph = graph(lx)?;
    let mut calls = vec![];
    while lx.token == Token::Word("call") {
        lx.bump()?;
        let layer = int(lx)? as u32;
        punct(lx, b':')?;
        calls.push((layer, ty(lx)?));
    }
    punct(lx, b'}')?;
    Ok(Function { name, kind, graph, calls })
}

fn param(lx: &mut Lexer<'_>, trainable: bool) -> Result<ParamDecl, ParseError> {
    let (name, ty) = (string(lx)?, ty(lx)?);
    let init = match word(lx)? {
        "zeros" => Init::Zeros,
        "ones" => Init::Ones,
        "full" => Init::Full(float(lx)?),
        "fan_in" => Init::FanIn(dim(lx)?),
        "xavier" => Init::Xavier(dim(lx)?),
        "normal" => Init::Normal(float(lx)?, float(lx)?),
        "uniform" => Init::Uniform(float(lx)?, float(lx)?),
        other => return Err(lx.error(format!("`{other}` is no initialisation"))),
    };
    Ok(ParamDecl { name, ty, init, trainable })
}

fn fact(lx: &mut Lexer<'_>, facts: &mut Facts) -> Result<(), ParseError> {
    let p = dim(lx)?;
    punct(lx, b'%')?;
    facts.add_divides(p, dim(lx)?);
    Ok(())
}

fn graph<'a>(lx: &mut Lexer<'a>) -> Result<Graph, ParseError> {
    let mut graph = Graph::default();
    let mut names: HashMap<&'a str, NodeId> = HashMap::new();
    loop {
        match lx.token {
            Token::Word("require") => {
                lx.bump()?;
                fact(lx, &mut graph.facts)?;
            }
            Token::Value(name) => {
                lx.bump()?;
                punct(lx, b'=')?;
                node(lx, &mut graph, &names)?;
                if names.insert(name, NodeId(graph.nodes.len() as u32 - 1)).is_some() {
                    return Err(lx.error(format!("%{name} is defined twice")));
                }
            }
            Token::Word("result") => {
                lx.bump()?;
                let node = value(lx, &names)?;
                graph.outputs.push(Output { role: Role::Result, node });
            }
            Token::Word(role @ ("grad" | "update")) => {
                lx.bump()?;
                let name = string(lx)?;
                let role = if role == "grad" { Role::Grad(name) } else { Role::Update(name) };
                let node = value(lx, &names)?;
                graph.outputs.push(Output { role, node });
            }
            _ => return Ok(graph),
        }
    }
}

fn node<'a>(lx: &mut Lexer<'a>, graph: &mut Graph, names: &HashMap<&'a str, NodeId>) -> Result<(), ParseError> {
    let name = word(lx)?;
    if name == Op::Input.name() {
        let kind = word(lx)?;
        let kind = InputKind::ALL.into_iter().find(|k| k.name() == kind);
        let kind = kind.ok_or_else(|| lx.error("an input is arg, param, buffer, state, hyper or key"))?;
        let (name, ty) = (string(lx)?, ty(lx)?);
        graph.inputs.push(Input { name, kind, node: NodeId(graph.nodes.len() as u32) });
        let loc = loc(lx)?;
        graph.nodes.push(Node { op: Op::Input, args: vec![], attrs: Attrs::new(), ty, loc });
        return Ok(());
    }
    let op = Op::from_name(name).ok_or_else(|| lx.error(format!("there is no op `{name}`")))?;
    let mut args = vec![];
    while let Token::Value(_) = lx.token {
        // `%5 = …` starts the next node; an operand is never followed by `=`.
        if lx.next_is(b'=') {
            break;
        }
        args.push(value(lx, names)?);
    }
    let mut attrs = Attrs::new();
    for &(name, kind) in op.def().attrs {
        keyword(lx, name)?;
        punct(lx, b'=')?;
        attrs = attrs.with(name, attr(lx, kind)?);
    }
    let ty = if lx.token == Token::Punct(b':') {
        lx.bump()?;
        ty(lx)?
    } else {
        let types: Vec<&Type> = args.iter().map(|&a| graph.ty(a)).collect();
        infer(op, &types, &attrs, &graph.facts).map_err(|e| lx.error(e.to_string()))?
    };
    let loc = loc(lx)?;
    graph.nodes.push(Node { op, args, attrs, ty, loc });
    Ok(())
}

fn attr(lx: &mut Lexer<'_>, kind: AttrKind) -> Result<Attr, ParseError> {
    Ok(match kind {
        AttrKind::Int => Attr::Int(int(lx)?),
        AttrKind::Ints => Attr::Ints(list(lx, int)?),
        AttrKind::Dims => Attr::Dims(list(lx, dim)?),
        AttrKind::DType => Attr::DType(dtype(lx)?),
        AttrKind::Word => Attr::Word(word(lx)?.to_string()),
        AttrKind::Graph => {
            punct(lx, b'{')?;
            let body = graph(lx)?;
            punct(lx, b'}')?;
            Attr::Graph(Box::new(body))
        }
        AttrKind::Scalars => Attr::Scalars(list(lx, |lx| match lx.bump()? {
            Token::Int(v) => Ok(Scalar::Int(v)),
            Token::Float(v) => Ok(Scalar::Float(v)),
            Token::Word("true") => Ok(Scalar::Bool(true)),
            Token::Word("false") => Ok(Scalar::Bool(false)),
            other => Err(lx.error(format!("a constant is expected, not {}", show(other)))),
        })?),
    })
}

fn ty(lx: &mut Lexer<'_>) -> Result<Type, ParseError> {
    let dtype = dtype(lx)?;
    Ok(Type { dtype, shape: list(lx, dim)? })
}

fn dtype(lx: &mut Lexer<'_>) -> Result<DType, ParseError> {
    let name = word(lx)?;
    DType::from_name(name).ok_or_else(|| lx.error(format!("`{name}` is no element type")))
}

fn dim(lx: &mut Lexer<'_>) -> Result<Dim, ParseError> {
    let mut sum = term(lx)?;
    loop {
        match lx.token {
            Token::Punct(b'+') => {
                lx.bump()?;
                sum = sum + term(lx)?;
            }
            Token::Punct(b'-') => {
                lx.bump()?;
                sum = sum - term(lx)?;
            }
            _ => return Ok(sum),
        }
    }
}

fn term(lx: &mut Lexer<'_>) -> Result<Dim, ParseError> {
    let mut product = factor(lx)?;
    while lx.token == Token::Punct(b'*') {
        lx.bump()?;
        product = product * factor(lx)?;
    }
    Ok(product)
}

fn factor(lx: &mut Lexer<'_>) -> Result<Dim, ParseError> {
    match lx.bump()? {
        Token::Int(v) => Ok(Dim::from(v)),
        Token::Punct(b'-') => Ok(Dim::from(-1) * factor(lx)?),
        Token::Punct(b'(') => {
            let d = dim(lx)?;
            punct(lx, b')')?;
            Ok(d)
        }
        Token::Word("floor") => {
            punct(lx, b'(')?;
            let p = dim(lx)?;
            punct(lx, b'/')?;
            let q = factor(lx)?;
            punct(lx, b')')?;
            p.floor_div(&q).map_err(|e| lx.error(e.to_string()))
        }
        Token::Word(name) => Ok(Dim::sym(name)),
        other => Err(lx.error(format!("a dimension is expected, not {}", show(other)))),
    }
}

fn list<'a, T>(
    lx: &mut Lexer<'a>,
    mut item: impl FnMut(&mut Lexer<'a>) -> Result<T, ParseError>,
) -> Result<Vec<T>, ParseError> {
    punct(lx, b'[')?;
    let mut items = vec![];
    while lx.token != Token::Punct(b']') {
        if !items.is_empty() {
            punct(lx, b',')?;
        }
        items.push(item(lx)?);
    }
    lx.bump()?;
    Ok(items)
}

fn loc(lx: &mut Lexer<'_>) -> Result<Loc, ParseError> {
    if lx.token != Token::Punct(b'@') {
        return Ok(Loc::NONE);
    }
    lx.bump()?;
    Ok(Loc(int(lx)? as u32))
}

fn value(lx: &mut Lexer<'_>, names: &HashMap<&str, NodeId>) -> Result<NodeId, ParseError> {
    match lx.bump()? {
        Token::Value(name) => {
            names.get(name).copied().ok_or_else(|| lx.error(format!("%{name} is used before it is defined")))
        }
        other => Err(lx.error(format!("a value is expected, not {}", show(other)))),
    }
}

fn int(lx: &mut Lexer<'_>) -> Result<i64, ParseError> {
    match lx.bump()? {
        Token::Int(v) => Ok(v),
        other => Err(lx.error(format!("an integer is expected, not {}", show(other)))),
    }
}

fn float(lx: &mut Lexer<'_>) -> Result<f64, ParseError> {
    match lx.bump()? {
        Token::Float(v) => Ok(v),
        Token::Int(v) => Ok(v as f64),
        other => Err(lx.error(format!("a number is expected, not {}", show(other)))),
    }
}

fn word<'a>(lx: &mut Lexer<'a>) -> Result<&'a str, ParseError> {
    match lx.bump()? {
        Token::Word(w) => Ok(w),
        other => Err(lx.error(format!("a word is expected, not {}", show(other)))),
    }
}

fn string(lx: &mut Lexer<'_>) -> Result<String, ParseError> {
    match lx.bump()? {
        Token::Str(s) => unescape(s).ok_or_else(|| lx.error("a string has a bad escape")),
        other => Err(lx.error(format!("a string is expected, not {}", show(other)))),
    }
}

fn keyword(lx: &mut Lexer<'_>, expected: &str) -> Result<(), ParseError> {
    match lx.bump()? {
        Token::Word(w) if w == expected => Ok(()),
        other => Err(lx.error(format!("`{expected}` is expected, not {}", show(other)))),
    }
}

fn punct(lx: &mut Lexer<'_>, expected: u8) -> Result<(), ParseError> {
    match lx.bump()? {
        Token::Punct(p) if p == expected => Ok(()),
        other => Err(lx.error(format!("`{}` is expected, not {}", expected as char, show(other)))),
    }
}

fn end(lx: &mut Lexer<'_>) -> Result<(), ParseError> {
    match lx.bump()? {
        Token::End => Ok(()),
        other => Err(lx.error(format!("the text should end before {}", show(other)))),
    }
}

fn show(token: Token<'_>) -> String {
    match token {
        Token::Word(w) => format!("`{w}`"),
        Token::Value(v) => format!("`%{v}`"),
        Token::Int(v) => format!("`{v}`"),
        Token::Float(v) => format!("`{v:?}`"),
        Token::Str(s) => format!("{s:?}"),
        Token::Punct(p) => format!("`{}`", p as char),
        Token::End => "the end".to_string(),
    }
}
