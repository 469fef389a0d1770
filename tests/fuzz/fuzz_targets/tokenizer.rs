//! The tokenizer: any small vocabulary is refused or tokenizes any text, whose tokens print without a panic.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use woolly_engine::gguf::{Metadata, Parsed, Writer, parse};
use woolly_engine::tokenizer::Tokenizer;

const MODELS: [&str; 4] = ["llama", "gpt2", "gemma4", "bert"];
const PRE_TOKENIZERS: [&str; 13] = [
    "default",
    "gpt-2",
    "llama-bpe",
    "smollm",
    "qwen2",
    "deepseek-llm",
    "deepseek-coder",
    "falcon",
    "starcoder",
    "refact",
    "command-r",
    "mpt",
    "no such",
];
const IDS: [&str; 6] = ["bos", "eos", "eot", "eom", "unknown", "fim_pre"];
const FLAGS: [&str; 3] = ["add_bos_token", "add_eos_token", "add_space_prefix"];

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    model: u8,
    pre: Option<u8>,
    tokens: Vec<&'a [u8]>,
    /// Whether the tokens that stand for single bytes come first.
    bytes: bool,
    scores: Option<Vec<i8>>,
    types: Option<Vec<u8>>,
    /// Pairs of tokens.
    merges: Option<Vec<(u8, u8)>>,
    merge: Option<&'a [u8]>,
    ids: [Option<u8>; IDS.len()],
    flags: [Option<bool>; FLAGS.len()],
    text: &'a [u8],
    add_special: bool,
    parse_special: bool,
    decoded: Vec<u16>,
}

fuzz_target!(|input: Input| {
    let Ok(tokenizer) = Tokenizer::from_metadata(&input.metadata()) else { return };
    let tokens = tokenizer.encode(input.text, input.add_special, input.parse_special);
    assert!(tokens.iter().all(|&id| (id as usize) < tokenizer.vocab_len()));
    let any = input.decoded.iter().map(|&id| id.into()).collect::<Vec<u32>>();
    for ids in [tokens, any] {
        for special in [false, true] {
            check_decoding(&tokenizer, &ids, special);
        }
    }
});

/// Decodes at once, and token by token into whole characters.
fn check_decoding(tokenizer: &Tokenizer, ids: &[u32], special: bool) {
    let pieces = ids.iter().flat_map(|&id| tokenizer.piece(id, special)).collect::<Vec<u8>>();
    assert!(tokenizer.decode(ids, special).len() <= pieces.len());
    let mut decoder = tokenizer.decoder(special);
    let mut text: String = ids.iter().map(|&id| decoder.push(tokenizer, id)).collect();
    text += &decoder.finish();
    assert_eq!(text, String::from_utf8_lossy(&pieces));
}

impl Input<'_> {
    fn metadata(&self) -> Metadata {
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let tokens = self.tokens();
        let mut writer = Writer::new().string(&key("model"), MODELS[self.model as usize % MODELS.len()]);
        if let Some(pre) = self.pre {
            writer = writer.string(&key("pre"), PRE_TOKENIZERS[pre as usize % PRE_TOKENIZERS.len()]);
        }
        if let Some(scores) = &self.scores {
            writer = writer.f32s(&key("scores"), cycle(scores, tokens.len(), |score| f32::from(score) / 8.0));
        }
        if let Some(types) = &self.types {
            writer = writer.i32s(&key("token_type"), cycle(types, tokens.len(), |kind| i32::from(kind % 8)));
        }
        if let Some(merges) = self.merges(&tokens) {
            writer = writer.strings(&key("merges"), merges);
        }
        for (name, id) in IDS.iter().zip(self.ids) {
            writer = if let Some(id) = id { writer.u32(&key(&format!("{name}_token_id")), id.into()) } else { writer };
        }
        for (name, flag) in FLAGS.iter().zip(self.flags) {
            writer = if let Some(flag) = flag { writer.bool(&key(name), flag) } else { writer };
        }
        match parse(&writer.strings(&key("tokens"), tokens).finish()) {
            Ok(Parsed::Ready(header)) => header.metadata,
            other => panic!("{other:?}"),
        }
    }

    fn tokens(&self) -> Vec<Vec<u8>> {
        let bytes = if self.bytes { 0..=255u8 } else { 1..=0 };
        let spm = self.model as usize % MODELS.len() == 0;
        let byte_tokens = bytes.map(|byte| if spm { format!("<0x{byte:02X}>") } else { byte_as_letter(byte).into() });
        byte_tokens.map(String::into_bytes).chain(self.tokens.iter().map(|token| token.to_vec())).collect()
    }

    fn merges(&self, tokens: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        let token = |index: u8| tokens.get(index as usize % tokens.len().max(1)).cloned().unwrap_or_default();
        let pairs = self.merges.as_ref()?.iter().map(|&(left, right)| [token(left), token(right)].join(&b' '));
        Some(pairs.chain(self.merge.map(<[u8]>::to_vec)).collect())
    }
}

/// A list as long as the vocabulary made of a shorter one, or an empty one.
fn cycle<S: Copy, T>(items: &[S], len: usize, convert: impl Fn(S) -> T) -> Vec<T> {
    items.iter().cycle().take(len).map(|&item| convert(item)).collect()
}

/// The letter that stands for a byte in vocabularies after GPT-2's.
fn byte_as_letter(byte: u8) -> char {
    let code = match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => byte.into(),
        0..=b' ' => 0x100 + u32::from(byte),
        0x7f..=0xa0 => 0x121 + u32::from(byte - 0x7f),
        0xad => 0x143,
    };
    char::from_u32(code).expect("a letter")
}
