//! How much memory there is, and which context fits it.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use woolly_engine::session::{Model, Options};

/// A context this long is tried even where memory is tight.
const SMALL_CONTEXT: usize = 2048;

/// Bytes that this process can still use: what the machine or its container has free.
pub fn available() -> u64 {
    let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(refresh);
    let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    system.available_memory().min(limit)
}

/// The context that the model was trained for, or the longest one with which so many `sessions` leave half of the memory to
/// others.
pub fn fitting_context(model: &Model, options: &Options, sessions: usize) -> usize {
    let free = available().saturating_sub(model.gguf().size());
    let fitting = model.context_within(free / 2 / sessions as u64, options);
    fitting.max(SMALL_CONTEXT).min(model.spec().context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_memory_is_available() {
        assert!(available() > 1 << 20);
    }
}
