//! Contents in batches over gRPC.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bytes::Bytes;
use larder::key::Algorithm;
use prost::Message as _;
use reapi::batch_update_blobs_request::Request as Update;
use reapi::capabilities_client::CapabilitiesClient;
use reapi::compressor::Value::{Identity, Zstd};
use reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use reapi::{compressor, digest_function};
use tonic::Code;
use tonic::transport::Channel;

use crate::lab::{LARGEST_BYTES, Lab, digest, noise};

/// Contents of a scope, for SHA-256 unless a method says otherwise.
#[derive(Clone)]
pub(crate) struct Contents {
    client: ContentAddressableStorageClient<Channel>,
    instance: String,
}

impl Contents {
    pub(crate) fn of(lab: &Lab, instance: &str) -> Self {
        Self::at(lab.channel(), instance)
    }

    pub(crate) fn at(channel: Channel, instance: &str) -> Self {
        Self { client: ContentAddressableStorageClient::new(channel), instance: instance.to_owned() }
    }

    pub(crate) async fn missing(&mut self, digests: &[reapi::Digest]) -> Vec<reapi::Digest> {
        let request = reapi::FindMissingBlobsRequest {
            instance_name: self.instance.clone(),
            blob_digests: digests.to_vec(),
            ..Default::default()
        };
        self.client.find_missing_blobs(request).await.unwrap().into_inner().missing_blob_digests
    }

    /// Sends a batch, and returns the code of each.
    pub(crate) async fn update(&mut self, requests: Vec<Update>) -> Result<Vec<i32>, Code> {
        let request = reapi::BatchUpdateBlobsRequest {
            instance_name: self.instance.clone(),
            requests,
            ..Default::default()
        };
        let answer = self.client.batch_update_blobs(request).await.map_err(|status| status.code())?;
        Ok(answer.into_inner().responses.into_iter().map(|one| one.status.unwrap().code).collect())
    }

    /// Sends contents as they are.
    pub(crate) async fn put(&mut self, contents: &[&[u8]]) {
        let codes = self.update(contents.iter().map(|content| plain(content)).collect()).await.unwrap();
        assert!(codes.iter().all(|&code| code == 0), "{codes:?}");
    }

    pub(crate) async fn read(
        &mut self,
        digests: &[reapi::Digest],
        accepts: &[compressor::Value],
    ) -> Result<Vec<reapi::batch_read_blobs_response::Response>, Code> {
        let request = reapi::BatchReadBlobsRequest {
            instance_name: self.instance.clone(),
            digests: digests.to_vec(),
            acceptable_compressors: accepts.iter().map(|&value| value as i32).collect(),
            ..Default::default()
        };
        Ok(self
            .client
            .batch_read_blobs(request)
            .await
            .map_err(|status| status.code())?
            .into_inner()
            .responses)
    }
}

fn plain(content: &[u8]) -> Update {
    Update { digest: Some(digest(content)), data: content.to_vec(), compressor: Identity as i32 }
}

fn packed(content: &[u8]) -> Update {
    let data = zstd::bulk::compress(content, 3).unwrap();
    Update { digest: Some(digest(content)), data, compressor: Zstd as i32 }
}

fn unpacked(one: &reapi::batch_read_blobs_response::Response) -> Bytes {
    if one.compressor == Zstd as i32 {
        return zstd::decode_all(&one.data[..]).unwrap().into();
    }
    one.data.clone().into()
}

#[test]
fn capabilities_say_what_clients_may_send() {
    let lab = Lab::start();
    let mut client = CapabilitiesClient::new(lab.channel());
    let asked = lab.block_on(client.get_capabilities(reapi::GetCapabilitiesRequest::default()));
    let told = asked.unwrap().into_inner();
    let version = |version: Option<_>| {
        let version: bazel_remote_apis::build::bazel::semver::SemVer = version.unwrap();
        (version.major, version.minor)
    };
    assert_eq!((version(told.low_api_version), version(told.high_api_version)), ((2, 0), (2, 11)));
    let cache = told.cache_capabilities.unwrap();
    let functions = [digest_function::Value::Sha256 as i32, digest_function::Value::Blake3 as i32];
    assert_eq!(cache.digest_functions, functions);
    assert!(cache.action_cache_update_capabilities.unwrap().update_enabled);
    assert_eq!(cache.max_batch_total_size_bytes, 4_000_000);
    assert_eq!(cache.max_cas_blob_size_bytes, LARGEST_BYTES as i64);
    assert_eq!(cache.supported_compressors, [Zstd as i32]);
    assert_eq!(cache.supported_batch_update_compressors, [Zstd as i32]);
}

