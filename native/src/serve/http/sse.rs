//! Answers as server-sent events, while they are generated.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::http::{HeaderName, header};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream, SelectAll, Stream, StreamExt};
use serde_json::{Value, json};

use super::error::ApiError;
use super::pieces::Piece;
use super::timings::Timings;
use super::work::Work;
use crate::serve::job::{self, Answer, Done, Event, Failure, PromptProgress};

/// Seconds of silence after which a comment shows that the connection lives.
pub const PING_SECONDS: i64 = 15;

/// How an interface writes what happens to its answers. Answers are numbered from 0.
pub trait Writer: Send + 'static {
    /// Whether the stream ends with `[DONE]`.
    const ENDS_WITH_DONE: bool;

    /// An answer has a slot.
    fn started(&mut self, _answer: usize, _slot: usize) -> Option<Value> {
        None
    }

    /// So much of a prompt has been computed.
    fn progress(&mut self, _answer: usize, _progress: &PromptProgress) -> Option<Value> {
        None
    }

    /// There is more text.
    fn piece(&mut self, answer: usize, piece: Piece) -> Value;

    /// An answer is over; `rest` has tokens without text.
    fn done(&mut self, answer: usize, rest: Piece, done: &Done) -> Option<Value>;

    /// All answers are over.
    fn finished(&mut self, _timings: &[job::Timings]) -> Option<Value> {
        None
    }
}

/// The response that streams what comes of `work`. Dropping it cancels all of it.
pub fn response(writer: impl Writer, work: Work) -> Response {
    let ping = work.ping;
    let events = Flow::new(work, writer).into_stream();
    let headers = [(header::CACHE_CONTROL, "no-cache"), (HeaderName::from_static("x-accel-buffering"), "no")];
    match ping {
        Some(every) => (headers, Sse::new(events).keep_alive(KeepAlive::new().interval(every))).into_response(),
        None => (headers, Sse::new(events)).into_response(),
    }
}

/// How long silence may last, by what a request says.
pub fn ping(seconds: Option<i64>) -> Option<Duration> {
    let seconds = u64::try_from(seconds.unwrap_or(PING_SECONDS)).ok()?;
    // Once in a while is enough, and a number beyond all calendars is no time.
    (seconds > 0).then(|| Duration::from_secs(seconds.min(86_400)))
}

/// How far a prompt is, as llama-server reports it.
pub fn progress(progress: &PromptProgress) -> Value {
    json!({
        "total": progress.total,
        "cache": progress.cached,
        "processed": progress.processed,
        "time_ms": progress.time.as_millis() as u64,
    })
}

/// Adds timings to a chunk, where they were asked for.
pub fn add_timings(chunk: &mut Value, timings: Option<Timings>) {
    if let Some(timings) = timings {
        chunk["timings"] = json!(timings);
    }
}

/// Timings of answers that are under way.
pub struct Clock {
    answers: Vec<(job::Timings, Option<Instant>)>,
}

impl Clock {
    /// For so many answers.
    pub fn new(answers: usize) -> Self {
        Self { answers: vec![Default::default(); answers] }
    }

    /// So much of a prompt has been computed.
    pub fn prompt(&mut self, answer: usize, progress: &PromptProgress) -> Timings {
        let (timings, _) = &mut self.answers[answer];
        (timings.prompt, timings.cached, timings.prompt_time) = (progress.processed, progress.cached, progress.time);
        Timings::from(&*timings)
    }

    /// There are so many more tokens.
    pub fn tokens(&mut self, answer: usize, tokens: usize) -> Timings {
        let (timings, first) = &mut self.answers[answer];
        timings.predicted += tokens;
        timings.predicted_time = first.get_or_insert_with(Instant::now).elapsed();
        Timings::from(&*timings)
    }
}

/// The events of several answers, in the order in which they happen.
pub fn merge(answers: Vec<Answer>) -> impl Stream<Item = (usize, Event)> + Send + Unpin {
    let each = answers.into_iter().enumerate().map(|(index, mut answer)| -> BoxStream<'static, (usize, Event)> {
        stream::poll_fn(move |context| answer.events.poll_recv(context)).map(move |event| (index, event)).boxed()
    });
    each.collect::<SelectAll<_>>()
}

struct Flow<W> {
    work: Work,
    events: Box<dyn Stream<Item = (usize, Event)> + Send + Unpin>,
    writer: W,
    held: Vec<Piece>,
    timings: Vec<Option<job::Timings>>,
    ready: VecDeque<String>,
    over: bool,
}

impl<W: Writer> Flow<W> {
    fn new(mut work: Work, writer: W) -> Self {
        let answers = std::mem::take(&mut work.answers);
        let count = answers.len();
        Self {
            work,
            writer,
            held: (0..count).map(|_| Piece::default()).collect(),
            timings: vec![None; count],
            events: Box::new(merge(answers)),
            ready: VecDeque::new(),
            over: false,
        }
    }

    fn into_stream(self) -> impl Stream<Item = Result<SseEvent, Infallible>> + Send {
        stream::unfold(self, |mut flow| async move {
            loop {
                if let Some(data) = flow.ready.pop_front() {
                    return Some((Ok(SseEvent::default().data(data)), flow));
                }
                if flow.over {
                    return None;
                }
                match flow.events.next().await {
                    Some((answer, event)) => flow.take(answer, event),
                    None => flow.finish(),
                }
            }
        })
    }

    fn take(&mut self, answer: usize, event: Event) {
        let tokenizer = self.work.served.model.tokenizer();
        let value = match event {
            Event::Started(slot) => self.writer.started(answer, slot),
            Event::Prompt(progress) => self.writer.progress(answer, &progress),
            Event::Token(token) => {
                self.held[answer].push(token, tokenizer).map(|piece| self.writer.piece(answer, piece))
            }
            Event::Done(done) => {
                self.timings[answer] = Some(done.timings);
                let rest = std::mem::take(&mut self.held[answer]);
                self.writer.done(answer, rest, &done)
            }
            Event::Failed(failure) => return self.fail(failure),
        };
        self.ready.extend(value.map(|value| value.to_string()));
    }

    /// The end of all answers. An answer that ended without a word is one whose model is gone.
    fn finish(&mut self) {
        let timings: Option<Vec<job::Timings>> = self.timings.iter().copied().collect();
        let Some(timings) = timings else { return self.fail(Failure::Closing) };
        let last = self.writer.finished(&timings);
        self.ready.extend(last.map(|value| value.to_string()));
        if W::ENDS_WITH_DONE {
            self.ready.push_back("[DONE]".to_string());
        }
        self.over = true;
    }

    /// The status has been sent already: the error is an event.
    fn fail(&mut self, failure: Failure) {
        self.ready.push_back(json!(ApiError::from(failure).body()).to_string());
        self.over = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings() {
        assert_eq!(ping(None), Some(Duration::from_secs(15)));
        assert_eq!(ping(Some(-1)), None);
        assert_eq!(ping(Some(0)), None);
        assert_eq!(ping(Some(i64::MAX)), Some(Duration::from_secs(86_400)));
    }
}
