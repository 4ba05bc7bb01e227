//! The stored form of a task's result.
//!
//! Invariant: nothing in it is an absolute path, and no byte of it is a variable's value. `docs/format.md`
//! describes it; a change is a new [`VERSION`](crate::key::VERSION).
//! Not here: its key, under which the engine keeps it, and the contents of files, which are blobs.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use larder::key::Digest;
use serde::{Deserialize, Serialize};

use crate::key::Part;
use crate::log::Chunk;

/// What a task left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptResult {
    /// The task, for people.
    pub(crate) task: String,
    /// The parts of its key.
    pub(crate) parts: Vec<Part>,
    /// Names of components that its key leaves out.
    pub(crate) left_out: Vec<String>,
    /// How it ended.
    pub(crate) exit_code: u8,
    /// How long the command took.
    pub(crate) took_millis: u64,
    /// What it wrote to its pipes.
    pub(crate) log: KeptLog,
    /// Files, directories and links, sorted by path, so that a directory comes before what is in it.
    pub(crate) outputs: Vec<KeptOutput>,
    /// Stands for all outputs: what tasks that come later have in their keys.
    pub(crate) outputs_digest: Digest,
    /// A blob with the paths and digests of the inputs: one line for each.
    pub(crate) inputs: Option<Digest>,
}

/// Where a log is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeptLog {
    /// Here.
    Inline(Vec<Chunk>),
    /// In a blob, which holds the same in the same form.
    Blob(Digest),
}

/// One output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptOutput {
    /// Its path from the workspace's root.
    #[serde(with = "bytes")]
    pub(crate) path: Vec<u8>,
    /// What it is.
    pub(crate) form: OutputForm,
}

/// What an output is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OutputForm {
    /// A regular file.
    File {
        /// The blob with its content.
        digest: Digest,
        /// Length of the content.
        bytes: u64,
        /// Permissions.
        mode: KeptMode,
    },
    /// A directory.
    Directory {
        /// Permissions.
        mode: KeptMode,
    },
    /// A symbolic link.
    Link {
        /// Its text.
        #[serde(with = "bytes")]
        target: Vec<u8>,
    },
}

/// Permissions as they are meant, so that two users with two umasks get each their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeptMode {
    /// What an ordinary new file gets.
    Ordinary,
    /// What a new program or directory gets.
    Executable,
    /// These bits.
    Bits(u16),
}

impl KeptMode {
    /// What permission bits mean to somebody with this umask.
    pub(crate) fn of(permissions: u32, umask: u32) -> Self {
        let bits = permissions & 0o777;
        if bits == 0o666 & !umask {
            Self::Ordinary
        } else if bits == 0o777 & !umask {
            Self::Executable
        } else {
            Self::Bits(bits as u16)
        }
    }

    /// The permission bits for somebody with this umask.
    pub(crate) fn bits(self, umask: u32) -> u32 {
        match self {
            Self::Ordinary => 0o666 & !umask,
            Self::Executable => 0o777 & !umask,
            Self::Bits(bits) => u32::from(bits) & 0o777,
        }
    }
}

impl KeptOutput {
    /// Length of its content.
    pub(crate) fn bytes(&self) -> u64 {
        match self.form {
            OutputForm::File { bytes, .. } => bytes,
            OutputForm::Directory { .. } | OutputForm::Link { .. } => 0,
        }
    }

    /// The path, if it leads nowhere but down from the root: a result from elsewhere is not trusted to write
    /// where it wants.
    pub(crate) fn safe_path(&self) -> Option<&Path> {
        let path = Path::new(std::ffi::OsStr::from_bytes(&self.path));
        let down = path.components().all(|component| matches!(component, Component::Normal(_)));
        (down && !self.path.is_empty() && !self.path.contains(&0)).then_some(path)
    }
}

/// The inputs of a result, for telling which file differs. Sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct InputList(pub(crate) Vec<InputLine>);

/// One input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputLine {
    #[serde(with = "bytes")]
    pub(crate) path: Vec<u8>,
    /// Content, link text and mode in one.
    pub(crate) digest: Digest,
}

/// Byte strings as such, where serde would take them for lists of numbers.
pub(crate) mod bytes {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        from.deserialize_byte_buf(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_means_the_same_under_two_umasks() {
        for (bits, umask, mode, other) in [
            (0o644, 0o022, KeptMode::Ordinary, 0o664),
            (0o755, 0o022, KeptMode::Executable, 0o775),
            (0o600, 0o022, KeptMode::Bits(0o600), 0o600),
            (0o600, 0o077, KeptMode::Ordinary, 0o664),
        ] {
            assert_eq!(KeptMode::of(bits, umask), mode);
            assert_eq!((mode.bits(umask), mode.bits(0o002)), (bits, other));
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_not_safe() {
        let safe = |path: &[u8]| {
            let form = OutputForm::Link { target: Vec::new() };
            KeptOutput { path: path.to_vec(), form }.safe_path().is_some()
        };
        assert!(safe(b"dist/a") && safe(b"\xff"));
        for bad in [&b""[..], b"/etc", b"..", b"a/../../b", b"a\0b"] {
            assert!(!safe(bad), "{bad:?}");
        }
    }
}
