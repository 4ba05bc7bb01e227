//! Histories of playbooks, in repositories that are made here.

use std::path::Path;
use std::process::Command;

use larder_sim::history::replay;

fn git(directory: &Path, arguments: &[&str]) {
    let as_somebody = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"];
    let done = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(as_somebody)
        .args(arguments)
        .output()
        .expect("git starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn commit(directory: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().expect("it is in the directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    git(directory, &["add", "--all"]);
    git(directory, &["commit", "--quiet", "--message", "next"]);
}

#[test]
fn a_commit_compiles_only_the_plays_that_it_touches() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    git(root, &["init", "--quiet"]);
    let play = |name: &str| format!("- hosts: all\n  tasks:\n    - name: {name}\n      ping:\n");
    let two = |second: &str| format!("- hosts: all\n  roles: [app]\n{}", play(second));
    commit(root, &[("site.yml", &two("a")), ("roles/app/tasks/main.yml", "- command: one\n")]);
    commit(root, &[("site.yml", &two("b"))]);
    commit(root, &[("roles/app/tasks/main.yml", "- command: two\n")]);
    commit(root, &[("site.yml", &two("a")), ("other.yml", &play("c"))]);
    commit(root, &[("README.md", "words"), ("broken.yml", "- hosts: all\n  tusks: []\n")]);
    let all = replay(root, 300).unwrap();
    assert_eq!((all.commits, all.playbooks, all.refused), (5, 8, 1));
    assert_eq!(
        (all.plays, all.compiled),
        (12, 5),
        "both, the second, the first, none that was there before and c, none"
    );
    let last = replay(root, 1).unwrap();
    assert_eq!((last.commits, last.plays, last.compiled), (1, 3, 3), "the last commit alone");
}
