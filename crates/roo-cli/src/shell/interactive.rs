//! The shell's lines: from a terminal with editing, completion and history, or from a script on
//! standard input. A thread reads them, so that the session lives on while nobody types.

mod completion;

use std::fs;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc as blocking;
use std::thread;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor, ExternalPrinter};
use tokio::sync::mpsc;

use super::entry::zkcli_code;
use super::{Flow, Shell};
use crate::connect::Failure;
use completion::Typing;

/// Lines that are kept.
const HISTORY_MAX: usize = 2000;

/// What the thread that reads has to say.
#[derive(Debug)]
enum Input {
    /// A line.
    Line(String),
    /// Somebody wants to know the children of a node.
    Complete(String, blocking::Sender<Vec<String>>),
    /// There are no more lines.
    End,
}

/// Runs lines until there are no more; ends with the code of the last one.
pub(super) async fn run(mut shell: Shell) -> Result<ExitCode, Failure> {
    let code = if io::stdin().is_terminal() && io::stdout().is_terminal() {
        on_terminal(&mut shell).await?
    } else {
        on_script(&mut shell).await?
    };
    shell.close().await;
    shell.print_events().await?;
    Ok(ExitCode::from(code))
}

/// Prints what zkCli prints around each line, prompts included: scripts may look for it.
async fn on_script(shell: &mut Shell) -> Result<u8, Failure> {
    let host = shell.arguments.servers();
    shell.out.line(format!("Connecting to {host}"))?;
    shell.connect().await?;
    shell.out.line("Welcome to ZooKeeper!")?;
    let (sender, mut lines) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            let Ok(line) = line else { break };
            // What is no text becomes so, as in Java.
            let line = String::from_utf8_lossy(&line);
            if sender
                .blocking_send(line.trim_end_matches('\r').to_owned())
                .is_err()
            {
                break;
            }
        }
    });
    let mut code = 0;
    loop {
        shell.print_events().await?;
        let prompt = shell.prompt();
        shell.out.text(&prompt)?;
        shell.out.flush()?;
        let line = loop {
            tokio::select! {
                line = lines.recv() => break line,
                text = shell.events.next() => {
                    if shell.print_watches {
                        shell.out.line(text)?;
                        shell.out.flush()?;
                    }
                }
            }
        };
        let Some(line) = line else {
            // The prompt stands on a line of its own.
            shell.out.line("")?;
            return Ok(code);
        };
        if line.trim().is_empty() {
            continue;
        }
        let done = shell.unless_interrupted(async |shell| shell.line(&line).await);
        match done.await {
            Ok(Flow::Quit) => return Ok(code),
            Ok(Flow::Continue) => code = 0,
            Err(failure) => {
                code = zkcli_code(failure.exit);
                shell.out.flush()?;
                shell.out.note(failure);
            }
        }
        shell.out.flush()?;
    }
}

/// Talks to a person.
async fn on_terminal(shell: &mut Shell) -> Result<u8, Failure> {
    let host = shell.arguments.servers();
    match shell.connect().await {
        Ok(()) => {
            let session = shell.client()?.session_id().0;
            shell.out.line(format!(
                "Connected to {host}, session {session:#x}. Type help."
            ))?;
        }
        // Another server may be named by `connect`.
        Err(failure) => shell.out.note(failure),
    }
    // What has happened so far has just been told.
    while shell.events.ready().is_some() {}
    shell.out.flush()?;
    let (inputs, mut input) = mpsc::channel(1);
    let typing = Typing::new(inputs.clone());
    let unusable =
        |error: ReadlineError| Failure::failed(format!("cannot use the terminal: {error}"));
    let mut editor = editor(typing).map_err(unusable)?;
    let mut printer = editor.create_external_printer().map_err(unusable)?;
    let (prompts, prompt) = blocking::channel::<String>();
    thread::spawn(move || read(&mut editor, &prompt, &inputs));
    let mut code = 0;
    loop {
        if prompts.send(shell.prompt()).is_err() {
            return Ok(code);
        }
        let line = loop {
            tokio::select! {
                next = input.recv() => match next {
                    Some(Input::Line(line)) => break line,
                    Some(Input::Complete(path, reply)) => {
                        // Whoever asked may have lost patience.
                        let _ = reply.send(children(shell, &path).await);
                    }
                    Some(Input::End) | None => return Ok(code),
                },
                text = shell.events.next() => {
                    if shell.print_watches {
                        // A terminal that is gone is noticed by who reads it.
                        let _ = printer.print(format!("{text}\n"));
                    }
                }
            }
        };
        if line.trim().is_empty() {
            continue;
        }
        let done = shell.unless_interrupted(async |shell| shell.line(&line).await);
        match done.await {
            Ok(Flow::Quit) => return Ok(code),
            Ok(Flow::Continue) => code = 0,
            Err(failure) => {
                code = zkcli_code(failure.exit);
                shell.out.flush()?;
                shell.out.note(failure);
            }
        }
        shell.print_events().await?;
    }
}

/// The names below a path, for completion; none if they cannot be read now.
async fn children(shell: &Shell, path: &str) -> Vec<String> {
    let Ok(client) = shell.client() else {
        return Vec::new();
    };
    let read = tokio::time::timeout(completion::PATIENCE, client.children(path)).await;
    let mut names = match read {
        Ok(Ok(children)) => children.names,
        _ => Vec::new(),
    };
    names.sort_unstable();
    names
}

fn editor(typing: Typing) -> rustyline::Result<Editor<Typing, FileHistory>> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(HISTORY_MAX)?
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(typing));
    if let Some(file) = history_file() {
        // The first time there is none.
        let _ = editor.load_history(&file);
    }
    Ok(editor)
}

/// Reads a line for each prompt, until there is none.
fn read(
    editor: &mut Editor<Typing, FileHistory>,
    prompts: &blocking::Receiver<String>,
    inputs: &mpsc::Sender<Input>,
) {
    while let Ok(prompt) = prompts.recv() {
        let input = match editor.readline(&prompt) {
            Ok(line) => {
                remember(editor, &line);
                Input::Line(line)
            }
            // Ctrl-C throws the line away, as in every shell.
            Err(ReadlineError::Interrupted) => Input::Line(String::new()),
            Err(_) => Input::End,
        };
        if inputs.blocking_send(input).is_err() {
            return;
        }
    }
}

/// Keeps a line for the next time, unless it holds a password.
fn remember(editor: &mut Editor<Typing, FileHistory>, line: &str) {
    if line.trim_start().starts_with("addauth") {
        return;
    }
    let kept = editor.add_history_entry(line);
    if let (Ok(true), Some(file)) = (kept, history_file()) {
        if let Some(folder) = file.parent() {
            // A history that cannot be kept is no reason to disturb.
            let _ = fs::create_dir_all(folder);
        }
        let _ = editor.append_history(&file);
    }
}

/// Where the history is kept.
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = folder("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(folder("HOME")?).join(".local/state"));
    Some(state.or_else(home)?.join("roo/history"))
}
