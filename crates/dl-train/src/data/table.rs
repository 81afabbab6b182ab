use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2};

use super::DataError;

/// A table read from a CSV file: named columns of numbers or text.
///
/// ```
/// use dl_train::data::{StandardScaler, Table};
///
/// let table = Table::read_csv(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/breast_cancer.csv"))?;
/// let (label, classes) = table.classes("diagnosis")?;
/// let x = table.numbers_without(&["diagnosis"])?;
/// assert_eq!((x.dim(), label.len()), ((569, 30), 569));
/// assert_eq!(classes, ["benign", "malignant"]);
///
/// let error = table.numbers(&["mean area", "diagnosis"]).unwrap_err().to_string();
/// assert!(error.ends_with("line 2, column `diagnosis`: `malignant` is not a number"), "{error}");
/// # Ok::<(), dl_train::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Table {
    /// Reads a file whose first line names the columns; fields are separated by commas, and may be quoted.
    ///
    /// White space around a field does not count, but a quote must be the first character of its field. Empty lines are
    /// passed over.
    ///
    /// # Errors
    /// A [`DataError`] that names the file: unreadable, not UTF-8, two columns of one name, a line with more or fewer
    /// fields than the first, or no lines but the first.
    pub fn read_csv(path: impl AsRef<Path>) -> Result<Self, DataError> {
        Self::read_separated(path, b',')
    }

    /// [`read_csv`](Self::read_csv) of a file whose fields are separated by another character: `b';'`, `b'\t'`.
    ///
    /// # Errors
    /// Those of `read_csv`.
    pub fn read_separated(path: impl AsRef<Path>, separator: u8) -> Result<Self, DataError> {
        let path = path.as_ref().to_owned();
        let failed = |error: csv::Error| failed(&path, error);
        let mut reader = csv::ReaderBuilder::new();
        let mut reader = reader.delimiter(separator).trim(csv::Trim::All).from_path(&path).map_err(failed)?;
        let header = reader.headers().map_err(failed)?;
        // Spreadsheets put a byte order mark before the first name.
        let columns: Vec<String> = header.iter().map(|name| name.trim_start_matches('\u{feff}').to_string()).collect();
        if let Some(twice) = columns.iter().enumerate().find(|(i, name)| columns[..*i].contains(name)) {
            return Err(DataError::ColumnTwice { path, column: twice.1.clone() });
        }
        let rows = reader.records().collect::<Result<Vec<_>, _>>().map_err(failed)?;
        if rows.is_empty() {
            return Err(DataError::Empty { path });
        }
        Ok(Self { path, columns, rows })
    }

    /// The names of the columns, in the order of the file.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The number of rows, the line of names not counted.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The named columns as numbers, `[rows, columns]`, in the order in which they are named.
    ///
    /// # Errors
    /// [`DataError::NoColumn`], or [`DataError::NotANumber`] for the first field that is empty or holds anything else.
    /// A field `NaN` is a number.
    pub fn numbers(&self, columns: &[&str]) -> Result<Array2<f32>, DataError> {
        let columns = columns.iter().map(|name| self.column(name)).collect::<Result<Vec<_>, _>>()?;
        self.numbers_of(&columns)
    }

    /// All columns but the named ones as numbers: what is left when the targets are taken out.
    ///
    /// # Errors
    /// Those of [`numbers`](Self::numbers).
    pub fn numbers_without(&self, columns: &[&str]) -> Result<Array2<f32>, DataError> {
        let without = columns.iter().map(|name| self.column(name)).collect::<Result<Vec<_>, _>>()?;
        let columns: Vec<usize> = (0..self.columns.len()).filter(|column| !without.contains(column)).collect();
        self.numbers_of(&columns)
    }

    /// A column as classes counted from 0, and what each class is called: the different fields of the column in order,
    /// that of their values if all are numbers.
    ///
    /// # Errors
    /// [`DataError::NoColumn`], or [`DataError::NoClass`] for the first field that is empty.
    pub fn classes(&self, column: &str) -> Result<(Array1<i64>, Vec<String>), DataError> {
        let index = self.column(column)?;
        let mut names: Vec<&str> = self.rows.iter().map(|row| &row[index]).collect();
        if let Some(row) = names.iter().position(|name| name.is_empty()) {
            return Err(DataError::NoClass {
                path: self.path.clone(),
                line: self.line(row),
                column: column.to_owned(),
            });
        }
        names.sort_unstable();
        names.dedup();
        if let Ok(mut numbers) = names.iter().map(|name| Ok((name.parse()?, *name))).collect::<Numbers>() {
            numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
            names = numbers.into_iter().map(|(_, name)| name).collect();
        }
        let class = |row: &csv::StringRecord| names.iter().position(|name| *name == &row[index]).unwrap_or(0) as i64;
        Ok((self.rows.iter().map(class).collect(), names.iter().map(|name| name.to_string()).collect()))
    }

    fn column(&self, name: &str) -> Result<usize, DataError> {
        let found = self.columns.iter().position(|column| column == name);
        found.ok_or_else(|| DataError::NoColumn {
            path: self.path.clone(),
            column: name.to_owned(),
            columns: self.columns.clone(),
        })
    }

    fn numbers_of(&self, columns: &[usize]) -> Result<Array2<f32>, DataError> {
        let mut numbers = Array2::zeros((self.rows.len(), columns.len()));
        for ((row, column), number) in numbers.indexed_iter_mut() {
            let field = &self.rows[row][columns[column]];
            *number = field.parse().map_err(|_| DataError::NotANumber {
                path: self.path.clone(),
                line: self.line(row),
                column: self.columns[columns[column]].clone(),
                field: field.to_owned(),
            })?;
        }
        Ok(numbers)
    }

    fn line(&self, row: usize) -> u64 {
        self.rows[row].position().map_or(0, csv::Position::line)
    }
}

type Numbers<'a> = Result<Vec<(f64, &'a str)>, std::num::ParseFloatError>;

fn failed(path: &Path, error: csv::Error) -> DataError {
    let path = path.to_owned();
    let line = error.position().map_or(0, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(source) => DataError::Read { path, source },
        csv::ErrorKind::UnequalLengths { expected_len: expected, len: found, .. } => {
            DataError::Fields { path, line, expected, found }
        }
        csv::ErrorKind::Utf8 { err, .. } => {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, format!("line {line}: {err}"));
            DataError::Read { path, source }
        }
        other => DataError::Read { path, source: std::io::Error::other(format!("{other:?}")) },
    }
}
