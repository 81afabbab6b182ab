//! Diagnostics: an accumulating list of errors with their tokens, and the helpers that word them.

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
    pub fn push(&mut self, error: syn::Error) {
        self.errors.extend(error);
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

type Position = (usize, usize);

fn write_tokens(tokens: TokenStream, out: &mut String, last_end: &mut Option<Position>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                write_token(open, group.span_open(), out, last_end);
                write_tokens(group.stream(), out, last_end);
                write_token(close, group.span_close(), out, last_end);
            }
            other => write_token(&other.to_string(), other.span(), out, last_end),
        }
    }
}

fn write_token(text: &str, span: Span, out: &mut String, last_end: &mut Option<Position>) {
    let (start, end) = (span.start(), span.end());
    if last_end.is_some_and(|last| last != (start.line, start.column)) && !out.is_empty() {
        out.push(' ');
    }
    out.push_str(text);
    *last_end = Some((end.line, end.column));
}

/// The candidate nearest to a misspelt `word`, when one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (spelling_distance(word, candidate), candidate))
        .filter(|&(distance, candidate)| {
            distance <= limit || (candidate.len() > 3 && same_letters(word, candidate))
        })
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// ``; did you mean `x`?`` for the nearest candidate, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|found| format!("; did you mean `{found}`?")).unwrap_or_default()
}

/// Equal but for case and underscores: `max_pool_2d`, `maxpool2d`, `LayerNorm`, `layernorm`.
fn same_letters(a: &str, b: &str) -> bool {
    let letters = |s: &str| s.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect::<String>();
    letters(a) == letters(b)
}

/// Edits (insert, delete, replace, swap two neighbours) that turn `a` into `b`.
fn spelling_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut table = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = table[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let edit = (table[(i - 1) * width + j] + 1).min(table[i * width + j - 1] + 1).min(replace);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { edit.min(table[(i - 2) * width + j - 2] + 1) } else { edit }
            };
        }
    }
    table[a.len() * width + b.len()]
}

/// `` `a`, `b` and `c` `` for messages that list what there is.
pub fn list_names<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{}`", n.as_ref())).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_what_was_meant() {
        let layers = ["Linear", "LayerNorm", "Conv2d", "Relu"];
        assert_eq!(nearest("Liner", layers), Some("Linear"));
        assert_eq!(nearest("conv2d", layers), Some("Conv2d"));
        assert_eq!(nearest("layer_norm", layers), Some("LayerNorm"));
        assert_eq!(nearest("Rleu", layers), Some("Relu"));
        assert_eq!(nearest("Attention", layers), None);
        assert_eq!(nearest("x", ["h", "y_hat"]), Some("h"));
    }

    #[test]
    fn source_text_keeps_the_users_blanks() {
        let tokens: TokenStream = "h.flatten()  +  linear( x , 2 )".parse().unwrap();
        assert_eq!(source_text(tokens), "h.flatten() + linear( x , 2 )");
        let long: TokenStream = "a.really_long_method_name(with, many).arguments_and_more(x).end()".parse().unwrap();
        assert_eq!(source_text(long), "a.really_long_method...uments_and_more(x).end()".replace("uments_and_more", "ts_and_more"));
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(list_names(&["a"]), "`a`");
        assert_eq!(list_names(&["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
