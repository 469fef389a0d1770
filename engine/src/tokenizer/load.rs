//! From metadata to a tokenizer: which tokens are special, and the vocabulary's habits.

use super::{
    Coder, Error, Tokenizer,
    bpe::Bpe,
    rules::{self, Rule},
    special::{self, Finder},
    spm::Spm,
    vocab::{Kind, Vocab},
};
use crate::gguf::Metadata;
use alloc::{borrow::ToOwned, boxed::Box, collections::BTreeSet};

impl Tokenizer {
    /// A tokenizer with the vocabulary under `tokenizer.ggml.*`.
    ///
    /// # Errors
    /// When the vocabulary is of a kind that is not supported, or its parts do not fit together.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, Error> {
        let model = metadata.require_string("tokenizer.ggml.model")?;
        match model {
            "llama" => spm(metadata),
            "gpt2" => bpe(metadata, metadata.string("tokenizer.ggml.pre")?.unwrap_or("default")),
            "gemma4" => bpe(metadata, "gemma4"),
            "test" => without_coder(metadata),
            other => Err(Error::Model { name: other.to_owned() }),
        }
    }
}

/// What a vocabulary of another kind is called, as part of a message.
pub(super) fn about_model(model: &str) -> &'static str {
    match model {
        "bert" => " (WordPiece), which is not supported",
        "t5" => " (Unigram), which is not supported",
        "rwkv" => " (RWKV), which is not supported",
        "plamo2" => " (PLaMo-2), which is not supported",
        "none" | "no_vocab" => ": the file has no vocabulary",
        _ => "",
    }
}

fn spm(metadata: &Metadata) -> Result<Tokenizer, Error> {
    let vocab = Vocab::from_metadata(metadata)?;
    let default = |id: u32| Some(id).filter(|&id| (id as usize) < vocab.len());
    let unknown = token_id(metadata, &vocab, "tokenizer.ggml.unknown_token_id")?.or(default(0));
    let (bos, eos) = (default(1), default(2));
    let habits = Habits { bos, eos, adds_bos: true, add_space_prefix: true, clean_spaces: false };
    let coder = Coder::Spm(Spm::new(&vocab, unknown));
    build(metadata, vocab, coder, habits)
}

fn bpe(metadata: &Metadata, pre: &str) -> Result<Tokenizer, Error> {
    let pre = if pre.is_empty() { "default" } else { pre };
    let rule: &Rule = rules::find(pre).ok_or_else(|| Error::PreTokenizer { name: pre.to_owned() })?;
    let vocab = Vocab::from_metadata(metadata)?;
    let bpe = Bpe::new(&vocab, rule, metadata.require_strings("tokenizer.ggml.merges")?)?;
    let Rule { add_bos: adds_bos, clean_spaces, .. } = *rule;
    let habits = Habits { bos: None, eos: None, adds_bos, add_space_prefix: false, clean_spaces };
    build(metadata, vocab, Coder::Bpe(Box::new(bpe)), habits)
}

/// A vocabulary that only has names: what llama.cpp's generator of random models writes.
fn without_coder(metadata: &Metadata) -> Result<Tokenizer, Error> {
    let habits = Habits { bos: None, eos: None, adds_bos: false, add_space_prefix: false, clean_spaces: false };
    build(metadata, Vocab::from_metadata(metadata)?, Coder::None, habits)
}

/// What a kind of vocabulary does unless the metadata say otherwise.
struct Habits {
    bos: Option<u32>,
    eos: Option<u32>,
    adds_bos: bool,
    add_space_prefix: bool,
    clean_spaces: bool,
}

fn build(metadata: &Metadata, mut vocab: Vocab, coder: Coder, habits: Habits) -> Result<Tokenizer, Error> {
    let bos = token_id(metadata, &vocab, "tokenizer.ggml.bos_token_id")?.or(habits.bos);
    let eos = token_id(metadata, &vocab, "tokenizer.ggml.eos_token_id")?.or(habits.eos);
    let (eot, end) = end_tokens(metadata, &mut vocab, eos)?;
    let mut specials = Finder::new(&vocab);
    let name = metadata.string("general.name")?.unwrap_or_default().to_ascii_lowercase();
    if name.contains("phi-3") || name.contains("phi3") {
        specials.strip_right_except(&["<unk>", "<s>", "<|endoftext|>"], &vocab);
    }
    Ok(Tokenizer {
        vocab,
        coder,
        specials,
        bos,
        eos,
        eot,
        end,
        adds_bos: metadata.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(habits.adds_bos),
        adds_eos: metadata.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false),
        add_space_prefix: metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(habits.add_space_prefix),
        clean_spaces: habits.clean_spaces,
    })
}

