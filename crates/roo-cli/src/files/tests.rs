use std::fs;

use super::*;

fn golden(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../roo-server/testdata/golden")
        .join(name)
        .join("version-2")
}

/// A copy of a golden directory that may be changed.
fn copy(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

type Work<'w> = &'w dyn Fn(&mut Report<'_>) -> Result<bool>;

fn told(json: bool, work: Work<'_>) -> (bool, String) {
    let mut out = Vec::new();
    let mut report = Report {
        out: &mut out,
        json,
        sound: true,
    };
    let sound = work(&mut report).unwrap();
    (sound, String::from_utf8(out).unwrap())
}

fn lines(work: Work<'_>) -> (bool, Vec<Value>) {
    let (sound, text) = told(true, work);
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (sound, lines.collect())
}

fn check_log(path: &Path) -> (bool, Vec<Value>) {
    lines(&|report| log::check(path, None, report))
}

#[test]
fn every_digest_of_a_genuine_directory_is_compared_by_a_replay() {
    for name in ["plain", "all-txns", "gz", "snappy", "one-log"] {
        let (sound, lines) = check_log(&golden(name));
        let digests = &lines.last().unwrap()["digests"];
        assert!(sound, "{name}: {lines:?}");
        assert!(digests["compared"].as_u64() > Some(10), "{name}: {digests}");
        assert_eq!(digests["differing"], 0, "{name}");
        assert_eq!(digests["notCompared"], 0, "{name}: {digests}");
    }
}

#[test]
fn one_log_of_several_is_compared_alone() {
    let compared = |path: &Path| {
        let (sound, lines) = check_log(path);
        assert!(sound, "{lines:?}");
        lines.last().unwrap()["digests"]["compared"].as_u64()
    };
    let all = compared(&golden("plain")).unwrap();
    let single =
        ["log.1", "log.2e", "log.54"].map(|log| compared(&golden("plain").join(log)).unwrap());
    assert!(single.iter().all(|count| *count > 3), "{single:?}");
    assert_eq!(single.iter().sum::<u64>(), all);
}

#[test]
fn a_digest_that_differs_is_named_with_its_place() {
    let copy = copy("plain");
    let path = copy.path().join("log.1");
    let mut bytes = fs::read(&path).unwrap();
    // The last byte of the first record's digest; the checksum of the record follows it.
    let length = usize::try_from(u32::from_be_bytes(bytes[24..28].try_into().unwrap())).unwrap();
    let payload = 28..28 + length;
    bytes[payload.end - 1] ^= 1;
    let mut framed = Vec::new();
    roo_store::log::record::encode_record(&mut framed, &[&bytes[payload.clone()]]);
    bytes[16..=payload.end].copy_from_slice(&framed);
    fs::write(&path, bytes).unwrap();
    let (sound, text) = told(false, &|report| log::check(copy.path(), None, report));
    assert!(!sound);
    assert!(
        text.contains("NOT SOUND") && text.contains("log.1 at byte 16: the digest in record 0x1"),
        "{text}"
    );
    assert!(text.contains(", 1 differ,"), "{text}");
}

#[test]
fn digests_that_cannot_be_checked_are_said_to_be_so() {
    for (name, file) in [("no-snapshot", None), ("plain", Some("log.1.copy"))] {
        let copy = copy(name);
        let path = file.map_or_else(|| copy.path().into(), |file| copy.path().join(file));
        if file.is_some() {
            fs::copy(copy.path().join("log.1"), &path).unwrap();
        }
        let (sound, text) = told(false, &|report| log::check(&path, None, report));
        assert!(sound && text.contains("digests: NOT CHECKED"), "{text}");
    }
    // Named, it is found wherever it is.
    let snapshot = golden("plain").join("snapshot.0");
    let (sound, lines) =
        lines(&|report| log::check(&golden("no-snapshot"), Some(&snapshot), report));
    assert!(sound);
    let compared = &lines.last().unwrap()["digests"]["compared"];
    assert!(compared.as_u64() > Some(10), "{lines:?}");
}

#[test]
fn damage_is_told_and_changes_nothing() {
    for (name, word) in [("flipped-bit", "checksum"), ("zxid-hole", "missing")] {
        let (sound, text) = told(false, &|report| log::check(&golden(name), None, report));
        assert!(!sound && text.contains(word), "{name}: {text}");
    }
    let copy = copy("torn-tail");
    let before = fs::read(copy.path().join("log.1")).unwrap();
    let (sound, lines) = check_log(copy.path());
    assert!(sound, "a torn tail is no damage: {lines:?}");
    assert_eq!(lines[0]["end"], "torn");
    assert!(lines[0]["tornBytes"].as_u64() > Some(0));
    assert_eq!(fs::read(copy.path().join("log.1")).unwrap(), before);
}

#[test]
fn a_dump_for_programs_holds_what_the_records_hold() {
    let (sound, lines) = lines(&|report| log::dump(&golden("all-txns"), report));
    assert!(sound);
    let of_type = |kind: &str| lines.iter().find(|line| line["txn"]["type"] == kind);
    for kind in [
        "createSession",
        "create",
        "setData",
        "delete",
        "multi",
        "error",
    ] {
        assert!(of_type(kind).is_some(), "no {kind}");
    }
    let create = of_type("create").unwrap();
    assert!(create["txn"]["path"].as_str().unwrap().starts_with('/'));
    assert!(create["txn"]["acl"][0]["scheme"].is_string());
    assert!(create["digest"]["tree"].is_u64() && create["offset"].is_u64());
    assert!(create["zxid"].as_str().unwrap().starts_with("0x"));
    let last = lines.last().unwrap();
    assert_eq!(last["records"], lines.len() - 1);
}

#[test]
fn a_dump_for_people_shows_text_as_text() {
    let (sound, text) = told(false, &|report| log::dump(&golden("all-txns"), report));
    assert!(sound);
    let of_type = |kind: &str| text.lines().find(|line| line.contains(kind));
    for kind in [
        " createSession timeout ",
        " create /",
        " setData /",
        " multi [",
    ] {
        assert!(of_type(kind).is_some(), "no {kind:?} in {text}");
    }
    let create = of_type(" create /").unwrap();
    assert!(create.contains(" world:anyone:"), "{create}");
    assert!(!text.contains("data: Some(["), "{text}");
}

#[test]
fn snapshots_are_shown_and_checked() {
    let (sound, lines) = lines(&|report| snapshot::dump(&golden("plain"), report));
    assert!(sound);
    let summaries: Vec<&Value> = lines.iter().filter(|line| line["nodes"].is_u64()).collect();
    let matches: Vec<&Value> = summaries
        .iter()
        .map(|line| &line["digestMatches"])
        .collect();
    assert_eq!(summaries.len(), 3);
    assert!(matches.contains(&&Value::Bool(true)), "{matches:?}");
    let root = lines.iter().find(|line| line["path"] == "/").unwrap();
    assert_eq!(root["data"], "");
    assert_eq!(root["acl"][0]["id"], "anyone");
    assert!(lines.iter().any(|line| line["timeoutMs"].is_i64()));

    let damaged = golden("corrupt-newest-snapshot");
    let (sound, text) = told(false, &|report| snapshot::check(&damaged, report));
    assert!(!sound);
    assert!(
        text.contains("NOT SOUND") && text.contains("snapshot.52"),
        "{text}"
    );
}
