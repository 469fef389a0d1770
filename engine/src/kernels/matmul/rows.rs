//! Few columns: one row after the other, straight from the file's bytes, in the order in which they lie there.
//!
//! Memory sets the pace, so the matrix is one stream, with a prefetch ahead of it. What is left of a block's products is a
//! vector of partial sums; those of 16 blocks are reduced together to a vector with a lane per block, so that scales are
//! multiplied 16 at a time. The terms wait until there are those of 16 rows; transposed, they have a lane per row, and are
//! added one after the other.
//!
//! Rows that are not a multiple of 16 blocks leave some over. Those of several rows make up another 16, in a copy where they
//! do not follow each other in memory.

use super::{Format, Quantized};
use crate::bytes::Tile;
use crate::simd::{Kernel, Simd};
use core::marker::PhantomData;
use core::ops::Range;

/// Blocks whose sums are reduced together.
pub(super) const GROUP: usize = 16;
/// Rows whose terms are added at the same time.
const ROWS: usize = 16;
/// Blocks of a row whose terms wait at most.
const SEGMENT: usize = 128;
/// Distance of the prefetch in bytes.
const AHEAD: usize = 4096;

/// Terms of some rows.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Terms([[[f32; GROUP]; SEGMENT / GROUP]; ROWS]);

/// The product with a matrix of blocks.
pub(super) struct Rows<'a, 'o, F, const LEN: usize, const SUMS: usize, const N: usize> {
    pub rows: &'a [u8],
    pub x: Quantized<'a, LEN, SUMS>,
    pub out: &'a mut Tile<'o, f32>,
    pub format: PhantomData<F>,
}

impl<F, const LEN: usize, const SUMS: usize, const N: usize> Kernel for Rows<'_, '_, F, LEN, SUMS, N>
where
    F: Format<LEN, SUMS, N>,
{
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        // Unpacking a block for four columns costs little more than for one.
        let mut c = 0;
        while c < self.x.n {
            if self.x.n - c < 3 {
                self.columns::<S, 1>(s, c);
                c += 1;
            } else {
                self.columns::<S, 4>(s, c);
                c += 4;
            }
        }
    }
}

impl<F, const LEN: usize, const SUMS: usize, const N: usize> Rows<'_, '_, F, LEN, SUMS, N>
where
    F: Format<LEN, SUMS, N>,
{
    /// All rows times columns `c..c + C`, as far as there are.
    #[inline(always)]
    fn columns<S: Simd, const C: usize>(&mut self, s: S, c: usize) {
        let mut terms = [Terms([[[0.0; GROUP]; SEGMENT / GROUP]; ROWS]); C];
        let rest = Rest::new(self.x, c);
        for first in (0..self.out.width()).step_by(ROWS) {
            let rows = first..(first + ROWS).min(self.out.width());
            for from in (0..self.x.blocks).step_by(SEGMENT) {
                let blocks = from..(from + SEGMENT).min(self.x.blocks);
                self.terms(s, c, rows.clone(), blocks.clone(), &rest, &mut terms);
                for (terms, c) in terms.iter().zip(c..self.x.n) {
                    let out = &mut self.out.row(c)[rows.clone()];
                    let mut y = [0.0; ROWS];
                    if from > 0 {
                        y[..out.len()].copy_from_slice(out);
                    }
                    s.store_floats(add_in_order(s, s.floats(&y), terms, blocks.len()), &mut y);
                    out.copy_from_slice(&y[..out.len()]);
                }
            }
        }
    }

    /// The terms of a range of blocks of some rows: groups row by row, then what is left over.
    #[inline(always)]
    fn terms<S: Simd, const C: usize>(
        &self,
        s: S,
        c: usize,
        rows: Range<usize>,
        blocks: Range<usize>,
        rest: &Rest<LEN, SUMS, C>,
        terms: &mut [Terms; C],
    ) {
        let all = self.rows.as_chunks::<N>().0;
        let groups = blocks.len() / GROUP;
        let left = if blocks.len().is_multiple_of(GROUP) { 0 } else { rows.len().div_ceil(rest.rows) };
        let (mut row, mut group) = (rows.start, 0);
        let mut copy = [[0; N]; GROUP];
        for job in 0..groups * rows.len() + left {
            let over = job.checked_sub(groups * rows.len()).map(|i| rows.start + i * rest.rows);
            let start = row * self.x.blocks + blocks.start + group * GROUP;
            let (sixteen, x) = match over {
                None => {
                    (all[start..].first_chunk().expect("a whole group"), self.x.groups(c, blocks.start + group * GROUP))
                }
                Some(first) => (rest.blocks(all, self.x.blocks, first..rows.end, &mut copy), rest.groups()),
            };
            let ahead = Ahead { rows: self.rows, at: start * N + AHEAD };
            let of_columns = F::terms::<S, C>(s, sixteen, &x, ahead);
            if let Some(first) = over {
                rest.scatter(s, of_columns, first - rows.start, blocks.start, terms);
                continue;
            }
            for (terms, of_column) in terms.iter_mut().zip(of_columns) {
                s.store_floats(of_column, &mut terms.0[row - rows.start][group]);
            }
            group += 1;
            if group == groups {
                (row, group) = (row + 1, 0);
            }
        }
    }
}

