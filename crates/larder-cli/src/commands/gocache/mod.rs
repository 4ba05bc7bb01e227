//! `larder gocache`: the build cache of the go command, as the program that `GOCACHEPROG` names.
//!
//! The go command asks for outputs by the digest of an action, and is given paths of files that have to stay until it
//! says that it is done. Outputs are kept as blobs that entries name, and go to the team as other answers do.

mod conversation;
mod place;

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use larder::engine::{Computed, Kind, KindOptions, Reach};
use larder::key::{Digest, Key, Scope};
use larder::tier::Brief;
use larder::tier::disk::Disk;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use self::conversation::{Input, Output, Request, Response};
use self::place::Place;
use crate::arguments::Global;
use crate::configuration::{self, Assigned};
use crate::failure::{Code, Failure};
use crate::store;

/// How many requests are at work at once.
const AT_ONCE: u32 = 64;

/// The version of the form in which outputs are kept.
const VERSION: u32 = 1;

/// Keep what the go command builds: set GOCACHEPROG='larder gocache'
///
/// The go command starts it and talks to it; there is nothing to see for people. What is kept lies in the directory
/// that --dir names, and in the shared tier if one is configured.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  GOCACHEPROG='larder gocache' go build ./...
  GOCACHEPROG='larder gocache --url grpc://127.0.0.1:9092' go test ./...")]
pub(crate) struct Arguments {
    /// The shared tier, in place of the configured one
    #[arg(long)]
    url: Option<String>,
    /// Apart from what is kept in other scopes
    #[arg(long, value_name = "NAME", default_value = "go")]
    scope: String,
}

/// What an action made, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// What the go command calls it.
    output: Vec<u8>,
    /// Its content.
    blob: Digest,
    bytes: u64,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<Code, Failure> {
    let url = arguments.url.clone().map(|value| Assigned { flag: "--url", setting: "shared", value });
    let config = configuration::load_with(global, None, url.as_slice())?;
    let settings = config.settings();
    let scope = Scope::new(&arguments.scope).map_err(Failure::usage)?;
    let mut opened = store::engine(settings, &store::machine(), Brief::Aside, store::shared(&config)?);
    if let Some(error) = opened.problem.take() {
        tracing::warn!(error = &error as &dyn std::error::Error, "nothing is kept on this machine");
    }
    let options = KindOptions { reach: Reach::Team, ..KindOptions::default() };
    let outputs = opened.larder.kind(&scope, "go", VERSION, options).map_err(Failure::failed)?;
    let place = match &opened.disk {
        Some(_) => Place::below(&settings.dir),
        None => Place::below(&std::env::temp_dir()),
    };
    let place = place.context("cannot make a folder for the outputs of this build")?;
    let cache = Arc::new(Cache { outputs, disk: opened.disk.clone(), place });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let output = Arc::new(Output::new());
    let closing = converse(&cache, &output, runtime.handle())?;
    runtime.block_on(opened.close());
    // Only now: whoever hears it may go, and the machine with them.
    if let Some(id) = closing {
        output.say(&Response::to(id))?;
    }
    Ok(Code::Done)
}

/// Does what the go command asks for until it says that it is done, and returns how it called that request.
fn converse(
    cache: &Arc<Cache>,
    output: &Arc<Output>,
    runtime: &tokio::runtime::Handle,
) -> Result<Option<i64>, Failure> {
    let turns = Arc::new(Semaphore::new(AT_ONCE as usize));
    let mut input = Input::new();
    output.say(&Response::hello())?;
    let closing = loop {
        let Some(request) = input.request()? else { break None };
        let turn =
            runtime.block_on(Arc::clone(&turns).acquire_owned()).context("turns end with the process")?;
        let (cache, output) = (Arc::clone(cache), Arc::clone(output));
        match &*request.command {
            "get" => {
                runtime.spawn(async move {
                    let response = cache.get(&request).await;
                    tell(&output, &response);
                    drop(turn);
                });
            }
            "put" => {
                // What comes behind it has to be taken before the next request.
                let path = cache.place.take(&request.output, input.body(request.body_bytes));
                runtime.spawn(async move {
                    let response = match path {
                        Ok(path) => cache.put(&request, path).await,
                        Err(error) => Response::failed(request.id, &error),
                    };
                    tell(&output, &response);
                    drop(turn);
                });
            }
            "close" => break Some(request.id),
            _ => output.say(&Response::failed(request.id, "this command was not offered"))?,
        }
    };
    // All that is under way has given back its turn.
    let _all = runtime.block_on(turns.acquire_many(AT_ONCE)).context("turns end with the process")?;
    Ok(closing)
}

