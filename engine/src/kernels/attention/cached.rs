//! The keys and values of one KV head, as they lie in the cache.

use super::outer::{Exact, Outer, Products, Rounded, Tiles, Vectors, tiles, vectors};
use super::{BLOCK, CHUNK, FEW_ROWS, LANES, SCORES, SPAN};
use crate::bytes::Element;
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;
use core::ops::Range;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A number that the KV cache stores as it is.
pub trait KvElement: Element + IntoBytes + Immutable {
    /// Zero.
    const ZERO: Self;
    /// What products with them are.
    type Products: Products;

    /// The values of 16 stored numbers.
    fn lanes<S: Simd>(s: S, stored: &[Self; LANES]) -> S::Floats;

    /// Widens 64 stored numbers.
    fn widen<S: Simd>(s: S, stored: &[Self; BLOCK], to: &mut [f32; BLOCK]);

    /// Stores 16 numbers, rounded to nearest, half to even.
    fn store<S: Simd>(s: S, floats: S::Floats, to: &mut [Self; LANES]);

    /// All of these numbers, where they need no conversion.
    fn as_floats(stored: &[[Self; BLOCK]]) -> Option<&[[f32; BLOCK]]>;
}

impl KvElement for f32 {
    const ZERO: Self = 0.0;
    type Products = Rounded;

    #[inline(always)]
    fn lanes<S: Simd>(s: S, stored: &[Self; LANES]) -> S::Floats {
        s.floats(stored)
    }

    #[inline(always)]
    fn widen<S: Simd>(_: S, stored: &[Self; BLOCK], to: &mut [f32; BLOCK]) {
        *to = *stored;
    }

    #[inline(always)]
    fn store<S: Simd>(s: S, floats: S::Floats, to: &mut [Self; LANES]) {
        s.store_floats(floats, to);
    }

    #[inline(always)]
    fn as_floats(stored: &[[Self; BLOCK]]) -> Option<&[[f32; BLOCK]]> {
        Some(stored)
    }
}

/// Half precision.
impl KvElement for u16 {
    const ZERO: Self = 0;
    type Products = Exact;

    #[inline(always)]
    fn lanes<S: Simd>(s: S, stored: &[Self; LANES]) -> S::Floats {
        s.halfs(stored)
    }

    #[inline(always)]
    fn widen<S: Simd>(s: S, stored: &[Self; BLOCK], to: &mut [f32; BLOCK]) {
        s.widen_halfs(stored, to);
    }

    #[inline(always)]
    fn store<S: Simd>(s: S, floats: S::Floats, to: &mut [Self; LANES]) {
        s.store_halfs(floats, to);
    }

    #[inline(always)]
    fn as_floats(_: &[[Self; BLOCK]]) -> Option<&[[f32; BLOCK]]> {
        None
    }
}

/// What attention asks of the keys and values of one KV head.
pub trait Head: Copy {
    /// What products with keys and values are.
    type Products: Products;
    /// Values as they are stored.
    type Stored<'p>: Vectors
    where
        Self: 'p;

    /// Sets `scores`, from `at` on, to the products of some query vectors of the batch with the keys of the chunk that
    /// `positions` are in, up to the last of these; what follows may be anything.
    fn scores<S: Simd>(
        self,
        s: S,
        positions: Range<usize>,
        queries: &[usize],
        scores: &mut [[f32; SCORES]],
        at: usize,
        panel: &mut Panel,
    );

    /// Block `block` of each value of a chunk, for so many rows.
    fn values<'p, S: Simd>(
        self,
        s: S,
        chunk: usize,
        block: usize,
        rows: usize,
        panel: &'p mut Panel,
    ) -> Source<'p, Self::Stored<'p>>
    where
        Self: 'p;

    /// The keys of a chunk of KV head `kv_head` of the same layer, as they are stored; nothing where there is no such head.
    fn keys<'p>(self, kv_head: usize, chunk: usize) -> &'p [u8]
    where
        Self: 'p;
}

/// Numbers of a chunk, widened.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub struct Panel {
    numbers: [[f32; BLOCK]; CHUNK],
    /// Scales of a block of values: those of 32 elements, for each position.
    scales: [[f32; CHUNK]; BLOCK / QUANT],
}

/// Where the chunks of one KV head are in a layer's ring. Its slots are grouped, as many as a span has chunks to a group
/// (or all, where there are fewer), and each group has the chunks of one KV head behind those of another. So a span of a
/// head is one piece of memory, and memory is taken as the context grows.
#[derive(Clone, Copy)]
pub struct Slots {
    /// The KV head.
    pub kv_head: usize,
    /// How many there are.
    pub kv_heads: usize,
}

