//! Locks, and what locks are made of, under one name, so that a model checker can take their place.
//!
//! With the feature `shuttle` they are those of the `shuttle` crate, which runs a test under many schedules;
//! such a build is for those tests only.

#[cfg(not(feature = "shuttle"))]
pub(crate) use parking_lot::Mutex;
#[cfg(feature = "shuttle")]
pub(crate) use scheduled::Mutex;
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU64},
    thread::yield_now,
};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU64},
    thread::yield_now,
};

#[cfg(feature = "shuttle")]
mod scheduled {
    /// `parking_lot`'s interface on shuttle's lock.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0.lock().expect("no test panics while it holds a lock")
        }
    }
}
