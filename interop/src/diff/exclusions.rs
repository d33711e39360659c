//! Everything that the differential test leaves out on purpose, in one table: requests that are
//! not sent, and parts of replies that are not compared. docs/compat.md shows the same table.

use anyhow::Result;

use super::steps::Sent;
use crate::wire::In;

/// Something left out.
#[derive(Debug)]
pub struct Exclusion {
    /// Its number in docs/compat.md.
    pub id: &'static str,
    /// The deliberate difference behind it; "-" when both behaviours are right.
    pub compat: &'static str,
    /// What is left out.
    pub what: &'static str,
    /// Why it cannot be compared.
    pub why: &'static str,
    leaves_out: LeavesOut,
}

#[derive(Debug)]
enum LeavesOut {
    /// Requests sent at once for which this is true.
    Requests(fn(&[Sent]) -> bool),
    /// The same, but only where quotas are enforced.
    RequestsOfQuotas(fn(&[Sent]) -> bool),
    /// The same, but only for ensembles.
    RequestsOfEnsembles(fn(&[Sent]) -> bool),
    /// The same, but only in the exchange of directories.
    RequestsOfExchange(fn(&[Sent]) -> bool),
    /// A part of a reply; `render` does it.
    Comparison,
}

/// Where requests are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Purpose {
    Compare,
    Quotas,
    Expiry,
    Collections,
    Ensembles,
    Exchange,
}

/// The table.
pub const EXCLUSIONS: &[Exclusion] = &[
    Exclusion {
        id: "X-01",
        compat: "C-18",
        what: "createContainer with the flags of an ephemeral",
        why: "In the genuine server the outcome depends on whether it is applied already",
        leaves_out: LeavesOut::Requests(|sent| {
            any(sent, |one| {
                one.op == CREATE_CONTAINER && matches!(one.flags, 1 | 3)
            })
        }),
    },
    Exclusion {
        id: "X-02",
        compat: "C-04",
        what: "createTTL of a mode without a ttl and with a negative one",
        why: "It ends the genuine server",
        leaves_out: LeavesOut::Requests(|sent| {
            sent.iter().any(|(op, body)| {
                *op == CREATE_TTL
                    && single(*op, &mut In(body))
                        .is_ok_and(|one| one.ttl < 0 && matches!(one.flags, 0..=4))
            })
        }),
    },
    Exclusion {
        id: "X-03",
        compat: "C-08",
        what: "setACL together with other requests in flight",
        why: "The genuine server checks those behind it against the older list",
        leaves_out: LeavesOut::Requests(|sent| sent.len() > 1 && has(sent, SET_ACL)),
    },
    Exclusion {
        id: "X-04",
        compat: "-",
        what: "auth together with other requests in flight",
        why: "Its reply may overtake those before it",
        leaves_out: LeavesOut::Requests(|sent| sent.len() > 1 && has(sent, AUTH)),
    },
    Exclusion {
        id: "X-05",
        compat: "C-05",
        what: "setData that makes the counts of a quota unreadable",
        why: "The next change ends the genuine server",
        leaves_out: LeavesOut::Requests(|sent| {
            any(sent, |one| {
                one.op == SET_DATA
                    && one.path.ends_with("/zookeeper_stats")
                    && !one.data.as_deref().is_some_and(is_track)
            })
        }),
    },
    Exclusion {
        id: "X-06",
        compat: "C-60",
        what: "create of /zookeeper/quota/zookeeper_limits, the limits of a quota on /",
        why: "It ends the genuine server",
        leaves_out: LeavesOut::Requests(|sent| {
            any(sent, |one| {
                is_create(one.op) && one.path == "/zookeeper/quota/zookeeper_limits"
            })
        }),
    },
    Exclusion {
        id: "X-07",
        compat: "C-60",
        what: "delete of a node zookeeper_limits that is below /zookeeper and in no quota",
        why: "It ends the genuine server",
        leaves_out: LeavesOut::Requests(|sent| {
            any(sent, |one| {
                let parent = one.path.strip_suffix("/zookeeper_limits");
                one.op == DELETE && parent.is_some_and(is_in_no_quota)
            })
        }),
    },
    Exclusion {
        id: "X-08",
        compat: "-",
        what: "several requests in flight where quotas are enforced",
        why: "Counts are checked as they are applied, so the outcome depends on the moment",
        leaves_out: LeavesOut::RequestsOfQuotas(|sent| sent.len() > 1),
    },
    Exclusion {
        id: "X-09",
        compat: "C-17",
        what: "creates whose flags contradict their operation, in the exchange of directories",
        why: "The genuine server records a digest that is not its tree's",
        leaves_out: LeavesOut::RequestsOfExchange(|sent| {
            any(sent, |one| match one.op {
                CREATE_CONTAINER => one.flags != 4,
                op => is_create(op) && one.flags == 4,
            })
        }),
    },
    Exclusion {
        id: "X-10",
        compat: "C-12",
        what: "writes that cannot be decoded, in ensembles",
        why: "A genuine leader proposes their refusal under the zxid of the record before it, and a follower never answers",
        leaves_out: LeavesOut::RequestsOfEnsembles(|sent| {
            sent.iter().any(|(op, body)| is_undecodable(*op, body))
        }),
    },
    Exclusion {
        id: "X-11",
        compat: "-",
        what: "the order of children, of a session's ephemerals, and of the deletions when a session ends",
        why: "It is that of a hash table",
        leaves_out: LeavesOut::Comparison,
    },
    Exclusion {
        id: "X-12",
        compat: "-",
        what: "ctime and mtime (but that they are set and mtime is not before ctime), session ids and passwords",
        why: "They are of the moment and of the server",
        leaves_out: LeavesOut::Comparison,
    },
    Exclusion {
        id: "X-13",
        compat: "-",
        what: "zxids while containers and TTL nodes are collected, and the epochs in zxids of an ensemble",
        why: "They depend on the moments of collections and elections",
        leaves_out: LeavesOut::Comparison,
    },
    Exclusion {
        id: "X-14",
        compat: "-",
        what: "requests about /zookeeper/config, in ensembles",
        why: "It names the servers and their ports",
        leaves_out: LeavesOut::RequestsOfEnsembles(|sent| {
            let config = b"/zookeeper/config";
            sent.iter()
                .any(|(_, body)| body.windows(config.len()).any(|part| part == config))
        }),
    },
    Exclusion {
        id: "X-15",
        compat: "-",
        what: "setWatches with a zxid that is neither before nor behind all others, in ensembles",
        why: "The sides may be in different epochs",
        leaves_out: LeavesOut::RequestsOfEnsembles(|sent| {
            sent.iter().any(|(op, body)| {
                let seen = In(body).long().unwrap_or_default();
                matches!(*op, SET_WATCHES | SET_WATCHES2) && (1..1 << 40).contains(&seen)
            })
        }),
    },
    Exclusion {
        id: "X-16",
        compat: "-",
        what: "reconfig, in ensembles",
        why: "It would change them",
        leaves_out: LeavesOut::RequestsOfEnsembles(|sent| has(sent, RECONFIG)),
    },
];

