//! Models in several files, as `gguf-split` cuts them: each part is a GGUF file with some of the tensors; the metadata
//! is in the first.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::error::Error;
use super::metadata::Metadata;

/// How the keys begin that say how a model is split.
pub(super) const KEYS: &str = "split.";
const NUMBER_KEY: &str = "split.no";
const COUNT_KEY: &str = "split.count";
const TENSORS_KEY: &str = "split.tensors.count";

/// The names of all parts of a split model, in order, given that of any part: `x-00001-of-00003.gguf` and so on.
/// `None` where the name does not have this form.
pub fn split_file_names(name: &str) -> Option<Vec<String>> {
    let (head, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = head.rsplit_once('-')?;
    let count = five_digits(count)?;
    if !(1..=count).contains(&five_digits(number)?) {
        return None;
    }
    Some((1..=count).map(|number| format!("{stem}-{number:05}-of-{count:05}.gguf")).collect())
}

fn five_digits(digits: &str) -> Option<u32> {
    if digits.len() != 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Checks that the part at `index` of `given` says that this is what it is.
pub(super) fn check_part(metadata: &Metadata, index: usize, given: usize) -> Result<(), Error> {
    let expected = metadata.u64(COUNT_KEY)?.unwrap_or(0);
    match (expected, given) {
        (0..=1, 1) => return Ok(()),
        (0..=1, _) => return Err(Error::NotSplit { given }),
        _ if expected != given as u64 => return Err(Error::PartCount { expected, given }),
        _ => {}
    }
    match metadata.require_u64(NUMBER_KEY)? {
        found if found == index as u64 => Ok(()),
        found => Err(Error::PartOrder { expected: index as u64, found }),
    }
}

/// Checks that the parts together have as many tensors as the first one says.
pub(super) fn check_tensors(metadata: &Metadata, found: usize) -> Result<(), Error> {
    match metadata.u64(TENSORS_KEY)? {
        Some(expected) if expected != found as u64 => Err(Error::SplitTensors { expected, found: found as u64 }),
        _ => Ok(()),
    }
}
