//! Byte ownership and views: where the engine's memory comes from.

#![allow(unsafe_code)]

mod checksum;
mod crew;
mod receiver;
mod shared;
mod tile;

pub use checksum::checksum;
pub use crew::{Crew, Team};
pub use receiver::Receiver;
pub use shared::{Claim, Cut, Element, OutOfMemory, Shared};
pub use tile::Tile;

use alloc::sync::Arc;
use core::ops::{Deref, Range};

/// Read-only bytes that live as long as anyone holds them: an mmap, a `Vec`, wasm memory. Cloning and slicing are cheap.
///
/// Those of a [`Receiver`]'s file may not be there yet: length and slices are those of the whole file, but to look at bytes
/// that have not arrived panics.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// Takes over `owner`, whose bytes must stay the same for as long as it lives.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let range = 0..owner.as_ref().len();
        Self { owner: Arc::new(owner), range }
    }

    /// Takes over `owner`, whose bytes must stay the same, but become more, up to `len`.
    fn of_length(owner: impl AsRef<[u8]> + Send + Sync + 'static, len: usize) -> Self {
        Self { owner: Arc::new(owner), range: 0..len }
    }

    /// Number of bytes, whether they have arrived or not.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Whether all bytes are there.
    pub fn has_arrived(&self) -> bool {
        self.arrived().len() == self.len()
    }

    /// Those from the first on that are there: all of them, but for a file that is still being received.
    pub fn arrived(&self) -> &[u8] {
        let all = (*self.owner).as_ref();
        let end = self.range.end.min(all.len());
        &all[self.range.start.min(end)..end]
    }

    /// A view of `range` (relative to this view), or `None` where it reaches outside.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.range.len() {
            return None;
        }
        let start = self.range.start;
        Some(Self { owner: self.owner.clone(), range: start + range.start..start + range.end })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl core::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Bytes({})", self.range.len())
    }
}