const DELETE: i32 = 2;
const SET_DATA: i32 = 5;
const SET_ACL: i32 = 7;
const MULTI: i32 = 14;
const RECONFIG: i32 = 16;
const CREATE_CONTAINER: i32 = 19;
const DELETE_CONTAINER: i32 = 20;
const CREATE_TTL: i32 = 21;
const AUTH: i32 = 100;
const SET_WATCHES: i32 = 101;
const SET_WATCHES2: i32 = 105;

/// What forbids these requests, sent at once, if anything does.
#[must_use]
pub fn excluded(sent: &[Sent], purpose: Purpose) -> Option<&'static Exclusion> {
    EXCLUSIONS
        .iter()
        .find(|exclusion| match exclusion.leaves_out {
            LeavesOut::Requests(applies) => applies(sent),
            LeavesOut::RequestsOfQuotas(applies) => purpose == Purpose::Quotas && applies(sent),
            LeavesOut::RequestsOfEnsembles(applies) => {
                purpose == Purpose::Ensembles && applies(sent)
            }
            LeavesOut::RequestsOfExchange(applies) => purpose == Purpose::Exchange && applies(sent),
            LeavesOut::Comparison => false,
        })
}

/// The part of a write that the table asks about.
#[derive(Debug, Default)]
struct Single {
    op: i32,
    path: String,
    data: Option<Vec<u8>>,
    flags: i32,
    ttl: i64,
    /// There is no list, not even an empty one.
    without_acl: bool,
}

/// Whether a node `zookeeper_limits` at this place below `/zookeeper` says of nothing how much it
/// may hold.
fn is_in_no_quota(parent: &str) -> bool {
    let subject = parent.strip_prefix("/zookeeper/quota");
    parent.starts_with("/zookeeper")
        && subject.is_none_or(|subject| subject.split('/').all(|name| name.trim().is_empty()))
}

