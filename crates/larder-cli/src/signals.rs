//! Signals that ask to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Interrupt, terminate and hang up, from when they are listened to. From then on none of them ends the process.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where that means something else.
    hangup: Option<Signal>,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let hangup = Some(signal(SignalKind::hangup())?);
        Ok(Self { hangup, ..Self::listen_but_to_hangup()? })
    }

    /// The same for a process that hangs up on nobody: it takes that as a wish of another kind.
    pub(crate) fn listen_but_to_hangup() -> io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup: None })
    }

    /// Waits for one, and returns its number.
    pub(crate) async fn next(&mut self) -> u8 {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
            _ = hangup => 1,
        }
    }
}
