//! Elementary functions with the same bits on every machine.
//!
//! The hot ones are written out in basic IEEE operations, so that loops over them vectorize and no platform's libm has a
//! say. The rare ones (tables made once per session) come from the `libm` crate, which is plain Rust everywhere.

/// `e^x`, within 2 units in the last place for results in the normal range; 0 below -87.3, infinite above 88.7.
///
/// Cody-Waite reduction `x = n ln 2 + r`, a degree-6 polynomial for `e^r` with |r| ≤ ln 2 / 2, scaled by `2^n`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let clamped = if x > 89.0 { 89.0 } else { x };
    let (p, n) = exp_parts(if clamped < -88.0 { -88.0 } else { clamped });
    // 2^n in two factors, since n may be 128 where the result is still finite after the product, or infinite.
    let half = n >> 1;
    let y = p * power_of_two(half) * power_of_two(n - half);
    if x < LEAST_EXPONENT { 0.0 } else { y }
}

/// [`exp`] of what is not above zero, in fewer steps, with the same bits.
#[inline(always)]
pub fn exp_to_one(x: f32) -> f32 {
    let (p, n) = exp_parts(if x < -88.0 { -88.0 } else { x });
    let y = p * power_of_two(n);
    if x < LEAST_EXPONENT { 0.0 } else { y }
}

/// `e^x` of what is not above zero, in 13 significant bits; zero where that is below 2^-110. So the product with an `f16` is
/// exact, as that of what [`shorten`](crate::quant::shorten) makes.
///
/// It is `2^t` with `t = x log2(e)`. The polynomial for the fraction, from -1/2 to 1/2, is within 3e-6 of it, relatively.
#[inline(always)]
pub fn exp_short(x: f32) -> f32 {
    const LEAST: f32 = -110.0;
    let exponent = x * core::f32::consts::LOG2_E;
    let clamped = if exponent < LEAST { LEAST } else { exponent };
    let rounded = clamped + ROUND;
    let f = clamped - (rounded - ROUND);
    let mut p = 9.582_856e-3f32;
    p = p * f + 5.590_643e-2;
    p = p * f + 0.240_240_99;
    p = p * f + 0.693_124_2;
    p = p * f + 1.0;
    let y = p * power_of_two(integer(rounded));
    // The high part of Veltkamp's splitting.
    let u = y * 2049.0;
    if exponent < LEAST { 0.0 } else { u - (u - y) }
}

/// What has a result in the normal range.
const LEAST_EXPONENT: f32 = -87.336_54;

/// 1.5 * 2^23: adding it rounds to an integer, half to even.
const ROUND: f32 = 12_582_912.0;

/// The integer that [`ROUND`] was added to. The sum has it in its low bits; a conversion, which must deal with NaN, would keep
/// loops from vectorizing.
#[inline(always)]
fn integer(rounded: f32) -> i32 {
    (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)
}

/// `e^x` as `e^r` and the n of `2^n`.
#[inline(always)]
fn exp_parts(x: f32) -> (f32, i32) {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let rounded = x * core::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.987_569_1e-4f32;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 0.166_666_66;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.0;
    (p, integer(rounded))
}

/// `2^n` of -126 to 127; zero of -127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Hyperbolic tangent by `1 - 2 / (e^2x + 1)`; absolute error below 2e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// Square root, correctly rounded.
#[inline(always)]
pub fn sqrt(x: f32) -> f32 {
    libm::sqrtf(x)
}

/// Natural logarithm.
pub fn ln(x: f32) -> f32 {
    libm::log(x as f64) as f32
}

/// `x` to the power `y`.
pub fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}

/// Sine and cosine of `x` radians.
pub fn sin_cos(x: f64) -> (f64, f64) {
    libm::sincos(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_exact_value() {
        let mut worst = 0.0f64;
        for i in -8700..=8870 {
            let x = i as f32 * 0.01;
            let exact = (x as f64).exp();
            worst = worst.max(((exp(x) as f64 - exact) / exact).abs());
        }
        assert!(worst < 2.5e-7, "relative error {worst}");
    }

    #[test]
    fn exp_to_one_has_the_same_bits() {
        for bits in (0..0x7F80_0000u32).step_by(257) {
            let x = -f32::from_bits(bits);
            assert_eq!(exp_to_one(x).to_bits(), exp(x).to_bits(), "{x}");
        }
        assert_eq!(exp_to_one(0.0), 1.0);
        assert_eq!(exp_to_one(f32::NEG_INFINITY), 0.0);
        assert!(exp_to_one(f32::NAN).is_nan() && exp_to_one(-f32::NAN).is_nan());
    }

    #[test]
    fn exp_short_is_close_and_short() {
        for i in 0..200_000 {
            let x = i as f32 * -4e-4;
            let (short, exact) = (exp_short(x), (x as f64).exp());
            if exact < 2f64.powi(-110) {
                assert_eq!(short, 0.0, "{x}");
                continue;
            }
            assert!((short as f64 / exact - 1.0).abs() < 2f64.powi(-13) + 1e-5, "{x}");
            assert_eq!(short.to_bits() % (1 << 11), 0, "{x} has more than 13 bits");
        }
        assert_eq!(exp_short(-0.0), 1.0);
        assert_eq!(exp_short(f32::NEG_INFINITY), 0.0);
        assert!(exp_short(f32::NAN).is_nan() && exp_short(-f32::NAN).is_nan());
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_odd_enough_and_bounded() {
        for i in -2000..=2000 {
            let x = i as f32 * 0.01;
            assert!((tanh(x) as f64 - (x as f64).tanh()).abs() < 2e-7, "{x}");
        }
        assert_eq!(tanh(100.0), 1.0);
        assert_eq!(tanh(-100.0), -1.0);
    }
}
