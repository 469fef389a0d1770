//! What a machine can do at most: the loops that hosts time to know how far from it the other kernels are.
//!
//! Neither has a purpose beside being run. Operands are hidden from the compiler, which would else compute them once.

use core::hint::black_box;
use core::mem::size_of;

use crate::simd::{Kernel, Simd, Tiles};

/// Calls of [`Simd::dot`] that go into one sum: with codes of 1, fewer than make it inexact.
const DEPTH: usize = 64;
/// Operands that are gone through in turn. They stay in the first-level cache.
const OPERANDS: usize = 8;
/// Distance of the prefetch in bytes.
const AHEAD: usize = 4096;

/// Multiplies codes in a register tile of `ROWS` x `COLUMNS` sums, as products of matrices do, and nothing else.
///
/// Which tile is fastest depends on the level: on how many registers a sum takes, and on how long one waits for the last
/// addition to it. Where there are registers for whole matrices, there is but one.
pub struct MultiplyAdd<const ROWS: usize, const COLUMNS: usize> {
    /// How often to fill the tile.
    pub rounds: usize,
}

impl<const ROWS: usize, const COLUMNS: usize> Kernel for MultiplyAdd<ROWS, COLUMNS> {
    /// Multiply-adds done.
    type Out = u64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u64 {
        if S::HAS_TILES
            && let Some(tiles) = s.tiles()
        {
            return in_tiles(&tiles, self.rounds);
        }
        let operands = [([s.splat(1); ROWS], [s.splat(3); COLUMNS]); OPERANDS];
        for _ in 0..self.rounds {
            let mut sums = [[s.open(s.splat_int(0)); COLUMNS]; ROWS];
            for _ in 0..DEPTH / OPERANDS {
                for (weights, x) in black_box(&operands) {
                    for row in 0..ROWS {
                        for column in 0..COLUMNS {
                            sums[row][column] = s.dot(sums[row][column], weights[row], x[column]);
                        }
                    }
                }
            }
            black_box(sums);
        }
        (self.rounds * DEPTH * ROWS * COLUMNS * size_of::<S::Bytes>()) as u64
    }
}

/// Multiplies tiles of 16 rows and 64 codes.
#[inline(always)]
fn in_tiles<B, T: Tiles<B>>(tiles: &T, rounds: usize) -> u64 {
    let operands = [[1; 64]; 16];
    tiles.load::<4>(&operands);
    tiles.load::<5>(&operands);
    for _ in 0..rounds {
        tiles.zero::<0>();
        tiles.zero::<1>();
        tiles.zero::<2>();
        tiles.zero::<3>();
        for _ in 0..DEPTH {
            tiles.dot::<0, 4, 5>();
            tiles.dot::<1, 4, 5>();
            tiles.dot::<2, 4, 5>();
            tiles.dot::<3, 4, 5>();
        }
    }
    (rounds * DEPTH * 4 * 16 * 16 * 64) as u64
}

/// Reads memory at `STREAMS` places at a time, in ascending order.
///
/// How many streams are fastest depends on the machine: several keep more reads under way, and more than its prefetchers
/// can follow keep fewer.
pub struct Read<'a, const STREAMS: usize> {
    /// What to read: all but fewer than `64 * STREAMS` last bytes.
    pub bytes: &'a [u8],
}

impl<const STREAMS: usize> Kernel for Read<'_, STREAMS> {
    /// The exclusive or of all that was read.
    type Out = u8;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u8 {
        let lines = self.bytes.as_chunks::<64>().0;
        let length = lines.len() / STREAMS;
        let mut streams: [&[[u8; 64]]; STREAMS] = [&[]; STREAMS];
        for (i, stream) in streams.iter_mut().enumerate() {
            *stream = &lines[length * i..][..length];
        }
        let mut seen = [s.splat(0); STREAMS];
        for line in 0..length {
            for (stream, seen) in streams.iter().zip(&mut seen) {
                s.prefetch(&stream[line], AHEAD);
                *seen = s.xor(*seen, s.bytes(&stream[line]));
            }
        }
        seen.into_iter().fold(0, |all, seen| {
            let mut bytes = [0; 64];
            s.store(seen, &mut bytes);
            bytes.into_iter().fold(all, |all, byte| all ^ byte)
        })
    }
}
