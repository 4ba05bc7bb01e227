//! The end of a server: what is under way comes to its end, and what was acknowledged is there afterwards.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;

use super::server::{content, wait_until};
use super::{Server, get, http, put};
use crate::lab::Lab;

#[test]
fn at_the_end_what_is_under_way_is_finished_and_nothing_new_is_taken() {
    let lab = Lab::new();
    let mut server = Server::start(&lab, &[]);
    let (bytes, digest) = content(1, 300_000);
    let mut upload = http::Upload::begin(server.address, &format!("/cas/{digest}"), bytes.len());
    upload.send(&bytes[..100_000]);
    wait_until("it is under way", || {
        server.metric("larder_server_requests_under_way", &[]).filter(|&n| n == 1.0)
    });
    assert_eq!(get(server.metrics, "/readyz").unwrap().status, 200);
    server.signal(Signal::TERM);
    wait_until("nothing new is taken", || {
        let refused = TcpStream::connect(server.address).err()?;
        (refused.kind() == io::ErrorKind::ConnectionRefused).then_some(())
    });
    let ready = get(server.metrics, "/readyz").unwrap();
    assert_eq!((ready.status, &*ready.text()), (503, "draining\n"));
    assert_eq!(get(server.metrics, "/healthz").unwrap().status, 200);
    assert_eq!(server.metric("larder_server_draining", &[]), Some(1.0));
    upload.send(&bytes[100_000..]);
    assert_eq!(upload.finish().unwrap().status, 200);
    assert_eq!(server.wait().code(), Some(0));
    let server = Server::start(&lab, &[]);
    assert_eq!(server.get(&format!("/cas/{digest}")).body, bytes);
}

#[test]
fn with_notice_it_says_that_it_is_not_ready_and_serves_for_a_while_longer() {
    let lab = Lab::new();
    let mut server = Server::start(&lab, &["--notice", "2"]);
    let (bytes, digest) = content(1, 1000);
    server.put(&format!("/cas/{digest}"), &bytes);
    server.signal(Signal::TERM);
    wait_until("it says so", || (server.get("/readyz").status == 503).then_some(()));
    assert_eq!(server.get(&format!("/cas/{digest}")).body, bytes);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn asked_a_second_time_it_ends_at_once() {
    let lab = Lab::new();
    // Else it would wait for as long.
    let mut server = Server::start(&lab, &["--drain", "3600"]);
    let (bytes, digest) = content(1, 300_000);
    let mut upload = http::Upload::begin(server.address, &format!("/cas/{digest}"), bytes.len());
    upload.send(&bytes[..100_000]);
    wait_until("it is under way", || {
        server.metric("larder_server_requests_under_way", &[]).filter(|&n| n == 1.0)
    });
    server.signal(Signal::TERM);
    wait_until("it drains", || server.metric("larder_server_draining", &[]).filter(|&n| n == 1.0));
    server.signal(Signal::INT);
    assert_eq!(server.wait().code(), Some(130));
    assert!(upload.finish().is_err(), "it was not kept, and nobody was told so");
}

#[test]
fn whenever_it_is_killed_it_gives_afterwards_what_it_had_acknowledged() {
    let lab = Lab::new();
    let acknowledged: Mutex<Vec<(String, Vec<u8>)>> = Mutex::default();
    let next = AtomicU64::new(0);
    for round in 0..6u64 {
        let mut server = Server::start(&lab, &[]);
        for (path, bytes) in acknowledged.lock().unwrap().iter() {
            assert_eq!(server.get(path).body, *bytes, "{path} in round {round}");
        }
        let address = server.address;
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        // Small ones stand in the index, larger ones are files.
                        let (bytes, digest) =
                            content(number, [10, 3000, 20_000, 400_000][number as usize % 4]);
                        let path = match number % 3 {
                            0 => format!("/ccache/{number}"),
                            1 => format!("/ac/{digest}"),
                            _ => format!("/cas/{digest}"),
                        };
                        match put(address, &path, &bytes) {
                            Ok(answer) if answer.status < 300 => {
                                acknowledged.lock().unwrap().push((path, bytes));
                            }
                            Ok(answer) => panic!("{answer:?}"),
                            Err(_) => return,
                        }
                    }
                });
            }
            // In the middle of something, another each time.
            let begun = next.load(Ordering::Relaxed);
            wait_until("something is written", || {
                (next.load(Ordering::Relaxed) > begun + 5 + round * 7).then_some(())
            });
            server.kill();
        });
    }
    assert!(acknowledged.lock().unwrap().len() > 30);
    let server = Server::start(&lab, &[]);
    for (path, bytes) in acknowledged.lock().unwrap().iter() {
        assert_eq!(server.get(path).body, *bytes, "{path}");
    }
}
