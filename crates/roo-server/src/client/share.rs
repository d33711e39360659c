//! How connections share the requests that may be in flight at once (`globalOutstandingLimit`).
//!
//! The limit alone favours whoever comes first: the answers of a group of writes come together, the
//! connections go on in the order of their answers, and the first of them took all the room again
//! with all that they had pipelined. At 50 connections x 100 requests ten of them had a hundred in
//! flight and forty had one. So whoever is held back gets an equal share.

/// Whether a connection with so many requests `in_flight` must wait for answers, while `outstanding`
/// requests of all connections are in flight and the limit holds `held` connections back.
#[must_use]
pub fn must_wait(limit: usize, outstanding: usize, in_flight: usize, held: usize) -> bool {
    if limit == 0 || in_flight == 0 {
        return false;
    }
    let share = limit / held.max(1);
    outstanding >= limit || in_flight >= share.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many requests each connection has in flight after some groups of writes. As in an I/O
    /// thread: all answers come together, and who was held back goes on in the same order.
    fn in_flight(limit: usize, wanted: &[usize]) -> Vec<usize> {
        let mut is_held = vec![false; wanted.len()];
        let mut in_flight = Vec::new();
        for _ in 0..4 {
            in_flight = vec![0; wanted.len()];
            let mut outstanding = 0;
            for (at, wanted) in wanted.iter().enumerate() {
                let held = is_held.iter().filter(|is_held| **is_held).count();
                while in_flight[at] < *wanted && !must_wait(limit, outstanding, in_flight[at], held)
                {
                    in_flight[at] += 1;
                    outstanding += 1;
                }
                is_held[at] = in_flight[at] < *wanted;
            }
        }
        in_flight
    }

    #[test]
    fn who_wants_more_than_there_is_gets_as_much_as_others() {
        assert_eq!(in_flight(1000, &[100; 50]), [20; 50]);
        assert_eq!(in_flight(1000, &[5000; 3]), [333; 3]);
        // Each may have one, whatever the limit.
        assert_eq!(in_flight(10, &[7; 30]), [1; 30]);
    }

    #[test]
    fn who_is_alone_gets_everything() {
        assert_eq!(in_flight(1000, &[5000]), [1000]);
        let mut wanted = [1; 50];
        wanted[49] = 900;
        assert_eq!(in_flight(1000, &wanted), wanted);
    }

    #[test]
    fn nobody_waits_below_the_limit_or_without_one() {
        assert_eq!(in_flight(1000, &[20; 50]), [20; 50]);
        assert_eq!(in_flight(0, &[5000; 50]), [5000; 50]);
    }
}
