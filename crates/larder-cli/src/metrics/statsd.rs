//! DogStatsD: datagrams of lines `NAME:VALUE|TYPE|@RATE|#TAG:VALUE,…`.
//!
//! Counters go as what came since the last time, and so do histograms: each bucket as one value, its mean, at the
//! sample rate that makes it count for as many as there were. Nobody answers, and what is lost is lost.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::registry::{Bucket, Family, Kind, Labels, Value};

/// What gets through any Ethernet in one piece.
const DATAGRAM_BYTES: usize = 1432;

/// Where datagrams go, and what went already.
#[derive(Debug)]
pub(crate) struct Statsd {
    socket: UdpSocket,
    sent: HashMap<(String, Labels), Value>,
}

impl Statsd {
    /// Sends to `address` from now on.
    pub(crate) fn to(address: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        // What does not go at once is lost: that is what datagrams are for.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, sent: HashMap::new() })
    }

    /// Sends what came since the last time.
    pub(crate) fn send(&mut self, families: &[Family]) -> io::Result<()> {
        for datagram in packed(&self.lines(families)) {
            self.socket.send(datagram.as_bytes())?;
        }
        Ok(())
    }

    fn lines(&mut self, families: &[Family]) -> Vec<String> {
        let mut lines = Vec::new();
        for Family { name, kind, series, .. } in families {
            for (labels, value) in series {
                let tags = tags(labels);
                let before = self.sent.insert((name.clone(), labels.clone()), value.clone());
                match (kind, value, before) {
                    (Kind::Gauge, Value::Number(now), _) => lines.push(format!("{name}:{now}|g{tags}")),
                    (_, Value::Number(now), before) => {
                        let before = if let Some(Value::Number(before)) = before { before } else { 0.0 };
                        if *now > before {
                            lines.push(format!("{name}:{}|c{tags}", now - before));
                        }
                    }
                    (_, Value::Histogram { buckets, .. }, before) => {
                        let before = if let Some(Value::Histogram { buckets, .. }) = before {
                            buckets
                        } else {
                            vec![]
                        };
                        lines.extend(distribution(name, &tags, buckets, &before));
                    }
                }
            }
        }
        lines
    }
}

fn distribution(name: &str, tags: &str, now: &[Bucket], before: &[Bucket]) -> Vec<String> {
    let line = |(at, now): (usize, &Bucket)| {
        let before = before.get(at).copied().unwrap_or_default();
        let count = now.count - before.count;
        let mean = (now.sum - before.sum) / count as f64;
        let rate = if count == 1 { String::new() } else { format!("|@{}", 1.0 / count as f64) };
        (count > 0).then(|| format!("{name}:{mean}|d{rate}{tags}"))
    };
    now.iter().enumerate().filter_map(line).collect()
}

/// Labels as tags, in which some characters mean something else.
fn tags(labels: &Labels) -> String {
    let mut tags = String::new();
    for (name, value) in labels {
        let value = value.replace([',', '|', '#', '\n', ':'], "_");
        let begin = if tags.is_empty() { "|#" } else { "," };
        let _ = write!(tags, "{begin}{name}:{value}");
    }
    tags
}

/// Lines in as few datagrams as may be.
fn packed(lines: &[String]) -> Vec<String> {
    let mut datagrams: Vec<String> = Vec::new();
    for line in lines {
        match datagrams.last_mut() {
            Some(last) if last.len() + 1 + line.len() <= DATAGRAM_BYTES => {
                last.push('\n');
                last.push_str(line);
            }
            _ => datagrams.push(line.clone()),
        }
    }
    datagrams
}
