//! What a remote execution cache has under a name.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| larder_shared::fuzzing::statement(input.0, input.1));
