use std::time::{Duration, Instant};

use woolly_engine::sampler::Params;
use woolly_engine::session::{Continuation, Until};
use woolly_tests::random_model::{Recipe, VOCABULARY};

use super::*;

fn vocabulary() -> Vocabulary {
    Vocabulary::new(woolly_tests::run::model(Recipe::new("", "llama").build()))
}

/// Logits under which every token may come, and those that end something come more often.
fn logits() -> Vec<f32> {
    let mut logits = vec![0.0; VOCABULARY];
    logits[2] = 4.0;
    for byte in b"\"}]" {
        logits[3 + usize::from(*byte)] = 4.0;
    }
    logits
}

/// A random answer; `None`: it was not over after many tokens.
fn write(vocabulary: &Vocabulary, grammar: &Grammar, params: &Params) -> Result<Option<String>, Stuck> {
    let mut matcher = Some(grammar.matcher());
    let tokenizer = vocabulary.tokenizer();
    let mut sampler = Sampler::new(params, tokenizer).unwrap();
    let until = Until { ignore_end: params.ignore_eos, ..Until::default() };
    let mut continuation = Continuation::new(tokenizer, until);
    let mut text = String::new();
    for _ in 0..20_000 {
        let Some(token) = sample(&mut matcher, &mut sampler, &logits())? else { return Ok(Some(text)) };
        let piece = continuation.accept(tokenizer, token);
        text += &piece.text;
        if piece.token.is_none() || accept(&mut matcher, token)? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Parameters that choose among everything.
fn params(seed: u64) -> Params {
    Params { seed, temp: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..Params::default() }
}

/// Random answers by a form.
fn answers(form: &Form) -> Vec<String> {
    let vocabulary = vocabulary();
    let grammar = vocabulary.compile(form).unwrap();
    let answers = (0..20).filter_map(|seed| write(&vocabulary, &grammar, &params(seed)).unwrap());
    let answers: Vec<String> = answers.collect();
    assert!(answers.len() > 10, "most answers come to an end");
    answers
}

/// The first line of an error, the one that there has to be.
fn refused(form: &Form) -> String {
    vocabulary().compile(form).expect_err("refused").to_string()
}

#[test]
fn answers_conform_to_schemas() {
    type Conforms = fn(&Value) -> bool;
    let schemas: [(Value, Conforms); 9] = [
        (json!({}), |_| true),
        (json!(true), |_| true),
        (json!({ "const": "42" }), |value| value == "42"),
        (json!({ "enum": [1, "a", null] }), |value| [json!(1), json!("a"), json!(null)].contains(value)),
        (json!({ "type": "integer", "minimum": -3, "maximum": 12 }), |value| {
            value.as_f64().is_some_and(|number| (-3.0..=12.0).contains(&number) && number.fract() == 0.0)
        }),
        (json!({ "type": "string", "pattern": "^[a-c]{2,3}$" }), |value| {
            value
                .as_str()
                .is_some_and(|text| [2, 3].contains(&text.len()) && text.bytes().all(|byte| b"abc".contains(&byte)))
        }),
        (
            json!({
                "type": "object",
                "properties": { "name": { "type": "string", "maxLength": 5 }, "tags": { "$ref": "#/$defs/tags" } },
                "required": ["name", "tags"],
                "additionalProperties": false,
                "$defs": { "tags": { "type": "array", "items": { "type": "boolean" }, "minItems": 1, "maxItems": 3 } },
            }),
            |value| {
                let keys: Vec<_> = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                let name = value["name"].as_str().is_some_and(|name| name.chars().count() <= 5);
                let tags = value["tags"]
                    .as_array()
                    .is_some_and(|tags| (1..=3).contains(&tags.len()) && tags.iter().all(Value::is_boolean));
                keys == ["name", "tags"] && name && tags
            },
        ),
        (json!({ "items": [{ "type": "integer" }], "type": "array" }), |value| {
            value.as_array().is_some_and(|items| {
                items.first().is_none_or(|item| item.as_f64().is_some_and(|number| number.fract() == 0.0))
            })
        }),
        (json!({ "anyOf": [{ "type": "null" }, { "type": "boolean" }] }), |value| {
            value.is_null() || value.is_boolean()
        }),
    ];
    for (schema, conforms) in schemas {
        for answer in answers(&Form::Schema(schema.clone())) {
            let value: Value =
                serde_json::from_str(&answer).unwrap_or_else(|cause| panic!("{schema}: {answer}: {cause}"));
            assert!(conforms(&value), "{schema}: {answer}");
        }
    }
    let objects = answers(&Form::any_object());
    assert!(objects.iter().all(|answer| serde_json::from_str::<Value>(answer).unwrap().is_object()));
}

#[test]
fn answers_match_grammars() {
    let digits = answers(&Form::Gbnf("root ::= [0-9]{2} (\"-\" root)?".into()));
    assert!(
        digits
            .iter()
            .all(|answer| answer.len() % 3 == 2 && answer.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()))
    );
    // One token, or two, or bytes: however the model writes it.
    let texts = answers(&Form::Gbnf("root ::= \" a bä\"".into()));
    assert!(texts.iter().all(|answer| answer == " a bä"), "{texts:?}");
    assert!(answers(&Form::Gbnf("root ::= \"\"".into())).iter().all(String::is_empty));
}

#[test]
fn an_end_comes_where_it_may_and_wanted_or_not_where_it_must() {
    let vocabulary = vocabulary();
    let grammar = vocabulary.compile(&Form::Gbnf("root ::= \"a\"{2,}".into())).unwrap();
    let lengths = (0..50).filter_map(|seed| Some(write(&vocabulary, &grammar, &params(seed)).unwrap()?.len()));
    assert!(lengths.collect::<Vec<_>>().iter().all(|length| *length >= 2));
    let endless = Params { ignore_eos: true, ..params(1) };
    assert_eq!(write(&vocabulary, &grammar, &endless), Ok(None));
    for text in ["root ::= \"a\"{3}", "root ::= \"aaa\" ([^\\x00-\\U0010FFFF] \"b\")?"] {
        let three = vocabulary.compile(&Form::Gbnf(text.into())).unwrap();
        assert_eq!(write(&vocabulary, &three, &endless), Ok(Some("aaa".into())), "{text}");
    }
}

#[test]
fn an_answer_that_cannot_go_on_says_so() {
    let vocabulary = vocabulary();
    let grammar = vocabulary.compile(&Form::Gbnf("root ::= \"a\" \"!\"".into())).unwrap();
    let biased = Params { logit_bias: vec![(3 + u32::from(b'!'), f32::NEG_INFINITY)], ..params(1) };
    assert!(write(&vocabulary, &grammar, &biased).unwrap_err().to_string().contains("no token is left"));
    let grammar = vocabulary.compile(&Form::Gbnf("root ::= \"a\" [^\\x00-\\U0010FFFF]".into()));
    let stuck = grammar.map(|grammar| write(&vocabulary, &grammar, &params(1)));
    assert!(matches!(stuck, Err(_) | Ok(Err(_))), "{stuck:?}");
}

#[test]
fn what_is_no_form_is_refused() {
    for (schema, what) in [
        (json!(123), "expected an object"),
        (json!(false), "false allows nothing"),
        (json!({ "type": 123 }), "no schema"),
        (json!({ "type": "hiccup" }), "hiccup"),
        (json!({ "$ref": "#/nowhere" }), "nowhere"),
        (json!({ "$ref": "https://example.org/schema" }), "no schema"),
        (json!({ "type": "string", "pattern": "(" }), "no schema"),
        (json!({ "type": "array", "uniqueItems": true }), "uniqueItems"),
        (json!({ "type": "array", "contains": {} }), "contains"),
        (json!({ "not": { "type": "null" } }), "not"),
        (json!({ "enum": vec!["x"; 70_000] }), "expected at most 262144"),
    ] {
        let error = refused(&Form::Schema(schema.clone()));
        assert!(error.contains(what) && !error.contains('\n'), "{schema}: {error}");
    }
    assert_eq!(
        refused(&Form::Gbnf("a".into())),
        "no grammar in GBNF: line 1: expected ::= behind the name a, found the end"
    );
}

/// What could take long or too much memory is refused, or is over soon.
#[test]
fn hostile_forms_do_no_harm() {
    let chain = |count: usize| {
        let rules = (1..count).map(|i| format!("r{i} ::= \"a\" r{} | \"b\" r{}\n", i + 1, i + 1)).collect::<String>();
        format!("root ::= r1\n{rules}r{count} ::= \"x\" root | \"y\"\n")
    };
    let nested = |open: &str, close: &str, inner: &str| format!("{}{inner}{}", open.repeat(60), close.repeat(60));
    // As deep as the limit of a schema's bytes allows.
    let one = |i: usize| (format!("{i:x}"), json!({ "$ref": format!("#/$defs/{:x}", i + 1) }));
    let references: serde_json::Map<String, Value> = (0..8500).map(one).chain([("2134".into(), json!({}))]).collect();
    let one = |i: usize| (format!("{i:x}"), json!({ "items": { "$ref": format!("#/$defs/{:x}", i + 1) } }));
    let items: serde_json::Map<String, Value> = (0..6500).map(one).chain([("1964".into(), json!({}))]).collect();
    let forms = [
        Form::Gbnf(chain(4000)),
        Form::Gbnf(format!("root ::= {}", nested("(", "){0,2000}", "[a-z]"))),
        Form::Gbnf(format!("root ::= {}", nested("(", ")?", "[a-z]*"))),
        Form::Gbnf("root ::= ([a-z]* \"a\" [a-z]{500}){1000}".into()),
        Form::Gbnf("root ::= (\"a\" | root-b)* \nroot-b ::= \"b\" root-b root-b | \"b\"".into()),
        Form::Gbnf(format!("root ::= {}", "\"\"? ".repeat(20_000))),
        Form::Schema(json!({ "$defs": references, "$ref": "#/$defs/0" })),
        Form::Schema(json!({ "$defs": items, "$ref": "#/$defs/0" })),
        Form::Schema(json!({ "enum": vec!["x"; 70_000] })),
        Form::Schema(json!({ "$defs": { "a": { "$ref": "#/$defs/a" } }, "$ref": "#/$defs/a" })),
        Form::Schema(
            json!({ "$defs": { "a": { "allOf": [{ "$ref": "#/$defs/a" }, { "$ref": "#/$defs/a" }] } }, "$ref": "#/$defs/a" }),
        ),
        Form::Schema(json!({ "type": "string", "pattern": "^(((a{1,1000}){1,1000}){1,1000})$" })),
        Form::Schema(json!({ "type": "string", "pattern": ".*a.{200}b.{200}c" })),
        Form::Schema(json!({ "type": "string", "maxLength": u32::MAX })),
        Form::Schema(json!({ "type": "array", "minItems": u32::MAX, "maxItems": u64::MAX })),
        Form::Schema(json!({ "type": "integer", "multipleOf": 1e-300, "minimum": -1e300 })),
        Form::Schema(json!({ "x-guidance": { "whitespace_pattern": "(" }, "type": "object" })),
    ];
    let vocabulary = vocabulary();
    for form in forms {
        let start = Instant::now();
        let compiled = vocabulary.compile(&form);
        let (time, shown) = (start.elapsed(), format!("{form:?}").chars().take(80).collect::<String>());
        println!("{time:?} {shown}: {:?}", compiled.as_ref().err().map(ToString::to_string));
        assert!(time < Duration::from_secs(10), "{shown}: {time:?}");
        let Ok(grammar) = compiled else { continue };
        let mut matcher = grammar.matcher();
        let mut sampler = Sampler::new(&params(1), vocabulary.tokenizer()).unwrap();
        for _ in 0..50 {
            let Ok(Some(token)) = matcher.sample(&logits(), &mut sampler) else { break };
            if vocabulary.tokenizer().is_end(token) || matcher.accept(token).is_err() {
                break;
            }
        }
        println!("  fifty tokens: {:?}", start.elapsed() - time);
        assert!(start.elapsed() < Duration::from_secs(20), "{shown}");
    }
}
