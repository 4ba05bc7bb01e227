//! What differs between two plans.

use std::fs;

use expect_test::{Expect, expect};
use larder_ansible::change::{Changes, changes};
use larder_ansible::inventory::Source;
use larder_ansible::plan::ExecutionPlan;
use larder_ansible::query::PlanRequest;
use tempfile::TempDir;

use crate::lab::{planner, wait};

fn plan(text: &str, hosts: &str) -> ExecutionPlan {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("p.yml"), text).unwrap();
    let request = PlanRequest::new("p.yml", vec![Source::Hosts(hosts.to_owned())]);
    let planner = planner();
    (*wait(async { planner.view(root.path()).plan(&request).await }).unwrap().plan).clone()
}

fn between(old: &str, new: &str) -> Changes {
    changes(&plan(old, "a,b,"), &plan(new, "a,b,"))
}

fn check(old: &str, new: &str, expect: Expect) {
    expect.assert_eq(&between(old, new).to_string());
}

const OLD: &str = "\
- name: web
  hosts: all
  gather_facts: false
  tasks:
    - {name: look, ping: }
    - {name: conf, copy: {content: x, dest: /etc/a}, notify: restart}
    - {name: run, shell: make}
  handlers:
    - {name: restart, service: {name: a, state: restarted}}
";

#[test]
fn equal_plans_have_no_differences() {
    let none = between(OLD, OLD);
    assert!(none.is_empty());
    assert_eq!(none.impact.to_bits(), 0.0_f64.to_bits());
    check(
        OLD,
        OLD,
        expect![[r#"
        nothing differs
    "#]],
    );
}

#[test]
fn a_task_that_comes_leaves_the_others_as_they_are() {
    let new = OLD.replace(
        "    - {name: look, ping: }\n",
        "    - {name: first, debug: }\n    - {name: look, ping: }\n",
    );
    check(
        OLD,
        &new,
        expect![[r#"
        ~ play web
          + first [debug]

        impact 0.06
    "#]],
    );
    check(
        &new,
        OLD,
        expect![[r#"
        ~ play web
          - first [debug]

        impact 0.06
    "#]],
    );
}

#[test]
fn each_difference_of_a_task_is_told() {
    let new = OLD
        .replace("dest: /etc/a}, notify: restart", "dest: /etc/b, mode: '600'}, tags: [x], when: ready")
        .replace("shell: make", "command: make");
    check(
        OLD,
        &new,
        expect![[r#"
        ~ play web
          ~ conf [copy]
              args.dest: /etc/a -> /etc/b
              args.mode: (none) -> 600
              when: (none) -> ready
              tags: (none) -> x
              notify: restart -> (none)
          ~ run [command]
              module: shell -> command
          ~ restart [service]
              depends_on: conf -> (none)

        impact 0.80
    "#]],
    );
}

#[test]
fn a_task_that_stands_elsewhere_has_moved() {
    let look = "    - {name: look, ping: }\n";
    let new = OLD.replace(look, "").replace("  handlers:", &format!("{look}  handlers:"));
    check(
        OLD,
        &new,
        expect![[r#"
        ~ play web
          ~ run [shell]
              depends_on: look, conf -> conf
          ~ look [ping] (moved)
              depends_on: (none) -> run

        impact 0.30
    "#]],
    );
}

#[test]
fn a_handler_is_not_taken_for_a_task_of_its_name() {
    let new = OLD
        .replace("  handlers:\n    - {name: restart, service: {name: a, state: restarted}}\n", "")
        .replace(", notify: restart}", "}")
        + "    - {name: restart, service: {name: b, state: restarted}}\n";
    let found = between(OLD, &new);
    let names = |tasks: &[larder_ansible::change::TaskName]| -> Vec<String> {
        tasks.iter().map(|task| task.name.clone()).collect()
    };
    let play = &found.plays[0];
    assert_eq!((names(&play.added), names(&play.removed)), (vec!["restart".into()], vec!["restart".into()]));
}

#[test]
fn plays_and_hosts_come_and_go() {
    let more =
        format!("{OLD}- name: db\n  hosts: a\n  gather_facts: false\n  tasks: [{{name: only, ping: }}]\n");
    check(
        OLD,
        &more,
        expect![[r#"
        + play db
          + only [ping]

        impact 0.03
    "#]],
    );
    let (old, new) = (plan(&more, "a,b,"), plan(OLD, "b,c,"));
    expect![[r#"
        ~ play web
          + hosts c
          - hosts a

        - play db
          - only [ping]

        impact 1.00
    "#]]
    .assert_eq(&changes(&old, &new).to_string());
}

#[test]
fn the_impact_grows_with_hosts_and_risk_and_is_one_when_nothing_is_left() {
    let base = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: a, ping: }\n    - {name: b, shell: make}\n";
    let impact = |new: &str| between(base, new).impact;
    let tagged = impact(&base.replace("ping: }", "ping: , tags: [t]}"));
    let harmless = impact(&base.replace("ping: }", "ping: , when: x}"));
    let harmful = impact(&base.replace("shell: make", "shell: make all"));
    assert!(
        0.0 < tagged && tagged < harmless && harmless < harmful && harmful < 1.0,
        "{tagged} {harmless} {harmful}"
    );
    assert_eq!(impact("- hosts: nobody\n  gather_facts: false\n  tasks: []\n").to_bits(), 1.0_f64.to_bits());
}
