//! The KV cache of a sequence: for each layer, the keys and values of all positions that a token may still see.
//!
//! Positions are kept in chunks of 64, in slots that are grouped as [`Slots`] says. A layer with a window keeps a ring of
//! chunks, as many as a batch and the window before it may touch: chunk `c` of the context has slot `c` modulo their
//! count. So what is still to be seen is never written over, but what was dropped by rewinding may be:
//! [`KvCache::oldest`] says how far back a sequence can go.

use alloc::vec::Vec;
use core::ops::Range;

use super::cpu::{Shorten, TokenCut};
use super::state::Limits;
use crate::bytes::{Claim, Crew, Cut, Element, OutOfMemory, Shared, Tile};
use crate::kernels::attention::{
    CHUNK, Cached, CachedQ8, Chunk, ChunkMut, ChunkQ8, Head, KvElement, Products, QuantizedQueries, Slots, group_of,
    quantize_query, whole_groups,
};
use crate::kernels::float::LANES;
use crate::simd::{Kernel, Level, Simd};
use crate::spec::{Attention, Spec};

/// How the KV cache stores its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KvType {
    /// Half precision.
    #[default]
    F16,
    /// Single precision.
    F32,
    /// Blocks of 32 int8 codes with a half-precision scale. Queries are quantized the same way.
    Q8_0,
}

impl KvType {
    /// All types.
    pub const ALL: &[KvType] = &[KvType::F16, KvType::F32, KvType::Q8_0];

    /// The name that [`core::str::FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::Q8_0 => "q8_0",
        }
    }
}

impl core::str::FromStr for KvType {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|kv| kv.name() == name).ok_or("expected f16, f32 or q8_0")
    }
}

/// Elements of a block of [`KvType::Q8_0`].
pub(super) const BLOCK: usize = 32;

/// Keys and values of one sequence, layer by layer.
pub struct KvCache(Layers);

/// One for each layer.
pub(super) enum Layers {
    F16(Vec<Plain<u16>>),
    F32(Vec<Plain<f32>>),
    Q8(Vec<Q8>),
}

/// A layer's keys and values: groups × KV heads × slots, as [`Cached`] describes them.
pub(super) struct Plain<E: Element> {
    pub keys: Shared<E>,
    pub values: Shared<E>,
}

/// A layer's keys and values: groups × KV heads × slots, as [`CachedQ8`] describes them.
pub(super) struct Q8 {
    pub key_codes: Shared<i8>,
    pub key_scales: Shared<u16>,
    pub value_codes: Shared<i8>,
    pub value_scales: Shared<u16>,
}

/// The queries of a batch, in the forms that attention takes: as numbers, and quantized where the cache is.
#[derive(Clone, Copy)]
pub(super) struct Queries<'a> {
    pub f32: &'a Shared<f32>,
    pub q8: &'a QuantizedBatch,
}

/// The queries of a batch, quantized; empty where no cache takes them.
pub(super) struct QuantizedBatch {
    codes: Shared<i8>,
    scales: Shared<f32>,
    sums: Shared<i16>,
}

/// The chunks that an operation writes: one for each of its claims from `first` on, in the order groups × KV heads × slots.
pub(super) struct Chunks<'a> {
    attention: &'a Attention,
    /// The chunks of the context.
    written: Range<usize>,
    /// All slots of the layer.
    capacity: usize,
    /// The groups of slots that are written.
    groups: Range<usize>,
    /// Of each group, the slots that are.
    slots: Range<usize>,
    /// Claims before the first of them.
    first: usize,
}

impl<'a> Chunks<'a> {
    /// Those that make up chunks `written` of the context, and perhaps some more.
    pub fn new(attention: &'a Attention, capacity: usize, written: Range<usize>, first: usize) -> Self {
        let group = group_of(capacity);
        let [start, last] = [written.start, written.end - 1].map(|chunk| chunk % capacity);
        let whole = 0..group;
        // Where the ring begins anew within the batch, or a group ends, slots that are not written are among them.
        let (groups, slots) = match (written.len() <= capacity && start <= last, start / group, last / group) {
            (true, of_first, of_last) if of_first == of_last => {
                (of_first..of_last + 1, start % group..last % group + 1)
            }
            (true, of_first, of_last) => (of_first..of_last + 1, whole),
            (false, ..) => (0..capacity / group, whole),
        };
        Self { attention, written, capacity, groups, slots, first }
    }

    /// How many claims have one.
    pub fn len(&self) -> usize {
        self.groups.len() * self.attention.kv_heads * self.slots.len()
    }

