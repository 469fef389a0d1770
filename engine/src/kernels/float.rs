//! Sums and products of f32 vectors, with one order of operations on every machine.
//!
//! A sum runs in 16 virtual lanes (lane l takes the elements l, l + 16, …, in ascending order, one rounding per multiply
//! and per add), which are then added as a tree: 8, 4, 2, 1. Written as plain loops over arrays of 16, which compile to
//! whatever vectors the level of the surrounding kernel has.

/// Number of virtual lanes.
pub const LANES: usize = 16;

/// The sum of the lanes, as a tree.
#[inline(always)]
pub fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The dot product of two vectors of the same length.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for l in 0..LANES {
            lanes[l] += a[l] * b[l];
        }
    }
    for (l, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[l] += a * b;
    }
    sum_lanes(lanes)
}

/// The sum of a vector.
#[inline(always)]
pub fn sum(a: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (whole, rest) = a.as_chunks::<LANES>();
    for a in whole {
        for l in 0..LANES {
            lanes[l] += a[l];
        }
    }
    for (l, a) in rest.iter().enumerate() {
        lanes[l] += a;
    }
    sum_lanes(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// The definition, element by element.
    fn lanes_of(products: &[f32]) -> f32 {
        let mut lanes = [0.0f32; LANES];
        for (i, product) in products.iter().enumerate() {
            lanes[i % LANES] += product;
        }
        let eight: Vec<f32> = (0..8).map(|l| lanes[l] + lanes[l + 8]).collect();
        let four: Vec<f32> = (0..4).map(|l| eight[l] + eight[l + 4]).collect();
        (four[0] + four[2]) + (four[1] + four[3])
    }

    proptest::proptest! {
        #[test]
        fn sums_follow_the_definition(pairs in proptest::collection::vec((-1e3f32..1e3, -1e3f32..1e3), 0..70)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let products: Vec<f32> = pairs.iter().map(|(a, b)| a * b).collect();
            proptest::prop_assert_eq!(dot(&a, &b).to_bits(), lanes_of(&products).to_bits());
            proptest::prop_assert_eq!(sum(&a).to_bits(), lanes_of(&a).to_bits());
        }
    }
}
