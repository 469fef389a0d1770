use super::*;
use crate::quant::naive::Random;
use crate::quant::{Activation, quantize, shorten};
use crate::simd::{Level, Scalar};
use crate::spec::Attention;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use half::f16;

/// Shapes, and which positions are computed.
#[derive(Debug, Clone, Copy)]
struct Case {
    heads: usize,
    kv_heads: usize,
    key_length: usize,
    value_length: usize,
    window: Option<usize>,
    position: usize,
    tokens: usize,
    /// Chunks that the cache holds.
    slots: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    F16,
    F32,
    Q8,
}

/// Keys, values and queries.
struct Data {
    keys: Vec<f32>,
    values: Vec<f32>,
    queries: Vec<f32>,
}

impl Case {
    const PLAIN: Self = Self {
        heads: 6,
        kv_heads: 2,
        key_length: 64,
        value_length: 64,
        window: None,
        position: 0,
        tokens: 1,
        slots: 24,
    };

    fn attention(&self) -> Attention {
        let Case { heads, kv_heads, key_length, value_length, window, .. } = *self;
        let scale = 1.0 / math::sqrt(key_length as f32);
        Attention { heads, kv_heads, key_length, value_length, scale, window, rope: None, qk_norm: false }
    }

    fn end(&self) -> usize {
        self.position + self.tokens
    }

    fn data(&self, number: impl FnMut() -> f32) -> Data {
        let mut numbers = core::iter::repeat_with(number);
        let mut take = |len: usize| numbers.by_ref().take(len).collect();
        Data {
            keys: take(self.end() * self.kv_heads * self.key_length),
            values: take(self.end() * self.kv_heads * self.value_length),
            queries: take(self.tokens * self.heads * self.key_length),
        }
    }
}

/// What the cache makes of a vector.
fn stored(format: Format, vector: &[f32]) -> Vec<f32> {
    match format {
        Format::F32 => vector.to_vec(),
        Format::F16 => vector.iter().map(|x| f16::from_f32(*x).to_f32()).collect(),
        Format::Q8 => vector
            .chunks(32)
            .flat_map(|block| {
                let (codes, scale, _) = naive_block(block);
                let scale = f16::from_f32(scale).to_f32();
                codes.map(|code| f32::from(code) * scale).into_iter().take(block.len()).collect::<Vec<_>>()
            })
            .collect(),
    }
}

fn naive_block(block: &[f32]) -> ([i8; 32], f32, i16) {
    let mut filled = [0.0; 32];
    filled[..block.len()].copy_from_slice(block);
    let (mut codes, mut scale, mut sum) = ([0; 32], [0.0], [0]);
    quantize(Scalar, Activation::Q8, &filled, &mut codes, &mut scale, &mut sum);
    (codes, scale[0], sum[0])
}

fn naive_score(format: Format, query: &[f32], key: &[f32]) -> f32 {
    if format != Format::Q8 {
        return query.iter().zip(stored(format, key)).fold(0.0, |sum, (q, k)| sum + q * k);
    }
    query.chunks(32).zip(key.chunks(32)).fold(0.0, |sum, (q, k)| {
        let ((q, q_scale, _), (k, k_scale, _)) = (naive_block(q), naive_block(k));
        let products: i32 = q.iter().zip(k).map(|(q, k)| i32::from(*q) * i32::from(k)).sum();
        sum + f16::from_f32(k_scale).to_f32() * q_scale * products as f32
    })
}

