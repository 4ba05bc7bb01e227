//! Shelves: what one scope keeps.
//!
//! Each costs memory, and series in the statistics, for as long as the server lives. So there are only so many, and whoever
//! only asks makes none where nothing is. The scopes that a server is configured with always have theirs.

use std::collections::HashMap;
use std::sync::Arc;

use larder::engine::{Exclusion, Kind, KindOptions, Larder, Reach, Value, Write};
use larder::key::{Key, KeyError, Scope};

use super::content::{self, StoredContent};
use super::object::{self, Family, StoredObject};
use super::result::{self, StoredOutcome};
use super::{ContentId, Store, StoreError};
use crate::guard::Guard;

/// How many scopes may be made by whoever puts something there.
pub(super) const MAX_SCOPES: usize = 4096;

/// How many of those may be taken by whoever finds something there.
const MAX_FOUND: usize = MAX_SCOPES / 2;

/// Under which scope the statistics have questions that are asked where nothing is.
const NOWHERE: &str = "-";

/// What one scope keeps.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    scope: Scope,
    pub(super) contents: Kind<StoredContent>,
    pub(super) outcomes: Kind<StoredOutcome>,
    objects: [Kind<StoredObject>; Family::ALL.len()],
}

/// The shelves of a store.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    all: HashMap<Scope, Arc<Shelf>>,
    /// How many there are of scopes that the server is not configured with.
    counted: usize,
}

/// Which scopes a server is configured with.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) default_scope: Scope,
    pub(super) guard: Guard,
}

impl Configured {
    fn has(&self, scope: &Scope) -> bool {
        *scope == self.default_scope || self.guard.rules().mention(scope)
    }
}

impl Shelf {
    fn new(larder: &Larder, scope: &Scope) -> Result<Self, KeyError> {
        let object = |family: Family| larder.kind(scope, family.name(), 1, options(object::weigh));
        Ok(Self {
            scope: scope.clone(),
            contents: larder.kind(scope, "content", 1, options(content::weigh))?,
            outcomes: larder.kind(scope, "action", 2, options(result::weigh))?,
            objects: [
                object(Family::Turborepo)?,
                object(Family::Nx)?,
                object(Family::Gradle)?,
                object(Family::Ccache)?,
                object(Family::WebDav)?,
            ],
        })
    }

    pub(super) fn objects(&self, family: Family) -> &Kind<StoredObject> {
        &self.objects[family as usize]
    }

    pub(super) fn content_key(&self, id: ContentId) -> Result<Key, StoreError> {
        self.key(&self.contents, &id.to_string())
    }

    pub(super) fn outcome_key(&self, action: ContentId) -> Result<Key, StoreError> {
        self.key(&self.outcomes, &action.to_string())
    }

    pub(super) fn object_key(&self, family: Family, id: &str) -> Result<Key, StoreError> {
        self.key(self.objects(family), id)
    }

    /// In its own scope, whatever scope the kind counts under.
    fn key<T: Value>(&self, kind: &Kind<T>, id: &str) -> Result<Key, StoreError> {
        Ok(Key::new(&self.scope, kind.name(), id)?)
    }
}

impl Shelves {
    fn make(&mut self, larder: &Larder, scope: &Scope) -> Result<Arc<Shelf>, StoreError> {
        let shelf = Arc::new(Shelf::new(larder, scope)?);
        self.all.insert(scope.clone(), Arc::clone(&shelf));
        Ok(shelf)
    }
}

impl Store {
    /// A scope's shelf for whoever puts something there.
    pub(super) fn shelf_to_put(&self, scope: &Scope) -> Result<Arc<Shelf>, StoreError> {
        self.own_shelf(scope, MAX_SCOPES)?.ok_or(StoreError::TooManyScopes)
    }

    /// A scope's shelf for whoever asks. Where it has none of its own, what is asked counts as asked nowhere.
    pub(super) fn shelf(&self, scope: &Scope) -> Result<Arc<Shelf>, StoreError> {
        if let Some(shelf) = self.own_shelf(scope, 0)? {
            return Ok(shelf);
        }
        let nowhere = Scope::new(NOWHERE)?;
        let mut shelves = self.inner.shelves.lock();
        let shelf = match shelves.all.get(&nowhere) {
            Some(shelf) => Arc::clone(shelf),
            None => shelves.make(&self.inner.opened.larder, &nowhere)?,
        };
        Ok(Arc::new(Shelf { scope: scope.clone(), ..(*shelf).clone() }))
    }

    /// Takes note that a scope has something.
    pub(super) fn found_in(&self, scope: &Scope) {
        // Where there is no room it goes on without.
        let _ = self.own_shelf(scope, MAX_FOUND);
    }

    /// A scope's shelf, made if fewer than `most` were made of scopes that the server is not configured with.
    fn own_shelf(&self, scope: &Scope, most: usize) -> Result<Option<Arc<Shelf>>, StoreError> {
        let mut shelves = self.inner.shelves.lock();
        if let Some(shelf) = shelves.all.get(scope) {
            return Ok(Some(Arc::clone(shelf)));
        }
        let counts = !self.inner.configured.get().is_some_and(|configured| configured.has(scope));
        if counts && shelves.counted >= most {
            return Ok(None);
        }
        let shelf = shelves.make(&self.inner.opened.larder, scope)?;
        shelves.counted += usize::from(counts);
        Ok(Some(shelf))
    }
}

fn options<T>(weigh: fn(&T) -> u64) -> KindOptions<T> {
    KindOptions {
        write: Write::Everywhere,
        reach: Reach::Team,
        exclusion: Exclusion::Process,
        weigh: Some(weigh),
        ..KindOptions::default()
    }
}
