//! Leaves out row groups whose Bloom filters do not know any value that a term asks for.

use pandion_connector_parquet::{BloomFilter, BloomValue};
use pandion_filter::{CompareOp, Operand, Predicate, Value};
use pandion_source::IoStats;
use pandion_types::{FieldId, FileIdentity, Result};

use crate::cache::{ByteCache, Weigh};
use crate::scan::Unit;
use crate::snapshot::Snapshot;

/// Terms that ask for more values than this are not looked up: some value would seem to be there.
const VALUES_MAX: usize = 256;

/// A term that only rows with one of some values meet.
#[derive(Debug)]
pub(crate) struct BloomTerm {
    field: FieldId,
    values: Vec<BloomValue>,
}

impl BloomTerm {
    pub(crate) fn field(&self) -> FieldId {
        self.field
    }

    /// The values of which a row must have one.
    pub(crate) fn values(&self) -> &[BloomValue] {
        &self.values
    }
}

/// Names the filter of one column in one row group of one file's content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BloomKey {
    identity: FileIdentity,
    column: String,
    row_group: usize,
}

/// A filter, or that there is none.
pub(crate) struct Bloom(Option<BloomFilter>);

impl Weigh for Bloom {
    fn weigh(&self) -> usize {
        self.0.as_ref().map_or(0, BloomFilter::memory_bytes)
    }
}

/// The conjuncts that Bloom filters can refute.
pub(crate) fn terms(conjuncts: &[Predicate]) -> Vec<BloomTerm> {
    let terms = conjuncts.iter().filter_map(|conjunct| {
        let (operand, values) = match conjunct {
            Predicate::Compare { operand, op: CompareOp::Equal, value } => {
                (operand, std::slice::from_ref(value))
            }
            Predicate::In { operand, values } if values.len() <= VALUES_MAX => {
                (operand, values.as_slice())
            }
            _ => return None,
        };
        let Operand::Field(field) = operand else { return None };
        let values = values.iter().map(|value| match value {
            Value::Int(value) => Some(BloomValue::Int(*value)),
            Value::String(value) => Some(BloomValue::Text(value.clone())),
            _ => None,
        });
        let values = values.collect::<Option<Vec<_>>>()?;
        (!field.is_primary_key).then_some(BloomTerm { field: field.id, values })
    });
    terms.collect()
}

/// Whether a row of the unit may meet all terms.
///
/// # Errors
/// Those of reading the filters.
pub(crate) async fn may_match(
    terms: &[BloomTerm],
    snapshot: &Snapshot,
    unit: &Unit,
    cache: &ByteCache<BloomKey, Bloom>,
    stats: &IoStats,
) -> Result<bool> {
    let (entry, file) = snapshot.file(unit.file)?;
    for term in terms {
        let Some(field) = snapshot.schema().field_by_id(term.field) else { continue };
        let key = BloomKey {
            identity: entry.identity.clone(),
            column: snapshot.manifest().column_key(field),
            row_group: unit.row_group,
        };
        let load = || async {
            let filter = file.bloom_filter(field, unit.row_group, stats).await?;
            Ok(std::sync::Arc::new(Bloom(filter)))
        };
        let (bloom, _) = cache.get_or_load(&key, load).await?;
        let known = |filter: &BloomFilter| term.values.iter().any(|value| filter.may_hold(value));
        if bloom.0.as_ref().is_some_and(|filter| !known(filter)) {
            return Ok(false);
        }
    }
    Ok(true)
}
