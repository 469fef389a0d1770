//! Text to tokens and back.
mod pattern;
mod unicode;
