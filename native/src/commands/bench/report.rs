//! The results of `woolly bench`, for people and for programs.

use serde_json::{Map, Value, json};
use sysinfo::{CpuRefreshKind, RefreshKind, System};
use woolly_engine::session::Options;
use woolly_engine::weights::{LayerWeights, Linear, Matrix, Weights};

use super::peaks::Peak;
use super::statistics::{deviation, mean, median};
use super::{Kinds, Outcome, Setup};
use crate::cli::BenchFormat;
use crate::error::Result;
use crate::load::Loaded;
use crate::output;
use crate::table::Table;

/// One result in JSON.
type Row = Map<String, Value>;

/// What was measured.
pub struct Report<'a> {
    /// The model.
    pub loaded: &'a Loaded,
    /// Its speeds.
    pub results: &'a [Outcome],
    /// The machine's peaks, if they were asked for.
    pub peaks: &'a [Peak],
}

/// Prints peaks that were measured without a model.
pub fn print_peaks(peaks: &[Peak], format: BenchFormat) -> Result<()> {
    match format {
        BenchFormat::Md => output::print(peak_table(peaks)),
        _ => print_rows(peaks.iter().map(describe_peak).collect(), format),
    }
}

impl Report<'_> {
    /// Prints everything.
    pub fn print(&self, format: BenchFormat) -> Result<()> {
        match format {
            BenchFormat::Md if self.peaks.is_empty() => output::print(self.table()),
            BenchFormat::Md => output::print(format!("{}\n{}", peak_table(self.peaks), self.table())),
            _ => print_rows(self.rows(), format),
        }
    }

    fn table(&self) -> String {
        let rows = self.results.iter().map(|result| self.cells(result));
        let rows: Vec<Vec<(&str, String)>> = rows.collect();
        let headings: Vec<&str> = rows.iter().flatten().map(|(heading, _)| *heading).take(rows[0].len()).collect();
        let words = ["model", "isa", "kv"];
        let right: Vec<usize> = (0..headings.len()).filter(|column| !words.contains(&headings[*column])).collect();
        let mut table = Table::new(&headings).right(&right);
        rows.into_iter().for_each(|row| table.row(row.into_iter().map(|(_, cell)| cell)));
        table.markdown()
    }

    /// A line of the table. Settings that are as in every command are not shown.
    fn cells(&self, result: &Outcome) -> Vec<(&'static str, String)> {
        let Setup { threads, level, kv, batch } = result.setup;
        let gguf = self.loaded.model.gguf();
        let mut cells = vec![
            ("model", self.loaded.title()),
            ("size", output::size(gguf.size())),
            ("params", format!("{:.2} M", self.parameters() as f64 / 1e6)),
            ("threads", threads.to_string()),
            ("isa", level.to_string()),
        ];
        let defaults = Options::default();
        if self.results.iter().any(|result| result.setup.kv != defaults.kv) {
            cells.push(("kv", kv.name().into()));
        }
        if self.results.iter().any(|result| result.setup.batch != defaults.batch) {
            cells.push(("batch", batch.to_string()));
        }
        let speeds = result.speeds();
        cells.push(("test", result.test.label()));
        cells.push(("t/s", format!("{:.2} ± {:.2}", mean(&speeds), deviation(&speeds))));
        cells.push(("median", format!("{:.2}", median(&speeds))));
        if let Some(rate) = self.rate(result) {
            cells.push(("rate", format!("{:.1} {}", rate.reached, rate.unit)));
            cells.push(("of peak", format!("{:.0}%", 100.0 * rate.reached / rate.peak)));
        }
        cells
    }

    fn rows(&self) -> Vec<Row> {
        self.results.iter().map(|result| self.describe(result)).collect()
    }

    /// A result, with fields called as llama-bench calls them where they mean the same.
    fn describe(&self, result: &Outcome) -> Row {
        let Setup { threads, level, kv, batch } = result.setup;
        let (prompt, generate) = match result.test.kind {
            Kinds::Prompt => (result.test.tokens, 0),
            Kinds::Generate => (0, result.test.tokens),
        };
        let times: Vec<f64> = result.times.iter().map(|time| time.as_nanos() as f64).collect();
        let speeds = result.speeds();
        let mut row = object(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "cpu_info": processor(),
            "model_filename": self.loaded.name,
            "model_type": self.loaded.title(),
            "model_size": self.loaded.model.gguf().size(),
            "model_n_params": self.parameters(),
            "n_batch": batch,
            "n_threads": threads,
            "isa": level.name(),
            "type_k": kv.name(),
            "type_v": kv.name(),
            "n_prompt": prompt,
            "n_gen": generate,
            "n_depth": result.test.depth,
            "avg_ns": mean(&times).round() as u64,
            "stddev_ns": deviation(&times).round() as u64,
            "avg_ts": mean(&speeds),
            "stddev_ts": deviation(&speeds),
            "median_ts": median(&speeds),
        }));
        if let Some(Rate { reached, peak, unit }) = self.rate(result) {
            row.extend(object(
                json!({ "rate": reached, "peak": peak, "rate_unit": unit, "peak_share": reached / peak }),
            ));
        }
        let times: Vec<u64> = result.times.iter().map(|time| time.as_nanos() as u64).collect();
        row.extend(object(json!({ "samples_ns": times, "samples_ts": speeds })));
        row
    }

    fn parameters(&self) -> u64 {
        self.loaded.model.gguf().tensors().map(|tensor| tensor.elements()).sum()
    }

    /// How near the median is to what bounds such a test, where that was measured.
    fn rate(&self, result: &Outcome) -> Option<Rate> {
        let Outcome { test, setup, .. } = result;
        let peak = self.peaks.iter().find(|peak| peak.threads == setup.threads && peak.level == setup.level)?;
        let per_second = median(&result.speeds()) / 1e9;
        let weights = self.loaded.model.weights();
        Some(match test.kind {
            Kinds::Prompt => {
                let reached = multiply_adds(weights, test.tokens) * per_second;
                Rate { reached, peak: peak.multiply_adds / 1e9, unit: "GMAC/s" }
            }
            Kinds::Generate => {
                Rate { reached: bytes_read(weights) * per_second, peak: peak.memory / 1e9, unit: "GB/s" }
            }
        })
    }
}

