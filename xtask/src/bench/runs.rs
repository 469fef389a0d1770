//! Running the two programs in turn, and reading what they print.

use super::Case;
use super::machine::Machine;
use super::statistics::{median, range, ratios};
use crate::Outcome;
use crate::process::program;
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// What is run.
pub struct Programs {
    pub woolly: PathBuf,
    /// llama-bench.
    pub peer: Option<PathBuf>,
}

/// What all cases have in common.
pub struct Settings {
    pub prompt: Vec<usize>,
    pub generate: Vec<usize>,
    pub kv: String,
    pub rounds: usize,
}

/// A test, as both programs name it in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Test {
    pub n_prompt: usize,
    pub n_gen: usize,
    pub n_depth: usize,
}

/// One result of either program.
#[derive(Debug, Deserialize)]
struct Row {
    #[serde(flatten)]
    test: Test,
    avg_ts: f64,
    #[serde(default)]
    cpu_info: String,
    /// A number or a truth value, by llama.cpp's age.
    #[serde(default)]
    flash_attn: Value,
}

/// All rounds of a test: tokens per second.
pub struct Measured {
    pub model: String,
    pub threads: usize,
    pub test: Test,
    pub woolly: Vec<f64>,
    pub peer: Option<PeerSpeeds>,
}

/// The peer's rounds of a test.
#[derive(Default)]
pub struct PeerSpeeds {
    /// Without flash attention; empty where the peer cannot do that.
    pub plain: Vec<f64>,
    /// With it.
    pub flash: Vec<f64>,
}

impl PeerSpeeds {
    /// Whether flash attention is faster.
    pub fn is_flash(&self) -> bool {
        median(&self.flash) > median(&self.plain)
    }

    /// The rounds of the faster one.
    pub fn better(&self) -> &[f64] {
        if self.is_flash() { &self.flash } else { &self.plain }
    }
}

impl Measured {
    /// The ratio of the medians, and the smallest and the largest ratio within a round.
    pub fn ratio(&self) -> Option<(f64, (f64, f64))> {
        let theirs = self.peer.as_ref()?.better();
        Some((median(&self.woolly) / median(theirs), range(&ratios(&self.woolly, theirs))))
    }
}

impl Test {
    /// As llama-bench writes it.
    pub fn label(&self) -> String {
        let kind = if self.n_gen == 0 { format!("pp{}", self.n_prompt) } else { format!("tg{}", self.n_gen) };
        if self.n_depth == 0 { kind } else { format!("{kind} @ d{}", self.n_depth) }
    }
}

/// All tests of a case at one depth, in turn.
pub fn measure(
    programs: &Programs,
    case: &Case,
    settings: &Settings,
    depth: usize,
    machine: &mut Machine,
) -> Outcome<Vec<Measured>> {
    let peer = || programs.peer.as_ref().map(|_| PeerSpeeds::default());
    let of =
        |test| Measured { model: case.name.clone(), threads: case.threads, test, woolly: Vec::new(), peer: peer() };
    let mut results: Vec<Measured> = tests(settings, depth).map(of).collect();
    for round in 1..=settings.rounds {
        eprintln!("{}, threads {}, depth {depth}: round {round} of {}", case.name, case.threads, settings.rounds);
        machine.look_at_others();
        let rows = rows(&mut woolly(programs, case, settings, depth))?;
        for measured in &mut results {
            measured.woolly.push(speed(&rows, measured.test, None)?);
        }
        machine.set_processor(&rows[0].cpu_info);
        if let Some(program) = &programs.peer {
            let rows = self::rows(&mut llama_bench(program, case, settings, depth))?;
            for measured in &mut results {
                let speeds = measured.peer.get_or_insert_default();
                if has_plain_attention(settings) {
                    speeds.plain.push(speed(&rows, measured.test, Some(false))?);
                }
                speeds.flash.push(speed(&rows, measured.test, Some(true))?);
            }
        }
    }
    Ok(results)
}

fn tests(settings: &Settings, depth: usize) -> impl Iterator<Item = Test> {
    let prompts = settings.prompt.iter().map(move |&n_prompt| Test { n_prompt, n_gen: 0, n_depth: depth });
    let generations = settings.generate.iter().map(move |&n_gen| Test { n_prompt: 0, n_gen, n_depth: depth });
    prompts.chain(generations).filter(|test| test.n_prompt + test.n_gen > 0)
}

fn woolly(programs: &Programs, case: &Case, settings: &Settings, depth: usize) -> Command {
    let mut command = program(&programs.woolly);
    command.arg("bench").arg(&case.file).args(common(case, settings, depth)).args(["--kv", &settings.kv]);
    command
}

fn llama_bench(bin: &PathBuf, case: &Case, settings: &Settings, depth: usize) -> Command {
    let mut command = program(bin);
    command.arg("-m").arg(&case.file).args(common(case, settings, depth));
    command.args(["-ctk", &settings.kv, "-ctv", &settings.kv, "-ngl", "0"]);
    command.args(["-fa", if has_plain_attention(settings) { "0,1" } else { "1" }]);
    command
}

/// llama.cpp keeps quantized values with flash attention alone.
fn has_plain_attention(settings: &Settings) -> bool {
    matches!(settings.kv.as_str(), "f16" | "f32" | "bf16")
}

