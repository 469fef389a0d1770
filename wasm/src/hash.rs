//! SHA-256 of what comes in pieces, which the platform's own cannot do.

use sha2::Digest;
use wasm_bindgen::prelude::wasm_bindgen;

/// A SHA-256 under way.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    /// The hash of nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes so far, in hexadecimal; the next bytes begin a new one.
    pub fn finish(&mut self) -> String {
        self.0.finalize_reset().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From FIPS 180-4's example of a message of one block.
    #[test]
    fn pieces_make_one_hash() {
        let mut hash = Sha256::new();
        hash.update(b"a");
        hash.update(b"bc");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.finish(), abc);
        hash.update(b"abc");
        assert_eq!(hash.finish(), abc);
    }
}
