//! Contents in streams over gRPC.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream;
use bytes::Bytes;
use bytestream::byte_stream_client::ByteStreamClient;
use futures_util::stream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::action_results::Results;
use crate::contents::Contents;
use crate::lab::{LARGEST_BYTES, Lab, digest, hash, noise};

pub(crate) struct Streams(ByteStreamClient<Channel>);

impl Streams {
    pub(crate) fn of(lab: &Lab) -> Self {
        Self(ByteStreamClient::new(lab.channel()))
    }

    /// Reads, and returns what came and how that ended.
    async fn read(&mut self, name: &str, offset: i64, limit: i64) -> (Bytes, Result<(), Code>) {
        let request = bytestream::ReadRequest {
            resource_name: name.to_owned(),
            read_offset: offset,
            read_limit: limit,
        };
        let mut messages = match self.0.read(request).await {
            Ok(messages) => messages.into_inner(),
            Err(status) => return (Bytes::new(), Err(status.code())),
        };
        let mut all = Vec::new();
        loop {
            match messages.message().await {
                Ok(Some(message)) => all.extend(message.data),
                Ok(None) => return (all.into(), Ok(())),
                Err(status) => return (all.into(), Err(status.code())),
            }
        }
    }

    /// Reads all, does `then` after the first message, and returns how many bytes came and how that ended.
    async fn read_and(&mut self, name: &str, then: impl FnOnce()) -> (usize, Result<(), Code>) {
        let request = bytestream::ReadRequest { resource_name: name.to_owned(), ..Default::default() };
        let mut messages = self.0.read(request).await.unwrap().into_inner();
        let mut came = messages.message().await.unwrap().unwrap().data.len();
        then();
        loop {
            match messages.message().await {
                Ok(Some(message)) => came += message.data.len(),
                Ok(None) => return (came, Ok(())),
                Err(status) => return (came, Err(status.code())),
            }
        }
    }

    /// Writes in pieces of so many bytes, as a client does that does not break off.
    pub(crate) async fn write(&mut self, name: &str, bytes: &[u8], piece: usize) -> Result<i64, Code> {
        let pieces: Vec<&[u8]> = if bytes.is_empty() { vec![b""] } else { bytes.chunks(piece).collect() };
        let last = pieces.len() - 1;
        let message = |(nth, data): (usize, &&[u8])| bytestream::WriteRequest {
            resource_name: if nth == 0 { name.to_owned() } else { String::new() },
            write_offset: (nth * piece) as i64,
            finish_write: nth == last,
            data: data.to_vec(),
        };
        self.send(pieces.iter().enumerate().map(message).collect()).await
    }

    async fn send(&mut self, messages: Vec<bytestream::WriteRequest>) -> Result<i64, Code> {
        let code = |status: Status| status.code();
        Ok(self.0.write(stream::iter(messages)).await.map_err(code)?.into_inner().committed_size)
    }

    async fn status(&mut self, name: &str) -> (i64, bool) {
        let request = bytestream::QueryWriteStatusRequest { resource_name: name.to_owned() };
        let status = self.0.query_write_status(request).await.unwrap().into_inner();
        (status.committed_size, status.complete)
    }
}

pub(crate) fn name(content: &[u8]) -> String {
    format!("shop/blobs/{}/{}", hash(content), content.len())
}

fn packed_name(content: &[u8]) -> String {
    format!("shop/compressed-blobs/zstd/{}/{}", hash(content), content.len())
}

pub(crate) fn upload(name: &str) -> String {
    name.replacen("shop/", "shop/uploads/5e1f3a52-9b0c-4c1e-8f57-1f2f3d4c5b6a/", 1)
}

