use super::naive::{self, Fill, Random};
use super::*;
use crate::simd::{Kernel, Level, Simd};
use alloc::vec;
use alloc::vec::Vec;

/// FNV-1a over the bits of floats.
fn hash(floats: &[f32]) -> u64 {
    let bytes = floats.iter().flat_map(|y| y.to_bits().to_le_bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |h, byte| (h ^ byte as u64).wrapping_mul(0x100_0000_01B3))
}

/// The hash of what ggml's `dequantize_row_*` makes of the blocks below.
fn published(kind: TensorType) -> u64 {
    match kind {
        TensorType::F32 => 0x35D2_862D_0948_23BA,
        TensorType::F16 => 0xF13F_4C80_FE00_19EA,
        TensorType::Q4_0 => 0xA31C_B7BF_24C5_86C1,
        TensorType::Q4_1 => 0x00B8_63F3_E8E1_B985,
        TensorType::Q5_0 => 0xBAA6_CC35_19B7_72E7,
        TensorType::Q5_1 => 0xCF64_2868_59B0_968D,
        TensorType::Q8_0 => 0x30DA_5551_5BE1_4BC0,
        TensorType::Q2_K => 0x052E_3F61_EA86_E56A,
        TensorType::Q3_K => 0xCC57_3467_2C5D_5CA7,
        TensorType::Q4_K => 0xE51E_492A_1C6D_B0C0,
        TensorType::Q5_K => 0x8E6A_7AE0_3FCB_FA7E,
        TensorType::Q6_K => 0x3E1B_DEFF_6C91_F66D,
        TensorType::IQ4_NL => 0x961F_576B_CC17_D627,
        TensorType::IQ4_XS => 0x91E8_9095_231A_9D1D,
        TensorType::BF16 => 0xCB53_B13E_71DB_83D3,
        TensorType::MXFP4 => 0x1688_B5EA_E35B_17EF,
    }
}

#[test]
fn dequantizes_as_the_published_format() {
    for &kind in TensorType::ALL {
        let bytes = naive::blocks(kind, 4096 / kind.block_len(), Fill::Random, &mut Random(kind.id() as u64));
        let mut out = vec![0.0; 4096];
        dequantize_row(kind, &bytes, &mut out);
        assert_eq!(hash(&out), published(kind), "{}: {:#018X}", kind.name(), hash(&out));
    }
}

#[test]
fn dequantizes_as_element_by_element() {
    for &kind in TensorType::ALL.iter().filter(|kind| kind.block_len() > 1) {
        for fill in Fill::ALL {
            let bytes = naive::blocks(kind, 3, fill, &mut Random(1));
            let mut out = vec![0.0; 3 * kind.block_len()];
            dequantize_row(kind, &bytes, &mut out);
            for (bytes, out) in bytes.chunks(kind.block_bytes()).zip(out.chunks(kind.block_len())) {
                let block = naive::block(kind, bytes);
                for (i, y) in out.iter().enumerate() {
                    let (scale, min) = (block.scales[i / 16] as f32, block.mins[i / 16] as f32);
                    let product = block.d * scale * block.codes[i] as f32;
                    let expected = match kind {
                        TensorType::Q4_1 | TensorType::Q5_1 => product + block.m,
                        _ => product - block.m * min,
                    };
                    assert_eq!(*y, expected, "{} {fill:?} element {i}", kind.name());
                }
            }
        }
    }
}

#[test]
fn dequantizes_floats() {
    for kind in [TensorType::F32, TensorType::F16, TensorType::BF16] {
        let bytes = naive::blocks(kind, 21, Fill::Random, &mut Random(3));
        let mut out = vec![0.0; 21];
        dequantize_row(kind, &bytes, &mut out);
        let expected: Vec<f32> = bytes.chunks(kind.block_bytes()).map(|bytes| naive::float(kind, bytes)).collect();
        assert_eq!(out, expected, "{}", kind.name());
    }
}

struct Quantize<'a> {
    kind: Activation,
    x: &'a [f32],
    /// The scales of the first codes, where these are what they leave.
    first: Option<&'a [f32]>,
}

impl Kernel for Quantize<'_> {
    type Out = (Vec<i8>, Vec<u32>, Vec<i16>);

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Out {
        let (codes, scales, sums) = self.kind.lens(self.x.len());
        let (mut qs, mut d, mut sums) = (vec![1; codes], vec![1.0; scales], vec![1; sums]);
        match self.first {
            None => quantize(s, self.kind, self.x, &mut qs, &mut d, &mut sums),
            Some(first) => quantize_rest(s, self.kind, self.x, first, &mut qs, &mut d, &mut sums),
        }
        (qs, d.iter().map(|d| if d.is_nan() { u32::MAX } else { d.to_bits() }).collect(), sums)
    }
}

/// Codes, scales and sums of `x`, the same at every level.
fn quantized(kind: Activation, x: &[f32]) -> (Vec<i8>, Vec<f32>, Vec<i16>) {
    same_at_every_level(|level| level.run(Quantize { kind, x, first: None }))
}

fn same_at_every_level(run: impl Fn(Level) -> (Vec<i8>, Vec<u32>, Vec<i16>)) -> (Vec<i8>, Vec<f32>, Vec<i16>) {
    let expected = run(Level::Scalar);
    for level in Level::available() {
        assert_eq!(run(level), expected, "{level}");
    }
    (expected.0, expected.1.into_iter().map(f32::from_bits).collect(), expected.2)
}

struct Shorten(f32);

impl Kernel for Shorten {
    type Out = [u32; 17];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Out {
        let mut x = [self.0; 17];
        shorten(s, &mut x);
        x.map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() })
    }
}

