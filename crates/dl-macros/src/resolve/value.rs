//! Arithmetic on what is known at compile time.

use dl_ir::Dim;
use dl_ir::nn::Value;

/// The value as a real number, if it is a number and not symbolic.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(value) => Some(*value),
        Value::Int(dim) => dim.as_const().map(|c| c as f64),
        _ => None,
    }
}

/// A constant of Rust's floats, such as `f32::INFINITY` or `std::f64::consts::PI`. Of those that depend on the type the one
/// of that type.
pub fn rust_constant(path: &syn::Path) -> Option<f64> {
    use std::f64::consts;

    let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let names: Vec<&str> =
        names.iter().map(String::as_str).skip_while(|name| matches!(*name, "std" | "core")).collect();
    Some(match names[..] {
        ["f32" | "f64", "INFINITY"] => f64::INFINITY,
        ["f32" | "f64", "NEG_INFINITY"] => f64::NEG_INFINITY,
        ["f32", "MAX"] => f32::MAX.into(),
        ["f64", "MAX"] => f64::MAX,
        ["f32", "MIN"] => f32::MIN.into(),
        ["f64", "MIN"] => f64::MIN,
        ["f32", "EPSILON"] => f32::EPSILON.into(),
        ["f64", "EPSILON"] => f64::EPSILON,
        ["f32" | "f64", "consts", "PI"] => consts::PI,
        ["f32" | "f64", "consts", "TAU"] => consts::TAU,
        ["f32" | "f64", "consts", "E"] => consts::E,
        ["f32" | "f64", "consts", "LN_2"] => consts::LN_2,
        ["f32" | "f64", "consts", "SQRT_2"] => consts::SQRT_2,
        _ => return None,
    })
}

/// An arithmetic operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

impl Arithmetic {
    /// The operator of a Rust expression, if it is arithmetic.
    pub fn of(op: &syn::BinOp) -> Option<Arithmetic> {
        match op {
            syn::BinOp::Add(_) => Some(Arithmetic::Add),
            syn::BinOp::Sub(_) => Some(Arithmetic::Sub),
            syn::BinOp::Mul(_) => Some(Arithmetic::Mul),
            syn::BinOp::Div(_) => Some(Arithmetic::Div),
            syn::BinOp::Rem(_) => Some(Arithmetic::Rem),
            _ => None,
        }
    }
}

/// `a op b` for two numbers known at compile time; whole numbers divide rounding down, as dimensions do.
///
/// # Errors
/// What is wrong: a division by zero, a value beyond 64 bits, or operands that are not numbers.
pub fn arithmetic(op: Arithmetic, a: &Value, b: &Value) -> Result<Value, String> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => whole(op, a, b).map(Value::Int),
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => Ok(Value::Float(match op {
                Arithmetic::Add => a + b,
                Arithmetic::Sub => a - b,
                Arithmetic::Mul => a * b,
                Arithmetic::Div => a / b,
                Arithmetic::Rem => a.rem_euclid(b),
            })),
            _ => Err(format!("no arithmetic between {} and {}", a.describe(), b.describe())),
        },
    }
}

fn whole(op: Arithmetic, a: &Dim, b: &Dim) -> Result<Dim, String> {
    const OVERFLOW: &str = "the number does not fit in 64 bits";
    if let (Some(x), Some(y)) = (a.as_const(), b.as_const()) {
        let result = match op {
            Arithmetic::Add => x.checked_add(y),
            Arithmetic::Sub => x.checked_sub(y),
            Arithmetic::Mul => x.checked_mul(y),
            Arithmetic::Div | Arithmetic::Rem if y == 0 => return Err("a division by zero".to_string()),
            Arithmetic::Div => x.checked_div_euclid(y).map(|q| q - i64::from(y < 0 && x.rem_euclid(y) != 0)),
            Arithmetic::Rem => x.checked_rem_euclid(y),
        };
        return result.map(Dim::from).ok_or_else(|| OVERFLOW.to_string());
    }
    let quotient = || a.floor_div(b).map_err(|e| e.to_string());
    Ok(match op {
        Arithmetic::Add => a.clone() + b.clone(),
        Arithmetic::Sub => a.clone() - b.clone(),
        Arithmetic::Mul => a.clone() * b.clone(),
        Arithmetic::Div => quotient()?,
        Arithmetic::Rem => a.clone() - quotient()? * b.clone(),
    })
}

/// A function of real numbers known at compile time, such as `sqrt` in `(DIM as f32).sqrt()`.
pub fn float_method(name: &str, x: f64, args: &[f64]) -> Option<f64> {
    Some(match (name, args) {
        ("sqrt", []) => x.sqrt(),
        ("rsqrt", []) => 1.0 / x.sqrt(),
        ("exp", []) => x.exp(),
        ("ln" | "log", []) => x.ln(),
        ("abs", []) => x.abs(),
        ("sin", []) => x.sin(),
        ("cos", []) => x.cos(),
        ("tanh", []) => x.tanh(),
        ("floor", []) => x.floor(),
        ("ceil", []) => x.ceil(),
        ("powf" | "powi" | "pow", [y]) => x.powf(*y),
        ("min", [y]) => x.min(*y),
        ("max", [y]) => x.max(*y),
        _ => return None,
    })
}

/// The names that [`float_method`] knows, for suggestions.
pub const FLOAT_METHODS: [&str; 13] =
    ["sqrt", "rsqrt", "exp", "ln", "abs", "sin", "cos", "tanh", "floor", "ceil", "powf", "min", "max"];

#[cfg(test)]
mod tests {
    use super::*;

    fn int(c: i64) -> Value {
        Value::Int(Dim::from(c))
    }

    #[test]
    fn whole_numbers_divide_rounding_down() {
        for (a, b) in [(7, 2), (-7, 2), (7, -2), (-7, -2), (6, 3), (-6, 3), (6, -3)] {
            let expected = (a as f64 / b as f64).floor() as i64;
            assert_eq!(arithmetic(Arithmetic::Div, &int(a), &int(b)), Ok(int(expected)), "{a} / {b}");
        }
    }

    #[test]
    fn symbols_cancel() {
        let n = Value::Int(Dim::sym("N"));
        let twice = arithmetic(Arithmetic::Mul, &n, &int(2)).unwrap();
        assert_eq!(arithmetic(Arithmetic::Div, &twice, &int(2)), Ok(n.clone()));
        assert_eq!(arithmetic(Arithmetic::Rem, &twice, &int(2)), Ok(int(0)));
    }

    #[test]
    fn what_has_no_value_is_an_error() {
        assert!(arithmetic(Arithmetic::Div, &int(1), &int(0)).is_err());
        assert!(arithmetic(Arithmetic::Mul, &int(i64::MAX), &int(2)).unwrap_err().contains("64 bits"));
        assert!(arithmetic(Arithmetic::Add, &int(1), &Value::Bool(true)).is_err());
        assert_eq!(arithmetic(Arithmetic::Div, &int(1), &Value::Float(2.0)), Ok(Value::Float(0.5)));
    }
}
