//! `roo counter`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use roo_client::Client;
use roo_client::recipes::{Counter, Encoding};
use serde_json::json;

use super::signals::Signals;
use crate::connect::{ConnectArguments, Failure};

#[derive(Args, Debug)]
pub(crate) struct CounterArguments {
    /// The number's node.
    path: String,
    /// +N adds, -N subtracts, =N sets; nothing only reads.
    #[arg(value_parser = parse, allow_hyphen_values = true)]
    change: Option<Change>,
    /// How the number stands in its node: `long` is Curator's DistributedAtomicLong, `int` its
    /// SharedCount, `decimal` kazoo's Counter.
    #[arg(long, value_enum, default_value_t = Form::Long)]
    encoding: Form,
    /// Who makes the change, for --change; one process at a time.
    #[arg(long, value_name = "NAME", requires = "change_name")]
    writer: Option<String>,
    /// What the change is called. If it was the writer's last one, it is not made again, and what
    /// it gave then is printed.
    #[arg(
        long = "change",
        id = "change_name",
        value_name = "NAME",
        requires = "writer"
    )]
    change_name: Option<String>,
    /// Prints an object.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Add(i64),
    Set(i64),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Long,
    Int,
    Decimal,
}

fn parse(text: &str) -> Result<Change, String> {
    let wrong = || format!("{text:?} is no change: write +N, -N or =N, with N of at most 64 bits");
    let is_plain = |digits: &str| digits.starts_with(|c: char| c.is_ascii_digit());
    match text.strip_prefix('=') {
        Some(number) => number.parse().map(Change::Set).map_err(|_| wrong()),
        None => match text.strip_prefix(['+', '-']) {
            Some(digits) if is_plain(digits) => text.parse().map(Change::Add).map_err(|_| wrong()),
            _ => Err(wrong()),
        },
    }
}

pub(super) async fn run(
    arguments: CounterArguments,
    before: &ConnectArguments,
) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    let client = super::session(&arguments.connect.clone().or(before), &mut signals).await?;
    let value = value(&client, &arguments);
    let value = super::wait("counter", None, &mut signals, value).await;
    super::close(&client).await;
    let value = value?;
    if arguments.json {
        super::print(json!({ "path": arguments.path, "value": value }))?;
    } else {
        super::print(value)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn value(client: &Client, arguments: &CounterArguments) -> Result<i64, Failure> {
    let encoding = match arguments.encoding {
        Form::Long => Encoding::Long,
        Form::Int => Encoding::Int,
        Form::Decimal => Encoding::Decimal,
    };
    let path = &arguments.path;
    let once = arguments
        .writer
        .as_ref()
        .zip(arguments.change_name.as_ref());
    let Some((writer, name)) = once else {
        let counter = Counter::with_encoding(client, path, encoding);
        return Ok(match arguments.change {
            None => counter.get_latest().await?,
            Some(Change::Add(amount)) => counter.add(amount).await?,
            Some(Change::Set(value)) => {
                counter.set(value).await?;
                value
            }
        });
    };
    let Some(Change::Add(amount)) = arguments.change else {
        return Err(Failure::usage("counter: --change is for +N and -N"));
    };
    let counter = Counter::with_writer(client, path, encoding, writer);
    Ok(counter.add_once(name, amount).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read() {
        assert_eq!(parse("+5"), Ok(Change::Add(5)));
        assert_eq!(parse("-5"), Ok(Change::Add(-5)));
        assert_eq!(parse("=-5"), Ok(Change::Set(-5)));
        assert_eq!(parse("-9223372036854775808"), Ok(Change::Add(i64::MIN)));
        for wrong in [
            "",
            "5",
            "+",
            "+-5",
            "++5",
            "=",
            "=x",
            "+1.5",
            "+9223372036854775808",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
