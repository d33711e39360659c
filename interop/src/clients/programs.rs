//! How each client and the program around it are fetched and built.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apache;
use crate::servers::root;

/// One client: where its program comes from.
pub(super) struct Program {
    /// Its name, also of its directory in `interop/clients`.
    pub(super) client: &'static str,
    /// Fetches and builds from its source directory into a working directory.
    pub(super) prepare: fn(&Path, &Path) -> Result<Command>,
}

/// All clients.
pub(super) const PROGRAMS: &[Program] = &[
    Program {
        client: "java",
        prepare: java,
    },
    Program {
        client: "curator",
        prepare: curator,
    },
    Program {
        client: "kazoo",
        prepare: kazoo,
    },
    Program {
        client: "c",
        prepare: c,
    },
    Program {
        client: "go",
        prepare: go,
    },
    Program {
        client: "node",
        prepare: node,
    },
    Program {
        client: "rust",
        prepare: rust,
    },
    Program {
        client: "roo",
        prepare: roo,
    },
];

/// The programs of `interop recipes`, in Java with Curator or in Python with kazoo.
pub(crate) fn recipes(name: &str) -> Result<Command> {
    let client = if name == "java" { "curator" } else { "kazoo" };
    let source = root().join("interop/clients").join(client);
    let work = root().join("target/interop/clients").join(client);
    fs::create_dir_all(&work)?;
    match client {
        "curator" => curator_class(&source, &work, "Recipes"),
        _ => kazoo_script(&source, &work, "recipes.py"),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {:?}: is it installed?", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn compile_java(source: &Path, work: &Path, class_path: &OsString, class: &str) -> Result<Command> {
    let classes = work.join("classes");
    run(Command::new("javac")
        .arg("-cp")
        .arg(class_path)
        .arg("-d")
        .arg(&classes)
        .arg(source.join(format!("{class}.java"))))?;
    let mut all = OsString::from(classes);
    all.push(":");
    all.push(class_path);
    let mut command = Command::new("java");
    command.arg("-cp").arg(all).arg(class);
    Ok(command)
}

fn java(source: &Path, work: &Path) -> Result<Command> {
    compile_java(source, work, &apache::class_path()?, "Main")
}

fn curator(source: &Path, work: &Path) -> Result<Command> {
    curator_class(source, work, "Main")
}

fn curator_class(source: &Path, work: &Path, class: &str) -> Result<Command> {
    let pom = fs::read_to_string(source.join("pom.xml"))?;
    let mut class_path = OsString::from(apache::libraries(&work.join("maven"), &pom)?.join("*"));
    class_path.push(":");
    class_path.push(source);
    compile_java(source, work, &class_path, class)
}

fn kazoo(source: &Path, work: &Path) -> Result<Command> {
    kazoo_script(source, work, "main.py")
}

fn kazoo_script(source: &Path, work: &Path, script: &str) -> Result<Command> {
    let mut command = Command::new(python(source, work)?);
    command.arg(source.join(script));
    Ok(command)
}

/// A Python that has what the programs need.
fn python(source: &Path, work: &Path) -> Result<PathBuf> {
    let venv = work.join("venv");
    if !venv.join("bin/pip").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    // The script `pip` names the directory in which it was installed, which may have moved since.
    let python = venv.join("bin/python3");
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(source.join("requirements.txt")))?;
    Ok(python)
}

/// A Python that has kazoo.
///
/// # Errors
/// When it cannot be fetched.
pub(crate) fn python_with_kazoo() -> Result<PathBuf> {
    let work = root().join("target/interop/clients/kazoo");
    fs::create_dir_all(&work)?;
    python(&root().join("interop/clients/kazoo"), &work)
}

fn c(source: &Path, work: &Path) -> Result<Command> {
    let program = work.join("program");
    run(Command::new("cc")
        .args([
            "-std=gnu11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-DTHREADED",
            "-o",
        ])
        .arg(&program)
        .arg(source.join("main.c"))
        .args(["-lzookeeper_mt", "-lpthread"]))?;
    Ok(Command::new(program))
}

fn go(source: &Path, work: &Path) -> Result<Command> {
    let program = work.join("program");
    run(Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source))?;
    Ok(Command::new(program))
}

fn node(source: &Path, work: &Path) -> Result<Command> {
    for file in ["package.json", "main.js"] {
        fs::copy(source.join(file), work.join(file))?;
    }
    run(Command::new("npm")
        .args([
            "install",
            "--no-package-lock",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ])
        .current_dir(work))?;
    let mut command = Command::new("node");
    command.arg(work.join("main.js"));
    Ok(command)
}

fn rust(source: &Path, work: &Path) -> Result<Command> {
    let target: PathBuf = work.join("target");
    run(Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(source.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target))?;
    Ok(Command::new(target.join("debug/rust-client")))
}

/// Ours is an example of its crate.
fn roo(_: &Path, _: &Path) -> Result<Command> {
    run(Command::new("cargo")
        .args(["build", "--quiet", "--locked", "-p", "roo-client"])
        .args(["--example", "every_call"])
        .current_dir(root()))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| root().join("target"));
    Ok(Command::new(target.join("debug/examples/every_call")))
}
