//! Prompts that are computed while the model's file arrives: the bits are those of a prompt that is fed at once.

use std::sync::Arc;
use woolly_engine::bytes::{Bytes, Receiver};
use woolly_engine::gguf::{self, Gguf, Writer};
use woolly_engine::model::{self, Model, Options};
use woolly_engine::quant::TensorType;
use woolly_engine::session::{Error, KvType, Progress, Session, SnapshotError, Stage};
use woolly_engine::simd::Level;
use woolly_tests::random_model::{Extra, Recipe};
use woolly_tests::recipes;
use woolly_tests::run::{levels, model};
use woolly_tests::threads::Threads;

fn bits(session: &mut Session) -> Vec<u32> {
    session.logits().iter().map(|x| x.to_bits()).collect()
}

fn start(model: &Arc<Model>, threads: usize, options: Options) -> Session {
    Session::new(model.clone(), Arc::new(Threads(threads)), &options).expect("the session fits")
}

/// A model's file, of which nothing has come.
struct Download {
    file: Vec<u8>,
    receiver: Receiver,
}

impl Download {
    fn new(file: Vec<u8>) -> Self {
        Self { receiver: Receiver::new(file.len()).expect("memory"), file }
    }

    /// Receives the file up to an offset, in pieces; by both ways of writing.
    fn until(&mut self, end: usize) {
        while self.receiver.arrived() < end {
            let arrived = self.receiver.arrived();
            let piece = &self.file[arrived..end.min(arrived + 10_000)];
            if arrived.is_multiple_of(3) {
                self.receiver.push(piece);
            } else {
                self.receiver.rest()[..piece.len()].copy_from_slice(piece);
                self.receiver.advance(piece.len());
            }
        }
    }

    fn open(&self) -> Result<Gguf, gguf::Error> {
        Gguf::open(vec![self.receiver.file()])
    }

    /// The model, as soon as it can be loaded.
    fn model(&mut self) -> Arc<Model> {
        let header = match gguf::parse(&self.file) {
            Ok(gguf::Parsed::Ready(header)) => header.data_offset as usize,
            other => panic!("{other:?}"),
        };
        self.until(header);
        if let Err(error) = Model::load(self.open().expect("the header is there")) {
            let model::Error::Architecture(error) = error else { panic!("{error}") };
            assert!(error.to_string().contains("rope_freqs.weight"), "{error}");
            let place = self.open().expect("a header").place("rope_freqs.weight").expect("it is there");
            self.until(place.range.end as usize);
        }
        Arc::new(Model::load(self.open().expect("a header")).expect("enough is there"))
    }
}

/// The end of a stage's weights.
fn end(model: &Model, stage: Stage) -> usize {
    let places = model.places(stage);
    assert!(!places.is_empty() && places.iter().all(|place| place.part == 0), "{stage}: {places:?}");
    places.iter().map(|place| place.range.end as usize).max().expect("there are some")
}

/// Feeds `tokens` in stages, each as soon as the bytes that it names have come, and not before.
fn staged(download: &mut Download, threads: usize, options: Options, tokens: &[u32]) -> Session {
    let model = download.model();
    let mut session = start(&model, threads, options);
    session.begin_staged(tokens).expect("fits");
    for stage in model.stages() {
        let end = end(&model, stage);
        if download.receiver.arrived() < end {
            download.until(end - 1);
            assert!(!model.has_arrived(stage) && !model.is_complete(), "{stage}");
            assert_eq!(session.advance(), Ok(Progress::Waiting(stage)));
            assert_eq!(session.tokens(), [0; 0]);
        }
        download.until(end);
        assert!(model.has_arrived(stage), "{stage}");
        let done = if stage == Stage::Output { Progress::Done } else { Progress::Ran(stage) };
        assert_eq!(session.advance(), Ok(done));
    }
    assert!(model.is_complete());
    session
}

/// The file with its tensors in another order: those whose names begin with one of `front` first.
fn reordered(file: Vec<u8>, front: &[&str]) -> Vec<u8> {
    let gguf = Gguf::open(vec![Bytes::new(file)]).expect("a file");
    let writer = gguf.metadata().iter().fold(Writer::new(), |writer, (key, value)| writer.value(key, value.clone()));
    let (first, last): (Vec<_>, Vec<_>) =
        gguf.tensors().partition(|tensor| front.iter().any(|front| tensor.name.starts_with(front)));
    let writer = first.into_iter().chain(last).fold(writer, |writer, tensor| {
        let (_, bytes) = gguf.tensor(&tensor.name).expect("it is listed");
        writer.tensor(&tensor.name, &tensor.dims, tensor.kind, &bytes[..])
    });
    writer.finish()
}

