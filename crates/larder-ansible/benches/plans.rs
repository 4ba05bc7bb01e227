//! What ten thousand kept plans take of memory, and how long one takes to be given; and what an edit costs.
//!
//! `cargo bench -p larder-ansible --bench plans` prints both for plans that are kept under names
//! (`larder_ansible::kept`) and for plans of files, each verified in a view of its own; each sort in a process of its own.
//! A plan has 40 tasks on 20 hosts.
//! Then, for sets of 1,000, 5,000 and 20,000 tasks, the medians of making a plan from nothing, of giving a kept one, and of
//! planning again after one task was given another name, in a process that stays, watches and has the last plan.

#![allow(clippy::print_stdout, reason = "its output is what a benchmark is for")]

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::mem;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use larder::clock::Clock;
use larder::config::processors;
use larder::engine::{Larder, LarderOptions, Outside, Watch};
use larder::key::{Digest, Scope};
use larder::stats::{Stats, StatsOptions};
use larder::tier::memory::{Config, Limits};
use larder_ansible::inventory::{Limit, Source};
use larder_ansible::kept::{KeptPlans, PlanKey, Plans};
use larder_ansible::plan::{ExecutionPlan, binary};
use larder_ansible::planner::Planner;
use larder_ansible::query::PlanRequest;
use tempfile::TempDir;

const PLANS: usize = 10_000;
const BUDGET_BYTES: u64 = 250 << 20;

fn larder() -> Larder {
    let clock = Clock::system();
    let stats = Stats::new(StatsOptions::default(), clock.clone());
    let mut options = LarderOptions::new(clock, stats);
    options.memory = Some(Config::new(Limits::bytes(BUDGET_BYTES), processors(), 0));
    Larder::new(options)
}

fn write(root: &Path) {
    let put = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("made");
        fs::write(path, text).expect("written");
    };
    let mut role = String::new();
    for n in 0..10 {
        let _ = write!(
            role,
            "- name: Configure part {n} of the application\n  template:\n    src: part{n}.conf.j2\n    \
             dest: /etc/application/part{n}.conf\n    owner: root\n    mode: '0644'\n  \
             when: application_part{n} | default(true)\n  notify: Restart the application\n  tags: [application]\n\
             - name: Look at part {n}\n  command: application check part{n}\n  register: part{n}\n  \
             changed_when: false\n"
        );
    }
    put("roles/application/tasks/main.yml", &role);
    put("roles/base/tasks/main.yml", &role.replace("application", "base"));
    let restart = "- name: Restart the NAME\n  service: {name: NAME, state: restarted}\n";
    for name in ["application", "base"] {
        put(&format!("roles/{name}/handlers/main.yml"), &restart.replace("NAME", name));
    }
    put(
        "site.yml",
        "- name: Site\n  hosts: all\n  become: true\n  serial: 25%\n  roles: [base, application]\n",
    );
    put("hosts", "[web]\nweb[01:15].example.com\n[db]\ndb[1:5].example.com\n");
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

fn request(n: usize) -> PlanRequest {
    // Each is another question with a plan of its own.
    let limit = Some(Limit::parse(&format!("all:!nobody{n}")));
    PlanRequest { limit, ..PlanRequest::new("site.yml", vec![Source::Path("hosts".to_owned())]) }
}

fn told(what: &str, times: &mut [Duration], larder: &Larder, before: u64) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6;
    let usage = larder.memory_usage().expect("there is memory");
    println!(
        "{what}: {} entries, {:.1} MiB counted, {:.1} MiB resident; a hit takes {:.0} µs, 99 in 100 at most {:.0} µs",
        usage.entries,
        usage.bytes as f64 / f64::from(1 << 20),
        resident_bytes().saturating_sub(before) as f64 / f64::from(1 << 20),
        at(50),
        at(99),
    );
}

async fn named(plan: &ExecutionPlan) {
    let (larder, before) = (larder(), resident_bytes());
    let plans = KeptPlans::new(&larder, &Scope::new("bench").expect("a good name"));
    let key = |n: usize| PlanKey::new("site.yml", Digest::of(&n.to_le_bytes())).expect("a good name");
    for n in 0..PLANS {
        plans.store_plan(&key(n), plan, Duration::from_millis(50)).await;
    }
    let mut times = Vec::with_capacity(PLANS);
    for n in 0..PLANS {
        let begun = Instant::now();
        black_box(plans.get_plan(&key(n)).await.expect("it is kept"));
        times.push(begun.elapsed());
    }
    told(&format!("{PLANS} plans under names"), &mut times, &larder, before);
}

async fn of_files(root: &Path) {
    let (larder, before) = (larder(), resident_bytes());
    let planner =
        Planner::new(&larder, &Scope::new("bench").expect("a good name")).expect("the kinds are known");
    for n in 0..PLANS {
        planner.view(root).plan(&request(n)).await.expect("it is planned");
    }
    let mut times = Vec::with_capacity(PLANS);
    for n in 0..PLANS {
        let begun = Instant::now();
        black_box(planner.view(root).plan(&request(n)).await.expect("it is planned"));
        times.push(begun.elapsed());
    }
    told(&format!("{PLANS} plans of files"), &mut times, &larder, before);
}

