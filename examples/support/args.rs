//! The command line of the examples. The help text is the only declaration: a line such as
//! `  --epochs N    passes over the data [5]` makes an option that takes a value, 5 by default, and a line without
//! an upper-case word after the name makes a flag.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The options of one call.
#[derive(Debug)]
pub struct Args {
    known: Vec<Known>,
    given: Vec<(&'static str, String)>,
}

/// A number of things to do, at least one: an option's value of which 0 would mean that nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub usize);

/// A file to be written at the end: that its folder is missing is told before the work is done, not after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile(pub String);

/// A mistake on the command line.
#[derive(Debug)]
pub struct Usage(String);

#[derive(Debug)]
struct Known {
    name: &'static str,
    value: Option<&'static str>,
    default: Option<&'static str>,
}

impl Args {
    /// Reads `--name value`, `--name=value` and `--flag`; of an option given twice the last counts.
    pub fn parse(help: &'static str, args: impl IntoIterator<Item = String>) -> Result<Self, Usage> {
        let known: Vec<Known> = help.lines().filter_map(Known::declared).collect();
        let (mut given, mut args) = (Vec::new(), args.into_iter());
        while let Some(arg) = args.next() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            let Some(option) = known.iter().find(|option| option.name == name) else {
                return Err(Usage(format!("there is no option `{name}`")));
            };
            let value = match (option.value, inline) {
                (None, Some(_)) => return Err(Usage(format!("`{name}` takes no value"))),
                (None, None) => String::new(),
                (Some(_), Some(value)) => value,
                (Some(what), None) => match args.next() {
                    Some(value) if !value.starts_with("--") => value,
                    _ => return Err(Usage(format!("`{name}` needs a value: `{name} {what}`"))),
                },
            };
            given.push((option.name, value));
        }
        Ok(Self { known, given })
    }

    /// Whether an option or a flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// The value of an option, given or by default.
    pub fn get<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<T, Usage> {
        let value = self.optional(name)?;
        value.ok_or_else(|| Usage(format!("`{name}` is needed")))
    }

    /// The value of an option, if given or by default.
    pub fn optional<T: FromStr<Err: fmt::Display>>(&self, name: &str) -> Result<Option<T>, Usage> {
        let default = self.known.iter().find(|option| option.name == name).and_then(|option| option.default);
        let Some(text) = self.given(name).or(default) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(Usage(format!("`{name} {text}`: {error}"))),
        }
    }

    fn given(&self, name: &str) -> Option<&str> {
        self.given.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }
}

impl Known {
    fn declared(line: &'static str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let name = words.next().filter(|word| word.starts_with("--"))?;
        let value = words.next().filter(|word| word.chars().all(|c| c.is_ascii_uppercase()));
        let default = line.strip_suffix(']').and_then(|line| line.rsplit_once('[')).map(|(_, default)| default);
        Some(Self { name, value, default })
    }
}

impl FromStr for Count {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let count = text.parse().ok().filter(|&count| count > 0);
        count.map(Self).ok_or("give a whole number of at least 1")
    }
}

impl FromStr for OutputFile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = Path::new(text);
        if path.file_name().is_none() || path.is_dir() {
            return Err("give the name of a file");
        }
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => Err("there is no such folder"),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Usage {}
