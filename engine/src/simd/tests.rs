use super::*;
use crate::quant::naive::Random;
use alloc::vec;
use core::array::from_fn;

/// What the operations are tried on: bytes, and codes of activations within their range.
#[derive(Debug, Clone, Copy)]
struct Inputs {
    a: [u8; 64],
    b: [u8; 64],
    x: [i8; 64],
    numbers: [i16; 16],
    ints: [i32; 16],
    floats: [f32; 16],
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
    let mut to = [0; 64];
    s.store(bytes, &mut to);
    to.iter().map(|&byte| byte as u32).collect()
}

fn of_ints<S: Simd>(s: S, ints: S::Ints) -> Vec<u32> {
    let mut to = [0; 16];
    s.store_ints(ints, &mut to);
    to.iter().map(|&int| int as u32).collect()
}

fn of_floats<S: Simd>(s: S, floats: S::Floats) -> Vec<u32> {
    let mut to = [0.0; 16];
    s.store_floats(floats, &mut to);
    to.iter().map(|y| if y.is_nan() { u32::MAX } else { y.to_bits() }).collect()
}

fn first<T: Copy, const L: usize>(from: &[T]) -> &[T; L] {
    from.first_chunk().unwrap()
}

fn bytes<S: Simd>(s: S, i: &Inputs, results: &mut Results) {
    let (a, b, x) = (s.bytes(&i.a), s.bytes(&i.b), s.codes(&i.x));
    for (name, value) in [
        ("bytes", a),
        ("codes", x),
        ("twice", s.twice(first(&i.b))),
        ("quarters", s.quarters([first(&i.b), first(&i.a), first(&i.a[9..]), first(&i.b[32..])])),
        ("spread_bits", s.spread_bits(u64::from_le_bytes(*first(&i.a)))),
        ("splat", s.splat(i.a[5])),
        ("splat4", s.splat4(first(&i.x))),
        ("and", s.and(a, b)),
        ("or", s.or(a, b)),
        ("xor", s.xor(a, b)),
        ("field 0", s.field(a, [0; 4], 0xFF)),
        ("field right", s.field(a, [3, 1, 2, 0], 0x1F)),
        ("field 7", s.field(a, [7; 4], 1)),
        ("field left", s.field(a, [-3, -1, -2, 0], 0xF8)),
        ("field -7", s.field(a, [-7; 4], 0x80)),
        ("field both", s.field(a, [-2, -1, 1, 2], 0x3C)),
        ("lookup", s.lookup(first(&i.b), s.and(a, s.splat(15)))),
    ] {
        results.push((name, of_bytes(s, value)));
    }
    let both: [u8; 128] = from_fn(|j| if j < 64 { i.a[j] } else { i.b[j - 64] });
    for alternate in s.alternate_quarters(&both) {
        results.push(("alternate_quarters", of_bytes(s, alternate)));
    }
    let codes = [first(&i.x), first(&i.x[32..]), first(&i.x[16..]), first(&i.x[7..])];
    results.push(("code_quarters", of_bytes(s, s.code_quarters(codes))));
    results.push(("sum_codes", s.sum_codes(x).iter().map(|&sum| sum as u32).collect()));
    let mut codes = [0; 64];
    s.store_codes(a, &mut codes);
    results.push(("store_codes", codes.iter().map(|&code| code as u32).collect()));
    let mut rows = [a; 16];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = s.xor(if r % 2 == 0 { a } else { b }, s.splat(16 * r as u8));
    }
    for row in s.transpose(rows) {
        results.push(("transpose", of_bytes(s, row)));
    }
    for row in s.turn([rows[0], rows[1], rows[2], rows[3]]) {
        results.push(("turn", of_bytes(s, row)));
    }
}

