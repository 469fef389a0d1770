//! What this machine can do at most: bytes read from memory and 8-bit multiply-adds, per second.
//!
//! Every figure is the best of some runs of the loops in [`woolly_engine::kernels::peak`], on all threads at once; of
//! each loop's variants, the fastest counts.

use std::hint::black_box;
use std::time::{Duration, Instant};

use woolly_engine::kernels::peak::{MultiplyAdd, Read};
use woolly_engine::pool::Pool;
use woolly_engine::simd::{Kernel, Level};

use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::pool::Threads;
use crate::{memory, output};

/// Bytes to read: far more than any cache holds, where memory allows.
const BUFFER: u64 = 512 << 20;
/// Runs of each loop that reads memory, of which the best counts.
const MEMORY_RUNS: usize = 8;
/// Runs of each loop that computes: more and shorter ones, so that one of them has the machine to itself.
const ARITHMETIC_RUNS: usize = 20;
/// How long such a run takes at least.
const RUN_TIME: Duration = Duration::from_millis(5);

/// The peaks of a number of threads with an instruction set.
pub struct Peak {
    /// Threads.
    pub threads: usize,
    /// Instruction set. It has no say in the memory's peak, which is read with the best one.
    pub level: Level,
    /// Bytes read per second.
    pub memory: f64,
    /// Multiply-adds of 8-bit integers per second.
    pub multiply_adds: f64,
}

/// The peaks of every combination.
pub fn measure(threads: &[usize], levels: &[Level], interrupt: &Interrupt) -> Result<Vec<Peak>> {
    let bytes = vec![1; BUFFER.min(memory::available() / 4) as usize];
    let mut peaks = Vec::new();
    for &threads in threads {
        let pool = Threads::new(threads)?;
        output::note(format_args!("peaks of {threads} threads"));
        let memory = memory_peak(&pool, &bytes);
        for &level in levels {
            if interrupt.asked() {
                return Err(Error::new(Kind::Interrupted, "stopped while measuring peaks"));
            }
            peaks.push(Peak { threads, level, memory, multiply_adds: arithmetic_peak(&pool, level) });
        }
    }
    Ok(peaks)
}

fn memory_peak(pool: &Threads, bytes: &[u8]) -> f64 {
    [read::<1>(pool, bytes), read::<2>(pool, bytes), read::<4>(pool, bytes)].into_iter().fold(0.0, f64::max)
}

/// Bytes per second when every thread reads its own part of `bytes`.
fn read<const STREAMS: usize>(pool: &Threads, bytes: &[u8]) -> f64 {
    let part = bytes.len().div_ceil(pool.threads()).max(1);
    let parts: Vec<&[u8]> = bytes.chunks(part).collect();
    let run = |index: usize| {
        let bytes = parts.get(index).copied().unwrap_or_default();
        black_box(Level::best().run(Read::<STREAMS> { bytes }));
    };
    bytes.len() as f64 / best(MEMORY_RUNS, || time(pool, &run)).as_secs_f64()
}

fn arithmetic_peak(pool: &Threads, level: Level) -> f64 {
    let tiles = [
        multiply_add(pool, level, |rounds| MultiplyAdd::<2, 2> { rounds }),
        multiply_add(pool, level, |rounds| MultiplyAdd::<2, 3> { rounds }),
        multiply_add(pool, level, |rounds| MultiplyAdd::<2, 4> { rounds }),
        multiply_add(pool, level, |rounds| MultiplyAdd::<3, 4> { rounds }),
    ];
    tiles.into_iter().fold(0.0, f64::max)
}

/// Multiply-adds per second when every thread runs the same kernel.
fn multiply_add<K: Kernel<Out = u64>>(pool: &Threads, level: Level, kernel: impl Fn(usize) -> K + Sync) -> f64 {
    let time_of = |rounds: usize| time(pool, &|_| _ = black_box(level.run(kernel(rounds))));
    let mut rounds = 1;
    while time_of(rounds) < RUN_TIME {
        rounds *= 2;
    }
    let multiply_adds = level.run(kernel(rounds)) * pool.threads() as u64;
    multiply_adds as f64 / best(ARITHMETIC_RUNS, || time_of(rounds)).as_secs_f64()
}

fn best(runs: usize, mut run: impl FnMut() -> Duration) -> Duration {
    let times = (0..runs).map(|_| run());
    times.min().unwrap_or_default().max(Duration::from_nanos(1))
}

fn time(pool: &Threads, work: &(dyn Fn(usize) + Sync)) -> Duration {
    let start = Instant::now();
    pool.broadcast(work);
    start.elapsed()
}
