//! The model store.

mod catalogue;
mod names;
mod source;

pub use source::Source;

use crate::error::Result;
use std::path::PathBuf;
use std::time::SystemTime;

/// A model in the cache.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The short name, which every command takes as MODEL.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// Its file, or the parts of a split one, in order.
    pub paths: Vec<PathBuf>,
    /// Bytes on the disk.
    pub size: u64,
    /// When it was fetched.
    pub modified: SystemTime,
}

/// The models on this machine.
pub struct Store {}

impl Store {
    /// Opens the cache folder: `WOOLLY_MODELS`, or `woolly/models` in the user's cache folder.
    pub fn open(offline: bool) -> Result<Store> {
        { let _ = offline; Ok(Store{}) }
    }

    /// The files of a model, fetched first where they are not in the cache.
    pub fn resolve(&self, source: &Source) -> Result<Vec<PathBuf>> {
        match source { Source::Path(p) => Ok(vec![p.clone()]), _ => todo!() }
    }

    /// Fetches a model into the cache, where it is not there yet.
    pub fn pull(&self, source: &Source) -> Result<Entry> {
        todo!("{source}")
    }

    /// The models in the cache, by name.
    pub fn list(&self) -> Result<Vec<Entry>> {
        todo!()
    }

    /// Deletes a model from the cache. `name` is its short name, or the source it was pulled from.
    pub fn remove(&self, name: &str) -> Result<Entry> {
        todo!("{name}")
    }
}
