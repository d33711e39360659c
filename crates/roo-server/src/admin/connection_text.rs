//! How a connection looks in `cons` and `stat`. Java: `NIOServerCnxn.dumpConnectionInfo`.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use roo_proto::ids::SessionId;
use roo_proto::op_code;

use crate::stats::ConnectionStats;

pub(super) fn put_connection(out: &mut String, stats: &ConnectionStats) {
    let interest = i32::from(stats.reading.load(Ordering::Relaxed));
    let _ = write!(
        out,
        " /{}[{interest}](queued={},recved={},sent={}",
        stats.peer,
        stats.outstanding.load(Ordering::Relaxed).max(0),
        stats.received.load(Ordering::Relaxed),
        stats.sent.load(Ordering::Relaxed),
    );
}

pub(super) fn put_session(out: &mut String, stats: &ConnectionStats) {
    let session = stats.session.load(Ordering::Relaxed);
    if session == 0 {
        return;
    }
    let load = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
    let _ = write!(
        out,
        ",sid={},lop={},est={},to={}",
        SessionId(session),
        op_name(stats.last_op.load(Ordering::Relaxed)),
        stats.established.0,
        stats.timeout_ms.load(Ordering::Relaxed),
    );
    let cxid = stats.last_cxid.load(Ordering::Relaxed);
    if cxid >= 0 {
        let _ = write!(out, ",lcxid=0x{cxid:x}");
    }
    let _ = write!(
        out,
        ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
        stats.last_zxid.load(Ordering::Relaxed),
        load(&stats.last_response),
        load(&stats.last_latency),
        stats.latency.min(),
        stats.latency.total() / stats.latency.count().max(1),
        stats.latency.max(),
    );
}

/// The short names of operations. Java: `Request.op2String` cut to four letters.
const fn op_name(op: i32) -> &'static str {
    match op {
        op_code::PING => "PING",
        op_code::CREATE_SESSION => "SESS",
        op_code::MULTI => "MULT",
        op_code::MULTI_READ => "MLTR",
        op_code::CREATE | op_code::CREATE2 | op_code::CREATE_CONTAINER | op_code::CREATE_TTL => {
            "CREA"
        }
        op_code::DELETE | op_code::DELETE_CONTAINER => "DELE",
        op_code::SET_DATA => "SETD",
        op_code::RECONFIG => "RECO",
        op_code::SET_ACL => "SETA",
        op_code::CLOSE_SESSION => "CLOS",
        op_code::SYNC => "SYNC",
        op_code::CHECK => "CHEC",
        op_code::EXISTS => "EXIS",
        op_code::GET_DATA => "GETD",
        op_code::SET_WATCHES => "SETW",
        op_code::SET_WATCHES2 => "STW2",
        op_code::ADD_WATCH => "ADDW",
        op_code::GET_ACL => "GETA",
        op_code::GET_CHILDREN | op_code::GET_CHILDREN2 => "GETC",
        op_code::GET_ALL_CHILDREN_NUMBER => "GETACN",
        op_code::CHECK_WATCHES => "CHKW",
        op_code::REMOVE_WATCHES => "REMW",
        op_code::WHO_AM_I => "HOMI",
        op_code::GET_EPHEMERALS => "GETE",
        _ => "NA",
    }
}