    /// The KV head of a claim, and the chunk of the context that is written to its slot, if any is.
    pub fn claimed(&self, claim: &Claim) -> (usize, Option<usize>) {
        let (index, kv_heads) = (claim.index() - self.first, self.attention.kv_heads);
        let (row, slot) = (index / self.slots.len(), self.slots.start + index % self.slots.len());
        let slot = (self.groups.start + row / kv_heads) * group_of(self.capacity) + slot;
        (row % kv_heads, self.written.clone().find(|chunk| chunk % self.capacity == slot))
    }

    /// The claimed part of a buffer that has so many numbers for each chunk.
    fn part<'c, E: Element>(&self, claim: &'c Claim, buffer: &'c Shared<E>, len: usize) -> Tile<'c, E> {
        let (Range { start: top, end: bottom }, kv_heads) = (self.groups.clone(), self.attention.kv_heads);
        let (start, end) = (self.slots.start * len, self.slots.end * len);
        let cut = Cut {
            top: top * kv_heads,
            start,
            end,
            block: 1,
            first: self.first,
            ..Cut::columns(bottom * kv_heads, group_of(self.capacity) * len, len)
        };
        buffer.write(claim, cut)
    }
}

/// A layer's part of the cache.
pub(super) trait LayerKv: Sized {
    /// What attention reads.
    type Head<'c>: Head
    where
        Self: 'c;
    /// What is written at a time.
    type Chunk<'c>: ChunkMut
    where
        Self: 'c;

    /// That of a cache of this type.
    ///
    /// # Panics
    /// Where the cache is of another type: all those of a batch are of one.
    fn of(cache: &KvCache, layer: usize) -> &Self;

    /// Slots for chunks.
    fn capacity(&self, attention: &Attention) -> usize;

    /// The chunk that is claimed.
    fn chunk<'c>(&'c self, claim: &'c Claim, chunks: &Chunks<'_>) -> Self::Chunk<'c>;

    /// Keeps the queries of the claimed tokens of a batch in the form that attention takes.
    fn keep_queries(to: Queries<'_>, by: Level, claim: &Claim, cut: TokenCut, of: &Attention, from: &mut [f32]);

    /// The keys and values of a KV head, with the batch's queries.
    fn head<'c>(
        &'c self,
        claim: &'c Claim,
        attention: &Attention,
        kv_head: usize,
        queries: Queries<'c>,
    ) -> Self::Head<'c>;
}

/// Numbers of a cache that is not quantized.
pub(super) trait PlainElement: KvElement {
    /// The layers of a cache of these.
    fn layers(cache: &KvCache) -> Option<&[Plain<Self>]>;
}

impl PlainElement for u16 {
    fn layers(cache: &KvCache) -> Option<&[Plain<Self>]> {
        if let Layers::F16(layers) = &cache.0 { Some(layers) } else { None }
    }
}

impl PlainElement for f32 {
    fn layers(cache: &KvCache) -> Option<&[Plain<Self>]> {
        if let Layers::F32(layers) = &cache.0 { Some(layers) } else { None }
    }
}

impl<E: PlainElement> LayerKv for Plain<E> {
    type Head<'c> = Cached<'c, E>;
    type Chunk<'c> = Chunk<'c, E>;

    fn of(cache: &KvCache, layer: usize) -> &Self {
        &E::layers(cache).expect("caches of a batch are of one type")[layer]
    }

    fn capacity(&self, attention: &Attention) -> usize {
        self.keys.len() / (attention.kv_heads * plain_lens(attention)[0])
    }

    fn chunk<'c>(&'c self, claim: &'c Claim, chunks: &Chunks<'_>) -> Chunk<'c, E> {
        let [keys, values] = plain_lens(chunks.attention);
        Chunk { keys: chunks.part(claim, &self.keys, keys), values: chunks.part(claim, &self.values, values) }
    }

    fn keep_queries(_: Queries<'_>, by: Level, _: &Claim, _: TokenCut, _: &Attention, from: &mut [f32]) {
        if E::Products::EXACT {
            by.run(Shorten { row: from });
        }
    }

    fn head<'c>(
        &'c self,
        claim: &'c Claim,
        attention: &Attention,
        kv_head: usize,
        queries: Queries<'c>,
    ) -> Cached<'c, E> {
        let Attention { kv_heads, key_length, value_length, .. } = *attention;
        Cached {
            queries: queries.f32.read(claim),
            key_length,
            value_length,
            slots: Slots { kv_head, kv_heads },
            keys: self.keys.read(claim),
            values: self.values.read(claim),
        }
    }
}

