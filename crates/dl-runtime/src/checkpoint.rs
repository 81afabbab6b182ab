//! Saving and loading tensors in safetensors files.
//!
//! Saving is atomic: a reader, or a run after a crash, finds the old file or the new one, never half of one.
//! Loading is all or nothing: everything is checked before the first byte of the model changes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use dl_ir::DType;
use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::error::{Error, Result};
use crate::memory::{Tensor, type_name};
use crate::widen::widened;

#[cfg(target_endian = "big")]
compile_error!("safetensors files hold little-endian numbers, and are read and written as they are");

/// PyTorch counts the batches that a batch norm has seen under this name. Nothing depends on the count, so files
/// with and without it load alike.
const IGNORED_SUFFIX: &str = ".num_batches_tracked";

/// What loading a file did, or would have to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Tensors taken from the file.
    pub loaded: Vec<String>,
    /// Tensors of the model that the file does not hold.
    pub missing: Vec<String>,
    /// Tensors of the file that the model does not have.
    pub unexpected: Vec<String>,
    /// Tensors of both, of different shapes.
    pub misshapen: Vec<Misfit>,
    /// Tensors of both, of equal shapes but different element types. Floats of fewer bits than the model's, such as
    /// those of `model.half()`, are no such ones: they are taken, as none of their values changes.
    pub wrong_dtype: Vec<Misfit>,
}

/// A tensor that the file holds with another type than the model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Misfit {
    /// The tensor's name.
    pub name: String,
    /// Its type in the model, such as `f32[32, 1, 3, 3]`.
    pub expected: String,
    /// Its type in the file.
    pub found: String,
}

impl LoadReport {
    /// Whether the file held exactly the model's tensors.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.misshapen.is_empty()
            && self.wrong_dtype.is_empty()
    }

    /// The prefix that all unexpected names have and all missing ones lack, such as `module.`.
    fn foreign_prefix(&self) -> Option<&str> {
        let first = self.missing.first()?;
        let prefix = self.unexpected.iter().find_map(|name| name.strip_suffix(first.as_str()))?;
        let matches =
            self.missing.iter().all(|name| self.unexpected.iter().any(|u| u.strip_prefix(prefix) == Some(name)));
        (matches && !prefix.is_empty()).then_some(prefix)
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fit", self.loaded.len())?;
        for (what, names) in [("missing from the file", &self.missing), ("unexpected in the file", &self.unexpected)] {
            if !names.is_empty() {
                write!(f, "\n{} {what}: {}", names.len(), names.join(", "))?;
            }
        }
        for (what, misfits) in [("of another shape", &self.misshapen), ("of another element type", &self.wrong_dtype)] {
            if !misfits.is_empty() {
                write!(f, "\n{} {what}:", misfits.len())?;
            }
            for Misfit { name, expected, found } in misfits {
                write!(f, "\n  {name}: the model has {expected}, the file {found}")?;
            }
        }
        match self.foreign_prefix() {
            Some(prefix) => write!(f, "\nhelp: the file's names begin with `{prefix}`; save it without that prefix"),
            None => Ok(()),
        }
    }
}

/// Writes `tensors` and `facts` to `path`, replacing the file only once everything is on the disk.
pub(crate) fn save<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    facts: &BTreeMap<&str, String>,
) -> Result<()> {
    // One entry, since the file format keeps its map in no fixed order: equal models give equal files.
    let facts: Vec<String> = facts.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let header = [("dl".to_string(), facts.join(";"))].into_iter().collect();
    let views = tensors.into_iter().map(|(name, tensor)| (name, Saved(tensor)));
    let bytes = safetensors::serialize(views, Some(header)).map_err(|e| Error::internal("writing a checkpoint", e))?;
    write_atomically(path, &bytes).map_err(|source| Error::Io {
        action: "writing the checkpoint",
        path: path.to_path_buf(),
        source,
    })
}

/// A file read into memory.
pub(crate) struct Checkpoint {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Checkpoint {
    pub(crate) fn read(path: &Path) -> Result<Checkpoint> {
        let bytes = fs::read(path).map_err(|source| Error::Io {
            action: "reading the checkpoint",
            path: path.to_path_buf(),
            source,
        })?;
        let checkpoint = Checkpoint { path: path.to_path_buf(), bytes };
        checkpoint.parse()?;
        Ok(checkpoint)
    }

