//! Which directories a server starts on, and what it says about the others.

use std::fs;
use std::path::Path;

use super::client::Client;
use crate::support::process::{Server, configure, run};

/// The exit code and the one line of a server that must not start.
fn refusal(dir: &Path) -> (Option<i32>, String) {
    let config = dir.join("zoo.cfg");
    let (status, text) = run(&["server", config.to_str().unwrap()]);
    let line = text.lines().find(|line| line.starts_with("roo: "));
    (status.code(), line.unwrap_or(&text).to_owned())
}

fn assert_refused(dir: &Path, words: &[&str]) {
    let (code, line) = refusal(dir);
    assert_eq!(code, Some(3), "{line}");
    for word in words {
        assert!(line.contains(word), "{word:?} is not in {line}");
    }
}

fn assert_serves(dir: &Path) {
    let server = Server::of(dir);
    let mut client = Client::connect(server.address).unwrap();
    assert_eq!(client.data("/").unwrap(), Some(Vec::new()));
    assert_eq!(server.stop().status.code(), Some(0));
}

#[test]
fn missing_directories_are_made_unless_the_operator_forbids_it() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "datadir.autocreate=false\n");
    let words = ["data/version-2", "does not exist", "datadir.autocreate"];
    assert_refused(dir.path(), &words);
    assert!(!dir.path().join("data").exists());
    fs::create_dir_all(dir.path().join("data/version-2")).unwrap();
    assert_serves(dir.path());
    // With the logs elsewhere, theirs must be there too.
    let logs = dir.path().join("logs");
    let split = format!("datadir.autocreate=false\ndataLogDir={}\n", logs.display());
    configure(dir.path(), &split);
    assert_refused(dir.path(), &["logs/version-2", "does not exist"]);

    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    assert_serves(dir.path());
    assert!(dir.path().join("data/version-2/snapshot.0").exists());
}

#[test]
fn a_place_that_is_no_directory_is_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    fs::write(dir.path().join("data"), "a file").unwrap();
    assert_refused(
        dir.path(),
        &["data/version-2", "cannot be used", "correct dataDir"],
    );
}

#[test]
fn an_empty_database_is_begun_only_where_the_operator_expects_one() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    let keys = format!("db.autocreate=false\ndataLogDir={}\n", logs.display());
    configure(dir.path(), &keys);
    assert_refused(dir.path(), &["db.autocreate=false", "initialize"]);
    let snapshot = dir.path().join("data/version-2/snapshot.0");
    assert!(!snapshot.exists());
    for place in [dir.path().join("data"), logs] {
        let mark = place.join("initialize");
        fs::write(&mark, "").unwrap();
        assert_serves(dir.path());
        assert!(!mark.exists(), "it counts for one start");
        // A database that is there is opened without a mark.
        assert_serves(dir.path());
        for data in ["data", "logs"] {
            fs::remove_dir_all(dir.path().join(data).join("version-2")).unwrap();
        }
        assert_refused(dir.path(), &["db.autocreate=false"]);
    }
}
