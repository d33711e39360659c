//! The shell and its commands as people and scripts use them.

mod bad_input;
mod commands;
mod trees;

use std::io::Write;
use std::process::Stdio;

use crate::support::{Said, Stage};

/// A script through `roo shell`.
fn script(stage: &Stage, lines: &str) -> Said {
    let mut command = stage.command(&["shell"]);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    (&child.wait_with_output().unwrap()).into()
}
