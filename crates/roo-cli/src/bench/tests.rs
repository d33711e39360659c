//! The generator against its own null server, and its encoding against written-out frames.

use super::null_server::{Answers, NullServer};
use super::wire::{Deframer, Head, Mode, Template, Watch, op};
use super::*;

fn null_server() -> String {
    let answers = Answers {
        value_size: 100,
        children: 10,
        multi_ops: 2,
    };
    let server = NullServer::bind(SocketAddr::from(([127, 0, 0, 1], 0)), answers).unwrap();
    let address = server.local_addr().unwrap().to_string();
    std::thread::spawn(|| server.serve());
    address
}

fn args(server: &str, options: &[&str]) -> BenchArgs {
    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        bench: BenchArgs,
    }
    let fixed = ["bench", "-s", server, "-c", "3", "-d", "4"];
    let words = fixed.iter().chain(options);
    <Command as clap::Parser>::try_parse_from(words)
        .unwrap()
        .bench
}

fn measure(workload: Workload, options: &[&str]) -> Report {
    let bench = Bench::new(args(&null_server(), options)).unwrap();
    bench.measure(workload).unwrap()
}

#[test]
fn a_create_is_encoded_as_every_client_does() {
    let frame = Template::create("/a#", b"xy", Mode::Ephemeral).frame(7, &[0x1234_abcd]);
    let expected = [
        &[0, 0, 0, 59, 0, 0, 0, 7, 0, 0, 0, 1][..],
        &[0, 0, 0, 10],
        b"/a1234abcd",
        &[0, 0, 0, 2],
        b"xy",
        &[0, 0, 0, 1, 0, 0, 0, 31, 0, 0, 0, 5],
        b"world",
        &[0, 0, 0, 6],
        b"anyone",
        &[0, 0, 0, 1],
    ]
    .concat();
    assert_eq!(frame, expected);
}

#[test]
fn a_multi_ends_with_its_mark() {
    let frame = Template::new(op::MULTI)
        .multi_check("/a#/b#")
        .multi_end()
        .frame(1, &[1, 2]);
    let expected = [
        &[0, 0, 0, 54, 0, 0, 0, 1, 0, 0, 0, 14][..],
        &[0, 0, 0, 13, 0, 255, 255, 255, 255],
        &[0, 0, 0, 20],
        b"/a00000001/b00000002",
        &[255, 255, 255, 255],
        &[255, 255, 255, 255, 1, 255, 255, 255, 255],
    ]
    .concat();
    assert_eq!(frame, expected);
}

#[test]
fn replies_are_found_however_the_stream_is_cut() {
    let reply = |xid: i32, err: i32, body: &[u8]| -> Vec<u8> {
        let len = i32::try_from(16 + body.len()).unwrap();
        [
            &len.to_be_bytes()[..],
            &xid.to_be_bytes(),
            &[0; 8],
            &err.to_be_bytes(),
            body,
        ]
        .concat()
    };
    let stream = [
        reply(1, 0, &[]),
        reply(2, -101, &[]),
        reply(3, 0, &[255; 50]),
    ]
    .concat();
    let heads_of = |chunk: usize| -> Vec<Head> {
        let mut deframer = Deframer::default();
        let mut heads = Vec::new();
        for bytes in stream.chunks(chunk) {
            deframer
                .feed(bytes, |head| {
                    heads.push(head);
                    Ok(())
                })
                .unwrap();
        }
        heads
    };
    let whole = heads_of(stream.len());
    let seen: Vec<_> = whole
        .iter()
        .map(|h| (h.xid, h.err, h.first_body_word, h.bytes))
        .collect();
    assert_eq!(
        seen,
        [(1, 0, None, 20), (2, -101, None, 20), (3, 0, Some(-1), 70)]
    );
    for chunk in 1..stream.len() {
        assert_eq!(heads_of(chunk), whole, "in pieces of {chunk}");
    }
}

#[test]
fn a_frame_too_short_for_a_reply_is_refused() {
    let mut deframer = Deframer::default();
    assert!(deframer.feed(&[0, 0, 0, 3, 1, 2, 3], |_| Ok(())).is_err());
    let mut deframer = Deframer::default();
    assert!(deframer.feed(&[255, 255, 255, 255, 1], |_| Ok(())).is_err());
}

