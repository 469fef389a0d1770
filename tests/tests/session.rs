//! What a session promises beyond its logits: reuse of what it has computed, limits, and where a generation ends.

use std::sync::Arc;
use woolly_engine::quant::TensorType;
use woolly_engine::sampler::{Params, Sampler};
use woolly_engine::session::{Continuation, Entry, Error, Finish, KvType, Model, Options, Runner, Session, Until};
use woolly_engine::simd::Level;
use woolly_tests::random_model::{Recipe, VOCABULARY};
use woolly_tests::run::{Way, model, session};
use woolly_tests::threads::Threads;

fn tiny() -> Arc<Model> {
    model(Recipe::of_type(TensorType::Q4_0).build())
}

fn start(model: &Arc<Model>, context: usize) -> Session {
    session(model, Way { level: Level::best(), ..Way::PLAIN }, KvType::F16, context)
}

/// The text and the end of a greedy generation.
fn generate(session: &mut Session, until: Until) -> (Vec<u32>, String, Finish) {
    let mut sampler = Sampler::new(&Params::greedy(), session.model().clone().tokenizer()).unwrap();
    let mut generation = session.generate(&mut sampler, until);
    let (mut tokens, mut text) = (Vec::new(), String::new());
    for piece in generation.by_ref() {
        let piece = piece.unwrap();
        tokens.extend(piece.token);
        text += &piece.text;
    }
    (tokens, text, generation.finish().unwrap())
}

#[test]
fn a_prompt_reuses_what_it_has_in_common_with_the_cache() {
    let model = tiny();
    let mut session = start(&model, 32);
    assert_eq!(session.prompt(&[1, 5, 6, 7]), Ok(0));
    assert_eq!(session.prompt(&[1, 5, 6, 8, 9]), Ok(3));
    assert_eq!(session.tokens(), [1, 5, 6, 8, 9]);
    let reused = session.logits().to_vec();
    let mut fresh = start(&model, 32);
    fresh.feed(&[1, 5, 6, 8, 9]).unwrap();
    assert_eq!(fresh.logits(), reused);
    // All of it is there: the last token is computed again, for its logits.
    session.feed(&[10]).unwrap();
    assert_eq!(session.prompt(&[1, 5, 6, 8, 9]), Ok(4));
    assert_eq!(session.logits(), reused);
}

#[test]
fn the_last_logits_are_kept_however_tokens_were_fed() {
    let model = tiny();
    let tokens: Vec<u32> = (1..20).collect();
    let mut session = start(&model, 32);
    let mut last = Vec::new();
    session.feed_each(&tokens, &mut |_, logits| last = logits.to_vec()).unwrap();
    assert_eq!(session.logits(), last);
    let mut whole = start(&model, 32);
    whole.feed(&tokens).unwrap();
    assert_eq!(whole.logits(), last);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let model = tiny();
    let mut session = start(&model, 8);
    session.feed(&[1, 2, 3]).unwrap();
    let full = Error::ContextFull { tokens: 6, free: 5, context: 8 };
    assert_eq!(session.feed(&[4; 6]), Err(full));
    assert_eq!(session.prompt(&[]), Err(Error::EmptyPrompt));
    let unknown = Error::Token { token: VOCABULARY as u32, vocabulary: VOCABULARY };
    assert_eq!(session.prompt(&[1, 2, VOCABULARY as u32]), Err(unknown));
    assert_eq!(session.prompt(&[9; 9]), Err(Error::ContextFull { tokens: 9, free: 8, context: 8 }));
    assert_eq!(session.tokens(), [1, 2, 3]);
}

#[test]
fn memory_that_is_not_there_is_an_error() {
    let model = tiny();
    let options = Options { context: usize::MAX / 4096, ..Options::default() };
    let error = Session::new(model, Arc::new(Threads(1)), &options).err();
    assert!(matches!(error, Some(Error::OutOfMemory(_))), "{error:?}");
}

#[test]
fn a_generation_ends_with_its_length_or_its_context() {
    let model = tiny();
    let mut session = start(&model, 16);
    session.prompt(&[1, 2, 3]).unwrap();
    let until = Until { max_tokens: Some(4), ignore_end: true, ..Until::default() };
    let (tokens, _, finish) = generate(&mut session, until);
    assert_eq!((tokens.len(), finish), (4, Finish::Length));
    session.prompt(&[1, 2, 3]).unwrap();
    let (more, _, finish) = generate(&mut session, Until { ignore_end: true, ..Until::default() });
    assert_eq!(finish, Finish::Context);
    assert_eq!(more.len(), 16 - 3 + 1);
    assert_eq!(more[..4], tokens);
    let (none, text, finish) = generate(&mut session, Until { max_tokens: Some(0), ..Until::default() });
    assert_eq!((none.len(), text.as_str(), finish), (0, "", Finish::Length));
}

