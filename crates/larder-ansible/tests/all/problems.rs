//! What is wrong with a playbook, said with its place and what to do.

use expect_test::expect_file;

use crate::lab::{listing, planner, playbooks};

#[test]
fn each_mistake_is_named_with_its_place() {
    let planner = planner();
    let mut names: Vec<String> = std::fs::read_dir(playbooks().join("refused"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yml"))
        .collect();
    names.sort_unstable();
    let mut all = String::new();
    for name in names {
        let problem = listing(&planner, &playbooks(), &[&format!("refused/{name}")]).unwrap_err();
        all.push_str(&problem.render());
        all.push('\n');
    }
    expect_file!["../playbooks/refused/messages.txt"].assert_eq(&all);
}