impl Slots {
    /// Where a ring of `total` numbers has chunk `chunk` of the context, `len` numbers.
    #[inline(always)]
    pub fn place(self, total: usize, len: usize, chunk: usize) -> Range<usize> {
        let capacity = total / (len * self.kv_heads);
        let (slot, group) = (chunk % capacity, group_of(capacity));
        let index = (slot / group * self.kv_heads + self.kv_head) * group + slot % group;
        index * len..(index + 1) * len
    }

    /// What the ring holds of chunk `chunk` of the context, `len` numbers.
    #[inline(always)]
    fn chunk<T>(self, ring: &[T], len: usize, chunk: usize) -> &[T] {
        &ring[self.place(ring.len(), len, chunk)]
    }

    /// The same of another KV head, where it exists.
    fn chunk_of<T>(self, kv_head: usize, ring: &[T], len: usize, chunk: usize) -> &[T] {
        if kv_head < self.kv_heads { Self { kv_head, ..self }.chunk(ring, len, chunk) } else { &[] }
    }
}

/// Slots in a group, of a ring of so many.
#[inline(always)]
pub fn group_of(capacity: usize) -> usize {
    capacity.min(SPAN / CHUNK)
}

/// The number of slots in a ring of whole groups that has at least so many.
pub fn whole_groups(slots: usize) -> usize {
    slots.next_multiple_of(group_of(slots))
}

/// Whether the numbers of a chunk are widened to a panel for so many rows: where several times as many use them as read them,
/// and where there is no prefetch, since memory then sees one stream.
#[inline(always)]
fn widens<S: Simd>(rows: usize) -> bool {
    rows > FEW_ROWS || !S::PREFETCHES
}

/// Where the numbers of a chunk are to be had.
pub enum Source<'a, V> {
    /// In the cache.
    Stored(V),
    /// In a panel.
    Widened(&'a [[f32; BLOCK]]),
}

/// Length of what a chunk holds of each value: whole vectors.
#[inline(always)]
pub(super) fn padded(value_length: usize) -> usize {
    value_length.next_multiple_of(LANES)
}

/// Elements of block `block` of a value of so many.
#[inline(always)]
pub(super) fn block_width(padded_length: usize, block: usize) -> usize {
    BLOCK.min(padded_length - block * BLOCK)
}

/// Keys and values as plain numbers.
///
/// A chunk of keys is elements × 64 positions. A chunk of values is blocks of 64 elements × 64 positions × elements of the
/// block; the last block has what is left, rounded up to whole vectors.
#[derive(Clone, Copy)]
pub struct Cached<'a, E> {
    /// Queries of the whole batch: tokens × heads × key length; shortened where the elements ask for that.
    pub queries: &'a [f32],
    /// Length of a key.
    pub key_length: usize,
    /// Length of a value.
    pub value_length: usize,
    /// Which of the layer's chunks these are.
    pub slots: Slots,
    /// The chunks of keys of all KV heads.
    pub keys: &'a [E],
    /// The chunks of values.
    pub values: &'a [E],
}

