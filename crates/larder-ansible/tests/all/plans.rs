//! What a plan says: what depends on what, what runs where, what is refused.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use expect_test::expect;
use larder_ansible::inventory::{Limit, Source};
use larder_ansible::plan::{ExecutionPlan, binary};
use larder_ansible::query::{Modes, PlanRequest};
use larder_ansible::tags::TagSelection;
use tempfile::TempDir;

use crate::lab::{planner, playbooks, wait};

fn request(playbook: &str) -> PlanRequest {
    PlanRequest::new(playbook, vec![Source::Hosts("a1,a2,a3,b1,".to_owned())])
}

/// The plan of a playbook, or what is wrong with it.
fn plan(text: &str, change: impl FnOnce(&mut PlanRequest)) -> Result<ExecutionPlan, String> {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("p.yml"), text).unwrap();
    let mut request = request("p.yml");
    change(&mut request);
    let planner = planner();
    let planned = wait(async { planner.view(root.path()).plan(&request).await });
    planned.map(|planned| (*planned.plan).clone()).map_err(|problem| problem.to_string())
}

/// Each task with the names of those that it depends on.
fn depends(plan: &ExecutionPlan) -> Vec<String> {
    let play = &plan.plays[0];
    let all: Vec<_> = play.tasks.iter().chain(&play.handlers).collect();
    let line = |task: &&larder_ansible::plan::PlannedTask| {
        let on = task.depends_on.iter().map(|dependency| {
            format!("{} ({})", all[dependency.on].name, format!("{:?}", dependency.because).to_lowercase())
        });
        let on: Vec<String> = on.collect();
        format!("{} <- {}", task.name, on.join(", "))
    };
    all.iter().map(line).collect()
}

#[test]
fn a_plan_that_was_just_made_is_the_one_that_its_bytes_say() {
    let view = planner().view(playbooks());
    let packed = wait(async { view.session().get(request("plays.yml")).await }).unwrap();
    let made = packed.plan().unwrap();
    assert!(made.totals.tasks > 0);
    assert!(Arc::ptr_eq(&made, &packed.plan().unwrap()), "as long as somebody has it, it is given to others");
    assert!(postcard::to_stdvec(&*packed).unwrap().ends_with(&binary::encode(&made)));
    let plan = Arc::unwrap_or_clone(made);
    assert_eq!(*packed.plan().unwrap(), plan, "read from the bytes");
}

#[test]
fn a_plan_shares_what_has_not_changed_with_the_last_one_that_somebody_has() {
    let root = TempDir::new().unwrap();
    let write = |task: &str| {
        let play = |name: &str, task: &str| {
            format!("- hosts: all\n  name: {name}\n  tasks: [{{name: {task}, ping: }}]\n")
        };
        fs::write(root.path().join("site.yml"), play("one", "stays") + &play("two", task)).unwrap();
    };
    let planner = planner();
    let plan = || {
        let request = PlanRequest::new("site.yml", vec![Source::Hosts("web1,".to_owned())]);
        wait(async { planner.view(root.path()).plan(&request).await }).unwrap().plan
    };
    write("a");
    let first = plan();
    write("b");
    let second = plan();
    let is_shared = |n: usize| Arc::ptr_eq(&first.plays[n], &second.plays[n]);
    assert_eq!((is_shared(0), is_shared(1)), (true, false));
    assert_eq!(second.plays[1].tasks[0].name, "b");
    drop(first);
    assert_eq!(*plan(), *second);
}

