//! The engine's [`Pool`] on rayon's threads.
//!
//! The calling thread takes part as thread 0; a rayon pool lends the others. Each of those stays inside one long task
//! and waits there for the next broadcast, so that entering a pass costs one store while they are awake.
//!
//! How threads wait decides how fast a busy machine is. Most waits are over in a moment, so a thread spins at first. Then
//! it gives way once: what it waits for may be a thread that waits for this very core. Then it sleeps, and an idle core
//! draws what another program keeps from running elsewhere. Yielding on and on would keep the core busy, and to a
//! scheduler that shares out time it gives the thread's own share away. A thread that comes late skips the broadcast.
//! What threads do beside other programs while they work is in `turns`.

#![allow(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};
use woolly_engine::pool::{Pool, Sleepers};

use crate::error::{Error, Kind, Result};
#[cfg(target_os = "linux")]
use crate::turns::Turns;

/// How long a thread spins before it sleeps: longer than most chunks of work, and about what a wake-up takes.
const SPIN: Duration = Duration::from_micros(50);

/// Threads of this process.
pub struct Threads {
    stage: Arc<Stage>,
    /// All but the calling thread; absent where that one works alone. Lives as long as its threads may be needed.
    _others: Option<ThreadPool>,
    count: usize,
    #[cfg(target_os = "linux")]
    turns: Turns,
    /// Held during a broadcast: there is one at a time.
    entry: Mutex<()>,
}

impl Threads {
    /// A pool of `count` threads, the calling one included.
    pub fn new(count: usize) -> Result<Self> {
        let count = count.max(1);
        let stage = Arc::new(Stage::default());
        let build =
            |others| ThreadPoolBuilder::new().num_threads(others).thread_name(|i| format!("woolly-{}", i + 1)).build();
        let others = match count {
            1 => None,
            _ => Some(build(count - 1).map_err(|cause| {
                Error::new(Kind::Memory, format!("cannot start {count} threads (fewer: --threads)")).because(cause)
            })?),
        };
        if let Some(others) = &others {
            let stage = stage.clone();
            others.spawn_broadcast(move |context| stage.serve(context.index() + 1));
        }
        Ok(Self {
            stage,
            _others: others,
            count,
            #[cfg(target_os = "linux")]
            turns: Turns::new(count),
            entry: Mutex::new(()),
        })
    }
}

impl Pool for Threads {
    fn threads(&self) -> usize {
        self.count
    }

    fn broadcast(&self, work: &(dyn Fn(usize) + Sync)) {
        if self.count == 1 {
            return work(0);
        }
        let _entry = lock(&self.entry);
        self.stage.perform(work);
    }

    fn wait(&self, ready: &dyn Fn() -> bool) {
        self.stage.wait(ready);
    }

    fn wake(&self) {
        self.stage.sleepers.wake();
    }

    #[cfg(target_os = "linux")]
    fn pause(&self, thread: usize) {
        if self.count > 1 {
            self.turns.give_way(thread);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stage.over.store(true, Ordering::SeqCst);
        self.stage.sleepers.wake();
    }
}

/// Where the threads meet.
#[derive(Default)]
struct Stage {
    /// Number of the current broadcast, above [`OPEN`] and the number of threads inside.
    state: AtomicU64,
    /// The current broadcast's work: valid while it is open or a thread is inside.
    work: Mutex<Option<Work>>,
    /// What a thread's work panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Set when the threads shall end.
    over: AtomicBool,
    sleepers: Sleepers,
}

/// The flag of a broadcast that threads may still enter.
const OPEN: u64 = 1 << 16;
/// The bits that count the threads inside a broadcast.
const INSIDE: u64 = OPEN - 1;
/// The step from one broadcast's number to the next.
const NUMBER: u64 = 2 * OPEN;

#[derive(Clone, Copy)]
struct Work(*const (dyn Fn(usize) + Sync));

// SAFETY: what it points to may be called from any thread.
unsafe impl Send for Work {}

impl Stage {
    /// Opens a broadcast, does the caller's part, and closes it when all that entered have left.
    fn perform(&self, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes. The reference is used by threads inside the broadcast alone, and `Closing`
        // keeps this function from returning, or unwinding, until there are none and no more can enter.
        let work_forever =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work) };
        *lock(&self.work) = Some(Work(work_forever));
        let number = self.state.load(Ordering::Relaxed) / NUMBER + 1;
        self.state.store(number * NUMBER + OPEN, Ordering::SeqCst);
        self.sleepers.wake();
        let closing = Closing(self);
        work(0);
        drop(closing);
        if let Some(panic) = lock(&self.panic).take() {
            resume_unwind(panic);
        }
    }

    /// Returns when `ready` does return true: spins, gives way, sleeps.
    fn wait(&self, ready: &dyn Fn() -> bool) {
        if spin_until(ready) {
            return;
        }
        std::thread::yield_now();
        self.sleepers.sleep_until(ready);
    }

    /// One thread's life: enters each broadcast that it is in time for.
    fn serve(&self, thread: usize) {
        let mut last = 0;
        loop {
            let open = || match self.state.load(Ordering::SeqCst) {
                state if state & OPEN != 0 && state / NUMBER != last => true,
                _ => self.over.load(Ordering::SeqCst),
            };
            self.wait(&open);
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let enter = |state: u64| (state & OPEN != 0).then_some(state + 1);
            if let Ok(state) = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter) {
                last = state / NUMBER;
                self.take_part(thread);
            }
        }
    }

    /// Does a thread's part of the broadcast that it has entered, and leaves.
    fn take_part(&self, thread: usize) {
        let work = lock(&self.work).expect("there is work in a broadcast");
        // SAFETY: this thread is inside the broadcast, so `perform` has not returned.
        let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*work.0)(thread) }));
        if let Err(panic) = result {
            lock(&self.panic).get_or_insert(panic);
        }
        if self.state.fetch_sub(1, Ordering::SeqCst) & (OPEN | INSIDE) == 1 {
            self.sleepers.wake();
        }
    }
}

