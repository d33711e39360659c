//! What operators ask a running server.

mod connection_text;
mod environment;
pub mod java_text;
pub mod metric_names;
mod mntr;
pub mod standing;
mod watchman;
pub mod words;