#[test]
fn every_architecture_answers_as_if_fed_at_once() {
    for recipe in recipes::all() {
        let (whole, tokens) = (model(recipe.build()), recipe.tokens(140));
        for (level, kv) in levels().into_iter().zip(KvType::ALL.iter().cycle()) {
            // Prompts of many batches, of one, and of batches that write over a window's ring.
            for batch in [9, 64, 200] {
                let options = Options { context: 160, batch, kv: *kv, level, ..Options::default() };
                let mut fed = start(&whole, 1, options);
                fed.feed(&tokens).expect("fits");
                let mut session = staged(&mut Download::new(recipe.build()), 2, options, &tokens);
                let what = format!("{} {level} {kv:?} batch {batch}", recipe.name);
                assert_eq!(session.tokens(), tokens);
                assert!(bits(&mut session) == bits(&mut fed), "{what}");
                for token in 20..30 {
                    fed.feed(&[token]).expect("fits");
                    session.feed(&[token]).expect("fits");
                }
                assert!(bits(&mut session) == bits(&mut fed), "{what}: gone on");
            }
        }
    }
}

#[test]
fn tensors_may_come_in_any_order() {
    let recipe = Recipe::of_type(TensorType::Q4_K);
    let tied = Recipe { extras: vec![], ..Recipe::of_type(TensorType::Q6_K) };
    let orders: [&[&str]; 4] =
        [&["output.weight", "token_embd"], &["blk.1.", "blk.0."], &["output"], &["blk.0.", "blk.1.", "output_norm"]];
    for (recipe, front) in [&recipe, &tied].into_iter().flat_map(|recipe| orders.map(|front| (recipe, front))) {
        let tokens = recipe.tokens(50);
        let options = Options { context: 64, batch: 20, ..Options::default() };
        let mut fed = start(&model(recipe.build()), 1, options);
        fed.feed(&tokens).expect("fits");
        let mut session = staged(&mut Download::new(reordered(recipe.build(), front)), 1, options, &tokens);
        assert!(bits(&mut session) == bits(&mut fed), "{} {front:?}", recipe.name);
    }
}

/// Behind what is in the cache already, also in a ring that has begun anew.
#[test]
fn staged_prompts_follow_others() {
    let recipe = recipes::all().remove(9);
    let (model, tokens) = (model(recipe.build()), recipe.tokens(500));
    for batch in [10, 64] {
        let options = Options { context: 500, batch, ..Options::default() };
        let mut fed = start(&model, 1, options);
        fed.feed(&tokens).expect("fits");
        let mut session = start(&model, 2, options);
        for piece in [&tokens[..1], &tokens[1..300], &tokens[300..499], &tokens[499..]] {
            session.begin_staged(piece).expect("fits");
            while session.advance().expect("begun") != Progress::Done {}
        }
        assert_eq!(session.tokens(), tokens);
        assert!(bits(&mut session) == bits(&mut fed), "batch {batch}");
        assert_eq!(session.rewind(490), 490);
        assert_eq!(session.rewind(100), 0, "the ring does not reach back so far");
    }
}