#[test]
fn a_batch_is_kept_as_it_is_or_packed_and_is_given_as_the_client_can_take_it() {
    let mut lab = Lab::start();
    let (small, large, noisy) = (b"small".as_slice(), b"words ".repeat(30_000), noise(1, 100_000));
    let all: [&[u8]; 3] = [small, &large, &noisy];
    let digests = all.map(digest);
    let mut contents = Contents::of(&lab, "shop");
    lab.block_on(async {
        assert_eq!(contents.missing(&digests).await, digests);
        let codes = contents.update(vec![packed(small), packed(&large), plain(&noisy)]).await;
        assert_eq!(codes, Ok(vec![0, 0, 0]));
        assert_eq!(contents.missing(&digests).await, []);
    });
    for round in ["in memory", "from disk"] {
        let mut contents = Contents::of(&lab, "shop");
        lab.block_on(async {
            for accepts in [&[][..], &[Identity], &[Zstd], &[Identity, Zstd]] {
                let got = contents.read(&digests, accepts).await.unwrap();
                for (one, whole) in got.iter().zip(all) {
                    assert_eq!(
                        (one.status.as_ref().unwrap().code, &unpacked(one)[..]),
                        (0, whole),
                        "{round}"
                    );
                    assert!(accepts.contains(&Zstd) || one.compressor == Identity as i32, "{round}");
                }
                assert!(!accepts.contains(&Zstd) || got[1].compressor == Zstd as i32, "{round}");
            }
        });
        lab.restart();
    }
    // Another scope has nothing of it.
    let mut other = Contents::of(&lab, "lab");
    assert_eq!(lab.block_on(other.missing(&digests)), digests);
}

#[test]
fn the_empty_content_is_always_there() {
    let lab = Lab::start();
    let mut contents = Contents::of(&lab, "");
    lab.block_on(async {
        assert_eq!(contents.missing(&[digest(b"")]).await, []);
        let got = contents.read(&[digest(b"")], &[]).await.unwrap();
        assert_eq!((got[0].status.as_ref().unwrap().code, got[0].data.len()), (0, 0));
    });
}

#[test]
fn what_does_not_match_its_digest_is_refused_and_the_rest_of_the_batch_is_kept() {
    let lab = Lab::start();
    let mut contents = Contents::of(&lab, "");
    let (right, other) = (b"right".as_slice(), b"other".as_slice());
    let wrong_bytes = Update { digest: Some(digest(b"wrong")), ..plain(other) };
    let longer = reapi::Digest { size_bytes: 6, ..digest(other) };
    let wrong_length = Update { digest: Some(longer), ..plain(other) };
    let no_frame = Update { compressor: Zstd as i32, ..plain(other) };
    let mut cut = packed(&noise(2, 3000));
    cut.data.truncate(1500);
    let long = reapi::Digest { size_bytes: 10, ..digest(&[0; 1 << 20]) };
    let bomb = Update { digest: Some(long), ..packed(&[0; 1 << 20]) };
    lab.block_on(async {
        let batch = vec![wrong_bytes, wrong_length, no_frame, cut, bomb, plain(right)];
        let refused = Code::InvalidArgument as i32;
        let codes = contents.update(batch).await;
        assert_eq!(codes, Ok(vec![refused, refused, refused, refused, refused, 0]));
        let asked = [b"wrong".as_slice(), other, right].map(digest);
        assert_eq!(contents.missing(&asked).await, asked[..2]);
    });
}

#[test]
fn digests_of_blake3_and_sha256_are_apart() {
    let lab = Lab::start();
    let mut client = ContentAddressableStorageClient::new(lab.channel());
    let content = noise(3, 50_000);
    let name = reapi::Digest {
        hash: Algorithm::Blake3.digest(&content).to_string(),
        size_bytes: content.len() as i64,
    };
    let blake3 = digest_function::Value::Blake3 as i32;
    let update = Update { digest: Some(name.clone()), data: content.to_vec(), ..Default::default() };
    lab.block_on(async {
        let batch = reapi::BatchUpdateBlobsRequest {
            requests: vec![update],
            digest_function: blake3,
            ..Default::default()
        };
        let kept = client.batch_update_blobs(batch).await.unwrap().into_inner();
        assert_eq!(kept.responses[0].status.as_ref().unwrap().code, 0);
        let mut missing = async |digest_function| {
            let blob_digests = vec![name.clone()];
            let request =
                reapi::FindMissingBlobsRequest { blob_digests, digest_function, ..Default::default() };
            client.find_missing_blobs(request).await.unwrap().into_inner().missing_blob_digests.len()
        };
        assert_eq!(missing(blake3).await, 0);
        assert_eq!(missing(digest_function::Value::Sha256 as i32).await, 1);
    });
}

