//! Chat templates: any text is refused with a line, or renders within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use woolly_engine::chat::{DateTime, Request, Template};

fuzz_target!(|source: &str| {
    let Ok(template) = Template::new(source) else { return };
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Größe?"}]},
        {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1.5}}}]},
        {"role": "tool", "content": "<b>"}
    ]);
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let now = DateTime { year: 2024, month: 2, day: 29, hour: 23, minute: 59, second: 60 };
    let _ = template.render(&Request {
        tools: Some(&tools),
        add_generation_prompt: true,
        bos_token: Some("<s>"),
        now: Some(now),
        ..Request::new(&messages)
    });
});
