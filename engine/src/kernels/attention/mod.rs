//! Causal attention over a KV cache, without a matrix of scores (Rabe and Staats 2021, Dao et al. 2022).
//!
//! The cache is walked in spans of 512 positions, whose bounds are absolute. For each span that a query sees some of,
//!
//! ```text
//! s_j = scale * Σ_e q_e k_je    m_c = max s_j    p_j = exp(s_j - m_c)    l_c = Σ p_j    a_c = Σ p_j v_j
//! ```
//!
//! over the positions j that it sees, e and j ascending, and spans are merged in ascending order ([`merge`]):
//!
//! ```text
//! m' = max(m, m_c)    l = l exp(m - m') + l_c exp(m_c - m')    a = a exp(m - m') + a_c exp(m_c - m')
//! ```
//!
//! The result is `a / l`. Every step has a fixed order, whatever batch the query came in, and whichever thread did which
//! span. Sums over e and j are plain sums of rounded products; l_c runs in 16 lanes, as [`float::sum`] has them.
//!
//! With keys and values in f16, queries and p have 13 bits ([`shorten`](crate::quant::shorten), [`math::exp_short`]). So products
//! are exact, and one instruction may make and add them.
//!
//! Both products are outer products ([`outer`]): keys are stored so that a vector holds one element of 16 positions, values
//! so that it holds 16 elements of one position. So sums have a lane per position or element, and nothing is ever reduced.
//! All queries of a KV head, and those of several tokens, share what is read.

mod cached;
mod chunk;
mod merge;
mod outer;
#[cfg(test)]
mod tests;

pub use cached::{Cached, CachedQ8, Head, KvElement, QuantizedQueries, Slots, group_of, whole_groups};
pub use chunk::{Chunk, ChunkMut, ChunkQ8, quantize_query};
pub use merge::{Merge, PartialSums};
pub use outer::Products;

use core::marker::PhantomData;
use core::ops::Range;

use super::float::{self, LANES};
use super::{InScratch, Scratch};
use crate::bytes::Tile;
use crate::math;
use crate::simd::{Kernel, Simd};
use crate::spec::Attention;
use cached::{Panel, Source};
use merge::Total;
use outer::{Outer, Tiles, Vectors, tiles};

/// Positions in a chunk of the cache, which is the unit of its layout.
pub const CHUNK: usize = 64;
/// Positions whose scores are exponentiated with one maximum.
pub const SPAN: usize = 512;
/// The longest key or value.
pub const MAX_LENGTH: usize = 1024;

/// Elements of a value that are summed at a time, and that lie next to each other in a chunk.
pub const BLOCK: usize = 64;
/// Queries of a KV head that share what is read and widened.
const ROWS: usize = 48;
/// No more queries than this: numbers are widened as they are used, where there is prefetch.
const FEW_ROWS: usize = 6;
/// Scores of a query, and what keeps those of several from falling into the same lines of the cache.
const SCORES: usize = SPAN + LANES;

/// The positions that a token at `position` sees.
#[inline(always)]
pub fn seen(attention: &Attention, position: usize) -> Range<usize> {
    let end = position + 1;
    end.saturating_sub(attention.window.unwrap_or(end))..end
}

/// The spans that these positions lie in.
#[inline(always)]
pub fn spans(positions: Range<usize>) -> Range<usize> {
    positions.start / SPAN..positions.end.div_ceil(SPAN)
}

/// Tokens of a batch that share what is read and widened.
pub fn tokens_per_block(attention: &Attention) -> usize {
    (ROWS * attention.kv_heads / attention.heads).max(1)
}

/// Attention of the query heads that share one KV head, for some tokens of a batch.
pub struct Attend<'a, H> {
    /// Shapes, scale and window.
    pub attention: &'a Attention,
    /// The KV head.
    pub kv_head: usize,
    /// Its keys and values, and the queries of the whole batch.
    pub head: H,
    /// The tokens of the batch to do.
    pub tokens: Range<usize>,
    /// Position of the first of them.
    pub position: usize,
    /// What to compute.
    pub out: Out<'a>,
}

