//! How every command that speaks to a server finds one, and how its failures end the process.
//! What the commands do stands elsewhere.

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use roo_client::{Client, Error, ErrorKind, Options};

/// The server of a command that names none.
const DEFAULT_SERVERS: &str = "127.0.0.1:2181";

// Where the servers are, for every command that speaks to one. Flattened into `roo` itself and
// into each such command, so that the options stand before or after the command's name. (No doc
// comment: clap would show it as the description of each command.)
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArguments {
    /// Servers and chroot, as HOST:PORT,HOST:PORT/CHROOT, or dns-srv://NAME/CHROOT; else
    /// ROO_SERVERS, else 127.0.0.1:2181.
    #[arg(short = 's', long = "server", value_name = "HOSTS")]
    pub server: Option<String>,
    /// The session's timeout that is asked for, as 10s or 500ms; milliseconds without a unit. [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub session_timeout: Option<Duration>,
    /// How long to try to reach a server. [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub connect_timeout: Option<Duration>,
    /// Who one is, as SCHEME:DATA, for example digest:user:password; may be given repeatedly.
    #[arg(long, value_name = "SCHEME:DATA", value_parser = parse_auth)]
    pub auth: Vec<(String, Vec<u8>)>,
    /// Is content with a server in read-only mode, which has lost its ensemble.
    #[arg(long)]
    pub read_only: bool,
}

impl ConnectArguments {
    /// These, filled up with those that stood before the command's name.
    pub(crate) fn or(self, before: &Self) -> Self {
        Self {
            server: self.server.or_else(|| before.server.clone()),
            session_timeout: self.session_timeout.or(before.session_timeout),
            connect_timeout: self.connect_timeout.or(before.connect_timeout),
            auth: before.auth.iter().cloned().chain(self.auth).collect(),
            read_only: self.read_only || before.read_only,
        }
    }

    /// Whether any of them was given.
    pub(crate) fn is_given(&self) -> bool {
        self.server.is_some()
            || self.session_timeout.is_some()
            || self.connect_timeout.is_some()
            || !self.auth.is_empty()
            || self.read_only
    }

    /// The connect string: from the command, the environment, or the default.
    pub(crate) fn servers(&self) -> String {
        // An empty option is an error: it must not mean another server than was thought of.
        if let Some(given) = &self.server {
            return given.clone();
        }
        let set = std::env::var("ROO_SERVERS").ok();
        let set = set.filter(|hosts| !hosts.trim().is_empty());
        set.unwrap_or_else(|| DEFAULT_SERVERS.to_owned())
    }

    /// What the client is started with.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::default();
        if let Some(timeout) = self.session_timeout {
            options.session_timeout = timeout;
        }
        options.first_connection_wait = self.connect_timeout.unwrap_or(Duration::from_secs(10));
        options.connect_timeout = options.first_connection_wait.min(options.connect_timeout);
        options.auth = self.auth.clone();
        options.read_only = self.read_only;
        options
    }

    /// A session with one of the servers.
    ///
    /// # Errors
    /// With [`Exit::NoConnection`] when none can be reached, with [`Exit::Usage`] when the connect
    /// string is none.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let servers = self.servers();
        let options = Options {
            name_server: name_server()?,
            ..self.options()
        };
        Client::connect(&servers, options)
            .await
            .map_err(|error| Failure::connecting(&error, &servers))
    }
}

/// Whom to ask for what `dns-srv://NAME` names: the system's name servers, or ROO_NAME_SERVER.
fn name_server() -> Result<Option<SocketAddr>, Failure> {
    let set = std::env::var("ROO_NAME_SERVER").ok();
    let Some(text) = set.filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    text.trim().parse().map(Some).map_err(|_| {
        let text = format!("ROO_NAME_SERVER={text:?}: write IP:PORT, for example 127.0.0.1:8600");
        Failure::usage(text)
    })
}

/// How a command ended; every command of `roo` that speaks to a server keeps to these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command failed: the server refused it, or a file could not be read or written.
    Failed,
    /// The command line is wrong; nothing was done.
    Usage,
    /// No server could be reached, or it does not speak ZooKeeper; nothing was done.
    NoConnection,
    /// The connection or the session was lost on the way; the message says if the outcome of a
    /// change is unknown.
    Lost,
    /// Some of the changes were made and some were not; the message says which.
    HalfDone,
    /// Ended by ctrl-C.
    Interrupted,
    /// What was waited for did not come in time, as of `timeout`.
    TimedOut,
    /// A program was found but cannot be run, as of `env`.
    CannotRun,
    /// No command of this name in the shell (as zkCli has it), or no such program.
    NoCommand,
    /// Ended by a signal of this number, as the system's shells have it.
    Signal(u8),
    /// Nothing is wrong: whoever reads the output has gone.
    Enough,
}

impl Exit {
    /// The number that the process ends with.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Enough => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoConnection => 3,
            Self::Lost => 4,
            Self::HalfDone => 5,
            Self::TimedOut => 124,
            Self::CannotRun => 126,
            Self::NoCommand => 127,
            Self::Signal(number) => number.saturating_add(128),
            Self::Interrupted => 130,
        }
    }
}

