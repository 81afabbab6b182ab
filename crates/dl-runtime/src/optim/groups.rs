//! Groups of parameters with settings of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::table::prelude::*;
use super::{Step, Trained};
use crate::error::Error;

/// An optimizer with other settings for some of the parameters, chosen by name, as PyTorch's parameter groups.
///
/// In a pattern `*` stands for any characters, dots among them, and `?` for one. A parameter that several patterns
/// match gets the settings of all, in their order. A pattern that matches no parameter of the model is an
/// [`Error::UnmatchedPattern`] at the first call.
///
/// What wraps an optimizer goes around the groups: `Groups::new(..).group(..).clip_norm(1.0)` clips all gradients
/// together.
///
/// The settings of a group are made anew from the common ones in every step, so a schedule may change these: a group
/// that sets no `lr` follows, and so does one that sets a multiple of it.
///
/// ```
/// # extern crate dl_runtime as dl;
/// use dl::AdamW;
/// use dl::optim::Groups;
///
/// let mut groups = Groups::new(AdamW::new(1e-3))
///     .group("*.bias", |g| g.weight_decay(0.0))
///     .group("head.*", |g| {
///         let lr = g.lr;
///         g.lr(10.0 * lr)
///     })
///     .freeze("stem.*");
/// groups.lr = 5e-4; // of all but the head, for which it is 5e-3 now
/// ```
#[derive(Clone)]
pub struct Groups<O> {
    base: O,
    rules: Vec<Rule<O>>,
    state: OptimizerState,
}

#[derive(Clone)]
struct Rule<O> {
    pattern: String,
    /// `None` for parameters that stay as they are.
    change: Option<Change<O>>,
}

type Change<O> = Arc<dyn Fn(O) -> O + Send + Sync>;

/// The rules that hold for a parameter, by their numbers.
type Matching = Vec<usize>;

impl<O: Optimizer + Clone> Groups<O> {
    /// With these settings for every parameter, so far.
    pub fn new(mut base: O) -> Groups<O> {
        let state = std::mem::take(base.state_mut());
        Groups { base, rules: vec![], state }
    }

    /// The parameters that `pattern` matches are trained with the settings that `change` makes of the common ones.
    pub fn group(mut self, pattern: &str, change: impl Fn(O) -> O + Send + Sync + 'static) -> Groups<O> {
        self.rules.push(Rule { pattern: pattern.to_string(), change: Some(Arc::new(change)) });
        self
    }

    /// The parameters that `pattern` matches stay as they are, whatever else matches them: their gradients are not even
    /// computed.
    #[doc(alias = "requires_grad")]
    pub fn freeze(mut self, pattern: &str) -> Groups<O> {
        self.rules.push(Rule { pattern: pattern.to_string(), change: None });
        self
    }

    fn matching(&self, name: &str) -> Matching {
        (0..self.rules.len()).filter(|&rule| matches(&self.rules[rule].pattern, name)).collect()
    }

    /// The settings of parameters for which these rules hold.
    fn settings(&self, rules: &[usize]) -> O {
        let changes = rules.iter().filter_map(|&rule| self.rules.get(rule)?.change.as_ref());
        changes.fold(self.base.clone(), |settings, change| change(settings))
    }
}

