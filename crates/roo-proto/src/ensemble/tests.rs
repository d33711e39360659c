use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use proptest::collection::{btree_map, btree_set, vec as vec_of};
use proptest::option;
use proptest::prelude::*;

use super::reconfig::{Refusal, Standing, plan};
use super::*;
use crate::error_code::ErrorCode;
use crate::ids::Zxid;
use crate::request::Reconfig;

const THREE: &str = "server.1=10.0.0.1:2888:3888:participant;0.0.0.0:2181\n\
                     server.2=10.0.0.2:2888:3888:participant;0.0.0.0:2181\n\
                     server.3=10.0.0.3:2888:3888:participant;0.0.0.0:2181\nversion=100000004";

fn parse(text: &str) -> Ensemble {
    Ensemble::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    Ensemble::parse(text).unwrap_err().to_string()
}

#[test]
fn every_text_of_genuine_servers_comes_back_to_the_byte() {
    let texts = include_str!("../../testdata/ensembles.txt").trim_end();
    for text in texts.split("\n\n") {
        assert_eq!(parse(text).to_text(), text);
    }
    assert_eq!(texts.split("\n\n").count(), 11);
}

#[test]
fn short_forms_are_written_in_full() {
    let cases = [
        ("a:1:2", "a:1:2:participant"),
        ("a:1:2:Observer", "a:1:2:observer"),
        ("a:1:2;2181", "a:1:2:participant;0.0.0.0:2181"),
        ("a:1:2:participant;b:5;", "a:1:2:participant;b:5"),
        ("a:1", "a:1:participant"),
        ("a:1:observer;5", "a:1:observer;0.0.0.0:5"),
        ("b:1:2|a:3:4|b:1:2", "a:3:4|b:1:2:participant"),
        ("b:1:2|a:3:4:observer", "a:3:4|b:1:2:observer"),
        (
            "[::1]:1:2;[fe80::A%eth0]:3",
            "[0:0:0:0:0:0:0:1]:1:2:participant;[fe80:0:0:0:0:0:0:a%eth0]:3",
        ),
        ("[::ffff:10.1.2.3]:1:2", "10.1.2.3:1:2:participant"),
        ("[10.1.2.3]:1:2", "10.1.2.3:1:2:participant"),
    ];
    for (text, expected) in cases {
        let member = parse_member(text).unwrap();
        assert_eq!(member.to_string(), expected, "{text}");
        assert_eq!(parse_member(expected).unwrap(), member, "{text}");
    }
}

#[test]
fn a_text_is_read_as_properties() {
    let text = "# ours\nserver.2 : b\\:1\\:2\n  server.1 a:1:2\nversion = ff\n";
    let expected = "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nversion=ff";
    assert_eq!(parse(text).to_text(), expected);
    assert_eq!(parse("server.1=a:1:2").version, 0);
}

