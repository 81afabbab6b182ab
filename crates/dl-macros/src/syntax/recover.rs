//! Going on after a syntax error: skipping to the next item, and keeping the good statements of a body.

use std::collections::VecDeque;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::{Block, Expr, Ident, Pat, Stmt, Token, token};

use crate::diag::Diagnostics;

/// Whether an item begins here.
pub fn at_item(input: ParseStream) -> bool {
    let words = |word: &str| {
        let fork = input.cursor();
        fork.ident().is_some_and(|(ident, rest)| ident == word && rest.ident().is_some())
    };
    input.peek(Token![let])
        || input.peek(Token![const])
        || input.peek(Token![fn])
        || input.peek(Token![pub])
        || input.peek(Token![#])
        || ["dim", "dtype", "require", "block", "model"].into_iter().any(words)
}

/// Skips to where the next item probably begins: past a `;` or a `{ ... }`, or before a word that begins an item.
pub fn skip_item(input: ParseStream, failed_at: Span) {
    let mut moved = !same_place(input.span(), failed_at);
    while !input.is_empty() {
        if moved && at_item(input) {
            return;
        }
        let ends = input.peek(Token![;]) || input.peek(token::Brace);
        if input.parse::<TokenTree>().is_err() || ends {
            return;
        }
        moved = true;
    }
}

fn same_place(a: Span, b: Span) -> bool {
    a.start() == b.start() && a.end() == b.end()
}

/// Parses the statements of a function. Those that fail are reported one by one and stay as `Expr::Verbatim`
/// under the names that they bind.
pub fn statements(tokens: TokenStream, diagnostics: &mut Diagnostics) -> Vec<Stmt> {
    let whole = match Block::parse_within.parse2(tokens.clone()) {
        Ok(statements) => return statements,
        Err(error) => error,
    };
    let before = diagnostics.len();
    let mut out = Vec::new();
    let mut pieces = split_statements(tokens);
    while let Some(piece) = pieces.pop_front() {
        match Block::parse_within.parse2(piece.clone()) {
            Ok(statements) => out.extend(statements),
            Err(error) => {
                if let Some((whole, rest)) = unfinished_let(piece.clone()) {
                    diagnostics.push(error);
                    out.extend(whole);
                    pieces.push_front(rest);
                    continue;
                }
                match arrow(piece.clone()) {
                    Some(span) => diagnostics.at_span(span, LAYER_IN_BODY),
                    None => diagnostics.push(error),
                }
                out.extend(broken_statement(piece));
            }
        }
    }
    if diagnostics.len() == before {
        diagnostics.push(whole);
    }
    out
}

const LAYER_IN_BODY: &str = "`=>` belongs to the declaration of a layer: write `let layer = Linear(4 => 2);` in the \
                             model, beside its functions, and call `layer(x)` here";

/// The first `=>` in a statement.
fn arrow(tokens: TokenStream) -> Option<Span> {
    let mut equals = None;
    for token in tokens {
        match token {
            TokenTree::Punct(p) if p.as_char() == '=' => equals = Some(p.span()),
            TokenTree::Punct(p) if p.as_char() == '>' && equals.is_some() => return equals,
            TokenTree::Group(group) => match arrow(group.stream()) {
                Some(span) => return Some(span),
                None => equals = None,
            },
            _ => equals = None,
        }
    }
    None
}

/// Cuts after each `;`.
fn split_statements(tokens: TokenStream) -> VecDeque<TokenStream> {
    let mut pieces = VecDeque::from([TokenStream::new()]);
    for token in tokens {
        let ends = matches!(&token, TokenTree::Punct(p) if p.as_char() == ';');
        let last = pieces.back_mut().expect("starts with one piece");
        last.extend([token]);
        if ends {
            pieces.push_back(TokenStream::new());
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// A `let` whose `;` is missing, as if it stood there, and what follows.
fn unfinished_let(piece: TokenStream) -> Option<(Vec<Stmt>, TokenStream)> {
    let parser = |input: ParseStream| {
        let word: Token![let] = input.parse()?;
        let pattern = Pat::parse_single(input)?;
        let equals: Token![=] = input.parse()?;
        let value: Expr = input.parse()?;
        Ok((quote::quote!(#word #pattern #equals #value;), input.parse::<TokenStream>()?))
    };
    let (whole, rest) = parser.parse2(piece).ok()?;
    Some((Block::parse_within.parse2(whole).ok()?, rest)).filter(|(_, rest)| !rest.is_empty())
}

/// What stands for a statement that did not parse: its names bound to nothing in particular.
fn broken_statement(piece: TokenStream) -> Vec<Stmt> {
    let unknown = Expr::Verbatim(TokenStream::new());
    let mut names: Vec<Ident> = Vec::new();
    let mut after_let = false;
    for token in piece {
        match token {
            TokenTree::Ident(ident) if ident == "let" => after_let = true,
            TokenTree::Ident(ident) if after_let && ident != "mut" => {
                names.push(ident);
                after_let = false;
            }
            TokenTree::Group(group) if after_let => {
                let idents = group.stream().into_iter().filter_map(|t| match t {
                    TokenTree::Ident(ident) => Some(ident),
                    _ => None,
                });
                names.extend(idents);
                after_let = false;
            }
            _ => {}
        }
    }
    if names.is_empty() {
        return vec![Stmt::Expr(unknown, None)];
    }
    let bind = |name: Ident| -> Stmt {
        let tokens =
            [Ident::new("let", name.span()).into_token_stream(), name.into_token_stream(), quote::quote!(= ();)];
        let mut statement = syn::parse2(tokens.into_iter().collect()).expect("`let name = ();` parses");
        if let Stmt::Local(local) = &mut statement
            && let Some(init) = &mut local.init
        {
            *init.expr = unknown.clone();
        }
        statement
    };
    names.into_iter().map(bind).collect()
}
