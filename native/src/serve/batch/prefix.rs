//! The prefix cache: what sequences held before they were put to other use.
//!
//! A prompt that begins like an earlier one need not be computed again: conversations go on, and system prompts are the
//! same for all. What a slot holds serves the next job that gets it. When a slot is given to a job that has little in
//! common with its content, the content goes here as a snapshot first, and comes back when a prompt begins with it.
//!
//! The pool is bounded in bytes, in memory and on the disk alike, and what was used longest ago goes first. Snapshots are
//! exact, so nobody can tell from an answer whether the cache had a part in it.
//!
//! Layers with a window keep only what later tokens can see. So a snapshot of such a model serves prompts that share it
//! nearly whole, and one is also made where a prompt ends, before the answer hides it.

use std::iter::zip;
use std::sync::Arc;

use tracing::{debug, warn};

use super::super::metrics::Metrics;
use super::disk::{Disk, Stored};

/// Prefixes that are shorter than this are computed again: that takes no longer than to fetch them.
pub const WORTH: usize = 64;

/// Snapshots by their tokens.
pub struct Pool {
    entries: Vec<Entry>,
    limit: u64,
    disk: Option<Disk>,
    clock: u64,
    metrics: Arc<Metrics>,
}

struct Entry {
    tokens: Vec<u32>,
    /// The first position that it can be rewound to.
    oldest: usize,
    memory: Option<Arc<Vec<u8>>>,
    file: Option<Stored>,
    used: u64,
}

/// A snapshot that fits a prompt.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// How many of the prompt's tokens it has.
    pub tokens: usize,
    at: usize,
}

/// How many tokens two lists have in common.
pub fn common(a: &[u32], b: &[u32]) -> usize {
    zip(a, b).take_while(|(a, b)| a == b).count()
}

/// How many tokens of a prompt need not be computed in a sequence of these tokens, which can be rewound to `oldest` at
/// most. The prompt's last token always is: its logits are needed.
pub fn usable(tokens: &[u32], oldest: usize, prompt: &[u32]) -> usize {
    let common = common(tokens, prompt).min(prompt.len().saturating_sub(1));
    if common < oldest { 0 } else { common }
}

impl Pool {
    /// An empty pool of so many bytes, or what is on the disk from earlier.
    pub fn new(limit: u64, disk: Option<Disk>, metrics: Arc<Metrics>) -> Self {
        let mut pool = Self { entries: Vec::new(), limit, disk, clock: 0, metrics };
        for (tokens, oldest, stored) in pool.disk.as_mut().map(Disk::scan).unwrap_or_default() {
            pool.clock += 1;
            let used = pool.clock;
            pool.entries.push(Entry { tokens, oldest, memory: None, file: Some(stored), used });
        }
        pool.shrink();
        pool
    }

    /// Whether it keeps anything.
    pub fn is_on(&self) -> bool {
        self.limit > 0
    }

    /// Whether it survives this process.
    pub fn is_on_disk(&self) -> bool {
        self.is_on() && self.disk.is_some()
    }

    /// Whether a snapshot has all of these tokens and can be rewound to their end.
    pub fn covers(&self, tokens: &[u32]) -> bool {
        self.entries.iter().any(|entry| entry.covers(tokens))
    }

    /// The snapshot that has most of a prompt.
    pub fn find(&self, prompt: &[u32]) -> Option<Fit> {
        let fit = |(at, entry): (usize, &Entry)| Fit { tokens: usable(&entry.tokens, entry.oldest, prompt), at };
        self.entries.iter().enumerate().map(fit).filter(|fit| fit.tokens > 0).max_by_key(|fit| fit.tokens)
    }

    /// How many tokens a prompt has in common with any snapshot, whether or not that can be rewound so far.
    pub fn known(&self, prompt: &[u32]) -> usize {
        self.entries.iter().map(|entry| common(&entry.tokens, prompt)).max().unwrap_or(0)
    }

