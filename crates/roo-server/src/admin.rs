//! What operators ask a running server.

pub mod java_text;
pub mod metric_names;
pub mod words;
