//! The YAML front end, through the inventories that are written in it.
#![no_main]

use larder_ansible::inventory::{Part, assemble};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let part = Part::File { name: "hosts.yml".to_owned(), content: text.into() };
    if let Err(problem) = assemble(&[part]) {
        assert!(!problem.render().is_empty());
    }
});
