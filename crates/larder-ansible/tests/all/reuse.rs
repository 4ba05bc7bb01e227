//! What an edit makes the planner read again, and what it leaves alone.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::lab::{listing, planner};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_listing_follows_every_edit() {
    let root = TempDir::new().unwrap();
    let planner = planner();
    let tasks = |arguments: &[&str]| {
        let arguments = [&["site.yml", "--list-tasks"], arguments].concat();
        listing(&planner, root.path(), &arguments).unwrap_or_else(|problem| problem.render())
    };
    write(root.path(), "site.yml", "- hosts: all\n  roles: [r]\n  tasks:\n    - import_tasks: t.yml\n");
    write(root.path(), "t.yml", "- name: one\n  ping:\n");
    write(root.path(), "roles/r/tasks/main.yml", "- name: r\n  ping:\n");
    assert!(tasks(&[]).contains("      r : r\t"));

    write(root.path(), "t.yml", "- name: two\n  ping:\n");
    assert!(tasks(&[]).contains("      two\t"));

    write(root.path(), "roles/r/meta/main.yml", "dependencies: [d]\n");
    assert!(tasks(&[]).contains("the role 'd' was not found"));

    write(root.path(), "roles/d/tasks/main.yml", "- name: d\n  ping:\n");
    assert!(tasks(&[]).contains("      d : d\tTAGS: []\n      r : r\t"));

    // A file that is looked for earlier than one that was found before.
    write(root.path(), "roles/r/tasks/main.yaml", "- name: later\n  ping:\n");
    assert!(tasks(&[]).contains("      r : r\t"));
    fs::remove_file(root.path().join("roles/r/tasks/main.yml")).unwrap();
    assert!(tasks(&[]).contains("      r : later\t"));
}