#[test]
fn a_batch_that_is_too_large_is_refused_whole() {
    let lab = Lab::start();
    let mut contents = Contents::of(&lab, "");
    let halves = [noise(4, 2_200_000), noise(5, 2_200_000)];
    lab.block_on(async {
        let batch = halves.iter().map(|half| plain(half)).collect();
        assert_eq!(contents.update(batch).await, Err(Code::InvalidArgument));
        for half in &halves {
            contents.put(&[half]).await;
        }
        let digests = [digest(&halves[0]), digest(&halves[1])];
        assert_eq!(contents.read(&digests, &[]).await.unwrap_err(), Code::InvalidArgument);
        assert_eq!(contents.read(&digests[..1], &[]).await.unwrap()[0].data, halves[0]);
    });
}

/// As clients have it that do not say how long a message may be.
#[test]
fn what_a_client_may_ask_for_at_once_fits_into_a_message_of_four_mebibytes() {
    let lab = Lab::start();
    let mut contents = Contents::of(&lab, "");
    let all: Vec<Bytes> = (0..2000).map(|seed| noise(seed, 2000)).collect();
    let digests: Vec<_> = all.iter().map(|content| digest(content)).collect();
    let file = |number: usize| reapi::FileNode {
        name: format!("{number}{}", "-".repeat(200)),
        digest: Some(digest(b"file")),
        ..Default::default()
    };
    let children: Vec<_> = (0..5)
        .map(|n| reapi::Directory {
            files: (n * 5000..(n + 1) * 5000).map(file).collect(),
            ..Default::default()
        })
        .collect();
    let node = |child: &reapi::Directory| reapi::DirectoryNode {
        digest: Some(digest(&child.encode_to_vec())),
        ..Default::default()
    };
    let root = reapi::Directory { directories: children.iter().map(node).collect(), ..Default::default() };
    lab.block_on(async {
        contents.put(&all.iter().map(|content| &content[..]).collect::<Vec<_>>()).await;
        let got = contents.read(&digests, &[]).await.unwrap();
        assert!(got.iter().zip(&all).all(|(one, whole)| one.data == *whole));
        for directory in children.iter().chain([&root]) {
            contents.put(&[&directory.encode_to_vec()]).await;
        }
        let request =
            reapi::GetTreeRequest { root_digest: Some(digest(&root.encode_to_vec())), ..Default::default() };
        let mut pages = contents.client.get_tree(request).await.unwrap().into_inner();
        let mut directories = Vec::new();
        while let Some(page) = pages.message().await.unwrap() {
            directories.extend(page.directories);
        }
        assert!(directories[0] == root && directories[1..] == children);
    });
}

#[test]
fn a_damaged_content_is_never_given_and_can_be_sent_anew() {
    let lab = Lab::start();
    let mut contents = Contents::of(&lab, "");
    let all = [noise(6, 100_000), Bytes::from(b"words ".repeat(30_000))];
    let digests = [digest(&all[0]), digest(&all[1])];
    lab.block_on(contents.put(&[&all[0], &all[1]]));
    assert_eq!(lab.damage(), 2);
    lab.block_on(async {
        for accepts in [&[][..], &[Zstd]] {
            let got = contents.read(&digests, accepts).await.unwrap();
            let codes = got.iter().map(|one| (one.status.as_ref().unwrap().code, one.data.len()));
            assert!(codes.eq([(Code::NotFound as i32, 0); 2]), "{accepts:?}");
        }
        assert_eq!(contents.missing(&digests).await, digests, "and is missing from then on");
        contents.put(&[&all[0], &all[1]]).await;
        let got = contents.read(&digests, &[]).await.unwrap();
        assert!(got[0].data == all[0] && got[1].data == all[1]);
    });
}

#[test]
fn what_was_damaged_is_missing_as_soon_as_that_shows_and_else_once_somebody_read_it() {
    let mut lab = Lab::start();
    let all = [noise(7, 100_000), Bytes::from(b"words ".repeat(30_000))];
    let digests = [digest(&all[0]), digest(&all[1])];
    let put = |lab: &Lab| {
        let mut contents = Contents::of(lab, "");
        lab.block_on(contents.put(&[&all[0], &all[1]]));
        assert_eq!(lab.block_on(contents.missing(&digests)), []);
    };
    let missing = |lab: &Lab| lab.block_on(Contents::of(lab, "").missing(&digests));
    put(&lab);
    assert_eq!(lab.damage(), 2);
    assert_eq!(missing(&lab), digests, "the server wrote it otherwise");
    put(&lab);
    lab.restart();
    assert_eq!(lab.damage(), 2);
    assert_eq!(missing(&lab), [], "the server knows nothing of it yet but its length");
    let got = lab.block_on(Contents::of(&lab, "").read(&digests, &[])).unwrap();
    assert!(got.iter().all(|one| one.data.is_empty()), "and does not give it");
    assert_eq!(missing(&lab), digests);
    put(&lab);
    lab.restart();
    assert_eq!(lab.cut(), 2);
    assert_eq!(missing(&lab), digests);
    put(&lab);
    let got = lab.block_on(Contents::of(&lab, "").read(&digests, &[])).unwrap();
    assert!(got[0].data == all[0] && got[1].data == all[1]);
}
