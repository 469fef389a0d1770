//! `/slots`

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::serve::http::App;
use crate::serve::http::error::{ApiError, Result};
use crate::serve::http::extract::{MaybeBody, Path, Query};
use crate::serve::http::timings::milliseconds;
use crate::serve::job::{SlotAction, SlotDone, SlotState};

/// The longest name of a file.
const MAX_NAME: usize = 200;

/// A slot: where an answer is computed.
#[derive(Serialize, ToSchema)]
pub struct Slot {
    id: usize,
    /// Positions.
    n_ctx: usize,
    /// Tokens in its cache.
    n_past: usize,
    is_processing: bool,
    /// The job that it works on.
    #[serde(skip_serializing_if = "Option::is_none")]
    id_task: Option<u64>,
    /// Tokens of the job's prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_prompt_tokens: Option<usize>,
    /// Those that have been computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_prompt_tokens_processed: Option<usize>,
    /// How far its answer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<Vec<NextToken>>,
}

/// How far an answer is.
#[derive(Serialize, ToSchema)]
pub struct NextToken {
    /// Tokens that were generated.
    n_decoded: usize,
    /// Tokens that may follow; -1: no limit.
    n_remain: i64,
}

/// What is asked about slots.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SlotsQuery {
    /// The model's name; without it the default one.
    model: Option<String>,
    /// With `1`, the status is 503 while no slot is free.
    fail_on_no_slot: Option<String>,
}

/// What is to be done with a slot.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ActionQuery {
    /// What.
    #[param(inline)]
    action: Action,
    /// The model's name; without it the default one.
    model: Option<String>,
}

/// What can be done with a slot.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Write it to a file.
    Save,
    /// Read it from a file.
    Restore,
    /// Forget it.
    Erase,
}

/// The file to save to or restore from.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct SlotFile {
    /// Its name, in the folder that the server was started with.
    #[schema(example = "slot.bin", min_length = 1, max_length = 200)]
    filename: Option<String>,
}

/// What became of a slot.
#[derive(Serialize, ToSchema)]
pub struct SlotResult {
    id_slot: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n_saved: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n_written: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n_restored: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n_read: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n_erased: Option<usize>,
    timings: SlotTimings,
}

/// How long it took.
#[derive(Default, Serialize, ToSchema)]
pub struct SlotTimings {
    #[serde(skip_serializing_if = "Option::is_none")]
    save_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restore_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    erase_ms: Option<f64>,
}

/// List the slots, and what they do
#[utoipa::path(get, path = "/slots", tag = "llama-server", params(SlotsQuery), responses(
    (status = 200, description = "All slots", body = Vec<Slot>),
))]
pub async fn slots(State(app): State<Arc<App>>, Query(query): Query<SlotsQuery>) -> Result<Json<Vec<Slot>>> {
    check_enabled(&app)?;
    let served = app.named(query.model.as_deref()).await?;
    let slots = served.batch.slots();
    let wants_free = query.fail_on_no_slot.is_some_and(|value| value != "0");
    if wants_free && slots.iter().all(|slot| slot.job.is_some()) {
        return Err(ApiError::unavailable("no slot is free"));
    }
    Ok(Json(slots.into_iter().map(slot).collect()))
}

/// Save a slot's content to a file, restore it, or erase it
#[utoipa::path(post, path = "/slots/{id_slot}", tag = "llama-server", request_body(content = Option<SlotFile>),
    params(("id_slot" = usize, Path, description = "The slot's number"), ActionQuery),
    responses((status = 200, description = "What became of it", body = SlotResult)))]
pub async fn slot_action(
    State(app): State<Arc<App>>,
    Path(id): Path<usize>,
    Query(query): Query<ActionQuery>,
    MaybeBody(file): MaybeBody<SlotFile>,
) -> Result<Json<SlotResult>> {
    let served = app.named(query.model.as_deref()).await?;
    if id >= served.batch.parallel() {
        return Err(ApiError::field(
            "id_slot",
            format!("there is no slot {id}: expected less than {}", served.batch.parallel()),
        ));
    }
    let action = match query.action {
        Action::Save => SlotAction::Save(path(&app, file.filename.as_deref())?),
        Action::Restore => SlotAction::Restore(existing(path(&app, file.filename.as_deref())?)?),
        Action::Erase => SlotAction::Erase,
    };
    let done = served.batch.slot(id, action).await?;
    Ok(Json(result(id, query.action, file.filename, done)))
}

fn check_enabled(app: &App) -> Result<()> {
    if app.settings.slots { Ok(()) } else { Err(ApiError::disabled("this server was started with --no-slots")) }
}

fn slot(state: SlotState) -> Slot {
    let next = state.job.as_ref().map(|job| {
        let remain = job.until.max_tokens.map(|max| max.saturating_sub(job.predicted));
        NextToken { n_decoded: job.predicted, n_remain: remain.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1) }
    });
    Slot {
        id: state.id,
        n_ctx: state.context,
        n_past: state.tokens,
        is_processing: state.job.is_some(),
        id_task: state.job.as_ref().map(|job| job.id),
        n_prompt_tokens: state.job.as_ref().map(|job| job.prompt),
        n_prompt_tokens_processed: state.job.as_ref().map(|job| job.processed),
        next_token: next.map(|next| vec![next]),
    }
}

/// The file of this name in the folder for slots. A name has no folders in it, so it cannot lead elsewhere.
fn path(app: &App, name: Option<&str>) -> Result<PathBuf> {
    let Some(folder) = &app.settings.slot_folder else {
        return Err(ApiError::invalid(
            "this server was started without --slot-save-path: slots cannot be saved or restored",
        ));
    };
    let name = name.ok_or_else(|| ApiError::field("filename", "it is missing: expected the name of a file"))?;
    if !is_file_name(name) {
        let expected = format!("expected the name of a file, of letters, digits and -_. , at most {MAX_NAME} long");
        return Err(ApiError::field("filename", expected));
    }
    Ok(folder.join(name))
}

fn existing(path: PathBuf) -> Result<PathBuf> {
    // A link may lead anywhere.
    let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    if is_file { Ok(path) } else { Err(ApiError::field("filename", "there is no such file")) }
}

fn is_file_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.') && name.chars().all(fits)
}

fn result(id: usize, action: Action, filename: Option<String>, done: SlotDone) -> SlotResult {
    let (tokens, bytes, time) = (done.tokens, done.bytes, milliseconds(done.time));
    let empty = SlotResult {
        id_slot: id,
        filename,
        n_saved: None,
        n_written: None,
        n_restored: None,
        n_read: None,
        n_erased: None,
        timings: SlotTimings::default(),
    };
    match action {
        Action::Save => SlotResult {
            n_saved: Some(tokens),
            n_written: Some(bytes),
            timings: SlotTimings { save_ms: Some(time), ..SlotTimings::default() },
            ..empty
        },
        Action::Restore => SlotResult {
            n_restored: Some(tokens),
            n_read: Some(bytes),
            timings: SlotTimings { restore_ms: Some(time), ..SlotTimings::default() },
            ..empty
        },
        Action::Erase => SlotResult {
            n_erased: Some(tokens),
            timings: SlotTimings { erase_ms: Some(time), ..SlotTimings::default() },
            filename: None,
            ..empty
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_lead_nowhere_else() {
        for good in ["slot1.bin", "a", "conversation-7_x.bin"] {
            assert!(is_file_name(good), "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "a\0b", "C:x", &"x".repeat(201)] {
            assert!(!is_file_name(bad), "{bad}");
        }
    }
}
