//! Rules about single files.

use super::Problem;
use super::source::Source;
use std::collections::BTreeMap;

/// Where `unsafe` may stand: the module that reads memory, the one with intrinsics, the hosts, and one test helper.
const UNSAFE_PLACES: &[&str] =
    &["engine/src/bytes/", "engine/src/simd/", "native/src/", "wasm/src/", "tests/src/counting_allocator.rs"];

/// Macros that print.
const PRINTS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];
/// Modules of `std` that reach outside the program.
const OUTSIDE: &[&str] = &["env", "fs", "io", "net", "os", "process", "thread", "time"];

/// What must not be committed, in any text file: leftovers, and paths of somebody's machine.
const WORDS: &[&str] = &["dbg!(", "todo!(", "unimplemented!(", "TODO", "FIXME", "XXX", "/root/", "/home/"];
/// Files that are about such words, or hold text that is not ours.
const FREE_OF_WORDS: &[&str] = &["xtask/src/tidy/rules.rs", "tests/fixtures/", "Cargo.lock", "package-lock.json"];

/// What may stand at the root.
const ROOT: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitattributes",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "deploy",
    "docs",
    "engine",
    "fuzz",
    "native",
    "rustfmt.toml",
    "tests",
    "wasm",
    "web",
    "xtask",
];
const MAX_BYTES: usize = 1_000_000;

/// So many lines at most for nine functions in ten.
const SHORT_FUNCTION: usize = 38;

/// Every `unsafe` block and implementation says why it is sound; every `unsafe fn` says what its caller must see to.
pub fn safety_comments(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, token) in source.tokens.iter().enumerate().filter(|(_, token)| token.text == "unsafe") {
        let wanted = match source.tokens.get(at + 1).map(|next| next.text.as_str()) {
            Some("{" | "impl") => &["SAFETY:"][..],
            Some("fn") => &["# Safety", "SAFETY:"],
            _ => continue,
        };
        if !commented(&source.lines, token.line - 1, wanted) {
            problems.push(Problem { line: token.line, message: format!("`unsafe` without a `{}` comment", wanted[0]) });
        }
    }
    problems
}

/// Whether the comment above the statement or item that holds this line has one of the wanted words.
fn commented(lines: &[String], line: usize, wanted: &[&str]) -> bool {
    let contains = |comment: &str| wanted.iter().any(|words| comment.contains(words));
    if lines[line].split_once("//").is_some_and(|(_, comment)| contains(comment)) {
        return true;
    }
    for line in lines[..line].iter().rev().map(|line| line.trim()) {
        if line.starts_with("//") {
            if contains(line) {
                return true;
            }
        } else if !line.starts_with("#[") && (line.is_empty() || line.ends_with([';', '{', '}'])) {
            return false;
        }
    }
    false
}

/// `unsafe` only where [`UNSAFE_PLACES`] says.
pub fn unsafe_places(source: &Source) -> Vec<Problem> {
    if UNSAFE_PLACES.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let found = source.tokens.iter().filter(|token| token.text == "unsafe");
    found.map(|token| Problem { line: token.line, message: "`unsafe` outside its places".into() }).collect()
}

/// The engine prints nothing and reaches nothing outside itself; its tests may.
pub fn engine_is_quiet(source: &Source) -> Vec<Problem> {
    if !source.path.starts_with("engine/src/") {
        return Vec::new();
    }
    let is = |at: &usize, names: &[&str]| {
        let token = &source.tokens[*at];
        !token.test && names.contains(&token.text.as_str())
    };
    let prints = (0..source.tokens.len()).filter(|at| is(at, PRINTS) && source.matches(at + 1, &["!"]));
    let outside = source.names_after("std").into_iter().filter(|at| is(at, OUTSIDE));
    let problem = |at: usize| {
        let token = &source.tokens[at];
        Problem { line: token.line, message: format!("the engine may not use `{}`", token.text) }
    };
    prints.chain(outside).map(problem).collect()
}

/// Only what belongs at the root stands there, and nothing is big.
pub fn place_and_size(path: &str, bytes: usize) -> Vec<Problem> {
    let mut problems = Vec::new();
    let first = path.split('/').next().unwrap_or_default();
    if !ROOT.contains(&first) {
        problems.push(Problem { line: 1, message: format!("`{first}` does not belong at the root") });
    }
    if bytes > MAX_BYTES {
        problems.push(Problem { line: 1, message: format!("{bytes} bytes, at most {MAX_BYTES} are allowed") });
    }
    problems
}

