//! What a request sets to work: its prompts as jobs of a model's batch.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::try_join_all;
use woolly_engine::sampler::Params;
use woolly_engine::session::Until;

use super::App;
use super::error::{ApiError, Result};
use super::form;
use super::options::{MAX_CHOICES, Options};
use super::pieces::Piece;
use super::sse;
use super::timings::seconds;
use crate::serve::job::{Answer, Done, Event, Failure, Job};
use crate::serve::models::{ModelError, Served};

/// Jobs that were accepted, and what they were asked for with. Dropping it cancels them.
pub struct Work {
    /// The model.
    pub served: Arc<Served>,
    /// What clients call it.
    pub model: String,
    /// The answers, those to the first prompt first.
    pub answers: Vec<Answer>,
    /// What was asked for each of them.
    pub jobs: Vec<Job>,
    /// Answers to each prompt.
    pub choices: usize,
    /// How long a stream may be silent; `None`: for ever.
    pub ping: Option<Duration>,
    /// Its name.
    pub id: String,
    /// When it was asked for, in seconds since 1970.
    pub created: u64,
}

/// An answer as a whole.
pub struct Whole {
    /// Its text and tokens.
    pub piece: Piece,
    /// Its end.
    pub done: Done,
    /// The slot that it had.
    pub slot: usize,
}

/// What is to be reported with each token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// How many of the likeliest tokens.
    pub top: Option<usize>,
    /// Whether with the probabilities that the sampler drew from.
    pub post_sampling: bool,
}

impl App {
    /// The model of a request.
    pub async fn served(&self, options: &Options) -> Result<Arc<Served>> {
        self.named(options.model.as_deref()).await
    }

    /// The model of this name. Where there is but one, it answers to every name: clients bring those of other services.
    pub async fn named(&self, name: Option<&str>) -> Result<Arc<Served>> {
        let is_alias = |name: &str| self.settings.aliases.iter().any(|alias| alias == name);
        let name = name.filter(|name| !name.is_empty() && !is_alias(name));
        match self.models.get(name).await {
            Err(ModelError::Unknown(_)) if self.settings.only_model => Ok(self.models.get(None).await?),
            found => Ok(found?),
        }
    }

    /// What clients call a model: the default one may have other names.
    pub fn title(&self, name: &str) -> String {
        let is_default = || self.models.default_name().is_some_and(|default| default == name);
        let alias = self.settings.aliases.first().filter(|_| is_default());
        alias.map_or(name, String::as_str).to_string()
    }

    /// Sets the batch to work on `prompts`.
    pub async fn work(
        &self,
        served: Arc<Served>,
        prompts: Vec<Vec<u32>>,
        options: &Options,
        report: Report,
    ) -> Result<Work> {
        options.check()?;
        let choices = options.choices()?;
        if prompts.len() * choices > MAX_CHOICES {
            let found = prompts.len() * choices;
            return Err(ApiError::invalid(format!("expected at most {MAX_CHOICES} answers at once, found {found}")));
        }
        let params = options.params(&self.defaults(&served)?, served.model.tokenizer(), served.batch.context())?;
        let grammar = form::grammar(&served, options).await?;
        let job = |prompt: &Vec<u32>, choice: u64| -> Result<Job> {
            let seed = params.seed.wrapping_add(choice);
            let job = self.job(prompt.clone(), Params { seed, ..params.clone() }, options, report)?;
            Ok(Job { grammar: grammar.clone(), ..job })
        };
        let each = prompts.iter().flat_map(|prompt| (0..choices as u64).map(move |choice| (prompt, choice)));
        let jobs: Vec<Job> = each.map(|(prompt, choice)| job(prompt, choice)).collect::<Result<_>>()?;
        let answers = jobs.iter().map(|job| served.batch.submit(job.clone())).collect::<Result<_, Failure>>()?;
        let model = self.title(&served.name);
        Ok(Work {
            served,
            model,
            answers,
            jobs,
            choices,
            ping: sse::ping(options.sse_ping_interval),
            id: new_id()?,
            created: seconds(SystemTime::now()),
        })
    }

    /// How tokens are chosen where a request does not say.
    pub fn defaults(&self, served: &Served) -> Result<Params> {
        let given = &self.settings.sampling;
        let seed = crate::sampling::seed(given.seed).map_err(|cause| ApiError::internal(cause.to_string()))?;
        crate::sampling::params(given, seed, served.batch.context(), served.advice)
            .map_err(|cause| ApiError::internal(cause.to_string()))
    }

    fn job(&self, prompt: Vec<u32>, sampling: Params, options: &Options, report: Report) -> Result<Job> {
        let max_tokens = options.max_tokens(self.settings.max_tokens)?;
        let ignore_end = sampling.ignore_eos;
        Ok(Job {
            prompt,
            sampling,
            until: Until { max_tokens, stop: options.stops()?, ignore_end },
            grammar: None,
            top: report.top,
            post_sampling: report.post_sampling,
            cache_prompt: options.cache_prompt.unwrap_or(true),
            slot: options.slot()?,
            deadline: self.settings.timeout.and_then(|time| Instant::now().checked_add(time)),
        })
    }
}

impl Work {
    /// Waits for all answers.
    pub async fn whole(&mut self) -> Result<Vec<Whole>> {
        let answers = std::mem::take(&mut self.answers);
        let served = &self.served;
        Ok(try_join_all(answers.into_iter().map(|answer| whole(answer, served))).await?)
    }

    /// The text of an answer's prompt, special tokens included.
    pub fn prompt_text(&self, answer: usize) -> String {
        let text = self.served.model.tokenizer().decode(&self.jobs[answer].prompt, true);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// What names the build and the model: the same ones give the same answers.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.served)
    }
}

/// What names the build and the model.
pub fn fingerprint(served: &Served) -> String {
    let model = served.model.gguf().fingerprint().unwrap_or(0);
    format!("b{}-{model:016x}", env!("CARGO_PKG_VERSION"))
}

async fn whole(mut answer: Answer, served: &Served) -> Result<Whole, Failure> {
    let mut piece = Piece::default();
    let mut slot = 0;
    while let Some(event) = answer.events.recv().await {
        match event {
            Event::Started(id) => slot = id,
            Event::Prompt(_) => {}
            Event::Token(token) => piece.add(token, served.model.tokenizer()),
            Event::Done(done) => return Ok(Whole { piece, done: *done, slot }),
            Event::Failed(failure) => return Err(failure),
        }
    }
    Err(Failure::Closing)
}

fn new_id() -> Result<String> {
    let number = || getrandom::u64().map_err(|cause| ApiError::internal(format!("no randomness: {cause}")));
    Ok(format!("{:016x}{:016x}", number()?, number()?))
}
