//! Builds, by Bazel and by larder itself, over several servers while one after the other is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use larder_shared::testing::{RedisServer, S3Server, Server as _};

use super::Server;
use super::fleet::{Balancer, machine_with};
use super::server::wait_until;
use crate::lab::Lab;
use crate::shared::{machine_at, run, tree};

/// How many steps a build of Bazel has.
const STEPS: usize = 12;

/// Two servers over one Redis and one bucket, behind a balancer.
struct Fleet {
    servers: [(Lab, Mutex<Server>); 2],
    balancer: Balancer,
    _redis: RedisServer,
    _bucket: S3Server,
}

impl Fleet {
    fn start() -> Self {
        let (redis, bucket) = (RedisServer::start(), S3Server::start());
        let servers = [(); 2].map(|()| {
            let lab = machine_with(&redis, &bucket);
            let server = Server::start(&lab, &[]);
            (lab, Mutex::new(server))
        });
        let balancer =
            Balancer::start(servers.iter().map(|(_, server)| server.lock().unwrap().address).collect());
        Self { servers, balancer, _redis: redis, _bucket: bucket }
    }

    fn url(&self) -> String {
        format!("grpc://{}", self.balancer.address)
    }

    /// How many requests its servers have answered since they began.
    fn answered(&self) -> f64 {
        let of = |(_, server): &(Lab, Mutex<Server>)| {
            server.lock().unwrap().metric("larder_server_requests_total", &[]).unwrap_or(0.0)
        };
        self.servers.iter().map(of).sum()
    }

    /// Does work, and meanwhile kills one server after the other once that was asked something, as often as there is
    /// time. Returns how many were killed.
    fn killing<T>(&self, work: impl FnOnce() -> T) -> (T, usize) {
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let killing = scope.spawn(|| {
                let mut killed = 0;
                loop {
                    let nth = killed % 2;
                    let (lab, server) = &self.servers[nth];
                    let before = self.answered();
                    wait_until("somebody asks", || {
                        (ended.load(Ordering::Relaxed) || self.answered() > before).then_some(())
                    });
                    if ended.load(Ordering::Relaxed) {
                        return killed;
                    }
                    let mut server = server.lock().unwrap();
                    server.kill();
                    *server = Server::start(lab, &[]);
                    self.balancer.moved(nth, server.address);
                    killed += 1;
                }
            });
            let done = work();
            ended.store(true, Ordering::Relaxed);
            (done, killing.join().unwrap())
        })
    }
}

/// Builds with Bazel in a new checkout, and returns what it said and what came out.
fn bazel(at: &Path, url: &str) -> (String, Vec<Vec<u8>>) {
    fs::create_dir_all(at.join("home")).unwrap();
    let rule = |nth: usize| {
        format!(
            "genrule(name = \"r{nth}\", outs = [\"o{nth}\", \"p{nth}\"], cmd = \
             \"seq {nth} 20000 > $(location o{nth}); sleep 0.1; seq {nth} > $(location p{nth})\")\n"
        )
    };
    fs::write(at.join("BUILD"), (1..=STEPS).map(rule).collect::<String>()).unwrap();
    fs::write(at.join("WORKSPACE"), "").unwrap();
    let mut command = Command::new("bazel");
    command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", at.join("home"));
    command.current_dir(at).arg(format!("--output_user_root={}", at.with_extension("bazel").display()));
    command.args(["--batch", "--nohome_rc", "--host_jvm_args=-Xmx256m", "build", "--spawn_strategy=local"]);
    command.args(["--color=no", &format!("--remote_cache={url}"), "//:all"]);
    let output = command.output().expect("bazel runs; install it with `cargo xtask test`");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    let out = |nth| ["o", "p"].map(|name| fs::read(at.join(format!("bazel-bin/{name}{nth}"))).unwrap());
    (said, (1..=STEPS).flat_map(out).collect())
}

#[test]
fn no_build_of_bazel_fails_and_none_is_wrong_whichever_server_is_killed() {
    let fleet = Fleet::start();
    let folder = tempfile::tempdir().unwrap();
    let checkout = |name: &str| -> PathBuf { folder.path().join(name) };
    let (first, killed) = fleet.killing(|| bazel(&checkout("first"), &fleet.url()));
    assert!(killed > 0);
    let right = |nth: usize| {
        let text = |first: usize, last| (first..=last).map(|n| format!("{n}\n")).collect::<String>();
        [text(nth, 20_000), text(1, nth)].map(String::into_bytes)
    };
    assert_eq!(first.1, (1..=STEPS).flat_map(right).collect::<Vec<_>>());
    let (second, killed) = fleet.killing(|| bazel(&checkout("second"), &fleet.url()));
    assert!(killed > 0);
    assert_eq!(second.1, first.1);
    // What both times went to a server that was just killed is put now.
    let third = bazel(&checkout("third"), &fleet.url());
    assert_eq!(third.1, first.1);
    let last = bazel(&checkout("last"), &fleet.url());
    assert_eq!(last.1, first.1);
    assert!(last.0.contains(&format!("{STEPS} remote cache hit")), "{}\n{}\n{}", second.0, third.0, last.0);
}

#[test]
fn no_run_of_tasks_fails_and_none_is_wrong_whichever_server_is_killed() {
    let fleet = Fleet::start();
    let ada = machine_at(&fleet.url(), "ada");
    let ((), killed) = fleet.killing(|| {
        for nth in 0..20 {
            ada.write("project/src/a.txt", &format!("{nth}\n"));
            assert_eq!(run(&ada, &[]).ends(), "build ran, count ran");
            let bob = machine_at(&fleet.url(), "bob");
            bob.write("project/src/a.txt", &format!("{nth}\n"));
            run(&bob, &[]);
            for path in ["project/dist", "project/count.txt"] {
                assert_eq!(tree(&bob, path), tree(&ada, path), "{nth}");
            }
        }
    });
    assert!(killed > 1);
    let eve = machine_at(&fleet.url(), "eve");
    ada.run(&["run", "count", "--force"]);
    eve.write("project/src/a.txt", "19\n");
    assert_eq!(run(&eve, &[]).ends(), "build from shared, count from shared");
}
