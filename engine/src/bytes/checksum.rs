//! A checksum that is the same everywhere.

/// Odd, with its bits spread evenly: the fraction of the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// Where each lane starts: fractions of the square roots of 2, 3, 5 and 7.
const LANES: [u64; 4] = [0x6a09_e667_f3bc_c908, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1];

/// A 64-bit checksum of `bytes` and of what `seed` is the checksum of (0: nothing). It finds accidents, not forgeries: a
/// change within 8 aligned bytes is always found, any other almost always.
///
/// Every step is a bijection of its lane for a given word, and of the word for a given lane, so that a difference in one
/// word stays a difference. Four lanes take words in turn, which is four times as fast as one.
pub fn checksum(seed: u64, bytes: &[u8]) -> u64 {
    let mut lanes = LANES.map(|lane| lane ^ seed);
    let (blocks, rest) = bytes.as_chunks::<32>();
    blocks.iter().for_each(|block| take(&mut lanes, block));
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    take(&mut lanes, &last);
    let mixed = lanes.iter().fold(bytes.len() as u64, |sum, lane| mix(sum, *lane));
    mix(mixed, seed)
}

#[inline(always)]
fn take(lanes: &mut [u64; 4], block: &[u8; 32]) {
    for (lane, word) in lanes.iter_mut().zip(block.as_chunks().0) {
        *lane = mix(*lane, u64::from_le_bytes(*word));
    }
}

#[inline(always)]
fn mix(sum: u64, word: u64) -> u64 {
    let product = (sum ^ word).wrapping_mul(FACTOR);
    product ^ product >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    #[test]
    fn every_difference_counts() {
        let bytes: Vec<u8> = (1..101).collect();
        let mut seen = BTreeSet::new();
        // Lengths, also of zeros; seeds; single bits.
        for length in 0..bytes.len() {
            assert!(seen.insert(checksum(0, &bytes[..length])), "{length} bytes");
            assert!(seen.insert(checksum(1, &bytes[..length])), "{length} bytes behind others");
            assert!(length == 0 || seen.insert(checksum(0, &[0; 100][..length])), "{length} zeros");
        }
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(checksum(0, &flipped)), "bit {bit}");
        }
    }

    #[test]
    fn it_stays_what_it_was() {
        let bytes: Vec<u8> = (0..77).collect();
        assert_eq!(checksum(checksum(0, &bytes), b"more"), 0x6767_db01_21e9_2522);
    }
}