#[test]
fn every_stream_sends_exactly_the_requests_asked_for() {
    use clap::ValueEnum as _;
    for &workload in Workload::value_variants() {
        if matches!(
            workload,
            Workload::Sessions | Workload::WatchFanout | Workload::Watches
        ) {
            continue;
        }
        let report = measure(workload, &["-n", "1000", "--keys", "10"]);
        assert_eq!(report.requests, 1000, "{workload:?}");
        assert!(
            report.errors.is_empty(),
            "{workload:?}: {:?}",
            report.errors
        );
    }
}

#[test]
fn two_threads_share_the_requests() {
    let report = measure(Workload::Read90, &["-n", "1001", "--threads", "2"]);
    assert_eq!(report.requests, 1001);
    assert!(report.reads.is_some() && report.writes.is_some());
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let report = measure(
        Workload::Read,
        &["-t", "0.5", "--warm-up", "0.1", "--rate", "200"],
    );
    assert!(
        (90..=110).contains(&report.requests),
        "{} requests",
        report.requests
    );
}

#[test]
fn a_server_process_is_measured() {
    let pid = std::process::id().to_string();
    let report = measure(Workload::Fill, &["-n", "2000", "--server-pid", &pid]);
    assert!(report.server.unwrap().rss_bytes > 0);
    assert!(report.extra.contains_key("rss_bytes_per_znode"));
    serde_json::to_string(&report).unwrap();
}

#[test]
fn every_connection_watches_every_key_once() {
    let report = measure(Workload::Watches, &["--keys", "20", "--threads", "2"]);
    assert_eq!(report.requests, 60);
}

#[test]
fn what_fill_leaves_is_numbered_without_gaps() {
    let paths = |workload: Workload, flat: bool| -> Vec<String> {
        let plan = Plan::new(Shape {
            workload,
            root: "/r".to_owned(),
            connections: 2,
            keys: 1,
            children: 0,
            value_size: 0,
            multi_ops: 1,
            flat,
            first: 7,
        });
        let mut sources = [Source::new(&plan, 0), Source::new(&plan, 1)];
        let path = |source: &mut Source<'_>| {
            let mut frame = Vec::new();
            source.push_next(&mut frame, 1);
            let len = usize::try_from(wire::word_at(&frame, 12)).unwrap();
            String::from_utf8(frame[16..16 + len].to_vec()).unwrap()
        };
        // The second connection is twice as fast.
        [0, 1, 1].map(|turn| path(&mut sources[turn])).to_vec()
    };
    let below = [
        "/r/c00000001/n00000007",
        "/r/c00000000/n00000008",
        "/r/c00000001/n00000009",
    ];
    assert_eq!(paths(Workload::Fill, false), below);
    assert_eq!(paths(Workload::Drain, false), below);
    assert_eq!(paths(Workload::Fill, true)[0], "/r/l/n00000001-00000007");
}

#[test]
fn latency_over_time_is_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("latency.svg");
    let options = ["-n", "500", "--svg", file.to_str().unwrap()];
    let bench = Bench::new(args(&null_server(), &options)).unwrap();
    let report = bench.measure(Workload::Read).unwrap();
    bench.draw(&file, &report).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("read, 3 connections x depth 4"), "{text}");
}

#[test]
fn connections_leave_from_the_addresses_that_are_given() {
    let report = measure(
        Workload::Read,
        &["-n", "100", "--from", "127.0.0.2,127.0.0.3"],
    );
    assert_eq!(report.requests, 100);
}

#[test]
fn sessions_are_opened_held_and_closed() {
    let report = measure(Workload::Sessions, &["-n", "100", "-t", "0.1"]);
    assert_eq!(report.requests, 100);
}

#[test]
fn watch_events_are_told_from_replies() {
    let event = [&[0, 0, 0, 20][..], &[255; 4], &[0; 16]].concat();
    let mut seen = None;
    Deframer::default()
        .feed(&event, |head| {
            seen = Some(head.xid);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, Some(wire::EVENT_XID));
    let read = Template::read(op::EXISTS, "/a", Watch::Yes).frame(1, &[]);
    assert_eq!(read.last(), Some(&1));
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let bench = Bench::new(args(&free.to_string(), &[])).unwrap();
    let error = format!("{:#}", bench.measure(Workload::Read).unwrap_err());
    assert!(error.contains(&free.to_string()), "{error}");
}
