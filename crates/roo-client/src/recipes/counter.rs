//! A number that many change, exactly.

use tokio::sync::Mutex;

use crate::{Client, ErrorKind, Multi, NodeKind, Result, Version, acls};

use super::outcome::{bad_data, catch_up, is, is_cut_off};
use super::receipts::{Outcome, Receipts};

/// How the number stands in its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// 8 bytes, the highest first. Curator: `DistributedAtomicLong`.
    #[default]
    Long,
    /// 4 bytes, the highest first. Curator: `DistributedAtomicInteger`, `SharedCount`. kazoo:
    /// `Counter` with `support_curator`.
    Int,
    /// Decimal digits. kazoo: `Counter`.
    Decimal,
}

impl Encoding {
    fn encode(self, path: &str, value: i64) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Long => value.to_be_bytes().to_vec(),
            Self::Decimal => value.to_string().into_bytes(),
            Self::Int => i32::try_from(value)
                .map_err(|_| bad_data(path, "the counter would no longer fit into 4 bytes"))?
                .to_be_bytes()
                .to_vec(),
        })
    }

    /// Curator and kazoo take no data at all for 0.
    fn decode(self, path: &str, data: &[u8]) -> Result<i64> {
        if data.is_empty() {
            return Ok(0);
        }
        let value = match self {
            Self::Long => data.try_into().ok().map(i64::from_be_bytes),
            Self::Int => data
                .try_into()
                .ok()
                .map(|data| i32::from_be_bytes(data).into()),
            Self::Decimal => std::str::from_utf8(data)
                .ok()
                .and_then(|text| text.parse().ok()),
        };
        let expected = match self {
            Self::Long => "no counter: expected 8 bytes",
            Self::Int => "no counter: expected 4 bytes",
            Self::Decimal => "no counter: expected a whole number in decimal digits",
        };
        value.ok_or_else(|| bad_data(path, expected))
    }
}

/// A number that many change. Curator: `DistributedAtomicLong`. kazoo: `Counter`.
///
/// # Guarantees
/// - Each change takes effect exactly once if its call returns a value, and at most once otherwise,
///   however often connections break and replies are lost.
/// - Changes of all participants, of Curator's and kazoo's too, are applied one after the other; none
///   is overwritten.
///
/// # How
/// A change is one multi: it sets the number if it still has the version that was read, and notes
/// itself in a node of the writer's own, its receipt. A change whose reply was lost is found there.
///
/// # When things go wrong
/// - *Disconnected*: calls wait for the next connection.
/// - *Session lost*: the call fails, and says by [`crate::Error::outcome_unknown`] whether its change
///   may have taken effect. A counter with a writer's name can ask afterwards, in a new session, by
///   making the same change again: [`Counter::add_once`].
/// - *Clock stands still*: nothing depends on time.
/// - *Dropped*: a call that is dropped takes effect at most once, and the next one is not disturbed.
///
/// # Nodes
/// The number at the path; receipts below `<path>-receipts`, which go with their sessions unless
/// they bear a writer's name.
///
/// ```no_run
/// # async fn example(client: roo_client::Client) -> roo_client::Result<()> {
/// use roo_client::recipes::Counter;
/// let counter = Counter::new(&client, "/counters/orders");
/// let orders = counter.add(1).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Counter {
    client: Client,
    path: String,
    encoding: Encoding,
    writing: Mutex<Writing>,
}

#[derive(Debug)]
struct Writing {
    receipts: Receipts,
    /// The number as last seen, with its version.
    seen: Option<(i64, i32)>,
}

