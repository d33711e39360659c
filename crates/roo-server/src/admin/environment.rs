//! The word `envi`. Java: `Environment.list`.

use std::fmt::Write;

use super::words::VERSION;

/// Java's keys, with what they mean here.
// Compat: C-03 there is no Java to describe.
pub(super) fn environment() -> String {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let directory = std::env::current_dir().unwrap_or_default();
    let uname = rustix::system::uname();
    let mut out = String::from("Environment:\n");
    let host = uname.nodename().to_string_lossy().into_owned();
    let release = uname.release().to_string_lossy().into_owned();
    for (key, value) in [
        ("zookeeper.version", VERSION.to_owned()),
        ("host.name", host),
        ("java.version", "<NA>".into()),
        ("java.vendor", "RooKeeper".into()),
        ("java.home", "<NA>".into()),
        ("java.class.path", "<NA>".into()),
        ("java.library.path", "<NA>".into()),
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", "<NA>".into()),
        ("os.name", uname.sysname().to_string_lossy().into_owned()),
        ("os.arch", uname.machine().to_string_lossy().into_owned()),
        ("os.version", release),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", directory.display().to_string()),
        ("os.memory.free", memory("MemFree:")),
        ("os.memory.max", memory("MemTotal:")),
        ("os.memory.total", memory("MemTotal:")),
    ] {
        let _ = writeln!(out, "{key}={value}");
    }
    out
}

/// A line of /proc/meminfo in MB.
fn memory(name: &str) -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib: u64 = line
        .and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    format!("{}MB", kib / 1024)
}
