//! Tokens of the text form.

use super::parse::ParseError;

/// A token; slices borrow from the source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A word: letters, digits, `_` and `.`, not starting with a digit.
    Word(&'a str),
    /// `%` and what names the value.
    Value(&'a str),
    Int(i64),
    Float(f64),
    /// The quoted part, escapes included.
    Str(&'a str),
    Punct(u8),
    End,
}

/// A cursor with one token of look-ahead.
pub(super) struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// Where the current token starts.
    start: usize,
    /// Where the token before it starts, which was the last to be read.
    last: usize,
    pub(super) token: Token<'a>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a str) -> Result<Lexer<'a>, ParseError> {
        let mut lexer = Lexer { source, at: 0, start: 0, last: 0, token: Token::End };
        lexer.bump()?;
        Ok(lexer)
    }

    /// Returns the current token and moves to the next.
    pub(super) fn bump(&mut self) -> Result<Token<'a>, ParseError> {
        let start = self.start;
        let next = self.lex()?;
        self.last = start;
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// An error at the token that was read last.
    pub(super) fn error(&self, message: impl Into<String>) -> ParseError {
        self.error_at(self.last, message)
    }

    fn error_at(&self, at: usize, message: impl Into<String>) -> ParseError {
        let line = self.source[..at].bytes().filter(|&b| b == b'\n').count() + 1;
        ParseError { line, message: message.into() }
    }

    /// Whether the token after the current one is that character.
    pub(super) fn next_is(&self, punct: u8) -> bool {
        self.source.as_bytes()[self.at..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&punct)
    }

    fn lex(&mut self) -> Result<Token<'a>, ParseError> {
        let bytes = self.source.as_bytes();
        while self.at < bytes.len() && (bytes[self.at].is_ascii_whitespace() || bytes[self.at] == b';') {
            if bytes[self.at] == b';' {
                self.run(|b| b != b'\n');
            } else {
                self.at += 1;
            }
        }
        self.start = self.at;
        let Some(&first) = bytes.get(self.at) else { return Ok(Token::End) };
        let rest = &bytes[self.at + 1..];
        let number_follows =
            rest.first().is_some_and(u8::is_ascii_digit) || rest.starts_with(b"inf") || rest.starts_with(b"NaN");
        match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let word = self.run(is_word);
                Ok(match word {
                    "inf" => Token::Float(f64::INFINITY),
                    "NaN" => Token::Float(f64::NAN),
                    _ => Token::Word(word),
                })
            }
            b'%' if bytes.get(self.at + 1).is_some_and(|&b| is_word(b)) => {
                self.at += 1;
                Ok(Token::Value(self.run(is_word)))
            }
            b'0'..=b'9' => self.number(),
            b'-' if number_follows => self.number(),
            b'"' => {
                self.at += 1;
                let from = self.at;
                while bytes.get(self.at).is_some_and(|&b| b != b'"') {
                    self.at += 1 + (bytes[self.at] == b'\\') as usize;
                }
                if self.at >= bytes.len() {
                    return Err(self.error_at(self.start, "a string is not closed"));
                }
                self.at += 1;
                Ok(Token::Str(&self.source[from..self.at - 1]))
            }
            _ if first.is_ascii() => {
                self.at += 1;
                Ok(Token::Punct(first))
            }
            _ => Err(self.error_at(self.start, "only strings and comments may hold characters outside ASCII")),
        }
    }

    fn number(&mut self) -> Result<Token<'a>, ParseError> {
        let from = self.at;
        self.at += 1;
        let bytes = self.source.as_bytes();
        let mut exponent = false;
        while let Some(&b) = bytes.get(self.at) {
            let sign_of_exponent = exponent && (b == b'-' || b == b'+') && matches!(bytes[self.at - 1], b'e' | b'E');
            if !(b.is_ascii_alphanumeric() || b == b'.' || sign_of_exponent) {
                break;
            }
            exponent |= b == b'e';
            self.at += 1;
        }
        let text = &self.source[from..self.at];
        if let Ok(v) = text.parse::<i64>() {
            return Ok(Token::Int(v));
        }
        text.parse::<f64>()
            .map(Token::Float)
            .map_err(|_| self.error_at(self.start, format!("`{text}` is not a number")))
    }

    fn run(&mut self, mut belongs: impl FnMut(u8) -> bool) -> &'a str {
        let from = self.at;
        while self.source.as_bytes().get(self.at).is_some_and(|&b| belongs(b)) {
            self.at += 1;
        }
        &self.source[from..self.at]
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'.'
}

/// Resolves the escapes that `{:?}` writes.
pub(super) fn unescape(quoted: &str) -> Option<String> {
    if !quoted.contains('\\') {
        return Some(quoted.to_string());
    }
    let mut out = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            '0' => '\0',
            'u' => {
                let hex: String = chars.by_ref().skip(1).take_while(|&c| c != '}').collect();
                char::from_u32(u32::from_str_radix(&hex, 16).ok()?)?
            }
            other => other,
        });
    }
    Some(out)
}
