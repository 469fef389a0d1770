use super::*;
use crate::quant::naive::Random;
use alloc::vec;
use core::array::from_fn;

/// What the operations are tried on: bytes, and codes of activations within their range.
#[derive(Debug, Clone, Copy)]
struct Inputs {
    a: [u8; 32],
    b: [u8; 32],
    x: [i8; 32],
    numbers: [i16; 16],
    ints: [i32; 8],
    floats: [f32; 8],
}

/// Each operation's name and result; NaN of any bits counts as one.
struct Everything<'a>(&'a Inputs);

type Results = Vec<(&'static str, Vec<u32>)>;

impl Kernel for Everything<'_> {
    type Out = Results;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Results {
        let mut results = Results::new();
        bytes(s, self.0, &mut results);
        dots(s, self.0, &mut results);
        scales(s, self.0, &mut results);
        ints(s, self.0, &mut results);
        floats(s, self.0, &mut results);
        results
    }
}

fn of_bytes<S: Simd>(s: S, bytes: S::Bytes) -> Vec<u32> {
    let mut to = [0; 32];
    s.store(bytes, &mut to);
    to.iter().map(|&byte| byte as u32).collect()
}

fn of_ints<S: Simd>(s: S, ints: S::Ints) -> Vec<u32> {
    let mut to = [0; 8];
    s.store_ints(ints, &mut to);
    to.iter().map(|&int| int as u32).collect()
}

fn of_floats<S: Simd>(s: S, floats: S::Floats) -> Vec<u32> {
    let mut to = [0.0; 8];
    s.store_floats(floats, &mut to);
    to.iter().map(|y| if y.is_nan() { u32::MAX } else { y.to_bits() }).collect()
}

fn first<T: Copy, const L: usize>(from: &[T]) -> &[T; L] {
    from.first_chunk().unwrap()
}

fn bytes<S: Simd>(s: S, i: &Inputs, results: &mut Results) {
    let (a, b) = (s.bytes(&i.a), s.bytes(&i.b));
    let (low, high) = (u128::from_le_bytes(*first(&i.a)), u128::from_le_bytes(*first(&i.b)));
    for (name, value) in [
        ("bytes", a),
        ("pair", s.pair(first(&i.b), first(&i.a))),
        ("twice", s.twice(first(&i.a))),
        ("twice_codes", s.twice_codes(first(&i.x))),
        ("splat", s.splat(i.a[5])),
        ("splat4", s.splat4(first(&i.x))),
        ("join", s.join(low, high)),
        ("and", s.and(a, b)),
        ("or", s.or(a, b)),
        ("field 0", s.field(a, 0, 0xFF)),
        ("field 3", s.field(a, 3, 0x1F)),
        ("field 7", s.field(a, 7, 1)),
        ("field -3", s.field(a, -3, 0xF8)),
        ("field -7", s.field(a, -7, 0x80)),
        ("lookup", s.lookup(s.twice(first(&i.b)), s.and(a, s.splat(15)))),
    ] {
        results.push((name, of_bytes(s, value)));
    }
    let sums = s.sum_codes(s.bytes(&i.x.map(|x| x as u8)));
    results.push(("sum_codes", sums.iter().map(|&sum| sum as u32).collect()));
    let mut codes = [0; 32];
    s.store_codes(a, &mut codes);
    results.push(("store_codes", codes.iter().map(|&code| code as u32).collect()));
    for value in s.spread_bits(first(&i.a), first(&i.b)) {
        results.push(("spread_bits", of_bytes(s, value)));
    }
    for row in s.transpose([a, b, s.twice_codes(first(&i.x)), s.or(a, b)]) {
        results.push(("transpose", of_bytes(s, row)));
    }
    for (first, second) in [(0, 0), (1, 2), (3, 1), (2, 3)] {
        results.push(("widen", of_ints(s, s.widen(a, first, second))));
    }
}

fn dots<S: Simd>(s: S, i: &Inputs, results: &mut Results) {
    let (a, x, sum) = (s.bytes(&i.a), s.bytes(&i.x.map(|x| x as u8)), s.ints(&i.ints.map(|int| int >> 8)));
    for (name, mask, times) in [("dot of 7 bits", 127, 1), ("of 6", 63, 2), ("of 5", 31, 4), ("of 4", 15, 8)] {
        let mut partial = s.partial();
        for _ in 0..times {
            partial = s.partial_dot(partial, s.and(a, s.splat(mask)), x);
        }
        for scale in [1i16, -128, 127] {
            let scale = s.splat_pair(&[scale, scale]);
            results.push((name, of_ints(s, s.add_scaled(sum, partial, scale))));
        }
    }
    for scale in [1i16, -128, 127] {
        let scale = s.splat_pair(&[scale, scale]);
        results.push(("signed dot", of_ints(s, s.add_scaled(sum, s.partial_signed(a, x), scale))));
    }
}

fn scales<S: Simd>(s: S, i: &Inputs, results: &mut Results) {
    let scales = s.scales(u64::from_le_bytes(*first(&i.a)), u64::from_le_bytes(*first(&i.b)));
    let sums = s.sums(first(&i.numbers));
    for j in 0..8 {
        for (name, scales) in [("scales", scales), ("sums", sums)] {
            results.push((name, of_ints(s, s.scale(scales, j))));
        }
    }
    results.push(("dot_scales", of_ints(s, s.sum_each([s.dot_scales(scales, sums); 4]))));
}

