//! Access files: any text gives rules or tells where it is wrong.
#![no_main]

use std::path::Path;

use larder_server::guard::access::{Outside, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let outside = Outside { variable: &|name| Some(name.repeat(4)), file: &|_| Ok(b"a-secret-in-a-file".to_vec()) };
    if let Err(error) = read(Path::new("access.toml"), text, outside) {
        assert!(!error.problems.is_empty());
        let lines = text.matches('\n').count() + 1;
        assert!(error.problems.iter().all(|problem| (1..=lines).contains(&problem.line)));
    }
});
