//! Caches that are a folder of files over HTTP: ccache, Gradle, sccache over WebDAV.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use http::{HeaderMap, Method, StatusCode, header};

use super::HttpError;
use super::body::{give, object, receive};
use crate::guard::{Asker, Deed};
use crate::store::{Family, Function, Store};

pub(super) fn routes() -> Router<Store> {
    let delete_ccache = |asked: Asked| delete_file(asked, Family::Ccache);
    Router::new()
        .route("/ccache/{*path}", files(Family::Ccache).delete(delete_ccache))
        .route("/gradle/{key}", files(Family::Gradle))
        .route("/webdav/{*path}", any(webdav))
        .route("/webdav/", any(webdav_root))
}

/// Files of a family, to be got and put.
fn files(family: Family) -> MethodRouter<Store> {
    get(move |asked: Asked| get_file(asked, family))
        .put(move |asked: Asked, headers: HeaderMap, body: Body| put_file(asked, family, headers, body))
}

type Asked = (State<Store>, Asker, Path<String>);

async fn get_file((State(store), asker, Path(path)): Asked, family: Family) -> Result<Response, HttpError> {
    asker.may(Deed::Read)?;
    let object = object(&store, &asker, (family, &path)).await?;
    give(object.ok_or(HttpError::NotFound)?.download).await
}

async fn put_file(
    (State(store), asker, Path(path)): Asked,
    family: Family,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, HttpError> {
    asker.may(Deed::WriteResult)?;
    let upload = receive(&store, Function::Blake3, &headers, body).await?;
    store.keep_object(&asker.scope, (family, &path), upload, BTreeMap::new(), asker.made()).await?;
    asker.has_put(format_args!("{}/{path}", family.name()));
    Ok(StatusCode::CREATED)
}

async fn delete_file(
    (State(store), asker, Path(path)): Asked,
    family: Family,
) -> Result<StatusCode, HttpError> {
    asker.may(Deed::Remove)?;
    store.remove_object(&asker.scope, family, &path).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What of WebDAV (RFC 4918) a cache needs: files that are put, got and removed, whatever folders they are in.
async fn webdav(
    store: State<Store>,
    asker: Asker,
    path: Path<String>,
    method: Method,
    OriginalUri(original): OriginalUri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    let asked = (store, asker, path);
    match method.as_str() {
        "GET" | "HEAD" => get_file(asked, Family::WebDav).await,
        "PUT" => Ok(put_file(asked, Family::WebDav, headers, body).await?.into_response()),
        "DELETE" => Ok(delete_file(asked, Family::WebDav).await?.into_response()),
        // Folders need not be made.
        "MKCOL" => {
            asked.1.may(Deed::WriteResult)?;
            Ok(StatusCode::CREATED.into_response())
        }
        "PROPFIND" => find_properties(asked, original.path()).await,
        "OPTIONS" => Ok(options()),
        _ => Err(HttpError::NoSuchMethod),
    }
}

async fn webdav_root(
    asker: Asker,
    method: Method,
    OriginalUri(original): OriginalUri,
) -> Result<Response, HttpError> {
    asker.may(Deed::Read)?;
    match method.as_str() {
        "OPTIONS" => Ok(options()),
        "PROPFIND" => Ok(properties(original.path(), None)),
        "MKCOL" => Ok(StatusCode::CREATED.into_response()),
        _ => Err(HttpError::NoSuchMethod),
    }
}

fn options() -> Response {
    let allowed = "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, PROPFIND";
    ([("dav", "1"), ("allow", allowed)], StatusCode::OK).into_response()
}

/// Tells whether a file is there, and how long it is. A path that ends with a slash is a folder, and is there.
async fn find_properties(
    (State(store), asker, Path(path)): Asked,
    original: &str,
) -> Result<Response, HttpError> {
    asker.may(Deed::Read)?;
    let bytes = if path.ends_with('/') {
        None
    } else {
        let object = store.object(&asker.scope, Family::WebDav, &path).await?;
        Some(object.ok_or(HttpError::NotFound)?.download.bytes())
    };
    Ok(properties(original, bytes))
}

fn properties(path: &str, bytes: Option<u64>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/xml; charset=utf-8")];
    (StatusCode::MULTI_STATUS, content_type, properties_text(path, bytes)).into_response()
}

/// The properties of one file, or of a folder, as RFC 4918 has them, under the path by which it was asked for.
pub(crate) fn properties_text(path: &str, bytes: Option<u64>) -> String {
    // What a path in a URL has as it is and XML has not.
    let path = path.replace('&', "&amp;");
    let kind = match bytes {
        Some(bytes) => format!("<D:resourcetype/><D:getcontentlength>{bytes}</D:getcontentlength>"),
        None => "<D:resourcetype><D:collection/></D:resourcetype>".to_owned(),
    };
    // Entries do not tell when they were written; what never changes may say any time.
    let modified = "<D:getlastmodified>Thu, 01 Jan 1970 00:00:00 GMT</D:getlastmodified>";
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><D:multistatus xmlns:D=\"DAV:\"><D:response>\
         <D:href>{path}</D:href><D:propstat><D:prop>{kind}{modified}</D:prop>\
         <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"
    )
}
