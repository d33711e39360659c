//! What `roo bench` can be told.

use std::net::IpAddr;
use std::path::PathBuf;

use super::workload::Workload;

/// Measure a ZooKeeper server (any, not only this one)
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// What to run, one after the other
    #[arg(value_name = "WORKLOAD", default_value = "read", num_args = 1..)]
    pub(super) workloads: Vec<Workload>,
    /// Servers; connections are spread over them
    #[arg(
        short,
        long,
        value_name = "HOST:PORT,...",
        default_value = "127.0.0.1:2181"
    )]
    #[arg(value_delimiter = ',')]
    pub(super) servers: Vec<String>,
    /// Connections, each with a session of its own
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) connections: u32,
    /// Requests under way per connection
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) depth: u32,
    /// Measured time in seconds [default: 5, or until -n requests are done]
    #[arg(short = 't', long)]
    pub(super) seconds: Option<f64>,
    /// Requests to send, without warm-up (sessions to open, znodes to fill)
    #[arg(short = 'n', long)]
    pub(super) requests: Option<u64>,
    /// Seconds of the same load before the measured time
    #[arg(long, default_value_t = 1.0)]
    pub(super) warm_up: f64,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024)]
    pub(super) value_size: usize,
    /// Znodes that are read and set
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) keys: u32,
    /// Children of the directory that is listed [default: 10; 100 for mixed]
    #[arg(long)]
    pub(super) children: Option<u32>,
    /// Operations of a multi of multi-large
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) multi_ops: u32,
    /// Work below this znode, and leave what is there before and afterwards
    #[arg(long, value_name = "PATH")]
    pub(super) root: Option<String>,
    /// All that fill creates and drain deletes is in the directory that list and count look at
    #[arg(long)]
    pub(super) flat: bool,
    /// The number of the first znode of fill and drain
    #[arg(long, default_value_t = 0)]
    pub(super) first: u32,
    /// Requests per second in an open loop: latency counts from when a request was due
    #[arg(long)]
    pub(super) rate: Option<f64>,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) threads: u32,
    /// Local addresses to connect from: each has ports for some 28,000 connections to one server
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',')]
    pub(super) from: Vec<IpAddr>,
    /// Session timeout to ask for
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(i32).range(1..))]
    pub(super) session_timeout_ms: i32,
    /// Processes of the servers on this machine, to report their CPU time and memory
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    pub(super) server_pid: Vec<u32>,
    /// Write every reply's time and latency to a file (CSV, nanoseconds, monotonic clock)
    #[arg(long, value_name = "FILE")]
    pub(super) samples: Option<PathBuf>,
    /// Draw latency over time (SVG; with several workloads the name gets that of each)
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
    /// Put latency over time into the JSON
    #[arg(long, requires = "json")]
    pub(super) timeline: bool,
    /// Run the same load against a null server too, and say how far this is from it
    #[arg(long, conflicts_with = "rate")]
    pub(super) beside_null: bool,
    /// Leave the znodes of the run (fill always does)
    #[arg(long)]
    pub(super) keep: bool,
    /// Print one JSON object per workload instead of a table
    #[arg(long)]
    pub(super) json: bool,
    /// Be a null server on this port: fixed answers, the limit of sockets and load generator
    #[arg(long, value_name = "PORT")]
    pub(super) null_server: Option<u16>,
}
