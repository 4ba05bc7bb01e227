//! Look-ups that are asked for at the same time.

use std::sync::Arc;
use std::time::Duration;

use larder::entry::Record;
use larder::key::{Digest, Selector};
use larder::tier::disk::Disk;
use larder::tier::{Brief, NewEntry, PutOutcome, Refusal, Sealed, Tier};

use super::{Lab, entry, keep, key, noise, run, value};

fn ask(disk: &Disk, rest: &str) -> tokio::task::JoinHandle<Option<Vec<u8>>> {
    let (disk, key) = (disk.clone(), key(rest));
    tokio::spawn(async move { disk.get(&key).await.unwrap() })
}

#[test]
fn each_of_many_gets_its_own_answer() {
    let lab = Lab::new();
    let disk = lab.open();
    for n in 0..200 {
        keep(&disk, &format!("{n}"), &noise(100, n));
    }
    let expected: Arc<Vec<_>> =
        Arc::new((0..200).map(|n| disk.blocking_get(&key(&format!("{n}"))).unwrap()).collect());
    let all = async {
        let asked: Vec<_> = (0..400).map(|n| ask(&disk, &format!("{n}"))).collect();
        for (n, asked) in asked.into_iter().enumerate() {
            assert_eq!(asked.await.unwrap(), expected.get(n).cloned().flatten(), "{n}");
        }
    };
    run(all);
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    threads.block_on(async {
        for round in 0..50 {
            let asked: Vec<_> = (0..200).map(|n| ask(&disk, &format!("{n}"))).collect();
            for (n, asked) in asked.into_iter().enumerate() {
                assert_eq!(asked.await.unwrap(), expected[n], "{n} in round {round}");
            }
        }
    });
}

#[test]
fn each_of_many_that_are_stored_together_is_judged_by_itself() {
    let mut lab = Lab::new();
    lab.options.max_entry_bytes = 100_000;
    let disk = lab.open();
    let began = run(disk.epoch()).unwrap();
    run(disk.invalidate(&Selector::key(&key("revoked")))).unwrap();
    let now = run(disk.epoch()).unwrap();
    let absent = Digest::of(b"absent");
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    threads.block_on(async {
        let put = |entries: Vec<Sealed>| {
            let disk = disk.clone();
            tokio::spawn(async move { disk.put(entries).await.unwrap() })
        };
        let mut puts = Vec::new();
        for n in 0..200 {
            let value = noise(100, n);
            puts.push(put(vec![
                Sealed { began: now, ..entry(&disk, &format!("{n} a"), &value, |_| ()) },
                Sealed { began, ..entry(&disk, "revoked", &value, |_| ()) },
                Sealed { began: now, ..entry(&disk, &format!("{n} b"), &noise(200_000, n), |_| ()) },
            ]));
            let naming = |record: &mut Record| record.blobs = Box::new([absent]);
            puts.push(put(vec![entry(&disk, &format!("{n} c"), &value, naming)]));
        }
        let (kept, refused) = (PutOutcome::Kept, PutOutcome::Refused);
        let expected = [
            vec![kept, refused(Refusal::Revoked), refused(Refusal::TooLarge)],
            vec![refused(Refusal::MissingBlob(absent))],
        ];
        for (put, expected) in puts.into_iter().zip(expected.iter().cycle()) {
            assert_eq!(put.await.unwrap(), *expected);
        }
    });
    for n in 0..200 {
        assert_eq!(value(&disk, &format!("{n} a")), Some(noise(100, n)));
    }
}

#[test]
fn of_many_that_put_something_new_at_once_one_does_and_the_log_is_written_back_meanwhile() {
    let lab = Lab::new();
    let disk = lab.open();
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    threads.block_on(async {
        for n in 0..100 {
            let puts: Vec<_> = (0..8)
                .map(|by| {
                    let sealed = entry(&disk, &format!("{n}"), &noise(5_000, by), |_| ());
                    let Sealed { key, record, envelope, .. } = sealed;
                    let disk = disk.clone();
                    tokio::spawn(async move {
                        let place = if by < 2 { Brief::InPlace } else { Brief::Aside };
                        disk.put_new(NewEntry { key, record, envelope }, place).await.unwrap()
                    })
                })
                .collect();
            let mut kept = Vec::new();
            for (by, put) in puts.into_iter().enumerate() {
                match put.await.unwrap() {
                    Some(PutOutcome::Kept) => kept.push(by as u64),
                    there => assert_eq!(there, None),
                }
            }
            let [by] = kept[..] else { panic!("{kept:?} put {n}") };
            assert_eq!(value(&disk, &format!("{n}")), Some(noise(5_000, by)));
        }
    });
    // What was begun of writing back ends with the runtime.
    drop(threads);
    let index = std::fs::metadata(lab.cache().join("v1/index.sqlite")).unwrap().len();
    assert!(index > 100_000, "{index} bytes in the index, all else in its log");
}

#[test]
fn those_of_a_runtime_that_ended_are_in_nobodys_way() {
    let lab = Lab::new();
    let disk = lab.open();
    keep(&disk, "a", b"value");
    for _ in 0..20 {
        let brief = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        brief.block_on(async {
            // The only thread is busy, so that what is asked for waits when the runtime ends.
            let (_hold, held) = std::sync::mpsc::channel::<()>();
            drop(tokio::task::spawn_blocking(move || held.recv()));
            let _asked = ask(&disk, "a");
            tokio::task::yield_now().await;
        });
        drop(brief);
        assert_eq!(run(disk.get(&key("a"))).unwrap(), disk.blocking_get(&key("a")).unwrap());
    }
    assert_eq!(value(&disk, "a").unwrap(), b"value");
}

#[test]
fn in_place_look_ups_and_single_puts_need_no_other_thread() {
    let mut lab = Lab::new();
    lab.options.brief = Brief::InPlace;
    let disk = lab.open();
    keep(&disk, "small", b"value");
    keep(&disk, "large", &noise(100_000, 1));
    let mut alone = tokio::runtime::Builder::new_current_thread();
    let alone = alone.max_blocking_threads(1).enable_time().build().unwrap();
    alone.block_on(async {
        let (_hold, held) = std::sync::mpsc::channel::<()>();
        drop(tokio::task::spawn_blocking(move || held.recv()));
        for rest in ["small", "large", "none"] {
            assert_eq!(disk.get(&key(rest)).await.unwrap(), disk.blocking_get(&key(rest)).unwrap());
        }
        let epoch = disk.epoch().await.unwrap();
        disk.invalidated_since(epoch).await.unwrap();
        let put = disk.put(vec![entry(&disk, "put", b"value", |_| ())]);
        let put = tokio::time::timeout(Duration::from_secs(30), put).await.expect("no other thread");
        assert_eq!(put.unwrap(), [PutOutcome::Kept]);
    });
    assert_eq!(value(&disk, "put").unwrap(), b"value");
}
