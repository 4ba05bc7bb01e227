//! Envelopes: whatever the bytes are, what opens is what was sealed.
#![no_main]

use std::time::Duration;

use larder::clock::Timestamp;
use larder::entry::compress::Level;
use larder::entry::{Codec, Opened, Record, open, seal};
use larder::key::Key;
use libfuzzer_sys::fuzz_target;
use twox_hash::XxHash3_128;

/// More is not unpacked.
const MOST_BYTES: u64 = 1 << 20;

type Input<'a> = (u8, u8, u64, &'a [u8], &'a [u8]);

fuzz_target!(|input: Input<'_>| {
    let (codec, packing, raw_len, record, body) = input;
    let key = Key::parse("fuzz/envelope@1/x").expect("it is a key");
    assert!(open(&key, body).is_err(), "nobody finds a checksum by chance");
    let empty = Record::new(Timestamp::from_millis(0), Duration::ZERO);
    let sealed = seal(&key, &empty, Codec::Bytes, b"", Level::FAST).expect("nothing can be sealed");
    // As `docs/format.md` has it, with a checksum that fits.
    let mut bytes = sealed[..40].to_vec();
    (bytes[6], bytes[7]) = (codec, packing);
    bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(raw_len % MOST_BYTES).to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(record);
    bytes.extend_from_slice(body);
    let checksum = XxHash3_128::oneshot(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    if let Ok(Opened { record, codec, payload }) = open(&key, &bytes) {
        let sealed = seal(&key, &record, codec, &payload, Level::FAST).expect("what was opened can be sealed");
        assert_eq!(open(&key, &sealed).expect("what was sealed opens").payload, payload);
    }
});
