//! A disk that is full.

use std::fs;
use std::process::Command;

use super::server::{content, wait_until};
use super::{Server, ask, get, put};
use crate::lab::Lab;

#[test]
fn a_server_whose_disk_is_full_says_so_and_gives_nothing_that_it_did_not_keep() {
    let lab = Lab::new();
    let listen = ["serve", "--json", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let larder = lab.command(&[]);
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-euc"]);
    command.arg("mount -t tmpfs -o size=16m none \"$HOME\"; exec \"$0\" \"$@\" --dir \"$HOME/cache\"");
    command.arg(larder.get_program()).args(listen).current_dir(lab.path("project")).env_clear();
    command.envs(larder.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let server = Server::spawn(command);
    let ready = || get(server.address, "/readyz").unwrap().status;
    let up = || server.metric("larder_tier_up", &["tier=\"disk\""]);
    let file = "/ccache/3f/1c9a7e";
    assert_eq!(put(server.address, file, b"first").unwrap().status, 201);
    assert_eq!((ready(), wait_until("it is looked at", up)), (200, 1.0));
    let mut number = 0;
    // Ever less of what is large fits, and in the end nothing.
    for length in [2 << 20, 200_000, 20_000, 12_000, 300] {
        let mut fits = true;
        while fits {
            number += 1;
            let (bytes, digest) = content(number, length);
            fits = put(server.address, &format!("/cas/{digest}"), &bytes).unwrap().status == 200;
        }
    }
    let refused = put(server.address, file, b"second").unwrap();
    // The index says it in other words than the file system.
    let full = |text: &str| {
        let why = text.strip_prefix("the disk tier failed: ").unwrap_or_default();
        why.contains("No space left on device") || why.contains("disk is full")
    };
    assert!(refused.status == 503 && full(&refused.text()), "{}", refused.text());
    let got = get(server.address, file).unwrap();
    assert!(got.status == 404 || got.text() == "first", "{got:?}");
    assert_eq!(ready(), 503);
    wait_until("it is told", || up().filter(|&up| up == 0.0));
    let removal = ask(server.address, "DELETE", file, b"").unwrap();
    assert!(removal.status == 503 && full(&removal.text()), "{}", removal.text());
    // As seen by the server, whose file system is its own.
    let root = format!("/proc/{}/root", server.id());
    let home = lab.path("home/cache/v1/blobs");
    fs::remove_dir_all(format!("{root}{}", home.display())).unwrap();
    wait_until("there is room", || Some(ready()).filter(|&status| status == 200));
    wait_until("that is told", || up().filter(|&up| up == 1.0));
}