    /// The snapshot's bytes and tokens; from the disk where they are no more in memory.
    pub fn fetch(&mut self, fit: Fit) -> Option<(Arc<Vec<u8>>, Vec<u32>)> {
        self.clock += 1;
        let entry = &mut self.entries[fit.at];
        entry.used = self.clock;
        if let Some(bytes) = &entry.memory {
            return Some((bytes.clone(), entry.tokens.clone()));
        }
        match entry.file.as_ref()?.read(&entry.tokens) {
            Ok(bytes) => {
                let (bytes, tokens) = (Arc::new(bytes), entry.tokens.clone());
                self.metrics.cache_bytes.inc_by(bytes.len() as i64);
                entry.memory = Some(bytes.clone());
                self.shrink();
                Some((bytes, tokens))
            }
            Err(cause) => {
                warn!("a snapshot of the prefix cache is lost: {cause}");
                self.remove(fit.at);
                None
            }
        }
    }

    /// Removes a snapshot that turned out to be no good.
    pub fn reject(&mut self, tokens: &[u32], why: &dyn std::fmt::Display) {
        warn!(tokens = tokens.len(), "a snapshot of the prefix cache is refused and removed: {why}");
        if let Some(at) = self.entries.iter().position(|entry| entry.tokens == tokens) {
            self.remove(at);
        }
    }

    /// Lets go of what a snapshot of these tokens covers, and of what was used longest ago, until there is memory for it:
    /// whether it is to be kept. Asked before it is made, both are never there at the same time.
    pub fn make_room(&mut self, tokens: &[u32], oldest: usize, size: u64) -> bool {
        if size > self.limit || self.covers(tokens) {
            return false;
        }
        let covered = |entry: &Entry| tokens.starts_with(&entry.tokens) && entry.tokens.len() >= oldest;
        while let Some(at) = self.entries.iter().position(covered) {
            self.remove(at);
        }
        self.shrink_memory(self.limit - size);
        self.drop_lost();
        true
    }

    /// Keeps a snapshot, in place of those that it covers.
    pub fn insert(&mut self, tokens: &[u32], oldest: usize, bytes: Vec<u8>) {
        let size = bytes.len() as u64;
        if !self.make_room(tokens, oldest, size) {
            return;
        }
        debug!(tokens = tokens.len(), bytes = size, "into the prefix cache");
        self.clock += 1;
        let bytes = Arc::new(bytes);
        let file = self.disk.as_mut().and_then(|disk| disk.write(tokens, oldest, &bytes));
        self.metrics.cache_bytes.inc_by(size as i64);
        self.entries.push(Entry { tokens: tokens.to_vec(), oldest, memory: Some(bytes), file, used: self.clock });
        self.shrink();
    }

    /// Returns when everything is on the disk that shall be; nothing goes there any more.
    pub fn finish(&mut self) {
        self.disk = None;
    }

    /// Bytes in memory.
    pub fn memory(&self) -> u64 {
        self.entries.iter().filter_map(|entry| entry.memory.as_ref()).map(|bytes| bytes.len() as u64).sum()
    }

    /// Bytes on the disk.
    pub fn stored(&self) -> u64 {
        self.entries.iter().filter_map(|entry| entry.file.as_ref()).map(|file| file.bytes).sum()
    }

    /// Lets go of what was used longest ago, until memory and disk are within the bound.
    fn shrink(&mut self) {
        self.shrink_memory(self.limit);
        while self.stored() > self.limit {
            let Some(entry) =
                self.entries.iter_mut().filter(|entry| entry.file.is_some()).min_by_key(|entry| entry.used)
            else {
                break;
            };
            if let (Some(file), Some(disk)) = (entry.file.take(), &mut self.disk) {
                disk.remove(file);
            }
        }
        self.drop_lost();
    }

    /// The same for memory alone, until there are at most so many bytes.
    fn shrink_memory(&mut self, limit: u64) {
        while self.memory() > limit {
            let Some(entry) =
                self.entries.iter_mut().filter(|entry| entry.memory.is_some()).min_by_key(|entry| entry.used)
            else {
                break;
            };
            let freed = entry.memory.take().map_or(0, |bytes| bytes.len());
            self.metrics.cache_bytes.dec_by(freed as i64);
        }
    }

    /// Forgets what is neither in memory nor on the disk any more.
    fn drop_lost(&mut self) {
        self.entries.retain(|entry| entry.memory.is_some() || entry.file.is_some());
    }

