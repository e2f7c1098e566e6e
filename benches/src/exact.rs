//! Exact search over vectors in memory, beside the bandwidth of that memory: in the library, with
//! one thread and with all, and through the server.
//!
//! Search and bandwidth are measured in turns, and medians are compared, so that a machine that is
//! busy with other things slows both alike. CPU times leave out the time that others had the cores.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pandion_index::{
    PreparedQueries, QueryBatch, SearchPart, SearchRequest, VectorBlock, VectorBlockBuilder,
    search_parallel,
};
use pandion_testkit::lake::ID;
use pandion_types::{MetricType, VectorElement, VectorType};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::json;

use crate::Options;
use crate::bandwidth::{Cost, Reader, read_all, timed};
use crate::client::{Client, Found, found, search_request};
use crate::lake::{self, DiskLake, Form, K, Truth};
use crate::report::{Goal, Report, median, note};
use crate::server::{Allow, Server};

/// Queries of a batch.
const BATCH: usize = 64;
const COLLECTION: &str = "exact";
/// Searches before those that count.
const WARM_UP: usize = 3;

/// What is searched, in memory.
struct Data {
    blocks: Vec<VectorBlock>,
    bytes: f64,
    single: PreparedQueries,
    batch: PreparedQueries,
    batch_vectors: Vec<Vec<f32>>,
}

/// Measures and adds to the report.
///
/// # Errors
/// A search fails or finds the wrong rows.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let (truth, _) = Truth::of(options)?;
    let data = Data::new(options, &truth)?;
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut pool = pool(1)?;
    let mut read_cpu = library(options, &data, &truth, &pool, report)?;
    if all > 1 {
        pool = self::pool(all)?;
        read_cpu = library(options, &data, &truth, &pool, report)?;
    }
    let served = server(options, &data, &truth, &pool).await?;
    report_server(&data, &served, read_cpu, report);
    Ok(())
}

impl Data {
    fn new(options: &Options, truth: &Truth) -> Result<Self> {
        note("making the vectors");
        let vector_type = VectorType { element: VectorElement::Float32, dim: options.dim };
        let spec = lake::spec(options, Form::FixedNone);
        let mut blocks = Vec::new();
        for batch in spec.batches()? {
            let batch = batch?;
            let mut builder = VectorBlockBuilder::new(vector_type, batch.num_rows())?;
            builder.push_raw(bytemuck::cast_slice(lake::components(&batch)?))?;
            blocks.push(builder.finish()?);
        }
        let batch_vectors = spec.queries(BATCH);
        let prepare = |queries: &[Vec<f32>]| -> Result<PreparedQueries> {
            let queries: Vec<&[u8]> =
                queries.iter().map(|query| bytemuck::cast_slice(query)).collect();
            Ok(QueryBatch::new(vector_type, &queries)?.prepare(MetricType::L2)?)
        };
        let bytes = blocks.iter().map(|block| block.bytes().len() as f64).sum();
        let single = prepare(truth.queries.get(..1).context("there is no query")?)?;
        let batch = prepare(&batch_vectors)?;
        Ok(Self { blocks, bytes, single, batch, batch_vectors })
    }

    /// What the library finds for the first query.
    fn search(&self, queries: &PreparedQueries) -> Result<Vec<Found>> {
        let mut base = 0_i64;
        let mut parts = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            parts.push(SearchPart { block, base, allowed: None });
            base += i64::try_from(block.rows())?;
        }
        let request = SearchRequest { queries, k: K, range: None, after: &[], cancelled: None };
        let outcome = search_parallel(&parts, &request)?;
        ensure!(outcome.hits.len() == queries.len(), "an answer for each query");
        let hits = outcome.hits.first().context("no answer")?;
        Ok(hits.iter().map(|hit| Found { id: hit.key, distance: f64::from(hit.score) }).collect())
    }
}

fn pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new().num_threads(threads).build().context("starting threads")
}

/// The costs of the same work in every round.
#[derive(Default)]
struct Costs(Vec<Cost>);

