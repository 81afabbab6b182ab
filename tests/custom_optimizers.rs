//! Optimizers that a user writes: one that is right trains, one that is wrong is refused and changes nothing.

use dl::optim::{OpError, OptimizerState, Update};
use dl::prelude::*;
use dl_ir::{DType, InputKind, Role, Type};

dl::model! {
    model Line {
        dim WIDTH;
        let line = Linear(WIDTH => 1);

        #[train]
        pub fn loss(x: f32[N, WIDTH], y: f32[N, 1]) -> f32 {
            line(x).mse_loss(y)
        }
    }
}

/// A line of three weights and data that no line fits.
fn problem() -> (Line, Array2<f32>, Array2<f32>) {
    let x = Array2::from_shape_fn((5, 3), |(i, j)| ((i * 7 + j * 3) % 5) as f32 - 2.0);
    (Line::new(3, Seed(4)).unwrap(), x, Array2::from_shape_fn((5, 1), |(i, _)| i as f32))
}

fn values(net: &dl::Model) -> Vec<f32> {
    net.parameters().flat_map(|p| p.to_array::<f32>().unwrap()).collect()
}

/// Steps by the sign of a moving average of gradients.
#[derive(Default)]
struct Lion {
    lr: f64,
    state: OptimizerState,
}

const BETAS: (f64, f64) = (0.75, 0.5);

impl Optimizer for Lion {
    fn name(&self) -> &'static str {
        "Lion"
    }

    fn structure(&self) -> String {
        "Lion".into()
    }

    fn scalars(&self, _step: u64) -> dl::Result<Vec<(&'static str, f64)>> {
        Ok(vec![("lr", self.lr), ("beta1", BETAS.0), ("beta2", BETAS.1)])
    }

    fn update(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (param, grad, average) = (update.param, update.grad, update.state("exp_avg"));
        let [lr, beta1, beta2] = ["lr", "beta1", "beta2"].map(|name| update.scalar(name));
        let b = &mut *update.builder;
        // grad + beta * (average - grad)
        let difference = b.sub(average, grad)?;
        let [mixed, next_average] = [beta1, beta2].map(|beta| {
            let part = b.mul(beta, difference)?;
            b.add(grad, part)
        });
        let sign = b.sign(mixed?)?;
        let step = b.mul(lr, sign)?;
        let next = b.sub(param, step)?;
        update.set_param(next);
        update.set_state("exp_avg", next_average?);
        Ok(())
    }

    fn state(&self) -> &OptimizerState {
        &self.state
    }

    fn state_mut(&mut self) -> &mut OptimizerState {
        &mut self.state
    }
}

#[test]
fn an_optimizer_of_the_users_own_trains_as_written() -> dl::Result<()> {
    let (mut net, x, y) = problem();
    let mut lion = Lion { lr: 0.05, ..Lion::default() };
    let (first, _) = net.grad_loss(&x, &y)?;
    let mut expected = values(&net);
    let mut average = vec![0.0f32; expected.len()];
    for step in 0..40 {
        let (_, gradients) = net.grad_loss(&x, &y)?;
        let of = |name: &str| gradients.get::<f32>(name).expect("a gradient").to_owned();
        for (i, grad) in of("line.weight").into_iter().chain(of("line.bias")).enumerate() {
            expected[i] -= 0.05 * (grad + BETAS.0 as f32 * (average[i] - grad)).signum();
            average[i] = grad + BETAS.1 as f32 * (average[i] - grad);
        }
        net.train_loss(&mut lion, &x, &y)?;
        let found = values(&net);
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "step {step}: {found:?} {expected:?}");
    }
    assert!(net.loss(&x, &y)? < 0.5 * first);
    assert_eq!((lion.state.steps(), lion.state.names().collect::<Vec<_>>().len()), (40, 2));
    Ok(())
}

#[test]
fn explaining_a_step_tells_of_the_program_that_runs() -> dl::Result<()> {
    let (mut net, x, y) = problem();
    let mut lion = Lion { lr: 0.05, ..Lion::default() };
    let text = net.explain_train_loss(&lion, &x, &y)?;
    assert!(text.contains("for training with Lion"), "{text}");
    net.train_loss(&mut lion, &x, &y)?;
    let of_adam = net.explain_train_loss(&Adam::new(0.1), &x, &y)?;
    assert!(of_adam.contains("training with Adam") && of_adam.contains("the optimizer is Adam"), "{of_adam}");
    assert_eq!(net.compilations().len(), 2, "the step runs what was explained");
    assert!(net.explain_loss(&x, &y)?.contains("for evaluation"));
    Ok(())
}

/// Whatever one likes to get wrong.
struct Odd {
    update: fn(&mut Update<'_>) -> Result<(), OpError>,
    states: [OptimizerState; 2],
    /// Which state is given, the first time and after that.
    given: [usize; 2],
}

impl Odd {
    fn new(update: fn(&mut Update<'_>) -> Result<(), OpError>) -> Odd {
        Odd { update, states: Default::default(), given: [0, 0] }
    }
}

impl Optimizer for Odd {
    fn name(&self) -> &'static str {
        "Odd"
    }

    fn structure(&self) -> String {
        "Odd".into()
    }

