//! `larder plan` with an inventory: whose hosts, which limit, and programs that run only where they may.

use std::os::unix::fs::PermissionsExt as _;

use expect_test::expect;

use crate::lab::Lab;

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("project/site.yml", "- name: Site\n  hosts: web:nobody\n- hosts: db\n  tasks: [{ping: }]\n");
    lab.write("project/inv/hosts", "[web]\nw[1:3]\n[db]\nd1 port=5432\n");
    lab.write("project/inv/group_vars/web.yml", "port: 80\n");
    lab.write("project/host_vars/w2.yml", "port: 8080\n");
    lab
}

#[test]
fn hosts_are_listed_as_ansible_playbook_lists_them() {
    let lab = lab();
    lab.write("project/only", "w3\nd1\n");
    lab.check(
        &["plan", "site.yml", "-i", "inv/hosts", "--list-hosts"],
        expect![[r#"

        playbook: site.yml

          play #1 (web:nobody): Site	TAGS: []
            pattern: ['web:nobody']
            hosts (3):
              w1
              w2
              w3

          play #2 (db): db	TAGS: []
            pattern: ['db']
            hosts (1):
              d1
        ! warning: no host matches `nobody`; it is ignored
    "#]],
    );
    lab.check(
        &["plan", "site.yml", "-i", "inv", "--list-hosts", "--list-tasks", "--limit", "@only"],
        expect![[r#"

            playbook: site.yml

              play #1 (web:nobody): Site	TAGS: []
                pattern: ['web:nobody']
                hosts (1):
                  w3
                tasks:

              play #2 (db): db	TAGS: []
                pattern: ['db']
                hosts (1):
                  d1
                tasks:
                  ping	TAGS: []
            ! warning: no host matches `nobody`; it is ignored
        "#]],
    );
    lab.check(
        &["plan", "site.yml", "-i", "inv/hosts", "--list-hosts", "-l", "nothing"],
        expect![[r#"
        ! error: the limit leaves none of the hosts
        ! hint: `--list-hosts` without a limit tells which hosts there are
        exit code 2
    "#]],
    );
}

#[test]
fn the_inventory_is_printed_as_ansible_inventory_prints_it_and_an_edit_is_seen() {
    let lab = lab();
    let arguments = ["plan", "site.yml", "-i", "inv", "--list-inventory", "--limit", "w2,d1"];
    lab.check(
        &arguments,
        expect![[r#"
        {
            "_meta": {
                "hostvars": {
                    "d1": {
                        "port": 5432
                    },
                    "w2": {
                        "port": 8080
                    }
                },
                "profile": "inventory_legacy"
            },
            "all": {
                "children": [
                    "ungrouped",
                    "web",
                    "db"
                ]
            },
            "db": {
                "hosts": [
                    "d1"
                ]
            },
            "web": {
                "hosts": [
                    "w2"
                ]
            }
        }
    "#]],
    );
    lab.write("project/inv/host_vars/d1", "port: 1\n");
    assert!(lab.stdout(&arguments).contains("\"port\": 1\n"));
}

#[test]
fn the_inventory_may_be_elsewhere_or_named_by_a_variable_or_a_list() {
    let mut lab = lab();
    lab.write("elsewhere/hosts", "[web]\nfar\n");
    let far = lab.path("elsewhere/hosts").display().to_string();
    assert!(lab.stdout(&["plan", "site.yml", "-i", &far, "--list-hosts"]).contains("      far\n"));
    let listed = lab.stdout(&["plan", "site.yml", "-i", &far, "-i", "w9,", "--list-inventory"]);
    assert!(listed.contains("\"far\"") && listed.contains("\"w9\""), "{listed}");
    lab.variable("ANSIBLE_INVENTORY", &far);
    assert!(lab.stdout(&["plan", "site.yml", "--list-hosts"]).contains("      far\n"));
}

#[test]
fn a_program_runs_only_where_it_may_and_then_each_time() {
    let lab = lab();
    let path = lab.path("project/inv.sh");
    let script = "#!/bin/sh\necho run >> ran\ncat said.json\n";
    lab.write("project/inv.sh", script);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    lab.write("project/said.json", r#"{"web": {"hosts": ["said"]}, "_meta": {"hostvars": {}}}"#);
    let arguments = ["plan", "site.yml", "-i", "inv.sh", "--list-hosts"];
    lab.check(
        &arguments,
        expect![[r#"
        ! error: inv.sh: the inventory is a program, and it is not run
        ! hint: --run-inventory runs it
        exit code 2
    "#]],
    );
    assert!(!lab.path("project/ran").exists());
    let arguments = [&arguments[..], &["--run-inventory"]].concat();
    assert!(lab.stdout(&arguments).contains("      said\n"));
    lab.write("project/said.json", r#"{"web": {"hosts": ["other"]}, "_meta": {"hostvars": {}}}"#);
    assert!(lab.stdout(&arguments).contains("      other\n"));
    assert_eq!(std::fs::read_to_string(lab.path("project/ran")).unwrap(), "run\nrun\n");
}

#[test]
fn a_mistake_in_the_inventory_is_shown_where_it_is() {
    let lab = lab();
    lab.write("project/inv/more", "[web:children]\nwebb\n");
    lab.check(
        &["plan", "site.yml", "-i", "inv", "--list-hosts"],
        expect![[r#"
        ! error: the inventory can't be read
        ! inv/more:2:1: group `webb` is a child and is defined nowhere
        !   |
        ! 2 | webb
        !   | ^
        !   = help: add a section [webb], or write `web` if that was meant
        exit code 2
    "#]],
    );
    lab.check(
        &["plan", "-i", "nowhere", "--list-inventory"],
        expect![[r#"
        ! error: the inventory can't be read
        ! nowhere: there is no such inventory
        !  = help: name a file or a directory with -i, or hosts with a comma after each: -i web1,web2,
        exit code 2
    "#]],
    );
    lab.check(
        &["plan"],
        expect![[r#"
        ! error: the following required arguments were not provided:
        !   <PLAYBOOK>...
        ! 
        ! Usage: larder plan <PLAYBOOK>...
        ! 
        ! For more information, try '--help'.
        exit code 2
    "#]],
    );
}

#[test]
fn an_inventory_that_is_named_is_read_also_where_hosts_are_not_listed() {
    let lab = lab();
    lab.check(
        &["plan", "site.yml", "-i", "nowhere", "--list-tasks"],
        expect![[r#"
        ! error: the inventory can't be read
        ! nowhere: there is no such inventory
        !  = help: name a file or a directory with -i, or hosts with a comma after each: -i web1,web2,
        exit code 2
    "#]],
    );
    assert!(lab.stdout(&["plan", "site.yml", "-i", "inv", "-l", "db", "--list-tasks"]).contains("ping"));
}
