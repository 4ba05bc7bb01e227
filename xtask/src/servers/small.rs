//! Small contents: reads and writes over HTTP, against nginx doing the same with files.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::client::{Client, bytes};
use super::rates::Rates;
use super::running::Running;
use crate::tools;
use crate::workspace::Workspace;

/// How many contents there are.
const CONTENTS: u64 = 1000;
/// How long one is.
const LENGTH: usize = 4096;
/// How much is asked for in one round.
const ASKED: u64 = 4000;

pub(super) fn compare(
    workspace: &Workspace,
    larder: &Running,
    directory: &Path,
    rounds: usize,
) -> Result<()> {
    let nginx = Running::nginx(&tools::require(workspace, &tools::NGINX)?, directory)?;
    for server in [&nginx, larder] {
        let mut client = Client::connect(server.address)?;
        for number in 0..CONTENTS {
            ensure!(client.put(&path(number), &bytes(number, LENGTH))? < 300, "it is not taken");
        }
    }
    println!("small: {LENGTH} bytes, requests a second: median / best of {rounds} rounds");
    for clients in [1, 32] {
        let (mut reads, mut writes) = (Rates::against("nginx"), Rates::against("nginx"));
        for round in 0..rounds {
            let read = |server| per_second(server, clients, &get);
            reads.round(round, || read(&nginx), || read(larder))?;
            let from = CONTENTS + round as u64 * ASKED + clients * 1_000_000;
            let write =
                |server| per_second(server, clients, &move |client, number| put(client, from + number));
            writes.round(round, || write(&nginx), || write(larder))?;
        }
        println!("small: reads, {clients:2} clients: {}", reads.told());
        println!("small: writes, {clients:2} clients: {}", writes.told());
    }
    Ok(())
}

fn path(number: u64) -> String {
    format!("/ccache/{number}")
}

fn get(client: &mut Client, number: u64) -> Result<()> {
    ensure!(client.get(&path(number % CONTENTS))? == 200 && client.body().len() == LENGTH, "it is not given");
    Ok(())
}

fn put(client: &mut Client, number: u64) -> Result<()> {
    ensure!(client.put(&path(number), &bytes(number, LENGTH))? < 300, "it is not taken");
    Ok(())
}

fn per_second(
    server: &Running,
    clients: u64,
    request: &(dyn Fn(&mut Client, u64) -> Result<()> + Sync),
) -> Result<f64> {
    let share = ASKED / clients;
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(Client::connect(server.address)?);
    }
    let began = Instant::now();
    thread::scope(|scope| -> Result<()> {
        let works = (0..clients).zip(connected).map(|(nth, mut client)| {
            scope.spawn(move || (0..share).try_for_each(|number| request(&mut client, nth * share + number)))
        });
        for work in works.collect::<Vec<_>>() {
            work.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok(())
    })?;
    let took = began.elapsed().max(Duration::from_nanos(1));
    Ok((share * clients) as f64 / took.as_secs_f64())
}
