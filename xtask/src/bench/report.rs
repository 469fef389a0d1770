//! Results as a Markdown table and as JSON.

use super::machine::Machine;
use super::runs::Measured;
use super::statistics::{median, range};
use crate::Outcome;
use serde_json::{Value, json};

/// A Markdown table.
pub fn table(results: &[Measured]) -> String {
    let compares = results.iter().any(|measured| measured.peer.is_some());
    let headings: &[&str] = match compares {
        true => &["Model", "Threads", "Test", "Woolly, t/s", "llama.cpp, t/s", "Ratio", "Rounds"],
        false => &["Model", "Threads", "Test", "Woolly, t/s", "Rounds"],
    };
    let mut table = line(headings.iter().map(ToString::to_string));
    table += &line(headings.iter().map(|heading| if is_word(heading) { "---".into() } else { "---:".into() }));
    table.extend(results.iter().map(|measured| line(cells(measured).into_iter())));
    table
}

fn is_word(heading: &str) -> bool {
    matches!(heading, "Model" | "Test")
}

fn cells(measured: &Measured) -> Vec<String> {
    let mut cells = vec![
        measured.model.replace('|', "\\|"),
        measured.threads.to_string(),
        measured.test.label(),
        figure(median(&measured.woolly)),
    ];
    match (&measured.peer, measured.ratio()) {
        (Some(peer), Some((ratio, (low, high)))) => {
            let flash = if peer.is_flash() { " (fa)" } else { "" };
            cells.push(format!("{}{flash}", figure(median(peer.better()))));
            cells.extend([format!("**{ratio:.2}**"), format!("{low:.2} … {high:.2}")]);
        }
        _ => {
            let (low, high) = range(&measured.woolly);
            cells.push(format!("{} … {}", figure(low), figure(high)));
        }
    }
    cells
}

/// A speed, with three digits or more.
fn figure(speed: f64) -> String {
    match speed {
        speed if speed < 10.0 => format!("{speed:.2}"),
        speed if speed < 100.0 => format!("{speed:.1}"),
        speed => format!("{speed:.0}"),
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

/// Everything, for programs.
pub fn json(results: &[Measured], machine: &Machine) -> Outcome<String> {
    let results: Vec<Value> = results.iter().map(describe).collect();
    Ok(serde_json::to_string_pretty(&json!({ "machine": machine.describe(), "results": results }))? + "\n")
}

fn describe(measured: &Measured) -> Value {
    let test = measured.test;
    let mut value = json!({
        "model": measured.model, "n_threads": measured.threads,
        "n_prompt": test.n_prompt, "n_gen": test.n_gen, "n_depth": test.n_depth,
        "median_ts": median(&measured.woolly), "samples_ts": measured.woolly,
    });
    if let (Some(peer), Some((ratio, (low, high)))) = (&measured.peer, measured.ratio()) {
        value["peer"] = json!({
            "flash_attn": peer.is_flash(), "median_ts": median(peer.better()), "samples_ts": peer.better()
        });
        value["ratio"] = json!({ "of_medians": ratio, "min": low, "max": high });
    }
    value
}

#[cfg(test)]
mod unit {
    use super::super::runs::{PeerSpeeds, Test};
    use super::*;

    fn measured(peer: Option<PeerSpeeds>) -> [Measured; 1] {
        let test = Test { n_prompt: 0, n_gen: 64, n_depth: 8 };
        [Measured { model: "a|b".into(), threads: 2, test, woolly: vec![10.0, 12.0, 11.0], peer }]
    }

    fn peer() -> Option<PeerSpeeds> {
        Some(PeerSpeeds { plain: vec![5.0, 4.0, 5.5], flash: vec![1.0; 3] })
    }

    #[test]
    fn tables() {
        let alone = "| Model | Threads | Test | Woolly, t/s | Rounds |\n| --- | ---: | --- | ---: | ---: |\n\
                     | a\\|b | 2 | tg64 @ d8 | 11.0 | 10.0 … 12.0 |\n";
        assert_eq!(table(&measured(None)), alone);
        let beside = table(&measured(peer()));
        assert!(beside.ends_with("| a\\|b | 2 | tg64 @ d8 | 11.0 | 5.00 | **2.20** | 2.00 … 3.00 |\n"), "{beside}");
        let columns: Vec<usize> = beside.lines().map(|line| line.replace("\\|", "").matches('|').count()).collect();
        assert_eq!(columns, [8; 3]);
        assert_eq!([1.234, 12.34, 123.4].map(figure), ["1.23", "12.3", "123"]);
    }

    #[test]
    fn json_has_all_samples() {
        let json: Value = serde_json::from_str(&json(&measured(peer()), &Machine::default()).unwrap()).unwrap();
        let result = &json["results"][0];
        assert_eq!(result["samples_ts"], json!([10.0, 12.0, 11.0]));
        assert_eq!((&result["n_depth"], &result["peer"]["samples_ts"]), (&json!(8), &json!([5.0, 4.0, 5.5])));
        assert_eq!(result["ratio"], json!({ "of_medians": 2.2, "min": 2.0, "max": 3.0 }));
    }
}