    /// What [`save`] was given as `facts`; empty for files of other programs.
    pub(crate) fn facts(&self) -> Result<BTreeMap<String, String>> {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).map_err(|e| self.corrupt(e))?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get("dl")).cloned().unwrap_or_default();
        Ok(text
            .split(';')
            .filter_map(|fact| fact.split_once('='))
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect())
    }

    /// Every tensor of the file.
    pub(crate) fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let file = self.parse()?;
        let mut tensors = vec![];
        for (name, view) in file.iter() {
            let dtype = dtype_of(view.dtype())
                .ok_or_else(|| self.corrupt(format!("`{name}` holds {}, which is not supported", view.dtype())))?;
            let mut tensor = Tensor::zeros(dtype, view.shape(), name)?;
            copy_elements(&mut tensor, view.data());
            tensors.push((name.to_string(), tensor));
        }
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(tensors)
    }

    /// Compares the file with `tensors` and, where everything fits (or with `partial` what fits), copies it into them.
    /// Errors leave `tensors` as they are.
    pub(crate) fn load_into(&self, tensors: &mut [(&str, &mut Tensor)], partial: bool) -> Result<LoadReport> {
        let file = self.parse()?;
        let mut report = LoadReport::default();
        for (name, tensor) in tensors.iter() {
            let Ok(found) = file.tensor(name) else {
                if !name.ends_with(IGNORED_SUFFIX) {
                    report.missing.push(name.to_string());
                }
                continue;
            };
            let misfit = || Misfit {
                name: name.to_string(),
                expected: tensor.type_name(),
                found: match dtype_of(found.dtype()) {
                    Some(dtype) => type_name(dtype, found.shape()),
                    None => format!("{} {:?}", found.dtype(), found.shape()),
                },
            };
            if found.shape() != tensor.shape {
                report.misshapen.push(misfit());
            } else if widened(&[], found.dtype(), tensor.dtype).is_none() {
                report.wrong_dtype.push(misfit());
            } else {
                report.loaded.push(name.to_string());
            }
        }
        let known = |name: &str| tensors.iter().any(|(have, _)| *have == name);
        report.unexpected = file
            .names()
            .into_iter()
            .filter(|name| !known(name) && !name.ends_with(IGNORED_SUFFIX))
            .map(String::from)
            .collect();
        report.unexpected.sort();
        if !partial && !report.is_complete() {
            return Err(Error::CheckpointMismatch { path: self.path.clone(), report: Box::new(report) });
        }
        for (name, tensor) in tensors.iter_mut().filter(|(name, _)| report.loaded.iter().any(|l| l == name)) {
            let found = file.tensor(name).map_err(|e| self.corrupt(e))?;
            if let Some(bytes) = widened(found.data(), found.dtype(), tensor.dtype) {
                copy_elements(tensor, &bytes);
            }
        }
        Ok(report)
    }

    fn parse(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|e| self.corrupt(format!("{e} (it has {} bytes)", self.bytes.len())))
    }

    fn corrupt(&self, problem: impl fmt::Display) -> Error {
        Error::CorruptCheckpoint { path: self.path.clone(), problem: problem.to_string() }
    }
}

/// A tensor as safetensors wants to see it.
struct Saved<'a>(&'a Tensor);

impl View for Saved<'_> {
    fn dtype(&self) -> Dtype {
        match self.0.dtype {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::I64 => Dtype::I64,
            DType::I32 => Dtype::I32,
            DType::U8 => Dtype::U8,
            DType::Bool => Dtype::BOOL,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.0.declared_bytes()
    }

    fn data_len(&self) -> usize {
        self.0.bytes().len()
    }
}

fn dtype_of(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::U8 => DType::U8,
        Dtype::BOOL => DType::Bool,
        _ => return None,
    })
}

/// Both have the same number of bytes, with the axes as declared. A bool becomes 0 or 1, whatever the file holds.
fn copy_elements(tensor: &mut Tensor, bytes: &[u8]) {
    tensor.set_declared_bytes(bytes);
    if tensor.dtype == DType::Bool {
        tensor.bytes_mut().iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    }
}

