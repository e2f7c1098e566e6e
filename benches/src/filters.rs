//! Counting the rows that a filter leaves, beside DuckDB and DataFusion over the same files.
//!
//! All systems take turns on the same predicate with as many threads as the machine has cores, and
//! must agree on every count. The files are in the page cache. Three ways of ours are measured: an
//! engine that has read nothing yet, one that has read the columns before, and one with an index
//! for each. No predicate is asked twice of the same engine, so that no finished bitmap helps.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pandion_filter::{Templates, parse};
use pandion_query::{EngineOptions, QueryEngine, QueryOptions};
use serde_json::json;

use crate::Options;
use crate::filter_lake::{FilterLake, PAGE_ROWS, fields};
use crate::node::LocalNode;
use crate::predicates::{LITERALS, Share, Subject};
use crate::process::process_cpu;
use crate::report::{Goal, Report, median, note};
use crate::sql_peers::{SqlPeer, SqlSystem};

const COLLECTION: &str = "filters";
/// The share of the faster peer's time that a scan may take.
const SCAN_SHARE: f64 = 1.0;
/// The share that a count by an index may take where few rows match.
const INDEX_SHARE: f64 = 0.1;

/// One count.
#[derive(Clone, Copy, Debug)]
struct Sample {
    count: u64,
    wall: f64,
    cpu: f64,
}

/// Who counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Ours, by an engine that has read nothing.
    Cold,
    /// Ours, by an engine that has read the columns before.
    Warm,
    /// Ours, by indexes.
    Index,
    Peer(SqlSystem),
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Index => "index",
            Self::Peer(system) => system.name(),
        }
    }
}

/// The counts of one predicate by everybody.
struct Measured {
    subject: Subject,
    share: Share,
    /// Rows that matched in the last round.
    rows: u64,
    ways: Vec<(Way, Vec<Sample>)>,
}

/// Everything that counts.
struct Field {
    lake: FilterLake,
    peers: Vec<SqlPeer>,
    plain: LocalNode,
    indexed: LocalNode,
}

/// Measures and adds to the report.
///
/// # Errors
/// A count fails, or two systems disagree.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let rounds = options.filter_rounds;
    ensure!(rounds < LITERALS, "there are literals for {} rounds", LITERALS - 1);
    let mut field = Field::open(options, report).await?;
    let mut all = Vec::new();
    for subject in Subject::ALL {
        for &share in subject.shares() {
            let measured = field.count(subject, share, rounds).await?;
            measured.report(report);
            all.push(measured);
        }
    }
    report.add_table(table(&all, &field.peers));
    field.plain.stop().await;
    field.indexed.stop().await;
    Ok(())
}

impl Field {
    async fn open(options: &Options, report: &mut Report) -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let lake = FilterLake::of(options, PAGE_ROWS)?;
        let bytes = lake.warm()?;
        note(&format!("filters over {} rows in {} MB", lake.rows, bytes / 1_000_000));
        let peers = SqlPeer::all(options.python.as_deref(), &lake.directory, threads).await?;
        let plain = LocalNode::serving(COLLECTION, &lake.directory, fields()).await?;
        let mut indexed = LocalNode::serving(COLLECTION, &lake.directory, fields()).await?;
        let before = indexed.stored_bytes()?;
        let begun = Instant::now();
        for subject in Subject::ALL {
            let (field, name, params) = subject.index();
            indexed.client.create_index(COLLECTION, field, name, params).await?;
        }
        indexed.client.wait_for_indexes(COLLECTION).await?;
        let took = begun.elapsed().as_secs_f64();
        indexed.look_again(COLLECTION).await?;
        let stored = indexed.stored_bytes()? - before;
        report.add(
            format!("filters: {} scalar indexes over {} rows", Subject::ALL.len(), lake.rows),
            Goal::None,
            took,
            format!(
                "built in {took:.1} s, {} MB beside {} MB of files",
                stored / 1_000_000,
                bytes / 1_000_000
            ),
            json!({ "build_s": took, "index_bytes": stored, "lake_bytes": bytes }),
        );
        Ok(Self { lake, peers, plain, indexed })
    }

    async fn count(&mut self, subject: Subject, share: Share, rounds: usize) -> Result<Measured> {
        let mut ways: Vec<(Way, Vec<Sample>)> = Vec::new();
        let mut rows = 0;
        for round in 0..=rounds as u64 {
            let samples = self.round(subject, share, round).await?;
            rows = agreed(&samples).with_context(|| {
                let text = subject.texts(share, round, self.lake.rows).milvus;
                format!("the systems disagree on {text}: {samples:?}")
            })?;
            check_share(rows, share, self.lake.rows)?;
            // The first round fills what everybody keeps.
            if round == 0 {
                ways = samples.into_iter().map(|(way, _)| (way, Vec::new())).collect();
                continue;
            }
            for ((_, kept), (_, sample)) in ways.iter_mut().zip(samples) {
                kept.push(sample);
            }
        }
        Ok(Measured { subject, share, rows, ways })
    }

    async fn round(
        &mut self,
        subject: Subject,
        share: Share,
        round: u64,
    ) -> Result<Vec<(Way, Sample)>> {
        let texts = subject.texts(share, round, self.lake.rows);
        let mut samples = Vec::new();
        for peer in &mut self.peers {
            let predicate = match peer.system {
                SqlSystem::DuckDb => Some(&texts.duckdb),
                SqlSystem::DataFusion => texts.datafusion.as_ref(),
            };
            let Some(predicate) = predicate else { continue };
            let answer = peer.ask(&format!("select count(*) from rows where {predicate}")).await?;
            let (wall, cpu) = (answer.wall_s, answer.cpu_s);
            samples.push((Way::Peer(peer.system), Sample { count: answer.count()?, wall, cpu }));
        }
        let fresh = QueryEngine::new(&EngineOptions::default())?;
        let (plain, indexed) = (&self.plain, &self.indexed);
        for (way, engine, node) in [
            (Way::Cold, &fresh, plain),
            (Way::Warm, plain.engine().as_ref(), plain),
            (Way::Index, indexed.engine().as_ref(), indexed),
        ] {
            samples.push((way, count(engine, node, &texts.milvus).await?));
        }
        Ok(samples)
    }
}

