//! Telling of bytes on their way whether they may be an action result, without keeping them.
//!
//! A message is a row of fields, each with a number and most with a length. What is something else shows that soon. The
//! fields that name contents are looked through for a digest as one is written: 64 hexadecimal digits after their length.

/// The fields of an action result that name contents: files, directories, stdout, stderr.
const NAMING: [u64; 4] = [2, 3, 6, 8];

/// What stands before the hash of a digest: the number and type of its field, and its length.
const BEFORE_HASH: [u8; 2] = [0x0a, 64];

/// How far somebody is with a message.
#[derive(Debug)]
pub(super) struct Scan {
    at: At,
    number: Varint,
    /// How much of a digest was seen at the end of what came.
    seen: usize,
    names_contents: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the number and type of a field.
    Tag,
    /// In a field that is a number.
    Number,
    /// In the length of a field.
    Length { naming: bool },
    /// Before so many bytes of a field.
    Field { left: u64, naming: bool },
    /// Behind what is no message.
    Lost,
}

/// A number, seven bits of which stand in each byte, the lowest first.
#[derive(Debug, Default, Clone, Copy)]
struct Varint {
    value: u64,
    bits: u32,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self { at: At::Tag, number: Varint::default(), seen: 0, names_contents: false }
    }

    /// Whether what came can be the beginning of a message.
    pub(super) fn may_be_one(&self) -> bool {
        self.at != At::Lost
    }

    /// Whether what came is one, as far as it goes, and names contents.
    pub(super) fn names_contents(&self) -> bool {
        self.may_be_one() && self.names_contents
    }

    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            match self.at {
                At::Lost => return,
                At::Field { left: 0, .. } => self.at = At::Tag,
                At::Field { left, naming } => {
                    let (piece, rest) =
                        bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    if naming && !self.names_contents {
                        piece.iter().for_each(|&byte| self.look(byte));
                    }
                    self.at = At::Field { left: left - piece.len() as u64, naming };
                    bytes = rest;
                }
                At::Tag | At::Number | At::Length { .. } => {
                    bytes = &bytes[1..];
                    self.number_goes_on(first);
                }
            }
        }
    }

    fn number_goes_on(&mut self, byte: u8) {
        let Varint { value, bits } = self.number;
        if bits > 63 {
            self.at = At::Lost;
            return;
        }
        let value = value | u64::from(byte & 0x7f) << bits;
        if byte & 0x80 != 0 {
            self.number = Varint { value, bits: bits + 7 };
            return;
        }
        self.number = Varint::default();
        self.at = match self.at {
            At::Tag if value >> 3 == 0 => At::Lost,
            At::Tag => match value & 7 {
                0 => At::Number,
                1 => At::Field { left: 8, naming: false },
                2 => At::Length { naming: NAMING.contains(&(value >> 3)) },
                5 => At::Field { left: 4, naming: false },
                _ => At::Lost,
            },
            At::Length { naming } => {
                self.seen = 0;
                At::Field { left: value, naming }
            }
            _ => At::Tag,
        };
    }

    fn look(&mut self, byte: u8) {
        let goes_on = match BEFORE_HASH.get(self.seen) {
            Some(&expected) => byte == expected,
            None => byte.is_ascii_hexdigit(),
        };
        self.seen = match goes_on {
            true => self.seen + 1,
            false => usize::from(byte == BEFORE_HASH[0]),
        };
        self.names_contents |= self.seen == BEFORE_HASH.len() + 64;
    }
}

#[cfg(test)]
mod tests {
    use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
    use prost::Message as _;

    use super::*;

    fn scanned(bytes: &[u8], piece: usize) -> Scan {
        let mut scan = Scan::new();
        bytes.chunks(piece).for_each(|piece| scan.take(piece));
        scan
    }

    #[test]
    fn a_result_is_told_from_other_bytes_however_they_come() {
        let digest = Some(reapi::Digest { hash: "0f".repeat(32), size_bytes: 300 });
        let file = reapi::OutputFile { path: "out".to_owned(), digest: digest.clone(), ..Default::default() };
        let tree = reapi::OutputDirectory { tree_digest: digest.clone(), ..Default::default() };
        let logs = (vec![7; 5000], digest.clone());
        let bare = reapi::ActionResult { exit_code: 3, stdout_raw: logs.0, ..Default::default() };
        for result in [
            reapi::ActionResult { output_files: vec![file], ..bare.clone() },
            reapi::ActionResult { output_directories: vec![tree], ..bare.clone() },
            reapi::ActionResult { stdout_digest: logs.1, ..bare.clone() },
            reapi::ActionResult { stderr_digest: digest, ..bare.clone() },
        ] {
            let message = result.encode_to_vec();
            for piece in [1, 3, 700, message.len()] {
                assert!(scanned(&message, piece).names_contents(), "{result:?}");
            }
        }
        let message = bare.encode_to_vec();
        assert!(scanned(&message, 9).may_be_one() && !scanned(&message, 9).names_contents());
        for other in [&b"no message"[..], b"\xcc\xac\x00\x01ccache", &[0; 40], &[0xff; 40]] {
            assert!(!scanned(other, 4).may_be_one(), "{other:?}");
        }
    }
}