/// Words that must not be committed.
pub fn words(path: &str, text: &str) -> Vec<Problem> {
    if FREE_OF_WORDS.iter().any(|free| path.starts_with(free) || path.ends_with(free)) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let found = WORDS.iter().filter(|word| line.contains(**word));
        problems.extend(found.map(|word| Problem { line: at + 1, message: format!("`{word}`") }));
    }
    problems
}

/// How long the functions of each crate are.
#[derive(Default)]
pub struct FunctionLengths {
    crates: BTreeMap<String, Vec<usize>>,
}

impl FunctionLengths {
    pub fn add(&mut self, source: &Source) {
        let first = source.path.split('/').next().unwrap_or_default();
        let lengths = self.crates.entry(first.to_string()).or_default();
        for at in (0..source.tokens.len()).filter(|&at| source.tokens[at].text == "fn") {
            let mut body = at;
            while body < source.tokens.len() && !matches!(source.tokens[body].text.as_str(), "{" | ";") {
                let opens = matches!(source.tokens[body].text.as_str(), "(" | "[");
                body = if opens { source.closing(body) } else { body } + 1;
            }
            if source.matches(body, &["{"]) {
                lengths.push(source.tokens[source.closing(body)].line + 1 - source.tokens[at].line);
            }
        }
    }

    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, lengths) in &self.crates {
            let long = lengths.iter().filter(|&&lines| lines >= SHORT_FUNCTION).count();
            if long * 10 > lengths.len() {
                let all = lengths.len();
                problems
                    .push(format!("{name}: {long} of {all} functions have {SHORT_FUNCTION} lines or more, over 10%"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::new(path, text).unwrap()
    }

    fn lines(problems: Vec<Problem>) -> Vec<usize> {
        problems.into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn unsafe_without_a_reason_is_found() {
        let text = "
fn f() {
    // SAFETY: p is valid.
    let x =
        unsafe { *p };
    let y = unsafe { *p };
    // A comment about something else.
    unsafe { g() }
}
unsafe impl Send for X {}
/// Reads.
pub unsafe fn h() {}
/// # Safety
/// p must be valid.
#[inline]
pub unsafe fn i() {}";
        assert_eq!(lines(safety_comments(&source("engine/src/simd/x.rs", text))), [6, 8, 10, 12]);
    }

    #[test]
    fn unsafe_outside_its_places_is_found() {
        let text = "// unsafe\nfn f() { unsafe { g() } }";
        assert_eq!(lines(unsafe_places(&source("engine/src/kernels/mod.rs", text))), [2]);
        assert_eq!(lines(unsafe_places(&source("engine/src/simd/avx2.rs", text))), [0; 0]);
    }

    #[test]
    fn a_noisy_engine_is_found() {
        let text = "use std::{fmt, thread};\nfn f() { println!(); }\nfn g() { std::fs::read(p) }\n\
                    #[cfg(test)]\nmod tests { fn t() { println!(); } }";
        assert_eq!(lines(engine_is_quiet(&source("engine/src/math.rs", text))), [2, 1, 3]);
        assert_eq!(lines(engine_is_quiet(&source("native/src/main.rs", text))), [0; 0]);
    }

    #[test]
    fn strangers_at_the_root_and_big_files_are_found() {
        assert_eq!(place_and_size("NOTES.md", 10).len(), 1);
        assert_eq!(place_and_size("scratch/a.rs", 10).len(), 1);
        assert_eq!(place_and_size("tests/fixtures/a.gguf", MAX_BYTES + 1).len(), 1);
        assert_eq!(place_and_size("engine/src/lib.rs", MAX_BYTES).len(), 0);
    }

    #[test]
    fn leftovers_are_found() {
        assert_eq!(lines(words("engine/src/math.rs", "fn f() {\n    todo!()\n}\n// TODO: finish")), [2, 4]);
        assert_eq!(lines(words("README.md", "see /home/me/notes")), [1]);
        assert_eq!(lines(words("README.md", "Todo lists are fine.")), [0; 0]);
    }

    #[test]
    fn long_functions_are_counted() {
        let long = format!("fn long(a: [u8; 4]) -> u8 {{\n{}}}\n", "    f();\n".repeat(36));
        let short = "fn short() {}\ntrait T { fn declared(&self); }\n";
        let check = |text: &str| {
            let mut lengths = FunctionLengths::default();
            lengths.add(&source("engine/src/math.rs", text));
            lengths.problems()
        };
        assert_eq!(check(&long).len(), 1);
        assert_eq!(check(&long.replace("    f();\n}", "}")).len(), 0);
        assert_eq!(check(&(long + &short.repeat(9))).len(), 0);
    }
}
