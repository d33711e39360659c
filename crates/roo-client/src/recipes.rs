//! Coordination made of the public operations: locks, elections, counters and the like.
