//! WebAssembly's vectors of 16 bytes, and the same with the dot product of relaxed SIMD.
//!
//! A vector of 64 bytes is four registers. There is nothing to detect: a program whose instructions a browser lacks does not
//! load there, so what was compiled is available. Relaxed SIMD leaves some results to the implementation; what is used of
//! it here is defined for the operands that it gets.
//!
//! - There are two relaxed dot products of signed bytes and others of 7 bits: of fours, to `i32`, which is one instruction on
//!   Arm and on new x86-64 processors; and of pairs, to `i16`. Others make the first from the second, which is then better
//!   used itself.
//! - Where weights have 8 bits, the magnitudes of the activations, which are never -128, are what has 7:
//!   `w * x = (w ^ m) * |x| + (m & |x|)`, `m` being all ones where `x` is negative. That pays for fours.
//! - Without them, the even and the odd bytes of groups are multiplied as `i16`, which adds products in pairs.

use super::{Kernel, Level, NoTiles, Simd, UNITS};
use core::arch::wasm32::*;

/// Proof that the program is compiled for vectors, and where they are set, for relaxed ones, and runs where the dot product
/// of pairs is better.
#[derive(Debug, Clone, Copy)]
pub struct Wasm<const RELAXED: bool, const PAIRS: bool>(());

/// Vectors.
pub type Simd128 = Wasm<false, false>;
/// Vectors, with the relaxed dot product of fours.
pub type RelaxedSimd = Wasm<true, false>;
/// Vectors, with the relaxed dot product of pairs.
pub type RelaxedPairs = Wasm<true, true>;

impl<const RELAXED: bool, const PAIRS: bool> Wasm<RELAXED, PAIRS> {
    const LEVEL: Level = match (RELAXED, PAIRS) {
        (_, true) => Level::RelaxedPairs,
        (true, _) => Level::RelaxedSimd,
        _ => Level::Simd128,
    };

    /// The proof, where the program is compiled so.
    #[inline]
    pub fn new() -> Option<Self> {
        has(Self::LEVEL).then_some(Self(()))
    }
}

/// Whether kernels of `level` are compiled, and of use here: those that are the best for some processor, since a visitor
/// downloads them all. Tests have the others to compare.
#[inline]
pub(super) fn has(level: Level) -> bool {
    match level {
        Level::RelaxedSimd => cfg!(target_feature = "relaxed-simd"),
        Level::RelaxedPairs => fours_are_pairs(),
        Level::Simd128 => cfg!(any(test, not(target_feature = "relaxed-simd"))),
        Level::Scalar => cfg!(test),
        _ => false,
    }
}

/// Whether the dot product of fours is made of pairs: these are then cut off at what an `i16` holds, where an operand has
/// 8 bits.
#[inline]
fn fours_are_pairs() -> bool {
    #[cfg(target_feature = "relaxed-simd")]
    return i32x4_extract_lane::<0>(relaxed_dot(u8x16_splat(127), u8x16_splat(255), i32x4_splat(0)))
        == 2 * i16::MAX as i32;
    #[cfg(not(target_feature = "relaxed-simd"))]
    false
}

/// Sums of products, as `i32` and, where those of pairs are used, as pairs of `i16`.
#[derive(Clone, Copy)]
pub struct Sums {
    ints: [v128; 4],
    pairs: [v128; 4],
    /// Whether there are pairs: known to a compiler, as they are zero where there are not, but from that it learns nothing.
    paired: bool,
}

/// Calls for each of the four registers of a vector.
macro_rules! each {
    ($i:ident => $call:expr) => {
        [
            {
                const $i: usize = 0;
                $call
            },
            {
                const $i: usize = 1;
                $call
            },
            {
                const $i: usize = 2;
                $call
            },
            {
                const $i: usize = 3;
                $call
            },
        ]
    };
}

impl<const RELAXED: bool, const PAIRS: bool> Simd for Wasm<RELAXED, PAIRS> {
    type Bytes = [v128; 4];
    type Ints = [v128; 4];
    type Floats = [v128; 4];
    type Partial = Sums;
    /// As `i32`, or as pairs of `i16` that are the same.
    type Scales = [v128; 4];
    type Tiles = NoTiles<Self::Ints>;

    // Of an x86-64 processor's 16 registers of 16 bytes, which are what most browsers have.
    const ACCUMULATORS: usize = 3;
    const SUMS_32: bool = !PAIRS;
    const PREFERS_UNSIGNED: bool = false;
    // What is read comes to the first-level cache, which is small.
    const AHEAD: usize = 8 << 10;
    const PREFETCHES: bool = false;

    #[inline(always)]
    fn level(self) -> Level {
        Self::LEVEL
    }

    #[inline(never)]
    fn run<K: Kernel>(self, kernel: K) -> K::Out {
        kernel.run(self)
    }