/// A set of playbooks with so many roles of 50 tasks, four a play.
fn write_set(root: &Path, roles: usize) {
    let put = |path: String, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("made");
        fs::write(path, text).expect("written");
    };
    let (mut site, mut hosts) = (String::new(), String::new());
    for first in (0..roles).step_by(4) {
        let _ = write!(site, "- hosts: tier{first}\n  become: true\n  tags: [tier{first}]\n  roles:\n");
        (first..roles.min(first + 4)).for_each(|role| _ = writeln!(site, "    - service{role}"));
        let _ = write!(hosts, "[tier{first}]\nhost{first}[0:3].example.com\n");
    }
    put("site.yml".to_owned(), &site);
    put("hosts".to_owned(), &hosts);
    for role in 0..roles {
        put(format!("roles/service{role}/defaults/main.yml"), &format!("user: user{role}\n"));
        put(
            format!("roles/service{role}/tasks/main.yml"),
            &format!("{}- import_tasks: more.yml\n", set_tasks(role, "")),
        );
        put(format!("roles/service{role}/tasks/more.yml"), &set_tasks(role, ""));
    }
}

/// Half of the tasks of a role, of which the last is called `last`.
fn set_tasks(role: usize, last: &str) -> String {
    let mut text = String::new();
    for n in 0..25 {
        let last = if n == 24 { last } else { "" };
        let _ = writeln!(text, "- name: Step {n} of service{role}{last}");
        let _ = match n % 3 {
            0 => write!(text, "  package:\n    name: package{n}\n"),
            1 => write!(text, "  copy:\n    dest: /etc/{n}\n    content: x\n    owner: '{{{{ user }}}}'\n"),
            _ => write!(text, "  command: /bin/true {n}\n  register: done{n}\n  changed_when: false\n"),
        };
    }
    text
}

/// How often each is timed.
const ROUNDS: usize = 15;

async fn edits(roles: usize) {
    let root = TempDir::new().expect("a temporary directory");
    write_set(root.path(), roles);
    // Stamps settle, so that they are believed.
    std::thread::sleep(Duration::from_millis(2_100));
    let scope = Scope::new("bench").expect("a good name");
    let request = PlanRequest::new("site.yml", vec![Source::Path("hosts".to_owned())]);
    let outside = Outside::new(root.path()).watched(&Watch::new());
    let staying = Planner::new(&larder(), &scope).expect("the kinds are known");
    // As `larder plan --watch` does, it has the last plan while it makes the next one.
    let plan = async || staying.view_of(outside.clone()).plan(&request).await.expect("it is planned");
    let mut last = plan().await;
    let [mut fresh, mut kept, mut edited] = [(); 3].map(|()| Vec::new());
    for round in 0..ROUNDS {
        let planner = Planner::new(&larder(), &scope).expect("the kinds are known");
        let begun = Instant::now();
        black_box(planner.view(root.path()).plan(&request).await.expect("it is planned"));
        fresh.push(begun.elapsed());
        let begun = Instant::now();
        drop(mem::replace(&mut last, plan().await));
        kept.push(begun.elapsed());
        let task = set_tasks(3, &format!(" in round {round}"));
        fs::write(root.path().join("roles/service3/tasks/more.yml"), task).expect("written");
        let begun = Instant::now();
        drop(mem::replace(&mut last, plan().await));
        edited.push(begun.elapsed());
    }
    let [fresh, kept, edited] = [fresh, kept, edited].map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    });
    println!(
        "{} tasks, in a process that stays: fresh {fresh:.1} ms, kept {kept:.2}, one task edited {edited:.2}: {:.3} of fresh",
        roles * 50,
        edited / fresh
    );
}

fn main() {
    const SORT: &str = "LARDER_BENCH_PLANS";
    let Some(sort) = std::env::var_os(SORT) else {
        let program = std::env::current_exe().expect("this program");
        for sort in ["names", "files", "edits"] {
            let status = Command::new(&program).env(SORT, sort).status().expect("this program starts");
            assert!(status.success());
        }
        return;
    };
    let root = TempDir::new().expect("a temporary directory");
    write(root.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        if sort == "files" {
            return of_files(root.path()).await;
        }
        if sort == "edits" {
            for roles in [20, 100, 400] {
                edits(roles).await;
            }
            return;
        }
        let planner = Planner::new(&larder(), &Scope::new("bench").expect("a good name")).expect("the kinds");
        let plan = planner.view(root.path()).plan(&request(0)).await.expect("it is planned").plan;
        let bytes = binary::encode(&plan).len();
        let (tasks, hosts) = (plan.totals.tasks, plan.totals.hosts);
        println!("a plan of {tasks} tasks on {hosts} hosts has {bytes} bytes in its binary form");
        named(&plan).await;
    });
}