/// What becomes of the sums.
pub enum Out<'a> {
    /// All spans: a row for each of the tokens, the KV head's query heads × value length wide.
    Heads(Tile<'a, f32>),
    /// One span: see [`PartialSums`].
    Span(usize, PartialSums<'a>),
}

impl<H: Head> Kernel for InScratch<'_, Attend<'_, H>> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { mut work, scratch } = self;
        let rows = work.tokens.len() * work.group();
        if rows <= FEW_ROWS {
            work.block(s, 0..rows, &mut Between::<FEW_ROWS>::new(scratch));
        } else {
            let mut between = Between::<ROWS>::new(scratch);
            for first in (0..rows).step_by(ROWS) {
                work.block(s, first..(first + ROWS).min(rows), &mut between);
            }
        }
    }
}

/// What `N` queries need between the steps, with any content.
struct Between<'a, const N: usize> {
    /// Scores, then weights, of a span.
    scores: &'a mut [[f32; SCORES]; N],
    /// Weighted sums of a block of the values.
    sums: &'a mut [[f32; BLOCK]; N],
    panel: &'a mut Panel,
}

impl<'a, const N: usize> Between<'a, N> {
    #[inline(always)]
    fn new(scratch: &'a mut Scratch) -> Self {
        let mut room = scratch.room();
        Self { panel: room.one(), scores: room.one(), sums: room.one() }
    }
}

/// The queries of one block.
struct Rows<const N: usize> {
    count: usize,
    /// Which query vector of the batch each is.
    query: [usize; N],
    /// Which positions each sees: neither bound ever falls.
    seen: [[usize; 2]; N],
}

impl<const N: usize> Rows<N> {
    /// The queries that see some of `positions`: they follow each other.
    #[inline(always)]
    fn that_see(&self, positions: &Range<usize>) -> Range<usize> {
        let seen = &self.seen[..self.count];
        let first = seen.partition_point(|[_, end]| *end <= positions.start);
        first..seen.partition_point(|[start, _]| *start < positions.end).max(first)
    }

    /// What row `row` sees of `positions`, counted from their start.
    #[inline(always)]
    fn sees(&self, row: usize, positions: &Range<usize>) -> Range<usize> {
        let [start, end] = self.seen[row];
        let (start, end) = (start.max(positions.start), end.min(positions.end));
        start - positions.start..end.max(start) - positions.start
    }
}

/// How a span's sums join those of the spans before it.
#[derive(Clone, Copy)]
enum Join {
    /// The query sees nothing of the span.
    Skip,
    /// There are none before it.
    First,
    /// Old and new sums have these factors.
    Merge([f32; 2]),
}

