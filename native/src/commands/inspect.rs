//! `woolly inspect`

use serde_json::{Map, Value as Json, json};
use woolly_engine::gguf::{Array, Gguf, Value};
use woolly_engine::session::{Model, Options};

use crate::cli::Inspect;
use crate::error::Result;
use crate::load::{self, Opened};
use crate::output::{self, size, thousands};
use crate::table::Table;

/// Elements of an array that are shown to people.
const SHOWN_ELEMENTS: usize = 6;
/// Characters of a string that are shown to people.
const SHOWN_CHARACTERS: usize = 96;

/// Shows what is in a model. One that the engine cannot run is shown too, with the reason why.
pub fn run(args: &Inspect, offline: bool) -> Result<()> {
    let opened = load::open(Some(&args.model), offline)?;
    let memory = estimate(&opened.gguf, args.context);
    if args.json { output::print_json(&describe(&opened, &memory)) } else { output::print(show(&opened, &memory)) }
}

/// What a model needs to run, or why it cannot.
type Estimate = std::result::Result<Needs, String>;

struct Needs {
    context: usize,
    trained_context: usize,
    weights: u64,
    kv_cache: u64,
    scratch: u64,
}

fn estimate(gguf: &Gguf, context: Option<usize>) -> Estimate {
    let model = Model::load(gguf.clone()).map_err(|cause| cause.to_string())?;
    let trained_context = model.spec().context;
    let context = context.unwrap_or(trained_context);
    let memory = model.memory(&Options { context, ..Options::default() });
    let (weights, kv_cache, scratch) = (memory.weights, memory.kv_cache, memory.scratch);
    Ok(Needs { context, trained_context, weights, kv_cache, scratch })
}

fn show(opened: &Opened, memory: &Estimate) -> String {
    let gguf = &opened.gguf;
    [
        heading(opened),
        section("Metadata", metadata(gguf)),
        section("Tensors", tensors(gguf)),
        section("Types", types(gguf).plain()),
        section("Size", totals(gguf)),
        section("Memory", needs(memory)),
    ]
    .concat()
}

fn section(title: &str, body: String) -> String {
    format!("\n{title}\n\n{body}")
}

fn heading(opened: &Opened) -> String {
    let gguf = &opened.gguf;
    let files: String = opened.paths.iter().map(|path| format!("{}\n", path.display())).collect();
    let (keys, tensors) = (gguf.metadata().len(), gguf.tensors().len());
    format!("{files}GGUF version {}, {}, {keys} keys, {tensors} tensors\n", gguf.version(), size(gguf.size()))
}

fn metadata(gguf: &Gguf) -> String {
    let mut table = Table::new(&["key", "type", "value"]);
    for (key, value) in gguf.metadata().iter() {
        table.row([key.to_string(), type_name(value), short(value)]);
    }
    table.plain()
}

fn tensors(gguf: &Gguf) -> String {
    let mut table = Table::new(&["name", "type", "shape", "size"]).right(&[2, 3]);
    for tensor in gguf.tensors() {
        let shape: Vec<String> = tensor.dims.iter().map(ToString::to_string).collect();
        table.row([tensor.name.clone(), tensor.kind.name().to_string(), shape.join(" × "), size(tensor.bytes())]);
    }
    table.plain()
}

/// Count, elements and bytes of each type, in the order of their first tensors.
fn sums(gguf: &Gguf) -> Vec<(String, [u64; 3])> {
    let mut sums: Vec<(String, [u64; 3])> = Vec::new();
    for tensor in gguf.tensors() {
        let name = tensor.kind.name().to_string();
        let index = sums.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            sums.push((name, [0; 3]));
            sums.len() - 1
        });
        let [count, elements, bytes] = &mut sums[index].1;
        (*count, *elements, *bytes) = (*count + 1, *elements + tensor.elements(), *bytes + tensor.bytes());
    }
    sums
}

fn types(gguf: &Gguf) -> Table {
    let mut table = Table::new(&["type", "tensors", "parameters", "size", "bits"]).right(&[1, 2, 3, 4]);
    for (name, [count, elements, bytes]) in sums(gguf) {
        table.row([name, count.to_string(), thousands(elements), size(bytes), bits(elements, bytes)]);
    }
    table
}

fn bits(elements: u64, bytes: u64) -> String {
    format!("{:.2}", bits_per_weight(elements, bytes))
}

fn bits_per_weight(elements: u64, bytes: u64) -> f64 {
    if elements == 0 { 0.0 } else { bytes as f64 * 8.0 / elements as f64 }
}

/// Parameters and bytes of all tensors.
fn total(gguf: &Gguf) -> (u64, u64) {
    gguf.tensors().fold((0, 0), |(elements, bytes), tensor| (elements + tensor.elements(), bytes + tensor.bytes()))
}

fn totals(gguf: &Gguf) -> String {
    let (elements, bytes) = total(gguf);
    format!("{} parameters in {}, {} bits per weight\n", thousands(elements), size(bytes), bits(elements, bytes))
}

