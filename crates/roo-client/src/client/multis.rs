//! Several operations as one.

use roo_proto::error_code::ErrorCode;
use roo_proto::reply::decode::{self, MultiResult};
use roo_proto::request::Request;

use super::operations::kept;
use super::{Client, What};
use crate::error::{Error, ErrorKind, Result};
use crate::multi::{Multi, MultiRead, OpResult, ReadResult};
use crate::session::{OnLoss, Reply};
use crate::types::{Created, Node};

impl Client {
    /// Makes several changes, all or none.
    ///
    /// # Errors
    /// The error of the first operation that failed, with its path; [`Error::failed_op`] tells
    /// which it was and [`Error::op_codes`] what the server said of each. Nothing was changed
    /// then.
    pub async fn multi(&self, ops: Multi) -> Result<Vec<OpResult>> {
        let what = What {
            operation: "multi",
            path: None,
        };
        let wire = ops.wire(|path, is_prefix| self.real_or_prefix(path, is_prefix));
        let wire = wire.map_err(|(at, kind)| {
            let path = ops.path(at);
            self.fail(What { path, ..what }, kind)
                .in_multi(at, Vec::new())
        })?;
        let reply = self.call(what, OnLoss::Fail, &Request::Multi(wire)).await?;
        let results = decode::multi(&reply.body);
        let results = results.map_err(|error| self.unreadable(what, error))?;
        self.refusal(&ops, &results)?;
        let results: Option<Vec<_>> = results
            .into_iter()
            .map(|result| self.op_result(&reply, result))
            .collect();
        results
            .filter(|list| list.len() == ops.len())
            .ok_or_else(|| {
                let kind = ErrorKind::Protocol("results that do not match the operations".into());
                self.fail(what, kind).sent(true)
            })
    }

    fn refusal(&self, ops: &Multi, results: &[MultiResult<'_>]) -> Result<()> {
        let codes = || {
            results.iter().map(|result| match result {
                MultiResult::Failed(code) => *code,
                _ => ErrorCode::OK,
            })
        };
        let first = codes().position(|code| code != ErrorCode::OK);
        let Some(at) = first else { return Ok(()) };
        let codes: Vec<_> = codes().collect();
        let code = codes.get(at).copied().unwrap_or(ErrorCode::SYSTEM_ERROR);
        let what = What {
            operation: "multi",
            path: ops.path(at),
        };
        let error = self.fail(what, ErrorKind::from_code(code));
        Err(error.in_multi(at, codes))
    }

    fn op_result(&self, reply: &Reply, result: MultiResult<'_>) -> Option<OpResult> {
        Some(match result {
            MultiResult::Created { path, stat } => OpResult::Created(Created {
                path: self.below(&path),
                stat: stat.unwrap_or_default(),
                zxid: reply.zxid,
            }),
            MultiResult::Deleted => OpResult::Deleted,
            MultiResult::Set(stat) => OpResult::Set(stat),
            MultiResult::Checked => OpResult::Checked,
            MultiResult::Data { .. } | MultiResult::Children(_) | MultiResult::Failed(_) => {
                return None;
            }
        })
    }

    /// Makes several reads of one state of the tree in one round trip; each has its own result.
    /// Servers since 3.6.
    ///
    /// # Errors
    /// When the reads could not be made at all; what is wrong with one of them (`NoNode`,
    /// `NoAuth`) stands in its result.
    pub async fn multi_read(&self, ops: MultiRead) -> Result<Vec<Result<ReadResult>>> {
        let what = What {
            operation: "multi_read",
            path: None,
        };
        let wire = ops.wire(|path| self.real(path));
        let wire = wire.map_err(|(at, kind)| {
            let path = ops.path(at);
            self.fail(What { path, ..what }, kind)
        })?;
        let request = Request::MultiRead(wire);
        let reply = self.call(what, OnLoss::Repeat, &request).await?;
        let results = decode::multi(&reply.body);
        let results = results.map_err(|error| self.unreadable(what, error))?;
        let results = results.into_iter().enumerate().map(|(at, result)| {
            let what = What {
                path: ops.path(at),
                ..what
            };
            self.read_result(&reply, what, result)
        });
        Ok(results.collect())
    }

    fn read_result(
        &self,
        reply: &Reply,
        what: What<'_>,
        result: MultiResult<'_>,
    ) -> Result<ReadResult, Error> {
        match result {
            MultiResult::Data { data, stat } => Ok(ReadResult::Node(Node {
                no_data: data.is_none(),
                data: kept(&reply.body, data.unwrap_or_default()),
                stat,
            })),
            MultiResult::Children(names) => Ok(ReadResult::Children(names)),
            MultiResult::Failed(code) => Err(self.fail(what, ErrorKind::from_code(code))),
            _ => {
                let kind = ErrorKind::Protocol("a result of a write".into());
                Err(self.fail(what, kind))
            }
        }
    }
}
