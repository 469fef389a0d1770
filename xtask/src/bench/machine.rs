//! The machine that measures, and what else it does meanwhile.

use super::statistics::{median, range};
use std::time::Duration;

/// How long to watch the processors before a round.
const WATCH: Duration = Duration::from_millis(250);

/// The share of the processors' time from which on other programs make a machine busy.
const BUSY: f64 = 0.1;

/// What is said about the machine.
#[derive(Default)]
pub struct Machine {
    processor: String,
    /// Shares of all processors' time that other programs took, while nothing of ours ran.
    others: Vec<f64>,
}

impl Machine {
    /// What the processor calls itself.
    pub fn set_processor(&mut self, name: &str) {
        self.processor = name.to_string();
    }

    /// Watches for a moment what other programs do. Only Linux tells.
    pub fn look_at_others(&mut self) {
        let times = || std::fs::read_to_string("/proc/stat").ok().as_deref().and_then(times);
        let Some(before) = times() else { return };
        std::thread::sleep(WATCH);
        self.others.extend(times().and_then(|after| busy(before, after)));
    }

    /// One sentence or two.
    pub fn describe(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let machine =
            format!("{}, {cores} cores, {} {}.", self.processor, std::env::consts::OS, std::env::consts::ARCH);
        if self.others.is_empty() {
            return machine;
        }
        let (share, most) = (median(&self.others), range(&self.others).1);
        let others = format!(
            "Other programs took {:.0}% of the processors' time (median of the rounds; at most {:.0}%)",
            100.0 * share,
            100.0 * most
        );
        let caution = if share > BUSY { ": the machine was busy, and the figures are rough" } else { "" };
        format!("{machine} {others}{caution}.")
    }
}

/// Time of all processors since they started: busy, and in all.
fn times(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in the first two already.
    let all: u64 = ticks.get(..8)?.iter().sum();
    Some((all - ticks[3] - ticks[4], all))
}

fn busy(before: (u64, u64), after: (u64, u64)) -> Option<f64> {
    let all = after.1.checked_sub(before.1).filter(|all| *all > 0)?;
    Some(after.0.saturating_sub(before.0) as f64 / all as f64)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn busy_time_is_read() {
        let before = times("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1 2 3\n").unwrap();
        let after = times("cpu  20 10 10 100 20 5 0 5 9 0\n").unwrap();
        assert_eq!((before, after), ((20, 100), (50, 170)));
        assert_eq!(busy(before, after), Some(30.0 / 70.0));
        assert_eq!(busy(after, after), None);
        assert!(times("").is_none() && times("cpu  1 2").is_none() && times("cpu  a b c d e f g h").is_none());
    }

    #[test]
    fn a_description_says_how_loaded_the_machine_was() {
        let machine = Machine { processor: "P".into(), others: vec![0.5, 0.0, 0.1] };
        let text = machine.describe();
        assert!(text.starts_with("P, ") && text.contains(" 10% of") && text.contains("at most 50%"), "{text}");
        assert!(!text.contains("rough"), "{text}");
        let busy = Machine { processor: "P".into(), others: vec![0.5, 0.2] };
        assert!(busy.describe().ends_with("the figures are rough."));
        assert!(!Machine::default().describe().contains("Other"));
    }
}
