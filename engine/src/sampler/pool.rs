//! The tokens that are still in the running.
//!
//! A pool starts *dense*: a plain copy of the logits, where token `i` sits at index `i`. Most chains begin with stages
//! that touch a few tokens and then keep the 40 best, which needs one pass over the floats and no list of candidates.
//! Any other stage turns the pool into a list. The list is in an order that depends on the logits alone (ascending ids
//! at first, descending logits with ties by id once sorted), so the same draw picks the same token everywhere.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::math;

/// A token that may come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token.
    pub id: u32,
    /// Its logit after the stages of the chain.
    pub logit: f32,
    /// Its probability among the candidates.
    pub p: f32,
}

/// Best first; equal logits by id. Logits in a pool are never NaN.
pub(super) fn by_rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
}

fn without_nan(logit: f32) -> f32 {
    if logit.is_nan() { f32::NEG_INFINITY } else { logit }
}

/// The largest value, -inf for none; NaN is passed over. Lanes let it vectorize.
fn largest(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = logits.as_chunks::<16>();
    for chunk in chunks {
        for (best, &x) in lanes.iter_mut().zip(chunk) {
            *best = if x > *best { x } else { *best };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |best, &x| if x > best { x } else { best })
}

/// Index of the largest value, the first of equals; NaN is passed over. 0 for an empty slice.
pub(super) fn argmax(logits: &[f32]) -> usize {
    const BLOCK: usize = 512;
    let (mut best, mut start) = (f32::NEG_INFINITY, 0);
    for (i, block) in logits.chunks(BLOCK).enumerate() {
        let largest = largest(block);
        if largest > best {
            (best, start) = (largest, i * BLOCK);
        }
    }
    logits[start..].iter().position(|&x| x == best).map_or(0, |i| start + i)
}

#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    dense: Vec<f32>,
    is_dense: bool,
    list: Vec<Candidate>,
    sorted: bool,
    scores: Vec<(f32, u32)>,
    picked: Vec<Candidate>,
}

impl Pool {
    /// A pool that never needs more memory for a vocabulary of `len` tokens. What is not used is not touched.
    pub fn with_capacity(len: usize) -> Self {
        Self {
            dense: Vec::with_capacity(len),
            list: Vec::with_capacity(len),
            scores: Vec::with_capacity(len),
            picked: Vec::with_capacity(len),
            ..Self::default()
        }
    }

    /// Starts over with all tokens.
    pub fn fill(&mut self, logits: &[f32]) {
        self.dense.clear();
        self.dense.extend(logits.iter().map(|&x| without_nan(x)));
        self.list.clear();
        self.is_dense = true;
        self.sorted = false;
    }

    /// The pool of the one token.
    pub fn fill_with(&mut self, id: u32, logit: f32) {
        self.is_dense = false;
        self.sorted = true;
        self.list.clear();
        self.list.push(Candidate { id, logit, p: 1.0 });
    }

    /// The candidates as a list, for a stage to shorten or reorder.
    pub fn list(&mut self) -> &mut Vec<Candidate> {
        if self.is_dense {
            let all = self.dense.iter().enumerate();
            self.list.extend(all.map(|(id, &logit)| Candidate { id: id as u32, logit, p: 0.0 }));
            self.is_dense = false;
        }
        &mut self.list
    }

    /// The candidates as they are now; empty for a pool that no stage has listed.
    pub fn candidates(&self) -> &[Candidate] {
        &self.list
    }

    pub fn len(&self) -> usize {
        if self.is_dense { self.dense.len() } else { self.list.len() }
    }

    /// Whether the list is in descending order.
    pub fn is_sorted(&self) -> bool {
        self.sorted
    }

    /// Changes the logits of the tokens of `marks` (ascending by token) by `change(logit, mark)`.
    pub fn change(&mut self, marks: &[(u32, u32)], change: impl Fn(f32, u32) -> f32) {
        if marks.is_empty() {
            return;
        }
        self.sorted = false;
        if self.is_dense {
            for &(id, mark) in marks {
                if let Some(logit) = self.dense.get_mut(id as usize) {
                    *logit = without_nan(change(*logit, mark));
                }
            }
            return;
        }
        for candidate in &mut self.list {
            if let Ok(at) = marks.binary_search_by_key(&candidate.id, |&(id, _)| id) {
                candidate.logit = without_nan(change(candidate.logit, marks[at].1));
            }
        }
    }

    /// Adds to the logit of one token of a dense pool.
    pub fn add(&mut self, id: u32, bias: f32) {
        if let Some(logit) = self.dense.get_mut(id as usize) {
            *logit = without_nan(*logit + bias);
        }
    }

