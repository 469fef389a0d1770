//! A session as bytes, to go on from elsewhere or later.
//!
//! ```text
//! "woollykv"  version: u32  kv type: u32  model: u64  logits: u64  tokens: u64  oldest: u64
//! tokens × u32
//! logits × f32: those behind the last token, or none
//! keys and values of the filled positions, see `transformer::kept`
//! checksum of all before: u64
//! ```
//!
//! Everything is little-endian. `model` is the file's [`fingerprint`](crate::gguf::Gguf::fingerprint), `kv type` the GGUF id
//! of the type that the KV cache has. `logits` is the size of the vocabulary, or 0: a [`Sequence`] has none. The first numbers say how long the rest is, so that nothing is believed that is not
//! there. `oldest` is the first position that the session could be rewound to: layers with a window have no more than what
//! is seen from there on.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Error, Sequence, Session, reserved};
use crate::bytes::checksum;
use crate::transformer::{Kept, KvType};

const MAGIC: [u8; 8] = *b"woollykv";
const VERSION: u32 = 1;
/// Bytes before the tokens.
const HEADER: usize = 8 + 2 * 4 + 4 * 8;
const CHECKSUM: usize = 8;

/// Why bytes cannot be loaded into a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Something else.
    #[error("not a session's snapshot: it starts with \"{}\", expected \"{}\"", found.escape_ascii(), MAGIC.escape_ascii())]
    NotSnapshot {
        /// The first bytes.
        found: Box<[u8]>,
    },
    /// Another version of the format.
    #[error("the snapshot has version {0} of the format, expected {VERSION}")]
    Version(u32),
    /// Cut off, or followed by something.
    #[error("the snapshot has {found} bytes, expected {expected}")]
    Length {
        /// Bytes that are there.
        found: u64,
        /// Bytes that there would have to be.
        expected: u64,
    },
    /// Another model.
    #[error("the snapshot is another model's: its fingerprint is {found:016x}, this one's {expected:016x}")]
    Model {
        /// In the snapshot.
        found: u64,
        /// The session's.
        expected: u64,
    },
    /// Another number of logits: those of another vocabulary, or none where a [`Session`] needs them.
    #[error("the snapshot has logits of {found} tokens, expected {expected}")]
    Logits {
        /// In the snapshot.
        found: u64,
        /// Size of the vocabulary.
        expected: usize,
    },
    /// Any, while the model is still being received: only a whole one can be told from others.
    #[error("the model is still being received: {arrived} of its {size} bytes are there")]
    Receiving {
        /// Bytes that are there.
        arrived: u64,
        /// Bytes of all files.
        size: u64,
    },
    /// A KV cache of another type.
    #[error("the snapshot's KV cache has the type {}, the session's {}", Named(*found), expected.name())]
    Kv {
        /// GGUF id of the type in the snapshot.
        found: u32,
        /// The session's.
        expected: KvType,
    },
    /// More tokens than the session has room for.
    #[error("the snapshot has {tokens} tokens, the session's context has room for {context}")]
    ContextFull {
        /// In the snapshot.
        tokens: u64,
        /// Positions of the session.
        context: usize,
    },
    /// A position that is none of the snapshot's.
    #[error("the snapshot of {tokens} tokens begins at position {oldest}")]
    Oldest {
        /// The position.
        oldest: u64,
        /// Tokens in the snapshot.
        tokens: u64,
    },
    /// A token that is not in the vocabulary.
    #[error("token {token} of the snapshot is not in the vocabulary of {vocabulary} tokens")]
    Token {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// Damage.
    #[error("the snapshot is damaged: its checksum is {found:016x}, expected {expected:016x}")]
    Damaged {
        /// The checksum at the end.
        found: u64,
        /// The checksum of what stands before.
        expected: u64,
    },
}

