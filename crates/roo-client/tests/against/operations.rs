use std::time::Duration;

use roo_client::{
    Acl, CreateOptions, ErrorCode, ErrorKind, Multi, MultiRead, NodeKind, OpResult, Options,
    Permissions, Quota, ReadResult, Version, acls,
};

use crate::server::Server;

#[tokio::test]
async fn nodes_of_every_kind_are_created() {
    let server = Server::start();
    let client = server.client().await;
    let created = client
        .create("/a", "data", NodeKind::Persistent)
        .await
        .unwrap();
    assert_eq!(created.path, "/a");
    assert_eq!(created.stat.czxid, created.zxid.0);
    assert_eq!(created.stat.data_length, 4);
    for (kind, path, owned) in [
        (NodeKind::PersistentSequential, "/a/s0000000000", false),
        (NodeKind::EphemeralSequential, "/a/s0000000001", true),
        (NodeKind::Ephemeral, "/a/s", true),
    ] {
        let created = client.create("/a/s", b"", kind).await.unwrap();
        assert_eq!(created.path, path);
        assert_eq!(created.stat.ephemeral_owner != 0, owned);
    }
    let ttl = Duration::from_secs(3600);
    client.create("/c", b"", NodeKind::Container).await.unwrap();
    client
        .create("/t", b"", NodeKind::PersistentTtl(ttl))
        .await
        .unwrap();
    let created = client
        .create("/t", b"", NodeKind::PersistentSequentialTtl(ttl))
        .await;
    assert_eq!(created.unwrap().path, "/t0000000003");
    let only_digits = client
        .create("/c/", b"", NodeKind::PersistentSequential)
        .await;
    assert_eq!(only_digits.unwrap().path, "/c/0000000000");
    let mut ephemerals = client.ephemerals("/").await.unwrap();
    ephemerals.sort();
    assert_eq!(ephemerals, ["/a/s", "/a/s0000000001"]);
    assert_eq!(client.ephemerals("/b").await.unwrap(), [""; 0]);
    assert!(client.ephemerals("a").await.is_err());
    client.close().await.unwrap();
    let client = server.client().await;
    assert_eq!(client.children("/a").await.unwrap().names, ["s0000000000"]);
    assert_eq!(client.descendants_count("/a").await.unwrap(), 1);
}

#[tokio::test]
async fn a_node_is_read_changed_and_deleted() {
    let server = Server::start();
    let client = server.client().await;
    let nothing: &[u8] = &[];
    client
        .create("/a", nothing, NodeKind::Persistent)
        .await
        .unwrap();
    assert_eq!(client.get("/a").await.unwrap().data, nothing);
    let stat = client.set("/a", "x", 0).await.unwrap();
    assert_eq!(stat.version, 1);
    let node = client.get("/a").await.unwrap();
    assert_eq!((node.data.as_ref(), node.stat), (b"x".as_ref(), stat));
    assert_eq!(client.exists("/a").await.unwrap(), Some(stat));
    let error = client.set("/a", "y", 0).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::BadVersion);
    assert_eq!(error.code(), ErrorCode::BAD_VERSION);
    assert_eq!((error.operation(), error.path()), ("set", Some("/a")));
    assert!(!error.is_retryable() && !error.outcome_unknown() && !error.session_lost());
    assert!(
        error
            .to_string()
            .starts_with("set /a: the node has another version")
    );
    client.set("/a", "y", Version::Any).await.unwrap();
    assert_eq!(
        client.delete("/a", 7).await.unwrap_err().code(),
        ErrorCode::BAD_VERSION
    );
    client.sync("/a").await.unwrap();
    client.delete("/a", 2).await.unwrap();
    assert_eq!(client.exists("/a").await.unwrap(), None);
    assert_eq!(
        *client.get("/a").await.unwrap_err().kind(),
        ErrorKind::NoNode
    );
    assert!(client.last_zxid().0 > stat.mzxid);
}

