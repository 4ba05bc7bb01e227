//! Playbooks in the JSON form: the same plans, and mistakes named where they are.

use std::fs;

use expect_test::expect_file;
use larder_ansible::inventory::Source;
use larder_ansible::plain::Plain;
use larder_ansible::plan::ExecutionPlan;
use larder_ansible::query::PlanRequest;
use tempfile::TempDir;

use crate::lab::{planner, wait};

/// The plan of the first of these files, on the inventory that is in it, or what is wrong.
fn plan(files: &[(&str, &str)]) -> Result<ExecutionPlan, String> {
    let root = TempDir::new().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let planned = wait(async {
        let view = planner().view(root.path());
        let own = view.inventory_in(files[0].0).await?;
        let inventory = own.unwrap_or_else(|| Source::Path("hosts.yml".to_owned()));
        view.plan(&PlanRequest::new(files[0].0, vec![inventory])).await
    });
    planned.map(|planned| (*planned.plan).clone()).map_err(|problem| problem.render())
}

const FORM: &str = r#"{
	"metadata": {"format": 1, "name": "site", "generator": "a test", "source": "elsewhere"},
	"variables": {"which": "one", "target": "web"},
	"plays": [
		{"import_playbook": "{{ which }}.yml"},
		{"name": "\ud83d\ude00 {{ which }}", "hosts": "{{ target }}", "vars": {"which": "own"},
		 "roles": ["r"], "tasks": [{"name": "a\/b", "copy": {"content": "x", "dest": "/x"}}]}
	],
	"inventory": {"web": {"hosts": {"w1": {"x": 1}, "w2": null}}, "db": {"hosts": {"d1": {}}}}
}"#;

const YAML: &str = "\
- import_playbook: one.yml
- name: \u{1f600} own
  hosts: web
  roles: [r]
  tasks:
    - {name: a/b, copy: {content: x, dest: /x}}
";

const HOSTS: &str = "web: {hosts: {w1: {x: 1}, w2: }}\ndb: {hosts: d1}\n";

#[test]
fn a_playbook_in_json_is_planned_as_the_same_one_in_yaml() {
    let shared = [
        ("one.yml", "- hosts: \"{{ target | default('web') }}\"\n  tasks: [{ping: }]\n"),
        ("roles/r/tasks/main.yml", "- name: in the role\n  shell: make\n"),
    ];
    let json = plan(&[&[("site.json", FORM)], &shared[..]].concat()).unwrap();
    let yaml = plan(&[&[("site.yml", YAML), ("hosts.yml", HOSTS)], &shared[..]].concat()).unwrap();
    assert_eq!(json.plays, yaml.plays);
    assert_eq!((json.totals.hosts, json.metadata.inventory), (2, vec!["site.json".to_owned()]));
}

#[test]
fn variables_of_all_plays_give_way_to_those_of_a_play() {
    let form = r#"{"metadata": {"format": 1}, "variables": {"a": "all", "b": "all"},
        "plays": [{"name": "{{ a }} {{ b }}", "hosts": "x", "vars": {"b": "own"}}, {"name": "{{ b }}", "hosts": "x"}]}"#;
    let names: Vec<String> = plan(&[("p.json", form), ("hosts.yml", HOSTS)])
        .unwrap()
        .plays
        .into_iter()
        .map(|play| play.name.clone())
        .collect();
    assert_eq!(names, ["all own", "all"]);
}

#[test]
fn what_is_encrypted_stays_closed() {
    let form = r#"{"metadata": {"format": 1}, "plays": [{"hosts": "web", "tasks": [
        {"copy": {"dest": "/x", "content": {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\n6162"}}}]}]}"#;
    let plan = plan(&[("p.json", form), ("hosts.yml", HOSTS)]).unwrap();
    let content = plan.plays[0].tasks[0].args.get("content");
    assert_eq!(content, Some(&Plain::Vault("$ANSIBLE_VAULT;1.1;AES256\n6162".into())));
}

#[test]
fn an_edit_of_a_play_in_json_leaves_the_others_as_they_are() {
    let root = TempDir::new().unwrap();
    let form = |task: &str| {
        format!(
            "{{\"metadata\": {{\"format\": 1}}, \"inventory\": {{\"all\": {{\"hosts\": {{\"a\": null}}}}}}, \"plays\": [\n\
             {{\"hosts\": \"all\", \"tasks\": [{{\"ping\": null}}]}},\n\
             {{\"hosts\": \"all\", \"tasks\": [{{\"{task}\": null}}]}}]}}"
        )
    };
    let planner = planner();
    let request = PlanRequest::new("p.json", vec![Source::Path("p.json".to_owned())]);
    let ask = || wait(async { planner.view(root.path()).plan(&request).await }).unwrap();
    fs::write(root.path().join("p.json"), form("ping")).unwrap();
    ask();
    fs::write(root.path().join("p.json"), form("setup")).unwrap();
    let larder_ansible::planner::Reuse::Parts(parts) = ask().reuse else { panic!("kept as a whole") };
    let compiled = parts.iter().find(|part| part.kind.starts_with("ansible.compile@")).unwrap();
    assert_eq!((compiled.kept, compiled.computed), (1, 1));
}

/// Documents that are none of this form.
const MISTAKES: &[&str] = &[
    r#"{"plays": [{"hosts": "all"}]}"#,
    r#"{"metadata": [], "plays": [{"hosts": "all"}]}"#,
    r#"{"metadata": {}, "plays": [{"hosts": "all"}]}"#,
    r#"{"metadata": {"format": 2}, "plays": [{"hosts": "all"}]}"#,
    r#"{"metadata": {"format": 1, "nam": "x"}, "plays": [{"hosts": "all"}]}"#,
    r#"{"metadata": {"format": 1, "name": 5}, "plays": [{"hosts": "all"}]}"#,
    r#"{"metadata": {"format": 1}, "plays": {"hosts": "all"}}"#,
    r#"{"metadata": {"format": 1}, "plays": []}"#,
    r#"{"metadata": {"format": 1}, "plays": [{"hosts": "all"}], "variable": {}}"#,
    r#"{"metadata": {"format": 1}, "plays": [{"hosts": "all"}], "variables": {"1x": 1}}"#,
    r#"{"metadata": {"format": 1}, "plays": [{"hosts": "all"}], "variables": []}"#,
    r#"{"metadata": {"format": 1}, "plays": [{"hosts": "all"}], "inventory": "web"}"#,
    r#"{"metadata": {"format": 1}, "plays": [{"hosts": "all"}], "inventory": {"web": {"hosts": ["a"]}}}"#,
    r#"{"metadata": {"format": 1}, "plays": [{"hosts": "all"}, {"hosts": "all", "tasks": [{"ping": null, "whem": "x"}]}]}"#,
    r#"{"metadata": {"format": 1}, "plays": [{"hosts": "all", "roles": ["none"]}]}"#,
    r#"{"metadata": {"format": 1}, "plays": [{"hosts": "all"},]"#,
    r#"{"hosts": "all"}"#,
];

#[test]
fn mistakes_are_named_where_they_are() {
    let mut all = String::new();
    for case in MISTAKES {
        all.push_str(&plan(&[("p.json", case), ("hosts.yml", HOSTS)]).unwrap_err());
        all.push('\n');
    }
    expect_file!["../playbooks/refused/json.txt"].assert_eq(&all);
}
