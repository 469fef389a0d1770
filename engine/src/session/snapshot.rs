//! A session as bytes, to go on from elsewhere or later.
//!
//! ```text
//! "woollykv"  version: u32  kv type: u32  model: u64  vocabulary: u64  tokens: u64  oldest: u64
//! tokens × u32
//! vocabulary × f32: the logits
//! keys and values of the filled positions, see `transformer::kept`
//! checksum of all before: u64
//! ```
//!
//! Everything is little-endian. `model` is the file's [`fingerprint`](crate::gguf::Gguf::fingerprint), `kv type` the GGUF id
//! of the type that the KV cache has. The first numbers say how long the rest is, so that nothing is believed that is not
//! there. `oldest` is the first position that the session could be rewound to: layers with a window have no more than what
//! is seen from there on.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Error, Session, reserved};
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
    /// A vocabulary of another size.
    #[error("the snapshot has logits of {found} tokens, expected {expected}")]
    Vocabulary {
        /// In the snapshot.
        found: u64,
        /// The session's.
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
        let gguf = self.model.gguf();
        let receiving = Error::Receiving { arrived: gguf.arrived(), size: gguf.size() };
        let fingerprint = gguf.fingerprint().ok_or(receiving)?;
        let (model, vocabulary) = (self.model.clone(), self.limits.vocabulary);
        let kept = Kept { oldest: self.oldest(), end: self.tokens.len() };
        let kv = self.state.kv();
        let length = kept.bytes(model.spec(), kv) as usize + (HEADER + 4 * kept.end + 4 * vocabulary + CHECKSUM);
        let mut out = reserved(length)?;
        out.extend_from_slice(&MAGIC);
        out.extend([VERSION, kv_id(kv)].iter().flat_map(|number| number.to_le_bytes()));
        let numbers = [fingerprint, vocabulary as u64, kept.end as u64, kept.oldest as u64];
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        out.extend(self.tokens.iter().flat_map(|token| token.to_le_bytes()));
        out.extend(self.state.logits(0).iter().flat_map(|logit| logit.to_le_bytes()));
        self.state.save(model.spec(), self.level, kept, &mut out);
        out.extend_from_slice(&checksum(0, &out).to_le_bytes());
        Ok(out)
    }

    /// Makes the session what [`Session::save`] was called on, and returns how many tokens that are. Where the bytes are
    /// refused it stays as it was; otherwise a staged prompt is dropped.
    pub fn load(&mut self, bytes: &[u8]) -> Result<usize, SnapshotError> {
        let snapshot = Snapshot::parse(bytes, self)?;
        let Snapshot { kept, tokens, logits, keys_and_values } = snapshot;
        let model = self.model.clone();
        self.state.load(model.spec(), self.level, kept, keys_and_values);
        self.state.set_logits(logits.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        self.tokens.clear();
        self.tokens.extend(tokens.iter().map(|bytes| u32::from_le_bytes(*bytes)));
        (self.written, self.floor, self.staged) = (kept.end, kept.oldest, None);
        Ok(kept.end)
    }
}

/// A snapshot that fits a session.
struct Snapshot<'a> {
    kept: Kept,
    tokens: &'a [[u8; 4]],
    logits: &'a [[u8; 4]],
    keys_and_values: &'a [u8],
}

impl<'a> Snapshot<'a> {
    fn parse(bytes: &'a [u8], session: &Session) -> Result<Self, SnapshotError> {
        let kept = kept(bytes, session)?;
        let (content, found) = bytes.split_at(bytes.len() - CHECKSUM);
        let (found, expected) = (number(found, 0), checksum(0, content));
        if found != expected {
            return Err(SnapshotError::Damaged { found, expected });
        }
        let (tokens, rest) = content[HEADER..].split_at(4 * kept.end);
        let (logits, keys_and_values) = rest.split_at(4 * session.limits.vocabulary);
        let (tokens, logits) = (tokens.as_chunks().0, logits.as_chunks().0);
        let vocabulary = session.limits.vocabulary;
        match tokens.iter().map(|bytes| u32::from_le_bytes(*bytes)).find(|token| *token as usize >= vocabulary) {
            Some(token) => Err(SnapshotError::Token { token, vocabulary }),
            None => Ok(Self { kept, tokens, logits, keys_and_values }),
        }
    }
}

/// What the header says, where it fits the session and as many bytes follow as it says.
fn kept(bytes: &[u8], session: &Session) -> Result<Kept, SnapshotError> {
    let (spec, kv) = (session.model.spec(), session.state.kv());
    let start = &bytes[..bytes.len().min(MAGIC.len())];
    if !MAGIC.starts_with(start) || start.is_empty() {
        return Err(SnapshotError::NotSnapshot { found: start.into() });
    }
    let found_bytes = bytes.len() as u64;
    if bytes.len() < HEADER + CHECKSUM {
        return Err(SnapshotError::Length { found: found_bytes, expected: (HEADER + CHECKSUM) as u64 });
    }
    let [version, found_kv] = [8, 12].map(|at| number(bytes, at) as u32);
    let [model, vocabulary, tokens, oldest] = [16, 24, 32, 40].map(|at| number(bytes, at));
    let (gguf, limits) = (session.model.gguf(), session.limits);
    let receiving = SnapshotError::Receiving { arrived: gguf.arrived(), size: gguf.size() };
    let fingerprint = gguf.fingerprint().ok_or(receiving)?;
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    if model != fingerprint {
        return Err(SnapshotError::Model { found: model, expected: fingerprint });
    }
    if vocabulary != limits.vocabulary as u64 {
        return Err(SnapshotError::Vocabulary { found: vocabulary, expected: limits.vocabulary });
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
    let expected = kept.bytes(spec, kv) + (HEADER + CHECKSUM) as u64 + 4 * (tokens + vocabulary);
    if found_bytes != expected {
        return Err(SnapshotError::Length { found: found_bytes, expected });
    }
    Ok(kept)
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
