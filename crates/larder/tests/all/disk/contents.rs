//! Contents that come and go a piece at a time.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use larder::key::Digest;
use larder::tier::TierError;

use super::{Lab, files_under, noise};

#[test]
fn a_content_is_taken_without_its_digest_and_given_from_anywhere_on() {
    let lab = Lab::new();
    let disk = lab.open();
    let text = b"words, words, words; ".repeat(50_000);
    for (content, announced) in [
        (Vec::new(), true),
        (b"short".to_vec(), true),
        (noise(700_000, 1), true),
        (text.clone(), true),
        (text.clone(), false),
    ] {
        let bytes = content.len() as u64;
        let mut blob = disk.new_blob(announced.then_some(bytes)).unwrap();
        content.chunks(100_000).for_each(|piece| blob.write(piece).unwrap());
        let stored = blob.finish().unwrap();
        assert_eq!((stored.digest, stored.bytes), (Digest::of(&content), bytes));
        for offset in [0, bytes / 3, bytes / 2, bytes] {
            let opened = disk.open_content(stored.digest).unwrap().unwrap();
            assert_eq!(opened.bytes(), bytes);
            let mut rest = Vec::new();
            opened.read_from(offset).unwrap().read_to_end(&mut rest).unwrap();
            assert_eq!(rest, content[offset as usize..], "from {offset} of {bytes}");
        }
    }
    let packed = disk.open_content(Digest::of(&text)).unwrap().unwrap().into_frame().unwrap();
    assert!(packed.metadata().unwrap().len() < text.len() as u64 / 8, "what shrinks is stored packed");
    let frame = zstd::decode_all(packed).unwrap();
    assert_eq!(frame, text);
}

#[test]
fn what_is_dropped_or_not_as_long_as_announced_leaves_nothing() {
    let lab = Lab::new();
    let disk = lab.open();
    let mut dropped = disk.new_blob(None).unwrap();
    dropped.write(&noise(300_000, 1)).unwrap();
    drop(dropped);
    for announced in [299_999, 300_001] {
        let mut blob = disk.new_blob(Some(announced)).unwrap();
        blob.write(&noise(300_000, 1)).unwrap();
        assert!(matches!(blob.finish(), Err(TierError::Io(_))), "{announced}");
    }
    for folder in ["v1/blobs", "v1/tmp"] {
        assert_eq!(files_under(&lab.cache().join(folder)), Vec::<PathBuf>::new(), "{folder}");
    }
}

#[test]
fn a_content_that_was_damaged_since_it_was_read_last_is_not_given_again() {
    let lab = Lab::new();
    let disk = lab.open();
    for content in [noise(300_000, 1), b"words, words, words; ".repeat(50_000)] {
        let digest = disk.put_blob_bytes(&content).unwrap().digest;
        assert!(disk.open_content(digest).unwrap().is_some());
        let [path] = files_under(&lab.cache().join("v1/blobs")).try_into().unwrap();
        let mut stored = fs::read(&path).unwrap();
        let middle = stored.len() / 2;
        stored[middle] ^= 1;
        fs::write(&path, stored).unwrap();
        assert!(disk.open_content(digest).unwrap().is_none());
        assert_eq!(files_under(&lab.cache().join("v1/blobs")), Vec::<PathBuf>::new(), "it is set aside");
        assert!(disk.open_content(digest).unwrap().is_none());
    }
}