#[test]
fn errors_name_the_key_and_what_was_expected() {
    let form = "expected host:peerPort:electionPort[:participant|observer]\
                [;[clientHost:]clientPort], more addresses behind |, IPv6 in brackets";
    let cases = [
        ("server.1=a", format!("server.1=a: {form}")),
        ("server.1=a:1:2:participant:5", format!("server.1=a:1:2:participant:5: {form}")),
        ("server.1=[::1:2:3", format!("server.1=[::1:2:3: {form}")),
        (
            "server.1=::1:2:3",
            "server.1=::1:2:3: expected a host name or address in front of the ports, IPv6 in brackets".into(),
        ),
        (
            "server.1=[1:2]:1:2",
            "server.1=[1:2]:1:2: expected an IPv6 address between the brackets".into(),
        ),
        (
            "server.1=a:1:1",
            "server.1=a:1:1: expected an election port that is not the peer port".into(),
        ),
        (
            "server.1=a:1:2:leader",
            "server.1=a:1:2:leader: expected the role participant or observer behind the ports".into(),
        ),
        (
            "server.1=a:1:2:observer|b:1:2:participant",
            "server.1=a:1:2:observer|b:1:2:participant: expected the same role behind every address of a server".into(),
        ),
        (
            "server.1=a:70000:2",
            "server.1=a:70000:2: expected a peer port, 1 to 65535, not \"70000\"".into(),
        ),
        (
            "server.1=a:1:2;x",
            "server.1=a:1:2;x: expected a client port, 0 to 65535, not \"x\"".into(),
        ),
        (
            "server.1=a:1:2;3;4",
            "server.1=a:1:2;3;4: expected no secure client port behind a second semicolon: TLS for clients is not supported".into(),
        ),
        (
            "server.x=a:1:2",
            "server.x=a:1:2: expected a whole number behind the dot of the key".into(),
        ),
        (
            "server.1=a:1:2\nserver.01=b:1:2",
            "server.01=b:1:2: expected each server once".into(),
        ),
        (
            "servers=a",
            "servers=a: expected server.N, group.G, weight.N or version as the key".into(),
        ),
        (
            "server.1=a:1:2\nversion=0x5",
            "version=0x5: expected a hexadecimal number without 0x".into(),
        ),
        ("version=0", "server.N: expected at least one participant".into()),
        (
            "server.1=a:1:2:observer",
            "server.N: expected at least one participant".into(),
        ),
        ("a=\\uZ", "line 1: expected four hexadecimal digits behind \\u".into()),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn groups_hold_each_participant_once() {
    let servers = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\n";
    let with = |lines: &str| format!("{servers}{lines}");
    let text = with("group.7=2:1\nweight.2=3\nversion=a");
    let full = "server.1=a:1:2:participant\nserver.2=b:1:2:participant\n\
                server.3=c:1:2:observer\ngroup.7=1:2\nweight.1=1\nweight.2=3\nversion=a";
    assert_eq!(parse(&text).to_text(), full);
    let sorted = "group.7=1:2\nserver.1=a:1:2:participant\nserver.2=b:1:2:participant\n\
                  server.3=c:1:2:observer\nweight.1=1\nweight.2=3";
    assert_eq!(parse(&text).dynamic_file_text(), sorted);
    let cases = [
        ("group.1=1", "server.2: expected a group.G that names it"),
        ("weight.1=1", "server.1: expected a group.G that names it"),
        (
            "group.1=1:2\ngroup.2=2",
            "group.2=2: expected each server in one group: 2 is in group.1 already",
        ),
        (
            "group.1=1:2:3",
            "group.1: expected participants only: server.3 is none",
        ),
        (
            "group.1=1:2:9",
            "group.1: expected participants only: server.9 is none",
        ),
        (
            "group.1=1,2",
            "group.1=1,2: expected ids of servers with colons between them",
        ),
        (
            "group.1=1:2\nweight.1=0\nweight.2=0",
            "weight.N: expected a participant that weighs more than 0",
        ),
        (
            "group.1=1:2\nweight.1=-1",
            "weight.1=-1: expected a whole number from 0 on",
        ),
        (
            "group.1=1:2\nweight.1=9223372036854775807",
            "weight.N: expected weights that add up to less than 2^63",
        ),
    ];
    for (lines, expected) in cases {
        assert_eq!(error(&with(lines)), expected);
    }
}

#[test]
fn files_have_sorted_lines_and_the_next_one_its_version() {
    let text = "server.10=a:1:2\nserver.2=b:1:2\nserver.16=c:1:2\nversion=1f";
    let ensemble = parse(text);
    let lines =
        "server.10=a:1:2:participant\nserver.16=c:1:2:participant\nserver.2=b:1:2:participant";
    assert_eq!(ensemble.dynamic_file_text(), lines);
    assert_eq!(ensemble.next_file_text(), format!("{lines}\nversion=1f"));
    // 16 shares its table's first bucket with 0.
    let order = "server.16=c:1:2:participant\nserver.2=b:1:2:participant\n\
                 server.10=a:1:2:participant\nversion=1f";
    assert_eq!(ensemble.to_text(), order);
}

#[test]
fn versions_are_unsigned_hexadecimal() {
    assert_eq!(text_version(0), "0");
    assert_eq!(text_version(-1), "ffffffffffffffff");
    assert_eq!(parse_text_version("ffffffffffffffff"), Some(-1));
    assert_eq!(parse_text_version("1ffffffffffffffff"), None);
    assert_eq!(parse_text_version("+1"), None);
    assert_eq!(parse_text_version(""), None);
}

#[test]
fn sameness_is_javas() {
    let same = |a: &str, b: &str| parse(a).same_as(&parse(b));
    let versions = |a: &str, b: &str| {
        (
            same(&format!("{a}\nversion=1"), &format!("{b}\nversion=1")),
            same(&format!("{a}\nversion=1"), &format!("{b}\nversion=2")),
        )
    };
    let one = "server.1=a:1:2;3";
    assert_eq!(versions(one, "server.1=A:1:2;3"), (true, true));
    for other in ["server.1=a:1:2;4", "server.1=a:1:2", "server.2=a:1:2;3"] {
        assert_eq!(versions(one, other), (true, false), "{other}");
    }
    // Pairs that are crossed are the same two sets.
    let straight = "server.1=a:1:2|a:3:4";
    assert_eq!(versions(straight, "server.1=a:3:2|a:1:4"), (true, true));
    let groups = "server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1\ngroup.2=2";
    let heavy = format!("{groups}\nweight.1=2");
    assert_eq!(
        versions(groups, &format!("{groups}\nweight.1=1")),
        (true, true)
    );
    assert_eq!(versions(groups, &heavy), (true, false));
    assert_eq!(
        versions("server.1=a:1:2", "server.1=a:1:2\ngroup.1=1"),
        (false, false)
    );
}

fn request<'a>(joining: &'a str, leaving: &'a str) -> Reconfig<'a> {
    Reconfig {
        joining_servers: Some(joining.into()),
        leaving_servers: Some(leaving.into()),
        new_members: None,
        config_id: -1,
    }
}

fn replacing(members: &str) -> Reconfig<'_> {
    Reconfig {
        joining_servers: Some("nonsense".into()),
        leaving_servers: None,
        new_members: Some(members.into()),
        config_id: -1,
    }
}

fn planned(request: &Reconfig<'_>, text: &str, fewest_voters: usize) -> Result<Ensemble, Refusal> {
    let ensemble = parse(text);
    let standing = Standing {
        committed: &ensemble,
        last_seen: &ensemble,
        fewest_voters,
    };
    plan(request, &standing, Zxid(0x1_0000_0009))
}

#[test]
fn servers_leave_join_and_change() {
    let request = request(
        "server.4=10.0.0.4:2888:3888:observer;2181, 2=10.0.0.9:2888:3888;2181",
        " 1,,7",
    );
    let next = planned(&request, THREE, 2).unwrap();
    let expected = "server.2=10.0.0.9:2888:3888:participant;0.0.0.0:2181\n\
                    server.3=10.0.0.3:2888:3888:participant;0.0.0.0:2181\n\
                    server.4=10.0.0.4:2888:3888:observer;0.0.0.0:2181\nversion=100000009";
    assert_eq!(next.to_text(), expected);
}

#[test]
fn a_new_list_replaces_the_old_one() {
    let members = "server.5=a:1:2;3,server.6: b:1:2\nserver.7=c:1:2:observer\ngroup.1=5\\:6";
    let next = planned(&replacing(members), THREE, 2).unwrap();
    let expected = "server.5=a:1:2:participant;0.0.0.0:3\nserver.6=b:1:2:participant\n\
                    server.7=c:1:2:observer\ngroup.1=5:6\nweight.5=1\nweight.6=1\n\
                    version=100000009";
    assert_eq!(next.to_text(), expected);
}

#[test]
fn refusals_come_in_javas_order() {
    let committed = parse(THREE);
    let mut under_way = committed.clone();
    under_way.version += 1;
    let all_wrong = Reconfig {
        config_id: 5,
        ..request("nonsense", "1,2,3")
    };
    let standing = |last_seen| Standing {
        committed: &committed,
        last_seen,
        fewest_voters: 2,
    };
    let code = |request, last_seen| {
        plan(&request, &standing(last_seen), Zxid(1))
            .unwrap_err()
            .code
    };
    let in_progress = code(all_wrong.clone(), &under_way);
    assert_eq!(in_progress, ErrorCode::RECONFIG_IN_PROGRESS);
    assert_eq!(code(all_wrong.clone(), &committed), ErrorCode::BAD_VERSION);
    let known = Reconfig {
        config_id: committed.version,
        ..all_wrong
    };
    assert_eq!(code(known, &committed), ErrorCode::BAD_ARGUMENTS);
}

#[test]
fn strings_that_cannot_be_meant_are_refused() {
    let (form, value) = (ErrorCode::BAD_ARGUMENTS, ErrorCode::MARSHALLING_ERROR);
    let changes = [
        ("server.4", "", form),
        ("server.4=a=b", "", form),
        ("server.4=a:1:2", "", form),
        ("server.4=a:1:1;5", "", form),
        ("server.four=a:1:2;5", "", value),
        ("server.4=a:99999:2;5", "", value),
        ("", "one", value),
        ("", "1,2", form),
        ("server.4=10.0.0.1:9:3888;5", "", form),
        ("server.4=a:1:2;5,server.5=A:2:6;7", "", form),
    ];
    for (joining, leaving, code) in changes {
        let refused = planned(&request(joining, leaving), THREE, 2).unwrap_err();
        assert_eq!(refused.code, code, "{joining} {leaving}: {}", refused.why);
    }
    let lists = [
        ("", form),
        ("server.1=a:1:2", form),
        ("server.1=a:1:2,server.2=b:1:2:observer", value),
        ("server.1=a:1:2:observer", value),
        ("server.1=a:1:2,tickTime=5", form),
        ("server.1=a:1:2,server.2=\\uX", value),
    ];
    for (members, code) in lists {
        let refused = planned(&replacing(members), THREE, 2).unwrap_err();
        assert_eq!(refused.code, code, "{members}: {}", refused.why);
    }
}

#[test]
fn one_voter_is_enough_where_nobody_serves_alone() {
    let alone = "server.1=a:1:2,server.2=b:1:2:observer";
    assert_eq!(
        planned(&replacing(alone), THREE, 1).unwrap().members.len(),
        2
    );
    assert!(planned(&request("", "1,2"), THREE, 1).is_ok());
    let nobody = planned(&request("", "1,2,3"), THREE, 1).unwrap_err();
    assert_eq!(nobody.code, ErrorCode::BAD_ARGUMENTS);
}

#[test]
fn loopback_and_wildcards_may_be_shared_and_servers_move_onto_themselves() {
    let local = "server.1=127.0.0.1:1:2;3\nserver.2=localhost:1:2;3";
    assert!(planned(&request("server.3=127.0.0.1:1:2;3", ""), local, 2).is_ok());
    let again = "server.1=10.0.0.1:2888:3888:observer;2181";
    assert!(planned(&request(again, ""), THREE, 2).is_ok());
    let grouped = "server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2";
    let refused = planned(&request("server.3=c:1:2;3", ""), grouped, 2).unwrap_err();
    assert_eq!(refused.code, ErrorCode::BAD_ARGUMENTS);
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9][a-z0-9._-]{0,8}",
        any::<[u16; 8]>().prop_map(|groups| groups.map(|g| format!("{g:x}")).join(":")),
    ]
}

