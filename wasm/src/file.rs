//! A model's file in the engine's memory.

use wasm_bindgen::prelude::wasm_bindgen;
use woolly_engine::bytes::Receiver;

use crate::error::{Error, Result};

/// Room for the bytes of a file. JavaScript writes them from where [`FileBytes::ptr`] says on, in any order, and reports how
/// far they are there without a gap; what it has reported it never writes again.
#[wasm_bindgen]
pub struct FileBytes {
    receiver: Receiver,
    start: usize,
    length: usize,
}

#[wasm_bindgen]
impl FileBytes {
    /// Room for `length` bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(length: f64) -> Result<FileBytes> {
        let length = length as usize;
        let mut receiver = Receiver::new(length)?;
        let start = receiver.rest().as_mut_ptr() as usize;
        Ok(Self { receiver, start, length })
    }

    /// The address of the first byte.
    #[wasm_bindgen(getter)]
    pub fn ptr(&self) -> usize {
        self.start
    }

    /// Number of bytes.
    #[wasm_bindgen(getter)]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Says that the first `length` bytes are there.
    pub fn arrived(&mut self, length: f64) -> Result<()> {
        let (length, before) = (length as usize, self.receiver.arrived());
        if !(before..=self.length).contains(&length) {
            let expected = self.length;
            return Err(Error::Argument(format!("{length} bytes arrived, expected {before} to {expected}")));
        }
        self.receiver.advance(length - before);
        Ok(())
    }
}

impl FileBytes {
    /// The file, as it arrives.
    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }
}
