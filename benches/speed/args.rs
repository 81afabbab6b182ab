//! The command line: `--name value` pairs after an optional word that says what to do.

use std::fmt::Display;
use std::str::FromStr;

/// The options of one call.
pub struct Args(Vec<(String, String)>);

impl Args {
    /// Reads `--name value` for each of `options` and `--name` for each of `flags`.
    pub fn parse(args: &[String], options: &[&str], flags: &[&str]) -> Result<Args, String> {
        let (mut given, mut args) = (vec![], args.iter());
        while let Some(name) = args.next() {
            let value = match name.as_str() {
                flag if flags.contains(&flag) => String::new(),
                option if options.contains(&option) => {
                    args.next().ok_or_else(|| format!("`{name}` needs a value"))?.clone()
                }
                _ => return Err(format!("there is no option `{name}`; `--help` lists all")),
            };
            given.push((name.clone(), value));
        }
        Ok(Args(given))
    }

    /// Whether a flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Every value given for an option.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The last value given for an option, if any.
    pub fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, String> {
        let parse = |text: &str| text.parse().map_err(|e| format!("`{name} {text}`: {e}"));
        self.all(name).last().map(parse).transpose()
    }

    /// The names in a list separated by commas, each of which must be known; empty if the option was not given.
    pub fn names(&self, name: &str, known: &[&str]) -> Result<Vec<String>, String> {
        let list = self.all(name).last().unwrap_or_default();
        let names = list.split(',').map(str::trim).filter(|n| !n.is_empty());
        names
            .map(|n| match known.contains(&n) {
                true => Ok(n.to_string()),
                false => Err(format!("`{name}`: `{n}` is none of {}", known.join(", "))),
            })
            .collect()
    }
}
