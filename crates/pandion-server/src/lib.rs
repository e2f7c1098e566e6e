//! The network doors: Milvus gRPC, health and metrics.
//!
//! A door parses, asks whether the caller may, calls the node behind it, and encodes. It decides
//! nothing about collections or rows. The mapping of errors to the codes of a protocol is in one
//! module, `status`.

mod access;
mod clock;
mod explain;
mod feature;
mod field_data;
mod grpc;
mod iterators;
mod metrics;
mod names;
mod node;
mod order_fields;
mod output_fields;
mod params;
mod placeholder;
mod query_params;
mod query_threads;
mod rank_params;
mod refine_params;
mod schema_codec;
mod search_params;
mod server;
mod status;
mod template_codec;
mod time_parts;
mod time_travel;

pub use pandion_catalog::PublishPolicy;
pub use pandion_source::NamedSources;
pub use server::{Server, ServerOptions};