/// Why a command ends, in one line, and with which code.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// What is wrong and what to do about it.
    pub text: String,
    /// The exit code.
    pub exit: Exit,
}

impl Failure {
    /// A failure with a text of our own.
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, exit }
    }

    /// The command failed.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, text)
    }

    /// The command line is wrong.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// Prints the line behind a prefix, if there is one, and gives the exit code.
    pub(crate) fn tell(&self, prefix: &str) -> ExitCode {
        if !self.text.is_empty() {
            eprintln!("{prefix}{self}");
        }
        ExitCode::from(self.exit.code())
    }

    /// The same for programs: an object with the text and the exit code.
    pub(crate) fn in_json(self) -> Self {
        if self.text.is_empty() {
            return self;
        }
        let object = serde_json::json!({ "error": self.text, "exit": self.exit.code() });
        Self::new(self.exit, object.to_string())
    }

    fn connecting(error: &Error, servers: &str) -> Self {
        let exit = match error.kind() {
            ErrorKind::BadConnectString(_) | ErrorKind::BadArguments(_) => Exit::Usage,
            ErrorKind::AuthFailed | ErrorKind::NoAuth => Exit::Failed,
            _ => Exit::NoConnection,
        };
        Self::new(exit, format!("cannot connect to {servers}: {error}"))
    }
}

/// A text that may hold what somebody else wrote, fit for a line.
pub(crate) fn in_one_line(text: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(exit_of(&error), error.to_string())
    }
}

/// The code for what the client says.
pub(crate) fn exit_of(error: &Error) -> Exit {
    if error.session_lost() || error.outcome_unknown() {
        return Exit::Lost;
    }
    match error.kind() {
        ErrorKind::ConnectionLoss | ErrorKind::SessionExpired | ErrorKind::TimedOut => Exit::Lost,
        ErrorKind::BadConnectString(_) => Exit::Usage,
        ErrorKind::Unreachable(_) | ErrorKind::NotZooKeeper(_) => Exit::NoConnection,
        _ => Exit::Failed,
    }
}

/// Runs a command's future on a runtime of this thread, tells its failure in one line on standard
/// error, and gives the code to end the process with.
#[allow(dead_code, reason = "for the commands that are no shell's")]
pub(crate) fn run<F>(work: F) -> ExitCode
where
    F: Future<Output = Result<ExitCode, Failure>>,
{
    block_on(work).unwrap_or_else(|failure| failure.tell("roo: "))
}

/// The same for commands whose words scripts know: nothing stands before the line.
pub(crate) fn block_on<F>(work: F) -> Result<ExitCode, Failure>
where
    F: Future<Output = Result<ExitCode, Failure>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let done = runtime.block_on(work);
    // A thread that reads the terminal would hold up the end of the process.
    runtime.shutdown_background();
    done
}

/// Reads `10s`, `500ms`, `2m`, `1h`, `7d`; a number alone is milliseconds, as everywhere in
/// ZooKeeper.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write for example 500ms, 10s, 2m, 1h, 7d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit_ms = match text.get(digits.len()..) {
        Some("" | "ms") => 1,
        Some("s") => 1_000,
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        Some("d") => 86_400_000,
        _ => return Err(wrong()),
    };
    let ms = number.checked_mul(unit_ms).ok_or_else(wrong)?;
    Ok(Duration::from_millis(ms))
}

pub(crate) fn parse_auth(text: &str) -> Result<(String, Vec<u8>), String> {
    match text.split_once(':') {
        Some((scheme, data)) if !scheme.is_empty() => {
            Ok((scheme.to_owned(), data.as_bytes().to_vec()))
        }
        // The text may be a password: it is not repeated.
        _ => Err("write SCHEME:DATA, for example digest:user:password".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_carry_a_unit_or_are_milliseconds() {
        assert_eq!(parse_duration("1500"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "s", "-1s", "1.5s", "10 s", "10y", "99999999999999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_others_wrote_neither_breaks_a_line_nor_moves_the_cursor() {
        assert_eq!(in_one_line("a `b`\n\u{1b}[2J"), "a `b`\\n\\u{1b}[2J");
    }

    #[test]
    fn who_one_is_has_a_scheme_and_is_never_repeated_in_a_message() {
        assert_eq!(
            parse_auth("digest:u:p"),
            Ok(("digest".to_owned(), b"u:p".to_vec()))
        );
        let error = parse_auth("secret").unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn options_after_the_command_come_before_those_in_front_of_it() {
        let before = ConnectArguments {
            server: Some("a".to_owned()),
            read_only: true,
            ..ConnectArguments::default()
        };
        let after = ConnectArguments {
            server: Some("b".to_owned()),
            ..ConnectArguments::default()
        };
        let merged = after.or(&before);
        assert_eq!(merged.servers(), "b");
        assert!(merged.read_only);
        assert_eq!(ConnectArguments::default().or(&before).servers(), "a");
    }
}
