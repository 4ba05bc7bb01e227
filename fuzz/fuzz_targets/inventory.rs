//! Inventories in the INI form, lists of hosts, and what programs print. The first byte says which.
#![no_main]

use larder_ansible::inventory::{Part, assemble};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, text)) = data.split_first() else { return };
    let part = match kind % 4 {
        0 => Part::Hosts(String::from_utf8_lossy(text).into_owned()),
        1 => Part::Output { name: "program".to_owned(), content: text.into() },
        _ => Part::File { name: "hosts.ini".to_owned(), content: text.into() },
    };
    match assemble(&[part]) {
        Ok(inventory) => {
            // What Ansible puts together is whole: each host is found by its name, and below `all` where it is listed.
            for host in inventory.hosts() {
                assert_eq!(inventory.host(&host.name), Some(host));
                inventory.groups_of(host);
            }
            assert!(inventory.all_hosts().count() <= inventory.hosts().len());
        }
        Err(problem) => assert!(!problem.render().is_empty()),
    }
});
