//! The interfaces as a client sees them, without a network.

use std::ffi::OsString;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use woolly_engine::tokenizer::Tokenizer;
use woolly_tests::random_model::Recipe;

use super::router;
use crate::serve::config;

/// The vocabulary of the tests' model.
pub fn tokenizer() -> Tokenizer {
    woolly_tests::run::model(Recipe::new("", "llama").build()).tokenizer().clone()
}

/// A server with a tiny model, started with these options.
struct Server {
    router: Router,
    _folder: TempDir,
}

/// What came back.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Server {
    async fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        std::fs::write(&path, Recipe::new("", "llama").build()).unwrap();
        let fixed =
            ["--ctx=128", "--parallel=2", "--threads=1", "--queue=8", "--cache-ram=1M", "--seed=7", "--offline"];
        let first = ["woolly", "serve", path.to_str().unwrap()];
        let words = first.iter().chain(&fixed).chain(options);
        let line: Vec<OsString> = words.map(OsString::from).collect();
        let (global, serve) = config::settle(&line, |_| None).unwrap();
        let app = Arc::new(crate::serve::app(*serve, &global).unwrap());
        app.models.get(None).await.map(|_| ()).unwrap();
        Self { router: router(app), _folder: folder }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|cause| panic!("{cause}: {}", self.text))
    }

    /// The value of an answer that is no error.
    fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.json()
    }

    /// The type and the message of an error, whose status this has to be.
    fn error(&self, status: u16) -> (String, String) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let error = &self.json()["error"];
        assert_eq!(error["code"], status);
        (error["type"].as_str().unwrap().to_string(), error["message"].as_str().unwrap().to_string())
    }

    /// The values of a stream's events.
    fn events(&self) -> Vec<Value> {
        assert_eq!(self.headers[header::CONTENT_TYPE], "text/event-stream");
        let data = self.text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

fn chat(fields: Value) -> Value {
    let mut body = json!({ "messages": [{ "role": "user", "content": "Hi" }], "max_tokens": 8, "ignore_eos": true });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let server = Server::start(&[]).await;
    let whole = server.post("/v1/chat/completions", chat(json!({}))).await.ok();
    let content = whole["choices"][0]["message"]["content"].as_str().unwrap().to_string();
    assert_eq!(
        (&whole["usage"]["completion_tokens"], &whole["choices"][0]["finish_reason"]),
        (&json!(8), &json!("length"))
    );

    let fields = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let reply = server.post("/v1/chat/completions", chat(fields)).await;
    assert!(reply.text.ends_with("data: [DONE]\n\n"), "{}", reply.text);
    let events = reply.events();
    assert_eq!(events[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": null }));
    let pieces = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(pieces.collect::<String>(), content);
    let last = events.last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &whole["usage"]["total_tokens"]));
}

#[tokio::test]
async fn several_answers_differ_by_their_seeds() {
    let server = Server::start(&[]).await;
    let body = chat(json!({ "n": 2, "temperature": 5.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0 }));
    let both = server.post("/v1/chat/completions", body.clone()).await.ok();
    let content = |index: usize| both["choices"][index]["message"]["content"].clone();
    assert_ne!(content(0), content(1));
    assert_eq!(server.post("/v1/chat/completions", body).await.ok()["choices"], both["choices"]);
}

#[tokio::test]
async fn probabilities_come_in_each_interfaces_shape() {
    let server = Server::start(&[]).await;
    let answer = server.post("/v1/chat/completions", chat(json!({ "logprobs": true, "top_logprobs": 3 }))).await.ok();
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!((tokens.len(), tokens[0]["top_logprobs"].as_array().unwrap().len()), (8, 3));
    assert!(tokens[0]["logprob"].as_f64().unwrap() < 0.0);

    let body = json!({ "prompt": "a b", "max_tokens": 4, "logprobs": 2, "ignore_eos": true });
    let legacy = &server.post("/v1/completions", body).await.ok()["choices"][0]["logprobs"];
    for (field, count) in [("tokens", 4), ("token_logprobs", 4), ("text_offset", 4), ("top_logprobs", 4)] {
        assert_eq!(legacy[field].as_array().unwrap().len(), count, "{field}");
    }

    let body =
        json!({ "prompt": "a b", "n_predict": 4, "n_probs": 2, "post_sampling_probs": true, "ignore_eos": true });
    let token = &server.post("/completion", body).await.ok()["completion_probabilities"][0];
    assert!(token["prob"].as_f64().unwrap() > 0.0 && token["top_probs"].is_array(), "{token}");
}

#[tokio::test]
async fn prompts_of_all_forms() {
    let server = Server::start(&["--temp=0"]).await;
    let continued = async |prompt: Value| server.post("/completion", json!({ "prompt": prompt, "n_predict": 2 })).await;
    let tokens =
        server.post("/tokenize", json!({ "content": "a b", "add_special": true })).await.ok()["tokens"].clone();
    let text = continued(json!("a b")).await.ok()["content"].clone();
    for same in [json!(tokens), json!({ "prompt_string": "a b" })] {
        assert_eq!(continued(same.clone()).await.ok()["content"], text, "{same}");
    }
    let list = continued(json!([tokens, "a b", { "prompt_string": "a b" }, [1, "a"]])).await.ok();
    assert_eq!(list.as_array().unwrap().len(), 4);
    assert!((0..3).all(|index| list[index]["content"] == text && list[index]["index"] == index));
    assert!(continued(json!([1, "a", 5])).await.ok()["content"].is_string());
    for bad in
        [json!([]), json!(7), json!([1, [2]]), json!([-1]), json!([1_000_000]), json!({}), json!(null), json!([[]])]
    {
        continued(bad).await.error(400);
    }
    let picture = json!({ "prompt_string": "a", "multimodal_data": ["x"] });
    assert!(continued(picture).await.error(400).1.contains("text alone"));
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_its_name() {
    let server = Server::start(&[]).await;
    for (fields, name) in [
        (json!({ "tools": [{ "type": "function" }] }), "tools"),
        (json!({ "response_format": { "type": "sound" } }), "response_format.type"),
        (json!({ "response_format": { "type": "json_schema" } }), "response_format"),
        (json!({ "response_format": { "type": "json_object", "schema": { "type": "hiccup" } } }), "response_format"),
        (json!({ "grammar": "root ::= (" }), "grammar"),
        (json!({ "grammar": 5 }), "grammar"),
        (json!({ "json_schema": 123 }), "json_schema"),
        (json!({ "json_schema": {}, "grammar": "root ::= \"a\"" }), "json_schema"),
        (json!({ "temperature": "hot" }), "temperature"),
        (json!({ "top_p": 2 }), "top_p"),
        (json!({ "repeat_penalty": 0 }), "repeat_penalty"),
        (json!({ "n": 0 }), "n"),
        (json!({ "max_tokens": -2 }), "max_tokens"),
        (json!({ "logit_bias": { "1000000": 1 } }), "logit_bias"),
        (json!({ "logit_bias": { "5": true } }), "logit_bias"),
        (json!({ "id_slot": 9 }), ""),
        (json!({ "top_logprobs": 21, "logprobs": true }), "top_logprobs"),
        (json!({ "samplers": ["magic"] }), "samplers"),
        (json!({ "messages": [{ "role": "user", "content": 7 }] }), "messages[0].content"),
    ] {
        let reply = server.post("/v1/chat/completions", chat(fields)).await;
        assert_eq!(reply.error(400).0, "invalid_request_error");
        assert_eq!(reply.json()["error"]["param"].as_str().unwrap_or(""), name, "{}", reply.text);
    }
    let echo = json!({ "prompt": "a", "echo": true });
    assert!(server.post("/v1/completions", echo).await.error(400).1.contains("echo"));
}

#[tokio::test]
async fn answers_of_a_form() {
    let server = Server::start(&[]).await;
    let schema = json!({ "enum": ["one", "two"] });
    for fields in [
        json!({ "json_schema": schema }),
        json!({ "response_format": { "type": "json_object", "schema": schema } }),
        json!({ "response_format": { "type": "json_schema", "schema": schema } }),
        json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "strict": true, "schema": schema } } }),
        json!({ "grammar": "root ::= \"\\\"\" (\"one\" | \"two\") \"\\\"\"", "json_schema": null }),
    ] {
        let body = json!({ "prompt": "a", "messages": [{ "role": "user", "content": "a" }], "max_tokens": 20, "n": 3 });
        for (path, text) in
            [("/v1/chat/completions", "/message/content"), ("/v1/completions", "/text"), ("/completion", "/content")]
        {
            let mut body = body.clone();
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let answer = server.post(path, body).await.ok();
            let choices = answer.get("choices").unwrap_or(&answer).as_array().unwrap();
            assert_eq!(choices.len(), 3);
            for choice in choices {
                let said = choice.pointer(text).unwrap();
                assert!(said == "\"one\"" || said == "\"two\"", "{path} {fields}: {said}");
                let reason = choice.get("finish_reason").or(choice.get("stop_type")).unwrap();
                assert!(reason == "stop" || reason == "eos", "{reason}");
            }
        }
    }
    let free = json!({ "response_format": { "type": "text" }, "grammar": "" });
    assert_eq!(server.post("/v1/chat/completions", chat(free)).await.ok()["usage"]["completion_tokens"], 8);
}

