//! Changes of the ensemble: what an operator wants changed, and what is told to the checkers of
//! the ensembles that count at each server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use roo_proto::ensemble::{ClientAddress, Ensemble, Member, MemberRole, PeerAddress, Voting};
use roo_proto::ids::ServerId;
use roo_proto::jute;
use roo_replica::peer_message::proposal_of;
use roo_zab::effect::Role;
use roo_zab::{Proposal, Zab};

use crate::fact::{Entry, Fact};
use crate::invariants::is_quorum;
use crate::options::{Groups, Options};
use crate::rng::Rng;
use crate::storage;

use super::World;

/// How often an operator thinks of another change when one is not possible.
const ATTEMPTS: usize = 4;

/// The ensemble with which a run begins.
pub(super) fn first(options: &Options) -> Ensemble {
    let count = options.voters + options.observers;
    let members = (0..count).map(|at| {
        let role = if at < options.voters {
            MemberRole::Voter
        } else {
            MemberRole::Observer
        };
        let id = ServerId(i64::try_from(at).unwrap_or(0) + 1);
        (id, member(id, role))
    });
    Ensemble {
        version: 0,
        members: members.collect(),
        voting: voting(options),
    }
}

/// How the first ensemble counts votes.
fn voting(options: &Options) -> Voting {
    let ids = || (1..).map(ServerId).take(options.voters);
    let weights = match options.groups {
        Groups::Off => return Voting::Majority,
        Groups::Even => BTreeMap::new(),
        Groups::Weighted => ids()
            .take(1)
            .map(|id| (id, 2))
            .chain(ids().last().map(|id| (id, 0)))
            .collect(),
    };
    let mut groups = BTreeMap::<i64, BTreeSet<ServerId>>::new();
    for id in ids() {
        groups.entry(id.0 % 3).or_default().insert(id);
    }
    Voting::Hierarchical { groups, weights }
}

impl World {
    /// Whether a quorum of the first ensemble has disks that are not damaged, and this server is
    /// not of it.
    pub(crate) fn is_whole_without(&self, server: usize) -> bool {
        let is_whole = |id| {
            let at = self.position(id);
            at.is_some_and(|at| at != server && !self.servers[at].is_damaged)
        };
        is_quorum(&first(&self.options), is_whole)
    }
}

/// What a server's own configuration says: that of a spare one may name itself beside the others.
pub(super) fn known_by(id: ServerId, first: &Arc<Ensemble>, options: &Options) -> Arc<Ensemble> {
    let mut own = Ensemble::clone(first);
    match options.spare_role {
        Some(role) if !first.members.contains_key(&id) => {
            own.members.insert(id, member(id, role));
            Arc::new(own)
        }
        _ => Arc::clone(first),
    }
}

fn member(id: ServerId, role: MemberRole) -> Member {
    let host = format!("h{}", id.0);
    let address = PeerAddress {
        host: host.clone(),
        peer_port: 2888,
        election_port: Some(3888),
    };
    let client = ClientAddress { host, port: 2181 };
    Member {
        addresses: vec![address],
        role,
        client: Some(client),
    }
}

/// Another ensemble that an operator may want, if it has a voter.
fn wish(rng: &mut Rng, known: &Ensemble, all: &[ServerId], leader: ServerId) -> Option<Ensemble> {
    let mut next = known.clone();
    let members: Vec<ServerId> = known.members.keys().copied().collect();
    let outside: Vec<ServerId> = all
        .iter()
        .copied()
        .filter(|id| !known.members.contains_key(id))
        .collect();
    match rng.below(10) {
        0 | 1 if !outside.is_empty() => {
            let role = rng.pick(&[MemberRole::Observer, MemberRole::Voter]);
            let id = rng.pick(&outside);
            next.members.insert(id, member(id, role));
        }
        2 => {
            for id in outside {
                next.members.insert(id, member(id, MemberRole::Voter));
            }
        }
        3 => {
            next.members.remove(&rng.pick(&members));
        }
        4 => {
            next.members.remove(&leader);
        }
        5 => {
            let any = rng.pick(&members);
            move_away(&mut next, rng.pick(&[leader, any]));
        }
        6 => shrink(rng, &mut next),
        7 => next.members = any_members(rng, all),
        _ => {
            let id = if rng.chance(200) {
                leader
            } else {
                rng.pick(&members)
            };
            if let Some(member) = next.members.get_mut(&id) {
                member.role = match member.role {
                    MemberRole::Voter => MemberRole::Observer,
                    MemberRole::Observer => MemberRole::Voter,
                };
            }
        }
    }
    (next.voters().count() > 0 && next != *known).then_some(next)
}

/// A server has another address from now on.
fn move_away(next: &mut Ensemble, id: ServerId) {
    if let Some(member) = next.members.get_mut(&id) {
        for address in &mut member.addresses {
            address.peer_port += 1;
        }
    }
}

/// Down to three servers, or one.
fn shrink(rng: &mut Rng, next: &mut Ensemble) {
    let left = rng.pick(&[3, 3, 1]);
    while next.members.len() > left {
        let members: Vec<ServerId> = next.members.keys().copied().collect();
        next.members.remove(&rng.pick(&members));
    }
}

fn any_members(rng: &mut Rng, all: &[ServerId]) -> BTreeMap<ServerId, Member> {
    let mut members = BTreeMap::new();
    for id in all {
        let role = match rng.below(6) {
            0 => continue,
            1 => MemberRole::Observer,
            _ => MemberRole::Voter,
        };
        members.insert(*id, member(*id, role));
    }
    members
}