#[test]
fn what_is_written_in_pieces_is_read_from_anywhere_on() {
    let mut lab = Lab::start();
    for content in [noise(1, 9), noise(2, 3_000_000), Bytes::from(b"words ".repeat(200_000)), Bytes::new()] {
        let mut streams = Streams::of(&lab);
        let name = name(&content);
        let length = content.len() as i64;
        lab.block_on(async {
            if !content.is_empty() {
                assert_eq!(streams.read(&name, 0, 0).await, (Bytes::new(), Err(Code::NotFound)));
                assert_eq!(streams.status(&upload(&name)).await, (0, false));
            }
            assert_eq!(streams.write(&upload(&name), &content, 64 << 10).await, Ok(length));
            assert_eq!(streams.status(&upload(&name)).await, (length, true));
        });
        lab.restart();
        let mut streams = Streams::of(&lab);
        lab.block_on(async {
            for (offset, limit) in
                [(0, 0), (length.min(1), 0), (length / 2, 0), (length / 3, 5), (0, length), (length, 0)]
            {
                let from = offset as usize;
                let to = if limit == 0 { content.len() } else { content.len().min(from + limit as usize) };
                let (got, end) = streams.read(&name, offset, limit).await;
                assert!(got == content[from..to] && end.is_ok(), "{length} from {offset}, {limit}: {end:?}");
            }
            for (offset, limit) in [(length + 1, 0), (-1, 0), (0, -1)] {
                let (got, end) = streams.read(&name, offset, limit).await;
                assert_eq!((got.len(), end), (0, Err(Code::OutOfRange)), "{offset}, {limit}");
            }
        });
    }
}

#[test]
fn packed_contents_go_in_and_out_whichever_form_the_other_side_had() {
    let lab = Lab::start();
    for (seed, content) in
        [noise(3, 700_000), Bytes::from(b"words ".repeat(100_000)), noise(4, 70)].into_iter().enumerate()
    {
        let mut streams = Streams::of(&lab);
        let frame = zstd::bulk::compress(&content, 3).unwrap();
        lab.block_on(async {
            // Two frames one after the other are a content, too.
            let (name, packed) = (name(&content), packed_name(&content));
            let sent = if seed == 0 {
                let half = content.len() / 2;
                [&content[..half], &content[half..]]
                    .map(|half| zstd::bulk::compress(half, 1).unwrap())
                    .concat()
            } else {
                frame
            };
            let length = sent.len() as i64;
            assert_eq!(streams.write(&upload(&packed), &sent, 10_000).await, Ok(length));
            assert_eq!(streams.read(&name, 0, 0).await, (content.clone(), Ok(())));
            for offset in [0, content.len() / 2, content.len()] {
                let (got, end) = streams.read(&packed, offset as i64, 0).await;
                assert_eq!(end, Ok(()));
                assert!(zstd::decode_all(&got[..]).unwrap() == content[offset..], "from {offset}");
            }
            let limited = streams.read(&packed, 0, 5).await;
            assert_eq!(limited, (Bytes::new(), Err(Code::InvalidArgument)));
        });
    }
}

#[test]
fn what_is_there_already_is_not_taken_again() {
    let lab = Lab::start();
    let mut streams = Streams::of(&lab);
    let content = noise(5, 400_000);
    let (plain, packed) = (upload(&name(&content)), upload(&packed_name(&content)));
    let frame = zstd::bulk::compress(&content, 1).unwrap();
    lab.block_on(async {
        assert_eq!(streams.write(&plain, &content, 100_000).await, Ok(400_000));
        let first = |name: &str| bytestream::WriteRequest {
            resource_name: name.to_owned(),
            data: frame[..10].to_vec(),
            ..Default::default()
        };
        assert_eq!(streams.send(vec![first(&plain)]).await, Ok(400_000), "all of it is there");
        assert_eq!(streams.send(vec![first(&packed)]).await, Ok(-1), "how much of it packed is not known");
    });
}

