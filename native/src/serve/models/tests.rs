//! Several models in a folder: on demand, within a budget, and when their files are no good.

use std::fs;

use woolly_engine::sampler::Params;
use woolly_engine::session::{KvType, Until};
use woolly_engine::simd::Level;
use woolly_tests::random_model::Recipe;

use super::super::job::{Event, Failure, Job};
use super::*;

struct Server {
    folder: tempfile::TempDir,
    models: Arc<Models>,
}

/// A server with these models in its folder; `fitting` of them fit the memory.
fn server(names: &[&str], fitting: u64) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).with_extension("gguf");
    names.iter().for_each(|name| fs::write(file(name), Recipe::new("", "llama").build()).unwrap());
    let batch = BatchOptions {
        parallel: 2,
        context: 64,
        kv: KvType::F16,
        threads: 1,
        level: Level::best(),
        batch: 16,
        queue: 10,
        cache_bytes: 0,
        cache_dir: None,
    };
    let model = woolly_tests::run::model(Recipe::new("", "llama").build());
    let budget = fitting * (model.gguf().size() + Batch::memory(&model, &batch));
    let options =
        ModelsOptions { models: Vec::new(), folder: Some(folder.path().into()), budget, batch, offline: true };
    let models = Models::new(options, Arc::new(Metrics::new())).unwrap();
    Server { folder, models }
}

impl Server {
    fn get(&self, name: &str) -> Result<Arc<Served>, ModelError> {
        block(self.models.get(Some(name)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).with_extension("gguf")
    }

    fn loaded(&self) -> Vec<String> {
        let ready = |info: &ModelInfo| info.state == ModelState::Ready;
        self.models.list().into_iter().filter(ready).map(|info| info.name).collect()
    }

    fn state(&self, name: &str) -> ModelState {
        self.models.list().into_iter().find(|info| info.name == name).unwrap().state
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn ask(served: &Served, max_tokens: usize) -> Event {
    let job = Job {
        prompt: vec![1, 50, 60],
        sampling: Params::default(),
        until: Until { max_tokens: Some(max_tokens), ignore_end: true, ..Until::default() },
        grammar: None,
        top: None,
        post_sampling: false,
        cache_prompt: true,
        slot: None,
        deadline: None,
    };
    let mut answer = match served.batch.submit(job) {
        Ok(answer) => answer,
        Err(failure) => return Event::Failed(failure),
    };
    let mut last = None;
    while let Some(event) = answer.events.blocking_recv() {
        last = Some(event);
    }
    last.unwrap()
}

#[test]
fn models_are_loaded_when_they_are_asked_for() {
    let server = server(&["a", "b"], 5);
    assert!(server.loaded().is_empty());
    assert_eq!(server.models.health(), Health::Ready);
    assert!(matches!(ask(&server.get("b").unwrap(), 3), Event::Done(_)));
    assert_eq!(server.loaded(), ["b"]);
    assert_eq!(server.get("a.gguf").unwrap().name, "a");
    assert_eq!(block(server.models.get(None)).unwrap().name, "a");
    assert_eq!(server.get("c").err(), Some(ModelError::Unknown("c".into())));
    let details = server.models.list()[0].details.clone().unwrap();
    assert_eq!((details.architecture.as_str(), details.context, details.quantization.as_str()), ("llama", 64, "F32"));
    block(server.models.unload("a")).unwrap();
    assert_eq!(server.loaded(), ["b"]);
}

#[test]
fn all_who_ask_wait_for_the_same_load() {
    let server = server(&["a"], 5);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| server.get("a").unwrap())).collect();
        let served: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(served.iter().all(|other| Arc::ptr_eq(other, &served[0])));
    });
}

#[test]
fn the_least_recently_used_model_goes_first() {
    let server = server(&["a", "b", "c"], 2);
    server.get("a").unwrap();
    server.get("b").unwrap();
    server.get("a").unwrap();
    server.get("c").unwrap();
    assert_eq!(server.loaded(), ["a", "c"]);
    // One that is in use stays, however long ago it was asked for.
    let used = server.get("a").unwrap();
    server.get("c").unwrap();
    server.get("b").unwrap();
    assert_eq!(server.loaded(), ["a", "b"]);
    assert!(matches!(ask(&used, 3), Event::Done(_)));
}

