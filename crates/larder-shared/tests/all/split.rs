//! Entries on Redis and blobs on S3: what several servers of a team have together.

use std::sync::Arc;

use larder::entry::Record;
use larder::key::Digest;
use larder::testing::{check_blobs, check_leases, check_tier, key, sealed};
use larder::tier::{BlobForm, Sealed, Tier as _};
use larder_shared::testing::{RedisServer, S3Server, Server};
use larder_shared::{Split, open};

use crate::lab::options;

fn split(entries: &RedisServer, blobs: &S3Server) -> Split {
    let open = |url: &str| open(url, options()).unwrap();
    Split::new(open(&entries.url()), open(&blobs.url()))
}

#[tokio::test]
async fn redis_and_s3_together_pass_the_suites_of_all_tiers() {
    let (entries, blobs) = (RedisServer::start(), S3Server::start());
    let tier = split(&entries, &blobs);
    check_tier(&tier).await;
    check_blobs(&tier).await;
    check_leases(&tier).await;
    assert!(!entries.ask(&["--scan"]).contains("larder1:b:"), "no blob is where entries are");
    assert!(!blobs.objects().join("e").exists(), "no entry is where blobs are");
}

#[tokio::test]
async fn an_entry_is_served_only_while_each_blob_that_it_names_is_there() {
    let (entries, blobs) = (RedisServer::start(), S3Server::start());
    let tier = Arc::new(split(&entries, &blobs));
    let content = b"content".to_vec();
    let digest = Digest::of(&content);
    let form = BlobForm { packed: false, bytes: content.len() as u64 };
    let mut sink = tier.make_blob(digest, form).await.unwrap().unwrap();
    sink.write(content).await.unwrap();
    assert!(sink.finish().await.unwrap());
    let key = key("split", "k@1/x");
    let plain = sealed(&key, b"value", &[], tier.epoch().await.unwrap());
    let record = Record { blobs: [digest].into(), ..plain.record.clone() };
    let seal = |record: &Record| {
        let (codec, level) = (larder::entry::Codec::Bytes, larder::entry::compress::Level::FAST);
        larder::entry::seal(&key, record, codec, b"value", level).unwrap()
    };
    let naming = Sealed { envelope: seal(&record), record, ..plain };
    let envelope = naming.envelope.clone();
    assert!(tier.put(vec![naming]).await.unwrap()[0].is_kept());
    assert_eq!(tier.get(&key).await.unwrap(), Some(envelope));
    std::fs::remove_file(blobs.objects().join("b").join(digest.to_string())).unwrap();
    assert_eq!(tier.get(&key).await.unwrap(), None);
}
