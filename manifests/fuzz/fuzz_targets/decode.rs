//! Hands bytes that nobody wrote to the decoder. What has to hold of them stands in `checks.rs`,
//! which a test of the crate holds against the inputs that once were a problem.
#![no_main]

#[path = "../checks.rs"]
mod checks;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| checks::decode(data));
