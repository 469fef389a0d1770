//! Downloads that are cut, changed, refused and damaged.

use super::server::{Answer, Gate, Server, file};
use super::*;
use crate::error::Kind;
use std::process::{Command, Stdio};

#[test]
fn a_file_is_fetched_once() {
    let bench = Bench::new();
    let server = Server::with_file(model(300_000, 1));
    let url = server.url("/m/x.gguf?download=true");
    assert_eq!(content(&bench.pull(&url).unwrap()), model(300_000, 1));
    assert_eq!(bench.files(), ["x.gguf"]);
    assert_eq!(content(&bench.pull(&url).unwrap()), model(300_000, 1));
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_cut_is_mended_in_the_same_run() {
    let bench = Bench::new();
    let server = Server::start(|request, number| {
        let answer = file(request, &model(300_000, 1), "\"one\"");
        if number < 2 { answer.cut_at(100_000) } else { answer }
    });
    assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(300_000, 1));
    let seen = server.seen();
    assert_eq!(
        seen.iter().map(|request| request.header("range")).collect::<Vec<_>>(),
        ["", "bytes=100000-", "bytes=200000-"]
    );
    assert_eq!(seen[1].header("if-range"), "\"one\"");
    assert!(bench.said("trying again"));
}

#[test]
fn a_later_run_goes_on() {
    let mut bench = Bench::new();
    let server = Server::start(|request, number| {
        let answer = file(request, &model(300_000, 1), "\"one\"");
        if number == 0 { answer.cut_at(123_456) } else { answer }
    });
    bench.config.patience.attempts = 1;
    let error = bench.error(&server.url("/x.gguf"));
    assert_eq!(error.kind(), Kind::Network, "{error}");
    assert_eq!(bench.part().metadata().unwrap().len(), 123_456);
    assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(300_000, 1));
    assert_eq!(server.seen()[1].start(), Some(123_456));
}

#[test]
fn servers_without_ranges_start_over() {
    let bench = Bench::new();
    let server = Server::start(|_, number| {
        let answer = Answer::new(200, model(300_000, 1)).with("etag", "\"one\"");
        if number == 0 { answer.cut_at(100_000) } else { answer }
    });
    assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(300_000, 1));
    assert!(bench.said("from the start again"));
}

#[test]
fn without_a_validator_nothing_is_resumed() {
    let bench = Bench::new();
    let server = Server::start(|request, number| {
        let mut answer = Answer::new(200, model(300_000, number as u32));
        if request.start().is_some() {
            answer = Answer::new(500, "");
        }
        if number == 0 { answer.cut_at(100_000) } else { answer }
    });
    assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(300_000, 1));
}

#[test]
fn a_file_that_changes_meanwhile_is_fetched_anew() {
    for honours_if_range in [true, false] {
        let bench = Bench::new();
        let server = Server::start(move |request, number| {
            let mut request = request.clone();
            if !honours_if_range {
                request.headers.remove("if-range");
            }
            match number {
                0 => file(&request, &model(300_000, 1), "\"one\"").cut_at(100_000),
                _ => file(&request, &model(300_000, 2), "\"two\""),
            }
        });
        assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(300_000, 2));
    }
}

#[test]
fn a_range_that_starts_elsewhere_is_not_believed() {
    let bench = Bench::new();
    let server = Server::start(|request, number| match number {
        0 => file(request, &model(300_000, 1), "\"one\"").cut_at(100_000),
        1 => Answer::new(206, model(300_000, 1)).with("content-range", "bytes 0-299999/300000").with("etag", "\"one\""),
        _ => file(request, &model(300_000, 1), "\"one\""),
    });
    assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(300_000, 1));
}

#[test]
fn a_part_that_is_complete_or_too_long_meets_416() {
    for len in [300_000, 300_001] {
        let mut bench = Bench::new();
        bench.config.patience.attempts = 1;
        let server = Server::start(|request, number| match number {
            0 => file(request, &model(300_000, 1), "\"one\"").cut_at(100_000),
            _ => file(request, &model(300_000, 1), "\"one\""),
        });
        bench.error(&server.url("/x.gguf"));
        fs::write(bench.part(), model(len, 1)).unwrap();
        bench.config.patience.attempts = 4;
        assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(300_000, 1), "{len}");
        assert_eq!(server.seen()[1].start(), Some(len));
    }
}

#[test]
fn a_wrong_hash_leaves_nothing() {
    let bench = Bench::new();
    let server = Server::with_file(model(1000, 1));
    let error = bench.error(&format!("{}#sha256={}", server.url("/x.gguf"), sha256(b"other")));
    assert_eq!(error.kind(), Kind::BadFile);
    assert!(error.to_string().contains(&sha256(&model(1000, 1))), "{error}");
    assert_eq!(bench.files(), [""; 0]);
    let right = format!("{}#sha256={}", server.url("/x.gguf"), sha256(&model(1000, 1)).to_uppercase());
    assert_eq!(content(&bench.pull(&right).unwrap()), model(1000, 1));
}

