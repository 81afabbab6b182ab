//! Reads the text of kernels; the grammar is that of `text`.

use super::*;
use crate::Error;

/// Reads one kernel. It is not verified.
///
/// # Errors
/// The line and what was expected there.
pub fn parse(text: &str) -> Result<Kernel, Error> {
    let mut parser = Parser { tokens: tokens(text), at: 0, kernel: Builder::new("", 1).finish() };
    match parser.kernel() {
        Ok(()) => Ok(parser.kernel),
        Err(message) => {
            // The token at fault is the last one taken.
            let line = parser.tokens.get(parser.at.saturating_sub(1)).map_or(1, |(line, _)| *line);
            Err(Error::Parse { line, message })
        }
    }
}

type Parsed<T> = Result<T, String>;

struct Parser<'t> {
    tokens: Vec<(usize, &'t str)>,
    at: usize,
    kernel: Kernel,
}

/// Words, numbers and signs with their lines.
fn tokens(text: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if first.is_ascii_digit() {
                number_len(rest)
            } else if first.is_alphabetic() {
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else if rest.starts_with("..") || rest.starts_with("->") {
                2
            } else if first == '"' {
                rest[1..].find('"').map_or(rest.len(), |end| end + 2)
            } else {
                first.len_utf8()
            };
            tokens.push((number + 1, &rest[..len]));
            rest = rest[len..].trim_start();
        }
    }
    tokens
}

/// The length of a number: `12`, `1.5e-7`, `0x7f`; the `..` of a range ends it.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let hex = text.starts_with("0x");
    let mut len = 0;
    while len < bytes.len() {
        let (c, next) = (bytes[len], bytes.get(len + 1));
        let exponent = !hex && c == b'e' && matches!(next, Some(b'+' | b'-'));
        if exponent {
            len += 2;
        } else if c.is_ascii_alphanumeric() || c == b'.' && next != Some(&b'.') {
            len += 1;
        } else {
            break;
        }
    }
    len
}

impl<'t> Parser<'t> {
    fn kernel(&mut self) -> Parsed<()> {
        self.expect("kernel")?;
        let name = self.next()?;
        let name = name.strip_prefix('"').and_then(|n| n.strip_suffix('"'));
        self.kernel.name = name.ok_or("expected a name in quotes")?.to_string();
        self.expect("parts")?;
        self.kernel.parts = self.number()?;
        self.expect("{")?;
        while self.peek().starts_with('b') && self.peek_at(1) == ":" {
            self.numbered('b')?;
            self.expect(":")?;
            let dtype = self.dtype()?;
            self.expect("[")?;
            let len = self.number()?;
            self.expect("]")?;
            let access = match self.next()? {
                "read" => Access::Read,
                "write" => Access::Write,
                "readwrite" => Access::ReadWrite,
                "scratch" => Access::Scratch,
                other => return Err(format!("`{other}` is not an access")),
            };
            self.kernel.bufs.push(Buf { dtype, len, access });
        }
        self.kernel.body = self.statements()?;
        match self.next() {
            Ok(token) => Err(format!("expected the end, found `{token}`")),
            Err(_) => Ok(()),
        }
    }

    /// Statements up to the closing brace.
    fn statements(&mut self) -> Parsed<Vec<Stmt>> {
        let mut body = Vec::new();
        while !self.eat("}") {
            body.push(self.statement()?);
        }
        Ok(body)
    }

    fn block(&mut self) -> Parsed<Vec<Stmt>> {
        self.expect("{")?;
        self.statements()
    }

    fn statement(&mut self) -> Parsed<Stmt> {
        match self.peek() {
            "store" | "add" => self.store(),
            "for" => self.serial(),
            "vec" => self.vector(),
            "if" => {
                self.at += 1;
                let cond = self.value()?;
                Ok(Stmt::If { cond, body: self.block()? })
            }
            "rarely" => {
                self.at += 1;
                let cond = self.value()?;
                let body = self.block()?;
                let picks = self.results(|p| {
                    let out = p.typed()?;
                    p.expect("=")?;
                    let inside = p.value()?;
                    p.expect("else")?;
                    Ok(Pick { inside, other: p.value()?, out })
                })?;
                Ok(Stmt::Rarely { cond, picks, body })
            }
            "sort" => self.sort(),
            "contract" => self.contract(),
            word if word.starts_with('i') => self.index(),
            _ => {
                let value = self.typed()?;
                self.expect("=")?;
                Ok(Stmt::Let(value, self.expr()?))
            }
        }
    }

