//! Host patterns and limits, a line each, on an inventory of every kind of name.
#![no_main]

use std::sync::LazyLock;

use larder_ansible::inventory::{Inventory, Part, assemble, choose, split};
use libfuzzer_sys::fuzz_target;

static INVENTORY: LazyLock<Inventory> = LazyLock::new(|| {
    let text = "alone\n[web]\nweb[01:12].example.com\n10.0.0.[1:3]\nfe80::1\n[db]\ndb[a:c]\nü\nwwwwwwwwwwwwwwwwwwwwwwww\n\
                [prod:children]\nweb\ndb\n";
    let part = Part::File { name: "hosts.ini".to_owned(), content: text.as_bytes().into() };
    assemble(&[part]).expect("the inventory is good")
});

fuzz_target!(|text: &str| {
    let (pattern, limit) = text.split_once('\n').unwrap_or((text, ""));
    let (pattern, limit) = (split(pattern), split(limit));
    if let Ok(all) = choose(&INVENTORY, &pattern, None) {
        if let Ok(limited) = choose(&INVENTORY, &pattern, Some(&limit)) {
            // A limit takes away, and leaves the rest in its order.
            let mut rest = all.hosts.iter();
            assert!(limited.hosts.iter().all(|host| rest.any(|known| known == host)));
        }
    }
});
