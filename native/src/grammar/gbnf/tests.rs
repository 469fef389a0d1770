use std::collections::BTreeSet;

use llguidance::ParserFactory;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{INVALID_TOKEN, TokRxInfo, TokTrie};
use proptest::prelude::*;

use super::super::vocabulary::{compile, factory};
use super::*;

/// The tokens are the bytes.
fn bytes() -> ParserFactory {
    let words: Vec<Vec<u8>> = (0..255).map(|byte| vec![byte]).collect();
    factory(TokTrie::from(&TokRxInfo::new(255, INVALID_TOKEN), &words))
}

/// Matches texts against a grammar that is written in two ways: as one terminal where it can be, and as rules.
struct Both(Vec<llguidance::Matcher>);

impl Both {
    fn new(text: &str) -> Self {
        let factory = bytes();
        let rules = parse::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let lark = |flat| lark::write(&rules, flat);
        let texts = [Some(lark(false)), check::is_flat(&rules).then(|| lark(true))];
        let compile = |lark: String| {
            compile(|| &factory, TopLevelGrammar::from_lark(lark.clone()))
                .unwrap_or_else(|error| panic!("{text}\n{lark}: {error}"))
        };
        Self(texts.into_iter().flatten().map(compile).collect())
    }

    fn matches(&self, text: &str) -> bool {
        let found: Vec<bool> = self.0.iter().map(|matcher| matches(matcher.deep_clone(), text)).collect();
        assert!(found.iter().all(|one| *one == found[0]), "{text:?}: {found:?}");
        found[0]
    }
}

fn matches(mut matcher: llguidance::Matcher, text: &str) -> bool {
    let tokens: Vec<u32> = text.bytes().map(u32::from).collect();
    let taken = tokens.iter().all(|token| !matcher.is_stopped() && matcher.try_consume_tokens(&[*token]).unwrap() == 1);
    taken && (matcher.is_stopped() || matcher.is_accepting().unwrap())
}

fn check(grammar: &str, good: &[&str], bad: &[&str]) {
    let both = Both::new(grammar);
    for text in good {
        assert!(both.matches(text), "{grammar}: {text:?}");
    }
    for text in bad {
        assert!(!both.matches(text), "{grammar}: {text:?}");
    }
}

#[test]
fn texts_and_alternatives() {
    check("root ::= \"abc\"", &["abc"], &["", "ab", "abcd", "abd"]);
    check("root ::= (\"a\" | \"ab\") \"bc\"", &["abc", "abbc"], &["ab", "abcc", "ac"]);
    check("root ::= \"a\" | | \"b\"", &["a", "", "b"], &["ab"]);
    check("root ::= \"\"", &[""], &["a"]);
    check("root ::= \"\" \"a\" \"\"", &["a"], &[""]);
}

#[test]
fn repetitions() {
    check("root ::= \"ab\"*", &["", "ab", "abab"], &["a", "aba"]);
    check("root ::= \"ab\"+ \"c\"?", &["ab", "ababc"], &["", "c"]);
    check("root ::= \"a\"{3}", &["aaa"], &["aa", "aaaa"]);
    check("root ::= \"a\"{2,}", &["aa", "aaaaa"], &["a"]);
    check("root ::= \"a\"{,2} \"b\"", &["b", "aab"], &["aaab"]);
    check("root ::= \"a\"{ 2 , 3 }", &["aa", "aaa"], &["a", "aaaa"]);
    check("root ::= \"a\"{0} \"b\"", &["b"], &["ab"]);
    check("root ::= \"a\"{2}{2}", &["aaaa"], &["aa", "aaa"]);
    check("root ::= (\"a\"*)* \"b\"", &["b", "aab"], &["a"]);
    check("root ::= \"a\"{11,1000}", &[&"a".repeat(11), &"a".repeat(1000)], &[&"a".repeat(10), &"a".repeat(1001)]);
}