#[test]
fn what_is_not_what_its_name_says_is_refused_and_leaves_nothing() {
    let lab = Lab::start();
    let mut streams = Streams::of(&lab);
    let content = noise(6, 300_000);
    let whole = upload(&name(&content));
    let piece = |write_offset: i64, range: std::ops::Range<usize>, finish_write| bytestream::WriteRequest {
        resource_name: whole.clone(),
        write_offset,
        finish_write,
        data: content[range].to_vec(),
    };
    lab.block_on(async {
        let refused = Err(Code::InvalidArgument);
        let changed = [&content[..299_999], b"~"].concat();
        assert_eq!(streams.write(&whole, &changed, 50_000).await, refused, "other bytes");
        assert_eq!(streams.write(&whole, &content[1..], 50_000).await, refused, "too short");
        assert_eq!(streams.write(&whole, &[&content[..], b"~"].concat(), 50_000).await, refused, "too long");
        assert_eq!(streams.send(vec![piece(0, 0..300_000, false)]).await, refused, "no end");
        let gap = vec![piece(0, 0..1000, false), piece(1001, 1001..300_000, true)];
        assert_eq!(streams.send(gap).await, refused, "a gap");
        assert_eq!(streams.send(vec![piece(5, 0..300_000, true)]).await, refused, "from the middle on");
        let mut renamed = vec![piece(0, 0..1000, false), piece(1000, 1000..300_000, true)];
        renamed[1].resource_name = upload(&name(b"another"));
        assert_eq!(streams.send(renamed).await, refused, "another name");
        let cut = zstd::bulk::compress(&content, 1).unwrap();
        let packed = upload(&packed_name(&content));
        assert_eq!(streams.write(&packed, &cut[..cut.len() - 9], 50_000).await, refused, "no whole frame");
        assert_eq!(streams.write(&packed, &content, 50_000).await, refused, "no frame");
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
        assert_eq!(streams.write(&packed, &bomb, 50_000).await, refused, "longer when it is unpacked");
        assert_eq!(streams.send(Vec::new()).await, refused, "nothing");
        for bad in ["", "shop/uploads/1/blobs/12/5", "../../etc/passwd", "shop/blobs"] {
            assert_eq!(streams.write(bad, b"x", 1).await, refused, "{bad}");
            assert_eq!(streams.read(bad, 0, 0).await.1, Err(Code::InvalidArgument), "{bad}");
        }
        let large = format!("shop/uploads/1/blobs/{}/{}", hash(b"large"), LARGEST_BYTES + 1);
        assert_eq!(streams.write(&large, b"x", 1).await, Err(Code::ResourceExhausted));
        let missing = Contents::of(&lab, "shop").missing(&[digest(&content)]).await;
        assert_eq!(missing, [digest(&content)]);
        assert_eq!(streams.write(&whole, &content, 50_000).await, Ok(300_000));
    });
}

#[test]
fn a_damaged_content_is_not_found_and_taken_again() {
    let lab = Lab::start();
    let mut streams = Streams::of(&lab);
    let content = noise(7, 500_000);
    let name = name(&content);
    lab.block_on(async {
        assert_eq!(streams.write(&upload(&name), &content, 100_000).await, Ok(500_000));
        assert_eq!(streams.read(&name, 0, 0).await, (content.clone(), Ok(())));
    });
    assert_eq!(lab.damage(), 1);
    lab.block_on(async {
        assert_eq!(streams.read(&name, 0, 0).await, (Bytes::new(), Err(Code::NotFound)));
        assert_eq!(streams.write(&upload(&name), &content, 100_000).await, Ok(500_000));
        assert_eq!(streams.read(&name, 0, 0).await, (content.clone(), Ok(())));
    });
}

