//! Names of resources in ByteStream.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &str| larder_server::fuzzing::names(name));
