//! A tier that a team shares: two machines, each a lab with paths, a home and a cache of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use expect_test::expect;
use larder::clock::Clock;
use larder_shared::testing::{Certificates, EtcdServer, KeyServer, Lender, RedisServer, S3Server, Server};

use crate::lab::Lab;

const TASKS: &str = r#"
[workspace]
name = "shop"

[tasks.build]
command = '''
echo building; echo odd >&2; echo ran >> $HOME/ran; mkdir -p dist/empty; cat src/*.txt > dist/all
chmod +x dist/all; ln -s all dist/link; seq 200000 | gzip -n > dist/noise; seq 200000 > dist/numbers
'''
inputs = ["src/**"]
outputs = ["dist"]

[tasks.count]
command = "wc -l < dist/numbers > count.txt; seq 5000; echo ran >> $HOME/ran"
depends_on = ["build"]
outputs = ["count.txt"]
inputs = []
"#;

/// A machine with a clone of the project.
fn machine(server: &impl Server, producer: &str) -> Lab {
    machine_at(&server.url(), producer)
}

/// The same, with a shared tier at this URL.
pub(crate) fn machine_at(url: &str, producer: &str) -> Lab {
    let mut lab = Lab::new();
    lab.variable("LARDER_SHARED", url).variable("LARDER_PRODUCER", producer);
    let key = S3Server::options().access_key.unwrap();
    lab.variable("AWS_ACCESS_KEY_ID", &key.id).variable("AWS_SECRET_ACCESS_KEY", key.secret.reveal());
    // A machine that is busy with other tests is no reason to do without.
    lab.variable("LARDER_SHARED_PATIENCE", "60 s").variable("USER", producer);
    lab.write("project/larder.toml", TASKS)
        .write("project/src/a.txt", "a\n")
        .write("project/src/b.txt", "b\n");
    lab
}

/// The same, with blobs on another server.
fn machine_with(entries: &RedisServer, blobs: &S3Server, producer: &str) -> Lab {
    let mut lab = machine(entries, producer);
    lab.variable("LARDER_SHARED_BLOBS", &blobs.url());
    lab
}

