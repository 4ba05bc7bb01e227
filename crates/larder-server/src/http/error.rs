//! What goes wrong, as a status and a line of text.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::guard::{Denied, Exceeded, Unknown};
use crate::rpc::words;
use crate::store::StoreError;

/// A request that is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error(transparent)]
    Unauthenticated(Unknown),
    #[error(transparent)]
    Exceeded(Exceeded),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("this is for whoever is an admin of all scopes")]
    AdminOnly,
    #[error("{0}")]
    Malformed(&'static str),
    #[error("the question is longer than one may be")]
    TooLong,
    #[error("not kept here")]
    NotFound,
    #[error("no cache is served below this path; the documentation of each client tool has the one to name")]
    NoSuchPath,
    #[error("this method means nothing here")]
    NoSuchMethod,
    #[error("it is there already, and is not written twice")]
    WriteOnce,
    #[error("the client sent nothing for too long")]
    Slow,
    #[error("the request broke off")]
    Broken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HttpError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Exceeded(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied(_) | Self::AdminOnly => StatusCode::FORBIDDEN,
            Self::Malformed(_) | Self::Broken => StatusCode::BAD_REQUEST,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotFound | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::WriteOnce => StatusCode::CONFLICT,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Store(error) => match error {
                StoreError::Mismatch { .. }
                | StoreError::Length { .. }
                | StoreError::Packed
                | StoreError::Result(_)
                | StoreError::Name(_) => StatusCode::BAD_REQUEST,
                StoreError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                StoreError::WriteOnce => StatusCode::CONFLICT,
                StoreError::TooManyScopes => StatusCode::INSUFFICIENT_STORAGE,
                StoreError::NotKept(_) | StoreError::Tier(_) | StoreError::Untold { .. } => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
            },
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut text = words(&self);
        text.push('\n');
        if status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::warn!(error = text.trim_end(), "request failed");
        }
        let mut response = (status, text).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let offers = HeaderValue::from_static("Bearer, Basic realm=\"larder\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, offers);
        }
        response
    }
}