impl Costs {
    fn cpu(&self) -> f64 {
        median(self.0.iter().map(|cost| cost.cpu.as_secs_f64()))
    }

    fn wall(&self) -> f64 {
        median(self.0.iter().map(|cost| cost.wall.as_secs_f64()))
    }

    /// The median over the rounds of how many times as much CPU time `other` took.
    fn cpu_ratio(&self, other: &Self) -> f64 {
        let seconds = |cost: &Cost| cost.cpu.as_secs_f64();
        median(self.0.iter().zip(&other.0).map(|(own, other)| seconds(other) / seconds(own)))
    }
}

/// Returns the CPU time of one reading of all bytes.
fn library(
    options: &Options,
    data: &Data,
    truth: &Truth,
    pool: &ThreadPool,
    report: &mut Report,
) -> Result<f64> {
    let threads = pool.current_num_threads();
    note(&format!("searching with {threads} thread(s)"));
    let answer = pool.install(|| data.search(&data.single))?;
    truth.check(0, &answer)?;
    let [mut one, mut four, mut single, mut batch] = [(); 4].map(|()| Costs::default());
    for _ in 0..options.rounds {
        one.0.push(timed(pool, || read_all(&data.blocks, Reader::OneStream))?.1);
        single.0.push(timed(pool, || data.search(&data.single))?.1);
        four.0.push(timed(pool, || read_all(&data.blocks, Reader::FourStreams))?.1);
        batch.0.push(timed(pool, || data.search(&data.batch))?.1);
    }
    let read = if one.cpu() <= four.cpu() { one } else { four };
    let rate = |seconds: f64| data.bytes / seconds / 1e9;
    let ratio = single.cpu_ratio(&read);
    // CPU time is that of all threads: per thread the rate is what one second of it gives.
    report.add(
        format!("exact search, library, {threads} thread(s), nq 1: bandwidth ratio"),
        Goal::AtLeast(0.8),
        ratio,
        format!(
            "{ratio:.2} ({:.1} of {:.1} GB/s per thread, by CPU time; {:.2} ms wall)",
            rate(single.cpu()),
            rate(read.cpu()),
            single.wall() * 1e3
        ),
        json!({
            "threads": threads,
            "search_cpu_s": single.cpu(), "search_wall_s": single.wall(),
            "read_cpu_s": read.cpu(), "read_wall_s": read.wall(),
        }),
    );
    let gain = BATCH as f64 / single.cpu_ratio(&batch);
    report.add(
        format!("exact search, library, {threads} thread(s), nq {BATCH}: queries per second, ratio to nq 1"),
        Goal::AtLeast(5.0),
        gain,
        format!(
            "{gain:.2} ({:.0} against {:.0} queries per CPU second)",
            BATCH as f64 / batch.cpu(),
            1.0 / single.cpu()
        ),
        json!({ "threads": threads, "batch_cpu_s": batch.cpu(), "batch_wall_s": batch.wall() }),
    );
    Ok(read.cpu())
}

/// What searches through the server took.
struct Served {
    walls: Vec<f64>,
    /// CPU seconds of the server for one search.
    cpu: f64,
}

/// All that was measured through the server.
struct AllServed {
    single: Served,
    with_output: Served,
    batch: Served,
    /// Readings of all bytes in this process, in turns with the single searches.
    read: Costs,
}

/// A server that has the lake loaded, and a client of it.
struct Session {
    server: Server,
    client: Client,
}

async fn server(
    options: &Options,
    data: &Data,
    truth: &Truth,
    pool: &ThreadPool,
) -> Result<AllServed> {
    note("searching through the server");
    let mut session = Session::open(options, truth).await?;
    let one = truth.queries.get(..1).context("there is no query")?;
    // Single searches are short beside the steps in which the kernel tells CPU times.
    let times = options.rounds * 8;
    let mut read = Costs::default();
    let between = || {
        read.0.push(timed(pool, || read_all(&data.blocks, Reader::OneStream))?.1);
        Ok(())
    };
    let single = session.serve(one, &[], times, between).await?;
    let with_output = session.serve(one, &[ID], times, || Ok(())).await?;
    let batch = session.serve(&data.batch_vectors, &[], options.rounds, || Ok(())).await?;
    session.server.stop().await?;
    Ok(AllServed { single, with_output, batch, read })
}

