//! Merging: the step that SPM and BPE have in common.
//!
//! A text starts as a chain of symbols, its characters. Of all neighbours whose merger is allowed, those with the best
//! rank merge, the leftmost among equals, until none are left. Candidates wait in a heap; one whose symbols have changed
//! in the meantime is passed over when its turn comes. Each merger adds two candidates at most, so n characters take
//! O(n log n) time.

use alloc::{collections::BinaryHeap, vec::Vec};
use core::cmp::Reverse;

/// A stretch of the text, `start..end` in bytes, linked to its neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    pub start: usize,
    pub end: usize,
    /// Its token, or [`NONE`].
    pub id: u32,
    previous: u32,
    next: u32,
}

/// In place of a token's id: no token has this text. In place of an index: the chain ends here.
pub(super) const NONE: u32 = u32::MAX;

/// What two neighbours become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merger {
    /// The least rank goes first.
    pub rank: u32,
    pub id: u32,
}

/// Two neighbours that may merge. Orders by rank, then from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: u32,
    /// Where the left symbol ended and the right one began when this was found; the lower half, which tells as much.
    middle: u32,
    /// Where the right symbol ended; the lower half.
    end: u32,
    id: u32,
}

/// A chain of symbols with what merging needs, to be used for one word after another.
#[derive(Default)]
pub(super) struct Chain {
    symbols: Vec<Symbol>,
    candidates: BinaryHeap<Reverse<Candidate>>,
}

impl Chain {
    /// Empties the chain.
    pub fn clear(&mut self) {
        self.symbols.clear();
        self.candidates.clear();
    }

    /// Appends a symbol of `len` bytes.
    pub fn push(&mut self, len: usize, id: u32) {
        let index = self.symbols.len() as u32;
        let start = self.symbols.last_mut().map_or(0, |last| {
            last.next = index;
            last.end
        });
        let previous = index.checked_sub(1).unwrap_or(NONE);
        self.symbols.push(Symbol { start, end: start + len, id, previous, next: NONE });
    }

    /// Merges what `allowed` allows for two neighbours.
    pub fn merge(&mut self, allowed: impl Fn(&Symbol, &Symbol) -> Option<Merger>) {
        let mut first = core::mem::take(&mut self.candidates).into_vec();
        first.extend((1..self.symbols.len() as u32).filter_map(|right| self.candidate(right - 1, right, &allowed)));
        self.candidates = first.into();
        while let Some(Reverse(candidate)) = self.candidates.pop() {
            let Candidate { left, middle, end, id, .. } = candidate;
            let Symbol { end: now, next: right, previous, .. } = self.symbols[left as usize];
            // An absorbed symbol ends at 0 and so never where it did.
            if now as u32 != middle || self.symbols.get(right as usize).is_none_or(|right| right.end as u32 != end) {
                continue;
            }
            let next = self.absorb(left, right, id);
            self.candidates.extend(self.candidate(previous, left, &allowed));
            self.candidates.extend(self.candidate(left, next, &allowed));
        }
    }

    /// Makes `left` cover `right` too, takes `right` out of the chain, and returns what then follows.
    fn absorb(&mut self, left: u32, right: u32, id: u32) -> u32 {
        let gone = core::mem::replace(&mut self.symbols[right as usize].end, 0);
        let next = self.symbols[right as usize].next;
        let symbol = &mut self.symbols[left as usize];
        (symbol.end, symbol.next, symbol.id) = (gone, next, id);
        if let Some(next) = self.symbols.get_mut(next as usize) {
            next.previous = left;
        }
        next
    }

    fn candidate(
        &self,
        left: u32,
        right: u32,
        allowed: &impl Fn(&Symbol, &Symbol) -> Option<Merger>,
    ) -> Option<Reverse<Candidate>> {
        let (first, second) = (self.symbols.get(left as usize)?, self.symbols.get(right as usize)?);
        let Merger { rank, id } = allowed(first, second)?;
        Some(Reverse(Candidate { rank, left, middle: first.end as u32, end: second.end as u32, id }))
    }

    /// The symbols that are left, in order.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        // Absorbed symbols end at 0.
        self.symbols.iter().filter(|symbol| symbol.end > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Merges equal neighbours, longer ones first if `longest`, and gives what is left as lengths.
    fn merge_equal(text: &[u8], longest: bool) -> Vec<usize> {
        let mut chain = Chain::default();
        for _ in text {
            chain.push(1, 0);
        }
        chain.merge(|left, right| {
            let len = right.end - left.start;
            let equal = text[left.start..left.end] == text[right.start..right.end];
            equal.then_some(Merger { rank: if longest { 100 - len as u32 } else { len as u32 }, id: len as u32 })
        });
        chain.symbols().map(|symbol| symbol.end - symbol.start).collect()
    }

    #[test]
    fn the_leftmost_of_equals_merges_first() {
        assert_eq!(merge_equal(b"aaa", false), [2, 1]);
        assert_eq!(merge_equal(b"baaab", false), [1, 2, 1, 1]);
    }

    #[test]
    fn the_best_rank_merges_first() {
        assert_eq!(merge_equal(b"aaaaaa", false), [4, 2]);
        assert_eq!(merge_equal(b"aaaaaaaa", true), [8]);
    }

    #[test]
    fn candidates_that_have_changed_are_passed_over() {
        // "ab" is found before "bc", which goes first and takes the b.
        let mut chain = Chain::default();
        for id in [1, 2, 3] {
            chain.push(1, id);
        }
        chain.merge(|left, right| match (left.id, right.id) {
            (1, 2) => Some(Merger { rank: 5, id: 12 }),
            (2, 3) => Some(Merger { rank: 4, id: 23 }),
            _ => None,
        });
        assert_eq!(chain.symbols().map(|symbol| symbol.id).collect::<Vec<_>>(), vec![1, 23]);
    }

    #[test]
    fn a_chain_is_used_again() {
        let mut chain = Chain::default();
        for _ in 0..2 {
            chain.clear();
            chain.push(2, 7);
            chain.push(3, NONE);
            chain.merge(|_, _| None);
            let symbols: Vec<_> = chain.symbols().map(|s| (s.start, s.end, s.id)).collect();
            assert_eq!(symbols, [(0, 2, 7), (2, 5, NONE)]);
        }
    }
}