fn needs(memory: &Estimate) -> String {
    match memory {
        Err(reason) => format!("Woolly cannot run this model: {reason}\n"),
        Ok(needs) => format!(
            "context   {} tokens (the model was trained for {})\n\
             weights   {} (mapped from the file, shared between processes)\n\
             KV cache  {} (f16)\n\
             scratch   {}\n",
            needs.context,
            needs.trained_context,
            size(needs.weights),
            size(needs.kv_cache),
            size(needs.scratch)
        ),
    }
}

fn type_name(value: &Value) -> String {
    match value {
        Value::Array(array) => format!("[{}; {}]", array.element_name(), array.len()),
        value => value.type_name().to_string(),
    }
}

/// A value on one line, abbreviated.
fn short(value: &Value) -> String {
    match json(value, SHOWN_ELEMENTS) {
        Json::Array(elements) => {
            let more = if array_len(value) > elements.len() { ", …" } else { "" };
            let shown: Vec<String> = elements.iter().map(|element| abbreviate(&element.to_string())).collect();
            format!("{}{more}", shown.join(", "))
        }
        Json::String(text) => abbreviate(&one_line(&text)),
        other => other.to_string(),
    }
}

/// A newline as `\n`, and so on.
fn one_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(visible).collect()
}

fn array_len(value: &Value) -> usize {
    if let Value::Array(array) = value { array.len() } else { 0 }
}

fn abbreviate(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        None => text.to_string(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A value in JSON, with at most `limit` elements of every array.
fn json(value: &Value, limit: usize) -> Json {
    match value {
        Value::U8(number) => json!(number),
        Value::I8(number) => json!(number),
        Value::U16(number) => json!(number),
        Value::I16(number) => json!(number),
        Value::U32(number) => json!(number),
        Value::I32(number) => json!(number),
        Value::U64(number) => json!(number),
        Value::I64(number) => json!(number),
        Value::F32(number) => float(*number),
        Value::F64(number) => json!(number),
        Value::Bool(truth) => json!(truth),
        Value::String(text) => json!(text),
        Value::Array(array) => json_array(array, limit),
    }
}

/// The shortest decimal that means the same f32: 0.1 rather than 0.10000000149.
fn float(number: f32) -> Json {
    number.to_string().parse::<f64>().map_or(Json::Null, |number| json!(number))
}

fn json_array(array: &Array, limit: usize) -> Json {
    match array {
        Array::U8(numbers) => json!(first(numbers, limit)),
        Array::I8(numbers) => json!(first(numbers, limit)),
        Array::U16(numbers) => json!(first(numbers, limit)),
        Array::I16(numbers) => json!(first(numbers, limit)),
        Array::U32(numbers) => json!(first(numbers, limit)),
        Array::I32(numbers) => json!(first(numbers, limit)),
        Array::U64(numbers) => json!(first(numbers, limit)),
        Array::I64(numbers) => json!(first(numbers, limit)),
        Array::F32(numbers) => first(numbers, limit).iter().map(|number| float(*number)).collect(),
        Array::F64(numbers) => json!(first(numbers, limit)),
        Array::Bool(truths) => json!(first(truths, limit)),
        Array::String(strings) => strings.iter().take(limit).map(String::from_utf8_lossy).collect(),
        Array::Array(arrays) => first(arrays, limit).iter().map(|array| json_array(array, limit)).collect(),
    }
}

fn first<T>(items: &[T], limit: usize) -> &[T] {
    &items[..items.len().min(limit)]
}

fn describe(opened: &Opened, memory: &Estimate) -> Json {
    let gguf = &opened.gguf;
    let metadata: Map<String, Json> =
        gguf.metadata().iter().map(|(key, value)| (key.to_string(), json(value, usize::MAX))).collect();
    let (parameters, bytes) = total(gguf);
    json!({
        "files": opened.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "version": gguf.version(),
        "size": gguf.size(),
        "metadata": metadata,
        "tensors": gguf.tensors().map(|tensor| json!({
            "name": tensor.name, "type": tensor.kind.name(), "shape": tensor.dims, "bytes": tensor.bytes()
        })).collect::<Vec<_>>(),
        "types": sums(gguf).into_iter().map(|(name, [count, elements, bytes])| json!({
            "type": name, "tensors": count, "parameters": elements, "bytes": bytes
        })).collect::<Vec<_>>(),
        "parameters": parameters,
        "bits_per_weight": bits_per_weight(parameters, bytes),
        "memory": describe_needs(memory),
    })
}

fn describe_needs(memory: &Estimate) -> Json {
    match memory {
        Err(reason) => json!({ "error": reason }),
        Ok(needs) => json!({
            "context": needs.context,
            "trained_context": needs.trained_context,
            "weights": needs.weights,
            "kv_cache": needs.kv_cache,
            "scratch": needs.scratch,
        }),
    }
}
