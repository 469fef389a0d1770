//! The tokens of a model as llguidance wants them, and what it makes of forms with them.

use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{JsonCompileOptions, Matcher, ParserFactory};
use serde_json::Value;
use woolly_engine::session::Model;
use woolly_engine::tokenizer::Tokenizer;

use super::{Form, Grammar, Invalid, gbnf};

/// Bytes of the longest token that a trie has room for.
const MAX_TOKEN: usize = 1000;

/// The most bytes of a schema, as JSON.
const MAX_SCHEMA: usize = 256 << 10;

/// Rules are compiled by recursion, as deep as they lie within each other; memory is taken as it is needed.
const STACK: usize = 256 << 20;

/// The white space that may stand between two parts of JSON. Without a bound, a model may write nothing else.
const JSON_SPACE: &str = r"[ \t\n\r]{1,24}";

/// The tokens of a model, put in order when they are first needed. Clones are the same one.
#[derive(Clone)]
pub struct Vocabulary(Arc<Content>);

struct Content {
    model: Arc<Model>,
    factory: OnceLock<ParserFactory>,
}

impl Vocabulary {
    /// Of a model.
    pub fn new(model: Arc<Model>) -> Self {
        Self(Arc::new(Content { model, factory: OnceLock::new() }))
    }

    /// Prepares a form to be matched. That may take a while.
    pub fn compile(&self, form: &Form) -> Result<Grammar, Invalid> {
        let grammar = source(form)?;
        let refused = |cause: String| match form {
            Form::Gbnf(_) => Invalid::Grammar(cause),
            Form::Schema(_) => Invalid::Schema(cause),
        };
        let factory = || self.0.factory.get_or_init(|| factory(trie(self.tokenizer())));
        let beginning = compile(factory, grammar).map_err(refused)?;
        Ok(Grammar { beginning: Arc::new(Mutex::new(beginning)), vocabulary: self.clone() })
    }

    /// The tokens themselves.
    pub fn tokenizer(&self) -> &Tokenizer {
        self.0.model.tokenizer()
    }
}

/// A form as llguidance takes it.
fn source(form: &Form) -> Result<TopLevelGrammar, Invalid> {
    match form {
        Form::Gbnf(text) => Ok(TopLevelGrammar::from_lark(gbnf::to_lark(text)?)),
        Form::Schema(Value::Object(schema)) => {
            let mut schema = Value::Object(schema.clone());
            let bytes = schema.to_string().len();
            if bytes > MAX_SCHEMA {
                return Err(Invalid::Schema(format!("it has {bytes} bytes, expected at most {MAX_SCHEMA}")));
            }
            let space = Some(JSON_SPACE.to_owned());
            JsonCompileOptions { whitespace_pattern: space, ..JsonCompileOptions::default() }.apply_to(&mut schema);
            Ok(TopLevelGrammar::from_json_schema(schema))
        }
        Form::Schema(Value::Bool(true)) => source(&Form::Schema(Value::Object(serde_json::Map::new()))),
        Form::Schema(Value::Bool(false)) => Err(Invalid::Schema("false allows nothing".into())),
        Form::Schema(_) => Err(Invalid::Schema("expected an object, true or false".into())),
    }
}

/// Compiles a grammar on a thread whose stack is large enough for whatever is within the limits.
pub(super) fn compile<'a>(
    factory: impl FnOnce() -> &'a ParserFactory + Send,
    grammar: TopLevelGrammar,
) -> Result<Matcher, String> {
    thread::scope(|scope| {
        let work = || Matcher::new(factory().create_parser(grammar));
        let thread = thread::Builder::new().name("woolly-grammar".into()).stack_size(STACK).spawn_scoped(scope, work);
        let matcher = thread.map_err(|cause| format!("cannot start a thread: {cause}"))?.join();
        let matcher = matcher.map_err(|_| "it cannot be compiled".to_owned())?;
        matcher.get_error().map_or(Ok(matcher), |cause| Err(first_line(&cause)))
    })
}

/// What is behind the first line is about the insides of llguidance.
fn first_line(cause: &str) -> String {
    cause.lines().next().unwrap_or_default().trim_end_matches("<non-verbose/>").to_owned()
}

/// What makes matchers.
pub(super) fn factory(trie: TokTrie) -> ParserFactory {
    let tokens: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
    let made = ParserFactory::new(&tokens, InferenceCapabilities::default(), &SlicedBiasComputer::general_slices());
    let mut factory = made.expect("these are llguidance's own slices");
    factory.quiet();
    *factory.limits_mut() = limits();
    factory
}

/// What a grammar, and the tokens of one step, may cost.
fn limits() -> ParserLimits {
    ParserLimits {
        // Grammars in GBNF are parsed character by character.
        step_max_items: 500_000,
        max_lexer_states: 50_000,
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

/// The tokens by their bytes. Those that end an answer, and those that print nothing, are no text.
fn trie(tokenizer: &Tokenizer) -> TokTrie {
    let ids = 0..tokenizer.vocab_len() as u32;
    let ends: Vec<u32> = ids.clone().filter(|id| tokenizer.is_end(*id)).collect();
    let words: Vec<Vec<u8>> = ids.map(|id| word(tokenizer, id)).collect();
    let end = ends.first().copied().unwrap_or(INVALID_TOKEN);
    let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, end), &words);
    if ends.is_empty() { trie } else { trie.with_eos_tokens(&ends) }
}

fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let bytes = if tokenizer.is_end(id) { Vec::new() } else { tokenizer.piece(id, false) };
    // A first byte that no text has would mark a special token.
    let is_text = bytes.len() <= MAX_TOKEN && bytes.first() != Some(&TokTrie::SPECIAL_TOKEN_MARKER);
    if is_text { bytes } else { Vec::new() }
}
