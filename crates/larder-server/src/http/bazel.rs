//! `/ac/HASH` and `/cas/HASH`, as Bazel's HTTP cache has them.
//!
//! What is put under `/ac/` is an action result if it reads as one, as a message or as JSON, and is then given only
//! while all that it names is there, in the form that is asked for. So is JSON that says more than this knows of, but as
//! it came. Other clients put there what they like: that is kept as it is.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use larder::key::Digest;
use larder::tier::Brief;

use super::HttpError;
use super::body::{give, receive, receive_into};
use super::results::{self, Put};
use crate::guard::{Asker, Deed};
use crate::store::{ContentId, Function, Outcome, Store};

pub(super) fn routes() -> Router<Store> {
    Router::new()
        .route("/ac/{hash}", get(get_result).put(put_result))
        .route("/cas/{hash}", get(get_content).put(put_content))
}

fn id(hash: &str) -> Result<ContentId, HttpError> {
    let digest: Digest = hash.parse().map_err(|_| HttpError::Malformed("a hash is 64 hexadecimal digits"))?;
    Ok(ContentId { function: Function::Sha256, digest })
}

async fn get_content(
    State(store): State<Store>,
    asker: Asker,
    Path(hash): Path<String>,
) -> Result<Response, HttpError> {
    asker.may(Deed::Read)?;
    match store.open(&asker.scope, id(&hash)?).await? {
        Some(download) => give(download).await,
        None => Err(HttpError::NotFound),
    }
}

async fn put_content(
    State(store): State<Store>,
    asker: Asker,
    Path(hash): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, HttpError> {
    asker.may(Deed::WriteContent)?;
    let id = id(&hash)?;
    let upload = receive(&store, id.function, &headers, body).await?;
    store.keep(&asker.scope, id, (upload, Brief::InPlace), asker.name()).await?;
    Ok(StatusCode::OK)
}

async fn get_result(
    State(store): State<Store>,
    asker: Asker,
    Path(hash): Path<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    asker.may(Deed::Read)?;
    let id = id(&hash)?;
    // Over gRPC a turn for it is the same.
    let mut asking = asker.ask(|| format!("ac/{id}"));
    loop {
        let outcome = store.outcome(&asker.scope, id).await?;
        if !asking.again(outcome.is_some()).await {
            return match outcome.ok_or(HttpError::NotFound)? {
                Outcome::Result(result, message) => {
                    Ok(written(&result, message, is_json(&headers, header::ACCEPT)))
                }
                Outcome::Naming(download) => {
                    let mut response = give(download).await?;
                    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
                    Ok(response)
                }
                Outcome::Opaque(download) => give(download).await,
            };
        }
    }
}

async fn put_result(
    State(store): State<Store>,
    asker: Asker,
    Path(hash): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, HttpError> {
    asker.may(Deed::WriteResult)?;
    let (id, made) = (id(&hash)?, asker.made());
    let is_json = is_json(&headers, header::CONTENT_TYPE);
    let upload = receive_into(|announced| store.upload_outcome(announced, is_json), &headers, body).await?;
    let came = upload.finish().await?;
    let bytes = store.may_be_result(&came, is_json).await?;
    match bytes.and_then(|bytes| results::read(&bytes, is_json)) {
        Some(Put::Result(result, message)) => {
            store.keep_result(&asker.scope, id, (&result, message), made).await?;
        }
        Some(Put::Naming(names)) => {
            store.keep_other(&asker.scope, id, (came, Some(&*names)), made).await?;
        }
        None => store.keep_other(&asker.scope, id, (came, None), made).await?,
    }
    asker.has_put(format_args!("ac/{id}"));
    Ok(StatusCode::OK)
}

/// An action result in the form that is asked for.
fn written(result: &reapi::ActionResult, message: Bytes, as_json: bool) -> Response {
    let (content_type, bytes) = match as_json.then(|| serde_json::to_vec(result)) {
        Some(Ok(json)) => (JSON, json.into()),
        _ => ("application/octet-stream", message),
    };
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

const JSON: &str = "application/json";

fn is_json(headers: &HeaderMap, name: header::HeaderName) -> bool {
    headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.starts_with(JSON))
}
