use super::{
    super::unicode::{category, classify},
    *,
};
use alloc::{string::String, string::ToString, vec::Vec};

/// The pieces a text is cut into.
fn pieces(pattern: &str, text: &str) -> Vec<String> {
    let chars = classify(text.as_bytes());
    let mut rest = text.chars();
    let mut pieces = Vec::new();
    Pattern::new(pattern).split(&chars, |len| pieces.push(rest.by_ref().take(len).collect()));
    assert_eq!(rest.next(), None, "pieces cover the text");
    pieces
}

#[track_caller]
fn check(pattern: &str, text: &str, expected: &[&str]) {
    assert_eq!(pieces(pattern, text), expected, "{pattern} on {text:?}");
}

#[test]
fn what_lies_between_matches_is_a_piece() {
    check("[0-9]", "ab12c", &["ab", "1", "2", "c"]);
    check("x", "", &[]);
    check("x", "abc", &["abc"]);
}

#[test]
fn the_first_alternative_wins_not_the_longest() {
    check("a|ab|c", "abc", &["a", "b", "c"]);
    check("ab|a|c", "abac", &["ab", "a", "c"]);
}

#[test]
fn quantifiers_are_greedy_and_give_back() {
    check("a?b", "aabb", &["a", "ab", "b"]);
    check("a*ab", "aaab", &["aaab"]);
    check("a+ab", "ab aab", &["ab ", "aab"]);
    check("a{2}", "aaaaa", &["aa", "aa", "a"]);
    check("a{1,3}", "aaaaa", &["aaa", "aa"]);
    check("a{1,3}ab", "aaaaab aab", &["a", "aaaab", " ", "aab"]);
}

#[test]
fn groups_repeat() {
    check("(ab)+", "ababxab", &["abab", "x", "ab"]);
    check("x(ab|c)*y", "xabcaby xy xby", &["xabcaby", " ", "xy", " xby"]);
    check("a(b|c)?d", "abd acd ad abcd", &["abd", " ", "acd", " ", "ad", " abcd"]);
}

#[test]
fn look_ahead_takes_nothing() {
    check("\\s+(?!\\S)", "a   b  ", &["a", "  ", " b", "  "]);
    check("a(?=b)", "abac", &["a", "bac"]);
    check("\\s+$", " a  ", &[" a", "  "]);
    check("((?![bc])[a-z])+", "xabyc", &["xa", "b", "y", "c"]);
}

#[test]
fn classes() {
    check("[^a-c\\d]+", "abXY9Z", &["ab", "XY", "9", "Z"]);
    check("[a\\-z]+", "a-mz-", &["a-", "m", "z-"]);
    check("[\\]\\[]+", "a[]b", &["a", "[]", "b"]);
    check("[\\p{L}--[a-z]]+", "aBÉé", &["a", "BÉé"]);
    check("\\p{N}+", "1²Ⅷa", &["1²Ⅷ", "a"]);
    check("\\p{P}+", "!«a$", &["!«", "a$"]);
    check("\\p{S}+", "€+!", &["€+", "!"]);
    check("\\p{M}", "e\u{301}", &["e", "\u{301}"]);
    check("[一-龥]+", "a中文b", &["a", "中文", "b"]);
    check("[^\\s\\p{L}]+", "a\u{3000}1é", &["a\u{3000}", "1", "é"]);
}

#[test]
fn category_l_in_ascii_is_the_letters() {
    let ascii: String = (0..128u8).map(char::from).collect();
    let letters: Vec<_> = pieces("\\p{L}", &ascii).into_iter().filter(|piece| piece.len() == 1).collect();
    let expected: Vec<_> = ('A'..='Z').chain('a'..='z').map(|c| c.to_string()).collect();
    assert_eq!(letters, expected);
}

/// In ASCII each character but the spaces and controls belongs to exactly one of the categories, as beyond it.
#[test]
fn categories_agree_with_the_table_in_ascii() {
    for code in 0..128u8 {
        let text = [code];
        for (name, of) in [
            ("L", Category::Letter),
            ("N", Category::Number),
            ("M", Category::Mark),
            ("P", Category::Punctuation),
            ("S", Category::Symbol),
        ] {
            let class = &Pattern::new(&alloc::format!("\\p{{{name}}}")).classes[0];
            assert_eq!(class.has(classify(&text)[0]), category(code.into()) == of, "{code} {name}");
        }
    }
}

/// How many steps it takes to split a text, for each of its characters.
pub(in super::super) fn work_per_char(pattern: &Pattern, chars: &[Char]) -> usize {
    let mut matcher = Matcher::new(pattern, chars);
    matcher.split(|_| ());
    matcher.work / chars.len()
}

#[test]
fn a_run_that_fails_at_every_length_is_not_tried_again() {
    let spaces = classify((" ".repeat(1 << 16) + "x").as_bytes());
    for pattern in ["\\s+$", "\\s*[\\r\\n]+", "\\s+(?!\\S)", "(\\s*\\n|\\s+y)z"] {
        assert!(work_per_char(&Pattern::new(pattern), &spaces) < 10, "{pattern}");
    }
}

#[test]
#[should_panic(expected = "unbalanced")]
fn a_malformed_rule_is_noticed() {
    Pattern::new("a)b");
}