    fn store(&mut self) -> Parsed<Stmt> {
        let add = self.next()? == "add";
        let place = self.place()?;
        self.expect(",")?;
        let value = self.value()?;
        let guard = if self.eat("if") { Some(self.value()?) } else { None };
        Ok(Stmt::Store { place, value, add, guard })
    }

    fn sort(&mut self) -> Parsed<Stmt> {
        self.expect("sort")?;
        let (from, to) = (self.place()?, self.after_comma(Self::place)?);
        let len = self.after_comma(Self::number)?;
        let descending = match self.next()? {
            "ascending" => false,
            "descending" => true,
            other => return Err(format!("`{other}` is not an order")),
        };
        Ok(Stmt::Sort { from, to, len, descending })
    }

    fn serial(&mut self) -> Parsed<Stmt> {
        self.expect("for")?;
        let (var, lo, hi) = self.range_of()?;
        let inits = self.list("(", |p| {
            let param = p.typed()?;
            p.expect("=")?;
            Ok((param, p.value()?))
        })?;
        let body = self.block()?;
        let outs = self.results(|p| {
            let out = p.value()?;
            p.expect("=")?;
            Ok((out, p.value()?))
        })?;
        if inits.len() != outs.len() {
            return Err(format!("the loop carries {} values, not {}", inits.len(), outs.len()));
        }
        let carry = |((param, init), (out, next))| Carry { param, init, next, out };
        let carries: Vec<Carry> = inits.into_iter().zip(outs).map(carry).collect();
        for c in &carries {
            let dtype = self.kernel.values[c.param.0 as usize];
            self.set_type(c.out, dtype);
        }
        Ok(Stmt::For { var, lo, hi, carries, body })
    }

    fn vector(&mut self) -> Parsed<Stmt> {
        self.expect("vec")?;
        let (var, lo, hi) = self.range_of()?;
        let extent = match (lo.as_const(), hi.as_const()) {
            (Some(0), Some(hi)) if hi >= 0 => hi as u64,
            _ => return Err("expected `0..` and a number".into()),
        };
        let body = self.block()?;
        let reduces = self.results(|p| {
            let out = p.typed()?;
            p.expect("=")?;
            let name = p.next()?;
            let op = ReduceOp::from_name(name).ok_or_else(|| format!("`{name}` is not a reduction"))?;
            Ok(Reduce { op, value: p.value()?, out })
        })?;
        Ok(Stmt::Vec { var, extent, reduces, body })
    }

    fn contract(&mut self) -> Parsed<Stmt> {
        self.expect("contract")?;
        let m = self.axis()?;
        self.expect(",")?;
        let n = self.axis()?;
        let mut k = Vec::new();
        while self.eat(",") {
            let (var, lo, hi) = self.range_of()?;
            k.push(KLoop { var, lo, hi });
        }
        self.expect("lanes")?;
        let lanes = match self.next()? {
            "n" => Lanes::N,
            "k" => Lanes::K,
            other => return Err(format!("`{other}` is not an axis of lanes")),
        };
        self.expect(":")?;
        let acc = self.typed()?;
        self.expect("=")?;
        let a = self.place()?;
        self.expect("*")?;
        let b = self.place()?;
        let epilogue = self.block()?;
        Ok(Stmt::Contract(Box::new(Contract { m, n, k, a, b, lanes, acc, epilogue })))
    }

