//! Replies as text in which what may differ between two right servers is the same.

use std::collections::HashMap;

use anyhow::Result;

use crate::wire::In;

/// How much of a zxid is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Zxids {
    #[default]
    Whole,
    WithoutEpoch,
    No,
}

/// What two right servers call differently: session ids by the order in which they came,
/// and zxids.
#[derive(Debug, Default)]
pub struct Names {
    sessions: HashMap<i64, usize>,
    zxids: Zxids,
}

impl Names {
    /// No names yet.
    #[must_use]
    pub fn new(zxids: Zxids) -> Self {
        Self {
            sessions: HashMap::new(),
            zxids,
        }
    }

    /// Gives a session the next name.
    pub fn learn(&mut self, session: i64) {
        let next = self.sessions.len();
        if session != 0 {
            self.sessions.entry(session).or_insert(next);
        }
    }

    /// A zxid as far as it is compared; -1 and the like always are.
    #[must_use]
    pub fn zxid(&self, zxid: i64) -> i64 {
        match self.zxids {
            _ if zxid < 0 => zxid,
            Zxids::Whole => zxid,
            Zxids::WithoutEpoch => zxid & 0xFFFF_FFFF,
            Zxids::No => 0,
        }
    }

    /// The name of a session.
    #[must_use]
    pub fn of(&self, session: i64) -> String {
        match session {
            0 => "0".into(),
            id => self
                .sessions
                .get(&id)
                .map_or_else(|| format!("unknown {id:#x}"), |n| format!("S{n}")),
        }
    }
}

/// A reply or event. `ops` tells which operation each xid was.
#[must_use]
pub fn frame(bytes: &[u8], ops: &[(i32, i32)], names: &Names) -> String {
    let head = || -> Result<(i32, i64, i32)> {
        let mut r = In(bytes);
        Ok((r.int()?, r.long()?, r.int()?))
    };
    let Ok((xid, zxid, err)) = head() else {
        return format!("short frame {bytes:?}");
    };
    let body = bytes.get(16..).unwrap_or_default();
    if xid == -1 && body.len() >= 12 && !ops.iter().any(|(known, _)| *known == -1) {
        return format!(
            "event zxid {} err {err} {}",
            names.zxid(zxid),
            event(body).unwrap_or_else(|e| e.to_string())
        );
    }
    let op = ops
        .iter()
        .find(|(known, _)| *known == xid)
        .map_or(0, |(_, op)| *op);
    let text = if body.is_empty() {
        Ok(String::new())
    } else {
        body_text(op, body, names)
    };
    let text = text.unwrap_or_else(|error| format!("undecodable ({error}) {body:?}"));
    format!("xid {xid} zxid {} err {err} {text}", names.zxid(zxid))
}

fn event(body: &[u8]) -> Result<String> {
    let mut r = In(body);
    Ok(format!(
        "type {} state {} path {}",
        r.int()?,
        r.int()?,
        r.text()?
    ))
}

fn stat(r: &mut In<'_>, names: &Names) -> Result<String> {
    let (czxid, mzxid) = (names.zxid(r.long()?), names.zxid(r.long()?));
    let (ctime, mtime) = (r.long()?, r.long()?);
    let (version, cversion, aversion) = (r.int()?, r.int()?, r.int()?);
    let owner = names.of(r.long()?);
    let (length, children, pzxid) = (r.int()?, r.int()?, names.zxid(r.long()?));
    //
    let times = format!("{}{}", u8::from(ctime > 0), u8::from(mtime >= ctime));
    Ok(format!(
        "stat({czxid} {mzxid} t{times} v{version} c{cversion} a{aversion} {owner} {length} {children} p{pzxid})"
    ))
}

fn data(r: &mut In<'_>) -> Result<String> {
    Ok(match r.buffer()? {
        None => "null".into(),
        Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
    })
}

/// Children and ephemerals.
fn names_sorted(r: &mut In<'_>) -> Result<String> {
    let count = r.int()?;
    let mut list = (0..count).map(|_| r.text()).collect::<Result<Vec<_>>>()?;
    list.sort();
    Ok(format!("{list:?}"))
}

fn acls(r: &mut In<'_>) -> Result<String> {
    let count = r.int()?;
    let list = (0..count)
        .map(|_| Ok(format!("{} {}:{}", r.int()?, r.text()?, r.text()?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(format!("{list:?}"))
}

fn body_text(op: i32, body: &[u8], names: &Names) -> Result<String> {
    let mut r = In(body);
    let text = match op {
        1 | 9 => r.text()?,
        15 | 19 | 21 => format!("{} {}", r.text()?, stat(&mut r, names)?),
        3 | 5 | 7 => stat(&mut r, names)?,
        4 => format!("{} {}", data(&mut r)?, stat(&mut r, names)?),
        6 => format!("{} {}", acls(&mut r)?, stat(&mut r, names)?),
        8 | 103 => names_sorted(&mut r)?,
        12 => format!("{} {}", names_sorted(&mut r)?, stat(&mut r, names)?),
        104 | 106 => r.int()?.to_string(),
        107 => {
            let count = r.int()?;
            let list = (0..count)
                .map(|_| Ok(format!("{}:{}", r.text()?, r.text()?)))
                .collect::<Result<Vec<_>>>()?;
            format!("{list:?}")
        }
        102 => data(&mut r)?,
        14 | 22 => multi(&mut r, names)?,
        _ => format!("{:?}", r.0),
    };
    let known = matches!(op, 1..=9 | 12 | 14 | 15 | 19 | 21 | 22 | 102..=107);
    Ok(if known && !r.0.is_empty() {
        format!("{text} and {:?}", r.0)
    } else {
        text
    })
}

fn multi(r: &mut In<'_>, names: &Names) -> Result<String> {
    let mut text = String::new();
    loop {
        let (op, done, err) = (r.int()?, r.flag()?, r.int()?);
        text.push_str(&format!("[{op} {err} "));
        if done {
            text.push(']');
            return Ok(text);
        }
        match op {
            -1 => text.push_str(&r.int()?.to_string()),
            1 => text.push_str(&r.text()?),
            15 => text.push_str(&format!("{} {}", r.text()?, stat(r, names)?)),
            5 => text.push_str(&stat(r, names)?),
            4 => text.push_str(&format!("{} {}", data(r)?, stat(r, names)?)),
            8 => text.push_str(&names_sorted(r)?),
            _ => {}
        }
        text.push(']');
    }
}
