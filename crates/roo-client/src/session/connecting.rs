//! Finding a server: rounds over the addresses, the handshake, and the search for a server with a
//! quorum while one without serves.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use roo_proto::connect::{ConnectRequest, ConnectResponse};
use roo_proto::ids::{SessionId, Time};

use super::{Effect, LinkId, Phase, Place, Session, Why};
use crate::state::SessionState;

/// Failures that are remembered for the error, one per address. Limit: pieces.
const FAILURES_MAX: usize = 16;

/// Where the search stands.
#[derive(Debug)]
pub(super) struct Connecting {
    /// Addresses of this round that were not tried yet.
    untried: VecDeque<SocketAddr>,
    /// All addresses of this round.
    round: Vec<SocketAddr>,
    /// What each of them said.
    failures: Vec<String>,
    /// Those of this round that answered with something else than the protocol.
    strangers: usize,
    stranger: Option<String>,
    /// Rounds in which none would do.
    failed_rounds: u32,
    /// The server last connected to: tried last.
    last: Option<SocketAddr>,
    /// A server known to have a quorum: tried first.
    preferred: Option<SocketAddr>,
    /// The first connection must have come about by then.
    give_up: Time,
    /// Pauses between searches for a server with a quorum grow with it.
    probes: u32,
    next_probed: usize,
}

impl Connecting {
    pub(super) const fn new(give_up: Time) -> Self {
        Self {
            untried: VecDeque::new(),
            round: Vec::new(),
            failures: Vec::new(),
            strangers: 0,
            stranger: None,
            failed_rounds: 0,
            last: None,
            preferred: None,
            give_up,
            probes: 0,
            next_probed: 0,
        }
    }
}

impl Session {
    pub(super) fn on_resolved(
        &mut self,
        now: Time,
        mut places: Vec<Place>,
        failures: Vec<String>,
        effects: &mut Vec<Effect>,
    ) {
        if self.phase != Phase::AwaitAddresses {
            return;
        }
        // Of an address that is there more than once, the best priority counts.
        places.sort_unstable();
        places.dedup_by_key(|place| place.address);
        self.rng.shuffle(&mut places);
        let search = &mut self.connecting;
        // The server just lost last, one known to have a quorum first.
        places.sort_by_key(|place| {
            let address = Some(place.address);
            let rank = i32::from(address == search.last) - i32::from(address == search.preferred);
            (rank, place.priority)
        });
        let addresses: Vec<_> = places.iter().map(|place| place.address).collect();
        search.preferred = None;
        search.round.clone_from(&addresses);
        search.untried = addresses.into();
        search.failures = failures;
        search.failures.truncate(FAILURES_MAX);
        search.strangers = 0;
        search.stranger = None;
        self.try_next(now, effects);
    }

    fn try_next(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(address) = self.connecting.untried.pop_front() else {
            self.round_failed(now, effects);
            return;
        };
        let link = self.new_link();
        self.phase = Phase::AwaitLink {
            link,
            address,
            until: now.after(self.attempt_timeout()),
        };
        effects.push(Effect::OpenLink { link, address });
    }

    /// An address may take its share of what is left to the session, and no more than the caller
    /// allows. Java: `connectTimeout`.
    fn attempt_timeout(&self) -> Duration {
        if self.status.session == SessionId(0) {
            return self.options.connect_timeout;
        }
        let addresses = u32::try_from(self.connecting.round.len().max(1)).unwrap_or(u32::MAX);
        let share = (self.status.timeout / addresses).max(Duration::from_millis(200));
        self.options.connect_timeout.min(share)
    }

    fn round_failed(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let search = &mut self.connecting;
        let is_first = self.status.state == SessionState::Connecting;
        if is_first && search.strangers > 0 && search.strangers == search.round.len() {
            let what = search.stranger.take().unwrap_or_default();
            self.end(SessionState::Closed, Why::NotZooKeeper(what), effects);
            return;
        }
        let doubled =
            self.options.back_off.first * 2u32.saturating_pow(search.failed_rounds.min(16));
        search.failed_rounds = search.failed_rounds.saturating_add(1);
        let mut pause = doubled.min(self.options.back_off.max);
        if !is_first {
            pause = pause.min(self.status.timeout / 6);
        }
        let most = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let pause = Duration::from_millis(most - self.rng.up_to(most / 2));
        self.phase = Phase::AwaitBackOff {
            until: now.after(pause),
        };
    }