#[test]
fn a_task_depends_on_what_it_may_follow_from() {
    let plan = plan(
        "\
- hosts: all
  handlers:
    - {name: h, ping: }
    - {name: other, ping: , listen: topic}
  tasks:
    - {name: write, copy: {content: x, dest: /etc/app/conf}, notify: h}
    - {name: elsewhere, copy: {content: x, dest: /opt/x}, notify: topic}
    - {name: beside, copy: {content: x, dest: /etc/application}}
    - {name: edit, lineinfile: {path: /etc/app/conf, line: y}}
    - {name: directory, file: {path: /etc/app, state: directory}}
    - {name: look, stat: {path: /etc/app}, register: found}
    - {name: use, debug: {var: found}}
    - {name: account, user: {name: u}}
    - {name: owned, copy: {content: x, dest: /srv/x, owner: u}}
    - {name: install, apt: {name: x}}
    - {name: configure, template: {src: c, dest: /etc/x}}
    - {name: anything, shell: make}
    - {name: after, ping: }
    - {name: after too, ping: }
",
        |_| {},
    )
    .unwrap();
    let expected = [
        "write <- ",
        "elsewhere <- ",
        "beside <- ",
        "edit <- write (path)",
        "directory <- edit (path)",
        "look <- edit (path), directory (path)",
        "use <- look (variable)",
        "account <- ",
        "owned <- account (resource)",
        "install <- write (order), elsewhere (order), beside (order), edit (order), directory (order), \
         look (order), use (order), account (order), owned (order)",
        "configure <- install (order)",
        "anything <- configure (order)",
        "after <- anything (order)",
        "after too <- anything (order)",
        "h <- write (notify)",
        "other <- elsewhere (notify), h (order)",
    ];
    assert_eq!(depends(&plan), expected);
}

/// Each task with what it does, its risk and its estimate.
fn effects(plan: &ExecutionPlan) -> Vec<String> {
    let line = |task: &larder_ansible::plan::PlannedTask| {
        let diff = if task.diff { " diff" } else { "" };
        format!("{} {:?} {:?} {}{diff}", task.name, task.effect, task.risk, task.estimate_ms)
    };
    plan.plays[0].tasks.iter().map(line).collect()
}

const MODES: &str = "\
- hosts: a1:a2
  tasks:
    - {name: write, copy: {content: x, dest: /x}, no_log: true}
    - {name: look, stat: {path: /x}}
    - {name: run, shell: make}
    - {name: create, shell: make x creates=/x}
    - {name: really, shell: make, check_mode: false}
    - {name: only real, shell: make, when: not ansible_check_mode and ready}
    - {name: only checked, debug: , when: ansible_check_mode}
    - {name: as it is, apt: {name: x}, check_mode: '{{ ansible_check_mode }}', diff: true}
    - {name: as a fact says, apt: {name: x}, check_mode: '{{ careful }}'}
    - {name: file, template: {src: x, dest: /y}}
    - {name: elsewhere, some.where.module: , check_mode: true, diff: false}
";

#[test]
fn in_check_mode_a_task_predicts_is_skipped_or_runs_all_the_same() {
    let checked = plan(MODES, |request| request.options.modes = Modes { check: true, diff: true }).unwrap();
    let expected = [
        "write Predicts Low 400",
        "look Applies Low 400",
        "run Skips Low 400",
        "create Predicts Low 400",
        "really Applies Critical 1000",
        "only real Never Low 0",
        "only checked Applies Low 20",
        "as it is Predicts Low 400 diff",
        "as a fact says Applies High 15000 diff",
        "file Predicts Low 400 diff",
        "elsewhere Predicts Low 400",
    ];
    assert_eq!(effects(&checked), expected);
    let shown = |name: &str| checked.metadata.options.get(name).map(|value| value.shown());
    assert_eq!([shown("check"), shown("diff")], [Some("True".into()), Some("True".into())]);
    // What never holds runs nowhere.
    assert_eq!(checked.totals.task_runs, 20);

    let real = plan(MODES, |_| {}).unwrap();
    let effects = effects(&real);
    assert_eq!(effects[0], "write Applies Medium 700");
    assert_eq!(effects[5], "only real Applies Critical 1000");
    assert_eq!(effects[6], "only checked Never Low 0");
    assert_eq!(effects[7], "as it is Applies High 15000 diff");
    assert_eq!(effects[10], "elsewhere Predicts Low 400");
    assert!(!real.metadata.options.contains_key("check") && !real.metadata.options.contains_key("diff"));
}

