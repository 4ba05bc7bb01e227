//! Nx' self-hosted cache, as its OpenAPI description has it: archives under a hash, written once.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};

use super::body::{give, receive};
use super::{Asker, HttpError};
use crate::guard::Role;
use crate::store::{Family, Function, Store};

pub(super) fn routes() -> Router<Store> {
    Router::new().route("/v1/cache/{hash}", get(get_archive).put(put_archive))
}

async fn get_archive(
    State(store): State<Store>,
    asker: Asker,
    Path(hash): Path<String>,
) -> Result<Response, HttpError> {
    asker.may(Role::Read)?;
    match store.object(&asker.scope, Family::Nx, &hash).await? {
        Some(object) => give(object.download).await,
        None => Err(HttpError::NotFound),
    }
}

async fn put_archive(
    State(store): State<Store>,
    asker: Asker,
    Path(hash): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, HttpError> {
    asker.may(Role::Write)?;
    if store.has_object(&asker.scope, Family::Nx, &hash).await? {
        return Err(HttpError::WriteOnce);
    }
    let upload = receive(&store, Function::Blake3, &headers, body).await?;
    let made = (asker.identity.name(), Duration::ZERO);
    store.keep_object(&asker.scope, (Family::Nx, &hash), upload, BTreeMap::new(), made).await?;
    Ok(StatusCode::OK)
}
