//! A file that is still on its way.
//!
//! Its bytes come front to back, into memory that is there from the start. What has come is shared and never written
//! again; what has not is the receiver's alone. So the two never overlap, and a look at bytes that have not come is a
//! panic, not a race.

use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::sync::Arc;
use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::{Bytes, OutOfMemory};

/// Receives a file front to back, while others use what has come of it.
pub struct Receiver {
    memory: Arc<Memory>,
}

impl Receiver {
    /// Memory for a file of `len` bytes, of which none has come.
    pub fn new(len: usize) -> Result<Self, OutOfMemory> {
        // An allocation of no bytes is not allowed.
        let layout = Layout::array::<u8>(len.max(1)).map_err(|_| OutOfMemory(len))?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(OutOfMemory(len))?;
        Ok(Self { memory: Arc::new(Memory { start, len, layout, arrived: AtomicUsize::new(0) }) })
    }

    /// The file. It has its whole length from the start; [`Bytes::has_arrived`] says what of it can be used.
    pub fn file(&self) -> Bytes {
        Bytes::of_length(Arrived(self.memory.clone()), self.memory.len)
    }

    /// How many bytes have come.
    pub fn arrived(&self) -> usize {
        self.memory.arrived.load(Ordering::Relaxed)
    }

    /// The memory of the bytes that have not come, to be written front to back and then reported by
    /// [`Receiver::advance`]. A host that writes from outside, as JavaScript does, does it through this slice's pointer.
    pub fn rest(&mut self) -> &mut [u8] {
        let Memory { start, len, .. } = *self.memory;
        let arrived = self.arrived();
        // SAFETY: the memory is `len` initialized bytes, of which views share the first `arrived`. Of the others, nobody
        // makes slices but this method, whose borrow also keeps `arrived` from growing.
        unsafe { core::slice::from_raw_parts_mut(start.as_ptr().add(arrived), len - arrived) }
    }

    /// Says that the first `count` bytes of [`Receiver::rest`] have been written.
    ///
    /// # Panics
    /// Where there are not so many.
    pub fn advance(&mut self, count: usize) {
        let arrived = self.arrived();
        assert!(count <= self.memory.len - arrived, "{count} bytes behind {arrived} of {}", self.memory.len);
        // Threads that see the new number see the bytes.
        self.memory.arrived.store(arrived + count, Ordering::Release);
    }

    /// Appends the next bytes of the file.
    ///
    /// # Panics
    /// Where they are more than are missing.
    pub fn push(&mut self, bytes: &[u8]) {
        self.rest()[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
    }
}

/// The memory of a file.
struct Memory {
    start: NonNull<u8>,
    len: usize,
    layout: Layout,
    /// Bytes from the start that are never written again.
    arrived: AtomicUsize,
}

// SAFETY: the memory is owned, and bytes are plain data that any thread may use.
unsafe impl Send for Memory {}
// SAFETY: shared access is to the bytes that have arrived, which nobody writes.
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; receiver and views are gone.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// What has come of a file.
struct Arrived(Arc<Memory>);

impl AsRef<[u8]> for Arrived {
    fn as_ref(&self) -> &[u8] {
        let arrived = self.0.arrived.load(Ordering::Acquire);
        // SAFETY: so many bytes are initialized, and the receiver never writes to them again.
        unsafe { core::slice::from_raw_parts(self.0.start.as_ptr(), arrived) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn what_has_come_can_be_used_while_more_comes() {
        let mut receiver = Receiver::new(10).unwrap();
        let file = receiver.file();
        let [head, tail] = [0..4, 4..10].map(|range| file.slice(range).unwrap());
        assert_eq!((file.len(), tail.len(), file.arrived().len()), (10, 6, 0));
        assert!(!head.has_arrived());
        receiver.push(&[1, 2, 3, 4, 5]);
        let seen = &head[..];
        receiver.rest()[..2].copy_from_slice(&[6, 7]);
        receiver.advance(2);
        assert_eq!(
            (seen, tail.arrived(), file.arrived()),
            (&[1, 2, 3, 4][..], &[5, 6, 7][..], &[1, 2, 3, 4, 5, 6, 7][..])
        );
        assert!(head.has_arrived() && !tail.has_arrived() && !file.has_arrived());
        receiver.push(&[8, 9, 10]);
        drop(receiver);
        assert_eq!((&tail[..], file.has_arrived()), (&[5, 6, 7, 8, 9, 10][..], true));
    }

    #[test]
    fn what_has_not_come_cannot_be_used() {
        let panics = |f: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(f)).is_err();
        let mut receiver = Receiver::new(10).unwrap();
        let file = receiver.file();
        receiver.push(&[1; 6]);
        assert!(panics(&mut || drop(file.to_vec())));
        assert!(panics(&mut || drop(file.slice(5..7).unwrap().to_vec())));
        assert!(panics(&mut || drop(file.slice(8..9).unwrap().to_vec())));
        assert!(panics(&mut || receiver.push(&[1; 5])));
        assert!(panics(&mut || receiver.advance(5)));
        assert_eq!((receiver.arrived(), file.slice(8..9).unwrap().arrived()), (6, &[][..]));
        assert!(file.slice(8..11).is_none());
    }

    #[test]
    fn threads_see_what_is_reported() {
        let mut receiver = Receiver::new(1000).unwrap();
        let file = receiver.file();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !file.has_arrived() {
                    assert!(file.arrived().iter().enumerate().all(|(i, byte)| *byte == i as u8 | 1));
                    std::thread::yield_now();
                }
            });
            (0..1000).for_each(|i| receiver.push(&[i as u8 | 1]));
        });
        assert!(Receiver::new(usize::MAX).is_err());
        assert!(Receiver::new(0).unwrap().file().has_arrived());
    }
}
