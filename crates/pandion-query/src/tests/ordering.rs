//! Queries in the order of fields, beside sorting every row.

use arrow::array::Array;

use super::*;
use crate::OrderBy;

/// The fields that rows are ordered by in these tests.
const FIELDS: [i64; 5] = [100, 101, 102, 103, 104];

/// How two rows compare in one field that both have a value of.
fn compare(field: i64, left: &Row, right: &Row) -> Ordering {
    let floats = |left: f64, right: f64| {
        left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
    };
    match field {
        100 => left.id.cmp(&right.id),
        101 => left.a.cmp(&right.a),
        102 => floats(left.b.unwrap(), right.b.unwrap()),
        103 => left.s.cmp(&right.s),
        _ => left.flag.cmp(&right.flag),
    }
}

fn is_null(field: i64, row: &Row) -> bool {
    match field {
        100 => false,
        101 => row.a.is_none(),
        102 => row.b.is_none(),
        103 => row.s.is_none(),
        _ => row.flag.is_none(),
    }
}

fn expected(order: &[OrderBy], filter: &Term) -> Vec<RowId> {
    let mut rows: Vec<Row> =
        rows().into_iter().filter(|row| filter.test(row) == Some(true)).collect();
    rows.sort_by(|left, right| {
        let keys = order.iter().map(|key| {
            let field = key.field.0;
            let (no_left, no_right) = (is_null(field, left), is_null(field, right));
            if no_left || no_right {
                let order = no_left.cmp(&no_right);
                return if key.nulls_first { order.reverse() } else { order };
            }
            let order = compare(field, left, right);
            if key.descending { order.reverse() } else { order }
        });
        keys.fold(Ordering::Equal, Ordering::then).then(left.id.cmp(&right.id))
    });
    rows.into_iter().map(|row| row.id).collect()
}

fn order_by() -> impl Strategy<Value = OrderBy> {
    (prop::sample::select(FIELDS.to_vec()), any::<bool>(), any::<bool>()).prop_map(
        |(field, descending, nulls_first)| OrderBy {
            field: FieldId(field),
            descending,
            nulls_first,
        },
    )
}

#[test]
fn ordered_pages_agree_with_sorting_every_row() {
    let lake = Lake::new();
    let strategy = (prop::collection::vec(order_by(), 1..4), term(), 1_usize..60, 0_usize..40);
    proptest!(ProptestConfig::with_cases(150), |((order, term, limit, offset) in strategy)| {
        let request = QueryRequest {
            filter: lake.filter(&term.text()),
            output: vec![FieldId(101)],
            order: order.clone(),
            limit: Some(limit),
            offset,
            ..QueryRequest::default()
        };
        let coded = lake.coded.query(&lake.snapshot, request.clone());
        let coded = lake.runtime.block_on(coded).unwrap();
        let found = lake.runtime.block_on(lake.engine.query(&lake.snapshot, request)).unwrap();
        prop_assert_eq!(&found.rows, &coded.rows, "through the codec");
        let all = expected(&order, &term);
        let page: Vec<RowId> = all.into_iter().skip(offset).take(limit).collect();
        prop_assert_eq!(&found.rows, &page);
        let by_id: BTreeMap<RowId, Option<i32>> =
            rows().into_iter().map(|row| (row.id, row.a)).collect();
        let values: Int32Array = page.iter().map(|row| by_id[row]).collect();
        prop_assert_eq!(found.columns[0].values.to_data(), values.to_data());
    });
}

#[test]
fn only_the_ordering_column_is_read_of_all_rows() {
    let lake = Lake::new();
    let request = |order: Vec<OrderBy>, output: Vec<FieldId>| QueryRequest {
        output,
        order,
        limit: Some(1),
        ..QueryRequest::default()
    };
    let by_key = vec![OrderBy { field: FieldId(100), descending: true, nulls_first: false }];
    let run = |request| lake.runtime.block_on(lake.engine.query(&lake.snapshot, request)).unwrap();
    let last = run(request(by_key, vec![FieldId(100)]));
    assert_eq!(last.rows, [rows().last().unwrap().id]);
    assert_eq!(last.cost.io.bytes_read, 0);
    let by_a = vec![OrderBy { field: FieldId(101), descending: true, nulls_first: false }];
    let a = run(request(by_a.clone(), vec![FieldId(100)])).cost.io;
    let with_vector = run(request(by_a, vec![FieldId(106)])).cost.io;
    assert_eq!(with_vector.rows_decoded, a.rows_decoded + 1, "{with_vector:?}");
}
