//! An allocator that knows how much is allocated, so that tests can hold memory to a bound.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, counting bytes. Make it a test binary's `#[global_allocator]`.
#[derive(Debug, Default)]
pub struct CountingAllocator {
    now: AtomicUsize,
    most: AtomicUsize,
    watched: AtomicUsize,
}

/// From now on, counts what this thread allocates, or not: see [`CountingAllocator::allocations`].
pub fn watch_this_thread(watch: bool) {
    WATCHED.set(watch);
}

impl CountingAllocator {
    /// An allocator that has allocated nothing.
    pub const fn new() -> Self {
        Self { now: AtomicUsize::new(0), most: AtomicUsize::new(0), watched: AtomicUsize::new(0) }
    }

    /// Runs `work`; the most bytes that were allocated during it beyond those before.
    pub fn most_during(&self, work: impl FnOnce()) -> usize {
        let before = self.now.load(Ordering::Relaxed);
        self.most.store(before, Ordering::Relaxed);
        work();
        self.most.load(Ordering::Relaxed) - before
    }

    /// How often threads have allocated while they were watched; what tests beside them do does not count.
    pub fn allocations(&self) -> usize {
        self.watched.load(Ordering::SeqCst)
    }

    fn add(&self, bytes: usize) {
        if WATCHED.get() {
            self.watched.fetch_add(1, Ordering::SeqCst);
        }
        let now = self.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.most.fetch_max(now, Ordering::Relaxed);
    }
}

// SAFETY: every call goes on to the system's allocator as it is.
unsafe impl GlobalAlloc for CountingAllocator {
    // SAFETY: the caller promises what the trait asks for.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.add(layout.size());
        // SAFETY: the system's allocator asks for the same.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller promises what the trait asks for.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.now.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the system's allocator asks for the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}
