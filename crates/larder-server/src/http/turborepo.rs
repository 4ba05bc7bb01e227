//! Turborepo's remote cache, version 8: artifacts under a hash, with what their client said of them.
//!
//! A tag is the client's own signature over the artifact: the server keeps it and gives it back, and only clients with
//! the same key can check it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use larder::key::Key;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::HttpError;
use super::body::{give, next, object, receive, stated_length};
use crate::guard::{Asker, Deed};
use crate::store::{Family, Function, Made, Store};

/// What a client says of an artifact and gets back with it.
const FACTS: [&str; 3] = ["x-artifact-tag", "x-artifact-duration", "x-artifact-sha"];

/// How many artifacts may be asked for at once.
const MAX_ASKED: usize = 10_000;

/// How long a question is at most: so many names as long as they may be, with quotes and a comma, and what is around them.
const LARGEST_QUESTION_BYTES: usize = MAX_ASKED * (Key::MAX_ID_BYTES + 3) + 1024;

/// How many bytes of questions may be there at once; more wait.
const QUESTIONS_BYTES: usize = 6 * LARGEST_QUESTION_BYTES;

/// How long a question may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn routes() -> Router<Store> {
    let room = Arc::new(Semaphore::new(QUESTIONS_BYTES));
    let which = move |store: State<Store>, asker: Asker, headers: HeaderMap, body: Body| {
        which((store, asker), headers, body, Arc::clone(&room))
    };
    Router::new()
        .route("/v8/artifacts/status", get(status))
        .route("/v8/artifacts/events", post(events))
        .route("/v8/artifacts", post(which))
        .route("/v8/artifacts/{hash}", get(get_artifact).put(put_artifact))
}

async fn status(asker: Asker) -> Result<Response, HttpError> {
    asker.may(Deed::Read)?;
    Ok(json(r#"{"status":"enabled"}"#.to_owned()))
}

/// Takes what a client says of its hits and misses, which are counted here anyway.
async fn events(asker: Asker, mut body: Body) -> Result<StatusCode, HttpError> {
    asker.may(Deed::Read)?;
    let mut left = LARGEST_QUESTION_BYTES;
    while let Some(piece) = next(&mut body).await? {
        left = left.checked_sub(piece.len()).ok_or(HttpError::TooLong)?;
    }
    Ok(StatusCode::OK)
}

#[derive(Deserialize)]
struct Asked {
    hashes: Vec<String>,
}

/// Which of some artifacts are there, with their sizes.
async fn which(
    (State(store), asker): (State<Store>, Asker),
    headers: HeaderMap,
    body: Body,
    room: Arc<Semaphore>,
) -> Result<Response, HttpError> {
    asker.may(Deed::Read)?;
    let stated = stated_length(&headers)?.and_then(|bytes| usize::try_from(bytes).ok());
    let most = stated.unwrap_or(LARGEST_QUESTION_BYTES);
    if most > LARGEST_QUESTION_BYTES {
        return Err(HttpError::TooLong);
    }
    // It is not closed.
    let _room = room.acquire_many(most as u32).await;
    let question = tokio::time::timeout(PATIENCE, question(body, most)).await;
    let hashes = asked(&question.map_err(|_| HttpError::Slow)??)?;
    let mut told = serde_json::Map::new();
    for hash in hashes {
        let artifact = store.object(&asker.scope, Family::Turborepo, &hash).await?;
        let artifact = artifact.map(|artifact| {
            let duration =
                artifact.facts.get("x-artifact-duration").and_then(|text| text.parse::<u64>().ok());
            let tag = artifact.facts.get("x-artifact-tag");
            let size = artifact.download.bytes();
            serde_json::json!({ "size": size, "taskDurationMs": duration.unwrap_or(0), "tag": tag })
        });
        told.insert(hash, artifact.unwrap_or(serde_json::Value::Null));
    }
    Ok(json(serde_json::Value::Object(told).to_string()))
}

/// A whole question of at most so many bytes.
async fn question(mut body: Body, most: usize) -> Result<Vec<u8>, HttpError> {
    let mut question = Vec::new();
    while let Some(piece) = next(&mut body).await? {
        if question.len() + piece.len() > most {
            return Err(HttpError::TooLong);
        }
        question.extend_from_slice(&piece);
    }
    Ok(question)
}

/// The artifacts that somebody asks for.
pub(crate) fn asked(body: &[u8]) -> Result<Vec<String>, HttpError> {
    let malformed = HttpError::Malformed("it asks with {\"hashes\": […]}");
    let Ok(Asked { hashes }) = serde_json::from_slice(body) else { return Err(malformed) };
    if hashes.len() > MAX_ASKED {
        return Err(HttpError::Malformed("it asks for too many artifacts at once"));
    }
    Ok(hashes)
}

async fn get_artifact(
    State(store): State<Store>,
    asker: Asker,
    Path(hash): Path<String>,
) -> Result<Response, HttpError> {
    asker.may(Deed::Read)?;
    let object = object(&store, &asker, (Family::Turborepo, &hash)).await?;
    let object = object.ok_or(HttpError::NotFound)?;
    let mut response = give(object.download).await?;
    for (name, value) in &object.facts {
        // What was kept came as a header.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

async fn put_artifact(
    State(store): State<Store>,
    asker: Asker,
    Path(hash): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    asker.may(Deed::WriteResult)?;
    let fact = |name: &&str| Some(((*name).to_owned(), headers.get(*name)?.to_str().ok()?.to_owned()));
    let facts: BTreeMap<String, String> = FACTS.iter().filter_map(fact).collect();
    let millis = facts.get("x-artifact-duration").and_then(|text| text.parse().ok());
    let cost = millis.map(Duration::from_millis).unwrap_or_default();
    let upload = receive(&store, Function::Blake3, &headers, body).await?;
    let made = Made { cost, ..asker.made() };
    store.keep_object(&asker.scope, (Family::Turborepo, &hash), upload, facts, made).await?;
    asker.has_put(format_args!("turborepo/{hash}"));
    Ok((StatusCode::ACCEPTED, json(r#"{"urls":[]}"#.to_owned())).into_response())
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
