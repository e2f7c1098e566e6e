//! One view of all the ways in which Arrow puts several values into a row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef};

/// The rows of a list-like array: where each one's elements lie among `values`.
pub(super) struct ListRows {
    pub(super) values: ArrayRef,
    /// First element and number of elements of each row; of no meaning where the row is null.
    pub(super) spans: Vec<(usize, usize)>,
    pub(super) nulls: Option<NullBuffer>,
}

impl ListRows {
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The rows that are not null.
    pub(super) fn present(&self) -> impl Iterator<Item = (usize, (usize, usize))> + '_ {
        let present = |(row, _): &(usize, _)| !self.is_null(*row);
        self.spans.iter().copied().enumerate().filter(present)
    }

    /// The first row that has a null element.
    pub(super) fn first_null_element(&self) -> Option<usize> {
        let nulls = self.values.logical_nulls().filter(|nulls| nulls.null_count() > 0)?;
        let has_null =
            |(start, length): (usize, usize)| nulls.slice(start, length).null_count() > 0;
        self.present().find(|(_, span)| has_null(*span)).map(|(row, _)| row)
    }
}

/// The field of the elements of a list-like type.
pub(super) fn item_of(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// The rows of a list-like array; `None` for any other array.
pub(super) fn list_rows(array: &ArrayRef) -> Option<ListRows> {
    let (values, spans) = match array.data_type() {
        DataType::List(_) => offset_spans::<i32>(array),
        DataType::LargeList(_) => offset_spans::<i64>(array),
        DataType::ListView(_) => view_spans::<i32>(array),
        DataType::LargeListView(_) => view_spans::<i64>(array),
        DataType::FixedSizeList(_, length) => {
            let length = usize::try_from(*length).ok()?;
            let list = array.as_fixed_size_list();
            let spans = (0..list.len()).map(|row| (row * length, length)).collect();
            (Arc::clone(list.values()), spans)
        }
        _ => return None,
    };
    Some(ListRows { values, spans, nulls: array.nulls().cloned() })
}

fn offset_spans<O: OffsetSizeTrait>(array: &ArrayRef) -> (ArrayRef, Vec<(usize, usize)>) {
    let list = array.as_list::<O>();
    let span = |pair: &[O]| (pair[0].as_usize(), (pair[1] - pair[0]).as_usize());
    (Arc::clone(list.values()), list.value_offsets().windows(2).map(span).collect())
}

fn view_spans<O: OffsetSizeTrait>(array: &ArrayRef) -> (ArrayRef, Vec<(usize, usize)>) {
    let list = array.as_list_view::<O>();
    let starts = list.value_offsets().iter().map(|start| start.as_usize());
    let lengths = list.value_sizes().iter().map(|length| length.as_usize());
    (Arc::clone(list.values()), starts.zip(lengths).collect())
}

/// The values of a binary array of any kind; `None` for any other array.
pub(super) fn binary_rows(array: &ArrayRef) -> Option<Vec<Option<&[u8]>>> {
    match array.data_type() {
        DataType::Binary => Some(array.as_binary::<i32>().iter().collect()),
        DataType::LargeBinary => Some(array.as_binary::<i64>().iter().collect()),
        DataType::BinaryView => Some(array.as_binary_view().iter().collect()),
        _ => None,
    }
}
