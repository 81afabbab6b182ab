//! `einsum("bhtd,bhsd->bhts", q, k)`: products summed over the axes that the result does not name.

use std::ops::Range;

use super::args::Args;
use super::common::{Made, elementwise};
use super::error::{ArgError, CallError};
use super::method::MethodDef;
use super::params::{Kind, Param};
use crate::build::Builder;
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[MethodDef {
    name: "einsum",
    aliases: &[],
    doc: "the product of tensors whose axes are named by letters, summed over the letters that the result does not \
          have: `einsum(\"bij,bjk->bik\", x, y)`; `...` stands for any axes, which broadcast",
    params: &[
        Param::required(
            "pattern",
            Kind::Pattern,
            "letters for the axes of each tensor, `->`, letters for the axes of the result",
        ),
        Param::required("tensors", Kind::Tensors, "the tensors").rest(),
    ],
    build: einsum,
}];

/// A letter and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Label {
    Axis(char, usize),
    Dots(usize),
}

/// The labels of one operand or of the result.
type Term = (Vec<Label>, Range<usize>);

#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    operands: Vec<Term>,
    result: Option<Term>,
}

/// The name of an axis: a letter, or one of those under `...`, counted from the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Letter(char),
    Dots(usize),
}

/// An operand on its way: a node and the names of its axes.
struct Named {
    node: NodeId,
    axes: Vec<Axis>,
}

type Problem = (Range<usize>, String);

fn einsum(b: &mut Builder, args: &Args) -> Made {
    let text = args.word("pattern");
    let nodes = args.tensors("tensors");
    let refuse = |(part, message): Problem| -> CallError { refusal(args, part, message).into() };
    let pattern = parse(text).map_err(refuse)?;
    if pattern.operands.len() != nodes.len() {
        let (named, given) = (pattern.operands.len(), nodes.len());
        let message = format!("the pattern is for {named} tensors, but {given} are given");
        return Err(refuse((0..text.len(), message)));
    }
    for (input, &node) in nodes.iter().enumerate() {
        super::common::floats(b, input, node)?;
    }
    let mut operands = vec![];
    for (i, &node) in nodes.iter().enumerate() {
        operands.push(name_axes(b, &pattern.operands[i], node, i).map_err(refuse)?);
    }
    check_sizes(b, &pattern, &operands).map_err(refuse)?;
    let result = result_axes(&pattern, &operands).map_err(refuse)?;
    let mut rest = operands.into_iter();
    let mut left = match rest.next() {
        Some(first) => first,
        None => return Err(refuse((0..text.len(), "there must be at least one tensor".into()))),
    };
    let mut waiting: Vec<Named> = rest.collect();
    while !waiting.is_empty() {
        let right = waiting.remove(0);
        let needed = |axis: &Axis| result.contains(axis) || waiting.iter().any(|w| w.axes.contains(axis));
        let alone = |a: &Named, other: &Named| -> Vec<Axis> {
            a.axes.iter().copied().filter(|x| !needed(x) && !other.axes.contains(x)).collect()
        };
        let (only_left, only_right) = (alone(&left, &right), alone(&right, &left));
        left = sum_out(b, left, &only_left)?;
        let right = sum_out(b, right, &only_right)?;
        let summed: Vec<Axis> = left.axes.iter().copied().filter(|x| right.axes.contains(x) && !needed(x)).collect();
        left = multiply(b, left, right, &summed)?;
    }
    let gone: Vec<Axis> = left.axes.iter().copied().filter(|x| !result.contains(x)).collect();
    let left = sum_out(b, left, &gone)?;
    let perm: Vec<usize> = result.iter().filter_map(|r| left.axes.iter().position(|x| x == r)).collect();
    Ok(b.transpose(left.node, &perm)?.into())
}

/// An error at a part of the pattern.
fn refusal(args: &Args, part: Range<usize>, message: String) -> ArgError {
    args.error("pattern", message).within(part)
}

