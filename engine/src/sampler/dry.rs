//! DRY ("don't repeat yourself"): a penalty on tokens that would continue a sequence which occurred before.
//!
//! If the last n tokens also occur earlier, the token that followed them there would make the repeat n + 1 long. It is
//! penalised by `multiplier * base^(n - allowed_length)`. Repeats do not reach across *breakers*, such as a line end:
//! only the tokens after the last breaker count.
//!
//! How far each earlier position agrees with the end of the history is the Z-function of the reversed history, found in
//! linear time. A breaker is a text, and a token may contain it, or begin or end inside it: for each token that could
//! start a breaker we keep the tokens that would complete it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::math;

use super::{Params, Vocabulary};

/// Texts longer than this are cut: a breaker is a short thing.
const MAX_BREAKER_BYTES: usize = 40;
/// Completions longer than this are cut.
const MAX_TAIL_TOKENS: usize = 20;

/// For each token that may start a breaker, the sequences that complete it. An empty one: the token is a breaker.
#[derive(Debug, Clone, Default)]
pub(super) struct Breakers(BTreeMap<u32, Vec<Vec<u32>>>);

impl Breakers {
    pub fn new(texts: &[String], vocabulary: &dyn Vocabulary) -> Breakers {
        let mut breakers = Breakers::default();
        let texts: Vec<&[u8]> =
            texts.iter().map(|text| &text.as_bytes()[..text.len().min(MAX_BREAKER_BYTES)]).collect();
        for id in 0..vocabulary.len() as u32 {
            let piece = vocabulary.piece(id);
            for text in texts.iter().filter(|text| !text.is_empty()) {
                breakers.add_piece(id, &piece, text, vocabulary);
            }
        }
        breakers
    }

    /// Records the ways in which a breaker may start within a token.
    fn add_piece(&mut self, id: u32, piece: &[u8], text: &[u8], vocabulary: &dyn Vocabulary) {
        if piece.windows(text.len()).any(|window| window == text) {
            return self.add(id, Vec::new());
        }
        for start in 0..piece.len() {
            let end = &piece[start..];
            if text.starts_with(end) {
                let mut tail = vocabulary.encode(&text[end.len()..]);
                tail.truncate(MAX_TAIL_TOKENS);
                self.add(id, tail);
            }
        }
    }

    /// Records that the tokens `tail` after `head` make a breaker.
    pub fn add(&mut self, head: u32, tail: Vec<u32>) {
        let tails = self.0.entry(head).or_default();
        if !tails.contains(&tail) {
            tails.push(tail);
        }
    }

    fn is_breaker(&self, token: u32) -> bool {
        self.0.get(&token).is_some_and(|tails| tails.iter().any(Vec::is_empty))
    }

    /// How many of the latest tokens come after the last breaker. `recent` is the history, latest first.
    fn reach(&self, recent: &[u32]) -> usize {
        for (i, token) in recent.iter().enumerate() {
            let Some(tails) = self.0.get(token) else { continue };
            let completes =
                |tail: &&Vec<u32>| tail.len() <= i && tail.iter().eq(recent[i - tail.len()..i].iter().rev());
            if let Some(longest) = tails.iter().filter(completes).map(Vec::len).max() {
                return i - longest;
            }
        }
        recent.len()
    }
}

/// The stage, with its buffers.
#[derive(Debug, Clone)]
pub(super) struct Dry {
    multiplier: f32,
    base: f32,
    allowed_length: usize,
    pub last_n: usize,
    breakers: Breakers,
    recent: Vec<u32>,
    matches: Vec<usize>,
    /// Tokens that would continue a repeat, with the length of the longest, ascending by token.
    repeats: Vec<(u32, u32)>,
}

impl Dry {
    /// `None` where the parameters turn it off.
    pub fn new(params: &Params, breakers: impl FnOnce() -> Breakers) -> Option<Dry> {
        let off = params.dry_multiplier == 0.0 || params.dry_base < 1.0 || params.dry_penalty_last_n == 0;
        let reserved = params.dry_penalty_last_n.min(super::RESERVED_HISTORY);
        (!off).then(|| Dry {
            multiplier: params.dry_multiplier,
            base: params.dry_base,
            allowed_length: params.dry_allowed_length,
            last_n: params.dry_penalty_last_n,
            breakers: breakers(),
            recent: Vec::with_capacity(reserved),
            matches: Vec::with_capacity(reserved),
            repeats: Vec::with_capacity(reserved),
        })
    }

    /// Finds the tokens to penalise after a history, given latest first.
    pub fn find_repeats(&mut self, latest_first: impl Iterator<Item = u32>) -> &[(u32, u32)] {
        self.repeats.clear();
        self.recent.clear();
        self.recent.extend(latest_first.take(self.last_n));
        if self.recent.len() <= self.allowed_length {
            return &[];
        }
        let reach = self.breakers.reach(&self.recent);
        if reach < self.allowed_length {
            return &[];
        }
        common_prefixes(&self.recent, &mut self.matches);
        for (i, &matched) in self.matches.iter().enumerate().skip(1) {
            let length = matched.min(reach);
            let next = self.recent[i - 1];
            if length >= self.allowed_length && !self.breakers.is_breaker(next) {
                self.repeats.push((next, length as u32));
            }
        }
        self.repeats.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        self.repeats.dedup_by_key(|repeat| repeat.0);
        &self.repeats
    }

    /// The penalty for continuing a repeat of so many tokens. The exponent is held where an f32 holds the power.
    pub fn penalty(&self) -> impl Fn(u32) -> f32 + use<> {
        const LN_MAX: f32 = 88.722_84;
        let (multiplier, base, allowed) = (f64::from(self.multiplier), self.base, self.allowed_length as u32);
        let most = if base > 1.000_001 { (LN_MAX / math::ln(base)) as u32 } else { u32::MAX };
        move |length| (multiplier * math::pow(f64::from(base), f64::from((length - allowed).min(most)))) as f32
    }
}

/// The Z-function: for each i > 0, how many elements from i on equal those from the start; 0 at index 0.
fn common_prefixes(items: &[u32], lengths: &mut Vec<usize>) {
    lengths.clear();
    lengths.resize(items.len(), 0);
    let (mut left, mut right) = (0, 0);
    for i in 1..items.len() {
        let mut n = if i < right { lengths[i - left].min(right - i) } else { 0 };
        while i + n < items.len() && items[n] == items[i + n] {
            n += 1;
        }
        if i + n > right {
            (left, right) = (i, i + n);
        }
        lengths[i] = n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn common_prefixes_are_those_of_the_definition(items in proptest::collection::vec(0u32..3, 0..60)) {
            let mut lengths = Vec::new();
            common_prefixes(&items, &mut lengths);
            for i in 1..items.len() {
                let n = items.iter().zip(&items[i..]).take_while(|(a, b)| a == b).count();
                prop_assert_eq!(lengths[i], n);
            }
        }
    }

    #[test]
    fn a_breaker_of_two_tokens_stops_the_reach() {
        let mut breakers = Breakers::default();
        breakers.add(7, vec![8]);
        assert_eq!(breakers.reach(&[1, 2, 8, 7, 3]), 2);
        assert_eq!(breakers.reach(&[1, 2, 7, 8, 3]), 5);
        assert_eq!(breakers.reach(&[7, 2, 3]), 3);
        assert!(!breakers.is_breaker(7));
    }
}
