//! The keys of servers that belong together.

use super::{Key, on};

/// See the module.
pub const KEYS: &[Key] = &[
    on(
        "server.N",
        "none",
        "`host:peerPort[:electionPort][:participant\\|observer][;[clientHost:]clientPort]` of server N; more addresses behind a bar, IPv6 in brackets. Our servers need no election port, Apache's do.",
    ),
    on(
        "group.G",
        "none",
        "Participants of group G with colons between them; with groups a quorum is more than half of the groups, each with more than half of its weight.",
    ),
    on("weight.N", "1", "Weight of server N in its group."),
    on(
        "peers",
        "none",
        "All servers as `1=host:2888,2=host:2888`, in place of server.N lines; --peers.",
    ),
    on(
        "id",
        "the file myid in dataDir",
        "This server's N; must not contradict the file; --id.",
    ),
    on(
        "ensemble.name",
        "none",
        "Identity of the ensemble: our servers refuse links from servers with another name.",
    ),
    on(
        "initLimit",
        "required in a file; 10",
        "Ticks in which a server must have connected to the leader and have caught up.",
    ),
    on(
        "syncLimit",
        "required in a file; 5",
        "Ticks of silence after which a link between leader and learner is given up.",
    ),
    on(
        "peer.heartbeatIntervalMs",
        "tickTime / 2, or a quarter of the timeout",
        "ms between signs of life between our servers.",
    ),
    on(
        "peer.heartbeatTimeoutMs",
        "tickTime x syncLimit",
        "ms of silence after which our servers give up a link, also below a tick.",
    ),
    on(
        "peerType",
        "participant",
        "participant or observer; server.N counts if it says otherwise.",
    ),
    on(
        "standaloneEnabled",
        "true",
        "Whether one participant serves alone; false: it is an ensemble of one that can grow.",
    ),
    on(
        "dynamicConfigFile",
        "none",
        "File with the server, group and weight lines; reconfigurations write it. Its version stands behind the last dot of its name.",
    ),
    on("electionAlg", "3", "Only 3."),
    on(
        "quorumListenOnAllIPs",
        "false",
        "Listen for servers on all addresses and not only on that of the own server.N.",
    ),
    on("cnxTimeout", "5000", "ms to connect to another server."),
    on(
        "quorumCnxnTimeoutMs",
        "-1: tickTime x syncLimit",
        "ms for the first message of a server that connects.",
    ),
    on(
        "electionPortBindRetry",
        "3",
        "Attempts to listen for servers, a second apart; 0: for ever.",
    ),
    on(
        "fastleader.minNotificationInterval",
        "200",
        "ms until a vote is sent again; doubles up to the longest.",
    ),
    on(
        "fastleader.maxNotificationInterval",
        "60000",
        "The longest of these waits.",
    ),
    on(
        "leaderConnectDelayDuringRetryMs",
        "10",
        "ms between attempts to reach a leader that does not lead yet.",
    ),
    on(
        "leaderServes",
        "yes",
        "\"no\": the leader takes no clients.",
    ),
    on(
        "syncEnabled",
        "true",
        "Whether an observer keeps logs and snapshots.",
    ),
    on(
        "observer.syncEnabled",
        "true",
        "Another name for syncEnabled, which wins.",
    ),
    on(
        "forceSnapshotSync",
        "false",
        "Learners catch up with a snapshot whatever they miss; for tests.",
    ),
    on(
        "snapshotSizeFactor",
        "0.33",
        "A learner catches up from the log if that is shorter than this part of a snapshot; negative: never.",
    ),
    on(
        "commitLogCount",
        "500",
        "Transactions kept in memory for learners that come back; at least 500.",
    ),
    on(
        "localSessionsEnabled",
        "false",
        "Sessions are known to one server only and cost no write.",
    ),
    on(
        "localSessionsUpgradingEnabled",
        "false",
        "Such a session becomes an ordinary one when it makes an ephemeral node.",
    ),
    on(
        "readonlymode.enabled",
        "false",
        "A server without a quorum serves reads to clients that agree. The word isro is answered, too.",
    ),
    on(
        "readMode",
        "local",
        "`local`: reads come from the server's own state, which may lag, as with Apache; `leader`: from the leader; `quorum`: after a round with the leader.",
    ),
];

/// What the page says of them.
pub(super) const HEAD: &str = "
## Ensembles

Servers that belong together name each other with `server.N` lines, in `dynamicConfigFile`, or with `roo server --id N --peers ...` without a file.
A configuration that names one participant serves alone.

| key | default | meaning | variable |
|---|---|---|---|
";
