//! Notes beside what is kept under a name.

use std::fs;

use larder::tier::disk::{Disk, Noted};

use super::Lab;

fn sum(stored: Option<Vec<u8>>, notes: &[Vec<u8>]) -> u64 {
    let stored = stored.map_or(0, |stored| u64::from_le_bytes(stored.try_into().unwrap()));
    stored + notes.iter().map(|note| u64::from(note[0])).sum::<u64>()
}

fn fold(disk: &Disk) {
    disk.fold_notes("sums", "all", |stored, notes| Some(sum(stored, &notes).to_le_bytes().to_vec())).unwrap();
}

fn total(disk: &Disk) -> u64 {
    let Noted { kept, notes } = disk.meta_with_notes("sums", "all").unwrap();
    sum(kept, &notes)
}

#[test]
fn each_note_counts_once_while_others_add_and_fold() {
    let lab = Lab::in_memory();
    let disks = [lab.open(), lab.open(), lab.open()];
    std::thread::scope(|scope| {
        for disk in &disks {
            scope.spawn(|| {
                for note in 1..=100 {
                    disk.add_note("sums", "all", &[note]).unwrap();
                    if note % 7 == 0 {
                        fold(disk);
                    }
                }
            });
        }
    });
    assert_eq!(total(&lab.open()), 3 * 5050);
    fold(&disks[0]);
    let Noted { kept, notes } = disks[1].meta_with_notes("sums", "all").unwrap();
    assert_eq!((sum(kept, &[]), notes.len()), (3 * 5050, 0));
}

#[test]
fn notes_whose_folding_was_cut_short_before_they_were_removed_are_not_folded_again() {
    let lab = Lab::new();
    let (disk, file) = (lab.open(), lab.cache().join("v1/notes.sums.all"));
    disk.add_note("sums", "all", &[3]).unwrap();
    let before = fs::read(&file).unwrap();
    fold(&disk);
    fs::write(&file, &before).unwrap();
    assert_eq!(total(&disk), 3);
    disk.add_note("sums", "all", &[4]).unwrap();
    assert_eq!(total(&disk), 7);
    fold(&disk);
    disk.add_note("sums", "all", &[5]).unwrap();
    assert_eq!(total(&disk), 12);
}

#[test]
fn a_note_that_is_cut_off_or_damaged_does_not_count_and_those_before_it_do() {
    let lab = Lab::new();
    let (disk, file) = (lab.open(), lab.cache().join("v1/notes.sums.all"));
    for note in [1, 2, 4] {
        disk.add_note("sums", "all", &[note]).unwrap();
    }
    let whole = fs::read(&file).unwrap();
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        assert!([0, 1, 3].contains(&total(&disk)), "{length}");
    }
    for at in 16..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&file, &damaged).unwrap();
        assert!([0, 1, 3].contains(&total(&disk)), "{at}");
    }
    fs::write(&file, &whole).unwrap();
    fold(&disk);
    assert_eq!(total(&disk), 7);
}
