//! `roo server`: from arguments to a running server, until it is told to stop.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use roo_server::admin::words::VERSION;
use roo_server::config::parse::Settings;
use roo_server::config::{ConfigError, LogFormat, ServerConfig};
use roo_server::node::Node;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

/// Arguments of `roo server`.
#[derive(Args, Debug, Default)]
#[command(after_help = "Examples:
  roo server                          loopback, port 2181, ./data
  roo server conf/zoo.cfg             as Apache's zkServer.sh does
  roo server 2181 /var/lib/roo        PORT DATADIR [tickTime] [maxClientCnxns]
  roo server zoo.cfg -Dzookeeper.snapCount=50000
  roo server --id 1 --peers 1=a:2888,2=b:2888,3=c:2888 --data-dir /var/lib/roo
                                      one of three servers, without a file

Every key of zoo.cfg can be given as -Dzookeeper.KEY=VALUE and as a variable ROO_KEY in upper
snake case (snapCount: ROO_SNAP_COUNT). An argument wins over a variable, a variable over the file.

Exit codes: 0 stopped, 1 failed or not among the servers of its ensemble, 2 wrong configuration, 3 trouble with the data directory.")]
pub(crate) struct ServerArguments {
    /// A zoo.cfg, or a port and a directory, then tickTime and maxClientCnxns.
    #[arg(value_name = "ZOO.CFG | PORT DATADIR")]
    what: Vec<String>,
    /// Sets a key: -Dzookeeper.KEY=VALUE.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    define: Vec<String>,
    /// This server's number among the peers; the file myid in the data directory, if there is
    /// one, must say the same.
    #[arg(long, value_name = "N")]
    id: Option<String>,
    /// Every server of the ensemble, this one too: N=HOST:PORT, or all that may stand behind
    /// server.N= in a zoo.cfg.
    #[arg(long, value_name = "1=HOST:PORT,2=...")]
    peers: Option<String>,
    /// Port for clients.
    #[arg(long, value_name = "PORT")]
    client_port: Option<String>,
    /// Directory of snapshots and logs.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// Runs a server until it is told to stop.
pub(crate) fn run(arguments: &ServerArguments) -> ExitCode {
    let mut settings = Settings::default();
    let config = configure(&mut settings, arguments);
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            eprintln!("roo: {error}");
            return ExitCode::from(error.exit_code);
        }
    };
    start_logging(&config);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    report_panics();
    serve(config)
}

fn configure(
    settings: &mut Settings,
    arguments: &ServerArguments,
) -> Result<ServerConfig, ConfigError> {
    match arguments.what.as_slice() {
        [] => {}
        [file] => settings.read_file(Path::new(file))?,
        bare => settings.bare_arguments(bare)?,
    }
    settings.environment(std::env::vars_os())?;
    for define in &arguments.define {
        settings.argument(define)?;
    }
    for (argument, key, value) in [
        ("--id", "id", &arguments.id),
        ("--peers", "peers", &arguments.peers),
        ("--client-port", "clientPort", &arguments.client_port),
        ("--data-dir", "dataDir", &arguments.data_dir),
        ("--log-format", "logFormat", &arguments.log_format),
        ("--log-level", "logLevel", &arguments.log_level),
    ] {
        if let Some(value) = value {
            settings.option(argument, key, value);
        }
    }
    settings.config()
}

fn start_logging(config: &ServerConfig) {
    let filter = EnvFilter::try_new(&config.log_level).unwrap_or_else(|error| {
        eprintln!("roo: logLevel={}: {error}; using info", config.log_level);
        EnvFilter::new("info")
    });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false);
    let builder = builder.with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// One line instead of a backtrace.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let what = panic
            .payload_as_str()
            .unwrap_or("a panic without a message");
        tracing::error!(%place, "this is a defect of RooKeeper: {what}");
    }));
}

/// Each connection is a descriptor; systems start programs with few and allow many.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

fn serve(config: ServerConfig) -> ExitCode {
    raise_descriptor_limit();
    let data_dir = config.data_dir.clone();
    let mut signals = match Signals::new([SIGINT, SIGTERM]) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("roo: cannot listen for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let node = match Node::start(config) {
        Ok(node) => node,
        Err(error) => {
            eprintln!("roo: {error}");
            return ExitCode::from(error.exit_code());
        }
    };
    banner(&node, &data_dir);
    let signal = signals.forever().next();
    tracing::info!(signal, "stopping");
    node.stop();
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

fn banner(node: &Node, data_dir: &Path) {
    let version = VERSION.split(',').next().unwrap_or_default();
    println!(
        "RooKeeper {} (speaks ZooKeeper {version})",
        env!("CARGO_PKG_VERSION")
    );
    match node.address() {
        Some(address) => {
            println!("  listening  {address}");
            let host = if address.ip().is_unspecified() {
                "localhost".into()
            } else {
                address.ip().to_string()
            };
            println!("  data       {}", data_dir.display());
            println!("  connect    zkCli.sh -server {host}:{}", address.port());
        }
        None => println!("  not listening: the configuration names no clientPort"),
    }
    println!("  stop       ctrl-C or SIGTERM");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(arguments: ServerArguments) -> Result<ServerConfig, ConfigError> {
        configure(&mut Settings::default(), &arguments)
    }

    fn text(text: &str) -> Option<String> {
        Some(text.into())
    }

    #[test]
    fn arguments_name_an_ensemble_without_a_file() {
        let arguments = ServerArguments {
            id: text("2"),
            peers: text("1=a:2888,2=b:2888,3=c:2888"),
            client_port: text("2185"),
            data_dir: text("/nowhere"),
            ..ServerArguments::default()
        };
        let config = configured(arguments).unwrap();
        assert_eq!(config.client_address.unwrap().port(), 2185);
        assert_eq!(config.data_dir.to_str(), Some("/nowhere"));
        assert_eq!(config.ensemble.as_ref().unwrap().me.0, 2);
    }

    #[test]
    fn errors_name_the_argument_and_a_server_outside_ends_with_1() {
        let arguments = |id| ServerArguments {
            id: text(id),
            peers: text("1=a:2888,2=b:2888"),
            data_dir: text("/nowhere"),
            ..ServerArguments::default()
        };
        let unknown = configured(arguments("3")).unwrap_err();
        assert_eq!(
            (unknown.to_string().as_str(), unknown.exit_code),
            ("--id: id=3: expected the id of one of the servers: 1, 2", 1)
        );
        let nonsense = configured(arguments("x")).unwrap_err();
        assert_eq!(nonsense.to_string(), "--id: id=x: expected a whole number");
    }

    #[test]
    fn the_example_of_an_ensemble_is_a_configuration_without_a_warning() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conf/zoo.cfg.ensemble");
        let arguments = ServerArguments {
            what: vec![example.into()],
            id: text("2"),
            data_dir: text("/nowhere"),
            ..ServerArguments::default()
        };
        let mut settings = Settings::default();
        let config = configure(&mut settings, &arguments).unwrap();
        assert_eq!(settings.warnings, Vec::<String>::new());
        let member = config.ensemble.as_ref().unwrap();
        assert_eq!((member.me.0, member.ensemble.members.len()), (2, 3));
        assert!(config.allows_word("peer"));
    }
}
