//! Threads beside those of other programs.
//!
//! An operation is over when its last chunk is, so a thread that the system puts aside in the middle of one holds up all
//! the others. Hence threads give way on their own from time to time, while they have no chunk: then it is done without
//! them until they are back. And where another program makes two of them share one core, though there are more, one moves:
//! to the system three threads on two cores are as even as can be, and it would leave them so.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// How long a thread works before it gives way: a system that looks 250 times a second seldom gets ahead of it, and where
/// nobody waits for the core it costs a thousandth.
const TURN: Duration = Duration::from_micros(500);

/// The time a thread asks the system for at once, and so the most that it loses by giving way: since Linux 6.18 what is
/// left of it is forfeit. The shortest that there is.
const SLICE: Duration = Duration::from_micros(100);

/// For so long after a thread was seen on a core it counts as being there.
const FRESH: Duration = Duration::from_millis(2);

/// What the threads of a pool know of each other.
pub struct Turns {
    start: Instant,
    seen: Box<[Seen]>,
}

impl Turns {
    /// For a pool of `count` threads.
    pub fn new(count: usize) -> Self {
        Self { start: Instant::now(), seen: (0..count).map(|_| Seen::default()).collect() }
    }

    /// Gives way to other programs if thread `thread`, the calling one, has worked for a while.
    pub fn give_way(&self, thread: usize) {
        if self.start.elapsed() < self.seen[thread].when() + TURN {
            return;
        }
        ask_for_short_slices();
        std::thread::yield_now();
        let core = sched_getcpu();
        self.seen[thread].on(Some(core), self.start.elapsed());
        if self.others(thread).any(|other| other == core) {
            // Not seen while it moves, lest the other one moves, too.
            self.seen[thread].on(None, self.start.elapsed());
            self.move_away(thread);
            self.seen[thread].on(Some(sched_getcpu()), self.start.elapsed());
        }
    }

    /// Where the other threads were seen lately.
    fn others(&self, thread: usize) -> impl Iterator<Item = usize> {
        let now = self.start.elapsed();
        let others = self.seen.iter().enumerate().filter(move |(i, _)| *i != thread);
        others.filter(move |(_, seen)| now < seen.when() + FRESH).filter_map(|(_, seen)| seen.core())
    }

    /// Moves the calling thread to a core without other threads of the pool, if it may use such a one. It stays free to
    /// be moved on.
    fn move_away(&self, thread: usize) {
        let Ok(allowed) = sched_getaffinity(None) else { return };
        let mut free = allowed;
        self.others(thread).filter(|&core| core < CpuSet::MAX_CPU).for_each(|core| free.unset(core));
        if free.count() > 0 && sched_setaffinity(None, &free).is_ok() {
            // What was allowed a moment ago; should it be so no longer, the system has the last word.
            sched_setaffinity(None, &allowed).ok();
        }
    }
}

/// When a thread last gave way, in microseconds, above 16 bits for the core that it was on then plus one, or 0.
#[derive(Default)]
struct Seen(AtomicU64);

impl Seen {
    fn on(&self, core: Option<usize>, now: Duration) {
        let core = core.and_then(|core| u16::try_from(core + 1).ok()).unwrap_or(0);
        self.0.store((now.as_micros() as u64) << 16 | u64::from(core), Ordering::Relaxed);
    }

    fn when(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed) >> 16)
    }

    fn core(&self) -> Option<usize> {
        (self.0.load(Ordering::Relaxed) as u16 as usize).checked_sub(1)
    }
}

/// Asks for [`SLICE`], once for each thread. Systems before Linux 6.12 don't know such a wish and take no notice.
#[allow(unsafe_code)]
fn ask_for_short_slices() {
    thread_local!(static ASKED: Cell<bool> = const { Cell::new(false) });
    if ASKED.replace(true) {
        return;
    }
    // SAFETY: all zeros are a valid value of this plain structure.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&attributes) as libc::c_long;
    // SAFETY: the structure is as long as said, and the system writes no further.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    // Somebody's wish for another kind of scheduling stands.
    if got == 0 && attributes.sched_policy == libc::SCHED_OTHER as u32 {
        attributes.sched_runtime = SLICE.as_nanos() as u64;
        // SAFETY: the structure says how long it is, and the system only reads it.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_threads_on_a_core_one_moves() {
        let allowed = sched_getaffinity(None).unwrap();
        let turns = Turns::new(2);
        // The other thread is where this one is, and was there a moment ago: the system may put this one aside in between.
        let moved = (0..1000).any(|_| {
            std::thread::sleep(TURN);
            let core = sched_getcpu();
            turns.seen[1].on(Some(core), turns.start.elapsed());
            turns.give_way(0);
            turns.seen[0].core().unwrap() != core
        });
        assert_eq!(moved, allowed.count() > 1);
        assert!(sched_getaffinity(None).unwrap() == allowed, "it may be moved on");
    }

    #[test]
    fn a_thread_gives_way_once_in_a_while() {
        let turns = Turns::new(1);
        let mut times = vec![turns.seen[0].when()];
        while times.len() < 10 {
            turns.give_way(0);
            times.push(turns.seen[0].when());
            times.dedup();
        }
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= TURN), "{times:?}");
    }

    #[test]
    fn what_was_seen_is_kept() {
        let seen = Seen::default();
        assert_eq!(seen.core(), None);
        for core in [Some(0), Some(1023), None] {
            seen.on(core, Duration::from_micros(1 << 40));
            assert_eq!((seen.core(), seen.when()), (core, Duration::from_micros(1 << 40)));
        }
        // More cores than there is room for.
        seen.on(Some(65535), Duration::ZERO);
        assert_eq!(seen.core(), None);
    }
}
