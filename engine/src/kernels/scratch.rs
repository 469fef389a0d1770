//! Memory that a thread keeps from kernel to kernel.
//!
//! What a kernel needs between its steps could lie on its stack, were it not to be filled with zeros each time: that took 5%
//! of the server's time with 16 clients (SmolLM2 Q4_1, AVX-512).

use core::mem;

use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// As much as the kernel that needs most takes: where there may be tiles, theirs.
const BYTES: usize = if cfg!(target_arch = "x86_64") { 308 << 10 } else { 132 << 10 };

/// Memory for one kernel at a time. What it holds before and after does not matter.
#[repr(align(64))]
pub struct Scratch([u8; BYTES]);

impl Default for Scratch {
    fn default() -> Self {
        Self([0; BYTES])
    }
}

impl Scratch {
    /// All of it.
    pub(super) fn room(&mut self) -> Room<'_> {
        Room(&mut self.0)
    }
}

/// A kernel that needs scratch.
pub struct InScratch<'a, W> {
    /// What to do.
    pub work: W,
    /// What it needs.
    pub scratch: &'a mut Scratch,
}

/// What is left of a scratch.
pub(super) struct Room<'a>(&'a mut [u8]);

impl<'a> Room<'a> {
    /// The next `count` elements, which have any value.
    ///
    /// # Panics
    /// Where there is no room for them, or their alignment is not that of what was taken before.
    #[inline(always)]
    pub fn take<T: FromBytes + IntoBytes + KnownLayout>(&mut self, count: usize) -> &'a mut [T] {
        let left = mem::take(&mut self.0);
        let Ok((taken, left)) = <[T]>::mut_from_prefix_with_elems(left, count) else {
            panic!("a scratch has no room for {count} elements of {} bytes", size_of::<T>())
        };
        self.0 = left;
        taken
    }

    /// The next element.
    ///
    /// # Panics
    /// As for [`Room::take`].
    #[inline(always)]
    pub fn one<T: FromBytes + IntoBytes + KnownLayout>(&mut self) -> &'a mut T {
        &mut self.take(1)[0]
    }
}
