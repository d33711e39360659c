//! Servers that follow the protocol never have to refuse what another one sends: a packet out of
//! place or a hole between two proposals is a bug of one of the two, even where the ensemble
//! recovers from it. The checker of "bad states", "bad proposals" and "bad commits".

use roo_zab::effect::CloseReason;

/// Whether a link may be closed for this reason.
///
/// # Errors
/// What was seen that must not be.
pub fn check(why: CloseReason) -> Result<(), String> {
    match why {
        CloseReason::UnexpectedPacket | CloseReason::Gap => {
            Err(format!("a link is closed because of {why:?}"))
        }
        // A learner whose links break again and again asks anew on each, while the leader still
        // owes it the answers of those before: here, where a leader has very little room.
        CloseReason::TooManyRequests
        | CloseReason::NotLeading
        | CloseReason::RoleChanged
        | CloseReason::Silent
        | CloseReason::SlowAck
        | CloseReason::LearnerAhead
        | CloseReason::ConfigAhead
        | CloseReason::StaleEpoch
        | CloseReason::Replaced
        | CloseReason::Reconfigured => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_a_gap_and_an_unexpected_packet_only() {
        assert!(check(CloseReason::Gap).is_err());
        assert!(check(CloseReason::UnexpectedPacket).is_err());
        assert!(check(CloseReason::TooManyRequests).is_ok());
        assert!(check(CloseReason::Silent).is_ok());
        assert!(check(CloseReason::NotLeading).is_ok());
    }
}
