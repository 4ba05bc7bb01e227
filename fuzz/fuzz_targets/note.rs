//! Notes beside entries and blobs in etcd and Redis.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| larder_shared::fuzzing::note(text));
