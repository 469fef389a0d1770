//! OpenAI's interface, with llama-server's additions.

pub mod chat;
mod chunks;
pub mod completions;
pub mod models;

use woolly_engine::session::Finish;

use crate::serve::job::Done;

/// Why an answer ended.
fn reason(done: &Done) -> &'static str {
    done.finish.reason()
}

/// Whether an answer was cut off because the context is full.
pub fn is_truncated(done: &Done) -> bool {
    done.finish == Finish::Context
}
