//! What a mapped file's end leaves behind when somebody cuts the file short.
//!
//! Touching a page that the file no longer has raises SIGBUS, which ends the process. Here the pages that are missing are
//! replaced by zeros instead, and it is noted that they were: the pass goes on, and its result is thrown away. Between a look
//! at the file's length and the access there would always be time for the cut; this leaves none.
//!
//! Elsewhere than on Linux the signal ends the process.

#![allow(unsafe_code)]

use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Mappings that can be watched at the same time; further ones are not.
const MAPPINGS: usize = 256;

static WATCHED: [Range; MAPPINGS] = [const { Range::new() }; MAPPINGS];
/// What would have been done about the signal otherwise.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A range of addresses; free while its start is 0.
struct Range {
    start: AtomicUsize,
    end: AtomicUsize,
    was_cut: AtomicBool,
}

impl Range {
    const fn new() -> Self {
        Self { start: AtomicUsize::new(0), end: AtomicUsize::new(0), was_cut: AtomicBool::new(false) }
    }

    fn contains(&self, address: usize) -> bool {
        (self.start.load(Ordering::Acquire)..self.end.load(Ordering::Acquire)).contains(&address)
    }
}

/// Watches a mapping until it is dropped, which has to be before the mapping is.
#[derive(Debug)]
pub struct Guard {
    at: usize,
}

impl Guard {
    /// Watches this memory, which is a mapping of a file; `None` where too many are watched.
    pub fn new(mapping: &[u8]) -> Option<Self> {
        install();
        let free =
            |range: &&Range| range.start.compare_exchange(0, usize::MAX, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let at = WATCHED.iter().position(|range| free(&range))?;
        let (range, start) = (&WATCHED[at], mapping.as_ptr() as usize);
        range.was_cut.store(false, Ordering::Release);
        range.end.store((start + mapping.len()).next_multiple_of(page()), Ordering::Release);
        range.start.store(start, Ordering::Release);
        Some(Self { at })
    }

    /// Whether a page of it was missing.
    pub fn was_cut(&self) -> bool {
        WATCHED[self.at].was_cut.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        WATCHED[self.at].end.store(0, Ordering::Release);
        WATCHED[self.at].start.store(0, Ordering::Release);
    }
}

fn page() -> usize {
    rustix::param::page_size()
}

/// Has [`handle`] called for the signal, once.
fn install() {
    BEFORE.get_or_init(|| {
        // SAFETY: all of the struct's fields are integers, pointers or options of functions, for which zeros are values.
        let (mut action, mut before): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: both pointers are to valid structs, and the handler is one for SA_SIGINFO. It does nothing but load and
        // store atomics and make two system calls, all of which is sound in a signal handler.
        unsafe { libc::sigaction(libc::SIGBUS, &action, &mut before) };
        before
    });
}

/// Puts zeros where a file's pages are missing; any other fault is left to what was there before.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the system calls with a valid `info`, whose address is set for this signal.
    let address = unsafe { (*info).si_addr() } as usize;
    if let Some(range) = WATCHED.iter().find(|range| range.contains(address)) {
        let start = address / page() * page();
        let end = range.end.load(Ordering::Acquire);
        range.was_cut.store(true, Ordering::Release);
        if fill(start, end) {
            return;
        }
    }
    if let Some(before) = BEFORE.get() {
        // SAFETY: it is what `sigaction` gave. The faulting access is made again when this returns, and then meets that.
        unsafe { libc::sigaction(signal, before, null_mut()) };
    }
}

/// Puts pages of zeros at these addresses.
fn fill(start: usize, end: usize) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the addresses are the end of a mapping that a guard watches, so it is still mapped, and nothing else is there.
    // It is only ever read, as bytes, for which zeros are as good as any.
    let mapped = unsafe { libc::mmap(start as *mut libc::c_void, end - start, libc::PROT_READ, flags, -1, 0) };
    mapped != libc::MAP_FAILED
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_file_that_is_cut_short_reads_as_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        std::fs::write(&path, vec![7; 10 * page()]).unwrap();
        let file = File::open(&path).unwrap();
        // SAFETY: nothing relies on what the bytes are.
        let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        let guard = Guard::new(&map).unwrap();
        assert_eq!(map[9 * page()], 7);
        File::options().write(true).open(&path).unwrap().set_len(4 * page() as u64).unwrap();
        assert!(!guard.was_cut());
        let seen = [3, 4, 5, 9].map(|at| std::hint::black_box(&map)[at * page()]);
        assert_eq!((seen, guard.was_cut()), ([7, 0, 0, 0], true));
        drop(guard);
        let again = Guard::new(&map).unwrap();
        assert!(!again.was_cut());
    }
}
