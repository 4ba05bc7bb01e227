//! Contents packed with zstd, cut into pieces as long as the first byte says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((&piece, packed)) = bytes.split_first() {
        larder_server::fuzzing::packed(piece.into(), packed);
    }
});