    /// All logits, in the pool's order.
    pub fn logits_mut(&mut self) -> impl Iterator<Item = &mut f32> {
        let (dense, list): (&mut [f32], &mut [Candidate]) =
            if self.is_dense { (&mut self.dense, &mut []) } else { (&mut [], &mut self.list) };
        dense.iter_mut().chain(list.iter_mut().map(|candidate| &mut candidate.logit))
    }

    /// Keeps the `k` best, sorted.
    pub fn keep_top(&mut self, k: usize) {
        if self.is_dense && k < self.dense.len() {
            self.select_dense(k);
        }
        self.sort_front(k);
        self.keep_front(k);
    }

    /// Drops all but the first `n`, which must be the best ones in order.
    pub fn keep_front(&mut self, n: usize) {
        self.list.truncate(n);
        self.sorted = true;
    }

    /// Keeps the best token alone.
    pub fn keep_best(&mut self) {
        if self.is_dense {
            let id = argmax(&self.dense);
            if let Some(&logit) = self.dense.get(id) {
                self.fill_with(id as u32, logit);
            }
        } else if let Some(&best) = self.list.iter().min_by(|a, b| by_rank(a, b)) {
            self.fill_with(best.id, best.logit);
        }
    }

    /// Lists the `k` best of a dense pool: one pass that lists what beats the k-th best so far, and now and then throws
    /// out the rest of that list. Equal logits go to the lower id, and ids ascend, so a later equal one never enters.
    fn select_dense(&mut self, k: usize) {
        const BLOCK: usize = 32;
        let room = 2 * k + 64;
        let mut floor = None;
        for (block, logits) in self.dense.chunks(BLOCK).enumerate() {
            let beats = |logit: f32| floor.is_none_or(|floor| logit > floor);
            if !logits.iter().fold(false, |any, &logit| any | beats(logit)) {
                continue;
            }
            for (i, &logit) in logits.iter().enumerate() {
                if beats(logit) {
                    self.list.push(Candidate { id: (block * BLOCK + i) as u32, logit, p: 0.0 });
                }
            }
            if self.list.len() >= room {
                let (_, last, _) = self.list.select_nth_unstable_by(k.max(1) - 1, by_rank);
                floor = Some(last.logit);
                self.list.truncate(k);
            }
        }
        self.is_dense = false;
    }

    /// Puts the `k` best first, in order. Sorts everything if that is less work.
    pub fn sort_front(&mut self, k: usize) {
        let sorted = self.sorted;
        let list = self.list();
        if sorted || list.is_empty() {
            return;
        }
        if k < list.len() / 4 {
            list.select_nth_unstable_by(k, by_rank);
            list[..k].sort_unstable_by(by_rank);
        } else {
            list.sort_unstable_by(by_rank);
            self.sorted = true;
        }
    }

    /// Puts all candidates in descending order.
    pub fn sort(&mut self) {
        self.sort_front(usize::MAX);
        self.sorted = true;
    }

    /// Gives every candidate its share of the probability (the softmax of the logits).
    ///
    /// Where the best logit is infinite, those that equal it share all.
    pub fn softmax(&mut self) {
        let list = self.list();
        let best = list.iter().fold(f32::NEG_INFINITY, |best, c| if c.logit > best { c.logit } else { best });
        let mut sum = 0.0f64;
        for c in list.iter_mut() {
            c.p = if c.logit == best { 1.0 } else { math::exp(c.logit - best) };
            sum += f64::from(c.p);
        }
        for c in list.iter_mut() {
            c.p = (f64::from(c.p) / sum) as f32;
        }
    }

    /// Shannon entropy of the probabilities that the last [`Pool::softmax`] gave, in nats.
    pub fn entropy(&self) -> f32 {
        let term = |c: &Candidate| if c.p > 0.0 { f64::from(c.p * math::ln(c.p)) } else { 0.0 };
        -self.list.iter().map(term).sum::<f64>() as f32
    }

    /// Keeps the candidates with the lowest scores, as many as `enough(how many, their probability)` asks for, and
    /// sorts them. Equal scores go to the better rank.
    pub fn keep_by_score(&mut self, score: impl Fn(&Candidate) -> f32, enough: impl Fn(usize, f32) -> bool) {
        self.sort();
        self.scores.clear();
        self.scores.extend(self.list.iter().zip(0..).map(|(c, rank)| (score(c), rank)));
        self.scores.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.picked.clear();
        let mut sum = 0.0;
        for &(_, rank) in &self.scores {
            let candidate = self.list[rank as usize];
            sum += candidate.p;
            self.picked.push(candidate);
            if enough(self.picked.len(), sum) {
                break;
            }
        }
        core::mem::swap(&mut self.list, &mut self.picked);
        self.list.sort_unstable_by(by_rank);
    }
}
