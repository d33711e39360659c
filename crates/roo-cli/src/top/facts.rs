//! What a server says of itself in answer to `srvr` and `mntr`.

use std::collections::BTreeMap;
use std::time::Duration;

/// See the module. What a server does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// leader, follower, observer, standalone, read-only, or looking.
    pub role: String,
    pub version: String,
    pub zxid: Option<u64>,
    pub sessions: Option<u64>,
    pub connections: Option<u64>,
    pub queued: Option<u64>,
    pub received: Option<u64>,
    pub sent: Option<u64>,
    pub latency_avg_ms: Option<f64>,
    pub latency_max_ms: Option<f64>,
    /// In which half and 99 of 100 reads were done.
    pub read_ms: [Option<f64>; 2],
    /// The same of writes.
    pub write_ms: [Option<f64>; 2],
    /// Writes below each top-level node, which every server counts that applies them.
    pub writes: BTreeMap<String, u64>,
    pub nodes: Option<u64>,
    pub watches: Option<u64>,
}

/// What happens in a second.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rates {
    /// Packets.
    pub received: f64,
    pub sent: f64,
    /// Writes below each top-level node that is written.
    pub writes: BTreeMap<String, f64>,
}

impl Facts {
    /// Reads the answer to `srvr`.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn of_srvr(answer: &str) -> Result<Self, String> {
        let mut facts = Self::default();
        if answer.contains("not currently serving") {
            "looking".clone_into(&mut facts.role);
            return Ok(facts);
        }
        if answer.contains("not in the whitelist") {
            return Err("may not be asked srvr: add it to 4lw.commands.whitelist".to_owned());
        }
        for line in answer.lines() {
            let Some((key, value)) = line.split_once(": ") else {
                continue;
            };
            let number = value.trim().parse().ok();
            match key {
                "Zookeeper version" => {
                    let end = value.find([',', '-', ' ']).unwrap_or(value.len());
                    facts.version = value.get(..end).unwrap_or(value).to_owned();
                }
                "Latency min/avg/max" => {
                    let mut parts = value
                        .split('/')
                        .skip(1)
                        .map(|part| part.trim().parse().ok());
                    facts.latency_avg_ms = parts.next().flatten();
                    facts.latency_max_ms = parts.next().flatten();
                }
                "Received" => facts.received = number,
                "Sent" => facts.sent = number,
                "Connections" => facts.connections = number,
                "Outstanding" => facts.queued = number,
                "Zxid" => {
                    let digits = value.trim().trim_start_matches("0x");
                    facts.zxid = u64::from_str_radix(digits, 16).ok();
                }
                "Mode" => value.trim().clone_into(&mut facts.role),
                "Node count" => facts.nodes = number,
                _ => {}
            }
        }
        if facts.role.is_empty() {
            return Err("what answers there is no ZooKeeper".to_owned());
        }
        Ok(facts)
    }

    /// Adds what `mntr` says, if the server may be asked.
    pub(super) fn add_mntr(&mut self, answer: &str) {
        for line in answer.lines() {
            let Some((key, value)) = line.split_once('\t') else {
                continue;
            };
            let (key, value) = (key.trim_start_matches("zk_"), value.trim());
            let number = value.parse().ok();
            match key {
                "global_sessions" => self.sessions = value.parse().ok(),
                "watch_count" => self.watches = value.parse().ok(),
                "p50_readlatency" => self.read_ms[0] = number,
                "p99_readlatency" => self.read_ms[1] = number,
                "p50_updatelatency" => self.write_ms[0] = number,
                "p99_updatelatency" => self.write_ms[1] = number,
                _ => {
                    let name = key.strip_prefix("cnt_");
                    let name = name.and_then(|key| key.strip_suffix("_write_per_namespace"));
                    if let (Some(name), Ok(count)) = (name, value.parse()) {
                        self.writes.insert(name.to_owned(), count);
                    }
                }
            }
        }
    }

    /// What happened since an earlier look; nothing if the server was started anew meanwhile.
    pub(super) fn since(&self, before: &Self, time: Duration) -> Option<Rates> {
        let seconds = time.as_secs_f64();
        let rate = |now: Option<u64>, then: Option<u64>| {
            let more = u32::try_from(now?.checked_sub(then?)?).ok()?;
            (seconds > 0.0).then(|| f64::from(more) / seconds)
        };
        let written = self.writes.iter().filter_map(|(name, now)| {
            let then = before.writes.get(name).copied().unwrap_or(0);
            let rate = rate(Some(*now), Some(then)).filter(|rate| *rate > 0.0)?;
            Some((name.clone(), rate))
        });
        Some(Rates {
            received: rate(self.received, before.received)?,
            sent: rate(self.sent, before.sent)?,
            writes: written.collect(),
        })
    }

    /// Whether it takes writes, as far as it knows.
    pub(super) fn leads(&self) -> bool {
        matches!(self.role.as_str(), "leader" | "standalone")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SRVR: &str = "Zookeeper version: 3.9.5-6a1b, built on 2025-01-01\n\
        Latency min/avg/max: 0/0.3462/17\nReceived: 120\nSent: 119\nConnections: 4\n\
        Outstanding: 1\nZxid: 0x10000002a\nMode: leader\nNode count: 9\n\
        Proposal sizes last/min/max: 32/32/48\n";

    #[test]
    fn srvr_and_mntr_are_understood() {
        let mut facts = Facts::of_srvr(SRVR).unwrap();
        facts.add_mntr(
            "zk_version\t3\nzk_global_sessions\t7\nzk_watch_count\t3\nzk_p50_readlatency\t0\n\
             zk_p99_updatelatency\t12\nzk_cnt_app_write_per_namespace\t9\n",
        );
        assert_eq!(facts.read_ms, [Some(0.0), None]);
        assert_eq!(facts.write_ms, [None, Some(12.0)]);
        assert_eq!(facts.writes["app"], 9);
        assert_eq!(
            (facts.role.as_str(), facts.version.as_str()),
            ("leader", "3.9.5")
        );
        assert_eq!((facts.zxid, facts.sessions), (Some(0x1_0000_002a), Some(7)));
        assert_eq!(
            (facts.latency_avg_ms, facts.latency_max_ms),
            (Some(0.3462), Some(17.0))
        );
        assert!(facts.leads());
    }

    #[test]
    fn other_answers_are_named() {
        let looking = Facts::of_srvr("This ZooKeeper instance is not currently serving requests\n");
        assert_eq!(looking.unwrap().role, "looking");
        let said = Facts::of_srvr("srvr is not executed because it is not in the whitelist.\n");
        assert!(said.unwrap_err().contains("4lw.commands.whitelist"));
        assert!(
            Facts::of_srvr("HTTP/1.1 400 Bad Request\n")
                .unwrap_err()
                .contains("no ZooKeeper")
        );
    }

    #[test]
    fn rates_are_of_one_life_of_a_server() {
        let before = Facts::of_srvr(SRVR).unwrap();
        let mut now = Facts::of_srvr(&SRVR.replace("120", "160")).unwrap();
        now.writes.insert("app".to_owned(), 4);
        let rates = now.since(&before, Duration::from_secs(2)).unwrap();
        assert_eq!(
            rates,
            Rates {
                received: 20.0,
                sent: 0.0,
                writes: BTreeMap::from([("app".to_owned(), 2.0)]),
            }
        );
        assert_eq!(before.since(&now, Duration::from_secs(2)), None);
    }
}