    // There is no such instruction. A load that nothing waits for does nearly the same, as long as they come one by one: with
    // 512 bytes at a time, SmolLM2 Q4_0 generated 67 tokens per second and not 77, and without any 44.
    #[inline(always)]
    fn prefetch(self, bytes: &[u8], offset: usize) {
        if let Some(byte) = bytes.get(offset) {
            // SAFETY: it is a reference.
            unsafe { core::ptr::from_ref(byte).read_volatile() };
        }
    }

    #[inline(always)]
    fn bytes(self, from: &[u8; 64]) -> [v128; 4] {
        load(from)
    }

    #[inline(always)]
    fn codes(self, from: &[i8; 64]) -> [v128; 4] {
        load(from)
    }

    #[inline(always)]
    fn twice(self, from: &[u8; 32]) -> [v128; 4] {
        let [low, high] = load(from);
        [low, high, low, high]
    }

    #[inline(always)]
    fn quarters(self, from: [&[u8; 16]; 4]) -> [v128; 4] {
        from.map(|from| load::<_, 16, 1>(from)[0])
    }

    #[inline(always)]
    fn code_quarters(self, from: [&[i8; 16]; 4]) -> [v128; 4] {
        from.map(|from| load::<_, 16, 1>(from)[0])
    }

    #[inline(always)]
    fn spread_bits(self, bits: u64) -> [v128; 4] {
        each!(I => {
            let bytes = u16x8_splat((bits >> (16 * I)) as u16);
            let bytes = u8x16_shuffle::<0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1>(bytes, bytes);
            let bit = u64x2_splat(0x8040_2010_0804_0201);
            u8x16_eq(v128_and(bytes, bit), bit)
        })
    }

    #[inline(always)]
    fn splat(self, byte: u8) -> [v128; 4] {
        [u8x16_splat(byte); 4]
    }

    #[inline(always)]
    fn splat4(self, from: &[i8; 4]) -> [v128; 4] {
        self.splat_int(i32::from_le_bytes(from.map(|code| code as u8)))
    }

    #[inline(always)]
    fn store(self, bytes: [v128; 4], to: &mut [u8; 64]) {
        store(bytes, to);
    }

    #[inline(always)]
    fn store_codes(self, codes: [v128; 4], to: &mut [i8; 64]) {
        store(codes, to);
    }

    #[inline(always)]
    fn sum_codes(self, codes: [v128; 4]) -> [i16; 4] {
        let sums = sum_fours(codes.map(|codes| i32x4_extadd_pairwise_i16x8(i16x8_extadd_pairwise_i8x16(codes))));
        let sums = [
            i32x4_extract_lane::<0>(sums),
            i32x4_extract_lane::<1>(sums),
            i32x4_extract_lane::<2>(sums),
            i32x4_extract_lane::<3>(sums),
        ];
        sums.map(|sum| sum as i16)
    }

    #[inline(always)]
    fn and(self, a: [v128; 4], b: [v128; 4]) -> [v128; 4] {
        each!(I => v128_and(a[I], b[I]))
    }

    #[inline(always)]
    fn or(self, a: [v128; 4], b: [v128; 4]) -> [v128; 4] {
        each!(I => v128_or(a[I], b[I]))
    }

    #[inline(always)]
    fn xor(self, a: [v128; 4], b: [v128; 4]) -> [v128; 4] {
        each!(I => v128_xor(a[I], b[I]))
    }

