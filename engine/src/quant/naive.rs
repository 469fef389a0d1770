//! The formats once more, element by element and without [`Simd`](crate::simd::Simd), for tests to compare with; and
//! rows to try them on.

use super::{Activation, ColumnData, Columns, TensorType, shorten};
use crate::simd::Scalar;
use alloc::vec;
use alloc::vec::Vec;
use half::f16;

/// A deterministic stream of numbers (the MMIX linear congruential generator).
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// Between -1 and 1.
    pub fn float(&mut self) -> f32 {
        self.next() as f32 / (1u32 << 30) as f32 - 1.0
    }
}

/// What a row's bytes are made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fill {
    Random,
    /// The same byte everywhere but in the scales.
    Byte(u8),
    /// Random, with subnormal scales.
    Subnormal,
}

impl Fill {
    pub const ALL: [Fill; 6] =
        [Fill::Random, Fill::Byte(0), Fill::Byte(0xFF), Fill::Byte(0x80), Fill::Byte(0x7F), Fill::Subnormal];
}

/// `count` blocks of a type with finite scales.
pub(crate) fn blocks(kind: TensorType, count: usize, fill: Fill, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; count * kind.block_bytes()];
    for block in bytes.chunks_mut(kind.block_bytes()) {
        for byte in block.iter_mut() {
            *byte = match fill {
                Fill::Byte(byte) => byte,
                _ => random.next() as u8,
            };
        }
        finite_scales(kind, block, fill, random);
    }
    bytes
}

fn finite_scales(kind: TensorType, block: &mut [u8], fill: Fill, random: &mut Random) {
    let mut scale = || match fill {
        Fill::Subnormal => (random.next() as u16) & 0x83FF,
        _ => f16::from_f32(random.float() * 0.1).to_bits(),
    };
    match kind {
        TensorType::F32 => block.copy_from_slice(&f16::from_bits(scale()).to_f32().to_le_bytes()),
        TensorType::BF16 => block[1] &= 0xBF,
        TensorType::MXFP4 => {
            block[0] = if fill == Fill::Subnormal { random.next() as u8 & 3 } else { 120 + (block[0] & 7) }
        }
        _ => {
            for at in scale_offsets(kind) {
                block[at..at + 2].copy_from_slice(&scale().to_le_bytes());
            }
        }
    }
}

fn scale_offsets(kind: TensorType) -> Vec<usize> {
    match kind {
        TensorType::Q4_1 | TensorType::Q5_1 | TensorType::Q4_K | TensorType::Q5_K => vec![0, 2],
        TensorType::Q2_K => vec![80, 82],
        TensorType::Q3_K => vec![108],
        TensorType::Q6_K => vec![208],
        _ => vec![0],
    }
}

/// A block as integers.
pub(crate) struct Block {
    /// With their offset subtracted.
    pub codes: Vec<i32>,
    /// One for each 16 codes; 1 for blocks of 32.
    pub scales: Vec<i32>,
    pub mins: Vec<i32>,
    pub d: f32,
    pub m: f32,
}

pub(crate) fn block(kind: TensorType, b: &[u8]) -> Block {
    let offsets = scale_offsets(kind);
    let half = |at: usize| f16::from_le_bytes([b[at], b[at + 1]]).to_f32();
    let d = if kind == TensorType::MXFP4 { 2f64.powi(b[0] as i32 - 128) as f32 } else { half(offsets[0]) };
    let m = if offsets.len() == 2 { half(offsets[1]) } else { 0.0 };
    let len = kind.block_len();
    Block {
        codes: (0..len).map(|i| code(kind, b, i)).collect(),
        scales: (0..len / 16).map(|j| scale(kind, b, j)).collect(),
        mins: (0..len / 16).map(|j| min(kind, b, j)).collect(),
        d,
        m,
    }
}

/// Bits `low..low + count` of a byte.
fn bits(byte: u8, low: usize, count: usize) -> i32 {
    (byte >> low) as i32 & ((1 << count) - 1)
}

/// Element `i` of the nibbles of a block of 32.
fn nibble32(nibbles: &[u8], i: usize) -> i32 {
    bits(nibbles[i % 16], 4 * (i / 16), 4)
}

