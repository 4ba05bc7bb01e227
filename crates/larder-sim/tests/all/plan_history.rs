//! Histories of playbooks, in repositories that are made here.

use larder_sim::history::plans::replay;

use crate::repository::Repository;

#[test]
fn a_commit_compiles_only_the_plays_that_it_touches() {
    let repository = Repository::new();
    let play = |name: &str| format!("- hosts: all\n  tasks:\n    - name: {name}\n      ping:\n");
    let two = |second: &str| format!("- hosts: all\n  roles: [app]\n{}", play(second));
    repository.commit(&[("site.yml", &two("a")), ("roles/app/tasks/main.yml", "- command: one\n")]);
    repository.commit(&[("site.yml", &two("b"))]);
    repository.commit(&[("roles/app/tasks/main.yml", "- command: two\n")]);
    repository.commit(&[("site.yml", &two("a")), ("other.yml", &play("c"))]);
    repository.commit(&[("README.md", "words"), ("broken.yml", "- hosts: all\n  tusks: []\n")]);
    let all = replay(repository.path(), 300).unwrap();
    assert_eq!((all.commits, all.playbooks, all.refused), (5, 8, 1));
    assert_eq!(
        (all.plays, all.compiled),
        (12, 5),
        "both, the second, the first, none that was there before and c, none"
    );
    let last = replay(repository.path(), 1).unwrap();
    assert_eq!((last.commits, last.plays, last.compiled), (1, 3, 3), "the last commit alone");
}
