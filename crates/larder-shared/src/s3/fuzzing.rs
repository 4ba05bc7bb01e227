//! What should hold for any object.

use larder::key::Digest;

use super::form::{self, Form};
use super::head::Head;

/// The bytes as they are, and what they are with a line that says they are whole.
fn also_whole(bytes: &[u8]) -> [Vec<u8>; 2] {
    let sum = format!("sum {}\n", Digest::of(bytes));
    [bytes.to_vec(), [bytes, sum.as_bytes()].concat()]
}

pub(crate) fn check_log(bytes: &[u8]) {
    for bytes in also_whole(bytes) {
        if let Ok(head) = Head::parse(&bytes) {
            assert_eq!(Head::parse(head.text().as_bytes()).ok(), Some(head));
        }
    }
}

pub(crate) fn check_entry(bytes: &[u8]) {
    for bytes in also_whole(bytes) {
        if let Form::Entry(header, envelope) = form::read(&bytes) {
            assert_eq!(form::read(&form::write(&header, envelope)), Form::Entry(header.clone(), envelope));
        }
    }
}
