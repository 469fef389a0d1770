//! Running models in tests.

use crate::threads::Threads;
use std::path::Path;
use std::sync::Arc;
use woolly_engine::bytes::Bytes;
use woolly_engine::gguf::Gguf;
use woolly_engine::model::{Model, Options};
use woolly_engine::session::Session;
use woolly_engine::simd::Level;
use woolly_engine::transformer::KvType;

/// One way to compute the logits of some tokens; all ways must give the same bits.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Instruction set.
    pub level: Level,
    /// Number of threads.
    pub threads: usize,
    /// So many tokens are fed at a time.
    pub chunk: usize,
}

impl Way {
    /// Portable code, one thread, everything at once.
    pub const PLAIN: Self = Self { level: Level::Scalar, threads: 1, chunk: usize::MAX };
}

/// The instruction sets to test: the one that `WOOLLY_ISA` names, else all that this machine has.
pub fn levels() -> Vec<Level> {
    let available = Level::available();
    let Ok(name) = std::env::var("WOOLLY_ISA") else { return available };
    let level: Level = name.parse().expect("WOOLLY_ISA names an instruction set");
    assert!(available.contains(&level), "this machine lacks {level}");
    vec![level]
}

/// The model in these bytes.
pub fn model(file: Vec<u8>) -> Arc<Model> {
    let gguf = Gguf::open(vec![Bytes::new(file)]).expect("the file can be read");
    Arc::new(Model::load(gguf).expect("the model can be loaded"))
}

/// The model in this file.
pub fn model_file(path: &Path) -> Arc<Model> {
    model(std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// A session with room for `context` tokens.
pub fn session(model: &Arc<Model>, way: Way, kv: KvType, context: usize) -> Session {
    let options = Options { context, kv, level: way.level, ..Options::default() };
    Session::new(model.clone(), Arc::new(Threads(way.threads)), &options).expect("the session fits")
}

/// The logits of every position: positions × vocabulary.
pub fn logits(model: &Arc<Model>, tokens: &[u32], way: Way, kv: KvType) -> Vec<f32> {
    let mut session = session(model, way, kv, tokens.len());
    let mut all = Vec::new();
    for chunk in tokens.chunks(way.chunk.min(tokens.len())) {
        session.feed_each(chunk, &mut |_, logits| all.extend_from_slice(logits)).expect("the tokens fit");
    }
    all
}
