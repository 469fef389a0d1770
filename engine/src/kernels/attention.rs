//! Causal attention over a KV cache, without a matrix of scores (Rabe and Staats 2021, Dao et al. 2022).
//!
//! The cache is walked in chunks whose bounds are absolute positions. For each chunk that a query sees,
//!
//! ```text
//! s_j = scale * (q · k_j)    m_c = max s_j    p_j = exp(s_j - m_c)    l_c = Σ p_j    a_c = Σ p_j v_j   (j ascending)
//! ```
//!
//! and chunks are merged in ascending order:
//!
//! ```text
//! m' = max(m, m_c)    l = l exp(m - m') + l_c exp(m_c - m')    a = a exp(m - m') + a_c exp(m_c - m')
//! ```
//!
//! The result is `a / l`. Every step has a fixed order, whatever batch the query came in.

use core::ops::Range;

use super::float::{self, LANES};
use crate::bytes::{Element, Tile};
use crate::math;
use crate::simd::{Kernel, Simd};
use crate::spec::Attention;

/// Positions in a chunk of the cache.
pub const CHUNK: usize = 64;
/// Elements of a value that are accumulated in registers at a time.
const VALUE_BLOCK: usize = 32;

/// A number that the KV cache stores.
pub trait KvElement: Element {
    /// The stored form of `x`, rounded to nearest, half to even.
    fn store(x: f32) -> Self;

    /// The value of a stored number.
    fn load(self) -> f32;

    /// The values of 16 stored numbers.
    fn load_lanes<S: Simd>(simd: S, stored: &[Self; LANES]) -> [f32; LANES];
}

impl KvElement for f32 {
    #[inline(always)]
    fn store(x: f32) -> Self {
        x
    }

    #[inline(always)]
    fn load(self) -> f32 {
        self
    }

    #[inline(always)]
    fn load_lanes<S: Simd>(_: S, stored: &[Self; LANES]) -> [f32; LANES] {
        *stored
    }
}

/// Half precision.
impl KvElement for u16 {
    #[inline(always)]
    fn store(x: f32) -> Self {
        half::f16::from_f32(x).to_bits()
    }

    #[inline(always)]
    fn load(self) -> f32 {
        half::f16::from_bits(self).to_f32()
    }

    #[inline(always)]
    fn load_lanes<S: Simd>(simd: S, stored: &[Self; LANES]) -> [f32; LANES] {
        halves(simd, stored)
    }
}

/// Attention of the query heads that share one KV head, for some tokens of a batch.
pub struct Attend<'a, E> {
    /// Shapes, scale and window.
    pub attention: &'a Attention,
    /// The KV head.
    pub kv_head: usize,
    /// Queries of the whole batch: tokens × heads × key length.
    pub queries: &'a [f32],
    /// Keys of the KV head: positions × key length.
    pub keys: &'a [E],
    /// Values of the KV head: positions × value length.
    pub values: &'a [E],
    /// The tokens of the batch to do.
    pub tokens: Range<usize>,
    /// Position of the batch's first token.
    pub position: usize,
    /// Where the results go: a row for each of `tokens`, the KV head's query heads × value length wide.
    pub out: Tile<'a, f32>,
}

impl<E: KvElement> Kernel for Attend<'_, E> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let Attention { heads, kv_heads, key_length, value_length, .. } = *self.attention;
        let group = heads / kv_heads;
        for (row, token) in self.tokens.clone().enumerate() {
            let seen = self.seen(token);
            let query = (token * heads + self.kv_head * group) * key_length;
            let queries = self.queries[query..][..group * key_length].chunks_exact(key_length);
            for (query, out) in queries.zip(self.out.row(row).chunks_exact_mut(value_length)) {
                let head = Head { query, keys: self.keys, values: self.values, scale: self.attention.scale };
                head.attend(simd, seen.clone(), out);
            }
        }
    }
}

impl<E> Attend<'_, E> {
    /// The positions that a token of the batch sees.
    #[inline(always)]
    fn seen(&self, token: usize) -> Range<usize> {
        let end = self.position + token + 1;
        end.saturating_sub(self.attention.window.unwrap_or(end))..end
    }
}

/// One query and the keys and values of its head.
struct Head<'a, E> {
    query: &'a [f32],
    keys: &'a [E],
    values: &'a [E],
    scale: f32,
}

