//! Transactions and nodes as JSON. Numbers that programs compare bit by bit (zxids, sessions) are
//! strings in hex, as JSON's numbers have 53 bits; data is base64, as it need not be text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use roo_proto::acl::Acl;
use roo_proto::ids::Zxid;
use roo_proto::stat::StatPersisted;
use roo_proto::txn::{CreateTxn, Txn, TxnDigest, TxnHeader};
use serde_json::{Value, json};

pub(super) fn zxid(zxid: Zxid) -> String {
    format!("0x{:x}", zxid.0)
}

pub(super) fn session(id: i64) -> String {
    format!("0x{id:x}")
}

pub(super) fn data(data: Option<&[u8]>) -> Value {
    data.map_or(Value::Null, |data| BASE64_STANDARD.encode(data).into())
}

pub(super) fn acl(list: &[Acl]) -> Value {
    list.iter()
        .map(|acl| json!({ "perms": acl.perms, "scheme": acl.id.scheme, "id": acl.id.id }))
        .collect()
}

pub(super) fn stat(stat: &StatPersisted) -> Value {
    json!({
        "czxid": zxid(Zxid(stat.czxid)),
        "mzxid": zxid(Zxid(stat.mzxid)),
        "pzxid": zxid(Zxid(stat.pzxid)),
        "ctime": stat.ctime,
        "mtime": stat.mtime,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeralOwner": session(stat.ephemeral_owner),
    })
}

pub(super) fn record(header: &TxnHeader, body: &Txn, digest: Option<TxnDigest>) -> Value {
    json!({
        "zxid": zxid(header.zxid),
        "time": header.time,
        "session": session(header.client_id),
        "cxid": header.cxid,
        "txn": txn(body),
        "digest": digest.map(|digest| json!({
            "version": digest.version,
            "tree": digest.tree_digest.cast_unsigned(),
        })),
    })
}

fn create(kind: &str, op: i32, node: &CreateTxn) -> Value {
    json!({
        "type": kind, "op": op, "path": node.path, "data": data(node.data.as_deref()),
        "acl": acl(&node.acl), "parentCVersion": node.parent_cversion,
    })
}

fn txn(txn: &Txn) -> Value {
    let op = txn.op();
    let with = |mut object: Value, key: &str, value: Value| {
        object[key] = value;
        object
    };
    match txn {
        Txn::CreateSession { timeout_ms } => {
            json!({ "type": "createSession", "op": op, "timeoutMs": timeout_ms })
        }
        Txn::CloseSession { paths } => json!({ "type": "closeSession", "op": op, "paths": paths }),
        Txn::Create {
            node, ephemeral, ..
        } => with(create("create", op, node), "ephemeral", (*ephemeral).into()),
        Txn::CreateContainer(node) => create("createContainer", op, node),
        Txn::CreateTtl { node, ttl } => with(create("createTTL", op, node), "ttl", (*ttl).into()),
        Txn::Delete { path } => json!({ "type": "delete", "op": op, "path": path }),
        Txn::DeleteContainer { path } => {
            json!({ "type": "deleteContainer", "op": op, "path": path })
        }
        Txn::SetData {
            path,
            data: bytes,
            version,
        } => json!({
            "type": "setData", "op": op, "path": path, "data": data(bytes.as_deref()),
            "version": version,
        }),
        Txn::Reconfig {
            path,
            data: bytes,
            version,
        } => json!({
            "type": "reconfig", "op": op, "path": path, "data": data(bytes.as_deref()),
            "version": version,
        }),
        Txn::SetAcl {
            path,
            acl: list,
            version,
        } => json!({
            "type": "setACL", "op": op, "path": path, "acl": acl(list), "version": version,
        }),
        Txn::Check { path, version } => {
            json!({ "type": "check", "op": op, "path": path, "version": version })
        }
        Txn::Multi(ops) => {
            let ops: Vec<Value> = ops.iter().map(self::txn).collect();
            json!({ "type": "multi", "op": op, "ops": ops })
        }
        Txn::Error(code) => json!({ "type": "error", "op": op, "code": code.name() }),
    }
}
