//! Norms, rotary embedding and activations.

use super::float;
use crate::math;
use crate::spec::{Gate, RopeLayout};

/// `out = x / rms(x) * weight`, `rms(x) = sqrt(mean(x²) + epsilon)` (Zhang and Sennrich 2019).
#[inline(always)]
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let factor = rms_factor(x, epsilon);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * factor * weight;
    }
}

/// [`rms_norm`] in place.
#[inline(always)]
pub fn rms_norm_in_place(x: &mut [f32], weight: &[f32], epsilon: f32) {
    let factor = rms_factor(x, epsilon);
    for (x, weight) in x.iter_mut().zip(weight) {
        *x = *x * factor * weight;
    }
}

/// `x += scale * rms_norm(y)`.
#[inline(always)]
pub fn add_normed(x: &mut [f32], y: &[f32], weight: &[f32], epsilon: f32, scale: f32) {
    let factor = rms_factor(y, epsilon);
    for ((x, y), weight) in x.iter_mut().zip(y).zip(weight) {
        *x += scale * (y * factor * weight);
    }
}

#[inline(always)]
fn rms_factor(x: &[f32], epsilon: f32) -> f32 {
    1.0 / math::sqrt(float::dot(x, x) / x.len() as f32 + epsilon)
}

/// Turns the pairs of `head` (Su et al. 2021): `angles` holds the cosine of every pair, then the sine of every pair, and
/// elements behind the pairs stay as they are.
#[inline(always)]
pub fn rotate(head: &mut [f32], angles: &[f32], layout: RopeLayout) {
    let pairs = angles.len() / 2;
    let (cosines, sines) = angles.split_at(pairs);
    match layout {
        RopeLayout::Interleaved => {
            let (neighbours, _) = head[..2 * pairs].as_chunks_mut::<2>();
            for ([a, b], (cos, sin)) in neighbours.iter_mut().zip(cosines.iter().zip(sines)) {
                (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
            }
        }
        RopeLayout::Halves => {
            let (first, second) = head[..2 * pairs].split_at_mut(pairs);
            for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cosines.iter().zip(sines)) {
                (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
            }
        }
    }
}

/// `out = activation(gate) * up`.
#[inline(always)]
pub fn gate(activation: Gate, gate: &[f32], up: &[f32], out: &mut [f32]) {
    let values = out.iter_mut().zip(gate.iter().zip(up));
    match activation {
        Gate::Silu => values.for_each(|(out, (gate, up))| *out = silu(*gate) * up),
        Gate::Gelu => values.for_each(|(out, (gate, up))| *out = gelu(*gate) * up),
    }
}

/// `c tanh(x / c)`.
#[inline(always)]
pub fn softcap(x: f32, c: f32) -> f32 {
    c * math::tanh(x / c)
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + math::exp(-x))
}

/// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³)))` (Hendrycks and Gimpel 2016).
#[inline(always)]
fn gelu(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + math::tanh(SQRT_2_OVER_PI * x * (1.0 + 0.044_715 * x * x)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_norm_has_mean_square_one() {
        let x: [f32; 5] = [1.0, -2.0, 3.0, -4.0, 5.0];
        let mut out = [0.0; 5];
        rms_norm(&x, &[2.0; 5], 0.0, &mut out);
        let mean = out.iter().map(|y| y * y).sum::<f32>() / 5.0;
        assert!((mean - 4.0).abs() < 1e-5, "{mean}");
        let mut same = x;
        rms_norm_in_place(&mut same, &[2.0; 5], 0.0);
        assert_eq!(same, out);
    }

    #[test]
    fn rotation_turns_pairs_and_leaves_the_rest() {
        let angles = [0.0, 1.0, 1.0, 0.0]; // pair 0 by a quarter turn, pair 1 not at all
        let mut head = [1.0, 2.0, 3.0, 4.0, 5.0];
        rotate(&mut head, &angles, RopeLayout::Interleaved);
        assert_eq!(head, [-2.0, 1.0, 3.0, 4.0, 5.0]);
        let mut head = [1.0, 2.0, 3.0, 4.0, 5.0];
        rotate(&mut head, &angles, RopeLayout::Halves);
        assert_eq!(head, [-3.0, 2.0, 1.0, 4.0, 5.0]);
    }

    #[test]
    fn activations_are_close_to_the_exact_values() {
        for i in -400..=400 {
            let x = i as f32 * 0.05;
            let exact = x as f64 / (1.0 + (-x as f64).exp());
            assert!((silu(x) as f64 - exact).abs() <= 1e-6 * (1.0 + exact.abs()), "silu({x})");
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x as f64 + 0.044715 * (x as f64).powi(3));
            let exact = 0.5 * x as f64 * (1.0 + inner.tanh());
            assert!((gelu(x) as f64 - exact).abs() <= 2e-6 * (1.0 + exact.abs()), "gelu({x})");
        }
        assert_eq!(softcap(1e9, 30.0), 30.0);
    }
}
