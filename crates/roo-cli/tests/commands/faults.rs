//! Commands that write files, on a disk that is full and when they are killed: at each of their
//! steps, one run after another. Nothing half done is ever seen, the failure is one line, and the
//! next run puts everything right.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::library;
use crate::support::{Said, Stage, command};

/// How the disk, or the process, ends.
const ENDS: [&str; 2] = ["full", "kill"];

/// A command has fewer steps.
const STEPS_MAX: usize = 400;

/// A server, and the library that counts steps.
struct Faults {
    stage: Stage,
    library: PathBuf,
}

impl Faults {
    fn new() -> Self {
        let stage = Stage::new("");
        let library = library(stage.path(), "faults/steps.c");
        Self { stage, library }
    }

    /// Runs a command that fails after so many steps.
    fn run(&self, words: &[&str], end: &str, steps: usize) -> Output {
        let mut command = self.stage.command(words);
        command.env("LD_PRELOAD", &self.library);
        command
            .env("STEPS_END", end)
            .env("STEPS", steps.to_string());
        command.output().unwrap()
    }

    /// Runs a command with ever more steps until it succeeds, and looks after each run. How many
    /// runs there were.
    fn every_step(&self, words: &[&str], end: &str, before: impl Fn(), after: impl Fn()) -> usize {
        for steps in 0..STEPS_MAX {
            before();
            let output = self.run(words, end, steps);
            let said = Said::from(&output);
            after();
            match said.code {
                Some(0) => return steps,
                Some(_) => said.refused(1, "No space left on device"),
                None => assert_eq!(output.status.signal(), Some(9), "{said:?}"),
            }
        }
        panic!("{words:?} has no end");
    }

