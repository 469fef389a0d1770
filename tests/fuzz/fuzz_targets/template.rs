//! Chat templates: any source is refused, fails or renders a conversation, in bounded time and memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use woolly_engine::chat::{Request, Template};

fuzz_target!(|source: &str| {
    let template = match Template::new(source) {
        Ok(template) => template,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": null, "tool_calls": [
            {"type": "function", "id": "1", "function": {"name": "add", "arguments": {"a": 2, "b": 2.5}}}
        ]},
        {"role": "tool", "name": "add", "tool_call_id": "1", "content": "4.5"},
        {"role": "user", "content": [{"type": "text", "text": "Thanks <|im_end|> \u{e9}"}]},
    ]);
    let tools = json!([{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {
        "type": "object", "properties": {"a": {"type": "number"}, "b": {"type": ["number", "null"]}}, "required": ["a"]
    }}}]);
    let request = Request {
        tools: Some(&tools),
        add_generation_prompt: true,
        bos_token: Some("<s>"),
        eos_token: Some("</s>"),
        ..Request::new(&messages)
    };
    let first = template.render(&request);
    assert_eq!(first, template.render(&request));
});
