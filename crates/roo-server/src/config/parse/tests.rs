use std::io::Write;

use super::*;

/// The configuration of a file with these lines.
fn parsed(lines: &str) -> (Parsed<ServerConfig>, Vec<String>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    let mut settings = Settings::default();
    settings.read_file(file.path()).unwrap();
    let name = file.path().display().to_string();
    let warnings = settings
        .warnings
        .iter()
        .map(|w| w.replace(&name, "zoo.cfg"))
        .collect();
    let config = settings.config().map_err(|mut error| {
        error.place = error.place.replace(&name, "zoo.cfg");
        error
    });
    (config, warnings)
}

fn error(lines: &str) -> String {
    parsed(lines).0.unwrap_err().to_string()
}

#[test]
fn an_ordinary_file_is_understood() {
    let lines = "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/d\nclientPort=2182\n\
                 clientPortAddress=127.0.0.1\nautopurge.purgeInterval=0\nsnapshot.compression.method=gz\n";
    let (config, warnings) = parsed(lines);
    let config = config.unwrap();
    assert_eq!(config.client_address.unwrap().to_string(), "127.0.0.1:2182");
    assert_eq!(
        (config.min_session_timeout_ms, config.max_session_timeout_ms),
        (4000, 40_000)
    );
    assert_eq!(
        (config.data_log_dir.to_str(), config.purge_interval_ms),
        (Some("/d"), 0)
    );
    assert_eq!(config.snapshot_compression, Compression::Gzip);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn every_error_names_line_key_and_what_was_expected() {
    let cases = [
        (
            "dataDir=/d\ntickTime=soon",
            "zoo.cfg:2: tickTime=soon: expected a whole number from 1 to 107374182",
        ),
        (
            "clientPort=70000\ndataDir=/d",
            "zoo.cfg:1: clientPort=70000: expected a whole number from 0 to 65535",
        ),
        (
            "clientPort=1",
            "zoo.cfg: dataDir: expected a directory: the key is missing",
        ),
        (
            "dataDir=/d\nenforceQuota=maybe",
            "zoo.cfg:2: enforceQuota=maybe: expected true or false",
        ),
        (
            "dataDir=/d\nforceSync=true",
            "zoo.cfg:2: forceSync=true: expected yes or no",
        ),
        (
            "dataDir=/d\nminSessionTimeout=9\nmaxSessionTimeout=8",
            "zoo.cfg:2: minSessionTimeout=9: expected at most maxSessionTimeout, 8",
        ),
        (
            "dataDir=/d\nserver.1=a:1:2\nserver.2=b:1:2",
            "zoo.cfg: initLimit: expected a number of ticks: the key is missing, and several servers need it",
        ),
        (
            "dataDir=/d\nautopurge.purgeInterval=1y",
            "zoo.cfg:2: autopurge.purgeInterval=1y: expected a number of hours, or one with ms, s, m, h or d behind it",
        ),
        (
            "dataDir=/d\ndataLogDir=",
            "zoo.cfg:2: dataLogDir=: expected a directory",
        ),
        (
            "dataDir=/d\npreAllocSize=99999999",
            "zoo.cfg:2: preAllocSize=99999999: expected a whole number up to 16777216",
        ),
        (
            "dataDir=/d\nlogLevel=shout",
            "zoo.cfg:2: logLevel=shout: expected error, warn, info, debug or trace",
        ),
        (
            "dataDir=/d\nDigestAuthenticationProvider.superDigest=secret",
            "zoo.cfg:2: DigestAuthenticationProvider.superDigest=secret: expected super:HASH",
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(error(lines), expected);
    }
}

#[test]
fn typos_are_named_with_what_was_meant() {
    let (_, warnings) = parsed(
        "dataDir=/d\nclientport=1\nsnapcount=5\nsecureClientPort=9\nfoo.bar=1\nnio.numWorkerThreads=8\nadmin.serverPort=1\n",
    );
    let expected = [
        "zoo.cfg:2: unknown key clientport; did you mean clientPort?",
        "zoo.cfg:3: unknown key snapcount; did you mean snapCount?",
        "zoo.cfg:4: secureClientPort is not supported (TLS for clients) and has no effect",
        "zoo.cfg:5: unknown key foo.bar",
        "zoo.cfg:6: nio.numWorkerThreads has no effect: clients are served by the threads of ioThreads",
        "zoo.cfg:7: admin.serverPort is not supported (the admin server) and has no effect",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn arguments_win_over_variables_and_these_over_the_file() {
    let mut settings = Settings::default();
    settings
        .bare_arguments(&["2190".into(), "/d".into()])
        .unwrap();
    settings
        .environment(
            [
                ("ROO_SNAP_COUNT".into(), "7".into()),
                ("HOME".into(), "/".into()),
            ]
            .into_iter(),
        )
        .unwrap();
    assert_eq!(settings.config().unwrap().snap_count, 7);
    settings.argument("zookeeper.snapCount=9").unwrap();
    settings.argument("jute.maxbuffer=4096").unwrap();
    let config = settings.config().unwrap();
    assert_eq!(
        (
            config.snap_count,
            config.jute_max_buffer,
            config.max_client_cnxns
        ),
        (9, 4096, 0)
    );
    assert!(settings.argument("novalue").is_err());
}

#[test]
fn throttles_and_group_commit_take_their_keys() {
    let lines = "dataDir=/d\nconnection_throttle_tokens=5\nconnection_throttle_weight_enabled=true\n\
                 connection_throttle_renew_session_weight=1\nconnection_throttle_freeze_time=50\n\
                 connection_throttle_drop_increase=0.5\nrequest_throttle_max_requests=7\n\
                 request_throttle_drop_stale=false\nflushDelay=30\nmaxBatchSize=-1\n";
    let config = parsed(lines).0.unwrap();
    let throttle = config.connection_throttle;
    let weights = Weights {
        new_session: 3,
        renewed_session: 1,
    };
    assert_eq!((throttle.tokens, throttle.weights), (5, Some(weights)));
    let dropping = Dropping {
        freeze_time_ms: 50,
        increase: 0.5,
        decrease: 0.002,
        decrease_ratio: 0.0,
    };
    assert_eq!(throttle.dropping, Some(dropping));
    let requests = config.request_throttle;
    assert_eq!((requests.max_requests, requests.drop_stale), (7, false));
    let group_commit = GroupCommit {
        flush_delay: Duration::from_millis(30),
        poll_time: Duration::from_millis(10),
        max_batch: 0,
    };
    assert_eq!(config.group_commit, group_commit);
    assert_eq!(
        error("dataDir=/d\nconnection_throttle_drop_increase=2"),
        "zoo.cfg:2: connection_throttle_drop_increase=2: expected a number from 0 to 1"
    );
    let plain = parsed("dataDir=/d\n").0.unwrap();
    assert_eq!(plain.connection_throttle.dropping, None);
    assert_eq!(plain.group_commit, GroupCommit::default());
}

#[test]
fn srvr_is_always_answered_and_isro_where_read_only_mode_is_on() {
    let words = |lines: &str| {
        let config = parsed(lines).0.unwrap();
        ["srvr", "isro", "ruok"].map(|word| config.allows_word(word))
    };
    assert_eq!(words("dataDir=/d\n"), [true, false, false]);
    let ruok = "dataDir=/d\n4lw.commands.whitelist=ruok\n";
    assert_eq!(words(ruok), [true, false, true]);
    let read_only = "dataDir=/d\nreadonlymode.enabled=true\n";
    assert_eq!(words(read_only), [true, true, false]);
}

#[test]
fn what_is_no_text_is_no_configuration() {
    let mut settings = Settings::default();
    let text = b"\n\x7fELF\x02\x01\x00\x00";
    let error = settings.read_text("zoo.cfg", text).unwrap_err();
    let expected = "zoo.cfg:2: the line: expected KEY=VALUE, and found what is no text";
    assert_eq!(error.to_string(), expected);
    let endless = settings.read_file(Path::new("/dev/zero")).unwrap_err();
    let expected = "/dev/zero: the file: expected a configuration file of at most 1 MiB";
    assert_eq!(endless.to_string(), expected);
}

#[test]
fn slips_that_change_nothing_are_told() {
    let (config, mut warnings) = parsed("dataDir=/d\n=5\n4lw.commands.whitelist=stat, ruokk\n");
    assert!(config.unwrap().allows_word("stat"));
    let mut settings = Settings::default();
    let variables = [("ROO_SNAPCOUNT", "5"), ("PATH", "/bin")];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    settings.environment(variables.into_iter()).unwrap();
    warnings.append(&mut settings.warnings);
    let expected = [
        "zoo.cfg:2: a value without a key has no effect",
        "zoo.cfg:3: 4lw.commands.whitelist: there is no word ruokk",
        "ROO_SNAPCOUNT: unknown variable; did you mean ROO_SNAP_COUNT?",
    ];
    assert_eq!(warnings, expected);
}

#[cfg(unix)]
#[test]
fn a_variable_for_clients_is_no_typo() {
    let mut settings = Settings::default();
    let variables = [("ROO_SERVERS", "zk1:2181"), ("ROO_SNAP_CUONT", "7")];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    settings.environment(variables.into_iter()).unwrap();
    let expected = "ROO_SNAP_CUONT: unknown variable; did you mean ROO_SNAP_COUNT?";
    assert_eq!(settings.warnings, [expected]);
}

#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let mut settings = Settings::default();
    let strange = OsString::from_vec(vec![0xFF]);
    let elsewhere = [("OTHER".into(), strange.clone())];
    settings.environment(elsewhere.into_iter()).unwrap();
    let error = settings.environment([("ROO_DATA_DIR".into(), strange)].into_iter());
    let expected = "ROO_DATA_DIR: dataDir=\u{FFFD}: expected text in UTF-8";
    assert_eq!(error.unwrap_err().to_string(), expected);
}