    /// Gives the nodes of /app this value in one piece.
    fn plant(&self, value: &str) {
        let dir = self.stage.path().join("planted");
        for below in ["a", "d/b"] {
            let path = dir.join(below);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        self.stage.good(&["mirror", "push", "planted", "/app"]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.stage.path().join(name)
    }
}

/// Copies a directory with its links as they are, in place of what is there.
fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            symlink(fs::read_link(&path).unwrap(), target).unwrap();
        } else if kind.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

/// All names below a directory, and what they lead to.
fn listing(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let name = entry
                .path()
                .strip_prefix(dir)
                .unwrap()
                .display()
                .to_string();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_symlink() {
                let to = fs::read_link(entry.path()).unwrap();
                found.insert(name, to.display().to_string());
            } else {
                found.insert(name, fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    found
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[test]
fn a_pulled_set_is_whole_wherever_the_pull_is_cut_off() {
    let faults = Faults::new();
    faults.plant("old");
    faults.stage.good(&["mirror", "pull", "/app", "base"]);
    faults.plant("new");
    let there = faults.path("there");
    let words = ["mirror", "pull", "/app", "there"];
    copy(&faults.path("base"), &there);
    faults.stage.good(&words);
    let expected = listing(&there);
    for end in ENDS {
        let runs = faults.every_step(
            &words,
            end,
            || copy(&faults.path("base"), &there),
            || {
                let set = fs::canonicalize(there.join("..data")).unwrap();
                let (a, b) = (read(&set.join("a")), read(&set.join("d/b")));
                assert!(a.is_some() && a == b, "{a:?} {b:?}");
                // So does whoever reads through the names.
                assert_eq!(a, read(&there.join("a")));
                faults.stage.good(&words);
                assert_eq!(listing(&there), expected);
            },
        );
        assert!(runs > 20, "{end}: {runs}");
    }
}

#[test]
fn a_first_set_appears_whole_wherever_the_pull_is_cut_off() {
    let faults = Faults::new();
    faults.plant("new");
    let there = faults.path("there");
    let words = ["mirror", "pull", "/app", "there"];
    faults.stage.good(&words);
    let expected = listing(&there);
    for end in ENDS {
        let clean = || fs::remove_dir_all(&there).unwrap();
        faults.every_step(&words, end, clean, || {
            if let Ok(set) = fs::canonicalize(there.join("..data")) {
                assert_eq!(read(&set.join("a")).as_deref(), Some("new"));
                assert_eq!(read(&set.join("d/b")).as_deref(), Some("new"));
            }
            faults.stage.good(&words);
            assert_eq!(listing(&there), expected);
        });
    }
}

#[test]
fn plain_files_are_each_whole_wherever_the_pull_is_cut_off() {
    let faults = Faults::new();
    faults.plant("old");
    let words = ["mirror", "pull", "/app", "there", "--plain"];
    faults.stage.good(&words);
    let (there, base) = (faults.path("there"), faults.path("base"));
    copy(&there, &base);
    faults.plant("new");
    faults.stage.good(&words);
    let expected = listing(&there);
    for end in ENDS {
        faults.every_step(
            &words,
            end,
            || copy(&base, &there),
            || {
                for below in ["a", "d/b"] {
                    let data = read(&there.join(below)).unwrap();
                    assert!(data == "old" || data == "new", "{data:?}");
                }
                faults.stage.good(&words);
                assert_eq!(listing(&there), expected);
            },
        );
    }
}

#[test]
fn a_push_that_is_cut_off_is_made_whole_by_the_next() {
    let faults = Faults::new();
    faults.plant("old");
    let (here, base) = (faults.path("here"), faults.path("base"));
    faults
        .stage
        .good(&["mirror", "pull", "/app", "here", "--plain"]);
    copy(&here, &base);
    let words = ["mirror", "push", "here", "/app"];
    let get = |path| faults.stage.good(&["get", path]).out;
    for end in ENDS {
        let before = || {
            faults.plant("old");
            copy(&base, &here);
            fs::write(here.join("a"), "new").unwrap();
            fs::write(here.join("d/b"), "new").unwrap();
        };
        faults.every_step(&words, end, before, || {
            assert_eq!(get("/app/a"), get("/app/d/b"));
            faults.stage.good(&words);
            assert_eq!(
                (get("/app/a").trim(), get("/app/d/b").trim()),
                ("new", "new")
            );
            // For the next `plant`, which made what is there now.
            fs::remove_dir_all(faults.path("planted")).unwrap();
            let words = ["mirror", "pull", "/app", "planted", "--plain"];
            faults.stage.good(&words);
        });
    }
}

#[test]
fn an_export_is_whole_or_not_there() {
    let faults = Faults::new();
    faults.plant("data");
    let out = faults.path("out");
    for target in ["out/app.json", "out/app/"] {
        let words = ["export", "/app", target, "--overwrite"];
        let nodes = |text: String| {
            text.split_once("\"nodes\"")
                .map(|(_, nodes)| nodes.to_owned())
        };
        let (file, folder) = (out.join("app.json"), out.join("app"));
        for end in ENDS {
            let before = || {
                let _ = fs::remove_dir_all(&out);
                fs::create_dir(&out).unwrap();
            };
            faults.every_step(&words, end, before, || {
                if target.ends_with('/') {
                    let count = folder.exists().then(|| listing(&folder).len());
                    assert!(matches!(count, None | Some(4)), "{count:?}");
                    let _ = fs::remove_dir_all(&folder);
                } else if let Some(text) = read(&file) {
                    assert!(nodes(text).unwrap().ends_with("\n]}\n"));
                }
                faults.stage.good(&words);
                let names = fs::read_dir(&out).unwrap().count();
                assert_eq!(names, 1, "{:?}", listing(&out));
            });
        }
    }
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    let faults = Faults::new();
    let acl = "\"acl\":[\"world:anyone:cdrwa\"]";
    let data = "x".repeat(400_000);
    let mut nodes = vec![format!("{{\"path\":\"\",\"kind\":\"persistent\",{acl}}}")];
    nodes.extend((0..5).map(|number| {
        format!("{{\"path\":\"n{number}\",\"kind\":\"persistent\",\"text\":\"{data}\",{acl}}}")
    }));
    let text = format!("{{\"roo_export\": 1, \"nodes\": [{}]}}", nodes.join(","));
    fs::write(faults.path("big.json"), text).unwrap();
    let words = ["import", "big.json", "/big"];
    for steps in 0..STEPS_MAX {
        let output = faults.run(&words, "cut", steps);
        faults.stage.good(&words);
        let count = faults.stage.good(&["getAllChildrenNumber", "/big"]).out;
        assert_eq!(count, "5\n");
        faults.stage.good(&["deleteall", "/big"]);
        if output.status.success() {
            assert!(steps > 3, "{steps}");
            return;
        }
        assert_eq!(output.status.signal(), Some(9), "{output:?}");
    }
    panic!("it has no end");
}

#[test]
fn a_limit_on_the_size_of_files_is_a_failure_in_one_line() {
    let stage = Stage::new("");
    stage.good(&["create", "/big", &"x".repeat(100_000)]);
    for words in [
        &["export", "/big", "big.json"] as &[&str],
        &[
            "mirror",
            "pull",
            "/",
            "there",
            "--plain",
            "--ignore",
            "zookeeper",
        ],
    ] {
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -f 8; exec \"$0\" \"$@\""]);
        let roo = command(&stage.hosts, stage.path(), words);
        limited.arg(roo.get_program()).args(roo.get_args());
        limited.current_dir(stage.path()).stdin(Stdio::null());
        Said::of(&mut limited).refused(1, "File too large");
    }
    assert!(!stage.path().join("big.json").exists());
    assert!(!stage.path().join("there/big").exists());
}

#[test]
fn an_output_that_is_full_is_a_failure_in_one_line() {
    let stage = Stage::new("");
    stage.good(&["create", "/app", ""]);
    stage.good(&["create", "/app/a", "1"]);
    for words in [
        &["export", "/app", "-"] as &[&str],
        &["mirror", "pull", "/app", "there"],
        &["top", "--once"],
        &["ls", "/"],
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = stage.command(words);
        let output = command.stdout(full).stderr(Stdio::piped()).spawn();
        let output = output.unwrap().wait_with_output().unwrap();
        Said::from(&output).refused(1, "No space left on device");
    }
    // What was done is done, and known.
    let said = stage.good(&["mirror", "pull", "/app", "there"]);
    assert_eq!(said.out, "equal  1 file\n");
}

#[test]
fn garbage_in_the_files_is_named_in_one_line() {
    let stage = Stage::new("");
    let garbage: [&[u8]; 8] = [
        b"",
        b"{",
        b"\x00\xff\xfe\x80",
        b"[1, 2]",
        b"{\"roo_export\": 1, \"nodes\": [{\"a\\u001b[2J\\nb\": 1}]}",
        b"{\"roo_export\": 1, \"nodes\": [{\"kind\": \"x\\ny\", \"acl\": []}]}",
        b"{\"roo_export\": 99999999999999999999, \"nodes\": []}",
        &[b'['; 100_000],
    ];
    fs::create_dir(stage.path().join("here")).unwrap();
    fs::write(stage.path().join("here/a"), "1").unwrap();
    for text in garbage {
        fs::write(stage.path().join("bad.json"), text).unwrap();
        let said = stage.roo(&["import", "bad.json", "/bad"]);
        said.refused(1, "bad.json");
        assert!(!said.err.trim_end().contains(char::is_control), "{said:?}");
        fs::write(stage.path().join("here/.roo-mirror.json"), text).unwrap();
        let said = stage.roo(&["mirror", "push", "here", "/app"]);
        said.refused(1, ".roo-mirror.json is damaged");
        assert!(!said.err.trim_end().contains(char::is_control), "{said:?}");
    }
    assert_eq!(stage.good(&["ls", "/"]).out, "[zookeeper]\n");
}