#[tokio::test]
async fn refusals_have_their_kinds() {
    let server = Server::start();
    let client = server.client().await;
    client.create("/a", b"", NodeKind::Ephemeral).await.unwrap();
    client
        .create("/p", b"", NodeKind::Persistent)
        .await
        .unwrap();
    client
        .create("/p/q", b"", NodeKind::Persistent)
        .await
        .unwrap();
    let persistent = NodeKind::Persistent;
    let kind = |result: roo_client::Result<roo_client::Created>| result.unwrap_err().kind().clone();
    assert_eq!(
        kind(client.create("/a", b"", persistent).await),
        ErrorKind::NodeExists
    );
    assert_eq!(
        kind(client.create("/x/y", b"", persistent).await),
        ErrorKind::NoNode
    );
    assert_eq!(
        kind(client.create("/a/b", b"", persistent).await),
        ErrorKind::NoChildrenForEphemerals
    );
    let nobody = CreateOptions::new(persistent, Vec::new());
    assert_eq!(
        kind(client.create("/b", b"", nobody).await),
        ErrorKind::InvalidAcl
    );
    let for_ever = NodeKind::PersistentTtl(Duration::ZERO);
    let refused = kind(client.create("/b", b"", for_ever).await);
    assert!(matches!(refused, ErrorKind::BadArguments(_)));
    assert_eq!(
        *client.delete("/p", Version::Any).await.unwrap_err().kind(),
        ErrorKind::NotEmpty
    );
    for path in ["", "a", "/a/", "//", "/a/../b", "/a\u{1}"] {
        let refused = client.get(path).await.unwrap_err();
        assert!(
            matches!(refused.kind(), ErrorKind::BadArguments(_)),
            "{path:?}"
        );
        assert!(!refused.to_string().contains('\u{1}'));
    }
}

#[tokio::test]
async fn a_node_too_large_is_refused_here_and_the_connection_lives() {
    let server = Server::start();
    let client = server.client().await;
    let server_before = client.server();
    let large = vec![0; 0xf_ffff];
    let refused = client
        .create("/a", &large, NodeKind::Persistent)
        .await
        .unwrap_err();
    assert!(matches!(
        refused.kind(),
        ErrorKind::TooLarge { bytes, limit: 0xf_ffff } if *bytes > large.len()
    ));
    assert!(!refused.outcome_unknown());
    let most = 0xf_ffff - 100;
    client
        .create("/a", &large[..most], NodeKind::Persistent)
        .await
        .unwrap();
    assert_eq!(client.get("/a").await.unwrap().data.len(), most);
    assert_eq!(client.server(), server_before);
}

#[tokio::test]
async fn a_reply_too_large_fails_alone() {
    let server = Server::start();
    let client = server.client_with(Options {
        max_reply_bytes: 1000,
        ..Options::default()
    });
    let client = client.await;
    client
        .create("/a", vec![7; 5000], NodeKind::Persistent)
        .await
        .unwrap();
    let (large, small) = tokio::join!(client.get("/a"), client.exists("/a"));
    let refused = large.unwrap_err();
    assert!(
        matches!(refused.kind(), ErrorKind::TooLarge { limit: 1000, .. }),
        "{refused}"
    );
    assert!(!refused.outcome_unknown());
    assert_eq!(small.unwrap().unwrap().data_length, 5000);
}

#[tokio::test]
async fn a_multi_does_everything_or_nothing() {
    let server = Server::start();
    let client = server.client().await;
    let ops = Multi::new()
        .create("/m", "1", NodeKind::Persistent)
        .create("/m/s-", "", NodeKind::EphemeralSequential)
        .set("/m", "2", 0)
        .check("/m", 1)
        .create("/gone", "", NodeKind::Container)
        .delete("/gone", Version::Any);
    let results = client.multi(ops).await.unwrap();
    let [
        OpResult::Created(first),
        OpResult::Created(second),
        OpResult::Set(stat),
        OpResult::Checked,
        OpResult::Created(_),
        OpResult::Deleted,
    ] = results.as_slice()
    else {
        panic!("{results:?}");
    };
    assert_eq!(
        (first.path.as_str(), second.path.as_str()),
        ("/m", "/m/s-0000000000")
    );
    assert_eq!((first.zxid, stat.version), (second.zxid, 1));
    let ops = Multi::new()
        .set("/m", "3", 1)
        .create("/x/y", "", NodeKind::Persistent)
        .delete("/m", Version::Any);
    let error = client.multi(ops).await.unwrap_err();
    assert_eq!((error.failed_op(), error.path()), (Some(1), Some("/x/y")));
    assert_eq!(*error.kind(), ErrorKind::NoNode);
    let codes = [
        ErrorCode::OK,
        ErrorCode::NO_NODE,
        ErrorCode::RUNTIME_INCONSISTENCY,
    ];
    assert_eq!(error.op_codes(), codes);
    assert_eq!(client.get("/m").await.unwrap().data, "2");
    assert_eq!(client.multi(Multi::new()).await.unwrap(), []);
}

