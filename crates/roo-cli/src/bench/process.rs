//! What the kernel says of a process on this machine: CPU time and memory. Linux only.

use std::fs;

use anyhow::{Context as _, Result};

/// The unit of CPU times in /proc is 1/100 s on every Linux.
const NS_PER_TICK: u64 = 10_000_000;

/// CPU time and memory of one or more processes together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) cpu_ns: u64,
    pub(super) rss_bytes: u64,
    pub(super) rss_bytes_peak: u64,
}

/// The sum over `pids`.
pub(super) fn usage(pids: &[u32]) -> Result<Usage> {
    let mut sum = Usage::default();
    for pid in pids {
        sum.cpu_ns += cpu_ns(&pid.to_string())?;
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        sum.rss_bytes += status_bytes(&status, "VmRSS:");
        sum.rss_bytes_peak += status_bytes(&status, "VmHWM:");
    }
    Ok(sum)
}

/// The CPU time of this process.
pub(super) fn own_cpu_ns() -> Result<u64> {
    cpu_ns("self")
}

fn cpu_ns(process: &str) -> Result<u64> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    parse_cpu_ns(&stat).with_context(|| format!("{path} does not look as expected"))
}

/// utime and stime are the 14th and 15th field; the 2nd may contain blanks and brackets.
fn parse_cpu_ns(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * NS_PER_TICK)
}

fn status_bytes(status: &str, key: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_name_with_brackets() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        assert_eq!(parse_cpu_ns(stat), Some(2_000_000_000));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(
            status_bytes("VmHWM:\t   20 kB\nVmRSS:\t  10 kB\n", "VmRSS:"),
            10_240
        );
    }

    #[test]
    fn this_process_has_memory() {
        assert!(usage(&[std::process::id()]).unwrap().rss_bytes > 0);
    }
}
