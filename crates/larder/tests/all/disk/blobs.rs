//! Blobs: stored, restored, damaged.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use larder::key::Digest;
use larder::tier::disk::{BlobError, Restored};
use larder::tier::{BlobForm, Tier as _};

use super::{Lab, files_under, noise};

#[test]
fn a_blob_comes_back_as_bytes_and_as_a_file_with_its_mode() {
    let lab = Lab::new();
    let disk = lab.open();
    let text = b"words, words, words; ".repeat(100);
    for (name, content) in [
        ("empty", Vec::new()),
        ("short", b"short".to_vec()),
        ("text", text.clone()),
        ("noise", noise(300_000, 1)),
        ("large text", text.repeat(1_000)),
        ("large noise", noise(3_000_000, 2)),
    ] {
        let source = lab.path("source");
        fs::write(&source, &content).unwrap();
        let stored = disk.put_blob_file(&source).unwrap();
        assert_eq!((stored.digest, stored.bytes), (Digest::of(&content), content.len() as u64), "{name}");
        assert_eq!(disk.read_blob(stored.digest).unwrap().unwrap(), content, "{name}");
        for mode in [0o644, 0o755, 0o400] {
            let to = lab.path("restored");
            let how = disk.restore_blob(stored.digest, &to, mode).unwrap().unwrap();
            assert_eq!(how == Restored::Unpacked, name.ends_with("text"), "{name} {how:?}");
            assert_eq!(fs::read(&to).unwrap(), content, "{name}");
            assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, mode, "{name}");
        }
    }
    assert_eq!(fs::read_dir(lab.cache().join("v1/tmp")).unwrap().count(), 0);
}

#[test]
fn source_code_takes_at_least_fifteen_hundredths_less_on_disk_than_it_is_long() {
    let lab = Lab::new();
    let disk = lab.open();
    let (mut long, mut written) = (0, 0);
    for file in files_under(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let blob = disk.put_blob_file(&file).unwrap();
        long += blob.bytes;
        written += blob.written;
    }
    assert!(long > 100_000, "{long} bytes are too few to tell");
    assert!(written * 100 <= long * 85, "{written} of {long}");
    let stored = files_under(&lab.cache().join("v1/blobs")).into_iter();
    assert_eq!(stored.map(|file| file.metadata().unwrap().len()).sum::<u64>(), written);
}

#[test]
fn a_content_that_is_there_already_is_not_written_again() {
    let lab = Lab::new();
    let disk = lab.open();
    for content in [noise(100_000, 1), noise(2_000_000, 2), vec![1; 2_000_000]] {
        fs::write(lab.path("source"), &content).unwrap();
        let first = disk.put_blob_file(lab.path("source")).unwrap();
        assert!(first.written > 0);
        let second = disk.put_blob_file(lab.path("source")).unwrap();
        assert_eq!((second.digest, second.written), (first.digest, 0));
        assert_eq!(disk.put_blob_bytes(&content).unwrap(), second);
    }
}

#[test]
fn a_blob_file_that_shrinks_is_smaller_than_its_content() {
    let lab = Lab::new();
    let disk = lab.open();
    let text = b"fn main() { println!(\"hello\"); }\n".repeat(100_000);
    let stored = disk.put_blob_bytes(&text).unwrap();
    assert!(stored.written < stored.bytes / 10);
    let file = files_under(&lab.cache().join("v1/blobs")).pop().unwrap();
    assert_eq!(file.extension().unwrap(), "zst");
    assert_eq!(fs::metadata(file).unwrap().len(), stored.written);
}

