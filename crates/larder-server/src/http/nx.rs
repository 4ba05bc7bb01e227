//! Nx' self-hosted cache, as its OpenAPI description has it: archives under a hash, written once.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, StatusCode};

use super::HttpError;
use super::body::{give, object, receive};
use crate::guard::{Asker, Deed};
use crate::store::{Family, Function, Made, Store};

pub(super) fn routes() -> Router<Store> {
    Router::new().route("/v1/cache/{hash}", get(get_archive).put(put_archive))
}

async fn get_archive(
    State(store): State<Store>,
    asker: Asker,
    Path(hash): Path<String>,
) -> Result<Response, HttpError> {
    asker.may(Deed::Read)?;
    let object = object(&store, &asker, (Family::Nx, &hash)).await?;
    give(object.ok_or(HttpError::NotFound)?.download).await
}

async fn put_archive(
    State(store): State<Store>,
    asker: Asker,
    Path(hash): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, HttpError> {
    asker.may(Deed::WriteResult)?;
    if store.has_object(&asker.scope, Family::Nx, &hash).await? {
        return Err(HttpError::WriteOnce);
    }
    let upload = receive(&store, Function::Blake3, &headers, body).await?;
    let made = Made { once: true, ..asker.made() };
    store.keep_object(&asker.scope, (Family::Nx, &hash), upload, BTreeMap::new(), made).await?;
    asker.has_put(format_args!("nx/{hash}"));
    Ok(StatusCode::OK)
}
