//! Binding a function: what the symbolic dimensions are, given the arrays at hand.

use std::collections::BTreeSet;

use dl_ir::{Bindings, Dim, Facts, Graph, InputKind, Type};

use crate::array::AnyArray;
use crate::error::{Error, Result};

/// Matches `args` with the arguments that `graph` declares and returns the value of every symbol, those of `dims` (the
/// dimensions of the model) among them that follows from the arguments.
pub(crate) fn bind(function: &str, graph: &Graph, dims: &Bindings, args: &[AnyArray<'_>]) -> Result<Bindings> {
    let declared: Vec<(&str, &Type)> =
        graph.inputs.iter().filter(|i| i.kind == InputKind::Arg).map(|i| (i.name.as_str(), graph.ty(i.node))).collect();
    if declared.len() != args.len() {
        return Err(Error::ArgumentCount { function: function.into(), expected: declared.len(), found: args.len() });
    }
    let args: Vec<Given<'_, '_>> =
        declared.into_iter().zip(args).map(|((name, ty), array)| Given { name, ty, array }).collect();
    for arg in &args {
        arg.check_kind(function)?;
        arg.check_sizes(function, dims)?;
    }
    let bindings = solve(function, &args, dims)?;
    for arg in &args {
        arg.check_sizes(function, &bindings)?;
    }
    check_facts(function, &graph.facts, &bindings)?;
    Ok(bindings)
}

/// Checks every fact under `bindings`.
pub(crate) fn check_facts(place: &str, facts: &Facts, bindings: &Bindings) -> Result<()> {
    for (p, q) in facts.divides() {
        let (Ok(a), Ok(b)) = (p.eval(bindings), q.eval(bindings)) else { continue };
        if b == 0 || a % b != 0 {
            let mut used = BTreeSet::new();
            p.for_each_sym(&mut |s| _ = used.insert(s.to_string()));
            q.for_each_sym(&mut |s| _ = used.insert(s.to_string()));
            let sizes: Vec<String> = used.iter().map(|s| format!("{s} = {}", bindings[s])).collect();
            return Err(Error::FactViolated {
                place: place.into(),
                fact: format!("{p} % {q} == 0"),
                sizes: sizes.join(", "),
            });
        }
    }
    Ok(())
}

/// An argument as declared and as given.
struct Given<'a, 'd> {
    name: &'a str,
    ty: &'a Type,
    array: &'a AnyArray<'d>,
}

impl Given<'_, '_> {
    /// Element type, rank, and that there are elements at all.
    fn check_kind(&self, function: &str) -> Result<()> {
        if self.ty.dtype != self.array.dtype() {
            return Err(Error::ElementType {
                function: function.into(),
                argument: self.name.into(),
                expected: self.ty.to_string(),
                found: self.array.dtype().name(),
            });
        }
        let found = self.array.shape();
        if self.ty.rank() != found.len() {
            return Err(
                self.mismatch(function, format!("it has {} axes, but {} are declared", found.len(), self.ty.rank()))
            );
        }
        match found.iter().position(|&size| size == 0) {
            Some(axis) => Err(Error::EmptyBatch {
                function: function.into(),
                argument: self.name.into(),
                axis,
                found: found.to_vec(),
            }),
            None => Ok(()),
        }
    }

    /// All axes whose size follows from `bindings`.
    fn check_sizes(&self, function: &str, bindings: &Bindings) -> Result<()> {
        let mut wrong = vec![];
        for (axis, (dim, &found)) in self.ty.shape.iter().zip(self.array.shape()).enumerate() {
            let Ok(expected) = dim.eval(bindings) else { continue };
            if i64::try_from(found) != Ok(expected) {
                let by = if dim.as_const().is_some() { String::new() } else { format!(" (`{dim}`)") };
                wrong.push(format!("axis {axis} is {found}, expected {expected}{by}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(self.mismatch(function, wrong.join(", "))) }
    }

    fn mismatch(&self, function: &str, detail: String) -> Error {
        Error::ShapeMismatch {
            function: function.into(),
            argument: self.name.into(),
            expected: self.ty.to_string(),
            found: self.array.shape().to_vec(),
            detail,
        }
    }
}

/// Finds the symbols: those that stand alone first, then those in linear forms of one unknown, as often as that helps.
fn solve(function: &str, args: &[Given<'_, '_>], dims: &Bindings) -> Result<Bindings> {
    let mut bindings = dims.clone();
    let axes: Vec<(&Given<'_, '_>, usize, &Dim, i64)> = args
        .iter()
        .flat_map(|arg| {
            arg.ty
                .shape
                .iter()
                .zip(arg.array.shape())
                .enumerate()
                .map(move |(axis, (dim, &size))| (arg, axis, dim, size as i64))
        })
        .collect();
    let mut bound_by: Vec<(&str, &str, usize)> = vec![];
    let place = |name: &str, axis: usize| format!("axis {axis} of `{name}`");
    for &(arg, axis, dim, size) in &axes {
        let Some(symbol) = dim.as_sym() else { continue };
        match bindings.get(symbol) {
            None => {
                bindings.insert(symbol.to_string(), size);
                bound_by.push((symbol, arg.name, axis));
            }
            Some(&before) if before != size => {
                let by = bound_by.iter().find(|(s, ..)| *s == symbol);
                return Err(Error::DimConflict {
                    function: function.into(),
                    dim: symbol.into(),
                    first: by.map_or_else(|| "the model's own dimension".into(), |(_, name, axis)| place(name, *axis)),
                    first_size: before,
                    second: place(arg.name, axis),
                    second_size: size,
                });
            }
            Some(_) => {}
        }
    }
    loop {
        let before = bindings.len();
        for &(arg, axis, dim, size) in &axes {
            if let Some((symbol, value)) = dim.solve(size, &bindings) {
                if value < 1 {
                    return Err(arg.mismatch(
                        function,
                        format!("axis {axis} is {size}, so `{symbol}` in `{dim}` would be {value}"),
                    ));
                }
                bindings.insert(symbol, value);
            } else if is_linear_in_one(dim, &bindings) {
                return Err(arg.mismatch(
                    function,
                    format!("axis {axis} is {size}, which `{dim}` cannot be for any size of its symbol"),
                ));
            }
        }
        if bindings.len() == before {
            return Ok(bindings);
        }
    }
}

/// Whether `dim` has an unbound symbol, only one, which some size would determine.
fn is_linear_in_one(dim: &Dim, bindings: &Bindings) -> bool {
    let with = |value: i64| {
        let mut trial = bindings.clone();
        dim.for_each_sym(&mut |s| _ = trial.entry(s.to_string()).or_insert(value));
        dim.eval(&trial).ok().and_then(|size| dim.solve(size, bindings)).is_some()
    };
    with(1) && with(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dl_ir::{Builder, DType};
    use ndarray::{ArrayD, IxDyn};

    fn graph(args: &[(&str, DType, &[&str])]) -> Graph {
        let mut b = Builder::new();
        for (name, dtype, shape) in args {
            let shape = shape.iter().map(|text| dl_ir::text::parse_dim(text).unwrap());
            b.input(InputKind::Arg, name, Type::new(*dtype, shape));
        }
        b.finish()
    }

    fn zeros(shape: &[usize]) -> AnyArray<'static> {
        AnyArray::F32(ArrayD::zeros(IxDyn(shape)).into())
    }

    fn labels(shape: &[usize]) -> AnyArray<'static> {
        AnyArray::I64(ArrayD::zeros(IxDyn(shape)).into())
    }

    fn message(graph: &Graph, args: &[AnyArray<'_>]) -> String {
        bind("loss", graph, &Bindings::from([("H".into(), 8)]), args).unwrap_err().to_string()
    }

    #[test]
    fn symbols_are_found_alone_and_in_linear_forms() {
        let g = graph(&[("x", DType::F32, &["2*N + 1", "M"]), ("y", DType::F32, &["H", "N*M"])]);
        let bound = bind("f", &g, &Bindings::from([("H".into(), 8)]), &[zeros(&[9, 3]), zeros(&[8, 12])]).unwrap();
        assert_eq!(bound, Bindings::from([("H".into(), 8), ("M".into(), 3), ("N".into(), 4)]));
    }

    #[test]
    fn every_mismatch_is_an_error_that_helps() {
        let g = graph(&[("x", DType::F32, &["N", "1", "28", "28"]), ("label", DType::I64, &["N"])]);
        assert_eq!(message(&g, &[zeros(&[1])]), "`loss` takes 2 arguments, but 1 were given");
        assert_eq!(
            message(&g, &[zeros(&[4, 1, 27, 26]), labels(&[4])]),
            "`loss`: argument `x` is declared f32[N, 1, 28, 28], but an array of shape [4, 1, 27, 26] was passed: axis 2 is 27, expected 28, axis 3 is 26, expected 28"
        );
        assert_eq!(
            message(&g, &[zeros(&[4, 28, 28]), labels(&[4])]),
            "`loss`: argument `x` is declared f32[N, 1, 28, 28], but an array of shape [4, 28, 28] was passed: it has 3 axes, but 4 are declared"
        );
        assert_eq!(
            message(&g, &[zeros(&[64, 1, 28, 28]), labels(&[32])]),
            "`loss`: `N` is 64 by axis 0 of `x`, but 32 by axis 0 of `label`; both must have the same size"
        );
        assert!(
            message(&g, &[zeros(&[4, 1, 28, 28]), zeros(&[4])])
                .contains("`label` is declared i64[N], but the array's elements are f32")
        );
        assert!(
            message(&g, &[zeros(&[0, 1, 28, 28]), labels(&[0])]).contains("axis 0 is empty; pass at least one sample")
        );
    }

    #[test]
    fn forms_without_a_solution_are_errors() {
        let even = graph(&[("x", DType::F32, &["2*N"])]);
        assert!(message(&even, &[zeros(&[3])]).contains("axis 0 is 3, which `2*N` cannot be"));
        let more = graph(&[("x", DType::F32, &["N + 5"])]);
        assert!(message(&more, &[zeros(&[3])]).contains("so `N` in `N + 5` would be -2"));
        let model = graph(&[("x", DType::F32, &["H"])]);
        assert!(message(&model, &[zeros(&[6])]).contains("axis 0 is 6, expected 8 (`H`)"));
    }

    #[test]
    fn facts_are_checked() {
        let mut g = graph(&[("x", DType::F32, &["N"])]);
        g.facts.add_divides(Dim::sym("N"), Dim::from(4i64));
        assert!(bind("loss", &g, &Bindings::new(), &[zeros(&[8])]).is_ok());
        assert_eq!(message(&g, &[zeros(&[6])]), "`loss`: the model needs `N % 4 == 0`, which does not hold for N = 6");
    }
}