impl<E: KvElement> Head<'_, E> {
    #[inline(always)]
    fn attend<S: Simd>(&self, simd: S, seen: Range<usize>, out: &mut [f32]) {
        out.fill(0.0);
        let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0f32);
        let mut weights = [0.0f32; CHUNK];
        for chunk in seen.start / CHUNK..seen.end.div_ceil(CHUNK) {
            let positions = seen.start.max(chunk * CHUNK)..seen.end.min((chunk + 1) * CHUNK);
            let chunk_max = self.scores(simd, positions.clone(), &mut weights);
            let chunk_sum = exponentials(&mut weights, positions.clone(), chunk_max);
            let new_max = if chunk_max > max { chunk_max } else { max };
            let (old, new) = (math::exp(max - new_max), math::exp(chunk_max - new_max));
            sum = sum * old + chunk_sum * new;
            self.add_values(simd, positions, &weights, [old, new], out);
            max = new_max;
        }
        for x in out {
            *x /= sum;
        }
    }

    /// Scores of `positions`, each at its place in the chunk; returns the greatest.
    #[inline(always)]
    fn scores<S: Simd>(&self, simd: S, positions: Range<usize>, scores: &mut [f32; CHUNK]) -> f32 {
        let length = self.query.len();
        let mut max = f32::NEG_INFINITY;
        for position in positions {
            let key = &self.keys[position * length..][..length];
            let score = self.scale * mixed_dot(simd, self.query, key);
            scores[position % CHUNK] = score;
            max = if score > max { score } else { max };
        }
        max
    }

    /// `out = out * old + new * Σ weight_j v_j`.
    #[inline(always)]
    fn add_values<S: Simd>(
        &self,
        simd: S,
        positions: Range<usize>,
        weights: &[f32; CHUNK],
        [old, new]: [f32; 2],
        out: &mut [f32],
    ) {
        let length = out.len();
        let (blocks, rest) = out.as_chunks_mut::<VALUE_BLOCK>();
        for (index, block) in blocks.iter_mut().enumerate() {
            let mut sums = [[0.0f32; LANES]; VALUE_BLOCK / LANES];
            for position in positions.clone() {
                let weight = weights[position % CHUNK];
                let value = &self.values[position * length + index * VALUE_BLOCK..][..VALUE_BLOCK];
                for (sums, value) in sums.iter_mut().zip(value.as_chunks::<LANES>().0) {
                    let value = E::load_lanes(simd, value);
                    for l in 0..LANES {
                        sums[l] += weight * value[l];
                    }
                }
            }
            for (x, sum) in block.iter_mut().zip(sums.as_flattened()) {
                *x = *x * old + *sum * new;
            }
        }
        let start = length - rest.len();
        for (index, x) in rest.iter_mut().enumerate() {
            let value = |position: usize| self.values[position * length + start + index].load();
            let sum = positions.clone().fold(0.0f32, |sum, j| sum + weights[j % CHUNK] * value(j));
            *x = *x * old + sum * new;
        }
    }
}

/// Turns the scores of `positions` into weights, everything else into zeros; returns their sum.
#[inline(always)]
fn exponentials(weights: &mut [f32; CHUNK], positions: Range<usize>, max: f32) -> f32 {
    let start = positions.start % CHUNK;
    let end = start + positions.len();
    weights[..start].fill(0.0);
    weights[end..].fill(0.0);
    for weight in &mut weights[start..end] {
        *weight = math::exp(*weight - max);
    }
    float::sum(weights)
}

/// The dot product of an f32 vector and a stored one, in the order of [`float::dot`].
#[inline(always)]
fn mixed_dot<S: Simd, E: KvElement>(simd: S, a: &[f32], b: &[E]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        let b = E::load_lanes(simd, b);
        for l in 0..LANES {
            lanes[l] += a[l] * b[l];
        }
    }
    for (l, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[l] += a * b.load();
    }
    float::sum_lanes(lanes)
}

/// The values of 16 half-precision numbers.
#[inline(always)]
fn halves<S: Simd>(simd: S, stored: &[u16; LANES]) -> [f32; LANES] {
    let mut values = [0.0; LANES];
    for (eight, values) in stored.as_chunks::<8>().0.iter().zip(values.as_chunks_mut::<8>().0) {
        let bytes: [u8; 16] = core::array::from_fn(|i| eight[i / 2].to_le_bytes()[i % 2]);
        simd.store_floats(simd.f16s(&bytes), values);
    }
    values
}
