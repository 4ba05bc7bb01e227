//! `larder plan`: what it prints, what it keeps, and how it fails.

use expect_test::expect;

use crate::lab::Lab;

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write(
        "project/site.yml",
        "- name: Site\n  hosts: web\n  roles: [app]\n  tasks:\n    - import_tasks: tasks/{{ which }}.yml\n      tags: t\n",
    );
    lab.write("project/tasks/one.yml", "- name: One\n  ping:\n");
    lab.write("project/tasks/two.yml", "- name: Two\n  ping:\n");
    lab.write("project/roles/app/tasks/main.yml", "- name: Install\n  apt: name=app\n");
    lab
}

#[test]
fn tasks_are_listed_and_an_edit_is_seen() {
    let lab = lab();
    let arguments = ["plan", "site.yml", "--list-tasks", "--list-tags", "-e", "which=one"];
    lab.check(
        &arguments,
        expect![[r#"

            playbook: site.yml

              play #1 (web): Site	TAGS: []
                tasks:
                  app : Install	TAGS: []
                  One	TAGS: [t]
                  TASK TAGS: [t]
        "#]],
    );
    lab.write("project/tasks/one.yml", "- name: Another\n  ping:\n");
    assert!(lab.stdout(&arguments).contains("      Another\tTAGS: [t]\n"));
    lab.write("project/vars.yml", "which: two\n");
    assert!(lab.stdout(&["plan", "site.yml", "--list-tasks", "-e", "@vars.yml"]).contains("      Two\t"));
}

#[test]
fn roles_are_found_where_a_variable_says() {
    let mut lab = lab();
    lab.write("project/other.yml", "- hosts: web\n  roles: [shared]\n");
    lab.write("elsewhere/shared/tasks/main.yml", "- name: Shared\n  ping:\n");
    let elsewhere = lab.path("elsewhere").display().to_string();
    lab.variable("ANSIBLE_ROLES_PATH", &elsewhere);
    assert!(lab.stdout(&["plan", "other.yml", "--list-tasks"]).contains("      shared : Shared\t"));
}

#[test]
fn a_mistake_is_shown_where_it_is() {
    let lab = lab();
    lab.check(&["plan", "site.yml", "--list-tasks"], expect![[r#"
        ! error: the playbook can't be planned
        ! site.yml:5:7: the file "tasks/{{ which }}.yml" can't be told: `which` is not defined before the play runs
        !   |
        ! 5 |     - import_tasks: tasks/{{ which }}.yml
        !   |       ^
        !   = help: `include_tasks` may depend on hosts and on what ran before
        exit code 2
    "#]]);
    lab.check(
        &["plan", "nowhere.yml", "--list-tasks"],
        expect![[r#"
        ! error: the playbook nowhere.yml could not be found: No such file or directory (os error 2)
        exit code 2
    "#]],
    );
    lab.check(
        &["plan", "site.yml", "--list-tasks", "-e", "@nowhere.yml"],
        expect![[r#"
        ! error: cannot read nowhere.yml: No such file or directory (os error 2)
        exit code 2
    "#]],
    );
}
