//! Listing, deleting, working offline, and two at once.

use super::server::{Gate, Server, file};
use super::*;
use crate::error::Kind;
use std::thread;

#[test]
fn models_are_listed_and_deleted_by_name() {
    let bench = Bench::new();
    let server = Server::with_file(model(1000, 1));
    assert!(bench.store().list().unwrap().is_empty());
    bench.pull(&server.url("/b/Small.Q4_1.gguf")).unwrap();
    bench.pull(&server.url("/a.gguf")).unwrap();
    let list = bench.store().list().unwrap();
    assert_eq!(list.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a", "Small.Q4_1"]);
    assert!(list.iter().all(|entry| entry.size >= 1000 && entry.is_complete()));
    assert_eq!(list[0].source, server.url("/a.gguf"));
    assert_eq!(bench.store().remove("small.q4_1").unwrap().name, "Small.Q4_1");
    assert_eq!(bench.store().remove(&server.url("/a.gguf")).unwrap().name, "a");
    assert_eq!(bench.files(), [""; 0]);
    assert_eq!(bench.store().remove("a").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(bench.store().remove("./a.gguf").unwrap_err().kind(), Kind::Usage);
}

#[test]
fn equal_names_are_told_apart() {
    let bench = Bench::new();
    let servers = [Server::with_file(model(1000, 1)), Server::with_file(model(1000, 2))];
    servers.iter().for_each(|server| drop(bench.pull(&server.url("/m.gguf")).unwrap()));
    let error = bench.error("m");
    assert_eq!(error.kind(), Kind::Usage);
    for entry in bench.store().list().unwrap() {
        assert!(error.to_string().contains(&entry.name), "{error}");
        assert_eq!(bench.pull(&entry.name).unwrap().source, entry.source);
    }
}

#[test]
fn offline_the_cache_is_all_there_is() {
    let bench = Bench::new();
    let server = Server::with_file(model(1000, 1));
    let source: Source = server.url("/m.gguf").parse().unwrap();
    let error = bench.offline().pull(&source).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("is not in the cache and woolly is offline"), "{error}");
    assert_eq!(bench.offline().pull(&Source::default()).unwrap_err().kind(), Kind::NotFound);
    assert!(server.seen().is_empty());
    bench.store().pull(&source).unwrap();
    assert_eq!(content(&bench.offline().pull(&source).unwrap()), model(1000, 1));
    assert_eq!(content(&bench.offline().pull(&"m".parse().unwrap()).unwrap()), model(1000, 1));
}

#[test]
fn an_unfinished_model_is_listed_resumed_by_name_and_deleted() {
    let mut bench = Bench::new();
    bench.config.patience.attempts = 1;
    let server = Server::start(|request, number| {
        let answer = file(request, &model(1000, 1), "\"one\"");
        if number % 2 == 0 { answer.cut_at(400) } else { answer }
    });
    bench.error(&server.url("/m.gguf"));
    assert!(!bench.store().list().unwrap()[0].is_complete());
    assert!(bench.offline().pull(&"m".parse().unwrap()).is_err());
    assert_eq!(content(&bench.pull("m").unwrap()), model(1000, 1));
    assert_eq!(server.seen()[1].start(), Some(400));
    bench.error(&server.url("/n.gguf"));
    bench.store().remove("n").unwrap();
    assert_eq!(bench.files(), ["m.gguf"]);
}

#[test]
fn two_at_once_fetch_once() {
    let bench = Bench::new();
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    let server = Server::start(move |request, _| file(request, &model(300_000, 1), "\"one\"").stall_at(100_000, &held));
    let source: Source = server.url("/m.gguf").parse().unwrap();
    thread::scope(|scope| {
        let pulls = [(); 2].map(|()| scope.spawn(|| content(&bench.store().pull(&source).unwrap())));
        while !bench.said("waiting: another process is fetching m-") || server.seen().is_empty() {
            assert!(!pulls.iter().any(|pull| pull.is_finished()), "a pull ended without waiting");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(bench.store().remove("m").unwrap_err().kind(), Kind::Other);
        gate.open();
        pulls.into_iter().for_each(|pull| assert_eq!(pull.join().unwrap(), model(300_000, 1)));
    });
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn local_files_are_used_in_place() {
    let bench = Bench::new();
    let names = ["x-00001-of-00002.gguf", "x-00002-of-00002.gguf"];
    let paths = names.map(|name| bench.folder.path().join(name));
    fs::write(&paths[0], model(100, 1)).unwrap();
    let resolve = |path: &Path| bench.store().resolve(&path.display().to_string().parse().unwrap());
    let error = resolve(&paths[0]).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains(names[1]), "{error}");
    fs::write(&paths[1], model(100, 2)).unwrap();
    assert_eq!(resolve(&paths[0]).unwrap(), paths);
    assert_eq!(resolve(bench.folder.path()).unwrap_err().kind(), Kind::Usage);
    assert!(!bench.config.root.exists());
}

#[test]
fn a_file_that_shrank_is_fetched_again() {
    let bench = Bench::new();
    let server = Server::with_file(model(1000, 1));
    let entry = bench.pull(&server.url("/m.gguf")).unwrap();
    fs::write(&entry.paths[0], model(999, 1)).unwrap();
    assert_eq!(content(&bench.pull(&server.url("/m.gguf")).unwrap()), model(1000, 1));
}

#[test]
fn unknown_names_say_what_is_known() {
    let error = Bench::new().error("nothing");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("smollm2-135m-instruct"), "{error}");
}