#[test]
fn a_damaged_part_is_fetched_anew() {
    let mut bench = Bench::new();
    let server = Server::start(|request, number| {
        let answer = file(request, &model(300_000, 1), "\"one\"");
        if number == 0 { answer.cut_at(200_000) } else { answer }
    });
    let source = format!("{}#sha256={}", server.url("/x.gguf"), sha256(&model(300_000, 1)));
    bench.config.patience.attempts = 1;
    bench.error(&source);
    fs::write(bench.part(), model(150_000, 7)).unwrap();
    assert_eq!(content(&bench.pull(&source).unwrap()), model(300_000, 1));
    assert!(bench.said("damaged"));
    assert_eq!(server.seen()[1].start(), Some(150_000));
}

#[test]
fn what_is_no_model_is_refused() {
    let bench = Bench::new();
    let server = Server::start(|_, _| Answer::new(200, "<!DOCTYPE html><p>Please log in"));
    let error = bench.error(&server.url("/x.gguf"));
    assert_eq!(error.kind(), Kind::BadFile);
    assert!(error.to_string().contains("starts with \"<!DO\""), "{error}");
    assert_eq!(bench.files(), [""; 0]);
}

#[test]
fn refusals_are_final_and_troubles_pass() {
    for (status, kind) in [(404, Kind::NotFound), (401, Kind::NotFound), (403, Kind::NotFound), (418, Kind::Network)] {
        let bench = Bench::new();
        let server = Server::start(move |_, _| Answer::new(status, "no"));
        let error = bench.error(&server.url("/x.gguf"));
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
    let bench = Bench::new();
    let server = Server::start(|request, number| match number {
        0 => Answer::new(500, ""),
        1 => Answer::new(503, ""),
        2 => Answer::new(429, ""),
        _ => file(request, &model(1000, 1), "\"one\""),
    });
    assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(1000, 1));
    let bench = Bench::new();
    let server = Server::start(|_, _| Answer::new(500, ""));
    assert_eq!(bench.error(&server.url("/x.gguf")).kind(), Kind::Network);
    assert_eq!(server.seen().len() as u32, bench.config.patience.attempts);
}

#[test]
fn redirects_are_followed_with_the_range() {
    let bench = Bench::new();
    let target = Server::start(|request, number| {
        let answer = file(request, &model(300_000, 1), "\"one\"");
        if number == 0 { answer.cut_at(100_000) } else { answer }
    });
    let location = target.url("/elsewhere?signature=1");
    let server = Server::start(move |_, _| Answer::new(302, "").with("location", location.clone()));
    assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(300_000, 1));
    assert_eq!(target.seen()[1].start(), Some(100_000));
    assert_eq!(bench.files(), ["x.gguf"]);
    let circle = Server::start(|request, _| Answer::new(302, "").with("location", request.path.clone()));
    assert_eq!(bench.error(&circle.url("/x.gguf")).kind(), Kind::Network);
}

#[test]
fn a_silent_server_is_given_up_and_asked_again() {
    let mut bench = Bench::new();
    bench.config.patience.read = Duration::from_millis(300);
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    let server = Server::start(move |request, number| {
        let answer = file(request, &model(300_000, 1), "\"one\"");
        if number == 0 { answer.stall_at(100_000, &held) } else { answer }
    });
    assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(300_000, 1));
    assert!(bench.said("stopped sending"));
    assert_eq!(server.seen()[1].start(), Some(100_000));
    gate.open();
}

#[test]
fn a_body_of_unknown_length_is_taken_whole() {
    let bench = Bench::new();
    let server = Server::start(|request, number| {
        let answer = file(request, &model(300_000, 1), "\"one\"").chunked();
        if number == 0 { answer.cut_at(100_000) } else { answer }
    });
    assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(300_000, 1));
}

#[test]
fn nobody_there_is_noticed_at_the_first_attempt() {
    let bench = Bench::new();
    for url in ["http://127.0.0.1:1/x.gguf", "http://no-such-host.invalid/x.gguf"] {
        let error = bench.error(url);
        assert_eq!(error.kind(), Kind::Network);
        assert!(error.to_string().contains("cannot reach"), "{error}");
    }
    assert!(!bench.said("trying again"));
}

#[test]
fn a_killed_process_leaves_a_part_to_go_on_with() {
    let bench = Bench::new();
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    let server = Server::start(move |request, number| {
        let answer = file(request, &model(3_000_000, 1), "\"one\"");
        if number == 0 { answer.stall_at(2_000_000, &held) } else { answer }
    });
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::downloads::as_another_process"])
        .env("WOOLLY_TEST_PULL", server.url("/x.gguf"))
        .env("WOOLLY_MODELS", &bench.config.root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while bench.files() != ["x.gguf.part"] || bench.part().metadata().unwrap().len() < 2_000_000 {
        assert!(child.try_wait().unwrap().is_none(), "the other process ended too early");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(content(&bench.pull(&server.url("/x.gguf")).unwrap()), model(3_000_000, 1));
    assert_eq!(server.seen()[1].start(), Some(2_000_000));
    gate.open();
}

/// Not a test by itself: the process that the test above starts and kills.
#[test]
fn as_another_process() {
    if let Ok(url) = std::env::var("WOOLLY_TEST_PULL") {
        let config = Config { proxy: false, ..Config::from_env(false).unwrap() };
        Store::with(config).pull(&url.parse().unwrap()).unwrap();
    }
}