fn has(sent: &[Sent], op: i32) -> bool {
    sent.iter().any(|(other, _)| *other == op)
}

const fn is_create(op: i32) -> bool {
    matches!(op, 1 | 15 | CREATE_CONTAINER | CREATE_TTL)
}

/// Whether `wanted` is true of one of the writes, alone or in a multi. What cannot be decoded
/// here is refused by both servers.
fn any(sent: &[Sent], wanted: impl Fn(&Single) -> bool) -> bool {
    sent.iter().any(|(op, body)| {
        let mut r = In(body);
        if *op != MULTI {
            return single(*op, &mut r).is_ok_and(|one| wanted(&one));
        }
        while let (Ok(op), Ok(false), Ok(_)) = (r.int(), r.flag(), r.int()) {
            match single(op, &mut r) {
                Ok(one) if wanted(&one) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    })
}

fn single(op: i32, r: &mut In<'_>) -> Result<Single> {
    let mut one = Single {
        op,
        path: r.text()?,
        ..Single::default()
    };
    match op {
        DELETE | 13 => {
            r.int()?;
        }
        SET_DATA => {
            one.data = r.buffer()?.map(<[u8]>::to_vec);
            r.int()?;
        }
        SET_ACL => {
            acl(r)?;
            r.int()?;
        }
        RECONFIG => {
            r.text()?;
            r.text()?;
            r.long()?;
        }
        op if is_create(op) => {
            one.data = r.buffer()?.map(<[u8]>::to_vec);
            one.without_acl = acl(r)? < 0;
            one.flags = r.int()?;
            if op == CREATE_TTL {
                one.ttl = r.long()?;
            }
        }
        _ => {}
    }
    Ok(one)
}

fn acl(r: &mut In<'_>) -> Result<i32> {
    let count = r.int()?;
    for _ in 0..count {
        r.int()?;
        r.text()?;
        r.text()?;
    }
    Ok(count)
}

/// Whether the genuine server fails to read this write and gives it no zxid of its own.
fn is_undecodable(op: i32, body: &[u8]) -> bool {
    let is_write = is_create(op)
        || matches!(
            op,
            DELETE | SET_DATA | SET_ACL | RECONFIG | DELETE_CONTAINER
        );
    let mut r = In(body);
    if op == MULTI {
        return any(&[(op, body.to_vec())], |one| one.without_acl);
    }
    let one = single(op, &mut r);
    // Only here Java misses a path while it reads.
    let misses_path = op == DELETE_CONTAINER && body.starts_with(&[0xFF; 4]);
    is_write && (one.is_err() || misses_path)
}

/// Whether the genuine server certainly reads this as counts.
fn is_track(text: &[u8]) -> bool {
    let pair = |pair: &str| {
        let value = pair.split('=').nth(1);
        value.is_some_and(|value| value.parse::<i64>().is_ok())
    };
    std::str::from_utf8(text).is_ok_and(|text| text.is_empty() || text.split([',', ';']).all(pair))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::root;
    use crate::wire::Out;

    fn ids(sent: &[Sent], purpose: Purpose) -> &'static str {
        excluded(sent, purpose).map_or("", |exclusion| exclusion.id)
    }

    fn create(op: i32, path: &str, flags: i32) -> Out {
        let acl = Out::default().int(1).int(31).text("world").text("anyone");
        Out::default()
            .text(path)
            .buffer(None)
            .raw(&acl.0)
            .int(flags)
            .raw(&if op == CREATE_TTL {
                (-1i64).to_be_bytes().to_vec()
            } else {
                Vec::new()
            })
    }

    fn multi(op: i32, body: &[u8]) -> Sent {
        let header = Out::default().int(op).flag(false).int(-1);
        let end = Out::default().int(-1).flag(true).int(-1);
        (MULTI, header.raw(body).raw(&end.0).0)
    }

    #[test]
    fn each_request_of_the_table_is_recognised_alone_and_in_a_multi() {
        let container = create(CREATE_CONTAINER, "/a", 1).0;
        let limits = create(1, "/zookeeper/quota/zookeeper_limits", 0).0;
        let set = |path: &str, text: &str| Out::default().text(path).text(text).int(-1).0;
        let broken = set("/zookeeper/quota/a/zookeeper_stats", "count");
        let delete = |path: &str| Out::default().text(path).int(-1).0;
        for (id, op, body) in [
            ("X-01", CREATE_CONTAINER, container),
            ("X-06", 1, limits),
            ("X-05", SET_DATA, broken),
            ("X-07", DELETE, delete("/zookeeper/x/zookeeper_limits")),
        ] {
            assert_eq!(ids(&[multi(op, &body)], Purpose::Compare), id);
            assert_eq!(ids(&[(op, body)], Purpose::Compare), id);
        }
        let fine = set("/zookeeper/quota/a/zookeeper_stats", "count=1,bytes=2=;x=4");
        assert!(excluded(&[(SET_DATA, set("/b", "count"))], Purpose::Compare).is_none());
        assert!(excluded(&[(SET_DATA, fine)], Purpose::Compare).is_none());
        let blank = delete("/zookeeper/quota/ /zookeeper_limits");
        assert_eq!(ids(&[(DELETE, blank)], Purpose::Compare), "X-07");
        let usual = delete("/zookeeper/quota/x/zookeeper_limits");
        assert!(excluded(&[(DELETE, usual)], Purpose::Compare).is_none());
    }

    #[test]
    fn a_negative_ttl_is_left_out_where_the_mode_has_none() {
        let sent = |flags| [(CREATE_TTL, create(CREATE_TTL, "/a", flags).0)];
        assert_eq!(ids(&sent(0), Purpose::Compare), "X-02");
        assert_eq!(ids(&sent(5), Purpose::Compare), "");
        let in_multi = multi(CREATE_TTL, &create(CREATE_TTL, "/a", 0).0);
        assert_eq!(ids(&[in_multi], Purpose::Compare), "");
    }

    #[test]
    fn what_is_only_left_out_beside_others_may_come_alone() {
        for (op, id) in [(SET_ACL, "X-03"), (AUTH, "X-04")] {
            let sent = [(op, Vec::new()), (11, Vec::new())];
            assert_eq!(ids(&sent, Purpose::Compare), id);
            assert_eq!(ids(&sent[..1], Purpose::Compare), "");
        }
        let two = [(11, Vec::new()), (11, Vec::new())];
        assert_eq!(ids(&two, Purpose::Quotas), "X-08");
        assert_eq!(ids(&two, Purpose::Compare), "");
        let plain = [(1, create(1, "/a", 4).0)];
        assert_eq!(ids(&plain, Purpose::Exchange), "X-09");
        let cut = [(1, plain[0].1[..9].to_vec())];
        assert_eq!(ids(&cut, Purpose::Ensembles), "X-10");
        assert_eq!(ids(&plain, Purpose::Ensembles), "");
        let config = [(4, Out::default().text("/zookeeper/config").flag(false).0)];
        assert_eq!(ids(&config, Purpose::Ensembles), "X-14");
        assert_eq!(ids(&config, Purpose::Compare), "");
        let seen = |zxid| [(SET_WATCHES, Out::default().long(zxid).0)];
        assert_eq!(ids(&seen(7), Purpose::Ensembles), "X-15");
        assert_eq!(ids(&seen(0), Purpose::Ensembles), "");
        assert_eq!(ids(&[(RECONFIG, Vec::new())], Purpose::Ensembles), "X-10");
        let reconfig = Out::default().int(-1).int(-1).int(-1).long(0).0;
        assert_eq!(ids(&[(RECONFIG, reconfig)], Purpose::Ensembles), "X-16");
        let without_acl = Out::default().text("/a").int(-1).int(-1).int(0).0;
        let several = [multi(1, &without_acl)];
        assert_eq!(ids(&several, Purpose::Ensembles), "X-10");
        assert_eq!(ids(&several, Purpose::Compare), "");
        assert_eq!(ids(&plain, Purpose::Compare), "");
    }

    #[test]
    fn the_document_shows_the_same_table() {
        let document = std::fs::read_to_string(root().join("docs/compat.md")).unwrap();
        let shown: Vec<&str> = document
            .lines()
            .filter(|line| line.starts_with("| X-"))
            .collect();
        let table: Vec<String> = EXCLUSIONS
            .iter()
            .map(
                |Exclusion {
                     id,
                     compat,
                     what,
                     why,
                     ..
                 }| { format!("| {id} | {compat} | {what} | {why} |") },
            )
            .collect();
        assert_eq!(shown, table);
        for Exclusion { id, compat, .. } in EXCLUSIONS {
            let row = format!("\n| {compat} |");
            assert!(
                *compat == "-" || document.contains(&row),
                "{id} names {compat}"
            );
        }
    }
}
