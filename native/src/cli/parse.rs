//! Values of options: each function says what it expected.

use std::net::IpAddr;

use woolly_engine::session::KvType;

/// Token ids of one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids(pub Vec<u32>);

/// Named values.
pub type Object = serde_json::Map<String, serde_json::Value>;

/// How many of the last tokens a penalty looks at; the largest number means all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastN(pub usize);

/// A number of tokens; none is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<usize>);

/// The most threads that make sense.
const MAX_THREADS: usize = 1024;

/// A whole number above 0.
pub fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number above 0".into()),
    }
}

/// A number of threads.
pub fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=MAX_THREADS).contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from 1 to {MAX_THREADS}")),
    }
}

/// The length of a perplexity chunk: a half of it is scored, and a token of that half needs a successor.
pub fn chunk_context(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number >= 4 => Ok(number),
        _ => Err("expected a whole number of at least 4".into()),
    }
}

/// A finite number.
pub fn number(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|number: &f32| number.is_finite()).ok_or_else(|| "expected a number".into())
}

/// A finite number above 0.
pub fn factor(text: &str) -> Result<f32, String> {
    number(text).ok().filter(|number| *number > 0.0).ok_or_else(|| "expected a number above 0".into())
}

/// A number from 0 to 1.
pub fn probability(text: &str) -> Result<f32, String> {
    let inside = |number: &f32| (0.0..=1.0).contains(number);
    number(text).ok().filter(inside).ok_or_else(|| "expected a number from 0 to 1".into())
}

/// A number of tokens to look back, or -1 for all.
pub fn last_n(text: &str) -> Result<LastN, String> {
    let number = if text == "-1" { Ok(usize::MAX) } else { text.parse() };
    number.map(LastN).map_err(|_| "expected -1 (the whole context), 0 (none) or a number of tokens".into())
}

/// A number of tokens, or -1 for no limit.
pub fn limit(text: &str) -> Result<Limit, String> {
    let number = if text == "-1" { Ok(None) } else { text.parse().map(Some) };
    number.map(Limit).map_err(|_| "expected -1 (no limit) or a number of tokens".into())
}

/// A number of bytes, perhaps in units of 1024: K, M, G, T.
pub fn size(text: &str) -> Result<u64, String> {
    let expected = || "expected a number of bytes, or one with a unit, as in 512M or 16G".to_string();
    let plain = text.trim().trim_end_matches("iB").trim_end_matches(['B', 'b']);
    let (number, shift) = match plain.char_indices().last() {
        Some((at, 'k' | 'K')) => (&plain[..at], 10),
        Some((at, 'm' | 'M')) => (&plain[..at], 20),
        Some((at, 'g' | 'G')) => (&plain[..at], 30),
        Some((at, 't' | 'T')) => (&plain[..at], 40),
        _ => (plain, 0),
    };
    let number: f64 = number.trim().parse().map_err(|_| expected())?;
    let bytes = number * (1_u64 << shift) as f64;
    if (0.0..9e18).contains(&bytes) { Ok(bytes as u64) } else { Err(expected()) }
}

/// An address of this machine.
pub fn host(text: &str) -> Result<IpAddr, String> {
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    let address = if plain == "localhost" { "127.0.0.1" } else { plain };
    address.parse().map_err(|_| "expected an address such as 127.0.0.1, ::1 or 0.0.0.0, or localhost".into())
}

/// A key of a client. It travels in a header, so it is a word of ASCII.
pub fn key(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.into()) } else { Err("expected letters, digits and signs of ASCII, without spaces".into()) }
}

/// A stop string: an empty one would stop everything at once.
pub fn stop(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected a text that is not empty".into()) } else { Ok(text.into()) }
}

/// `ID+X` or `ID-X`, where X may be `inf`.
pub fn logit_bias(text: &str) -> Result<(u32, f32), String> {
    let expected = || "expected a token id, + or -, and a number or inf, as in 15043-1.5".to_string();
    let sign = text.find(['+', '-']).ok_or_else(expected)?;
    let id = text[..sign].parse().map_err(|_| expected())?;
    let bias: f32 = text[sign..].parse().map_err(|_| expected())?;
    if bias.is_nan() { Err(expected()) } else { Ok((id, bias)) }
}

/// Ids separated by white space or commas.
pub fn token_ids(text: &str) -> Result<Ids, String> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let ids: Result<Vec<u32>, String> = words
        .map(|word| word.parse().map_err(|_| format!("'{word}' is not a token id: expected whole numbers")))
        .collect();
    match ids? {
        ids if ids.is_empty() => Err("expected at least one token id".into()),
        ids => Ok(Ids(ids)),
    }
}

/// A JSON object.
pub fn object(text: &str) -> Result<Object, String> {
    let expected = |cause| format!("expected a JSON object such as {{\"enable_thinking\": false}}: {cause}");
    serde_json::from_str(text).map_err(expected)
}

/// JSON of any kind.
pub fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|cause| format!("expected JSON such as {{\"type\": \"object\"}}: {cause}"))
}

/// The type of the KV cache.
pub fn kv_type(text: &str) -> Result<KvType, String> {
    text.parse().map_err(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases() {
        assert_eq!(logit_bias("15043+1"), Ok((15043, 1.0)));
        assert_eq!(logit_bias("7-0.5"), Ok((7, -0.5)));
        assert_eq!(logit_bias("7-inf"), Ok((7, f32::NEG_INFINITY)));
        for bad in ["", "7", "+1", "x-1", "7-", "7-nan", "-1+2"] {
            assert!(logit_bias(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids() {
        assert_eq!(token_ids(" 1 2,3\n4 ").map(|ids| ids.0), Ok(vec![1, 2, 3, 4]));
        assert!(token_ids("").is_err());
        assert!(token_ids("1 -2").unwrap_err().contains("'-2'"));
    }

    #[test]
    fn bounds() {
        assert_eq!(threads("1024"), Ok(1024));
        assert!(threads("0").is_err() && threads("1025").is_err() && threads("two").is_err());
        assert!(probability("1.01").is_err() && probability("nan").is_err());
        assert!(factor("0").is_err() && number("inf").is_err());
        assert!(last_n("-2").is_err() && chunk_context("3").is_err());
        assert_eq!(last_n("-1"), Ok(LastN(usize::MAX)));
    }

    #[test]
    fn sizes() {
        assert_eq!(size("1000"), Ok(1000));
        assert_eq!(
            (size("16k"), size("1.5M"), size("2GiB"), size("0")),
            (Ok(16384), Ok(1_572_864), Ok(2 << 30), Ok(0))
        );
        for bad in ["", "x", "-1", "1X", "nan", "inf", "1e300T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_and_keys() {
        assert_eq!(host("localhost"), host("127.0.0.1"));
        assert_eq!(host("[::1]"), host("::1"));
        assert!(host("example.org").is_err());
        assert!(key("sk-1").is_ok() && key("").is_err() && key("a b").is_err() && key("ä").is_err());
        assert_eq!((limit("-1"), limit("0")), (Ok(Limit(None)), Ok(Limit(Some(0)))));
        assert!(limit("-2").is_err());
    }

    #[test]
    fn kv_types() {
        for kv in [KvType::F16, KvType::F32, KvType::Q8_0] {
            assert_eq!(kv_type(kv.name()), Ok(kv));
        }
        assert!(kv_type("f64").unwrap_err().contains("q8_0"));
    }
}