impl<E: KvElement> Head for Cached<'_, E> {
    type Products = E::Products;
    type Stored<'p>
        = &'p [[E; BLOCK]]
    where
        Self: 'p;

    #[inline(always)]
    fn scores<S: Simd>(
        self,
        s: S,
        positions: Range<usize>,
        queries: &[usize],
        scores: &mut [[f32; SCORES]],
        at: usize,
        panel: &mut Panel,
    ) {
        let chunk = positions.start / CHUNK;
        let keys = self.slots.chunk(self.keys, self.key_length * CHUNK, chunk).as_chunks::<CHUNK>().0;
        let (rows, ahead) = (0..queries.len(), &[][..]);
        let vectors = (positions.end - chunk * CHUNK).div_ceil(LANES);
        if !widens::<S>(queries.len()) {
            let (block, width) = self.block(chunk, 0);
            let ahead = block[positions.start % CHUNK * width..][..positions.len() * width].as_bytes();
            return tiles(s, rows, &mut Scored { head: self, queries, scores, at, keys, vectors, first: 0, ahead });
        }
        for (block, keys) in keys.chunks(BLOCK).enumerate() {
            let first = block * BLOCK;
            let keys = match E::as_floats(keys) {
                Some(floats) => floats,
                None => {
                    widen(s, keys, &mut panel.numbers);
                    &panel.numbers[..keys.len()]
                }
            };
            let mut scored = Scored { head: self, queries, scores, at, keys, vectors, first, ahead };
            tiles(s, rows.clone(), &mut scored);
        }
    }

    #[inline(always)]
    fn values<'p, S: Simd>(
        self,
        s: S,
        chunk: usize,
        block: usize,
        rows: usize,
        panel: &'p mut Panel,
    ) -> Source<'p, &'p [[E; BLOCK]]>
    where
        Self: 'p,
    {
        let (values, width) = self.block(chunk, block);
        if width < BLOCK {
            for (values, to) in values.chunks_exact(width).zip(&mut panel.numbers) {
                for (values, to) in values.as_chunks().0.iter().zip(to.as_chunks_mut().0) {
                    s.store_floats(E::lanes(s, values), to);
                }
            }
            return Source::Widened(&panel.numbers);
        }
        let values = values.as_chunks::<BLOCK>().0;
        if !widens::<S>(rows) || E::as_floats(values).is_some() {
            return Source::Stored(values);
        }
        widen(s, values, &mut panel.numbers);
        Source::Widened(&panel.numbers)
    }

    fn keys<'p>(self, kv_head: usize, chunk: usize) -> &'p [u8]
    where
        Self: 'p,
    {
        self.slots.chunk_of(kv_head, self.keys, self.key_length * CHUNK, chunk).as_bytes()
    }
}

impl<'a, E: KvElement> Cached<'a, E> {
    /// A block of the values of a chunk, and how many elements of each it has.
    #[inline(always)]
    fn block(self, chunk: usize, block: usize) -> (&'a [E], usize) {
        let length = padded(self.value_length);
        let (width, start) = (block_width(length, block), block * BLOCK * CHUNK);
        (&self.slots.chunk(self.values, length * CHUNK, chunk)[start..][..width * CHUNK], width)
    }
}

#[inline(always)]
fn widen<S: Simd, E: KvElement>(s: S, from: &[[E; BLOCK]], to: &mut [[f32; BLOCK]]) {
    for (from, to) in from.iter().zip(to) {
        E::widen(s, from, to);
    }
}

/// The products with elements `first` and up of the keys of a chunk.
struct Scored<'a, E, K> {
    head: Cached<'a, E>,
    queries: &'a [usize],
    scores: &'a mut [[f32; SCORES]],
    at: usize,
    keys: &'a [[K; CHUNK]],
    /// 16 positions each: those that no query sees are left out.
    vectors: usize,
    first: usize,
    ahead: &'a [u8],
}

impl<E: KvElement, K: KvElement> Tiles for Scored<'_, E, K> {
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&mut self, s: S, first: usize) {
        let mut queries = [&[][..]; R];
        for (query, index) in queries.iter_mut().zip(&self.queries[first..]) {
            *query = &self.head.queries[index * self.head.key_length + self.first..][..self.keys.len()];
        }
        let (to, at) = (self.scores[first..].first_chunk_mut().expect("R rows"), self.at);
        let (vectors, fresh, ahead) = (self.vectors, self.first == 0, self.ahead);
        let products = PhantomData::<E::Products>;
        s.run(Outer { a: queries, b: self.keys, vectors, to, at, fresh, ahead, products });
    }
}

/// Query vectors as int8 blocks of 32, each vector filled up with zeros.
#[derive(Clone, Copy)]
pub struct QuantizedQueries<'a> {
    /// Codes of the whole batch: tokens × heads × padded key length.
    pub codes: &'a [i8],
    /// Scales of the blocks.
    pub scales: &'a [f32],
    /// Sums of the blocks' codes.
    pub sums: &'a [i16],
}

/// Elements of a quantized block.
pub(super) const QUANT: usize = 32;

/// Keys and values as int8 codes, each 32 elements with an `f16` scale.
///
/// A chunk of keys is groups of 4 elements × 64 positions × 4 codes, which are unsigned (128 more) at levels that prefer
/// them so; its scales are blocks × 64 positions. A chunk of values is as in [`Cached`], its length rounded up to whole
/// blocks, and its scales are blocks × 64 positions too.
#[derive(Clone, Copy)]
pub struct CachedQ8<'a> {
    /// The queries.
    pub queries: QuantizedQueries<'a>,
    /// Length of a key.
    pub key_length: usize,
    /// Length of a value.
    pub value_length: usize,
    /// Which of the layer's chunks these are.
    pub slots: Slots,
    /// The chunks of the keys' codes.
    pub key_codes: &'a [i8],
    /// The chunks of the keys' scales.
    pub key_scales: &'a [u16],
    /// The chunks of the values' codes.
    pub value_codes: &'a [i8],
    /// The chunks of the values' scales.
    pub value_scales: &'a [u16],
}

