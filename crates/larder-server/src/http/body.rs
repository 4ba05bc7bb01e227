//! Bodies on their way in and out, with constant memory.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;

use super::HttpError;
use crate::guard::Asker;
use crate::serve::TooSlow;
use crate::store::{Coding, Download, Family, Function, Object, Store, StoreError, Upload};

/// The length that a client states for its body, if it does.
pub(super) fn stated_length(headers: &HeaderMap) -> Result<Option<u64>, HttpError> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or(HttpError::Malformed("the content's length is no number"))
}

/// The next piece of a body; `None` at its end.
pub(super) async fn next(body: &mut Body) -> Result<Option<Bytes>, HttpError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) if TooSlow::is_cause_of(&error) => return Err(HttpError::Slow),
            Some(Err(_)) => return Err(HttpError::Broken),
            // Trailers are no part of it.
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

/// Takes a whole body as a content or an object.
pub(super) async fn receive(
    store: &Store,
    function: Function,
    headers: &HeaderMap,
    body: Body,
) -> Result<Upload, HttpError> {
    receive_into(|announced| store.upload(function, announced), headers, body).await
}

/// Takes a whole body as what `begin` begins, given the length that is announced.
pub(super) async fn receive_into(
    begin: impl FnOnce(Option<u64>) -> Result<Upload, StoreError>,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<Upload, HttpError> {
    // RFC 9110, 14.4: it would be kept as the whole.
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(HttpError::Malformed("contents are taken whole, and not in ranges"));
    }
    let packed = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"zstd") => true,
        Some(_) => return Err(HttpError::Malformed("contents are taken as they are or packed with zstd")),
    };
    // The stated length is that of the body as it comes.
    let announced = stated_length(headers)?.filter(|_| !packed);
    let mut upload = begin(announced)?;
    if packed {
        upload = upload.packed()?;
    }
    while let Some(piece) = next(&mut body).await? {
        upload.write(&piece).await?;
    }
    Ok(upload)
}

/// An object, after waiting for whoever makes it if the scope says so.
pub(super) async fn object(
    store: &Store,
    asker: &Asker,
    (family, id): (Family, &str),
) -> Result<Option<Object>, HttpError> {
    let mut asking = asker.ask(|| format!("{}/{id}", family.name()));
    loop {
        let found = store.object(&asker.scope, family, id).await?;
        if !asking.again(found.is_some()).await {
            return Ok(found);
        }
    }
}

/// A response with a whole content.
pub(super) async fn give(download: Download) -> Result<Response, HttpError> {
    let length = download.bytes();
    let pieces = download.pieces(0, None, Coding::Identity).await?;
    let mut response = Response::new(Body::from_stream(pieces));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}
