//! Which slot a job gets, and what of its prompt is in it when it begins.
//!
//! A job that goes on where a slot's content ends, or nearly so, gets that slot. Any other gets the slot that was used
//! longest ago. Where another slot or the pool has more of the prompt, that is copied; what the slot held goes into the
//! pool first, unless most of it stays or it is to be had elsewhere.

use tracing::{debug, warn};

use super::inbox::Queued;
use super::prefix::{Fit, WORTH, common, usable};
use super::slot::{Running, Slot};
use super::worker::Worker;

/// Where the beginning of a prompt comes from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// The slot itself.
    Own,
    /// Another slot.
    Slot(usize),
    /// The pool.
    Pool(Fit),
}

impl Worker {
    /// Gives a job its slot. One is free, since otherwise the job would still wait.
    pub fn begin(&mut self, queued: Queued) {
        let Some(id) = queued.job.slot.or_else(|| self.choose_slot(&queued)) else { return };
        let shared = self.shared_with(&queued.job.prompt);
        let cached = self.prepare(id, &queued);
        let metrics = &self.metrics;
        let result = if cached > 0 { &metrics.prefix_hits } else { &metrics.prefix_misses };
        result.inc();
        metrics.reused_tokens.inc_by(cached as u64);
        debug!(job = queued.id, slot = id, prompt = queued.job.prompt.len(), cached, "begins");
        let checkpoints = self.checkpoints(&queued, cached, shared);
        let slot = &mut self.slots[id];
        slot.used = queued.id;
        let running = Running::new(queued, id, cached, checkpoints);
        self.shared.board.set_job(id, Some(&running));
        slot.running = Some(running);
        self.shared.board.update(id, &self.slots[id]);
    }

    /// The free slot whose content stays for the most part, else the one that was used longest ago.
    fn choose_slot(&self, queued: &Queued) -> Option<usize> {
        let free = || self.slots.iter().enumerate().filter(|(_, slot)| slot.running.is_none());
        let goes_on = |slot: &Slot| {
            let kept = self.usable(slot, queued);
            (kept > 0 && 2 * kept >= slot.sequence.tokens().len()).then_some(kept)
        };
        let fitting = free().filter_map(|(id, slot)| Some((goes_on(slot)?, id))).max();
        let oldest = || free().min_by_key(|(_, slot)| slot.used).map(|(id, _)| id);
        fitting.map(|(_, id)| id).or_else(oldest)
    }

    /// How much of a prompt a slot has.
    fn usable(&self, slot: &Slot, queued: &Queued) -> usize {
        let reuse = queued.job.cache_prompt;
        if reuse { usable(slot.sequence.tokens(), slot.sequence.oldest(), &queued.job.prompt) } else { 0 }
    }

    /// Makes a slot's content the longest beginning of the prompt that is to be had: how many tokens that are.
    fn prepare(&mut self, id: usize, queued: &Queued) -> usize {
        let own = self.usable(&self.slots[id], queued);
        let others = (0..self.slots.len()).filter(|other| *other != id);
        let others = others.map(|other| (self.usable(&self.slots[other], queued), Origin::Slot(other)));
        let pooled = self.pool.find(&queued.job.prompt).filter(|_| queued.job.cache_prompt);
        let pooled = pooled.map(|fit| (fit.tokens, Origin::Pool(fit)));
        let best = others.chain(pooled).max_by_key(|(tokens, _)| *tokens).filter(|(tokens, _)| *tokens >= own + WORTH);
        let (tokens, origin) = best.unwrap_or((own, Origin::Own));
        self.keep_content(id, &queued.job.prompt);
        let taken = match origin {
            Origin::Own => Ok(()),
            Origin::Slot(other) => self.copy(other, id, tokens),
            Origin::Pool(fit) => self.fetch(fit, id),
        };
        if let Err(why) = taken {
            warn!("a known beginning of a prompt cannot be used: {why}");
        }
        // Where it could not be taken, the slot has what it had.
        let kept = usable(self.slots[id].sequence.tokens(), self.slots[id].sequence.oldest(), &queued.job.prompt);
        self.slots[id].sequence.rewind(if queued.job.cache_prompt { kept.min(tokens) } else { 0 })
    }