/// Codes of 4 elements at each position of a chunk.
type Fours = [[i8; 64]; CHUNK / LANES];

impl Head for CachedQ8<'_> {
    type Products = Rounded;
    type Stored<'p>
        = Coded<'p>
    where
        Self: 'p;

    #[inline(always)]
    fn scores<S: Simd>(
        self,
        s: S,
        positions: Range<usize>,
        queries: &[usize],
        scores: &mut [[f32; SCORES]],
        at: usize,
        panel: &mut Panel,
    ) {
        let (length, chunk) = (self.key_length.next_multiple_of(QUANT), positions.start / CHUNK);
        let codes = self.slots.chunk(self.key_codes, length * CHUNK, chunk).as_chunks::<64>().0.as_chunks().0;
        let scales = self.slots.chunk(self.key_scales, length / QUANT * CHUNK, chunk).as_chunks::<CHUNK>().0;
        let blocks = length / QUANT;
        widen(s, scales, &mut panel.numbers);
        let scales = &panel.numbers[..blocks];
        tiles(s, 0..queries.len(), &mut Dots { head: self, queries, scores, at, codes, scales });
    }

    #[inline(always)]
    fn values<'p, S: Simd>(
        self,
        s: S,
        chunk: usize,
        block: usize,
        rows: usize,
        panel: &'p mut Panel,
    ) -> Source<'p, Coded<'p>>
    where
        Self: 'p,
    {
        let length = self.value_length.next_multiple_of(QUANT);
        let (width, start) = (block_width(length, block), block * BLOCK * CHUNK);
        let codes = &self.slots.chunk(self.value_codes, length * CHUNK, chunk)[start..][..width * CHUNK];
        let halfs = self.slots.chunk(self.value_scales, length / QUANT * CHUNK, chunk).as_chunks().0;
        widen(s, &halfs[block * BLOCK / QUANT..][..width / QUANT], &mut panel.scales);
        let coded = Coded { codes, width, scales: &panel.scales, first: 0 };
        if !widens::<S>(rows) {
            return Source::Stored(coded);
        }
        for (t, to) in panel.numbers.iter_mut().enumerate() {
            for (block, to) in to.as_chunks_mut::<QUANT>().0.iter_mut().enumerate().take(width / QUANT) {
                for (lanes, to) in coded.lanes::<S, 2>(s, t, 2 * block).into_iter().zip(to.as_chunks_mut().0) {
                    s.store_floats(lanes, to);
                }
            }
        }
        Source::Widened(&panel.numbers)
    }

    fn keys<'p>(self, kv_head: usize, chunk: usize) -> &'p [u8]
    where
        Self: 'p,
    {
        let length = self.key_length.next_multiple_of(QUANT);
        self.slots.chunk_of(kv_head, self.key_codes, length * CHUNK, chunk).as_bytes()
    }
}

/// Values of a block, as codes.
#[derive(Clone, Copy)]
pub struct Coded<'a> {
    /// Positions x `width`.
    codes: &'a [i8],
    width: usize,
    /// Scales of each 32 elements: one for each position of the chunk.
    scales: &'a [[f32; CHUNK]; BLOCK / QUANT],
    /// The first of the positions.
    first: usize,
}

impl Vectors for Coded<'_> {
    #[inline(always)]
    fn len(self) -> usize {
        self.codes.len() / self.width
    }

    #[inline(always)]
    fn rows(self, rows: Range<usize>) -> Self {
        let codes = &self.codes[rows.start * self.width..rows.end * self.width];
        Self { codes, first: self.first + rows.start, ..self }
    }

    #[inline(always)]
    fn lanes<S: Simd, const V: usize>(self, s: S, t: usize, v: usize) -> [S::Floats; V] {
        let codes: &[[i8; LANES]; V] =
            self.codes[t * self.width..].as_chunks().0[v..].first_chunk().expect("V vectors");
        let mut lanes = [s.splat_float(0.0); V];
        for (i, (lanes, codes)) in lanes.iter_mut().zip(codes).enumerate() {
            let scale = self.scales[(v + i) * LANES / QUANT][self.first + t];
            *lanes = s.mul(s.code_floats(codes), s.splat_float(scale));
        }
        lanes
    }
}