#[test]
fn a_damaged_blob_is_set_aside_and_put_right_by_the_next_put() {
    let lab = Lab::new();
    let contents =
        [noise(5_000, 1), b"text ".repeat(1_000), noise(2_000_000, 2), b"longer text ".repeat(300_000)];
    for (n, content) in contents.iter().enumerate() {
        let disk = lab.open();
        let digest = disk.put_blob_bytes(content).unwrap().digest;
        let file = files_under(&lab.cache().join("v1/blobs")).pop().unwrap();
        let good = fs::read(&file).unwrap();
        let to = lab.path("restored");
        let mut damaged = vec![Vec::new(), good[..good.len() - 1].to_vec(), good[..good.len() / 2].to_vec()];
        for at in [0, 4, 9, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x41;
            damaged.push(bad);
        }
        for (m, bad) in damaged.into_iter().enumerate() {
            fs::write(&file, &bad).unwrap();
            if m % 2 == 0 {
                assert_eq!(disk.restore_blob(digest, &to, 0o644).unwrap(), None, "{n} {m}");
            } else {
                assert_eq!(disk.read_blob(digest).unwrap(), None, "{n} {m}");
            }
            assert!(!to.exists());
            assert!(!disk.has_blob(digest).unwrap());
            assert_eq!(disk.quarantined(), m as u64 + 1, "{n} {m}");
            assert!(disk.put_blob_bytes(content).unwrap().written > 0);
            assert_eq!(disk.read_blob(digest).unwrap().as_ref(), Some(content));
        }
        fs::remove_dir_all(lab.cache()).unwrap();
    }
}

#[test]
fn a_destination_that_cannot_be_written_is_left_as_it_was() {
    let lab = Lab::new();
    let disk = lab.open();
    let digest = disk.put_blob_bytes(b"content").unwrap().digest;
    let nowhere = disk.restore_blob(digest, lab.path("no/such/folder"), 0o644);
    assert!(matches!(nowhere, Err(BlobError::Destination(_))), "{nowhere:?}");
    fs::create_dir_all(lab.path("folder/inner")).unwrap();
    let folder = disk.restore_blob(digest, lab.path("folder"), 0o644);
    assert!(matches!(folder, Err(BlobError::Destination(_))), "{folder:?}");
    assert_eq!(files_under(&lab.path("folder")), Vec::<PathBuf>::new());
    let leftovers: Vec<_> =
        fs::read_dir(lab.folder.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(leftovers.len(), 2, "{leftovers:?}");
}

#[test]
fn a_source_that_cannot_be_read_says_so() {
    let lab = Lab::new();
    let disk = lab.open();
    for path in [lab.path("missing"), lab.folder.path().to_owned()] {
        let outcome = disk.put_blob_file(&path);
        assert!(matches!(outcome, Err(BlobError::Source(_))), "{outcome:?}");
    }
}

#[test]
fn what_stands_at_the_destination_is_replaced_and_not_written_through() {
    let lab = Lab::new();
    let disk = lab.open();
    let digest = disk.put_blob_bytes(b"content").unwrap().digest;
    let (file, link, other) = (lab.path("file"), lab.path("link"), lab.path("other"));
    fs::write(&other, b"other").unwrap();
    fs::hard_link(&other, &file).unwrap();
    std::os::unix::fs::symlink(&other, &link).unwrap();
    for to in [&file, &link] {
        disk.restore_blob(digest, to, 0o644).unwrap().unwrap();
        assert!(fs::symlink_metadata(to).unwrap().is_file());
        assert_eq!(fs::read(to).unwrap(), b"content");
    }
    assert_eq!(fs::read(&other).unwrap(), b"other");
    assert_eq!(fs::read_dir(lab.folder.path()).unwrap().count(), 4);
    fs::write(&file, b"edited").unwrap();
    assert_eq!(disk.read_blob(digest).unwrap().unwrap(), b"content");
}

#[test]
fn a_source_that_is_written_to_while_it_is_read_is_not_stored() {
    let lab = Lab::new();
    let disk = lab.open();
    let source = lab.path("source");
    fs::write(&source, noise(3_000_000, 1)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::options().append(true).open(&source).unwrap();
            while !done.load(Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
            }
        });
        let mut outcomes = (0..1_000).map(|_| disk.put_blob_file(&source));
        let noticed = outcomes.any(|outcome| match outcome {
            Ok(stored) => {
                let content = fs::read(&source).unwrap();
                assert_eq!(Digest::of(&content[..stored.bytes as usize]), stored.digest);
                false
            }
            Err(BlobError::Changed) => true,
            Err(error) => panic!("{error:?}"),
        });
        done.store(true, Ordering::Relaxed);
        assert!(noticed);
    });
    assert_eq!(fs::read_dir(lab.cache().join("v1/tmp")).unwrap().count(), 0);
}