    fn index(&mut self) -> Parsed<Stmt> {
        let var = self.var()?;
        self.expect("=")?;
        let expr = match self.next()? {
            "check" => {
                let value = self.value()?;
                self.expect("<")?;
                let limit = self.number()?;
                self.expect("site")?;
                let site = self.number()?;
                return Ok(Stmt::Check { var, value, limit, site });
            }
            "affine" => IndexExpr::Affine(self.affine()?),
            "div" => IndexExpr::Div(self.affine()?, self.after_comma(Self::number)?),
            "mod" => IndexExpr::Mod(self.affine()?, self.after_comma(Self::number)?),
            "min" => IndexExpr::Min(self.affine()?, self.after_comma(Self::affine)?),
            "max" => IndexExpr::Max(self.affine()?, self.after_comma(Self::affine)?),
            "within" => {
                let at = self.affine()?;
                let (lo, hi) = self.bounds()?;
                IndexExpr::Within(at, lo, hi)
            }
            other => return Err(format!("`{other}` is not an index expression")),
        };
        Ok(Stmt::Index(var, expr))
    }

    fn expr(&mut self) -> Parsed<Expr> {
        let name = self.next()?;
        Ok(match name {
            "const" => Expr::Const(self.literal()?),
            "index" => Expr::Index(self.affine()?),
            "inrange" => {
                let at = self.affine()?;
                let (lo, hi) = self.bounds()?;
                Expr::InRange { at, lo, hi }
            }
            "load" => Expr::Load(self.place()?),
            "loadif" => Expr::LoadIf {
                place: self.place()?,
                guard: self.after_comma(Self::value)?,
                other: self.after_comma(Self::value)?,
            },
            "select" => Expr::Select(self.value()?, self.after_comma(Self::value)?, self.after_comma(Self::value)?),
            "muladd" => Expr::MulAdd(self.value()?, self.after_comma(Self::value)?, self.after_comma(Self::value)?),
            "cast" | "bitcast" => {
                let value = self.value()?;
                self.expect("to")?;
                let to = self.dtype()?;
                if name == "cast" { Expr::Cast(value, to) } else { Expr::Bitcast(value, to) }
            }
            "uniform" | "normal" => Expr::Random {
                dist: if name == "uniform" { Dist::Uniform } else { Dist::Normal },
                seed: self.value()?,
                step: self.after_comma(Self::value)?,
                stream: self.after_comma(Self::number)?,
                index: self.after_comma(Self::affine)?,
            },
            _ => match (UnOp::from_name(name), BinOp::from_name(name), CmpOp::from_name(name)) {
                (Some(op), ..) => Expr::Un(op, self.value()?),
                (_, Some(op), _) => Expr::Bin(op, self.value()?, self.after_comma(Self::value)?),
                (.., Some(op)) => Expr::Cmp(op, self.value()?, self.after_comma(Self::value)?),
                _ => return Err(format!("`{name}` is not an operation")),
            },
        })
    }

    /// A constant of the type of the value being defined, whose annotation stands three tokens before.
    fn literal(&mut self) -> Parsed<Lit> {
        let dtype = self.tokens.get(self.at.wrapping_sub(3)).and_then(|(_, t)| DType::from_name(t));
        let dtype = dtype.ok_or("a constant has a type")?;
        let sign = if self.eat("-") { "-" } else { "" };
        let text = format!("{sign}{}", self.next()?);
        let wrong = |_| format!("`{text}` is not a {dtype}");
        if let Some(hex) = text.strip_prefix("0x") {
            let bits = u64::from_str_radix(hex, 16).map_err(|_| format!("`{text}` is not a number"))?;
            return Ok(Lit { dtype, bits });
        }
        Ok(match dtype {
            DType::F32 => Lit::f32(text.parse().map_err(|_| wrong(()))?),
            DType::F64 => Lit::f64(text.parse().map_err(|_| wrong(()))?),
            DType::Bool => Lit::bool(text.parse().map_err(|_| wrong(()))?),
            DType::I32 | DType::U8 => Lit::i32(text.parse().map_err(|_| wrong(()))?),
            DType::I64 => Lit::i64(text.parse().map_err(|_| wrong(()))?),
        })
    }

    fn place(&mut self) -> Parsed<Place> {
        let buf = BufId(self.numbered('b')?);
        self.expect("[")?;
        let at = self.affine()?;
        self.expect("]")?;
        Ok(Place { buf, at })
    }

