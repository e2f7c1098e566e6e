//! End-to-end tests that run the server in their own process: what a client of another language
//! cannot see or steer. The tests with the stock Python client stand in `tests/python`.
//!
//! The library itself is empty; nothing may depend on this crate.