#[tokio::test]
async fn prompts_longer_than_the_context() {
    let server = Server::start(&[]).await;
    let reply = server.post("/completion", json!({ "prompt": "long ".repeat(200) })).await;
    assert_eq!(reply.error(400).0, "exceed_context_size_error");
    assert!(reply.error(400).1.contains("exceeds the available context size"));
    assert_eq!(reply.json()["error"]["n_ctx"], 128);
}

#[tokio::test]
async fn errors_of_the_transport_have_the_same_shape() {
    let server = Server::start(&["--body-limit=1000"]).await;
    server.get("/nowhere").await.error(404);
    let wrong = server.get("/v1/chat/completions").await;
    wrong.error(405);
    assert_eq!(wrong.headers[header::ALLOW], "POST");
    let raw = async |kind: &str, body: Vec<u8>| {
        let request = Request::post("/tokenize").header(header::CONTENT_TYPE, kind);
        server.send(request.body(Body::from(body)).unwrap()).await
    };
    for bad in [&b"{"[..], b"", b"[]", b"null", b"\xff\xfe", b"{\"content\":1}"] {
        raw("application/json", bad.to_vec()).await.error(400);
    }
    raw("text/plain", b"{}".to_vec()).await.error(415);
    raw("application/json", vec![b' '; 2000]).await.error(413);
    raw("application/json", [vec![b'['; 400], vec![b']'; 400]].concat()).await.error(400);
    server.get("/slots/x").await.error(405);
    server.post("/slots/x?action=erase", json!({})).await.error(404);
    server.post("/slots/0?action=dance", json!({})).await.error(400);
    server.post("/slots/7?action=erase", json!({})).await.error(400);
    server.get("/v1/stream").await.error(400);
}