#[test]
fn a_content_under_another_length_than_its_own_is_not_there() {
    let mut lab = Lab::start();
    let (large, small) = (noise(12, 300_000), noise(13, 300));
    for content in [large, small, Bytes::new()] {
        let length = content.len() as i64;
        let wrong = reapi::Digest { size_bytes: 7, ..digest(&content) };
        let (name, other) = (name(&content), format!("shop/blobs/{}/7", wrong.hash));
        lab.block_on(async {
            let mut streams = Streams::of(&lab);
            assert_eq!(streams.write(&upload(&name), &content, 1 << 20).await, Ok(length));
            let result = |digest: &reapi::Digest| reapi::ActionResult {
                stdout_digest: Some(digest.clone()),
                ..Default::default()
            };
            let mut results = Results::of(&lab);
            results.put(b"right", &result(&digest(&content))).await.unwrap();
            results.put(b"wrong", &result(&wrong)).await.unwrap();
            let tree = reapi::OutputDirectory { tree_digest: Some(wrong.clone()), ..Default::default() };
            let tree = reapi::ActionResult { output_directories: vec![tree], ..Default::default() };
            results.put(b"tree", &tree).await.unwrap();
        });
        for _ in ["in memory", "from disk"] {
            lab.block_on(async {
                let (mut streams, mut results) = (Streams::of(&lab), Results::of(&lab));
                let asked = [wrong.clone(), digest(&content)];
                assert_eq!(Contents::of(&lab, "shop").missing(&asked).await, asked[..1]);
                assert_eq!(streams.status(&upload(&other)).await, (0, false));
                let refused = Err(Code::InvalidArgument);
                assert_eq!(streams.write(&upload(&other), &content, 1 << 20).await, refused);
                assert_eq!(streams.write(&upload(&other), &noise(14, 7), 5).await, refused);
                assert_eq!(streams.read(&other, 0, 0).await.1, Err(Code::NotFound));
                assert!(results.get(b"right").await.is_ok());
                assert_eq!(results.get(b"wrong").await, Err(Code::NotFound));
                assert_eq!(results.get(b"tree").await, Err(Code::NotFound));
                assert_eq!(streams.status(&upload(&name)).await, (length, true));
            });
            lab.restart();
        }
    }
}

#[test]
fn a_content_that_gets_shorter_while_it_is_read_is_no_whole_one() {
    let as_it_is = noise(10, LARGEST_BYTES as usize);
    let as_a_frame: Bytes = as_it_is.iter().map(|byte| byte & 31).collect();
    for stored in [as_it_is, as_a_frame] {
        for name in [name(&stored), packed_name(&stored)] {
            let lab = Lab::start();
            let mut streams = Streams::of(&lab);
            lab.block_on(async {
                let length = stored.len() as i64;
                assert_eq!(streams.write(&upload(&self::name(&stored)), &stored, 1 << 20).await, Ok(length));
            });
            let cut = || assert_eq!(lab.cut(), 1);
            let (got, end) = lab.block_on(streams.read_and(&name, cut));
            assert!(got > 0 && end == Err(Code::DataLoss), "{name}: {end:?} after {got} bytes");
        }
    }
}

#[test]
fn a_connection_breaks_whose_content_gets_shorter() {
    let lab = Lab::start();
    let content = noise(11, LARGEST_BYTES as usize);
    let path = format!("/cas/{}", hash(&content));
    assert_eq!(lab.http("PUT", &path, &[], content.clone()).code(), 200);
    let mut stream = TcpStream::connect(lab.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: cache\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    assert_eq!(lab.cut(), 1);
    let mut rest = Vec::new();
    // Whether it ends or is reset, not all of it came.
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(&content[content.len() - 1000..]));
}

#[test]
fn an_upload_of_what_is_there_damaged_is_taken_and_heals_it() {
    let mut lab = Lab::start();
    let content = noise(9, 300_000);
    let (to, from, length) = (upload(&name(&content)), name(&content), content.len() as i64);
    assert_eq!(lab.block_on(Streams::of(&lab).write(&to, &content, 64 << 10)), Ok(length));
    lab.restart();
    assert_eq!(lab.damage(), 1);
    // Nobody has read it since.
    let mut streams = Streams::of(&lab);
    lab.block_on(async {
        assert_eq!(streams.status(&to).await, (0, false));
        assert_eq!(streams.write(&to, &content, 64 << 10).await, Ok(length));
        assert_eq!(streams.read(&from, 0, 0).await, (content.clone(), Ok(())));
    });
}
