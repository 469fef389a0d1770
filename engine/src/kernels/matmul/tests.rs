use super::*;
use crate::quant::naive::{self, Fill, Owned, Random};
use crate::quant::{Activation, Codes};
use crate::simd::{Kernel, Level};
use alloc::vec;

struct Product<'a, 'o> {
    kind: TensorType,
    rows: &'a [u8],
    columns: Columns<'a>,
    out: Tile<'o, f32>,
}

impl Kernel for Product<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let rows = Rows { bytes: self.rows, after: &[] };
        matmul(s, self.kind, rows, &self.columns, &mut self.out, &mut Scratch::default());
    }
}

/// NaN of any bits counts as one.
fn bits(y: f32) -> u32 {
    if y.is_nan() { f32::NAN.to_bits() } else { y.to_bits() }
}

/// Checks every element of a product at every level, and that nothing outside the tile is written.
fn check(kind: TensorType, rows: &[u8], columns: &Owned, what: &str) {
    let view = columns.view(kind.activation());
    let row_bytes = kind.row_bytes(columns.k).unwrap();
    let count = rows.len() / row_bytes;
    let mut expected = vec![7.0f32; (count + 2) * columns.n];
    for (c, out) in expected.chunks_mut(count + 2).enumerate() {
        for (row, out) in rows.chunks(row_bytes).zip(&mut out[1..]) {
            *out = naive::dot(kind, row, &view, c);
        }
    }
    for level in Level::available() {
        let mut out = vec![7.0; (count + 2) * columns.n];
        level.run(Product { kind, rows, columns: view, out: Tile::new(&mut out, count + 2, 1..count + 1) });
        for (i, (y, expected)) in out.iter().zip(&expected).enumerate() {
            let (c, r) = (i / (count + 2), i % (count + 2));
            assert_eq!(
                bits(*y),
                bits(*expected),
                "{level} {} {what}: row {r}-1 of {count}, column {c} of {}: {y} for {expected}",
                kind.name(),
                columns.n
            );
        }
    }
}

/// A row of `blocks` blocks, or of floats that are not a whole number of vectors.
fn row_len(kind: TensorType, blocks: usize) -> usize {
    if kind.block_len() == 1 { blocks * 13 } else { blocks * kind.block_len() }
}

#[test]
fn rows_of_any_length_and_content() {
    for &kind in TensorType::ALL {
        for blocks in [1, 2, 3, 7, 8, 9, 18] {
            for fill in Fill::ALL {
                let random = &mut Random(blocks as u64);
                let k = row_len(kind, blocks);
                let rows = naive::blocks(kind, 3 * k / kind.block_len(), fill, random);
                for (n, extreme) in [(1, false), (1, true), (5, true), (9, true), (32, true)] {
                    let columns = Owned::random(kind.activation(), k, n, extreme, random);
                    check(kind, &rows, &columns, &alloc::format!("{blocks} blocks of {fill:?}"));
                }
            }
        }
    }
}

#[test]
fn matrices_of_any_shape() {
    for &kind in TensorType::ALL {
        let random = &mut Random(9);
        let k = row_len(kind, 3);
        for rows in 1..=17 {
            let bytes = naive::blocks(kind, rows * k / kind.block_len(), Fill::Random, random);
            for n in 1..=17 {
                let columns = Owned::random(kind.activation(), k, n, false, random);
                check(kind, &bytes, &columns, "shape");
            }
        }
    }
}

#[test]
fn more_rows_than_a_panel_and_more_elements() {
    for &kind in TensorType::ALL {
        let random = &mut Random(10);
        // Blocks of 32: an odd number.
        let k = if kind.block_len() == 32 { 1312 } else { 1280 };
        let rows = naive::blocks(kind, 37 * k / kind.block_len(), Fill::Random, random);
        for n in [2, 13, 32, 47, 49, 274] {
            check(kind, &rows, &Owned::random(kind.activation(), k, n, false, random), "long");
        }
    }
}

