//! The content of a KV cache as bytes. They depend on the tokens alone: not on the session's context or batch, and so on
//! the length of its rings, nor on its instruction set.
//!
//! Layer by layer and buffer by buffer (keys and values, or codes and scales of keys and then of values), the chunks of 64
//! positions follow each other, each KV head by KV head. A chunk is made of stripes: so many numbers of one position, then
//! of the next. Of each stripe the positions that are filled are written, little-endian: only the last chunk's are not all
//! of them. Codes of keys are signed.

use alloc::vec::Vec;
use core::ops::Range;

use super::kv_cache::{self, KvCache, KvType, Layers, Plain, Q8};
use crate::bytes::{Element, Shared};
use crate::kernels::attention::{BLOCK, CHUNK, KvElement, Slots};
use crate::simd::{Kernel, Level, Simd};
use crate::spec::{Attention, Spec};

/// The positions whose keys and values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Layers with a window keep what tokens from this position on see; others everything.
    pub oldest: usize,
    /// Positions that are filled.
    pub end: usize,
}

impl Kept {
    /// Bytes of the keys and values.
    pub fn bytes(self, spec: &Spec, kv: KvType) -> u64 {
        let of_layer = |attention: &Attention| {
            let numbers = self.positions(attention).len() as u64 * kv_cache::position_bytes(attention, kv);
            numbers * attention.kv_heads as u64
        };
        spec.layers.iter().map(|layer| of_layer(&layer.attention)).sum()
    }

    /// The positions of a layer that are written, from the start of a chunk on.
    fn positions(self, attention: &Attention) -> Range<usize> {
        let first = attention.window.map_or(0, |window| (self.oldest + 1).saturating_sub(window));
        first / CHUNK * CHUNK..self.end
    }
}

impl KvCache {
    /// Appends keys and values, as a pass at `level` left them, to `out`: [`Kept::bytes`] bytes.
    pub fn save(&mut self, spec: &Spec, level: Level, kept: Kept, out: &mut Vec<u8>) {
        visit(self, spec, level, kept, &mut Save { out });
    }

    /// Sets keys and values to what [`KvCache::save`] wrote, at any level; `end` of `kept` is within this cache's context. Of
    /// a ring that has not room for all of them, the last stay.
    ///
    /// # Panics
    /// Where `bytes` are fewer than [`Kept::bytes`].
    pub fn load(&mut self, spec: &Spec, level: Level, kept: Kept, bytes: &[u8]) {
        visit(self, spec, level, kept, &mut Load { bytes });
    }
}

/// A number of the cache.
trait Stored: Element {
    /// Writes numbers to as many bytes, each of these xor `flip`.
    fn put(numbers: &[Self], to: &mut [u8], flip: u8);
    /// Reads what [`Stored::put`] wrote.
    fn get(numbers: &mut [Self], from: &[u8], flip: u8);
}

macro_rules! stored {
    ($($t:ty)*) => { $(impl Stored for $t {
        fn put(numbers: &[Self], to: &mut [u8], flip: u8) {
            for (number, to) in numbers.iter().zip(to.as_chunks_mut().0) {
                *to = number.to_le_bytes().map(|byte| byte ^ flip);
            }
        }
        fn get(numbers: &mut [Self], from: &[u8], flip: u8) {
            for (number, from) in numbers.iter_mut().zip(from.as_chunks().0) {
                *number = Self::from_le_bytes(from.map(|byte| byte ^ flip));
            }
        }
    })* };
}
stored!(i8 u16 f32);

/// What is done with the runs of numbers that belong to a snapshot, in their order.
trait Visit {
    fn run<E: Stored>(&mut self, numbers: &mut [E], flip: u8);
}

struct Save<'a> {
    out: &'a mut Vec<u8>,
}

impl Visit for Save<'_> {
    fn run<E: Stored>(&mut self, numbers: &mut [E], flip: u8) {
        let start = self.out.len();
        self.out.resize(start + size_of_val(numbers), 0);
        E::put(numbers, &mut self.out[start..], flip);
    }
}

struct Load<'a> {
    bytes: &'a [u8],
}

impl Visit for Load<'_> {
    fn run<E: Stored>(&mut self, numbers: &mut [E], flip: u8) {
        let (run, rest) = self.bytes.split_at(size_of_val(numbers));
        E::get(numbers, run, flip);
        self.bytes = rest;
    }
}

fn visit(cache: &mut KvCache, spec: &Spec, level: Level, kept: Kept, to: &mut impl Visit) {
    let layers = spec.layers.iter().map(|layer| Part { attention: &layer.attention, kept, stripe: 1, flip: 0 });
    match cache.layers() {
        Layers::F16(caches) => layers.zip(caches).for_each(|(part, cache)| part.plain(cache, to)),
        Layers::F32(caches) => layers.zip(caches).for_each(|(part, cache)| part.plain(cache, to)),
        Layers::Q8(caches) => {
            let flip = if level.run(KeysAreUnsigned) { 0x80 } else { 0 };
            layers.zip(caches).for_each(|(part, cache)| part.quantized(cache, flip, to));
        }
    }
}

/// Whether a level has 128 added to the codes of keys.
struct KeysAreUnsigned;

impl Kernel for KeysAreUnsigned {
    type Out = bool;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        S::PREFERS_UNSIGNED
    }
}

/// One buffer of a layer.
#[derive(Clone, Copy)]
struct Part<'a> {
    attention: &'a Attention,
    kept: Kept,
    /// Numbers of one position that follow each other.
    stripe: usize,
    /// By what its bytes differ from a snapshot's.
    flip: u8,
}

impl Part<'_> {
    fn plain<E: KvElement + Stored>(self, cache: &mut Plain<E>, to: &mut impl Visit) {
        let [keys, values] = kv_cache::plain_lens(self.attention);
        self.runs(&mut cache.keys, keys, to);
        Self { stripe: BLOCK, ..self }.runs(&mut cache.values, values, to);
    }

    fn quantized(self, cache: &mut Q8, flip: u8, to: &mut impl Visit) {
        let [keys, values] = kv_cache::q8_lens(self.attention);
        Self { stripe: 4, flip, ..self }.runs(&mut cache.key_codes, keys, to);
        self.runs(&mut cache.key_scales, keys / kv_cache::BLOCK, to);
        Self { stripe: BLOCK, ..self }.runs(&mut cache.value_codes, values, to);
        self.runs(&mut cache.value_scales, values / kv_cache::BLOCK, to);
    }

    /// Hands over the filled part of every stripe of a buffer, whose chunks have `len` numbers.
    fn runs<E: Stored>(self, buffer: &mut Shared<E>, len: usize, to: &mut impl Visit) {
        let (numbers, kv_heads) = (buffer.get_mut(), self.attention.kv_heads);
        let positions = self.kept.positions(self.attention);
        for chunk in positions.start / CHUNK..positions.end.div_ceil(CHUNK) {
            let filled = CHUNK.min(positions.end - chunk * CHUNK);
            for kv_head in 0..kv_heads {
                let place = Slots { kv_head, kv_heads }.place(numbers.len(), len, chunk);
                for stripe in numbers[place].chunks_mut(self.stripe * CHUNK) {
                    let filled = stripe.len() / CHUNK * filled;
                    to.run(&mut stripe[..filled], self.flip);
                }
            }
        }
    }
}