impl LayerKv for Q8 {
    type Head<'c> = CachedQ8<'c>;
    type Chunk<'c> = ChunkQ8<'c>;

    fn of(cache: &KvCache, layer: usize) -> &Self {
        let Layers::Q8(layers) = &cache.0 else { panic!("caches of a batch are of one type") };
        &layers[layer]
    }

    fn capacity(&self, attention: &Attention) -> usize {
        self.key_codes.len() / (attention.kv_heads * q8_lens(attention)[0])
    }

    fn chunk<'c>(&'c self, claim: &'c Claim, chunks: &Chunks<'_>) -> ChunkQ8<'c> {
        let [keys, values] = q8_lens(chunks.attention);
        ChunkQ8 {
            key_codes: chunks.part(claim, &self.key_codes, keys),
            key_scales: chunks.part(claim, &self.key_scales, keys / BLOCK),
            value_codes: chunks.part(claim, &self.value_codes, values),
            value_scales: chunks.part(claim, &self.value_scales, values / BLOCK),
        }
    }

    fn keep_queries(to: Queries<'_>, by: Level, claim: &Claim, cut: TokenCut, of: &Attention, from: &mut [f32]) {
        let Attention { heads, key_length, .. } = *of;
        let cut = TokenCut { width: heads * key_length.next_multiple_of(BLOCK), ..cut };
        by.run(QuantizeQueries {
            queries: from,
            key_length,
            codes: to.q8.codes.write(claim, cut.per(1)).row(0),
            scales: to.q8.scales.write(claim, cut.per(BLOCK)).row(0),
            sums: to.q8.sums.write(claim, cut.per(BLOCK)).row(0),
        });
    }

    fn head<'c>(
        &'c self,
        claim: &'c Claim,
        attention: &Attention,
        kv_head: usize,
        queries: Queries<'c>,
    ) -> CachedQ8<'c> {
        let Attention { kv_heads, key_length, value_length, .. } = *attention;
        let Q8 { key_codes, key_scales, value_codes, value_scales } = self;
        let QuantizedBatch { codes, scales, sums } = queries.q8;
        CachedQ8 {
            queries: QuantizedQueries { codes: codes.read(claim), scales: scales.read(claim), sums: sums.read(claim) },
            key_length,
            value_length,
            slots: Slots { kv_head, kv_heads },
            key_codes: key_codes.read(claim),
            key_scales: key_scales.read(claim),
            value_codes: value_codes.read(claim),
            value_scales: value_scales.read(claim),
        }
    }
}

struct QuantizeQueries<'a> {
    queries: &'a [f32],
    key_length: usize,
    codes: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i16],
}

impl Kernel for QuantizeQueries<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let padded = self.key_length.next_multiple_of(BLOCK);
        let scales = self.scales.chunks_exact_mut(padded / BLOCK).zip(self.sums.chunks_exact_mut(padded / BLOCK));
        let queries = self.queries.chunks_exact(self.key_length).zip(self.codes.chunks_exact_mut(padded));
        for ((query, codes), (scales, sums)) in queries.zip(scales) {
            quantize_query(s, query, codes, scales, sums);
        }
    }
}

/// Numbers of a chunk of keys and of one of values.
pub(super) fn plain_lens(attention: &Attention) -> [usize; 2] {
    [attention.key_length * CHUNK, attention.value_length.next_multiple_of(LANES) * CHUNK]
}

/// Codes of a chunk of keys and of one of values.
pub(super) fn q8_lens(attention: &Attention) -> [usize; 2] {
    [attention.key_length, attention.value_length].map(|length| length.next_multiple_of(BLOCK) * CHUNK)
}

/// Bytes that a position of a KV head takes.
pub(super) fn position_bytes(attention: &Attention, kv: KvType) -> u64 {
    let [keys, values] = if kv == KvType::Q8_0 { q8_lens(attention) } else { plain_lens(attention) };
    let numbers = ((keys + values) / CHUNK) as u64;
    match kv {
        KvType::F16 => 2 * numbers,
        KvType::F32 => 4 * numbers,
        KvType::Q8_0 => numbers + numbers / 16,
    }
}

/// Chunks that a layer keeps.
fn slots(attention: &Attention, limits: Limits) -> usize {
    let all = limits.context.div_ceil(CHUNK);
    // What the first token of a batch sees may begin at the end of a chunk, and the batch end at the start of one.
    let ring = |window: usize| window.saturating_add(limits.batch).div_ceil(CHUNK) + 1;
    whole_groups(attention.window.map_or(all, |window| all.min(ring(window))))
}

