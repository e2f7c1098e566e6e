//! Compiles `proto/` to Rust without a system `protoc`, and keeps the descriptor set beside it.

use std::path::PathBuf;
use std::{env, error::Error, fs};

/// Large or nested payloads that are passed on as they came: shared bytes instead of a copy.
const SHARED_BYTES: [&str; 4] = [
    ".milvus.proto.milvus.SearchRequest",
    ".milvus.proto.milvus.SubSearchRequest",
    ".milvus.proto.milvus.CreateCollectionRequest",
    ".milvus.proto.common.PlaceholderValue",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(["milvus.proto"])?;
    let descriptors = compiler.file_descriptor_set();
    compiler.include_source_info(false);
    fs::write(out_dir.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    // The service has a method `Connect`, whose name the client's own constructor would take:
    // a client is made from a channel with `MilvusServiceClient::new`.
    let mut builder = tonic_prost_build::configure()
        .build_server(true)
        .build_client(true)
        .build_transport(false)
        .emit_rerun_if_changed(false);
    for path in SHARED_BYTES {
        builder = builder.bytes(path);
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}