/// Ends a broadcast when it is dropped: nobody enters any more, and all have left.
struct Closing<'a>(&'a Stage);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let state = &self.0.state;
        state.fetch_and(!OPEN, Ordering::SeqCst);
        self.0.wait(&|| state.load(Ordering::SeqCst) & INSIDE == 0);
    }
}

/// Whether `ready` became true within [`SPIN`].
fn spin_until(ready: &dyn Fn() -> bool) -> bool {
    /// Looks between two looks at the clock.
    const LOOKS: usize = 32;
    let mut start = None;
    loop {
        for _ in 0..LOOKS {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() >= SPIN {
            return false;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    use woolly_engine::bytes::{Crew, Cut};
    use woolly_engine::quant::TensorType;
    use woolly_engine::sampler::{Params, Sampler};
    use woolly_engine::session::{Options, Session};
    use woolly_tests::counting_allocator::watch_this_thread;
    use woolly_tests::random_model::Recipe;
    use woolly_tests::run::model;

    use super::*;
    use crate::ALLOCATOR;

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

    #[test]
    fn passes_are_right_with_more_threads_than_cores() {
        for count in [1, 2, 3, 16] {
            let pool = Threads::new(count).unwrap();
            let mut crew = Crew::new(40);
            let [a, b] = [0; 2].map(|_| crew.buffer::<u32>(60).unwrap());
            for _ in 0..200 {
                crew.run(&pool, &|team| {
                    for operation in 0..40 {
                        let (from, to) = if operation % 2 == 0 { (&a, &b) } else { (&b, &a) };
                        team.each(12, |claim| {
                            let next = from.read(claim)[59] + 1;
                            to.write(claim, Cut::pieces(60, 5)).row(0).fill(next);
                        });
                    }
                });
            }
            crew.run(&pool, &|team| team.each(1, |claim| assert_eq!(a.read(claim), [200 * 40; 60])));
        }
    }

    #[test]
    fn a_thread_that_comes_late_is_not_waited_for() {
        let stage = Stage::default();
        let came = AtomicUsize::new(0);
        stage.perform(&|_| {
            came.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(came.load(Ordering::SeqCst), 1);
        // It comes to the next one.
        std::thread::scope(|scope| {
            scope.spawn(|| stage.serve(1));
            let both = Barrier::new(2);
            stage.perform(&|_| {
                both.wait();
            });
            stage.over.store(true, Ordering::SeqCst);
            stage.sleepers.wake();
        });
    }

    #[test]
    fn threads_sleep_when_there_is_nothing_to_do() {
        let pool = Threads::new(3).unwrap();
        sleep_all(&pool);
        let done = AtomicUsize::new(0);
        let all_came = Barrier::new(3);
        pool.broadcast(&|_| {
            all_came.wait();
            done.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(done.load(Ordering::SeqCst), 3);
        sleep_all(&pool);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Threads::new(3).unwrap();
        let all_came = Barrier::new(3);
        for thread in [0, 2] {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.broadcast(&|index| {
                    all_came.wait();
                    assert_ne!(index, thread, "for the test");
                });
            }));
            assert!(result.is_err());
        }
        pool.broadcast(&|_| {
            all_came.wait();
        });
    }

    #[test]
    fn sessions_share_a_pool_in_turn() {
        let pool = Threads::new(2).unwrap();
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        pool.broadcast(&|index| {
                            if index == 0 {
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                                inside.fetch_sub(1, Ordering::SeqCst);
                            }
                        });
                    }
                });
            }
        });
    }

    #[test]
    fn a_decoded_token_allocates_nothing() {
        let recipe = Recipe::of_type(TensorType::Q4_K);
        let model = model(recipe.build());
        // Every stage of the sampler's chain.
        let params = Params {
            penalty_repeat: 1.1,
            dry_multiplier: 0.5,
            typ_p: 0.9,
            top_n_sigma: 2.0,
            xtc_probability: 0.5,
            dynatemp_range: 0.1,
            ..Params::default()
        };
        for count in [1, 2] {
            let pool = Arc::new(Threads::new(count).unwrap());
            let mut session =
                Session::new(model.clone(), pool.clone(), &Options { context: 64, ..Options::default() }).unwrap();
            let mut sampler = Sampler::new(&params, model.tokenizer()).unwrap();
            let mut decode = |tokens: usize| {
                for _ in 0..tokens {
                    let token = sampler.sample(session.logits());
                    sampler.accept(token);
                    session.feed(&[token]).unwrap();
                }
            };
            decode(1);
            watch(&pool, true);
            let before = ALLOCATOR.allocations();
            decode(40);
            let during = ALLOCATOR.allocations() - before;
            drop(std::hint::black_box(Box::new(1)));
            let after = ALLOCATOR.allocations() - before;
            watch(&pool, false);
            assert_eq!((during, after), (0, 1), "with {count} threads");
        }
    }

    /// Has the allocator count what the pool's threads allocate, or not.
    fn watch(pool: &Threads, watch: bool) {
        let all_came = Barrier::new(pool.count);
        pool.broadcast(&|_| {
            all_came.wait();
            watch_this_thread(watch);
        });
    }

    /// Returns when all threads but the calling one sleep.
    fn sleep_all(pool: &Threads) {
        while pool.stage.sleepers.count() < pool.count - 1 {
            std::thread::yield_now();
        }
    }
}
