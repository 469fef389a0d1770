//! From the options of the command line to the engine's sampler.

use woolly_engine::sampler::{Params, Sampler};
use woolly_engine::tokenizer::Tokenizer;

use crate::cli::Sampling;
use crate::error::{Error, Result};

/// The seed: the one given, or one from the system's source of randomness.
pub fn seed(given: Option<u32>) -> Result<u32> {
    let random = || getrandom::u32().map_err(|cause| Error::other("the system gives no random seed").because(cause));
    given.map_or_else(random, Ok)
}
