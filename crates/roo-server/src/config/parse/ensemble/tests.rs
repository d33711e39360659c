use std::fs;
use std::path::Path;

use super::*;
use crate::config::ServerConfig;

/// A directory with a zoo.cfg, and myid of server 1.
struct Place {
    dir: tempfile::TempDir,
}

const LIMITS: &str = "initLimit=10\nsyncLimit=5\n";
const SERVERS: &str =
    "server.1=127.0.0.1:2888:3888;2182\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n";

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("myid"), "1\n").unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// The configuration of these lines behind one with the data directory.
    fn parsed(&self, lines: &str) -> (Parsed<ServerConfig>, Vec<String>) {
        let dir = self.dir.path().display();
        self.write("zoo.cfg", &format!("dataDir={dir}\n{lines}"));
        let mut settings = Settings::default();
        let read = settings.read_file(Path::new(&self.path("zoo.cfg")));
        let config = read.and_then(|()| settings.config());
        let short = |text: &str| text.replace(&format!("{dir}/"), "");
        let config = config.map_err(|mut error| {
            error.place = short(&error.place);
            error.expected = short(&error.expected);
            error
        });
        (config, settings.warnings.iter().map(|w| short(w)).collect())
    }

    fn ensemble(&self, lines: &str) -> EnsembleConfig {
        self.parsed(lines).0.unwrap().ensemble.unwrap()
    }

    fn error(&self, lines: &str) -> (String, u8) {
        let error = self.parsed(lines).0.unwrap_err();
        (error.to_string(), error.exit_code)
    }
}

fn named(lines: &str) -> String {
    format!("{SERVERS}{LIMITS}{lines}")
}

