//! Leaves out files whose bucket partition holds no value that a term asks for.

use pandion_connector_parquet::BloomValue;
use pandion_manifest::{Bucket, DataFile, TableState};

use crate::bloom::BloomTerm;

/// Whether a row of the file may meet all terms, as far as buckets tell.
pub(crate) fn may_match(terms: &[BloomTerm], table: &TableState, file: &DataFile) -> bool {
    let buckets = file.table.as_ref().map(|file| file.buckets.as_slice()).unwrap_or_default();
    buckets.iter().all(|bucket| {
        let Some(column) = table.column(bucket.field) else { return true };
        let mut of_field = terms.iter().filter(|term| term.field() == bucket.field);
        of_field.all(|term| {
            term.values().iter().any(|value| may_hold(bucket, &column.column_type, value))
        })
    })
}

fn may_hold(bucket: &Bucket, column_type: &str, value: &BloomValue) -> bool {
    let hash = match (value, column_type) {
        (BloomValue::Int(value), "int" | "long") => hash(&value.to_le_bytes()),
        (BloomValue::Text(value), "string") => hash(value.as_bytes()),
        // The value is not what was hashed.
        _ => return true,
    };
    match (hash, bucket.buckets, bucket.bucket) {
        (Some(hash), 1.., Some(found)) => {
            (hash & i32::MAX.unsigned_abs()) % bucket.buckets == found
        }
        // All rows of the file are null there, and no term with a value holds for null.
        (Some(_), 1.., None) => false,
        _ => true,
    }
}

/// The hash of the Iceberg specification, appendix B: 32-bit Murmur3 with seed 0.
fn hash(mut bytes: &[u8]) -> Option<u32> {
    murmur3::murmur3_32(&mut bytes, 0).ok()
}

#[cfg(test)]
mod tests {
    use pandion_types::FieldId;

    use super::*;

    #[test]
    fn values_hash_as_the_specification_says() {
        assert_eq!(hash(&34_i64.to_le_bytes()), Some(2_017_239_379));
        assert_eq!(hash(b"iceberg"), Some(1_210_000_089));
    }

    #[test]
    fn only_the_bucket_of_a_value_may_hold_it() {
        let bucket = |buckets, bucket| Bucket { field: FieldId(1), buckets, bucket };
        let (value, text) = (BloomValue::Int(34), BloomValue::Text("iceberg".into()));
        let holding = |column_type: &str, value: &BloomValue| -> Vec<u32> {
            (0..16).filter(|&it| may_hold(&bucket(16, Some(it)), column_type, value)).collect()
        };
        assert_eq!(holding("long", &value), [2_017_239_379 % 16]);
        assert_eq!(holding("int", &value), [2_017_239_379 % 16]);
        assert_eq!(holding("string", &text), [1_210_000_089 % 16]);
        // A field of texts may be read from a column of UUIDs, which hash otherwise.
        assert_eq!(holding("uuid", &text).len(), 16);
        assert!(!may_hold(&bucket(16, None), "long", &value));
        assert!(may_hold(&bucket(0, Some(0)), "long", &value));
    }
}