#[tokio::test]
async fn keys() {
    let server = Server::start(&["--api-key=secret", "--api-key=other"]).await;
    for public in ["/", "/health", "/v1/health", "/api/v1/health/live", "/openapi.json"] {
        assert_eq!(server.get(public).await.status, StatusCode::OK, "{public}");
    }
    for path in ["/v1/models", "/props", "/metrics", "/slots", "/nowhere"] {
        assert_eq!(server.get(path).await.error(401).0, "authentication_error", "{path}");
    }
    let with = async |name: &str, value: &str| {
        server.send(Request::get("/v1/models").header(name, value).body(Body::empty()).unwrap()).await.status
    };
    assert_eq!(with("Authorization", "Bearer secret").await, StatusCode::OK);
    assert_eq!(with("X-Api-Key", "other").await, StatusCode::OK);
    assert_eq!(with("Authorization", "Bearer secre").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn pages_from_elsewhere() {
    let request = |origin: &str| {
        let request = Request::post("/tokenize").header(header::HOST, "127.0.0.1:8080").header(header::ORIGIN, origin);
        request.body(Body::from("{\"content\": \"a\"}")).unwrap()
    };
    let closed = Server::start(&[]).await;
    closed.send(request("https://example.org")).await.error(403);
    closed.send(request("http://127.0.0.1:8080")).await.ok();

    let open = Server::start(&["--cors-origin=https://example.org"]).await;
    let reply = open.send(request("https://example.org")).await;
    assert_eq!(reply.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://example.org");
    open.send(request("https://example.com")).await.error(403);
    let ask = Request::options("/completion").header(header::ORIGIN, "https://example.org");
    let ask = ask.header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST").body(Body::empty()).unwrap();
    let reply = open.send(ask).await;
    assert_eq!(
        (reply.status, &reply.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN]),
        (StatusCode::OK, &"https://example.org".parse().unwrap())
    );
}

#[tokio::test]
async fn names_of_models() {
    let server = Server::start(&["--alias=ours,gpt"]).await;
    assert_eq!(server.get("/v1/models").await.ok()["data"][0]["id"], "ours");
    for name in ["ours", "gpt", "tiny", "some-other-service"] {
        let answer = server.post("/v1/chat/completions", chat(json!({ "model": name }))).await.ok();
        assert_eq!(answer["model"], "ours", "{name}");
    }
    assert_eq!(server.get("/api/v1/models/ours").await.ok()["state"], "ready");
    server.get("/api/v1/models/none").await.error(404);
    server.get("/v1/models/none").await.error(404);
}

#[tokio::test]
async fn oles_streams() {
    let server = Server::start(&[]).await;
    let body =
        json!({ "prompt": "a", "max_tokens": 3, "ignore_eos": true, "repetition_penalty": 1.1, "stop_sequences": [] });
    let events = server.post("/api/v1/inference/stream", body).await.events();
    assert!(events[..events.len() - 1].iter().all(|event| event["type"] == "token"));
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["usage"]["completion_tokens"]), (&json!("done"), &json!(3)));
    server.post("/api/v1/inference/stream", json!({})).await.error(400);
    assert!(server.post("/api/v1/inference/chat", chat(json!({}))).await.ok()["choices"].is_array());
}