/// The definition at the head of the module, one query after the other.
fn naive(case: &Case, format: Format, data: &Data) -> Vec<f32> {
    let attention = case.attention();
    let Attention { heads, kv_heads, key_length, value_length, scale, .. } = attention;
    let mut out = Vec::new();
    for (token, head) in (0..case.tokens).flat_map(|token| (0..heads).map(move |head| (token, head))) {
        let mut query = data.queries[(token * heads + head) * key_length..][..key_length].to_vec();
        if format == Format::F16 {
            shorten(Scalar, &mut query);
        }
        let kv = |j: usize, length: usize| (j * kv_heads + head / (heads / kv_heads)) * length;
        let seen = seen(&attention, case.position + token);
        let mut state: Option<(f32, f32, Vec<f32>)> = None;
        for span in spans(seen.clone()) {
            let positions = seen.start.max(span * SPAN)..seen.end.min((span + 1) * SPAN);
            let scores: Vec<f32> = positions
                .clone()
                .map(|j| scale * naive_score(format, &query, &data.keys[kv(j, key_length)..][..key_length]))
                .collect();
            let max = scores.iter().fold(f32::NEG_INFINITY, |max, x| if *x > max { *x } else { max });
            let exp = if format == Format::F16 { math::exp_short } else { math::exp };
            let weights: Vec<f32> = scores.iter().map(|x| exp(x - max)).collect();
            let mut lanes = [0.0f32; LANES];
            let mut sums = vec![0.0f32; value_length];
            for (j, weight) in positions.zip(&weights) {
                lanes[j % LANES] += weight;
                let value = stored(format, &data.values[kv(j, value_length)..][..value_length]);
                sums.iter_mut().zip(value).for_each(|(sum, v)| *sum += weight * v);
            }
            let part = (max, float::sum_lanes(lanes), sums);
            state = Some(match state {
                None => part,
                Some((max, sum, sums)) => {
                    let both = if part.0 > max { part.0 } else { max };
                    let (old, new) = (math::exp(max - both), math::exp(part.0 - both));
                    let sums = sums.iter().zip(&part.2).map(|(a, b)| a * old + b * new).collect();
                    (both, sum * old + part.1 * new, sums)
                }
            });
        }
        let (_, sum, sums) = state.expect("a token sees itself");
        out.extend(sums.iter().map(|x| x / sum));
    }
    out
}

/// Does one KV head at a time: fills its chunks, computes in blocks of tokens, and again span by span.
struct Whole<'a> {
    level: Level,
    case: &'a Case,
    format: Format,
    data: &'a Data,
}

/// How something was computed, and what came of it.
type Found = (String, Vec<f32>);

