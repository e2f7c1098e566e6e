//! The S3 server of the test kit as a program, for tests and benchmarks that want it in a process
//! of its own. It prints one line of JSON when it answers, and exits when its standard input is
//! closed or it is told to terminate, so that no test leaves it behind.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use pandion_testkit::s3::{S3Fault, S3Identities, S3Options, S3Server};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// An S3 server in memory, on 127.0.0.1.
#[derive(Debug, Parser)]
struct Arguments {
    /// TCP port; 0 lets the system choose.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The access key that clients must sign with.
    #[arg(long, default_value = "pandion-test-key")]
    access_key: String,
    /// Its secret key.
    #[arg(long, default_value = "pandion-test-secret")]
    secret_key: String,
    /// The region that signatures must be scoped to.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// A bucket, filled with the files below DIR if one is given; may be repeated.
    #[arg(long = "bucket", value_name = "NAME[=DIR]")]
    buckets: Vec<String>,
    /// The domain below which hosts name buckets.
    #[arg(long, default_value = "s3.localhost")]
    domain: String,
    /// Speak TLS.
    #[arg(long)]
    tls: bool,
    /// Write the certificate that clients must trust to this file, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls")]
    cert_out: Option<PathBuf>,
    /// Users and roles, as a JSON file: see `S3Identities`. The server is then also the token
    /// service, instance metadata and the agent of containers for them, on the same port.
    #[arg(long, value_name = "FILE")]
    identities: Option<PathBuf>,
    /// End every session after so many seconds, whatever it was asked to last.
    #[arg(long)]
    session_seconds: Option<u64>,
    /// Hold every answer back for so many milliseconds.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Keep running when the standard input is closed.
    #[arg(long)]
    ignore_stdin: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let server = start(&arguments).await?;

    let ready = serde_json::json!({
        "endpoint": server.endpoint(),
        "host_port": server.host_port(),
        "port": server.address().port(),
        "domain": arguments.domain,
        "region": arguments.region,
        "access_key": arguments.access_key,
        "secret_key": arguments.secret_key,
        "buckets": server.options().buckets,
    });
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{ready}").and_then(|()| stdout.flush()).context("nobody reads the output")?;
    drop(stdout);

    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminated.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = stdin_closed(), if !arguments.ignore_stdin => {}
    }
    server.shutdown().await
}

async fn start(arguments: &Arguments) -> anyhow::Result<S3Server> {
    let buckets: Vec<(&str, Option<&str>)> = arguments
        .buckets
        .iter()
        .map(|bucket| match bucket.split_once('=') {
            Some((name, directory)) => (name, Some(directory)),
            None => (bucket.as_str(), None),
        })
        .collect();
    let mut identities = match &arguments.identities {
        Some(file) => read_identities(file)?,
        None => S3Identities::default(),
    };
    identities.session_seconds = arguments.session_seconds.or(identities.session_seconds);
    let server = S3Server::start(S3Options {
        identities,
        port: arguments.port,
        access_key: arguments.access_key.clone(),
        secret_key: arguments.secret_key.clone(),
        region: arguments.region.clone(),
        domain: arguments.domain.clone(),
        tls: arguments.tls,
        buckets: buckets.iter().map(|(name, _)| (*name).to_owned()).collect(),
        ..S3Options::default()
    })
    .await?;
    for (name, directory) in buckets {
        if let Some(directory) = directory {
            server.preload(name, directory.as_ref())?;
        }
    }
    if arguments.latency_ms > 0 {
        server.set_faults(vec![S3Fault::latency(arguments.latency_ms)])?;
    }
    if let (Some(file), Some(pem)) = (&arguments.cert_out, server.ca_pem()) {
        std::fs::write(file, pem).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(server)
}

fn read_identities(file: &Path) -> anyhow::Result<S3Identities> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not as expected", file.display()))
}

/// Ends, with an error that says nothing, when the standard input does. A thread of its own reads it, because the runtime would wait
/// at its end for a read that it was given.
fn stdin_closed() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        let mut stdin = std::io::stdin().lock();
        while stdin.read(&mut buffer).is_ok_and(|read| read > 0) {}
        drop(sender);
    });
    receiver
}