#[test]
fn short_activations_have_exact_products_with_halfs() {
    let mut random = Random(7);
    let special = [0.0, -0.0, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(1)];
    let power = |power: i32| 2f64.powi(power) as f32;
    let some = (-149..=127).flat_map(|p| [1.0, -1.0, random.float(), random.float()].map(|x| x * power(p)));
    for x in special.into_iter().chain(some) {
        let expected = Level::Scalar.run(Shorten(x));
        for level in Level::available() {
            assert_eq!(level.run(Shorten(x)), expected, "{x:e} at {level}");
        }
        assert_eq!(expected, [expected[0]; 17], "the last is as those of a whole vector");
        let short = f32::from_bits(expected[0]);
        assert!((short - x.clamp(-MOST, MOST)).abs() <= x.abs() / 8192.0 + power(-101), "{x:e} became {short:e}");
        for half in (0..=u16::MAX).step_by(97).map(half::f16::from_bits).filter(|half| half.is_finite()) {
            let exact = f64::from(half.to_f32()) * f64::from(short);
            assert_eq!(f64::from(half.to_f32() * short), exact, "{half:e} times {short:e} for {x:e}");
        }
    }
    const MOST: f32 = f32::from_bits((127 + 110) << 23);
    assert_eq!(Level::Scalar.run(Shorten(f32::NAN)), [u32::MAX; 17]);
}

#[test]
fn quantizes_random_activations() {
    let mut random = Random(5);
    for kind in [Activation::Q8, Activation::Q8K] {
        let x: Vec<f32> = (0..1024).map(|i| random.float() * 10f32.powi(i / 64 - 8)).collect();
        let (qs, d, sums) = quantized(kind, &x);
        let len = kind.block_len();
        for (b, x) in x.chunks(len).enumerate() {
            let max = x.iter().fold(0f32, |max, x| max.max(x.abs()));
            assert_eq!(d[b], max / 127.0);
            for (i, x) in x.iter().enumerate() {
                assert_eq!(qs[b * len + i] as f32, (x * (127.0 / max)).round_ties_even(), "{kind:?} block {b}");
            }
        }
        let per_sum = qs.len() / sums.len();
        let expected: Vec<i16> = qs.chunks(per_sum).map(|qs| qs.iter().map(|&q| q as i16).sum()).collect();
        assert_eq!(sums, expected);
    }
}

#[test]
fn quantizes_what_codes_leave() {
    let mut random = Random(6);
    for (kind, len) in [(Activation::Q8, 992), (Activation::Q8K, 1024)] {
        let mut x: Vec<f32> = (0..len).map(|i| random.float() * 10f32.powi(i as i32 / 64 - 8)).collect();
        x[256..512].fill(0.0);
        // Their factor is beyond all floats.
        x[512..768].fill(1e-36);
        let (qs, d, _) = quantized(kind, &x);
        let scale = |i: usize| d[i / kind.block_len()];
        let rest: Vec<f32> = x.iter().zip(&qs).enumerate().map(|(i, (x, q))| x - scale(i) * *q as f32).collect();
        let (codes, scales, sums) =
            same_at_every_level(|level| level.run(Quantize { kind, x: &rest, first: Some(&d) }));
        for (i, (code, rest)) in codes.iter().zip(&rest).enumerate() {
            let factor = 128.0 / scale(i);
            let expected = if factor.is_finite() { (rest * factor).round_ties_even() } else { 0.0 };
            assert_eq!(*code as f32, expected, "{kind:?} {i}");
            assert!(code.unsigned_abs() <= 64, "{kind:?} {i}: {code}");
            assert_eq!(scales[i / kind.block_len()], scale(i) / 128.0);
        }
        let expected: Vec<i16> =
            codes.chunks(len / sums.len()).map(|codes| codes.iter().map(|&code| code as i16).sum()).collect();
        assert_eq!(sums, expected);
    }
    let (codes, scales, _) = same_at_every_level(|level| {
        level.run(Quantize { kind: Activation::Q8, x: &[1.0; 32], first: Some(&[f32::NAN]) })
    });
    assert!(codes.iter().all(|&code| code == 0) && scales[0].is_nan());
}

#[test]
fn quantizes_ties_to_even() {
    let mut x = [0.0; 32];
    x[..8].copy_from_slice(&[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5]);
    let (qs, d, sums) = quantized(Activation::Q8, &x);
    assert_eq!(qs[..9], [127, 0, 2, 2, 0, -2, -2, 126, 0]);
    assert_eq!((d[0], sums[0]), (1.0, 253));
}

#[test]
fn quantizes_the_extremes() {
    let largest = quantized(Activation::Q8, &[f32::MIN; 32]);
    assert_eq!((largest.0[31], largest.1[0], largest.2[0]), (-127, f32::MAX / 127.0, -127 * 32));
    for tiny in [0.0, -0.0, f32::from_bits(1), f32::MIN_POSITIVE, 7e-37] {
        let zero = quantized(Activation::Q8K, &[tiny; 256]);
        assert_eq!((zero.0, zero.1, zero.2), (vec![0; 256], vec![0.0], vec![0; 16]), "{tiny}");
    }
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = [1.0; 64];
        x[17] = bad;
        let (qs, d, sums) = quantized(Activation::Q8, &x);
        assert!(d[0].is_nan() && d[1] == 1.0 / 127.0, "{bad}: {d:?}");
        assert_eq!((&qs[..32], sums), (&[0; 32][..], vec![0, 127 * 32]), "{bad}");
    }
}
