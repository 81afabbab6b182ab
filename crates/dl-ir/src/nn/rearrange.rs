//! `x.rearrange("b t (three h d) -> three b h t d", three = 3, h = HEADS)`: axes split, joined and reordered by name,
//! as in einops; `reduce` folds the axes that the result does not have, `repeat` adds axes.

use std::ops::Range;

use super::args::Args;
use super::common::{Made, X, floats, made};
use super::error::CallError;
use super::method::MethodDef;
use super::params::{Kind, Param};
use crate::build::Builder;
use crate::dim::Dim;
use crate::graph::NodeId;
use crate::op::Op;
use crate::suggest::did_you_mean;

const PATTERN: Param =
    Param::required("pattern", Kind::Pattern, "the axes before and after: `\"b (h w) c -> b c h w\"`");
const SIZES: Param = Param::required("sizes", Kind::Names, "sizes of axes by name");

/// The methods of this file.
pub const METHODS: &[MethodDef] = &[
    MethodDef {
        name: "rearrange",
        aliases: &[],
        doc: "axes split, joined and reordered by name, as in einops",
        params: &[X, PATTERN, SIZES],
        build: |b, a| apply(b, a, Mode::Rearrange),
    },
    MethodDef {
        name: "reduce",
        aliases: &[],
        doc: "rearrange, folding the axes that the result does not have",
        params: &[
            X,
            PATTERN,
            Param::required("op", Kind::Word(&["sum", "mean", "max", "min", "prod"]), "how they are folded"),
            SIZES,
        ],
        build: |b, a| apply(b, a, Mode::Reduce),
    },
    MethodDef {
        name: "repeat",
        aliases: &[],
        doc: "rearrange, repeating along the axes that only the result has",
        params: &[X, PATTERN, SIZES],
        build: |b, a| apply(b, a, Mode::Repeat),
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Rearrange,
    Reduce,
    Repeat,
}

/// What stands in a pattern, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Name(String),
    One,
    Dots,
}

type Placed = (Item, Range<usize>);
type Problem = (Range<usize>, String);

/// One axis of a tensor: the axes joined in it.
#[derive(Clone, Debug)]
struct Group {
    items: Vec<Placed>,
    part: Range<usize>,
}

type Side = Vec<Group>;

fn apply(b: &mut Builder, args: &Args, mode: Mode) -> Made {
    let x = args.tensor("x");
    let refuse = |(part, message): Problem| -> CallError { args.error("pattern", message).within(part).into() };
    let text = args.word("pattern");
    let (left, right) = parse(text).map_err(refuse)?;
    let rank = b.rank(x);
    let (left, dots) = spread(left, rank, b, x).map_err(refuse)?;
    let right = name_dots(right, dots, &left).map_err(refuse)?;
    check_names(args, &left, &right, mode).map_err(refuse)?;
    let mut sizes = solve(b, args, x, &left)?;
    // Axes that only the result has are repeated; their sizes were given.
    for (name, size) in args.names() {
        if !sizes.iter().any(|(n, _)| n == name) {
            sizes.push((name.clone(), size.clone()));
        }
    }
    let size_of = |name: &str| sizes.iter().find(|(n, _)| n == name).map_or(Dim::ONE, |(_, d)| d.clone());
    let from = names(&left);
    let to = names(&right);
    let split: Vec<Dim> = from.iter().map(|n| size_of(n)).collect();
    let mut y = b.reshape(x, &split)?;
    let folded: Vec<usize> = (0..from.len()).filter(|&i| !to.contains(&from[i])).collect();
    y = fold(b, args, y, &folded)?;
    let kept: Vec<&String> = from.iter().filter(|n| to.contains(n)).collect();
    let perm: Vec<usize> = to.iter().filter_map(|n| kept.iter().position(|k| *k == n)).collect();
    y = b.transpose(y, &perm)?;
    if mode == Mode::Repeat {
        let ones: Vec<Dim> = to.iter().map(|n| if kept.contains(&n) { size_of(n) } else { Dim::ONE }).collect();
        let full: Vec<Dim> = to.iter().map(|n| size_of(n)).collect();
        y = b.reshape(y, &ones)?;
        y = b.broadcast(y, &full)?;
    }
    let joined: Vec<Dim> = right
        .iter()
        .map(|g| g.items.iter().fold(Dim::ONE, |n, i| if let Item::Name(name) = &i.0 { n * size_of(name) } else { n }))
        .collect();
    made(b.reshape(y, &joined))
}

fn fold(b: &mut Builder, args: &Args, x: NodeId, over: &[usize]) -> Result<NodeId, CallError> {
    if over.is_empty() {
        return Ok(x);
    }
    Ok(match args.word("op") {
        "mean" => {
            floats(b, 0, x)?;
            b.mean(x, over, false)?
        }
        "max" => b.reduce(Op::ReduceMax, x, over, false)?,
        "min" => b.reduce(Op::ReduceMin, x, over, false)?,
        "prod" => b.reduce(Op::ReduceProd, x, over, false)?,
        _ => b.sum(x, over, false)?,
    })
}