impl Whole<'_> {
    fn run(&self) -> Vec<Found> {
        match self.format {
            Format::F16 => self.plain::<u16>(),
            Format::F32 => self.plain::<f32>(),
            Format::Q8 => self.q8(),
        }
    }

    fn plain<E: KvElement>(&self) -> Vec<Found> {
        let Case { kv_heads, key_length, value_length, slots, .. } = *self.case;
        let lens = [key_length * CHUNK, value_length.next_multiple_of(16) * CHUNK];
        let [mut keys, mut values] = lens.map(|len| vec![E::ZERO; slots * kv_heads * len]);
        for chunk in 0..self.case.end().div_ceil(CHUNK) {
            for kv_head in 0..kv_heads {
                let [k, v] = lens.map(|len| self.part(chunk, kv_head, len));
                self.fill(chunk, kv_head, Chunk { keys: tile(&mut keys[k]), values: tile(&mut values[v]) });
            }
        }
        let mut queries = self.data.queries.clone();
        if E::Products::EXACT {
            self.level.run(Shorten(&mut queries));
        }
        self.compute(|kv_head| Cached {
            queries: &queries,
            key_length,
            value_length,
            slots: Slots { kv_head, kv_heads },
            keys: &keys,
            values: &values,
        })
    }

    fn q8(&self) -> Vec<Found> {
        let Case { kv_heads, key_length, value_length, slots, .. } = *self.case;
        let lens = [key_length, value_length].map(|length| length.next_multiple_of(32) * CHUNK);
        let [mut keys, mut values] =
            lens.map(|len| slots * kv_heads * len).map(|len| (vec![0i8; len], vec![0; len / 32]));
        for chunk in 0..self.case.end().div_ceil(CHUNK) {
            for kv_head in 0..kv_heads {
                let part = |len: usize| self.part(chunk, kv_head, len);
                let to = ChunkQ8 {
                    key_codes: tile(&mut keys.0[part(lens[0])]),
                    key_scales: tile(&mut keys.1[part(lens[0] / 32)]),
                    value_codes: tile(&mut values.0[part(lens[1])]),
                    value_scales: tile(&mut values.1[part(lens[1] / 32)]),
                };
                self.fill(chunk, kv_head, to);
            }
        }
        let (padded, count) = (key_length.next_multiple_of(32), self.data.queries.len() / key_length);
        let (mut codes, mut scales, mut sums) =
            (vec![0; count * padded], vec![0.0; count * padded / 32], vec![0; count * padded / 32]);
        for (i, query) in self.data.queries.chunks(key_length).enumerate() {
            let blocks = i * padded / 32..(i + 1) * padded / 32;
            let codes = &mut codes[i * padded..(i + 1) * padded];
            let (scales, sums) = (&mut scales[blocks.clone()], &mut sums[blocks]);
            self.level.run(QuantizeQuery { query, codes, scales, sums });
        }
        self.compute(|kv_head| CachedQ8 {
            queries: QuantizedQueries { codes: &codes, scales: &scales, sums: &sums },
            key_length,
            value_length,
            slots: Slots { kv_head, kv_heads },
            key_codes: &keys.0,
            key_scales: &keys.1,
            value_codes: &values.0,
            value_scales: &values.1,
        })
    }

    /// Where the cache has a chunk of `len` numbers.
    fn part(&self, chunk: usize, kv_head: usize, len: usize) -> Range<usize> {
        let Case { slots, kv_heads, .. } = *self.case;
        let (slot, group) = (chunk % slots, group_of(slots));
        let index = (slot / group * kv_heads + kv_head) * group + slot % group;
        index * len..(index + 1) * len
    }

    fn fill(&self, chunk: usize, kv_head: usize, to: impl ChunkMut) {
        self.level.run(Fill { case: self.case, data: self.data, chunk, kv_head, to });
    }

    fn compute<H: Head>(&self, head: impl Fn(usize) -> H) -> Vec<Found> {
        let tokens = self.case.tokens;
        let mut blocks = vec![1, 5, tokens];
        blocks.retain(|block| *block <= tokens);
        blocks.dedup();
        let in_blocks = |block: usize| (format!("blocks of {block}"), self.in_blocks(&head, block));
        let mut found: Vec<_> = blocks.into_iter().map(in_blocks).collect();
        found.push(("spans".into(), self.in_spans(&head)));
        found
    }

    /// In blocks of `block` tokens.
    fn in_blocks<H: Head>(&self, head: &impl Fn(usize) -> H, block: usize) -> Vec<f32> {
        let attention = &self.case.attention();
        let Case { heads, kv_heads, value_length, position, tokens, .. } = *self.case;
        let mut scratch = Scratch::default();
        let (width, length) = (heads / kv_heads * value_length, heads * value_length);
        let mut blocks = vec![0.0; tokens * length];
        for kv_head in 0..kv_heads {
            for first in (0..tokens).step_by(block) {
                let tokens = first..(first + block).min(tokens);
                let rows = &mut blocks[tokens.start * length..tokens.end * length];
                let out = Out::Heads(Tile::new(rows, length, kv_head * width..(kv_head + 1) * width));
                let position = position + tokens.start;
                let work = Attend { attention, kv_head, head: head(kv_head), tokens, position, out };
                self.level.run(InScratch { work, scratch: &mut scratch });
            }
        }
        blocks
    }

    /// Span by span.
    fn in_spans<H: Head>(&self, head: &impl Fn(usize) -> H) -> Vec<f32> {
        let attention = &self.case.attention();
        let Case { heads, kv_heads, value_length, position, tokens, .. } = *self.case;
        let mut scratch = Scratch::default();
        let spans = spans(seen(attention, position).start..position + tokens);
        let part = PartialSums::len(tokens * heads / kv_heads, value_length);
        let mut partial = vec![0.0; kv_heads * spans.len() * part];
        for kv_head in 0..kv_heads {
            for (i, span) in spans.clone().enumerate() {
                let numbers = &mut partial[(i * kv_heads + kv_head) * part..][..part];
                let out = Out::Span(span, PartialSums { numbers, value_length });
                let work = Attend { attention, kv_head, head: head(kv_head), tokens: 0..tokens, position, out };
                self.level.run(InScratch { work, scratch: &mut scratch });
            }
        }
        let length = heads * value_length;
        let mut merged = vec![0.0; tokens * length];
        for (token, out) in merged.chunks_mut(length).enumerate() {
            let merge =
                Merge { attention, token, position: position + token, tokens, spans: spans.clone(), partial: &partial };
            merge.heads(0, out);
        }
        merged
    }
}

/// Fills a chunk of one KV head.
struct Fill<'a, C> {
    case: &'a Case,
    data: &'a Data,
    chunk: usize,
    kv_head: usize,
    to: C,
}

