//! Who may speak to whom: the first frame of each direction, and the checks of both sides.

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::ServerId;

use crate::parameters::Joiners;
use crate::surface::RefusalReason;

/// Version of the protocol: servers of another major one are refused.
pub(crate) const MAJOR: u32 = 1;
/// Raised when kinds of packets are added.
pub(crate) const MINOR: u32 = 0;

/// The first frame of each direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) identity: Option<u64>,
    pub(crate) from: ServerId,
    pub(crate) to: ServerId,
    pub(crate) purpose: Purpose,
    pub(crate) config_version: i64,
    pub(crate) software: String,
}

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Election,
    Follow,
}

/// Who this server is and whom it knows.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) id: ServerId,
    pub(crate) software: String,
    pub(crate) joiners: Joiners,
    pub(crate) identity: Option<u64>,
    pub(crate) ensemble: Ensemble,
}

impl Local {
    pub(crate) fn hello(&self, to: ServerId, purpose: Purpose) -> Hello {
        Hello {
            major: MAJOR,
            minor: MINOR,
            identity: self.identity,
            from: self.id,
            to,
            purpose,
            config_version: self.ensemble.version,
            software: self.software.clone(),
        }
    }

    /// Whether to serve who has dialled.
    pub(crate) fn admit(&self, theirs: &Hello) -> Result<(), RefusalReason> {
        self.check_both(theirs)?;
        if theirs.from == self.id {
            return Err(RefusalReason::SameId);
        }
        if theirs.to != self.id {
            return Err(RefusalReason::WrongId);
        }
        let is_member = self.ensemble.members.contains_key(&theirs.from);
        if !is_member && self.joiners == Joiners::Refused {
            return Err(RefusalReason::NotAMember);
        }
        Ok(())
    }

    /// Whether to speak to who was dialled as `to`.
    pub(crate) fn accept_answer(&self, to: ServerId, theirs: &Hello) -> Result<(), RefusalReason> {
        self.check_both(theirs)?;
        if theirs.from == self.id {
            return Err(RefusalReason::SameId);
        }
        if theirs.from != to {
            return Err(RefusalReason::WrongId);
        }
        Ok(())
    }

    fn check_both(&self, theirs: &Hello) -> Result<(), RefusalReason> {
        if theirs.major < MAJOR {
            return Err(RefusalReason::TooOld);
        }
        if theirs.major > MAJOR {
            return Err(RefusalReason::TooNew);
        }
        if let (Some(ours), Some(theirs)) = (self.identity, theirs.identity)
            && ours != theirs
        {
            return Err(RefusalReason::OtherEnsemble);
        }
        Ok(())
    }
}

/// What is wrong and what to do, in one line, for the side that was dialled from `whence`.
pub(crate) fn refused_caller(
    reason: RefusalReason,
    local: &Local,
    theirs: &Hello,
    whence: &str,
) -> String {
    let caller = format!("server {} at {whence}", theirs.from.0);
    match reason {
        RefusalReason::WrongId => format!(
            "{caller} looks for server {} here, but this is server {}: check its server.{} line \
             and the myid files of both",
            theirs.to.0, local.id.0, theirs.to.0
        ),
        RefusalReason::NotAMember => format!(
            "{caller} is not in the ensemble of this server: add a server.{} line, or let it join \
             with reconfigEnabled=true and reconfig",
            theirs.from.0
        ),
        RefusalReason::SameId
        | RefusalReason::OtherEnsemble
        | RefusalReason::TooOld
        | RefusalReason::TooNew
        | RefusalReason::NotAPeer => common(reason, local, theirs, &caller),
    }
}

/// The same for the side that has dialled `to` at `whither`.
pub(crate) fn refused_callee(
    reason: RefusalReason,
    local: &Local,
    to: ServerId,
    theirs: &Hello,
    whither: &str,
) -> String {
    match reason {
        RefusalReason::WrongId => format!(
            "the server at {whither} is server {}, not {}: check the server.{} line here and the \
             myid file there",
            theirs.from.0, to.0, to.0
        ),
        RefusalReason::NotAMember => format!(
            "server {} at {whither} does not know this server: add a server.{} line there, or \
             reconfigEnabled=true to join with reconfig",
            to.0, local.id.0
        ),
        RefusalReason::SameId
        | RefusalReason::OtherEnsemble
        | RefusalReason::TooOld
        | RefusalReason::TooNew
        | RefusalReason::NotAPeer => {
            let callee = format!("server {} at {whither}", to.0);
            common(reason, local, theirs, &callee)
        }
    }
}

fn common(reason: RefusalReason, local: &Local, theirs: &Hello, who: &str) -> String {
    let hex = |identity: Option<u64>| {
        identity.map_or_else(|| "unknown".to_owned(), |known| format!("{known:016x}"))
    };
    match reason {
        RefusalReason::SameId => format!(
            "{who} says that it is server {}, as this one does: each server needs a myid of its \
             own",
            local.id.0
        ),
        RefusalReason::OtherEnsemble => format!(
            "{who} belongs to another ensemble ({}, here {}): check the server lines, or empty \
             the data directory of the one that moves",
            hex(theirs.identity),
            hex(local.identity)
        ),
        RefusalReason::TooOld => format!(
            "{who} speaks version {} of the servers' protocol ({:?}), which is older than {MAJOR} \
             here: upgrade it",
            theirs.major, theirs.software
        ),
        RefusalReason::TooNew => format!(
            "{who} speaks version {} of the servers' protocol ({:?}), which is newer than {MAJOR} \
             here: upgrade this server",
            theirs.major, theirs.software
        ),
        RefusalReason::WrongId | RefusalReason::NotAMember | RefusalReason::NotAPeer => {
            format!("{who} does not speak as a server of an ensemble")
        }
    }
}
