//! A rectangle of a matrix that one thread may write while others write the rest.

use core::marker::PhantomData;
use core::ops::Range;

/// Exclusive view of the elements `columns` of every row of a row-major matrix.
pub struct Tile<'a, T> {
    first: *mut T,
    rows: usize,
    stride: usize,
    width: usize,
    matrix: PhantomData<&'a mut [T]>,
}

impl<'a, T> Tile<'a, T> {
    /// The elements `columns` of each row of `matrix`, whose rows are `stride` long.
    ///
    /// # Panics
    /// Where `columns` is not within a row, or `matrix` is not a whole number of rows.
    pub fn new(matrix: &'a mut [T], stride: usize, columns: Range<usize>) -> Self {
        assert!(columns.start <= columns.end && columns.end <= stride && matrix.len().is_multiple_of(stride));
        let rows = matrix.len() / stride;
        // SAFETY: the exclusive borrow of `matrix` is ours for 'a, and the rectangle lies inside it.
        unsafe { Self::from_raw(matrix.as_mut_ptr(), rows, stride, columns) }
    }

    /// A tile of the matrix of `rows` rows that starts at `matrix`.
    ///
    /// # Safety
    /// For 'a, the elements `columns` of all rows are valid and reached through this tile alone.
    pub(super) unsafe fn from_raw(matrix: *mut T, rows: usize, stride: usize, columns: Range<usize>) -> Self {
        let width = columns.end - columns.start;
        Self { first: matrix.wrapping_add(columns.start), rows, stride, width, matrix: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row that belong to this tile.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The rows `rows` of this tile.
    ///
    /// # Panics
    /// Where there are no such rows.
    pub fn rows_of(&mut self, rows: Range<usize>) -> Tile<'_, T> {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        let first = self.first.wrapping_add(rows.start * self.stride);
        Tile { first, rows: rows.len(), stride: self.stride, width: self.width, matrix: PhantomData }
    }

    /// This tile's parts of two different rows.
    ///
    /// # Panics
    /// Where there are no such rows.
    pub fn two_rows(&mut self, a: usize, b: usize) -> [&mut [T]; 2] {
        assert!(a != b && a.max(b) < self.rows, "rows {a} and {b} of {}", self.rows);
        // SAFETY: as for `row`; the rows do not overlap, because a row's tile is within its stride.
        [a, b].map(|row| unsafe {
            core::slice::from_raw_parts_mut(self.first.wrapping_add(row * self.stride), self.width)
        })
    }

    /// This tile's part of row `row`.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: `from_raw`'s caller vouched for the rectangle, the row is inside it, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.first.wrapping_add(row * self.stride), self.width) }
    }
}
