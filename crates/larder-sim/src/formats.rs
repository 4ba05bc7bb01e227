//! Readers for the formats that public request traces come in.
//!
//! Which format a file has is told by its name, as its publisher chose it:
//!
//! | file | source | format |
//! |---|---|---|
//! | `OLTP.lis`, `P3.lis` (`.zst`) | github.com/moka-rs/cache-trace, `arc` | text: `start count …`, keys `start` to `start + count - 1` |
//! | `cache2k_*.trace`, `cloud_physics_*.trace` (`.xz`) | github.com/ben-manes/caffeine, simulator resources | big-endian 32-bit keys |
//! | `scarab_*.trace` (`.xz`), `corda_*` (`.gz`) | the same | big-endian 64-bit keys |
//! | `lirs_*.trace` (`.gz`) | the same | text: a decimal key a line |
//! | `adapt_size_*.trace` (`.xz`) | the same | text: time, key, size |
//! | `address_penalties_*.trace` (`.xz`) | the same | text: operation, hexadecimal address, gap, cost of a hit, cost of a miss |
//! | `*.oracleGeneral.bin` | github.com/1a1a11a/libCacheSim, `data` | 24-byte little-endian records: time 4, key 8, size 4, next use 8 |

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::trace::{Builder, Trace};

#[derive(Debug, Clone, Copy)]
enum Format {
    Arc,
    Keys32,
    Keys64,
    Lirs,
    AdaptSize,
    Penalties,
    OracleGeneral,
}

/// Which format a file of this name has, if it is a trace.
fn format(name: &str) -> Option<Format> {
    let starts = |prefix: &str| name.starts_with(prefix);
    Some(match name.trim_end_matches(".xz").trim_end_matches(".gz").trim_end_matches(".zst") {
        stem if stem.ends_with(".lis") => Format::Arc,
        stem if stem.ends_with(".oracleGeneral.bin") => Format::OracleGeneral,
        _ if starts("cache2k_") || starts("cloud_physics_") => Format::Keys32,
        _ if starts("scarab_") || starts("corda_") => Format::Keys64,
        _ if starts("lirs_") => Format::Lirs,
        _ if starts("adapt_size_") => Format::AdaptSize,
        _ if starts("address_penalties_") => Format::Penalties,
        _ => return None,
    })
}

/// Reads all traces in a folder, in the order of their names; passes over other files.
pub fn read_folder(folder: &Path) -> Result<Vec<Trace>> {
    let listing = folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = listing.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    let mut traces = Vec::new();
    for path in paths {
        if let Some(trace) = read(&path).with_context(|| format!("cannot read {}", path.display()))? {
            traces.push(trace);
        }
    }
    ensure!(!traces.is_empty(), "no trace in {}", folder.display());
    Ok(traces)
}

/// Reads a trace; `None` if the name is not that of one.
pub fn read(path: &Path) -> Result<Option<Trace>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(format) = format(name) else { return Ok(None) };
    let mut trace = Builder::default();
    let reader = open(path, name)?;
    match format {
        Format::Arc => lines(reader, |words| arc(words, &mut trace))?,
        Format::Keys32 => {
            records(reader, |bytes: [u8; 4]| trace.request(u32::from_be_bytes(bytes).into(), 1))?
        }
        Format::Keys64 => records(reader, |bytes: [u8; 8]| trace.request(u64::from_be_bytes(bytes), 1))?,
        Format::Lirs => lines(reader, |words| {
            // The original files close with an asterisk.
            if words != ["*"] {
                trace.request(number(words, 0)?, 1);
            }
            Ok(())
        })?,
        Format::AdaptSize => lines(reader, |words| {
            trace.request(number(words, 1)?, u32::try_from(number(words, 2)?)?);
            Ok(())
        })?,
        Format::Penalties => lines(reader, |words| {
            let address = words.get(1).and_then(|word| word.strip_prefix("0x")).context("no address")?;
            trace.request_costing(u64::from_str_radix(address, 16)?, number(words, 4)?);
            Ok(())
        })?,
        Format::OracleGeneral => records(reader, |bytes: [u8; 24]| {
            let key = u64::from_le_bytes(bytes[4..12].try_into().expect("eight bytes"));
            trace.request(key, u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")));
        })?,
    }
    let stem = name.split('.').next().unwrap_or(name);
    Ok(Some(trace.finish(stem)))
}

fn open(path: &Path, name: &str) -> Result<Box<dyn BufRead>> {
    let file = File::open(path)?;
    Ok(match name.rsplit('.').next() {
        Some("zst") => Box::new(BufReader::new(zstd::stream::read::Decoder::new(file)?)),
        Some("gz") => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(file))),
        Some("xz") => Box::new(BufReader::new(lzma_rust2::XzReader::new(BufReader::new(file), true))),
        _ => Box::new(BufReader::new(file)),
    })
}

fn lines(mut reader: impl BufRead, mut each: impl FnMut(&[&str]) -> Result<()>) -> Result<()> {
    let (mut line, mut number) = (String::new(), 0);
    while reader.read_line(&mut line)? > 0 {
        number += 1;
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if !words.is_empty() {
            each(&words).with_context(|| format!("line {number}"))?;
        }
        line.clear();
    }
    Ok(())
}

fn records<const N: usize>(mut reader: impl Read, mut each: impl FnMut([u8; N])) -> Result<()> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    let (records, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        bail!("{} bytes after the last whole record", rest.len());
    }
    records.iter().copied().for_each(&mut each);
    Ok(())
}

fn number(words: &[&str], at: usize) -> Result<u64> {
    let word = words.get(at).with_context(|| format!("no word {at}"))?;
    word.parse().with_context(|| format!("{word:?} is no number"))
}

fn arc(words: &[&str], trace: &mut Builder) -> Result<()> {
    let (start, count) = (number(words, 0)?, number(words, 1)?);
    (start..start + count).for_each(|key| trace.request(key, 1));
    Ok(())
}