/// Writes a file beside `path`, makes it durable and renames it to `path`, then makes the renaming durable.
fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| std::io::Error::other("the path names no file"))?;
    let unique =
        format!(".{}.{}.{}.tmp", name.to_string_lossy(), std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let temporary = folder.join(unique);
    let written = OpenOptions::new().write(true).create_new(true).open(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The error at hand says more than a failure to clean up.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], first: f32) -> Tensor {
        let mut t = Tensor::zeros(DType::F32, shape, "t").unwrap();
        for (i, v) in t.as_slice_mut::<f32>().unwrap().iter_mut().enumerate() {
            *v = first + i as f32;
        }
        t
    }

    /// A folder that is removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("dl-checkpoint-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("model.safetensors")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write(folder: &Folder, tensors: &[(&str, &Tensor)]) {
        save(&folder.file(), tensors.iter().copied(), &BTreeMap::from([("step", "7".to_string())])).unwrap();
    }

    #[test]
    fn what_is_saved_is_loaded_and_no_other_file_is_left() {
        let folder = Folder::new("round");
        let (a, b) = (tensor(&[2, 3], 1.0), tensor(&[], 9.0));
        write(&folder, &[("a", &a), ("b", &b)]);
        write(&folder, &[("b", &b), ("a", &a)]);
        let (mut x, mut y) = (tensor(&[2, 3], 0.0), tensor(&[], 0.0));
        let file = Checkpoint::read(&folder.file()).unwrap();
        let report = file.load_into(&mut [("a", &mut x), ("b", &mut y)], false).unwrap();
        assert_eq!((report.loaded.len(), report.is_complete()), (2, true));
        assert_eq!((x.bytes(), y.bytes()), (a.bytes(), b.bytes()));
        assert_eq!(file.facts().unwrap()["step"], "7");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    }

    #[test]
    fn every_difference_is_reported_at_once_and_nothing_changes() {
        let folder = Folder::new("report");
        let integers = Tensor::zeros(DType::I64, &[2], "i").unwrap();
        let (same, wide) = (tensor(&[2], 5.0), tensor(&[3], 5.0));
        write(
            &folder,
            &[
                ("same", &same),
                ("shape", &wide),
                ("kind", &integers),
                ("extra", &wide),
                ("bn.num_batches_tracked", &same),
            ],
        );
        let mut mine: Vec<(&str, Tensor)> =
            ["same", "shape", "kind", "absent"].map(|name| (name, tensor(&[2], 0.0))).into();
        let file = Checkpoint::read(&folder.file()).unwrap();
        let mut refs: Vec<(&str, &mut Tensor)> = mine.iter_mut().map(|(n, t)| (*n, t)).collect();
        let Err(Error::CheckpointMismatch { report, .. }) = file.load_into(&mut refs, false) else {
            panic!("accepted")
        };
        assert_eq!(
            (&report.missing[..], &report.unexpected[..]),
            (&["absent".to_string()][..], &["extra".to_string()][..])
        );
        assert_eq!((report.misshapen[0].name.as_str(), report.misshapen[0].found.as_str()), ("shape", "f32[3]"));
        assert_eq!((report.wrong_dtype[0].name.as_str(), report.wrong_dtype[0].found.as_str()), ("kind", "i64[2]"));
        let text = report.to_string();
        assert!(text.contains("shape: the model has f32[2], the file f32[3]") && text.contains("1 missing"), "{text}");
        assert_eq!(refs[0].1.as_slice::<f32>().unwrap(), [0.0, 1.0], "a refused file changed a tensor");
        let lenient = file.load_into(&mut refs, true).unwrap();
        assert_eq!(
            (lenient.loaded.as_slice(), lenient.missing.as_slice()),
            (&["same".to_string()][..], &["absent".to_string()][..])
        );
        assert_eq!(refs[0].1.as_slice::<f32>().unwrap(), [5.0, 6.0]);
    }

    #[test]
    fn a_prefix_before_every_name_is_recognised() {
        let folder = Folder::new("prefix");
        let t = tensor(&[2], 0.0);
        write(&folder, &[("module.a", &t), ("module.b", &t)]);
        let (mut a, mut b) = (tensor(&[2], 0.0), tensor(&[2], 0.0));
        let error = Checkpoint::read(&folder.file())
            .unwrap()
            .load_into(&mut [("a", &mut a), ("b", &mut b)], false)
            .unwrap_err();
        assert!(error.to_string().contains("names begin with `module.`"), "{error}");
    }

    #[test]
    fn damaged_files_are_refused() {
        let folder = Folder::new("damaged");
        let t = tensor(&[64], 0.0);
        write(&folder, &[("t", &t)]);
        let whole = fs::read(folder.file()).unwrap();
        for cut in [0, 4, 8, 20, whole.len() / 2, whole.len() - 1] {
            fs::write(folder.file(), &whole[..cut]).unwrap();
            let Err(error) = Checkpoint::read(&folder.file()) else { panic!("{cut} bytes were accepted") };
            assert!(
                matches!(error, Error::CorruptCheckpoint { .. })
                    && error.to_string().contains("not a whole safetensors file"),
                "{error}"
            );
        }
        let mut flipped = whole.clone();
        flipped[0] ^= 0x55;
        fs::write(folder.file(), &flipped).unwrap();
        assert!(matches!(Checkpoint::read(&folder.file()), Err(Error::CorruptCheckpoint { .. })));
        fs::write(folder.file(), [whole, vec![0]].concat()).unwrap();
        assert!(matches!(Checkpoint::read(&folder.file()), Err(Error::CorruptCheckpoint { .. })));
    }

    #[test]
    fn missing_files_and_folders_are_io_errors() {
        let folder = Folder::new("absent");
        let Err(error) = Checkpoint::read(&folder.file()) else { panic!("read nothing") };
        assert!(error.to_string().starts_with("reading the checkpoint `"), "{error}");
        let nowhere = folder.0.join("none/model.safetensors");
        assert!(matches!(save(&nowhere, [], &BTreeMap::new()), Err(Error::Io { .. })));
        assert!(matches!(save(&folder.0, [], &BTreeMap::new()), Err(Error::Io { .. })), "a folder is no file");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
    }
}
