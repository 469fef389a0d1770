//! A pretended hub.

use super::server::{Answer, Request, Server, file};
use super::*;
use crate::error::Kind;
use serde_json::json;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with one repository, `o/r`, that holds these files.
fn hub(files: Vec<(&'static str, Vec<u8>)>) -> Server {
    let siblings: Vec<_> = files
        .iter()
        .map(|(name, bytes)| json!({"rfilename": name, "size": bytes.len(), "lfs": {"sha256": sha256(bytes), "size": bytes.len()}}))
        .collect();
    let listing = json!({"id": "o/r", "sha": COMMIT, "siblings": siblings}).to_string();
    Server::start(move |request, _| answer(request, &listing, &files))
}

fn answer(request: &Request, listing: &str, files: &[(&str, Vec<u8>)]) -> Answer {
    if request.path == "/api/models/o/r?blobs=true" {
        return Answer::new(200, listing);
    }
    let wanted = request.path.strip_prefix(&format!("/o/r/resolve/{COMMIT}/"));
    match files.iter().find(|(name, _)| Some(*name) == wanted) {
        Some((_, bytes)) => file(request, bytes, "\"one\""),
        None => Answer::new(404, ""),
    }
}

fn bench(server: &Server) -> Bench {
    let mut bench = Bench::new();
    bench.config.hub = server.url("");
    bench
}

#[test]
fn a_quantization_is_found_fetched_and_kept() {
    let server = hub(vec![("README.md", vec![]), ("m-Q4_K_M.gguf", model(1000, 1)), ("m-Q8_0.gguf", model(2000, 2))]);
    let bench = bench(&server);
    assert_eq!(content(&bench.pull("hf:o/r:q8_0").unwrap()), model(2000, 2));
    assert_eq!(content(&bench.pull("hf:o/r").unwrap()), model(1000, 1));
    let requests = server.seen().len();
    for (source, expected) in [
        ("hf:o/r:q8_0", model(2000, 2)),
        ("hf:o/r:Q8_0", model(2000, 2)),
        ("hf:o/r:m-Q8_0.gguf", model(2000, 2)),
        ("hf:o/r:Q4_K_M", model(1000, 1)),
        ("hf:o/r", model(1000, 1)),
        ("M-q8_0", model(2000, 2)),
    ] {
        assert_eq!(content(&bench.offline().pull(&source.parse().unwrap()).unwrap()), expected, "{source}");
        assert_eq!(content(&bench.pull(source).unwrap()), expected, "{source}");
    }
    assert_eq!(server.seen().len(), requests);
    assert_eq!(bench.files(), ["m-Q4_K_M.gguf", "m-Q8_0.gguf"]);
    assert_eq!(bench.error("hf:o/r:Q2_K").kind(), Kind::NotFound);
}

#[test]
fn all_parts_of_a_split_model_are_fetched() {
    let parts = ["big/m-00001-of-00002.gguf", "big/m-00002-of-00002.gguf"];
    let server = hub(vec![(parts[1], model(500, 2)), (parts[0], model(700, 1))]);
    let bench = bench(&server);
    let entry = bench.pull("hf:o/r").unwrap();
    assert_eq!(content(&entry), [model(700, 1), model(500, 2)].concat());
    assert_eq!(entry.name, "m");
    fs::write(&entry.paths[1], b"GGUF, but cut").unwrap();
    assert_eq!(content(&bench.pull("hf:o/r").unwrap()), [model(700, 1), model(500, 2)].concat());
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let storage = Server::with_file(model(1000, 1));
    let location = storage.url("/blob");
    let listing = json!({"sha": COMMIT, "siblings": [{"rfilename": "m.gguf", "size": 1000}]}).to_string();
    let server = Server::start(move |request, _| match request.header("authorization") {
        "Bearer secret" if request.path.starts_with("/api/") => Answer::new(200, listing.clone()),
        "Bearer secret" => Answer::new(302, "").with("location", location.clone()),
        _ => Answer::new(401, ""),
    });
    let mut bench = bench(&server);
    let error = bench.error("hf:o/r");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");
    bench.config.token = Some("secret".into());
    assert_eq!(content(&bench.pull("hf:o/r").unwrap()), model(1000, 1));
    assert_eq!(storage.seen()[0].header("authorization"), "");
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused() {
    for name in ["../../x.gguf", "/x.gguf", "a/../../x.gguf", "..\\x.gguf", "c:x.gguf", "a/.x.gguf"] {
        let server = hub(vec![(name, model(1000, 1))]);
        let bench = bench(&server);
        let error = bench.error("hf:o/r");
        assert_eq!(error.kind(), Kind::BadFile, "{error}");
        assert!(error.to_string().contains("no safe file name"), "{error}");
        assert_eq!((bench.files(), server.seen().len()), (vec![], 1));
    }
}

#[test]
fn a_file_unlike_its_listing_is_refused() {
    for (size, hash) in [(999, sha256(&model(1000, 1))), (1000, sha256(b"other"))] {
        let listing =
            json!({"sha": COMMIT, "siblings": [{"rfilename": "m.gguf", "lfs": {"sha256": hash, "size": size}}]})
                .to_string();
        let server = Server::start(move |request, _| answer(request, &listing, &[("m.gguf", model(1000, 1))]));
        let bench = bench(&server);
        let error = bench.error("hf:o/r");
        assert_eq!(error.kind(), Kind::BadFile, "{error}");
        assert!(error.to_string().contains("expected"), "{error}");
        assert!(!bench.files().contains(&"m.gguf".into()));
    }
}

#[test]
fn a_hub_that_answers_nonsense_is_said_to() {
    let server = Server::start(|_, _| Answer::new(200, "<html>"));
    let error = bench(&server).error("hf:o/r");
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().contains("no list of files"), "{error}");
}
