//! What all optimizers have in common that change what another one sees.

/// The methods of `Optimizer` that a wrapper leaves to `self.inner`, and the inner optimizer's fields as its own.
macro_rules! wraps {
    ($ty:ident; $($method:ident)*) => {
        impl<O> std::ops::Deref for $ty<O> {
            type Target = O;

            fn deref(&self) -> &O {
                &self.inner
            }
        }

        impl<O> std::ops::DerefMut for $ty<O> {
            fn deref_mut(&mut self) -> &mut O {
                &mut self.inner
            }
        }

        impl<O: Optimizer> Optimizer for $ty<O> {
            fn name(&self) -> &'static str {
                self.inner.name()
            }

            fn structure(&self) -> String {
                self.named(self.inner.structure())
            }

            fn structure_of(&self, names: &[String]) -> String {
                self.named(self.inner.structure_of(names))
            }

            fn scalars(&self, step: u64) -> Result<Vec<(&'static str, f64)>> {
                self.numbers(step, self.inner.scalars(step)?)
            }

            fn group_scalars(&self, group: &str, step: u64) -> Result<Vec<(&'static str, f64)>> {
                self.numbers(step, self.inner.group_scalars(group, step)?)
            }

            fn update(&self, update: &mut Update<'_>) -> Result<(), OpError> {
                self.inner.update(update)
            }

            fn step(&self, step: &mut Step<'_>) -> Result<()> {
                self.build(step)
            }

            fn state(&self) -> &OptimizerState {
                self.inner.state()
            }

            fn state_mut(&mut self) -> &mut OptimizerState {
                self.inner.state_mut()
            }

            fn trains(&self, name: &str) -> bool {
                self.inner.trains(name)
            }

            $(wraps!(@ $method);)*
        }
    };
    (@ window) => {
        fn window(&self) -> u64 {
            self.inner.window()
        }
    };
    (@ calls) => {
        fn window(&self) -> u64 {
            self.calls
        }
    };
    (@ checked_files) => {
        fn save(&self, path: &std::path::Path) -> Result<()> {
            self.check()?;
            self.inner.save(path)
        }

        fn load(&mut self, path: &std::path::Path) -> Result<()> {
            self.check()?;
            self.inner.load(path)
        }
    };
    (@ files) => {
        fn save(&self, path: &std::path::Path) -> Result<()> {
            self.inner.save(path)
        }

        fn load(&mut self, path: &std::path::Path) -> Result<()> {
            self.inner.load(path)
        }
    };
}
pub(super) use wraps;
