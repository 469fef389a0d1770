//! Work shared among threads.
//!
//! Inside a broadcast of the host's [`Pool`], every thread runs the same program: the same sequence of operations, each
//! cut into chunks. Each thread has a range of neighbouring chunks, which memory likes best, and takes them from the
//! range's counter; when its own range is used up, it goes on with those of others. An operation is over when its chunks
//! are done, not when every thread has arrived, so a thread that the system has put aside holds nobody up: when it comes
//! back it finds the counters used up and catches up at once.

use alloc::boxed::Box;
use core::cell::Cell;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{Claim, Element, OutOfMemory, Shared};
use crate::pool::Pool;

/// What the threads of one session share: the counters of a pass's operations, and a number that ties buffers to it.
pub struct Crew {
    number: u64,
    passes: u64,
    counters: Box<[Counter]>,
}

/// Progress of one operation, on a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
struct Counter {
    /// Chunks that are taken of each range.
    taken: [AtomicU32; RANGES],
    done: AtomicU32,
}

/// Ranges that an operation has at most; where there are more threads, some share one.
const RANGES: usize = 8;

impl Crew {
    /// A crew whose passes have at most `operations` operations.
    pub fn new(operations: usize) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self { number, passes: 0, counters: (0..operations).map(|_| Counter::default()).collect() }
    }

    /// A buffer of `len` zeros for this crew.
    pub fn buffer<T: Element>(&self, len: usize) -> Result<Shared<T>, OutOfMemory> {
        Shared::new(self.number, len)
    }

    /// Runs one pass: `program` on the threads of `pool`. It must go through the same operations on each.
    pub fn run(&mut self, pool: &dyn Pool, program: &(dyn Fn(&Team<'_>) + Sync)) {
        for counter in &mut self.counters {
            *counter = Counter::default();
        }
        self.passes += 1;
        let base = self.passes * self.counters.len() as u64;
        let crew = &*self;
        pool.broadcast(&|thread| {
            let (operation, late, busy) = (Cell::new(0), Cell::new(false), Cell::new(false));
            program(&Team { crew, pool, base, thread, operation, late, busy });
        });
    }
}

/// One thread's part in a pass.
pub struct Team<'a> {
    crew: &'a Crew,
    pool: &'a dyn Pool,
    base: u64,
    thread: usize,
    operation: Cell<usize>,
    /// Whether the last operation was over when this thread found nothing left to do in it.
    late: Cell<bool>,
    busy: Cell<bool>,
}

impl Team<'_> {
    /// How many threads share the work.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The number of this thread, below [`Team::threads`].
    pub fn thread(&self) -> usize {
        self.thread
    }

    /// The chunks of an operation of `chunks` chunks that this thread takes first.
    pub fn own(&self, chunks: usize) -> Range<usize> {
        let ranges = self.threads().min(RANGES);
        range_of(self.thread % ranges, ranges, chunks)
    }

    /// The next operation: calls `work` for those of its `chunks` chunks that this thread gets, and returns when all are
    /// done, here or on other threads.
    ///
    /// # Panics
    /// Where the pass has more operations than the crew was made for, or `work` starts an operation itself.
    pub fn each(&self, chunks: usize, mut work: impl for<'c> FnMut(&'c Claim)) {
        assert!(!self.busy.replace(true), "an operation within an operation");
        let operation = self.operation.get();
        self.operation.set(operation + 1);
        let counter = &self.crew.counters[operation];
        let number = self.base + operation as u64;
        let ranges = self.threads().min(RANGES);
        for i in 0..ranges {
            let range = (self.thread + i) % ranges;
            let indices = range_of(range, ranges, chunks);
            // A thread that came late has operations to catch up with that are over: one look is enough for each.
            while !(self.late.get() && counter.is_over(chunks)) {
                self.pool.pause(self.thread);
                let taken = counter.taken[range].fetch_add(1, Ordering::Relaxed) as usize;
                if taken >= indices.len() {
                    break;
                }
                // Counts the chunk as done even where `work` panics: the others then finish, and the panic goes its way.
                let _done = Done { counter, chunks, pool: self.pool };
                // SAFETY: the counters give each index once per pass, a pass's numbers are used by no other pass, and the
                // wait below keeps a thread from later operations until all claims of this one are gone. `run` borrows the
                // crew exclusively, so there is one pass at a time.
                work(&unsafe { Claim::new(self.crew.number, number, indices.start + taken) });
            }
        }
        self.late.set(counter.is_over(chunks));
        if !self.late.get() {
            self.pool.wait(&|| counter.is_over(chunks));
        }
        self.busy.set(false);
    }
}

/// The chunks of one of the `count` ranges of an operation.
fn range_of(range: usize, count: usize, chunks: usize) -> Range<usize> {
    range * chunks / count..(range + 1) * chunks / count
}

impl Counter {
    fn is_over(&self, chunks: usize) -> bool {
        // Sequentially consistent, as `Pool::wait` asks; it also acquires what the chunks wrote.
        self.done.load(Ordering::SeqCst) as usize >= chunks
    }
}

/// Counts a chunk as done when it is dropped, and wakes those who wait for the operation when it was the last one.
struct Done<'a> {
    counter: &'a Counter,
    chunks: usize,
    pool: &'a dyn Pool,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        let before = self.counter.done.fetch_add(1, Ordering::SeqCst);
        if before as usize + 1 == self.chunks {
            self.pool.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cut;
    use super::*;
    use crate::pool::SingleThread;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    struct Threads(usize);

    impl Pool for Threads {
        fn threads(&self) -> usize {
            self.0
        }
        fn broadcast(&self, work: &(dyn Fn(usize) + Sync)) {
            std::thread::scope(|scope| (0..self.0).for_each(|i| drop(scope.spawn(move || work(i)))));
        }
        fn wait(&self, ready: &dyn Fn() -> bool) {
            while !ready() {
                std::thread::yield_now();
            }
        }
        fn wake(&self) {}
    }

    #[test]
    fn operations_see_all_that_came_before() {
        let mut crew = Crew::new(200);
        let (a, b) = (crew.buffer::<u32>(64).unwrap(), crew.buffer::<u32>(64).unwrap());
        for pass in 1..=20 {
            crew.run(&Threads(3), &|team| {
                for _ in 0..100 {
                    let (from, to) = (&a, &b);
                    team.each(13, |claim| {
                        let sum: u32 = from.read(claim).iter().sum();
                        to.write(claim, Cut::pieces(64, 5)).row(0).fill(sum / 64 + 1);
                    });
                    team.each(8, |claim| {
                        let sum: u32 = to.read(claim).iter().sum();
                        from.write(claim, Cut::pieces(64, 8)).row(0).fill(sum / 64);
                    });
                }
            });
            crew.run(&SingleThread, &|team| team.each(1, |claim| assert_eq!(a.read(claim)[63], pass * 100)));
        }
    }

    #[test]
    fn ranges_are_all_chunks() {
        for (chunks, ranges) in [(0, 1), (1, 3), (7, 1), (7, 2), (7, 3), (8, 4), (5, 8)] {
            let all = (0..ranges).flat_map(|range| range_of(range, ranges, chunks));
            assert!(all.eq(0..chunks), "{chunks} chunks, {ranges} ranges");
        }
    }

    #[test]
    fn a_panic_in_a_chunk_ends_the_pass() {
        let mut crew = Crew::new(2);
        let program = |team: &Team<'_>| {
            team.each(4, |claim| assert_ne!(claim.index(), 2));
            team.each(4, |_| ());
        };
        assert!(catch_unwind(AssertUnwindSafe(|| crew.run(&Threads(2), &program))).is_err());
    }
}
