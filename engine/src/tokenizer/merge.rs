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
    /// Where the left symbol ends and the right one begins, when this was found.
    middle: usize,
    /// Where the right symbol ended.
    end: usize,
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
        for left in 1..self.symbols.len() as u32 {
            self.consider(left - 1, left, &allowed);
        }
        while let Some(Reverse(candidate)) = self.candidates.pop() {
            let Candidate { left, middle, end, id, .. } = candidate;
            let Symbol { end: now, next: right, previous, .. } = self.symbols[left as usize];
            if now != middle || self.symbols[right as usize].end != end {
                continue;
            }
            let next = self.absorb(left, right, id);
            self.consider(previous, left, &allowed);
            self.consider(left, next, &allowed);
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

    fn consider(&mut self, left: u32, right: u32, allowed: &impl Fn(&Symbol, &Symbol) -> Option<Merger>) {
        let (Some(l), Some(r)) = (self.symbols.get(left as usize), self.symbols.get(right as usize)) else { return };
        if let Some(Merger { rank, id }) = allowed(l, r) {
            self.candidates.push(Reverse(Candidate { rank, left, middle: l.end, end: r.end, id }));
        }
    }

    /// The symbols that are left, in order.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        // Absorbed symbols end at 0.
        self.symbols.iter().filter(|symbol| symbol.end > 0)
    }
}