#[tokio::test]
async fn reads_are_made_together_and_fail_one_by_one() {
    let server = Server::start();
    let client = server.client().await;
    client
        .create("/m", "1", NodeKind::Persistent)
        .await
        .unwrap();
    client
        .create("/m/c", "", NodeKind::Persistent)
        .await
        .unwrap();
    let ops = MultiRead::new()
        .get("/m")
        .get("/x")
        .children("/m")
        .children("/m/c");
    let results = client.multi_read(ops).await.unwrap();
    assert!(matches!(&results[0], Ok(ReadResult::Node(node)) if node.data == "1"));
    let error = results[1].clone().unwrap_err();
    assert_eq!(
        (error.kind(), error.path()),
        (&ErrorKind::NoNode, Some("/x"))
    );
    assert_eq!(results[2], Ok(ReadResult::Children(vec!["c".into()])));
    assert_eq!(results[3], Ok(ReadResult::Children(Vec::new())));
}

#[tokio::test]
async fn identities_decide_who_may_do_what() {
    let server = Server::start();
    let client = server.client_with(Options {
        auth: vec![("digest".into(), b"ann:secret".to_vec())],
        ..Options::default()
    });
    let client = client.await;
    let mut ids: Vec<_> = client.who_am_i().await.unwrap();
    ids.sort();
    assert_eq!(
        (ids[0].scheme.as_str(), ids[0].id.as_str()),
        ("digest", "ann")
    );
    let own = CreateOptions::new(NodeKind::Persistent, acls::creator_all());
    client.create("/own", "x", own).await.unwrap();
    let (list, _) = client.acl("/own").await.unwrap();
    assert_eq!(list, [acls::digest("ann", "secret")]);
    let other = server.client().await;
    assert_eq!(
        *other.get("/own").await.unwrap_err().kind(),
        ErrorKind::NoAuth
    );
    other.add_auth("digest", "ann:secret").await.unwrap();
    assert_eq!(other.get("/own").await.unwrap().data, "x");
    let read_write = (Permissions::READ | Permissions::WRITE).bits();
    let list = [Acl::new(read_write, "world", "anyone")];
    assert_eq!(client.set_acl("/own", &list, 0).await.unwrap().aversion, 1);
    let refused = client
        .set_acl("/own", &list, Version::Any)
        .await
        .unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::NoAuth);
    let refused = other.add_auth("nonsense", "").await.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::AuthFailed);
    assert!(refused.session_lost());
    assert!(other.get("/own").await.unwrap_err().session_lost());
}

#[tokio::test]
async fn paths_are_below_the_chroot() {
    let server = Server::start();
    let hosts = format!("{}/app/one", server.address);
    let client = crate::server::connect(&hosts, Options::default()).await;
    let root = server.client().await;
    let error = client
        .create("/a", b"", NodeKind::Persistent)
        .await
        .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NoNode);
    assert!(error.to_string().contains("/app/one"), "{error}");
    client.create_parents("/a/b/c").await.unwrap();
    assert_eq!(
        root.exists("/app/one/a/b")
            .await
            .unwrap()
            .unwrap()
            .num_children,
        0
    );
    client.create_parents("/a/b/c").await.unwrap();
    let created = client
        .create("/a/b/c", "", NodeKind::Ephemeral)
        .await
        .unwrap();
    assert_eq!(created.path, "/a/b/c");
    assert_eq!(client.ephemerals("/").await.unwrap(), ["/a/b/c"]);
    assert_eq!(client.children("/").await.unwrap().names, ["a"]);
    let results = client.multi(Multi::new().create("/m", "", NodeKind::PersistentSequential));
    assert!(matches!(
        &results.await.unwrap()[0],
        OpResult::Created(created) if created.path == "/m0000000001"
    ));
    assert!(client.config().await.is_ok());
    assert_eq!(client.chroot(), "/app/one");
    assert_eq!(client.delete_all("/").await.unwrap(), 5);
    assert_eq!(root.children("/app").await.unwrap().names, [""; 0]);
}