impl<H: Head> Attend<'_, H> {
    #[inline(always)]
    fn group(&self) -> usize {
        self.attention.heads / self.attention.kv_heads
    }

    /// Queries `rows`, counted through the tokens' queries of this KV head.
    #[inline(always)]
    fn block<S: Simd, const N: usize>(&mut self, s: S, rows: Range<usize>, between: &mut Between<'_, N>) {
        let first = rows.start;
        let rows = self.rows::<N>(rows);
        let all = rows.seen[0][0]..rows.seen[rows.count - 1][1];
        let spans = match self.out {
            Out::Heads(_) => spans(all.clone()),
            Out::Span(span, _) => span..span + 1,
        };
        let mut totals = [Total::default(); N];
        for span in spans {
            let span = span * SPAN..(span + 1) * SPAN;
            let positions = all.start.max(span.start)..all.end.min(span.end);
            self.scores(s, &rows, &span, positions.clone(), between);
            let mut joins = [Join::Skip; N];
            for row in rows.that_see(&positions) {
                let part =
                    weigh::<S, H::Products>(s, &mut between.scores[row], rows.sees(row, &span), self.attention.scale);
                joins[row] = if matches!(self.out, Out::Heads(_)) && rows.seen[row][0] < span.start {
                    Join::Merge(totals[row].merge(part))
                } else {
                    totals[row] = part;
                    Join::First
                };
            }
            self.values(s, &rows, &span, positions, &joins, first, between);
        }
        self.finish(first, &totals[..rows.count]);
    }

    #[inline(always)]
    fn rows<const N: usize>(&self, rows: Range<usize>) -> Rows<N> {
        let (group, heads) = (self.group(), self.attention.heads);
        let mut all = Rows { count: rows.len(), query: [0; N], seen: [[0; 2]; N] };
        for ((row, query), seen_by) in rows.zip(&mut all.query).zip(&mut all.seen) {
            let token = row / group;
            *query = (self.tokens.start + token) * heads + self.kv_head * group + row % group;
            let seen = seen(self.attention, self.position + token);
            *seen_by = [seen.start, seen.end];
        }
        all
    }

    /// The products of queries and keys at the chunks of `positions`, each at its place in the span.
    #[inline(always)]
    fn scores<S: Simd, const N: usize>(
        &self,
        s: S,
        rows: &Rows<N>,
        span: &Range<usize>,
        positions: Range<usize>,
        between: &mut Between<'_, N>,
    ) {
        for chunk in positions.start / CHUNK..positions.end.div_ceil(CHUNK) {
            let of_chunk = chunk * CHUNK..(chunk + 1) * CHUNK;
            let those = rows.that_see(&of_chunk);
            let scores = &mut between.scores[those.clone()];
            let at = of_chunk.start - span.start;
            let seen = of_chunk.start.max(positions.start)..of_chunk.end.min(positions.end);
            self.head.scores(s, seen, &rows.query[those], scores, at, between.panel);
        }
    }

    /// The weighted sums of the values at `positions`, joined to what there is.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn values<S: Simd, const N: usize>(
        &mut self,
        s: S,
        rows: &Rows<N>,
        span: &Range<usize>,
        positions: Range<usize>,
        joins: &[Join; N],
        first: usize,
        between: &mut Between<'_, N>,
    ) {
        let length = self.attention.value_length;
        let Between { scores, sums, panel } = between;
        for start in (0..length).step_by(BLOCK) {
            sums[..rows.count].fill([0.0; BLOCK]);
            let elements = start..(start + BLOCK).min(length);
            for chunk in positions.start / CHUNK..positions.end.div_ceil(CHUNK) {
                let positions = chunk * CHUNK..(chunk + 1) * CHUNK;
                let those = rows.that_see(&positions);
                let at = positions.start - span.start;
                let vectors = elements.len().div_ceil(LANES);
                let source = self.head.values(s, chunk, start / BLOCK, those.len(), panel);
                let ahead = if start + BLOCK < length { &[] } else { self.ahead(rows, chunk) };
                let weights = Weights { rows, positions, at, scores, ahead };
                let products = PhantomData::<H::Products>;
                match source {
                    Source::Stored(values) => {
                        tiles(s, those, &mut Weighted { weights, values, vectors, sums, products })
                    }
                    Source::Widened(values) => {
                        tiles(s, those, &mut Weighted { weights, values, vectors, sums, products })
                    }
                }
            }
            for (row, (join, sums)) in joins.iter().zip(sums.iter()).enumerate().take(rows.count) {
                let out = &mut self.out_row(first + row)[elements.clone()];
                match join {
                    Join::Skip => {}
                    Join::First => out.copy_from_slice(&sums[..elements.len()]),
                    Join::Merge(factors) => merge::add(out, sums, *factors),
                }
            }
        }
    }

    /// What to ask for while few queries meet the values of a chunk: keys that will be needed in its place.
    #[inline(always)]
    fn ahead<const N: usize>(&self, rows: &Rows<N>, chunk: usize) -> &[u8] {
        const CHUNKS: usize = SPAN / CHUNK;
        let (start, end) = (rows.seen[0][0], rows.seen[rows.count - 1][1]);
        match self.out {
            _ if rows.count > FEW_ROWS => &[],
            Out::Heads(_) if (chunk + CHUNKS) * CHUNK < end => self.head.keys(self.kv_head, chunk + CHUNKS),
            Out::Heads(_) => self.head.keys(self.kv_head + 1, start / SPAN * CHUNKS + chunk % CHUNKS),
            Out::Span(..) => self.head.keys(self.kv_head + 1, chunk),
        }
    }

    /// Where the sums of a query go.
    #[inline(always)]
    fn out_row(&mut self, row: usize) -> &mut [f32] {
        let (group, length) = (self.group(), self.attention.value_length);
        match &mut self.out {
            Out::Heads(tile) => &mut tile.row(row / group)[row % group * length..][..length],
            Out::Span(_, partial) => partial.row(row).0,
        }
    }

    /// Divides the sums, or notes what they are to be divided by.
    #[inline(always)]
    fn finish(&mut self, first: usize, totals: &[Total]) {
        for (row, total) in totals.iter().enumerate() {
            if let Out::Span(_, partial) = &mut self.out {
                *partial.row(first + row).1 = [total.max, total.sum];
                continue;
            }
            for x in self.out_row(first + row) {
                *x /= total.sum;
            }
        }
    }
}

