//! Objects in a bucket: the invalidation log, and entries.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    larder_shared::fuzzing::bucket_log(bytes);
    larder_shared::fuzzing::bucket_entry(bytes);
});
