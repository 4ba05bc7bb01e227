//! Objects: bytes that only their clients understand, under names that only they can check.

use std::collections::BTreeMap;
use std::sync::Arc;

use larder::engine::{Afar, Computed};
use larder::key::{Key, Scope, Selector};
use larder::tier::{Tier as _, TierError};
use serde::{Deserialize, Serialize};

use super::content::{Body, Looks};
use super::download::Download;
use super::health;
use super::upload::{Finished, Upload};
use super::{Made, Store, StoreError};

/// Whose objects they are: each client's are a kind of their own, so that they can be counted and cleared apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Turborepo's artifacts.
    Turborepo,
    /// Nx' archives.
    Nx,
    /// Gradle's build cache entries.
    Gradle,
    /// ccache's results and manifests.
    Ccache,
    /// Files over WebDAV, as sccache has them.
    WebDav,
}

impl Family {
    pub(super) const ALL: [Self; 5] = [Self::Turborepo, Self::Nx, Self::Gradle, Self::Ccache, Self::WebDav];

    /// Whether its clients can do with objects that are never replaced: ccache adds to its manifests.
    fn is_written_once(self) -> bool {
        self != Self::Ccache
    }

    /// What the kind of these objects is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turborepo => "turborepo",
            Self::Nx => "nx",
            Self::Gradle => "gradle",
            Self::Ccache => "ccache",
            Self::WebDav => "webdav",
        }
    }
}

/// An object that can be given.
#[derive(Debug)]
pub struct Object {
    /// What its client said of it.
    pub facts: BTreeMap<String, String>,
    /// Its bytes.
    pub download: Download,
}

/// An object as the engine keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredObject {
    body: Body,
    facts: BTreeMap<String, String>,
}

/// A fact that tells of the bytes, and not of who made them and when.
const SIGNATURE: &str = "x-artifact-tag";

impl StoredObject {
    /// Adds what a client says of an object to what was said of the same one before, which holds.
    fn add_to(&mut self, before: &Self) -> Result<(), StoreError> {
        for (name, fact) in &before.facts {
            let said = self.facts.insert(name.clone(), fact.clone());
            if name == SIGNATURE && said.is_some_and(|said| said != *fact) {
                return Err(StoreError::WriteOnce);
            }
        }
        Ok(())
    }
}

pub(super) fn weigh(object: &StoredObject) -> u64 {
    object.body.weight()
        + object.facts.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum::<u64>()
}

impl Store {
    /// Begins to read an object; `None` if it is not there, or was damaged.
    pub async fn object(
        &self,
        scope: &Scope,
        family: Family,
        id: &str,
    ) -> Result<Option<Object>, StoreError> {
        let shelf = self.shelf(scope)?;
        let key = shelf.object_key(family, id)?;
        let found = self.find(shelf.objects(family), &key, |object| &object.body).await?;
        Ok(found.map(|(entry, download)| Object { facts: entry.facts.clone(), download }))
    }

    /// Whether an object is there whole, also with the team.
    pub async fn has_object(&self, scope: &Scope, family: Family, id: &str) -> Result<bool, StoreError> {
        let shelf = self.shelf(scope)?;
        let key = shelf.object_key(family, id)?;
        Ok(Looks::Everywhere.find(shelf.objects(family), &key).await)
    }

    /// Ends taking an object, in the place of what was there.
    pub async fn keep_object(
        &self,
        scope: &Scope,
        (family, id): (Family, &str),
        upload: Upload,
        facts: BTreeMap<String, String>,
        made: Made<'_>,
    ) -> Result<(), StoreError> {
        let shelf = self.shelf_to_put(scope)?;
        let key = shelf.object_key(family, id)?;
        let Finished { body, .. } = upload.finish().await?;
        let blob = body.blob();
        let mut object = StoredObject { body, facts };
        let _turn = match made.once && family.is_written_once() {
            false => None,
            true => {
                let objects = shelf.objects(family);
                let turn = self.inner.once.turn(objects, &key).await;
                // What the team has is looked at, and not brought: that may take longer than anybody waits.
                if objects.afar(&key, |there| there.body == object.body).await == Afar::Other {
                    return Err(StoreError::WriteOnce);
                }
                if let Some(there) = objects.get(&key).await {
                    if there.body != object.body {
                        return Err(StoreError::WriteOnce);
                    }
                    object.add_to(&there)?;
                }
                Some(turn)
            }
        };
        let entry = |object| Computed::new(object).naming(blob).made_by(Arc::clone(made.by));
        self.replace(shelf.objects(family), &key, (object, entry), made.cost).await
    }

    /// Removes an object everywhere. That it was not there is no error.
    pub async fn remove_object(&self, scope: &Scope, family: Family, id: &str) -> Result<(), StoreError> {
        let key = self.shelf(scope)?.object_key(family, id)?;
        self.remove(&key).await
    }

    /// Removes an entry from each tier, in each server that shares one. A shared tier that can't be told now is told later.
    pub(super) async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        let report = self.inner.opened.larder.invalidate(&Selector::key(key)).await;
        for (tier, error) in report.failed_tiers {
            if tier == self.inner.disk.name() {
                let why = match error {
                    TierError::Open => health::trouble(&self.inner.disk).await,
                    _ => None,
                };
                return Err(StoreError::Tier(why.unwrap_or(error)));
            }
            // Nobody ever tells one that this server may not write to.
            if matches!(error, TierError::ReadOnly) {
                return Err(StoreError::Untold { tier, source: error });
            }
            let error = &error as &dyn std::error::Error;
            tracing::warn!(tier, error, %key, "a removal is to be told later");
        }
        Ok(())
    }
}
