//! What users did at gates, at double barriers and in a group, and whether it fits what is
//! committed. Programs note what they begin and what came of it; the notes are compared with the
//! oracle right behind the step in which they were made.

use std::collections::{BTreeMap, BTreeSet};

use roo_client::{SessionId, Zxid};

use crate::oracle::Oracle;

/// The gate.
pub const GATE: &str = "/gate";
/// Members that a double barrier waits for.
pub const TOGETHER: usize = 2;
/// The group.
pub const GROUP: &str = "/group";
/// The node of a double barrier that is no member.
const READY: &str = "ready";

/// A rule that is broken, and how.
pub type Broken = (&'static str, String);

/// Something that came about since the last look.
#[derive(Debug)]
enum Note {
    Closed,
    Passed { behind: Zxid },
    Entered { directory: String },
    Left(Departure),
    Listed(Listing),
}

/// A member of a double barrier that is about to leave.
#[derive(Clone, Debug)]
pub struct Departure {
    directory: String,
    /// The nodes of all who were in when it began.
    inside: Vec<Zxid>,
}

/// A list of a group, behind a sync.
#[derive(Debug)]
pub struct Listing {
    /// Who was there when it was asked for.
    there: BTreeSet<String>,
    /// Who had left by then.
    gone: BTreeSet<String>,
    listed: BTreeSet<String>,
}

#[derive(Debug)]
struct Member {
    session: SessionId,
    is_leaving: bool,
    has_left: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Gatherings {
    notes: Vec<Note>,
    /// The last change of the gate that its keeper was answered.
    gate_known: Zxid,
    /// Who is in, or was: the zxids of their nodes.
    inside: BTreeMap<String, Vec<Zxid>>,
    /// Double barriers at which enough have been together.
    begun: BTreeSet<String>,
    /// The double barrier that is in use.
    pub round: u64,
    members: BTreeMap<String, Member>,
}

impl Gatherings {
    /// The keeper has closed the gate, and was answered.
    pub fn closed(&mut self) {
        self.notes.push(Note::Closed);
    }

    /// What a user who comes to the gate at this moment must see.
    #[must_use]
    pub fn gate_known(&self) -> Zxid {
        self.gate_known
    }

    /// A user has passed the gate, to which it came when this was known.
    pub fn passed(&mut self, behind: Zxid) {
        self.notes.push(Note::Passed { behind });
    }

    /// A user was let in, whose node was created at `token`.
    pub fn entered(&mut self, directory: &str, token: Zxid) {
        let directory = directory.to_owned();
        self.inside
            .entry(directory.clone())
            .or_default()
            .push(token);
        self.notes.push(Note::Entered { directory });
    }

    /// A user is about to leave.
    #[must_use]
    pub fn begin_to_leave(&self, directory: &str) -> Departure {
        Departure {
            directory: directory.to_owned(),
            inside: self.inside.get(directory).cloned().unwrap_or_default(),
        }
    }

    /// It is told that all have left.
    pub fn left(&mut self, departure: Departure) {
        self.notes.push(Note::Left(departure));
    }

    /// A user has joined the group.
    pub fn joined(&mut self, id: String, session: SessionId) {
        let member = Member {
            session,
            is_leaving: false,
            has_left: false,
        };
        self.members.insert(id, member);
    }

    /// It is about to leave the group, or its process is over.
    pub fn begin_to_part(&mut self, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.is_leaving = true;
        }
    }

    /// It has left, and was answered.
    pub fn parted(&mut self, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.has_left = true;
        }
    }

    /// A user is about to ask who is there.
    #[must_use]
    pub fn begin_to_list(&self) -> Listing {
        let those = |is: fn(&Member) -> bool| {
            let found = self.members.iter().filter(|(_, member)| is(member));
            found.map(|(id, _)| id.clone()).collect()
        };
        Listing {
            there: those(|member| !member.is_leaving),
            gone: those(|member| member.has_left),
            listed: BTreeSet::new(),
        }
    }

    /// It was told who is there.
    pub fn listed(&mut self, mut listing: Listing, listed: BTreeSet<String>) {
        listing.listed = listed;
        self.notes.push(Note::Listed(listing));
    }

    /// Checks what was noted against what is committed.
    ///
    /// # Errors
    /// The rule that is broken, and how.
    pub fn check(&mut self, oracle: &Oracle) -> Result<(), Broken> {
        for note in std::mem::take(&mut self.notes) {
            match note {
                Note::Closed => self.gate_known = last_change(oracle, GATE),
                Note::Passed { behind } => check_gate(oracle, behind)?,
                Note::Entered { directory } => self.check_beginning(oracle, directory)?,
                Note::Left(departure) => check_end(oracle, &departure)?,
                Note::Listed(listing) => self.check_list(oracle, &listing)?,
            }
        }
        self.check_sessions(oracle)
    }

    /// Nobody is let in before enough are there together.
    fn check_beginning(&mut self, oracle: &Oracle, directory: String) -> Result<(), Broken> {
        if self.begun.contains(&directory) {
            return Ok(());
        }
        let most = most_at_once(oracle, &directory);
        if most < TOGETHER {
            let what = format!("{directory}: let in when at most {most} had been there together");
            return Err(("double barrier", what));
        }
        self.begun.insert(directory);
        Ok(())
    }

    /// Whoever was there all the time is listed, and nobody who had left before.
    fn check_list(&self, oracle: &Oracle, listing: &Listing) -> Result<(), Broken> {
        let is_there = |id: &String| {
            let is_staying = self.members.get(id).is_some_and(|m| !m.is_leaving);
            is_staying
                && oracle
                    .value_at(&format!("{GROUP}/{id}"), Zxid(i64::MAX))
                    .is_some()
        };
        let missing = listing.there.difference(&listing.listed);
        let missing = missing.into_iter().find(|id| is_there(id));
        if let Some(id) = missing {
            let what = format!("{id} is a member and is not in {:?}", listing.listed);
            return Err(("group", what));
        }
        if let Some(id) = listing.gone.intersection(&listing.listed).next() {
            return Err(("group", format!("{id} is listed although it had left")));
        }
        Ok(())
    }

    /// No member is there whose session has ended.
    fn check_sessions(&self, oracle: &Oracle) -> Result<(), Broken> {
        for node in oracle.present_below(&format!("{GROUP}/")) {
            let id = node.rsplit('/').next().unwrap_or_default();
            let ended = self
                .members
                .get(id)
                .is_some_and(|member| oracle.end_of(member.session).is_some());
            if ended {
                return Err(("group", format!("{node} has outlived its session")));
            }
        }
        Ok(())
    }
}

