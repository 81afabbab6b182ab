//! A file for a test to write.

use std::path::PathBuf;

/// A path in a folder of its own, which is removed at the end.
pub struct File(pub PathBuf);

impl File {
    /// `name` tells the tests of a process apart.
    pub fn new(name: &str) -> File {
        let folder = std::env::temp_dir().join(format!("dl-test-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        File(folder.join("net.safetensors"))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}