fn ints<S: Simd>(s: S, i: &Inputs, results: &mut Results) {
    let (a, b) = (s.ints(&i.ints), s.ints(&from_fn(|j| i.ints[7 - j] ^ 0x55)));
    let small = s.ints(&i.ints.map(|int| int >> 16));
    let pairs = [*first::<_, 2>(&i.numbers), [i.numbers[4], i.numbers[9]]];
    for (name, value) in [
        ("ints", a),
        ("splat_int", s.splat_int(i.ints[3])),
        ("splat_pair", s.splat_pair(&pairs[0])),
        ("add_pairs", s.add_pairs(small, s.splat_pair(&pairs[0]), s.splat_pair(&pairs[1]))),
        ("add_ints", s.add_ints(a, b)),
        ("sub_ints", s.sub_ints(a, b)),
        ("mul_int", s.mul_int(a, i.ints[1])),
        ("sum_each", s.sum_each(from_fn(|j| if j == 3 { small } else { s.splat_int(j as i32) }))),
    ] {
        results.push((name, of_ints(s, value)));
    }
    results.push(("to_floats", of_floats(s, s.to_floats(a))));
}

fn floats<S: Simd>(s: S, i: &Inputs, results: &mut Results) {
    let (a, b) = (s.floats(&i.floats), s.f32s(&i.a));
    let small = s.mul(s.floats(&from_fn(|j| i.x[j] as f32)), s.splat_float(0.5));
    results
        .push(("round", of_bytes(s, s.round([small, s.add(small, small), s.splat_float(2.5), s.sub(small, small)]))));
    let words = i.ints.map(|int| int as u32);
    let [low, high] = s.half_pairs(words);
    for (name, value) in [
        ("half_pairs, low", low),
        ("half_pairs, high", high),
        ("floats", a),
        ("f32s", b),
        ("f16s", s.f16s(first(&i.a))),
        ("bf16s", s.bf16s(first(&i.a))),
        ("splat_float", s.splat_float(i.floats[2])),
        ("add", s.add(a, b)),
        ("sub", s.sub(a, b)),
        ("mul", s.mul(a, b)),
    ] {
        results.push((name, of_floats(s, value)));
    }
}

fn random(random: &mut Random) -> Inputs {
    Inputs {
        a: from_fn(|_| random.next() as u8),
        b: from_fn(|_| random.next() as u8),
        x: from_fn(|_| (random.next() as u8 as i8).max(-127)),
        numbers: from_fn(|_| (random.next() as i16).max(-i16::MAX)),
        ints: from_fn(|_| random.next().wrapping_mul(3) as i32),
        floats: from_fn(|_| f32::from_bits(random.next().wrapping_mul(3))),
    }
}

/// All bytes the same, and all other numbers at an end of their range.
fn extreme(byte: u8, x: i8, float: f32) -> Inputs {
    let (number, int) = (if x < 0 { -i16::MAX } else { i16::MAX }, if x < 0 { i32::MIN } else { i32::MAX });
    Inputs { a: [byte; 32], b: [!byte; 32], x: [x; 32], numbers: [number; 16], ints: [int; 8], floats: [float; 8] }
}

fn check(inputs: &Inputs) {
    let expected = Level::Scalar.run(Everything(inputs));
    for level in Level::available() {
        for (found, expected) in level.run(Everything(inputs)).iter().zip(&expected) {
            assert_eq!(found, expected, "{level} {inputs:?}");
        }
    }
}

#[test]
fn operations_agree_on_random_input() {
    let mut numbers = Random(1);
    for _ in 0..2000 {
        check(&random(&mut numbers));
    }
}

#[test]
fn operations_agree_at_the_ends_of_ranges() {
    for byte in [0, 1, 127, 128, 255] {
        for x in [-127, -1, 0, 127] {
            for float in [0.0, -0.0, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1), f32::INFINITY, f32::NAN] {
                check(&extreme(byte, x, float));
            }
        }
    }
}

#[test]
fn every_half_converts_the_same() {
    struct Halves([u8; 16]);
    impl Kernel for Halves {
        type Out = [Vec<u32>; 2];

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Out {
            [of_floats(s, s.f16s(&self.0)), of_floats(s, s.bf16s(&self.0))]
        }
    }
    for start in (0..=u16::MAX).step_by(8) {
        let bytes = from_fn(|i| (start + i as u16 / 2).to_le_bytes()[i % 2]);
        let expected = Level::Scalar.run(Halves(bytes));
        for level in Level::available() {
            assert_eq!(level.run(Halves(bytes)), expected, "{level} {start:#x}");
        }
    }
}

#[test]
fn levels_have_names() {
    for &level in Level::ALL {
        assert_eq!(Level::ALL.iter().filter(|other| other.name() == level.name()).count(), 1);
        let expected = if level.is_available() { Ok(level) } else { Err(LevelError::Unavailable(level)) };
        assert_eq!(level.to_string().parse(), expected);
    }
    let error = "avx9".parse::<Level>().unwrap_err().to_string();
    assert!(error.contains("`avx9`") && error.contains("scalar, avx2"), "{error}");
    assert!(LevelError::Unavailable(Level::Avx2).to_string().contains("scalar"));
}

#[test]
fn the_best_level_is_the_last_that_is_available() {
    let available = Level::available();
    assert_eq!(available.first(), Some(&Level::Scalar));
    assert_eq!(available.last(), Some(&Level::best()));
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    assert_eq!(available.contains(&Level::Avx2), is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c"));
}

#[test]
fn kernels_run_at_the_level_asked_for() {
    struct Which;
    impl Kernel for Which {
        type Out = Vec<Level>;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Vec<Level> {
            vec![s.level()]
        }
    }
    for level in Level::available() {
        assert_eq!(level.run(Which), [level]);
    }
}
