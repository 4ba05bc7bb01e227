//! Bad and odd input, as a plan meets it: named with its place, never a panic, never a part of a plan that is kept.
//!
//! Mistakes in playbooks that Ansible refuses too stand in `tests/playbooks/refused`, those in inventories in
//! `inventory/bad.rs`, those in YAML in `src/yaml/tests.rs`.

use std::fs;
use std::path::Path;

use expect_test::expect;
use larder_ansible::inventory::Source;
use larder_ansible::plan::{ExecutionPlan, binary};
use larder_ansible::planner::Planner;
use larder_ansible::query::PlanRequest;
use tempfile::TempDir;

use crate::lab::{planner, wait};

fn write(root: &Path, files: &[(&str, &[u8])]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn ask(planner: &Planner, root: &Path) -> Result<ExecutionPlan, String> {
    let request = PlanRequest::new("p.yml", vec![Source::Path("hosts".to_owned())]);
    let planned = wait(async { planner.view(root).plan(&request).await });
    planned.map(|planned| (*planned.plan).clone()).map_err(|problem| problem.render())
}

fn plan(playbook: &[u8], hosts: &[u8]) -> Result<ExecutionPlan, String> {
    let root = TempDir::new().unwrap();
    write(root.path(), &[("p.yml", playbook), ("hosts", hosts)]);
    ask(&planner(), root.path())
}

const PLAY: &[u8] = b"- hosts: web\n  tasks:\n    - name: one\n      ping:\n";
const HOSTS: &[u8] = b"[web]\na\n";

#[test]
fn mistakes_in_yaml_have_their_line_a_caret_and_what_to_do() {
    let cases: &[&[u8]] = &[
        b"- hosts: web\n  tasks: [{ping: }\n",
        b"- hosts: web\n  tasks:\n    - name: 'open\n      ping:\n",
        b"- hosts: web\n\ttasks: []\n",
        b"- hosts: web\n  vars: {a: *nowhere}\n",
        b"- hosts: web\n  vars:\n    <<: 5\n",
        b"- hosts: web\n  vars: &a {b: *a}\n",
        b"- hosts: web\n  name: \xff\n",
        b"- hosts: web\n---\n- hosts: db\n",
    ];
    let all: Vec<String> = cases.iter().map(|case| plan(case, HOSTS).unwrap_err()).collect();
    expect![[r#"
        p.yml:3:1: while parsing a flow sequence, expected ',' or ']'
          |
        3 | 
          | ^
          = help: close the quote or bracket that is still open

        p.yml:3:13: invalid indentation in quoted scalar
          |
        3 |     - name: 'open
          |             ^

        p.yml:2:1: a tab indents this line
          |
        2 | 	tasks: []
          | ^
          = help: indent with spaces

        p.yml:2:13: while parsing node, found unknown anchor
          |
        2 |   vars: {a: *nowhere}
          |             ^

        p.yml:3:9: only a mapping or a list of mappings can be merged
          |
        3 |     <<: 5
          |         ^

        p.yml:2:16: the alias stands inside of what it stands for
          |
        2 |   vars: &a {b: *a}
          |                ^

        p.yml:2:9: byte 0xff is not UTF-8
          |
        2 |   name: �
          |         ^
          = help: save the file as UTF-8

        p.yml:3:1: a second document begins here, and Ansible reads files with one
          |
        3 | - hosts: db
          | ^
    "#]]
    .assert_eq(&all.join("\n"));
}

#[test]
fn byte_order_marks_carriage_returns_anchors_and_merge_keys_change_nothing() {
    let plain = plan(PLAY, HOSTS).unwrap();
    let marked = [b"\xef\xbb\xbf", PLAY].concat();
    let returned = String::from_utf8_lossy(PLAY).replace('\n', "\r\n").into_bytes();
    let anchored =
        b"- hosts: &w web\n  vars: &v {}\n  tasks:\n    - &t\n      <<: *v\n      name: one\n      ping:\n"
            .to_vec();
    for playbook in [marked, returned, anchored] {
        assert_eq!(
            plan(&playbook, HOSTS).unwrap().plays,
            plain.plays,
            "{}",
            String::from_utf8_lossy(&playbook)
        );
    }
}

#[test]
fn a_group_that_is_not_defined_is_named_and_a_host_that_is_there_twice_runs_once() {
    let other = plan(b"- hosts: web:nowhere\n  tasks: [{ping: }]\n", b"[web]\na\na\n[db]\na\n").unwrap();
    assert_eq!(
        (&*other.plays[0].hosts, &*other.plays[0].unmatched),
        (&["a".to_owned()][..], &["nowhere".to_owned()][..])
    );
    assert_eq!(other.totals.task_runs, 1);
    expect![[r#"
        hosts:2:1: group `nowhere` is a child and is defined nowhere
          |
        2 | nowhere
          | ^
          = help: add a section [nowhere]
    "#]]
    .assert_eq(&plan(PLAY, b"[web:children]\nnowhere\n").unwrap_err());
}

#[test]
fn variables_that_need_each_other_and_circles_of_files_are_named() {
    let root = TempDir::new().unwrap();
    write(
        root.path(),
        &[("hosts", HOSTS), ("p.yml", b"- hosts: '{{ a }}'\n  vars: {a: '{{ b }}', b: '{{ a }}'}\n")],
    );
    let mut all = ask(&planner(), root.path()).unwrap_err();
    write(
        root.path(),
        &[
            ("p.yml", b"- hosts: web\n  tasks: [{import_tasks: x.yml}]\n"),
            ("x.yml", b"- import_tasks: y.yml\n"),
            ("y.yml", b"- import_tasks: x.yml\n"),
        ],
    );
    all += &ask(&planner(), root.path()).unwrap_err();
    expect![[r#"
        p.yml:1:10: `hosts` can't be told: `a` is defined by itself
          |
        1 | - hosts: '{{ a }}'
          |          ^
        y.yml:1:3: files import each other in a circle: x.yml -> y.yml -> x.yml
          |
        1 | - import_tasks: x.yml
          |   ^
    "#]]
    .assert_eq(&all);
}

#[test]
fn nothing_of_a_plan_that_fails_is_given_later() {
    let root = TempDir::new().unwrap();
    let planner = planner();
    write(root.path(), &[("hosts", HOSTS), ("p.yml", PLAY)]);
    let good = ask(&planner, root.path()).unwrap();
    for bad in [&b"- hosts: web\n  tasks: [{}]\n"[..], b"- hosts: web\n  roles: [none]\n", b"- hosts: [\n"] {
        let both = [PLAY, bad].concat();
        write(root.path(), &[("p.yml", &both)]);
        let problem = ask(&planner, root.path()).unwrap_err();
        // Asked again it fails again, and in the same words.
        assert_eq!(ask(&planner, root.path()).unwrap_err(), problem);
        write(root.path(), &[("p.yml", PLAY)]);
        assert_eq!(binary::encode(&ask(&planner, root.path()).unwrap()), binary::encode(&good));
    }
}
