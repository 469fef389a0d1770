//! Buffers that a crew of threads works on together, without locks and without handing out aliasing borrows.
//!
//! A forward pass is a sequence of operations, cut into chunks that threads claim one by one ([`super::Crew`]). A
//! [`Claim`] proves that its holder, alone, has one chunk of one operation, and that the operation is not over. From a
//! claim, a buffer gives either a view of all of it to read, or the one part that belongs to the chunk to write. What
//! could go wrong is checked where it would happen:
//!
//! * within one operation a buffer is read or written, never both (a reader and a writer each announce themselves before
//!   they look for the other, so at least one of two that clash sees it);
//! * all writers of an operation cut the buffer in the same way, so that parts of different chunks do not overlap;
//! * a chunk takes its part of a buffer once;
//! * a buffer is used by the crew that it was made for.
//!
//! Breaking one of these is a defect of the engine, and panics.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::cell::Cell;
use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::Tile;

/// Alignment of every buffer, in bytes: a cache line, and the widest vector register.
const ALIGNMENT: usize = 64;
/// Buffers that one chunk may write.
const WRITES: usize = 8;
/// Low bits of a writer's mark that identify how the buffer is cut; the operation's number stands above them.
const CUT_BITS: u32 = 20;

/// Plain numbers that may live in a [`Shared`] buffer: all-zero bytes are a value, and no value needs dropping.
pub trait Element: Copy + Send + Sync + 'static + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($t:ty)*) => { $(impl sealed::Sealed for $t {} impl Element for $t {})* };
}
elements!(u8 i8 u16 i16 u32 i32 f32);

/// The system has no memory left for a buffer of this many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("out of memory: a buffer of {0} bytes could not be allocated")]
pub struct OutOfMemory(pub usize);

/// The exclusive right to one chunk of one operation, while that operation runs. Made by [`super::Team`] only.
pub struct Claim {
    crew: u64,
    operation: u64,
    index: usize,
    written: Cell<[usize; WRITES]>,
}

impl Claim {
    /// # Safety
    /// No other claim with this crew, operation and index may ever exist, no two operations of a crew may have claims at
    /// the same time, and claims of one operation happen after those of all operations with lower numbers.
    pub(super) unsafe fn new(crew: u64, operation: u64, index: usize) -> Self {
        Self { crew, operation, index, written: Cell::new([0; WRITES]) }
    }

    /// Which chunk of the operation this is, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Notes that this chunk writes the buffer `id`; panics if it already did.
    fn note_write(&self, id: usize) {
        let mut written = self.written.get();
        assert!(!written.contains(&id), "a chunk takes its part of a buffer once");
        let free = written.iter().position(|w| *w == 0).expect("a chunk writes few buffers");
        written[free] = id;
        self.written.set(written);
    }
}

/// How an operation's chunks divide a buffer that they write: as a matrix of `rows` rows of `stride` elements, whose rows
/// from `top` on and columns from `start` to `end` are cut into tiles of `block` rows and `width` columns, the last ones
/// smaller. Tiles are numbered along the columns first; chunk `first` has tile 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cut {
    /// Rows of the matrix.
    pub rows: usize,
    /// The first row that is divided.
    pub top: usize,
    /// Elements from one row to the next.
    pub stride: usize,
    /// The first element of a row that is divided.
    pub start: usize,
    /// The end of the elements of a row that are divided.
    pub end: usize,
    /// Rows in one chunk.
    pub block: usize,
    /// Elements of a row in one chunk.
    pub width: usize,
    /// Number of the first chunk that has a part.
    pub first: usize,
}

impl Cut {
    /// Each chunk has `width` consecutive elements of the first `len`.
    pub fn pieces(len: usize, width: usize) -> Self {
        Self::columns(1, len, width)
    }

    /// Each chunk has `width` columns of a matrix of `rows` rows of `stride` elements.
    pub fn columns(rows: usize, stride: usize, width: usize) -> Self {
        Self { rows, top: 0, stride, start: 0, end: stride, block: rows, width, first: 0 }
    }

