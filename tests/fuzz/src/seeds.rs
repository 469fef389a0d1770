//! Writes a few small valid inputs for each target, from which fuzzing starts.

use std::fs;
use std::path::Path;

use woolly_engine::gguf::{Array, Writer};
use woolly_engine::quant::TensorType;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    save(&corpus.join("gguf"), &gguf_files())?;
    save(&corpus.join("template"), &TEMPLATES.map(|source| source.as_bytes().to_vec()))
}

fn save(folder: &Path, inputs: &[Vec<u8>]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for (i, input) in inputs.iter().enumerate() {
        fs::write(folder.join(format!("seed-{i}")), input)?;
    }
    Ok(())
}

fn gguf_files() -> Vec<Vec<u8>> {
    let scalars = Writer::new()
        .value("a", 1u8)
        .value("b", -1i8)
        .value("c", 1u16)
        .value("d", -1i16)
        .u32("e", 1)
        .value("f", -1i32)
        .f32("g", 1.0)
        .bool("h", true)
        .string("i", "text")
        .value("j", 1u64)
        .value("k", -1i64)
        .value("l", 1.0f64);
    let arrays = Writer::new()
        .strings("a", ["x", "yz", ""])
        .i32s("b", [1, 2])
        .f32s("c", [1.0])
        .value("d", vec![true, false])
        .value("e", vec![Array::from(vec![1u8]), Array::from(vec![Array::from(vec![2u64])])]);
    let tensors = TensorType::ALL.iter().fold(Writer::new().u32("general.alignment", 8), |writer, kind| {
        writer.tensor(kind.name(), &[kind.block_len() as u64, 2], *kind, vec![0; 2 * kind.block_bytes()])
    });
    let split = Writer::new().value("split.no", 0u16).value("split.count", 1u16).value("split.tensors.count", 1i32);
    let split = split.tensor("a", &[1, 1, 1, 1], TensorType::F32, [0; 4]);
    [scalars, arrays, tensors, split, Writer::new()].map(Writer::finish).to_vec()
}

const TEMPLATES: [&str; 8] = [
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m.content|trim ~ '<|im_end|>' }}{% endfor %}",
    "{{- bos_token }}{%- for m in messages[1:] if m.role != 'tool' -%}{{ loop.index0 }}{{ loop.last }}{% else %}x{% endfor %}",
    "{% macro show(x, y=1) %}{{ x|tojson(indent=2) }}{{ y }}{% endmacro %}{{ show(tools) }}{{ show(messages, y=[1, -2.5]) }}",
    "{% set ns = namespace(n=0) %}{% for m in messages|reverse %}{% set ns.n = ns.n + 1 %}{% if ns.n > 2 %}{% break %}{% endif %}{% endfor %}{{ ns.n }}",
    "{% if tools is defined and tools is not none %}{{ tools[0].function.name.split('d')|join(',')|upper }}{% elif x %}{% endif %}",
    "{% set a %}{{ eos_token * 3 }}{% endset %}{{ a.replace('s', 'tt').strip('<').startswith('/') }}{# no #}{% raw %}{{ }}{% endraw %}",
    "{{ {'a': 1, 'b': [1, 2]}.items()|list }}{% for k, v in {'x': 2}|dictsort %}{{ '%s=%d'|format(k, v) }}{% endfor %}{{ range(3)|map('string')|list }}",
    "{{ raise_exception('no') if messages|selectattr('role', 'equalto', 'x')|list|length else 7 // 2 ** 2 % 3 }}{{ 'a' in 'abc' }}",
];