/// Options that both programs have.
fn common(case: &Case, settings: &Settings, depth: usize) -> Vec<String> {
    let list = |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let (threads, prompt, generate) = (case.threads.to_string(), list(&settings.prompt), list(&settings.generate));
    let depth = depth.to_string();
    let options = [("-t", &*threads), ("-p", &prompt), ("-n", &generate), ("-d", &depth), ("-r", "1"), ("-o", "json")];
    options.into_iter().flat_map(|(name, value)| [name.to_string(), value.to_string()]).collect()
}

/// What a program prints. What it says on the side is shown only where it fails.
fn rows(command: &mut Command) -> Outcome<Vec<Row>> {
    let output = command.output().map_err(|error| format!("cannot start {:?}: {error}", command.get_program()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {command:?}\n{}", output.status, said.trim_end()).into());
    }
    parse(&String::from_utf8_lossy(&output.stdout)).map_err(|error| format!("{command:?}: {error}").into())
}

fn parse(printed: &str) -> Outcome<Vec<Row>> {
    let rows: Vec<Row> = serde_json::from_str(printed)?;
    if rows.is_empty() { Err("no results".into()) } else { Ok(rows) }
}

/// The speed of a test, with or without flash attention where that is a question.
fn speed(rows: &[Row], test: Test, flash: Option<bool>) -> Outcome<f64> {
    let is_flash = |row: &Row| row.flash_attn == Value::Bool(true) || row.flash_attn.as_i64().is_some_and(|fa| fa > 0);
    let found = rows.iter().find(|row| row.test == test && flash.is_none_or(|flash| is_flash(row) == flash));
    found.map(|row| row.avg_ts).ok_or_else(|| format!("no result for {}", test.label()).into())
}

#[cfg(test)]
mod unit {
    use super::*;

    fn settings(kv: &str) -> Settings {
        Settings { prompt: vec![512, 0], generate: vec![64], kv: kv.into(), rounds: 2 }
    }

    fn words(command: &Command) -> String {
        command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn both_programs_get_the_same_settings() {
        let case: Case = "m.gguf:3".parse().unwrap();
        let programs = Programs { woolly: "woolly".into(), peer: None };
        let same = "-t 3 -p 512,0 -n 64 -d 9 -r 1 -o json";
        let command = woolly(&programs, &case, &settings("f32"), 9);
        assert_eq!(words(&command), format!("bench m.gguf {same} --kv f32"));
        let command = llama_bench(&"llama-bench".into(), &case, &settings("f32"), 9);
        assert_eq!(words(&command), format!("-m m.gguf {same} -ctk f32 -ctv f32 -ngl 0 -fa 0,1"));
        let command = llama_bench(&"llama-bench".into(), &case, &settings("q8_0"), 9);
        assert!(words(&command).ends_with("-ctv q8_0 -ngl 0 -fa 1"));
    }

    #[test]
    fn tests_of_no_length_are_left_out() {
        let labels: Vec<String> = tests(&settings("f16"), 7).map(|test| test.label()).collect();
        assert_eq!(labels, ["pp512 @ d7", "tg64 @ d7"]);
    }

    #[test]
    fn rows_of_every_age_are_read() {
        let row = |test: &str, flash: &str, speed: f64| {
            format!(
                "{{ {test}, \"n_depth\": 0, \"flash_attn\": {flash}, \"avg_ts\": {speed}, \"cpu_info\": \"C\", \"x\": [1] }}"
            )
        };
        let (prompt, generate) = ("\"n_prompt\": 8, \"n_gen\": 0", "\"n_prompt\": 0, \"n_gen\": 4");
        let text =
            [row(prompt, "0", 1.0), row(prompt, "1", 2.0), row(generate, "false", 3.0), row(generate, "true", 4.0)];
        let rows = parse(&format!("[{}]", text.join(","))).unwrap();
        let [prompt, generate] = [(8, 0), (0, 4)].map(|(n_prompt, n_gen)| Test { n_prompt, n_gen, n_depth: 0 });
        let found = [(prompt, false), (prompt, true), (generate, false), (generate, true)];
        assert_eq!(found.map(|(test, flash)| speed(&rows, test, Some(flash)).unwrap()), [1.0, 2.0, 3.0, 4.0]);
        let other = Test { n_depth: 1, ..prompt };
        assert_eq!(speed(&rows, other, None).unwrap_err().to_string(), "no result for pp8 @ d1");
        assert!(parse("[]").is_err() && parse("error").is_err());
    }

    #[test]
    fn the_faster_attention_counts() {
        let test = Test { n_prompt: 8, n_gen: 0, n_depth: 0 };
        let speeds = PeerSpeeds { plain: vec![1.0, 2.0, 9.0], flash: vec![3.0, 4.0, 5.0] };
        let mut measured =
            Measured { model: "m".into(), threads: 1, test, woolly: vec![6.0, 12.0, 5.0], peer: Some(speeds) };
        assert_eq!(measured.ratio(), Some((1.5, (1.0, 3.0))));
        measured.peer = None;
        assert_eq!(measured.ratio(), None);
    }
}
