//! What is in files and directories, for computations that ask for it.
//!
//! Content is handed out for as long as somebody holds it; after that it is read again.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::observe::{Detail, Seen, View};
use super::outside::LookError;
use crate::query::{Fingerprint, Listed, RootPath, Source};
use crate::source::Vigil;

/// A file's content or a directory's names, as they were read just now or are held by somebody.
#[derive(Debug)]
pub(super) struct Read<T: ?Sized> {
    /// The fingerprint that the session has of it.
    pub(super) seen: Fingerprint,
    /// That of this content; another one if it has changed since.
    pub(super) fingerprint: Fingerprint,
    /// `None` if it is not there.
    pub(super) content: Option<Arc<T>>,
}

/// What was found, what stands for it, and a vigil that began before.
type Looking<T> = (Option<Arc<T>>, Fingerprint, Option<Vigil>);

impl View {
    /// A file's content. Where nobody held any more what was read before, it is read again.
    pub(super) async fn read(&self, path: &RootPath) -> Result<Read<[u8]>, LookError> {
        let source = Source::File(path.clone());
        let cell = self.sources.cell(source.clone());
        let mut first = None;
        let look = async {
            let (content, fingerprint, vigil) = self.content(path).await?;
            let held = content.as_ref().map_or_else(no_content, Arc::downgrade);
            first = Some(content);
            Ok((Seen { fingerprint, detail: Detail::Content(Mutex::new(held)) }, vigil))
        };
        let seen = cell.get_or_init(|| self.unless_carried(&source, || look)).await.clone()?;
        if let Some(content) = first {
            return Ok(Read { seen: seen.fingerprint, fingerprint: seen.fingerprint, content });
        }
        let Detail::Content(held) = &seen.detail else { unreachable!("a file's detail is its content") };
        let known = held.lock().upgrade();
        if known.is_some() || seen.fingerprint == Fingerprint::Absent {
            return Ok(Read { seen: seen.fingerprint, fingerprint: seen.fingerprint, content: known });
        }
        let (content, fingerprint, _) = self.content(path).await?;
        if let Some(content) = content.as_ref().filter(|_| fingerprint == seen.fingerprint) {
            *held.lock() = Arc::downgrade(content);
        }
        Ok(Read { seen: seen.fingerprint, fingerprint, content })
    }

    /// The names in a directory. Where only their fingerprint is known they are read.
    pub(super) async fn list(&self, path: &RootPath) -> Result<Read<[Listed]>, LookError> {
        let source = Source::Listing(path.clone());
        let cell = self.sources.cell(source.clone());
        let look = || async {
            let (names, fingerprint, vigil) = self.names(path).await?;
            Ok((Seen { fingerprint, detail: Detail::Listing(Mutex::new(names)) }, vigil))
        };
        let seen = cell.get_or_init(|| self.unless_carried(&source, look)).await.clone()?;
        let Detail::Listing(held) = &seen.detail else { unreachable!("a listing's detail is its names") };
        let known = held.lock().clone();
        if known.is_some() || seen.fingerprint == Fingerprint::Absent {
            return Ok(Read { seen: seen.fingerprint, fingerprint: seen.fingerprint, content: known });
        }
        let (names, fingerprint, _) = self.names(path).await?;
        if fingerprint == seen.fingerprint {
            (*held.lock()).clone_from(&names);
        }
        Ok(Read { seen: seen.fingerprint, fingerprint, content: names })
    }

    async fn content(&self, path: &RootPath) -> Result<Looking<[u8]>, LookError> {
        let (place, path) = (self.place(path.root()).await?, path.clone());
        let look = move || {
            let vigil = place.vigil(&path);
            let (content, fingerprint) = place.content(&path)?;
            Ok((content.map(Arc::from), fingerprint, vigil))
        };
        self.brief_look(look).await
    }

    async fn names(&self, path: &RootPath) -> Result<Looking<[Listed]>, LookError> {
        let (place, path) = (self.place(path.root()).await?, path.clone());
        let look = move || {
            let vigil = place.vigil(&path);
            let (names, fingerprint) = place.names(&path)?;
            Ok((names.map(Arc::from), fingerprint, vigil))
        };
        self.brief_look(look).await
    }
}

pub(super) fn no_content() -> Weak<[u8]> {
    Weak::<[u8; 0]>::new()
}
