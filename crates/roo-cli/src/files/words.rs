//! Transactions and nodes for people: data as text where it is text, in base64 where it is not,
//! access control lists as every command writes them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use roo_client::acls;
use roo_proto::txn::{CreateTxn, Txn};

/// Data that can be read from it exactly: `null`, a quoted text, or `base64:` and what it says.
pub(super) fn data(data: Option<&[u8]>) -> String {
    let Some(data) = data else {
        return "null".to_owned();
    };
    match std::str::from_utf8(data) {
        // Of the characters that no terminal shows, texts have line ends and tabs.
        Ok(text)
            if text
                .chars()
                .all(|c| !c.is_control() || "\n\r\t".contains(c)) =>
        {
            format!("\"{}\"", text.escape_debug())
        }
        _ => format!("base64:{}", BASE64_STANDARD.encode(data)),
    }
}

pub(super) fn path(path: &str) -> impl std::fmt::Display {
    path.escape_debug()
}

fn create(kind: &str, node: &CreateTxn) -> String {
    format!(
        "{kind} {} {} {} parentCVersion {}",
        path(&node.path),
        data(node.data.as_deref()),
        acls::format(&node.acl),
        node.parent_cversion
    )
}

/// What a transaction does.
pub(super) fn txn(txn: &Txn) -> String {
    match txn {
        Txn::CreateSession { timeout_ms } => format!("createSession timeout {timeout_ms} ms"),
        Txn::CloseSession { paths: None } => "closeSession".to_owned(),
        Txn::CloseSession { paths: Some(paths) } => {
            let paths = paths.iter().map(|gone| format!(" {}", path(gone)));
            format!("closeSession{}", paths.collect::<String>())
        }
        Txn::Create {
            node, ephemeral, ..
        } => create(if *ephemeral { "create -e" } else { "create" }, node),
        Txn::CreateContainer(node) => create("createContainer", node),
        Txn::CreateTtl { node, ttl } => create(&format!("createTTL {ttl} ms"), node),
        Txn::Delete { path: gone } => format!("delete {}", path(gone)),
        Txn::DeleteContainer { path: gone } => format!("deleteContainer {}", path(gone)),
        Txn::SetData {
            path: at,
            data: bytes,
            version,
        } => format!(
            "setData {} {} version {version}",
            path(at),
            data(bytes.as_deref())
        ),
        Txn::Reconfig {
            path: at,
            data: bytes,
            version,
        } => format!(
            "reconfig {} {} version {version}",
            path(at),
            data(bytes.as_deref())
        ),
        Txn::SetAcl {
            path: at,
            acl,
            version,
        } => format!(
            "setACL {} {} aversion {version}",
            path(at),
            acls::format(acl)
        ),
        Txn::Check { path: at, version } => format!("check {} version {version}", path(at)),
        Txn::Multi(ops) => {
            let ops: Vec<String> = ops.iter().map(self::txn).collect();
            format!("multi [{}]", ops.join("; "))
        }
        Txn::Error(code) => format!("error {}", code.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_text_where_it_is_text_and_base64_where_not() {
        assert_eq!(data(None), "null");
        assert_eq!(data(Some(b"")), "\"\"");
        assert_eq!(
            data(Some("a \"b\"\n\u{e9}".as_bytes())),
            "\"a \\\"b\\\"\\n\u{e9}\""
        );
        assert_eq!(data(Some(&[0, 1, 2, 3])), "base64:AAECAw==");
        assert_eq!(data(Some(b"\x1b[2J")), "base64:G1sySg==");
        assert_eq!(data(Some(&[0xff])), "base64:/w==");
    }

    #[test]
    fn a_multi_is_one_line() {
        let ops = vec![
            Txn::SetData {
                path: "/a".into(),
                data: Some(b"x\ny".to_vec().into()),
                version: 3,
            },
            Txn::Delete {
                path: "/b\u{7}".into(),
            },
        ];
        let said = txn(&Txn::Multi(ops));
        assert_eq!(
            said,
            "multi [setData /a \"x\\ny\" version 3; delete /b\\u{7}]"
        );
    }
}