    #[inline(always)]
    fn field(self, a: [v128; 4], shifts: [i32; 4], mask: u8) -> [v128; 4] {
        each!(I => {
            // Bytes shift as i16, which processors can: what comes from a neighbour, the mask takes away.
            let moved = match shifts[I] {
                0 => a[I],
                left @ ..0 => u16x8_shl(a[I], left.unsigned_abs()),
                right => u16x8_shr(a[I], right.unsigned_abs()),
            };
            v128_and(moved, u8x16_splat(mask))
        })
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], index: [v128; 4]) -> [v128; 4] {
        let [table] = load(table);
        each!(I => if RELAXED { relaxed_swizzle(table, index[I]) } else { u8x16_swizzle(table, index[I]) })
    }

    #[inline(always)]
    fn transpose(self, rows: [[v128; 4]; 16]) -> [[v128; 4]; 16] {
        // A square of 4 x 4 groups of rows 4i to 4i + 3 becomes one of columns, in their quarters i. Without loops: from
        // arrays that these index, compilers make calls that copy memory.
        let squares = each!(Q => each!(I => {
            transpose_square([rows[4 * I][Q], rows[4 * I + 1][Q], rows[4 * I + 2][Q], rows[4 * I + 3][Q]])
        }));
        let columns = squares.map(|[a, b, c, d]| each!(I => [a[I], b[I], c[I], d[I]]));
        let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = columns;
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    #[inline(always)]
    fn turn(self, [a, b, c, d]: [[v128; 4]; 4]) -> [[v128; 4]; 4] {
        let quarters = each!(I => transpose_square([a[I], b[I], c[I], d[I]]));
        let [a, b, c, d] = quarters;
        each!(I => [a[I], b[I], c[I], d[I]])
    }

    #[inline(always)]
    fn open(self, sum: [v128; 4]) -> Sums {
        Sums { ints: sum, pairs: [i32x4_splat(0); 4], paired: false }
    }

    #[inline(always)]
    fn open_less(self, offset: i32, sum: i16) -> Sums {
        if !PAIRS {
            return self.open(self.splat_int(-offset * sum as i32));
        }
        // Half of it in either half of each lane. Together with the products of 16 activations that is a sum of
        // `(weight - offset / 2) * x` over these, and of `-offset / 2 * x` over the others: within 16 * 15 * 127.
        let half = i16x8_splat((-offset / 2) as i16 * sum);
        Sums { ints: [i32x4_splat(0); 4], pairs: [half; 4], paired: true }
    }

    #[inline(always)]
    fn dot(self, sum: Sums, weights: [v128; 4], x: [v128; 4]) -> Sums {
        if PAIRS {
            let pairs = each!(I => i16x8_add(sum.pairs[I], relaxed_pairs(x[I], weights[I])));
            return Sums { pairs, paired: true, ..sum };
        }
        let ints = each!(I => match RELAXED {
            true => relaxed_dot(x[I], weights[I], sum.ints[I]),
            // The high bit is clear.
            false => add_fours(sum.ints[I], [v128_and(weights[I], u16x8_splat(0xFF)), u16x8_shr(weights[I], 8)], x[I]),
        });
        Sums { ints, ..sum }
    }

    #[inline(always)]
    fn dot_signed(self, sum: Sums, weights: [v128; 4], x: [v128; 4]) -> Sums {
        if !RELAXED || PAIRS {
            return Sums { ints: each!(I => add_fours(sum.ints[I], halves(weights[I]), x[I])), ..sum };
        }
        let ints = each!(I => {
            let negative = i8x16_lt(x[I], i32x4_splat(0));
            dot_magnitudes(sum.ints[I], weights[I], [i8x16_abs(x[I]), negative])
        });
        Sums { ints, ..sum }
    }

    #[inline(always)]
    fn close(self, sum: Sums) -> [v128; 4] {
        if !PAIRS || !sum.paired {
            return sum.ints;
        }
        // Not the dot product with ones: where LLVM 22 folds that with what is not initialized, it reads what is not there.
        each!(I => i32x4_add(sum.ints[I], i32x4_extadd_pairwise_i16x8(sum.pairs[I])))
    }

    #[inline(always)]
    fn add_scaled(self, total: [v128; 4], sum: Sums, scale: [v128; 4]) -> [v128; 4] {
        each!(I => i32x4_add(total[I], match (PAIRS, sum.paired) {
            (true, true) => i32x4_dot_i16x8(sum.pairs[I], scale[I]),
            (true, false) => i32x4_mul(sum.ints[I], i32x4_shr(scale[I], 16)),
            _ => i32x4_mul(sum.ints[I], scale[I]),
        }))
    }

    #[inline(always)]
    fn add_scaled_short(self, total: [v128; 4], sum: Sums, scale: [v128; 4]) -> [v128; 4] {
        if PAIRS {
            return self.add_scaled(total, sum, scale);
        }
        // The scales' high halves are zero, and multiply nothing but signs.
        each!(I => i32x4_add(total[I], i32x4_dot_i16x8(sum.ints[I], scale[I])))
    }

    #[inline(always)]
    fn scales<const SHORT: bool>(self, numbers: &[u8; 16]) -> [v128; 4] {
        let [bytes] = load(numbers);
        let [low, high] = widen(bytes);
        match (PAIRS, SHORT) {
            (true, _) => {
                let [a, b] = twins(low);
                let [c, d] = twins(high);
                [a, b, c, d]
            }
            (_, true) => [
                u32x4_extend_low_u16x8(low),
                u32x4_extend_high_u16x8(low),
                u32x4_extend_low_u16x8(high),
                u32x4_extend_high_u16x8(high),
            ],
            _ => [
                i32x4_extend_low_i16x8(low),
                i32x4_extend_high_i16x8(low),
                i32x4_extend_low_i16x8(high),
                i32x4_extend_high_i16x8(high),
            ],
        }
    }

    #[inline(always)]
    fn quarter_scales<const SHORT: bool>(self, scales: [v128; 4], list: [usize; 4]) -> [v128; 4] {
        // The list is constant: nothing is left of this but the shuffle.
        each!(I => {
            let four = scales[list[I] / 4];
            match list[I] % 4 {
                0 => u32x4_shuffle::<0, 0, 0, 0>(four, four),
                1 => u32x4_shuffle::<1, 1, 1, 1>(four, four),
                2 => u32x4_shuffle::<2, 2, 2, 2>(four, four),
                _ => u32x4_shuffle::<3, 3, 3, 3>(four, four),
            }
        })
    }

    #[inline(always)]
    fn lane_scale(self, groups: [v128; 4], j: usize) -> [v128; 4] {
        if PAIRS {
            return self.lane_pair(groups, j, j);
        }
        each!(I => i32x4_shr(i32x4_shl(groups[I], 24 - 8 * j as u32), 24))
    }

    #[inline(always)]
    fn lane_pair(self, groups: [v128; 4], a: usize, b: usize) -> [v128; 4] {
        each!(I => {
            // Each byte goes to the high half of its i16, and an arithmetic shift brings it down with its sign.
            let place = u32x4_splat((a << 8 | b << 24 | 0x00FF_00FF) as u32);
            let place = v128_or(u32x4(0, 0x0404_0404, 0x0808_0808, 0x0C0C_0C0C), place);
            i16x8_shr(u8x16_swizzle(groups[I], place), 8)
        })
    }

    #[inline(always)]
    fn dot_sums(self, numbers: [v128; 4], sums: &[i16; 16]) -> [v128; 4] {
        let [of_low, of_high] = load(sums);
        each!(I => {
            let [low, high] = widen(numbers[I]);
            i32x4_add(i32x4_dot_i16x8(low, of_low), i32x4_dot_i16x8(high, of_high))
        })
    }

    #[inline(always)]
    fn sum_pairs(self, from: &[i16; 16]) -> [i16; 8] {
        let [low, high] = load(from).map(|pairs| i32x4_extadd_pairwise_i16x8(pairs));
        let mut sums = [0; 8];
        store([i16x8_narrow_i32x4(low, high)], &mut sums);
        sums
    }

    #[inline(always)]
    fn ints(self, from: &[i32; 16]) -> [v128; 4] {
        load(from)
    }

    #[inline(always)]
    fn short_ints(self, from: &[i16; 16]) -> [v128; 4] {
        let [low, high] = load(from);
        [
            i32x4_extend_low_i16x8(low),
            i32x4_extend_high_i16x8(low),
            i32x4_extend_low_i16x8(high),
            i32x4_extend_high_i16x8(high),
        ]
    }

    #[inline(always)]
    fn store_ints(self, ints: [v128; 4], to: &mut [i32; 16]) {
        store(ints, to);
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> [v128; 4] {
        [i32x4_splat(value); 4]
    }

    #[inline(always)]
    fn splat_pair(self, from: &[i16; 2]) -> [v128; 4] {
        self.splat_int(from[0] as u16 as i32 | (from[1] as i32) << 16)
    }

    #[inline(always)]
    fn add_pairs(self, sum: [v128; 4], a: [v128; 4], b: [v128; 4]) -> [v128; 4] {
        each!(I => i32x4_add(sum[I], i32x4_dot_i16x8(a[I], b[I])))
    }

    #[inline(always)]
    fn store_products(self, [low, high]: [[v128; 4]; 2], [x_low, x_high]: [[v128; 4]; 2], to: &mut [i32; 4]) {
        // Each is a sum of 4 products, and they are added up as i16 while they are sums of 16 or less: 16 * 15 * 127 < 2^15.
        let [a, b, c, d] = each!(I => i16x8_add(relaxed_pairs(x_low[I], low[I]), relaxed_pairs(x_high[I], high[I])));
        let [ab, cd] = [[a, b], [c, d]].map(|[a, b]| i16x8_add(interleave_low(a, b), interleave_high(a, b)));
        store([i32x4_extadd_pairwise_i16x8(i16x8_add(join_low(ab, cd), join_high(ab, cd)))], to)
    }

    #[inline(always)]
    fn prepare(self, x: &[i8; 32], to: &mut [i16; 32]) {
        let [a, b] = load::<_, 32, 2>(x);
        if RELAXED && !PAIRS {
            let negative = [a, b].map(|x| i8x16_lt(x, u8x16_splat(0)));
            return store([i8x16_abs(a), i8x16_abs(b), negative[0], negative[1]], to);
        }
        let ([a, b], [c, d]) = (halves(a), halves(b));
        store([a, b, c, d], to)
    }

    #[inline(always)]
    fn dot_prepared(self, [low, high]: [[v128; 4]; 2], x: [&[i16; 32]; 4]) -> [v128; 4] {
        if !RELAXED || PAIRS {
            return self.dot_wide([low, high], x);
        }
        each!(I => {
            let [a, b, c, d] = load::<_, 32, 4>(x[I]);
            dot_magnitudes(dot_magnitudes(i32x4_splat(0), low[I], [a, c]), high[I], [b, d])
        })
    }

    #[inline(always)]
    fn prepare_wide(self, [first, second]: [&[i8; 32]; 2], to: &mut [i16; 32]) {
        let ([a, b], [c, d]) = (load::<_, 32, 2>(first), load::<_, 32, 2>(second));
        let wide = |first: v128, second: v128| {
            let ([a, b], [c, d]) = (halves(first), halves(second));
            [i16x8_add(i16x8_shl(a, UNITS.ilog2()), c), i16x8_add(i16x8_shl(b, UNITS.ilog2()), d)]
        };
        let ([a, b], [c, d]) = (wide(a, c), wide(b, d));
        store([a, b, c, d], to)
    }

    #[inline(always)]
    fn dot_wide(self, [low, high]: [[v128; 4]; 2], x: [&[i16; 32]; 4]) -> [v128; 4] {
        each!(I => {
            let [a, b, c, d] = load::<_, 32, 4>(x[I]);
            let ([e, f], [g, h]) = (halves(low[I]), halves(high[I]));
            let sum = i32x4_add(i32x4_dot_i16x8(e, a), i32x4_dot_i16x8(f, b));
            i32x4_add(i32x4_add(sum, i32x4_dot_i16x8(g, c)), i32x4_dot_i16x8(h, d))
        })
    }

    #[inline(always)]
    fn store_sums(self, ints: [v128; 4], to: &mut [i32; 4]) {
        store([sum_fours(ints)], to)
    }

    #[inline(always)]
    fn add_in_order(self, mut sums: [f32; 4], rows: [&[f32]; 4]) -> [f32; 4] {
        let [mut sum] = load(&sums);
        let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] = rows.map(|row| row.as_chunks::<4>());
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            let [[a], [b], [c], [d]] = [a, b, c, d].map(load);
            let [a, b, c, d] = transpose_square([a, b, c, d]);
            sum = f32x4_add(f32x4_add(f32x4_add(f32x4_add(sum, a), b), c), d);
        }
        for (((a, b), c), d) in a_rest.iter().zip(b_rest).zip(c_rest).zip(d_rest) {
            sum = f32x4_add(sum, f32x4(*a, *b, *c, *d));
        }
        store([sum], &mut sums);
        sums
    }

    #[inline(always)]
    fn sub_ints(self, a: [v128; 4], b: [v128; 4]) -> [v128; 4] {
        each!(I => i32x4_sub(a[I], b[I]))
    }

    #[inline(always)]
    fn mul_int(self, a: [v128; 4], factor: i32) -> [v128; 4] {
        each!(I => i32x4_mul(a[I], i32x4_splat(factor)))
    }

    #[inline(always)]
    fn sum_quads(self, [a, b, c, d]: [[v128; 4]; 4]) -> [v128; 4] {
        each!(I => sum_fours([a[I], b[I], c[I], d[I]]))
    }

    #[inline(always)]
    fn sum_halves(self, vectors: [[v128; 4]; 2]) -> [v128; 4] {
        each!(I => {
            let vector = vectors[I / 2];
            i32x4_add(vector[2 * (I % 2)], vector[2 * (I % 2) + 1])
        })
    }

    #[inline(always)]
    fn sum_quarters(self, vectors: [[v128; 4]; 4]) -> [v128; 4] {
        each!(I => {
            let [a, b, c, d] = vectors[I];
            i32x4_add(i32x4_add(a, b), i32x4_add(c, d))
        })
    }

    #[inline(always)]
    fn to_floats(self, ints: [v128; 4]) -> [v128; 4] {
        each!(I => f32x4_convert_i32x4(ints[I]))
    }

    #[inline(always)]
    fn code_floats(self, from: &[i8; 16]) -> [v128; 4] {
        let [codes] = load(from);
        let (low, high) = (i16x8_extend_low_i8x16(codes), i16x8_extend_high_i8x16(codes));
        self.to_floats([
            i32x4_extend_low_i16x8(low),
            i32x4_extend_high_i16x8(low),
            i32x4_extend_low_i16x8(high),
            i32x4_extend_high_i16x8(high),
        ])
    }

    #[inline(always)]
    fn floats(self, from: &[f32; 16]) -> [v128; 4] {
        load(from)
    }

    #[inline(always)]
    fn f32s(self, from: &[u8; 64]) -> [v128; 4] {
        load(from)
    }

    #[inline(always)]
    fn f16s(self, from: &[u8; 32]) -> [v128; 4] {
        from_packed_halfs(load(from))
    }

    #[inline(always)]
    fn halfs(self, from: &[u16; 16]) -> [v128; 4] {
        from_packed_halfs(load(from))
    }

    #[inline(always)]
    fn widen_halfs(self, from: &[u16; 64], to: &mut [f32; 64]) {
        let mut max = u16x8_splat(0);
        for (from, to) in from.as_chunks::<8>().0.iter().zip(to.as_chunks_mut::<8>().0) {
            let [halfs] = load(from);
            // Without their signs.
            max = u16x8_max(max, u16x8_shl(halfs, 1));
            // Extended with its sign, each moves to its place, with copies of the sign between.
            let moved = [i32x4_extend_low_i16x8(halfs), i32x4_extend_high_i16x8(halfs)]
                .map(|halfs| v128_and(i32x4_shl(halfs, 13), u32x4_splat(PLACES)));
            store(moved.map(|moved| f32x4_mul(moved, f32x4_splat(SCALE))), to);
        }
        // Some are infinite or NaN.
        if v128_any_true(u16x8_ge(max, u16x8_splat(0x7C00 << 1))) {
            for (from, to) in from.as_chunks().0.iter().zip(to.as_chunks_mut().0) {
                self.store_floats(self.halfs(from), to);
            }
        }
    }

    #[inline(always)]
    fn bf16s(self, from: &[u8; 32]) -> [v128; 4] {
        high_halves(load(from))
    }

    #[inline(always)]
    fn half_pairs(self, bits: &[u32; 16]) -> [[v128; 4]; 2] {
        let bits: [v128; 4] = load(bits);
        [from_halfs(each!(I => u32x4_shl(bits[I], 16))), from_halfs(bits)]
    }

    #[inline(always)]
    fn store_floats(self, floats: [v128; 4], to: &mut [f32; 16]) {
        store(floats, to);
    }

    #[inline(always)]
    fn store_halfs(self, floats: [v128; 4], to: &mut [u16; 16]) {
        let [a, b, c, d] = floats.map(to_half);
        store([u16x8_narrow_i32x4(a, b), u16x8_narrow_i32x4(c, d)], to);
    }

    #[inline(always)]
    fn splat_float(self, value: f32) -> [v128; 4] {
        [f32x4_splat(value); 4]
    }

    #[inline(always)]
    fn round(self, floats: [[v128; 4]; 4]) -> [v128; 4] {
        each!(I => {
            // 1.5 * 2^23: the sum has the integer in its low bits.
            let round = f32x4_splat(12_582_912.0);
            let [a, b, c, d] = floats[I].map(|floats| i32x4_sub(f32x4_add(floats, round), round));
            i8x16_narrow_i16x8(i16x8_narrow_i32x4(a, b), i16x8_narrow_i32x4(c, d))
        })
    }

    #[inline(always)]
    fn add(self, a: [v128; 4], b: [v128; 4]) -> [v128; 4] {
        each!(I => f32x4_add(a[I], b[I]))
    }

    #[inline(always)]
    fn sub(self, a: [v128; 4], b: [v128; 4]) -> [v128; 4] {
        each!(I => f32x4_sub(a[I], b[I]))
    }

    #[inline(always)]
    fn mul(self, a: [v128; 4], b: [v128; 4]) -> [v128; 4] {
        each!(I => f32x4_mul(a[I], b[I]))
    }

    #[inline(always)]
    fn add_exact(self, sum: [v128; 4], a: [v128; 4], b: [v128; 4]) -> [v128; 4] {
        each!(I => relaxed_madd(a[I], b[I], sum[I]))
    }

    #[inline(always)]
    fn max(self, a: [v128; 4], b: [v128; 4]) -> [v128; 4] {
        // `f32x4_pmax` would do, but what a compiler makes of it mistakes a zero for one of the other sign.
        each!(I => v128_bitselect(a[I], b[I], f32x4_gt(a[I], b[I])))
    }

    #[inline(always)]
    fn sum_lanes(self, vectors: &[[v128; 4]; 16]) -> [v128; 4] {
        each!(I => {
            let [a, b, c, d] = vectors.as_chunks::<4>().0[I].map(|[a, b, c, d]| f32x4_add(f32x4_add(a, c), f32x4_add(b, d)));
            let [ab, cd] = [[a, b], [c, d]].map(|[a, b]| f32x4_add(interleave_low(a, b), interleave_high(a, b)));
            f32x4_add(join_low(ab, cd), join_high(ab, cd))
        })
    }
}

