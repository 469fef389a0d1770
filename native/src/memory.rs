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

/// The context that the model was trained for, halved until keys, values and scratch take no more than half of the
/// memory that the weights leave.
pub fn fitting_context(model: &Model, options: &Options) -> usize {
    let available = available();
    let fits = |context: usize| {
        let needed = model.memory(&Options { context, ..options.clone() });
        needed.kv_cache + needed.scratch <= available.saturating_sub(needed.weights) / 2
    };
    halve_until(model.spec().context, fits)
}

fn halve_until(trained: usize, fits: impl Fn(usize) -> bool) -> usize {
    let mut context = trained;
    while context > SMALL_CONTEXT && !fits(context) {
        context = (context / 2).max(SMALL_CONTEXT);
    }
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_shrink_to_what_fits() {
        assert_eq!(halve_until(131_072, |_| true), 131_072);
        assert_eq!(halve_until(131_072, |context| context <= 40_000), 32_768);
        assert_eq!(halve_until(131_072, |_| false), SMALL_CONTEXT);
        assert_eq!(halve_until(512, |_| false), 512);
    }

    #[test]
    fn some_memory_is_available() {
        assert!(available() > 1 << 20);
    }
}
