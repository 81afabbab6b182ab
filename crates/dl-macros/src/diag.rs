//! Diagnostics: an accumulating list of errors with their tokens, and the helpers that word them.

pub use dl_ir::suggest::{did_you_mean, list_names, nearest};
use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens;

/// Every mistake found so far. Nothing stops at the first one: each stage adds to the list and goes on.
#[derive(Default)]
pub struct Diagnostics {
    errors: Vec<syn::Error>,
}

impl Diagnostics {
    /// Reports `message` at all of `tokens`.
    pub fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    /// Reports `message` at one span.
    pub fn at_span(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    /// Adds an error made elsewhere (by `syn`), splitting it where it holds several.
    ///
    /// What has been said of the same tokens before (a block is checked in each place where it is used) is left out.
    pub fn push(&mut self, error: syn::Error) {
        for error in error {
            let same = |other: &syn::Error| {
                let (a, b) = (other.span(), error.span());
                a.start() == b.start() && a.end() == b.end() && other.to_string() == error.to_string()
            };
            if !self.errors.iter().any(same) {
                self.errors.push(error);
            }
        }
    }

    /// Takes over the errors of another stage.
    pub fn extend(&mut self, other: Diagnostics) {
        other.errors.into_iter().for_each(|error| self.push(error));
    }

    /// Whether nothing has gone wrong.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// How many errors there are.
    pub fn len(&self) -> usize {
        self.errors.len()
    }

    /// One `compile_error!` for each error.
    pub fn to_tokens(&self) -> TokenStream {
        self.errors.iter().map(syn::Error::to_compile_error).collect()
    }

    /// The errors, in order.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &syn::Error> {
        self.errors.iter()
    }

    /// The messages alone, in order.
    #[cfg(test)]
    pub fn messages(&self) -> Vec<String> {
        self.errors.iter().map(ToString::to_string).collect()
    }
}

/// The user's own spelling of some tokens, shortened in the middle when long.
///
/// Blanks are put where the source has them, so `h.flatten()` comes back as `h.flatten()`.
pub fn source_text(tokens: impl ToTokens) -> String {
    const LONGEST: usize = 48;
    let mut out = String::new();
    let mut last_end = None;
    write_tokens(tokens.to_token_stream(), &mut out, &mut last_end);
    if out.chars().count() > LONGEST {
        let chars: Vec<char> = out.chars().collect();
        let head: String = chars[..20].iter().collect();
        let tail: String = chars[chars.len() - 20..].iter().collect();
        return format!("{}...{}", head.trim_end(), tail.trim_start());
    }
    out
}

/// Line and column.
type Position = (usize, usize);

fn write_tokens(tokens: TokenStream, out: &mut String, last_end: &mut Option<Position>) {
    for token in tokens {
        let (start, end) = (token.span().start(), token.span().end());
        let (start, end) = ((start.line, start.column), (end.line, end.column));
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                // The delimiters' own spans are not reliable: those of a group that syn prints cover all of it.
                write_token(open, start, (start.0, start.1 + open.len()), out, last_end);
                write_tokens(group.stream(), out, last_end);
                write_token(close, (end.0, end.1.saturating_sub(close.len())), end, out, last_end);
            }
            other => write_token(&other.to_string(), start, end, out, last_end),
        }
    }
}

fn write_token(text: &str, start: Position, end: Position, out: &mut String, last_end: &mut Option<Position>) {
    if last_end.is_some_and(|last| last != start) && !out.is_empty() {
        out.push(' ');
    }
    out.push_str(text);
    *last_end = Some(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_text_keeps_the_users_blanks() {
        let tokens: TokenStream = "h.flatten()  +  linear( x , 2 )".parse().unwrap();
        assert_eq!(source_text(&tokens), "h.flatten() + linear( x , 2 )");
        let printed: syn::Expr = syn::parse2(tokens).unwrap();
        assert_eq!(source_text(printed), "h.flatten() + linear( x , 2 )");
        let long: TokenStream = "a.really_long_method_name(with, many).arguments_and_more(x).end()".parse().unwrap();
        assert_eq!(
            source_text(long),
            "a.really_long_method...uments_and_more(x).end()".replace("uments_and_more", "ts_and_more")
        );
    }
}
