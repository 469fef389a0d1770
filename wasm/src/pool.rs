//! The engine's [`Pool`]: the calling worker, and in builds with threads those that rayon lends.

use std::sync::Arc;

use woolly_engine::pool::{Pool, SingleThread};

/// A pool of `threads` threads, the calling one included; builds without threads have that one alone.
pub fn pool(threads: usize) -> Arc<dyn Pool> {
    #[cfg(feature = "threads")]
    if threads > 1 {
        return Arc::new(threads::Lent::new(threads));
    }
    let _ = threads;
    Arc::new(SingleThread)
}

#[cfg(feature = "threads")]
mod threads {
    use woolly_engine::pool::{Pool, Sleepers};

    /// Looks at what is waited for before a thread sleeps: about 50 µs, longer than most chunks of work.
    const LOOKS: usize = 20_000;

    /// The calling thread and rayon's.
    pub struct Lent {
        threads: usize,
        sleepers: Sleepers,
    }

    impl Lent {
        /// So many threads at most, the calling one included.
        pub fn new(threads: usize) -> Self {
            Self { threads: threads.min(1 + rayon::current_num_threads()), sleepers: Sleepers::default() }
        }
    }

    impl Pool for Lent {
        fn threads(&self) -> usize {
            self.threads
        }

        fn broadcast(&self, work: &(dyn Fn(usize) + Sync)) {
            rayon::in_place_scope(|scope| {
                scope.spawn_broadcast(|_, context| {
                    if context.index() + 1 < self.threads {
                        work(context.index() + 1);
                    }
                });
                work(0);
            });
        }

        fn wait(&self, ready: &dyn Fn() -> bool) {
            let spun = (0..LOOKS).any(|_| {
                std::hint::spin_loop();
                ready()
            });
            if !spun {
                self.sleepers.sleep_until(ready);
            }
        }

        fn wake(&self) {
            self.sleepers.wake();
        }
    }
}