fn member() -> impl Strategy<Value = Member> {
    let address = (host(), 1..u16::MAX, option::of(1..u16::MAX)).prop_filter_map(
        "ports differ",
        |(host, peer_port, election_port)| {
            (election_port != Some(peer_port)).then_some(PeerAddress {
                host,
                peer_port,
                election_port,
            })
        },
    );
    let role = prop_oneof![Just(MemberRole::Voter), Just(MemberRole::Observer)];
    let client =
        option::of((host(), any::<u16>()).prop_map(|(host, port)| ClientAddress { host, port }));
    (vec_of(address, 1..3), role, client).prop_map(|(addresses, role, client)| Member {
        addresses,
        role,
        client,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        members in btree_map(any::<i64>().prop_map(ServerId), member(), 1..6),
        version: i64,
        grouped: bool,
    ) {
        let mut ensemble = Ensemble { version, members, voting: Voting::Majority };
        prop_assume!(ensemble.voters().count() > 0);
        if grouped {
            let voters: BTreeSet<ServerId> = ensemble.voters().collect();
            let weights = voters.iter().map(|id| (*id, 2)).collect();
            ensemble.voting = Voting::Hierarchical {
                groups: BTreeMap::from([(-3, voters)]),
                weights,
            };
        }
        let read = Ensemble::parse(&ensemble.to_text()).unwrap();
        prop_assert_eq!(&read.to_text(), &ensemble.to_text());
        prop_assert_eq!(&Ensemble::parse(&read.to_text()).unwrap(), &read);
        prop_assert_eq!(&Ensemble::parse(&ensemble.next_file_text()).unwrap(), &read);
        let without_version = Ensemble { version: 0, ..read.clone() };
        prop_assert_eq!(Ensemble::parse(&read.dynamic_file_text()).unwrap(), without_version);
        let other_version = Ensemble { version: version ^ 1, ..ensemble };
        prop_assert!(read.same_as(&other_version));
    }

    #[test]
    fn no_text_panics(text: String, member: String) {
        let _ = Ensemble::parse(&text);
        let _ = parse_member(&member);
    }

    #[test]
    fn no_line_like_text_panics(
        lines in vec_of("(server|group|weight|version)[.=][0-9]{0,2}=[a:;|\\[\\]0-9%=,\\\\-]{0,12}", 0..5),
        ids in btree_set("[0-9a,=.:;]{0,12}", 0..3),
    ) {
        let text = lines.join("\n");
        let _ = Ensemble::parse(&text);
        let joined: Vec<String> = ids.into_iter().collect();
        let _ = planned(&request(&text, &joined.join(",")), THREE, 2);
        let _ = planned(&replacing(&text), THREE, 1);
    }
}

#[test]
fn the_order_of_a_hash_map_is_that_of_its_buckets() {
    let ids = |text: &str| -> Vec<i64> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("server."));
        lines
            .map(|line| line.split('=').next().unwrap().parse().unwrap())
            .collect()
    };
    let ordered = |keys: &[i64]| {
        let lines: Vec<String> = keys.iter().map(|id| format!("server.{id}=a:1:2")).collect();
        ids(&parse(&lines.join("\n")).to_text())
    };
    assert_eq!(ordered(&[1, 2, 17, 33, -1]), vec![-1, 1, 17, 33, 2]);
    let thirteen: Vec<i64> = (4..17).collect();
    assert_eq!(ordered(&thirteen), thirteen);
    assert_eq!(ordered(&[16, 3, 1 << 32]), vec![16, 1 << 32, 3]);
}