/// What a run says of itself.
pub(crate) fn run(lab: &Lab, arguments: &[&str]) -> Run {
    let output = lab.run(&[&["run", "--json"], arguments, &["count"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    Run { summary: serde_json::from_slice(&output.stdout).unwrap(), stderr }
}

pub(crate) struct Run {
    pub(crate) summary: serde_json::Value,
    pub(crate) stderr: String,
}

impl Run {
    /// Each task with how it ended.
    pub(crate) fn ends(&self) -> String {
        let tasks = self.summary["tasks"].as_array().unwrap();
        let end = |task: &serde_json::Value| {
            let name = task["task"].as_str().unwrap().trim_start_matches("shop#");
            match task["hit"]["from"].as_str() {
                Some(from) => format!("{name} from {from}"),
                None => {
                    let not_kept =
                        task["not_kept"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
                    format!("{name} {}{not_kept}", task["status"].as_str().unwrap())
                }
            }
        };
        tasks.iter().map(end).collect::<Vec<_>>().join(", ")
    }
}

/// Everything that is below a directory, with modes, contents and where links lead.
pub(crate) fn tree(lab: &Lab, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut waiting = vec![lab.path(path)];
    while let Some(at) = waiting.pop() {
        let metadata = fs::symlink_metadata(&at).unwrap();
        let name = at.strip_prefix(lab.path(path)).unwrap().display().to_string();
        let what = if metadata.is_symlink() {
            format!("-> {}", fs::read_link(&at).unwrap().display())
        } else if metadata.is_dir() {
            waiting.extend(fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()));
            "directory".to_owned()
        } else {
            larder::key::Digest::of(&fs::read(&at).unwrap()).to_string()
        };
        all.push(format!("{name} {:o} {what}", metadata.permissions().mode()));
    }
    all.sort();
    all
}

pub(crate) fn stats(lab: &Lab) -> serde_json::Value {
    let shown: serde_json::Value = serde_json::from_str(&lab.stdout(&["cache", "stats", "--json"])).unwrap();
    shown["report"]["total"]["tiers"]["shared"].clone()
}

#[test]
fn why_names_the_file_that_differs_from_a_teammates_result_and_whose_it_is() {
    let (redis, etcd, s3) = (RedisServer::start(), EtcdServer::start(), S3Server::start());
    for url in [redis.url(), etcd.url(), s3.url()] {
        let (ada, bob) = (machine_at(&url, "ada"), machine_at(&url, "bob"));
        assert_eq!(run(&ada, &[]).ends(), "build ran, count ran");
        bob.write("project/src/b.txt", "edited\n");
        let why: serde_json::Value = serde_json::from_str(&bob.stdout(&["why", "build", "--json"])).unwrap();
        let nearest = &why[0]["nearest"];
        assert_eq!(nearest["producer"], "ada", "{why} at {url}");
        assert_eq!(nearest["modified"], serde_json::json!(["src/b.txt"]), "{why} at {url}");
        // Nothing else was brought.
        assert_eq!(fs::read_dir(bob.path("home/.cache/larder/v1/blobs")).unwrap().count(), 1);
    }
}

#[test]
fn what_one_machine_ran_another_gets_with_its_outputs_and_its_log_and_runs_nothing() {
    let server = RedisServer::start();
    let (ada, bob) = (machine(&server, "ada"), machine(&server, "bob"));
    assert_eq!(run(&ada, &[]).ends(), "build ran, count ran");
    let got = run(&bob, &[]);
    assert_eq!(got.ends(), "build from shared, count from shared");
    assert!(got.stderr.contains("build hit, from ada, "), "{}", got.stderr);
    assert!(!bob.path("home/ran").exists(), "nothing ran");
    assert_eq!(tree(&bob, "project/dist"), tree(&ada, "project/dist"));
    assert_eq!(tree(&bob, "project/count.txt"), tree(&ada, "project/count.txt"));
    // From its own disk by now, with what the command printed, on both streams.
    let replayed = |lab: &Lab| {
        let output = lab.run(&["run", "build", "--output", "stream"]);
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (ada_said, bob_said) = (replayed(&ada), replayed(&bob));
    assert_eq!(bob_said.0, ada_said.0);
    assert!(bob_said.0.contains("building") && bob_said.1.contains("odd"), "{bob_said:?}");
    assert_eq!(run(&bob, &[]).ends(), "build from disk, count from disk");
    let keys = server.ask(&["--scan"]);
    for secret in [ada.path(""), bob.path("")] {
        assert!(!keys.contains(&*secret.to_string_lossy()), "{keys}");
    }
}

/// Runs the tasks as if on a machine of this name.
fn run_on(lab: &Lab, host: &str) -> String {
    let script = format!("echo {host} > /proc/sys/kernel/hostname && exec \"$LARDER\" run count");
    let mut command = Command::new("unshare");
    command.args(["--uts", "--map-root-user", "sh", "-c", &script]).current_dir(lab.path("project"));
    let lent = lab.command(&[]);
    command.env_clear().envs(lent.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("LARDER", env!("CARGO_BIN_EXE_larder"));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success(),
        "{said}\nthis test makes a namespace of its own; run it as root, or allow it with\n    \
         sysctl -w kernel.unprivileged_userns_clone=1"
    );
    said
}

#[test]
fn a_clone_on_a_machine_of_another_name_hits_and_is_told_whose_the_result_is() {
    let server = RedisServer::start();
    let [ada, bob] = ["ada", "bob"].map(|user| {
        let mut lab = machine(&server, user);
        lab.without_variable("LARDER_PRODUCER");
        lab
    });
    assert!(run_on(&ada, "attic").contains("build ran"));
    let said = run_on(&bob, "cellar");
    assert!(said.contains("build hit, from ada@attic, ") && said.contains("count hit, "), "{said}");
    assert!(!bob.path("home/ran").exists(), "nothing ran");
}

#[test]
fn what_came_from_afar_is_not_sent_again_and_the_counts_say_so() {
    let server = RedisServer::start();
    let (ada, bob) = (machine(&server, "ada"), machine(&server, "bob"));
    run(&ada, &[]);
    let count = |stats: &serde_json::Value, what: &str| stats[what].as_u64().unwrap();
    let sent = stats(&ada);
    assert_eq!((count(&sent, "puts"), count(&sent, "hits"), count(&sent, "failures")), (2, 0, 0));
    let before = server.ask(&["info", "commandstats"]);
    let stores = |text: &str| text.lines().find(|line| line.starts_with("cmdstat_hset:")).map(str::to_owned);
    run(&bob, &[]);
    let got = stats(&bob);
    assert_eq!((count(&got, "puts"), count(&got, "hits"), count(&got, "corrupt")), (0, 2, 0));
    assert_eq!(stores(&server.ask(&["info", "commandstats"])), stores(&before), "nothing was stored");
}

#[test]
fn a_blob_that_is_gone_is_a_miss_and_is_sent_anew() {
    let server = RedisServer::start();
    let (ada, bob, eve) = (machine(&server, "ada"), machine(&server, "bob"), machine(&server, "eve"));
    run(&ada, &[]);
    let pieces = server.ask(&["--scan", "--pattern", "larder1:p:*"]);
    for piece in pieces.lines() {
        server.ask(&["del", piece]);
    }
    assert_eq!(run(&bob, &[]).ends(), "build ran, count ran");
    assert_eq!(run(&eve, &[]).ends(), "build from shared, count from shared");
    assert_eq!(tree(&eve, "project/dist"), tree(&bob, "project/dist"));
}

#[test]
fn damaged_and_cut_values_are_misses_that_are_counted_and_set_aside_and_are_never_served() {
    type Damage = fn(&RedisServer, &str);
    let damages: [(&str, Damage); 4] = [
        ("larder1:p:*", |server, name| {
            // A byte in the middle of each piece.
            let length: usize = server.ask(&["strlen", name]).parse().unwrap();
            server.ask(&["setrange", name, &(length / 2).to_string(), "~"]);
        }),
        ("larder1:p:*", |server, name| {
            server.ask(&["set", name, "short", "keepttl"]);
        }),
        ("larder1:e:*", |server, name| {
            server.ask(&["hset", name, "e", "no envelope"]);
        }),
        ("larder1:e:*", |server, name| {
            let script = "local e = redis.call('HGET', KEYS[1], 'e') \
                          return redis.call('HSET', KEYS[1], 'e', string.sub(e, 1, -9))";
            server.ask(&["eval", script, "1", name]);
        }),
    ];
    for (nth, (pattern, damage)) in damages.into_iter().enumerate() {
        let server = RedisServer::start();
        let (ada, bob, eve) = (machine(&server, "ada"), machine(&server, "bob"), machine(&server, "eve"));
        run(&ada, &[]);
        for name in server.ask(&["--scan", "--pattern", pattern]).lines() {
            damage(&server, name);
        }
        let ends = run(&bob, &[]).ends();
        assert_eq!(ends, "build ran, count ran", "damage {nth}");
        let numbers = fs::read(bob.path("project/dist/numbers")).unwrap();
        assert!(numbers == fs::read(ada.path("project/dist/numbers")).unwrap(), "damage {nth}");
        assert!(stats(&bob)["corrupt"].as_u64().unwrap() >= 1, "damage {nth}: {}", stats(&bob));
        assert_eq!(run(&eve, &[]).ends(), "build from shared, count from shared", "damage {nth}");
        assert_eq!(tree(&eve, "project/dist"), tree(&bob, "project/dist"), "damage {nth}");
    }
}

#[test]
fn reading_and_writing_can_be_switched_off_each_for_itself() {
    let server = RedisServer::start();
    let (mut ada, mut bob) = (machine(&server, "ada"), machine(&server, "bob"));
    ada.variable("LARDER_SHARED_WRITE", "false");
    assert_eq!(run(&ada, &[]).ends(), "build ran, count ran");
    assert_eq!(server.ask(&["--scan", "--pattern", "larder1:[ebp]:*"]), "", "nothing was sent");
    ada.variable("LARDER_SHARED_WRITE", "true");
    run(&ada, &["--force"]);
    bob.variable("LARDER_SHARED_READ", "false");
    assert_eq!(run(&bob, &[]).ends(), "build ran, count ran");
    // An account that may only read gets what others sent.
    let mut eve = machine(&server, "eve");
    server.ask(&[
        "acl",
        "setuser",
        "reader",
        "on",
        ">pw",
        "~larder1*",
        "~{larder1}*",
        "+@read",
        "+@connection",
        "+eval",
    ]);
    let url = server.url().replace("redis://", "redis://reader:pw@");
    eve.variable("LARDER_SHARED", &url).variable("LARDER_SHARED_WRITE", "false");
    let got = run(&eve, &[]);
    assert_eq!(got.ends(), "build from shared, count from shared");
    assert_eq!(got.summary["shared"]["trouble"], serde_json::Value::Null);
    let refused = eve.run(&["cache", "invalidate", "all"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("redis tier could not be told: tier may not be"),
        "{said}"
    );
    assert_eq!(run(&machine(&server, "fay"), &[]).ends(), "build from shared, count from shared");
}

#[test]
fn a_dead_shared_tier_is_told_of_and_changes_nothing_else() {
    let mut server = RedisServer::start();
    let ada = machine(&server, "ada");
    server.kill();
    let dead = run(&ada, &[]);
    assert_eq!(dead.ends(), "build ran, count ran");
    assert_eq!(dead.summary["shared"]["tier"], "redis");
    assert!(dead.summary["shared"]["trouble"].is_string(), "{}", dead.summary);
    let warning = "warning: the shared tier redis is left alone: ";
    assert!(dead.stderr.contains(warning), "{}", dead.stderr);
    assert_eq!(dead.stderr.matches("tier").count(), 1, "{}", dead.stderr);
    assert_eq!(run(&ada, &[]).ends(), "build from disk, count from disk");
    // The next process does not find out anew, and says so.
    let dead = run(&ada, &["--force"]);
    assert!(dead.summary["shared"]["trouble"].as_str().unwrap().ends_with(" s ago"), "{}", dead.summary);
    assert!(dead.stderr.contains(warning), "{}", dead.stderr);
    server.restart();
    let back = run(&ada, &["--force"]);
    assert_eq!(
        (back.ends().as_str(), &back.summary["shared"]["trouble"]),
        ("build ran, count ran", &serde_json::Value::Null)
    );
    assert_eq!(run(&machine(&server, "bob"), &[]).ends(), "build from shared, count from shared");
}

#[test]
fn etcd_brings_results_and_invalidations_to_other_machines_encrypted_if_that_is_wanted() {
    let certificates = Certificates::make();
    for server in [EtcdServer::start(), EtcdServer::encrypted(&certificates)] {
        let machine = |name| {
            let mut lab = machine(&server, name);
            let files = [
                ("LARDER_SHARED_CA", certificates.authority()),
                ("LARDER_SHARED_CERT", certificates.client()),
                ("LARDER_SHARED_KEY", certificates.client_key()),
            ];
            for (name, path) in files {
                lab.variable(name, path.to_str().unwrap());
            }
            lab
        };
        let (ada, bob) = (machine("ada"), machine("bob"));
        assert_eq!(run(&ada, &[]).ends(), "build ran, count ran");
        assert_eq!(run(&bob, &[]).ends(), "build from shared, count from shared");
        assert_eq!(tree(&ada, "project/dist"), tree(&bob, "project/dist"));
        ada.stdout(&["cache", "invalidate", "kind:task"]);
        assert_eq!(run(&bob, &[]).ends(), "build ran, count ran");
    }
    // Whom nobody vouches for is done without, and the run says why.
    let (server, others) = (EtcdServer::encrypted(&certificates), Certificates::make());
    let mut eve = machine(&server, "eve");
    eve.variable("LARDER_SHARED_CA", others.authority().to_str().unwrap());
    let run = run(&eve, &[]);
    assert_eq!(run.ends(), "build ran, count ran");
    let warning = "warning: the shared tier etcd is left alone: its certificate is not trusted here (";
    assert!(run.stderr.contains(warning), "{}", run.stderr);
}

#[test]
fn what_is_no_url_of_a_shared_tier_is_refused_and_a_password_is_shown_nowhere() {
    let mut lab = Lab::new();
    lab.write("project/larder.toml", "[tasks.build]\ncommand = \"true\"\noutputs = [\"a\"]\n");
    lab.variable("LARDER_SHARED", "ftp://ada:hunter2@box");
    lab.check(
        &["run", "build"],
        expect![[r#"
            ! error: LARDER_SHARED: no shared tier is known for ftp://
            ! hint: write it as redis://HOST:PORT, etcd://HOST:PORT, grpc://HOST:PORT or s3://BUCKET/PREFIX
            exit code 2
        "#]],
    );
    lab.variable("LARDER_SHARED", "redis://ada:hunter2@127.0.0.1:1/2?namespace=web");
    let shown = lab.stdout(&["config", "show"]);
    assert!(shown.contains("redis://ada:***@127.0.0.1:1/2?namespace=web"), "{shown}");
    for arguments in [&["config", "show", "--json"][..], &["cache", "stats"], &["run", "build", "-v"]] {
        let output = lab.run(arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("hunter2"), "{arguments:?}: {said}");
    }
}

#[test]
fn an_invalidation_on_one_machine_reaches_the_memory_and_disk_of_another() {
    let server = RedisServer::start();
    let (ada, bob, eve) = (machine(&server, "ada"), machine(&server, "bob"), machine(&server, "eve"));
    run(&ada, &[]);
    assert_eq!(run(&bob, &[]).ends(), "build from shared, count from shared");
    assert_eq!(run(&bob, &[]).ends(), "build from disk, count from disk");
    ada.stdout(&["cache", "invalidate", "kind:task"]);
    assert_eq!(run(&bob, &[]).ends(), "build ran, count ran", "what was on its disk is gone too");
    assert_eq!(run(&bob, &[]).ends(), "build from disk, count from disk", "once");
    assert_eq!(run(&eve, &[]).ends(), "build from shared, count from shared");
    // Of this machine only.
    ada.stdout(&["cache", "clear", "--local"]);
    assert_eq!(run(&bob, &[]).ends(), "build from disk, count from disk");
    assert_eq!(run(&ada, &[]).ends(), "build from shared, count from shared");
    // A server that lost all it had may have lost an invalidation too.
    server.ask(&["flushall"]);
    assert_eq!(run(&bob, &[]).ends(), "build ran, count ran");
    assert_eq!(run(&bob, &[]).ends(), "build from disk, count from disk");
}

#[test]
fn what_a_dead_server_could_not_be_told_of_an_invalidation_it_is_told_by_the_next_run() {
    let mut server = RedisServer::start();
    let (ada, bob) = (machine(&server, "ada"), machine(&server, "bob"));
    run(&ada, &[]);
    assert_eq!(run(&bob, &[]).ends(), "build from shared, count from shared");
    server.kill();
    let untold = ada.run(&["cache", "invalidate", "tag:task shop#build", "tag:task shop#count"]);
    let said = String::from_utf8_lossy(&untold.stderr);
    assert!(!untold.status.success() && said.contains("the redis tier could not be told"), "{said}");
    assert!(said.contains("the next run here that reaches the shared tier tells it"), "{said}");
    server.restart();
    assert_eq!(run(&ada, &[]).ends(), "build ran, count ran");
    assert_eq!(run(&bob, &[]).ends(), "build from shared, count from shared", "and not from its disk");
    assert_eq!(run(&ada, &[]).ends(), "build from disk, count from disk");
}

#[test]
fn a_bucket_serves_a_team_as_well() {
    let server = S3Server::start();
    let (ada, bob) = (machine(&server, "ada"), machine(&server, "bob"));
    assert_eq!(run(&ada, &[]).ends(), "build ran, count ran");
    let got = run(&bob, &[]);
    assert_eq!(got.ends(), "build from shared, count from shared");
    assert!(got.stderr.contains("build hit, from ada, "), "{}", got.stderr);
    assert_eq!(tree(&bob, "project/dist"), tree(&ada, "project/dist"));
    assert_eq!(run(&bob, &[]).ends(), "build from disk, count from disk");
    ada.stdout(&["cache", "invalidate", "tag:task //#build"]);
    assert_eq!(run(&bob, &[]).ends(), "build ran, count from disk");
    let key = S3Server::options().access_key.unwrap();
    let secret = key.secret.reveal();
    for arguments in [&["config", "show"][..], &["cache", "stats"], &["run", "build", "-v"]] {
        let output = ada.run(arguments);
        let said = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&said).contains(secret), "{arguments:?}");
    }
}

#[test]
fn entries_on_one_server_and_blobs_on_another_are_one_tier() {
    let (entries, blobs) = (RedisServer::start(), S3Server::start());
    let [ada, bob] = ["ada", "bob"].map(|name| machine_with(&entries, &blobs, name));
    run(&ada, &[]);
    assert!(fs::read_dir(blobs.objects().join("b")).unwrap().count() > 0);
    assert!(!entries.ask(&["--scan"]).contains("larder1:b:"));
    assert_eq!(run(&bob, &[]).ends(), "build from shared, count from shared");
    assert_eq!(tree(&bob, "project/dist"), tree(&ada, "project/dist"));
    fs::remove_dir_all(blobs.objects().join("b")).unwrap();
    assert_eq!(run(&machine_with(&entries, &blobs, "eve"), &[]).ends(), "build ran, count ran");
    assert_eq!(
        run(&machine_with(&entries, &blobs, "fay"), &[]).ends(),
        "build from shared, count from shared"
    );
}

#[test]
fn keys_for_a_bucket_come_from_where_the_tools_for_aws_have_them() {
    let server = S3Server::start();
    let keys = KeyServer::start(&server, &Clock::system(), Duration::from_secs(3600));
    let (identity, role) = KeyServer::identity();
    let key = S3Server::options().access_key.unwrap();
    let file =
        format!("[ci]\naws_access_key_id = {}\naws_secret_access_key = {}\n", key.id, key.secret.reveal());
    let (url, container) = (keys.url(), keys.container_url());
    let off = ("AWS_EC2_METADATA_DISABLED", "true");
    let mut is_first = true;
    let mut check = |name: &str, variables: &[(&str, &str)], asked: &[Lender]| {
        let mut lab = machine(&server, name);
        lab.without_variable("AWS_ACCESS_KEY_ID").without_variable("AWS_SECRET_ACCESS_KEY");
        lab.write("home/.aws/credentials", &file).write("project/identity", identity);
        for (name, value) in variables {
            lab.variable(name, value);
        }
        let before = keys.asked().len();
        let (ends, from) = (run(&lab, &[]).ends(), if is_first { "ran" } else { "from shared" });
        assert_eq!(ends, format!("build {from}, count {from}"), "{name}");
        assert_eq!(keys.asked()[before..], *asked, "{name}");
        is_first = false;
    };
    check(
        "role",
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "identity"),
            ("AWS_ROLE_ARN", role),
            ("AWS_ENDPOINT_URL_STS", &url),
        ],
        &[Lender::TokenService],
    );
    check("profile", &[("AWS_PROFILE", "ci"), off], &[]);
    let token = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", KeyServer::container_token());
    check(
        "container",
        &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container), token, off],
        &[Lender::Container],
    );
    check("instance", &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)], &[Lender::Instance]);
}

