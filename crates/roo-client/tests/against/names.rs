//! `dns-srv://name`, with a name server of the test's own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use roo_client::{Client, ErrorKind, NodeKind, Options, Result, SessionState};

use crate::server::{Relay, Server, Way, soon};

const A: u16 = 1;
const SRV: u16 = 33;
const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

/// What the name server says of `_zk._tcp.test`.
#[derive(Clone, Debug)]
enum Answer {
    /// Priority, port and target of each record.
    Records(Vec<(u16, u16, &'static str)>),
    /// No record, with this code.
    Code(u8),
    /// Bytes that are none of the protocol.
    Garbage,
    Silence,
}

/// A name server. It knows of one host, `here.test`, which is this one.
struct NameServer {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
}

impl NameServer {
    fn start(answer: Answer) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer));
        let shared = Arc::clone(&answer);
        // It ends with the test's process.
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((size, from)) = socket.recv_from(&mut question) {
                let answer = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(reply) = reply(&question[..size], &answer) {
                    socket.send_to(&reply, from).unwrap();
                }
            }
        });
        Self { address, answer }
    }

    fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn options(&self) -> Options {
        Options {
            name_server: Some(self.address),
            first_connection_wait: Duration::from_secs(20),
            ..Options::default()
        }
    }

    /// What a client says that gives up soon.
    async fn refusal(&self) -> String {
        let options = Options {
            connect_timeout: Duration::from_millis(300),
            first_connection_wait: Duration::from_millis(400),
            ..self.options()
        };
        let error = connect(options).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unreachable(_)), "{error}");
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    }
}

async fn connect(options: Options) -> Result<Client> {
    soon(Client::connect("dns-srv://_zk._tcp.test", options)).await
}

/// A reply of RFC 1035: the head of the question, the question, and the records.
fn reply(question: &[u8], answer: &Answer) -> Option<Vec<u8>> {
    let end = 12 + question.get(12..)?.iter().position(|byte| *byte == 0)? + 1;
    let kind = u16::from_be_bytes([*question.get(end)?, *question.get(end + 1)?]);
    let asked = question.get(12..end + 4)?;
    let is_here = asked.starts_with(b"\x04here\x04test\x00");
    let (code, records) = match answer {
        _ if kind == A && is_here => (NO_ERROR, vec![vec![127, 0, 0, 1]]),
        _ if kind != SRV => (NO_SUCH_NAME, Vec::new()),
        Answer::Records(list) => (NO_ERROR, list.iter().map(record).collect()),
        Answer::Code(code) => (*code, Vec::new()),
        Answer::Garbage => return Some(b"\xff\xfe this is no reply".to_vec()),
        Answer::Silence => return None,
    };
    let count = u8::try_from(records.len()).unwrap();
    let mut reply = question[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    reply.extend(asked);
    for record in records {
        // The name of the question, of its kind, of the internet, for a minute.
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 60]);
        reply.extend(u16::try_from(record.len()).unwrap().to_be_bytes());
        reply.extend(record);
    }
    Some(reply)
}

fn record((priority, port, target): &(u16, u16, &str)) -> Vec<u8> {
    let mut bytes = priority.to_be_bytes().to_vec();
    bytes.extend(1_u16.to_be_bytes());
    bytes.extend(port.to_be_bytes());
    for label in target.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

#[tokio::test]
async fn servers_are_found_by_their_records_the_best_priority_first() {
    let (server, spare) = (Server::start(), Server::start());
    let main = Relay::start(server.address).await;
    let names = NameServer::start(Answer::Records(vec![
        (20, spare.address.port(), "here.test."),
        (10, main.address.port(), "here.test."),
    ]));
    for seed in 0..8 {
        let seed = Some(seed);
        let client = connect(Options {
            seed,
            ..names.options()
        });
        let client = client.await.unwrap();
        assert_eq!(client.server(), Some(main.address));
    }
    main.set(Way::Cut);
    let client = connect(names.options()).await.unwrap();
    assert_eq!(client.server(), Some(spare.address));
}

#[tokio::test]
async fn records_are_asked_for_again_when_a_connection_is_lost() {
    let server = Server::start();
    let (old, new) = (
        Relay::start(server.address).await,
        Relay::start(server.address).await,
    );
    let at = |relay: &Relay| Answer::Records(vec![(1, relay.address.port(), "here.test.")]);
    let names = NameServer::start(at(&old));
    let client = connect(names.options()).await.unwrap();
    client
        .create("/mine", "", NodeKind::Ephemeral)
        .await
        .unwrap();
    let mut states = client.session_events();
    names.set(at(&new));
    old.set(Way::Cut);
    assert_eq!(soon(states.next()).await, Some(SessionState::Disconnected));
    assert_eq!(soon(states.next()).await, Some(SessionState::Connected));
    assert_eq!(client.server(), Some(new.address));
    let node = client.get("/mine").await.unwrap();
    assert_eq!(node.stat.ephemeral_owner, client.session_id().0);
}

#[tokio::test]
async fn a_target_without_an_address_does_not_stand_against_the_others() {
    let server = Server::start();
    let port = server.address.port();
    let names = NameServer::start(Answer::Records(vec![
        (1, port, "nowhere.test."),
        (2, port, "here.test."),
    ]));
    assert!(connect(names.options()).await.is_ok());
    names.set(Answer::Records(vec![(1, 2181, "nowhere.test.")]));
    let said = names.refusal().await;
    assert!(said.contains("nowhere.test:2181: has no address"), "{said}");
}

#[tokio::test]
async fn what_a_name_server_says_instead_of_records_is_told() {
    let names = NameServer::start(Answer::Silence);
    for (answer, line) in [
        (Answer::Silence, "no name server answers"),
        (Answer::Garbage, "no name server answers"),
        (Answer::Code(NO_SUCH_NAME), "there is no such name"),
        (Answer::Code(NO_ERROR), "the name has none"),
        (
            Answer::Code(SERVER_FAILURE),
            "DNS error: error response: Server Failure",
        ),
        // As RFC 2782 says that there is no such service.
        (Answer::Records(vec![(0, 0, ".")]), "the name has none"),
    ] {
        names.set(answer.clone());
        let said = names.refusal().await;
        let line = format!("SRV records of _zk._tcp.test: {line}");
        assert!(said.contains(&line), "{answer:?}: {said}");
    }
}

#[tokio::test]
async fn no_name_server_at_all_is_told() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let names = NameServer {
        address: socket.local_addr().unwrap(),
        answer: Arc::new(Mutex::new(Answer::Silence)),
    };
    drop(socket);
    let said = names.refusal().await;
    assert!(said.contains("SRV records of _zk._tcp.test: "), "{said}");
}
