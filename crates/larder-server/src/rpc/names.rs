//! Names of resources in ByteStream, as the Remote Execution API has them.
//!
//! To read: `{instance}/blobs/{function/}{hash}/{size}` or `{instance}/compressed-blobs/zstd/{function/}{hash}/{size}`.
//! To write: the same behind `{instance}/uploads/{uuid}/`, and whatever a client adds behind the size. SHA-256 and
//! BLAKE3 have hashes of one length; BLAKE3 is named, SHA-256 need not be.

use crate::store::{Coding, ContentId, Function};

/// What a name of a resource stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resource<'a> {
    pub(super) instance: &'a str,
    pub(super) id: ContentId,
    pub(super) bytes: u64,
    pub(super) coding: Coding,
}

/// Reads the name of a content that is asked for.
pub(super) fn to_read(name: &str) -> Option<Resource<'_>> {
    let parts: Vec<&str> = name.split('/').collect();
    let at = parts.iter().rposition(|part| matches!(*part, "blobs" | "compressed-blobs"))?;
    let (resource, rest) = content(name, &parts, at, at)?;
    rest.is_empty().then_some(resource)
}

/// Reads the name of a content that is coming.
pub(super) fn to_write(name: &str) -> Option<Resource<'_>> {
    let parts: Vec<&str> = name.split('/').collect();
    let at = parts.iter().position(|part| *part == "uploads")?;
    // Behind the client's own name of the upload.
    let (resource, _) = content(name, &parts, at, at + 2)?;
    Some(resource)
}

/// The content that is named from part `at` on; `instance` parts come before. Returns what is left, too.
fn content<'a, 'p>(
    name: &'a str,
    parts: &'p [&'a str],
    instance: usize,
    at: usize,
) -> Option<(Resource<'a>, &'p [&'a str])> {
    let (coding, rest) = match parts.get(at..)? {
        ["blobs", rest @ ..] => (Coding::Identity, rest),
        ["compressed-blobs", "zstd", rest @ ..] => (Coding::Zstd, rest),
        _ => return None,
    };
    let (function, rest) = match rest {
        ["blake3", rest @ ..] => (Function::Blake3, rest),
        ["sha256", rest @ ..] => (Function::Sha256, rest),
        rest => (Function::Sha256, rest),
    };
    let [hash, bytes, rest @ ..] = rest else { return None };
    let id = ContentId { function, digest: hash.parse().ok()? };
    let bytes = bytes.parse::<u64>().ok().filter(|&bytes| i64::try_from(bytes).is_ok())?;
    // All that comes before, without the slash behind it.
    let length = parts[..instance].iter().map(|part| part.len() + 1).sum::<usize>().saturating_sub(1);
    Some((Resource { instance: &name[..length], id, bytes, coding }, rest))
}

/// Panics if a name is not read back from what it stands for.
#[cfg(feature = "fuzzing")]
pub(crate) fn check(name: &str) {
    if let Some(resource) = to_read(name) {
        let Resource { instance, id, bytes, coding } = resource;
        assert!(name.starts_with(instance));
        let coding = if coding == Coding::Zstd { "compressed-blobs/zstd" } else { "blobs" };
        let slash = if instance.is_empty() { "" } else { "/" };
        let written = format!("{instance}{slash}{coding}/{}/{}/{bytes}", id.function, id.digest);
        assert_eq!(to_read(&written), Some(resource));
    }
    if let Some(resource) = to_write(name) {
        assert!(name.starts_with(resource.instance));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_functions_and_codings_are_read_and_others_are_none() {
        let hash = "ab".repeat(32);
        let read =
            |name: String| to_read(&name).map(|r| (r.instance.to_owned(), r.id.function, r.bytes, r.coding));
        let plain = |instance: &str| Some((instance.to_owned(), Function::Sha256, 5, Coding::Identity));
        assert_eq!(read(format!("blobs/{hash}/5")), plain(""));
        assert_eq!(read(format!("shop/blobs/{hash}/5")), plain("shop"));
        assert_eq!(read(format!("a/blobs/blobs/sha256/{hash}/5")), plain("a/blobs"));
        let packed = Some(("x".to_owned(), Function::Blake3, 0, Coding::Zstd));
        assert_eq!(read(format!("x/compressed-blobs/zstd/blake3/{hash}/0")), packed);
        let upload = format!("x/uploads/5e1f/compressed-blobs/zstd/blake3/{hash}/0/some/file");
        let resource = to_write(&upload).unwrap();
        assert_eq!((resource.instance, resource.coding), ("x", Coding::Zstd));
        assert_eq!(to_write(&format!("uploads/5e1f/blobs/{hash}/7")).unwrap().instance, "");
        for bad in [
            String::new(),
            "blobs".to_owned(),
            format!("blobs/{hash}"),
            format!("blobs/{hash}/-5"),
            format!("blobs/{hash}/5/more"),
            format!("blobs/{hash}/9223372036854775808"),
            format!("blobs/../{hash}/5"),
            format!("compressed-blobs/gzip/{hash}/5"),
            format!("blobs/{}/5", "g".repeat(64)),
        ] {
            assert_eq!(to_read(&bad), None, "{bad}");
        }
        for bad in [format!("blobs/{hash}/5"), format!("uploads/blobs/{hash}/5"), "uploads".to_owned()] {
            assert_eq!(to_write(&bad), None, "{bad}");
        }
    }
}