#[test]
fn characters() {
    check("root ::= [a-cx-]+", &["abcx-"], &["d", "y"]);
    check("root ::= [^a-c\\n]", &["d", "ä", "\u{10ffff}"], &["a", "\n", ""]);
    check("root ::= [ぁ-ゟ]+ \"é\"", &["ひらがなé"], &["カé", "ひ"]);
    check("root ::= . .", &["a\n", "é\0"], &["a", "abc"]);
    check(r#"root ::= "\x41\u00e9\U0001F600\n\r\t\\\"\[\]""#, &["Aé😀\n\r\t\\\"[]"], &["A"]);
    check(r#"root ::= [\]\[\\"/-]+ "/""#, &["[]\\\"-/", "//"], &["a/"]);
    check("root ::= [^\\]-]", &["a"], &["]", "-"]);
}

#[test]
fn rules_over_several_lines() {
    let grammar = "# a list\nroot ::= (\n  \"- \" item # one\n  \"\\n\"\n)+\n\nitem ::= a-1 |\n  \"b\"\r\na-1 ::=\n \"a\" a-1? # again\n";
    check(grammar, &["- aaa\n", "- a\n- b\n"], &["- a", "- ab\n"]);
}

/// JSON objects.
const JSON: &str = r#"
root   ::= object
value  ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws ( member ("," ws member)* )? "}" ws
member ::= string ws ":" ws value ws
array  ::= "[" ws ( value ws ("," ws value ws)* )? "]"
string ::= "\"" ( [^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}) )* "\""
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [+-]? [0-9]+)?
ws     ::= [ \t\n]*
"#;

#[test]
fn rules_that_contain_themselves() {
    check("root ::= \"(\" root \")\" | \"x\"", &["x", "((x))"], &["((x)", "(x))", ""]);
    check("root ::= [a-z]+ (\" \" root)?", &["ab c def"], &["ab ", " a"]);
    check(
        JSON,
        &["{}", r#"{"a": [1, -2.5e3, "x\u00e9\n", true, null], "b": {}}"#],
        &["", "[]", "{\"a\"}", "{\"a\": 01}", "{\"a\": \"\n\"}"],
    );
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let long = format!("root ::= {}\"a\"{}", "(".repeat(100), ")".repeat(100));
    for (grammar, line, what) in [
        ("", 1, "there is no rule root"),
        ("item ::= \"a\"", 1, "there is no rule root"),
        ("root ::= \"a\"\n\nb ::= c\n", 3, "there is no rule c"),
        ("root = \"a\"", 1, "expected ::= behind the name root, found \"= \\\"a\\\"\""),
        ("root ::= \"a\"\n&", 2, "expected the name of a rule"),
        ("root ::= this is (not valid GBNF", 1, "expected a ) for the ( of line 1, found the end"),
        ("root ::= \"a\n\"\nb ::= \"c", 3, "expected a \" for the one of line 3"),
        ("root ::= [a", 1, "expected a ] for the [ of line 1"),
        ("root ::= []", 1, "the class is empty"),
        ("root ::= [z-a]", 1, "the range 'z'-'a' is empty"),
        ("root ::= \"\\q\"", 1, "unknown escape \\q"),
        ("root ::= \"\\x4\"", 1, "expected 2 hexadecimal digits"),
        ("root ::= \"\\uD800\"", 1, "there is no character D800"),
        ("root ::= \"a\"{3,2}", 1, "{3,2} allows nothing"),
        ("root ::= \"a\"{}", 1, "expected {m}, {m,}, {,n} or {m,n}"),
        ("root ::= \"a\"{9999}", 1, "expected at most 2000 repetitions"),
        ("root ::= * \"a\"", 1, "expected the end of rule root"),
        ("root ::= \"a\"\nroot ::= \"b\"", 2, "there are two rules root"),
        ("root ::= <think>", 1, "tokens are not supported"),
        ("root ::= a\n\na ::= b? a \"x\"\nb ::= \"y\"", 3, "rule a may begin with itself"),
        ("root ::= \"x\" (b | root)\nb ::= c\nc ::= \"\" b", 2, "may begin with itself"),
        (&long, 1, "expected at most 64 groups within each other"),
    ] {
        let error = to_lark(grammar).expect_err(grammar);
        assert_eq!(error.line, line, "{grammar}: {error}");
        assert!(error.what.contains(what), "{grammar}: {error}");
    }
}

/// A part of a random grammar.
#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Class(String),
    Group(Vec<Vec<Part>>),
    Repeated(Box<Part>, u32, Option<u32>),
    /// The root again, behind something.
    Root(String),
}

impl Part {
    fn write(&self) -> String {
        match self {
            Part::Text(text) => format!("\"{text}\""),
            Part::Class(class) => format!("[{class}]"),
            Part::Group(alternatives) => format!("({})", write(alternatives)),
            Part::Repeated(part, least, most) => {
                let most = most.map_or(String::new(), |most| most.to_string());
                format!("{}{{{least},{most}}}", part.write())
            }
            Part::Root(text) => format!("(\"{text}\" root)"),
        }
    }

