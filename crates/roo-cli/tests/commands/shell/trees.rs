use std::fs;

use crate::support::Stage;

fn plant(stage: &Stage) {
    stage.good(&["create", "/app"]);
    stage.good(&["create", "/app/config", "{\"workers\": 4}"]);
    stage.good(&["create", "--base64", "/app/binary", "AP8="]);
    stage.good(&["create", "/app/empty", ""]);
    stage.good(&["create", "/app/node.json", "a name of ours"]);
    stage.good(&["create", "/app/.hidden", "dot"]);
    stage.good(&["create", "-c", "/app/box"]);
    stage.good(&["create", "-t", "3600000", "/app/lease", "ttl"]);
    let acl = "world:anyone:r,digest:u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=:cdrwa";
    stage.good(&["create", "/app/config/secret", "s", acl]);
}

fn listing(stage: &Stage, path: &str) -> String {
    let said = stage.good(&["--auth", "digest:u:p", "export", path, "-"]);
    let (_, nodes) = said.out.split_once("\"nodes\": ").unwrap();
    nodes.to_owned()
}

#[test]
fn an_export_comes_back_to_the_byte_by_file_and_by_directory() {
    let stage = Stage::new("extendedTypesEnabled=true\n");
    plant(&stage);
    let before = listing(&stage, "/app");
    for part in [
        "\"text\":\"{\\\"workers\\\": 4}\"",
        "\"base64\":\"AP8=\"",
        "{\"path\":\"box\",\"kind\":\"persistent\",",
        "digest:u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=:cdrwa",
    ] {
        assert!(before.contains(part), "{part}: {before}");
    }
    for target in ["app.json", "app/"] {
        let said = stage.good(&["export", "/app", "hidden.json", "--overwrite"]);
        assert!(
            said.err.contains("warning: the ACLs of 1 nodes hide"),
            "{said:?}"
        );
        let said = stage.roo(&["import", "hidden.json", "/hidden"]);
        said.refused(1, "x for a digest that was hidden");
        let said = stage.good(&["--auth", "digest:u:p", "export", "/app", target]);
        assert!(
            said.err.starts_with("exported 9 nodes from /app"),
            "{said:?}"
        );
        stage.good(&["--auth", "digest:u:p", "import", target, "/some/where"]);
        assert_eq!(listing(&stage, "/some/where"), before);
        // Again: all is as it should be.
        let said = stage.good(&["--auth", "digest:u:p", "import", target, "/some/where"]);
        assert!(
            said.err.contains("0 changes made, 9 nodes are so already"),
            "{said:?}"
        );
        stage.good(&["--auth", "digest:u:p", "deleteall", "/some"]);
    }
    assert!(stage.path().join("app/%2Ehidden/node.json").exists());
    assert!(stage.path().join("app/%6Eode.json/node.json").exists());
}

#[test]
fn an_import_says_what_it_would_do_and_never_overwrites_unasked() {
    let stage = Stage::new("");
    stage.good(&["create", "/app", "new"]);
    stage.good(&["create", "/app/a", "1"]);
    stage.good(&["export", "/app", "app.json"]);
    let said = stage.roo(&["export", "/app", "app.json"]);
    said.refused(1, "app.json exists");
    stage.good(&["set", "/app", "old"]);
    stage.good(&["delete", "/app/a"]);
    let said = stage.roo(&["import", "app.json", "/app"]);
    said.refused(1, "nothing was imported: /app exist and are different");
    assert_eq!(stage.good(&["ls", "/app"]).out, "[]\n");
    let said = stage.good(&["import", "--dry-run", "--overwrite", "app.json", "/app"]);
    assert_eq!(said.out, "set /app (3 bytes)\ncreate /app/a (1 bytes)\n");
    assert_eq!(stage.good(&["get", "/app"]).out, "old\n");
    stage.good(&["import", "--merge", "app.json", "/app"]);
    assert_eq!(stage.good(&["get", "/app"]).out, "old\n");
    assert_eq!(stage.good(&["get", "/app/a"]).out, "1\n");
    stage.good(&["import", "--overwrite", "app.json", "/app"]);
    assert_eq!(stage.good(&["get", "/app"]).out, "new\n");
}

