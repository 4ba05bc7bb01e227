//! The process and its machine, as the metrics of other programs have them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use larder::config::Machine;
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use rustix::process::{Resource, getrlimit};

/// In how many parts the kernel divides a second of a process' time.
const TICKS_A_SECOND: u64 = 100;

/// Looks at this process, its machine and the file system that the disk tier is on.
pub(crate) struct Watch {
    directory: PathBuf,
    resident: Gauge,
    available: Gauge,
    open_files: Gauge,
    time: Counter,
    disk: [Gauge; 2],
}

impl Watch {
    /// One that tells of the file system that `directory` is on.
    pub(crate) fn new(directory: &Path) -> Self {
        describe();
        gauge!("larder_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!("process_start_time_seconds").set(now.as_secs_f64());
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            gauge!("process_max_fds").set(limit as f64);
        }
        Self {
            directory: directory.to_owned(),
            resident: gauge!("process_resident_memory_bytes"),
            available: gauge!("larder_available_memory_bytes"),
            open_files: gauge!("process_open_fds"),
            time: counter!("process_cpu_nanoseconds_total"),
            disk: [gauge!("larder_disk_free_bytes"), gauge!("larder_disk_size_bytes")],
        }
    }

    /// Looks again. What can't be found out stays as it was.
    pub(crate) fn look(&self) {
        let status = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
        if let Some(pages) = pages {
            self.resident.set((pages * rustix::param::page_size() as u64) as f64);
        }
        if let Some(memory) = Machine::probe(Path::new("/")).memory {
            self.available.set(memory.0 as f64);
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            self.open_files.set(files.count() as f64);
        }
        if let Some(ticks) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(ticks) {
            self.time.absolute(ticks * (1_000_000_000 / TICKS_A_SECOND));
        }
        if let Ok(disk) = rustix::fs::statvfs(&self.directory) {
            let bytes = |blocks: u64| (blocks * disk.f_frsize) as f64;
            self.disk[0].set(bytes(disk.f_bavail));
            self.disk[1].set(bytes(disk.f_blocks));
        }
    }
}

/// Time that the process took, from what the kernel says of it. The name in it may hold anything but ends with a
/// parenthesis.
fn ticks(text: &str) -> Option<u64> {
    let fields = text.rsplit_once(") ")?.1.split(' ').skip(11).take(2);
    fields.map(|field| field.parse::<u64>().ok()).sum()
}

fn describe() {
    describe_gauge!("larder_build_info", "The version that runs.");
    describe_gauge!("process_start_time_seconds", "When the process began, in seconds since 1970.");
    describe_gauge!("process_resident_memory_bytes", "Memory that the process takes.");
    describe_gauge!("process_open_fds", "Files and connections that the process has open.");
    describe_gauge!("process_max_fds", "How many it may have open.");
    describe_counter!("process_cpu_nanoseconds_total", "Processor time that the process took.");
    describe_gauge!("larder_available_memory_bytes", "Memory that the process may take beside what it has.");
    describe_gauge!("larder_disk_free_bytes", "What is free on the file system of the disk tier.");
    describe_gauge!("larder_disk_size_bytes", "The size of the file system of the disk tier.");
}
