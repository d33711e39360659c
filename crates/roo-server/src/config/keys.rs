//! Every key: its name, what becomes of it, its default and its meaning. The page
//! docs/configuration.md is made of this table.

pub mod ensemble;

use std::collections::BTreeMap;

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It takes effect.
    Effective,
    /// It is understood and has nothing to change here, as on a lone server of Apache's.
    Accepted,
    /// It changes something in Apache's server and nothing here: a warning says why.
    Inert,
    /// It asks for something that this server does not have: a warning says so.
    Unsupported,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As in zoo.cfg; `-Dzookeeper.NAME` and `ROO_NAME` in upper snake case set it too.
    pub name: &'static str,
    /// See [`Status`].
    pub status: Status,
    /// What holds without it.
    pub default: &'static str,
    /// What it means, or why it has no effect.
    pub doc: &'static str,
}

const fn on(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        status: Status::Effective,
        default,
        doc,
    }
}

const fn ok(name: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        status: Status::Accepted,
        default: "",
        doc,
    }
}

const fn inert(name: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        status: Status::Inert,
        default: "",
        doc,
    }
}

const fn no(name: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        status: Status::Unsupported,
        default: "",
        doc,
    }
}

/// For servers of an ensemble.
const ENSEMBLE: &str = "an ensemble";
const NO_CACHE: &str = "replies are not cached but written straight from the tree";
const NO_CLEANER: &str = "watches are removed with their connection, there is nothing to clean";
const ONE_LOOP: &str = "clients are served by the threads of ioThreads";

/// Names that begin so are numbered or named further, `server.1`; what becomes of them, and for
/// what they are or why they have no effect.
pub const PREFIXES: &[(&str, Status, &str)] = &[
    ("server.", Status::Effective, ""),
    ("group.", Status::Effective, ""),
    ("weight.", Status::Effective, ""),
    (
        "authProvider.",
        Status::Unsupported,
        "other schemes than digest and ip",
    ),
    ("ssl.", Status::Unsupported, "TLS"),
    ("sasl.", Status::Unsupported, "SASL"),
    ("quorum.auth.", Status::Unsupported, "SASL between servers"),
    ("metricsProvider.", Status::Unsupported, "metrics over HTTP"),
    ("admin.", Status::Unsupported, "the admin server"),
    ("superUser.", Status::Unsupported, "SASL"),
    ("kerberos.", Status::Unsupported, "Kerberos"),
    ("netty.", Status::Inert, ONE_LOOP),
    ("nio.", Status::Inert, ONE_LOOP),
    ("commitProcessor.", Status::Accepted, ENSEMBLE),
    (
        "pathStats.",
        Status::Inert,
        "the most used paths are not logged",
    ),
    ("multiAddress.", Status::Accepted, ENSEMBLE),
    ("fastleader.", Status::Accepted, ENSEMBLE),
    (
        "jvm.pause.",
        Status::Inert,
        "there is no Java machine that pauses",
    ),
    ("leader.", Status::Accepted, ENSEMBLE),
    ("learner.", Status::Accepted, ENSEMBLE),
    ("follower.", Status::Accepted, ENSEMBLE),
    ("observer.", Status::Accepted, ENSEMBLE),
    ("observerMaster.", Status::Accepted, ENSEMBLE),
    ("messageTracker.", Status::Accepted, ENSEMBLE),
];