/// The names of all axes of a side in order.
fn names(side: &Side) -> Vec<String> {
    let items = side.iter().flat_map(|g| &g.items);
    items.filter_map(|(item, _)| if let Item::Name(name) = item { Some(name.clone()) } else { None }).collect()
}

fn parse(text: &str) -> Result<(Side, Side), Problem> {
    let Some(arrow) = text.find("->") else {
        return Err((0..text.len(), "a pattern has the axes before, `->` and the axes after".into()));
    };
    if let Some(second) = text[arrow + 2..].find("->") {
        let at = arrow + 2 + second;
        return Err((at..at + 2, "a pattern has only one `->`".into()));
    }
    Ok((side(&text[..arrow], 0)?, side(&text[arrow + 2..], arrow + 2)?))
}

fn side(text: &str, start: usize) -> Result<Side, Problem> {
    let mut groups: Side = vec![];
    let mut open: Option<Group> = None;
    let mut seen: Vec<Item> = vec![];
    let bytes = text.as_bytes();
    let mut i = 0;
    while let Some(c) = text[i..].chars().next() {
        let at = start + i;
        match c {
            c if c.is_whitespace() => i += c.len_utf8(),
            '(' if open.is_some() => return Err((at..at + 1, "parentheses do not nest".into())),
            '(' => {
                open = Some(Group { items: vec![], part: at..at + 1 });
                i += 1;
            }
            ')' => {
                let Some(mut group) = open.take() else {
                    return Err((at..at + 1, "this `)` closes nothing".into()));
                };
                group.part.end = at + 1;
                groups.push(group);
                i += 1;
            }
            _ => {
                let end = item_end(bytes, i);
                let part = at..start + end;
                let item = item(&text[i..end], &part)?;
                if item != Item::One && seen.contains(&item) {
                    return Err((part, format!("axis `{}` is repeated on this side", &text[i..end])));
                }
                seen.push(item.clone());
                match &mut open {
                    Some(group) => group.items.push((item, part)),
                    None => groups.push(Group { items: vec![(item, part.clone())], part }),
                }
                i = end;
            }
        }
    }
    match open {
        Some(group) => Err((group.part, "this `(` is never closed".into())),
        None => Ok(groups),
    }
}

/// Where the word or the dots that begin at `i` end.
fn item_end(bytes: &[u8], i: usize) -> usize {
    let same = |c: u8| if bytes[i] == b'.' { c == b'.' } else { !c.is_ascii_whitespace() && !b"().".contains(&c) };
    (i..bytes.len()).find(|&j| !same(bytes[j])).unwrap_or(bytes.len())
}

fn item(word: &str, part: &Range<usize>) -> Result<Item, Problem> {
    let named = |c: char| c == '_' || c.is_ascii_alphanumeric();
    match word {
        "..." | "…" => Ok(Item::Dots),
        "1" => Ok(Item::One),
        "_" => Err((part.clone(), "`_` is no name; every axis of a pattern needs one".into())),
        _ if word.starts_with('.') => Err((part.clone(), "an ellipsis has three dots: `...`".into())),
        _ if word.starts_with(|c: char| c.is_ascii_digit()) => Err((
            part.clone(),
            format!("`{word}` is no name: give the axis one, and its size as an argument, `name = {word}`"),
        )),
        _ if word.chars().all(named) => Ok(Item::Name(word.to_string())),
        _ => Err((part.clone(), format!("`{word}` is no name of an axis: letters, digits and `_`"))),
    }
}

/// The left side with `...` replaced by as many axes as are left; how many those are.
fn spread(side: Side, rank: usize, b: &Builder, x: NodeId) -> Result<(Side, usize), Problem> {
    let grouped = side.iter().filter(|g| g.part != g.items.first().map_or(g.part.clone(), |i| i.1.clone()));
    if let Some((_, part)) = grouped.flat_map(|g| &g.items).find(|(item, _)| *item == Item::Dots) {
        return Err((part.clone(), "on the left `...` cannot stand in parentheses".into()));
    }
    let has_dots = side.iter().any(|g| g.items.iter().any(|i| i.0 == Item::Dots));
    let named = side.len() - usize::from(has_dots);
    if named > rank || (!has_dots && named < rank) {
        let whole = side.first().map_or(0, |g| g.part.start)..side.last().map_or(0, |g| g.part.end);
        let hint = if named < rank { "; `...` would stand for the others" } else { "" };
        return Err((whole, format!("the pattern names {named} axes, but the tensor is {}{hint}", b.ty(x))));
    }
    let count = rank - named;
    let mut spread = vec![];
    for group in side {
        match &group.items[..] {
            [(Item::Dots, part)] => {
                spread.extend((0..count).map(|i| Group { items: vec![dot(i, part)], part: part.clone() }))
            }
            _ => spread.push(group),
        }
    }
    Ok((spread, count))
}

fn dot(i: usize, part: &Range<usize>) -> Placed {
    (Item::Name(format!("...{i}")), part.clone())
}

