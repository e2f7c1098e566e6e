//! Runs the object-store contract against any S3 server, for servers that no Rust test starts:
//!
//! `cargo run -p pandion-testkit --example s3_contract -- --endpoint http://127.0.0.1:5000 \
//!  --bucket lake --access-key pandion-test-key --secret-key pandion-test-secret`

use std::io::Write as _;

use anyhow::Context as _;
use clap::Parser;
use object_store::aws::AmazonS3Builder;
use pandion_testkit::contract::object_store::{Ability, all};

/// Runs the object-store contract against an S3 server.
#[derive(Debug, Parser)]
struct Arguments {
    /// URL of the server.
    #[arg(long)]
    endpoint: String,
    /// A bucket that exists.
    #[arg(long)]
    bucket: String,
    /// Access key.
    #[arg(long)]
    access_key: String,
    /// Secret key.
    #[arg(long)]
    secret_key: String,
    /// Region of the signatures.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Prefix that holds nothing.
    #[arg(long, default_value = "contract")]
    prefix: String,
    /// Leave out updates that depend on the version, which not every server knows.
    #[arg(long)]
    no_update: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let store = AmazonS3Builder::new()
        .with_endpoint(&arguments.endpoint)
        .with_allow_http(arguments.endpoint.starts_with("http:"))
        .with_bucket_name(&arguments.bucket)
        .with_region(&arguments.region)
        .with_access_key_id(&arguments.access_key)
        .with_secret_access_key(&arguments.secret_key)
        .build()?;
    let abilities: &[Ability] = if arguments.no_update { &[] } else { &[Ability::Update] };
    all(&store, &arguments.prefix, abilities).await?;
    writeln!(std::io::stdout().lock(), "{} keeps the contract", arguments.endpoint)
        .context("nobody reads the output")
}
