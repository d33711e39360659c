//! What users did with the recipes, and whether it fits together: checked at once against what is
//! committed where it can be, and as a whole at the end.

use std::collections::{BTreeMap, BTreeSet};

use roo_client::Zxid;

use super::followers::Followers;
use super::gatherings::Gatherings;
use crate::oracle::Oracle;

/// How many leases the semaphore has.
pub const PERMITS: usize = 2;

/// Something that is held by virtue of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What.
    pub what: What,
    /// The node.
    pub node: String,
    /// The zxid of its creation.
    pub token: Zxid,
}

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum What {
    Lock,
    Reader,
    Writer,
    Leader,
    Lease,
    Member,
}

impl What {
    /// Whether two of these must not be held at once.
    const fn excludes(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Lock, Self::Lock)
                | (Self::Member, Self::Member)
                | (Self::Leader, Self::Leader)
                | (Self::Writer, Self::Writer | Self::Reader)
                | (Self::Reader, Self::Writer)
        )
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    claims: Vec<Claim>,
    tokens: BTreeSet<(What, Zxid)>,
    /// The highest token that a resource outside has seen.
    outside: Zxid,
    /// What was broken first.
    broken: Option<(&'static str, String)>,
    /// Claims since the last check.
    fresh: Vec<Claim>,
    /// Sums that additions gave.
    sums: BTreeSet<i64>,
    /// Additions that are under way, or were when their callers died, or whose outcome is unknown.
    pub unsure_additions: i64,
    /// The same of pops, each of which may have taken an item along.
    pub unsure_pops: usize,
    /// Named changes that each user has finished.
    pub named_done: i64,
    /// The named change that each user is about.
    pub named_pending: BTreeMap<usize, u64>,
    /// Items whose putting was answered.
    put: BTreeSet<String>,
    /// Items whose putting may have taken effect.
    put_unsure: BTreeSet<String>,
    /// Items that were removed, by the word of who removed them.
    removed: BTreeSet<String>,
    /// Items that may have been removed.
    removed_unsure: BTreeSet<String>,
    ids: BTreeSet<i64>,
    /// What came about at gates, at double barriers and in the group.
    pub gatherings: Gatherings,
    /// What those saw who follow configuration.
    pub followers: Followers,
    /// What each user is about.
    pub doing: BTreeSet<(usize, &'static str)>,
    /// Of each thing how often it was done.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Counts something.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn fail(&mut self, rule: &'static str, what: String) {
        self.broken.get_or_insert((rule, what));
    }

    /// Somebody holds something.
    pub fn claim(&mut self, claim: Claim) {
        if !self.tokens.insert((claim.what, claim.token)) {
            self.fail("fencing tokens", format!("{claim:?} has an old token"));
        }
        self.count("claims");
        self.fresh.push(claim.clone());
        self.claims.push(claim);
    }

    /// It is about to give it up, or has lost it.
    pub fn give_up(&mut self, claim: &Claim) {
        self.claims.retain(|other| other != claim);
    }

    /// Checks new claims against what is committed.
    ///
    /// # Errors
    /// The rule that is broken, and how.
    pub fn check(&mut self, oracle: &Oracle) -> Result<(), (&'static str, String)> {
        let is_there = |claim: &Claim| {
            let last = Zxid(i64::MAX);
            let is_its_own = claim.what != What::Member
                || oracle.first_change(&claim.node, claim.token).is_none();
            is_its_own && oracle.value_at(&claim.node, last).is_some()
        };
        for claim in std::mem::take(&mut self.fresh) {
            if self.broken.is_some() || !is_there(&claim) {
                continue;
            }
            let others = self.claims.iter().filter(|other| **other != claim);
            let mut leases = 1;
            let mut conflict = None;
            for other in others.filter(|other| is_there(other)) {
                leases += usize::from(other.what == What::Lease);
                if claim.what.excludes(other.what) {
                    conflict = Some(format!("{claim:?} beside {other:?}"));
                }
            }
            if let Some(what) = conflict {
                self.fail("mutual exclusion", what);
            } else if claim.what == What::Lease && leases > PERMITS {
                self.fail("permits", format!("{claim:?} is one of {leases}"));
            }
        }
        if let Err((rule, what)) = self.gatherings.check(oracle) {
            self.fail(rule, what);
        }
        if let Err((rule, what)) = self.followers.check(oracle) {
            self.fail(rule, what);
        }
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// A holder writes to a resource outside, which looks at tokens or not.
    pub fn write_outside(&mut self, token: Zxid, does_look: bool) {
        if token >= self.outside {
            self.outside = token;
            self.count("writes outside");
        } else if does_look {
            self.count("late writes refused");
        } else {
            let what = format!("{token} wrote outside behind {}", self.outside);
            self.fail("fencing order", what);
        }
    }

    /// An addition of 1 gave this sum.
    pub fn added(&mut self, sum: i64) {
        self.count("additions");
        if !self.sums.insert(sum) {
            self.fail("exact counts", format!("the sum {sum} was given twice"));
        }
    }

    /// An item is in the queue, or may be.
    pub fn was_put(&mut self, item: String, is_sure: bool) {
        self.count("items put");
        if is_sure {
            self.put.insert(item);
        } else {
            self.put_unsure.insert(item);
        }
    }

    /// An item came out of the queue to be worked on.
    pub fn was_taken(&mut self, item: &str) {
        self.count("items taken");
        if self.removed.contains(item) {
            let what = format!("{item} was given although it was removed before");
            self.fail("queue", what);
        }
    }

    /// An item was removed by this user, or may have been.
    pub fn was_removed(&mut self, item: String, is_sure: bool) {
        if !is_sure {
            self.removed_unsure.insert(item);
        } else if !self.removed.insert(item.clone()) {
            self.fail("queue", format!("{item} was removed twice"));
        }
    }

    /// A number was drawn.
    pub fn drew(&mut self, id: i64) {
        self.count("ids");
        if !self.ids.insert(id) {
            self.fail("ids", format!("{id} was given twice"));
        }
    }

    /// Checks everything when all is over.
    ///
    /// # Errors
    /// The rule that is broken, and how.
    pub fn check_all(&mut self, oracle: &Oracle) -> Result<(), (&'static str, String)> {
        self.check(oracle)?;
        self.check_fenced(oracle, "/ledger");
        self.check_fenced(oracle, "/term");
        self.check_counters(oracle);
        self.check_queue(oracle);
        self.check_leftovers(oracle);
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// What holders wrote under the protection of what they held: `token count`. Tokens never go
    /// back, and no holder has missed what the one before it wrote.
    fn check_fenced(&mut self, oracle: &Oracle, path: &'static str) {
        let mut last = (0, 0);
        // It is made empty.
        for data in oracle.history(path).skip(1) {
            let text = String::from_utf8_lossy(data);
            let found = text.split_once(' ').and_then(|(token, count)| {
                Some((token.parse::<i64>().ok()?, count.parse::<i64>().ok()?))
            });
            let Some((token, count)) = found else {
                return self.fail("fencing order", format!("{path} holds {text}"));
            };
            if token < last.0 || count != last.1 + 1 {
                let what = format!("{path}: {token} {count} behind {} {}", last.0, last.1);
                return self.fail("fencing order", what);
            }
            last = (token, count);
        }
        *self.counts.entry("fenced writes").or_default() += u64::try_from(last.1).unwrap_or(0);
    }

    fn check_counters(&mut self, oracle: &Oracle) {
        let last = |path| {
            let data = oracle.history(path).last();
            let data = data.and_then(|data| <[u8; 8]>::try_from(data).ok());
            data.map_or(0, i64::from_be_bytes)
        };
        let (count, named) = (last("/count"), last("/named"));
        let sure = i64::try_from(self.sums.len()).unwrap_or(i64::MAX);
        if count < sure || count > sure + self.unsure_additions {
            let what = format!(
                "{count} after {sure} additions and {}",
                self.unsure_additions
            );
            self.fail("exact counts", format!("{what} that are not known"));
        }
        if self.sums.last().is_some_and(|sum| *sum > count) {
            self.fail("exact counts", format!("a sum was more than {count}"));
        }
        if named != self.named_done {
            let what = format!("{named} after {} named changes", self.named_done);
            self.fail("exact counts", what);
        }
    }

    fn check_queue(&mut self, oracle: &Oracle) {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for data in oracle.created_below("/q/") {
            let item = String::from_utf8_lossy(data).into_owned();
            *times.entry(item).or_default() += 1;
        }
        for (item, times) in &times {
            if *times > 1 {
                return self.fail("queue", format!("{item} was put {times} times"));
            }
            if !self.put.contains(item) && !self.put_unsure.contains(item) {
                return self.fail("queue", format!("{item} was put, and nobody says so"));
            }
        }
        let lost = self
            .put
            .iter()
            .filter(|item| !self.removed.contains(*item) && !self.removed_unsure.contains(*item));
        let lost: Vec<&String> = lost.collect();
        if lost.len() > self.unsure_pops {
            let what = format!(
                "{lost:?} never came out, with {} unsure pops",
                self.unsure_pops
            );
            self.fail("queue", what);
        }
    }

    /// Whoever has finished has left nothing behind.
    fn check_leftovers(&mut self, oracle: &Oracle) {
        if let Some(node) = Self::leftover(oracle) {
            let what = format!("{node} is left behind");
            self.fail("leftovers", what);
        }
    }

    /// A node that nobody needs any more.
    pub fn leftover(oracle: &Oracle) -> Option<&str> {
        let directories = [
            "/lock/",
            "/rw/",
            "/lead/",
            "/sem/leases/",
            "/sem/locks/",
            "/q-locks/",
            "/q/",
            "/group/",
            "/one/",
        ];
        directories
            .iter()
            .find_map(|below| oracle.present_below(below).next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(what: What, token: i64) -> Claim {
        Claim {
            what,
            node: format!("/node-{token}"),
            token: Zxid(token),
        }
    }

    fn verdict(work: impl FnOnce(&mut Ledger)) -> Option<&'static str> {
        let mut ledger = Ledger::default();
        work(&mut ledger);
        ledger
            .check_all(&Oracle::default())
            .err()
            .map(|(rule, _)| rule)
    }

    #[test]
    fn what_fits_together_is_right() {
        let found = verdict(|ledger| {
            ledger.claim(claim(What::Lock, 1));
            ledger.give_up(&claim(What::Lock, 1));
            ledger.claim(claim(What::Lock, 2));
            ledger.write_outside(Zxid(2), false);
            ledger.write_outside(Zxid(1), true);
            ledger.drew(1);
            ledger.drew(2);
        });
        assert_eq!(found, None);
    }

    #[test]
    fn fires_when_somebody_writes_late() {
        let found = verdict(|ledger| {
            ledger.write_outside(Zxid(2), false);
            ledger.write_outside(Zxid(1), false);
        });
        assert_eq!(found, Some("fencing order"));
    }

    #[test]
    fn fires_when_a_token_is_given_twice() {
        let found = verdict(|ledger| {
            ledger.claim(claim(What::Leader, 1));
            ledger.claim(claim(What::Leader, 1));
        });
        assert_eq!(found, Some("fencing tokens"));
    }

    #[test]
    fn fires_when_a_sum_an_item_or_an_id_comes_twice_or_never() {
        let twice = verdict(|ledger| {
            ledger.added(1);
            ledger.added(1);
        });
        assert_eq!(twice, Some("exact counts"));
        // The number itself says that nothing was added.
        assert_eq!(verdict(|ledger| ledger.added(1)), Some("exact counts"));
        assert_eq!(
            verdict(|ledger| ledger.named_done = 1),
            Some("exact counts")
        );
        assert_eq!(
            verdict(|ledger| ledger.was_put("x".into(), true)),
            Some("queue")
        );
        let again = verdict(|ledger| {
            ledger.was_removed("x".into(), true);
            ledger.was_taken("x");
        });
        assert_eq!(again, Some("queue"));
        let ids = verdict(|ledger| {
            ledger.drew(1);
            ledger.drew(1);
        });
        assert_eq!(ids, Some("ids"));
    }
}