/// See the module.
pub const KEYS: &[Key] = &[
    on("clientPort", "2181 without a file", "Port for clients."),
    on(
        "clientPortAddress",
        "all addresses",
        "Address to listen on; needs clientPort.",
    ),
    on(
        "clientPortListenBacklog",
        "-1: the system's",
        "Connections waiting to be accepted.",
    ),
    on(
        "dataDir",
        "./data without a file",
        "Directory of snapshots and myid. Required in a file.",
    ),
    on(
        "dataLogDir",
        "dataDir",
        "Directory of transaction logs; a disk of its own is faster.",
    ),
    on("tickTime", "3000", "ms; the unit of session timeouts."),
    on(
        "minSessionTimeout",
        "2 x tickTime",
        "ms; a client that asks for less gets this.",
    ),
    on(
        "maxSessionTimeout",
        "20 x tickTime",
        "ms; a client that asks for more gets this.",
    ),
    on(
        "maxClientCnxns",
        "60; 0 for bare arguments",
        "Connections from one address; 0 is no limit.",
    ),
    on("maxCnxns", "0", "Connections in all; 0 is no limit."),
    on(
        "clientTcpKeepAlive",
        "false",
        "TCP keep-alive on clients' connections.",
    ),
    on(
        "nio.sessionlessCnxnTimeout",
        "10000",
        "ms until a connection without a handshake is closed.",
    ),
    on(
        "jute.maxbuffer",
        "1048575",
        "Bytes of the longest packet from a client.",
    ),
    on(
        "jute.maxbuffer.extrasize",
        "jute.maxbuffer",
        "Bytes that strings and buffers may be longer.",
    ),
    on(
        "globalOutstandingLimit",
        "1000",
        "Requests in work before clients have to wait; connections that want more share it evenly.",
    ),
    on(
        "request_throttle_max_requests",
        "0: off",
        "Writes in work before every further one has to wait, whoever sends it.",
    ),
    on(
        "request_throttle_stall_time",
        "100",
        "ms after which one that waits is looked at again at the latest.",
    ),
    on(
        "request_throttle_drop_stale",
        "true",
        "Close the connection of a request that became stale while it waited.",
    ),
    on(
        "request_stale_connection_check",
        "true",
        "Stale is what a client sent that has closed its connection since.",
    ),
    on(
        "request_stale_latency_check",
        "false",
        "Stale is what has waited longer than its session's timeout.",
    ),
    on(
        "throttled_op_wait_time",
        "0: off",
        "ms in the queue after which a request is refused.",
    ),
    on(
        "largeRequestThreshold",
        "-1: off",
        "Bytes from which a request counts as large.",
    ),
    on(
        "largeRequestMaxBytes",
        "104857600",
        "Bytes of large requests in work; beyond it connections are closed.",
    ),
    on(
        "connection_throttle_tokens",
        "0: off",
        "Handshakes at once; others are refused until tokens come back.",
    ),
    on(
        "connection_throttle_fill_time",
        "1",
        "ms until tokens come back.",
    ),
    on(
        "connection_throttle_fill_count",
        "1",
        "Tokens that come back at once.",
    ),
    on(
        "connection_throttle_freeze_time",
        "-1: off",
        "ms between changes of the chance that a handshake is refused without a look at the tokens.",
    ),
    on(
        "connection_throttle_drop_increase",
        "0.02",
        "By how much that chance grows when there are no tokens.",
    ),
    on(
        "connection_throttle_drop_decrease",
        "0.002",
        "By how much it shrinks when there are enough.",
    ),
    on(
        "connection_throttle_decrease_ratio",
        "0",
        "The part of the tokens that may be missing when there are enough.",
    ),
    on(
        "connection_throttle_weight_enabled",
        "false",
        "Handshakes cost as much as their session's weight; the tokens are multiplied by the global one.",
    ),
    on(
        "connection_throttle_global_session_weight",
        "3",
        "What a new session costs.",
    ),
    on(
        "connection_throttle_renew_session_weight",
        "2",
        "What a session costs that is taken up again.",
    ),
    on(
        "skipACL",
        "no",
        "\"yes\": access control lists are not checked.",
    ),
    on("extendedTypesEnabled", "false", "TTL nodes."),
    on(
        "emulate353TTLNodes",
        "false",
        "Understands the TTL nodes of 3.5.3.",
    ),
    on("enforceQuota", "false", "Hard quotas refuse writes."),
    on(
        "znode.container.checkIntervalMs",
        "60000",
        "ms between looks for empty containers and expired nodes.",
    ),
    on(
        "znode.container.maxPerMinute",
        "10000",
        "Such nodes deleted a minute.",
    ),
    on(
        "znode.container.maxNeverUsedIntervalMs",
        "0: never",
        "ms until a container that never had a child is deleted.",
    ),
    on(
        "4lw.commands.whitelist",
        "none",
        "Four-letter words that are answered beside srvr; * is all.",
    ),
    on(
        "snapCount",
        "100000",
        "Transactions between snapshots, at least 2.",
    ),
    on(
        "snapSizeLimitInKb",
        "4194304",
        "KiB of log between snapshots; 0 or less: not counted.",
    ),
    on(
        "txnLogSizeLimitInKb",
        "-1: off",
        "KiB of a log file before the next one begins.",
    ),
    on(
        "preAllocSize",
        "65536",
        "KiB by which log files grow; 0: as needed.",
    ),
    on(
        "forceSync",
        "yes",
        "\"no\": writes are acknowledged before they are safe on disk. Do not.",
    ),
    on(
        "flushDelay",
        "0: none",
        "ms since the last sync before the next one, so that more writes share it.",
    ),
    on(
        "maxWriteQueuePollTime",
        "flushDelay / 3",
        "ms without a further write after which a sync is not delayed any longer.",
    ),
    on(
        "maxBatchSize",
        "1000",
        "Writes that share a sync at most; 0 or less: all there are.",
    ),
    on(
        "fsync.warningthresholdms",
        "1000",
        "ms of a sync that are complained about.",
    ),
    on("snapshot.compression.method", "none", "gz or snappy."),
    on(
        "snapshot.trust.empty",
        "false",
        "Start from logs without a snapshot.",
    ),
    on(
        "serializeLastProcessedZxid.enabled",
        "true",
        "Write the last zxid into snapshots, as 3.9 does.",
    ),
    on(
        "closeSessionTxn.enabled",
        "true",
        "List a session's ephemerals in the record of its end, as 3.6 does.",
    ),
    on(
        "digest.enabled",
        "true",
        "Keep and record the tree's digest.",
    ),
    on("datadir.autocreate", "true", "Make missing directories."),
    on(
        "db.autocreate",
        "true",
        "Begin a new database in an empty directory; false: only if there is a file initialize in dataDir or dataLogDir.",
    ),
    on(
        "autopurge.snapRetainCount",
        "3",
        "Snapshots that are kept, at least 3.",
    ),
    on(
        "autopurge.purgeInterval",
        "1",
        "Hours between purges; 0: nothing is ever removed. Suffixes ms, s, m, h, d.",
    ),
    on(
        "reconfigEnabled",
        "false",
        "Whether reconfig may be asked for.",
    ),
    on(
        "DigestAuthenticationProvider.enabled",
        "true",
        "Whether the digest scheme is there.",
    ),
    on(
        "DigestAuthenticationProvider.superDigest",
        "none",
        "super:HASH; whoever proves it may do everything.",
    ),
    on(
        "DigestAuthenticationProvider.digestAlg",
        "SHA1",
        "Hash of the digest scheme: MD5, SHA1, SHA-224, SHA-256, SHA-384, SHA-512.",
    ),
    on(
        "enforce.auth.enabled",
        "false",
        "Refuse requests before authentication.",
    ),
    on(
        "enforce.auth.schemes",
        "none",
        "Comma list of schemes of which one is demanded.",
    ),
    on(
        "ioThreads",
        "0: one per core",
        "Threads that serve clients.",
    ),
    on(
        "directIo",
        "yes",
        "Synced, preallocated logs are written past the page cache, on ext4 and XFS; \"no\": through it.",
    ),
    on(
        "maxInFlightPerConnection",
        "1000",
        "Requests in work for one connection before it has to wait.",
    ),
    on(
        "connectionWriteQueueBytes",
        "16777216",
        "Bytes a slow reader may leave unread before its requests wait.",
    ),
    on("logFormat", "text", "text or json."),
    on(
        "logLevel",
        "info",
        "error, warn, info, debug, trace, or a filter of the tracing crate.",
    ),
    ok(
        "serverCnxnFactory",
        "the one that is there does what both do, but TLS",
    ),
    ok("quorum.cnxn.threads.size", ENSEMBLE),
    ok(
        "forward_learner_requests_to_commit_processor_disabled",
        ENSEMBLE,
    ),
    inert(
        "request_throttler.shutdownTimeout",
        "a stop waits for the log and for nothing else",
    ),
    inert(
        "connection_throttle_local_session_weight",
        "there are no local sessions",
    ),
    inert(
        "connectToLearnerMasterLimit",
        "a learner may take initLimit to reach its leader",
    ),
    inert(
        "tcpKeepAlive",
        "links between servers are always probed, see peer.heartbeatIntervalMs",
    ),
    inert(
        "observer.reconnectDelayMs",
        "an observer comes back as followers do",
    ),
    inert(
        "observer.election.DelayMs",
        "an observer comes back as followers do",
    ),
    inert("maxResponseCacheSize", NO_CACHE),
    inert("maxGetChildrenResponseCacheSize", NO_CACHE),
    inert("intBufferStartingSizeBytes", "buffers grow as they must"),
    inert("watchManagerName", "one table holds all kinds of watches"),
    inert("watcherCleanThreshold", NO_CLEANER),
    inert("watcherCleanIntervalInSeconds", NO_CLEANER),
    inert("watcherCleanThreadsNum", NO_CLEANER),
    inert("maxInProcessingDeadWatchers", NO_CLEANER),
    inert("bitHashCacheSize", NO_CLEANER),
    ok("enableEagerACLCheck", ENSEMBLE),
    no("fips-mode", "TLS"),
    ok("observerMasterPort", ENSEMBLE),
    no("secureClientPort", "TLS for clients"),
    no("secureClientPortAddress", "TLS for clients"),
    no("sslQuorum", "TLS between servers"),
    no("portUnification", "TLS between servers"),
    no("sslQuorumReloadCertFiles", "TLS between servers"),
    no("client.portUnification", "TLS for clients"),
    no("client.certReload", "TLS for clients"),
    no("oraclePath", "quorums of two with an oracle"),
    no("superUser", "SASL"),
    no("allowSaslFailedClients", "SASL"),
    no("sessionRequireClientSASLAuth", "SASL"),
    no("SASLAuthenticationProvider.superPassword", "SASL"),
    no("letAnySaslUserDoX", "SASL"),
    no("X509AuthenticationProvider.superUser", "TLS for clients"),
    no(
        "IPAuthenticationProvider.usexforwardedfor",
        "the admin server",
    ),
    no("ensembleAuthName", "the ensemble scheme"),
    no("security.auth_to_local", "Kerberos"),
    no("requireKerberosConfig", "Kerberos"),
    no("kinit", "Kerberos"),
    no("audit.enable", "the audit log"),
    no("audit.impl.class", "the audit log"),
];

