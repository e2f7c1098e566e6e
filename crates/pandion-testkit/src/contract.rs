//! The suites that every implementation of a seam must pass. A suite returns an error that says
//! which promise was broken, so that it can run in a test and from a program alike.

pub mod object_store;
