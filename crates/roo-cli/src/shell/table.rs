//! The commands of zkCli: their names, options and descriptions. From this table come the parsing
//! of a command's words, the texts of usage that zkCli prints, `--help` and the completions.

use clap::{Arg, ArgAction, Command};

/// An option of a command.
#[derive(Debug)]
pub(super) struct Opt {
    /// zkCli's name, behind one `-`.
    pub name: &'static str,
    /// Ours, behind `--`.
    pub long: &'static str,
    /// What its value is called in our help, if it takes one.
    pub value: Option<&'static str>,
    /// zkCli's description, shown where zkCli shows it.
    pub zkcli: &'static str,
    /// Ours.
    pub help: &'static str,
    /// Whether it excludes the others that are so marked.
    pub chosen: bool,
}

/// How many of the options that exclude each other must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// There are no such options.
    Free,
    /// One or none.
    AtMostOne,
    /// One.
    ExactlyOne,
}

/// A command of zkCli.
#[derive(Debug)]
pub(super) struct Spec {
    /// Its name.
    pub name: &'static str,
    /// zkCli's words for its arguments.
    pub syntax: &'static str,
    /// Its options.
    pub options: &'static [Opt],
    /// Whether some of them exclude each other.
    pub choice: Choice,
    /// Whether zkCli lists the options below the syntax.
    pub lists_options: bool,
    /// One line.
    pub about: &'static str,
    /// More.
    pub details: &'static str,
    /// Lines of examples.
    pub examples: &'static str,
    /// Whether it makes sense outside the shell.
    pub one_shot: bool,
}

impl Spec {
    /// The option of zkCli's name.
    pub(super) fn by_name(&self, name: &str) -> Option<&'static Opt> {
        self.options.iter().find(|option| option.name == name)
    }

    /// The option of our name, which every command shares for JSON.
    pub(super) fn by_long(&self, long: &str) -> Option<&'static Opt> {
        let mut all = self.options.iter().chain(COMMON);
        all.find(|option| option.long == long)
    }

    /// What zkCli prints when the arguments are wrong.
    pub(super) fn usage(&self) -> String {
        let mut text = format!("{} {}", self.name, self.syntax);
        if self.lists_options {
            text.push('\n');
            text.push_str(&self.option_list());
        }
        text
    }

    /// zkCli's list of options, a line each.
    pub(super) fn option_list(&self) -> String {
        let mut options: Vec<&Opt> = self
            .options
            .iter()
            .filter(|o| !o.zkcli.is_empty())
            .collect();
        options.sort_by_key(|option| option.name.to_lowercase());
        let left = |option: &Opt| match option.value {
            Some(_) => format!("-{} <arg>", option.name),
            None => format!("-{}", option.name),
        };
        let width = options.iter().map(|o| left(o).len()).max().unwrap_or(0);
        let line = |o: &&Opt| format!(" {:width$}   {}\n", left(o), o.zkcli);
        options.iter().map(line).collect()
    }
}

const fn flag(
    name: &'static str,
    long: &'static str,
    zkcli: &'static str,
    help: &'static str,
) -> Opt {
    Opt {
        name,
        long,
        value: None,
        zkcli,
        help,
        chosen: false,
    }
}

const fn valued(
    name: &'static str,
    long: &'static str,
    value: &'static str,
    zkcli: &'static str,
    help: &'static str,
) -> Opt {
    Opt {
        name,
        long,
        value: Some(value),
        zkcli,
        help,
        chosen: false,
    }
}

const fn one_of(mut option: Opt) -> Opt {
    option.chosen = true;
    option
}

/// Options of every command.
const COMMON: &[Opt] = &[flag("json", "json", "", "Prints JSON instead")];

const WATCH: Opt = flag(
    "w",
    "watch",
    "watch",
    "Watches once for a change; the shell prints it",
);
const STAT: Opt = flag("s", "stat", "stats", "Prints the node's stat too");
const VERSION: Opt = valued(
    "v",
    "if-version",
    "VERSION",
    "version",
    "Only if the node has this version",
);

const BARE: Spec = Spec {
    name: "",
    syntax: "",
    options: &[],
    choice: Choice::Free,
    lists_options: false,
    about: "",
    details: "",
    examples: "",
    one_shot: true,
};

