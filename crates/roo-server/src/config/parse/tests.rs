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
            "configuration: dataDir: expected a directory: the key is missing",
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
            "zoo.cfg:3: server.2=b:1:2: expected one server: 2 are named, and this version serves alone",
        ),
        (
            "dataDir=/d\nautopurge.purgeInterval=1y",
            "zoo.cfg:2: autopurge.purgeInterval=1y: expected a number of hours, or one with ms, s, m, h or d behind it",
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(error(lines), expected);
    }
}

#[test]
fn typos_are_named_with_what_was_meant() {
    let (_, warnings) =
        parsed("dataDir=/d\nclientport=1\nsnapcount=5\nsecureClientPort=9\nfoo.bar=1\n");
    let expected = [
        "zoo.cfg:2: unknown key clientport; did you mean clientPort?",
        "zoo.cfg:3: unknown key snapcount; did you mean snapCount?",
        "zoo.cfg:4: secureClientPort is not supported (TLS for clients) and has no effect",
        "zoo.cfg:5: unknown key foo.bar",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn arguments_win_over_variables_and_these_over_the_file() {
    let mut settings = Settings::default();
    settings
        .bare_arguments(&["2190".into(), "/d".into()])
        .unwrap();
    settings.environment(
        [
            ("ROO_SNAP_COUNT".into(), "7".into()),
            ("HOME".into(), "/".into()),
        ]
        .into_iter(),
    );
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
