//! What stands in memory while it comes.

use std::fs;
use std::path::Path;

use super::Server;
use super::http::Upload;
use super::server::{content, wait_until};
use crate::lab::Lab;

/// How many bodies come at once, and how much of each has come.
const BODIES: usize = 60;
const CAME_BYTES: usize = 3_900_000;

fn bytes_below(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().map(Result::unwrap);
    entries.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum()
}

#[test]
fn bodies_that_do_not_come_to_their_end_stand_on_disk_and_not_in_memory() {
    let lab = Lab::new();
    let server = Server::start(&lab, &["--dir", "cache"]);
    let begin = |number| {
        let (bytes, digest) = content(number as u64, CAME_BYTES);
        let mut upload = Upload::begin(server.address, &format!("/ac/{digest}"), CAME_BYTES + 1);
        upload.send(&bytes);
        upload
    };
    let uploads: Vec<Upload> = (0..BODIES).map(begin).collect();
    let came = || bytes_below(&lab.path("project/cache/v1/tmp"));
    // The last piece of each is gathered.
    let most = (BODIES * (CAME_BYTES - (512 << 10))) as u64;
    wait_until("all of it is on disk", || Some(came()).filter(|&came| came > most));
    let resident = server.metric("process_resident_memory_bytes", &[]).unwrap();
    assert!(resident < 100e6, "{resident}");
    drop(uploads);
    wait_until("nothing is left of it", || Some(came()).filter(|&came| came == 0));
}
