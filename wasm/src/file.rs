//! A model's file in the engine's memory.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use wasm_bindgen::prelude::wasm_bindgen;
use woolly_engine::bytes::{Bytes, OutOfMemory};

use crate::error::Result;

/// Alignment of the file's first byte, as tensors are aligned within it.
const ALIGNMENT: usize = 64;

/// Room for the bytes of a file, which JavaScript writes to where [`FileBytes::ptr`] says, before a model is made of it.
#[wasm_bindgen]
pub struct FileBytes {
    start: NonNull<u8>,
    layout: Layout,
}

#[wasm_bindgen]
impl FileBytes {
    /// Room for `length` bytes, zeros at first.
    #[wasm_bindgen(constructor)]
    pub fn new(length: f64) -> Result<FileBytes> {
        let out_of_memory = || OutOfMemory(length as usize);
        let layout = Layout::from_size_align((length as usize).max(1), ALIGNMENT).map_err(|_| out_of_memory())?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(out_of_memory)?;
        Ok(Self { start, layout })
    }

    /// The address of the first byte.
    #[wasm_bindgen(getter)]
    pub fn ptr(&self) -> usize {
        self.start.as_ptr() as usize
    }

    /// Number of bytes.
    #[wasm_bindgen(getter)]
    pub fn length(&self) -> usize {
        self.layout.size()
    }
}

impl FileBytes {
    /// The bytes, which from now on stay as they are.
    pub fn into_bytes(self) -> Bytes {
        Bytes::new(self)
    }
}

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: these bytes are this object's own, and initialized. JavaScript writes them between calls, and no longer
        // once a model was made of them.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

// SAFETY: the memory is this object's own, and nothing depends on the thread that reads or frees it.
unsafe impl Send for FileBytes {}
// SAFETY: through a shared reference it is read only.
unsafe impl Sync for FileBytes {}

impl Drop for FileBytes {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}
