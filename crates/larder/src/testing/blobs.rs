//! The part of the conformance suite that is for tiers which take blobs.

use super::conformance::{key, sealed};
use crate::key::Digest;
use crate::tier::blob::PIECE_BYTES;
use crate::tier::{BlobForm, PutOutcome, Refusal, Sealed, Tier};

/// Runs the suite.
pub async fn check_blobs(tier: &dyn Tier) {
    a_blob_comes_back_byte_for_byte_in_the_form_in_which_it_came(tier).await;
    a_blob_that_never_came_is_missing(tier).await;
    a_blob_that_is_cut_or_given_up_is_not_there(tier).await;
    an_entry_is_kept_only_with_the_blobs_that_it_names(tier).await;
    a_blob_in_quarantine_is_missing_and_can_be_put_again(tier).await;
}

/// Noise that no other test of this process, or another, has.
fn noise(name: &str, bytes: usize) -> Vec<u8> {
    let mut noise = Vec::with_capacity(bytes + 32);
    let mut digest = Digest::of(key("blobs", &format!("k@1/{name}")).to_string().as_bytes());
    while noise.len() < bytes {
        noise.extend(digest.as_bytes());
        digest = Digest::of(digest.as_bytes());
    }
    noise.truncate(bytes);
    noise
}

async fn put(tier: &dyn Tier, digest: Digest, packed: bool, stored: &[u8]) -> bool {
    let form = BlobForm { packed, bytes: stored.len() as u64 };
    let mut sink = tier.make_blob(digest, form).await.expect("make_blob").expect("a tier that takes blobs");
    for piece in stored.chunks(PIECE_BYTES) {
        sink.write(piece.to_vec()).await.expect("write");
    }
    sink.finish().await.expect("finish")
}

async fn get(tier: &dyn Tier, digest: Digest) -> Option<(BlobForm, Vec<u8>)> {
    let mut source = tier.open_blob(digest).await.expect("open_blob")?;
    let mut stored = Vec::new();
    while let Some(piece) = source.next().await.expect("next") {
        assert!((1..=PIECE_BYTES).contains(&piece.len()), "a piece of {} bytes", piece.len());
        stored.extend(piece);
    }
    Some((source.form(), stored))
}

async fn is_missing(tier: &dyn Tier, digest: Digest) -> bool {
    let missing = tier.missing_blobs(&[digest]).await.expect("missing_blobs");
    let opens = tier.open_blob(digest).await.expect("open_blob").is_some();
    assert_eq!(missing.is_empty(), opens, "what is there can be read, and nothing else");
    !missing.is_empty()
}

/// A blob comes back byte for byte, from nothing to several pieces, packed or not.
pub async fn a_blob_comes_back_byte_for_byte_in_the_form_in_which_it_came(tier: &dyn Tier) {
    for bytes in [1, 1000, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES + 7] {
        let content = noise(&format!("whole {bytes}"), bytes);
        let digest = Digest::of(&content);
        assert!(put(tier, digest, false, &content).await, "{bytes} bytes");
        let form = BlobForm { packed: false, bytes: bytes as u64 };
        assert!(get(tier, digest).await == Some((form, content)), "{bytes} bytes");
    }
    let content = noise("packed", 100).repeat(5000);
    let (digest, frame) = (Digest::of(&content), zstd::bulk::compress(&content, 1).expect("zstd packs"));
    assert!(put(tier, digest, true, &frame).await);
    assert!(get(tier, digest).await == Some((BlobForm { packed: true, bytes: frame.len() as u64 }, frame)));
    let empty = Digest::of(b"");
    assert!(put(tier, empty, false, b"").await);
    assert!(get(tier, empty).await.is_some_and(|(_, stored)| stored.is_empty()));
}

/// A blob that never came is missing, and no error.
pub async fn a_blob_that_never_came_is_missing(tier: &dyn Tier) {
    assert!(is_missing(tier, Digest::of(&noise("never", 10))).await);
}

/// A blob of which a part did not come, or too much, or that was given up, is not there.
pub async fn a_blob_that_is_cut_or_given_up_is_not_there(tier: &dyn Tier) {
    let content = noise("cut", 3 * PIECE_BYTES);
    let digest = Digest::of(&content);
    for (announced, comes) in [(content.len(), 2 * PIECE_BYTES), (PIECE_BYTES, content.len())] {
        let form = BlobForm { packed: false, bytes: announced as u64 };
        let mut sink = tier.make_blob(digest, form).await.expect("make_blob").expect("it takes blobs");
        for piece in content[..comes].chunks(PIECE_BYTES) {
            sink.write(piece.to_vec()).await.expect("write");
        }
        assert!(!sink.finish().await.expect("finish"), "{comes} bytes for {announced}");
        assert!(is_missing(tier, digest).await);
    }
    let form = BlobForm { packed: false, bytes: content.len() as u64 };
    let mut sink = tier.make_blob(digest, form).await.expect("make_blob").expect("it takes blobs");
    sink.write(content[..PIECE_BYTES].to_vec()).await.expect("write");
    drop(sink);
    assert!(is_missing(tier, digest).await);
}

/// An entry that names a blob which is not there is refused, and one whose blobs are there is kept.
pub async fn an_entry_is_kept_only_with_the_blobs_that_it_names(tier: &dyn Tier) {
    let (there, gone) = (noise("there", 300), noise("gone", 300));
    let (there, gone) = ((Digest::of(&there), there), Digest::of(&gone));
    assert!(put(tier, there.0, false, &there.1).await);
    let began = tier.epoch().await.expect("epoch");
    let key = key("names", "k@1/x");
    let naming = |blobs: &[Digest]| {
        let entry = sealed(&key, b"value", &[], began);
        let record = crate::entry::Record { blobs: blobs.into(), ..entry.record.clone() };
        vec![Sealed { record, ..entry }]
    };
    let outcomes = tier.put(naming(&[there.0, gone])).await.expect("put");
    assert_eq!(outcomes, [PutOutcome::Refused(Refusal::MissingBlob(gone))]);
    assert_eq!(tier.get(&key).await.expect("get"), None);
    assert_eq!(tier.put(naming(&[there.0])).await.expect("put"), [PutOutcome::Kept]);
}

/// A blob in quarantine is missing, and can be put again.
pub async fn a_blob_in_quarantine_is_missing_and_can_be_put_again(tier: &dyn Tier) {
    let content = noise("bad", 2 * PIECE_BYTES);
    let digest = Digest::of(&content);
    assert!(put(tier, digest, false, &content).await);
    tier.quarantine_blob(digest).await.expect("quarantine_blob");
    tier.quarantine_blob(Digest::of(b"none of it")).await.expect("quarantine of what is not there");
    assert!(is_missing(tier, digest).await);
    assert!(put(tier, digest, false, &content).await);
    assert!(get(tier, digest).await.is_some_and(|(_, stored)| stored == content));
}