fn last_change(oracle: &Oracle, path: &str) -> Zxid {
    let mut last = Zxid::ZERO;
    while let Some(next) = oracle.first_change(path, last) {
        last = next;
    }
    last
}

/// The gate must have been open at some moment since.
fn check_gate(oracle: &Oracle, behind: Zxid) -> Result<(), Broken> {
    let mut moment = behind;
    while oracle.value_at(GATE, moment).is_some() {
        match oracle.first_change(GATE, moment) {
            Some(next) => moment = next,
            None => {
                let what = format!("passed, though it is closed since {behind}");
                return Err(("barrier", what));
            }
        }
    }
    Ok(())
}

/// How many members of a double barrier were there at once, at most.
fn most_at_once(oracle: &Oracle, directory: &str) -> usize {
    let mut changes: Vec<(Zxid, bool)> = Vec::new();
    for (path, values) in oracle.below(&format!("{directory}/")) {
        if !path.ends_with(READY) {
            changes.extend(values.iter().map(|(zxid, data)| (*zxid, data.is_some())));
        }
    }
    changes.sort_unstable();
    let (mut now, mut most) = (0_usize, 0);
    for (_, is_there) in changes {
        now = if is_there {
            now + 1
        } else {
            now.saturating_sub(1)
        };
        most = most.max(now);
    }
    most
}