#[tokio::test]
async fn a_whole_subtree_is_deleted() {
    let server = Server::start();
    let client = server.client().await;
    client.create("/t", "", NodeKind::Persistent).await.unwrap();
    for at in 0..30 {
        let parent = format!("/t/{at}");
        client
            .create(&parent, "", NodeKind::Persistent)
            .await
            .unwrap();
        let children = (0..50).fold(Multi::new(), |multi, child| {
            multi.create(&format!("{parent}/{child}"), "", NodeKind::Persistent)
        });
        client.multi(children).await.unwrap();
    }
    assert_eq!(client.delete_all("/t").await.unwrap(), 1531);
    let error = client.delete_all("/t").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.path()),
        (&ErrorKind::NoNode, Some("/t"))
    );
    client.create("/u", "", NodeKind::Persistent).await.unwrap();
    assert_eq!(client.delete_all("/").await.unwrap(), 1);
    assert_eq!(client.children("/").await.unwrap().names, ["zookeeper"]);
}

#[tokio::test]
async fn a_subtree_that_grows_while_it_is_deleted_goes_too() {
    let server = Server::start();
    let (client, other) = (server.client().await, server.client().await);
    client.create("/t", "", NodeKind::Persistent).await.unwrap();
    let grow = async {
        let mut made = 0;
        while other
            .create("/t/n", "", NodeKind::PersistentSequential)
            .await
            .is_ok()
        {
            made += 1;
            if made == 20 {
                return;
            }
        }
    };
    let (_, deleted) = tokio::join!(grow, client.delete_all("/t"));
    assert!(deleted.unwrap() >= 1);
    let is_gone = client.exists("/t").await.unwrap().is_none();
    assert!(is_gone);
}

#[tokio::test]
async fn a_quota_is_set_measured_enforced_and_taken_away() {
    let server = Server::start();
    let client = server.client().await;
    client.create("/q", "", NodeKind::Persistent).await.unwrap();
    client
        .create("/q/c", "123", NodeKind::Persistent)
        .await
        .unwrap();
    assert_eq!(client.quota("/q").await.unwrap(), None);
    let quota = Quota {
        bytes: Some(100),
        hard_nodes: Some(2),
        ..Quota::default()
    };
    client.set_quota("/q", quota).await.unwrap();
    let status = client.quota("/q").await.unwrap().unwrap();
    assert_eq!((status.limits, status.nodes, status.bytes), (quota, 2, 3));
    let refused = client
        .create("/q/d", "", NodeKind::Persistent)
        .await
        .unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::QuotaExceeded);
    let refused = client.set_quota("/q/c", quota).await.unwrap_err();
    assert!(refused.to_string().contains("/q has a quota"), "{refused}");
    let wider = Quota {
        hard_nodes: Some(3),
        ..Quota::default()
    };
    client.set_quota("/q", wider).await.unwrap();
    client
        .create("/q/d", "", NodeKind::Persistent)
        .await
        .unwrap();
    client.delete_quota("/q").await.unwrap();
    assert_eq!(client.quota("/q").await.unwrap(), None);
    let gone = client.delete_quota("/q").await.unwrap_err();
    assert_eq!(*gone.kind(), ErrorKind::NoNode);
    assert_eq!(
        client.children("/zookeeper/quota").await.unwrap().names,
        [""; 0]
    );
}

#[tokio::test]
async fn what_is_switched_off_says_so() {
    let server = Server::start();
    let client = server.client().await;
    let change = roo_client::Reconfig::Incremental {
        joining: String::new(),
        leaving: "3".into(),
    };
    let error = client.reconfig(change, None).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ReconfigDisabled);
}

#[tokio::test]
async fn the_first_steps_of_the_example_work() {
    let server = Server::start();
    crate::first_steps::run(&server.address.to_string())
        .await
        .unwrap();
}