    /// Puts a slot's content into the pool, if a good part of it is about to be lost and cannot be had elsewhere.
    fn keep_content(&mut self, id: usize, prompt: &[u32]) {
        let tokens = self.slots[id].sequence.tokens();
        let lost = tokens.len() - common(tokens, prompt);
        let elsewhere = |(other, slot): (usize, &Slot)| other != id && slot.sequence.tokens().starts_with(tokens);
        if lost >= WORTH && !self.slots.iter().enumerate().any(elsewhere) {
            self.keep(id);
        }
    }

    /// Puts a slot's content into the pool, unless that has it.
    pub fn keep(&mut self, id: usize) {
        let sequence = &mut self.slots[id].sequence;
        if !self.pool.is_on() || sequence.tokens().len() < WORTH || self.pool.covers(sequence.tokens()) {
            return;
        }
        match sequence.save(sequence.tokens().len()) {
            Ok(bytes) => self.pool.insert(sequence.tokens(), sequence.oldest(), bytes),
            Err(cause) => warn!("the content of slot {id} is not kept: {cause}"),
        }
    }

    /// Copies the first so many tokens of a slot to another.
    fn copy(&mut self, from: usize, to: usize, len: usize) -> Result<(), String> {
        let bytes = self.slots[from].sequence.save(len).map_err(|cause| cause.to_string())?;
        self.slots[to].sequence.load(&bytes).map_err(|cause| cause.to_string())?;
        Ok(())
    }

    fn fetch(&mut self, fit: Fit, to: usize) -> Result<(), String> {
        let (bytes, tokens) = self.pool.fetch(fit).ok_or("it is gone")?;
        let sequence = &mut self.slots[to].sequence;
        let loaded = sequence.load(&bytes).map_err(|cause| cause.to_string());
        let checked = match loaded {
            Ok(_) if sequence.tokens() != tokens => Err("it has other tokens than it should have".to_owned()),
            loaded => loaded.map(|_| ()),
        };
        checked.inspect_err(|why| self.pool.reject(&tokens, why))
    }

    /// Where in a prompt a snapshot should be made. A model whose layers have windows cannot go back far: so where the
    /// prompt leaves what it shares with earlier ones, and where it ends.
    fn checkpoints(&self, queued: &Queued, cached: usize, shared: usize) -> Vec<usize> {
        let prompt = &queued.job.prompt;
        if !self.has_windows() || !self.pool.is_on() || !queued.job.cache_prompt {
            return Vec::new();
        }
        let worth = |at: &usize| *at >= WORTH && *at > cached && *at <= prompt.len();
        let mut all: Vec<usize> = [shared, prompt.len()].into_iter().filter(worth).collect();
        all.dedup();
        all
    }

    /// How many tokens of a prompt any slot or snapshot has, whether or not it can be rewound so far.
    fn shared_with(&self, prompt: &[u32]) -> usize {
        let of_slots = self.slots.iter().map(|slot| common(slot.sequence.tokens(), prompt)).max().unwrap_or(0);
        of_slots.max(self.pool.known(prompt))
    }

    fn has_windows(&self) -> bool {
        self.shared.model.spec().layers.iter().any(|layer| layer.attention.window.is_some())
    }

    /// Puts the contents of all free slots into the pool, where that outlives this process.
    pub fn keep_all(&mut self) {
        if self.pool.is_on_disk() {
            let free: Vec<usize> = (0..self.slots.len()).filter(|id| self.slots[*id].running.is_none()).collect();
            free.into_iter().for_each(|id| self.keep(id));
        }
    }
}
