//! Stochastic gradient descent.

use super::table::{Limit, prelude::*};

optimizer! {
    /// Stochastic gradient descent with optional momentum, as `torch.optim.SGD`:
    ///
    /// ```text
    /// g = grad + weight_decay * p
    /// v = momentum * v + (1 - dampening) * g  (with momentum; without dampening in the first step)
    /// p = p - lr * (g + momentum * v, with nesterov; else v; without momentum g)
    /// ```
    ///
    /// ```
    /// # extern crate dl_runtime as dl;
    /// let sgd = dl::Sgd::new(0.1).momentum(0.9).nesterov(true).weight_decay(5e-4);
    /// assert_eq!((sgd.lr, sgd.dampening), (0.1, 0.0));
    /// ```
    #[doc(alias = "SGD")]
    Sgd(1e-3) {
        /// How much of the last step's direction is kept; by default 0.
        switch momentum = 0.0, NOT_NEGATIVE;
        /// How much of the gradient does not enter the momentum, from the second step on; by default 0.
        number dampening = 0.0, NOT_NEGATIVE;
        /// The factor of the L2 penalty; by default 0.
        switch weight_decay = 0.0, NOT_NEGATIVE;
        /// Look ahead along the momentum, which there must be, undamped; by default not.
        flag nesterov = false;
    }
}

const FOR_NESTEROV: Limit = Limit { holds: |v| v > 0.0, expected: "above 0 with `nesterov`" };
const UNDAMPED: Limit = Limit { holds: |v| v == 0.0, expected: "0 with `nesterov`" };

impl Sgd {
    fn numbers(&self, t: f64) -> Numbers {
        if self.nesterov {
            FOR_NESTEROV.check("Sgd", "momentum", self.momentum)?;
            UNDAMPED.check("Sgd", "dampening", self.dampening)?;
        }
        let taken = if t == 1.0 { 1.0 } else { 1.0 - self.dampening };
        Ok(vec![("lr", self.lr), ("momentum", self.momentum), ("taken", taken), ("weight_decay", self.weight_decay)])
    }

    fn build(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        let (_, mut direction) = update.decayed(self.weight_decay, false)?;
        if self.momentum != 0.0 {
            let velocity = update.average("momentum_buffer", ("momentum", "taken"), direction)?;
            direction = match self.nesterov {
                true => {
                    let ahead = update.combine(&[("momentum", velocity)])?;
                    update.builder.add(direction, ahead)?
                }
                false => velocity,
            };
        }
        let step = update.combine(&[("lr", direction)])?;
        update.descend(update.param, step)
    }
}
