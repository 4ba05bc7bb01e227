//! Caches over plain HTTP, each as its clients speak it.
//!
//! | path | clients |
//! |---|---|
//! | `/ac/HASH`, `/cas/HASH` | Bazel, moon, ccache with `layout=bazel` |
//! | `/ccache/…` | ccache |
//! | `/webdav/…` | sccache |
//! | `/gradle/KEY` | Gradle |
//! | `/v8/artifacts/…` | Turborepo |
//! | `/v1/cache/HASH` | Nx |
//!
//! All of them also below `/scope/NAME`, for another scope than the default one.

mod bazel;
mod body;
mod error;
mod files;
mod nx;
mod results;
mod turborepo;

use axum::Router;
use axum::extract::FromRequestParts;
use http::request::Parts;

pub(crate) use self::error::HttpError;
#[cfg(feature = "fuzzing")]
pub(crate) use self::{files::properties_text, results::Put, results::read, turborepo::asked};
use crate::guard::{Asker, Unknown};
use crate::store::Store;

/// The routes of all protocols.
pub(crate) fn routes(store: Store) -> Router {
    let routes = Router::new().merge(bazel::routes()).merge(files::routes());
    let routes = routes.merge(turborepo::routes()).merge(nx::routes());
    let routes = routes.fallback(async || HttpError::NoSuchPath);
    routes.method_not_allowed_fallback(async || HttpError::NoSuchMethod).with_state(store)
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, HttpError> {
        parts.extensions.get::<Self>().cloned().ok_or(HttpError::Unauthenticated(Unknown::Nobody))
    }
}