#[test]
fn a_model_that_is_too_large_says_so() {
    let server = server(&["a"], 0);
    assert!(server.get("a").is_ok(), "no budget is no limit");
    let options = ModelsOptions { budget: 1000, ..server.models.options.clone() };
    let models = Models::new(options, Arc::new(Metrics::new())).unwrap();
    assert!(matches!(block(models.get(Some("a"))), Err(ModelError::NoMemory(_))));
}

#[test]
fn a_broken_file_is_tried_again_when_somebody_insists() {
    let server = server(&["a"], 5);
    let good = fs::read(server.path("a")).unwrap();
    fs::write(server.path("a"), &good[..good.len() / 2]).unwrap();
    assert!(matches!(server.get("a"), Err(ModelError::Failed(_))));
    assert!(matches!(server.state("a"), ModelState::Failed(_)));
    fs::write(server.path("a"), &good).unwrap();
    assert!(matches!(server.get("a"), Err(ModelError::Failed(_))), "not so soon");
    assert!(block(server.models.load("a", None)).is_ok());
    assert!(server.get("a").is_ok());
}

#[test]
fn a_file_that_is_cut_short_fails_its_model_alone() {
    let server = server(&["a", "b"], 5);
    let (a, b) = (server.get("a").unwrap(), server.get("b").unwrap());
    let good = fs::read(server.path("a")).unwrap();
    assert!(matches!(ask(&a, 3), Event::Done(_)));
    fs::File::options().write(true).open(server.path("a")).unwrap().set_len(5000).unwrap();
    assert!(matches!(ask(&a, 3), Event::Failed(Failure::Internal(_))));
    assert!(matches!(ask(&a, 3), Event::Failed(Failure::Internal(_))), "and for good");
    assert!(matches!(server.state("a"), ModelState::Failed(_)));
    assert!(matches!(ask(&b, 3), Event::Done(_)));
    fs::write(server.path("a"), good).unwrap();
    let again = block(server.models.load("a", None)).unwrap();
    assert!(matches!(ask(&again, 3), Event::Done(_)));
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_may_be_cut_short_at_any_moment() {
    for _ in 0..5 {
        let server = server(&["a"], 5);
        let served = server.get("a").unwrap();
        let file = fs::File::options().write(true).open(server.path("a")).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| file.set_len(5000).unwrap());
            // What is answered until then is right, and then nothing is.
            while let Event::Done(_) = ask(&served, 50) {}
        });
        assert!(matches!(ask(&served, 3), Event::Failed(Failure::Internal(_))));
    }
}

#[test]
fn a_file_that_is_replaced_is_used_as_it_was() {
    let server = server(&["a"], 5);
    let served = server.get("a").unwrap();
    fs::write(server.path("other"), b"something else").unwrap();
    fs::rename(server.path("other"), server.path("a")).unwrap();
    assert!(matches!(ask(&served, 3), Event::Done(_)));
    fs::remove_file(server.path("a")).unwrap();
    assert!(matches!(ask(&served, 3), Event::Done(_)));
}

#[test]
fn a_path_may_name_what_is_in_the_folder_and_nothing_else() {
    let server = server(&["a"], 5);
    fs::create_dir(server.folder.path().join("sub")).unwrap();
    fs::rename(server.path("a"), server.folder.path().join("sub/x.gguf")).unwrap();
    assert_eq!(server.get("x").err(), Some(ModelError::Unknown("x".into())));
    let load = |name: &str, path: &str| block(server.models.load(name, Some(Path::new(path))));
    assert_eq!(load("mine", "sub/x.gguf").unwrap().name, "mine");
    assert!(server.get("mine").is_ok());
    let outside = server.folder.path().join("../outside.gguf");
    for path in ["../x.gguf", "sub", "sub/../..", "/etc/passwd", outside.to_str().unwrap()] {
        assert!(matches!(load("bad", path), Err(ModelError::Invalid(_))), "{path}");
    }
    for name in ["../a", "/etc/passwd", "sub/x", "..", ""] {
        assert_eq!(server.get(name).err(), Some(ModelError::Unknown(name.into())));
    }
}

#[test]
fn closing_ends_all() {
    let server = server(&["a", "b"], 5);
    let served = server.get("a").unwrap();
    server.get("b").unwrap();
    block(server.models.close(Duration::from_secs(10)));
    assert!(matches!(ask(&served, 3), Event::Failed(Failure::Closing)));
    assert!(server.loaded().is_empty());
}