/// Whoever was in before is out.
fn check_end(oracle: &Oracle, departure: &Departure) -> Result<(), Broken> {
    let directory = format!("{}/", departure.directory);
    let left = oracle.below(&directory).find(|(_, values)| {
        let was_in = values
            .first()
            .is_some_and(|(zxid, _)| departure.inside.contains(zxid));
        was_in && values.last().is_some_and(|(_, data)| data.is_some())
    });
    match left {
        Some((path, _)) => Err(("double barrier", format!("{path} is in when all have left"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes::committed::{OWNER, oracle};

    fn rule(oracle: &Oracle, work: impl FnOnce(&mut Gatherings)) -> Option<&'static str> {
        let mut gatherings = Gatherings::default();
        work(&mut gatherings);
        gatherings.check(oracle).err().map(|(rule, _)| rule)
    }

    #[test]
    fn fires_when_a_closed_gate_is_passed() {
        let passes = |oracle: &Oracle, behind| rule(oracle, |g| g.passed(Zxid(behind)));
        let closed = oracle(&["+/gate"]);
        assert_eq!(passes(&closed, 0), None);
        assert_eq!(passes(&closed, 1), Some("barrier"));
        let closed_again = oracle(&["+/gate", "-/gate", "+/gate"]);
        assert_eq!(passes(&closed_again, 1), None);
        assert_eq!(passes(&closed_again, 3), Some("barrier"));
    }

    #[test]
    fn who_comes_behind_an_answered_close_must_see_it() {
        let mut gatherings = Gatherings::default();
        gatherings.closed();
        gatherings.check(&oracle(&["+/gate"])).unwrap();
        assert_eq!(gatherings.gate_known(), Zxid(1));
    }

    #[test]
    fn fires_when_somebody_is_let_in_before_enough_are_there_at_once() {
        let enters = |oracle: &Oracle| rule(oracle, |g| g.entered("/d", Zxid(2)));
        let apart = oracle(&["+/d/a", "-/d/a", "+/d/b", "+/d/ready"]);
        assert_eq!(enters(&apart), Some("double barrier"));
        let together = oracle(&["+/d/a", "+/d/b", "-/d/a"]);
        assert_eq!(enters(&together), None);
    }

    #[test]
    fn fires_when_somebody_is_still_in_whom_a_leaver_must_await() {
        let leaves = |oracle: &Oracle| {
            rule(oracle, |g| {
                g.entered("/d", Zxid(1));
                g.entered("/d", Zxid(2));
                let departure = g.begin_to_leave("/d");
                g.left(departure);
            })
        };
        let in_still = oracle(&["+/d/a", "+/d/b", "-/d/a"]);
        assert_eq!(leaves(&in_still), Some("double barrier"));
        // Whoever came later is not waited for.
        let later = oracle(&["+/d/a", "+/d/b", "-/d/a", "-/d/b", "+/d/c"]);
        assert_eq!(leaves(&later), None);
    }

    fn list(gatherings: &mut Gatherings, listed: &[&str]) {
        let listing = gatherings.begin_to_list();
        let listed = listed.iter().map(|id| (*id).to_owned()).collect();
        gatherings.listed(listing, listed);
    }

    #[test]
    fn fires_when_a_list_lacks_a_member_or_has_one_who_left() {
        let there = oracle(&["+/group/a"]);
        let joined = |listed: &[&str]| {
            rule(&there, |g| {
                g.joined("a".into(), OWNER);
                list(g, listed);
            })
        };
        assert_eq!(joined(&["a"]), None);
        assert_eq!(joined(&[]), Some("group"));
        let gone = oracle(&["+/group/a", "-/group/a"]);
        let left = |listed: &[&str]| {
            rule(&gone, |g| {
                g.joined("a".into(), OWNER);
                g.begin_to_part("a");
                g.parted("a");
                list(g, listed);
            })
        };
        assert_eq!(left(&[]), None);
        assert_eq!(left(&["a"]), Some("group"));
    }

    #[test]
    fn fires_when_a_member_outlives_its_session() {
        let ended = oracle(&["+/group/a", "!"]);
        let found = rule(&ended, |g| g.joined("a".into(), OWNER));
        assert_eq!(found, Some("group"));
    }
}
