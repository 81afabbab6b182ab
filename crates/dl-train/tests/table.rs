//! Tables from CSV files, and what is wrong with those that are not.
#![cfg(feature = "csv")]

use std::fs;
use std::path::PathBuf;

use dl_train::data::{DataError, Table};
use ndarray::array;

/// A file of this test with the given bytes, gone at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let file = Self(std::env::temp_dir().join(format!("dl-train-{name}-{}.csv", std::process::id())));
        fs::write(&file.0, bytes).unwrap();
        file
    }

    fn table(&self) -> Result<Table, DataError> {
        Table::read_csv(&self.0)
    }

    /// The message of an error, without the name of the file.
    fn message<T>(&self, result: Result<T, DataError>) -> String {
        let message = result.err().expect("a mistake").to_string();
        let name = format!("`{}`", self.0.display());
        assert!(message.contains(&name), "{message}");
        message.replace(&name, "FILE")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn columns_are_numbers_or_classes() {
    let text =
        "\u{feff}width, kind ,\"height, in cm\",grade\r\n1,b,2.5,10\r\n\r\n-3e2,\"a \"\"x\"\"\",NaN,9\r\n4,b,0,10\r\n";
    let file = File::new("columns", text);
    let table = file.table().unwrap();
    assert_eq!(table.columns(), ["width", "kind", "height, in cm", "grade"]);
    assert_eq!(table.rows(), 3);
    assert_eq!(table.numbers(&["grade", "width"]).unwrap(), array![[10.0, 1.0], [9.0, -300.0], [10.0, 4.0]]);
    let rest = table.numbers_without(&["kind", "grade"]).unwrap();
    assert_eq!(rest.column(0), array![1.0, -300.0, 4.0]);
    assert!(rest[[1, 1]].is_nan() && rest[[0, 1]] == 2.5);
    assert_eq!(table.classes("kind").unwrap(), (array![1, 0, 1], vec!["a \"x\"".into(), "b".into()]));
    // By value: as text, 10 would stand before 9.
    assert_eq!(table.classes("grade").unwrap(), (array![1, 0, 1], vec!["9".into(), "10".into()]));
}

#[test]
fn fields_may_be_separated_otherwise() {
    let file = File::new("separated", "a;b\n1;2,5\n");
    let table = Table::read_separated(&file.0, b';').unwrap();
    assert_eq!(table.classes("b").unwrap().1, ["2,5"]);
    assert_eq!(table.numbers(&["a"]).unwrap(), array![[1.0]]);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let file = File::new("mistakes", "age,name\n1,x\n,y\n2,\nold,z\n");
    let table = file.table().unwrap();
    let message = file.message(table.numbers(&["age"]));
    let fill = "empty, but a number is needed; fill it in, or leave out the row or the column";
    assert_eq!(message, format!("FILE, line 3, column `age`: {fill}"));
    assert_eq!(file.message(table.numbers(&["name"])), "FILE, line 2, column `name`: `x` is not a number");
    assert_eq!(file.message(table.numbers_without(&["age"])), "FILE, line 2, column `name`: `x` is not a number");
    let class = file.message(table.classes("name"));
    assert_eq!(class, "FILE, line 4, column `name`: empty, but a class is needed; fill it in, or leave out the row");
    for message in [table.classes("Age").map(drop), table.numbers_without(&["Age"]).map(drop)] {
        assert_eq!(file.message(message), "FILE has no column `Age`; it has `age`, `name`");
    }
}

#[test]
fn files_that_are_no_tables_are_refused() {
    let refused = |name, bytes: &[u8]| {
        let file = File::new(name, bytes);
        file.message(file.table())
    };
    let quotes = "text with the separator in it belongs in quotes";
    assert_eq!(
        refused("long", b"a,b\n1,2\n1,2,3\n"),
        format!("FILE, line 3: 3 fields, but its first line has 2; {quotes}")
    );
    assert_eq!(refused("short", b"a,b\n1\n"), format!("FILE, line 2: 1 fields, but its first line has 2; {quotes}"));
    let twice = "FILE has two columns `a`; the first line must name each column, and no two alike";
    assert_eq!(refused("twice", b"a,b,a\n1,2,3\n"), twice);
    assert!(refused("empty", b"").starts_with("FILE holds no samples"));
    assert!(refused("headed", b"a,b\n").starts_with("FILE holds no samples"));
    assert!(refused("latin", b"a\n\xe4\n").starts_with("cannot read FILE: line 2: "));
    let missing = Table::read_csv("no/such.csv").unwrap_err().to_string();
    assert!(missing.starts_with("cannot read `no/such.csv`: "), "{missing}");
}