/// The products of queries and keys of a chunk.
struct Dots<'a> {
    head: CachedQ8<'a>,
    queries: &'a [usize],
    scores: &'a mut [[f32; SCORES]],
    at: usize,
    codes: &'a [Fours],
    scales: &'a [[f32; CHUNK]],
}

impl Tiles for Dots<'_> {
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(&mut self, s: S, first: usize) {
        let QuantizedQueries { codes, scales, sums } = self.head.queries;
        let blocks = self.scales.len();
        let mut queries = [Query { codes: &[], scales: &[], sums: &[] }; R];
        for (query, index) in queries.iter_mut().zip(&self.queries[first..]) {
            *query = Query {
                codes: codes[index * blocks * QUANT..][..blocks * QUANT].as_chunks().0.as_chunks().0,
                scales: &scales[index * blocks..][..blocks],
                sums: &sums[index * blocks..][..blocks],
            };
        }
        let (to, at) = (self.scores[first..].first_chunk_mut().expect("R rows"), self.at);
        s.run(Quantized { queries, codes: self.codes, scales: self.scales, to, at });
    }
}

/// A query in blocks of 8 times 4 codes.
#[derive(Clone, Copy)]
struct Query<'a> {
    codes: &'a [[[i8; 4]; QUANT / 4]],
    scales: &'a [f32],
    sums: &'a [i16],
}

/// Products of codes: `to[row][position] = Σ_b (key scale * query scale) * Σ products`, blocks ascending.
struct Quantized<'a, const R: usize> {
    queries: [Query<'a>; R],
    codes: &'a [Fours],
    scales: &'a [[f32; CHUNK]],
    to: &'a mut [[f32; SCORES]; R],
    at: usize,
}

impl<const R: usize> Kernel for Quantized<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        if S::ACCUMULATORS >= 24 {
            self.columns::<S, 4>(s, 0);
        } else {
            for v in 0..CHUNK / LANES {
                self.columns::<S, 1>(s, v);
            }
        }
    }
}

impl<const R: usize> Quantized<'_, R> {
    /// The positions of vectors `v..v + V`.
    #[inline(always)]
    fn columns<S: Simd, const V: usize>(&mut self, s: S, v: usize) {
        for (b, (codes, scales)) in self.codes.as_chunks::<{ QUANT / 4 }>().0.iter().zip(self.scales).enumerate() {
            let sums = self.products::<S, V>(s, codes, b, v);
            let scales: &[[f32; LANES]; V] = scales.as_chunks().0[v..].first_chunk().expect("V vectors");
            for ((sums, query), to) in sums.iter().zip(&self.queries).zip(&mut *self.to) {
                let query_scale = s.splat_float(query.scales[b]);
                let to = vectors::<V>(&mut to[self.at..], v);
                for ((sum, scale), to) in sums.iter().zip(scales).zip(to) {
                    let term = s.mul(s.mul(s.floats(scale), query_scale), s.to_floats(*sum));
                    let before = if b == 0 { s.splat_float(0.0) } else { s.floats(to) };
                    s.store_floats(s.add(before, term), to);
                }
            }
        }
    }

    /// The integer products of block `b`.
    #[inline(always)]
    fn products<S: Simd, const V: usize>(
        &self,
        s: S,
        codes: &[Fours; QUANT / 4],
        b: usize,
        v: usize,
    ) -> [[S::Ints; V]; R] {
        let mut sums = [[s.open(s.splat_int(0)); V]; R];
        if S::PREFERS_UNSIGNED {
            for (sums, query) in sums.iter_mut().zip(&self.queries) {
                *sums = [s.open(s.splat_int(-128 * i32::from(query.sums[b]))); V];
            }
        }
        for (g, codes) in codes.iter().enumerate() {
            let mut keys = [s.splat(0); V];
            let codes: &[[i8; 64]; V] = codes[v..].first_chunk().expect("V vectors");
            for (keys, codes) in keys.iter_mut().zip(codes) {
                *keys = s.codes(codes);
            }
            for (sums, query) in sums.iter_mut().zip(&self.queries) {
                let x = s.splat4(&query.codes[b][g]);
                for (sum, keys) in sums.iter_mut().zip(keys) {
                    *sum = if S::PREFERS_UNSIGNED {
                        s.dot(*sum, keys, x)
                    } else {
                        s.open(s.close(s.dot_signed(*sum, keys, x)))
                    };
                }
            }
        }
        let mut closed = [[s.splat_int(0); V]; R];
        for (closed, sum) in closed.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            *closed = s.close(*sum);
        }
        closed
    }
}
