//! `woolly tokenize`

use std::io::{IsTerminal, Read};

use woolly_engine::tokenizer::Tokenizer;

use crate::cli::Tokenize;
use crate::error::{Error, Result};
use crate::{load, output};

/// Turns stdin's text into ids, or its ids into text.
pub fn run(args: &Tokenize, offline: bool) -> Result<()> {
    let opened = load::open(Some(&args.model), offline)?;
    let tokenizer = Tokenizer::from_metadata(opened.gguf.metadata())
        .map_err(|cause| load::unusable(&opened.name).because(cause))?;
    if std::io::stdin().is_terminal() {
        output::note("reading standard input until Ctrl-D");
    }
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).map_err(|cause| Error::io("read standard input", cause))?;
    if args.decode { decode(&tokenizer, &input, !args.no_special) } else { encode(&tokenizer, &input, args) }
}

fn encode(tokenizer: &Tokenizer, text: &[u8], args: &Tokenize) -> Result<()> {
    let ids = tokenizer.encode(text, !args.no_bos, !args.no_special);
    let words: Vec<String> = ids.iter().map(ToString::to_string).collect();
    output::print(words.join(" ") + "\n")
}

/// The bytes of the text, exactly: ids of a text give it back.
fn decode(tokenizer: &Tokenizer, input: &[u8], special: bool) -> Result<()> {
    let text = String::from_utf8_lossy(input);
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let ids: Vec<u32> = words.map(|word| id(word, tokenizer.vocab_len())).collect::<Result<_>>()?;
    output::print(tokenizer.decode(&ids, special))
}

fn id(word: &str, vocabulary: usize) -> Result<u32> {
    let id = word.parse().ok().filter(|id| (*id as usize) < vocabulary);
    id.ok_or_else(|| {
        Error::usage(format!("'{word}' in standard input is no token id: expected whole numbers below {vocabulary}"))
    })
}