impl Session {
    /// Starts a server over the lake and checks that it answers right.
    async fn open(options: &Options, truth: &Truth) -> Result<Self> {
        let lake = DiskLake::of(options, Form::FixedNone)?;
        let server = Server::start(Allow::Directory(&lake.directory)).await?;
        let mut client = Client::connect(server.address()).await?;
        client.create(COLLECTION, &lake.uri(), r#"{"format":"parquet"}"#, options.dim).await?;
        client.refresh(COLLECTION).await?;
        client.load(COLLECTION).await?;
        for (at, query) in truth.queries.iter().enumerate() {
            let request = search_request(COLLECTION, std::slice::from_ref(query), K, &[ID])?;
            truth.check(at, &found(&client.search(request).await?)?)?;
        }
        Ok(Self { server, client })
    }

    /// Searches so many times, and does something else after each search.
    async fn serve(
        &mut self,
        queries: &[Vec<f32>],
        output: &[&str],
        times: usize,
        mut between: impl FnMut() -> Result<()>,
    ) -> Result<Served> {
        let request = search_request(COLLECTION, queries, K, output)?;
        for _ in 0..WARM_UP {
            self.client.search(request.clone()).await?;
        }
        let before = self.server.usage()?.cpu;
        let mut walls = Vec::with_capacity(times);
        for _ in 0..times {
            let request = request.clone();
            let begun = Instant::now();
            self.client.search(request).await?;
            walls.push(begun.elapsed().as_secs_f64());
            between()?;
        }
        let cpu = self.server.usage()?.cpu.saturating_sub(before);
        Ok(Served { walls, cpu: per(cpu, times) })
    }
}

fn per(total: Duration, times: usize) -> f64 {
    total.as_secs_f64() / times as f64
}

/// The bandwidth is the better of what was measured in turns with the searches and before them.
fn report_server(data: &Data, served: &AllServed, read_cpu: f64, report: &mut Report) {
    let AllServed { single, with_output, batch, read } = served;
    let read_cpu = read.cpu().min(read_cpu);
    let rate = |seconds: f64| data.bytes / seconds / 1e9;
    let p50 = |served: &Served| median(served.walls.iter().copied());
    let ratio = read_cpu / single.cpu;
    report.add(
        "exact search, gRPC, nq 1: bandwidth ratio, whole server",
        Goal::AtLeast(0.8),
        ratio,
        format!(
            "{ratio:.2} ({:.1} of {:.1} GB/s per thread, by CPU time; p50 {:.2} ms wall, {:.1} GB/s)",
            rate(single.cpu),
            rate(read_cpu),
            p50(single) * 1e3,
            rate(p50(single))
        ),
        json!({
            "server_cpu_s": single.cpu, "p50_s": p50(single),
            "read_cpu_s": read_cpu, "read_wall_s": read.wall(), "walls_s": single.walls,
        }),
    );
    report.add(
        "exact search, gRPC, nq 1, with an output field: p50",
        Goal::None,
        p50(with_output) * 1e3,
        format!(
            "{:.2} ms wall, {:.2} ms CPU of the server",
            p50(with_output) * 1e3,
            with_output.cpu * 1e3
        ),
        json!({ "server_cpu_s": with_output.cpu, "walls_s": with_output.walls }),
    );
    let gain = BATCH as f64 * single.cpu / batch.cpu;
    report.add(
        format!("exact search, gRPC, nq {BATCH}: queries per second, ratio to nq 1"),
        Goal::AtLeast(5.0),
        gain,
        format!(
            "{gain:.2} by CPU time of the server, {:.2} by wall time (p50 {:.1} ms)",
            BATCH as f64 * p50(single) / p50(batch),
            p50(batch) * 1e3
        ),
        json!({ "server_cpu_s": batch.cpu, "p50_s": p50(batch), "walls_s": batch.walls }),
    );
}
