//! What the documentation shows is run: the commands of README.md and of the book in the order of
//! the page, each in an empty directory of the page's own, against real servers, and what they say
//! is compared with what the page says they say.
//!
//! A page is plain markdown. What runs is its `console` blocks: lines that begin with `$ ` are
//! commands (a backslash at the end or `> ` at the start goes on with the last one), all others
//! are what they print. `...` alone stands for any number of lines, inside a line for anything.
//! A comment right before a block says what else there is to know:
//!
//! | comment | means |
//! |---|---|
//! | `<!-- book: server -->` | a lone server on port 2181, until the page ends |
//! | `<!-- book: file NAME -->` | the block is a file of this name |
//! | `<!-- book: quote PATH -->` | the block stands in this file of the repository, word for word |
//! | `<!-- book: background -->` | the command runs until the page ends; it has to print this first |
//! | `<!-- book: eventually -->` | the command is repeated until it prints this |
//! | `<!-- book: fails -->` | the last command ends with another exit code than 0 |
//! | `<!-- book: skip WHY -->` | nobody runs this |
//! | `<!-- book: hidden`, commands, `-->` | runs, and nobody sees it |
//!
//! A block of commands or code with none of this is an error: nothing is shown untried.
//! The ports in the pages are those that everybody knows; here they stand for free ones.

mod page;
mod pattern;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::servers::root;
use page::{Block, Page, Part};
use stage::Stage;

/// Arguments of `interop book`.
#[derive(Args, Debug)]
pub struct BookArgs {
    /// Only pages whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

/// Where the book's pages are.
const BOOK: &str = "docs/book/src";

/// Runs every page, and says of each whether it tells the truth.
///
/// # Errors
/// When pages cannot be read or a stage cannot be set.
pub fn run(arguments: &BookArgs) -> Result<ExitCode> {
    let only = arguments.only.as_deref().unwrap_or_default();
    let mut pages = vec![PathBuf::from("README.md")];
    find_pages(&root().join(BOOK), &mut pages)?;
    pages.retain(|page| page.to_string_lossy().contains(only));
    ensure!(!pages.is_empty(), "no page is called {only}");
    let mut failed = Vec::new();
    for file in &pages {
        let name = file.display();
        let text = fs::read_to_string(root().join(file)).with_context(|| format!("{name}"))?;
        let began = Instant::now();
        match Page::parse(&text).and_then(|page| perform(file, &page)) {
            Ok(0) => {}
            Ok(commands) => {
                let seconds = began.elapsed().as_secs_f64();
                println!("{name}: {commands} commands, {seconds:.1} s");
            }
            Err(error) => {
                println!("{name}: {error:#}");
                failed.push(name.to_string());
            }
        }
    }
    println!("{} pages, {} failed", pages.len(), failed.len());
    Ok(ExitCode::from(u8::from(!failed.is_empty())))
}

fn find_pages(dir: &Path, pages: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)
        .with_context(|| dir.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            find_pages(&path, pages)?;
        } else if path.extension().is_some_and(|ext| ext == "md") {
            pages.push(path.strip_prefix(root())?.to_path_buf());
        }
    }
    Ok(())
}

/// Runs a page from its first block to its last; how many commands there were.
fn perform(file: &Path, page: &Page) -> Result<usize> {
    if page.blocks.is_empty() {
        return Ok(0);
    }
    let name = file.with_extension("").display().to_string();
    let mut stage = Stage::set(&name.replace(['/', '.'], "-"))?;
    let mut commands = 0;
    for block in &page.blocks {
        commands += act(&mut stage, block).with_context(|| format!("line {}", block.line))?;
    }
    Ok(commands)
}

fn act(stage: &mut Stage, block: &Block) -> Result<usize> {
    match &block.part {
        Part::Skip => Ok(0),
        Part::Server => {
            stage.serve()?;
            Ok(1)
        }
        Part::File(name) => {
            stage.write(name, &block.text)?;
            Ok(0)
        }
        Part::Quote(path) => {
            let source = fs::read_to_string(root().join(path)).with_context(|| path.clone())?;
            ensure!(
                pattern::is_quoted(&block.text, &source),
                "{path} does not have this block word for word"
            );
            Ok(0)
        }
        Part::Commands(how) => {
            let dialogue = page::dialogue(&block.text)?;
            let last = dialogue.len().saturating_sub(1);
            for (at, exchange) in dialogue.iter().enumerate() {
                let fails = how.fails && at == last;
                if how.background {
                    stage.begin(exchange)?;
                } else if how.eventually {
                    stage.await_answer(exchange, fails)?;
                } else {
                    stage.run(exchange, fails)?;
                }
            }
            Ok(dialogue.len())
        }
    }
}
