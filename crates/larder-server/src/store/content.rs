//! Contents: bytes under their digest.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, future};
use larder::engine::{Afar, Computed, Entry, Kept, Kind, Value};
use larder::key::{Digest, Key, Scope};
use larder::stats::Place;
use larder::tier::Brief;
use serde::{Deserialize, Serialize};

use super::download::Download;
use super::upload::{Finished, Upload};
use super::{ContentId, Function, Inner, Store, StoreError};

/// How many contents are looked for at once.
const AT_ONCE: usize = 64;

/// Bytes as the engine keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Body {
    /// They stand here.
    Inline(Bytes),
    /// They are a blob.
    Blob { digest: Digest, bytes: u64 },
}

impl Body {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob { bytes, .. } => *bytes,
        }
    }

    /// How much memory it takes.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob { .. } => 0,
        }
    }

    /// The blob that it is, if it is one.
    pub(super) fn blob(&self) -> Option<Digest> {
        match self {
            Self::Inline(_) => None,
            Self::Blob { digest, .. } => Some(*digest),
        }
    }
}

/// A content as the engine keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredContent {
    pub(super) body: Body,
}

pub(super) fn weigh(content: &StoredContent) -> u64 {
    content.body.weight()
}

/// Where something has to be for it to be there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Looks {
    /// Where it can be given from.
    Anywhere,
    /// With the team, too, where a shared tier would take it.
    Everywhere,
}

impl Looks {
    pub(super) async fn find<T: Value>(self, kind: &Kind<T>, key: &Key) -> bool {
        let there = kind.has(key).await;
        match self {
            Self::Anywhere => there,
            // What of two under one name counts is for whoever puts one of them.
            Self::Everywhere => there && kind.afar(key, |_| true).await == Afar::Settled,
        }
    }
}

impl Looks {
    /// The same of a content of so many bytes: under another length it is not there.
    async fn find_content(self, contents: &Kind<StoredContent>, key: &Key, bytes: u64) -> bool {
        let here = contents.kept_here(key).await;
        if here.as_ref().is_some_and(|here| here.body.bytes() != bytes) || !self.find(contents, key).await {
            return false;
        }
        here.is_some() || contents.look_afar(key).await.is_some_and(|there| there.value.body.bytes() == bytes)
    }
}

impl Store {
    /// Which of `ids`, each with its length, are to be brought, in order: they are not there whole, or are here alone, as a shared tier that
    /// answers now did not take them when they came.
    pub async fn missing(
        &self,
        scope: &Scope,
        ids: &[(ContentId, u64)],
    ) -> Result<Vec<(ContentId, u64)>, StoreError> {
        self.without(scope, ids, Looks::Everywhere).await
    }

    /// Which of `ids` are not there whole, in order. A content that a shared tier has is there.
    pub(super) async fn absent(
        &self,
        scope: &Scope,
        ids: &[(ContentId, u64)],
    ) -> Result<Vec<(ContentId, u64)>, StoreError> {
        self.without(scope, ids, Looks::Anywhere).await
    }

    async fn without(
        &self,
        scope: &Scope,
        ids: &[(ContentId, u64)],
        looks: Looks,
    ) -> Result<Vec<(ContentId, u64)>, StoreError> {
        let shelf = self.shelf(scope)?;
        let mut asked = Vec::with_capacity(ids.len());
        for &id in ids {
            asked.push((id, shelf.content_key(id.0)?));
        }
        let looks = asked.into_iter().map(move |(id, key)| {
            let (store, shelf) = (self.clone(), Arc::clone(&shelf));
            async move {
                let there = match id {
                    (id, bytes) if id.is_empty() => bytes == 0,
                    (_, bytes) => looks.find_content(&shelf.contents, &key, bytes).await,
                };
                if there {
                    // Whoever is told so relies on it.
                    store.inner.uses.note(&key);
                }
                (!there).then_some(id)
            }
        });
        let looked = futures_util::stream::iter(looks).buffered(AT_ONCE);
        Ok(looked.filter_map(future::ready).collect().await)
    }

    /// Whether nobody need bring a content, as it is there. What is here is read for that, where it was not since its file
    /// was last changed: that costs less than taking it once more.
    pub async fn holds(&self, scope: &Scope, id: (ContentId, u64)) -> Result<bool, StoreError> {
        if !self.missing(scope, &[id]).await?.is_empty() {
            return Ok(false);
        }
        let shelf = self.shelf(scope)?;
        let key = shelf.content_key(id.0)?;
        let Some(entry) = shelf.contents.kept_here(&key).await else { return Ok(true) };
        Ok(self.open_body(&entry.body).await?.is_some())
    }

