//! Rows of a row group as the Parquet reader selects them.

use std::ops::Range;

use pandion_index::Bitmap;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

use crate::scan::Unit;

/// The ranges of rows of the file that lie in the unit, as a selection of the unit's rows.
pub(crate) fn selection_of_ranges(rows: &[Range<u32>], unit: &Unit) -> RowSelection {
    let (start, end) = (unit.first_row as usize, unit.first_row as usize + unit.rows);
    let ranges = rows.iter().filter_map(|range| {
        let from = (range.start as usize).max(start);
        let to = (range.end as usize).min(end);
        (from < to).then(|| from - start..to - start)
    });
    RowSelection::from_consecutive_ranges(ranges, unit.rows)
}

/// The rows of a bitmap.
pub(crate) fn selection_of_bitmap(rows: &Bitmap) -> RowSelection {
    let all: Vec<usize> = rows.iter().collect();
    let runs = all.chunk_by(|left, right| left + 1 == *right);
    let ranges = runs.filter_map(|run| Some(*run.first()?..*run.last()? + 1));
    RowSelection::from_consecutive_ranges(ranges, rows.len())
}

/// The selected rows, counted in the row group; all `rows` when there is no selection.
pub(crate) fn positions(selection: Option<&RowSelection>, rows: usize) -> Vec<usize> {
    let Some(selection) = selection else { return (0..rows).collect() };
    let mut positions = Vec::with_capacity(selection.row_count());
    let mut next = 0;
    for &RowSelector { row_count, skip } in selection.iter() {
        if !skip {
            positions.extend(next..next + row_count);
        }
        next += row_count;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ranges_become_a_selection_of_the_unit() {
        let unit = Unit { file: 0, row_group: 1, first_row: 100, rows: 50 };
        let selection = selection_of_ranges(&[0..3, 90..102, 149..400], &unit);
        assert_eq!(positions(Some(&selection), 50), [0, 1, 49]);
        assert!(!selection_of_ranges(&[0..3, 200..300], &unit).selects_any());
    }

    #[test]
    fn a_bitmap_becomes_the_selection_of_its_rows() {
        let mut rows = Bitmap::empty(70);
        for row in [0, 1, 5, 63, 64, 69] {
            rows.insert(row);
        }
        assert_eq!(positions(Some(&selection_of_bitmap(&rows)), 70), [0, 1, 5, 63, 64, 69]);
        assert!(!selection_of_bitmap(&Bitmap::empty(70)).selects_any());
    }
}