/// Turns the scores at `seen` into weights; the rest of their vectors into zeros.
#[inline(always)]
fn weigh<S: Simd, P: Products>(s: S, scores: &mut [f32; SCORES], seen: Range<usize>, scale: f32) -> Total {
    let vectors = seen.start / LANES..seen.end.div_ceil(LANES);
    let scale = s.splat_float(scale);
    for scores in &mut scores.as_chunks_mut::<LANES>().0[vectors.clone()] {
        s.store_floats(s.mul(s.floats(scores), scale), scores);
    }
    scores[vectors.start * LANES..seen.start].fill(f32::NEG_INFINITY);
    scores[seen.end..vectors.end * LANES].fill(f32::NEG_INFINITY);
    let scores = &mut scores.as_chunks_mut::<LANES>().0[vectors];
    let mut maxima = s.splat_float(f32::NEG_INFINITY);
    for scores in &*scores {
        maxima = s.max(s.floats(scores), maxima);
    }
    let mut lanes = [0.0; LANES];
    s.store_floats(maxima, &mut lanes);
    let max = lanes.into_iter().fold(f32::NEG_INFINITY, |max, x| if x > max { x } else { max });
    let mut sums = s.splat_float(0.0);
    for scores in scores {
        for score in scores.iter_mut() {
            let x = *score - max;
            *score = if P::EXACT { math::exp_short(x) } else { math::exp_to_one(x) };
        }
        sums = s.add(sums, s.floats(scores));
    }
    s.store_floats(sums, &mut lanes);
    Total { max, sum: float::sum_lanes(lanes) }
}

/// The weights of a chunk's positions.
struct Weights<'a, const N: usize> {
    rows: &'a Rows<N>,
    positions: Range<usize>,
    /// The chunk's place in the span.
    at: usize,
    scores: &'a [[f32; SCORES]; N],
    ahead: &'a [u8],
}

/// Adds the weighted values of a chunk.
struct Weighted<'a, P, B, const N: usize> {
    weights: Weights<'a, N>,
    values: B,
    vectors: usize,
    sums: &'a mut [[f32; BLOCK]; N],
    products: PhantomData<P>,
}

impl<const N: usize> Weights<'_, N> {
    /// The positions in the chunk that a row sees.
    #[inline(always)]
    fn sees(&self, row: usize) -> Range<usize> {
        self.rows.sees(row, &self.positions)
    }
}

impl<P: Products, B: Vectors, const N: usize> Weighted<'_, P, B, N> {
    /// The values at `positions` of the chunk, for rows `first..first + R`.
    #[inline(always)]
    fn add<S: Simd, const R: usize>(&mut self, s: S, first: usize, positions: Range<usize>, ahead: &[u8]) {
        if positions.is_empty() {
            return;
        }
        let mut weights = [&[][..]; R];
        for (weights, scores) in weights.iter_mut().zip(&self.weights.scores[first..]) {
            *weights = &scores[self.weights.at..][positions.clone()];
        }
        let sums = self.sums[first..].first_chunk_mut().expect("R rows");
        s.run(Outer {
            a: weights,
            b: self.values.rows(positions),
            vectors: self.vectors,
            to: sums,
            at: 0,
            fresh: false,
            ahead,
            products: self.products,
        });
    }
}

impl<P: Products, B: Vectors, const N: usize> Tiles for Weighted<'_, P, B, N> {
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&mut self, s: S, first: usize) {
        let early = self.weights.sees(first);
        let late = self.weights.sees(first + R - 1);
        // Bounds never fall from row to row.
        let common = late.start..early.end.max(late.start);
        if common.len() == late.end - early.start {
            return self.add::<S, R>(s, first, common, self.weights.ahead);
        }
        for row in first..first + R {
            let sees = self.weights.sees(row);
            self.add::<S, 1>(s, row, sees.start..common.start.min(sees.end), &[]);
        }
        self.add::<S, R>(s, first, common.clone(), self.weights.ahead);
        for row in first..first + R {
            let sees = self.weights.sees(row);
            self.add::<S, 1>(s, row, common.end.max(sees.start)..sees.end.max(common.end), &[]);
        }
    }
}