/// Every key, of lone servers and of ensembles.
pub fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(ensemble::KEYS)
}

/// The key of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// The variable that sets a key: `ROO_` and the name in upper snake case.
#[must_use]
pub fn variable(name: &str) -> String {
    let mut out = String::from("ROO_");
    let mut lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && lower {
            out.push('_');
        }
        lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        out.push(if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        });
    }
    out
}

/// The page docs/configuration.md.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(HEAD);
    rows(&mut page, KEYS);
    page.push_str(ensemble::HEAD);
    rows(&mut page, ensemble::KEYS);
    page.push_str(INERT);
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, _, why) in named(Status::Inert) {
        reasons.entry(why).or_default().push(name);
    }
    for (why, names) in reasons {
        page.push_str(&format!("| {} | {why} |\n", names.join(", ")));
    }
    page.push_str(ACCEPTED);
    page.push_str(&list(Status::Accepted));
    page.push_str(".\n\n## Known, not supported\n\nA warning names them at the start:\n\n");
    page.push_str(&list(Status::Unsupported));
    page.push_str(".\n");
    page
}

fn rows(page: &mut String, keys: &[Key]) {
    for key in keys.iter().filter(|key| key.status == Status::Effective) {
        let variable = match key.name.split_once('.') {
            Some(("server" | "group" | "weight", _)) => "none".to_owned(),
            _ => format!("`{}`", variable(key.name)),
        };
        page.push_str(&format!(
            "| `{}` | {} | {} | {variable} |\n",
            key.name, key.default, key.doc
        ));
    }
}

