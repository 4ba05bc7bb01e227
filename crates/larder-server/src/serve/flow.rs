//! Bodies on their way: counted, kept to their rate, and watched for clients that draw them out.
//!
//! Invariants: a client that sends less than a little in a span of time is done with; what a response still holds is
//! known to its connection from the moment when the client has to take the next piece.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::{BoxError, Error};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::streams::Mark;
use crate::guard::Admission;

/// A client that sends no more than this in a span is drawing it out.
const LEAST_BYTES: u64 = 4096;
/// How long one piece waits for the rate at most; the next waits for the rest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a piece of a response is at most: HTTP/2 takes a piece as a whole, and holds it while the client does not.
const PIECE_BYTES: usize = 256 << 10;

/// How many bytes passed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) came: AtomicU64,
    pub(super) went: AtomicU64,
}

/// The client sent too little for too long.
#[derive(Debug, thiserror::Error)]
#[error("the client sent nothing for too long")]
pub(crate) struct TooSlow;

impl TooSlow {
    /// Whether an error is because of this.
    pub(crate) fn is_cause_of(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<Self>())
    }
}

/// Waits for the rate.
#[derive(Debug)]
struct Pace {
    admission: Admission,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    fn passed(&mut self, bytes: u64) {
        let wait = self.admission.passed(bytes).min(LONGEST_PAUSE);
        if !wait.is_zero() {
            self.pause = Some(Box::pin(sleep_until(Instant::now() + wait)));
        }
    }
}

/// What a client sends.
#[derive(Debug)]
pub(super) struct Inbound<B> {
    body: B,
    pace: Pace,
    tally: Arc<Tally>,
    span: Duration,
    /// When the span ends, once something was waited for.
    end: Option<Pin<Box<Sleep>>>,
    came: u64,
}

impl<B> Inbound<B> {
    pub(super) fn new(body: B, admission: Admission, tally: Arc<Tally>, span: Duration) -> Self {
        Self { body, pace: Pace { admission, pause: None }, tally, span, end: None, came: 0 }
    }

    /// Whether the span is over in which nothing came; a new one begins if something did.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let end = self.end.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + self.span)));
            ready!(end.as_mut().poll(cx));
            if self.came < LEAST_BYTES {
                return Poll::Ready(());
            }
            (self.came, self.end) = (0, None);
        }
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin> HttpBody for Inbound<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.pace.pause.is_some() {
            ready!(this.pace.poll(cx));
            // That the server waited is not the client's fault.
            (this.came, this.end) = (0, None);
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.came += bytes;
                this.tally.came.fetch_add(bytes, Ordering::Relaxed);
                this.pace.passed(bytes);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                ready!(this.poll_end(cx));
                Poll::Ready(Some(Err(TooSlow.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a client is given. `L` is dropped with it.
#[derive(Debug)]
pub(super) struct Outbound<L> {
    body: Body,
    /// What is left of a piece that was too long.
    rest: Bytes,
    pace: Pace,
    tally: Arc<Tally>,
    mark: Mark,
    _last: L,
}

impl<L> Outbound<L> {
    pub(super) fn new(body: Body, admission: Admission, tally: Arc<Tally>, mark: Mark, last: L) -> Self {
        let pace = Pace { admission, pause: None };
        Self { body, rest: Bytes::new(), pace, tally, mark, _last: last }
    }
}

impl<L: Unpin> HttpBody for Outbound<L> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        this.mark.ours();
        ready!(this.pace.poll(cx));
        let data = if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        } else {
            std::mem::take(&mut this.rest)
        };
        let mut data = data;
        if data.len() > PIECE_BYTES {
            this.rest = data.split_off(PIECE_BYTES);
        }
        this.tally.went.fetch_add(data.len() as u64, Ordering::Relaxed);
        this.pace.passed(data.len() as u64);
        this.mark.the_clients();
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.body.size_hint();
        let rest = self.rest.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