impl Session {
    /// The session as bytes: its tokens, keys and values, and logits. Any session of the same model and KV type whose
    /// context has room for the tokens can [load](Self::load) them, and then goes on with the bits that this one would
    /// have had. It takes exclusive access to read, since the cache belongs to the threads of a pass.
    ///
    /// An error where a staged prompt is under way, the model is still being received, or memory is short.
    pub fn save(&mut self) -> Result<Vec<u8>, Error> {
        self.check_unstaged()?;
        self.sequence.snapshot(self.tokens().len(), self.runner.logits(0))
    }

    /// Makes the session what [`Session::save`] was called on, and returns how many tokens that are. Where the bytes are
    /// refused it stays as it was; otherwise a staged prompt is dropped.
    pub fn load(&mut self, bytes: &[u8]) -> Result<usize, SnapshotError> {
        let snapshot = Snapshot::parse(bytes, &self.sequence)?;
        let expected = self.runner.limits().vocabulary;
        if snapshot.logits.len() != expected {
            return Err(SnapshotError::Logits { found: snapshot.logits.len() as u64, expected });
        }
        self.runner.state.set_logits(snapshot.logits.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        self.staged = None;
        Ok(self.sequence.set(&snapshot))
    }
}

impl Sequence {
    /// The first `len` tokens (or all that there are), with keys and values, as bytes. Any sequence of the same model and KV
    /// type whose context has room for the tokens can [load](Self::load) them. It takes exclusive access to read, since the
    /// cache belongs to the threads of a pass.
    ///
    /// An error where less than [`Sequence::oldest`] are asked for, the model is still being received, or memory is short.
    pub fn save(&mut self, len: usize) -> Result<Vec<u8>, Error> {
        self.snapshot(len.min(self.tokens.len()), &[])
    }

    /// Bytes that [`Sequence::save`] makes of the first `len` tokens.
    pub fn saved_bytes(&self, len: usize) -> usize {
        self.snapshot_bytes(len.min(self.tokens.len()), &[])
    }

    /// Makes the sequence what [`Sequence::save`] or [`Session::save`] was called on, and returns how many tokens that are.
    /// Where the bytes are refused it stays as it was.
    pub fn load(&mut self, bytes: &[u8]) -> Result<usize, SnapshotError> {
        Ok(self.set(&Snapshot::parse(bytes, self)?))
    }

    fn snapshot(&mut self, len: usize, logits: &[f32]) -> Result<Vec<u8>, Error> {
        let (model, level, oldest) = (self.model().clone(), self.level(), self.oldest());
        if len < oldest {
            return Err(Error::Forgotten { len, oldest });
        }
        let gguf = model.gguf();
        let receiving = Error::Receiving { arrived: gguf.arrived(), size: gguf.size() };
        let fingerprint = gguf.fingerprint().ok_or(receiving)?;
        let (kept, kv) = (Kept { oldest, end: len }, self.cache.kind());
        let mut out = reserved(self.snapshot_bytes(len, logits))?;
        out.extend_from_slice(&MAGIC);
        out.extend([VERSION, kv_id(kv)].iter().flat_map(|number| number.to_le_bytes()));
        let numbers = [fingerprint, logits.len() as u64, len as u64, oldest as u64];
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        out.extend(self.tokens[..len].iter().flat_map(|token| token.to_le_bytes()));
        out.extend(logits.iter().flat_map(|logit| logit.to_le_bytes()));
        self.cache.save(model.spec(), level, kept, &mut out);
        out.extend_from_slice(&checksum(0, &out).to_le_bytes());
        Ok(out)
    }

    fn snapshot_bytes(&self, len: usize, logits: &[f32]) -> usize {
        let kept = Kept { oldest: self.oldest(), end: len };
        let keys_and_values = kept.bytes(self.model().spec(), self.cache.kind()) as usize;
        HEADER + 4 * len + size_of_val(logits) + keys_and_values + CHECKSUM
    }

    fn set(&mut self, snapshot: &Snapshot<'_>) -> usize {
        let (model, level) = (self.model().clone(), self.level());
        self.cache.load(model.spec(), level, snapshot.kept, snapshot.keys_and_values);
        self.set_loaded(snapshot.tokens.iter().map(|bytes| u32::from_le_bytes(*bytes)), snapshot.kept.oldest);
        snapshot.kept.end
    }
}

/// A snapshot that fits a sequence.
struct Snapshot<'a> {
    kept: Kept,
    tokens: &'a [[u8; 4]],
    logits: &'a [[u8; 4]],
    keys_and_values: &'a [u8],
}