/// Says what the go command waits for. That it does not hear any more is seen by whoever reads from it.
fn tell(output: &Output, response: &Response) {
    if let Err(error) = output.say(response) {
        tracing::debug!(error = &error as &dyn std::error::Error, "the go command does not listen");
    }
}

/// Outputs on this machine and in the team.
struct Cache {
    outputs: Kind<Kept>,
    /// `None` where nothing is kept.
    disk: Option<Disk>,
    place: Place,
}

impl Cache {
    fn key(&self, request: &Request) -> Option<Key> {
        self.outputs.key(&hex(&request.action)).ok()
    }

    /// What an action made before, if that is kept and whole.
    async fn get(self: &Arc<Self>, request: &Request) -> Response {
        let found = match self.key(request) {
            Some(key) => self.find(&key).await,
            None => None,
        };
        found.map_or_else(|| Response::miss(request.id), |found| found.answering(request.id))
    }

    async fn find(self: &Arc<Self>, key: &Key) -> Option<Response> {
        let disk = self.disk.as_ref()?;
        // Where a content was damaged here, the team may have it whole.
        for _ in 0..2 {
            let entry = self.outputs.get(key).await?;
            let path = self.place.path(&entry.output);
            let (disk, blob, to) = (disk.clone(), entry.blob, path.clone());
            let restored = tokio::task::spawn_blocking(move || disk.restore_blob(blob, to, 0o644)).await;
            match restored {
                Ok(Ok(Some(_))) => {
                    let (output, bytes) = (entry.output.clone(), entry.bytes);
                    return Some(Response::hit(output, bytes, entry.record.created, &path));
                }
                Ok(Ok(None)) => self.outputs.set_aside(key).await,
                Ok(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "output cannot be restored");
                    return None;
                }
                Err(_) => return None,
            }
        }
        None
    }

    /// Keeps what an action made, which is at `path` already. That it is not kept is no failure of the build.
    async fn put(self: &Arc<Self>, request: &Request, path: std::path::PathBuf) -> Response {
        let response = Response::put(request.id, &path);
        let (Some(disk), Some(key)) = (self.disk.clone(), self.key(request)) else { return response };
        let stored = tokio::task::spawn_blocking(move || disk.put_blob_file(path)).await;
        match stored {
            Ok(Ok(stored)) => {
                let kept = Kept { output: request.output.clone(), blob: stored.digest, bytes: stored.bytes };
                let computed = Computed::new(kept).naming([stored.digest]);
                self.outputs.put(&key, computed, std::time::Duration::ZERO).await;
            }
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "output is not kept");
            }
            Err(_) => {}
        }
        response
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/format.md` tells what these bytes are; a change of them is a new version of the kind.
    #[test]
    fn the_stored_form_of_an_output_is_stable() {
        let kept = Kept { output: vec![0xab, 0xcd], blob: Digest::of(b"output"), bytes: 300 };
        let stored = postcard::to_stdvec(&kept).unwrap();
        assert_eq!(stored, [&[2, 0xab, 0xcd][..], Digest::of(b"output").as_bytes(), &[0xac, 0x02]].concat());
    }
}