#[test]
fn an_ordinary_ensemble_is_understood() {
    let place = Place::new();
    let (config, warnings) = place.parsed(&named("tickTime=2000\n"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let config = config.unwrap();
    assert_eq!(config.client_address.unwrap().to_string(), "[::]:2182");
    let ensemble = config.ensemble.unwrap();
    assert_eq!(
        (ensemble.me, ensemble.init_limit, ensemble.sync_limit),
        (ServerId(1), 10, 5)
    );
    assert_eq!(
        (
            ensemble.heartbeat_interval_ms,
            ensemble.heartbeat_timeout_ms
        ),
        (1000, 10_000)
    );
    assert_eq!(ensemble.handshake_timeout_ms, 10_000);
    assert_eq!(ensemble.election_port_bind_retry, Some(3));
    assert_eq!(ensemble.ensemble.to_text().lines().count(), 4);
    assert_eq!(ensemble.fewest_voters(), 2);
    let file = place.path("zoo.cfg").into();
    assert_eq!(ensemble.files, Some(ConfigFiles { static_file: file }));
    assert!(ensemble.next_ensemble.is_none());
}

#[test]
fn every_key_reaches_its_field() {
    let lines = "quorumListenOnAllIPs=true\ncnxTimeout=1\n\
                 quorumCnxnTimeoutMs=2\nelectionPortBindRetry=0\n\
                 fastleader.minNotificationInterval=3\nfastleader.maxNotificationInterval=4\n\
                 leaderConnectDelayDuringRetryMs=5\nleaderServes=no\nsyncEnabled=false\n\
                 forceSnapshotSync=true\nsnapshotSizeFactor=-1\ncommitLogCount=900\n\
                 localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n\
                 readonlymode.enabled=true\nreadMode=quorum\nensemble.name=blue\n\
                 peer.heartbeatIntervalMs=10\npeer.heartbeatTimeoutMs=40\n\
                 standaloneEnabled=false\nelectionAlg=3\npeerType=participant\n";
    let e = Place::new().ensemble(&named(lines));
    assert!(e.quorum_listen_on_all_ips && e.force_snapshot_sync);
    assert!(!e.leader_serves && !e.sync_enabled && e.read_only_mode);
    assert_eq!((e.cnxn_timeout_ms, e.handshake_timeout_ms), (1, 2));
    assert_eq!(e.election_port_bind_retry, None);
    assert_eq!(
        (
            e.min_notification_interval_ms,
            e.max_notification_interval_ms
        ),
        (3, 4)
    );
    assert_eq!(e.leader_connect_delay_during_retry_ms, 5);
    assert_eq!((e.snapshot_size_factor, e.commit_log_count), (-1.0, 900));
    assert_eq!(e.local_sessions, LocalSessions::Upgrading);
    assert_eq!(
        (e.read_mode, e.name.as_deref()),
        (ReadMode::Quorum, Some("blue"))
    );
    assert_eq!((e.heartbeat_interval_ms, e.heartbeat_timeout_ms), (10, 40));
    assert_eq!(e.fewest_voters(), 1);
}

/// Each of these lines is refused with a message that holds its text, and exit code 2.
fn refused(cases: &[(String, &str)]) {
    let place = Place::new();
    for (lines, expected) in cases {
        let (error, exit_code) = place.error(lines);
        assert!(error.contains(expected), "{error}\n{expected}");
        assert_eq!(exit_code, 2, "{error}");
    }
}

#[test]
fn errors_in_keys_name_place_key_and_what_was_expected() {
    refused(&[
        (
            named("electionAlg=1"),
            "zoo.cfg:7: electionAlg=1: expected 3, the only algorithm there is",
        ),
        (
            named("peerType=leader"),
            "zoo.cfg:7: peerType=leader: expected participant or observer",
        ),
        (
            named("readMode=fast"),
            "zoo.cfg:7: readMode=fast: expected local, leader or quorum",
        ),
        (
            named("fastleader.minNotificationInterval=90000"),
            "zoo.cfg:7: fastleader.minNotificationInterval=90000: expected at most fastleader.maxNotificationInterval, 60000",
        ),
        (
            named("peer.heartbeatTimeoutMs=40\npeer.heartbeatIntervalMs=21"),
            "zoo.cfg:8: peer.heartbeatIntervalMs=21: expected at most half of the time after which a link is given up, 20",
        ),
        (
            named("snapshotSizeFactor=NaN"),
            "zoo.cfg:7: snapshotSizeFactor=NaN: expected a part of a snapshot's size from 0 to 1, or -1",
        ),
        (
            named("clientPort=2183"),
            "zoo.cfg:7: clientPort=2183: expected the port of this server's line, 2182, or no key",
        ),
        (
            named("initLimit=0"),
            "zoo.cfg:7: initLimit=0: expected a whole number from 1 to 2147483647",
        ),
    ]);
}

#[test]
fn errors_in_members_name_place_key_and_what_was_expected() {
    refused(&[
        (
            named("server.1=d:1:2"),
            "zoo.cfg:7: server.1=d:1:2: expected the key once",
        ),
        (
            named("server.01=d:1:2"),
            "server.1=127.0.0.1:2888:3888;2182: expected each server once",
        ),
        (
            named("server.4=d"),
            "zoo.cfg:7: server.4=d: expected host:peerPort:electionPort[:participant|observer][;[clientHost:]clientPort], more addresses behind |, IPv6 in brackets",
        ),
        (
            named("group.1=1:2"),
            "zoo.cfg:4: server.3: expected a group.G that names it",
        ),
        (
            format!("{SERVERS}initLimit=5"),
            "zoo.cfg: syncLimit: expected a number of ticks: the key is missing, and several servers need it",
        ),
        (
            "standaloneEnabled=false".into(),
            "zoo.cfg:2: standaloneEnabled=false: expected server.N lines beside it: at least one participant",
        ),
        (
            "server.1=a:1:2\nserver.2=b:1:2:observer".into(),
            "zoo.cfg: server.N: expected a second participant for the observers to follow, or standaloneEnabled=false",
        ),
        (
            named("peers=1=a:1"),
            "zoo.cfg:2: server.1=127.0.0.1:2888:3888;2182: expected either server.N lines or peers",
        ),
        (
            named("dynamicConfigFile=zoo.cfg.dynamic"),
            "zoo.cfg:2: server.1=127.0.0.1:2888:3888;2182: expected the key in the dynamic configuration file, or no dynamicConfigFile",
        ),
    ]);
}

#[test]
fn myid_must_be_there_a_number_and_known() {
    let place = Place::new();
    fs::remove_file(place.path("myid")).unwrap();
    let missing = "myid: myid: expected a file with the id of this server alone \
                   (one of 1, 2, 3), or --id: it is missing";
    assert_eq!(place.error(&named("")), (missing.into(), 2));
    place.write("myid", "one\n");
    let nonsense = "myid: myid: expected a number (its first line is \"one\", expected the \
                    number of this server alone); write the N of this server's server.N line into it";
    assert_eq!(place.error(&named("")), (nonsense.into(), 2));
    place.write("myid", "4\n");
    let unknown = "myid: myid=4: expected the id of one of the servers: 1, 2, 3";
    assert_eq!(place.error(&named("")), (unknown.into(), 1));
    place.write("myid", " 2 \nmore\n");
    assert_eq!(place.ensemble(&named("")).me, ServerId(2));
}

#[test]
fn a_server_nobody_knows_may_join_where_the_ensemble_may_change() {
    let place = Place::new();
    place.write("myid", "4");
    let (config, warnings) = place.parsed(&named("reconfigEnabled=true\nclientPort=2185\n"));
    let config = config.unwrap();
    assert_eq!(config.client_address.unwrap().port(), 2185);
    let ensemble = config.ensemble.unwrap();
    assert_eq!((ensemble.me, ensemble.my_member()), (ServerId(4), None));
    let expected = "myid: server 4 is none of 1, 2, 3: it follows without a vote until a \
                    reconfiguration adds it";
    assert_eq!(warnings, [expected]);
}

#[test]
fn doubtful_ensembles_are_warned_of() {
    let place = Place::new();
    let warnings = |lines: &str| place.parsed(&named(lines)).1;
    let even = "4 servers vote: as many may fail with one less";
    assert_eq!(warnings("server.4=d:1:2"), [even]);
    let role = "zoo.cfg:7: peerType contradicts server.1, which counts";
    assert_eq!(warnings("peerType=observer"), [role]);
    let two = "server.1=a:1:2\nserver.2=b:1:2\n";
    let few = "2 servers vote: none of them may fail; of three one may";
    assert_eq!(place.parsed(&format!("{two}{LIMITS}")).1, [few]);
}

#[test]
fn one_participant_serves_alone_and_listens_where_its_line_says() {
    let place = Place::new();
    fs::remove_file(place.path("myid")).unwrap();
    let config = place.parsed("server.1=a:1:2;127.0.0.1:2184\n").0.unwrap();
    assert!(config.ensemble.is_none());
    assert_eq!(config.client_address.unwrap().to_string(), "127.0.0.1:2184");
    place.write("myid", "1");
    let grows = format!("server.1=a:1:2\nstandaloneEnabled=false\n{LIMITS}");
    assert_eq!(place.ensemble(&grows).fewest_voters(), 1);
}

#[test]
fn a_dynamic_file_names_the_servers_and_the_next_one_those_proposed() {
    let place = Place::new();
    let dynamic = place.path("zoo.cfg.dynamic.100000002");
    place.write("zoo.cfg.dynamic.100000002", SERVERS);
    let lines = format!("{LIMITS}dynamicConfigFile={dynamic}\n");
    let ensemble = place.ensemble(&lines);
    assert_eq!(
        (ensemble.ensemble.version, ensemble.next_ensemble),
        (0x1_0000_0002, None)
    );

    for (version, newer) in [("100000002", false), ("100000003", true)] {
        place.write(
            "zoo.cfg.dynamic.next",
            &format!("{SERVERS}version={version}"),
        );
        assert_eq!(place.ensemble(&lines).next_ensemble.is_some(), newer);
    }
    place.write("zoo.cfg.dynamic.next", "server.1");
    let (error, _) = place.error(&lines);
    assert!(
        error.starts_with("zoo.cfg.dynamic.next:1: server.1=: expected"),
        "{error}"
    );
    fs::remove_file(place.path("zoo.cfg.dynamic.next")).unwrap();

    let cases = [
        (
            "version=5",
            "zoo.cfg.dynamic.100000002:1: version=5: expected the version behind the last dot of the file's name",
        ),
        (
            "server.1=a:1:2\ntickTime=5",
            "zoo.cfg.dynamic.100000002:2: tickTime=5: expected server.N, group.G, weight.N or version as the key",
        ),
        (
            "server.1=\\uX",
            "zoo.cfg.dynamic.100000002:1: the line: expected four hexadecimal digits behind \\u",
        ),
    ];
    for (text, expected) in cases {
        place.write("zoo.cfg.dynamic.100000002", text);
        assert_eq!(place.error(&lines).0, expected);
    }
    let (error, _) = place.error(&format!("{LIMITS}dynamicConfigFile=/nowhere/d"));
    let expected = "zoo.cfg:4: dynamicConfigFile=/nowhere/d: expected a readable file (";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn versions_stand_behind_the_last_dot() {
    let cases = [
        ("zoo.cfg.dynamic.1f", 0x1f),
        ("zoo.cfg.dynamic", 0),
        ("/etc/zoo.d/members", 0),
        ("zoo.cfg.dynamic.next", 0),
    ];
    for (name, version) in cases {
        assert_eq!(version_of(Path::new(name)), version, "{name}");
    }
}

/// The configuration of arguments, without a file.
fn argued(arguments: &[&str]) -> Parsed<ServerConfig> {
    let mut settings = Settings::default();
    for argument in arguments {
        settings.argument(argument).unwrap();
    }
    settings.config()
}

#[test]
fn arguments_alone_name_an_ensemble() {
    let peers = "peers=1=a:2888, server.2 = b:2888:3888:observer;2182,3=[::1]:2888,";
    let config = argued(&["id=3", peers, "dataDir=/nowhere"]).unwrap();
    assert_eq!(config.client_address.unwrap().to_string(), "[::]:2181");
    let ensemble = config.ensemble.unwrap();
    assert_eq!(
        (ensemble.me, ensemble.init_limit, ensemble.sync_limit),
        (ServerId(3), 10, 5)
    );
    let text = "server.1=a:2888:participant\nserver.2=b:2888:3888:observer;0.0.0.0:2182\n\
                server.3=[0:0:0:0:0:0:0:1]:2888:participant\nversion=0";
    assert_eq!(ensemble.ensemble.to_text(), text);
    assert_eq!(ensemble.files, None);
    let port = argued(&["id=2", peers, "dataDir=/nowhere"]).unwrap();
    assert_eq!(port.client_address.unwrap().to_string(), "[::]:2182");
}

#[test]
fn variables_name_an_ensemble_too() {
    let mut settings = Settings::default();
    let variables = [
        ("ROO_ID", "2"),
        ("ROO_PEERS", "1=a:2888,2=b:2888,3=c:2888"),
        ("ROO_DATA_DIR", "/nowhere"),
    ];
    settings
        .environment(variables.map(|(k, v)| (k.into(), v.into())).into_iter())
        .unwrap();
    assert_eq!(settings.config().unwrap().ensemble.unwrap().me, ServerId(2));
}

#[test]
fn arguments_that_contradict_are_refused() {
    let place = Place::new();
    let dir = format!("dataDir={}", place.dir.path().display());
    let peers = "peers=1=a:2888,2=b:2888,3=c:2888";
    assert_eq!(
        argued(&[peers, &dir]).unwrap().ensemble.unwrap().me,
        ServerId(1)
    );
    let error = |arguments: &[&str]| argued(arguments).unwrap_err().to_string();
    let other = error(&["id=2", peers, &dir]);
    assert!(
        other.starts_with("-Did: id=2: expected 1, as in "),
        "{other}"
    );
    let nowhere = "dataDir=/nowhere";
    let cases = [
        (
            ["id=9", peers],
            "-Did: id=9: expected the id of one of the servers: 1, 2, 3",
        ),
        (
            ["id=1", "peers=a:2888"],
            "-Dpeers: peers=a:2888: expected ID=HOST:PORT of every server, with commas between them",
        ),
        (
            ["id=1", "peers=1=a:2888,2=b"],
            "-Dpeers: server.2=b: expected host:peerPort:electionPort[:participant|observer][;[clientHost:]clientPort], more addresses behind |, IPv6 in brackets",
        ),
        (
            ["reconfigEnabled=true", peers],
            "-Dpeers: peers=1=a:2888,2=b:2888,3=c:2888: expected a configuration file with server.N lines, beside which a changed ensemble can be kept, or no reconfigEnabled",
        ),
    ];
    for (arguments, expected) in cases {
        assert_eq!(error(&[arguments[0], arguments[1], nowhere]), expected);
    }
}
