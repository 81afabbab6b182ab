//! Whatever is passed to a layer or method, the answer is a graph that verifies or an error, never a panic.

#[path = "support/nn.rs"]
mod nn;

use dl_ir::nn::{Given, Kind, Param, Value, layers, methods};
use dl_ir::{Builder, DType, Dim, InputKind, Role, Type};

const ROUNDS: usize = 400;

/// A small generator of numbers: the test is the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn dim(&mut self) -> Dim {
        let d = ["1", "2", "4", "6", "N", "N", "C", "2*N", "0", "-1", "9223372036854775807", "1099511627776"];
        nn::dim(if self.below(8) == 0 { self.pick(&d) } else { self.pick(&d[..8]) })
    }

    fn ty(&mut self) -> Type {
        let dtype = self.pick(&[DType::F32, DType::F32, DType::F32, DType::F64, DType::I64, DType::Bool]);
        let dims: Vec<Dim> = (0..self.below(6)).map(|_| nn::dim(self.pick(&["1", "2", "4", "6", "N", "C"]))).collect();
        Type::new(dtype, dims)
    }

    /// A value of any kind.
    fn any(&mut self, b: &mut Builder) -> Value {
        match self.below(11) {
            0..3 => self.tensor(b),
            3 | 4 => Value::Int(self.dim()),
            5 => Value::Float(self.pick(&[0.0, 0.5, -1.0, 1e300, f64::NAN, f64::INFINITY])),
            6 => Value::Bool(self.below(2) == 0),
            7 => self.pick(&["mean", "same", "a b -> b a", "ij,jk->ik", "(", "é -> ..", "", "a ... -> (a ...)"]).into(),
            8 => Value::Range(Some(self.dim()), None),
            9 => Value::Map(self.dim(), self.dim()),
            _ => Value::List((0..self.below(4)).map(|_| self.any(b)).collect()),
        }
    }

    fn tensor(&mut self, b: &mut Builder) -> Value {
        // Operands fit each other more often if they repeat a type.
        let first = b.graph.inputs.first().map(|i| b.ty(i.node).clone()).filter(|_| self.below(2) == 0);
        let (name, ty) = (format!("x{}", b.graph.inputs.len()), first.unwrap_or_else(|| self.ty()));
        Value::Tensor(b.input(InputKind::Arg, &name, ty))
    }

    /// A value that the argument accepts, most of the time.
    fn fitting(&mut self, b: &mut Builder, kind: Kind) -> Value {
        if self.below(12) == 0 {
            return self.any(b);
        }
        let small = |dice: &mut Dice| Value::from(dice.pick(&[-2, -1, 0, 1, 2, 3, i64::MAX, i64::MIN]));
        let count = self.below(4);
        match kind {
            Kind::Counts if self.below(2) == 0 => Value::List((0..count).map(|_| small(self)).collect()),
            Kind::Tensor | Kind::Operand | Kind::Counts => self.tensor(b),
            Kind::Tensors | Kind::Parameters => Value::List((0..count).map(|_| self.tensor(b)).collect()),
            Kind::Dim => Value::Int(self.dim()),
            Kind::Int | Kind::Axis => small(self),
            Kind::FloatOr(words) if self.below(2) == 0 => self.pick(words).into(),
            Kind::Float | Kind::FloatOr(_) => {
                Value::Float(self.pick(&[0.0, 0.5, -1.0, 2.0, 1e300, f64::NAN, f64::INFINITY]))
            }
            Kind::Bool => Value::Bool(self.below(2) == 0),
            Kind::Word(words) => self.pick(words).into(),
            Kind::Pattern => self
                .pick(&[
                    "a b -> b a",
                    "(a b) c -> a (c b)",
                    "... a -> a ...",
                    "ij,jk->ik",
                    "...i,...i->...",
                    "a -> a b",
                ])
                .into(),
            Kind::DType => self.pick(&DType::ALL).into(),
            Kind::Axes | Kind::Sizes | Kind::Padding if self.below(2) == 0 => small(self),
            Kind::Axes | Kind::Sizes | Kind::Padding => Value::List((0..count).map(|_| small(self)).collect()),
            Kind::Shape | Kind::ShapeInfer => Value::List((0..count).map(|_| Value::Int(self.dim())).collect()),
            Kind::Ranges => {
                let range = |dice: &mut Dice| Value::Range(Some(dice.dim()), Some(dice.dim()));
                Value::List((0..count).map(|_| range(self)).collect())
            }
            Kind::Pads => Value::List((0..count).map(|_| Value::List(vec![small(self), small(self)])).collect()),
            Kind::Map { .. } => Value::Map(self.dim(), self.dim()),
            Kind::Names => Value::Int(self.dim()),
        }
    }

    fn arguments(&mut self, b: &mut Builder, params: &[Param]) -> Vec<Given> {
        let mut given = vec![];
        for param in params {
            let value = self.fitting(b, param.kind);
            match param.kind {
                Kind::Names => given.push(Given::named(self.pick(&["a", "b", "z"]), value)),
                _ if given.len() < 2 && self.below(2) == 0 => given.push(Given::positional(value)),
                _ if self.below(3) > 0 => given.push(Given::named(param.name, value)),
                _ => {}
            }
        }
        given
    }
}

fn check(b: Builder, name: &str, given: &[Given]) {
    if let Err(error) = dl_ir::verify(&b.finish()) {
        panic!("{name}({given:?}): {error:?}");
    }
}

#[test]
fn methods_never_panic() {
    let mut dice = Dice(1);
    let mut built = 0;
    for method in methods() {
        for round in 0..ROUNDS {
            let mut b = Builder::new();
            b.training = round % 2 == 0;
            let given = dice.arguments(&mut b, method.params);
            let Ok(args) = method.bind(&given) else { continue };
            match method.build(&mut b, &args) {
                Ok(Value::Tensor(node)) => {
                    built += 1;
                    b.output(Role::Result, node);
                    check(b, method.name, &given);
                }
                Ok(_) => built += 1,
                Err(error) => assert!(!error.describe(method.name, &[]).is_empty()),
            }
        }
    }
    assert!(built > 3000, "only {built} calls were accepted");
}

#[test]
fn layers_never_panic() {
    let mut dice = Dice(1);
    let mut built = 0;
    for layer in layers() {
        for round in 0..ROUNDS {
            let mut b = Builder::new();
            b.training = round % 2 == 0;
            let given = dice.arguments(&mut b, layer.params);
            let Ok(layer) = layer.with(&given) else { continue };
            let given = dice.arguments(&mut b, layer.def.takes);
            let Ok(bound) = layer.bind("l", &given) else { continue };
            match layer.call(&mut b, "l", &bound) {
                Ok(value) => {
                    built += 1;
                    let results = match value {
                        Value::List(results) => results,
                        one => vec![one],
                    };
                    for result in results {
                        if let Value::Tensor(node) = result {
                            b.output(Role::Result, node);
                        }
                    }
                    check(b, layer.def.name, &given);
                }
                Err(error) => assert!(!error.describe(layer.def.name, &[]).is_empty()),
            }
        }
    }
    assert!(built > 1000, "only {built} calls were accepted");
}