    /// The address under trial would not do.
    pub(super) fn attempt_failed(&mut self, now: Time, why: &str, effects: &mut Vec<Effect>) {
        if let Phase::AwaitLink { address, .. } | Phase::AwaitHandshake { address, .. } = self.phase
            && self.connecting.failures.len() < FAILURES_MAX
        {
            self.connecting.failures.push(format!("{address}: {why}"));
        }
        self.try_next(now, effects);
    }

    pub(super) fn on_link_opened(&mut self, now: Time, link: LinkId, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::AwaitLink {
                link: awaited,
                address,
                until,
            } if awaited == link => {
                self.phase = Phase::AwaitHandshake {
                    link,
                    address,
                    until,
                };
                self.last_sent = now;
                let mut frame = Vec::new();
                self.connect_request().encode_frame(&mut frame);
                let frame = Bytes::from(frame);
                effects.push(Effect::Send { link, frame });
            }
            _ => effects.push(Effect::CloseLink { link }),
        }
    }

    /// A session that only servers without a quorum know is unknown to all others.
    fn connect_request(&self) -> ConnectRequest<'_> {
        let session = if self.is_global {
            self.status.session
        } else {
            SessionId(0)
        };
        let timeout = self.options.session_timeout.as_millis();
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.zxid_seen,
            timeout_ms: i32::try_from(timeout).unwrap_or(i32::MAX),
            session,
            password: Some(&self.status.password),
            read_only: Some(self.options.read_only),
        }
    }

    pub(super) fn on_link_closed(
        &mut self,
        now: Time,
        link: LinkId,
        why: &str,
        effects: &mut Vec<Effect>,
    ) {
        match self.phase {
            Phase::AwaitLink { link: l, .. } if l == link => self.attempt_failed(now, why, effects),
            Phase::AwaitHandshake { link: l, .. } if l == link => {
                let why = format!("the handshake was not answered ({why}); has it a quorum?");
                self.attempt_failed(now, &why, effects);
            }
            Phase::Connected { link: l, .. } if l == link => self.lose_connection(now, effects),
            _ => {}
        }
    }

    pub(super) fn on_garbage(
        &mut self,
        now: Time,
        link: LinkId,
        head: &[u8],
        effects: &mut Vec<Effect>,
    ) {
        match self.phase {
            Phase::AwaitHandshake { link: l, .. } if l == link => {
                self.stranger_found(now, head, effects);
            }
            Phase::Connected { link: l, .. } if l == link => {
                effects.push(Effect::CloseLink { link });
                self.lose_connection(now, effects);
            }
            _ => {}
        }
    }

    fn stranger_found(&mut self, now: Time, head: &[u8], effects: &mut Vec<Effect>) {
        let Phase::AwaitHandshake { link, address, .. } = self.phase else {
            return;
        };
        effects.push(Effect::CloseLink { link });
        let shown = head.get(..head.len().min(24)).unwrap_or_default();
        let what = format!("{address} answers {:?}", String::from_utf8_lossy(shown));
        self.connecting.strangers += 1;
        self.connecting.stranger = Some(what);
        self.attempt_failed(now, "something that is no ZooKeeper answers", effects);
    }

    /// The answer to the handshake.
    pub(super) fn on_handshake(&mut self, now: Time, packet: &[u8], effects: &mut Vec<Effect>) {
        let Phase::AwaitHandshake { link, address, .. } = self.phase else {
            return;
        };
        let Ok(response) = ConnectResponse::decode(packet) else {
            self.stranger_found(now, packet, effects);
            return;
        };
        if response.timeout_ms <= 0 {
            self.end(SessionState::Expired, Why::SessionExpired, effects);
            return;
        }
        let read_only = response.read_only == Some(true);
        if read_only && !self.options.read_only {
            effects.push(Effect::CloseLink { link });
            self.attempt_failed(now, "the server has no quorum and is read-only", effects);
            return;
        }
        self.is_global |= !read_only;
        self.phase = Phase::Connected { link, address };
        self.last_heard = now;
        self.connecting.failed_rounds = 0;
        self.connecting.last = Some(address);
        self.connecting.failures.clear();
        self.status.session = response.session;
        self.status.password = response.password;
        self.status.timeout = Duration::from_millis(u64::from(response.timeout_ms.unsigned_abs()));
        self.status.server = Some(address);
        self.status.state = if read_only {
            SessionState::ConnectedReadOnly
        } else {
            SessionState::Connected
        };
        self.connecting.probes = 0;
        self.next_probe = read_only.then(|| now.after(self.options.back_off.first));
        self.tell_status(effects);
        self.begin_serving(now, effects);
    }

    /// A working connection broke: what was under way is lost or made again, and another server is
    /// looked for at once, after a pause at random so that the clients of a lost server do not
    /// all come at the same moment.
    pub(super) fn lose_connection(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Phase::Connected { .. } = self.phase else {
            return;
        };
        if let Some((probe, _)) = self.probe.take() {
            effects.push(Effect::CloseLink { link: probe });
        }
        self.next_probe = None;
        self.status.server = None;
        let first = u64::try_from(self.options.back_off.first.as_millis()).unwrap_or(0);
        let pause = Duration::from_millis(self.rng.up_to(first));
        self.phase = Phase::AwaitBackOff {
            until: now.after(pause),
        };
        self.change_state(SessionState::Disconnected, effects);
        self.lose_sent(effects);
    }

    /// When a session without a server must be taken for expired. The servers may keep it a little
    /// longer. Java: 4/3 of the timeout since 3.9.3.
    pub(super) fn expiry_deadline(&self) -> Option<Time> {
        if self.status.state == SessionState::Connecting {
            return Some(self.connecting.give_up);
        }
        Some(self.last_heard.after(self.status.timeout * 4 / 3))
    }

    /// No server was found in time.
    pub(super) fn give_up(&mut self, effects: &mut Vec<Effect>) {
        if self.status.state == SessionState::Connecting {
            let mut what = self.connecting.failures.join("; ");
            if what.is_empty() {
                what = "none answered in time".into();
            }
            self.end(SessionState::Closed, Why::Unreachable(what), effects);
        } else {
            self.end(SessionState::Expired, Why::SessionExpired, effects);
        }
    }

    /// While a server without a quorum serves, asks the others one by one. Java: `pingRwServer`.
    pub(super) fn probe_if_due(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let due = self.next_probe.is_some_and(|at| at <= now);
        let Phase::Connected { address, .. } = self.phase else {
            return;
        };
        if !due {
            return;
        }
        if let Some((probe, _)) = self.probe.take() {
            effects.push(Effect::CloseLink { link: probe });
        }
        let search = &mut self.connecting;
        let mut others = search.round.clone();
        others.retain(|other| *other != address);
        let next = others
            .get(search.next_probed % others.len().max(1))
            .copied();
        search.next_probed = search.next_probed.wrapping_add(1);
        let pause = self.options.back_off.first * 2u32.saturating_pow(search.probes.min(10));
        search.probes = search.probes.saturating_add(1);
        self.next_probe = Some(now.after(pause.min(Duration::from_secs(60))));
        if let Some(address) = next {
            let probe = self.new_link();
            self.probe = Some((probe, address));
            effects.push(Effect::Probe { probe, address });
        }
    }

    pub(super) fn on_probed(
        &mut self,
        now: Time,
        probe: LinkId,
        read_write: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Phase::Connected { link, .. } = self.phase else {
            return;
        };
        match self.probe {
            Some((awaited, address)) if awaited == probe => {
                self.probe = None;
                if read_write {
                    self.connecting.preferred = Some(address);
                    effects.push(Effect::CloseLink { link });
                    self.lose_connection(now, effects);
                }
            }
            _ => {}
        }
    }
}