#[tokio::test]
async fn what_a_server_was_told_not_to_offer() {
    let server = Server::start(&["--no-slots", "--no-metrics", "--no-ui"]).await;
    server.get("/slots").await.error(501);
    server.get("/metrics").await.error(501);
    server.get("/").await.error(404);
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/slots").await.ok().as_array().unwrap().len(), 2);
    assert!(server.get("/metrics").await.text.contains("llamacpp:tokens_predicted_total"));
    assert!(
        server.post("/slots/0?action=save", json!({ "filename": "x" })).await.error(400).1.contains("--slot-save-path")
    );
}

#[tokio::test]
async fn the_page_runs_nothing_but_its_own() {
    let server = Server::start(&[]).await;
    let (one, other) = (server.get("/").await, server.get("/").await);
    let policy = one.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(one.text.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    assert!(!one.text.contains("{{nonce}}") && one.text != other.text);
}

#[tokio::test]
async fn the_document_knows_all_routes_and_refers_to_what_exists() {
    let server = Server::start(&[]).await;
    let document = server.get("/openapi.json").await.ok();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is missing");
    }
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/v1/chat/completions",
        "/chat/completions",
        "/completion",
        "/slots/{id_slot}",
        "/api/v1/models/{name}/load",
        "/v1/stream",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    let responses = document["paths"]["/v1/chat/completions"]["post"]["responses"].as_object().unwrap();
    for status in ["200", "400", "401", "403", "404", "408", "413", "415", "500", "503", "504"] {
        assert!(responses.contains_key(status), "{status}");
    }
}
