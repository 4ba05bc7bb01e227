//! What `fuzz/` feeds with bytes from outside: each panics where something does not hold that should for any bytes.

use std::io::Read as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header};
use prost::Message as _;

use crate::http::Put;
use crate::store::{Function, StoreError, Unpack, named};
use crate::{http as protocols, rpc, serve};

/// More is not unpacked.
const MOST_BYTES: usize = 1 << 20;

/// Names of resources: what is read is written and read again as the same.
pub fn names(name: &str) {
    rpc::check_name(name);
}

/// The authorization and the path of a request: a path stays a path.
pub fn head(authorization: &[u8], path: &str) {
    if let Ok(value) = HeaderValue::from_bytes(authorization) {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        assert!(
            serve::secret(&headers).is_some_and(|secret| secret.len() <= authorization.len())
                || authorization.iter().all(|&byte| byte != b' ')
        );
    }
    let Ok(mut uri) = path.parse::<Uri>() else { return };
    let before = uri.clone();
    match serve::take_scope(&mut uri) {
        Ok(Some(scope)) => {
            assert!(uri.path().starts_with('/'));
            assert!(before.path().starts_with(&format!("/scope/{}/", scope.as_str())));
            assert_eq!(before.query(), uri.query());
        }
        Ok(None) => assert_eq!(before, uri),
        Err(_) => {}
    }
}

/// An action result under `/ac/`: one that is taken for one loses nothing.
pub fn result(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Some(Put::Result(result, message)) = protocols::read(&bytes, false) {
        assert!(named(Function::Sha256, &result).is_ok());
        assert_eq!(message, bytes);
    }
    match protocols::read(&bytes, true) {
        Some(Put::Result(result, message)) => assert_eq!(result.encode_to_vec(), message),
        Some(Put::Naming(names)) => assert!(named(Function::Sha256, &names).is_ok_and(|all| !all.is_empty())),
        None => {}
    }
}

/// A question for artifacts of Turborepo.
pub fn artifacts(bytes: &[u8]) {
    drop(protocols::asked(bytes));
}

/// The path of a file whose properties are asked for: nothing of it gets into the answer's own text.
pub fn properties(path: &str) {
    let Ok(uri) = path.parse::<Uri>() else { return };
    let text = protocols::properties_text(uri.path(), Some(1));
    let inner = text.split("<D:href>").nth(1).and_then(|rest| rest.split("</D:href>").next());
    assert!(inner.is_some_and(|inner| !inner.replace("&amp;", "").contains(['<', '>', '&'])));
    assert_eq!(text.matches("<D:response>").count(), 1);
}

/// Packed contents, however they are cut into pieces.
pub fn packed(piece: usize, bytes: &[u8]) {
    let Ok(mut unpack) = Unpack::new() else { return };
    let (mut all, mut sound) = (Vec::new(), true);
    for piece in bytes.chunks(piece.max(1)) {
        sound = sound
            && unpack
                .take(piece, |unpacked| {
                    all.extend_from_slice(unpacked);
                    if all.len() > MOST_BYTES { Err(StoreError::Packed) } else { Ok(()) }
                })
                .is_ok();
    }
    if sound && unpack.is_whole() {
        let mut expected = Vec::new();
        let decoder = zstd::stream::read::Decoder::new(bytes);
        let read = decoder.and_then(|decoder| decoder.take(MOST_BYTES as u64 + 1).read_to_end(&mut expected));
        assert!(read.is_ok() && all == expected);
    }
}