#[test]
fn what_a_shared_tier_needs_beside_its_url_is_asked_for() {
    let mut lab = Lab::new();
    lab.write("project/larder.toml", "[tasks.build]\ncommand = \"true\"\noutputs = [\"a\"]\n");
    lab.variable("LARDER_SHARED", "s3://cache").variable("AWS_EC2_METADATA_DISABLED", "true");
    lab.check(
        &["run", "build"],
        expect![[r#"
            ! error: LARDER_SHARED: there is no access key for s3://
            ! hint: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; docs/shared.md tells where else one may come from
            exit code 2
        "#]],
    );
    lab.variable("LARDER_SHARED", "none")
        .variable("LARDER_SHARED_BLOBS", "s3://cache?endpoint=https://a:b@h");
    lab.check(
        &["run", "build"],
        expect![[r#"
            ! error: LARDER_SHARED_BLOBS: shared_blobs says where blobs are, and shared not where entries are
            ! hint: set shared too; both may be the same
            exit code 2
        "#]],
    );
    lab.check(
        &["config", "show", "shared_blobs"],
        expect![[r#"
            shared_blobs  s3://cache?endpoint=***
        "#]],
    );
}

#[test]
fn two_machines_at_once_run_a_task_once_and_nobody_waits_for_the_dead() {
    let server = RedisServer::start();
    let tasks = TASKS.replace("echo building;", "sleep 1; echo building;");
    let machines = ["ada", "bob", "eve"].map(|name| machine(&server, name));
    for machine in &machines {
        machine.write("project/larder.toml", &tasks);
    }
    let children = machines.each_ref().map(|machine| {
        let mut command = machine.command(&["run", "count", "--output", "errors-only"]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let runs = |lab: &Lab| fs::read_to_string(lab.path("home/ran")).unwrap_or_default().lines().count();
    assert_eq!(machines.iter().map(runs).sum::<usize>(), 2, "each task once");
    assert_eq!(tree(&machines[0], "project/dist"), tree(&machines[2], "project/dist"));
    assert_eq!(server.ask(&["--scan", "--pattern", "larder1:l:*"]), "", "all turns are given back");
    // A machine that died in its turn.
    let mut late = machine(&server, "late");
    late.write("project/src/a.txt", "another\n");
    let key = run(&late, &["--dry-run"]).summary[0]["key"].as_str().unwrap().to_owned();
    let key = larder::key::Key::parse(&format!("shop/task@{}/{key}", version(&server))).unwrap();
    let lease = format!("larder1:l:{}", key.digest());
    server.ask(&["set", &lease, "the dead", "px", "1500"]);
    late.variable("LARDER_LOG", "info");
    let ran = run(&late, &[]);
    assert_eq!((&*ran.ends(), runs(&late)), ("build ran, count ran", 2));
    assert!(ran.stderr.contains("another machine computes this; waiting for it"), "{}", ran.stderr);
}

/// The version of the kind of tasks, as it stands in names.
fn version(server: &RedisServer) -> String {
    let names = server.ask(&["--scan", "--pattern", "larder1:e:shop/task@*"]);
    let rest = names.lines().next().unwrap().trim_start_matches("larder1:e:shop/task@");
    rest.split('/').next().unwrap().to_owned()
}
