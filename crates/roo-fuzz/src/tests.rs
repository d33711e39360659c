use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

#[test]
fn every_target_survives_its_seeds() {
    for (name, target) in TARGETS {
        let dir = fuzz().join("corpus").join(name);
        let seeds = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let mut count = 0;
        for seed in seeds {
            let path = seed.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            assert!(bytes.len() < 100_000, "{} is too large", path.display());
            let run = std::panic::catch_unwind(|| target(&bytes));
            assert!(run.is_ok(), "{} fails", path.display());
            count += 1;
        }
        assert!(count >= 3, "{name} has {count} seeds");
    }
}

#[test]
fn every_target_is_a_program_of_the_fuzzer() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let programs = manifest.matches("[[bin]]").count();
    assert_eq!(programs, TARGETS.len());
    for (name, _) in TARGETS {
        let path = format!("fuzz_targets/{name}.rs");
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{name}");
        let source = fs::read_to_string(fuzz().join(&path)).unwrap();
        assert!(source.contains(&format!("::{name}(bytes)")), "{path}");
    }
}