#[test]
fn a_file_is_made_from_a_blob_whatever_its_size_and_whatever_is_there() {
    let lab = Lab::new();
    let disk = lab.open();
    let contents =
        [b"".to_vec(), vec![b'a'; 20_000], noise(20_000, 1), vec![b'b'; 3 << 20], noise(3 << 20, 2)];
    for (n, content) in contents.iter().enumerate() {
        let digest = disk.put_blob_bytes(content).unwrap().digest;
        for mode in [0o644, 0o666, 0o755, 0o400] {
            let to = lab.path(&format!("{n}-{mode:o}"));
            for _ in 0..2 {
                assert!(disk.make_from_blob(digest, &to, mode).unwrap().is_some());
                assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, mode);
                assert!(fs::read(&to).unwrap() == *content, "{n}");
                // The second time something else is in its place.
                fs::remove_file(&to).unwrap();
                fs::write(&to, "other").unwrap();
            }
        }
    }
}

#[test]
fn no_file_is_made_from_a_blob_that_is_gone_or_damaged() {
    let lab = Lab::new();
    let disk = lab.open();
    let to = lab.path("to");
    assert!(disk.make_from_blob(Digest::of(b"never put"), &to, 0o644).unwrap().is_none());
    for (content, suffix) in [(vec![b'a'; 20_000], ".zst"), (noise(20_000, 1), "")] {
        let digest = disk.put_blob_bytes(&content).unwrap().digest;
        let file = lab.blob(&digest, suffix);
        lab.flip(&file, fs::metadata(&file).unwrap().len() as usize / 2);
        assert!(disk.make_from_blob(digest, &to, 0o644).unwrap().is_none());
        assert!(!to.exists() && !file.exists(), "set aside");
    }
    assert_eq!(disk.quarantined(), 2);
}

#[test]
fn a_blob_from_elsewhere_is_taken_only_if_it_is_what_its_digest_says() {
    let lab = Lab::new();
    let disk = lab.open();
    let content = b"words, words, words; ".repeat(20_000);
    let digest = Digest::of(&content);
    let frame = zstd::bulk::compress(&content, 1).unwrap();
    let other = zstd::bulk::compress(&content[1..], 1).unwrap();
    let unstated = zstd::stream::encode_all(&content[..], 1).unwrap();
    let mut flipped = frame.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let followed = [&frame[..], b"more"].concat();
    let twice = [&frame[..], &frame[..]].concat();
    let take = |packed: bool, stored: &[u8]| {
        super::run(async {
            let form = BlobForm { packed, bytes: stored.len() as u64 };
            let mut sink = disk.make_blob(digest, form).await.unwrap().unwrap();
            for piece in stored.chunks(1000) {
                sink.write(piece.to_vec()).await.unwrap();
            }
            sink.finish().await.unwrap()
        })
    };
    let bad: [(&str, bool, &[u8]); 8] = [
        ("other content", false, &content[1..]),
        ("nothing", false, b""),
        ("content that is said to be packed", true, &content),
        ("another frame", true, &other),
        ("a frame that is damaged", true, &flipped),
        ("a frame that is cut", true, &frame[..frame.len() - 1]),
        ("a frame with something after it", true, &followed),
        ("two frames", true, &twice),
    ];
    for (what, packed, stored) in bad {
        assert!(!take(packed, stored), "{what}");
        assert!(!disk.has_blob(digest).unwrap(), "{what}");
    }
    // One that does not say how much it holds could hold anything.
    assert!(!take(true, &unstated));
    assert!(take(true, &frame));
    assert_eq!(disk.read_blob(digest).unwrap(), Some(content));
    assert_eq!(fs::read_dir(lab.cache().join("v1/tmp")).unwrap().count(), 0, "nothing is left behind");
}