#[test]
fn columns_that_lie_apart() {
    for &kind in TensorType::ALL {
        let random = &mut Random(12);
        let k = 1024;
        let rows = naive::blocks(kind, 37 * k / kind.block_len(), Fill::Random, random);
        for n in [1, 3, 36] {
            check(kind, &rows, &Owned::random(kind.activation(), k, n, false, random), "apart");
        }
    }
}

/// Without tiles there is nothing here that the other tests don't have.
#[test]
fn tiles_of_several_sections() {
    if !Level::AmxInt8.is_available() {
        return;
    }
    for kind in [TensorType::Q4_0, TensorType::Q4_K] {
        let random = &mut Random(14);
        let k = 1024;
        let rows = naive::blocks(kind, 200 * k / kind.block_len(), Fill::Random, random);
        check(kind, &rows, &Owned::random(kind.activation(), k, 530, false, random), "sections");
    }
}

#[test]
fn nan_and_infinite_scales_pass_through() {
    for &kind in TensorType::ALL {
        let random = &mut Random(11);
        let k = row_len(kind, 3);
        let rows = naive::blocks(kind, 9 * k / kind.block_len(), Fill::Random, random);
        for (bad, n) in [5, 9, 32].into_iter().flat_map(|n| [(f32::NAN, n), (f32::INFINITY, n)]) {
            let mut columns = Owned::random(kind.activation(), k, n, false, random);
            columns.floats[k + 3] = bad;
            columns.d.iter_mut().skip(4).step_by(7).for_each(|d| *d = bad);
            check(kind, &rows, &columns, "not finite");
        }
    }
}

#[test]
fn wide_activations() {
    for &kind in TensorType::ALL.iter().filter(|kind| kind.block_len() > 1) {
        let random = &mut Random(13);
        for (blocks, rows) in [(1, 3), (3, 17), (18, 37), (259, 2)] {
            let k = row_len(kind, blocks);
            let bytes = naive::blocks(kind, rows * k / kind.block_len(), Fill::Random, random);
            for n in 1..=9 {
                let columns = Owned::random_wide(kind.activation(), k, n, n % 3 == 0, random);
                check(kind, &bytes, &columns, "wide");
            }
        }
    }
}

#[test]
fn empty_products() {
    for &kind in TensorType::ALL {
        let random = &mut Random(12);
        let k = row_len(kind, 2);
        check(kind, &[], &Owned::random(kind.activation(), k, 2, false, random), "no rows");
        let rows = naive::blocks(kind, 2 * k / kind.block_len(), Fill::Random, random);
        check(kind, &rows, &Owned::random(kind.activation(), k, 0, false, random), "no columns");
        let columns = Owned::random(kind.activation(), 0, 2, false, random);
        let mut out = [7.0; 6];
        let tile = Tile::new(&mut out, 3, 0..3);
        Level::best().run(Product { kind, rows: &[], columns: columns.view(kind.activation()), out: tile });
        assert_eq!(out, [0.0; 6], "{} with no elements", kind.name());
    }
}

#[test]
#[should_panic(expected = "activations for Q4_K")]
fn the_form_of_the_activations_must_fit() {
    let columns = Owned::random(Activation::Q8, 256, 1, false, &mut Random(1));
    let mut out = [0.0];
    let out = Tile::new(&mut out, 1, 0..1);
    let rows = vec![0; 144];
    Level::Scalar.run(Product { kind: TensorType::Q4_K, rows: &rows, columns: columns.view(Activation::Q8), out });
}

#[test]
fn partial_sums_stay_exact() {
    for max in [1, 3, 7, 15, 24, 31, 63, 127] {
        let run = Codes::Unsigned { max, offset: 0 }.run();
        assert!(run > 0 && 8 % run == 0 && run * max as usize <= 129, "{max}");
    }
}
