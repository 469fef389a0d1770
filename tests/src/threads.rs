//! A pool for tests.

use woolly_engine::pool::Pool;

/// As many threads as it says, started anew for every broadcast.
#[derive(Debug, Clone, Copy)]
pub struct Threads(pub usize);

impl Pool for Threads {
    fn threads(&self) -> usize {
        self.0
    }

    fn broadcast(&self, work: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            (1..self.0).for_each(|thread| drop(scope.spawn(move || work(thread))));
            work(0);
        });
    }

    fn wait(&self, ready: &dyn Fn() -> bool) {
        // More threads than cores must still get on.
        let mut spins = 0;
        while !ready() {
            if spins < 100 {
                std::hint::spin_loop()
            } else {
                std::thread::yield_now()
            }
            spins += 1;
        }
    }

    fn wake(&self) {}
}
