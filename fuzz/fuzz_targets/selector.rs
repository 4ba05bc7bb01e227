//! Selectors and keys, as invalidation logs have them: what is read is written and read again as the same.
#![no_main]

use larder::key::{Key, Selector};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(selector) = text.parse::<Selector>() {
        assert_eq!(selector.to_string().parse::<Selector>().expect("what was written is read"), selector);
    }
    if let Ok(key) = Key::parse(text) {
        assert_eq!(Key::parse(&key.to_string()).expect("what was written is read"), key);
    }
});