    /// The same, for an operation whose chunks before `first` do something else.
    pub fn from_chunk(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// The rows and columns of a chunk's tile.
    fn tile_of(&self, chunk: usize) -> [Range<usize>; 2] {
        let tile = chunk.checked_sub(self.first).expect("the chunk has a part");
        assert!(self.start < self.end && self.end <= self.stride && self.width > 0, "{self:?}");
        let across = (self.end - self.start).div_ceil(self.width);
        let (row, column) = (self.top + tile / across * self.block, self.start + tile % across * self.width);
        assert!(row < self.rows, "chunk {chunk} of {self:?}");
        [row..(row + self.block).min(self.rows), column..(column + self.width).min(self.end)]
    }

    fn fingerprint(&self) -> u64 {
        let fields = [self.rows, self.top, self.stride, self.start, self.end, self.block, self.width, self.first];
        let mixed = fields.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, field| {
            (hash ^ *field as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
        });
        mixed >> (64 - CUT_BITS)
    }
}

/// A zeroed, 64-byte aligned buffer of numbers shared by the threads of one crew.
pub struct Shared<T: Element> {
    data: NonNull<T>,
    len: usize,
    allocation: NonNull<u8>,
    layout: Layout,
    crew: u64,
    reader: AtomicU64,
    writer: AtomicU64,
    elements: PhantomData<T>,
}

// SAFETY: the buffer owns its memory, and `T: Element` is plain data that any thread may use.
unsafe impl<T: Element> Send for Shared<T> {}
// SAFETY: `&Shared` gives access through `read` and `write` alone, whose checks keep readers and writers apart.
unsafe impl<T: Element> Sync for Shared<T> {}

impl<T: Element> Shared<T> {
    /// A buffer of `len` zeros for the crew with this number. Memory that is never touched is never really taken.
    pub(super) fn new(crew: u64, len: usize) -> Result<Self, OutOfMemory> {
        // Zeroed memory comes untouched from the system only at its natural alignment: so align by hand.
        let bytes =
            len.checked_mul(size_of::<T>()).and_then(|n| n.checked_add(ALIGNMENT)).ok_or(OutOfMemory(usize::MAX))?;
        let layout = Layout::from_size_align(bytes, align_of::<T>()).map_err(|_| OutOfMemory(bytes))?;
        // SAFETY: the layout is not empty.
        let allocation = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(OutOfMemory(bytes))?;
        let data = allocation.as_ptr().wrapping_add(allocation.as_ptr().align_offset(ALIGNMENT)).cast::<T>();
        let data = NonNull::new(data).expect("inside an allocation");
        let (reader, writer) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { data, len, allocation, layout, crew, reader, writer, elements: PhantomData })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All elements, while no operation runs.
    pub fn get_mut(&mut self) -> &mut [T] {
        // SAFETY: the exclusive borrow of the buffer excludes claims on it: they borrow it for as long as they use it.
        unsafe { core::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }

    /// All elements, for a chunk of an operation that writes none of them.
    pub fn read<'c>(&'c self, claim: &'c Claim) -> &'c [T] {
        assert_eq!(self.crew, claim.crew, "a buffer is used by its own crew");
        if self.reader.load(Ordering::Relaxed) != claim.operation {
            self.reader.store(claim.operation, Ordering::SeqCst);
        }
        let writer = self.writer.load(Ordering::SeqCst) >> CUT_BITS;
        assert_ne!(writer, claim.operation, "an operation reads a buffer that it writes");
        // SAFETY: no writer is in this operation (it would have marked the buffer), none is in another one (a claim
        // holds its operation open, and a crew runs one at a time), and elements are plain numbers, initialized to zero.
        unsafe { core::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    /// The claimed chunk's part of the buffer, to read and write, for an operation that divides it by `cut`.
    pub fn write<'c>(&'c self, claim: &'c Claim, cut: Cut) -> Tile<'c, T> {
        assert_eq!(self.crew, claim.crew, "a buffer is used by its own crew");
        assert!(cut.rows.checked_mul(cut.stride).is_some_and(|n| n <= self.len), "{cut:?} of {} elements", self.len);
        claim.note_write(core::ptr::from_ref(self) as usize);
        let mark = (claim.operation << CUT_BITS) | cut.fingerprint();
        let before = self.writer.swap(mark, Ordering::SeqCst);
        assert!(before == mark || before >> CUT_BITS != claim.operation, "an operation divides a buffer in one way");
        let reader = self.reader.load(Ordering::SeqCst);
        assert_ne!(reader, claim.operation, "an operation writes a buffer that it reads");
        let [rows, columns] = cut.tile_of(claim.index);
        // SAFETY: the rectangle lies inside the buffer; it is this chunk's alone, since all chunks of the operation use
        // the same cut and this one takes its part once; and there is no reader, as in `read`.
        unsafe { Tile::from_raw(self.data.as_ptr().add(rows.start * cut.stride), rows.len(), cut.stride, columns) }
    }
}

impl<T: Element> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.allocation.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn claim(operation: u64, index: usize) -> Claim {
        // SAFETY: the tests run on one thread and drop conflicting views before they make the next.
        unsafe { Claim::new(7, operation, index) }
    }

    #[test]
    fn chunks_write_their_parts_and_read_the_whole() {
        let mut buffer = Shared::<f32>::new(7, 12).unwrap();
        for index in 0..2 {
            let claim = claim(1, index);
            let mut tile = buffer.write(&claim, Cut::columns(3, 4, 3));
            for row in 0..3 {
                tile.row(row).fill((10 * row + index) as f32);
            }
        }
        let expected = [0., 0., 0., 1., 10., 10., 10., 11., 20., 20., 20., 21.];
        assert_eq!(buffer.read(&claim(2, 0)), expected);
        assert_eq!(buffer.get_mut(), expected);
    }

    #[test]
    fn tiles_cover_a_matrix_once() {
        let mut buffer = Shared::<u8>::new(7, 6 * 9).unwrap();
        let cut = Cut { rows: 6, top: 1, stride: 9, start: 1, end: 8, block: 2, width: 3, first: 4 };
        for index in 4..4 + 3 * 3 {
            let claim = claim(1, index);
            let mut tile = buffer.write(&claim, cut);
            for row in 0..tile.rows() {
                tile.row(row).iter_mut().for_each(|x| *x += 1);
            }
        }
        for (i, x) in buffer.get_mut().iter().enumerate() {
            assert_eq!(*x, (i >= 9 && (1..8).contains(&(i % 9))) as u8, "{i}");
        }
    }

    #[test]
    fn buffers_are_aligned_and_zero() {
        let mut buffer = Shared::<u16>::new(7, 1000).unwrap();
        assert_eq!(buffer.get_mut().as_ptr() as usize % ALIGNMENT, 0);
        assert!(buffer.get_mut().iter().all(|x| *x == 0));
        assert!(Shared::<f32>::new(7, usize::MAX / 2).is_err());
    }

    #[test]
    fn clashes_panic() {
        let clash = |f: &dyn Fn(&Shared<u8>)| {
            let buffer = Shared::<u8>::new(7, 8).unwrap();
            catch_unwind(AssertUnwindSafe(|| f(&buffer))).is_err()
        };
        let pieces = Cut::pieces(8, 4);
        assert!(clash(&|b| {
            b.read(&claim(1, 0));
            b.write(&claim(1, 1), pieces);
        }));
        assert!(clash(&|b| {
            b.write(&claim(1, 1), pieces);
            b.read(&claim(1, 0));
        }));
        assert!(clash(&|b| {
            b.write(&claim(1, 1), pieces);
            b.write(&claim(1, 0), Cut::pieces(8, 5));
        }));
        assert!(clash(&|b| {
            let claim = claim(1, 1);
            b.write(&claim, pieces);
            b.write(&claim, pieces);
        }));
        assert!(clash(&|b| {
            b.write(&claim(1, 2), pieces);
        }));
        assert!(clash(&|b| {
            b.write(&claim(1, 0), Cut::pieces(9, 4));
        }));
        assert!(clash(&|b| {
            // SAFETY: never used beside another claim.
            b.read(&unsafe { Claim::new(8, 1, 0) });
        }));
        assert!(!clash(&|b| {
            b.write(&claim(1, 0), pieces);
            b.write(&claim(1, 1), pieces);
            b.read(&claim(2, 0));
            b.write(&claim(3, 0), Cut::pieces(8, 8));
        }));
    }
}