fn dots<S: Simd>(s: S, i: &Inputs, results: &mut Results) {
    let (a, x, total) = (s.bytes(&i.a), s.codes(&i.x), s.ints(&i.ints.map(|int| int >> 8)));
    let mut scale_bytes = [0; 64];
    for (j, byte) in scale_bytes.iter_mut().enumerate() {
        *byte = [1u8, 128, 127, 77][j % 4].wrapping_add((j / 4) as u8 % 2);
    }
    let scales = s.bytes(&scale_bytes);
    for (name, mask, times) in [("dot of 7 bits", 127, 1), ("of 6", 63, 2), ("of 5", 31, 4), ("of 4", 15, 8)] {
        let (mut scaled, mut plain) = (s.open(s.splat_int(0)), s.open(total));
        for _ in 0..times {
            scaled = s.dot(scaled, s.and(a, s.splat(mask)), x);
            plain = s.dot(plain, s.and(a, s.splat(mask)), x);
        }
        results.push((name, of_ints(s, s.close(plain))));
        for j in 0..4 {
            results.push((name, of_ints(s, s.add_scaled(total, scaled, s.lane_scale(scales, j)))));
        }
    }
    let seven_bits = s.and(a, s.splat(127));
    for sum in [
        s.dot_group::<0>(s.open(total), seven_bits, first(&i.x)),
        s.dot_group::<3>(s.open(total), seven_bits, first(&i.x)),
        s.dot_group::<7>(s.open(total), seven_bits, first(&i.x)),
    ] {
        results.push(("dot_group", of_ints(s, s.close(sum))));
    }
    let mut prepared = [[0; 32]; 4];
    for (at, prepared) in [0, 32, 16, 7].into_iter().zip(&mut prepared) {
        s.prepare(first(&i.x[at..]), prepared);
    }
    let products = s.dot_prepared([a, s.bytes(&i.b)], prepared.each_ref());
    let mut wide = [[0; 32]; 4];
    for (at, wide) in [0, 32, 16, 7].into_iter().zip(&mut wide) {
        s.prepare_wide([first(&i.x[at..]), first(&i.x[31 - at % 32..])], wide);
    }
    let wide_products = s.dot_wide([a, s.bytes(&i.b)], wide.each_ref());
    for ints in [products, wide_products, s.ints(&i.ints)] {
        let mut sums = [0; 4];
        s.store_sums(ints, &mut sums);
        results.push(("store_sums", sums.map(|sum| sum as u32).to_vec()));
    }
    let four_bits = s.splat(15);
    for x in [x, s.codes(&[127; 64]), s.codes(&[-127; 64])] {
        let mut sums = [0; 4];
        s.store_products([s.and(a, four_bits), four_bits], [x, s.codes(&i.x)], &mut sums);
        results.push(("store_products", sums.map(|sum| sum as u32).to_vec()));
        s.store_products([four_bits; 2], [x; 2], &mut sums);
        results.push(("store_products", sums.map(|sum| sum as u32).to_vec()));
    }
    for x in [[127; 4], [-127; 4], [127, 127, -127, -127], [-127, -127, 127, 127], *first(&i.x)] {
        for (name, weights) in
            [("less, of 0", s.splat(0)), ("less, of 15", s.splat(15)), ("less", s.and(a, s.splat(15)))]
        {
            let mut sum = s.open_less(8, 8 * x.iter().map(|&x| x as i16).sum::<i16>());
            for _ in 0..8 {
                sum = s.dot(sum, weights, s.splat4(&x));
            }
            results.push((name, of_ints(s, s.close(sum))));
        }
    }
    results.push(("signed dot", of_ints(s, s.close(s.dot_signed(s.open(total), a, x)))));
    let signed = s.dot_signed(s.open(s.splat_int(0)), a, x);
    for j in 0..4 {
        results.push(("signed dot", of_ints(s, s.add_scaled(total, signed, s.lane_scale(scales, j)))));
    }
    if S::SUMS_32 {
        let max = if S::PREFERS_UNSIGNED { 255 } else { 127 };
        let (mut found, mut expected) = (s.open(total), Scalar.open(i.ints.map(|int| int >> 8)));
        for _ in 0..9 {
            found = s.dot(found, s.and(a, s.splat(max)), x);
            expected = Scalar.dot(expected, i.a.map(|byte| byte & max), Scalar.codes(&i.x));
        }
        assert_eq!(of_ints(s, s.close(found)), of_ints(Scalar, expected));
    }
}

fn scales<S: Simd>(s: S, i: &Inputs, results: &mut Results) {
    let (scales, short) = (s.scales::<false>(first(&i.a)), s.scales::<true>(first(&i.a)));
    let sum = s.dot(s.open(s.splat_int(0)), s.and(s.bytes(&i.a), s.splat(63)), s.codes(&i.x));
    let one = s.dot(s.open(s.splat_int(0)), s.splat(1), s.splat4(&[1, 0, 0, 0]));
    let zero = s.splat_int(0);
    for list in
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15], [0, 0, 1, 1], [6, 6, 7, 7], [9, 3, 15, 2]]
    {
        results.push(("quarter_scales", of_ints(s, s.add_scaled(zero, one, s.quarter_scales::<false>(scales, list)))));
        let scale = s.quarter_scales::<true>(short, list);
        results.push(("short scales", of_ints(s, s.add_scaled_short(s.ints(&i.ints.map(|int| int >> 8)), sum, scale))));
    }
    for j in 0..4 {
        results.push(("lane_scale", of_ints(s, s.add_scaled(zero, one, s.lane_scale(s.bytes(&i.b), j)))));
        results.push(("lane_pair", of_ints(s, s.lane_pair(s.bytes(&i.b), j, (3 * j + 1) % 4))));
    }
    let halves = i.numbers.map(|number| number / 2);
    results.push(("sum_pairs", s.sum_pairs(&halves).iter().map(|&sum| sum as u32).collect()));
    // Levels may order the lanes of a quarter as they like.
    results.push(("dot_sums", of_ints(s, s.sum_quads([s.dot_sums(s.bytes(&i.a), &halves); 4]))));
    let blocks = [0, 5, 17, 48].map(|at| i.a[at..].first_chunk().expect("16 bytes"));
    results.push(("six_bit_scales", of_bytes(s, s.six_bit_scales(blocks))));
}