impl<O: Optimizer + Clone> Optimizer for Groups<O> {
    fn name(&self) -> &'static str {
        self.base.name()
    }

    fn structure(&self) -> String {
        let rules = (0..self.rules.len()).map(|rule| format!("; {}", self.rules[rule].of(&self.settings(&[rule]))));
        format!("{}{}", self.base.structure(), rules.collect::<String>())
    }

    fn structure_of(&self, names: &[String]) -> String {
        let trained = names.iter().filter(|name| self.trains(name));
        let parts: BTreeSet<Matching> = trained.map(|name| self.matching(name)).collect();
        let patterns: Vec<&str> = self.rules.iter().map(|rule| rule.pattern.as_str()).collect();
        let parts: Vec<String> =
            parts.iter().map(|rules| format!("{}{}", key(rules), self.settings(rules).structure_of(names))).collect();
        format!("groups [{}] of {}", patterns.join(", "), parts.join("; "))
    }

    fn scalars(&self, step: u64) -> Result<Vec<(&'static str, f64)>> {
        self.base.scalars(step)
    }

    fn group_scalars(&self, group: &str, step: u64) -> Result<Vec<(&'static str, f64)>> {
        let (rules, within) = group.split_once('/').unwrap_or_default();
        let rules: Vec<usize> = rules.split('+').filter_map(|rule| rule.parse().ok()).collect();
        self.settings(&rules).group_scalars(within, step)
    }

    fn update(&self, update: &mut Update<'_>) -> Result<(), OpError> {
        self.settings(&self.matching(update.name())).update(update)
    }

    fn step(&self, step: &mut Step<'_>) -> Result<()> {
        let names = step.names();
        if let Some(rule) = self.rules.iter().find(|rule| !names.iter().any(|name| matches(&rule.pattern, name))) {
            return Err(Error::UnmatchedPattern { pattern: rule.pattern.clone(), names: names.to_vec() });
        }
        let mut parts = BTreeMap::<Matching, Vec<Trained>>::new();
        for trained in std::mem::take(&mut step.trained) {
            parts.entry(self.matching(&trained.name)).or_default().push(trained);
        }
        for (rules, trained) in parts {
            let mut part = step.part(&key(&rules), trained);
            self.settings(&rules).step(&mut part)?;
            let trained = part.trained;
            step.trained.extend(trained);
        }
        Ok(())
    }

    fn state(&self) -> &OptimizerState {
        &self.state
    }

    fn state_mut(&mut self) -> &mut OptimizerState {
        &mut self.state
    }

    fn window(&self) -> u64 {
        self.base.window()
    }

    fn trains(&self, name: &str) -> bool {
        let frozen = self.rules.iter().any(|rule| rule.change.is_none() && matches(&rule.pattern, name));
        !frozen && self.base.trains(name)
    }
}

/// `0+2/`, and `/` where no rule holds.
fn key(rules: &[usize]) -> String {
    let rules: Vec<String> = rules.iter().map(usize::to_string).collect();
    format!("{}/", rules.join("+"))
}

impl<O: Optimizer> Rule<O> {
    fn of(&self, settings: &O) -> String {
        match &self.change {
            Some(_) => format!("{} {}", self.pattern, settings.structure()),
            None => format!("{} frozen", self.pattern),
        }
    }
}

impl<O> Deref for Groups<O> {
    type Target = O;

    fn deref(&self) -> &O {
        &self.base
    }
}

impl<O> DerefMut for Groups<O> {
    fn deref_mut(&mut self) -> &mut O {
        &mut self.base
    }
}

impl<O: fmt::Debug> fmt::Debug for Groups<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<&str> = self.rules.iter().map(|rule| rule.pattern.as_str()).collect();
        f.debug_struct("Groups").field("base", &self.base).field("patterns", &patterns).finish()
    }
}

/// Whether all of `name` fits a pattern, where `*` stands for any characters and `?` for one. Time grows with the
/// product of the lengths at most: only the last `*` can have to take more.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((after, taken)) = star else { return false };
                star = Some((after, taken + 1));
                (p, n) = (after, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "a.b"),
            ("*.bias", "head.0.bias"),
            ("head.*", "head.0.bias"),
            ("*.norm?.*", "blocks.3.norm1.weight"),
            ("a*b*c", "aXbXbYc"),
            ("**a", "a"),
            ("é?", "éü"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("", "a"), ("head", "head.0"), ("*.bias", "bias"), ("a?c", "ac"), ("a*b*c", "aXcXb"), ("?", "")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        let (pattern, name) = ("*a".repeat(30) + "b", "a".repeat(3000));
        assert!(!matches(&pattern, &name), "and that soon");
    }
}