    fn scalars(&self, _step: u64) -> dl::Result<Vec<(&'static str, f64)>> {
        Ok(vec![("lr", 0.1)])
    }

    fn update(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        (self.update)(update)
    }

    fn state(&self) -> &OptimizerState {
        &self.states[0]
    }

    fn state_mut(&mut self) -> &mut OptimizerState {
        let [first, rest] = self.given;
        self.given = [rest, rest];
        &mut self.states[first]
    }
}

fn refusal(update: fn(&mut Update<'_>) -> Result<(), OpError>) -> String {
    let (mut net, x, y) = problem();
    let (before, x_before) = (values(&net), x.clone());
    let error = net.train_loss(&mut Odd::new(update), &x, &y).expect_err("a wrong optimizer");
    assert!(matches!(error, dl::Error::BadOptimizer { .. }), "{error}");
    assert_eq!((values(&net), x), (before, x_before));
    error.to_string()
}

#[test]
fn an_update_that_does_not_work_is_refused() {
    let fails = refusal(|update| update.builder.not(update.param).map(|_| ()));
    assert!(fails.starts_with("Odd, as implemented, cannot train `loss`: its update of `line.weight` fails: `not`"));
    let forgets = refusal(|update| {
        let rate = update.scalar("rate");
        let next = update.builder.mul(rate, update.param)?;
        update.set_param(next);
        Ok(())
    });
    assert!(forgets.contains("`scalars` gives no `rate`, which its update uses"), "{forgets}");
    let by_hand = refusal(|update| {
        let rate = update.builder.input(InputKind::Hyper, "rate", Type::scalar(DType::F32));
        let next = update.builder.mul(rate, update.param)?;
        update.set_param(next);
        Ok(())
    });
    assert!(by_hand.contains("`scalars` gives no `rate`, which its update uses"), "{by_hand}");
    let writes_to_an_argument = refusal(|update| {
        let x = update.builder.graph.input("x").expect("the argument").node;
        let next = update.builder.neg(x)?;
        update.builder.output(Role::Update("x".into()), next);
        Ok(())
    });
    assert!(writes_to_an_argument.contains("`x`, which is not kept between runs"), "{writes_to_an_argument}");
    let takes_an_argument_for_state = refusal(|update| {
        let ty: Type = update.builder.ty(update.param).clone();
        update.builder.input(InputKind::State, "x", ty);
        Ok(())
    });
    assert!(takes_an_argument_for_state.contains("`x`: there are two inputs of this name"));
    let shrinks = refusal(|update| {
        let sum = update.builder.sum(update.param, &[0], false)?;
        update.set_param(sum);
        Ok(())
    });
    assert!(shrinks.contains("is the new value of `line.weight`, which is f32[1, WIDTH], but it is f32[WIDTH]"));
}

#[test]
fn state_of_another_type_never_reaches_a_program() -> dl::Result<()> {
    let keep = |update: &mut Update<'_>| {
        let kept = update.state("kept");
        let next = update.builder.add(kept, update.grad)?;
        update.set_state("kept", next);
        Ok(())
    };
    let (mut net, x, y) = problem();
    let mut odd = Odd::new(keep);
    net.train_loss(&mut odd, &x, &y)?;
    // The state of three weights is in place 0. A larger model is shown another one first, or last.
    let (mut wide, x) = (Line::new(4000, Seed(1))?, Array2::ones((5, 4000)));
    odd.given = [1, 0];
    wide.train_loss(&mut odd, &x, &y)?;
    odd.given = [0, 1];
    let error = wide.train_loss(&mut odd, &x, &y).expect_err("a state of three weights");
    assert!(matches!(error, dl::Error::OptimizerState { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("holds `line.weight.kept` as f32[1, 3], but this model needs f32[1, 4000]"), "{message}");
    Ok(())
}

dl::model! {
    /// Twice the same, but for the names of the arguments.
    model Names {
        let line = Linear(3 => 1);

        #[train]
        pub fn plain(x: f32[N, 3], first: f32, second: f32) -> f32 {
            (line(x) * first + second).square().mean()
        }

        #[train]
        pub fn captured(x: f32[N, 3], eps: f32, lr: f32) -> f32 {
            (line(x) * eps + lr).square().mean()
        }
    }
}

#[test]
fn arguments_named_like_hyperparameters_are_not_taken_for_them() -> dl::Result<()> {
    let (_, x, _) = problem();
    let optimizers: [fn() -> Box<dyn Optimizer>; 2] = [|| Box::new(Sgd::new(0.01)), || Box::new(Adam::new(0.01))];
    for optimizer in optimizers {
        let (mut plain, mut captured) = (Names::new(Seed(2))?, Names::new(Seed(2))?);
        let (mut a, mut b) = (optimizer(), optimizer());
        for _ in 0..5 {
            let losses = (plain.train_plain(&mut a, &x, 0.5, 3.0)?, captured.train_captured(&mut b, &x, 0.5, 3.0)?);
            assert_eq!(losses.0, losses.1);
        }
        assert_eq!(values(&plain), values(&captured), "{}", a.name());
        assert_ne!(values(&plain), values(&*Names::new(Seed(2))?));
    }
    Ok(())
}