    /// Where in a text this part may end, if it begins at one of these places.
    fn ends(&self, text: &[u8], from: &BTreeSet<usize>, root: &[Vec<Part>]) -> BTreeSet<usize> {
        match self {
            Part::Text(own) => behind(text, from, own),
            Part::Class(class) => from
                .iter()
                .filter(|at| text.get(**at).is_some_and(|byte| class.as_bytes().contains(byte)))
                .map(|at| at + 1)
                .collect(),
            Part::Group(alternatives) => ends(alternatives, text, from, root),
            Part::Repeated(part, least, most) => {
                let mut all = BTreeSet::new();
                let mut here = from.clone();
                // More repetitions than characters reach no further.
                for count in 0..=most.unwrap_or(least + text.len() as u32 + 1) {
                    if count >= *least {
                        all.extend(here.iter().copied());
                    }
                    here = part.ends(text, &here, root);
                }
                all
            }
            Part::Root(own) => match behind(text, from, own) {
                from if from.is_empty() => from,
                from => ends(root, text, &from, root),
            },
        }
    }
}

fn write(alternatives: &[Vec<Part>]) -> String {
    let sequence = |parts: &Vec<Part>| parts.iter().map(Part::write).collect::<Vec<_>>().join(" ");
    alternatives.iter().map(sequence).collect::<Vec<_>>().join(" | ")
}

fn behind(text: &[u8], from: &BTreeSet<usize>, own: &str) -> BTreeSet<usize> {
    from.iter().filter(|at| text[**at..].starts_with(own.as_bytes())).map(|at| at + own.len()).collect()
}

fn ends(alternatives: &[Vec<Part>], text: &[u8], from: &BTreeSet<usize>, root: &[Vec<Part>]) -> BTreeSet<usize> {
    let sequence = |parts: &Vec<Part>| parts.iter().fold(from.clone(), |from, part| part.ends(text, &from, root));
    alternatives.iter().flat_map(sequence).collect()
}

fn alternatives(recursive: bool) -> impl Strategy<Value = Vec<Vec<Part>>> {
    let text = "[ab]{0,2}".prop_map(Part::Text);
    let class = prop_oneof![Just("a"), Just("ab"), Just("bc")].prop_map(|class| Part::Class(class.into()));
    let root = if recursive { "[ab]{1,2}".prop_map(Part::Root).boxed() } else { "c".prop_map(Part::Text).boxed() };
    let part = prop_oneof![4 => text, 3 => class, 1 => root].prop_recursive(2, 8, 3, |part| {
        let sequences = prop::collection::vec(prop::collection::vec(part.clone(), 0..3), 1..3);
        let bounds =
            prop_oneof![Just((0, None)), Just((1, None)), Just((0, Some(1))), Just((2, Some(3))), Just((2, None))];
        let repeated = (part, bounds).prop_map(|(part, (least, most))| Part::Repeated(Box::new(part), least, most));
        prop_oneof![sequences.prop_map(Part::Group), repeated]
    });
    prop::collection::vec(prop::collection::vec(part, 0..4), 1..3)
}

/// All texts of up to so many of these letters.
fn texts(letters: &str, longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        last = last.iter().flat_map(|text| letters.chars().map(move |letter| format!("{text}{letter}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn agrees(root: &[Vec<Part>]) -> Result<(), TestCaseError> {
    let grammar = format!("root ::= {}", write(root));
    let both = Both::new(&grammar);
    for text in texts("abc", 5) {
        let naive = ends(root, text.as_bytes(), &BTreeSet::from([0]), root).contains(&text.len());
        prop_assert_eq!(both.matches(&text), naive, "{}: {:?}", grammar, text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn flat_grammars_match_what_a_naive_recognizer_does(root in alternatives(false)) {
        agrees(&root)?;
    }

    #[test]
    fn recursive_grammars_match_what_a_naive_recognizer_does(root in alternatives(true)) {
        agrees(&root)?;
    }

    #[test]
    fn any_text_is_a_grammar_or_an_error(text in "(root ::= )?[a-c\"\\[\\](){}|*+?:=^\\\\x0-9,. \n#-]{0,40}") {
        to_lark(&text).ok();
    }
}
