//! The program as its users see it: what it prints, where, and how it ends.

mod common;

use std::io::{BufRead, BufReader, Read, Write};

use common::{Stage, text};
use serde_json::{Value, json};
use woolly_engine::simd::Level;

const GREEDY: [&str; 6] = ["--temp", "0", "-n", "12", "-c", "200"];

fn args<'a>(first: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [first, rest].concat()
}

#[test]
fn help_shows_examples_and_versions_agree() {
    let stage = Stage::new();
    assert_eq!(stage.run(&["--version"]).ok(), format!("woolly {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["run", "chat", "pull", "inspect", "tokenize", "template", "perplexity", "logits", "bench"] {
        let help = stage.run(&["help", command]).ok();
        assert!(help.contains("Examples:") && help.contains(&format!("woolly {command} ")), "{help}");
    }
    stage.run(&[]).fails(2, &["Usage: woolly"]);
    stage.run(&["dance"]).fails(2, &["dance"]);
}

#[test]
fn completions_for_every_shell() {
    let stage = Stage::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = stage.run(&["completions", shell]).ok();
        assert!(script.contains("perplexity") && script.contains("woolly"), "{shell}");
    }
}

#[test]
fn models_that_are_missing_or_broken() {
    let stage = Stage::new();
    stage.run(&["inspect", "./none.gguf"]).fails(6, &["none.gguf"]);
    stage.write("text.gguf", "This is a text, and a text is no model.");
    stage.run(&["inspect", "text.gguf"]).fails(3, &["text.gguf"]);
    let model = stage.read("tiny.gguf");
    stage.write("cut.gguf", &model[..model.len() - 1000]);
    stage.run(&["run", "./cut.gguf", "Hi"]).fails(3, &["cut.gguf", "past the end"]);
    stage.run(&["--offline", "run", "no-such-model", "Hi"]).fails(6, &["no-such-model"]);
}

#[test]
fn list_and_rm_on_an_empty_cache() {
    let stage = Stage::new();
    assert_eq!(stage.run(&["list"]).ok(), "");
    assert_eq!(stage.run(&["list", "--json"]).json(), json!([]));
    stage.run(&["rm", "nothing"]).fails(6, &["nothing"]);
    stage.run(&["--offline", "pull", "hf:a/b:Q4_0"]).fails(6, &["hf:a/b"]);
}

#[test]
fn inspect_counts_what_is_there() {
    let stage = Stage::new();
    let all = stage.run(&["inspect", "./tiny.gguf", "--json", "-c", "100"]).json();
    assert_eq!(all["metadata"]["general.architecture"], "llama");
    assert_eq!(all["metadata"]["tokenizer.ggml.tokens"].as_array().unwrap().len(), 311);
    let count = |key: &str| all["tensors"].as_array().unwrap().iter().map(|t| t[key].as_u64().unwrap()).sum::<u64>();
    let parameters = all["parameters"].as_u64().unwrap();
    assert_eq!(count("bytes"), 4 * parameters);
    assert_eq!(all["bits_per_weight"], 32.0);
    assert_eq!(all["size"], stage.read("tiny.gguf").len());
    // 2 layers × 2 heads × 16 elements × 2 (keys, values) × 2 bytes for each of 100 positions, in whole chunks.
    let kv_cache = all["memory"]["kv_cache"].as_u64().unwrap();
    assert!((100 * 256..=256 * 256).contains(&kv_cache), "{kv_cache}");

    let table = stage.run(&["inspect", "./tiny.gguf"]).ok();
    for part in ["[string; 311]", "blk.1.ffn_down.weight", "96 × 64", "32.00 bits per weight", "KV cache"] {
        assert!(table.contains(part), "{part} not in {table}");
    }
}

#[test]
fn tokenize_takes_bytes_as_they_are() {
    let stage = Stage::new();
    let run = |more: &[&str], input: &[u8]| stage.run_with(&args(&["tokenize", "./tiny.gguf"], more), input).ok();
    assert_eq!(run(&[], b"ab"), "1 285 260\n");
    assert_eq!(run(&["--no-bos"], b"ab\n"), "285 260 13\n");
    assert_eq!(run(&["--no-bos"], b"<s>"), "1\n");
    assert_ne!(run(&["--no-bos", "--no-special"], b"<s>"), "1\n");
    assert_eq!(run(&["--no-bos"], b""), "\n");
    // A byte that is no UTF-8 has a token, like every byte.
    assert!(run(&["--no-bos"], b"\xff").contains("258"), "{}", run(&["--no-bos"], b"\xff"));
}

