//! Histories to try checkers on.

use roo_client::{SessionId, Zxid};
use roo_proto::error_code::ErrorCode;
use roo_proto::op_code;
use roo_proto::txn::TxnHeader;

use crate::fact::Entry;
use crate::oracle::{Changed, Oracle, TxnEffect};

/// Who does everything.
pub(super) const OWNER: SessionId = SessionId(7);

/// What is committed after transactions with zxids from 1, each of which makes or sets nodes
/// (`+/a +/b=data`), deletes them (`-/a`), or ends the owner's session (`!`).
pub(super) fn oracle(transactions: &[&str]) -> Oracle {
    let mut oracle = Oracle::default();
    let mut committed = Vec::new();
    for (at, changes) in (1..).zip(transactions) {
        let header = TxnHeader {
            client_id: OWNER.0,
            cxid: at,
            zxid: Zxid::ZERO,
            time: 0,
        };
        let op = match *changes {
            "!" => op_code::CLOSE_SESSION,
            _ => op_code::SET_DATA,
        };
        let mut effect = TxnEffect::new(&header, op, ErrorCode::OK);
        let changes = changes.split(' ').filter(|change| *change != "!");
        effect.changes.extend(changes.map(changed));
        let zxid = Zxid(at.into());
        let entry = Entry {
            zxid,
            id: zxid.0.unsigned_abs(),
        };
        oracle.applied(entry, effect).unwrap();
        committed.push(entry);
    }
    oracle.committed(&committed).unwrap();
    oracle
}

fn changed(change: &str) -> Changed {
    let (kind, node) = change.split_at(1);
    let (path, data) = node.split_once('=').unwrap_or((node, ""));
    Changed {
        path: path.to_owned(),
        data: (kind == "+").then(|| data.as_bytes().to_vec()),
    }
}
