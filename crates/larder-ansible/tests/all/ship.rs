//! What could be shipped as programs, and how strategies go through a play.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use expect_test::{Expect, expect};
use larder_ansible::inventory::Source;
use larder_ansible::plan::schedule::Pace;
use larder_ansible::plan::{Because, Effect, ExecutionPlan, PlayPlan, ship};
use larder_ansible::query::{Force, PlanRequest, ShipOptions, Strategy};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::lab::{planner, wait};

const HOSTS: &str = "\
[arm]
a1
a2
[arm:vars]
ansible_architecture=arm64
[intel]
b1 ansible_architecture=x86_64 ansible_system=FreeBSD
[unknown]
c1
";

/// A project, planned with what is asked for.
fn plan(files: &[(&str, &str)], change: impl FnOnce(&mut PlanRequest)) -> Result<ExecutionPlan, String> {
    let root = TempDir::new().unwrap();
    for (path, text) in [("hosts", HOSTS)].iter().chain(files) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut request = PlanRequest::new("p.yml", vec![Source::Path("hosts".to_owned())]);
    request.ship = Some(ShipOptions::default());
    change(&mut request);
    let planned = wait(async { planner().view(root.path()).plan(&request).await });
    planned.map(|planned| (*planned.plan).clone()).map_err(|problem| problem.render())
}

fn check(files: &[(&str, &str)], change: impl FnOnce(&mut PlanRequest), expect: Expect) {
    let shown = plan(files, change).map(|plan| ship::listing(&plan).to_string());
    expect.assert_eq(&shown.unwrap_or_else(|problem| problem));
}

const PLAY: &str = "\
- name: site
  hosts: arm:intel:unknown
  serial: 2
  vars: {home: /srv}
  pre_tasks:
    - {name: early, command: x}
  roles: [r]
  tasks:
    - {name: say, debug: {msg: hello}}
    - {name: make, file: {path: '{{ home }}/x', state: directory}, become: true}
    - {name: fill, copy: {src: x.conf, dest: '{{ home }}/x/conf'}, become: true, register: filled}
    - {name: tell, debug: {var: filled}, become: true}
    - {name: run, command: run -v, become: true, register: ran, when: filled is changed}
    - {name: as another, command: id, become: true, become_user: app}
    - {name: never, command: id, when: false}
    - {name: again, command: id -u, become: true, become_user: app}
    - {name: third, command: id -g, become: true, become_user: app, loop: [1, 2]}
    - {name: ask, debug: {msg: '{{ ran.stdout }}'}}
  post_tasks:
    - {name: late, command: y}
";

const FILES: &[(&str, &str)] = &[
    ("p.yml", PLAY),
    ("files/x.conf", "conf"),
    (
        "roles/r/tasks/main.yml",
        "- {name: first, template: {src: t.j2, dest: /t}}\n- {name: second, shell: make}\n- {name: last, apt: {name: x}, notify: h}\n",
    ),
    ("roles/r/handlers/main.yml", "- {name: h, service: {name: x, state: restarted}}\n"),
    ("roles/r/templates/t.j2", "{{ port }} {% for one in many %}{{ one }}{% endfor %}"),
];

