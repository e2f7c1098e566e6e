//! What a manifest's metrics say of the values of mapped columns.
//!
//! Bounds are bounds and no more: those of long strings are cut. NaN is within no bounds; floats
//! may stand beside NaN, as everywhere in manifests.

use iceberg::spec::DataFile;
use pandion_manifest::ColumnStatistics;

use crate::columns::Columns;
use crate::values::{self, Bound};

/// Statistics of all mapped columns over a file of `rows` rows, in the order of
/// [`Columns::mapped`]. What the metrics do not tell, or tell wrongly, is unknown.
pub(crate) fn of_file(file: &DataFile, columns: &Columns, rows: u64) -> Vec<ColumnStatistics> {
    let of_column = |mapped: &crate::columns::MappedColumn| {
        let id = mapped.column.column_id;
        let data_type = mapped.field.data_type;
        let bound = |bounds: &std::collections::HashMap<i32, iceberg::spec::Datum>, side| {
            let datum = bounds.get(&id)?;
            values::bound(datum.literal(), datum.data_type(), data_type, side)
        };
        let mut statistics = ColumnStatistics {
            field: mapped.field.id,
            null_count: file.null_value_counts().get(&id).copied().filter(|&nulls| nulls <= rows),
            min: bound(file.lower_bounds(), Bound::Lower),
            max: bound(file.upper_bounds(), Bound::Upper),
        };
        if let (Some(min), Some(max)) = (&statistics.min, &statistics.max)
            && max < min
        {
            (statistics.min, statistics.max) = (None, None);
        }
        statistics
    };
    columns.mapped().iter().map(of_column).collect()
}
