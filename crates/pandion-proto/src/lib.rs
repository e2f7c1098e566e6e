//! The Milvus wire types, generated from our own `.proto` files in `proto/`.
//!
//! Package, message and field names, numbers and types are the published ones, so that stock
//! clients talk to the service. A message declares the fields that Pandion reads or writes;
//! the others are skipped when it is decoded. This crate holds no logic: no defaults, no checks, no
//! conversions. Those belong to the doors in `pandion-server`.

/// The compiled `.proto` files as a serialized `google.protobuf.FileDescriptorSet`, imports
/// included, for reflection and for the comparison with the descriptors of stock clients.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Package `milvus.proto.common`: status, key-value lists, placeholders, states.
#[allow(clippy::all, reason = "generated code")]
pub mod common {
    tonic::include_proto!("milvus.proto.common");
}

/// Package `milvus.proto.schema`: schemas and values.
#[allow(clippy::all, reason = "generated code")]
pub mod schema {
    tonic::include_proto!("milvus.proto.schema");
}

/// Package `milvus.proto.feder`: messages of two index-inspection methods.
#[allow(clippy::all, reason = "generated code")]
pub mod feder {
    tonic::include_proto!("milvus.proto.feder");
}

/// Package `milvus.proto.milvus`: requests, responses and the service itself.
#[allow(clippy::all, reason = "generated code")]
pub mod milvus {
    tonic::include_proto!("milvus.proto.milvus");
}
