//! Random trees and edits: the incremental answer is the fresh one, and no file is read without need.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Edit {
    Write(String, u8),
    /// Same length, same modification time.
    Forge(String, u8),
    Remove(String),
    Rename(String, String),
    Mode(String, u32),
    Touch(String),
    Link(String, String),
}

fn arb_path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c.rs", "d.rs", ".e"]);
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn arb_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (arb_path(), 0..3u8).prop_map(|(path, content)| Edit::Write(path, content)),
        2 => (arb_path(), 0..3u8).prop_map(|(path, content)| Edit::Forge(path, content)),
        1 => arb_path().prop_map(Edit::Remove),
        1 => (arb_path(), arb_path()).prop_map(|(from, to)| Edit::Rename(from, to)),
        1 => (arb_path(), prop::sample::select(vec![0o644, 0o755, 0o600])).prop_map(|(path, mode)| Edit::Mode(path, mode)),
        1 => arb_path().prop_map(Edit::Touch),
        1 => (arb_path(), arb_path()).prop_map(|(path, target)| Edit::Link(path, target)),
    ]
}

/// Does the edit if the tree, as it is by now, allows it.
fn apply(root: &Path, edit: &Edit) -> std::io::Result<()> {
    let path = |path: &String| root.join(path);
    let parents = |path: &Path| fs::create_dir_all(path.parent().expect("below the root"));
    match edit {
        Edit::Write(file, content) => {
            parents(&path(file))?;
            fs::write(path(file), [*content; 4])
        }
        Edit::Forge(file, content) => {
            let modified = fs::metadata(path(file))?.modified()?;
            fs::write(path(file), [*content; 4])?;
            fs::File::open(path(file))?.set_modified(modified)
        }
        Edit::Remove(file) if path(file).is_dir() && !path(file).is_symlink() => {
            fs::remove_dir_all(path(file))
        }
        Edit::Remove(file) => fs::remove_file(path(file)),
        Edit::Rename(from, to) => fs::rename(path(from), path(to)),
        Edit::Mode(file, mode) if path(file).is_file() => {
            fs::set_permissions(path(file), fs::Permissions::from_mode(*mode))
        }
        Edit::Mode(..) => Ok(()),
        Edit::Touch(file) => fs::File::open(path(file))?.set_modified(SystemTime::UNIX_EPOCH),
        Edit::Link(file, target) => {
            parents(&path(file))?;
            // Up from the link to the root, so that the target is the same wherever the link stands.
            let up = "../".repeat(file.matches('/').count());
            symlink(format!("{up}{target}"), path(file))
        }
    }
}

/// Device, inode and times of each file in the snapshot, by path: what tells a naive reader what to read.
fn stats(snapshot: &Snapshot) -> BTreeMap<(PathBuf, bool), String> {
    let files = snapshot.entries().filter_map(|entry| match entry.kind {
        EntryKind::File(_) => Some(((entry.path.to_owned(), false), format!("{:?}", entry.stat))),
        EntryKind::LinkedFile(_) => Some(((entry.path.to_owned(), true), format!("{:?}", entry.stat))),
        EntryKind::Link { .. } | EntryKind::Directory => None,
    });
    files.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_edits_are_seen_as_a_fresh_look_sees_them(
        rounds in prop::collection::vec(prop::collection::vec(arb_edit(), 1..12), 1..6),
        patterns in prop::sample::select(vec![
            vec!["**"], vec!["a", "b/**"], vec!["**/*.rs", "!a/b"], vec!["a/b/c.rs", "*"], vec!["{a,b}/*", "c.rs"],
        ]),
        outputs in prop::bool::ANY,
    ) {
        let mut lab = if outputs { Lab::outputs(&patterns) } else { Lab::inputs(&patterns) };
        for edits in &rounds {
            for edit in edits {
                // An edit that the tree does not allow, as of a file in what is a file, is none.
                let _ = apply(lab.directory.path(), edit);
            }
            let before = lab.previous.as_ref().map(|previous| stats(previous)).unwrap_or_default();
            // Compares the fingerprint and each entry with those of a scan without a snapshot.
            let scan = lab.scan();
            let after = stats(&scan.snapshot);
            let needed: BTreeSet<_> = after.iter().filter(|(path, stat)| before.get(path) != Some(stat)).collect();
            prop_assert_eq!(scan.counts.read, needed.len());
            let again = lab.scan();
            prop_assert!(!again.is_new() && again.counts.read == 0);
        }
    }
}
