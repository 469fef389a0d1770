//! The engine's [`Pool`] on rayon's threads.
//!
//! The calling thread takes part as thread 0, and a rayon pool holds the others. Entering the pool wakes them all once;
//! inside, the engine shares out the work by itself. Between two broadcasts rayon's threads spin for a moment before
//! they sleep, so that decoding, which enters the pool once per token, seldom pays for a wake-up.

use rayon::{ThreadPool, ThreadPoolBuilder};
use woolly_engine::pool::Pool;

use crate::error::{Error, Kind, Result};

/// How often a waiting thread spins before it yields to the system: a few microseconds.
const SPINS_BEFORE_YIELD: u32 = 1500;

/// Threads of this process.
pub struct Threads {
    /// All but the calling thread; absent where that one works alone.
    others: Option<ThreadPool>,
}

impl Threads {
    /// A pool of `count` threads, the calling one included.
    pub fn new(count: usize) -> Result<Self> {
        let build =
            |others| ThreadPoolBuilder::new().num_threads(others).thread_name(|i| format!("woolly-{}", i + 1)).build();
        let others = match count {
            0 | 1 => None,
            _ => Some(build(count - 1).map_err(|cause| {
                Error::new(Kind::Memory, format!("cannot start {count} threads (fewer: --threads)")).because(cause)
            })?),
        };
        Ok(Self { others })
    }

    /// How many threads serve best by default: one for each physical core that this process may use. Two threads of one
    /// core share its arithmetic units, and gain nothing here.
    pub fn default_count() -> usize {
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        num_cpus::get_physical().clamp(1, allowed)
    }
}

impl Pool for Threads {
    fn threads(&self) -> usize {
        1 + self.others.as_ref().map_or(0, ThreadPool::current_num_threads)
    }

    fn broadcast(&self, work: &(dyn Fn(usize) + Sync)) {
        match &self.others {
            None => work(0),
            Some(others) => others.in_place_scope(|scope| {
                scope.spawn_broadcast(|_, context| work(context.index() + 1));
                work(0);
            }),
        }
    }

    fn relax(&self, spins: u32) {
        if spins < SPINS_BEFORE_YIELD { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Barrier, Mutex};

    use super::*;

    #[test]
    fn every_thread_works_at_the_same_time() {
        for count in [1, 2, 5] {
            let pool = Threads::new(count).unwrap();
            assert_eq!(pool.threads(), count);
            // The barrier opens only when all threads are inside at once.
            let barrier = Barrier::new(count);
            let seen = Mutex::new(BTreeSet::new());
            for _ in 0..100 {
                pool.broadcast(&|index| {
                    barrier.wait();
                    seen.lock().unwrap().insert(index);
                });
            }
            assert_eq!(seen.into_inner().unwrap(), (0..count).collect());
        }
    }
}
