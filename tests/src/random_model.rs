//! Tiny models with random weights: every architecture and option for the comparison with the reference, every tensor
//! type for the comparison of our own paths.
//!
//! The bytes of a model follow from its [`Recipe`] alone, so only the reference's answers are kept in the repository.

use crate::random::Random;
use woolly_engine::gguf::{Value, Writer};
use woolly_engine::quant::TensorType;

/// Vocabulary of every tiny model: three control tokens, the 256 bytes, the letters with and without a space before.
pub const VOCABULARY: usize = 3 + 256 + 2 * 26;

/// What is random about a model is its weights; this is the rest.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Name of the model and of its recorded answer.
    pub name: String,
    /// Architecture by its GGUF name.
    pub arch: &'static str,
    /// Element type of the matrices.
    pub kind: TensorType,
    /// Layers.
    pub layers: u32,
    /// Length of the residual stream.
    pub embedding: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Length of a head.
    pub head: u32,
    /// Length of the feed-forward network's hidden vector.
    pub hidden: u32,
    /// Tensors that not every model has.
    pub extras: Vec<Extra>,
    /// Metadata beyond the shapes, without the architecture's prefix.
    pub metadata: Vec<(&'static str, Value)>,
}

/// Tensors that not every model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// An output matrix of its own, not the token embeddings.
    Output,
    /// Biases of queries, keys and values.
    AttentionBiases,
    /// Biases of attention's output and of the feed-forward network.
    OtherBiases,
    /// A factor of each matrix.
    Scales,
    /// Norms of queries and keys.
    QueryKeyNorms,
    /// Norms behind attention and feed-forward network.
    PostNorms,
    /// Llama 3's divisors of the rotary frequencies.
    RopeFactors,
}

impl Recipe {
    /// A small f32 model of an architecture.
    pub fn new(name: &str, arch: &'static str) -> Self {
        Self {
            name: name.into(),
            arch,
            kind: TensorType::F32,
            layers: 2,
            embedding: 64,
            heads: 4,
            kv_heads: 2,
            head: 16,
            hidden: 96,
            extras: Vec::new(),
            metadata: Vec::new(),
        }
    }

    /// A Llama whose matrices have rows of at least 256 elements, as all tensor types can have.
    pub fn of_type(kind: TensorType) -> Self {
        let shapes =
            Self { embedding: 256, heads: 4, kv_heads: 2, head: 64, hidden: 512, kind, ..Self::new("", "llama") };
        Self { name: kind.name().to_lowercase(), extras: vec![Extra::Output], ..shapes }
    }

    /// With these tensors too.
    pub fn extras(mut self, extras: &[Extra]) -> Self {
        self.extras.extend(extras);
        self
    }

    /// With this entry of metadata; the key goes without the architecture's prefix.
    pub fn value(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.metadata.push((key, value.into()));
        self
    }

    /// `count` tokens to feed it, the first one BOS.
    pub fn tokens(&self, count: usize) -> Vec<u32> {
        let mut random = self.random();
        let mut tokens: Vec<u32> = (0..count).map(|_| random.below(VOCABULARY as u32)).collect();
        tokens[0] = 1;
        tokens
    }

    /// The bytes of the GGUF file.
    pub fn build(&self) -> Vec<u8> {
        let mut writer = self.header();
        let mut tensors =
            Tensors { random: self.random(), kind: self.kind, scales: self.has(Extra::Scales), all: Vec::new() };
        let (embedding, vocabulary) = (u64::from(self.embedding), VOCABULARY as u64);
        tensors.matrix("token_embd", embedding, vocabulary);
        tensors.norm("output_norm", embedding);
        if self.has(Extra::Output) {
            tensors.matrix("output", embedding, vocabulary);
        }
        if self.has(Extra::RopeFactors) {
            let pairs = self.head / 2;
            let factors = (0..pairs).map(|i| 1.0 + 7.0 * i as f32 / pairs as f32).collect();
            tensors.vector("rope_freqs.weight".into(), factors);
        }
        (0..self.layers).for_each(|layer| self.layer(layer, &mut tensors));
        for (name, dims, kind, bytes) in tensors.all {
            writer = writer.tensor(&name, &dims, kind, bytes);
        }
        writer.finish()
    }

    fn layer(&self, layer: u32, tensors: &mut Tensors) {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let [embedding, hidden, head] = [self.embedding, self.hidden, self.head].map(u64::from);
        let [queries, keys] = [self.heads, self.kv_heads].map(|heads| u64::from(heads) * head);
        tensors.norm(&name("attn_norm"), embedding);
        tensors.norm(&name("ffn_norm"), embedding);
        if self.has(Extra::PostNorms) {
            tensors.norm(&name("post_attention_norm"), embedding);
            tensors.norm(&name("post_ffw_norm"), embedding);
        }
        if self.has(Extra::QueryKeyNorms) {
            tensors.norm(&name("attn_q_norm"), head);
            tensors.norm(&name("attn_k_norm"), head);
        }
        for (part, rows) in [("attn_q", queries), ("attn_k", keys), ("attn_v", keys)] {
            tensors.linear(&name(part), embedding, rows, self.has(Extra::AttentionBiases));
        }
        tensors.linear(&name("attn_output"), queries, embedding, self.has(Extra::OtherBiases));
        for (part, columns, rows) in
            [("ffn_gate", embedding, hidden), ("ffn_up", embedding, hidden), ("ffn_down", hidden, embedding)]
        {
            tensors.linear(&name(part), columns, rows, self.has(Extra::OtherBiases));
        }
    }