/// The registers that numbers in memory fill.
#[inline(always)]
fn load<T: Copy, const N: usize, const V: usize>(from: &[T; N]) -> [v128; V] {
    const { assert!(size_of::<[T; N]>() == 16 * V) };
    core::array::from_fn(|i| {
        // SAFETY: the reference is to as many bytes as `V` registers have, and this load needs no alignment.
        unsafe { v128_load(from.as_ptr().cast::<v128>().add(i)) }
    })
}

/// Stores registers to the numbers that they fill.
#[inline(always)]
fn store<T: Copy, const N: usize, const V: usize>(from: [v128; V], to: &mut [T; N]) {
    const { assert!(size_of::<[T; N]>() == 16 * V) };
    // By reference: an iterator that owns the registers would be kept, and copied, in memory.
    for (i, from) in from.iter().enumerate() {
        // SAFETY: the reference is to as many bytes as `V` registers have, this store needs no alignment, and callers
        // store to integers and floats, which may have any bits.
        unsafe { v128_store(to.as_mut_ptr().cast::<v128>().add(i), *from) }
    }
}

/// `a * b + sum`, where it makes no difference whether the product is rounded.
#[inline(always)]
fn relaxed_madd(a: v128, b: v128, sum: v128) -> v128 {
    #[cfg(target_feature = "relaxed-simd")]
    return f32x4_relaxed_madd(a, b, sum);
    #[cfg(not(target_feature = "relaxed-simd"))]
    f32x4_add(sum, f32x4_mul(a, b))
}

