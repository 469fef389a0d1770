//! The interfaces as a client sees them, without a network.

use woolly_engine::tokenizer::Tokenizer;

/// A vocabulary of bytes.
pub fn tokenizer() -> Tokenizer {
    todo!()
}