#[test]
fn an_estimate_is_the_sum_of_its_tasks_by_forks_and_batches() {
    let text = "\
- hosts: all
  serial: [1, 3]
  tasks:
    - {name: wide, shell: make}
    - {name: once, ping: , run_once: true}
    - {name: never, ping: , when: false}
  handlers: [{name: again, ping: }]
";
    let plan = plan(text, |request| request.forks = 2).unwrap();
    let estimate = larder_ansible::plan::estimate::estimate(&plan);
    let tasks: Vec<_> = estimate.plays[0].tasks.iter().map(|task| (task.runs, task.takes_ms)).collect();
    assert_eq!(tasks, [(4, 3_000), (2, 800), (0, 0)]);
    assert_eq!((estimate.tasks_ms, estimate.handlers_ms), (plan.totals.estimate_ms, 1_200));
    expect![[r#"
        play 1: all
                   3 s     4 runs  wide [shell] !!
                800 ms     2 runs  once [ping] once
                   0 s     0 runs  never [ping] when False never runs
                   1 s     4 runs  again [ping]

        tasks take about 3 s with 2 forks; all handlers about 1 s more
    "#]]
    .assert_eq(&estimate.to_string());
}

#[test]
fn a_task_that_sets_a_variable_twice_does_not_depend_on_itself() {
    let text = "- hosts: all\n  tasks:\n    - {name: both, set_fact: {x: 1}, register: x}\n    - {name: use, debug: {var: x}}\n";
    assert_eq!(depends(&plan(text, |_| {}).unwrap()), ["both <- ", "use <- both (variable)"]);
}

#[test]
fn stages_keep_every_dependency() {
    let planner = planner();
    for playbook in ["plays.yml", "blocks.yml", "roles.yml", "keywords.yml", "imports.yml", "collection.yml"]
    {
        let request = request(playbook);
        let planned = wait(async { planner.view(playbooks()).plan(&request).await }).unwrap();
        for play in &planned.plan.plays {
            let all: Vec<_> = play.tasks.iter().chain(&play.handlers).collect();
            let in_stages: BTreeSet<usize> = play.stages.iter().flatten().copied().collect();
            assert_eq!(in_stages.len(), all.len());
            for task in &all {
                assert!(play.stages[task.stage].contains(&task.id));
                assert!(task.depends_on.iter().all(|on| all[on.on].stage < task.stage), "{}", task.name);
            }
        }
    }
}

#[test]
fn hosts_are_dealt_into_batches_after_the_limit() {
    let plan = plan(
        "- hosts: a1:a2:a3\n  serial: [1, 100%]\n  order: reverse_inventory\n  tasks: [{ping: }]\n",
        |request| {
            request.limit = Some(Limit::parse("all:!a2"));
        },
    )
    .unwrap();
    let batches: Vec<&[String]> = plan.plays[0].batches.iter().map(|batch| &*batch.hosts).collect();
    assert_eq!(batches, [["a3"], ["a1"]]);
    assert_eq!((plan.totals.hosts, plan.totals.task_runs), (2, 2));
}

#[test]
fn a_role_that_ran_does_not_run_again() {
    let planner = planner();
    let mut request = request("roles.yml");
    request.selection = TagSelection::new(&["again", "dependency", "called"], &[]);
    let planned = wait(async { planner.view(playbooks()).plan(&request).await }).unwrap();
    let base = planned.plan.plays[0].tasks.iter().filter(|task| task.name == "base : Base").count();
    assert_eq!(base, 2, "once as a dependency, once imported");
}

#[test]
fn planning_begins_at_the_task_that_is_named() {
    let text = "- hosts: a1\n  tasks:\n    - {name: one, ping: }\n    - {name: two x, ping: }\n- hosts: a2\n  tasks:\n    - {name: three, ping: }\n";
    let names = |start: &str| {
        let plan = plan(text, |request| request.start_at_task = Some(start.to_owned()))?;
        let tasks = plan.plays.iter().flat_map(|play| play.tasks.iter().map(|task| task.name.clone()));
        Ok::<_, String>(tasks.collect::<Vec<_>>().join(","))
    };
    assert_eq!(names("two*").as_deref(), Ok("two x,three"));
    assert_eq!(names("three").as_deref(), Ok("three"));
    assert_eq!(names("four").unwrap_err(), "no task is named \"four\"");
}

#[test]
fn handlers_in_a_circle_are_named() {
    let text = "\
- hosts: all
  tasks: [{ping: , notify: a}]
  handlers:
    - {name: a, ping: , notify: b}
    - {name: b, ping: , notify: c}
    - {name: c, ping: , notify: a}
";
    let message = plan(text, |_| {}).unwrap_err();
    assert_eq!(message, "p.yml: handlers notify each other in a circle: a -> b -> c -> a");
}
