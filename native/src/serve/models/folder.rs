//! The models folder: which files are in it, and which of them a request may name.
//!
//! A request names a model or a path. Neither may lead out of the folder: a name has to be a file's own name, and of
//! every path it is looked up where it really leads, through links too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::store::{gguf_name, stem};

/// A folder of models.
#[derive(Debug)]
pub struct Folder {
    /// Without links.
    root: PathBuf,
}

impl Folder {
    /// The folder at this path, which has to be there.
    pub fn open(path: &Path) -> Result<Self> {
        let root =
            path.canonicalize().map_err(|cause| Error::io(format!("open the folder {}", path.display()), cause))?;
        if !root.is_dir() {
            return Err(Error::usage(format!("{} is no folder; expected one with .gguf files", path.display())));
        }
        Ok(Self { root })
    }

    /// The models in it by name; a split one by its first part. A folder that cannot be read has none.
    pub fn models(&self) -> BTreeMap<String, PathBuf> {
        let entries = self.root.read_dir().into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        let mut models = BTreeMap::new();
        for name in names.iter().filter(|name| gguf_name(name).is_some()) {
            if let Ok(path) = self.inside(Path::new(name)) {
                models.entry(stem(name).to_owned()).or_insert(path);
            }
        }
        models
    }

    /// The file at a path, relative to the folder or absolute, where it really is in the folder.
    pub fn inside(&self, path: &Path) -> Result<PathBuf> {
        let outside = || Error::usage(format!("{} is no .gguf file in the models folder", path.display()));
        // What is not there and what is elsewhere look alike to whoever asks.
        let real = self.root.join(path).canonicalize().map_err(|_| outside())?;
        let is_model = real.file_name().and_then(|name| name.to_str()).is_some_and(|name| gguf_name(name).is_some());
        if !real.starts_with(&self.root) || !is_model || !real.is_file() {
            return Err(outside());
        }
        Ok(real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_by_their_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.gguf", "a-00001-of-00002.gguf", "a-00002-of-00002.gguf", "notes.txt", ".hidden.gguf"] {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        let models = Folder::open(folder.path()).unwrap().models();
        assert_eq!(models.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(models["a"].ends_with("a-00001-of-00002.gguf"));
    }

    #[cfg(unix)]
    #[test]
    fn no_path_leads_outside() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("models");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        for path in ["secret.gguf", "models/ok.gguf", "models/sub/ok.gguf", "models/other.txt"] {
            std::fs::write(outer.path().join(path), b"x").unwrap();
        }
        std::os::unix::fs::symlink("../secret.gguf", root.join("link.gguf")).unwrap();
        std::os::unix::fs::symlink("ok.gguf", root.join("good.gguf")).unwrap();
        let folder = Folder::open(&root).unwrap();
        for good in ["ok.gguf", "sub/ok.gguf", "sub/../ok.gguf", "good.gguf"] {
            assert!(folder.inside(Path::new(good)).is_ok(), "{good}");
        }
        let absolute = outer.path().join("secret.gguf");
        let absolute = absolute.to_str().unwrap();
        for bad in
            ["../secret.gguf", "sub/../../secret.gguf", "link.gguf", "other.txt", "sub", "", "none.gguf", absolute]
        {
            assert!(folder.inside(Path::new(bad)).is_err(), "{bad}");
        }
        assert_eq!(folder.models().keys().collect::<Vec<_>>(), ["good", "ok"]);
    }
}
