//! The `roo` command.
fn main() {}
