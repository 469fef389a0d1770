//! Names that come from elsewhere (a hub's listing, an address, a wheel) and become names of files here.
//!
//! Nothing a server says may decide where on this machine a file is written: every name passes through this module,
//! which accepts plain file names only, and the store joins them to folders of its own choosing.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use woolly_engine::gguf::split_file_names;

/// The parts of a relative path with forward slashes, or `None` where a part could lead elsewhere or is not a file
/// name on every system: empty, `..`, absolute, with backslashes, colons or control characters, too long.
pub fn safe_components(path: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = path.split('/').collect();
    parts.iter().all(|part| is_safe(part)).then_some(parts)
}

/// The name itself, where it is a plain file name that ends in `.gguf`.
pub fn gguf_name(name: &str) -> Option<&str> {
    let stem = name.len().checked_sub(5).and_then(|end| name.get(..end))?;
    (is_safe(name) && is_safe(stem) && name[stem.len()..].eq_ignore_ascii_case(".gguf")).then_some(name)
}

/// A file's name without `.gguf` and without the number of a split file's part.
pub fn stem(name: &str) -> &str {
    let end = name.len().saturating_sub(5);
    let stem = match name.get(end..) {
        Some(suffix) if suffix.eq_ignore_ascii_case(".gguf") => &name[..end],
        _ => name,
    };
    split_number(stem).map_or(stem, |(stem, _, _)| stem)
}

/// Splits `x-00002-of-00005` into `("x", 2, 5)`.
pub fn split_number(stem: &str) -> Option<(&str, u32, u32)> {
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    let parse = |digits: &str| (digits.len() == 5).then(|| digits.parse::<u32>().ok()).flatten();
    Some((name, parse(number)?, parse(count)?))
}

/// All parts of the split file that `path` is a part of, in order; otherwise `path` alone.
pub fn parts_of(path: &Path) -> Vec<PathBuf> {
    let names = path.file_name().and_then(|name| split_file_names(name.to_str()?));
    names.map_or_else(|| vec![path.to_owned()], |names| names.iter().map(|name| path.with_file_name(name)).collect())
}

/// The folder of a model: readable, and different for every `identity` (the place where the model comes from).
pub fn folder_name(stem: &str, identity: &str) -> String {
    let readable: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).take(80).collect();
    let hash = Sha256::digest(identity.as_bytes());
    format!("{}-{}", readable.trim_start_matches('.'), &hex(&hash)[..8])
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_safe(name: &str) -> bool {
    let plain = |c: char| !c.is_control() && !"/\\:*?\"<>|".contains(c);
    !name.is_empty()
        && name.len() <= 200
        && name.chars().all(plain)
        && !name.starts_with(['.', ' '])
        && !name.ends_with(['.', ' '])
        && !is_device(name)
}

/// Windows opens a device when a file is called so, whatever its extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered =
        |prefix| stem.strip_prefix(prefix).is_some_and(|n: &str| n.len() == 1 && n.as_bytes()[0].is_ascii_digit());
    ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in
            ["", "..", "../x.gguf", "/x.gguf", "a//b.gguf", "a/../b.gguf", "a\\b.gguf", "c:x.gguf", "a/..", ".x.gguf"]
        {
            assert_eq!(safe_components(bad), None, "{bad}");
        }
        for bad in ["a/b.gguf", "..gguf", ".gguf", "gguf", "x.bin", "NUL.gguf", "com1.gguf", "x\n.gguf", "é", "x .gguf"]
        {
            assert_eq!(gguf_name(bad), None, "{bad:?}");
        }
        assert_eq!(safe_components("Q4/x-00001-of-00002.gguf"), Some(vec!["Q4", "x-00001-of-00002.gguf"]));
        assert_eq!(gguf_name("Modèle 1.GGUF"), Some("Modèle 1.GGUF"));
    }

    #[test]
    fn stems_lose_extension_and_part_number() {
        assert_eq!(stem("x.Q4_1.gguf"), "x.Q4_1");
        assert_eq!(stem("x-00001-of-00003.GGUF"), "x");
        assert_eq!(stem("x-1-of-3.gguf"), "x-1-of-3");
        assert_eq!(split_number("x-00002-of-00005"), Some(("x", 2, 5)));
    }

    #[test]
    fn any_part_leads_to_all() {
        let names = ["m/x-00001-of-00002.gguf", "m/x-00002-of-00002.gguf"].map(PathBuf::from);
        assert_eq!(parts_of(&names[1]), names);
        assert_eq!(parts_of(Path::new("x-00003-of-00002.gguf")).len(), 1);
        assert_eq!(parts_of(Path::new("é")).len(), 1);
    }

    #[test]
    fn folders_are_plain_and_differ() {
        let one = folder_name("../x y", "hf:a/b/x");
        assert!(one.starts_with("_x_y-"), "{one}");
        assert_ne!(one, folder_name("../x y", "hf:a/c/x"));
        assert!(safe_components(&one).is_some());
    }
}