/// Adds to each lane four products of signed bytes and others of 7 bits.
#[inline(always)]
fn relaxed_dot(signed: v128, small: v128, sum: v128) -> v128 {
    #[cfg(target_feature = "relaxed-simd")]
    return i32x4_relaxed_dot_i8x16_i7x16_add(signed, small, sum);
    #[cfg(not(target_feature = "relaxed-simd"))]
    add_fours(sum, halves(small), signed)
}

/// Adds to each lane four products of signed weights and activations, of which there are the magnitudes, and all ones where
/// they are negative.
#[inline(always)]
fn dot_magnitudes(sum: v128, weights: v128, [magnitude, negative]: [v128; 2]) -> v128 {
    let rest = relaxed_dot(u8x16_splat(1), v128_and(negative, magnitude), i32x4_splat(0));
    i32x4_add(relaxed_dot(v128_xor(weights, negative), magnitude, sum), rest)
}

/// Adds pairs of products of signed bytes and others of 7 bits.
#[inline(always)]
fn relaxed_pairs(signed: v128, small: v128) -> v128 {
    #[cfg(target_feature = "relaxed-simd")]
    return i16x8_relaxed_dot_i8x16_i7x16(signed, small);
    #[cfg(not(target_feature = "relaxed-simd"))]
    {
        let ([a, b], [c, d]) = (halves(signed), halves(small));
        i16x8_add(i16x8_mul(a, c), i16x8_mul(b, d))
    }
}