/// Element `i` of the nibbles of Q4_K.
fn nibble256(nibbles: &[u8], i: usize) -> i32 {
    bits(nibbles[i / 64 * 32 + i % 32], i / 32 % 2 * 4, 4)
}

fn two_bits(bytes: &[u8], i: usize) -> i32 {
    bits(bytes[i / 128 * 32 + i % 32], i / 32 % 4 * 2, 2)
}

fn level(index: i32) -> i32 {
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113][index as usize]
}

fn code(kind: TensorType, b: &[u8], i: usize) -> i32 {
    match kind {
        TensorType::Q4_0 => nibble32(&b[2..], i) - 8,
        TensorType::Q4_1 => nibble32(&b[4..], i),
        TensorType::Q5_0 => (nibble32(&b[6..], i) | bits(b[2 + i / 8], i % 8, 1) << 4) - 16,
        TensorType::Q5_1 => nibble32(&b[8..], i) | bits(b[4 + i / 8], i % 8, 1) << 4,
        TensorType::Q8_0 => b[2 + i] as i8 as i32,
        TensorType::Q2_K => two_bits(&b[16..], i),
        TensorType::Q3_K => (two_bits(&b[32..], i) | bits(b[i % 32], i / 32, 1) << 2) - 4,
        TensorType::Q4_K => nibble256(&b[16..], i),
        TensorType::Q5_K => nibble256(&b[48..], i) | bits(b[16 + i % 32], i / 32, 1) << 4,
        TensorType::Q6_K => {
            let low = bits(b[i / 128 * 64 + i % 64], i / 64 % 2 * 4, 4);
            (low | two_bits(&b[128..], i) << 4) - 32
        }
        TensorType::IQ4_NL => level(nibble32(&b[2..], i)),
        TensorType::IQ4_XS => level(nibble32(&b[8 + i / 32 * 16..], i % 32)),
        TensorType::MXFP4 => {
            let q = nibble32(&b[1..], i);
            [0, 1, 2, 3, 4, 6, 8, 12][q as usize & 7] * if q >= 8 { -1 } else { 1 }
        }
        TensorType::F32 | TensorType::F16 | TensorType::BF16 => unreachable!("floats have no codes"),
    }
}

/// Scale of codes `16j` and up.
fn scale(kind: TensorType, b: &[u8], j: usize) -> i32 {
    match kind {
        TensorType::Q2_K => bits(b[j], 0, 4),
        TensorType::Q3_K => (bits(b[96 + j % 8], j / 8 * 4, 4) | bits(b[104 + j % 4], j / 4 * 2, 2) << 4) - 32,
        TensorType::Q4_K | TensorType::Q5_K => {
            let (s, j) = (&b[4..16], j / 2);
            if j < 4 { bits(s[j], 0, 6) } else { bits(s[j + 4], 0, 4) | bits(s[j - 4], 6, 2) << 4 }
        }
        TensorType::Q6_K => b[192 + j] as i8 as i32,
        TensorType::IQ4_XS => {
            let j = j / 2;
            (bits(b[4 + j / 2], j % 2 * 4, 4) | bits(b[2 + j / 4], j % 4 * 2, 2) << 4) - 32
        }
        _ => 1,
    }
}

/// Minimum of codes `16j` and up.
fn min(kind: TensorType, b: &[u8], j: usize) -> i32 {
    match kind {
        TensorType::Q4_1 | TensorType::Q5_1 => 1,
        TensorType::Q2_K => bits(b[j], 4, 4),
        TensorType::Q4_K | TensorType::Q5_K => {
            let (s, j) = (&b[4..16], j / 2);
            if j < 4 { bits(s[j + 4], 0, 6) } else { bits(s[j + 4], 4, 4) | bits(s[j], 6, 2) << 4 }
        }
        _ => 0,
    }
}

