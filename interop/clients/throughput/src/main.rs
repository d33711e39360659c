//! roo-client and the zookeeper-client crate, one after the other and again, against one server:
//! `throughput HOST:PORT [SECONDS]`. Prints operations per second, the median of the rounds.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// Rounds of each pair.
const ROUNDS: usize = 5;
/// Calls that are under way at once.
const WIDTHS: [usize; 4] = [1, 16, 128, 1000];
/// Bytes of a value.
const VALUE: [u8; 100] = [7; 100];

/// Operations per second of `width` callers.
async fn measure<F, T>(width: usize, time: Duration, call: F) -> f64
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let call = Arc::new(call);
    let count = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
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
    count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

async fn compare(hosts: &str, time: Duration) {
    let ours = roo_client::Client::connect(hosts, roo_client::Options::default())
        .await
        .expect("connect");
    let theirs = zookeeper_client::Client::connect(hosts).await.expect("connect");
    let path = "/throughput";
    let _ = ours.create(path, VALUE, roo_client::NodeKind::Persistent).await;
    println!("operation  at once  roo-client  zookeeper-client  ratio");
    for operation in ["get", "set"] {
        for width in WIDTHS {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let (a, b) = (ours.clone(), theirs.clone());
                if operation == "get" {
                    first.push(measure(width, time, move || {
                        let a = a.clone();
                        async move { drop(a.get(path).await.expect("get")) }
                    }).await);
                    second.push(measure(width, time, move || {
                        let b = b.clone();
                        async move { drop(b.get_data(path).await.expect("get")) }
                    }).await);
                } else {
                    first.push(measure(width, time, move || {
                        let a = a.clone();
                        async move { drop(a.set(path, VALUE, roo_client::Version::Any).await.expect("set")) }
                    }).await);
                    second.push(measure(width, time, move || {
                        let b = b.clone();
                        async move { drop(b.set_data(path, &VALUE, None).await.expect("set")) }
                    }).await);
                }
            }
            let (a, b) = (median(first), median(second));
            println!("{operation:<9} {width:>8} {a:>11.0} {b:>17.0} {:>6.2}", a / b);
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let hosts = arguments.get(1).map_or("127.0.0.1:2181", String::as_str);
    let seconds = arguments.get(2).and_then(|text| text.parse().ok()).unwrap_or(1.0);
    compare(hosts, Duration::from_secs_f64(seconds)).await;
}