/// The keys and beginnings of keys of a status, as the page names them, with their reason.
fn named(status: Status) -> impl Iterator<Item = (String, Status, &'static str)> {
    let keys = KEYS
        .iter()
        .map(|key| (format!("`{}`", key.name), key.status, key.doc));
    let prefixes = PREFIXES
        .iter()
        .map(|(prefix, status, why)| (format!("`{prefix}*`"), *status, *why));
    keys.chain(prefixes).filter(move |(_, of, _)| *of == status)
}

fn list(status: Status) -> String {
    let names: Vec<String> = named(status).map(|(name, ..)| name).collect();
    names.join(", ")
}

const INERT: &str = "
## Understood, without effect

These keys change something in Apache's server and nothing here.
A warning names them at the start.

| key | why |
|---|---|
";

const ACCEPTED: &str = "
## For ensembles only

These keys change nothing on a server without an ensemble, neither here nor in Apache's (`serverCnxnFactory` chooses between two ways to the same service):

";

const HEAD: &str = "# Configuration

This page is made from the table in `crates/roo-server/src/config/keys.rs`.

`roo server FILE` reads a file in the syntax of Apache's `zoo.cfg` (a Java properties file).
Each key can also be given as an argument, `-Dzookeeper.KEY=VALUE` (`-DKEY=VALUE` works too), or as an environment variable.
An argument wins over a variable, a variable over the file.
A known key with a value that cannot be meant ends the start with one line that names file, line, key and what was expected; an unknown key is a warning that names the nearest known one.

| key | default | meaning | variable |
|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_upper_snake_case() {
        assert_eq!(variable("clientPort"), "ROO_CLIENT_PORT");
        assert_eq!(
            variable("4lw.commands.whitelist"),
            "ROO_4LW_COMMANDS_WHITELIST"
        );
        assert_eq!(variable("jute.maxbuffer"), "ROO_JUTE_MAXBUFFER");
    }

    #[test]
    fn the_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == page(),
            "run UPDATE_EXPECT=1 cargo test -p roo-server"
        );
    }

    #[test]
    fn whatever_has_no_effect_has_a_reason() {
        let mut without = KEYS
            .iter()
            .map(|key| (key.name, key.status, key.doc))
            .chain(PREFIXES.iter().copied())
            .filter(|(_, status, why)| *status != Status::Effective && why.is_empty());
        assert_eq!(without.next(), None);
    }

    #[test]
    fn no_key_stands_twice() {
        let mut names: Vec<_> = all().map(|key| key.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
