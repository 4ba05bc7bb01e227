//! Servers of one's own: what tests of all shared tiers ask of one, and processes that end.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::port::STARTS;

/// A server on which there is a shared tier, and which ends with this. What tests of all such tiers ask of one.
pub trait Server: Sized + Send {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// If it is not installed, or if it does not start.
    fn start() -> Self;

    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// The URL of the tier for whoever reaches it there, through a proxy perhaps.
    fn url_at(&self, address: SocketAddr) -> String;

    /// The URL of the tier.
    fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// Ends it as a crash would.
    fn kill(&mut self);

    /// Starts it again after [`kill`](Self::kill), where it was before.
    ///
    /// # Panics
    /// If it does not start.
    fn restart(&mut self);
}

/// A process that ends with this.
#[derive(Debug)]
pub(super) struct Running(Child);

impl Running {
    pub(super) fn kill(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Starts a server and waits until it is ready; `None` if it ended at once, as a port is taken.
    ///
    /// # Panics
    /// If it cannot be started; `package` is what it is installed with.
    pub(super) fn start(
        command: &mut Command,
        package: &str,
        is_ready: impl Fn(&Child) -> io::Result<bool>,
    ) -> Option<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; install it with: apt-get install {package}"));
        let mut running = Self(child);
        let until = Instant::now() + STARTS;
        loop {
            let is_ready = is_ready(&running.0).is_ok_and(|is_ready| is_ready);
            // Another server may have the port, and this one be about to end.
            if running.0.try_wait().expect("a child can be asked").is_some() {
                return None;
            }
            if is_ready {
                return Some(running);
            }
            assert!(Instant::now() < until, "{program} does not answer");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something is so.
///
/// # Panics
/// If it takes too long; `what` is what is waited for.
pub(super) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + STARTS;
    while !is_so() {
        assert!(Instant::now() < until, "{what} takes too long");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Says something to a server and returns all that it answers until it closes the connection.
pub(super) fn converse(address: SocketAddr, said: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(said)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
