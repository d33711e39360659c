//! roo-client and the zookeeper-client crate, one after the other and again, against one server:
//! `throughput HOST:PORT [SECONDS]`. Prints operations per second, the median of the rounds.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// Rounds of each pair.
const ROUNDS: usize = 15;
/// Calls that are under way at once.
const WIDTHS: [usize; 4] = [1, 16, 128, 1000];
/// Bytes of a value.
const VALUE: [u8; 100] = [7; 100];

/// What a round came to.
#[derive(Clone, Copy)]
struct Round {
    per_second: f64,
    /// Of this process, both halves of the round trip not counting the server's.
    cpu_us: f64,
}

/// CPU time of this process's threads, in seconds.
fn cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let ns = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    ns.sum::<u64>() as f64 / 1e9
}

/// One round of `width` callers.
async fn measure<F, T>(width: usize, time: Duration, call: F) -> Round
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let call = Arc::new(call);
    let count = Arc::new(AtomicU64::new(0));
    let (began, cpu_before) = (Instant::now(), cpu());
    let mut tasks = JoinSet::new();
    for _ in 0..width {
        let (call, count) = (Arc::clone(&call), Arc::clone(&count));
        tasks.spawn(async move {
            while began.elapsed() < time {
                call().await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    let count = count.load(Ordering::Relaxed) as f64;
    Round {
        per_second: count / began.elapsed().as_secs_f64(),
        cpu_us: (cpu() - cpu_before) * 1e6 / count,
    }
}

fn median(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn compare(hosts: &str, time: Duration) {
    let ours = roo_client::Client::connect(hosts, roo_client::Options::default())
        .await
        .expect("connect");
    let theirs = zookeeper_client::Client::connect(hosts)
        .await
        .expect("connect");
    let path = "/throughput";
    // It may be there from another run.
    let _ = ours
        .create(path, VALUE, roo_client::NodeKind::Persistent)
        .await;
    println!("            per second            CPU us per call");
    println!("call  width roo-client      other roo-client      other  ratio");
    for operation in ["get", "set"] {
        for width in WIDTHS {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let (a, b) = (ours.clone(), theirs.clone());
                let is_get = operation == "get";
                first.push(
                    measure(width, time, move || {
                        let a = a.clone();
                        async move {
                            if is_get {
                                a.get(path).await.expect("get");
                            } else {
                                a.set(path, VALUE, roo_client::Version::Any)
                                    .await
                                    .expect("set");
                            }
                        }
                    })
                    .await,
                );
                second.push(
                    measure(width, time, move || {
                        let b = b.clone();
                        async move {
                            if is_get {
                                b.get_data(path).await.expect("get");
                            } else {
                                b.set_data(path, &VALUE, None).await.expect("set");
                            }
                        }
                    })
                    .await,
                );
            }
            let rate = |round: &Round| round.per_second;
            let cpu = |round: &Round| round.cpu_us;
            let (a, b) = (median(&first, rate), median(&second, rate));
            println!(
                "{operation:<5} {width:>5} {a:>10.0} {b:>10.0} {:>10.1} {:>10.1} {:>6.2}",
                median(&first, cpu),
                median(&second, cpu),
                a / b
            );
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let hosts = arguments.get(1).map_or("127.0.0.1:2181", String::as_str);
    let seconds = arguments
        .get(2)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1.0);
    compare(hosts, Duration::from_secs_f64(seconds)).await;
}
