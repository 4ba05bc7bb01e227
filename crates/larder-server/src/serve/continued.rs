//! A future that goes on at once where it wakes itself.
//!
//! A connection whose request has a body wakes itself while it is polled: who reads the body and who brings it are one
//! task. The runtime takes such a task for one that wants others to go first, and wakes a second thread for them, which
//! takes longer than the rest of the connection's work for a small request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// How often it goes on before others have their turn.
const ROUNDS: usize = 4;

/// Nobody polls it, and nobody woke it since.
const RESTS: u8 = 0;
/// It is being polled.
const POLLED: u8 = 1;
/// Somebody woke it since it was last begun to be polled.
const WOKEN: u8 = 2;

pub(super) struct Continued<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
}

struct Bell {
    state: AtomicU8,
    /// Whom to wake while it rests.
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == RESTS {
            self.task.wake();
        }
    }
}

impl<F: Future> Continued<F> {
    pub(super) fn new(future: F) -> Self {
        let bell = Arc::new(Bell { state: AtomicU8::new(RESTS), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&bell));
        Self { future: Box::pin(future), bell, waker }
    }

    /// The future itself, to be told something. It is to be polled after that.
    pub(super) fn future(&mut self) -> Pin<&mut F> {
        self.future.as_mut()
    }
}

impl<F: Future> Future for Continued<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, bell, waker } = &mut *self;
        bell.task.register(cx.waker());
        let mut own = Context::from_waker(waker);
        for _ in 0..ROUNDS {
            bell.state.swap(POLLED, Ordering::AcqRel);
            if let Poll::Ready(output) = future.as_mut().poll(&mut own) {
                return Poll::Ready(output);
            }
            let rests = bell.state.compare_exchange(POLLED, RESTS, Ordering::AcqRel, Ordering::Acquire);
            if rests.is_ok() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Wakes itself so often, and then leaves its waker.
    struct Restless {
        times: usize,
        polls: usize,
        left: Option<Waker>,
    }

    impl Future for &mut Restless {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.polls += 1;
            if self.times == 0 {
                self.left = Some(cx.waker().clone());
                return Poll::Pending;
            }
            self.times -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    /// How often one that wakes itself so often was polled, and its task was woken, after one poll of that.
    fn check(times: usize) -> (usize, usize, Option<Waker>, Arc<Count>) {
        let count = Arc::new(Count::default());
        let mut restless = Restless { times, polls: 0, left: None };
        let waker = Waker::from(Arc::clone(&count));
        let polled = Pin::new(&mut Continued::new(&mut restless)).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        (restless.polls, count.0.load(Ordering::Relaxed), restless.left, count)
    }

    #[test]
    fn one_that_wakes_itself_goes_on_without_its_task_and_lets_others_have_their_turn_after_a_while() {
        let told = |times| {
            let (polls, woken, ..) = check(times);
            (polls, woken)
        };
        assert_eq!(told(0), (1, 0));
        assert_eq!(told(2), (3, 0));
        assert_eq!(told(100), (ROUNDS, 1));
    }

    #[test]
    fn whoever_wakes_it_while_it_rests_wakes_its_task_once() {
        let (.., left, count) = check(1);
        let left = left.unwrap();
        left.wake_by_ref();
        left.wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