    /// Begins to read a content; `None` if it is not there, or was damaged.
    pub async fn open(&self, scope: &Scope, id: ContentId) -> Result<Option<Download>, StoreError> {
        if id.is_empty() {
            return Ok(Some(Download::inline(Bytes::new())));
        }
        let shelf = self.shelf(scope)?;
        let found = self.find(&shelf.contents, &shelf.content_key(id)?, |content| &content.body).await?;
        Ok(found.map(|(_, download)| download))
    }

    /// The whole of a content of at most `most` bytes; `None` if it is not there, or is longer.
    pub async fn read(&self, scope: &Scope, id: ContentId, most: u64) -> Result<Option<Bytes>, StoreError> {
        match self.open(scope, id).await? {
            Some(download) if download.bytes() <= most => Ok(download.collect().await?),
            _ => Ok(None),
        }
    }

    /// An entry and its body. Where the body was damaged here, a shared tier may have it whole.
    pub(super) async fn find<T: Value>(
        &self,
        kind: &Kind<T>,
        key: &Key,
        body: fn(&T) -> &Body,
    ) -> Result<Option<(Arc<Entry<T>>, Download)>, StoreError> {
        for _ in 0..2 {
            let Some((entry, place)) = kind.get_from(key).await else { return Ok(None) };
            match place {
                Place::Memory => self.inner.uses.note(key),
                _ => self.found_in(key.scope()),
            }
            if let Some(download) = self.open_body(body(&entry.value)).await? {
                return Ok(Some((entry, download)));
            }
            kind.set_aside(key).await;
        }
        Ok(None)
    }

    pub(super) async fn open_body(&self, body: &Body) -> Result<Option<Download>, StoreError> {
        match body {
            Body::Inline(bytes) => Ok(Some(Download::inline(bytes.clone()))),
            Body::Blob { digest, bytes } => {
                let (disk, digest) = (self.inner.disk.clone(), *digest);
                let opened = tokio::task::spawn_blocking(move || disk.open_content(digest)).await;
                let content = opened.map_err(super::download::ended)??;
                Ok(content.filter(|content| content.bytes() == *bytes).map(Download::stored))
            }
        }
    }

    /// Begins to take a content of as many bytes as are announced.
    pub fn upload(&self, function: Function, announced: Option<u64>) -> Result<Upload, StoreError> {
        self.upload_of_at_most(self.largest_bytes(), function, announced)
    }

    /// The same of no more than so many bytes.
    pub(super) fn upload_of_at_most(
        &self,
        limit: u64,
        function: Function,
        announced: Option<u64>,
    ) -> Result<Upload, StoreError> {
        let Inner { disk, health, .. } = &*self.inner;
        Upload::begin((disk.clone(), health.clone()), function, announced, limit)
    }

    /// Ends taking a content, which is then there under `id` if that is its name. Says how long it is. One that comes
    /// alone may be stored in place.
    pub async fn keep(
        &self,
        scope: &Scope,
        id: ContentId,
        (upload, place): (Upload, Brief),
        by: &Arc<str>,
    ) -> Result<u64, StoreError> {
        let shelf = self.shelf_to_put(scope)?;
        let Finished { body, actual, .. } = upload.finish().await?;
        if actual != id {
            return Err(StoreError::Mismatch { expected: id, actual });
        }
        let bytes = body.bytes();
        if id.is_empty() {
            return Ok(bytes);
        }
        let blob = body.blob();
        let computed =
            || Computed::new(StoredContent { body: body.clone() }).naming(blob).made_by(Arc::clone(by));
        let (key, contents) = (shelf.content_key(id)?, &shelf.contents);
        let kept = match contents.put_new(&key, computed(), Duration::ZERO, place).await {
            Ok(kept) => kept,
            // What is there may have been damaged since.
            Err(_) => contents.put(&key, computed(), Duration::ZERO).await,
        };
        // What the team has of a content is the same, so nobody is told where there is one.
        if matches!(kept, Kept::InMemoryOnly(_)) && self.inner.opened.larder.sharing().is_none() {
            self.forget(&key).await;
        }
        self.acknowledge(kept).await?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/format.md` tells what these bytes are; a change of them is a new version of the kind.
    #[test]
    fn bodies_are_stored_as_the_format_says() {
        let stored = |body| postcard::to_stdvec(&StoredContent { body }).unwrap();
        assert_eq!(stored(Body::Inline(Bytes::from_static(b"abc"))), [0, 3, b'a', b'b', b'c']);
        let blob = stored(Body::Blob { digest: Digest::of(b"abc"), bytes: 300 });
        assert_eq!(
            (blob[0], &blob[1..33], &blob[33..]),
            (1, &Digest::of(b"abc").as_bytes()[..], &[172, 2][..])
        );
    }
}
