//! Writing keys and values into the cache.

use super::cached::{KvElement, QUANT, block_width, padded};
use super::{BLOCK, CHUNK, LANES};
use crate::bytes::Tile;
use crate::quant::{Activation, quantize};
use crate::simd::Simd;
use half::f16;

/// The part of a chunk that one KV head has, to be written: tiles of one row.
pub trait ChunkMut {
    /// Asks for the memory of the key at position `at` of the chunk, which is to be written: it is a number here and there.
    fn expect_key<S: Simd>(&mut self, s: S, at: usize);

    /// Writes the key at position `at` of the chunk.
    fn set_key<S: Simd>(&mut self, s: S, at: usize, key: &[f32]);

    /// Writes the value at position `at` of the chunk.
    fn set_value<S: Simd>(&mut self, s: S, at: usize, value: &[f32]);
}

/// A chunk as [`super::Cached`] has it.
pub struct Chunk<'a, E> {
    /// Keys.
    pub keys: Tile<'a, E>,
    /// Values.
    pub values: Tile<'a, E>,
}

impl<E: KvElement> ChunkMut for Chunk<'_, E> {
    #[inline(always)]
    fn expect_key<S: Simd>(&mut self, s: S, at: usize) {
        let columns = self.keys.row(0).as_chunks_mut::<CHUNK>().0;
        columns.iter_mut().for_each(|column| s.prefetch_to_write(&mut column[at..at + 1]));
    }

    #[inline(always)]
    fn set_key<S: Simd>(&mut self, s: S, at: usize, key: &[f32]) {
        let columns = self.keys.row(0).as_chunks_mut::<CHUNK>().0;
        for (key, columns) in key.chunks(LANES).zip(columns.chunks_mut(LANES)) {
            let stored = sixteen::<S, E>(s, key);
            for (column, stored) in columns.iter_mut().zip(stored) {
                column[at] = stored;
            }
        }
    }

    #[inline(always)]
    fn set_value<S: Simd>(&mut self, s: S, at: usize, value: &[f32]) {
        let length = padded(value.len());
        for (block, value) in value.chunks(BLOCK).enumerate() {
            let row = &mut self.values.row(0)[row_start(length, block, at)..];
            for (value, to) in value.chunks(LANES).zip(row.as_chunks_mut().0) {
                *to = sixteen(s, value);
            }
        }
    }
}

/// Where block `block` of the value at position `at` begins.
#[inline(always)]
fn row_start(padded_length: usize, block: usize, at: usize) -> usize {
    block * BLOCK * CHUNK + at * block_width(padded_length, block)
}

/// Up to 16 numbers in their stored form; zeros behind them.
#[inline(always)]
fn sixteen<S: Simd, E: KvElement>(s: S, numbers: &[f32]) -> [E; LANES] {
    let mut filled = [0.0; LANES];
    filled[..numbers.len()].copy_from_slice(numbers);
    let mut stored = [E::ZERO; LANES];
    E::store(s, s.floats(&filled), &mut stored);
    stored
}

/// A chunk as [`super::CachedQ8`] has it.
pub struct ChunkQ8<'a> {
    /// Codes of the keys.
    pub key_codes: Tile<'a, i8>,
    /// Their scales.
    pub key_scales: Tile<'a, u16>,
    /// Codes of the values.
    pub value_codes: Tile<'a, i8>,
    /// Their scales.
    pub value_scales: Tile<'a, u16>,
}

impl ChunkMut for ChunkQ8<'_> {
    #[inline(always)]
    fn expect_key<S: Simd>(&mut self, s: S, at: usize) {
        let fours = self.key_codes.row(0).as_chunks_mut::<4>().0.as_chunks_mut::<CHUNK>().0;
        fours.iter_mut().for_each(|four| s.prefetch_to_write(&mut four[at]));
    }

    #[inline(always)]
    fn set_key<S: Simd>(&mut self, s: S, at: usize, key: &[f32]) {
        let shift = if S::PREFERS_UNSIGNED { -128 } else { 0 };
        let fours = self.key_codes.row(0).as_chunks_mut::<4>().0.as_chunks_mut::<CHUNK>().0;
        for (block, (key, fours)) in key.chunks(QUANT).zip(fours.chunks_mut(QUANT / 4)).enumerate() {
            let (codes, scale) = block_of(s, key);
            for (four, codes) in fours.iter_mut().zip(codes.as_chunks::<4>().0) {
                four[at] = codes.map(|code| code ^ shift);
            }
            self.key_scales.row(0)[block * CHUNK + at] = scale;
        }
    }

    #[inline(always)]
    fn set_value<S: Simd>(&mut self, s: S, at: usize, value: &[f32]) {
        let length = value.len().next_multiple_of(QUANT);
        for (index, value) in value.chunks(QUANT).enumerate() {
            let (codes, scale) = block_of(s, value);
            let (block, inside) = (index * QUANT / BLOCK, index * QUANT % BLOCK);
            self.value_codes.row(0)[row_start(length, block, at) + inside..][..QUANT].copy_from_slice(&codes);
            self.value_scales.row(0)[index * CHUNK + at] = scale;
        }
    }
}

/// Up to 32 numbers as codes, filled up with zeros, and the bits of their scale.
#[inline(always)]
fn block_of<S: Simd>(s: S, numbers: &[f32]) -> ([i8; QUANT], u16) {
    let mut filled = [0.0; QUANT];
    filled[..numbers.len()].copy_from_slice(numbers);
    let (mut codes, mut scale, mut sum) = ([0; QUANT], [0.0], [0]);
    quantize(s, Activation::Q8, &filled, &mut codes, &mut scale, &mut sum);
    (codes, f16::from_f32(scale[0]).to_bits())
}

/// Quantizes a query of any length to blocks of 32, the last filled up with zeros.
#[inline(always)]
pub fn quantize_query<S: Simd>(s: S, query: &[f32], codes: &mut [i8], scales: &mut [f32], sums: &mut [i16]) {
    let parts = codes.chunks_exact_mut(QUANT).zip(scales.chunks_exact_mut(1)).zip(sums.chunks_exact_mut(1));
    for (query, ((codes, scales), sums)) in query.chunks(QUANT).zip(parts) {
        let mut filled = [0.0; QUANT];
        filled[..query.len()].copy_from_slice(query);
        quantize(s, Activation::Q8, &filled, codes, scales, sums);
    }
}