/// The right side with `...` replaced by the axes that it stands for on the left.
fn name_dots(side: Side, count: usize, left: &Side) -> Result<Side, Problem> {
    let mut named = vec![];
    let mut found = false;
    for group in side {
        let parted = !matches!(group.items[..], [(Item::Dots, ref part)] if *part == group.part);
        let mut items = vec![];
        for (item, part) in group.items {
            if item == Item::Dots {
                found = true;
                items.extend((0..count).map(|i| dot(i, &part)));
            } else {
                items.push((item, part));
            }
        }
        match (parted, items.is_empty()) {
            (true, _) => named.push(Group { items, part: group.part }),
            (false, _) => named.extend(items.into_iter().map(|i| Group { part: i.1.clone(), items: vec![i] })),
        }
    }
    let dots =
        left.iter().flat_map(|g| &g.items).find(|(item, _)| matches!(item, Item::Name(n) if n.starts_with("...")));
    match dots {
        Some((_, part)) if !found => Err((part.clone(), "`...` stands on the left, but not on the right".into())),
        _ => Ok(named),
    }
}

/// Which names may stand on one side only depends on the mode.
fn check_names(args: &Args, left: &Side, right: &Side, mode: Mode) -> Result<(), Problem> {
    let (from, to) = (names(left), names(right));
    for (item, part) in right.iter().flat_map(|g| &g.items) {
        let Item::Name(name) = item else { continue };
        let sized = args.names().iter().any(|(n, _)| n == name);
        if from.contains(name) || (mode == Mode::Repeat && sized) {
            continue;
        }
        let hint = if mode == Mode::Repeat {
            format!("; how often it repeats is an argument: `{name} = ..`")
        } else {
            did_you_mean(name, from.iter().map(String::as_str))
        };
        return Err((part.clone(), format!("axis `{name}` is not on the left{hint}")));
    }
    for (item, part) in left.iter().flat_map(|g| &g.items) {
        let Item::Name(name) = item else { continue };
        if mode != Mode::Reduce && !to.contains(name) {
            let hint = did_you_mean(name, to.iter().map(String::as_str));
            let hint = if hint.is_empty() && mode == Mode::Rearrange {
                "; `reduce` folds axes away".to_string()
            } else {
                hint
            };
            return Err((part.clone(), format!("axis `{name}` is not on the right{hint}")));
        }
    }
    Ok(())
}

/// The size of every axis named on the left.
fn solve(b: &Builder, args: &Args, x: NodeId, left: &Side) -> Result<Vec<(String, Dim)>, CallError> {
    let refuse = |part: &Range<usize>, message: String| -> CallError {
        args.error("pattern", message).within(part.clone()).into()
    };
    let given = |name: &str| args.names().iter().find(|(n, _)| n == name).map(|(_, d)| d.clone());
    let mut sizes: Vec<(String, Dim)> = vec![];
    for (group, size) in left.iter().zip(b.shape(x)) {
        let mut known = Dim::ONE;
        let mut unknown: Vec<&str> = vec![];
        for (item, _) in &group.items {
            let Item::Name(name) = item else { continue };
            match given(name) {
                Some(dim) => {
                    known = known * dim.clone();
                    sizes.push((name.clone(), dim));
                }
                None => unknown.push(name),
            }
        }
        if unknown.len() > 1 {
            let all: Vec<String> = unknown.iter().map(|n| format!("`{n} = ..`")).collect();
            let message = format!(
                "the sizes of {} are not determined: all but one are needed as arguments, such as {}",
                crate::suggest::list_names(&unknown),
                all[0]
            );
            return Err(refuse(&group.part, message));
        }
        let rest = match (unknown.is_empty(), known.is(0)) {
            (false, false) => size.floor_div(&known).unwrap_or(Dim::ONE),
            _ => Dim::ONE,
        };
        if !b.graph.facts.equal(&(known.clone() * rest.clone()), size) {
            return Err(refuse(&group.part, misfit(b, x, size, &known, !unknown.is_empty())));
        }
        sizes.extend(unknown.first().map(|name| (name.to_string(), rest)));
    }
    for (name, _) in args.names() {
        let used = left.iter().flat_map(|g| &g.items).any(|(i, _)| matches!(i, Item::Name(n) if n == name));
        if !used && !args.word("pattern").split(|c: char| !(c == '_' || c.is_alphanumeric())).any(|w| w == name) {
            let all = names(left);
            let message =
                format!("the pattern has no axis `{name}`{}", did_you_mean(name, all.iter().map(String::as_str)));
            return Err(super::error::ArgError::new(args.name_at(name), message).into());
        }
    }
    Ok(sizes)
}

fn misfit(b: &Builder, x: NodeId, size: &Dim, known: &Dim, open: bool) -> String {
    let ty = b.ty(x);
    let split = size.floor_div(known).map(|q| q * known.clone());
    let needs = split.ok().and_then(|back| b.graph.facts.missing(&back, size));
    match (open, needs) {
        (true, Some((p, q))) => {
            format!("the axis has size {size}, which is split evenly only with `require {p} % {q} == 0;`")
        }
        (true, None) => format!("the axis has size {size} (the tensor is {ty}), which does not divide by {known}"),
        (false, _) => format!("the axis has size {size} (the tensor is {ty}), but the pattern makes it {known}"),
    }
}