    fn axis(&mut self) -> Parsed<Axis> {
        let var = self.var()?;
        self.expect("<")?;
        Ok(Axis { var, extent: self.number()? })
    }

    /// `VAR in A..A`
    fn range_of(&mut self) -> Parsed<(Var, Affine, Affine)> {
        let var = self.var()?;
        self.expect("in")?;
        let lo = self.affine()?;
        self.expect("..")?;
        Ok((var, lo, self.affine()?))
    }

    /// `in INT..INT`
    fn bounds(&mut self) -> Parsed<(i64, i64)> {
        self.expect("in")?;
        let lo = self.affine()?;
        self.expect("..")?;
        let hi = self.affine()?;
        lo.as_const().zip(hi.as_const()).ok_or_else(|| "expected numbers".to_string())
    }

    fn affine(&mut self) -> Parsed<Affine> {
        let mut sum = Affine::from(0);
        let mut sign = if self.eat("-") { -1 } else { 1 };
        loop {
            sum = if self.peek().starts_with('i') {
                let var = self.var()?;
                let factor = if self.eat("*") { self.number::<i64>()? } else { 1 };
                sum.plus(var, sign * factor)
            } else {
                sum + sign * self.number::<i64>()?
            };
            sign = match self.peek() {
                "+" => 1,
                "-" => -1,
                _ => return Ok(sum),
            };
            self.at += 1;
        }
    }

    fn typed(&mut self) -> Parsed<Value> {
        let value = self.value()?;
        self.expect(":")?;
        let dtype = self.dtype()?;
        self.set_type(value, dtype);
        Ok(value)
    }

    fn set_type(&mut self, value: Value, dtype: DType) {
        let at = value.0 as usize;
        let len = self.kernel.values.len().max(at + 1);
        self.kernel.values.resize(len, DType::Bool);
        self.kernel.values[at] = dtype;
    }

    fn value(&mut self) -> Parsed<Value> {
        self.numbered('v').map(Value)
    }

    fn var(&mut self) -> Parsed<Var> {
        let number = self.numbered('i')?;
        self.kernel.vars = self.kernel.vars.max(number + 1);
        Ok(Var(number))
    }

    fn dtype(&mut self) -> Parsed<DType> {
        let name = self.next()?;
        DType::from_name(name).ok_or_else(|| format!("`{name}` is not a type"))
    }

    /// A name such as `v12`. The bound keeps a mistyped name from asking for a table of that size.
    fn numbered(&mut self, letter: char) -> Parsed<u32> {
        let name = self.next()?;
        let number = name.strip_prefix(letter).and_then(|n| n.parse().ok()).filter(|n| *n < 1 << 20);
        number.ok_or_else(|| format!("expected `{letter}` and a number, found `{name}`"))
    }

    fn number<T: std::str::FromStr>(&mut self) -> Parsed<T> {
        let text = self.next()?;
        text.parse().map_err(|_| format!("expected a number, found `{text}`"))
    }

    fn after_comma<T>(&mut self, f: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.expect(",")?;
        f(self)
    }

    fn results<T>(&mut self, item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        if self.eat("->") { self.list("(", item) } else { Ok(Vec::new()) }
    }

    /// `open item, item )`, or nothing.
    fn list<T>(&mut self, open: &str, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        if !self.eat(open) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if !self.eat(",") {
                self.expect(")")?;
                return Ok(items);
            }
        }
    }

    fn peek(&self) -> &'t str {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> &'t str {
        self.tokens.get(self.at + ahead).map_or("", |(_, t)| t)
    }

    fn next(&mut self) -> Parsed<&'t str> {
        let token = self.tokens.get(self.at).ok_or("the text ends too early")?.1;
        self.at += 1;
        Ok(token)
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.peek() == token;
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        let found = self.next().map_err(|e| format!("{e}, expected `{token}`"))?;
        if found == token { Ok(()) } else { Err(format!("expected `{token}`, found `{found}`")) }
    }
}
