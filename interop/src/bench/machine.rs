//! What a figure says nothing without: the machine, its disk, the day.

use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::figures::Spread;

/// The median time of a write of 1 KB and its fdatasync, where the file has zeros already: the
/// floor of a durable write. One into space that the file system has yet to allocate takes longer.
pub(super) fn fsync_us(dir: &Path) -> Result<f64> {
    const APPENDS: usize = 300;
    const RECORD: [u8; 1024] = [7; 1024];
    let path = dir.join("fsync-probe");
    let mut file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
    file.write_all(&vec![0; APPENDS * RECORD.len()])?;
    file.sync_all()?;
    file.rewind()?;
    let mut times = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        let start = Instant::now();
        file.write_all(&RECORD)?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(&path)?;
    Ok(Spread::of(&times).context("no appends")?.median)
}

/// Raises the number of files that this process and the servers it starts may have open as far as
/// it goes, and says how far that is.
pub(super) fn file_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // It stays as it was then.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Cores and memory.
pub(super) fn size() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0);
    Ok(format!("{cores} cores and {} GiB of memory", kib >> 20))
}

/// The day, as the system's own clock has it.
pub(super) fn day() -> Result<String> {
    let output = Command::new("date").arg("+%F").output().context("date")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// How many processes wait for a core besides: above the number of cores, latencies say little.
pub(super) fn load_average() -> f64 {
    std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .unwrap_or(0.0)
}