/// Parses a filter and counts its rows, as the peers do with their text.
async fn count(engine: &QueryEngine, node: &LocalNode, text: &str) -> Result<Sample> {
    let before = process_cpu()?;
    let begun = Instant::now();
    let filter = parse(text, node.snapshot.schema(), &Templates::new())?;
    let (count, _) = engine.count(&node.snapshot, Some(&filter), QueryOptions::default()).await?;
    let wall = begun.elapsed();
    let cpu = process_cpu()?.saturating_sub(before);
    Ok(Sample { count, wall: seconds(wall), cpu: seconds(cpu) })
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// The count, if it is the same for all.
fn agreed(samples: &[(Way, Sample)]) -> Option<u64> {
    let (_, first) = samples.first()?;
    samples.iter().all(|(_, sample)| sample.count == first.count).then_some(first.count)
}

/// Whether as many rows match as the predicate is meant to leave, but for chance.
fn check_share(found: u64, share: Share, rows: u64) -> Result<()> {
    let wanted = share.of(rows) as f64;
    let slack = 0.02 * wanted + 6.0 * wanted.sqrt();
    ensure!(
        (found as f64 - wanted).abs() <= slack,
        "{found} rows match where {wanted} should: these are not the rows of this benchmark"
    );
    Ok(())
}

impl Measured {
    fn of(&self, way: Way) -> Option<(f64, f64)> {
        let (_, samples) = self.ways.iter().find(|(other, _)| *other == way)?;
        let of = |pick: fn(&Sample) -> f64| median(samples.iter().map(pick));
        Some((of(|sample| sample.wall), of(|sample| sample.cpu)))
    }

    /// The least wall and the least CPU time of any peer; NaN without peers.
    fn fastest_peer(&self) -> (f64, f64) {
        let peers = SqlSystem::ALL.into_iter().filter_map(|system| self.of(Way::Peer(system)));
        peers.fold((f64::NAN, f64::NAN), |(wall, cpu), peer| (wall.min(peer.0), cpu.min(peer.1)))
    }

    fn report(&self, report: &mut Report) {
        let (peer_wall, peer_cpu) = self.fastest_peer();
        for way in [Way::Cold, Way::Warm, Way::Index] {
            let Some((wall, cpu)) = self.of(way) else { continue };
            let share = wall / peer_wall;
            let goal = match (way, self.share) {
                (_, _) if share.is_nan() => Goal::None,
                (Way::Warm, _) => Goal::AtMost(SCAN_SHARE),
                (Way::Index, Share::Hundredth | Share::TenThousandth) => Goal::AtMost(INDEX_SHARE),
                _ => Goal::None,
            };
            report.add(
                format!("filter, {}, {}: {}", self.subject.name(), self.share.name(), way.name()),
                goal,
                share,
                format!(
                    "{share:.3} of the faster peer's wall time, {:.3} of the CPU time ({} of {} ms \
                     wall / CPU)",
                    cpu / peer_cpu,
                    milliseconds((wall, cpu)),
                    milliseconds((peer_wall, peer_cpu))
                ),
                self.detail(way),
            );
        }
    }

    fn detail(&self, way: Way) -> serde_json::Value {
        let samples = |way: Way| {
            let (_, samples) = self.ways.iter().find(|(other, _)| *other == way)?;
            let (walls, cpus): (Vec<f64>, Vec<f64>) =
                samples.iter().map(|sample| (sample.wall, sample.cpu)).unzip();
            Some(json!({ "wall_s": walls, "cpu_s": cpus }))
        };
        json!({
            "rows": self.rows,
            "own": samples(way),
            "duckdb": samples(Way::Peer(SqlSystem::DuckDb)),
            "datafusion": samples(Way::Peer(SqlSystem::DataFusion)),
        })
    }

    fn row(&self) -> String {
        let cell = |way| self.of(way).map_or("–".to_owned(), milliseconds);
        let (peer, _) = self.fastest_peer();
        let share = |way| match self.of(way) {
            Some((wall, _)) if !peer.is_nan() => format!("{:.3}", wall / peer),
            _ => "–".to_owned(),
        };
        let cells = [
            format!("{}, {}", self.subject.name(), self.share.name()),
            self.rows.to_string(),
            cell(Way::Cold),
            cell(Way::Warm),
            cell(Way::Index),
            cell(Way::Peer(SqlSystem::DuckDb)),
            cell(Way::Peer(SqlSystem::DataFusion)),
            share(Way::Warm),
            share(Way::Index),
        ];
        format!("| {} |\n", cells.join(" | "))
    }
}

/// `wall / CPU`.
fn milliseconds((wall, cpu): (f64, f64)) -> String {
    format!("{} / {}", digits(wall * 1e3), digits(cpu * 1e3))
}

/// Three digits that say something.
fn digits(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn table(all: &[Measured], peers: &[SqlPeer]) -> String {
    let peer = |system: SqlSystem| {
        let version = peers.iter().find(|peer| peer.system == system);
        version
            .map_or(system.name().to_owned(), |peer| format!("{} {}", system.name(), peer.version))
    };
    let mut text = format!(
        "Wall / CPU milliseconds of one count:\n\n\
         | predicate | rows | scan, cold | scan, warm | index | {} | {} | warm, of the faster peer | \
         index, of the faster peer |\n|---|---|---|---|---|---|---|---|---|\n",
        peer(SqlSystem::DuckDb),
        peer(SqlSystem::DataFusion)
    );
    for measured in all {
        // Writing to a string cannot fail.
        let _written: std::fmt::Result = text.write_str(&measured.row());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(count: u64, wall: f64) -> Sample {
        Sample { count, wall, cpu: wall * 2.0 }
    }

    #[test]
    fn systems_agree_or_there_is_no_count() {
        assert_eq!(agreed(&[]), None);
        let ours = (Way::Cold, sample(5, 1.0));
        assert_eq!(agreed(&[ours, (Way::Warm, sample(5, 2.0))]), Some(5));
        assert_eq!(agreed(&[ours, (Way::Peer(SqlSystem::DuckDb), sample(4, 2.0))]), None);
    }

    #[test]
    fn wrong_shares_are_found() {
        check_share(50_300, Share::Half, 100_000).unwrap();
        check_share(15, Share::TenThousandth, 100_000).unwrap();
        assert!(check_share(60_000, Share::Half, 100_000).is_err());
        assert!(check_share(0, Share::Hundredth, 100_000).is_err());
    }

    #[test]
    fn shares_are_of_the_faster_peer_by_each_clock() {
        let measured = Measured {
            subject: Subject::Random,
            share: Share::Hundredth,
            rows: 5,
            ways: vec![
                (
                    Way::Peer(SqlSystem::DuckDb),
                    vec![sample(5, 0.2), sample(5, 0.4), sample(5, 0.3)],
                ),
                (Way::Peer(SqlSystem::DataFusion), vec![Sample { count: 5, wall: 0.5, cpu: 0.1 }]),
                (Way::Warm, vec![sample(5, 0.15)]),
                (Way::Index, vec![sample(5, 0.0015)]),
            ],
        };
        assert_eq!(measured.fastest_peer(), (0.3, 0.1));
        assert_eq!(
            measured.row(),
            "| int64 random, 1 % | 5 | – | 150 / 300 | 1.50 / 3.00 | 300 / 600 | 500 / 100 | 0.500 | \
             0.005 |\n"
        );
    }
}