impl<C: ChunkMut> Kernel for Fill<'_, C> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Case { kv_heads, key_length, value_length, .. } = *self.case;
        for position in self.chunk * CHUNK..((self.chunk + 1) * CHUNK).min(self.case.end()) {
            let head = position * kv_heads + self.kv_head;
            self.to.set_key(s, position % CHUNK, &self.data.keys[head * key_length..][..key_length]);
            self.to.set_value(s, position % CHUNK, &self.data.values[head * value_length..][..value_length]);
        }
    }
}

struct QuantizeQuery<'a> {
    query: &'a [f32],
    codes: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i16],
}

impl Kernel for QuantizeQuery<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        quantize_query(s, self.query, self.codes, self.scales, self.sums);
    }
}

struct Shorten<'a>(&'a mut [f32]);

impl Kernel for Shorten<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        shorten(s, self.0);
    }
}

fn tile<E>(row: &mut [E]) -> Tile<'_, E> {
    let len = row.len();
    Tile::new(row, len, 0..len)
}

/// NaN of any bits counts as one.
fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() }).collect()
}

fn check(case: Case, number: impl FnMut() -> f32) {
    let data = case.data(number);
    for format in [Format::F16, Format::F32, Format::Q8] {
        let expected = bits(&naive(&case, format, &data));
        for level in Level::available() {
            for (what, found) in (Whole { level, case: &case, format, data: &data }).run() {
                let differ = bits(&found).iter().zip(&expected).filter(|(a, b)| a != b).count();
                assert!(differ == 0, "{level} {format:?} {case:?}, {what}: {differ} differ");
            }
        }
    }
}

fn random(seed: u64) -> impl FnMut() -> f32 {
    let mut random = Random(seed);
    move || random.next() as u16 as f32 / 16384.0 - 2.0
}

#[test]
fn every_shape_follows_the_definition() {
    for (i, length) in [64, 80, 96, 128, 256, 1, 15, 33, 100].into_iter().enumerate() {
        for (heads, kv_heads) in [(1, 1), (4, 2), (9, 3), (7, 1)] {
            let shape = Case { heads, kv_heads, key_length: length, value_length: length, ..Case::PLAIN };
            check(Case { position: 60, tokens: 7, ..shape }, random(i as u64));
            check(Case { value_length: 40, tokens: 3, ..shape }, random(77));
        }
    }
    for group in 1..=8 {
        check(Case { heads: group, kv_heads: 1, position: 120, tokens: 10, ..Case::PLAIN }, random(group as u64));
    }
}

#[test]
fn chunks_and_spans_are_crossed() {
    for position in [0, 1, 50, 63, 64, 500, 505, 511, 512, 1020] {
        check(Case { position, tokens: 20, ..Case::PLAIN }, random(position as u64));
        check(Case { position, tokens: 1, ..Case::PLAIN }, random(1));
    }
}

#[test]
fn windows_see_what_is_left_of_a_ring() {
    for window in [1, 12, 64, 100, 512, 600] {
        let window_case = Case { window: Some(window), ..Case::PLAIN };
        for position in [0, 70, 511, 520, 1023, 1100] {
            for tokens in [1, 20] {
                let slots = whole_groups((window + tokens).div_ceil(CHUNK) + 1);
                check(Case { position, tokens, slots, ..window_case }, random(window as u64));
            }
        }
    }
}

#[test]
fn many_tokens_at_once() {
    check(Case { tokens: 150, ..Case::PLAIN }, random(3));
    check(
        Case { tokens: 130, position: 450, heads: 60, kv_heads: 1, key_length: 8, value_length: 8, ..Case::PLAIN },
        random(4),
    );
    check(Case { tokens: 100, heads: 2, window: Some(30), position: 480, ..Case::PLAIN }, random(5));
}

#[test]
fn extreme_numbers() {
    let extremes = [0.0, -0.0, 1.0, -1.0, 65504.0, -70000.0, f32::MIN_POSITIVE, 1e30, -1e30, 1e-7];
    let more = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX];
    for seed in 0..6 {
        let mut random = Random(seed);
        let mut rare = Random(seed + 100);
        check(Case { position: 500, tokens: 20, ..Case::PLAIN }, move || {
            if seed >= 3 && rare.next().is_multiple_of(4096) {
                more[random.next() as usize % more.len()]
            } else {
                extremes[random.next() as usize % extremes.len()]
            }
        });
    }
}