/// Every command of zkCli, sorted by name as zkCli lists them.
pub(super) const SPECS: &[Spec] = &[
    Spec {
        name: "addWatch",
        syntax: "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE",
        options: &[valued(
            "m",
            "mode",
            "MODE",
            "",
            "PERSISTENT or PERSISTENT_RECURSIVE",
        )],
        about: "Watches a path, and all below it, until the session ends",
        one_shot: false,
        ..BARE
    },
    Spec {
        name: "addauth",
        syntax: "scheme auth",
        about: "Adds an identity to the session",
        details: "Outside the shell an identity is given with --auth SCHEME:DATA.",
        one_shot: false,
        ..BARE
    },
    Spec {
        name: "close",
        about: "Closes the session; `connect` opens another",
        one_shot: false,
        ..BARE
    },
    Spec {
        name: "config",
        syntax: "[-c] [-w] [-s]",
        options: &[
            flag(
                "c",
                "connect-string",
                "client connection string",
                "Prints version and HOST:PORT,... for clients",
            ),
            WATCH,
            STAT,
        ],
        about: "Prints the ensemble's configuration",
        examples: "  roo config            the lines of all servers and the version
  roo config -c         what a client connects to",
        ..BARE
    },
    Spec {
        name: "connect",
        syntax: "host:port",
        about: "Opens a session, with other servers if they are named",
        one_shot: false,
        ..BARE
    },
    Spec {
        name: "create",
        syntax: "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
        options: &[
            flag(
                "e",
                "ephemeral",
                "ephemeral",
                "Is deleted when its session ends (a one-shot's ends at once)",
            ),
            flag(
                "s",
                "sequential",
                "sequential",
                "Appends ten digits that count up",
            ),
            flag(
                "c",
                "container",
                "container",
                "Is deleted by the server when its last child is gone",
            ),
            valued(
                "t",
                "ttl",
                "MS",
                "ttl",
                "Is deleted when unchanged and childless for so many ms",
            ),
            flag("base64", "base64", "", "The data is given in base64"),
            flag(
                "parents",
                "parents",
                "",
                "Creates the missing nodes above it too",
            ),
        ],
        about: "Creates a node",
        details: "Prints `Created PATH` to standard error. An ACL is SCHEME:ID:PERMS,... with the permissions c(reate) d(elete) r(ead) w(rite) a(dmin).",
        examples: "  roo create /app
  roo create /app/config '{\"workers\": 4}'
  roo create -s /app/job- 'data'
  roo create /app/secret s3cret digest:bob:HASH:cdrwa
  roo create -t 60000 /app/lease me",
        ..BARE
    },
    Spec {
        name: "delete",
        syntax: "[-v version] path",
        options: &[VERSION],
        about: "Deletes a node without children",
        examples: "  roo delete /app/job-0000000001
  roo delete -v 3 /app/config      only if nobody has changed it since",
        ..BARE
    },
    Spec {
        name: "deleteall",
        syntax: "path [-b batch size]",
        options: &[valued(
            "b",
            "batch",
            "COUNT",
            "batch size",
            "Deletes in one transaction (default 1000)",
        )],
        about: "Deletes a node and everything below it",
        details: "The leaves go first, in transactions of the batch's size. When it stops on the way it says how many nodes are gone, with exit code 5.",
        examples: "  roo deleteall /app/old",
        ..BARE
    },
    Spec {
        name: "delquota",
        syntax: "[-n|-b|-N|-B] path",
        options: &[
            one_of(flag(
                "n",
                "nodes",
                "num soft quota",
                "Only the soft limit of nodes",
            )),
            one_of(flag(
                "b",
                "bytes",
                "bytes soft quota",
                "Only the soft limit of bytes",
            )),
            one_of(flag(
                "N",
                "hard-nodes",
                "num hard quota",
                "Only the hard limit of nodes",
            )),
            one_of(flag(
                "B",
                "hard-bytes",
                "bytes hard quota",
                "Only the hard limit of bytes",
            )),
        ],
        choice: Choice::AtMostOne,
        about: "Removes a quota, or one of its limits",
        ..BARE
    },
    Spec {
        name: "get",
        syntax: "[-s] [-w] [-b] [-x] path",
        options: &[
            flag(
                "s",
                "stat",
                "Print znode stats additionally",
                "Prints the node's stat too",
            ),
            flag(
                "w",
                "watch",
                "Watch for changes on the znode",
                "Watches once for a change; the shell prints it",
            ),
            flag(
                "b",
                "base64",
                "Output data in base64 format",
                "Prints the data in base64",
            ),
            flag(
                "x",
                "hex",
                "Output data in hexdump format",
                "Prints the data as a hex dump",
            ),
            flag(
                "raw",
                "raw",
                "",
                "Prints the bytes as they are, without a newline at the end",
            ),
        ],
        lists_options: true,
        about: "Prints a node's data",
        examples: "  roo get /app/config
  roo get --raw /app/image > image.png
  roo get --json -s /app/config",
        ..BARE
    },
    Spec {
        name: "getAcl",
        syntax: "[-s] path",
        options: &[STAT],
        about: "Prints who may do what with a node",
        ..BARE
    },
    Spec {
        name: "getAllChildrenNumber",
        syntax: "path",
        about: "Counts the nodes below a node",
        ..BARE
    },
    Spec {
        name: "getEphemerals",
        syntax: "path",
        about: "Lists this session's ephemeral nodes, all or those of a prefix",
        one_shot: false,
        ..BARE
    },
    Spec {
        name: "history",
        about: "Lists the last eleven lines with their numbers",
        one_shot: false,
        ..BARE
    },
    Spec {
        name: "listquota",
        syntax: "path",
        about: "Prints a node's quota and what counts against it",
        ..BARE
    },
    Spec {
        name: "ls",
        syntax: "[-s] [-w] [-R] path",
        options: &[
            flag("?", "options", "help", "Lists the options as zkCli does"),
            flag("s", "stat", "stat", "Prints the node's stat too"),
            flag(
                "w",
                "watch",
                "watch",
                "Watches once for a change; the shell prints it",
            ),
            flag(
                "R",
                "recursive",
                "recurse",
                "Everything below it, a path a line",
            ),
        ],
        about: "Lists a node's children",
        examples: "  roo ls /
  roo ls -R /app
  roo ls --json /app | jq -r '.children[]'",
        ..BARE
    },
    Spec {
        name: "printwatches",
        syntax: "on|off",
        about: "Says whether events of watches are printed, or changes it",
        one_shot: false,
        ..BARE
    },
    Spec {
        name: "quit",
        about: "Ends the shell; so does ctrl-D",
        one_shot: false,
        ..BARE
    },
    Spec {
        name: "reconfig",
        syntax: "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
        options: &[
            STAT,
            valued(
                "v",
                "if-version",
                "HEX",
                "",
                "Only if the configuration has this version",
            ),
            valued(
                "file",
                "file",
                "FILE",
                "",
                "All servers, from a file of server lines",
            ),
            valued(
                "members",
                "members",
                "LINES",
                "",
                "All servers, as server.1=HOST:PORT:PORT;PORT,...",
            ),
            valued("add", "add", "LINES", "", "Servers that join, or change"),
            valued(
                "remove",
                "remove",
                "IDS",
                "",
                "Servers that leave, by number",
            ),
        ],
        about: "Changes which servers make up the ensemble",
        details: "Texts are made lower case, as zkCli does.",
        examples: "  roo reconfig -add 'server.4=host4:2888:3888:participant;2181'
  roo reconfig -remove 3",
        ..BARE
    },
    Spec {
        name: "redo",
        syntax: "cmdno",
        about: "Repeats a line by its number in the history",
        one_shot: false,
        ..BARE
    },
    Spec {
        name: "removewatches",
        syntax: "path [-c|-d|-a] [-l]",
        options: &[
            flag("c", "children", "", "Watches for children"),
            flag("d", "data", "", "Watches for data"),
            flag("p", "persistent", "", "Persistent watches"),
            flag("r", "recursive", "", "Persistent recursive watches"),
            flag("a", "any", "", "All of them (the default)"),
            flag("l", "local", "", "Forgets them here, even without a server"),
        ],
        about: "Removes this session's watches of a path",
        one_shot: false,
        ..BARE
    },
    Spec {
        name: "set",
        syntax: "path data [-s] [-v version] [-b]",
        options: &[
            flag(
                "s",
                "stat",
                "Print znode stats additionally",
                "Prints the node's stat too",
            ),
            valued(
                "v",
                "if-version",
                "VERSION",
                "Set with an expected version",
                "Only if the node has this version",
            ),
            flag(
                "b",
                "base64",
                "Supply data in base64 format",
                "The data is given in base64",
            ),
        ],
        lists_options: true,
        about: "Changes a node's data",
        examples: "  roo set /app/config '{\"workers\": 8}'
  roo set -v 3 /app/config new      only if nobody has changed it since
  roo set -b /app/image \"$(base64 -w0 image.png)\"",
        ..BARE
    },
    Spec {
        name: "setAcl",
        syntax: "[-s] [-v version] [-R] path acl",
        options: &[
            STAT,
            VERSION,
            flag("R", "recursive", "recursive", "Everything below it too"),
        ],
        about: "Changes who may do what with a node",
        details: "An ACL is SCHEME:ID:PERMS,... with the permissions c(reate) d(elete) r(ead) w(rite) a(dmin).",
        examples: "  roo setAcl /app world:anyone:r,digest:bob:HASH:cdrwa
  roo --auth digest:bob:secret setAcl -R /app auth::cdrwa",
        ..BARE
    },
    Spec {
        name: "setquota",
        syntax: "-n|-b|-N|-B val path",
        options: &[
            one_of(valued(
                "n",
                "nodes",
                "COUNT",
                "num soft quota",
                "Soft limit of nodes: a warning in the server's log",
            )),
            one_of(valued(
                "b",
                "bytes",
                "BYTES",
                "bytes soft quota",
                "Soft limit of bytes",
            )),
            one_of(valued(
                "N",
                "hard-nodes",
                "COUNT",
                "num hard quota",
                "Hard limit of nodes: what would exceed it is refused",
            )),
            one_of(valued(
                "B",
                "hard-bytes",
                "BYTES",
                "bytes hard quota",
                "Hard limit of bytes",
            )),
        ],
        choice: Choice::ExactlyOne,
        about: "Limits what a node and everything below it may hold",
        details: "Hard limits need enforceQuota at the server.",
        examples: "  roo setquota -N 10000 /app
  roo setquota -b 1000000 /app
  roo listquota /app",
        ..BARE
    },
    Spec {
        name: "stat",
        syntax: "[-w] path",
        options: &[WATCH],
        about: "Prints a node's stat",
        ..BARE
    },
    Spec {
        name: "sync",
        syntax: "path",
        about: "Waits until the server knows all that was written before",
        ..BARE
    },
    Spec {
        name: "version",
        about: "Prints the version of the shell",
        one_shot: false,
        ..BARE
    },
    Spec {
        name: "whoami",
        about: "Prints the session's identities",
        ..BARE
    },
];

