//! Commands about the ensemble, the session and the shell itself.

use std::fs;

use roo_client::Reconfig;
use roo_proto::ensemble::Ensemble;
use serde_json::json;

use super::super::Shell;
use super::super::errors::{check_path, refused};
use super::super::events::Source;
use super::super::options::Given;
use super::super::output;
use super::super::table::Spec;
use crate::connect::{Exit, Failure};

const CONFIG: &str = roo_proto::path::CONFIG;

/// `config`.
pub(super) async fn config(shell: &mut Shell, given: Given) -> Result<(), Failure> {
    let client = shell.client()?;
    let node = if given.has("w") {
        if !client.chroot().is_empty() {
            return Err(Failure::failed(
                "the configuration is above the chroot: connect without one to watch it",
            ));
        }
        let read = client.get_and_watch(CONFIG).await;
        let (node, watch) = read.map_err(|error| refused(&error, CONFIG))?;
        shell.events.once(watch, Source::Data, CONFIG);
        node
    } else {
        let read = client.config().await;
        read.map_err(|error| refused(&error, CONFIG))?
    };
    let text = String::from_utf8_lossy(&node.data);
    if shell.out.json {
        let mut object = json!({ "config": text, "connect": connect_string(&text)?.1 });
        if given.has("s") {
            object["stat"] = output::stat_json(&node.stat);
        }
        return shell.out.json(&object);
    }
    if given.has("c") {
        let (version, servers) = connect_string(&text)?;
        shell.out.line(format!("{version} {servers}"))?;
    } else {
        shell.out.line(&text)?;
    }
    if given.has("s") {
        shell.out.stat(&node.stat)?;
    }
    Ok(())
}

/// The version of a configuration and the addresses of its servers for clients, in the order of
/// the servers' ids (zkCli's is the order of a hash table).
fn connect_string(text: &str) -> Result<(String, String), Failure> {
    let unread = |why: String| Failure::failed(format!("the server's configuration: {why}"));
    let pairs = roo_proto::properties::parse(text)
        .map_err(|(line, why)| unread(format!("line {line}: {why}")))?;
    let version = pairs.iter().find(|pair| pair.key == "version");
    let version = version.map(|pair| pair.value.clone()).unwrap_or_default();
    if !pairs.iter().any(|pair| pair.key.starts_with("server.")) {
        return Ok((version, String::new()));
    }
    let ensemble = Ensemble::parse(text).map_err(|error| unread(error.to_string()))?;
    let clients = ensemble
        .members
        .values()
        .map(|member| match &member.client {
            Some(address) => format!("{}:{}", address.host, address.port),
            None => String::new(),
        });
    Ok((version, clients.collect::<Vec<_>>().join(",")))
}

/// `reconfig`.
pub(super) async fn reconfig(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let all = given.has("file") || given.has("members");
    let some = given.has("add") || given.has("remove");
    if !all && !some {
        return Err(Failure::usage(spec.usage()));
    }
    let from = given.value("v").map(|text| {
        i64::from_str_radix(text, 16)
            .map_err(|_| Failure::usage("-v must be followed by a long (configuration version)"))
    });
    let from = from.transpose()?.filter(|version| *version != -1);
    if all && some {
        return Err(Failure::usage(
            "Can't use -file or -members together with -add or -remove (mixing incremental and \
             non-incremental modes is not allowed)",
        ));
    }
    if given.has("file") && given.has("members") {
        return Err(Failure::usage(
            "Can't use -file and -members together (conflicting non-incremental modes)",
        ));
    }
    let lower = |option| {
        given
            .value(option)
            .map(str::to_lowercase)
            .unwrap_or_default()
    };
    let change = match given.value("file") {
        Some(file) => Reconfig::Members(members_of(file)?),
        None if all => Reconfig::Members(lower("members")),
        None => Reconfig::Incremental {
            joining: lower("add"),
            leaving: lower("remove"),
        },
    };
    let done = shell.client()?.reconfig(change, from).await;
    // Java has no path here.
    let node = done.map_err(|error| refused(&error, ""))?;
    let text = String::from_utf8_lossy(&node.data);
    if shell.out.json {
        let mut object = json!({ "config": text });
        if given.has("s") {
            object["stat"] = output::stat_json(&node.stat);
        }
        return shell.out.json(&object);
    }
    shell
        .out
        .line(format!("Committed new configuration:\n{text}"))?;
    if given.has("s") {
        shell.out.stat(&node.stat)?;
    }
    Ok(())
}

/// The server lines of a file, joined by commas.
fn members_of(file: &str) -> Result<String, Failure> {
    let wrong = |why: String| Failure::failed(format!("Error processing {file}: {why}"));
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let ensemble = Ensemble::parse(&text).map_err(|error| wrong(error.to_string()))?;
    if ensemble.members.is_empty() {
        return Err(wrong("it has no server lines".to_owned()));
    }
    let text = ensemble.to_text();
    let lines = text.lines().filter(|line| !line.starts_with("version="));
    Ok(lines.collect::<Vec<_>>().join(","))
}

/// `sync`.
pub(super) async fn sync(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let path = super::path(spec, &given)?;
    check_path(path)?;
    match shell.client()?.sync(path).await {
        Ok(()) if shell.out.json => shell.out.json(&json!({ "synced": path })),
        Ok(()) => shell.out.line("Sync is OK"),
        Err(error) => {
            let failure = refused(&error, path);
            if failure.exit == Exit::Failed {
                let code = error.code().0;
                shell.out.line(format!("Sync has failed. rc={code}"))?;
            }
            Err(failure)
        }
    }
}

/// `whoami`.
pub(super) async fn who_am_i(shell: &mut Shell) -> Result<(), Failure> {
    let read = shell.client()?.who_am_i().await;
    let ids = read.map_err(|error| refused(&error, ""))?;
    if shell.out.json {
        let ids = ids
            .iter()
            .map(|id| json!({ "scheme": id.scheme, "user": id.id }));
        return shell.out.json(&ids.collect());
    }
    shell.out.line("Auth scheme: User")?;
    for id in &ids {
        shell.out.line(format!("{}: {}", id.scheme, id.id))?;
    }
    Ok(())
}

/// `addauth`. A scheme that the server does not know ends the session, as it does for zkCli.
pub(super) async fn add_auth(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let scheme = given.word(0).ok_or_else(|| Failure::usage(spec.usage()))?;
    let data = given.word(1).unwrap_or_default();
    let done = shell.client()?.add_auth(scheme, data).await;
    done.map_err(|error| refused(&error, ""))
}

/// `version`. Scripts look for the words before the colon.
pub(super) fn version(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    if !given.words.is_empty() {
        return Err(Failure::usage(spec.usage()));
    }
    let version = env!("CARGO_PKG_VERSION");
    if shell.out.json {
        return shell.out.json(&json!({ "version": version }));
    }
    shell.out.line(format!(
        "ZooKeeper CLI version: 3.9.5, as RooKeeper {version} speaks it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_connect_to_what_the_configuration_names() {
        let text = "server.2=b:2888:3888:participant;0.0.0.0:2182\n\
                    server.1=a:2888:3888:participant;a:2181\nversion=100000000";
        let (version, servers) = connect_string(text).unwrap();
        assert_eq!(version, "100000000");
        assert_eq!(servers, "a:2181,0.0.0.0:2182");
        assert_eq!(connect_string("").unwrap(), (String::new(), String::new()));
    }
}