/// The canonical dot product of a row and column `c`.
pub(crate) fn dot(kind: TensorType, row: &[u8], columns: &Columns<'_>, c: usize) -> f32 {
    let len = kind.block_len();
    let (qs, d) = match columns.data {
        ColumnData::F32(x) | ColumnData::Short(x) => return float_dot(kind, row, &x[c * columns.k..][..columns.k]),
        ColumnData::Q8 { qs, d, .. } | ColumnData::Q8K { qs, d, .. } => (qs, d),
    };
    let stride = columns.activation().stride(columns.k);
    let mut y = 0.0;
    for (b, bytes) in row.chunks(kind.block_bytes()).enumerate() {
        let block = block(kind, bytes);
        let sums = |c: usize| sums(&block, &qs[c * stride + b * len..][..len]);
        let dx = |c: usize| d[c * (stride / len) + b];
        y += match columns.wide {
            true => {
                let ([i, m], [i_low, m_low]) = (sums(c), sums(columns.n + c));
                term(kind, &block, [128.0 * i + i_low, 128.0 * m + m_low], dx(columns.n + c))
            }
            false => term(kind, &block, sums(c), dx(c)),
        }
    }
    y
}

/// The sums of products with codes, and with minima.
fn sums(block: &Block, x: &[i8]) -> [f32; 2] {
    let (mut i, mut m) = (0, 0);
    for (j, x) in x.iter().enumerate() {
        i += block.scales[j / 16] * block.codes[j] * *x as i32;
        m += block.mins[j / 16] * *x as i32;
    }
    [i as f32, m as f32]
}

fn term(kind: TensorType, block: &Block, [i, m]: [f32; 2], dx: f32) -> f32 {
    let product = block.d * i;
    dx * match kind {
        TensorType::Q4_1 | TensorType::Q5_1 => product + block.m * m,
        TensorType::Q2_K | TensorType::Q4_K | TensorType::Q5_K => product - block.m * m,
        _ => product,
    }
}

fn float_dot(kind: TensorType, row: &[u8], x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (i, (bytes, x)) in row.chunks(kind.block_bytes()).zip(x).enumerate() {
        lanes[i % 16] += float(kind, bytes) * x;
    }
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
    }
    lanes[0]
}

/// An element of a floating-point type.
pub(crate) fn float(kind: TensorType, bytes: &[u8]) -> f32 {
    match kind {
        TensorType::F32 => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        TensorType::F16 => f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        _ => f32::from_bits((bytes[0] as u32) << 16 | (bytes[1] as u32) << 24),
    }
}

/// Columns that own their data.
pub(crate) struct Owned {
    pub k: usize,
    pub n: usize,
    pub wide: bool,
    pub floats: Vec<f32>,
    pub qs: Vec<i8>,
    pub d: Vec<f32>,
    pub sums: Vec<i16>,
}

impl Owned {
    /// Random activations; where `extreme`, codes are all 127 or -127.
    pub fn random(kind: Activation, k: usize, n: usize, extreme: bool, random: &mut Random) -> Self {
        let mut floats: Vec<f32> = (0..n * k).map(|_| random.float()).collect();
        if kind == Activation::Short {
            shorten(Scalar, &mut floats);
        }
        let (codes, scales, sums) = kind.lens(kind.stride(k));
        let code = |r: u32| if extreme { (r as i32 & 1) * 254 - 127 } else { r as i32 % 255 - 127 };
        let qs: Vec<i8> = (0..n * codes).map(|_| code(random.next() >> 3) as i8).collect();
        let d = (0..n * scales).map(|_| random.float() * 0.1).collect();
        let per_sum = codes.checked_div(sums).unwrap_or(1);
        let sums = qs.chunks(per_sum).map(|qs| qs.iter().map(|&q| q as i16).sum()).collect();
        Self { k, n, wide: false, floats, qs, d, sums }
    }

    /// The same with second codes.
    pub fn random_wide(kind: Activation, k: usize, n: usize, extreme: bool, random: &mut Random) -> Self {
        Self { n, wide: true, ..Self::random(kind, k, 2 * n, extreme, random) }
    }

    pub fn view(&self, kind: Activation) -> Columns<'_> {
        let data = match kind {
            Activation::F32 => ColumnData::F32(&self.floats),
            Activation::Short => ColumnData::Short(&self.floats),
            Activation::Q8 => ColumnData::Q8 { qs: &self.qs, d: &self.d, sums: &self.sums },
            Activation::Q8K => ColumnData::Q8K { qs: &self.qs, d: &self.d, sums: &self.sums },
        };
        Columns { k: self.k, n: self.n, wide: self.wide, data }
    }
}
