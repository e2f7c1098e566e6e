//! Counters of the process, in the text format that Prometheus reads.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pandion_query::{CacheUsage, QueryCost};

/// What the doors count.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    search: ReadMetrics,
    query: ReadMetrics,
}

#[derive(Debug, Default)]
struct ReadMetrics {
    answered: AtomicU64,
    microseconds: AtomicU64,
    read_requests: AtomicU64,
    bytes_read: AtomicU64,
    distances: AtomicU64,
}

impl Metrics {
    /// One more search or query was answered.
    pub(crate) fn count_read(&self, kind: &str, cost: &QueryCost, elapsed: Duration) {
        let metrics = if kind == "search" { &self.search } else { &self.query };
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let counts = [
            (&metrics.answered, 1),
            (&metrics.microseconds, micros),
            (&metrics.read_requests, cost.io.read_requests),
            (&metrics.bytes_read, cost.io.bytes_read),
            (&metrics.distances, cost.distances),
        ];
        for (counter, count) in counts {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Every counter, one line each.
    pub(crate) fn render(&self, cache: CacheUsage) -> String {
        type Counter = fn(&ReadMetrics) -> &AtomicU64;
        let counters: [(&str, &str, Counter); 5] = [
            ("pandion_reads_total", "Searches and queries answered.", |m| &m.answered),
            ("pandion_read_microseconds_total", "Time spent on them.", |m| &m.microseconds),
            ("pandion_read_requests_total", "Requests to the lake.", |m| &m.read_requests),
            ("pandion_read_bytes_total", "Bytes read from the lake.", |m| &m.bytes_read),
            ("pandion_distances_total", "Distances computed.", |m| &m.distances),
        ];
        let mut text = String::new();
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            let written = text.write_fmt(arguments);
            debug_assert!(written.is_ok(), "writing to a String does not fail");
        };
        for (name, help, counter) in counters {
            line(format_args!("# HELP {name} {help}\n# TYPE {name} counter\n"));
            for (kind, metrics) in [("search", &self.search), ("query", &self.query)] {
                let value = counter(metrics).load(Ordering::Relaxed);
                line(format_args!("{name}{{kind=\"{kind}\"}} {value}\n"));
            }
        }
        let gauges = [
            ("pandion_vector_cache_bytes", "Bytes of vectors kept in memory.", cache.bytes),
            ("pandion_vector_cache_bytes_max", "The budget for them.", cache.bytes_max),
            ("pandion_vector_cache_blocks", "Row groups kept in memory.", cache.entries),
        ];
        for (name, help, value) in gauges {
            line(format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
        }
        text
    }
}

/// What the scalar indexes in memory take, and how many were found damaged.
pub(crate) fn render_scalar_indexes(open: CacheUsage, damaged: u64) -> String {
    format!(
        "# HELP pandion_scalar_index_bytes Bytes of scalar indexes kept in memory.\n\
         # TYPE pandion_scalar_index_bytes gauge\n\
         pandion_scalar_index_bytes {}\n\
         # HELP pandion_scalar_index_bytes_max The budget for them.\n\
         # TYPE pandion_scalar_index_bytes_max gauge\n\
         pandion_scalar_index_bytes_max {}\n\
         # HELP pandion_scalar_indexes_damaged_total Stored scalar indexes found damaged or gone.\n\
         # TYPE pandion_scalar_indexes_damaged_total counter\n\
         pandion_scalar_indexes_damaged_total {damaged}\n",
        open.bytes, open.bytes_max
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalar_indexes_are_told() {
        let text = render_scalar_indexes(CacheUsage { entries: 1, bytes: 2, bytes_max: 3 }, 4);
        assert!(text.contains("\npandion_scalar_index_bytes 2\n"), "{text}");
        assert!(text.ends_with("\npandion_scalar_indexes_damaged_total 4\n"), "{text}");
    }

    #[test]
    fn counts_appear_under_their_kind() {
        let metrics = Metrics::default();
        let cost = QueryCost { distances: 7, ..QueryCost::default() };
        metrics.count_read("search", &cost, Duration::from_micros(3));
        let text = metrics.render(CacheUsage { entries: 1, bytes: 2, bytes_max: 3 });
        assert!(text.contains("pandion_distances_total{kind=\"search\"} 7\n"), "{text}");
        assert!(text.contains("pandion_distances_total{kind=\"query\"} 0\n"), "{text}");
        assert!(text.contains("pandion_vector_cache_bytes 2\n"), "{text}");
    }
}
