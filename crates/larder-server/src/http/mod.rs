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
mod turborepo;

use axum::Router;
use axum::extract::FromRequestParts;
use http::request::Parts;
use larder::key::Scope;

pub(crate) use self::error::HttpError;
use crate::guard::{Identity, Role};
use crate::store::Store;

/// The routes of all protocols.
pub(crate) fn routes(store: Store) -> Router {
    let routes = Router::new().merge(bazel::routes()).merge(files::routes());
    routes.merge(turborepo::routes()).merge(nx::routes()).with_state(store)
}

/// Who asks, and in which scope: as whoever received the request found out.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) identity: Identity,
    pub(crate) scope: Scope,
}

impl Asker {
    /// Says no unless they may do this here.
    pub(crate) fn may(&self, role: Role) -> Result<(), HttpError> {
        Ok(self.identity.may(role, &self.scope)?)
    }
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, HttpError> {
        parts.extensions.get::<Self>().cloned().ok_or(HttpError::Unauthenticated)
    }
}
