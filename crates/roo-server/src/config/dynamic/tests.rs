use proptest::prelude::*;

use super::*;
use crate::config::properties::Property;

const STATIC: &str = "# where the data is\ndataDir=/data\r\ninitLimit = 5\nserver.1=a:1:2;2181\n\
                      server.2=b:1:2;\\\n  2181\n\n! who\nserver.3: c:1:2\ngroup.1=1:2:3\n\
                      weight.1=2\npeerType=participant\nclientPort=2181\n\
                      clientPortAddress=10.0.0.1\nclientPortListenBacklog=5\npath=C\\:\\\\x\\";

fn text(content: &str, client: ClientPort) -> String {
    let dynamic = Path::new("/etc/zoo.cfg.dynamic.1f");
    String::from_utf8(rewritten(content.as_bytes(), dynamic, client)).unwrap()
}

fn pairs(content: &str) -> Option<Vec<(String, String)>> {
    let pair = |p: Property| (p.key, p.value);
    let found = properties::parse(content.as_bytes()).ok()?;
    let named = found
        .into_iter()
        .map(pair)
        .filter(|(key, _)| !key.is_empty());
    Some(named.collect())
}

#[test]
fn the_rewritten_file_keeps_what_is_not_of_the_ensemble() {
    let expected = "# where the data is\ndataDir=/data\ninitLimit = 5\n\n! who\n\
                    clientPortListenBacklog=5\npath=C\\:\\\\x\n\
                    dynamicConfigFile=/etc/zoo.cfg.dynamic.1f\n";
    assert_eq!(text(STATIC, ClientPort::InServerLine), expected);
    let with_port = text(STATIC, ClientPort::InStaticFile);
    assert!(with_port.contains("\nclientPort=2181\nclientPortAddress=10.0.0.1\n"));
    // A second time it changes nothing.
    assert_eq!(text(expected, ClientPort::InServerLine), expected);
}

proptest! {
    #[test]
    fn rewriting_changes_no_other_key(
        lines in prop::collection::vec("((server|group|weight)\\.1|a|#|clientPort)?[ =:]?[a\\\\u0:= ]{0,6}[\\\\]?(\n|\r|\r\n)?", 0..8),
    ) {
        let content = lines.concat();
        let Some(mut expected) = pairs(&content) else { return Ok(()) };
        expected.retain(|(key, _)| !is_of_the_ensemble(key, ClientPort::InServerLine));
        expected.push(("dynamicConfigFile".into(), "/etc/zoo.cfg.dynamic.1f".into()));
        let found = pairs(&text(&content, ClientPort::InServerLine));
        prop_assert_eq!(found, Some(expected), "{}", content);
    }

    #[test]
    fn rewriting_never_panics(content: Vec<u8>) {
        let _ = rewritten(&content, Path::new("/d"), ClientPort::InServerLine);
    }
}

fn ensemble(version: i64) -> Ensemble {
    let text = format!("server.1=a:1:2;2181\nserver.2=b:1:2;2181\nversion={version:x}");
    Ensemble::parse(&text).unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn an_ensemble_is_kept_from_proposal_to_activation() {
    let dir = tempfile::tempdir().unwrap();
    let files = ConfigFiles {
        static_file: dir.path().join("zoo.cfg"),
    };
    let first = "# ours\ndataDir=/d\nclientPort=2181\nserver.1=a:1:2\nserver.2=b:1:2\n";
    fs::write(&files.static_file, first).unwrap();

    files.persist_next(&ensemble(0x1_0000_0002)).unwrap();
    let next = "server.1=a:1:2:participant;0.0.0.0:2181\n\
                server.2=b:1:2:participant;0.0.0.0:2181\nversion=100000002";
    assert_eq!(read(&files.next()), next);
    assert_eq!(read(&files.static_file), first);

    files
        .activate(&ensemble(0x1_0000_0002), ServerId(1))
        .unwrap();
    let dynamic = files.dynamic(0x1_0000_0002);
    let canonical = fs::canonicalize(&dynamic).unwrap();
    assert!(dynamic.ends_with("zoo.cfg.dynamic.100000002"));
    assert_eq!(format!("{}\nversion=100000002", read(&dynamic)), next);
    let rest = "# ours\ndataDir=/d\n";
    let expected = format!("{rest}dynamicConfigFile={}\n", canonical.display());
    assert_eq!(read(&files.static_file), expected);
    assert_eq!(read(&files.backup()), first);
    assert!(!files.next().exists());

    files.persist_next(&ensemble(0x1_0000_0003)).unwrap();
    files.forget_next().unwrap();
    files.forget_next().unwrap();
    assert!(!files.next().exists());

    // The copy is of the file the operator wrote, not of a later one.
    files
        .activate(&ensemble(0x1_0000_0003), ServerId(1))
        .unwrap();
    assert_eq!(read(&files.backup()), first);
    assert!(read(&files.static_file).ends_with("zoo.cfg.dynamic.100000003\n"));
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "zoo.cfg",
        "zoo.cfg.bak",
        "zoo.cfg.dynamic.100000002",
        "zoo.cfg.dynamic.100000003",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_server_without_a_client_address_in_its_line_keeps_its_port() {
    let dir = tempfile::tempdir().unwrap();
    let files = ConfigFiles {
        static_file: dir.path().join("zoo.cfg"),
    };
    fs::write(&files.static_file, "clientPort=2181\n").unwrap();
    files.activate(&ensemble(5), ServerId(3)).unwrap();
    assert!(read(&files.static_file).starts_with("clientPort=2181\n"));
}

#[test]
fn a_failure_names_the_file() {
    let files = ConfigFiles {
        static_file: "/nowhere/zoo.cfg".into(),
    };
    let error = files.persist_next(&ensemble(5)).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot write /nowhere/zoo.cfg.dynamic.next: "),
        "{error}"
    );
}