#[test]
fn tokens_become_the_text_again() {
    let stage = Stage::new();
    for sample in ["hello", "two words\n", "aÜñ模型", ""] {
        let ids = stage.run_with(&["tokenize", "./tiny.gguf", "--no-bos"], sample).ok();
        assert_eq!(stage.run_with(&["tokenize", "./tiny.gguf", "--decode"], ids).ok(), sample);
    }
    stage.run_with(&["tokenize", "./tiny.gguf", "--decode"], "1 999").fails(2, &["'999'", "311"]);
    stage.run_with(&["tokenize", "./tiny.gguf", "--decode"], "one").fails(2, &["'one'"]);
}

#[test]
fn templates_render_exactly() {
    let stage = Stage::new();
    stage.write("talk.json", r#"[{"role":"user","content":"Hi"}]"#);
    let render = |more: &[&str]| stage.run(&args(&["template", "./tiny.gguf", "--messages", "talk.json"], more)).ok();
    assert_eq!(render(&[]), "<s>user: Hi\nassistant: ");
    assert_eq!(render(&["--no-generation-prompt"]), "<s>user: Hi\n");
    stage.write("own.jinja", "{% for t in tools %}{{ t.name }},{% endfor %}{{ messages|length }}");
    let named = ["template", "named.jinja", "--messages", "-", "--chat-template-kwargs", r#"{"x": {"y": 7}}"#];
    stage.write("named.jinja", "{{ x.y }}");
    assert_eq!(stage.run_with(&named, "[]").ok(), "7");
    stage.write("tools.json", r#"[{"name":"a"},{"name":"b"}]"#);
    let own = ["template", "own.jinja", "--messages", "-", "--tools", "tools.json"];
    assert_eq!(stage.run_with(&own, r#"{"messages":[{"role":"user","content":"x"}]}"#).ok(), "a,b,1");
}

#[test]
fn templates_that_fail_say_why() {
    let stage = Stage::with(None);
    stage.write("talk.json", r#"[{"role":"user","content":"Hi"}]"#);
    stage.run(&["template", "./tiny.gguf", "--messages", "talk.json"]).fails(3, &["tokenizer.chat_template"]);
    stage.write("broken.jinja", "{% if %}");
    stage.run(&["template", "broken.jinja", "--messages", "talk.json"]).fails(3, &["broken.jinja"]);
    stage.write("refuse.jinja", "{{ raise_exception('no system here') }}");
    stage.run(&["template", "refuse.jinja", "--messages", "talk.json"]).fails(1, &["no system here"]);
    stage.run_with(&["template", "refuse.jinja", "--messages", "-"], "{").fails(3, &["standard input"]);
    stage.run_with(&["template", "refuse.jinja", "--messages", "-"], "7").fails(3, &["role"]);
    stage.run(&["template", "refuse.jinja", "--messages", "none.json"]).fails(6, &["none.json"]);
}

#[test]
fn logits_are_the_same_on_every_path() {
    let stage = Stage::new();
    let logits = |more: &[&str]| {
        let base = ["logits", "./tiny.gguf", "--tokens", "1 5, 7 9 11 13 200 15 17 300", "--out", "out.f32"];
        assert_eq!(stage.run(&args(&base, more)).ok(), "");
        stage.read("out.f32")
    };
    let expected = logits(&[]);
    assert_eq!(expected.len(), 10 * 311 * 4);
    assert!(expected.chunks(4).all(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_finite()));
    for level in Level::available() {
        for (threads, chunk) in [("1", "1"), ("2", "3"), ("4", "7"), ("3", "100")] {
            let more = ["--isa", level.name(), "--threads", threads, "--chunk", chunk];
            assert!(logits(&more) == expected, "{more:?}");
        }
    }
    assert!(logits(&["--kv", "f32"]) != expected);
}

#[test]
fn logits_fail_without_a_trace() {
    let stage = Stage::new();
    let run = |tokens: &str, out: &str, more: &[&str]| {
        stage.run(&args(&["logits", "./tiny.gguf", "--tokens", tokens, "--out", out], more))
    };
    run("1 311", "out.f32", &[]).fails(2, &["311"]);
    run("", "out.f32", &[]).fails(2, &["--tokens"]);
    run("1", "out.f32", &["--threads", "0"]).fails(2, &["--threads", "1024"]);
    run("1", "out.f32", &["--isa", "mmx"]).fails(2, &["mmx", "scalar"]);
    run("1", "none/out.f32", &[]).fails(6, &["none/out.f32"]);
    assert!(!stage.path("out.f32").exists());
}

#[test]
fn run_prints_the_answer_and_nothing_else() {
    let stage = Stage::new();
    let outcome = stage.run(&args(&["run", "./tiny.gguf", "Say something"], &GREEDY));
    assert!(outcome.err.contains("tokens/s") && !outcome.err.contains('\u{1b}'), "{}", outcome.err);
    let answer = outcome.ok();
    assert!(answer.ends_with('\n') && !answer.contains('\u{1b}'), "{answer}");
    // The same from a pipe, and beside a pipe.
    assert_eq!(stage.run_with(&args(&["run", "-m", "./tiny.gguf"], &GREEDY), "Say something\n").ok(), answer);
    assert_eq!(stage.run_with(&args(&["run", "./tiny.gguf"], &GREEDY), "Say something").ok(), answer);
    let both = stage.run_with(&args(&["run", "./tiny.gguf", "Say"], &GREEDY), "something").ok();
    assert_eq!(both, stage.run(&args(&["run", "./tiny.gguf", "Say\n\nsomething"], &GREEDY)).ok());
}

#[test]
fn run_as_json() {
    let stage = Stage::new();
    let answer = stage.run(&args(&["run", "./tiny.gguf", "Hi", "--json", "--seed", "7"], &GREEDY)).json();
    assert_eq!(answer["stop_reason"], "length");
    assert_eq!(answer["generated_tokens"], 12);
    assert_eq!(answer["tokens"].as_array().unwrap().len(), 12);
    assert_eq!(answer["seed"], 7);
    assert!(answer["prompt_tokens"].as_u64().unwrap() > 10);
    assert!(answer["timings"]["prompt_tps"].is_f64() && answer["timings"]["generate_tps"].is_f64());
    let plain = stage.run(&args(&["run", "./tiny.gguf", "Hi"], &GREEDY)).ok();
    assert_eq!(plain.trim_end_matches('\n'), answer["text"].as_str().unwrap().trim_end_matches('\n'));
}

#[test]
fn seeds_reproduce() {
    let stage = Stage::new();
    let tokens = |more: &[&str]| {
        let base = ["run", "./tiny.gguf", "Hi", "--json", "-n", "20", "-c", "200", "--temp", "2", "--top-k", "0"];
        stage.run(&args(&base, more)).json()["tokens"].clone()
    };
    let first = tokens(&["--seed", "1"]);
    assert_eq!(tokens(&["--seed", "1", "-t", "2"]), first);
    assert_ne!(tokens(&["--seed", "2"]), first);
    assert_ne!(tokens(&[]), tokens(&[]));
}

#[test]
fn stop_strings_end_the_answer_and_are_not_printed() {
    let stage = Stage::new();
    let raw = args(&["run", "./tiny.gguf", "abc", "--raw", "--json", "--ignore-eos"], &GREEDY);
    let whole = stage.run(&raw).json()["text"].as_str().unwrap().to_string();
    let middle: Vec<char> = whole.chars().collect();
    let stop: String = middle[middle.len() / 2..middle.len() / 2 + 2].iter().collect();
    let answer = stage.run(&args(&raw, &["--stop", "never in it", "--stop", &stop])).json();
    assert_eq!(answer["stop_reason"], "stop");
    assert_eq!(answer["text"].as_str(), whole.split_once(&stop).map(|(before, _)| before));
}

#[test]
fn answers_of_a_form() {
    let stage = Stage::new();
    stage.write("list.gbnf", "root ::= item{2}\nitem ::= \"- \" [a-c]{3} \"\\n\"\n");
    stage.write("schema.json", r#"{"enum": ["one", "two"]}"#);
    let answer = |form: &[&str]| stage.run(&args(&["run", "./tiny.gguf", "Hi", "-c", "200", "--seed", "1"], form)).ok();
    let list = answer(&["--grammar-file", "list.gbnf"]);
    assert!(list.len() == 12 && list.lines().all(|line| line.starts_with("- ")), "{list:?}");
    for form in [["--json-schema-file", "schema.json"], ["-j", r#"{"enum": ["one", "two"]}"#]] {
        let one = answer(&form);
        assert!(one == "\"one\"\n" || one == "\"two\"\n", "{one:?}");
    }
    let run = |form: &[&str]| stage.run(&args(&["run", "./tiny.gguf", "Hi"], form));
    run(&["--grammar", "root ::= x"]).fails(2, &["line 1: there is no rule x"]);
    run(&["-j", "{"]).fails(2, &["expected JSON"]);
    run(&["--json-schema", "{\"type\": 5}"]).fails(2, &["no schema"]);
    run(&["--grammar-file", "none.gbnf"]).fails(6, &["none.gbnf"]);
    run(&["--grammar", "root ::= \"a\"", "-j", "{}"]).fails(2, &["cannot be used with"]);
    // Each turn of a conversation is held to it.
    let talk = ["chat", "./tiny.gguf", "-c", "200", "--grammar", "root ::= \"yes\" | \"no\""];
    let said = stage.run_with(&talk, "Hi\nAnd?\n").ok();
    assert!(said.lines().count() == 2 && said.lines().all(|line| ["yes", "no"].contains(&line)), "{said:?}");
}

#[test]
fn templates_and_raw_text_differ() {
    let stage = Stage::new();
    let count = |more: &[&str]| {
        let json = stage.run(&args(&args(&["run", "./tiny.gguf", "Hi", "--json"], &GREEDY), more)).json();
        json["prompt_tokens"].as_u64().unwrap()
    };
    // The tokens of "<s>user: Hi\nassistant: ", where all but the letters and BOS are bytes.
    assert_eq!(count(&[]), stage_tokens(&stage, "user: Hi\nassistant: "));
    assert_eq!(count(&["--raw"]), stage_tokens(&stage, "Hi"));
    assert_eq!(count(&["--system", "Be."]), stage_tokens(&stage, "system: Be.\nuser: Hi\nassistant: "));
    stage.write("own.jinja", "Q {{ messages[-1].content }} A");
    assert_eq!(count(&["--chat-template", "own.jinja"]), stage_tokens(&stage, "Q Hi A"));
}

fn stage_tokens(stage: &Stage, text: &str) -> u64 {
    stage.run_with(&["tokenize", "./tiny.gguf"], text).ok().split_whitespace().count() as u64
}

#[test]
fn prompts_that_cannot_be() {
    let stage = Stage::new();
    stage.run(&["run"]).fails(2, &["no prompt"]);
    stage.run(&["run", "./tiny.gguf"]).fails(2, &["no prompt"]);
    stage.run(&["run", "a", "b", "c"]).fails(2, &[]);
    stage.run(&["run", "-m", "./tiny.gguf", "a", "b"]).fails(2, &["two models"]);
    stage.run_with(&["run", "-m", "./tiny.gguf"], b"\xff\xfe").fails(2, &["UTF-8"]);
    let long = "word ".repeat(100);
    stage.run(&["run", "./tiny.gguf", &long, "-c", "64"]).fails(2, &["context holds 64"]);
    stage.run(&["run", "./tiny.gguf", "Hi", "--top-p", "2"]).fails(2, &["--top-p", "0 to 1"]);
    stage.run(&["run", "./tiny.gguf", "Hi", "--samplers", "magic"]).fails(2, &["magic"]);
    stage.run(&["run", "./tiny.gguf", "Hi", "--logit-bias", "999+1"]).fails(2, &["999"]);
    stage.run(&["run", "./tiny.gguf", "Hi", "--stop", ""]).fails(2, &["--stop"]);
}

#[test]
fn a_context_beyond_all_memory() {
    let stage = Stage::new();
    stage.run(&["run", "./tiny.gguf", "Hi", "-c", "1000000000000"]).fails(5, &["1000000000000 tokens"]);
}

#[test]
fn the_context_ends_the_answer() {
    let stage = Stage::new();
    let run = ["run", "./tiny.gguf", "abc", "--raw", "--json", "-c", "16", "--ignore-eos", "--temp", "0"];
    let outcome = stage.run(&run);
    assert!(outcome.err.contains("context is full"), "{}", outcome.err);
    let answer = outcome.json();
    assert_eq!(answer["stop_reason"], "context");
    let (prompt, generated) = (&answer["prompt_tokens"], &answer["generated_tokens"]);
    // The last token is generated, but has no place any more.
    assert_eq!(prompt.as_u64().unwrap() + generated.as_u64().unwrap(), 17);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let stage = Stage::new();
    let mut child = stage
        .command(&["run", "./tiny.gguf", "abc", "--raw", "--ignore-eos", "-n", "100000", "-c", "100000"])
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    let mut first = [0];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("error"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run_with_its_statistics() {
    let stage = Stage::new();
    let mut child = stage
        .command(&["run", "./tiny.gguf", "abc", "--raw", "--ignore-eos", "-n", "1000000", "-c", "1000000"])
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 8]).unwrap();
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tokens/s"));
}

#[test]
fn perplexity_of_a_text() {
    let stage = Stage::new();
    stage.write("text.txt", "the quick brown fox jumps over the lazy dog ".repeat(4));
    let out = stage.run(&["perplexity", "./tiny.gguf", "text.txt", "-c", "32"]).ok();
    assert!(out.starts_with("[1]") && out.contains(",[2]") && out.contains("Final estimate: PPL = "), "{out}");
    let run = ["perplexity", "./tiny.gguf", "text.txt", "-c", "32", "--json", "--chunks", "3"];
    let json = stage.run(&run).json();
    assert_eq!(json["chunks"], 3);
    assert_eq!(json["scored_tokens"], 3 * 15);
    // A random model is about as good as guessing among 311 tokens.
    assert!((100.0..2000.0).contains(&json["perplexity"].as_f64().unwrap()), "{json}");
    stage.run(&["perplexity", "./tiny.gguf", "text.txt", "-c", "200"]).fails(2, &["text.txt", "400"]);
    stage.run(&["perplexity", "./tiny.gguf", "none.txt"]).fails(6, &["none.txt"]);
}

const BENCH: [&str; 14] =
    ["bench", "./tiny.gguf", "-p", "8,16", "-n", "4", "-d", "0,5", "-t", "1,2", "-r", "3", "--isa", "scalar"];

/// Equal but for what printing and reading may do to the last digit.
fn near(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 1e-9
}

#[test]
fn bench_in_json() {
    let stage = Stage::new();
    let results = stage.run(&args(&BENCH, &["--json"])).json();
    let results = results.as_array().unwrap();
    assert_eq!(results.len(), 2 * 2 * 3);
    let of = |i: usize| ["n_prompt", "n_gen", "n_depth", "n_threads"].map(|name| results[i][name].as_u64().unwrap());
    assert_eq!([of(0), of(2), of(11)], [[8, 0, 0, 1], [0, 4, 0, 1], [0, 4, 5, 2]]);
    for result in results {
        let settings = ["isa", "type_k", "type_v"].map(|name| result[name].as_str().unwrap());
        assert_eq!(settings, ["scalar", "f16", "f16"]);
        let floats =
            |name: &str| -> Vec<f64> { result[name].as_array().unwrap().iter().filter_map(Value::as_f64).collect() };
        let (mut speeds, times) = (floats("samples_ts"), floats("samples_ns"));
        let tokens = result["n_prompt"].as_f64().unwrap() + result["n_gen"].as_f64().unwrap();
        assert!(speeds.iter().zip(&times).all(|(speed, time)| near(*speed, tokens / (time / 1e9))), "{result}");
        let mean = speeds.iter().sum::<f64>() / 3.0;
        assert!(near(result["avg_ts"].as_f64().unwrap(), mean), "{result}");
        speeds.sort_by(f64::total_cmp);
        assert_eq!((speeds.len(), &result["median_ts"]), (3, &json!(speeds[1])));
        assert!(result["rate"].is_null());
    }
}

#[test]
fn bench_in_other_formats() {
    let stage = Stage::new();
    let table = stage.run(&BENCH).ok();
    assert_eq!(table.lines().count(), 2 + 12);
    assert!(table.starts_with("| model") && table.contains("tg4 @ d5") && table.contains(" ± "), "{table}");
    assert!(!table.contains("| kv") && !table.contains("batch"), "{table}");
    let table = stage.run(&args(&BENCH, &["--kv", "f16,f32", "-b", "4,8", "--no-warmup"])).ok();
    assert_eq!(table.lines().count(), 2 + 4 * 12);
    assert!(table.contains("| kv") && table.contains("| batch"), "{table}");
    let lines = stage.run(&args(&BENCH, &["-o", "jsonl"])).ok();
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 12);
    let csv = stage.run(&args(&BENCH, &["-o", "csv"])).ok();
    let names = csv.lines().next().unwrap().replace('"', "");
    let scalars = rows[0].as_object().unwrap().iter().filter(|(_, value)| !value.is_array());
    assert_eq!(names, scalars.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(","));
    assert_eq!(csv.lines().count(), 1 + 12);
    stage.run(&["bench", "./tiny.gguf", "-p", "0", "-n", "0"]).fails(2, &["nothing to measure"]);
    stage.run(&["bench", "./tiny.gguf", "-o", "xml"]).fails(2, &["xml", "jsonl"]);
    stage.run(&["bench"]).fails(2, &["MODEL"]);
}

#[test]
fn peaks_of_the_machine() {
    let stage = Stage::new();
    let peaks = stage.run(&["bench", "--peaks", "-t", "1,2", "--json"]).json();
    let peaks = peaks.as_array().unwrap();
    let levels = Level::available();
    assert_eq!(peaks.len(), 2 * levels.len());
    for (i, peak) in peaks.iter().enumerate() {
        assert_eq!(peak["n_threads"], 1 + i / levels.len());
        assert_eq!(peak["isa"], levels[i % levels.len()].name());
        for figure in ["memory_gb_s", "int8_gmac_s"] {
            assert!(peak[figure].as_f64().is_some_and(|figure| figure > 0.0), "{peak}");
        }
    }
    let table = stage.run(&["bench", "--peaks", "-t", "1"]).ok();
    assert_eq!(table.lines().count(), 2 + levels.len());
}

#[test]
fn shares_of_the_peaks() {
    let stage = Stage::new();
    let bench = ["bench", "./tiny.gguf", "--peaks", "-p", "8", "-n", "4", "-t", "1", "-r", "1"];
    let results = stage.run(&args(&bench, &["--json"])).json();
    assert_eq!([&results[0]["rate_unit"], &results[1]["rate_unit"]], ["GMAC/s", "GB/s"]);
    for result in results.as_array().unwrap() {
        let [rate, peak, share] = ["rate", "peak", "peak_share"].map(|name| result[name].as_f64().unwrap());
        assert!(rate > 0.0 && peak.is_finite() && near(share, rate / peak), "{result}");
    }
    let tables = stage.run(&bench).ok();
    assert!(tables.contains("memory GB/s") && tables.contains("of peak") && tables.contains("%"), "{tables}");
}

#[test]
fn chat_from_a_pipe() {
    let stage = Stage::new();
    let chat = args(&["chat", "./tiny.gguf", "--json"], &GREEDY);
    let lines = stage.run_with(&chat, "Hi\n\nAnd\\\nmore\n").ok();
    let answers: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2);
    let first = answers[0]["text"].as_str().unwrap();
    let whole = format!("user: Hi\nassistant: {first}\nuser: And\nmore\nassistant: ");
    assert_eq!(answers[1]["prompt_tokens"], stage_tokens(&stage, &whole));
    // "<s>user: Hi\nassistant: " was in the KV cache already.
    assert!(answers[1]["reused_tokens"].as_u64().unwrap() >= stage_tokens(&stage, "user: Hi\nassistant:"));
}

#[test]
fn chats_are_saved_and_loaded() {
    let stage = Stage::new();
    let chat = args(&["chat", "./tiny.gguf"], &GREEDY);
    let all = stage.run_with(&chat, "/system Be.\nHi\n/save talk.json\nMore\n").ok();
    let saved: Value = serde_json::from_slice(&stage.read("talk.json")).unwrap();
    assert_eq!(saved["model"], "tiny");
    assert_eq!(saved["system"], "Be.");
    assert_eq!(saved["messages"][0], json!({ "role": "user", "content": "Hi" }));
    let first = saved["messages"][1]["content"].as_str().unwrap();
    assert_eq!(saved["messages"][1]["role"], "assistant");
    // A conversation that goes on after /load says what the one that was never interrupted says.
    let rest = stage.run_with(&chat, "/load talk.json\nMore\n").ok();
    assert_eq!(all.strip_prefix(first).unwrap().trim_start_matches('\n'), rest.trim_start_matches('\n'));
}

#[test]
fn chat_commands_change_the_conversation() {
    let stage = Stage::new();
    let chat = args(&["chat", "./tiny.gguf"], &GREEDY);
    let input = "/system Be.\nHi\nYou\n/undo\n/save one.json\n/reset\n/save none.json\n/system off\n/save bare.json\n/exit\nNo\n";
    let outcome = stage.run_with(&chat, input);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let saved = |name| serde_json::from_slice::<Value>(&stage.read(name)).unwrap();
    assert_eq!(saved("one.json")["messages"].as_array().unwrap().len(), 2);
    assert_eq!((&saved("none.json")["messages"], &saved("none.json")["system"]), (&json!([]), &json!("Be.")));
    assert_eq!(saved("bare.json")["system"], Value::Null);
    let stats = stage.run_with(&chat, "Hi\n/stats\n/help\n");
    assert!(stats.err.contains("of 200 tokens") && stats.err.contains("/regen"), "{}", stats.err);
}

#[test]
fn chat_errors_stop_a_script() {
    let stage = Stage::new();
    let chat = args(&["chat", "./tiny.gguf"], &GREEDY);
    stage.run_with(&chat, "/dance\nHi\n").fails(2, &["/dance"]);
    stage.run_with(&chat, "/load none.json\n").fails(6, &["none.json"]);
    stage.write("bad.json", r#"{"model":"m","messages":[{"role":"assistant","content":"x"}]}"#);
    stage.run_with(&chat, "/load bad.json\n").fails(3, &["bad.json", "message 1"]);
    stage.run_with(&chat, "/regen\n").fails(2, &["/regen"]);
}

#[test]
fn a_full_context_drops_the_oldest_turns() {
    let stage = Stage::new();
    let chat = ["chat", "./tiny.gguf", "--system", "Be.", "-c", "128", "-n", "4", "--temp", "0", "--ignore-eos"];
    let turn = "some words to fill it\n";
    let outcome = stage.run_with(&chat, format!("{}/save talk.json\n", turn.repeat(6)));
    assert!(outcome.err.contains("forgotten"), "{}", outcome.err);
    assert_eq!(outcome.code, 0);
    let saved: Value = serde_json::from_slice(&stage.read("talk.json")).unwrap();
    let messages = saved["messages"].as_array().unwrap();
    assert!(messages.len() < 12 && messages[0]["role"] == "user", "{saved}");
    assert_eq!(saved["system"], "Be.");
    let stop = args(&chat, &["--when-full", "stop"]);
    stage.run_with(&stop, turn.repeat(6)).fails(2, &["context of 128", "/reset"]);
    stage.run_with(&chat, "words ".repeat(40)).fails(2, &["context holds 128"]);
}

#[cfg(unix)]
#[test]
fn answers_come_while_the_input_is_open() {
    let stage = Stage::new();
    let mut child = stage.command(&args(&["chat", "./tiny.gguf", "--json"], &GREEDY)).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for text in ["Hi\n", "You\n"] {
        input.write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["generated_tokens"], 12);
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn verbose_says_what_happens() {
    let stage = Stage::new();
    let model = stage.path("tiny.gguf");
    let outcome = stage.run(&args(&["-v", "run", text(&model), "Hi", "--seed", "5"], &GREEDY));
    assert!(outcome.err.contains("seed=5") && outcome.err.contains("threads="), "{}", outcome.err);
}
