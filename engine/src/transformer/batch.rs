//! What one pass computes: consecutive tokens of one or several sequences.

use core::ops::Range;

use super::kv_cache::KvCache;

/// Consecutive tokens of one sequence.
pub struct Piece<'a> {
    /// The tokens, at least one.
    pub tokens: &'a [u32],
    /// Position of the first.
    pub position: usize,
    /// Keys and values of the sequence.
    pub cache: &'a KvCache,
    /// Of how many of the tokens, the last ones, logits are wanted.
    pub wanted: usize,
}

/// The tokens of all pieces, one after the other.
pub struct Batch<'a> {
    pieces: &'a [Piece<'a>],
    tokens: usize,
    wanted: usize,
}

/// A piece and the rows of the batch that are its tokens.
pub(super) struct Placed<'a> {
    pub piece: &'a Piece<'a>,
    pub rows: Range<usize>,
}

impl<'a> Batch<'a> {
    /// A batch of at least one piece.
    pub fn new(pieces: &'a [Piece<'a>]) -> Self {
        let tokens = pieces.iter().map(|piece| piece.tokens.len()).sum();
        Self { pieces, tokens, wanted: pieces.iter().map(|piece| piece.wanted).sum() }
    }

    /// Tokens of all pieces.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// How many of them logits are wanted of.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// The pieces, and which rows they have.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Placed<'a>> {
        let mut end = 0;
        self.pieces.iter().map(move |piece| {
            let start = end;
            end += piece.tokens.len();
            Placed { piece, rows: start..end }
        })
    }

    /// The piece that a row is a token of.
    pub(super) fn piece_of(&self, row: usize) -> Placed<'a> {
        self.pieces().find(|placed| placed.rows.contains(&row)).expect("a row is a token of a piece")
    }

    /// The row of one of the tokens whose logits are wanted.
    pub(super) fn wanted_row(&self, index: usize) -> usize {
        let mut before = 0;
        for Placed { piece, rows } in self.pieces() {
            if index < before + piece.wanted {
                return rows.end - piece.wanted + (index - before);
            }
            before += piece.wanted;
        }
        panic!("logits of {before} tokens are wanted, not of {index}")
    }

    /// The only piece, where there is no other.
    pub(super) fn single(&self) -> Option<&'a Piece<'a>> {
        if let [piece] = self.pieces { Some(piece) } else { None }
    }
}

impl Placed<'_> {
    /// Position of the token of a row.
    pub fn position(&self, row: usize) -> usize {
        self.piece.position + (row - self.rows.start)
    }

    /// The positions of all tokens.
    pub fn positions(&self) -> Range<usize> {
        self.piece.position..self.piece.position + self.piece.tokens.len()
    }
}
