use super::*;
use alloc::string::{String, ToString};
use alloc::vec;
use proptest::prelude::*;

/// A made-up vocabulary: token i prints as the i-th text, the last one ends the generation.
struct Words(&'static [&'static str]);

impl Vocabulary for Words {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn piece(&self, id: u32) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.0[id as usize].as_bytes())
    }

    fn encode(&self, mut text: &[u8]) -> Vec<u32> {
        let mut tokens = Vec::new();
        while !text.is_empty() {
            let fits = |word: &&str| !word.is_empty() && text.starts_with(word.as_bytes());
            let longest = self.0.iter().filter(|word| fits(word)).max_by_key(|word| word.len()).expect("a word");
            tokens.push(self.0.iter().position(|word| word == longest).expect("its id") as u32);
            text = &text[longest.len()..];
        }
        tokens
    }

    fn is_end(&self, id: u32) -> bool {
        id as usize + 1 == self.len()
    }
}

fn sampler(params: Params) -> Sampler {
    Sampler::new(&params, &1000usize).expect("good parameters")
}

/// Parameters under which the chain does nothing.
fn neutral() -> Params {
    Params { top_k: 0, top_p: 1.0, min_p: 0.0, temp: 1.0, ..Params::default() }
}

fn ids(sampler: &mut Sampler, logits: &[f32]) -> Vec<u32> {
    let mut ids: Vec<u32> = sampler.distribution(logits).iter().filter(|c| c.p > 0.0).map(|c| c.id).collect();
    ids.sort_unstable();
    ids
}

/// Cases recorded from llama.cpp's samplers (build 11434): every stage alone and in random company.
#[cfg(feature = "chat")]
mod golden {
    use super::*;

    const CASES: &str = include_str!("../../../tests/fixtures/sampler/cases.json");

    #[derive(serde::Deserialize)]
    struct Case {
        params: Params,
        history: Vec<u32>,
        breakers: Vec<Vec<u32>>,
        logits: Vec<f32>,
        expected: Vec<(u32, f64)>,
    }

    fn check(case: &Case) -> Result<(), String> {
        let mut breakers = Breakers::default();
        for breaker in &case.breakers {
            breakers.add(breaker[0], breaker[1..].to_vec());
        }
        let dry = Dry::new(&case.params, || breakers);
        let mut sampler = Sampler::with_dry(&case.params, &case.logits.len(), dry).map_err(|e| e.to_string())?;
        case.history.iter().for_each(|&token| sampler.accept(token));
        let mut found = sampler.distribution(&case.logits).to_vec();
        found.retain(|c| c.p > 0.0);
        found.sort_unstable_by_key(|c| c.id);
        let same = |c: &Candidate, &(id, p): &(u32, f64)| c.id == id && (f64::from(c.p) - p).abs() <= 1e-5 * p;
        let agree = found.len() == case.expected.len() && found.iter().zip(&case.expected).all(|(c, e)| same(c, e));
        if agree {
            Ok(())
        } else {
            Err(alloc::format!("{:?}: found {found:?}\nexpected {:?}", case.params, case.expected))
        }
    }

    #[test]
    fn distributions_are_those_of_llama_cpp() {
        let cases: Vec<Case> = serde_json::from_str(CASES).expect("readable cases");
        assert!(cases.len() > 80);
        let failures: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
        assert!(failures.is_empty(), "{} of {} differ:\n{}", failures.len(), cases.len(), failures.join("\n"));
    }
}

#[test]
fn the_best_token_is_the_first_of_the_largest() {
    let mut logits = vec![0.0; 2000];
    assert_eq!(pool::argmax(&logits), 0);
    logits[700] = 5.0;
    logits[1999] = 5.0;
    logits[3] = f32::NAN;
    assert_eq!(pool::argmax(&logits), 700);
    logits[1999] = f32::INFINITY;
    assert_eq!(pool::argmax(&logits), 1999);
    assert_eq!(pool::argmax(&[f32::NAN; 3]), 0);
    assert_eq!(pool::argmax(&[]), 0);
}

