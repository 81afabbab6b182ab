//! The command line of the examples.

#[path = "../examples/support/args.rs"]
mod args;

use args::{Args, Count, OutputFile};

const HELP: &str = "\
Does something.

  --epochs N    passes over the data [5]
  --data DIR    where the data lies [some/where]
  --load FILE   a model to begin with
  --explain     say more
  --help        print this";

fn parse(args: &[&str]) -> Result<Args, String> {
    Args::parse(HELP, args.iter().map(|arg| arg.to_string())).map_err(|error| error.to_string())
}

#[test]
fn defaults_come_from_the_help_text() {
    let args = parse(&[]).unwrap();
    assert_eq!(args.get::<u32>("--epochs").unwrap(), 5);
    assert_eq!(args.get::<String>("--data").unwrap(), "some/where");
    assert_eq!(args.optional::<String>("--load").unwrap(), None);
    assert!(!args.has("--explain") && !args.has("--help"));
}

#[test]
fn values_follow_or_are_joined_and_the_last_one_counts() {
    let args = parse(&["--epochs", "7", "--explain", "--load=a=b", "--epochs=9"]).unwrap();
    assert_eq!(args.get::<u32>("--epochs").unwrap(), 9);
    assert_eq!(args.get::<String>("--load").unwrap(), "a=b");
    assert!(args.has("--explain"));
}

#[test]
fn mistakes_are_told_with_a_way_out() {
    let mistake = |args: &[&str]| parse(args).unwrap_err();
    assert_eq!(mistake(&["--epoch", "3"]), "there is no option `--epoch`");
    assert_eq!(mistake(&["--lod=x"]), "there is no option `--lod`");
    assert_eq!(mistake(&["something"]), "there is no option `something`");
    assert_eq!(mistake(&["--epochs"]), "`--epochs` needs a value: `--epochs N`");
    assert_eq!(mistake(&["--load", "--explain"]), "`--load` needs a value: `--load FILE`");
    assert_eq!(mistake(&["--explain=yes"]), "`--explain` takes no value");

    let args = parse(&["--epochs", "many"]).unwrap();
    let message = args.get::<u32>("--epochs").unwrap_err().to_string();
    assert_eq!(message, "`--epochs many`: invalid digit found in string");
}

#[test]
fn counts_are_at_least_one() {
    let count = |text: &str| parse(&["--epochs", text]).unwrap().get::<Count>("--epochs").map_err(|e| e.to_string());
    assert_eq!(count("1"), Ok(Count(1)));
    for text in ["0", "-1", "1.5", "many"] {
        assert_eq!(count(text), Err(format!("`--epochs {text}`: give a whole number of at least 1")));
    }
}

#[test]
fn output_files_need_a_folder() {
    let file = |text: &str| {
        parse(&["--data", text]).unwrap().get::<OutputFile>("--data").map(|file| file.0).map_err(|e| e.to_string())
    };
    assert_eq!(file("some.file"), Ok("some.file".into()));
    assert_eq!(file("tests/some.file"), Ok("tests/some.file".into()));
    assert_eq!(file("nowhere/some.file"), Err("`--data nowhere/some.file`: there is no such folder".into()));
    for folder in ["tests", "tests/", ".."] {
        assert_eq!(file(folder), Err(format!("`--data {folder}`: give the name of a file")));
    }
}