    fn remove(&mut self, at: usize) {
        let entry = self.entries.swap_remove(at);
        self.metrics.cache_bytes.dec_by(entry.memory.map_or(0, |bytes| bytes.len() as i64));
        if let (Some(file), Some(disk)) = (entry.file, &mut self.disk) {
            disk.remove(file);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.metrics.cache_bytes.dec_by(self.memory() as i64);
    }
}

impl Entry {
    fn covers(&self, tokens: &[u32]) -> bool {
        self.tokens.starts_with(tokens) && self.oldest <= tokens.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(limit: u64) -> Pool {
        Pool::new(limit, None, Arc::new(Metrics::new()))
    }

    fn tokens(start: u32, len: u32) -> Vec<u32> {
        (start..start + len).collect()
    }

    #[test]
    fn the_longest_prefix_is_found() {
        let mut pool = pool(1000);
        pool.insert(&[1, 2, 3, 4], 0, vec![0; 10]);
        pool.insert(&[1, 2, 9], 0, vec![0; 10]);
        let fit = pool.find(&[1, 2, 9, 9, 9]).unwrap();
        assert_eq!((fit.tokens, pool.fetch(fit).unwrap().1), (3, vec![1, 2, 9]));
        // The last token is always left to compute.
        assert_eq!(pool.find(&[1, 2, 3, 4]).unwrap().tokens, 3);
        assert!(pool.find(&[7]).is_none());
    }

    #[test]
    fn what_cannot_be_rewound_so_far_does_not_fit() {
        let mut pool = pool(1000);
        pool.insert(&tokens(0, 100), 80, vec![0; 10]);
        assert!(pool.find(&[tokens(0, 70), tokens(500, 9)].concat()).is_none());
        assert_eq!(pool.known(&[tokens(0, 70), tokens(500, 9)].concat()), 70);
        assert_eq!(pool.find(&[tokens(0, 90), tokens(500, 9)].concat()).unwrap().tokens, 90);
        // One that reaches further does not take the place of one that it cannot be rewound to.
        pool.insert(&tokens(0, 70), 50, vec![0; 10]);
        pool.insert(&tokens(0, 200), 180, vec![0; 10]);
        assert_eq!(pool.find(&[tokens(0, 70), tokens(500, 9)].concat()).unwrap().tokens, 70);
    }

    #[test]
    fn memory_is_bounded_and_the_least_recently_used_goes_first() {
        let mut pool = pool(100);
        for i in 0..3 {
            pool.insert(&tokens(100 * i, 5), 0, vec![0; 33]);
        }
        let first = pool.find(&tokens(0, 6)).unwrap();
        assert!(pool.fetch(first).is_some());
        pool.insert(&tokens(300, 5), 0, vec![0; 33]);
        assert_eq!(pool.memory(), 99);
        assert!(pool.covers(&tokens(0, 5)) && !pool.covers(&tokens(100, 5)));
        pool.insert(&tokens(400, 5), 0, vec![0; 101]);
        assert!(!pool.covers(&tokens(400, 5)));
        assert_eq!(pool.metrics.cache_bytes.get(), 99);
    }

    #[test]
    fn room_is_made_before_it_is_taken() {
        let mut pool = pool(100);
        pool.insert(&tokens(0, 5), 0, vec![0; 40]);
        pool.insert(&tokens(100, 5), 0, vec![0; 40]);
        assert!(!pool.make_room(&tokens(0, 3), 0, 10), "it is covered");
        assert!(!pool.make_room(&tokens(200, 5), 0, 101), "it is too large");
        assert_eq!(pool.memory(), 80);
        assert!(pool.make_room(&tokens(100, 9), 0, 60), "in place of the shorter one");
        assert_eq!((pool.memory(), pool.covers(&tokens(0, 5))), (40, true));
        assert!(pool.make_room(&tokens(200, 5), 0, 61));
        assert_eq!((pool.memory(), pool.metrics.cache_bytes.get()), (0, 0));
    }

    #[test]
    fn a_longer_one_takes_the_place_of_a_shorter_one() {
        let mut pool = pool(1000);
        pool.insert(&tokens(0, 5), 0, vec![0; 10]);
        pool.insert(&tokens(0, 9), 0, vec![0; 20]);
        assert_eq!(pool.memory(), 20);
        assert!(pool.covers(&tokens(0, 5)));
        pool.insert(&tokens(0, 7), 0, vec![0; 15]);
        assert_eq!(pool.memory(), 20);
    }
}