#[test]
fn a_model_split_into_files_arrives_file_by_file() {
    let recipe = Recipe::of_type(TensorType::Q4_0);
    let gguf = Gguf::open(vec![Bytes::new(recipe.build())]).expect("a file");
    let part = |number: u16| {
        let writer =
            gguf.metadata().iter().fold(Writer::new(), |writer, (key, value)| writer.value(key, value.clone()));
        let writer = writer.value("split.no", number).value("split.count", 2u16);
        let here = gguf.tensors().filter(|tensor| tensor.name.starts_with("blk.1.") == (number == 1));
        let with = |writer: Writer, tensor: &gguf::Tensor| {
            writer.tensor(&tensor.name, &tensor.dims, tensor.kind, &gguf.tensor(&tensor.name).expect("listed").1[..])
        };
        Download::new(here.fold(writer, with).finish())
    };
    let mut parts = [part(0), part(1)];
    parts[1].until(20_000);
    assert!(matches!(
        Gguf::open(parts.iter().map(|part| part.receiver.file()).collect()),
        Err(gguf::Error::Part { .. })
    ));
    parts[0].until(20_000);
    let arriving = Gguf::open(parts.iter().map(|part| part.receiver.file()).collect()).expect("both headers");
    let arriving = Arc::new(Model::load(arriving).expect("a model"));
    assert!(arriving.places(Stage::Layer(1)).iter().all(|place| place.part == 1));
    assert!(arriving.places(Stage::Layer(0)).iter().all(|place| place.part == 0));
    let (tokens, options) = (recipe.tokens(30), Options { context: 40, ..Options::default() });
    let mut session = start(&arriving, 1, options);
    session.begin_staged(&tokens).expect("fits");
    let length = parts[0].file.len();
    parts[0].until(length);
    while matches!(session.advance(), Ok(Progress::Ran(_))) {}
    assert_eq!(session.advance(), Ok(Progress::Waiting(Stage::Layer(1))));
    let length = parts[1].file.len();
    parts[1].until(length);
    while session.advance() != Ok(Progress::Done) {}
    let whole = model(recipe.build());
    let mut fed = start(&whole, 1, options);
    fed.feed(&tokens).expect("fits");
    assert!(bits(&mut session) == bits(&mut fed));
    assert_eq!(arriving.gguf().fingerprint(), Some(fingerprint_of_parts(&parts)));
}

/// The fingerprint of the same files when they are opened whole.
fn fingerprint_of_parts(parts: &[Download]) -> u64 {
    let files = parts.iter().map(|part| Bytes::new(part.file.clone())).collect();
    Gguf::open(files).expect("two parts").fingerprint().expect("all is there")
}

#[test]
fn headers_that_have_not_come_are_said_to_be_cut_off() {
    let mut download = Download::new(Recipe::of_type(TensorType::F32).build());
    for end in [0, 10, 1000] {
        download.until(end);
        assert!(matches!(download.open(), Err(gguf::Error::Truncated { .. })), "{end} bytes");
    }
    let model = download.model();
    assert_eq!(model.gguf().size(), download.file.len() as u64);
    assert_eq!(model.gguf().arrived(), download.receiver.arrived() as u64);
}

/// A tensor that nothing needs does not hold anything up.
#[test]
fn only_what_is_needed_is_waited_for() {
    let recipe = Recipe::of_type(TensorType::Q8_0);
    let gguf = Gguf::open(vec![Bytes::new(recipe.build())]).expect("a file");
    let writer = gguf.metadata().iter().fold(Writer::new(), |writer, (key, value)| writer.value(key, value.clone()));
    let writer = gguf.tensors().fold(writer, |writer, tensor| {
        writer.tensor(&tensor.name, &tensor.dims, tensor.kind, &gguf.tensor(&tensor.name).expect("listed").1[..])
    });
    let mut download = Download::new(writer.tensor("v.unused", &[500], TensorType::F32, [0; 2000]).finish());
    let options = Options { context: 40, ..Options::default() };
    let mut session = staged(&mut download, 1, options, &[1, 2, 3]);
    let size = download.file.len() as u64;
    assert!((download.receiver.arrived() as u64) < size);
    session.feed(&[4]).expect("all that is needed is there");
    let arrived = download.receiver.arrived() as u64;
    assert_eq!(session.save(), Err(Error::Receiving { arrived, size }));
    download.until(size as usize);
    assert!(session.save().is_ok());
}

