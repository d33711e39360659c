//! A whole ensemble in one thread: a virtual clock, a network, disks and processes that fail in
//! every way the seed says, around the real code of the servers. One seed is one run, bit for
//! bit.
//!
//! In reading order: [`rng`] the only source of chance; [`options`] what is drawn from a seed;
//! [`world`] the clock, the queue of what is to happen and who is told; [`network`] links and
//! election messages; [`storage`] a server's disk and the thread that owns it; [`process`] one
//! server; [`faults`] what goes wrong; [`fact`] what the checkers see; [`invariants`] the
//! checkers; [`run`] a seed from its options to its verdict; [`exhaustive`] every order of a few
//! events instead of many by chance; [`users`] processes with the real client in them;
//! [`recipes`] what they do with it, and its checkers.

pub mod clients;
pub mod exhaustive;
pub mod fact;
pub mod faults;
pub mod invariants;
pub mod network;
pub mod options;
pub mod oracle;
pub mod process;
#[cfg(feature = "rebreak")]
pub mod rebreak;
pub mod recipes;
pub mod rng;
pub mod run;
pub mod storage;
pub mod users;
pub mod whole;
pub mod world;