/// Adds `count` terms of each row.
#[inline(always)]
fn add_in_order<S: Simd>(s: S, mut y: S::Floats, terms: &Terms, count: usize) -> S::Floats {
    for g in 0..count.div_ceil(GROUP) {
        let mut rows = [y; ROWS];
        for (row, terms) in rows.iter_mut().zip(&terms.0) {
            *row = s.floats(&terms[g]);
        }
        for turned in s.transpose_floats(rows).iter().take(count - g * GROUP) {
            y = s.add(y, *turned);
        }
    }
    y
}

/// 16 blocks of a column.
#[derive(Clone, Copy)]
pub(super) struct Group<'a, const LEN: usize, const SUMS: usize> {
    pub qs: &'a [[i8; LEN]; GROUP],
    pub d: &'a [f32; GROUP],
    pub sums: &'a [[i16; SUMS]; GROUP],
}

/// The blocks of columns that are left over, once for each of several rows.
#[repr(C, align(64))]
struct Rest<const LEN: usize, const SUMS: usize, const C: usize> {
    /// How many rows, and how many blocks they have here together.
    rows: usize,
    count: usize,
    /// Of which of the rows, and which block of a row, each of 16 is.
    places: [[usize; 2]; GROUP],
    qs: [[[i8; LEN]; GROUP]; C],
    d: [[f32; GROUP]; C],
    sums: [[[i16; SUMS]; GROUP]; C],
}

impl<const LEN: usize, const SUMS: usize, const C: usize> Rest<LEN, SUMS, C> {
    /// Of columns `c` and up.
    #[inline(always)]
    fn new(x: Quantized<'_, LEN, SUMS>, c: usize) -> Self {
        let left = x.blocks % GROUP;
        let rows = GROUP.checked_div(left).unwrap_or(0);
        let (mut qs, mut d, mut sums) = ([[[0; LEN]; GROUP]; C], [[0.0; GROUP]; C], [[[0; SUMS]; GROUP]; C]);
        // What is beyond the last row repeats it.
        let mut places = [[rows.saturating_sub(1), x.blocks - 1]; GROUP];
        for row in 0..rows {
            let to = row * left..(row + 1) * left;
            for (b, place) in places[to.clone()].iter_mut().enumerate() {
                *place = [row, x.blocks - left + b];
            }
            for i in 0..C {
                let part = x.part((c + i).min(x.n - 1), x.blocks - left, left);
                qs[i][to.clone()].copy_from_slice(part.qs);
                d[i][to.clone()].copy_from_slice(part.d);
                sums[i][to.clone()].copy_from_slice(part.sums);
            }
        }
        Self { rows, count: rows * left, places, qs, d, sums }
    }

    /// The blocks of those of `rows` that are together here.
    #[inline(always)]
    fn blocks<'a, const N: usize>(
        &self,
        all: &'a [[u8; N]],
        count: usize,
        rows: Range<usize>,
        copy: &'a mut [[u8; N]; GROUP],
    ) -> &'a [[u8; N]; GROUP] {
        if count * self.rows == GROUP
            && let Some(together) = all[rows.start * count..].first_chunk()
        {
            return together;
        }
        for (to, [row, block]) in copy.iter_mut().zip(self.places) {
            *to = all[(rows.start + row).min(rows.end - 1) * count + block];
        }
        copy
    }

    #[inline(always)]
    fn groups(&self) -> [Group<'_, LEN, SUMS>; C] {
        let mut groups = [Group { qs: &self.qs[0], d: &self.d[0], sums: &self.sums[0] }; C];
        for (i, group) in groups.iter_mut().enumerate() {
            *group = Group { qs: &self.qs[i], d: &self.d[i], sums: &self.sums[i] };
        }
        groups
    }

    /// Puts terms where they belong: of rows `first` and up, of a range of blocks that starts at `from`.
    #[inline(always)]
    fn scatter<S: Simd>(&self, s: S, of_columns: [S::Floats; C], first: usize, from: usize, terms: &mut [Terms; C]) {
        for (terms, of_column) in terms.iter_mut().zip(of_columns) {
            let mut lanes = [0.0; GROUP];
            s.store_floats(of_column, &mut lanes);
            for (lane, [row, block]) in lanes.iter().zip(self.places).take(self.count) {
                if let Some(terms) = terms.0.get_mut(first + row) {
                    terms[(block - from) / GROUP][block % GROUP] = *lane;
                }
            }
        }
    }
}

/// What is prefetched while a group of blocks is in work.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'a> {
    rows: &'a [u8],
    at: usize,
}

impl Ahead<'_> {
    /// To be called for bytes `from..from + len` of the group.
    #[inline(always)]
    pub fn prefetch<S: Simd>(self, s: S, from: usize, len: usize) {
        for line in (0..len).step_by(64) {
            s.prefetch(self.rows, self.at + from + line);
        }
    }
}
