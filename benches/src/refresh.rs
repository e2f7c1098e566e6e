//! What refreshes of many small files ask of an object store, and how long they take when it
//! answers slowly.
//!
//! Requests are counted twice: by the S3 server that gets them and by the receipt of the job. The
//! S3 server runs in this process, on the same cores as the server that is measured.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pandion_testkit::lake::{Lake, VectorsSpec};
use pandion_testkit::s3::{S3Fault, S3Options, S3Server, S3Stats};
use serde_json::json;

use crate::Options;
use crate::client::{Client, Receipt};
use crate::report::{Goal, Report, note};
use crate::server::{Allow, Server};

const COLLECTION: &str = "many_files";
const BUCKET: &str = "lake";
const PREFIX: &str = "many";
const ROWS_PER_FILE: usize = 100;
/// Dimension of these vectors, which are not what is measured here.
const DIM: usize = 16;
/// Times that the S3 server holds each answer back.
const LATENCIES_MS: [u64; 3] = [0, 5, 20];
/// Requests under way at a time that still count as bounded.
const CONCURRENCY_MAX: f64 = 64.0;

/// What one refresh cost.
struct Cost {
    wall: Duration,
    /// What the S3 server counted.
    stats: S3Stats,
    receipt: Receipt,
    /// The most requests that were under way at a time.
    in_flight: u64,
}

impl Cost {
    fn reads(&self) -> u64 {
        self.stats.get + self.stats.head
    }

    fn detail(&self) -> serde_json::Value {
        json!({
            "wall_s": self.wall.as_secs_f64(), "in_flight": self.in_flight,
            "s3": self.stats, "receipt": self.receipt.0,
        })
    }
}

/// Measures and adds to the report.
///
/// # Errors
/// A refresh fails, or the S3 server and the receipt do not count alike.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let template = VectorsSpec { dim: DIM, ..VectorsSpec::default() };
    let s3 = S3Server::start(S3Options::default()).await?;
    let mut lake = Lake::in_bucket(&s3, BUCKET, PREFIX, template);
    note(&format!("making {} files", options.files));
    for _ in 0..options.files {
        lake.append(ROWS_PER_FILE)?;
    }
    for latency_ms in LATENCIES_MS {
        note(&format!("refreshing with {latency_ms} ms for each answer"));
        let server = Server::start(Allow::Endpoint(&s3.host_port())).await?;
        let mut client = Client::connect(server.address()).await?;
        client.create(COLLECTION, &source(&s3), &spec(&s3), DIM).await?;
        s3.set_faults(vec![S3Fault::latency(latency_ms)])?;
        let new = refresh(&s3, &mut client).await?;
        ensure!(new.receipt.count("files_added")? == options.files as u64, "files were missed");
        report_new(options, latency_ms, &new, report);
        let unchanged = refresh(&s3, &mut client).await?;
        ensure!(unchanged.receipt.count("files_kept")? == options.files as u64, "files changed");
        report_unchanged(options, latency_ms, &unchanged, report);
        server.stop().await?;
    }
    s3.shutdown().await
}

/// The lake's folder at the server's own endpoint.
fn source(s3: &S3Server) -> String {
    format!("s3://{}/{BUCKET}/{PREFIX}/", s3.host_port())
}

fn spec(s3: &S3Server) -> String {
    let options = s3.options();
    let extfs = json!({
        "access_key_id": options.access_key, "access_key_value": options.secret_key,
        "region": options.region, "cloud_provider": "minio", "use_ssl": "false",
    });
    json!({ "format": "parquet", "extfs": extfs }).to_string()
}

async fn refresh(s3: &S3Server, client: &mut Client) -> Result<Cost> {
    s3.reset_stats();
    let begun = Instant::now();
    let receipt = client.refresh(COLLECTION).await?;
    let wall = begun.elapsed();
    let stats = s3.stats();
    let cost = Cost { wall, stats, receipt, in_flight: s3.in_flight_max() };
    let told = (cost.receipt.count("list_requests")?, cost.receipt.count("read_requests")?);
    let counted = (stats.list, cost.reads());
    ensure!(told == counted, "lists and reads: the receipt says {told:?}, S3 {counted:?}");
    ensure!(stats.put + stats.delete + stats.failed == 0, "a refresh only reads: {stats:?}");
    Ok(cost)
}

fn report_new(options: &Options, latency_ms: u64, cost: &Cost, report: &mut Report) {
    let files = options.files;
    let requests = cost.stats.requests();
    let per_file = cost.reads() as f64 / files as f64;
    let name = format!("refresh of {files} new files, {latency_ms} ms latency");
    report.add(
        format!("{name}: requests per file"),
        Goal::AtMost(2.0),
        per_file,
        format!(
            "{per_file:.3}, and {} listing(s) for all of them, by S3 and by the receipt",
            cost.stats.list
        ),
        cost.detail(),
    );
    report.add(
        format!("{name}: requests at a time"),
        Goal::AtMost(CONCURRENCY_MAX),
        cost.in_flight as f64,
        format!("{}", cost.in_flight),
        json!({}),
    );
    let wall = cost.wall.as_secs_f64();
    let bound = requests as f64 * latency_ms as f64 / 1e3 / cost.in_flight.max(1) as f64;
    let text = if latency_ms == 0 {
        format!("{wall:.2} s")
    } else {
        format!(
            "{wall:.2} s, {:.2} times {requests} × {latency_ms} ms / {} = {bound:.2} s",
            wall / bound,
            cost.in_flight
        )
    };
    report.add(format!("{name}: wall time"), Goal::None, wall, text, json!({ "bound_s": bound }));
}

fn report_unchanged(options: &Options, latency_ms: u64, cost: &Cost, report: &mut Report) {
    let name = format!("refresh of {} unchanged files, {latency_ms} ms latency", options.files);
    // A page of a listing has a thousand keys.
    let pages = options.files.div_ceil(1000);
    report.add(
        format!("{name}: listings"),
        Goal::Exactly(pages as f64),
        cost.stats.list as f64,
        format!("{} by S3 and by the receipt", cost.stats.list),
        cost.detail(),
    );
    report.add(
        format!("{name}: reads of data files"),
        Goal::Exactly(0.0),
        cost.reads() as f64,
        format!(
            "{} by S3 and by the receipt; {:.0} ms wall",
            cost.reads(),
            cost.wall.as_secs_f64() * 1e3
        ),
        json!({}),
    );
}