fn ints<S: Simd>(s: S, i: &Inputs, results: &mut Results) {
    let (a, b) = (s.ints(&i.ints), s.ints(&from_fn(|j| i.ints[15 - j] ^ 0x55)));
    let small = s.ints(&i.ints.map(|int| int >> 16));
    let pairs = [*first::<_, 2>(&i.numbers), [i.numbers[4], i.numbers[9]]];
    for (name, value) in [
        ("ints", a),
        ("short_ints", s.short_ints(&i.numbers)),
        ("splat_int", s.splat_int(i.ints[3])),
        ("splat_pair", s.splat_pair(&pairs[0])),
        ("add_pairs", s.add_pairs(small, s.splat_pair(&pairs[0]), s.splat_pair(&pairs[1]))),
        ("add_pair, first", s.add_pair::<0>(small, s.splat_pair(&pairs[1]), &i.numbers)),
        ("add_pair, last", s.add_pair::<7>(small, s.splat_pair(&pairs[1]), &i.numbers)),
        ("sub_ints", s.sub_ints(a, b)),
        ("mul_int", s.mul_int(a, i.ints[1])),
        ("sum_quads", s.sum_quads([a, b, small, s.splat_int(3)])),
        ("sum_halves", s.sum_halves([a, b])),
        ("sum_quarters", s.sum_quarters([a, b, small, s.splat_int(3)])),
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
    let [low, high] = s.half_pairs(&i.ints.map(|int| int as u32));
    let mut vectors = [a; 16];
    for (v, vector) in vectors.iter_mut().enumerate() {
        *vector = s.mul(s.splat_float(1.0 + v as f32 / 16.0), if v % 3 == 0 { a } else { small });
    }
    for (name, value) in [
        ("half_pairs, low", low),
        ("half_pairs, high", high),
        ("code_floats", s.code_floats(first(&i.a.map(|byte| byte as i8)))),
        ("floats", a),
        ("f32s", b),
        ("f16s", s.f16s(first(&i.a))),
        ("halfs", s.halfs(&i.numbers.map(|number| number as u16))),
        ("bf16s", s.bf16s(first(&i.a))),
        ("splat_float", s.splat_float(i.floats[2])),
        ("add", s.add(a, b)),
        ("sub", s.sub(a, b)),
        ("mul", s.mul(a, b)),
        ("add_exact", s.add_exact(s.bf16s(first(&i.b)), low, high)),
        ("max", s.max(a, b)),
        ("sum_lanes", s.sum_lanes(&vectors)),
    ] {
        results.push((name, of_floats(s, value)));
    }
    for len in [0, 1, 4, 7] {
        let sums = s.add_in_order(*first(&i.floats), [0, 2, 5, 9].map(|at| &i.floats[at..at + len]));
        results.push(("add_in_order", of_floats(s, s.floats(&from_fn(|j| sums[j % 4])))));
    }
    for mask in [0xFFFF, 0xBFFF] {
        // The second ones are all finite.
        let from = from_fn(|j| (i.numbers[j % 16] as u16).rotate_left(j as u32 / 16) & mask);
        let mut widened = [0.0; 64];
        s.widen_halfs(&from, &mut widened);
        for widened in widened.as_chunks().0 {
            results.push(("widen_halfs", of_floats(s, s.floats(widened))));
        }
    }
    for (name, value) in [("store_halfs", a), ("store_halfs of small numbers", small)] {
        let mut halfs = [0; 16];
        s.store_halfs(value, &mut halfs);
        results.push((name, halfs.iter().map(|&half| half as u32).collect()));
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
    Inputs { a: [byte; 64], b: [!byte; 64], x: [x; 64], numbers: [number; 16], ints: [int; 16], floats: [float; 16] }
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
    struct Halves([u8; 32]);
    impl Kernel for Halves {
        type Out = [Vec<u32>; 2];

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Out {
            [of_floats(s, s.f16s(&self.0)), of_floats(s, s.bf16s(&self.0))]
        }
    }
    for start in (0..=u16::MAX).step_by(16) {
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
    {
        let avx2 =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        assert_eq!(available.contains(&Level::Avx2), avx2);
        assert_eq!(available.contains(&Level::AvxVnni), avx2 && is_x86_feature_detected!("avxvnni"));
        let wide = ["f", "bw", "dq", "vl", "vnni"];
        assert_eq!(available.contains(&Level::Avx512Vnni), wide.iter().all(|part| avx512(part)));
    }
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    assert!(available.contains(&Level::Neon));
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

#[cfg(all(target_arch = "x86_64", feature = "std"))]
fn avx512(part: &str) -> bool {
    match part {
        "f" => is_x86_feature_detected!("avx512f"),
        "bw" => is_x86_feature_detected!("avx512bw"),
        "dq" => is_x86_feature_detected!("avx512dq"),
        "vl" => is_x86_feature_detected!("avx512vl"),
        _ => is_x86_feature_detected!("avx512vnni"),
    }
}
