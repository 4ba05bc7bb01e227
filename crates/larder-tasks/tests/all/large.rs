//! Much of something: many inputs, a large output.

use std::fs;

use crate::lab::Lab;

/// More names than this a file may not have, whatever the file system.
const NAMES: usize = 50_000;

#[test]
fn a_hundred_thousand_inputs_are_looked_at_and_an_edit_of_one_is_noticed() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = 'ls in/0 in/1 | wc -l > out'\ninputs = ['in/**']\noutputs = ['out']\n",
    )]);
    for directory in ["in/0", "in/1"] {
        let first = format!("{directory}/{}", NAMES - 1);
        lab.write(&first, "same");
        for nth in 0..NAMES - 1 {
            fs::hard_link(lab.path(&first), lab.path(&format!("{directory}/{nth}"))).unwrap();
        }
    }
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
    assert_eq!(lab.run(&["a"]).lines, "lab#a: hit, 1 right, 0 written, 0 removed\n");
    fs::remove_file(lab.path("in/1/7")).unwrap();
    lab.write("in/1/7", "other");
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
}

#[test]
fn an_output_of_two_gigabytes_is_kept_and_given_back() {
    let lab = Lab::of(&[(
        "larder.toml",
        "[tasks.a]\ncommand = 'truncate -s 2G out; printf end >> out'\ninputs = []\noutputs = ['out']\n",
    )]);
    assert_eq!(lab.run(&["a"]).lines, "lab#a: ran, kept\n");
    let made = larder::source::digest_file(&lab.path("out")).unwrap();
    fs::remove_file(lab.path("out")).unwrap();
    assert_eq!(lab.run(&["a"]).lines, "lab#a: hit, 0 right, 1 written, 0 removed\n");
    let given = larder::source::digest_file(&lab.path("out")).unwrap();
    assert_eq!((given.digest, given.size), (made.digest, (2 << 30) + 3));
}