impl Counter {
    /// The counter at `path`, as Curator's `DistributedAtomicLong` keeps it; nothing is done yet.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self::with_encoding(client, path, Encoding::default())
    }

    /// The same in another encoding.
    #[must_use]
    pub fn with_encoding(client: &Client, path: &str, encoding: Encoding) -> Self {
        let receipts = Receipts::of_session(client, receipts_of(path), acls::open());
        Self::build(client, path, encoding, receipts)
    }

    /// The same for a writer with a name: its receipt outlives the session, so that
    /// [`Counter::add_once`] works across sessions and processes. One process at a time may use the
    /// name.
    #[must_use]
    pub fn with_writer(client: &Client, path: &str, encoding: Encoding, writer: &str) -> Self {
        let receipts = Receipts::of_writer(client, receipts_of(path), writer, acls::open());
        Self::build(client, path, encoding, receipts)
    }

    fn build(client: &Client, path: &str, encoding: Encoding, receipts: Receipts) -> Self {
        Self {
            client: client.clone(),
            path: path.to_owned(),
            encoding,
            writing: Mutex::new(Writing {
                receipts,
                seen: None,
            }),
        }
    }

    /// The number; 0 if there is none yet. It may be a little old, as every read; see
    /// [`Counter::get_latest`].
    ///
    /// # Errors
    /// As those of `get`; and when the node holds something else.
    pub async fn get(&self) -> Result<i64> {
        match self.client.get(&self.path).await {
            Ok(node) => self.encoding.decode(&self.path, &node.data),
            Err(error) if is(&error, &ErrorKind::NoNode) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The number after all changes that were finished before the call.
    ///
    /// # Errors
    /// As [`Counter::get`] and those of `sync`.
    pub async fn get_latest(&self) -> Result<i64> {
        catch_up(&self.client, &self.path).await?;
        self.get().await
    }

    /// Adds `amount` and gives the sum.
    ///
    /// # Errors
    /// When the session is lost, or a call takes longer than `Options::request_timeout`, see
    /// [`crate::Error::outcome_unknown`]; when the sum has no place, or the node holds something
    /// else: the number is as it was then.
    pub async fn add(&self, amount: i64) -> Result<i64> {
        let changed = self.change(None, |value| self.sum(value, amount).map(Some));
        Ok(changed.await?.1)
    }

    /// Adds `amount` unless the writer's last change was the one that is called `change`, and gives
    /// the sum that there was after it. So a change whose outcome was left unknown by a lost session
    /// or a crash is made again without making it twice, as long as the writer made no other since.
    /// `change` is without spaces.
    ///
    /// # Errors
    /// As [`Counter::add`].
    pub async fn add_once(&self, change: &str, amount: i64) -> Result<i64> {
        if change.is_empty() || change.contains(' ') {
            return Err(bad_data(
                &self.path,
                "the name of a change is empty or has a space",
            ));
        }
        let changed = self.change(Some(change), |value| self.sum(value, amount).map(Some));
        Ok(changed.await?.1)
    }

    /// Sets the number to `value` and gives what it was.
    ///
    /// # Errors
    /// As [`Counter::add`].
    pub async fn set(&self, value: i64) -> Result<i64> {
        Ok(self.change(None, |_| Ok(Some(value))).await?.0)
    }

    /// Sets the number to `new` if it is `expected`: whether it did.
    ///
    /// # Errors
    /// As [`Counter::add`].
    pub async fn compare_and_set(&self, expected: i64, new: i64) -> Result<bool> {
        let decide = |value| Ok((value == expected).then_some(new));
        let (before, _) = self.change(None, decide).await?;
        Ok(before == expected)
    }

    fn sum(&self, value: i64, amount: i64) -> Result<i64> {
        let sum = value.checked_add(amount);
        sum.ok_or_else(|| bad_data(&self.path, "the counter would no longer fit into 8 bytes"))
    }

    /// Lets `decide` say what comes after the present number, if anything: the numbers before and
    /// after.
    async fn change(
        &self,
        name: Option<&str>,
        decide: impl Fn(i64) -> Result<Option<i64>>,
    ) -> Result<(i64, i64)> {
        let mut writing = self.writing.lock().await;
        let change = match name {
            Some(name) => {
                if let Some(note) = writing.receipts.noted(name).await? {
                    return self.read_note(&note);
                }
                name.to_owned()
            }
            None => writing.receipts.next_change(),
        };
        loop {
            let seen = writing.seen.take();
            let was_guess = seen.is_some();
            let (value, version) = match seen {
                Some(seen) => seen,
                None => self.read().await?,
            };
            let next = match decide(value) {
                Ok(Some(next)) => next,
                // What was remembered is not good enough to refuse on.
                Ok(None) | Err(_) if was_guess => continue,
                Ok(None) => return Ok((value, value)),
                Err(error) => return Err(error),
            };
            let data = self.encoding.encode(&self.path, next)?;
            let multi = Multi::new().set(&self.path, data, version);
            let note = format!("{value} {next}");
            match writing.receipts.make(&change, &multi, &note).await? {
                Outcome::Done => {
                    writing.seen = Some((next, version.wrapping_add(1)));
                    return Ok((value, next));
                }
                Outcome::Noted(note) => return self.read_note(&note),
                Outcome::Refused(error)
                    if is(&error, &ErrorKind::BadVersion) || is(&error, &ErrorKind::NoNode) => {}
                Outcome::Refused(error) => return Err(error),
            }
        }
    }

    fn read_note(&self, note: &str) -> Result<(i64, i64)> {
        let numbers = note
            .split_once(' ')
            .and_then(|(before, after)| Some((before.parse().ok()?, after.parse().ok()?)));
        numbers.ok_or_else(|| bad_data(&self.path, "the writer's receipt is not one of a counter"))
    }

    /// The number and its version, made if need be.
    async fn read(&self) -> Result<(i64, i32)> {
        loop {
            match self.client.get(&self.path).await {
                Ok(node) if node.stat.version == -1 => {
                    let what =
                        "version -1 cannot be told from any version; set the node once by hand";
                    return Err(bad_data(&self.path, what));
                }
                Ok(node) => {
                    let value = self.encoding.decode(&self.path, &node.data)?;
                    return Ok((value, node.stat.version));
                }
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    self.client.create_parents(&self.path).await?;
                    let zero = self.encoding.encode(&self.path, 0)?;
                    match self
                        .client
                        .create(&self.path, zero, NodeKind::Persistent)
                        .await
                    {
                        Ok(_) => {}
                        Err(error) if is(&error, &ErrorKind::NodeExists) || is_cut_off(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes the number; a later change begins at 0. Receipts of living writers stay.
    ///
    /// # Errors
    /// As those of `delete`.
    pub async fn delete(&self) -> Result<()> {
        match self.client.delete(&self.path, Version::Any).await {
            Err(error) if is(&error, &ErrorKind::NoNode) => Ok(()),
            other => other,
        }
    }
}

fn receipts_of(path: &str) -> String {
    format!("{path}-receipts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_as_curator_and_kazoo_write_them() {
        let encode = |encoding: Encoding, value| encoding.encode("/c", value).expect("fits");
        assert_eq!(encode(Encoding::Long, 258), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(encode(Encoding::Int, -2), [255, 255, 255, 254]);
        assert_eq!(encode(Encoding::Decimal, -17), b"-17");
        assert!(Encoding::Int.encode("/c", 1 << 31).is_err());
    }

    #[test]
    fn a_number_is_read_back_and_nothing_is_zero() {
        for encoding in [Encoding::Long, Encoding::Int, Encoding::Decimal] {
            let data = encoding.encode("/c", -12345).expect("fits");
            assert_eq!(encoding.decode("/c", &data).expect("read"), -12345);
            assert_eq!(encoding.decode("/c", b"").expect("read"), 0);
            assert!(encoding.decode("/c", b"abc").is_err());
        }
    }
}
