//! Machines of a team, each an engine with a disk tier of its own.

use std::time::Duration;

use larder::clock::Clock;
use larder::engine::{Computed, Kind, KindOptions, Larder, LarderOptions, Origin, Reach, Write};
use larder::entry::compress::Level;
use larder::key::{Key, Scope};
use larder::stats::{Stats, StatsOptions};
use larder::tier::breaker::BreakerOptions;
use larder::tier::disk::{Disk, DiskOptions};
use larder::tier::stack::FarOptions;
use larder_shared::testing::{Certificates, S3Server};
use larder_shared::{Options, TlsFiles, open};
use tempfile::TempDir;

/// How long a test waits for what has to come.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) fn options() -> Options {
    Options { s3: S3Server::options(), ..Options::new(Duration::from_secs(3600), Clock::system()) }
}

/// How a tier is opened whose server has a certificate of this authority, and asks for one.
pub(crate) fn trusting(certificates: &Certificates) -> Options {
    let tls = TlsFiles {
        authorities: Some(certificates.authority()),
        certificate: Some(certificates.client()),
        key: Some(certificates.client_key()),
    };
    Options { tls, ..options() }
}

pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waits = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waits).await.unwrap_or_else(|_| panic!("{what}"));
}

pub(crate) struct Node {
    pub(crate) larder: Larder,
    words: Kind<String>,
    disk: Disk,
    _folder: TempDir,
}

impl Node {
    /// A machine that waits for the shared tier as long as it takes.
    pub(crate) fn patient(url: &str) -> Self {
        Self::new(url, SOON)
    }

    pub(crate) fn new(url: &str, patience: Duration) -> Self {
        Self::with(url, patience, options())
    }

    pub(crate) fn with(url: &str, patience: Duration, options: Options) -> Self {
        // An encrypted connection takes longer to make than a probe may take between short pauses.
        let pause = Duration::from_millis(if options.tls.authorities.is_some() { 1000 } else { 100 });
        let folder = TempDir::new().unwrap();
        let clock = Clock::system();
        // What is packed would be too short to be cut.
        let plain = DiskOptions { level: Level::OFF, ..DiskOptions::default() };
        let disk = Disk::open(folder.path(), plain).unwrap();
        let mut larder = LarderOptions::new(clock.clone(), Stats::new(StatsOptions::default(), clock));
        larder.tiers = vec![std::sync::Arc::new(disk.clone())];
        let far = FarOptions { reads: true, writes: true, patience, waits: SOON, bytes_per_second: None };
        larder.shared = Some((open(url, options).unwrap(), far));
        // What nobody waits for is given up, and tried again, soon enough for a test.
        larder.tier_timeout = Duration::from_secs(5);
        larder.breaker = BreakerOptions { pause, ..BreakerOptions::default() };
        let larder = Larder::new(larder);
        let through = KindOptions { write: Write::Through, reach: Reach::Team, ..KindOptions::default() };
        let words = larder.kind(&Scope::new("lab").unwrap(), "word", 1, through).unwrap();
        Self { larder, words, disk, _folder: folder }
    }

    pub(crate) fn key(&self, id: &str) -> Key {
        self.words.key(id).unwrap()
    }

    /// Asks for an answer that names a blob of some hundred kilobytes. Panics unless it is the right one, whole.
    pub(crate) async fn ask(&self, id: &str) -> Origin {
        let content: Vec<u8> = id.bytes().cycle().take(500_000).collect();
        let digest = larder::key::Digest::of(&content);
        let (disk, blob) = (self.disk.clone(), content.clone());
        let value = format!("the value of {id}");
        let computed = Computed::new(value.clone()).naming([digest]).costing(Duration::from_secs(10));
        let compute = move || async move {
            disk.put_blob_bytes(&blob).map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(computed)
        };
        let answer = self.words.get_or_compute(&self.key(id), compute).await.unwrap();
        assert_eq!(answer.entry.value, value);
        assert!(self.disk.read_blob(digest).unwrap() == Some(content), "the blob of {id}");
        answer.origin
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.larder.sharing().unwrap().trouble
    }
}
