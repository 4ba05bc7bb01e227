//! Moving entries between tiers as one file.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread;

use larder::key::{Digest, Selector};
use larder::tier::PutOutcome;
use larder::tier::disk::{Disk, TransferError, Transferred};

use super::{Lab, keep, key, naming, noise, put, value};

fn filled(lab: &Lab) -> Disk {
    let disk = lab.open();
    for n in 0..100 {
        keep(&disk, &format!("small/{n}"), &noise(300, n));
    }
    keep(&disk, "large", &noise(100_000, 1));
    let text = disk.put_blob_bytes(&b"some text ".repeat(100_000)).unwrap().digest;
    let own = disk.put_blob_bytes(&noise(20_000, 3)).unwrap().digest;
    assert_eq!(put(&disk, naming(&disk, "one", &[text])), PutOutcome::Kept);
    assert_eq!(put(&disk, naming(&disk, "two", &[text, own])), PutOutcome::Kept);
    disk
}

#[test]
fn what_one_tier_exports_another_imports() {
    let (here, there) = (Lab::new(), Lab::new());
    let file = here.path("moved");
    let exported = filled(&here).export(&Selector::all(), &file).unwrap();
    assert_eq!((exported.entries, exported.blobs, exported.left_out), (103, 2, 0));
    assert_eq!(exported.bytes, fs::metadata(&file).unwrap().len());
    let disk = there.open();
    keep(&disk, "large", b"its own");
    let imported = disk.import(&file).unwrap();
    assert_eq!(imported, Transferred { entries: 102, left_out: 1, ..exported });
    assert_eq!(value(&disk, "large").unwrap(), b"its own");
    assert_eq!(value(&disk, "small/99").unwrap(), noise(300, 99));
    assert_eq!(disk.read_blob(Digest::of(&noise(20_000, 3))).unwrap().unwrap(), noise(20_000, 3));
    assert_eq!(disk.verify().unwrap().found, 0);
    assert_eq!(disk.import(&file).unwrap().left_out, 103);
}

#[test]
fn what_is_exported_goes_into_a_pipe_and_behind_a_link_and_takes_the_place_of_neither() {
    let lab = Lab::new();
    let disk = filled(&lab);
    let (file, link, pipe) = (lab.path("moved"), lab.path("link"), lab.path("pipe"));
    fs::write(&file, "before").unwrap();
    symlink(&file, &link).unwrap();
    let exported = disk.export(&Selector::all(), &link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let whole = fs::read(&file).unwrap();
    assert_eq!(whole.len() as u64, exported.bytes);
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = {
        let pipe = pipe.clone();
        thread::spawn(move || fs::read(pipe).unwrap())
    };
    disk.export(&Selector::all(), &pipe).unwrap();
    assert!(reader.join().unwrap() == whole);
    assert!(matches!(disk.export(&Selector::all(), lab.path("")), Err(TransferError::File(_))));
}

#[test]
fn only_what_is_selected_is_exported_with_the_blobs_that_it_names() {
    let (here, there) = (Lab::new(), Lab::new());
    let file = here.path("moved");
    let exported = filled(&here).export(&Selector::key(&key("one")), &file).unwrap();
    assert_eq!((exported.entries, exported.blobs), (1, 1));
    let disk = there.open();
    disk.import(&file).unwrap();
    assert_eq!(disk.usage().unwrap().entries, 1);
    assert!(disk.has_blob(Digest::of(&b"some text ".repeat(100_000))).unwrap());
}

#[test]
fn an_entry_that_is_not_whole_is_left_out() {
    let lab = Lab::new();
    let disk = filled(&lab);
    let own = Digest::of(&noise(20_000, 3));
    lab.flip(&lab.blob(&own, ""), 100);
    let exported = disk.export(&Selector::all(), lab.path("moved")).unwrap();
    assert_eq!((exported.entries, exported.left_out), (102, 1));
    assert!(!disk.has_blob(own).unwrap());
}

#[test]
fn of_a_file_that_was_cut_or_changed_nothing_is_taken_in() {
    let (here, there) = (Lab::new(), Lab::new());
    let file = here.path("moved");
    filled(&here).export(&Selector::all(), &file).unwrap();
    let good = fs::read(&file).unwrap();
    let disk = there.open();
    let mut bad = vec![Vec::new(), b"LARDER-X".to_vec(), good[..good.len() / 2].to_vec()];
    bad.push(good[..good.len() - 1].to_vec());
    bad.push([&good[..], b"x"].concat());
    for at in (0..good.len()).step_by(997).chain([8, 9, good.len() - 1]) {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        bad.push(flipped);
    }
    for bytes in bad {
        fs::write(&file, &bytes).unwrap();
        let outcome = disk.import(&file);
        assert!(
            matches!(outcome, Err(TransferError::Damaged(_) | TransferError::Format { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(disk.usage().unwrap().entries, 0);
    let missing = disk.import(here.path("missing"));
    assert!(matches!(missing, Err(TransferError::File(_))), "{missing:?}");
    let newer = [&good[..8], &2_u32.to_le_bytes(), &good[12..]].concat();
    fs::write(&file, newer).unwrap();
    assert!(matches!(disk.import(&file), Err(TransferError::Format { found: 2 })));
}
