//! What the two servers are asked to do, as values that can be printed, kept and replayed.

use std::fmt;

/// A request without its xid: operation and body.
pub type Sent = (i32, Vec<u8>);

/// How a client comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reopen {
    /// While the older connection is still open.
    Resume,
    /// After the older connection is gone.
    Dropped,
    OldClient,
    WrongPassword,
    ShortPassword,
    Ahead,
    /// With a new session that asks for this timeout, ms.
    Fresh(i32),
    Unknown,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Step {
    /// Requests of one client, sent at once.
    /// `ends`: the server must close the connection.
    Requests {
        client: usize,
        requests: Vec<Sent>,
        ends: bool,
    },
    Reopen {
        client: usize,
        how: Reopen,
    },
    /// A session of the shortest timeout sends requests and is heard of no more.
    Expire {
        requests: Vec<Sent>,
    },
    /// Both servers have collected these paths; then the trees at and below `top` are compared.
    Settle {
        top: String,
        gone: Vec<String>,
    },
}

impl Step {
    /// The same with less in it, the smallest first; for whoever looks for the least that shows a
    /// difference.
    #[must_use]
    pub fn simpler(&self) -> Vec<Self> {
        let without_one = |requests: &Vec<Sent>| -> Vec<Vec<Sent>> {
            let halves = (requests.len() > 3).then(|| {
                let (left, right) = requests.split_at(requests.len() / 2);
                [right.to_vec(), left.to_vec()]
            });
            let ones = (0..requests.len()).map(|at| {
                let mut fewer = requests.clone();
                fewer.remove(at);
                fewer
            });
            halves.into_iter().flatten().chain(ones).collect()
        };
        match self {
            Self::Requests {
                client,
                requests,
                ends,
            } if requests.len() > 1 => without_one(requests)
                .into_iter()
                .map(|requests| Self::Requests {
                    client: *client,
                    requests,
                    ends: *ends,
                })
                .collect(),
            Self::Expire { requests } => without_one(requests)
                .into_iter()
                .map(|requests| Self::Expire { requests })
                .collect(),
            Self::Requests { .. } | Self::Reopen { .. } | Self::Settle { .. } => Vec::new(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let put = |f: &mut fmt::Formatter<'_>, requests: &[Sent]| {
            for (op, body) in requests {
                write!(f, " op {op} \"{}\"", body.escape_ascii())?;
            }
            Ok(())
        };
        match self {
            Self::Requests {
                client, requests, ..
            } => {
                write!(f, "client {client}:")?;
                put(f, requests)
            }
            Self::Reopen { client, how } => write!(f, "client {client} comes back: {how:?}"),
            Self::Expire { requests } => {
                write!(f, "a session that expires:")?;
                put(f, requests)
            }
            Self::Settle { top, gone } => write!(f, "below {top} both collect {gone:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_simpler_without_any_one_of_its_requests_and_a_single_one_stays() {
        let step = |ops: &[i32]| Step::Requests {
            client: 1,
            requests: ops.iter().map(|op| (*op, Vec::new())).collect(),
            ends: false,
        };
        assert_eq!(step(&[1, 2]).simpler(), [step(&[2]), step(&[1])]);
        assert_eq!(step(&[1]).simpler(), []);
        let four = step(&[1, 2, 3, 4]).simpler();
        assert_eq!(four[..2], [step(&[3, 4]), step(&[1, 2])]);
        assert_eq!(four.len(), 6);
    }
}
