//! The client against a server in the same process, and against what is none.

mod connection;
mod operations;
mod server;
mod together;
mod watches;
