//! Hands text that nobody meant as a filter to the parser. What has to hold of it stands in
//! `checks.rs`, which a test of the crate holds against the inputs that once were a problem.
#![no_main]

#[path = "../checks.rs"]
mod checks;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| checks::parse(data));