struct Rate {
    reached: f64,
    peak: f64,
    unit: &'static str,
}

/// Multiply-adds of matrices for each token of a prompt. Logits are computed for the last one alone.
fn multiply_adds(weights: &Weights, tokens: usize) -> f64 {
    let of = |matrix: &Matrix| matrix.rows as f64 * matrix.columns as f64;
    layer_matrices(weights).map(of).sum::<f64>() + of(&weights.output.matrix) / tokens as f64
}

/// Bytes of matrices that are read for each token that is generated.
fn bytes_read(weights: &Weights) -> f64 {
    let of = |matrix: &Matrix| matrix.rows as f64 * matrix.row_bytes() as f64;
    layer_matrices(weights).map(of).sum::<f64>() + of(&weights.output.matrix)
}

fn layer_matrices(weights: &Weights) -> impl Iterator<Item = &Matrix> {
    weights.layers.iter().flat_map(linears).map(|linear| &linear.matrix)
}

fn linears(layer: &LayerWeights) -> [&Linear; 7] {
    let LayerWeights { query, key, value, attention_output, gate, up, down, .. } = layer;
    [query, key, value, attention_output, gate, up, down]
}

fn peak_table(peaks: &[Peak]) -> String {
    let mut table = Table::new(&["threads", "isa", "memory GB/s", "int8 GMAC/s"]).right(&[0, 2, 3]);
    for Peak { threads, level, memory, multiply_adds } in peaks {
        let figures = [memory, multiply_adds].map(|figure| format!("{:.1}", figure / 1e9));
        table.row([threads.to_string(), level.to_string()].into_iter().chain(figures));
    }
    table.markdown()
}

fn describe_peak(peak: &Peak) -> Row {
    object(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "cpu_info": processor(),
        "n_threads": peak.threads,
        "isa": peak.level.name(),
        "memory_gb_s": peak.memory / 1e9,
        "int8_gmac_s": peak.multiply_adds / 1e9,
    }))
}

fn print_rows(rows: Vec<Row>, format: BenchFormat) -> Result<()> {
    match format {
        BenchFormat::Json | BenchFormat::Md => output::print_json(&rows),
        BenchFormat::Jsonl => {
            output::print(rows.into_iter().map(|row| format!("{}\n", Value::Object(row))).collect::<String>())
        }
        BenchFormat::Csv => output::print(csv(&rows)),
    }
}

/// Lines of quoted values under a line of names, without the fields that are lists.
fn csv(rows: &[Row]) -> String {
    let plain = |row: &Row| row.clone().into_iter().filter(|(_, value)| !value.is_array());
    let names = rows.first().map(|row| line(plain(row).map(|(name, _)| name)));
    let lines = rows.iter().map(|row| line(plain(row).map(|(_, value)| text(&value))));
    names.into_iter().chain(lines).collect()
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = cells.map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
    quoted.join(",") + "\n"
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn object(value: Value) -> Row {
    if let Value::Object(row) = value { row } else { Row::new() }
}

/// What the processor calls itself.
fn processor() -> String {
    let system = System::new_with_specifics(RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()));
    system.cpus().first().map(|cpu| cpu.brand().trim().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_everything_and_leaves_lists_out() {
        let row = |name: &str| object(json!({ "name": name, "n": 2, "share": 0.5, "samples": [1, 2] }));
        let expected = "\"name\",\"n\",\"share\"\n\"a\"\"b,\",\"2\",\"0.5\"\n\"c\",\"2\",\"0.5\"\n";
        assert_eq!(csv(&[row("a\"b,"), row("c")]), expected);
        assert_eq!(csv(&[]), "");
    }
}
