//! What a file's header says of its model.

use std::collections::BTreeMap;

use serde::Serialize;
use woolly_engine::gguf::{Metadata, Tensor};

/// A model in a few words: `ModelInfo` of the package's types.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    name: String,
    architecture: String,
    quantization: &'static str,
    parameters: u64,
    size: u64,
    n_ctx_train: u64,
    vocab_size: u64,
    layers: u64,
    chat_template: Option<String>,
}

impl Description {
    /// Of a model in files of `size` bytes together. What is missing or of another type is empty or 0: this describes, and
    /// does not judge.
    pub fn new<'a>(metadata: &Metadata, tensors: impl Iterator<Item = &'a Tensor> + Clone, size: u64) -> Self {
        let text = |key: &str| metadata.string(key).ok().flatten().map(String::from);
        let architecture = text("general.architecture").unwrap_or_default();
        let number = |key: &str| metadata.u64(&format!("{architecture}.{key}")).ok().flatten().unwrap_or(0);
        let vocabulary = metadata.get("tokenizer.ggml.tokens").and_then(|tokens| tokens.as_array());
        Self {
            name: text("general.name").unwrap_or_default(),
            quantization: commonest_type(tensors.clone()),
            parameters: tensors.map(Tensor::elements).sum(),
            size,
            n_ctx_train: number("context_length"),
            vocab_size: vocabulary.map_or(0, |tokens| tokens.len() as u64),
            layers: number("block_count"),
            chat_template: text("tokenizer.chat_template"),
            architecture,
        }
    }
}

/// The type that most elements have.
fn commonest_type<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> &'static str {
    let mut elements = BTreeMap::<&str, u64>::new();
    for tensor in tensors {
        *elements.entry(tensor.kind.name()).or_default() += tensor.elements();
    }
    elements.into_iter().max_by_key(|(_, count)| *count).map_or("", |(name, _)| name)
}
