//! Chat templates print what Jinja prints, set up as the transformers library does it.
//!
//! The expected texts come from `tests/tools/chat_golden.py`. It can also render other folders of templates, such as
//! those of real models; `WOOLLY_CHAT_CASES` names its output, which is then compared too.

use serde_json::Value;
use woolly_engine::chat::{DateTime, Error, Request, Template};

const CONVERSATIONS: &str = include_str!("../fixtures/chat/conversations.json");
const TOOLS: &str = include_str!("../fixtures/chat/tools.json");
const EXPECTED: &str = include_str!("../fixtures/chat/expected.json");
const SNIPPETS: &str = include_str!("../fixtures/chat/snippets.json");
const SNIPPETS_EXPECTED: &str = include_str!("../fixtures/chat/snippets_expected.json");

const NOW: DateTime = DateTime { year: 2024, month: 7, day: 4, hour: 15, minute: 5, second: 9 };

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("readable JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn render(template: &Template, conversation: &Value, tools: &Value) -> Result<String, Error> {
    template.render(&Request {
        tools: conversation["tools"].as_bool().filter(|uses| *uses).map(|_| tools),
        add_generation_prompt: conversation["add_generation_prompt"].as_bool().unwrap_or(true),
        bos_token: Some("<s>"),
        eos_token: Some("</s>"),
        now: Some(NOW),
        extra: conversation["extra"].as_object(),
        ..Request::new(&conversation["messages"])
    })
}

/// What differs from the expectation, if anything does.
fn difference(found: &Result<String, Error>, expected: &Value) -> Option<String> {
    let same = match found {
        Ok(text) => expected["text"] == **text,
        Err(Error::Raised { message }) => expected["raised"] == **message,
        Err(Error::Render { .. } | Error::Syntax { .. }) => expected["error"].is_string(),
        Err(_) => false,
    };
    (!same).then(|| format!("found    {found:?}\nexpected {expected}"))
}

/// Renders every case with every conversation; gives the number of comparisons and the differences.
fn compare(cases: &Value, source: impl Fn(&Value) -> String) -> (usize, Vec<String>) {
    let (conversations, tools) = (json(CONVERSATIONS), json(TOOLS));
    let (mut count, mut differences) = (0, Vec::new());
    for case in list(cases) {
        let name = case["template"].as_str().expect("a name");
        let template = Template::new(&source(case)).unwrap_or_else(|error| panic!("{name}: {error}"));
        for conversation in list(&conversations) {
            let conversation_name = conversation["name"].as_str().expect("a name");
            let found = render(&template, conversation, &tools);
            count += 1;
            let difference = difference(&found, &case["expected"][conversation_name]);
            differences.extend(difference.map(|difference| format!("{name}, {conversation_name}:\n{difference}")));
        }
    }
    (count, differences)
}

#[test]
fn templates_print_what_jinja_prints() {
    let source = |case: &Value| {
        let name = case["template"].as_str().expect("a name");
        std::fs::read_to_string(format!("{}/fixtures/chat/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a template")
    };
    let (count, differences) = compare(&json(EXPECTED), source);
    assert!(count >= 45, "{count} cases");
    assert!(differences.is_empty(), "{} of {count} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn real_templates_print_what_jinja_prints() {
    let Ok(path) = std::env::var("WOOLLY_CHAT_CASES") else { return };
    let cases = json(&std::fs::read_to_string(path).expect("the cases"));
    let (count, differences) = compare(&cases, |case| case["source"].as_str().expect("a source").to_string());
    println!("{} of {count} comparisons agree", count - differences.len());
    assert!(differences.is_empty(), "{} of {count} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn snippets_print_what_jinja_prints() {
    let (snippets, expected, tools) = (json(SNIPPETS), json(SNIPPETS_EXPECTED), json(TOOLS));
    let nothing = serde_json::json!({"messages": []});
    assert_eq!(list(&snippets).len(), list(&expected).len());
    let mut differences = Vec::new();
    for (snippet, expected) in list(&snippets).iter().zip(list(&expected)) {
        let source = snippet.as_str().expect("a snippet");
        let found = Template::new(source).and_then(|template| render(&template, &nothing, &tools));
        differences.extend(difference(&found, expected).map(|difference| format!("{source}\n{difference}")));
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
