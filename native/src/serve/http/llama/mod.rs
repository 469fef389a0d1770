//! What llama-server has beyond OpenAI's interface.

pub mod completion;
pub mod health;
pub mod props;
mod settings;
pub mod slots;
pub mod template;
pub mod tokens;
