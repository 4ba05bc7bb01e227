//! A client that keeps its connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// How long a server may say nothing.
const LIMIT: Duration = Duration::from_secs(120);

/// How much of a large body is made, or looked at, at once.
const PIECE: usize = 1 << 20;

pub(super) struct Client {
    stream: TcpStream,
    came: Vec<u8>,
    body_from: usize,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self { stream, came: Vec::new(), body_from: 0 })
    }

    /// The body of the last answer.
    pub(super) fn body(&self) -> &[u8] {
        &self.came[self.body_from..]
    }

    pub(super) fn get(&mut self, path: &str) -> Result<u16> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: larder\r\n\r\n").as_bytes())?;
        self.answer()
    }

    pub(super) fn put(&mut self, path: &str, body: &[u8]) -> Result<u16> {
        let head = format!("PUT {path} HTTP/1.1\r\nHost: larder\r\nContent-Length: {}\r\n\r\n", body.len());
        self.stream.write_all(&[head.as_bytes(), body].concat())?;
        self.answer()
    }

    /// Puts a large body, a piece at a time.
    pub(super) fn put_many(&mut self, path: &str, seed: u64, length: usize) -> Result<u16> {
        let head = format!("PUT {path} HTTP/1.1\r\nHost: larder\r\nContent-Length: {length}\r\n\r\n");
        self.stream.write_all(head.as_bytes())?;
        let mut piece = bytes(seed, PIECE);
        for nth in 0..length / PIECE {
            mark(&mut piece, nth);
            self.stream.write_all(&piece)?;
        }
        self.answer()
    }

    /// Gets it, and compares each piece.
    pub(super) fn get_many(&mut self, path: &str, seed: u64, length: usize) -> Result<u16> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: larder\r\n\r\n").as_bytes())?;
        let (status, stated) = self.head()?;
        ensure!(stated == length, "{stated} bytes come where {length} were put");
        let mut piece = bytes(seed, PIECE);
        let mut came = self.came.split_off(self.body_from);
        for nth in 0..length / PIECE {
            let begun = came.len().min(PIECE);
            let rest = came.split_off(begun);
            came.resize(PIECE, 0);
            self.stream.read_exact(&mut came[begun..])?;
            mark(&mut piece, nth);
            ensure!(came == piece, "piece {nth} is another");
            came = rest;
        }
        Ok(status)
    }

    fn answer(&mut self) -> Result<u16> {
        let (status, length) = self.head()?;
        let came = self.came.len();
        let whole = self.body_from + length;
        ensure!(came <= whole, "more comes than was asked for");
        self.came.resize(whole, 0);
        self.stream.read_exact(&mut self.came[came..])?;
        Ok(status)
    }

    /// Reads up to the end of the head, and what comes with it.
    fn head(&mut self) -> Result<(u16, usize)> {
        self.came.clear();
        let mut buffer = [0; 16 << 10];
        loop {
            let read = self.stream.read(&mut buffer)?;
            ensure!(read > 0, "the server hangs up");
            self.came.extend_from_slice(&buffer[..read]);
            if let Some(end) = self.came.windows(4).position(|four| four == b"\r\n\r\n") {
                self.body_from = end + 4;
                break;
            }
        }
        let head = std::str::from_utf8(&self.came[..self.body_from])?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
        });
        Ok((status, length.unwrap_or(0)))
    }
}

/// Bytes that no other number makes and that do not compress.
pub(super) fn bytes(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut all = Vec::with_capacity(length + 8);
    while all.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend_from_slice(&state.to_le_bytes());
    }
    all.truncate(length);
    all
}

/// Makes a piece another one.
fn mark(piece: &mut [u8], nth: usize) {
    piece[..8].copy_from_slice(&(nth as u64).to_le_bytes());
}
