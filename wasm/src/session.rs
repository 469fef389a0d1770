//! Sessions: a context that tokens are fed to, and what is generated from it.

use serde::Deserialize;
use wasm_bindgen::prelude::wasm_bindgen;
use woolly_engine::model::Options;
use woolly_engine::sampler::{Params, Sampler};
use woolly_engine::session::{self, Continuation, KvType, Progress, Until};

use crate::error::{Error, Result};
use crate::model::{Model, parse};
use crate::pool::pool;

/// Positions of a context that nobody asked for.
const DEFAULT_CONTEXT: usize = 2048;
/// Tokens of a prompt that are computed together, unless asked for otherwise.
const DEFAULT_BATCH: usize = 128;

/// A context of one model.
#[wasm_bindgen]
pub struct Session {
    session: session::Session,
    prompt: Vec<u32>,
    generation: Option<Generation>,
    token: Option<u32>,
}

/// A generation under way.
struct Generation {
    sampler: Sampler,
    continuation: Continuation,
}

#[wasm_bindgen]
impl Session {
    /// An empty context: `options` are JSON with `n_ctx` (0 for as many positions as the model was trained for, 2048 at most
    /// unless given), `n_batch`, `cache_type` and `n_threads`.
    #[wasm_bindgen(constructor)]
    pub fn new(model: &Model, options: &str) -> Result<Session> {
        let asked: Asked = parse(options, "the options")?;
        let options = asked.options(model.shared().spec().context)?;
        let session = session::Session::new(model.shared().clone(), pool(asked.n_threads.unwrap_or(1)), &options)?;
        Ok(Self { session, prompt: Vec::new(), generation: None, token: None })
    }

    /// Positions of the context.
    #[wasm_bindgen(getter)]
    pub fn n_ctx(&self) -> usize {
        self.session.context()
    }

    /// Tokens in the context.
    #[wasm_bindgen(getter)]
    pub fn length(&self) -> usize {
        self.session.tokens().len()
    }

    /// Begins a prompt: forgets all but what the context has in common with it, and returns how many tokens that are. The
    /// others, one at least, are then [fed](Session::feed).
    pub fn begin(&mut self, tokens: Vec<u32>) -> Result<usize> {
        self.generation = None;
        let last = tokens.len().checked_sub(1).ok_or(session::Error::EmptyPrompt)?;
        if tokens.len() > self.session.context() {
            let (tokens, context) = (tokens.len(), self.session.context());
            return Err(session::Error::ContextFull { tokens, free: context, context }.into());
        }
        let common = self.session.tokens().iter().zip(&tokens).take_while(|(a, b)| a == b).count();
        self.prompt = tokens;
        Ok(self.session.rewind(common.min(last)))
    }

    /// Appends tokens to the context.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<()> {
        Ok(self.session.feed(tokens)?)
    }

    /// Begins to feed tokens that [`Session::advance`] computes, stage by stage, as the weights arrive.
    pub fn begin_staged(&mut self, tokens: &[u32]) -> Result<()> {
        Ok(self.session.begin_staged(tokens)?)
    }

    /// Computes the next stage, if its weights are there: `ran`, `waiting`, or when that was the last one `done`.
    pub fn advance(&mut self) -> Result<String> {
        let name = match self.session.advance()? {
            Progress::Waiting(_) => "waiting",
            Progress::Ran(_) => "ran",
            Progress::Done => "done",
        };
        Ok(name.into())
    }

    /// The context as bytes, for [`Session::load`] of any session with the same model and cache type.
    pub fn save(&mut self) -> Result<Vec<u8>> {
        Ok(self.session.save()?)
    }

    /// Makes the context what it was when it was saved.
    pub fn load(&mut self, bytes: &[u8]) -> Result<()> {
        self.session.load(bytes)?;
        self.generation = None;
        Ok(())
    }

    /// The logits behind each of some tokens, from an empty context: positions × vocabulary.
    pub fn logits(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        self.generation = None;
        self.session.rewind(0);
        let length = ids.len() * self.session.model().tokenizer().vocab_len();
        let mut all = Vec::new();
        all.try_reserve_exact(length).map_err(|_| woolly_engine::bytes::OutOfMemory(4 * length))?;
        self.session.feed_each(ids, &mut |_, logits| all.extend_from_slice(logits))?;
        Ok(all)
    }

    /// Begins to generate from the prompt that was fed: `params` are the sampler's, `until` has `max_tokens`, `stop` and
    /// `ignore_eos`, as JSON both.
    pub fn generate(&mut self, params: &str, until: &str) -> Result<()> {
        let params: Params = parse(params, "the sampler's parameters")?;
        let ending: Ending = parse(until, "the ending")?;
        let tokenizer = self.session.model().tokenizer();
        let mut sampler = Sampler::new(&params, tokenizer)?;
        self.prompt.iter().for_each(|&token| sampler.accept(token));
        let continuation = Continuation::new(tokenizer, ending.into());
        self.generation = Some(Generation { sampler, continuation });
        Ok(())
    }

    /// The text that the next token makes certain: nothing while a character, or what may be a stop string, is incomplete.
    pub fn step(&mut self) -> Result<String> {
        let generation = self.generation.as_mut();
        let Generation { sampler, continuation } =
            generation.ok_or_else(|| Error::Argument("nothing is being generated".into()))?;
        self.token = None;
        let Some(piece) = continuation.next(&mut self.session, sampler).transpose()? else { return Ok(String::new()) };
        self.token = piece.token;
        Ok(piece.text)
    }

    /// The token of the last step, if it had one.
    #[wasm_bindgen(getter)]
    pub fn token(&self) -> Option<u32> {
        self.token
    }

    /// Why the generation ended, in the OpenAI API's words; nothing while it goes on.
    #[wasm_bindgen(getter)]
    pub fn finish(&self) -> Option<String> {
        let finish = self.generation.as_ref()?.continuation.finish()?;
        Some(finish.reason().into())
    }
}

/// The options of a session.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    n_ctx: Option<usize>,
    n_batch: Option<usize>,
    cache_type: Option<String>,
    n_threads: Option<usize>,
}

impl Asked {
    /// For a model that was trained for `trained` positions.
    pub fn options(&self, trained: usize) -> Result<Options> {
        let context = match self.n_ctx {
            None => trained.min(DEFAULT_CONTEXT),
            Some(0) => trained,
            Some(context) => context,
        };
        let kv = match self.cache_type.as_deref() {
            None => KvType::F16,
            Some(name) => name.parse().map_err(|error| Error::Argument(format!("cache_type: {error}")))?,
        };
        let batch = self.n_batch.unwrap_or(DEFAULT_BATCH).clamp(1, context.max(1));
        Ok(Options { context, batch, kv, ..Options::default() })
    }
}

/// When a generation ends.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Ending {
    max_tokens: Option<usize>,
    stop: Vec<String>,
    ignore_eos: bool,
}

impl From<Ending> for Until {
    fn from(ending: Ending) -> Self {
        Self { max_tokens: ending.max_tokens, stop: ending.stop, ignore_end: ending.ignore_eos }
    }
}
