//! What says who a request is from, and in which scope: the authorization, and behind a line's end the path.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let path = String::from_utf8_lossy(bytes.get(end + 1..).unwrap_or_default());
    larder_server::fuzzing::head(&bytes[..end], &path);
});
