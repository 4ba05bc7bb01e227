//! What `fuzz/` feeds with bytes that another machine wrote, or whoever can write where a team shares: each panics where
//! something does not hold that should for any bytes.

use crate::{etcd, pieces, remote_execution, s3};

/// A bucket's log: what is read is written and read again as the same.
pub fn bucket_log(bytes: &[u8]) {
    s3::check_log(bytes);
}

/// An entry's object in a bucket: the same.
pub fn bucket_entry(bytes: &[u8]) {
    s3::check_entry(bytes);
}

/// What stands beside an entry, or a blob, in etcd: the same.
pub fn note(text: &str) {
    etcd::check_note(text);
    if let Some(described) = pieces::Described::parse(text) {
        assert_eq!(
            pieces::Described::parse(&described.text()).map(|again| again.text()),
            Some(described.text())
        );
    }
}

/// What a remote execution cache has under a name: the same.
pub fn statement(name: &str, message: &[u8]) {
    remote_execution::check_statement(name, message);
}