    fn header(&self) -> Writer {
        let key = |key: &str| format!("{}.{key}", self.arch);
        let mut writer = Writer::new().string("general.architecture", self.arch).string("general.name", &self.name);
        for (name, value) in [
            ("context_length", 256),
            ("embedding_length", self.embedding),
            ("block_count", self.layers),
            ("feed_forward_length", self.hidden),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", self.kv_heads),
            ("attention.key_length", self.head),
            ("attention.value_length", self.head),
            ("rope.dimension_count", self.head),
        ] {
            writer = writer.u32(&key(name), value);
        }
        writer = writer.f32(&key("attention.layer_norm_rms_epsilon"), 1e-5);
        for (name, value) in &self.metadata {
            writer = writer.value(&key(name), value.clone());
        }
        with_vocabulary(writer)
    }

    fn has(&self, extra: Extra) -> bool {
        self.extras.contains(&extra)
    }

    /// A generator of this recipe's own.
    fn random(&self) -> Random {
        // FNV-1a of the name.
        Random::new(
            self.name
                .bytes()
                .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)),
        )
    }
}

/// Adds a SentencePiece-like tokenizer that can encode every text.
fn with_vocabulary(writer: Writer) -> Writer {
    let [normal, unknown, control, byte_kind] = [1, 2, 3, 6];
    let mut pieces = vec![("<unk>".to_string(), unknown), ("<s>".into(), control), ("</s>".into(), control)];
    pieces.extend((0..256).map(|byte| (format!("<0x{byte:02X}>"), byte_kind)));
    pieces.extend(('a'..='z').map(|letter| (letter.to_string(), normal)));
    pieces.extend(('a'..='z').map(|letter| (format!("\u{2581}{letter}"), normal)));
    let (texts, kinds): (Vec<String>, Vec<i32>) = pieces.into_iter().unzip();
    writer
        .string("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &texts)
        .f32s("tokenizer.ggml.scores", (0..VOCABULARY).map(|i| -(i as f32)).collect::<Vec<f32>>())
        .i32s("tokenizer.ggml.token_type", kinds)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
        .u32("tokenizer.ggml.unknown_token_id", 0)
}

/// Tensors as they are made, each from the next random numbers.
struct Tensors {
    random: Random,
    kind: TensorType,
    scales: bool,
    all: Vec<(String, Vec<u64>, TensorType, Vec<u8>)>,
}

impl Tensors {
    fn vector(&mut self, name: String, values: Vec<f32>) {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.all.push((name, vec![values.len() as u64], TensorType::F32, bytes));
    }

    fn norm(&mut self, name: &str, length: u64) {
        let values = (0..length).map(|_| 1.0 + 0.2 * self.random.signed()).collect();
        self.vector(format!("{name}.weight"), values);
    }

    fn matrix(&mut self, name: &str, columns: u64, rows: u64) {
        let bytes = random_elements(self.kind, (columns * rows) as usize, columns as usize, &mut self.random);
        self.all.push((format!("{name}.weight"), vec![columns, rows], self.kind, bytes));
    }

    fn linear(&mut self, name: &str, columns: u64, rows: u64, bias: bool) {
        self.matrix(name, columns, rows);
        if bias {
            let values = (0..rows).map(|_| 0.2 * self.random.signed()).collect();
            self.vector(format!("{name}.bias"), values);
        }
        if self.scales {
            let scale = 1.0 + 0.5 * self.random.signed();
            self.vector(format!("{name}.scale"), vec![scale]);
        }
    }
}

/// Random elements of a type whose squares add up to about 1 in a row of `columns`.
fn random_elements(kind: TensorType, count: usize, columns: usize, random: &mut Random) -> Vec<u8> {
    let bound = (3.0 / columns as f32).sqrt();
    let mut floats = || (0..count).map(|_| bound * random.signed()).collect::<Vec<f32>>();
    match kind {
        TensorType::F32 => floats().iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorType::F16 => floats().iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
        TensorType::BF16 => floats().iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect(),
        _ => (0..count / kind.block_len()).flat_map(|_| random_block(kind, random)).collect(),
    }
}

/// A block of random bits, but with scales that make elements of a standard deviation around 1/16.
fn random_block(kind: TensorType, random: &mut Random) -> Vec<u8> {
    let mut block: Vec<u8> = (0..kind.block_bytes()).map(|_| random.bits() as u8).collect();
    for &(offset, size) in block_scales(kind) {
        let scale = half::f16::from_f32(size * (1.0 + 0.5 * random.signed()));
        block[offset..offset + 2].copy_from_slice(&scale.to_le_bytes());
    }
    if kind == TensorType::MXFP4 {
        block[0] = 120 + random.below(3) as u8;
    }
    block
}

/// Where a block's f16 scales (and minima) lie, and how big they are.
fn block_scales(kind: TensorType) -> &'static [(usize, f32)] {
    match kind {
        TensorType::Q4_0 => &[(0, 0.0136)],
        TensorType::Q4_1 => &[(0, 0.0136), (2, -0.1)],
        TensorType::Q5_0 => &[(0, 0.0068)],
        TensorType::Q5_1 => &[(0, 0.0068), (2, -0.1)],
        TensorType::Q8_0 => &[(0, 0.00085)],
        TensorType::Q2_K => &[(80, 0.0075), (82, 0.011)],
        TensorType::Q3_K => &[(108, 0.0015)],
        TensorType::Q4_K => &[(0, 0.00043), (2, 0.0032)],
        TensorType::Q5_K => &[(0, 0.0002), (2, 0.0031)],
        TensorType::Q6_K => &[(208, 0.000_046)],
        TensorType::IQ4_NL => &[(0, 0.0008)],
        TensorType::IQ4_XS => &[(0, 0.000_046)],
        TensorType::F32 | TensorType::F16 | TensorType::BF16 | TensorType::MXFP4 => &[],
    }
}