impl KvCache {
    /// An empty cache, used by `crew` alone. Memory is taken as it is first touched.
    pub fn new(crew: &Crew, spec: &Spec, limits: Limits, kv: KvType) -> Result<Self, OutOfMemory> {
        let attentions = || spec.layers.iter().map(|layer| &layer.attention);
        Ok(Self(match kv {
            KvType::F16 => Layers::F16(attentions().map(|a| Plain::new(crew, a, limits)).collect::<Result<_, _>>()?),
            KvType::F32 => Layers::F32(attentions().map(|a| Plain::new(crew, a, limits)).collect::<Result<_, _>>()?),
            KvType::Q8_0 => Layers::Q8(attentions().map(|a| Q8::new(crew, a, limits)).collect::<Result<_, _>>()?),
        }))
    }

    /// How the numbers are stored.
    pub fn kind(&self) -> KvType {
        match &self.0 {
            Layers::F16(_) => KvType::F16,
            Layers::F32(_) => KvType::F32,
            Layers::Q8(_) => KvType::Q8_0,
        }
    }

    /// Bytes of a cache.
    pub fn bytes(spec: &Spec, limits: Limits, kv: KvType) -> u64 {
        let of_layer = |attention: &Attention| {
            let chunks = (attention.kv_heads * slots(attention, limits)) as u64;
            chunks * CHUNK as u64 * position_bytes(attention, kv)
        };
        spec.layers.iter().map(|layer| of_layer(&layer.attention)).sum()
    }

    /// The first position that a sequence may be rewound to when its cache has held positions up to `end`: what it would
    /// see of those before is no longer there. 0 where everything is.
    pub fn oldest(spec: &Spec, limits: Limits, end: usize) -> usize {
        let of_layer = |attention: &Attention| {
            let first = end.div_ceil(CHUNK).saturating_sub(slots(attention, limits)) * CHUNK;
            match attention.window {
                Some(window) if first > 0 => first + window - 1,
                _ => 0,
            }
        };
        spec.layers.iter().map(|layer| of_layer(&layer.attention)).max().unwrap_or(0)
    }

    pub(super) fn layers(&mut self) -> &mut Layers {
        &mut self.0
    }
}

impl QuantizedBatch {
    /// For the queries of a batch over caches of this type.
    pub fn new(crew: &Crew, spec: &Spec, limits: Limits, kv: KvType) -> Result<Self, OutOfMemory> {
        let codes = limits.batch * quantized_queries(spec, kv);
        let blocks = codes / BLOCK;
        Ok(Self { codes: crew.buffer(codes)?, scales: crew.buffer(blocks)?, sums: crew.buffer(blocks)? })
    }

    /// Bytes of it.
    pub fn bytes(spec: &Spec, limits: Limits, kv: KvType) -> u64 {
        let queries = quantized_queries(spec, kv);
        limits.batch as u64 * (queries + queries * 6 / 32) as u64
    }
}

/// The most codes that a token's queries take.
fn quantized_queries(spec: &Spec, kv: KvType) -> usize {
    if kv != KvType::Q8_0 {
        return 0;
    }
    let of_layer = |a: &Attention| a.heads * a.key_length.next_multiple_of(BLOCK);
    spec.layers.iter().map(|layer| of_layer(&layer.attention)).max().unwrap_or(0)
}

impl<E: Element> Plain<E> {
    fn new(crew: &Crew, attention: &Attention, limits: Limits) -> Result<Self, OutOfMemory> {
        let [keys, values] = plain_lens(attention).map(|len| buffer(crew, attention, limits, len));
        Ok(Self { keys: keys?, values: values? })
    }
}

impl Q8 {
    fn new(crew: &Crew, attention: &Attention, limits: Limits) -> Result<Self, OutOfMemory> {
        let [keys, values] = q8_lens(attention);
        Ok(Self {
            key_codes: buffer(crew, attention, limits, keys)?,
            key_scales: buffer(crew, attention, limits, keys / BLOCK)?,
            value_codes: buffer(crew, attention, limits, values)?,
            value_scales: buffer(crew, attention, limits, values / BLOCK)?,
        })
    }
}

/// A buffer of so many numbers for each chunk of a layer.
fn buffer<E: Element>(
    crew: &Crew,
    attention: &Attention,
    limits: Limits,
    len: usize,
) -> Result<Shared<E>, OutOfMemory> {
    let chunks = slots(attention, limits).checked_mul(attention.kv_heads);
    crew.buffer(chunks.and_then(|chunks| chunks.checked_mul(len)).ok_or(OutOfMemory(usize::MAX))?)
}
