//! WebSocket `/v1/stream`: a request for each message, answered piece by piece.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::inference::{Streamed, done_event, token_event};
use crate::serve::http::App;
use crate::serve::http::error::{ApiError, Result};
use crate::serve::http::extract::Asked;
use crate::serve::http::pieces::Piece;
use crate::serve::http::sse::merge;
use crate::serve::http::work::Work;
use crate::serve::job::{Done, Event, Failure};

/// How long a connection may be silent before it is asked whether it lives.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a client may take to accept a message.
const SEND_TIME: Duration = Duration::from_secs(60);

/// The connection is over.
struct Gone;

/// Continue texts and conversations over a WebSocket
///
/// A message is an object as `/api/v1/inference/stream` takes it. The answer is `{"type": "token", "content": …}` again and
/// again (with `"stream": false`, once), then `{"type": "done", "usage": …}`, or `{"type": "error", "error": …}`. A
/// message `{"type": "stop"}` ends an answer early.
#[utoipa::path(get, path = "/v1/stream", tag = "Ole", responses(
    (status = 101, description = "The connection is a WebSocket now"),
    (status = 400, description = "The request asks for no WebSocket", body = crate::serve::http::error::ErrorBody),
    (status = 426, description = "The connection cannot become a WebSocket", body = crate::serve::http::error::ErrorBody),
))]
pub async fn socket(
    State(app): State<Arc<App>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    let upgrade = upgrade.map_err(refused)?;
    let limit = app.settings.body_limit;
    let upgrade = upgrade.max_message_size(limit).max_frame_size(limit);
    Ok(upgrade.on_upgrade(move |socket| async move {
        // However it ends, there is nobody left to tell.
        serve(&app, socket).await.err();
    }))
}

fn refused(rejection: WebSocketUpgradeRejection) -> ApiError {
    let status = match rejection.status() {
        StatusCode::UPGRADE_REQUIRED => StatusCode::UPGRADE_REQUIRED,
        _ => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, "invalid_request_error", format!("expected a WebSocket: {}", rejection.body_text()))
}

async fn serve(app: &Arc<App>, mut socket: WebSocket) -> Result<(), Gone> {
    while let Some(text) = receive(&mut socket).await? {
        match start(app, &text).await {
            Ok(Some((work, in_pieces))) => answer(&mut socket, work, in_pieces).await?,
            Ok(None) => {}
            Err(error) => send(&mut socket, error_event(&error)).await?,
        }
    }
    Ok(())
}

/// The next message; `None` at the end. A connection that is silent, and says nothing even when asked, is over.
async fn receive(socket: &mut WebSocket) -> Result<Option<String>, Gone> {
    let mut asked = false;
    loop {
        match timeout(SILENCE, socket.recv()).await {
            Err(_) if asked => return Err(Gone),
            Err(_) => {
                asked = true;
                put(socket, Message::Ping(Default::default())).await?;
            }
            Ok(None | Some(Ok(Message::Close(_)))) => return Ok(None),
            Ok(Some(Err(_))) => return Err(Gone),
            Ok(Some(Ok(Message::Text(text)))) => return Ok(Some(text.to_string())),
            Ok(Some(Ok(Message::Binary(bytes)))) => return Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => asked = false,
        }
    }
}

/// What a message asks for, and whether piece by piece; `None`: to stop, when nothing is under way.
async fn start(app: &Arc<App>, text: &str) -> Result<Option<(Work, bool)>> {
    if is_stop(text) {
        return Ok(None);
    }
    let json: Value =
        serde_json::from_str(text).map_err(|cause| ApiError::invalid(format!("the message is no JSON: {cause}")))?;
    let asked: Asked<Streamed> = Asked::from_json(&json)?;
    let in_pieces = asked.options.stream.unwrap_or(true);
    Ok(Some((app.ole_work(asked).await?, in_pieces)))
}

/// Sends an answer; dropping its events, when the client stops it or goes away, cancels it.
async fn answer(socket: &mut WebSocket, mut work: Work, in_pieces: bool) -> Result<(), Gone> {
    let mut events = merge(std::mem::take(&mut work.answers));
    let tokenizer = work.served.model.tokenizer();
    let mut held = Piece::default();
    loop {
        let event = tokio::select! {
            event = events.next() => event.map(|(_, event)| event),
            message = socket.recv() => match message {
                None | Some(Err(_) | Ok(Message::Close(_))) => return Err(Gone),
                Some(Ok(Message::Text(text))) if is_stop(&text) => return send(socket, json!({ "type": "done", "finish_reason": "stop", "usage": null })).await,
                Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                    let busy = ApiError::invalid("an answer is under way: expected to wait for its end, or {\"type\": \"stop\"}");
                    send(socket, error_event(&busy)).await?;
                    continue;
                }
                Some(Ok(_)) => continue,
            },
        };
        match event {
            Some(Event::Started(_) | Event::Prompt(_)) => {}
            Some(Event::Token(token)) if !in_pieces => held.add(token, tokenizer),
            Some(Event::Token(token)) => {
                if let Some(piece) = held.push(token, tokenizer) {
                    send(socket, token_event(&piece.text)).await?;
                }
            }
            Some(Event::Done(done)) => return end(socket, held, &done).await,
            Some(Event::Failed(failure)) => return send(socket, error_event(&failure.into())).await,
            None => return send(socket, error_event(&Failure::Closing.into())).await,
        }
    }
}

async fn end(socket: &mut WebSocket, rest: Piece, done: &Done) -> Result<(), Gone> {
    if !rest.text.is_empty() {
        send(socket, token_event(&rest.text)).await?;
    }
    send(socket, done_event(done.finish.reason(), &done.timings)).await
}

fn is_stop(text: &str) -> bool {
    let json = serde_json::from_str::<Value>(text).unwrap_or_default();
    json.get("type").and_then(Value::as_str) == Some("stop")
}

fn error_event(error: &ApiError) -> Value {
    let mut event = json!(error.body());
    event["type"] = "error".into();
    event["message"] = error.message().into();
    event
}

async fn send(socket: &mut WebSocket, event: Value) -> Result<(), Gone> {
    put(socket, Message::Text(event.to_string().into())).await
}

async fn put(socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
    match timeout(SEND_TIME, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Gone),
    }
}
