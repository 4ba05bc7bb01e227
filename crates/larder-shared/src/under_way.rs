//! Steps that are under way, in order.
//!
//! Invariants: whoever gives up waiting for a step finds it there the next time; those that nobody waits for any more
//! are ended.

use std::collections::VecDeque;
use std::future::Future;

use larder::tier::TierError;
use tokio::task::JoinHandle;

#[derive(Debug)]
pub(crate) struct UnderWay<T>(VecDeque<JoinHandle<Result<T, TierError>>>);

impl<T: Send + 'static> UnderWay<T> {
    pub(crate) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Begins a step, after those that are under way.
    pub(crate) fn push(&mut self, step: impl Future<Output = Result<T, TierError>> + Send + 'static) {
        self.0.push_back(tokio::spawn(step));
    }

    /// What the first of them came to; `None` if there is none.
    pub(crate) async fn first(&mut self) -> Result<Option<T>, TierError> {
        let Some(first) = self.0.front_mut() else { return Ok(None) };
        let outcome = first.await;
        self.0.pop_front();
        outcome.unwrap_or_else(|error| Err(TierError::Index(Box::new(error)))).map(Some)
    }
}

impl<T> Drop for UnderWay<T> {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn steps_come_in_order_whoever_gave_up_waiting_and_one_that_fails_is_told_once() {
        let mut under_way = UnderWay::new();
        let (second_ends, second) = oneshot::channel();
        let (first_ends, first) = oneshot::channel();
        under_way.push(async move { Ok(first.await.unwrap()) });
        under_way.push(async move { Ok(second.await.unwrap()) });
        under_way.push(async { Err(TierError::ReadOnly) });
        under_way.push(async { panic!("a step that panics") });
        second_ends.send(2).unwrap();
        timeout(Duration::ZERO, under_way.first()).await.unwrap_err();
        first_ends.send(1).unwrap();
        assert_eq!(under_way.first().await.unwrap(), Some(1));
        assert_eq!(under_way.first().await.unwrap(), Some(2));
        assert!(matches!(under_way.first().await, Err(TierError::ReadOnly)));
        assert!(matches!(under_way.first().await, Err(TierError::Index(_))));
        assert_eq!((under_way.first().await.unwrap(), under_way.len()), (None, 0));
    }

    #[tokio::test]
    async fn those_that_nobody_waits_for_any_more_are_ended() {
        let (kept, mut ended) = oneshot::channel::<()>();
        let mut under_way = UnderWay::new();
        under_way.push(async move {
            let _kept = kept;
            std::future::pending::<Result<(), _>>().await
        });
        timeout(Duration::ZERO, &mut ended).await.unwrap_err();
        drop(under_way);
        ended.await.unwrap_err();
    }
}
