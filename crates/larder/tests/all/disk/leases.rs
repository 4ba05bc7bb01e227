//! Leases between handles.

use std::path::PathBuf;

use super::{Lab, files_under, key};

#[test]
fn one_holds_a_lease_at_a_time_and_its_end_leaves_no_file() {
    let lab = Lab::new();
    let (first, second) = (lab.open(), lab.open());
    let lease = first.blocking_try_lease(&key("x")).unwrap().unwrap();
    assert!(second.blocking_try_lease(&key("x")).unwrap().is_none());
    assert!(first.blocking_try_lease(&key("x")).unwrap().is_none());
    let nested = first.blocking_try_lease(&key("y")).unwrap().unwrap();
    drop(lease);
    let again = second.blocking_try_lease(&key("x")).unwrap().unwrap();
    drop((nested, again));
    assert_eq!(files_under(&lab.cache().join("v1/locks")), Vec::<PathBuf>::new());
}