/// The token that a key names.
fn token_id(metadata: &Metadata, vocab: &Vocab, key: &'static str) -> Result<Option<u32>, Error> {
    match metadata.u32(key)? {
        Some(id) if id as usize >= vocab.len() => Err(Error::OutOfRange { key, id, tokens: vocab.len() }),
        id => Ok(id),
    }
}

/// The token for a purpose: what a key names, or else the first of some names that the vocabulary has. A token found by
/// name is a control token from then on, whatever kind the file gives it.
fn token_for(
    metadata: &Metadata,
    vocab: &mut Vocab,
    keys: &[&'static str],
    names: &[&str],
) -> Result<Option<u32>, Error> {
    for key in keys {
        if let Some(id) = token_id(metadata, vocab, key)? {
            return Ok(Some(id));
        }
    }
    let found = names.iter().find_map(|name| vocab.find(name.as_bytes()));
    if let Some(id) = found {
        make_control(vocab, id);
    }
    Ok(found)
}

fn make_control(vocab: &mut Vocab, id: u32) {
    vocab.set_kind(id, vocab.kind(id).or(Kind::CONTROL));
}

/// The token that ends a turn, and all tokens that end generation. Corrects the kinds of special tokens on the way.
fn end_tokens(metadata: &Metadata, vocab: &mut Vocab, eos: Option<u32>) -> Result<(Option<u32>, BTreeSet<u32>), Error> {
    let mut purpose = |keys: &[&'static str], names| token_for(metadata, vocab, keys, names);
    let eot = purpose(&["tokenizer.ggml.eot_token_id"], special::END_OF_TURN)?;
    let eom = purpose(&["tokenizer.ggml.eom_token_id"], special::END_OF_MESSAGE)?;
    purpose(&["tokenizer.ggml.prefix_token_id", "tokenizer.ggml.fim_pre_token_id"], special::FILL_PREFIX)?;
    purpose(&["tokenizer.ggml.suffix_token_id", "tokenizer.ggml.fim_suf_token_id"], special::FILL_SUFFIX)?;
    purpose(&["tokenizer.ggml.middle_token_id", "tokenizer.ggml.fim_mid_token_id"], special::FILL_MIDDLE)?;
    let padding = purpose(&["tokenizer.ggml.fim_pad_token_id"], special::FILL_PADDING)?;
    let repository = purpose(&["tokenizer.ggml.fim_rep_token_id"], special::FILL_REPOSITORY)?;
    let file = purpose(&["tokenizer.ggml.fim_sep_token_id"], special::FILL_FILE)?;

    let mut end: BTreeSet<u32> = [eos, eot, eom, padding, repository, file].into_iter().flatten().collect();
    for id in vocab.find_all(special::END) {
        end.insert(id);
        make_control(vocab, id);
    }
    for id in vocab.find_all(special::SHOWN) {
        vocab.set_kind(id, Kind::USER_DEFINED);
    }
    keep_from_ending(vocab, &mut end);
    Ok((eot, end))
}

/// Some names end generation in most vocabularies but not in all: the company they keep tells.
fn keep_from_ending(vocab: &mut Vocab, end: &mut BTreeSet<u32>) {
    let in_end = |vocab: &Vocab, name: &str| vocab.find(name.as_bytes()).filter(|id| end.contains(id));
    let has = |name| in_end(vocab, name).is_some();
    // Where messages end with one of these, <|end|> ends a part of a message.
    let has_call = has("<|call|>") || has("<|calls|>");
    let parts = has_call && (has("<|return|>") || has("<|flush|>"));
    // These vocabularies have </s> for HTML.
    let strikes_through = has("<|tool_response>") || has("<|plamo:eos|>");
    let part_end = in_end(vocab, "<|end|>").filter(|_| parts);
    let strike = in_end(vocab, "</s>").filter(|_| strikes_through);
    for (id, kind) in [(part_end, Kind::USER_DEFINED), (strike, Kind::NORMAL)] {
        if let Some(id) = id {
            end.remove(&id);
            vocab.set_kind(id, kind);
        }
    }
}
