use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a data set could not be read or put together.
#[derive(Debug)]
#[non_exhaustive]
pub enum DataError {
    /// None of the names under which a file is looked for exists.
    Missing {
        /// What the file holds, such as `training images`.
        what: &'static str,
        /// The paths tried, in order.
        tried: Vec<PathBuf>,
    },
    /// The operating system could not read a file, or its compressed data is damaged.
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file is not of the kind that belongs there.
    Magic {
        /// The file.
        path: PathBuf,
        /// The number that files of this kind begin with.
        expected: u32,
        /// The number it begins with.
        found: u32,
    },
    /// The images of a file are not of the expected size.
    ImageSize {
        /// The file.
        path: PathBuf,
        /// Expected rows and columns.
        expected: (usize, usize),
        /// Rows and columns according to its header.
        found: (usize, usize),
    },
    /// A file ends before, or goes on after, the data that its header announces.
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that the header asks for, itself included.
        expected: u64,
        /// Bytes in the file after decompression; one more than `expected` stands for any surplus.
        found: u64,
    },
    /// A file is in order but holds no samples, so that there would be nothing to learn from or to judge by.
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A label is not one of the classes.
    Label {
        /// The file.
        path: PathBuf,
        /// The sample, counted from 0.
        index: usize,
        /// Its label.
        label: u8,
        /// How many classes there are.
        classes: u8,
    },
    /// A line of a table has another number of fields than its first.
    Fields {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// How many fields the first line has.
        expected: u64,
        /// How many this one has.
        found: u64,
    },
    /// Two columns of a table have the same name.
    ColumnTwice {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A table has no column of this name.
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        column: String,
        /// The names that there are.
        columns: Vec<String>,
    },
    /// A field of a table is not a number.
    NotANumber {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column.
        column: String,
        /// What the field holds.
        field: String,
    },
    /// A field of a table that should name a class is empty.
    NoClass {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column.
        column: String,
    },
    /// Parts that belong together differ in their number of samples.
    Samples {
        /// Each part's name and number of samples.
        parts: Vec<(String, usize)>,
    },
    /// A text has a character without a number.
    Character {
        /// Where it stands, in characters from 0.
        at: usize,
        /// Which it is.
        character: char,
        /// How many have a number.
        known: usize,
    },
    /// There are no windows like these.
    Window {
        /// The numbers of a window.
        length: usize,
        /// The numbers from one window's start to the next.
        stride: usize,
        /// All numbers.
        tokens: usize,
    },
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Missing { what, tried } => {
                write!(f, "no {what} found; looked for")?;
                for (i, path) in tried.iter().enumerate() {
                    write!(f, "{} `{}`", if i == 0 { "" } else { " and" }, path.display())?;
                }
                write!(f, "; check the directory, relative paths start where the program is run")
            }
            Self::Read { path, source } if source.kind() == io::ErrorKind::UnexpectedEof => {
                let path = path.display();
                write!(f, "`{path}` is truncated: its compressed data ends early; copy or download it again")
            }
            Self::Read { path, source } => write!(f, "cannot read `{}`: {source}", path.display()),
            Self::Magic { path, expected, found } => {
                write!(f, "`{}` begins with {found:#010x}, but ", path.display())?;
                let kind = |magic| match magic {
                    super::idx::IMAGES => "an IDX file of images (bytes, 3 axes)",
                    super::idx::LABELS => "an IDX file of labels (bytes, 1 axis)",
                    _ => "something else",
                };
                write!(f, "{} begins with {expected:#010x}; ", kind(*expected))?;
                write!(f, "the file is {}", kind(*found))
            }
            Self::ImageSize { path, expected, found } => {
                let ((h, w), (fh, fw)) = (expected, found);
                write!(f, "`{}` holds images of {fh}x{fw} pixels, expected {h}x{w}", path.display())
            }
            Self::Length { path, expected, found } if found < expected => {
                write!(f, "`{}` is truncated: its header asks for {expected} bytes, ", path.display())?;
                write!(f, "but it ends after {found}; copy or download it again")
            }
            Self::Length { path, expected, .. } => {
                write!(f, "`{}` goes on after the {expected} bytes that its header asks for; ", path.display())?;
                write!(f, "copy or download it again")
            }
            Self::Empty { path } => {
                write!(f, "`{}` holds no samples, at least one is needed; ", path.display())?;
                write!(f, "copy or download the data set again")
            }
            Self::Label { path, index, label, classes } => {
                write!(f, "label {label} of sample {index} in `{}` is out of range: ", path.display())?;
                write!(f, "the {classes} classes are 0 to {}", classes - 1)
            }
            Self::Fields { path, line, expected, found } => {
                write!(f, "`{}`, line {line}: {found} fields, but its first line has {expected}; ", path.display())?;
                write!(f, "text with the separator in it belongs in quotes")
            }
            Self::ColumnTwice { path, column } => {
                write!(f, "`{}` has two columns `{column}`; the first line must name each column, ", path.display())?;
                write!(f, "and no two alike")
            }
            Self::NoColumn { path, column, columns } => {
                write!(f, "`{}` has no column `{column}`; it has", path.display())?;
                for (i, name) in columns.iter().enumerate() {
                    write!(f, "{} `{name}`", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::NotANumber { path, line, column, field } => {
                write!(f, "`{}`, line {line}, column `{column}`: ", path.display())?;
                match field.as_str() {
                    "" => write!(f, "empty, but a number is needed; fill it in, or leave out the row or the column"),
                    _ => write!(f, "`{field}` is not a number"),
                }
            }
            Self::NoClass { path, line, column } => {
                write!(f, "`{}`, line {line}, column `{column}`: ", path.display())?;
                write!(f, "empty, but a class is needed; fill it in, or leave out the row")
            }
            Self::Samples { parts } => {
                write!(f, "parts of one data set differ in their number of samples:")?;
                for (i, (name, samples)) in parts.iter().enumerate() {
                    write!(f, "{} {name} has {samples}", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::Character { at, character, known } => {
                write!(f, "character {at} of the text, {character:?}, is not one of the {known} that have numbers; ")?;
                write!(f, "make `Characters` of all texts together")
            }
            Self::Window { length, stride, .. } if *length == 0 || *stride == 0 => {
                write!(f, "windows need a length and a stride of at least 1, but these are {length} and {stride}")
            }
            Self::Window { length, tokens, .. } => {
                let least = length.saturating_add(1);
                write!(f, "windows of {length} numbers, each with the one that follows, need at least {least}, ")?;
                write!(f, "but there are {tokens}; use shorter ones")
            }
        }
    }
}

impl std::error::Error for DataError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<DataError> for dl_runtime::Error {
    fn from(error: DataError) -> Self {
        Self::Other(Box::new(error))
    }
}
