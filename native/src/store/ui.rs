//! What the user sees while a model is fetched: notes, and progress as a bar on a terminal or as a few lines elsewhere.

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where notes and progress go.
#[derive(Clone)]
pub struct Ui {
    note: Arc<dyn Fn(&str) + Send + Sync>,
    is_terminal: bool,
}

impl Ui {
    /// The process's standard error stream.
    pub fn stderr() -> Self {
        Self { note: Arc::new(|line| eprintln!("{line}")), is_terminal: std::io::stderr().is_terminal() }
    }

    /// Lines given to `note`, for tests.
    #[cfg(test)]
    pub fn lines(note: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { note: Arc::new(note), is_terminal: false }
    }

    /// Says one line.
    pub fn note(&self, line: &str) {
        (self.note)(line);
    }

    /// Progress of `label` towards `total` bytes. Without a total it is only shown that something goes on.
    pub fn progress(&self, label: &str, total: Option<u64>) -> Progress {
        let bar = self.is_terminal.then(|| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
            bar.set_style(style(total.is_some()));
            bar.set_message(label.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress {
            ui: self.clone(),
            bar,
            label: label.to_owned(),
            total,
            done: 0,
            said: 0,
            start: Instant::now(),
            from: 0,
        }
    }
}

/// The progress of one transfer.
pub struct Progress {
    ui: Ui,
    bar: Option<ProgressBar>,
    label: String,
    total: Option<u64>,
    done: u64,
    said: u64,
    start: Instant,
    from: u64,
}

impl Progress {
    /// Learns how many bytes there are in all.
    pub fn set_total(&mut self, total: Option<u64>) {
        if total.is_none() || total == self.total {
            return;
        }
        self.total = total;
        if let (Some(bar), Some(total)) = (&self.bar, total) {
            bar.set_style(style(true));
            bar.set_length(total);
        }
    }

    /// A transfer starts with `done` bytes that are there already.
    pub fn start_at(&mut self, done: u64) {
        (self.done, self.from, self.said, self.start) = (done, done, self.step_of(done), Instant::now());
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.reset_eta();
        }
    }

    /// `done` bytes are there now.
    pub fn set(&mut self, done: u64) {
        self.done = done;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.step_of(done) > self.said {
            self.said = self.step_of(done);
            self.ui.note(&self.line());
        }
    }

    /// Says one line without disturbing the bar.
    pub fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.ui.note(line)),
            None => self.ui.note(line),
        }
    }

    /// Without a terminal: a line for each quarter, or for each 256 MiB where the total is not known.
    fn step_of(&self, done: u64) -> u64 {
        match self.total {
            Some(total) if total > 0 => (u128::from(done) * 4 / u128::from(total)) as u64,
            _ => done >> 28,
        }
    }

    fn line(&self) -> String {
        let speed = (self.done - self.from) as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
        let of = self.total.map(|total| format!(" of {}", HumanBytes(total))).unwrap_or_default();
        format!("{}: {}{of}, {}/s", self.label, HumanBytes(self.done), HumanBytes(speed as u64))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(total_is_known: bool) -> ProgressStyle {
    let template = match total_is_known {
        true => "{msg} {bar:24} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
        false => "{msg} {spinner} {elapsed}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn without_a_terminal_progress_is_a_few_lines() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = said.clone();
        let ui = Ui::lines(move |line| sink.lock().unwrap().push(line.to_owned()));
        let mut progress = ui.progress("x.gguf", Some(1000));
        progress.start_at(300);
        (300..=1000).for_each(|done| progress.set(done));
        let said = said.lock().unwrap();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].starts_with("x.gguf: 500 B of 1000 B, "), "{said:?}");
    }
}
