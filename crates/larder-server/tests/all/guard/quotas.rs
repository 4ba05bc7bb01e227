//! How much one scope may keep, and for how long.

use larder::key::Digest;

use super::{Lab, hash_of};

const ACCESS: &str = r#"
anybody = "write"

[scopes.small]
quota = "100 KiB"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_over_its_quota_loses_its_own_and_no_other_s() {
    let lab = Lab::guarded(ACCESS).await;
    // Some that stand in the index, and some that are files.
    let content = |n: usize, scope: &str| {
        let part = |at: usize| *Digest::of(format!("{n} {scope} {at}").as_bytes()).as_bytes();
        (0..400 + n % 2 * 400).flat_map(part).collect::<Vec<u8>>()
    };
    for n in 0..10 {
        for scope in ["small", "large"] {
            let content = content(n, scope);
            let path = format!("/scope/{scope}/cas/{}", hash_of(&content));
            assert_eq!(lab.put(&path, None, &content).await, 200);
        }
    }
    let opened = lab.store.opened().clone();
    // What the server does each minute.
    tokio::task::spawn_blocking(move || opened.collect_if_due(true)).await.unwrap().unwrap();
    let disk = lab.store.opened().disk.clone().unwrap();
    let listed = |scope: &str| {
        let selector = larder::key::Selector::all().in_scope(&larder::key::Scope::new(scope).unwrap());
        let listed = disk.list(&selector, larder::tier::disk::Order::Key, usize::MAX).unwrap();
        (listed.len(), listed.iter().map(|one| one.bytes + one.blob_bytes).sum::<u64>())
    };
    let ((small, bytes), (large, _)) = (listed("small"), listed("large"));
    assert!(small > 0 && bytes <= 100 << 10, "{small} of {bytes} bytes");
    assert_eq!(large, 10);
    // Nor is any of it given that left.
    let mut given = 0;
    for n in 0..10 {
        let path = format!("/scope/small/cas/{}", hash_of(&content(n, "small")));
        given += usize::from(lab.get(&path, None).await.status == 200);
    }
    assert_eq!(given, small);
}
