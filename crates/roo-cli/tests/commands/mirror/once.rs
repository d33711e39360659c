//! One push or pull.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{files, host, save};
use crate::support::Stage;

#[test]
fn a_directory_goes_to_the_server_and_comes_back() {
    let stage = Stage::new("");
    let (here, there) = (host(&stage, "here"), host(&stage, "there"));
    save(&here, "app.conf", "a=1\n");
    save(&here, "sub/deep/b", "2");
    save(&here, "empty", "");
    save(&here, ".hidden", "x");
    fs::write(here.join("draft~"), "x").unwrap();
    let dry = stage
        .good(&["mirror", "push", "here", "/deep/app", "--dry-run"])
        .out;
    assert!(dry.contains("create  sub/deep/b  1 bytes") && dry.contains("nothing was done"));
    assert!(!here.join(".roo-mirror.json").exists());
    assert_eq!(stage.roo(&["get", "/deep"]).code, Some(1));

    let said = stage.good(&["mirror", "push", "here", "/deep/app"]).out;
    assert!(said.ends_with("equal  3 files\n"), "{said}");
    assert_eq!(stage.good(&["get", "/deep/app/sub/deep/b"]).out.trim(), "2");
    stage.good(&["mirror", "pull", "/deep/app", "there"]);
    let mut expected = files(&here);
    expected.remove("draft~");
    assert_eq!(files(&there), expected);
    let plain = stage
        .good(&[
            "mirror",
            "pull",
            "/deep/app",
            "plain",
            "--plain",
            "--mode",
            "0600",
        ])
        .out;
    assert!(plain.contains("create  app.conf"), "{plain}");
    let plain = stage.path().join("plain");
    assert_eq!(files(&plain), expected);
    let mode = fs::metadata(plain.join("app.conf"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = stage
        .good(&["mirror", "push", "here", "/deep/app", "--json"])
        .out;
    let object: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(object["changes"].as_array().unwrap().len(), 0);
    assert_eq!(object["equal"], true);
}

#[test]
fn what_goes_on_one_side_goes_on_the_other_only_if_that_is_wanted() {
    let stage = Stage::new("");
    let (here, there) = (host(&stage, "here"), host(&stage, "there"));
    save(&here, "a", "1");
    save(&here, "d/b", "1");
    stage.good(&["mirror", "push", "here", "/app"]);
    stage.good(&["mirror", "pull", "/app", "there"]);
    stage.good(&["create", "/app/theirs", "x"]);
    fs::remove_dir_all(here.join("d")).unwrap();
    stage.good(&["mirror", "push", "here", "/app"]);
    assert_eq!(stage.good(&["get", "/app/d/b"]).out.trim(), "1");

    // What somebody else made is not what was deleted here.
    let said = stage.roo(&["mirror", "push", "here", "/app", "--delete"]);
    said.refused(1, "1 file left alone");
    assert!(
        said.out.contains("differs  theirs  only in the target"),
        "{said:?}"
    );
    assert_eq!(stage.roo(&["get", "/app/d"]).code, Some(1));
    stage.good(&["mirror", "push", "here", "/app", "--delete", "--force"]);
    assert_eq!(stage.roo(&["get", "/app/theirs"]).code, Some(1));

    stage.good(&["mirror", "pull", "/app", "there"]);
    assert!(there.join("d/b").exists());
    stage.good(&["mirror", "pull", "/app", "there", "--delete"]);
    assert_eq!(files(&there), files(&here));
}

#[test]
fn what_was_changed_on_both_sides_is_named_and_kept() {
    let stage = Stage::new("");
    let here = host(&stage, "here");
    save(&here, "a", "1");
    save(&here, "b", "1");
    stage.good(&["mirror", "push", "here", "/app"]);
    stage.good(&["set", "/app/a", "theirs"]);
    save(&here, "a", "mine");
    save(&here, "b", "2");
    for words in [
        ["mirror", "push", "here", "/app"],
        ["mirror", "pull", "/app", "here"],
    ] {
        let plain = ["--plain"];
        let words: Vec<&str> = match words[1] {
            "pull" => words.iter().chain(&plain).copied().collect(),
            _ => words.to_vec(),
        };
        let said = stage.roo(&words);
        said.refused(1, "nothing was done, ");
        assert!(said.out.contains("conflict  a  both sides"), "{said:?}");
        assert!(said.out.contains("(version 1 there)"), "{said:?}");
    }
    // The set is not torn apart: the other file did not go either.
    assert_eq!(stage.good(&["get", "/app/b"]).out.trim(), "1");
    assert_eq!(files(&here)["a"], "mine");
    stage.good(&["mirror", "push", "here", "/app", "--force"]);
    assert_eq!(stage.good(&["get", "/app/a"]).out.trim(), "mine");
    assert_eq!(stage.good(&["get", "/app/b"]).out.trim(), "2");
}

#[test]
fn what_only_the_target_changed_waits_for_the_other_direction() {
    let stage = Stage::new("");
    let here = host(&stage, "here");
    save(&here, "a", "1");
    stage.good(&["mirror", "push", "here", "/app"]);
    stage.good(&["set", "/app/a", "2"]);
    save(&here, "b", "1");
    let said = stage.roo(&["mirror", "push", "here", "/app"]);
    said.refused(1, "mirror them the other way");
    assert_eq!(stage.good(&["get", "/app/b"]).out.trim(), "1");
    stage.good(&["mirror", "pull", "/app", "here", "--plain"]);
    assert_eq!(files(&here)["a"], "2");
    stage.good(&["mirror", "push", "here", "/app"]);
}

#[test]
fn a_command_runs_after_a_change_until_it_ends_well() {
    let stage = Stage::new("");
    let here = host(&stage, "here");
    save(&here, "a", "1");
    stage.good(&["mirror", "push", "here", "/app"]);
    let run = |command: &str| stage.roo(&["mirror", "pull", "/app", "there", "--exec", command]);
    run("exit 7").refused(
        1,
        "the files are in place, but the command of --exec ended with",
    );
    let note = "cat \"$ROO_MIRROR_DIR/a\" > note; echo \"$ROO_MIRROR_PATH\" >> note";
    assert_eq!(run(note).code, Some(0));
    let written = fs::read_to_string(stage.path().join("note")).unwrap();
    assert_eq!(written, "1/app\n");
    fs::remove_file(stage.path().join("note")).unwrap();
    assert_eq!(run(note).code, Some(0));
    assert!(!stage.path().join("note").exists());
}

#[test]
fn a_set_too_big_for_a_transaction_is_refused_or_goes_in_several() {
    let stage = Stage::new("");
    let here = host(&stage, "here");
    for name in ["a", "b", "c"] {
        save(&here, name, &name.repeat(500_000));
    }
    let said = stage.roo(&["mirror", "push", "here", "/app"]);
    said.refused(1, "--not-atomic makes it in several");
    assert_eq!(stage.roo(&["get", "/app"]).code, Some(1));
    stage.good(&["mirror", "push", "here", "/app", "--not-atomic"]);
    stage.good(&["mirror", "pull", "/app", "there"]);
    assert_eq!(files(&host(&stage, "there")), files(&here));
}
