//! Which slot a job gets, and what of its prompt is in it when it begins.
//!
//! A job that goes on where a slot's content ends, or nearly so, gets that slot. Any other gets the slot that was used
//! longest ago. Where another slot or the pool has more of the prompt, that is copied; what the slot held goes into the
//! pool first, unless most of it stays or it is to be had elsewhere.

use std::sync::Arc;

use tracing::{debug, warn};

use super::inbox::Queued;
use super::prefix::{Fit, WORTH, common, usable};
use super::slot::{Lead, Running, Slot};
use super::worker::Worker;

/// Where the beginning of a prompt comes from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// Another slot.
    Slot(usize),
    /// The pool.
    Pool(Fit),
}

/// A beginning of a prompt.
struct Known {
    bytes: Arc<Vec<u8>>,
    /// The tokens that are said to be in it, where it comes from the pool.
    tokens: Option<Vec<u32>>,
}

impl Worker {
    /// Gives a job its slot. One is free, since otherwise the job would still wait.
    pub fn begin(&mut self, queued: Queued) {
        let Some(id) = queued.job.slot.or_else(|| self.choose_slot(&queued)) else { return };
        let shared = self.shared_with(&queued.job.prompt);
        let cached = self.prepare(id, &queued);
        let lead = self.find_lead(&queued, cached);
        if lead.is_none() {
            self.count(cached);
        }
        debug!(job = queued.id, slot = id, prompt = queued.job.prompt.len(), cached, "begins");
        let checkpoints = self.checkpoints(&queued, cached, shared);
        let slot = &mut self.slots[id];
        slot.used = queued.id;
        let running = Running::new(queued, id, cached, checkpoints, lead);
        self.shared.board.set_job(id, Some(&running));
        slot.running = Some(running);
        self.shared.board.update(id, &self.slots[id]);
    }

    /// Has jobs go on that waited for another slot to read what they have in common, if it has by now or will not any more.
    pub fn follow(&mut self) {
        let mut saved: Option<(usize, usize, Known)> = None;
        for id in 0..self.slots.len() {
            let Some(lead) = self.slots[id].running.as_ref().and_then(|running| running.lead) else { continue };
            // One that stands still because nobody fetches its events holds up nobody else.
            let leads = |running: &Running| running.id == lead.job && running.outbox.is_empty();
            let leader = &self.slots[lead.slot];
            if leader.running.as_ref().is_some_and(leads) && leader.sequence.tokens().len() < lead.tokens {
                continue;
            }
            let (own, others) = (self.has(id, id), self.has(lead.slot, id));
            let is_saved = |(slot, tokens, _): &(usize, usize, Known)| (*slot, *tokens) == (lead.slot, others);
            if others >= own + WORTH && !saved.as_ref().is_some_and(is_saved) {
                saved = self.take(Origin::Slot(lead.slot), others).map(|known| (lead.slot, others, known));
            }
            if let Some((_, _, known)) = saved.as_ref().filter(|saved| is_saved(saved)) {
                self.put(id, known);
            }
            let cached = self.has(id, id);
            self.slots[id].sequence.rewind(cached);
            self.count(cached);
            if let Some(running) = &mut self.slots[id].running {
                running.start_reading(cached);
            }
        }
    }

    /// How much of the prompt of slot `reader` slot `id` has.
    fn has(&self, id: usize, reader: usize) -> usize {
        let prompt = self.slots[reader].running.as_ref().map_or(&[][..], |running| &running.job.prompt);
        usable(self.slots[id].sequence.tokens(), self.slots[id].sequence.oldest(), prompt)
    }

    /// A slot that is about to read a good part of this prompt for a job of its own.
    fn find_lead(&self, queued: &Queued, cached: usize) -> Option<Lead> {
        let prompt = &queued.job.prompt;
        let lead = |(slot, running): (usize, &Running)| {
            let tokens = common(&running.job.prompt, prompt).min(prompt.len() - 1);
            Lead { slot, job: running.id, tokens }
        };
        let running = self.slots.iter().enumerate().filter_map(|(id, slot)| Some((id, slot.running.as_ref()?)));
        let reading = running.filter(|(_, running)| running.is_reading() && running.lead.is_none());
        let best = reading.map(lead).max_by_key(|lead| lead.tokens);
        best.filter(|lead| queued.job.cache_prompt && lead.tokens >= cached + WORTH)
    }

    /// A job begins to read behind so many tokens that are known.
    fn count(&self, cached: usize) {
        // The first token is the same for all.
        let result = if cached > 1 { &self.metrics.prefix_hits } else { &self.metrics.prefix_misses };
        result.inc();
        self.metrics.reused_tokens.inc_by(cached as u64);
    }

    /// The free slot in which least would be lost: one whose content goes on in the prompt, an empty one, or one whose content
    /// stays for the most part; else the one that was used longest ago.
    fn choose_slot(&self, queued: &Queued) -> Option<usize> {
        let free = || self.slots.iter().enumerate().filter(|(_, slot)| slot.running.is_none());
        let has_empty = free().any(|(_, slot)| slot.sequence.tokens().is_empty());
        let goes_on = |slot: &Slot| {
            let (kept, len) = (self.usable(slot, queued), slot.sequence.tokens().len());
            let fits = len - kept < WORTH || (!has_empty && 2 * kept >= len);
            (kept > 0 && fits).then_some(kept)
        };
        let fitting = free().filter_map(|(id, slot)| Some((goes_on(slot)?, id))).max();
        let oldest =
            || free().min_by_key(|(_, slot)| (!slot.sequence.tokens().is_empty(), slot.used)).map(|(id, _)| id);
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
        let known = best.and_then(|(tokens, origin)| self.take(origin, tokens));
        self.keep_content(id, &queued.job.prompt);
        if let Some(known) = known {
            self.put(id, &known);
        }
        let kept = self.usable(&self.slots[id], queued);
        self.slots[id].sequence.rewind(kept)
    }

    /// The first so many tokens of a slot, or a snapshot that has them.
    fn take(&mut self, origin: Origin, tokens: usize) -> Option<Known> {
        match origin {
            Origin::Pool(fit) => self.pool.fetch(fit).map(|(bytes, tokens)| Known { bytes, tokens: Some(tokens) }),
            Origin::Slot(other) => {
                let saved = self.slots[other].sequence.save(tokens);
                let saved = saved.inspect_err(|cause| warn!("slot {other} cannot be copied: {cause}"));
                saved.ok().map(|bytes| Known { bytes: Arc::new(bytes), tokens: None })
            }
        }
    }

    /// Makes a known beginning a slot's content. One that is refused changes nothing, and leaves the pool.
    fn put(&mut self, id: usize, known: &Known) {
        let sequence = &mut self.slots[id].sequence;
        let refused = match (sequence.load(&known.bytes), &known.tokens) {
            (Err(cause), _) => cause.to_string(),
            (Ok(_), Some(tokens)) if sequence.tokens() != tokens => "its tokens are others".to_owned(),
            (Ok(_), _) => return,
        };
        match &known.tokens {
            Some(tokens) => self.pool.reject(tokens, &refused),
            None => warn!("a slot cannot be copied to another: {refused}"),
        }
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
        let len = sequence.tokens().len();
        if !self.pool.is_on() || len < WORTH {
            return;
        }
        if !self.pool.make_room(sequence.tokens(), sequence.oldest(), sequence.saved_bytes(len) as u64) {
            return;
        }
        match sequence.save(len) {
            Ok(bytes) => self.pool.insert(sequence.tokens(), sequence.oldest(), bytes),
            Err(cause) => warn!("the content of slot {id} is not kept: {cause}"),
        }
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
