//! Memory that will be needed in a moment.

/// Begins to bring the cache line at the beginning of a value nearer, without waiting for it. Does nothing where the
/// compiler has no stable way to say so.
///
/// An arrival that makes somebody leave touches half a dozen lines that are not at hand, each found by way of another;
/// asked for at once, they come at the price of one, and asked for when somebody before had to leave, at less.
#[inline]
pub(crate) fn soon<T>(value: Option<&T>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(value) = value {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and writes nothing that a program could see, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
