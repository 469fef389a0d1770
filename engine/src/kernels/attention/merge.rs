//! Putting the spans of a query together.

use core::ops::Range;

use super::{LANES, seen, spans};
use crate::math;
use crate::spec::Attention;

/// Of the positions so far: the greatest score, and the sum of the exponentials of the differences to it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Total {
    /// The greatest score.
    pub max: f32,
    /// The sum.
    pub sum: f32,
}

impl Total {
    /// Adds the next span; returns the factors of the old sums and of the new ones.
    #[inline(always)]
    pub fn merge(&mut self, next: Total) -> [f32; 2] {
        let max = if next.max > self.max { next.max } else { self.max };
        let (old, new) = (math::exp(self.max - max), math::exp(next.max - max));
        *self = Total { max, sum: self.sum * old + next.sum * new };
        [old, new]
    }
}

/// `out = out * old + sums * new`.
#[inline(always)]
pub(super) fn add(out: &mut [f32], sums: &[f32], [old, new]: [f32; 2]) {
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = *out * old + *sum * new;
    }
}

/// The sums of one span and one KV head for some queries, as they lie in scratch.
pub struct PartialSums<'a> {
    /// [`PartialSums::len`] numbers.
    pub numbers: &'a mut [f32],
    /// Length of a value.
    pub value_length: usize,
}

impl PartialSums<'_> {
    /// Numbers that the sums of so many queries take.
    pub fn len(queries: usize, value_length: usize) -> usize {
        queries * stride(value_length)
    }

    /// The weighted sums of values of a query, and what they will be divided by.
    #[inline(always)]
    pub(super) fn row(&mut self, row: usize) -> (&mut [f32], &mut [f32; 2]) {
        let stride = stride(self.value_length);
        let (sums, total) = self.numbers[row * stride..][..stride].split_at_mut(self.value_length);
        (sums, total.first_chunk_mut().expect("a stride has room for both"))
    }
}

/// Numbers per query: its sums, its [`Total`], and what keeps the next one aligned.
fn stride(value_length: usize) -> usize {
    (value_length + 2).next_multiple_of(LANES)
}

/// Puts a token's spans together.
pub struct Merge<'a> {
    /// Shapes and window.
    pub attention: &'a Attention,
    /// The token in the batch.
    pub token: usize,
    /// Its position.
    pub position: usize,
    /// Tokens in the batch.
    pub tokens: usize,
    /// The spans that the batch sees.
    pub spans: Range<usize>,
    /// Spans × KV heads × tokens × query heads of a KV head.
    pub partial: &'a [f32],
}

impl Merge<'_> {
    /// The token's heads `first` and up.
    #[inline(always)]
    pub fn heads(&self, first: usize, out: &mut [f32]) {
        for (head, out) in out.chunks_exact_mut(self.attention.value_length).enumerate() {
            self.head(first + head, out);
        }
    }

    #[inline(always)]
    fn head(&self, head: usize, out: &mut [f32]) {
        let mut spans = spans(seen(self.attention, self.position));
        let Some(first) = spans.next() else { return };
        let (sums, mut total) = self.part(head, first);
        out.copy_from_slice(sums);
        for span in spans {
            let (sums, next) = self.part(head, span);
            let factors = total.merge(next);
            add(out, sums, factors);
        }
        for x in out {
            *x /= total.sum;
        }
    }

    #[inline(always)]
    fn part(&self, head: usize, span: usize) -> (&[f32], Total) {
        let Attention { heads, kv_heads, value_length, .. } = *self.attention;
        let group = heads / kv_heads;
        let unit = (span - self.spans.start) * kv_heads + head / group;
        let row = (unit * self.tokens + self.token) * group + head % group;
        let (sums, rest) = self.partial[row * stride(value_length)..].split_at(value_length);
        (sums, Total { max: rest[0], sum: rest[1] })
    }
}
