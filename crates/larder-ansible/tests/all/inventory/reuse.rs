//! Which queries run again after which edit.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use larder::engine::Session;
use larder::query::ExplainedOutcome;
use larder_ansible::inventory::{HostsOf, VariablesOf};

use super::lab::{Lab, block_on, sources};

const SOURCES: &[&str] = &["inv/hosts", "inv/more.yml"];

/// Two groups of hosts with files beside the inventory and beside the playbook.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("inv/hosts", "[web]\nw1\nw2\n[db]\nd1\n").write("inv/more.yml", "prod: {children: {web: }}\n");
    lab.write("inv/group_vars/web.yml", "a: web\n").write("inv/host_vars/w1.yml", "b: w1\n");
    lab.write("group_vars/all/common.yml", "c: all\n");
    settle(&lab);
    lab
}

/// Asks for the hosts of a pattern and for the variables of all hosts; tells what had to be computed for that.
async fn computed(session: &Session) -> String {
    let pattern = HostsOf { sources: sources(SOURCES), patterns: vec!["prod".to_owned()], limit: None };
    let mut explanations = vec![session.explain(pattern).await.unwrap()];
    for host in ["w1", "w2", "d1"] {
        let playbook_directory = Some(String::new());
        let query = VariablesOf { sources: sources(SOURCES), playbook_directory, host: host.into() };
        explanations.push(session.explain(query).await.unwrap());
    }
    let mut computed = BTreeSet::new();
    for query in explanations.iter().flat_map(|explanation| &explanation.queries) {
        if let ExplainedOutcome::Computed(_) = query.outcome {
            let parameters = query.parameters.as_ref().map(ToString::to_string).unwrap_or_default();
            let of = ["w1", "w2", "d1"].iter().find(|host| parameters.contains(&format!("\"{host}\"")));
            let of = of.or_else(|| {
                ["web", "db", "prod", "all"].iter().find(|group| parameters.contains(&format!("\"{group}\"")))
            });
            let kind = query.kind.split('@').next().unwrap().trim_start_matches("ansible.");
            computed.insert(format!("{kind} {}", of.unwrap_or(&"")).trim_end().to_owned());
        }
    }
    if computed.is_empty() { "nothing".to_owned() } else { Vec::from_iter(computed).join(", ") }
}

fn settle(lab: &Lab) -> String {
    block_on(computed(&lab.session()))
}

/// Writes a file and tells what is computed again for it.
fn check(path: &str, content: &str, again: Expect) {
    let lab = lab();
    lab.write(path, content);
    again.assert_eq(&settle(&lab));
    assert_eq!(settle(&lab), "nothing");
}

#[test]
fn nothing_runs_again_where_nothing_changed() {
    assert_eq!(settle(&lab()), "nothing");
}

#[test]
fn a_comment_in_the_inventory_is_read_and_goes_no_further() {
    check("inv/hosts", "# new\n[web]\nw1\nw2\n[db]\nd1\n", expect!["inventory"]);
}

#[test]
fn a_new_host_is_noticed_by_all_that_is_built_on_the_inventory() {
    check(
        "inv/hosts",
        "[web]\nw1\nw2\nw3\n[db]\nd1\n",
        expect![
            "inventory, inventory.hosts prod, inventory.variables d1, inventory.variables w1, inventory.variables w2"
        ],
    );
}

#[test]
fn a_variable_of_a_group_is_read_once_and_concerns_its_hosts() {
    check(
        "inv/group_vars/web.yml",
        "a: changed\n",
        expect!["inventory.group_vars web, inventory.variables w1, inventory.variables w2"],
    );
}

#[test]
fn a_new_file_of_a_group_concerns_its_hosts() {
    check(
        "inv/group_vars/db.yml",
        "a: db\n",
        expect![
            "inventory.group_vars all, inventory.group_vars db, inventory.group_vars prod, inventory.group_vars web, inventory.variables d1"
        ],
    );
}

#[test]
fn a_new_directory_of_variables_is_noticed() {
    check(
        "host_vars/d1",
        "x: 1\n",
        expect!["inventory.variables d1, inventory.variables w1, inventory.variables w2"],
    );
}

#[test]
fn a_new_file_in_a_directory_of_a_group_is_noticed() {
    check(
        "group_vars/all/more.yml",
        "d: 1\n",
        expect![
            "inventory.group_vars all, inventory.variables d1, inventory.variables w1, inventory.variables w2"
        ],
    );
}

#[test]
fn a_variable_of_a_host_concerns_that_host() {
    check("inv/host_vars/w1.yml", "b: changed\n", expect!["inventory.variables w1"]);
}

#[test]
fn a_file_beside_that_is_none_of_them_concerns_nothing() {
    check("inv/notes.txt", "x", expect!["nothing"]);
}

#[test]
fn a_new_file_in_a_directory_that_is_an_inventory_is_noticed() {
    let lab = Lab::new();
    lab.write("inv/a", "[web]\nw1\n");
    assert_eq!(lab.hosts(&["inv"], "web", None).unwrap(), ["w1"]);
    lab.write("inv/b", "[web]\nw2\n");
    assert_eq!(lab.hosts(&["inv"], "web", None).unwrap(), ["w1", "w2"]);
    std::fs::remove_file(lab.root.join("inv/a")).unwrap();
    assert_eq!(lab.hosts(&["inv"], "web", None).unwrap(), ["w2"]);
}