impl World {
    /// An operator changes the ensemble, if there is one that can be changed.
    pub(crate) fn reconfigure(&mut self) {
        let Some(leader) = self.leader() else {
            return;
        };
        let Some(next) = self.wish(leader) else {
            return;
        };
        if self.clients.is_empty() {
            self.propose_with(leader, |content, _| {
                let mut next = next;
                next.version = content.zxid.0;
                let record = storage::reconfig_record(content, &next);
                (record, Some(Arc::new(next)))
            });
        } else {
            let known = self.servers[leader].zab();
            let known = known.map(|zab| zab.last_seen_ensemble().clone());
            self.ask_to_reconfigure(&known.unwrap_or_default(), &next);
        }
    }

    /// A change that the leader would make; clients also want others.
    fn wish(&mut self, leader: usize) -> Option<Ensemble> {
        let all: Vec<ServerId> = self.servers.iter().map(|server| server.id).collect();
        let id = self.servers[leader].id;
        let is_strict = self.clients.is_empty() || self.rng.chance(800);
        let zab = self.servers[leader].zab()?;
        let known = zab.last_seen_ensemble();
        let is_changing = known.version != zab.ensemble().version;
        if is_strict && is_changing {
            return None;
        }
        for _ in 0..ATTEMPTS {
            let next = wish(&mut self.rng, known, &all, id);
            if let Some(next) = next.filter(|next| !is_strict || zab.is_in_step(next)) {
                return Some(next);
            }
        }
        None
    }

    /// A primary appends a record that may change the ensemble.
    pub(super) fn note_change(&mut self, server: usize, entry: Entry, proposal: &Proposal) {
        let Proposal { ensemble, .. } = proposal_of(proposal.zxid, proposal.txn.clone());
        let (Some(after), Some(zab)) = (ensemble, self.servers[server].zab()) else {
            return;
        };
        let before = Arc::new(zab.ensemble().clone());
        self.counts.reconfigurations += 1;
        self.observe(&Fact::Reconfigures {
            entry,
            before,
            after,
        });
    }

    /// Tells the checkers which ensembles count at a server, if that has changed.
    pub(super) fn note_ensembles(&mut self, server: usize) {
        if self.options.reconfigurations == 0 {
            return;
        }
        let process = &self.servers[server];
        let Some(zab) = process.zab() else {
            return;
        };
        let epoch = match zab.role() {
            Role::Leading { epoch } => Some(epoch),
            Role::Looking | Role::Following { .. } | Role::Observing { .. } => None,
        };
        let (version, seen) = (zab.ensemble().version, zab.last_seen_ensemble().version);
        let now = Some((process.life, version, seen, epoch));
        if process.told == now {
            return;
        }
        let in_force = Arc::new(zab.ensemble().clone());
        let ensembles = counting(zab, &in_force);
        let is_new = process
            .told
            .is_none_or(|told| (told.0, told.1) != (process.life, version));
        let (id, life) = (process.id, process.life);
        self.servers[server].told = now;
        if is_new {
            self.observe(&Fact::InForce {
                server: id,
                life,
                ensemble: in_force,
            });
        }
        self.observe(&Fact::Leads {
            server: id,
            epoch: epoch.unwrap_or(0),
            ensembles: if epoch.is_some() {
                ensembles
            } else {
                Vec::new()
            },
        });
    }

    /// A server is gone: it leads nobody.
    pub(super) fn note_end(&mut self, server: usize) {
        if self.options.reconfigurations > 0 {
            let server = self.servers[server].id;
            self.observe(&Fact::Leads {
                server,
                epoch: 0,
                ensembles: Vec::new(),
            });
        }
    }

    /// What was synced of a server's ensembles is there when it starts.
    pub(super) fn check_ensemble(&mut self, server: usize, found: &Ensemble) {
        let process = &self.servers[server];
        if found.version < process.safe_version {
            let what = format!(
                "server {} starts with the ensemble {:x}, {:x} was safe",
                process.id.0, found.version, process.safe_version
            );
            self.break_rule("store", what);
        }
    }

    /// The ensemble that a leader has put in force last.
    #[must_use]
    pub fn in_force(&self) -> Option<&Ensemble> {
        Some(self.servers[self.leader()?].zab()?.ensemble())
    }
}

/// The body of a client's request for this change: of the whole list, or of what is different.
pub(crate) fn request(rng: &mut Rng, known: &Ensemble, next: &Ensemble) -> Vec<u8> {
    let text = next.to_text();
    let lines = text.lines().filter(|line| line.starts_with("server."));
    let mut body = Vec::new();
    if rng.chance(300) {
        let members: Vec<&str> = lines.collect();
        jute::put_string(&mut body, "");
        jute::put_string(&mut body, "");
        jute::put_string(&mut body, &members.join(","));
    } else {
        let old = known.to_text();
        let joining: Vec<&str> = lines
            .filter(|line| !old.lines().any(|known| known == *line))
            .collect();
        let leaving: Vec<String> = known
            .members
            .keys()
            .filter(|id| !next.members.contains_key(id))
            .map(|id| id.0.to_string())
            .collect();
        jute::put_string(&mut body, &joining.join(","));
        jute::put_string(&mut body, &leaving.join(","));
        jute::put_i32(&mut body, -1);
    }
    let version = rng.pick(&[-1, known.version, known.version, known.version - 1]);
    jute::put_i64(&mut body, version);
    body
}

fn counting(zab: &Zab, in_force: &Arc<Ensemble>) -> Vec<Arc<Ensemble>> {
    let mut ensembles = vec![Arc::clone(in_force)];
    if zab.last_seen_ensemble().version != in_force.version {
        ensembles.push(Arc::new(zab.last_seen_ensemble().clone()));
    }
    ensembles
}
