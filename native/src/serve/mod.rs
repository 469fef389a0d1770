//! The server: many users at once, over HTTP.
//!
//! ```text
//! models   by name: loaded when they are asked for, unloaded when memory is short
//! batch    of each model: a thread that computes the tokens of many answers in one pass
//! job      what is asked of a batch, and what comes back
//! metrics  what has been done, and how fast
//! ```

pub mod batch;
pub mod job;
pub mod metrics;
pub mod models;
