//! Commands that change nothing.

use serde_json::{Map, json};

use super::super::Shell;
use super::super::errors::{check_path, refused};
use super::super::events::Source;
use super::super::options::Given;
use super::super::output;
use super::super::table::Spec;
use super::super::walk::Walk;
use crate::connect::Failure;

/// `ls`: children in one line, or all paths below.
pub(super) async fn ls(shell: &mut Shell, spec: &Spec, mut given: Given) -> Result<(), Failure> {
    if given.has("?") {
        let list = spec.option_list();
        shell
            .out
            .text(&format!("usage: ls [options] path\n{list}"))?;
    }
    watch_word_of(shell, &mut given, "ls");
    let path = super::path(spec, &given)?;
    check_path(path)?;
    if given.has("R") {
        return subtree(shell, &given, path).await;
    }
    let client = shell.client()?;
    let children = if given.has("w") {
        let read = client.children_and_watch(path).await;
        let (children, watch) = read.map_err(|error| refused(&error, path))?;
        shell.events.once(watch, Source::Children, path);
        children
    } else {
        let read = client.children(path).await;
        read.map_err(|error| refused(&error, path))?
    };
    let mut names = children.names;
    names.sort_unstable();
    if shell.out.json {
        let mut object = json!({ "path": path, "children": names });
        if given.has("s") {
            object["stat"] = output::stat_json(&children.stat);
        }
        return shell.out.json(&object);
    }
    shell.out.line(format!("[{}]", names.join(", ")))?;
    if given.has("s") {
        shell.out.stat(&children.stat)?;
    }
    Ok(())
}

fn watch_word_of(shell: &mut Shell, given: &mut Given, name: &str) {
    let new = match name {
        "ls" => "ls [-w] path",
        "stat" => "stat [-w] path",
        _ => "get [-s] [-w] path",
    };
    super::watch_word(shell, given, name, new);
}

/// A node, its children, then what is below each of them.
async fn subtree(shell: &mut Shell, given: &Given, path: &str) -> Result<(), Failure> {
    let client = shell.client()?;
    let watch = given.has("w");
    if watch {
        let read = client.get_and_watch(path).await;
        let (_, watch) = read.map_err(|error| refused(&error, path))?;
        shell.events.once(watch, Source::Data, path);
    } else {
        let read = client.get(path).await;
        read.map_err(|error| refused(&error, path))?;
    }
    let mut walk = Walk::new(&client, path);
    if watch {
        walk.watch_with(&shell.events);
    }
    let tree = walk.children().await;
    if shell.out.json {
        let paths: Vec<&str> = tree.paths()?;
        return shell.out.json(&json!({ "path": path, "paths": paths }));
    }
    shell.out.line(path)?;
    let mut pending = vec![path.to_owned()];
    while let Some(parent) = pending.pop() {
        let names = tree.names(&parent)?;
        let children: Vec<String> = names
            .iter()
            .map(|name| super::super::walk::join(&parent, name))
            .collect();
        for child in &children {
            shell.out.line(child)?;
        }
        pending.extend(children.into_iter().rev());
    }
    Ok(())
}

/// `get`: the data as text, base64 or a dump.
pub(super) async fn get(shell: &mut Shell, spec: &Spec, mut given: Given) -> Result<(), Failure> {
    super::path(spec, &given)?;
    watch_word_of(shell, &mut given, "get");
    let path = super::path(spec, &given)?;
    check_path(path)?;
    let client = shell.client()?;
    let node = if given.has("w") {
        let read = client.get_and_watch(path).await;
        let (node, watch) = read.map_err(|error| refused(&error, path))?;
        shell.events.once(watch, Source::Data, path);
        node
    } else {
        let read = client.get(path).await;
        read.map_err(|error| refused(&error, path))?
    };
    if shell.out.json {
        let mut object = Map::new();
        object.insert("path".to_owned(), path.into());
        output::put_data(&mut object, node.value());
        if given.has("s") {
            object.insert("stat".to_owned(), output::stat_json(&node.stat));
        }
        return shell.out.json(&object.into());
    }
    // zkCli's word for a node that was created without data.
    let data = node.value().unwrap_or(b"null");
    if given.has("raw") {
        shell.out.bytes(&node.data)?;
    } else if given.has("x") {
        shell.out.line(output::hex_dump(data))?;
    } else if given.has("b") {
        shell.out.line(output::base64(data))?;
    } else {
        shell.out.data(data)?;
    }
    if given.has("s") {
        shell.out.stat(&node.stat)?;
    }
    Ok(())
}

/// `stat`.
pub(super) async fn stat(shell: &mut Shell, spec: &Spec, mut given: Given) -> Result<(), Failure> {
    super::path(spec, &given)?;
    watch_word_of(shell, &mut given, "stat");
    let path = super::path(spec, &given)?;
    check_path(path)?;
    let client = shell.client()?;
    let stat = if given.has("w") {
        let read = client.exists_and_watch(path).await;
        let (stat, watch) = read.map_err(|error| refused(&error, path))?;
        shell.events.once(watch, Source::Data, path);
        stat
    } else {
        let read = client.exists(path).await;
        read.map_err(|error| refused(&error, path))?
    };
    let Some(stat) = stat else {
        return Err(Failure::failed(format!("Node does not exist: {path}")));
    };
    if shell.out.json {
        let object = json!({ "path": path, "stat": output::stat_json(&stat) });
        return shell.out.json(&object);
    }
    shell.out.stat(&stat)
}

/// `getAcl`.
pub(super) async fn get_acl(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let path = super::path(spec, &given)?;
    check_path(path)?;
    let read = shell.client()?.acl(path).await;
    let (acl, stat) = read.map_err(|error| refused(&error, path))?;
    if shell.out.json {
        let mut object = json!({ "path": path, "acl": output::acl_texts(&acl) });
        if given.has("s") {
            object["stat"] = output::stat_json(&stat);
        }
        return shell.out.json(&object);
    }
    for entry in &acl {
        let (scheme, id) = (&entry.id.scheme, &entry.id.id);
        let perms = output::permissions(entry.perms);
        shell.out.line(format!("'{scheme},'{id}\n: {perms}"))?;
    }
    if given.has("s") {
        shell.out.stat(&stat)?;
    }
    Ok(())
}

/// `getAllChildrenNumber`.
pub(super) async fn count(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let path = super::path(spec, &given)?;
    check_path(path)?;
    let read = shell.client()?.descendants_count(path).await;
    let count = read.map_err(|error| refused(&error, path))?;
    if shell.out.json {
        return shell.out.json(&json!({ "path": path, "count": count }));
    }
    shell.out.line(count)
}

/// `getEphemerals`: those of this session.
pub(super) async fn ephemerals(shell: &mut Shell, given: Given) -> Result<(), Failure> {
    let prefix = given.word(0).unwrap_or("/");
    check_path(prefix)?;
    let read = shell.client()?.ephemerals(prefix).await;
    let paths = read.map_err(|error| refused(&error, prefix))?;
    if shell.out.json {
        return shell
            .out
            .json(&json!({ "prefix": prefix, "ephemerals": paths }));
    }
    shell.out.line(format!("[{}]", paths.join(", ")))
}
