//! What a server is guarded with: its access file, its certificates, its audit log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use larder::clock::Clock;
use larder::config::ByteSize;
use larder_server::guard::{Audit, AuditOptions, Guard};
use larder_server::{AccessFile, ReloadError, Reloader, TlsOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::failure::Failure;

/// How many audit logs that were put aside are kept.
const AUDIT_LOGS: u32 = 8;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Who may do what, as TOML; without it anybody may do anything, on this machine only
    #[arg(long, value_name = "FILE", env = "LARDER_ACCESS")]
    access: Option<PathBuf>,
    /// The certificate to speak TLS with, as PEM, with those between it and what clients trust
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "LARDER_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "LARDER_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Whose signature makes certificates of clients good, as PEM; their names are then known to the access file
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "LARDER_CLIENT_CA")]
    client_ca: Option<PathBuf>,
    /// Where to write down who wrote, removed or was refused what, as lines of JSON
    #[arg(long, value_name = "FILE", env = "LARDER_AUDIT")]
    audit: Option<PathBuf>,
    /// Write down who read what, too
    #[arg(long, requires = "audit")]
    audit_reads: bool,
    /// How large the audit log gets before it is put aside; eight of those are kept
    #[arg(long, value_name = "SIZE", default_value = "64 MiB")]
    audit_size: ByteSize,
}

impl Arguments {
    pub(super) fn access(&self) -> Option<AccessFile> {
        let path = self.access.clone()?;
        Some(AccessFile { path, variable: |name| std::env::var(name).ok() })
    }

    pub(super) fn guard(&self) -> Result<Guard, Failure> {
        match self.access() {
            Some(file) => Ok(Guard::new(file.read().map_err(cannot_use)?)),
            None => Ok(Guard::open()),
        }
    }

    pub(super) fn tls(&self) -> Option<TlsOptions> {
        let (certificate, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        Some(TlsOptions { certificate, key, client_authority: self.client_ca.clone() })
    }

    /// Checks that the audit log can be written, and makes none.
    pub(super) fn check_audit(&self) -> Result<(), Failure> {
        let Some(path) = &self.audit else { return Ok(()) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let written = if path.exists() { path } else { folder.unwrap_or(Path::new(".")) };
        let may = rustix::fs::access(written, rustix::fs::Access::WRITE_OK);
        may.with_context(|| format!("cannot write {}", path.display())).map_err(Failure::usage)
    }

    pub(super) fn audit(&self) -> Result<Option<Audit>, Failure> {
        let Some(path) = self.audit.clone() else { return Ok(None) };
        let shown = path.display().to_string();
        let options =
            AuditOptions { path, reads: self.audit_reads, max_bytes: self.audit_size.0, kept: AUDIT_LOGS };
        let opened = Audit::open(options, Clock::system());
        let opened = opened.with_context(|| format!("cannot write {shown}"));
        Ok(Some(opened.map_err(Failure::usage)?))
    }
}

/// Takes over what changed, and all of it at each hangup.
pub(super) fn follow(reloader: Arc<Reloader>) -> Result<impl Future<Output = ()>, Failure> {
    let mut hangups = signal(SignalKind::hangup()).context("cannot hear signals")?;
    let asked = Notify::new();
    Ok(async move {
        let hears = async {
            while hangups.recv().await.is_some() {
                asked.notify_one();
            }
            std::future::pending().await
        };
        tokio::select! {
            never = reloader.attend(&asked) => match never {},
            () = hears => {}
        }
    })
}

/// An access file with mistakes, each with its place and what to do about it.
fn cannot_use(error: ReloadError) -> Failure {
    let ReloadError::Access(access) = error else { return Failure::usage(error) };
    let mut details = String::new();
    for problem in &access.problems {
        let at = format!("{}:{}:{}", problem.path, problem.line, problem.column);
        details += &format!("{at}: {}\n    {}\n", problem.fault, problem.remedy);
    }
    Failure::usage(anyhow!("the access file can't be used")).details(details)
}
