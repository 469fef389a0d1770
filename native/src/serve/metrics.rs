//! What has been done and how fast, as Prometheus reads it.
//!
//! Everything is counted under Woolly's own names. What llama-server publishes under its names can be had too
//! (`llamacpp:…`): dashboards and autoscalers that know those go on working.

use std::fmt::Write;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It has its answer.
    Done,
    /// Too many were waiting.
    Refused,
    /// The client went away.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// Anything else.
    Failed,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timeout",
            Self::Failed => "failed",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    outcome: Outcome,
}

/// Counted seconds.
pub type Seconds = Counter<f64, AtomicU64>;

/// The counters of a server.
pub struct Metrics {
    registry: Registry,
    requests: Family<Ended, Counter>,
    /// Jobs that wait for a slot.
    pub queued: Gauge,
    /// Jobs that have one.
    pub running: Gauge,
    /// From the acceptance of a job to its first token.
    pub first_token: Histogram,
    /// From a token to the next.
    pub inter_token: Histogram,
    /// Tokens of prompts that were computed.
    pub prompt_tokens: Counter,
    /// Time in which they were.
    pub prompt_seconds: Seconds,
    /// Tokens that were generated.
    pub generated_tokens: Counter,
    /// Time in which they were.
    pub generated_seconds: Seconds,
    /// Passes.
    pub passes: Counter,
    /// Slots that took part in them.
    pub pass_slots: Counter,
    /// Tokens in KV caches.
    pub kv_tokens: Gauge,
    /// Tokens that there is room for.
    pub kv_capacity: Gauge,
    /// Jobs whose prompt began with something that was known.
    pub prefix_hits: Counter,
    /// Other jobs.
    pub prefix_misses: Counter,
    /// Tokens that therefore were not computed.
    pub reused_tokens: Counter,
    /// Bytes of the prefix caches in memory.
    pub cache_bytes: Gauge,
    /// Models that are loaded.
    pub models: Gauge,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            queued: Gauge::default(),
            running: Gauge::default(),
            first_token: Histogram::new(exponential_buckets(0.005, 2.0, 15)),
            inter_token: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            prompt_tokens: Counter::default(),
            prompt_seconds: Seconds::default(),
            generated_tokens: Counter::default(),
            generated_seconds: Seconds::default(),
            passes: Counter::default(),
            pass_slots: Counter::default(),
            kv_tokens: Gauge::default(),
            kv_capacity: Gauge::default(),
            prefix_hits: Counter::default(),
            prefix_misses: Counter::default(),
            reused_tokens: Counter::default(),
            cache_bytes: Gauge::default(),
            models: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let r = registry.sub_registry_with_prefix("woolly");
        r.register("requests", "Requests that are over, by outcome", self.requests.clone());
        r.register("requests_queued", "Requests that wait for a slot", self.queued.clone());
        r.register("requests_running", "Requests that have a slot", self.running.clone());
        r.register("first_token_seconds", "Time to the first token", self.first_token.clone());
        r.register("inter_token_seconds", "Time from a token to the next", self.inter_token.clone());
        r.register("prompt_tokens", "Tokens of prompts that were computed", self.prompt_tokens.clone());
        r.register("prompt_seconds", "Time in which prompts were computed", self.prompt_seconds.clone());
        r.register("generated_tokens", "Tokens that were generated", self.generated_tokens.clone());
        r.register("generated_seconds", "Time in which tokens were generated", self.generated_seconds.clone());
        r.register("passes", "Passes over a model", self.passes.clone());
        r.register("pass_slots", "Slots that took part in passes", self.pass_slots.clone());
        r.register("kv_tokens", "Tokens in the KV caches", self.kv_tokens.clone());
        r.register("kv_capacity_tokens", "Tokens that the KV caches have room for", self.kv_capacity.clone());
        r.register("prefix_hits", "Prompts whose beginning was known", self.prefix_hits.clone());
        r.register("prefix_misses", "Prompts whose beginning was not known", self.prefix_misses.clone());
        r.register(
            "prefix_reused_tokens",
            "Tokens of prompts that were not computed again",
            self.reused_tokens.clone(),
        );
        r.register("prefix_cache_bytes", "Memory of the prefix caches", self.cache_bytes.clone());
        r.register("models_loaded", "Models that are loaded", self.models.clone());
    }

    /// A request is over.
    pub fn ended(&self, outcome: Outcome) {
        self.requests.get_or_create(&Ended { outcome }).inc();
    }

    /// How many requests ended so.
    #[cfg(test)]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.requests.get_or_create(&Ended { outcome }).get()
    }

    /// Everything, in Prometheus's text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        encode(&mut text, &self.registry).ok();
        let end = text.rfind("# EOF").unwrap_or(text.len());
        text.truncate(end);
        self.memory(&mut text);
        self.llama(&mut text);
        text
    }

    fn memory(&self, text: &mut String) {
        let pid = sysinfo::get_current_pid();
        let mut system = System::new();
        let Ok(pid) = pid else { return };
        system.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[pid]),
            false,
            ProcessRefreshKind::nothing().with_memory(),
        );
        if let Some(process) = system.process(pid) {
            gauge(
                text,
                "process_resident_memory_bytes",
                "Memory, with the pages of model files",
                process.memory() as f64,
            );
        }
    }

    /// What llama-server calls these numbers.
    fn llama(&self, text: &mut String) {
        let (prompt, generated) = (self.prompt_tokens.get() as f64, self.generated_tokens.get() as f64);
        let (prompt_seconds, generated_seconds) = (self.prompt_seconds.get(), self.generated_seconds.get());
        let (passes, slots) = (self.passes.get() as f64, self.pass_slots.get() as f64);
        let (used, capacity) = (self.kv_tokens.get() as f64, self.kv_capacity.get() as f64);
        let counters = [
            ("prompt_tokens_total", "Number of prompt tokens processed.", prompt),
            ("prompt_tokens_cached_total", "Number of prompt tokens reused.", self.reused_tokens.get() as f64),
            ("prompt_seconds_total", "Prompt process time", prompt_seconds),
            ("tokens_predicted_total", "Number of generation tokens processed.", generated),
            ("tokens_predicted_seconds_total", "Predict process time", generated_seconds),
            ("n_decode_total", "Total number of passes over a model", passes),
        ];
        let gauges = [
            ("prompt_tokens_seconds", "Average prompt throughput in tokens/s.", ratio(prompt, prompt_seconds)),
            (
                "predicted_tokens_seconds",
                "Average generation throughput in tokens/s.",
                ratio(generated, generated_seconds),
            ),
            ("n_busy_slots_per_decode", "Average number of busy slots per pass", ratio(slots, passes)),
            ("kv_cache_usage_ratio", "KV-cache usage. 1 means 100 percent usage.", ratio(used, capacity)),
            ("kv_cache_tokens", "KV-cache tokens.", used),
            ("requests_processing", "Number of requests processing.", self.running.get() as f64),
            ("requests_deferred", "Number of requests deferred.", self.queued.get() as f64),
        ];
        counters
            .iter()
            .for_each(|(name, help, value)| metric(text, "counter", &format!("llamacpp:{name}"), help, *value));
        gauges.iter().for_each(|(name, help, value)| gauge(text, &format!("llamacpp:{name}"), help, *value));
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds a time.
pub fn add(seconds: &Seconds, time: Duration) {
    seconds.inc_by(time.as_secs_f64());
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

fn gauge(text: &mut String, name: &str, help: &str, value: f64) {
    metric(text, "gauge", name, help, value);
}

fn metric(text: &mut String, kind: &str, name: &str, help: &str, value: f64) {
    // Writing to a string does not fail.
    write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n").ok();
}
