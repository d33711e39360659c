use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;

use super::script;
use crate::support::process::roo;
use crate::support::{Said, Stage};

fn roo_at(hosts: &str, words: &[&str]) -> Said {
    let mut command = roo();
    command.args(["-s", hosts, "--connect-timeout", "500ms"]);
    Said::of(command.args(words).env_remove("ROO_SERVERS"))
}

#[test]
fn servers_that_are_not_there_or_are_something_else_are_named() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = held.local_addr().unwrap().to_string();
    drop(held);
    for words in [
        &["ls", "/"] as &[&str],
        &["tree"],
        &["shell", "ls", "/"],
        &["shell"],
    ] {
        roo_at(&nobody, words).refused(3, &format!("cannot connect to {nobody}"));
    }
    // Somebody who speaks HTTP.
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = web.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    roo_at(&address, &["ls", "/"]).refused(3, &format!("cannot connect to {address}"));
    for hosts in ["host:port", "no such host:2181", "127.0.0.1:1//x", ""] {
        roo_at(hosts, &["ls", "/"]).refused(2, "bad connect string");
    }
}

#[cfg(feature = "dns-srv")]
#[test]
fn names_without_servers_are_told() {
    // It hears questions, and says nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let ask = |name_server: &str, words: &[&str]| {
        let mut command = roo();
        command.args([
            "-s",
            "dns-srv://_zk._tcp.test/app",
            "--connect-timeout=500ms",
        ]);
        Said::of(command.args(words).env("ROO_NAME_SERVER", name_server))
    };
    for words in [&["ls", "/"] as &[&str], &["top", "--once"]] {
        let line = "SRV records of _zk._tcp.test: no name server answers";
        ask(&silent, words).refused(3, line);
        ask("localhost", words).refused(2, "write IP:PORT");
    }
    let said = ask(&silent, &["top", "--once", "--only-given"]);
    said.refused(2, "dns-srv:// names none");
    roo_at("dns-srv://a,b", &["ls", "/"]).refused(2, "bad connect string");
}

#[test]
fn usage_is_told_with_its_own_code() {
    let stage = Stage::new("");
    stage
        .roo(&["ls", "-q", "/"])
        .refused(2, "Unrecognized option: -q");
    stage
        .roo(&["setquota", "/"])
        .refused(2, "Missing required option");
    stage.roo(&["--auth", "secret", "ls", "/"]);
    let said = stage.roo(&["find"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    let said = Said::of(roo().args(["-s", "x", "bench"]));
    assert_eq!(said.code, Some(2), "{said:?}");
}

#[test]
fn refusals_are_one_line_that_says_what_to_do() {
    let stage = Stage::new("");
    stage.good(&["create", "/a"]);
    stage.good(&["create", "/a/b"]);
    stage.good(&[
        "create",
        "/locked",
        "x",
        "digest:u:0wCmr0RBxYx5xkdtlWtHRqvOEVM=:cdrwa",
    ]);
    stage
        .roo(&["delete", "/a"])
        .refused(1, "Node not empty: /a");
    stage
        .roo(&["get", "/locked"])
        .refused(1, "Insufficient permission : /locked");
    stage
        .roo(&["cp", "/locked", "/b"])
        .refused(1, "Insufficient permission : /locked");
    stage
        .roo(&["export", "/locked", "l.json"])
        .refused(1, "Insufficient permission");
    assert!(!stage.path().join("l.json").exists());
    for name in ["no/slash", "/a/", "/a//b", "/a/../b", "/a/\u{1}"] {
        for command in ["create", "get", "delete", "ls", "tree", "deleteall"] {
            let said = stage.roo(&[command, name]);
            assert_eq!(said.code, Some(1), "{command} {name:?}: {said:?}");
            assert!(said.err.to_lowercase().contains("path"), "{said:?}");
            assert_eq!(said.err.lines().count(), 1, "{said:?}");
        }
    }
    let chroot = format!("{}/no/such/root", stage.hosts);
    roo_at(&chroot, &["ls", "/"]).refused(1, "Node does not exist: /");
}

#[test]
fn what_is_too_big_is_refused_before_it_is_sent() {
    let stage = Stage::new("");
    stage.good(&["create", "/a"]);
    let file = "{\"roo_export\": 1, \"nodes\": [{\"path\":\"\",\"kind\":\"persistent\",\"text\":\""
        .to_owned()
        + &"x".repeat(2 << 20)
        + "\",\"acl\":[\"world:anyone:cdrwa\"]}]}";
    std::fs::write(stage.path().join("big.json"), file).unwrap();
    let said = stage.roo(&["import", "big.json", "/b"]);
    said.refused(1, "more than fit into a request");
    // A script may hold a longer line than a command line can.
    let said = script(&stage, &format!("set /a {}\nls /\n", "x".repeat(2 << 20)));
    assert!(said.err.contains("over the limit"), "{}", said.err);
    assert!(said.out.contains("[a, zookeeper]"), "the session lives on");
}

/// A way to a server that breaks at the first request behind the handshake, for good.
fn breaking(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        drop(listener);
        let mut upstream = TcpStream::connect(server).unwrap();
        upstream.write_all(&frame(&mut client)).unwrap();
        client.write_all(&frame(&mut upstream)).unwrap();
        let _ = frame(&mut client);
    });
    address
}

fn frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut body).unwrap();
    [length.as_slice(), &body].concat()
}

#[test]
fn a_session_that_is_lost_in_the_middle_is_told_with_its_own_code() {
    let stage = Stage::new("tickTime=100\n");
    stage.good(&["create", "/a", "data"]);
    std::fs::write(
        stage.path().join("in.json"),
        "{\"roo_export\": 1, \"nodes\": [{\"path\":\"\",\"kind\":\"persistent\",\"acl\":[\"world:anyone:r\"]}]}",
    )
    .unwrap();
    let reads: &[&[&str]] = &[
        &["ls", "/"],
        &["get", "/a"],
        &["stat", "/a"],
        &["getAcl", "/a"],
        &["getAllChildrenNumber", "/a"],
        &["sync", "/a"],
        &["config"],
        &["tree"],
        &["find", "/"],
        &["du"],
        &["export", "/a", "out.json"],
        &["import", "in.json", "/b"],
        &["cp", "/a", "/b"],
        &["mv", "/a", "/b"],
        &["watch", "/a"],
        &["deleteall", "/a"],
        &["setquota", "-n", "5", "/a"],
    ];
    let writes: &[&[&str]] = &[
        &["create", "/b"],
        &["set", "/a", "x"],
        &["setAcl", "/a", "world:anyone:r"],
        &["delete", "/a"],
    ];
    for (words, is_write) in reads
        .iter()
        .map(|words| (words, false))
        .chain(writes.iter().map(|words| (words, true)))
    {
        let hosts = breaking(stage.hosts.parse().unwrap()).to_string();
        let mut command = roo();
        command
            .args(["-s", &hosts, "--session-timeout", "1s"])
            .args(*words);
        let said = Said::of(command.current_dir(stage.path()).stdin(Stdio::null()));
        assert_eq!(said.code, Some(4), "{words:?}: {said:?}");
        assert_eq!(said.err.lines().count(), 1, "{words:?}: {said:?}");
        assert_eq!(
            said.err.contains("not known"),
            is_write,
            "{words:?}: {said:?}"
        );
    }
    assert!(!stage.path().join("out.json").exists());
    assert_eq!(stage.good(&["get", "/a"]).out, "data\n");
}