/// The command of a name.
pub(super) fn find(name: &str) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| spec.name == name)
}

/// zkCli's list of all commands.
pub(super) fn overview() -> String {
    let mut text =
        "ZooKeeper -server host:port -client-configuration properties-file cmd args\n".to_owned();
    for spec in SPECS {
        text.push_str(&format!("\t{} {}\n", spec.name, spec.syntax));
    }
    text
}

/// A command as clap shows it in `--help` and in completions; the words themselves are read by
/// [`super::options`], which knows options of several letters behind one `-`.
pub(super) fn clap_command(spec: &'static Spec) -> Command {
    let mut command = Command::new(spec.name)
        .about(spec.about)
        .override_usage(format!("roo {} {}", spec.name, spec.syntax))
        .disable_help_flag(true)
        .arg(
            Arg::new("help")
                .long("help")
                .action(ArgAction::Help)
                .help("Prints this"),
        );
    if !spec.details.is_empty() {
        command = command.long_about(format!("{}\n\n{}", spec.about, spec.details));
    }
    if !spec.examples.is_empty() {
        command = command.after_help(format!("Examples:\n{}", spec.examples));
    }
    for option in spec.options.iter().chain(COMMON) {
        let mut arg = Arg::new(option.name).help(option.help).long(option.long);
        let mut letters = option.name.chars();
        if let (Some(letter), None) = (letters.next(), letters.next()) {
            arg = arg.short(letter);
        }
        command = command.arg(match option.value {
            Some(value) => arg.value_name(value).num_args(1),
            None => arg.action(ArgAction::SetTrue),
        });
    }
    let arguments = Arg::new("arguments")
        .value_name("ARGUMENTS")
        .num_args(0..)
        .hide(true);
    command.arg(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_usage_are_those_of_zkcli() {
        let usage = |name| find(name).unwrap().usage();
        assert_eq!(usage("ls"), "ls [-s] [-w] [-R] path");
        assert_eq!(
            usage("set"),
            "set path data [-s] [-v version] [-b]\n -b         Supply data in base64 format\n \
             -s         Print znode stats additionally\n -v <arg>   Set with an expected version\n"
        );
        assert_eq!(
            find("ls").unwrap().option_list(),
            " -?   help\n -R   recurse\n -s   stat\n -w   watch\n"
        );
    }

    #[test]
    fn commands_are_sorted_and_options_have_one_meaning() {
        assert!(SPECS.is_sorted_by_key(|spec| spec.name));
        for spec in SPECS {
            clap_command(spec).debug_assert();
        }
    }
}