#[test]
fn a_generation_stops_before_a_stop_string() {
    let model = tiny();
    let mut session = start(&model, 64);
    let all = |stop: &[&str], session: &mut Session| {
        session.prompt(&[1, 2, 3]).unwrap();
        let stop = stop.iter().map(|s| s.to_string()).collect();
        generate(session, Until { max_tokens: Some(40), stop, ignore_end: true })
    };
    let (_, text, finish) = all(&[], &mut session);
    assert_eq!(finish, Finish::Length);
    let middle = text.char_indices().map(|(at, _)| at).nth(text.chars().count() / 2).unwrap();
    // A string that crosses the borders of tokens, and one that does not occur but has its beginning in the text.
    let stop: String = text[middle..].chars().take(5).collect();
    let never = format!("{}\u{1}", &text[middle..]);
    let (tokens, stopped, finish) = all(&[&never, &stop, ""], &mut session);
    assert_eq!((stopped.as_str(), finish), (&text[..text.find(&stop).unwrap()], Finish::Stop));
    assert!(tokens.len() < 40);
    let (_, unstopped, finish) = all(&[&never], &mut session);
    assert_eq!((unstopped, finish), (text, Finish::Length));
}

/// Two generations whose tokens alternate, each with a session of its own, give what they give one after the other.
#[test]
fn continuations_step_beside_each_other() {
    let model = tiny();
    let until = || Until { max_tokens: Some(12), ignore_end: true, ..Until::default() };
    let prompts = [[1, 2, 3], [1, 30, 40]];
    let alone = prompts.map(|prompt| {
        let mut session = start(&model, 32);
        session.prompt(&prompt).unwrap();
        generate(&mut session, until())
    });
    assert_ne!(alone[0].0, alone[1].0);
    let mut beside = prompts.map(|prompt| {
        let mut session = start(&model, 32);
        session.prompt(&prompt).unwrap();
        let sampler = Sampler::new(&Params::greedy(), model.tokenizer()).unwrap();
        (session, sampler, Continuation::new(model.tokenizer(), until()), Vec::new(), String::new())
    });
    for generated in 1..=12 {
        for (session, sampler, continuation, tokens, text) in &mut beside {
            let piece = continuation.next(session, sampler).unwrap().unwrap();
            assert_eq!(continuation.generated(), generated);
            tokens.extend(piece.token);
            *text += &piece.text;
        }
    }
    for (alone, (mut session, mut sampler, mut continuation, tokens, text)) in alone.into_iter().zip(beside) {
        assert_eq!(alone, (tokens, text, continuation.finish().unwrap()));
        assert!(continuation.next(&mut session, &mut sampler).is_none());
    }
}

fn runner(model: &Arc<Model>) -> Runner {
    let options = Options { context: 32, batch: 8, ..Options::default() };
    Runner::new(model.clone(), Arc::new(Threads(2)), &options).expect("fits")
}

#[test]
fn a_pass_that_is_refused_changes_no_sequence() {
    let model = tiny();
    let mut runner = runner(&model);
    let [mut a, mut b] = [0; 2].map(|_| runner.sequence().expect("fits"));
    let mut decode = |with: &[u32], logits: usize| {
        let tokens: &[u32] = &[1, 2, 3];
        runner.decode(&mut [
            Entry { sequence: &mut a, tokens, logits: 1 },
            Entry { sequence: &mut b, tokens: with, logits },
        ])
    };
    assert_eq!(decode(&[4; 6], 1), Err(Error::BatchFull { tokens: 9, batch: 8 }));
    assert_eq!(decode(&[], 1), Err(Error::EmptyPrompt));
    let vocabulary = VOCABULARY;
    assert_eq!(decode(&[VOCABULARY as u32], 1), Err(Error::Token { token: VOCABULARY as u32, vocabulary }));
    // More logits than tokens are those of all tokens.
    assert_eq!(decode(&[4, 5], 100), Ok(()));
    assert_eq!(decode(&[6; 5], 0), Ok(()));
    assert_eq!((a.tokens(), b.tokens()), (&[1, 2, 3, 1, 2, 3][..], &[4, 5, 6, 6, 6, 6, 6][..]));
}

#[test]
fn a_sequence_takes_over_the_beginning_of_another() {
    let model = tiny();
    let mut runner = runner(&model);
    let [mut a, mut b] = [0; 2].map(|_| runner.sequence().expect("fits"));
    runner.decode(&mut [Entry { sequence: &mut a, tokens: &[1, 5, 6, 7, 8], logits: 0 }]).expect("fits");
    let beginning = a.save(3).expect("memory");
    assert_eq!(b.load(&beginning), Ok(3));
    runner.decode(&mut [Entry { sequence: &mut b, tokens: &[9, 10], logits: 1 }]).expect("fits");
    assert_eq!(b.tokens(), [1, 5, 6, 9, 10]);
    let mut alone = start(&model, 32);
    alone.feed(b.tokens()).expect("fits");
    assert_eq!(runner.logits(0), alone.logits());
}