fn parse(text: &str) -> Result<Pattern, Problem> {
    let arrow = text.find("->");
    let (left, right) = match arrow {
        Some(at) => (&text[..at], Some((&text[at + 2..], at + 2))),
        None => (text, None),
    };
    let mut operands = vec![];
    let mut start = 0;
    for part in left.split(',') {
        operands.push(term(part, start)?);
        start += part.len() + 1;
    }
    Ok(Pattern { operands, result: right.map(|(part, at)| term(part, at)).transpose()? })
}

fn term(text: &str, start: usize) -> Result<Term, Problem> {
    let mut labels: Vec<Label> = vec![];
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        let at = start + i;
        match c {
            ' ' => {}
            '.' if text[i..].starts_with("...") => {
                chars.next();
                chars.next();
                if labels.iter().any(|l| matches!(l, Label::Dots(_))) {
                    return Err((at..at + 3, "`...` may stand only once in a term".into()));
                }
                labels.push(Label::Dots(at));
            }
            '.' => return Err((at..at + 1, "an ellipsis has three dots: `...`".into())),
            c if c.is_ascii_alphabetic() => {
                if labels.iter().any(|l| matches!(l, Label::Axis(d, _) if *d == c)) {
                    return Err((
                        at..at + 1,
                        format!(
                            "axis `{c}` is repeated in `{}`; each axis of a tensor needs its own letter",
                            text.trim()
                        ),
                    ));
                }
                labels.push(Label::Axis(c, at));
            }
            c => {
                let why = format!("`{c}` is not a letter: axes are named by single letters, tensors are parted by `,`");
                return Err((at..at + c.len_utf8(), why));
            }
        }
    }
    Ok((labels, start..start + text.len()))
}

fn name_axes(b: &Builder, term: &Term, node: NodeId, i: usize) -> Result<Named, Problem> {
    let (labels, part) = term;
    let rank = b.rank(node);
    let letters = labels.iter().filter(|l| matches!(l, Label::Axis(..))).count();
    let dots = labels.len() > letters;
    if letters > rank || (!dots && letters < rank) {
        let mut message = format!("names {letters} axes, but tensor {} is {}", i + 1, b.ty(node));
        if letters < rank {
            message += "; `...` would stand for the others";
        }
        return Err((part.clone(), format!("the pattern {message}")));
    }
    let mut axes = vec![];
    for label in labels {
        match label {
            Label::Axis(c, _) => axes.push(Axis::Letter(*c)),
            Label::Dots(_) => axes.extend((0..rank - letters).rev().map(Axis::Dots)),
        }
    }
    Ok(Named { node, axes })
}

fn size(b: &Builder, operand: &Named, axis: Axis) -> Option<Dim> {
    operand.axes.iter().position(|x| *x == axis).map(|i| b.shape(operand.node)[i].clone())
}

fn check_sizes(b: &Builder, pattern: &Pattern, operands: &[Named]) -> Result<(), Problem> {
    for (i, operand) in operands.iter().enumerate() {
        for (label, part) in letters(&pattern.operands[i]) {
            let here = size(b, operand, Axis::Letter(label));
            for (j, other) in operands[..i].iter().enumerate() {
                if let (Some(first), Some(here)) = (size(b, other, Axis::Letter(label)), &here)
                    && !b.graph.facts.equal(&first, here)
                {
                    let mut message = format!(
                        "axis `{label}` is {first} in tensor {} ({}) and {here} in tensor {} ({})",
                        j + 1,
                        b.ty(other.node),
                        i + 1,
                        b.ty(operand.node)
                    );
                    if let Some((p, q)) = b.graph.facts.missing(&first, here) {
                        message += &format!("; they are equal with `require {p} % {q} == 0;`");
                    }
                    return Err((part, message));
                }
            }
        }
    }
    Ok(())
}

fn letters(term: &Term) -> impl Iterator<Item = (char, Range<usize>)> {
    term.0.iter().filter_map(|l| match l {
        Label::Axis(c, at) => Some((*c, *at..*at + 1)),
        Label::Dots(_) => None,
    })
}