#[test]
fn an_import_larger_than_a_transaction_stops_where_it_must_and_says_so() {
    let stage = Stage::new("");
    let data = "x".repeat(400_000);
    let nodes: Vec<String> = (0..6)
        .map(|n| format!("{{\"path\":\"n{n}\",\"kind\":\"persistent\",\"text\":\"{data}\",\"acl\":[\"world:anyone:cdrwa\"]}}"))
        .collect();
    let text = |acl: &str| {
        let top = "{\"path\":\"\",\"kind\":\"persistent\",\"acl\":[\"world:anyone:cdrwa\"]}";
        let last = format!("{{\"path\":\"z\",\"kind\":\"persistent\",\"acl\":[\"{acl}\"]}}");
        let nodes = nodes.join(",");
        format!("{{\"roo_export\": 1, \"nodes\": [{top},{nodes},{last}]}}")
    };
    fs::write(stage.path().join("bad.json"), text("nobody:knows:r")).unwrap();
    let said = stage.roo(&["import", "bad.json", "/big"]);
    said.refused(5, "of 8 changes were made, then: Acl is not valid : /big/z");
    fs::write(stage.path().join("good.json"), text("world:anyone:r")).unwrap();
    stage.good(&["import", "good.json", "/big"]);
    assert_eq!(stage.good(&["getAllChildrenNumber", "/big"]).out, "7\n");
    let said = stage.roo(&["mv", "/big", "/moved"]);
    said.refused(1, "too large for one transaction");
    assert_eq!(stage.good(&["ls", "/"]).out, "[big, zookeeper]\n");
}

#[test]
fn a_subtree_is_copied_and_moved_in_one_piece() {
    let stage = Stage::new("extendedTypesEnabled=true\n");
    plant(&stage);
    let before = listing(&stage, "/app");
    let said = stage.roo(&["cp", "/app", "/copy"]);
    said.refused(1, "/app has children: copy them too with -r");
    let said = stage.roo(&["cp", "-r", "/app", "/copy"]);
    said.refused(1, "the ACL of /app/config/secret hides a digest");
    stage.good(&["--auth", "digest:u:p", "cp", "-r", "/app", "/copy"]);
    assert_eq!(listing(&stage, "/copy"), before);
    let said = stage.roo(&["--auth", "digest:u:p", "cp", "-r", "/app", "/copy"]);
    said.refused(1, "Node already exists: /copy");
    let said = stage.roo(&["mv", "/app", "/app/inside"]);
    said.refused(1, "/app/inside lies in /app itself");
    let said = stage.roo(&["--auth", "digest:u:p", "mv", "/app", "/no/parent"]);
    said.refused(1, "Node does not exist: /no/parent");
    stage.good(&["--auth", "digest:u:p", "mv", "/app", "/moved"]);
    assert_eq!(listing(&stage, "/moved"), before);
    assert_eq!(stage.good(&["ls", "/"]).out, "[copy, moved, zookeeper]\n");
}

#[test]
fn nodes_are_drawn_found_and_summed_up() {
    let stage = Stage::new("");
    stage.good(&["create", "/a", "12345"]);
    stage.good(&["create", "/a/b", "123"]);
    stage.good(&["create", "/a/b/c.tmp"]);
    stage.good(&["create", "/a/d"]);
    assert_eq!(
        stage.good(&["tree", "/a"]).out,
        "/a\n\u{251c}\u{2500}\u{2500} b\n\u{2502}   \u{2514}\u{2500}\u{2500} c.tmp\n\
         \u{2514}\u{2500}\u{2500} d\n\n4 nodes\n"
    );
    let shallow = stage.good(&["tree", "--depth", "1", "/a"]).out;
    assert!(!shallow.contains("c.tmp"), "{shallow}");
    assert_eq!(
        stage.good(&["find", "/", "--name", "*.tmp"]).out,
        "/a/b/c.tmp\n"
    );
    assert_eq!(stage.good(&["find", "/a", "--larger", "3"]).out, "/a\n");
    assert_eq!(stage.good(&["find", "/a", "--older", "1d"]).out, "");
    assert_eq!(
        stage
            .good(&["find", "/a", "--newer", "1d", "--childless"])
            .out,
        "/a/b/c.tmp\n/a/d\n"
    );
    assert_eq!(stage.good(&["find", "/", "--ephemeral"]).out, "");
    let sums = stage.good(&["du", "--bytes", "/a"]).out;
    let rows: Vec<Vec<&str>> = sums
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["8", "4", "nodes", "/a"]);
    assert_eq!(rows[1], ["3", "2", "nodes", "/a/b"]);
}