impl<'a> Snapshot<'a> {
    fn parse(bytes: &'a [u8], sequence: &Sequence) -> Result<Self, SnapshotError> {
        let (kept, logits) = header(bytes, sequence)?;
        let (content, found) = bytes.split_at(bytes.len() - CHECKSUM);
        let (found, expected) = (number(found, 0), checksum(0, content));
        if found != expected {
            return Err(SnapshotError::Damaged { found, expected });
        }
        let (tokens, rest) = content[HEADER..].split_at(4 * kept.end);
        let (logits, keys_and_values) = rest.split_at(4 * logits);
        let (tokens, logits) = (tokens.as_chunks().0, logits.as_chunks().0);
        let vocabulary = sequence.limits().vocabulary;
        match tokens.iter().map(|bytes| u32::from_le_bytes(*bytes)).find(|token| *token as usize >= vocabulary) {
            Some(token) => Err(SnapshotError::Token { token, vocabulary }),
            None => Ok(Self { kept, tokens, logits, keys_and_values }),
        }
    }
}

/// What the header says, and how many logits there are, where it fits the sequence and as many bytes follow as it says.
fn header(bytes: &[u8], sequence: &Sequence) -> Result<(Kept, usize), SnapshotError> {
    let (spec, kv) = (sequence.model().spec(), sequence.cache.kind());
    let start = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(start) || start.is_empty() {
        return Err(SnapshotError::NotSnapshot { found: start.into() });
    }
    let found_bytes = bytes.len() as u64;
    if bytes.len() < HEADER + CHECKSUM {
        return Err(SnapshotError::Length { found: found_bytes, expected: (HEADER + CHECKSUM) as u64 });
    }
    let [version, found_kv] = [8, 12].map(|at| number(bytes, at) as u32);
    let [model, logits, tokens, oldest] = [16, 24, 32, 40].map(|at| number(bytes, at));
    let (gguf, limits) = (sequence.model().gguf(), sequence.limits());
    let receiving = SnapshotError::Receiving { arrived: gguf.arrived(), size: gguf.size() };
    let fingerprint = gguf.fingerprint().ok_or(receiving)?;
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    if model != fingerprint {
        return Err(SnapshotError::Model { found: model, expected: fingerprint });
    }
    if logits != 0 && logits != limits.vocabulary as u64 {
        return Err(SnapshotError::Logits { found: logits, expected: limits.vocabulary });
    }
    if found_kv != kv_id(kv) {
        return Err(SnapshotError::Kv { found: found_kv, expected: kv });
    }
    if tokens > limits.context as u64 {
        return Err(SnapshotError::ContextFull { tokens, context: limits.context });
    }
    if oldest > tokens {
        return Err(SnapshotError::Oldest { oldest, tokens });
    }
    let kept = Kept { oldest: oldest as usize, end: tokens as usize };
    let expected = kept.bytes(spec, kv) + (HEADER + CHECKSUM) as u64 + 4 * (tokens + logits);
    if found_bytes != expected {
        return Err(SnapshotError::Length { found: found_bytes, expected });
    }
    Ok((kept, logits as usize))
}

/// The eight bytes at an offset.
fn number(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes[at..].first_chunk().expect("the length has been checked");
    u64::from_le_bytes(*bytes)
}

/// The GGUF id of a KV cache's type.
fn kv_id(kv: KvType) -> u32 {
    match kv {
        KvType::F32 => 0,
        KvType::F16 => 1,
        KvType::Q8_0 => 8,
    }
}

/// Shows the type of a KV cache with this id.
struct Named(u32);

impl core::fmt::Display for Named {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match KvType::ALL.iter().find(|kv| kv_id(**kv) == self.0) {
            Some(kv) => f.write_str(kv.name()),
            None => write!(f, "{} (unknown)", self.0),
        }
    }
}
