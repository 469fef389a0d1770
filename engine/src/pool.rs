//! Threads that a host lends to the engine.
//!
//! A pool is entered once per forward pass; [`crate::bytes::Crew`] says how the work is shared out inside.

#[cfg(feature = "std")]
use core::sync::atomic::{AtomicUsize, Ordering};
#[cfg(feature = "std")]
use std::sync::{Condvar, Mutex, PoisonError};

/// Threads that a host lends to the engine.
pub trait Pool: Send + Sync {
    /// How many threads may run the work of a broadcast.
    fn threads(&self) -> usize;

    /// Runs `work(0)` on the calling thread, and `work(i)` at the same time on those of the others that come while it
    /// runs, each once, with `i` from 1. Returns when all that came have returned. A thread that has no processor at the
    /// moment need not come, so the work must get done without it.
    fn broadcast(&self, work: &(dyn Fn(usize) + Sync));

    /// Returns when `ready` does return true. Another thread makes it true, by a sequentially consistent operation, and
    /// then calls [`Pool::wake`]: so a host may let the thread sleep.
    fn wait(&self, ready: &dyn Fn() -> bool);

    /// Wakes the threads that sleep in [`Pool::wait`], to look again.
    fn wake(&self);

    /// Thread `thread` of a broadcast has nothing in hand that others wait for: so if the host wants it to give way to
    /// other programs, now is the time. Called often, and at little cost where there is nothing to do.
    fn pause(&self, thread: usize) {
        let _ = thread;
    }
}

/// The calling thread alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct SingleThread;

impl Pool for SingleThread {
    fn threads(&self) -> usize {
        1
    }

    fn broadcast(&self, work: &(dyn Fn(usize) + Sync)) {
        work(0);
    }

    fn wait(&self, ready: &dyn Fn() -> bool) {
        while !ready() {
            core::hint::spin_loop();
        }
    }

    fn wake(&self) {}
}

/// Threads of a host that sleep until something is so: the slow half of [`Pool::wait`].
#[cfg(feature = "std")]
#[derive(Debug, Default)]
pub struct Sleepers {
    count: AtomicUsize,
    lock: Mutex<()>,
    bell: Condvar,
}

#[cfg(feature = "std")]
impl Sleepers {
    /// Returns when `ready` does return true, which whoever makes it so says by [`Sleepers::wake`].
    pub fn sleep_until(&self, ready: &dyn Fn() -> bool) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted before the last look: who makes it true either sees the count, or is seen.
        self.count.fetch_add(1, Ordering::SeqCst);
        while !ready() {
            guard = self.bell.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.count.fetch_sub(1, Ordering::SeqCst);
    }

    /// Has the sleepers look again. Costs one load while there are none.
    pub fn wake(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.bell.notify_all();
        }
    }

    /// How many threads sleep, or are about to.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}
