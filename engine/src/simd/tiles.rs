//! Registers of matrices.

use core::marker::PhantomData;

/// Eight tiles, which are named by their number: registers of 16 rows of 64 bytes, or 16 `i32`. But tile 6 has rows of 32 bytes,
/// and tile 7 has 8 rows: they are for products of 32 codes.
///
/// A tile of weights has in its row `g` codes `4g..4g + 4` of 16 rows of a matrix; one of activations has in its row `c` 64
/// codes of a column; one of sums has in its row `c` the sums of a column and 16 rows of the matrix.
pub trait Tiles<Bytes> {
    /// 16 `i32`.
    type Ints;

    /// Fills a tile with zeros.
    fn zero<const TILE: usize>(&self);

    /// Loads a tile.
    fn load<const TILE: usize>(&self, from: &[[u8; 64]; 16]);

    /// Loads a tile whose rows lie `stride` bytes after each other.
    ///
    /// # Panics
    /// Where there are not as many.
    fn load_rows<const TILE: usize>(&self, from: &[i8], stride: usize);

    /// Loads a tile of 8 rows.
    fn load_half<const TILE: usize>(&self, from: &[[u8; 64]; 8]);

    /// Loads a tile of rows of 32 bytes, which lie `stride` bytes after each other.
    ///
    /// # Panics
    /// Where there are not as many.
    fn load_half_rows<const TILE: usize>(&self, from: &[i8], stride: usize);

    /// Adds the products of activations `X` and signed weights `W` to `SUM`.
    fn dot<const SUM: usize, const X: usize, const W: usize>(&self);

    /// The same with unsigned weights.
    fn dot_unsigned<const SUM: usize, const X: usize, const W: usize>(&self);

    /// Stores a tile of sums.
    fn store<const TILE: usize>(&self, to: &mut [[i32; 16]; 16]);

    /// Codes less an offset.
    fn signed(&self, codes: Bytes, offset: u8) -> Bytes;

    /// The products of signed codes and [scales](Tiles::lane_scale), which must be within `i16`, in two bytes: the low ones,
    /// unsigned, and the high ones, signed.
    fn scaled(&self, codes: Bytes, scale: Self::Ints) -> [Bytes; 2];

    /// The products of unsigned codes and unsigned [scales](Tiles::lane_scale), which must be within `u8`.
    fn times(&self, codes: Bytes, scale: Self::Ints) -> Bytes;

    /// For each group, its byte `j` (0 to 3) as an `i8`, in the form that [`Tiles::scaled`] and [`Tiles::times`] take.
    fn lane_scale(&self, groups: Bytes, j: usize) -> Self::Ints;

    /// The low three bits of unsigned [scales](Tiles::lane_scale), and the others.
    fn three_bits(&self, scale: Self::Ints) -> [Self::Ints; 2];

    /// Sums, and others shifted left by `shift` bits.
    fn join(&self, low: &[i32; 16], high: &[i32; 16], shift: u32) -> Self::Ints;
}

/// Where there are no tiles, there is no value of this.
#[derive(Debug)]
pub struct NoTiles<Ints>(core::convert::Infallible, PhantomData<Ints>);

impl<Bytes, Ints> Tiles<Bytes> for NoTiles<Ints> {
    type Ints = Ints;

    fn zero<const TILE: usize>(&self) {
        match self.0 {}
    }

    fn load<const TILE: usize>(&self, _: &[[u8; 64]; 16]) {
        match self.0 {}
    }

    fn load_rows<const TILE: usize>(&self, _: &[i8], _: usize) {
        match self.0 {}
    }

    fn load_half<const TILE: usize>(&self, _: &[[u8; 64]; 8]) {
        match self.0 {}
    }

    fn load_half_rows<const TILE: usize>(&self, _: &[i8], _: usize) {
        match self.0 {}
    }

    fn dot<const SUM: usize, const X: usize, const W: usize>(&self) {
        match self.0 {}
    }

    fn dot_unsigned<const SUM: usize, const X: usize, const W: usize>(&self) {
        match self.0 {}
    }

    fn store<const TILE: usize>(&self, _: &mut [[i32; 16]; 16]) {
        match self.0 {}
    }

    fn signed(&self, _: Bytes, _: u8) -> Bytes {
        match self.0 {}
    }

    fn scaled(&self, _: Bytes, _: Ints) -> [Bytes; 2] {
        match self.0 {}
    }

    fn times(&self, _: Bytes, _: Ints) -> Bytes {
        match self.0 {}
    }

    fn lane_scale(&self, _: Bytes, _: usize) -> Ints {
        match self.0 {}
    }

    fn three_bits(&self, _: Ints) -> [Ints; 2] {
        match self.0 {}
    }

    fn join(&self, _: &[i32; 16], _: &[i32; 16], _: u32) -> Ints {
        match self.0 {}
    }
}
