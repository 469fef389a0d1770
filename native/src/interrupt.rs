//! Ctrl-C: the first asks to stop, the second leaves at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Kind, Result};

/// Whether the user asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over Ctrl-C; once per process. Before this it ends the process, as the system does by default.
    pub fn install() -> Result<Self> {
        let interrupt = Self::default();
        let asked = interrupt.asked.clone();
        let handler = move || {
            if asked.swap(true, Ordering::SeqCst) {
                std::process::exit(Kind::Interrupted.exit_code().into());
            }
        };
        ctrlc::set_handler(handler).map_err(|cause| Error::other("cannot listen for Ctrl-C").because(cause))?;
        Ok(interrupt)
    }

    /// Whether Ctrl-C was pressed since the last [`Self::clear`].
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Forgets what was pressed before.
    pub fn clear(&self) {
        self.asked.store(false, Ordering::SeqCst);
    }
}