#[test]
fn greedy_takes_the_best_token_after_bias_and_penalties() {
    let logits = [1.0, 3.0, 2.9, f32::NAN];
    assert_eq!(sampler(Params::greedy()).sample(&logits), 1);
    let biased = Params { logit_bias: vec![(0, 5.0)], ..Params::greedy() };
    assert_eq!(sampler(biased).sample(&logits), 0);
    let mut penalized = sampler(Params { penalty_present: 0.5, ..Params::greedy() });
    penalized.accept(1);
    assert_eq!(penalized.sample(&logits), 2);
    assert_eq!(penalized.candidates(), [Candidate { id: 2, logit: 2.9, p: 1.0 }]);
}

#[test]
fn the_same_seed_gives_the_same_tokens() {
    let logits = [0.0; 50];
    let draw = |seed| {
        let mut sampler = sampler(Params { seed, ..Params::default() });
        let first: Vec<u32> = (0..8).map(|_| sampler.sample(&logits)).collect();
        sampler.reset();
        let second: Vec<u32> = (0..8).map(|_| sampler.sample(&logits)).collect();
        assert_eq!(first, second);
        first
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    // Fixed for ever: a change of these numbers changes what users' seeds mean.
    assert_eq!(draw(1), PINNED);
}

const PINNED: [u32; 8] = [16, 17, 23, 11, 37, 26, 29, 30];

#[test]
fn tokens_are_drawn_by_their_probability() {
    let logits = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
    let mut sampler = sampler(Params { seed: 3, ..neutral() });
    let mut counts = [0u32; 3];
    for _ in 0..20_000 {
        counts[sampler.sample(&logits) as usize] += 1;
    }
    for (count, p) in counts.iter().zip([0.5, 0.3, 0.2]) {
        assert!((f64::from(*count) / 20_000.0 - p).abs() < 0.015, "{counts:?}");
    }
}

#[test]
fn xtc_acts_as_often_as_its_probability() {
    let mut sampler = sampler(Params { xtc_probability: 0.25, ..neutral() });
    let acted = (0..4000).filter(|_| sampler.distribution(&[1.0, 0.9, 0.0]).len() < 3).count();
    assert!((800..1200).contains(&acted), "{acted}");
}

#[test]
fn banned_tokens_never_come() {
    let words = Words(&["a", "b", "<end>"]);
    let params = Params { ignore_eos: true, logit_bias: vec![(0, f32::NEG_INFINITY)], ..neutral() };
    let mut sampler = Sampler::new(&params, &words).expect("good parameters");
    assert!((0..100).all(|_| sampler.sample(&[f32::INFINITY, 0.0, 9.0]) == 1));
}

#[test]
fn penalties_forget_what_is_far_back() {
    let params = Params { penalty_last_n: 2, penalty_freq: 1.0, penalty_present: 10.0, ..neutral() };
    let mut sampler = sampler(params);
    [0, 1, 1].into_iter().for_each(|token| sampler.accept(token));
    let logits: Vec<f32> = sampler.distribution(&[0.0; 3]).iter().map(|c| c.logit).collect();
    assert_eq!(logits, [0.0, -12.0, 0.0]);
}

#[test]
fn dry_penalizes_what_would_continue_a_repeat_but_not_across_a_breaker() {
    let words = Words(&["one", "two", "three", ".\n", "x\n", "\ny"]);
    let params =
        Params { dry_multiplier: 1.0, dry_base: 2.0, dry_sequence_breakers: vec!["\n".to_string()], ..neutral() };
    let penalties = |history: &[u32]| {
        let mut sampler = Sampler::new(&params, &words).expect("good parameters");
        history.iter().for_each(|&token| sampler.accept(token));
        sampler.distribution(&[0.0; 6]).iter().map(|c| -c.logit).collect::<Vec<f32>>()
    };
    assert_eq!(penalties(&[0, 1, 2, 0, 1]), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(penalties(&[2, 0, 1, 2, 2, 0, 1]), [0.0, 0.0, 2.0, 0.0, 0.0, 0.0]);
    assert_eq!(penalties(&[0, 3, 1, 2, 0, 3, 1]), [0.0; 6], "a breaker within the repeat");
    assert_eq!(penalties(&[0, 1, 4, 0, 1]), [0.0; 6], "a breaker is never penalized");
}

#[test]
fn dry_knows_breakers_that_span_tokens() {
    let words = Words(&["ab", "cd", "e", "c", "d", "a", "b"]);
    let breakers = Breakers::new(&["bcd".to_string(), String::new()], &words);
    let mut expected = Breakers::default();
    expected.add(0, vec![1]);
    expected.add(6, vec![1]);
    assert_eq!(alloc::format!("{breakers:?}"), alloc::format!("{expected:?}"));
}

#[test]
fn mirostat_steers_the_surprise_to_its_target() {
    let logits: Vec<f32> = (0..500).map(|i| -(i as f32) * 0.02).collect();
    for version in [1, 2] {
        let params = Params { mirostat: version, mirostat_tau: 3.0, ..neutral() };
        let mut sampler = sampler(params);
        let mut bits = 0.0;
        for _ in 0..2000 {
            let id = sampler.sample(&logits);
            let chosen = sampler.candidates().iter().find(|c| c.id == id).expect("the chosen one");
            bits -= f64::from(chosen.p).log2();
        }
        assert!((bits / 2000.0 - 3.0).abs() < 0.3, "version {version}: {}", bits / 2000.0);
    }
}

#[test]
fn an_order_of_stages_is_followed() {
    let logits = [4.0, 3.0, 2.0, 1.0];
    let cold = Params { temp: 0.1, top_p: 0.9, top_k: 0, min_p: 0.0, ..Params::default() };
    assert_eq!(ids(&mut sampler(cold.clone()), &logits), [0, 1, 2]);
    let first = Params { samplers: vec![Stage::Temperature, Stage::TopP], ..cold };
    assert_eq!(ids(&mut sampler(first), &logits), [0]);
}

#[test]
fn min_keep_holds_against_every_filter() {
    let logits = [9.0, 1.0, 0.5, 0.0, -1.0];
    for params in
        [Params { top_p: 0.1, ..neutral() }, Params { min_p: 0.9, ..neutral() }, Params { typ_p: 0.1, ..neutral() }]
    {
        assert_eq!(ids(&mut sampler(Params { min_keep: 3, ..params.clone() }), &logits), [0, 1, 2], "{params:?}");
        assert_eq!(ids(&mut sampler(params), &logits), [0]);
    }
}

#[test]
fn log_probabilities_of_the_best_tokens() {
    let logits = [1.0, f32::NAN, 3.0, 2.0, 3.0];
    let sum: f64 = [1.0f64, 3.0, 2.0, 3.0].iter().map(|x| x.exp()).sum();
    let top = log_softmax_top(&logits, 3);
    assert_eq!(top.iter().map(|&(id, _)| id).collect::<Vec<_>>(), [2, 4, 3]);
    for (&(_, found), logit) in top.iter().zip([3.0, 3.0, 2.0]) {
        assert!((f64::from(found) - (logit - sum.ln())).abs() < 1e-6);
    }
    assert_eq!(log_softmax_top(&[], 3), []);
    assert_eq!(log_softmax_top(&logits, 9).len(), 5);
}

#[test]
fn bad_parameters_are_named() {
    let error = |params: Params| Sampler::new(&params, &10usize).map(|_| ()).expect_err("bad").to_string();
    let top_p = Params { top_p: 1.5, ..Params::default() };
    assert_eq!(error(top_p), "sampling parameter top_p is 1.5, expected a number from 0 to 1");
    let mirostat = Params { mirostat: 3, ..Params::default() };
    assert_eq!(error(mirostat), "sampling parameter mirostat is 3, expected 0, 1 or 2");
    let repeat = Params { penalty_repeat: 0.0, ..Params::default() };
    assert!(error(repeat).contains("penalty_repeat"));
    let temp = Params { temp: f32::NAN, ..Params::default() };
    assert!(error(temp).contains("temp is NaN"));
    let bias = Params { logit_bias: vec![(10, 1.0)], ..Params::default() };
    assert_eq!(error(bias), "logit bias for token 10, but the vocabulary has 10 tokens");
}

#[test]
fn stage_names_are_read_in_every_usual_spelling() {
    let list = Stage::parse_list("top-k;TOP_P,temp; typical,minp;xtc").expect("known names");
    assert_eq!(list, [Stage::TopK, Stage::TopP, Stage::Temperature, Stage::TypicalP, Stage::MinP, Stage::Xtc]);
    for stage in Stage::DEFAULT_ORDER {
        assert_eq!(stage.to_string().parse(), Ok(stage));
    }
    let error = Stage::parse_list("top_k;grammar").expect_err("unknown").to_string();
    assert!(error.starts_with("unknown sampler \"grammar\", expected penalties, dry,"), "{error}");
}

#[cfg(feature = "chat")]
#[test]
fn parameters_are_read_from_json() {
    let params: Params = serde_json::from_str(r#"{"temp": 0.5, "samplers": ["top-k", "temperature"]}"#).expect("good");
    let expected = Params { temp: 0.5, samplers: vec![Stage::TopK, Stage::Temperature], ..Params::default() };
    assert_eq!(params, expected);
    assert!(serde_json::from_str::<Params>(r#"{"tempp": 0.5}"#).is_err());
    assert!(serde_json::from_str::<Params>(r#"{"samplers": ["nonsense"]}"#).is_err());
}

fn any_logits() -> impl Strategy<Value = Vec<f32>> {
    let odd = prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), any::<f32>()];
    proptest::collection::vec(prop_oneof![8 => (-20i32..20).prop_map(|x| x as f32 / 2.0), 1 => odd], 0..300)
}

fn any_params() -> impl Strategy<Value = Params> {
    let cuts = (0usize..60, 0.0f32..=1.0, 0.0f32..=1.0, 0.0f32..=1.0, -1.0f32..2.0, 0usize..4);
    let shapes = (-0.5f32..3.0, prop_oneof![Just(0.0f32), 0.0f32..2.0], 0.0f32..=1.0, 0.0f32..=1.0, 0u8..=2);
    let repeats = (0.5f32..2.0, -1.0f32..1.0, prop_oneof![Just(0.0f32), 0.0f32..1e30], 0usize..3);
    let order = proptest::collection::vec(proptest::sample::select(Stage::DEFAULT_ORDER.to_vec()), 0..12);
    (cuts, shapes, repeats, order, any::<u64>()).prop_map(|(cuts, shapes, repeats, samplers, seed)| Params {
        seed,
        samplers,
        top_k: cuts.0,
        top_p: cuts.1,
        min_p: cuts.2,
        typ_p: cuts.3,
        top_n_sigma: cuts.4,
        min_keep: cuts.5,
        temp: shapes.0,
        dynatemp_range: shapes.1,
        xtc_probability: shapes.2,
        xtc_threshold: shapes.3,
        mirostat: shapes.4,
        penalty_repeat: repeats.0,
        penalty_freq: repeats.1,
        dry_multiplier: repeats.2,
        dry_allowed_length: repeats.3,
        ..Params::default()
    })
}

proptest! {
    #[test]
    fn any_logits_give_a_token_and_a_distribution(
        params in any_params(),
        logits in any_logits(),
        history in proptest::collection::vec(0u32..6, 0..80),
    ) {
        let mut sampler = sampler(params);
        history.iter().for_each(|&token| sampler.accept(token));
        let id = sampler.sample(&logits);
        prop_assert!((id as usize) < logits.len().max(1));
        let candidates = sampler.candidates();
        let sum: f64 = candidates.iter().map(|c| f64::from(c.p)).sum();
        prop_assert!(logits.is_empty() || (sum - 1.0).abs() < 1e-4, "{sum} {candidates:?}");
        prop_assert!(logits.is_empty() || candidates.iter().any(|c| c.id == id && c.p > 0.0));
    }

    #[test]
    fn the_best_k_are_those_of_a_full_sort(logits in proptest::collection::vec(-5i8..5, 1..900), k in 1usize..200) {
        let logits: Vec<f32> = logits.into_iter().map(f32::from).collect();
        let mut pool = Pool::default();
        pool.fill(&logits);
        pool.keep_top(k);
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        order.truncate(k);
        let found: Vec<usize> = pool.candidates().iter().map(|c| c.id as usize).collect();
        prop_assert_eq!(found, order);
    }
}