/// The bytes of `table` at indices below 16.
#[inline(always)]
fn relaxed_swizzle(table: v128, index: v128) -> v128 {
    #[cfg(target_feature = "relaxed-simd")]
    return u8x16_relaxed_swizzle(table, index);
    #[cfg(not(target_feature = "relaxed-simd"))]
    u8x16_swizzle(table, index)
}

/// The even and the odd ones of signed bytes, as `i16`.
#[inline(always)]
fn halves(bytes: v128) -> [v128; 2] {
    [i16x8_shr(i16x8_shl(bytes, 8), 8), i16x8_shr(bytes, 8)]
}

/// Adds to each lane four products of weights, their even and odd ones, and signed bytes.
#[inline(always)]
fn add_fours(sum: v128, [even, odd]: [v128; 2], x: v128) -> v128 {
    let [x_even, x_odd] = halves(x);
    i32x4_add(i32x4_add(sum, i32x4_dot_i16x8(even, x_even)), i32x4_dot_i16x8(odd, x_odd))
}

/// 16 `i8` as `i16`.
#[inline(always)]
fn widen(bytes: v128) -> [v128; 2] {
    [i16x8_extend_low_i8x16(bytes), i16x8_extend_high_i8x16(bytes)]
}

/// `a0, a0, a1, a1, a2, a2, a3, a3`, and the same with the others.
#[inline(always)]
fn twins(a: v128) -> [v128; 2] {
    [u16x8_shuffle::<0, 0, 1, 1, 2, 2, 3, 3>(a, a), u16x8_shuffle::<4, 4, 5, 5, 6, 6, 7, 7>(a, a)]
}

