use alloc::string::ToString;
use alloc::vec::Vec;

use roo_proto::acl::Acl;
use roo_proto::ids::Zxid;
use roo_proto::op_code;
use roo_proto::reply::WriteResult;
use roo_proto::txn::{CreateTxn, Txn, TxnHeader};

use super::*;
use crate::state::{Outcome, Rules};

#[test]
fn texts_are_read_as_java_reads_them() {
    let track = Track::parse(b"count=1,bytes=2=;byteHardLimit=3;countHardLimit=-1").unwrap();
    let values = (
        track.count(),
        track.bytes(),
        track.bytes_hard_limit(),
        track.count_hard_limit(),
    );
    assert_eq!(values, (1, 2, 3, -1));
    assert_eq!(Track::parse(b""), Some(Track::default()));
    assert!(Track::parse(b"bytes=7,other=3,,").is_some());
    let values = |text: &[u8]| {
        let track = Track::parse(text).unwrap();
        (track.count(), track.bytes())
    };
    assert_eq!(values(b",;,"), (-1, -1));
    assert_eq!(values(b"count=1,;bytes=2"), (1, 2));
    assert_eq!(values(b"count==1;;,bytes=+2=3"), (-1, 2));
    assert_eq!(values(b"\xFF=9,=7,count=1,count=5"), (5, -1));
    for bad in [
        "count=",
        "count==",
        "=",
        "hello",
        ",count=1",
        "count= 1",
        "count=x",
        "count=9223372036854775808",
    ] {
        assert_eq!(Track::parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn an_odd_sign_stands_before_further_keys() {
    let text = "count=1,bytes=2=;byteHardLimit=3;countHardLimit=4";
    assert_eq!(Track::parse(text.as_bytes()).unwrap().text(), text);
    assert_eq!(Track::parse(b"count=5").unwrap().text(), "count=5,bytes=-1");
}

struct Scene(State);

impl Scene {
    fn new() -> Self {
        let rules = Rules {
            enforce_quota: true,
            ..Rules::default()
        };
        Self(State::new(rules, 1))
    }

    fn apply(&mut self, txn: Txn) {
        let header = TxnHeader {
            zxid: Zxid(self.0.last_zxid().0 + 1),
            client_id: 5,
            ..TxnHeader::default()
        };
        let applied = self.0.apply(&header, txn, &mut Vec::new());
        assert_eq!(applied.error, ErrorCode::OK);
    }

    fn create(&mut self, path: &str, data: &str) {
        self.create_as(path, data, false);
    }

    fn create_as(&mut self, path: &str, data: &str, ephemeral: bool) {
        let node = CreateTxn {
            path: path.to_string(),
            data: Some(data.to_string().into()),
            acl: [Acl::open()].into(),
            parent_cversion: -1,
        };
        let op = op_code::CREATE;
        self.apply(Txn::Create {
            op,
            node,
            ephemeral,
        });
    }

    fn set(&mut self, path: &str, data: Option<&str>) {
        self.apply(Txn::SetData {
            path: path.to_string(),
            data: data.map(|data| data.to_string().into()),
            version: 1,
        });
    }

    fn delete(&mut self, path: &str) {
        let path = path.to_string();
        self.apply(Txn::Delete { path });
    }

    /// Sets a quota for `/p`, which exists.
    fn limit(&mut self, limits: &str) {
        self.create("/zookeeper/quota/p", "");
        self.create("/zookeeper/quota/p/zookeeper_limits", limits);
        self.create("/zookeeper/quota/p/zookeeper_stats", "");
    }

    fn stats(&self) -> &str {
        let path = "/zookeeper/quota/p/zookeeper_stats";
        let node = self.0.tree.find(path).unwrap();
        core::str::from_utf8(self.0.tree.data(node).unwrap()).unwrap()
    }

    fn may_create(&self, path: &str, bytes: usize) -> Result<(), ErrorCode> {
        check(&self.0, path, QuotaOp::Create { bytes })
    }

    fn may_set(&self, path: &str, old_bytes: usize, new_bytes: usize) -> Result<(), ErrorCode> {
        let op = QuotaOp::SetData {
            old_bytes,
            new_bytes,
        };
        check(&self.0, path, op)
    }
}

#[test]
fn counts_begin_with_what_is_there_and_follow_every_change() {
    let mut scene = Scene::new();
    scene.create("/p", "12345");
    scene.create("/p/a", "123");
    scene.limit("count=9,bytes=-1");
    assert_eq!(scene.stats(), "count=2,bytes=8");
    scene.create("/p/a/b", "12");
    assert_eq!(scene.stats(), "count=3,bytes=10");
    scene.set("/p/a", Some("1"));
    assert_eq!(scene.stats(), "count=3,bytes=8");
    scene.set("/p/a", None);
    scene.create_as("/p/e", "1234", true);
    assert_eq!(scene.stats(), "count=4,bytes=11");
    scene.apply(Txn::CloseSession { paths: None });
    scene.delete("/p/a/b");
    assert_eq!(scene.stats(), "count=2,bytes=5");
    scene.create("/other", "1");
    assert_eq!(scene.stats(), "count=2,bytes=5");
    let stats = scene.0.tree.find("/zookeeper/quota/p/zookeeper_stats");
    assert_eq!(scene.0.tree.persisted(stats.unwrap()).version, 0);
}

#[test]
fn only_the_innermost_quota_counts() {
    let mut scene = Scene::new();
    scene.create("/p", "");
    scene.limit("count=9,bytes=-1");
    scene.create("/p/in", "1");
    scene.create("/zookeeper/quota/p/in", "");
    scene.create("/zookeeper/quota/p/in/zookeeper_limits", "count=1");
    assert_eq!(scene.stats(), "count=2,bytes=1");
    scene.create("/p/in/x", "1");
    scene.create("/p/inn", "1");
    assert_eq!(scene.stats(), "count=3,bytes=2");
    scene.delete("/zookeeper/quota/p/in/zookeeper_limits");
    scene.create("/p/in/y", "1");
    assert_eq!(scene.stats(), "count=4,bytes=3");
}

#[test]
fn hard_limits_refuse_growth_and_even_shrinking_above_them() {
    let mut scene = Scene::new();
    scene.create("/p", "12345");
    scene.limit("count=-1,bytes=-1=;byteHardLimit=8;countHardLimit=2");
    assert_eq!(scene.may_create("/p/a", 3), Ok(()));
    assert_eq!(scene.may_create("/p/a", 4), Err(ErrorCode::QUOTA_EXCEEDED));
    assert_eq!(scene.may_create("/q", 400), Ok(()));
    scene.create("/p/a", "12345678");
    assert_eq!(scene.may_create("/p/b", 0), Err(ErrorCode::QUOTA_EXCEEDED));
    assert_eq!(scene.may_set("/p/a", 8, 7), Err(ErrorCode::QUOTA_EXCEEDED));
    assert_eq!(scene.may_set("/p/a", 8, 8), Ok(()));
    assert_eq!(scene.may_set("/p/a", 8, 3), Ok(()));
    scene.set("/zookeeper/quota/p/zookeeper_limits", Some("count=0"));
    assert_eq!(scene.may_create("/p/b", 9), Ok(()));
    scene.set("/zookeeper/quota/p/zookeeper_limits", Some("hello"));
    let unreadable = Err(ErrorCode::MARSHALLING_ERROR);
    assert_eq!(scene.may_create("/p/b", 0), unreadable);
    scene.delete("/zookeeper/quota/p/zookeeper_limits");
    assert_eq!(scene.may_create("/p/b", 9), Ok(()));
}

#[test]
fn counts_are_made_anew_after_a_load() {
    let mut scene = Scene::new();
    scene.create("/p", "12345");
    scene.limit("count=9,bytes=-1");
    scene.set(
        "/zookeeper/quota/p/zookeeper_stats",
        Some("count=77,bytes=1"),
    );
    scene.create("/p/a", "1");
    assert_eq!(scene.stats(), "count=78,bytes=2");
    scene.0.repair_after_load();
    assert_eq!(scene.stats(), "count=2,bytes=6");
    let usages: Vec<_> = scene.0.quota_usages().collect();
    assert_eq!(usages.len(), 1);
    assert_eq!(
        (usages[0].0, usages[0].1.count(), usages[0].2.count()),
        ("/p", 9, 2)
    );
}

#[test]
fn counts_that_cannot_be_read_begin_again_at_zero() {
    let mut scene = Scene::new();
    scene.create("/p", "12345");
    scene.limit("count=9,bytes=-1");
    scene.set("/zookeeper/quota/p/zookeeper_stats", Some("hello"));
    scene.create("/p/a", "12");
    assert_eq!(scene.stats(), "count=1,bytes=2");
}

#[test]
fn counts_that_cannot_be_read_refuse_only_where_a_limit_asks_for_them() {
    let mut scene = Scene::new();
    scene.create("/p", "");
    scene.limit("countHardLimit=5");
    scene.set("/zookeeper/quota/p/zookeeper_stats", Some("hello"));
    assert_eq!(scene.may_set("/p", 0, 9), Ok(()));
    assert_eq!(
        scene.may_create("/p/a", 0),
        Err(ErrorCode::MARSHALLING_ERROR)
    );
}

#[test]
fn a_quota_is_known_by_the_components_that_are_not_blank() {
    assert_eq!(in_trie("/a/ /b").as_deref(), Some("/a/b"));
    assert_eq!(in_trie("X").as_deref(), Some("/X"));
    assert_eq!(in_trie("/ "), None);
    let mut scene = Scene::new();
    scene.create("/p", "");
    scene.limit("countHardLimit=2");
    scene.create("/p/ ", "");
    assert_eq!(scene.stats(), "count=2,bytes=0");
    assert_eq!(
        scene.may_create("/p/ /a", 0),
        Err(ErrorCode::QUOTA_EXCEEDED)
    );
    assert_eq!(scene.may_create("/ /p", 0), Err(ErrorCode::QUOTA_EXCEEDED));
}

#[test]
fn counts_of_the_root_are_those_of_the_whole_tree_when_they_are_created() {
    let mut scene = Scene::new();
    scene.create("/p", "1234");
    let path = "/zookeeper/quota/zookeeper_stats";
    scene.create(path, "abc");
    let node = scene.0.tree.find(path).unwrap();
    // The root, three nodes of the system, /p and the counts themselves.
    assert_eq!(scene.0.tree.data(node), Some(&b"count=6,bytes=7"[..]));
    scene.create("/q", "");
    let node = scene.0.tree.find(path).unwrap();
    assert_eq!(scene.0.tree.data(node), Some(&b"count=6,bytes=7"[..]));
}

#[test]
fn whoever_creates_counts_is_told_the_length_of_what_was_given() {
    let mut scene = Scene::new();
    scene.create("/p", "");
    scene.create("/zookeeper/quota/p", "");
    let node = CreateTxn {
        path: "/zookeeper/quota/p/zookeeper_stats".to_string(),
        data: None,
        acl: [Acl::open()].into(),
        parent_cversion: 1,
    };
    let txn = Txn::Create {
        op: op_code::CREATE2,
        node,
        ephemeral: false,
    };
    let applied = scene.0.apply(&TxnHeader::default(), txn, &mut Vec::new());
    let Outcome::Single(WriteResult::CreatedStat { stat, .. }) = applied.outcome else {
        panic!("{applied:?}");
    };
    assert_eq!(stat.data_length, 0);
    assert_eq!(scene.stats(), "count=1,bytes=0");
}
