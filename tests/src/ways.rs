//! The ways in which the engine can be asked for the rows of a filter. All of them have to give the
//! same rows, or the same refusal.
//!
//! A new way (a plan that was encoded and decoded, a scalar index of some kind) is one more [`Way`]
//! in [`all`]; every script and every random filter then goes through it.

use pandion_filter::{Filter, ParseOptions, Predicate, Templates};
use pandion_query::QueryOptions;
use pandion_types::{Error, Result, VIRTUAL_PK_NAME};

use crate::lake::{KINDS, Lake};
use crate::rows::Numbers;

/// What a way does: from a lake and a filter to the numbers of the rows that it keeps. A way that
/// needs more than the lake, such as indexes, makes it when it is first asked and keeps it by the
/// name of the data set.
pub type Answer = Box<dyn Fn(&Lake, &Filter) -> Result<Numbers>>;

/// The longest text of a filter that goes every way.
pub const LONG_FILTER_BYTES: usize = 32 << 10;

/// A way of asking.
pub struct Way {
    /// What messages call it.
    pub name: String,
    /// How it asks.
    pub answer: Answer,
    /// Whether filters of more than [`LONG_FILTER_BYTES`] go this way too: a few ways are enough for
    /// them, as they are slow to read.
    pub takes_long: bool,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Way {
    /// A way with this name, which takes no long filters.
    pub fn new(
        name: impl Into<String>,
        answer: impl Fn(&Lake, &Filter) -> Result<Numbers> + 'static,
    ) -> Self {
        Self { name: name.into(), answer: Box::new(answer), takes_long: false }
    }

    /// Whether a filter with a text of so many bytes goes this way.
    #[must_use]
    pub fn takes(&self, filter_bytes: usize) -> bool {
        self.takes_long || filter_bytes <= LONG_FILTER_BYTES
    }
}

/// Every way. The first is the plainest: it leaves nothing out and reuses nothing.
#[must_use]
pub fn all() -> Vec<Way> {
    let mut ways: Vec<Way> = (0..8).map(query).collect();
    ways.extend([counted(), searched(false), searched(true), searched_coded(), read_again()]);
    ways.push(Way::new("query through bytes", Lake::query_coded));
    ways.extend(KINDS.into_iter().map(indexed));
    ways.extend([deleted(false), deleted(true)]);
    ways
}

/// Queries with the three options that the bits of `bits` switch on.
fn query(bits: u8) -> Way {
    let options = QueryOptions {
        pruning: bits & 1 != 0,
        scalar_indexes: bits & 2 != 0,
        filter_caches: bits & 4 != 0,
    };
    let name = |on: bool, name: &'static str| if on { name } else { "" };
    let name = format!(
        "query{}{}{}",
        name(options.pruning, " +pruning"),
        name(options.scalar_indexes, " +indexes"),
        name(options.filter_caches, " +caches"),
    );
    let answer = move |lake: &Lake, filter: &Filter| {
        let rows = lake.query(filter, options)?;
        // What the first time left in the caches is there the second time.
        let again = if options.filter_caches { lake.query(filter, options)? } else { rows.clone() };
        if rows != again && !samples(filter) {
            return Err(Error::internal(format!("first {rows:?}, then {again:?}")));
        }
        Ok(rows)
    };
    Way { takes_long: bits == 0 || bits == 7, ..Way::new(name, answer) }
}

/// Whether the filter keeps other rows each time it is asked.
fn samples(filter: &Filter) -> bool {
    matches!(filter.predicate.conjuncts().last(), Some(Predicate::RandomSample { .. }))
}

/// A count has to agree with the query, whose rows it then gives.
fn counted() -> Way {
    Way::new("count", |lake, filter| {
        let rows = lake.query(filter, QueryOptions::default())?;
        let count = lake.count(filter)?;
        if u64::try_from(rows.len()).ok() != Some(count) && !samples(filter) {
            return Err(Error::internal(format!("{} rows, but the count is {count}", rows.len())));
        }
        Ok(rows)
    })
}

/// A search that wants every row that the filter keeps.
fn searched(everything: bool) -> Way {
    let options =
        QueryOptions { pruning: everything, scalar_indexes: everything, filter_caches: everything };
    let name = if everything { "search +pruning +indexes +caches" } else { "search" };
    Way::new(name, move |lake, filter| lake.search(filter, options, false))
}

/// The same search, whose plan goes through its bytes.
fn searched_coded() -> Way {
    Way::new("search through bytes", |lake, filter| {
        lake.search(filter, QueryOptions::default(), true)
    })
}

/// A query over fields with indexes of one kind. Nothing but the indexes may spare it work, so that
/// they are asked whenever they can answer.
fn indexed(kind: &'static str) -> Way {
    let options = QueryOptions { scalar_indexes: true, pruning: false, filter_caches: false };
    Way::new(format!("query with {kind}"), move |lake, filter| {
        lake.query_indexed(kind, filter, options)
    })
}

/// A query of the same rows among dead ones, in files that have yet to be opened.
fn deleted(everything: bool) -> Way {
    let options =
        QueryOptions { pruning: everything, scalar_indexes: everything, filter_caches: everything };
    let name =
        if everything { "query of live rows +pruning +caches" } else { "query of live rows" };
    Way::new(name, move |lake, filter| {
        if reads_key(filter) || samples(filter) {
            // Live rows have other keys there.
            return lake.query(filter, options);
        }
        lake.query_deleted(filter, options)
    })
}

/// Whether the filter reads the primary key.
fn reads_key(filter: &Filter) -> bool {
    filter.to_string().contains(VIRTUAL_PK_NAME)
}

/// A query with the filter that the filter's own text is read as.
fn read_again() -> Way {
    Way::new("query of the written filter", |lake, filter| {
        let text = filter.to_string();
        let again = lake.parse(&text, &Templates::new(), &ParseOptions::default())?;
        if again != *filter {
            return Err(Error::internal(format!("{text} is read as another filter: {again:?}")));
        }
        lake.query(&again, QueryOptions::default())
    })
}
