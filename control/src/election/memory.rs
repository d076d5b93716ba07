use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file, beside the snapshot.
const FILE: &str = "alone";

/// Remembers on disk that this gateway was the only one when the API was last
/// heard, for a start while the API is away.
#[derive(Clone, Debug)]
pub struct Memory {
    folder: PathBuf,
    /// What the file says: whose it is.
    text: String,
}

impl Memory {
    /// In a folder, of the gateway on a node of the cluster with an API server.
    pub fn new(folder: &Path, node: &str, server: &str) -> Self {
        Memory { folder: folder.to_owned(), text: format!("{node} alone at {server}\n") }
    }

    /// Whether it was alone.
    pub fn was_alone(&self) -> bool {
        fs::read_to_string(self.folder.join(FILE)).is_ok_and(|text| text == self.text)
    }

    /// Keeps whether it is alone.
    ///
    /// # Errors
    /// When the file cannot be written or removed.
    pub fn keep(&self, is_alone: bool) -> io::Result<()> {
        let file = self.folder.join(FILE);
        if !is_alone {
            return match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        fs::create_dir_all(&self.folder)?;
        // Half a file says nothing, as none does.
        fs::write(file, &self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_one_has_written_oneself_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let memory = Memory::new(&path, "a", "s");
        assert!(!memory.was_alone());
        memory.keep(false).unwrap();
        memory.keep(true).unwrap();
        assert!(memory.was_alone());
        assert!(!Memory::new(&path, "b", "s").was_alone());
        assert!(!Memory::new(&path, "a", "t").was_alone());
        memory.keep(false).unwrap();
        assert!(!memory.was_alone());
    }
}