/// `a0, b0, a1, b1`.
#[inline(always)]
fn interleave_low(a: v128, b: v128) -> v128 {
    u32x4_shuffle::<0, 4, 1, 5>(a, b)
}

/// `a2, b2, a3, b3`.
#[inline(always)]
fn interleave_high(a: v128, b: v128) -> v128 {
    u32x4_shuffle::<2, 6, 3, 7>(a, b)
}

/// `a0, a1, b0, b1`.
#[inline(always)]
fn join_low(a: v128, b: v128) -> v128 {
    u64x2_shuffle::<0, 2>(a, b)
}

/// `a2, a3, b2, b3`.
#[inline(always)]
fn join_high(a: v128, b: v128) -> v128 {
    u64x2_shuffle::<1, 3>(a, b)
}

/// Transposes 4 x 4 groups of 4 bytes.
#[inline(always)]
fn transpose_square([a, b, c, d]: [v128; 4]) -> [v128; 4] {
    let (low0, high0) = (interleave_low(a, b), interleave_high(a, b));
    let (low1, high1) = (interleave_low(c, d), interleave_high(c, d));
    [join_low(low0, low1), join_high(low0, low1), join_low(high0, high1), join_high(high0, high1)]
}

/// The sum of the integers of each of four registers.
#[inline(always)]
fn sum_fours([a, b, c, d]: [v128; 4]) -> v128 {
    let [ab, cd] = [[a, b], [c, d]].map(|[a, b]| i32x4_add(interleave_low(a, b), interleave_high(a, b)));
    i32x4_add(join_low(ab, cd), join_high(ab, cd))
}

