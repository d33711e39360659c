//! How a server starts, or does not.
