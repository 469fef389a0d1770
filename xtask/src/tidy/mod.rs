//! `cargo xtask tidy`: the rules of ARCHITECTURE.md that a compiler does not check.
//!
//! A rule is a function from one source file to its problems. Rust files are read as tokens, so that comments, strings
//! and line breaks neither hide a problem nor make one up; a rule about comments looks at the lines.

mod layers;
mod rules;
mod source;

use crate::Outcome;
use crate::process::{output, program, root};
use source::Source;

/// Something wrong, and the line where.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    line: usize,
    message: String,
}

const RUST_RULES: &[fn(&Source) -> Vec<Problem>] =
    &[layers::check, rules::safety_comments, rules::unsafe_places, rules::engine_is_quiet];

/// Checks all files that Git has or would add; prints every problem.
pub fn run() -> Outcome {
    let mut problems = Vec::new();
    let mut lengths = rules::FunctionLengths::default();
    for path in files()? {
        let bytes = std::fs::read(root().join(&path))?;
        let mut found = rules::place_and_size(&path, bytes.len());
        if let Ok(text) = String::from_utf8(bytes) {
            found.extend(rules::words(&path, &text));
            if path.ends_with(".rs") {
                let source = Source::new(&path, &text)?;
                found.extend(RUST_RULES.iter().flat_map(|rule| rule(&source)));
                lengths.add(&source);
            }
        }
        problems.extend(found.into_iter().map(|problem| format!("{path}:{}: {}", problem.line, problem.message)));
    }
    problems.extend(lengths.problems());
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    if problems.is_empty() { Ok(()) } else { Err(format!("{} problems", problems.len()).into()) }
}

/// Paths from the root, with `/`.
fn files() -> Outcome<Vec<String>> {
    let list = output(program("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    let present = |path: &&str| !path.is_empty() && root().join(path).exists();
    Ok(list.split('\0').filter(present).map(String::from).collect())
}