/// 16 numbers of 16 bits, as the high halves of 32.
#[inline(always)]
fn high_halves([low, high]: [v128; 2]) -> [v128; 4] {
    let zero = u16x8_splat(0);
    [
        u16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(zero, low),
        u16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(zero, low),
        u16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(zero, high),
        u16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(zero, high),
    ]
}

/// Where sign, exponent and mantissa of an `f16` are once it is moved to their places in an `f32`.
const PLACES: u32 = 0x8FFF_E000;
/// What the exponent of an `f16` lacks to one of an `f32`.
const BIAS: u32 = 112 << 23;
/// That power of two.
const SCALE: f32 = f32::from_bits((127 + 112) << 23);

/// The `f16` in the high halves of 16 numbers; their low halves may hold anything.
#[inline(always)]
fn from_halfs(bits: [v128; 4]) -> [v128; 4] {
    let moved = bits.map(places);
    // Only the greatest exponent, that of infinite numbers and NaN, has this bit when 1 is added.
    let [a, b, c, d] = moved.map(|moved| u32x4_add(moved, u32x4_splat(1 << 23)));
    from_places(moved, v128_and(v128_or(v128_or(a, b), v128_or(c, d)), u32x4_splat(1 << 28)))
}

/// 16 `f16` that follow each other.
#[inline(always)]
fn from_packed_halfs(halfs: [v128; 2]) -> [v128; 4] {
    let exponent = u16x8_splat(0x7C00);
    let [low, high] = halfs.map(|halfs| i16x8_eq(v128_and(halfs, exponent), exponent));
    from_places(high_halves(halfs).map(places), v128_or(low, high))
}

/// The parts of the `f16` in the high halves, moved to their places.
#[inline(always)]
fn places(bits: v128) -> v128 {
    v128_and(i32x4_shr(bits, 3), u32x4_splat(PLACES))
}

/// What `f16` stand for whose parts are at their places; `above` is not zero where some are infinite or NaN.
#[inline(always)]
fn from_places(moved: [v128; 4], above: v128) -> [v128; 4] {
    // The others are too small by a power of two, subnormal ones as well.
    let finite = moved.map(|moved| f32x4_mul(moved, f32x4_splat(SCALE)));
    if !v128_any_true(above) {
        return finite;
    }
    // Copies that are made here alone: else compilers keep all of this in memory, to have it there for the call.
    let [a, b, c, d] = moved;
    let any = from_any_halfs(&[a, b, c, d]);
    [any[0], any[1], any[2], any[3]]
}

/// The same where some are infinite or NaN, from their bits at their places.
#[cold]
#[inline(never)]
fn from_any_halfs(moved: &[v128; 4]) -> [v128; 4] {
    moved.map(|moved| {
        let magnitude = v128_and(moved, u32x4_splat(0x7FFF_FFFF));
        let infinite = i32x4_ge(magnitude, u32x4_splat(31 << 23));
        let finite = f32x4_mul(moved, f32x4_splat(SCALE));
        v128_bitselect(v128_or(moved, u32x4_splat(0xFF << 23)), finite, infinite)
    })
}

/// Four `f32` as the bits of `f16`, rounded to nearest even.
#[inline(always)]
fn to_half(floats: v128) -> v128 {
    let magnitude = v128_and(floats, u32x4_splat(0x7FFF_FFFF));
    let sign = u32x4_shr(v128_xor(floats, magnitude), 16);
    // Half of a unit in the last place, less one where the number below is even.
    let odd = v128_and(u32x4_shr(magnitude, 13), u32x4_splat(1));
    let rounded = u32x4_add(u32x4_add(magnitude, u32x4_splat(0xFFF)), odd);
    let normal = u32x4_shr(u32x4_sub(rounded, u32x4_splat(BIAS)), 13);
    // A unit of 2^-24 is the last place of 0.5: the sum is rounded to it.
    let half = f32x4_splat(0.5);
    let small = u32x4_sub(f32x4_add(magnitude, half), half);
    let finite = v128_bitselect(small, normal, i32x4_lt(magnitude, u32x4_splat(BIAS + (1 << 23))));
    let infinity = u32x4_splat(0x7C00);
    let nan = v128_or(v128_and(u32x4_shr(magnitude, 13), u32x4_splat(0x3FF)), u32x4_splat(0x200));
    let nan = v128_and(nan, i32x4_gt(magnitude, u32x4_splat(0xFF << 23)));
    let large = i32x4_ge(magnitude, u32x4_splat(143 << 23));
    v128_or(v128_bitselect(v128_or(infinity, nan), finite, large), sign)
}
