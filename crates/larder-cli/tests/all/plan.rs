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

#[test]
fn two_plans_are_told_apart_by_what_their_tasks_are() {
    let lab = lab_with_hosts();
    let plan = ["plan", "p.yml", "-i", "hosts"];
    for (form, file) in [("json", "project/old.json"), ("binary", "project/old.bin")] {
        let bytes = lab.run(&[&plan[..], &["--format", form]].concat()).stdout;
        std::fs::write(lab.path(file), bytes).unwrap();
    }
    lab.write(
        "project/p.yml",
        "- hosts: web*\n  tasks:\n    - {name: New, debug: }\n    - {name: Look, ping: }\n    - {name: Run, shell: make all}\n",
    );
    let since = |old: &'static str| [&plan[..], &["--changes", old, "--quiet"]].concat();
    lab.check(
        &since("old.json"),
        expect![[r#"
            ~ play web*
              + New [debug]
              ~ Run [shell]
                  args._raw_params: make -> make all

            impact 0.90
        "#]],
    );
    assert_eq!(lab.stdout(&since("old.bin")), lab.stdout(&since("old.json")));
    let new = lab.stdout(&[&plan[..], &["--json"]].concat());
    lab.write("project/new.json", &new);
    let diff = ["plan", "diff", "old.json", "new.json"];
    assert!(lab.stdout(&diff).contains("~ Run [shell]"));
    let json: serde_json::Value =
        serde_json::from_str(&lab.stdout(&[&diff[..], &["--json"]].concat())).unwrap();
    assert_eq!(json["plays"][0]["added"][0]["name"], "New");
    assert_eq!(lab.run(&[&diff[..], &["--exit-code"]].concat()).status.code(), Some(1));
    lab.check(
        &["plan", "diff", "old.json", "old.bin", "--exit-code"],
        expect![[r#"
        nothing differs
    "#]],
    );
    lab.check(
        &["plan", "diff", "old.json", "p.yml"],
        expect![[r#"
        ! error: cannot read the plan p.yml: not a plan
        ! hint: write one with `larder plan PLAYBOOK -i INVENTORY --format json > FILE`
        exit code 2
    "#]],
    );
    lab.check(
        &["plan", "diff", "old.json", "nowhere"],
        expect![[r#"
        ! error: cannot read the plan nowhere: No such file or directory (os error 2)
        exit code 2
    "#]],
    );
    lab.write("project/newer.json", &new.replacen("\"format\": 4", "\"format\": 99", 1));
    lab.check(
        &["plan", "diff", "old.json", "newer.json"],
        expect![[r#"
        ! error: newer.json has format 99, and this larder reads 4
        ! hint: write one with `larder plan PLAYBOOK -i INVENTORY --format json > FILE`
        exit code 2
    "#]],
    );
}

fn lab_with_hosts() -> Lab {
    let lab = lab();
    lab.write("project/hosts", "web1\nweb2\n");
    lab.write(
        "project/p.yml",
        "- hosts: web*\n  tasks:\n    - {name: Look, ping: }\n    - {name: Run, shell: make}\n",
    );
    lab
}

#[test]
fn a_plan_is_kept_and_says_so() {
    let lab = lab_with_hosts();
    let arguments = ["plan", "p.yml", "-i", "hosts"];
    lab.check(
        &arguments,
        expect![[r#"
            play 1: web* (web*)
              hosts: web1, web2
              1  Look [ping]
              2  Run [shell] !!

            1 play, 2 hosts, 2 tasks, 0 handlers, 4 runs of tasks, about [time]
            1.0 tasks could run at a time on a host, on average
            ! made in [time]: 0 of 9 parts kept
        "#]],
    );
    lab.check(
        &arguments,
        expect![[r#"
            play 1: web* (web*)
              hosts: web1, web2
              1  Look [ping]
              2  Run [shell] !!

            1 play, 2 hosts, 2 tasks, 0 handlers, 4 runs of tasks, about [time]
            1.0 tasks could run at a time on a host, on average
            ! kept, in [time], which saved [time]
        "#]],
    );
    let explained = lab.stdout(&["plan", "p.yml", "-i", "hosts", "--explain"]);
    assert!(explained.starts_with("ansible.plan ") && explained.contains("p.yml"), "{explained}");
}

#[test]
fn programs_are_told_how_a_plan_came_about() {
    let lab = lab_with_hosts();
    let told = || -> serde_json::Value {
        let output = lab.run(&["plan", "p.yml", "-i", "hosts", "--json"]);
        serde_json::from_slice(&output.stderr).unwrap()
    };
    let made = told();
    assert_eq!((&made["cached"], &made["incremental"]), (&false.into(), &false.into()));
    assert!(made["saved_seconds"].is_null() && made["took_seconds"].as_f64() > Some(0.0), "{made}");
    let kept = told();
    assert_eq!((&kept["cached"], &kept["parts"]), (&true.into(), &serde_json::json!([])));
    assert!(kept["saved_seconds"].is_f64(), "{kept}");
    lab.write("project/hosts", "web1\nweb3\n");
    let partly = told();
    assert_eq!((&partly["cached"], &partly["incremental"]), (&false.into(), &true.into()));
    assert!(partly["saved_seconds"].is_f64(), "{partly}");
    let order = serde_json::json!({"kind": "ansible.order@5", "kept": 1, "computed": 0});
    assert!(partly["parts"].as_array().unwrap().contains(&order), "{partly}");
}

#[test]
fn a_run_that_only_checks_is_planned_as_such() {
    let lab = lab_with_hosts();
    let check = ["plan", "p.yml", "-i", "hosts", "--check", "--diff", "-q"];
    lab.check(
        &check,
        expect![[r#"
            play 1: web* (web*)
              hosts: web1, web2
              1  Look [ping]
              2  Run [shell] is skipped

            1 play, 2 hosts, 2 tasks, 0 handlers, 4 runs of tasks, about [time]
            1.0 tasks could run at a time on a host, on average
        "#]],
    );
    lab.check(
        &[&check[..], &["--estimate"]].concat(),
        expect![[r#"
            play 1: web*
                    [time]     2 runs  Look [ping]
                    [time]     2 runs  Run [shell] is skipped

            tasks take about [time] with 5 forks; all handlers about [time] more
        "#]],
    );
    let json = lab.stdout(&[&check[..], &["--estimate", "--json"]].concat());
    let estimate: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&estimate["tasks_ms"], &estimate["plays"][0]["tasks"][0]["runs"]), (&800.into(), &2.into()));
}

#[test]
fn a_playbook_in_json_brings_its_inventory_unless_another_is_named() {
    let lab = lab_with_hosts();
    lab.write(
        "project/p.json",
        "{\"metadata\": {\"format\": 1}, \"plays\": [{\"hosts\": \"all\", \"tasks\": [{\"ping\": null}]}],\n\"inventory\": {\"all\": {\"hosts\": {\"own1\": null}}}}\n",
    );
    assert!(lab.stdout(&["plan", "p.json"]).contains("  hosts: own1\n"));
    assert!(lab.stdout(&["plan", "p.json", "--list-hosts"]).contains("    hosts (1):\n      own1\n"));
    assert!(lab.stdout(&["plan", "p.json", "-i", "hosts"]).contains("  hosts: web1, web2\n"));
}

#[test]
fn a_pattern_that_matches_nothing_is_told_of_each_time() {
    let lab = lab_with_hosts();
    lab.write("project/p.yml", "- hosts: web1:nowhere\n  tasks: [{ping: }]\n");
    for _ in 0..2 {
        let output = lab.run(&["plan", "p.yml", "-i", "hosts"]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("no host matches `nowhere`; it is ignored"), "{told}");
    }
}

#[test]
fn what_could_be_shipped_is_listed_and_strategies_are_planned() {
    let lab = lab_with_hosts();
    lab.write("project/hosts", "web1 ansible_architecture=x86_64\nweb2 ansible_architecture=x86_64\n");
    lab.write(
        "project/p.yml",
        "- hosts: web*\n  tasks:\n    - {name: Look, ping: }\n    - {name: Run, shell: make}\n    - {name: Copy, copy: {content: x, dest: /x}}\n",
    );
    let plan = ["plan", "p.yml", "-i", "hosts", "-q"];
    let ask = |more: &[&'static str]| [&plan[..], more].concat();
    lab.check(
        &ask(&["--list-binaries", "--binary-threshold", "2"]),
        expect![[r#"
        play 1: web*
          program 1 for linux-x86_64: web1, web2
            2 Run [shell] !!
            3 Copy [copy]
            about 2240 KiB, saves 2 round trips
          by ssh 1 Look [ping]: `ping` is no module that a program can do

        1 program, compiled in about [time]
        2 of 6 round trips saved
    "#]],
    );
    lab.check(
        &ask(&["--strategy", "hybrid", "--force-binary"]),
        expect![[r#"
        play 1: web* (web*)
          hosts: web1, web2
          strategy: hybrid
          program 1 does 2, 3 on web1, web2
          1  Look [ping]
          2  Run [shell] !!
          3  Copy [copy]

        1 play, 2 hosts, 3 tasks, 0 handlers, 6 runs of tasks, about [time]
        1 program shipped: 4 round trips, 33 % fewer
        1.0 tasks could run at a time on a host, on average
    "#]],
    );
    let json = lab.stdout(&ask(&["--list-binaries", "--force-binary", "--json"]));
    let listing: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&listing["binaries"], &listing["round_trips_saved"]), (&1.into(), &2.into()));
    assert_eq!(listing["plays"][0]["by_ssh"][0]["why"], "module");
    let free = lab.stdout(&ask(&["--strategy", "free"]));
    assert!(free.contains("  strategy: free\n"), "{free}");
    lab.check(&ask(&["--strategy", "binary-only"]), expect![[r#"
        ! error: the playbook can't be planned
        ! play "web*" can't go as programs alone: the task "Look" can't be shipped: `ping` is no module that a program can do
        !  = help: the strategy `hybrid` ships what can be, and does the rest by ssh
        exit code 2
    "#]]);
    lab.check(
        &ask(&["--force-ssh"]),
        expect![[r#"
        ! error: --force-ssh says how programs are shipped, and nothing asks for any
        ! hint: add --list-binaries or --strategy hybrid
        exit code 2
    "#]],
    );
    lab.check(
        &ask(&["--list-binaries", "--facts", "nowhere"]),
        expect![[r#"
        ! error: nowhere is no directory with facts of hosts
        ! hint: set fact_caching=jsonfile and fact_caching_connection for Ansible
        exit code 2
    "#]],
    );
}

#[test]
fn a_plan_has_several_forms() {
    let lab = lab_with_hosts();
    let json = lab.stdout(&["plan", "p.yml", "-i", "hosts", "--json"]);
    assert!(json.contains("\"risk\": \"critical\""), "{json}");
    assert_eq!(json, lab.stdout(&["plan", "p.yml", "-i", "hosts", "--format", "json"]));
    lab.check(
        &["plan", "p.yml", "-i", "hosts", "--format", "dot", "-q"],
        expect![[r#"
        digraph plan {
          rankdir=LR;
          node [shape=box];
          subgraph cluster_0 {
            label="web*";
            p0t0 [label="Look"];
            p0t1 [label="Run"];
            p0t0 -> p0t1 [label=order];
          }
        }
    "#]],
    );
    lab.check(
        &["plan", "p.yml", "-i", "hosts", "--format", "mermaid", "-q"],
        expect![[r#"
        flowchart LR
          subgraph p0 ["web*"]
            p0t0["Look"]
            p0t1["Run"]
            p0t0 -->|order| p0t1
          end
    "#]],
    );
    let binary = lab.run(&["plan", "p.yml", "-i", "hosts", "--format", "binary"]).stdout;
    assert!(binary.starts_with(b"LPLN\x04\0\0\0"));
    let explained = lab.stdout(&["plan", "p.yml", "-i", "hosts", "--explain"]);
    assert!(explained.starts_with("ansible.plan ") && explained.contains("p.yml"), "{explained}");
    lab.check(
        &["plan", "p.yml", "-i", "nowhere"],
        expect![[r#"
            ! error: the inventory can't be read
            ! nowhere: there is no such inventory
            !  = help: name a file or a directory with -i, or hosts with a comma after each: -i web1,web2,
            exit code 2
        "#]],
    );
    lab.check(
        &["plan", "p.yml", "-i", "hosts", "-l", "web2", "--list-hosts"],
        expect![[r#"

        playbook: p.yml

          play #1 (web*): web*	TAGS: []
            pattern: ['web*']
            hosts (1):
              web2
    "#]],
    );
}
