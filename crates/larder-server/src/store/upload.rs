//! Taking a content that comes a piece at a time.
//!
//! Memory holds at most a few hundred kilobytes of it. What is small stays there and becomes a part of its entry; what
//! is not goes to a file that becomes a blob. Nothing is visible before the end, and what is dropped leaves nothing.

use bytes::Bytes;
use larder::key::{Algorithm, Hasher};
use larder::tier::disk::{Disk, NewBlob};

use super::content::Body;
use super::health::Health;
use super::result::LARGEST_RESULT_BYTES;
use super::scan::Scan;
use super::unpack::Unpack;
use super::{ContentId, Function, StoreError, download};

/// A content up to this stands in its entry.
const INLINE_BYTES: usize = 16 << 10;

/// How much is gathered before it is hashed and written: less costs more hand-offs, more costs memory.
const GATHERED_BYTES: usize = 256 << 10;

/// A content that is coming.
pub struct Upload {
    gathered: Vec<u8>,
    /// `None` only while it is at work on a blocking thread, or after that failed.
    sink: Option<Box<Sink>>,
    came: u64,
    health: Health,
}

/// A content that came to its end.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(super) body: Body,
    /// Its name.
    pub(super) actual: ContentId,
    /// Whether it may be an action result, if that was looked at.
    pub(super) may_be_result: bool,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upload({} bytes)", self.came)
    }
}

impl Upload {
    pub(super) fn begin(
        (disk, health): (Disk, Health),
        function: Function,
        announced: Option<u64>,
        limit: u64,
    ) -> Result<Self, StoreError> {
        if announced.is_some_and(|announced| announced > limit) {
            return Err(StoreError::TooLarge { limit });
        }
        let (small, large, sha256) = (Vec::new(), None, None);
        let (unpack, scan) = (None, None);
        let sink = Sink { disk, function, announced, limit, unpack, scan, small, large, sha256 };
        Ok(Self { gathered: Vec::new(), sink: Some(Box::new(sink)), came: 0, health })
    }

    /// What comes are zstd frames that unpack to the content.
    pub fn packed(mut self) -> Result<Self, StoreError> {
        if let Some(sink) = &mut self.sink {
            sink.unpack = Some(Unpack::new()?);
        }
        Ok(self)
    }

    /// What comes may be an action result, which is refused if it is too long for one.
    pub(crate) fn scanned(mut self) -> Self {
        if let Some(sink) = &mut self.sink {
            sink.scan = Some(Scan::new());
        }
        self
    }

    /// How many bytes came, as they came.
    pub fn came(&self) -> u64 {
        self.came
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// As soon as it is seen that the content is longer than announced or than the limit.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.came += piece.len() as u64;
        for piece in piece.chunks(GATHERED_BYTES) {
            self.gathered.extend_from_slice(piece);
            if self.gathered.len() >= GATHERED_BYTES {
                self.work_off().await?;
            }
        }
        Ok(())
    }

    /// Hashes and writes what was gathered, on a blocking thread.
    async fn work_off(&mut self) -> Result<(), StoreError> {
        let gathered = std::mem::take(&mut self.gathered);
        let Some(mut sink) = self.sink.take() else { return Err(failed_before()) };
        let work = move || {
            sink.take(&gathered)?;
            Ok::<_, StoreError>((sink, gathered))
        };
        let worked_off = tokio::task::spawn_blocking(work).await.map_err(download::ended)?;
        let (sink, mut gathered) = worked_off.map_err(|error| self.health.failed(error))?;
        gathered.clear();
        (self.sink, self.gathered) = (Some(sink), gathered);
        Ok(())
    }

    /// Ends it.
    pub(crate) async fn finish(self) -> Result<Finished, StoreError> {
        let Self { gathered, sink, health, .. } = self;
        let Some(mut sink) = sink else { return Err(failed_before()) };
        if sink.stays_small(gathered.len()) {
            sink.take(&gathered)?;
            return sink.finish();
        }
        let work = move || {
            sink.take(&gathered)?;
            sink.finish()
        };
        let finished = tokio::task::spawn_blocking(work).await.map_err(download::ended)?;
        finished.map_err(|error| health.failed(error))
    }
}

fn failed_before() -> StoreError {
    StoreError::Tier(larder::tier::TierError::Io(std::io::ErrorKind::BrokenPipe.into()))
}

/// Where the pieces go. Blocks as soon as the content is large.
struct Sink {
    disk: Disk,
    /// Makes its name.
    function: Function,
    announced: Option<u64>,
    limit: u64,
    unpack: Option<Unpack>,
    scan: Option<Scan>,
    small: Vec<u8>,
    large: Option<NewBlob>,
    /// Where the name is not the blob's own: the digest from the first byte on.
    sha256: Option<Hasher>,
}

impl Sink {
    /// Whether so much more, and the end, are worked off in memory.
    fn stays_small(&self, more: usize) -> bool {
        self.large.is_none() && self.unpack.is_none() && self.small.len() + more <= INLINE_BYTES
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        match self.unpack.take() {
            None => self.append(piece),
            Some(mut unpack) => {
                let outcome = unpack.take(piece, |unpacked| self.append(unpacked));
                self.unpack = Some(unpack);
                outcome
            }
        }
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let came = self.bytes() + piece.len() as u64;
        if let Some(announced) = self.announced.filter(|&announced| came > announced) {
            return Err(StoreError::Length { announced, came });
        }
        if came > self.limit {
            return Err(StoreError::TooLarge { limit: self.limit });
        }
        if let Some(scan) = &mut self.scan {
            scan.take(piece);
            if came > LARGEST_RESULT_BYTES && scan.names_contents() {
                return Err(StoreError::TooLarge { limit: LARGEST_RESULT_BYTES });
            }
        }
        if self.large.is_none() && came <= INLINE_BYTES as u64 {
            self.small.extend_from_slice(piece);
            return Ok(());
        }
        let mut large = match self.large.take() {
            Some(large) => large,
            None => {
                let mut large = self.disk.new_blob(self.announced)?;
                let small = std::mem::take(&mut self.small);
                large.write(&small)?;
                if self.function == Function::Sha256 {
                    self.sha256.insert(Hasher::new(Algorithm::Sha256)).update(&small);
                }
                large
            }
        };
        large.write(piece)?;
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(piece);
        }
        self.large = Some(large);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.large.as_ref().map_or(self.small.len() as u64, NewBlob::bytes)
    }

    fn finish(self: Box<Self>) -> Result<Finished, StoreError> {
        let came = self.bytes();
        if self.unpack.as_ref().is_some_and(|unpack| !unpack.is_whole()) {
            return Err(StoreError::Packed);
        }
        if let Some(announced) = self.announced.filter(|&announced| came != announced) {
            return Err(StoreError::Length { announced, came });
        }
        let function = self.function;
        let may_be_result = self.scan.as_ref().is_some_and(Scan::may_be_one);
        let Some(large) = self.large else {
            let actual = ContentId::of(function, &self.small);
            return Ok(Finished { body: Body::Inline(Bytes::from(self.small)), actual, may_be_result });
        };
        let stored = large.finish()?;
        let digest = self.sha256.map_or(stored.digest, Hasher::finish);
        let body = Body::Blob { digest: stored.digest, bytes: stored.bytes };
        Ok(Finished { body, actual: ContentId { function, digest }, may_be_result })
    }
}