/// The axes of the result: as the pattern says, or those under `...` and the letters that occur once,
/// in alphabetical order.
fn result_axes(pattern: &Pattern, operands: &[Named]) -> Result<Vec<Axis>, Problem> {
    let depth = operands
        .iter()
        .flat_map(|o| &o.axes)
        .filter_map(|a| if let Axis::Dots(i) = a { Some(i + 1) } else { None })
        .max();
    let dots = (0..depth.unwrap_or(0)).rev().map(Axis::Dots);
    let Some(result) = &pattern.result else {
        let mut all: Vec<char> = pattern.operands.iter().flat_map(|t| letters(t).map(|(c, _)| c)).collect();
        all.sort_unstable();
        let once = all.iter().filter(|c| all.iter().filter(|d| d == c).count() == 1);
        return Ok(dots.chain(once.map(|c| Axis::Letter(*c))).collect());
    };
    let mut axes = vec![];
    for label in &result.0 {
        match label {
            Label::Axis(c, at) if operands.iter().all(|o| !o.axes.contains(&Axis::Letter(*c))) => {
                return Err((*at..*at + 1, format!("axis `{c}` of the result is in none of the tensors")));
            }
            Label::Axis(c, _) => axes.push(Axis::Letter(*c)),
            Label::Dots(_) => axes.extend(dots.clone()),
        }
    }
    if depth.unwrap_or(0) > 0 && !result.0.iter().any(|l| matches!(l, Label::Dots(_))) {
        return Err((result.1.clone(), "the result needs `...` too, for the axes under it in the tensors".into()));
    }
    Ok(axes)
}

fn sum_out(b: &mut Builder, operand: Named, gone: &[Axis]) -> Result<Named, CallError> {
    let over: Vec<usize> = (0..operand.axes.len()).filter(|&i| gone.contains(&operand.axes[i])).collect();
    let node = b.sum(operand.node, &over, false)?;
    Ok(Named { node, axes: operand.axes.into_iter().filter(|x| !gone.contains(x)).collect() })
}

/// The product of two operands, summed over `summed`: a `dot` where axes are shared, else a broadcast product.
fn multiply(b: &mut Builder, mut left: Named, mut right: Named, summed: &[Axis]) -> Result<Named, CallError> {
    spread_dots(b, &mut left, &right)?;
    spread_dots(b, &mut right, &left)?;
    let at = |n: &Named, axis: &Axis| n.axes.iter().position(|x| x == axis);
    let pairs = |keep: &dyn Fn(&Axis) -> bool| -> Vec<(usize, usize)> {
        let shared = left.axes.iter().filter(|x| keep(x));
        shared.filter_map(|x| Some((at(&left, x)?, at(&right, x)?))).collect()
    };
    let (sum, batch) = (pairs(&|x| summed.contains(x)), pairs(&|x| !summed.contains(x)));
    if sum.is_empty() && batch.len() == left.axes.len() && left.axes == right.axes {
        let node = elementwise(b, Op::Mul, &[left.node, right.node])?;
        return Ok(Named { node, axes: left.axes });
    }
    let mut axes: Vec<Axis> = batch.iter().map(|p| left.axes[p.0]).collect();
    axes.extend(left.axes.iter().filter(|x| at(&right, x).is_none()));
    axes.extend(right.axes.iter().filter(|x| at(&left, x).is_none()));
    Ok(Named { node: b.dot(left.node, right.node, &batch, &sum)?, axes })
}

/// Axes under `...` broadcast: those of size 1 are repeated to the other side's size.
fn spread_dots(b: &mut Builder, operand: &mut Named, other: &Named) -> Result<(), CallError> {
    let mut shape = b.shape(operand.node).to_vec();
    for (i, axis) in operand.axes.iter().enumerate() {
        if let (Axis::Dots(_), Some(wanted)) = (axis, size(b, other, *axis))
            && shape[i].is(1)
        {
            shape[i] = wanted;
        }
    }
    operand.node = b.broadcast(operand.node, &shape)?;
    Ok(())
}
