//! Threads that a host lends to the engine.
//!
//! A pool is entered once per forward pass; [`crate::bytes::Crew`] says how the work is shared out inside.

/// Threads that a host lends to the engine.
pub trait Pool: Send + Sync {
    /// How many threads run the work of a broadcast.
    fn threads(&self) -> usize;

    /// Runs `work` on every thread at the same time, with the thread's number from 0, and returns when all have returned.
    fn broadcast(&self, work: &(dyn Fn(usize) + Sync));

    /// Called in a loop while a thread waits, with the number of calls so far in this wait: spin, later yield.
    fn relax(&self, spins: u32);
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

    fn relax(&self, _spins: u32) {
        core::hint::spin_loop();
    }
}
