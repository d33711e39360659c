//! Opens directories that a genuine server left, and compares everything in them with what the
//! genuine server made of them.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roo_proto::connect::session_password;
use roo_proto::ids::SessionId;
use roo_server::loading::{LoadSettings, Loaded, load};
use roo_state::state::{Rules, State};
use roo_store::data_dir::DataDir;
use roo_store::disk::{Disk, OsDisk};
use roo_store::error::StoreError;
use serde_json::{Value, json};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden")
}

/// A copy of a golden directory that may be changed.
fn copy(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let target = copy.path().join("version-2");
    fs::create_dir(&target).unwrap();
    for entry in fs::read_dir(golden().join(name).join("version-2")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), target.join(entry.file_name())).unwrap();
    }
    copy
}

fn open(dir: &Path) -> Result<Loaded, StoreError> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let data_dir = DataDir::open(disk.as_ref(), dir, dir, false)?;
    let settings = LoadSettings {
        rules: Rules {
            extended_types: true,
            ..Rules::default()
        },
        hash_seed: 1,
        max_record: 2 << 20,
        trust_empty: false,
    };
    load(&disk, &data_dir, &settings)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A node as `expected.json` writes it.
fn node(state: &State, path: &str) -> Value {
    let tree = &state.tree;
    let id = tree
        .find(path)
        .unwrap_or_else(|| panic!("{path} is missing"));
    let acl: Vec<Value> = tree
        .acls
        .list(tree.acl_id(id))
        .iter()
        .map(|acl| json!([acl.perms, acl.id.scheme, acl.id.id]))
        .collect();
    let s = tree.stat(id);
    json!({
        "data": tree.data(id).map(hex),
        "acl": acl,
        "stat": {
            "czxid": s.czxid, "mzxid": s.mzxid, "ctime": s.ctime, "mtime": s.mtime,
            "version": s.version, "cversion": s.cversion, "aversion": s.aversion,
            "ephemeralOwner": s.ephemeral_owner, "dataLength": s.data_length,
            "numChildren": s.num_children, "pzxid": s.pzxid,
        },
    })
}

fn compare(name: &str, loaded: &Loaded, expected: &Value) {
    let state = &loaded.state;
    assert_eq!(
        state.last_zxid().to_string(),
        expected["zxid"],
        "{name}: zxid"
    );
    assert_eq!(
        state.digest().to_string(),
        expected["digest"],
        "{name}: digest"
    );
    assert_eq!(loaded.mismatches, 0, "{name}: digests in the log");
    let tree = expected["tree"].as_object().unwrap();
    for (path, expected) in tree {
        let found = node(state, path);
        // What the reader of the genuine tree may not see is masked there.
        let masked = expected["acl"].is_null() || expected.to_string().contains(":x\"");
        if masked {
            assert_eq!(found["stat"], expected["stat"], "{name}: {path}");
        } else {
            assert_eq!(&found, expected, "{name}: {path}");
        }
    }
    assert_eq!(state.tree.node_count(), tree.len(), "{name}: nodes");
    let sessions = expected["sessions"].as_object().unwrap();
    assert_eq!(state.sessions().len(), sessions.len(), "{name}: sessions");
    for (id, expected) in sessions {
        let session = SessionId(i64::from_str_radix(id.trim_start_matches("0x"), 16).unwrap());
        assert_eq!(
            state.sessions()[&session],
            expected["timeout"],
            "{name}: {id}"
        );
        assert_eq!(
            hex(&session_password(session)),
            expected["password"],
            "{name}: {id}"
        );
        let mut ephemerals: Vec<String> = state.ephemerals(session).collect();
        ephemerals.sort();
        assert_eq!(json!(ephemerals), expected["ephemerals"], "{name}: {id}");
    }
}

#[test]
fn every_golden_directory_opens_as_the_genuine_server_opens_it_or_is_refused() {
    let mut seen = 0;
    for entry in fs::read_dir(golden()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let expected = fs::read_to_string(golden().join(&name).join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let copy = copy(&name);
        let loaded = open(copy.path());
        // A log that was cut in its header never held anything: it is no reason not to start.
        let opens = expected["opens"] == true || name == "short-last-log";
        match loaded {
            Ok(loaded) => {
                assert!(opens, "{name} should have been refused");
                if expected["opens"] == true {
                    compare(&name, &loaded, &expected);
                }
            }
            Err(error) => {
                assert!(!opens, "{name}: {error}");
                let line = error.to_string();
                assert!(
                    !line.contains('\n') && line.contains("version-2"),
                    "{name}: {line}"
                );
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 19);
}

#[test]
fn a_torn_tail_is_told_with_its_size() {
    let copy = copy("torn-tail");
    let loaded = open(copy.path()).unwrap();
    let warnings: Vec<String> = loaded
        .replayed
        .warnings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("cut an unfinished record of"),
        "{warnings:?}"
    );
}

#[test]
fn a_torn_tail_is_cut_once_and_only_where_the_server_starts() {
    for name in ["torn-tail", "torn-in-padding"] {
        let copy = copy(name);
        let first = open(copy.path()).unwrap();
        assert_eq!(first.replayed.warnings.len(), 1, "{name}");
        let second = open(copy.path()).unwrap();
        assert_eq!(second.replayed.warnings, [], "{name}");
        assert_eq!(second.replayed.last, first.replayed.last, "{name}");
        assert_eq!(second.state.digest(), first.state.digest(), "{name}");
    }
    let copy = copy("torn-tail");
    let version = copy.path().join("version-2");
    // The log ends before this snapshot, which is cut short: the start is refused.
    fs::write(version.join("snapshot.7000"), "ZKSN").unwrap();
    let before = fs::read(version.join("log.1")).unwrap();
    open(copy.path()).unwrap_err();
    assert_eq!(fs::read(version.join("log.1")).unwrap(), before);
}

#[test]
fn a_log_that_ends_before_a_damaged_snapshot_is_refused() {
    let copy = copy("corrupt-newest-snapshot");
    for entry in fs::read_dir(copy.path().join("version-2")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() == "log.54" || path.file_name().unwrap() == "log.2e" {
            fs::remove_file(path).unwrap();
        }
    }
    let error = open(copy.path()).unwrap_err().to_string();
    assert!(error.contains("snapshot.52"), "{error}");
}

#[test]
fn a_log_that_ends_before_a_snapshot_cut_short_is_refused() {
    let copy = copy("unfinished-snapshots");
    let version = copy.path().join("version-2");
    fs::rename(version.join("snapshot.50"), version.join("snapshot.70")).unwrap();
    let error = open(copy.path()).unwrap_err().to_string();
    assert!(
        error.contains("snapshot.70") && error.contains("cut short"),
        "{error}"
    );
}