#[test]
fn tasks_in_a_row_are_one_program_for_each_target_and_batch() {
    check(
        FILES,
        |_| {},
        expect![[r#"
        play 1: site
          program 1 for linux-aarch64, batch 1: a1, a2
            2 r : first [template]
            3 r : second [shell] !!
            4 r : last [apt] notifies h !
            with roles/r/templates/t.j2 (53 bytes)
            given many, port
            about 2336 KiB, saves 4 round trips
          program 2 for linux-aarch64, batch 1: a1, a2
            6 make [file]
            7 fill [copy]
            8 tell [debug]
            9 run [command] when filled is changed !
            with files/x.conf (4 bytes)
            given home
            gives ran
            about 2432 KiB, saves 4 round trips
          program 3 for linux-aarch64, batch 1: a1, a2
            10 as another [command] !
            12 again [command] !
            13 third [command] !
            about 2144 KiB, saves 6 round trips
          program 4 for freebsd-x86_64, batch 2: b1
            2 r : first [template]
            3 r : second [shell] !!
            4 r : last [apt] notifies h !
            with roles/r/templates/t.j2 (53 bytes)
            given many, port
            about 2336 KiB, saves 2 round trips
          program 5 for freebsd-x86_64, batch 2: b1
            6 make [file]
            7 fill [copy]
            8 tell [debug]
            9 run [command] when filled is changed !
            with files/x.conf (4 bytes)
            given home
            gives ran
            about 2432 KiB, saves 2 round trips
          program 6 for freebsd-x86_64, batch 2: b1
            10 as another [command] !
            12 again [command] !
            13 third [command] !
            about 2144 KiB, saves 3 round trips
          by ssh 1 early [command] !: too few tasks follow each other: 1 of 3
          by ssh 5 say [debug]: it does not leave the controller
          by ssh 14 ask [debug]: it does not leave the controller
          by ssh 15 late [command] !: too few tasks follow each other: 1 of 3
          no architecture is known of c1

        6 programs, compiled in about 1 min 12 s
        21 of 48 round trips saved
    "#]],
    );
}

#[test]
fn what_is_shipped_can_be_forced() {
    let request = |force| move |request: &mut PlanRequest| request.ship.as_mut().unwrap().force = Some(force);
    let tasks = |plan: &ExecutionPlan| {
        let binaries = &plan.plays[0].shipping.as_ref().unwrap().binaries;
        binaries.iter().map(|binary| binary.tasks.len()).sum::<usize>()
    };
    let all = plan(FILES, request(Force::Binary)).unwrap();
    let none = plan(FILES, request(Force::Ssh)).unwrap();
    let usual = plan(FILES, |_| {}).unwrap();
    assert!(tasks(&all) > tasks(&usual) && tasks(&usual) > tasks(&none), "{} {}", tasks(&all), tasks(&usual));
    assert_eq!(tasks(&none), 0);
    let wide = plan(FILES, |request| request.ship.as_mut().unwrap().threshold = 4).unwrap();
    assert!(tasks(&wide) < tasks(&usual));
}

/// A play of tasks that could be a program, but for the second.
fn obstructed(second: &str) -> String {
    format!(
        "- hosts: intel\n  tasks:\n    - {{name: a, command: a}}\n    - {second}\n    - {{name: b, command: b}}\n"
    )
}

/// Tasks that can't be shipped.
const OBSTACLES: &[&str] = &[
    "{ping: }",
    "{command: x, run_once: true}",
    "{command: x, delegate_to: c1}",
    "{command: x, any_errors_fatal: true}",
    "{command: x, throttle: 1}",
    "{command: x, async: 10}",
    "{command: x, connection: local}",
    "{command: x, become: true, become_user: '{{ who }}'}",
    "{command: x, when: hostvars.c1.x}",
    "{command: \"{{ lookup('file', 'x') }}\"}",
    "{command: 'x {{ broken'}",
    "{command: 'x', when: 'a b c'}",
    "{command: x, with_fileglob: '*'}",
    "{block: [{command: x}], rescue: [{debug: }]}",
    "{copy: {src: nowhere, dest: /x}}",
    "{copy: {src: '{{ x }}', dest: /x}}",
    "{template: {src: /etc/hosts, dest: /x}}",
    "{template: {src: of_others.j2, dest: /x}}",
    "{copy: {content: !vault x, dest: /x}}",
    "{command: x, check_mode: true}",
    "{some.where.module: }",
];

#[test]
fn what_keeps_a_task_from_being_shipped_is_told() {
    let mut all = String::new();
    for case in OBSTACLES {
        let text = obstructed(case);
        let line =
            match plan(&[("p.yml", &text), ("templates/of_others.j2", "{{ hostvars.a }}")], |request| {
                request.ship.as_mut().unwrap().threshold = 1
            }) {
                Ok(plan) => {
                    let shipping = plan.plays[0].shipping.clone().unwrap();
                    assert_eq!(shipping.binaries.len(), 2, "of {case}");
                    format!("{:?}: {}", shipping.by_ssh[0].why, shipping.by_ssh[0].reason)
                }
                Err(problem) => problem,
            };
        all.push_str(&format!("{case}\n  {line}\n"));
    }
    expect![[r#"
        {ping: }
          Module: `ping` is no module that a program can do
        {command: x, run_once: true}
          Hosts: it runs once for all hosts
        {command: x, delegate_to: c1}
          Hosts: it is delegated
        {command: x, any_errors_fatal: true}
          Hosts: `any_errors_fatal` concerns other hosts
        {command: x, throttle: 1}
          Hosts: `throttle` concerns other hosts
        {command: x, async: 10}
          Keyword: `async` is Ansible's to do
        {command: x, connection: local}
          Keyword: `connection` is Ansible's to do
        {command: x, become: true, become_user: '{{ who }}'}
          Keyword: as whom it is done depends on `become_user`
        {command: x, when: hostvars.c1.x}
          Expression: `hostvars` is known to the controller alone
        {command: "{{ lookup('file', 'x') }}"}
          Expression: `lookup` is known to the controller alone
        {command: 'x {{ broken'}
          p.yml:4:17: a quote or a template is not closed in these arguments
          |
        4 |     - {command: 'x {{ broken'}
          |                 ^

        {command: 'x', when: 'a b c'}
          Expression: the expression "{{ a b c }}" can't be read
        {command: x, with_fileglob: '*'}
          Keyword: `with_fileglob` looks things up on the controller
        {block: [{command: x}], rescue: [{debug: }]}
          Block: it is in a block that handles failures
        {copy: {src: nowhere, dest: /x}}
          File: the file nowhere could not be found
        {copy: {src: '{{ x }}', dest: /x}}
          File: the file "{{ x }}" is not known before it runs
        {template: {src: /etc/hosts, dest: /x}}
          File: the file /etc/hosts could not be found
        {template: {src: of_others.j2, dest: /x}}
          File: the template templates/of_others.j2 uses `hostvars`
        {copy: {content: !vault x, dest: /x}}
          Secret: an encrypted value is not put into a program
        {command: x, check_mode: true}
          Check: only Ansible predicts what a task would do
        {some.where.module: }
          Module: `some.where.module` is no module that a program can do
    "#]]
    .assert_eq(&all);
}

#[test]
fn facts_that_are_kept_tell_what_a_host_is() {
    let facts = "{\"ansible_architecture\": \"amd64\", \"ansible_system\": \"Linux\"}";
    let files = [
        ("p.yml", "- hosts: c1:b1\n  tasks: [{command: a}, {command: b}, {command: c}]\n"),
        ("facts/c1", facts),
        ("facts/b1", "{\"architecture\": \"riscv64\"}"),
    ];
    let with_facts =
        |request: &mut PlanRequest| request.ship.as_mut().unwrap().facts = Some("facts".to_owned());
    let known = plan(&files, with_facts).unwrap();
    let binaries = &known.plays[0].shipping.as_ref().unwrap().binaries;
    let targets = |binary: &ship::Binary| format!("{} {}", binary.target.system, binary.target.architecture);
    assert_eq!(binaries.iter().map(targets).collect::<Vec<_>>(), ["linux riscv64", "linux x86_64"]);
    let bad = [&files[..1], &[("facts/c1", "no")]].concat();
    expect![[r#"
        facts/c1: facts of a host are an object of JSON: expected ident at line 1 column 2
    "#]]
    .assert_eq(&plan(&bad, with_facts).unwrap_err());
}

#[test]
fn all_or_nothing_is_refused_where_something_can_t_be_shipped() {
    let alone = |request: &mut PlanRequest| request.strategy = Some(Strategy::BinaryOnly);
    let good = "- hosts: intel\n  tasks: [{debug: }, {command: x}, {command: y}]\n";
    let plan_of = |text: &str| plan(&[("p.yml", text)], alone);
    let whole = plan_of(good).unwrap();
    assert_eq!((whole.totals.round_trips, whole.totals.binaries), (1, 1));
    let problems = [good.replace("{debug: }", "{ping: }"), good.replace("intel", "all")];
    let problems: Vec<String> = problems.iter().map(|text| plan_of(text).unwrap_err()).collect();
    expect![[r#"
        play "intel" can't go as programs alone: the task "ping" can't be shipped: `ping` is no module that a program can do
         = help: the strategy `hybrid` ships what can be, and does the rest by ssh

        play "all" can't go as programs alone: the architecture of c1 is not known
         = help: the strategy `hybrid` ships what can be, and does the rest by ssh
    "#]].assert_eq(&problems.join("\n"));
}

#[test]
fn a_strategy_that_ships_saves_round_trips_and_time_and_others_save_none() {
    let of = |strategy| plan(FILES, |request| request.strategy = Some(strategy)).unwrap().totals;
    let linear = of(Strategy::Linear);
    for strategy in [Strategy::Rolling, Strategy::Free, Strategy::HostPinned] {
        let totals = of(strategy);
        assert_eq!((totals.round_trips, totals.network_efficiency), (linear.round_trips, Some(0.0)));
        assert_eq!((totals.binaries, totals.compile_ms), (0, 0));
    }
    let hybrid = of(Strategy::Hybrid);
    assert!(hybrid.round_trips < linear.round_trips && hybrid.estimate_ms < linear.estimate_ms);
    assert!(hybrid.binaries > 0 && hybrid.compile_ms > 0);
    let share = 1.0 - hybrid.round_trips as f64 / linear.round_trips as f64;
    assert_eq!(hybrid.network_efficiency.map(f64::to_bits), Some(share.to_bits()));
}

#[test]
fn rolling_takes_as_many_hosts_as_there_are_forks_where_the_play_does_not_say() {
    let sizes = |text: &str| {
        let plan = plan(&[("p.yml", text)], |request| {
            request.strategy = Some(Strategy::Rolling);
            request.forks = 3;
        });
        plan.unwrap().plays[0].batches.iter().map(|batch| batch.hosts.len()).collect::<Vec<_>>()
    };
    assert_eq!(sizes("- hosts: all\n  tasks: [{ping: }]\n"), [3, 1]);
    assert_eq!(sizes("- hosts: all\n  serial: 1\n  tasks: [{ping: }]\n"), [1, 1, 1, 1]);
}

/// A play of random tasks.
#[derive(Debug, Clone)]
struct Random {
    parts: [Vec<(usize, usize)>; 3],
    serial: usize,
    strategy: usize,
    threshold: usize,
}

const TASKS: &[&str] = &[
    "command: x",
    "copy: {content: x, dest: /srv/a}",
    "lineinfile: {path: /srv/a, line: '{{ found }}'}",
    "stat: {path: /srv/a}",
    "debug: {var: found}",
    "set_fact: {found: '{{ known }}'}",
    "apt: {name: x}",
    "user: {name: x}",
    "ping:",
    "meta: flush_handlers",
    "add_host: {name: z}",
    "block: [{command: in}, {copy: {content: x, dest: /srv/b}}]\n      always: [{command: out}]",
];

const EXTRAS: &[&str] = &[
    "",
    "",
    "",
    "notify: h1",
    "notify: [h2, t]",
    "register: found",
    "when: found is changed",
    "when: not ansible_check_mode",
    "when: ansible_check_mode",
    "become: true",
    "when: hostvars.a1.x",
    "run_once: true",
    "delegate_to: b1",
    "any_errors_fatal: true",
    "become_user: app",
];

fn random() -> impl proptest::strategy::Strategy<Value = Random> {
    let tasks = || proptest::collection::vec((0..TASKS.len(), 0..EXTRAS.len()), 0..8);
    let parts = ([tasks(), tasks(), tasks()], 0..4_usize, 0..7_usize, 1..4_usize);
    proptest::strategy::Strategy::prop_map(parts, |(parts, serial, strategy, threshold)| Random {
        parts,
        serial,
        strategy,
        threshold,
    })
}

impl Random {
    fn text(&self) -> String {
        let mut text = "- hosts: all\n  handlers:\n    - {name: h1, command: x, notify: h3}\n    - {name: h2, ping: }\n    - {name: h3, ping: , listen: t}\n".to_owned();
        if self.serial > 0 {
            text.push_str(&format!("  serial: {}\n", self.serial));
        }
        for (key, tasks) in ["pre_tasks", "tasks", "post_tasks"].iter().zip(&self.parts) {
            text.push_str(&format!("  {key}:\n"));
            for (n, (task, extra)) in tasks.iter().enumerate() {
                let (task, mut extra) = (TASKS[*task], EXTRAS[*extra]);
                if task.starts_with("block") && extra.starts_with("register") {
                    extra = "";
                }
                text.push_str(&format!("    - name: {key} {n}\n      {task}\n"));
                if !extra.is_empty() && !task.starts_with("meta") {
                    text.push_str(&format!("      {extra}\n"));
                }
            }
            if tasks.is_empty() {
                text.truncate(text.len() - key.len() - 4);
            }
        }
        text
    }

    fn plan(&self) -> ExecutionPlan {
        let text = self.text();
        let strategies = [None, Some(Strategy::Linear), Some(Strategy::Rolling), Some(Strategy::Free)];
        let strategies =
            [&strategies[..], &[Some(Strategy::HostPinned), Some(Strategy::Hybrid), Some(Strategy::Hybrid)]]
                .concat();
        let planned = plan(&[("p.yml", &text)], |request| {
            request.strategy = strategies[self.strategy];
            request.forks = 2;
            request.ship.as_mut().unwrap().threshold = self.threshold;
        });
        planned.unwrap_or_else(|problem| panic!("{problem}\n{text}"))
    }
}

/// Where each task stands: its segment, and its place in it. Of handlers, all such places.
fn places(play: &PlayPlan) -> BTreeMap<usize, Vec<(usize, usize)>> {
    let mut places: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (n, segment) in play.segments.iter().enumerate() {
        for (at, &task) in segment.tasks.iter().enumerate() {
            assert_eq!(segment.is_flush, task >= play.tasks.len());
            places.entry(task).or_default().push((n, at));
        }
    }
    places
}

/// Whether handlers run after a task.
fn is_end(play: &PlayPlan, at: usize) -> bool {
    let part = |at: usize| play.tasks.get(at).map(|task| task.phase);
    play.tasks[at].module == "meta" || part(at) != part(at + 1)
}

fn check_order(play: &PlayPlan) {
    let places = places(play);
    for task in &play.tasks {
        if task.effect == Effect::Never {
            assert!(!places.contains_key(&task.id));
            continue;
        }
        let [place] = places[&task.id][..] else { panic!("{} runs more than once", task.name) };
        for on in task.depends_on.iter().filter_map(|on| places.get(&on.on)) {
            assert!(on[0] < place, "{} comes too early", task.name);
        }
        let is_shared = task.run_once || task.delegate_to.is_some() || task.module == "add_host";
        let pace = play.segments[place.0].pace;
        assert!(!is_shared || pace == Pace::Together, "hosts don't wait for each other at {}", task.name);
    }
    for handler in &play.handlers {
        for on in handler.depends_on.iter().filter(|on| on.because == Because::Notify) {
            let Some(notifier) = places.get(&on.on).and_then(|places| places.last()) else { continue };
            let own = places.get(&handler.id).map_or(&[][..], |places| places);
            assert!(own.iter().any(|own| own > notifier), "{} does not follow {}", handler.name, on.on);
            // It runs before what comes after the point where handlers are flushed next.
            let end = (on.on..play.tasks.len()).find(|&at| is_end(play, at));
            let next = end.and_then(|end| (end + 1..play.tasks.len()).find_map(|at| places.get(&at)));
            let in_time = next.is_none_or(|next| own.iter().any(|own| own > notifier && *own < next[0]));
            assert!(in_time, "{} follows {} too late", handler.name, on.on);
        }
    }
}

fn check_binaries(play: &PlayPlan, threshold: usize) {
    let shipping = play.shipping.as_ref().unwrap();
    let by_ssh: BTreeSet<usize> = shipping.by_ssh.iter().map(|obstacle| obstacle.task).collect();
    assert_eq!(by_ssh.len(), shipping.by_ssh.len());
    let mut shipped = BTreeSet::new();
    for binary in &shipping.binaries {
        assert!(binary.hosts.iter().all(|host| play.batches[binary.batch].hosts.contains(host)));
        assert!(binary.tasks.is_sorted() && binary.round_trips_saved > 0 || threshold == 1);
        let (first, last) = (binary.tasks[0], *binary.tasks.last().unwrap());
        let users = |id: usize| {
            let settings = &play.tasks[id].settings;
            ["become", "become_user"].map(|key| settings.get(key).cloned())
        };
        for task in &play.tasks[first..=last] {
            assert!(
                binary.tasks.contains(&task.id) || task.effect == Effect::Never,
                "{} is left out",
                task.name
            );
            if !binary.tasks.contains(&task.id) {
                continue;
            }
            assert!(!task.run_once && task.delegate_to.is_none() && task.blocks.is_empty());
            assert!(!matches!(task.module.as_str(), "meta" | "add_host" | "ping"));
            assert!(!task.when.iter().any(|condition| condition.contains("hostvars")));
            assert_eq!((task.phase, users(task.id)), (play.tasks[first].phase, users(first)));
        }
        shipped.extend(binary.tasks.iter().copied());
    }
    let has_targets = shipping.hosts_without_target.len() < play.hosts.len();
    for task in play.tasks.iter().filter(|task| task.effect != Effect::Never && has_targets) {
        assert!(shipped.contains(&task.id) != by_ssh.contains(&task.id), "{} is both or neither", task.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_strategy_dependencies_hold_and_programs_cross_nothing(random in random()) {
        let plan = random.plan();
        let play = &plan.plays[0];
        check_order(play);
        check_binaries(play, random.threshold);
        let efficiency = plan.totals.network_efficiency.unwrap_or(0.0);
        prop_assert!((0.0..=1.0).contains(&efficiency));
        prop_assert!(play.strategy == "hybrid" || efficiency == 0.0);
    }
}