#[test]
fn misuse_is_an_error_and_changes_nothing() {
    let recipe = Recipe::new("misuse", "llama").extras(&[Extra::Output]);
    let mut download = Download::new(recipe.build());
    let model = download.model();
    let options = Options { context: 16, batch: 4, ..Options::default() };
    let mut session = start(&model, 1, options);
    assert_eq!(session.advance(), Err(Error::NoStagedPrompt));
    assert_eq!(session.begin_staged(&[]), Err(Error::EmptyPrompt));
    assert_eq!(session.begin_staged(&[1; 17]), Err(Error::ContextFull { tokens: 17, free: 16, context: 16 }));
    assert!(matches!(session.begin_staged(&[u32::MAX]), Err(Error::Token { .. })));
    let (arrived, size) = (download.receiver.arrived() as u64, download.file.len() as u64);
    let receiving = Error::Receiving { arrived, size };
    assert_eq!(session.feed(&[1]), Err(receiving.clone()));
    assert_eq!(session.feed_each(&[1], &mut |_, _| ()), Err(receiving.clone()));
    assert_eq!(session.prompt(&[1]), Err(receiving.clone()));
    assert_eq!(session.save(), Err(receiving));
    let snapshot = {
        let mut other = start(&woolly_tests::run::model(recipe.build()), 1, options);
        other.feed(&[7, 8, 9]).expect("fits");
        other.save().expect("memory")
    };
    assert_eq!(session.load(&snapshot), Err(SnapshotError::Receiving { arrived, size }));
    assert_eq!(session.tokens(), [0; 0]);

    session.begin_staged(&[1, 2, 3, 4, 5, 6]).expect("fits");
    download.until(size as usize);
    assert_eq!(session.advance(), Ok(Progress::Ran(Stage::Embedding)));
    assert_eq!(session.advance(), Ok(Progress::Ran(Stage::Layer(0))));
    let underway = Error::StagedPrompt(Stage::Layer(1));
    assert_eq!(session.feed(&[1]), Err(underway.clone()));
    assert_eq!(session.feed_each(&[1], &mut |_, _| ()), Err(underway.clone()));
    assert_eq!(session.prompt(&[1]), Err(underway.clone()));
    assert_eq!(session.begin_staged(&[1]), Err(underway.clone()));
    assert_eq!(session.save(), Err(underway));
    let mut fed = start(&model, 1, Options { level: Level::Scalar, ..options });
    fed.feed(&[1, 2, 3, 4, 5, 6]).expect("fits");
    while session.advance().expect("begun") != Progress::Done {}
    assert!(bits(&mut session) == bits(&mut fed), "what was refused has changed nothing");
    assert_eq!(session.advance(), Err(Error::NoStagedPrompt));

    // What is dropped leaves the cache as it was.
    session.begin_staged(&[9; 10]).expect("fits");
    (0..3).for_each(|_| assert!(session.advance().is_ok()));
    assert_eq!(session.cancel_staged(), 6);
    session.feed(&[3, 4]).expect("fits");
    fed.feed(&[3, 4]).expect("fits");
    assert!(bits(&mut session) == bits(&mut fed));
    session.begin_staged(&[9; 8]).expect("fits");
    assert_eq!(session.load(&snapshot), Ok(3));
    assert_eq!(session.advance(), Err(Error::NoStagedPrompt));
}

/// Where a staged prompt that is dropped has written over what windows still see, nothing is left.
#[test]
fn a_dropped_prompt_does_not_leave_a_damaged_window() {
    let recipe = recipes::all().remove(9);
    let (model, tokens) = (model(recipe.build()), recipe.tokens(500));
    let options = Options { context: 500, batch: 10, ..Options::default() };
    for (stages, left) in [(1, 20), (2, 0), (5, 0)] {
        let mut session = start(&model, 1, options);
        session.feed(&tokens[..20]).expect("fits");
        session.begin_staged(&tokens[20..]).expect("fits");
        (0..stages).for_each(|_| assert!(matches!(session.advance(), Ok(Progress::Ran(_)))));
        assert_eq!(session.cancel_staged(), left, "{stages} stages");
        session.feed(&tokens[left..30]).expect("fits");
        let mut fed = start(&model, 1, options);
        fed.feed(&tokens[..30]).expect("fits");
        assert!(bits(&mut session) == bits(&mut fed), "{stages} stages");
    }
}

/// Whatever has come of a file, it is an error, or a model that runs the stages that are there.
#[test]
fn at_any_point_of_the_download() {
    let rope_factors = recipes::all().remove(1);
    assert_eq!(rope_factors.name, "llama-tied-rope-factors");
    let mut stages = Vec::new();
    let mut download = Download::new(rope_factors.build());
    while download.receiver.arrived() < download.file.len() {
        download.until(download.file.len().min(download.receiver.arrived() + 1009));
        let Ok(gguf) = download.open() else { continue };
        let Ok(model) = Model::load(gguf) else { continue };
        let complete = model.is_complete();
        let mut session = start(&Arc::new(model), 1, Options { context: 8, ..Options::default() });
        assert_eq!(session.feed(&[1]).is_ok(), complete);
        session.begin_staged(&[1, 2]).expect("fits");
        stages.push(0);
        while !matches!(session.advance(), Ok(Progress::Waiting(_)) | Err(_)) {
            *stages.last_mut().expect("pushed") += 1;
        }
    }
    assert!(stages.is_sorted() && stages.contains(&1) && stages.contains(&2), "{stages:?}");
    assert_eq!(stages.last(), Some(&4), "embeddings, two layers, output");
}
