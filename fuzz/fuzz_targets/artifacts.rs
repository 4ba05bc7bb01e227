//! Turborepo's questions for artifacts, and paths over WebDAV.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    larder_server::fuzzing::artifacts(bytes);
    larder_server::fuzzing::properties(&String::from_utf8_lossy(bytes));
});
