//! What is wrong with an inventory is named with its place and with what to do about it.

use expect_test::{Expect, expect};

use super::lab::Lab;

/// Compares the message and the remedy; that the line and a caret stand between is promised once, below.
fn check(file: &str, content: impl AsRef<[u8]>, problem: Expect) {
    let lab = Lab::new();
    let rendered = lab.write(file, content).problem(&[file]);
    let is_excerpt = |line: &&str| line.contains(" | ") || line.trim_end().ends_with(" |");
    let lines: Vec<&str> = rendered.lines().filter(|line| !is_excerpt(line)).collect();
    problem.assert_eq(&lines.join("\n"));
}

#[test]
fn the_line_is_shown_with_a_caret_below_the_place() {
    let lab = Lab::new();
    expect![[r#"
        hosts:2:7: a quotation is not closed
          |
        2 | 	ä  x='open
          | 	     ^
          = help: close it
    "#]]
    .assert_eq(&lab.write("hosts", "[web]\n\tä  x='open\n").problem(&["hosts"]));
}

#[test]
fn an_undefined_child_or_group_of_variables_is_named_where_it_stands() {
    check(
        "hosts",
        "[web]\na\n[all:children]\nwab # typing\n",
        expect![[r#"
        hosts:4:1: group `wab` is a child and is defined nowhere
          = help: add a section [wab], or write `web` if that was meant"#]],
    );
    check(
        "hosts",
        "[wab:vars]\nx=1\n[web]\na\n",
        expect![[r#"
        hosts:1:1: section [wab:vars] is of a group that is defined nowhere
          = help: add a section [wab], or write `web` if that was meant"#]],
    );
}

#[test]
fn groups_in_a_circle_are_named_in_its_order() {
    check(
        "hosts",
        "[a:children]\nb\n[b:children]\nc\n[c:children]\na\n",
        expect![[r#"
        hosts:6:1: groups are children of each other in a circle: a -> b -> c -> a
          = help: take one of them out of the children of the next"#]],
    );
    check(
        "hosts",
        "[a:children]\na\n[a]\n",
        expect![[r#"
        hosts:2:1: group `a` is a child of itself
          = help: take it out of its own children"#]],
    );
    check(
        "hosts.yml",
        "a:\n  children:\n    b:\n      children:\n        all:\n",
        expect![[r#"
        hosts.yml:3:5: groups are children of each other in a circle: all -> a -> b -> all
          = help: take one of them out of the children of the next"#]],
    );
}

#[test]
fn a_circle_through_two_files_is_named_in_the_later_one() {
    let lab = Lab::new();
    lab.write("inv/1", "[a:children]\nb\n[b]\n").write("inv/2", "[b:children]\na\n");
    expect![[r#"
        inv/2:2:1: groups are children of each other in a circle: a -> b -> a
          |
        2 | a
          | ^
          = help: take one of them out of the children of the next
    "#]]
    .assert_eq(&lab.problem(&["inv"]));
}

#[test]
fn bad_ranges_brackets_and_sections_are_named() {
    check(
        "hosts",
        "[web]\nweb[01:3]\n",
        expect![[r#"
        hosts:2:1: range [01:3] has a begin and an end of different length after a leading zero
          = help: pad both to one length, as in web[01:20]"#]],
    );
    check(
        "hosts",
        "[web]\n  web[01:20 x=1\n",
        expect![[r#"
        hosts:2:3: a bracket of `web[01:20` is not closed
          = help: close it, as in web[01:20]"#]],
    );
    check(
        "hosts",
        "[web\na\n",
        expect![[r#"
        hosts:1:1: a bracket of a section is not closed
          = help: write [group], [group:vars] or [group:children]"#]],
    );
    check(
        "hosts",
        "[web:child]\na\n",
        expect![[r#"
        hosts:1:1: section [web:child] has an unknown kind
          = help: a section is [group], [group:vars] or [group:children]"#]],
    );
    check(
        "hosts",
        "[my web]\na\n",
        expect![[r#"
        hosts:1:1: section `[my web]` is not understood
          = help: write [group], [group:vars] or [group:children], without spaces"#]],
    );
    check(
        "hosts",
        "a[0:99999999]\n",
        expect![[r#"
        hosts:1:1: `[0:99999999]` stands for too many hosts: 1048576 are the most
          = help: narrow the range, or split the inventory"#]],
    );
    check(
        "hosts.yml",
        "all:\n  hosts:\n    a[1:]:\n",
        expect![[r#"
        hosts.yml:3:5: range [1:] has no end
          = help: write a range as web[01:20], db[a:f] or web[0:10:2]"#]],
    );
}

#[test]
fn bad_lines_are_named_at_the_word_that_is_wrong() {
    check(
        "hosts",
        "[web]\nä x='open\n",
        expect![[r#"
        hosts:2:5: a quotation is not closed
          = help: close it"#]],
    );
    check(
        "hosts",
        "[web]\n\ta x=1 two\n",
        expect![[r#"
        hosts:2:8: `two` is no variable
          = help: write name=value, with quotes around a value that has spaces"#]],
    );
    check(
        "hosts",
        "[web]\na:\n",
        expect![[r#"
        hosts:2:1: host `a:` ends with a colon
          = help: write the port after it, or take the colon out; in a YAML inventory the extension is .yml"#]],
    );
    check(
        "hosts",
        "[web:vars]\nnothing\n[web]\n",
        expect![[r#"
        hosts:2:1: `nothing` is no variable
          = help: write name=value, or begin a section of hosts with [group]"#]],
    );
}

#[test]
fn names_and_values_that_can_be_none_are_named() {
    check(
        "hosts",
        "[web]\na\n[all:children]\nweb db\n",
        expect![[r#"
        hosts:4:1: `web db` is no name of a group
          = help: write one group a line, without spaces and colons"#]],
    );
    check(
        "hosts",
        "[web]\na x=\\\n",
        expect![[r#"
        hosts:2:5: nothing follows a backslash
          = help: take it out, or write two"#]],
    );
    check(
        "hosts",
        "[web]\n'' x=1\n",
        expect![[r#"
        hosts:2:1: a host has an empty name
          = help: name the host, or take the line out"#]],
    );
    check(
        "hosts",
        "[web:vars]\nansible_group_priority=high\n[web]\n",
        expect![[r#"
        hosts:2:1: ansible_group_priority is no whole number
          = help: write it as 10"#]],
    );
}

#[test]
fn text_that_is_not_utf8_is_named_where_it_begins_and_allowed_in_comments() {
    check(
        "hosts",
        b"[web]\r\n\xc3\xa4 x=\xff\r\n",
        expect![[r#"
        hosts:2:5: the text is not UTF-8
          = help: save the file as UTF-8"#]],
    );
    let lab = Lab::new();
    lab.write("hosts", b"# \xff\n[web]\na\n");
    assert_eq!(lab.hosts(&["hosts"], "web", None).unwrap(), ["a"]);
}

#[test]
fn yaml_that_is_no_inventory_is_named() {
    check(
        "hosts.yml",
        "- a\n- b\n",
        expect![[r#"
        hosts.yml:1:1: an inventory must be a mapping of groups
          = help: begin it with `all:` and write hosts, vars and children below"#]],
    );
    check(
        "hosts.yml",
        "all:\n  hosts:\n    - a\n",
        expect![[r#"
        hosts.yml:3:5: `hosts` of group `all` must be a mapping, not a list
          = help: end each name with a colon instead of beginning it with `- `"#]],
    );
    check(
        "hosts.yml",
        "all:\n  hosts:\n    a: 5\n",
        expect![[r#"
        hosts.yml:3:8: variables of host `a` are an integer
          = help: write each variable as `name: value` below the host"#]],
    );
    check(
        "hosts.yml",
        "all:\n  hosts:\n    10: {}\n",
        expect![[r#"
        hosts.yml:3:5: a host is a string, not an integer
          = help: put quotes around it"#]],
    );
    check(
        "hosts.yml",
        "1:\n  hosts: a\n",
        expect![[r#"
        hosts.yml:1:1: an integer is no name of a group
          = help: put quotes around it"#]],
    );
    check(
        "hosts.yml",
        "all:\n  children:\n    web: [a]\n",
        expect![[r#"
        hosts.yml:3:10: a group must be a mapping or nothing
          = help: its keys are vars, children and hosts"#]],
    );
    check(
        "hosts.yml",
        "all:\n  hosts: {a: }\n bad\n",
        expect!["hosts.yml:3:2: while parsing a block mapping, did not find expected key"],
    );
}

#[test]
fn files_of_another_kind_are_named() {
    check(
        "hosts.yml",
        "a:\n---\nb:\n",
        expect![[r#"
        hosts.yml:3:1: an inventory is one document, and this is a second
          = help: take the `---` between them out"#]],
    );
    check(
        "hosts.json",
        "{\"all\": {\"hosts\": [\"a\"]}}",
        expect![[r#"
        hosts.json:1:19: `hosts` of group `all` must be a mapping, not a list
          = help: end each name with a colon instead of beginning it with `- `"#]],
    );
    check(
        "aws.yml",
        "plugin: amazon.aws.aws_ec2\nregions: [x]\n",
        expect![[r#"
        aws.yml:1:9: this is the configuration of an inventory plugin
          = help: let Ansible convert it: ansible-inventory -i aws.yml --list --yaml --export --output hosts.yml"#]],
    );
    check(
        "hosts.toml",
        "[web]\n",
        expect![[r#"
        hosts.toml: inventories in TOML are not read
         = help: let Ansible convert it: ansible-inventory -i hosts.toml --list --yaml --export --output hosts.yml"#]],
    );
    check(
        "hosts",
        "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
        expect![[r#"
        hosts: the inventory is encrypted
         = help: decrypt it first: ansible-vault decrypt hosts"#]],
    );
}

#[test]
fn a_missing_inventory_is_named() {
    expect![[r#"
        nowhere/hosts: there is no such inventory
         = help: name a file or a directory with -i, or hosts with a comma after each: -i web1,web2,
    "#]]
    .assert_eq(&Lab::new().problem(&["nowhere/hosts"]));
}

#[test]
fn a_program_is_not_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new();
    lab.write("inv.sh", "#!/bin/sh\ntouch ran\necho '{}'\n");
    let path = lab.root.join("inv.sh");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    expect!["inv.sh: the inventory is a program, and it is not run"].assert_eq(&lab.problem(&["inv.sh"]));
    assert!(!lab.root.join("ran").exists());
    // What may not be run is lines of hosts, the first of them a comment.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    expect![[r#"
        inv.sh:2:7: `ran` is no variable
          |
        2 | touch ran
          |       ^
          = help: write name=value, with quotes around a value that has spaces
    "#]]
    .assert_eq(&lab.problem(&["inv.sh"]));
}

#[test]
fn bad_files_of_variables_are_named() {
    let problem = |content: &str| {
        let lab = Lab::new();
        lab.write("hosts", "[web]\na\n").write("group_vars/web.yml", content).problem(&["hosts"])
    };
    expect![[r#"
        group_vars/web.yml:1:1: a file of variables must be a mapping, not a list
          |
        1 | - a
          | ^
          = help: write each variable as `name: value`
    "#]]
    .assert_eq(&problem("- a\n"));
    expect![[r#"
        group_vars/web.yml:3:1: a file of variables is one document, and this is a second
          |
        3 | b: 2
          | ^
          = help: take the `---` between them out
    "#]]
    .assert_eq(&problem("a: 1\n---\nb: 2\n"));
    expect![[r#"
        group_vars/web.yml:2:1: while parsing a node, did not find expected node content
          |
        2 | 
          | ^
    "#]]
    .assert_eq(&problem("a: {\n"));
}

#[test]
fn what_is_odd_is_a_warning() {
    let lab = Lab::new();
    lab.write("hosts", "[web]\nx a=1\nx b=2\nlocalhost\n127.0.0.1\n[my-group]\nweb\n");
    lab.write("hosts.yml", "all:\n  children: {web: {hosts: {a: }, other: {}, more: 1}}\nbad: 5\n");
    expect![[r#"
        hosts:3: host `x` is in group `web` already; the variables are joined
        hosts:5: `127.0.0.1` and `localhost` both stand for this machine
        hosts:6: group name `my-group` is no name of a variable: `groups.my-group` won't find it
        hosts.yml:2: key `other` of group `web` is skipped; known are vars, children and hosts
        hosts.yml:2: key `more` of group `web` is skipped; known are vars, children and hosts
        hosts.yml:3: `bad` is no group, as it is an integer; it is skipped
        `web` is a group and a host; variables of the host go to the group"#]]
    .assert_eq(&lab.warnings(&["hosts", "hosts.yml"]).join("\n"));
}

#[test]
fn tabs_byte_order_marks_and_carriage_returns_change_nothing() {
    let lab = Lab::new();
    lab.write("plain/hosts", "[web]\na x=1\n[web:vars]\ny=2\n");
    lab.write("odd/hosts", b"\xef\xbb\xbf[web]\r\n\ta\tx=1\t\r\n[web:vars]\r\ny\t=\t2\r\n");
    lab.write("old/hosts", "[web]\ra x=1\r[web:vars]\ry=2\r");
    let list = |name: &str| lab.list(&[name], None, None).unwrap();
    assert_eq!(list("odd/hosts"), list("plain/hosts"));
    assert_eq!(list("old/hosts"), list("plain/hosts"));
}

#[test]
fn an_encrypted_file_of_variables_is_left_closed_and_told_of() {
    let lab = Lab::new();
    lab.write("hosts", "[web]\na\n").write("group_vars/web/vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n");
    lab.write("group_vars/web/plain.yml", "x: 1\nsecret: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n");
    let known = super::lab::block_on(async {
        let query = larder_ansible::inventory::VariablesOf {
            sources: super::lab::sources(&["hosts"]),
            playbook_directory: None,
            host: "a".into(),
        };
        lab.session().get(query).await
    });
    let known = known.unwrap();
    assert_eq!(known.encrypted, ["group_vars/web/vault.yml".into()]);
    assert_eq!(known.variables.len(), 2);
}

#[test]
fn a_program_that_fails_or_says_something_else_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let problem = |script: &str| {
        let lab = Lab::new();
        lab.write("inv", format!("#!/bin/sh\n{script}\n"));
        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(lab.root.join("inv"), permissions).unwrap();
        let failed = lab.list_running(&["inv"]).unwrap_err();
        let larder_ansible::inventory::InventoryError::Wrong(problem) = failed else { panic!("{failed:?}") };
        problem.to_string()
    };
    expect!["inv: the program failed: exit status: 3"].assert_eq(&problem("exit 3"));
    expect!["inv: the output of the program is no object of JSON"].assert_eq(&problem("echo web1"));
    expect!["inv: the output of the program has no list as `hosts` of `web`"]
        .assert_eq(&problem("echo '{\"web\": {\"hosts\": \"w1\"}}'"));
    expect!["inv: what it prints of host `w1` is no JSON: expected ident at line 1 column 2"]
        .assert_eq(&problem("[ $1 = --list ] && echo '{\"web\": [\"w1\"]}' || echo no"));
    expect!["inv: the output of the program has no object as `_meta.hostvars`"]
        .assert_eq(&problem("echo '{\"web\": [\"w1\"], \"_meta\": {}}'"));
}
