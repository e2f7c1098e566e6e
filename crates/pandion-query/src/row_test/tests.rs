//! Whole columns against one row at a time.

use std::collections::HashMap;

use arrow::array::{
    AsArray, BooleanArray, BooleanBuilder, Float32Array, Float32Builder, Float64Array,
    Float64Builder, Int8Array, Int32Array, Int32Builder, Int64Array, Int64Builder, ListBuilder,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::Field;
use pandion_filter::Templates;
use pandion_types::{CollectionSchema, DataType, FieldSchema};
use proptest::prelude::*;

use super::reference::Reference;
use super::*;
use crate::compile;

fn schema() -> CollectionSchema {
    let fields = [
        ("i8", DataType::Int8, None),
        ("i32", DataType::Int32, None),
        ("i64", DataType::Int64, None),
        ("f", DataType::Float, None),
        ("d", DataType::Double, None),
        ("s", DataType::VarChar, None),
        ("t", DataType::VarChar, None),
        ("b", DataType::Bool, None),
        ("c", DataType::Bool, None),
        ("ts", DataType::Timestamptz, None),
        ("j", DataType::Json, None),
        ("a64", DataType::Array, Some(DataType::Int64)),
        ("a32", DataType::Array, Some(DataType::Int32)),
        ("af", DataType::Array, Some(DataType::Float)),
        ("ad", DataType::Array, Some(DataType::Double)),
        ("as", DataType::Array, Some(DataType::VarChar)),
        ("ab", DataType::Array, Some(DataType::Bool)),
    ];
    let fields =
        fields.into_iter().zip(100..).map(|((name, data_type, element_type), id)| FieldSchema {
            element_type,
            type_params: std::collections::BTreeMap::new(),
            ..FieldSchema::mapped(id, name, data_type)
        });
    CollectionSchema { fields: fields.collect(), ..CollectionSchema::default() }
}

/// One row of every column.
#[derive(Clone, Debug)]
struct Row {
    integer: Option<i64>,
    other: Option<i64>,
    float: Option<f64>,
    text: Option<String>,
    bool: Option<bool>,
    document: Option<String>,
    integers: Option<Vec<i64>>,
    floats: Option<Vec<f64>>,
    texts: Option<Vec<String>>,
    booleans: Option<Vec<bool>>,
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => -4_i64..5,
        1 => prop::sample::select(vec![i64::MIN, i64::MAX, (1 << 53) + 1, 1 << 53, 300, -129]),
    ]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-8_i32..9).prop_map(|value| f64::from(value) / 2.0),
        1 => prop::sample::select(vec![-0.0, 1e300, 9_007_199_254_740_992.0, 0.1]),
    ]
}

fn stored_float() -> impl Strategy<Value = f64> {
    let special = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.1];
    prop_oneof![6 => float(), 1 => prop::sample::select(special)]
}

fn text() -> impl Strategy<Value = String> {
    "[ab%_\u{e9}]{0,4}"
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value as Tree;
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        integer().prop_map(Tree::from),
        float().prop_map(Tree::from),
        "[ab\"\n\u{e9}]{0,3}".prop_map(Tree::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::from),
            prop::collection::btree_map("[kl0]", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn row() -> impl Strategy<Value = Row> {
    use prop::collection::vec;
    use prop::option::of;
    let scalars = (of(integer()), of(integer()), of(stored_float()), of(text()), of(any::<bool>()));
    let lists = (
        of(vec(integer(), 0..5)),
        of(vec(stored_float(), 0..5)),
        of(vec(text(), 0..4)),
        of(vec(any::<bool>(), 0..4)),
    );
    let document = of(tree().prop_map(|tree| tree.to_string()));
    (scalars, document, lists).prop_map(|(scalars, document, lists)| {
        let (integer, other, float, text, bool) = scalars;
        let (integers, floats, texts, booleans) = lists;
        Row { integer, other, float, text, bool, document, integers, floats, texts, booleans }
    })
}

#[expect(clippy::cast_possible_truncation, reason = "any number will do")]
fn arrays(rows: &[Row]) -> Vec<ArrayRef> {
    let small = |value: Option<i64>| value.map(|value| value.clamp(-128, 127) as i8);
    let medium = |value: i64| value.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
    let mut a64 = ListBuilder::new(Int64Builder::new());
    let mut a32 = ListBuilder::new(Int32Builder::new());
    let mut af = ListBuilder::new(Float32Builder::new());
    let mut ad = ListBuilder::new(Float64Builder::new());
    let mut texts = ListBuilder::new(StringBuilder::new());
    let mut booleans = ListBuilder::new(BooleanBuilder::new());
    for row in rows {
        let some = |value| Some(value);
        a64.append_option(row.integers.clone().map(|list| list.into_iter().map(Some)));
        a32.append_option(
            row.integers.clone().map(|list| list.into_iter().map(|it| Some(medium(it)))),
        );
        af.append_option(row.floats.clone().map(|list| list.into_iter().map(|it| Some(it as f32))));
        ad.append_option(row.floats.clone().map(|list| list.into_iter().map(Some)));
        texts.append_option(row.texts.clone().map(|list| list.into_iter().map(Some)));
        booleans.append_option(row.booleans.clone().map(|list| list.into_iter().map(some)));
    }
    let day = 86_400_000_000;
    let instants = rows.iter().map(|row| row.integer.map(|it| it.clamp(-500, 500) * 20 * day));
    vec![
        Arc::new(rows.iter().map(|row| small(row.other)).collect::<Int8Array>()),
        Arc::new(rows.iter().map(|row| row.integer.map(medium)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.integer).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.float.map(|it| it as f32)).collect::<Float32Array>()),
        Arc::new(rows.iter().map(|row| row.float).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.text.clone()).collect::<StringArray>()),
        Arc::new(
            rows.iter().map(|row| row.texts.as_ref()?.first().cloned()).collect::<StringArray>(),
        ),
        Arc::new(rows.iter().map(|row| row.bool).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| Some(row.booleans.is_some())).collect::<BooleanArray>()),
        Arc::new(instants.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Arc::new(rows.iter().map(|row| row.document.clone()).collect::<StringArray>()),
        Arc::new(a64.finish()),
        Arc::new(a32.finish()),
        Arc::new(af.finish()),
        Arc::new(ad.finish()),
        Arc::new(texts.finish()),
        Arc::new(booleans.finish()),
    ]
}

fn choose(options: &[&'static str]) -> impl Strategy<Value = &'static str> + use<> {
    prop::sample::select(options.to_vec())
}

fn comparison() -> impl Strategy<Value = &'static str> {
    choose(&["==", "!=", "<", "<=", ">", ">="])
}

fn quoted() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("{text:?}"))
}

fn list(element: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    // Short lists, and lists that are looked up in sets.
    let sizes = prop_oneof![4 => 0_usize..4, 1 => 7_usize..40];
    let element = element.boxed();
    sizes
        .prop_flat_map(move |size| prop::collection::vec(element.clone(), size))
        .prop_map(|elements| format!("[{}]", elements.join(", ")))
}

fn int_text() -> impl Strategy<Value = String> {
    integer().prop_map(|value| value.to_string())
}

fn float_text() -> impl Strategy<Value = String> {
    float().prop_map(|value| format!("{value:?}"))
}

/// A comparison, a list or a range of a place that holds numbers.
fn number_term(
    places: &[&'static str],
    literal: impl Strategy<Value = String> + 'static,
) -> impl Strategy<Value = String> {
    let literal = literal.boxed();
    prop_oneof![
        (choose(places), comparison(), literal.clone())
            .prop_map(|(place, op, literal)| format!("{place} {op} {literal}")),
        (choose(places), choose(&["in", "not in"]), list(literal.clone()))
            .prop_map(|(place, op, list)| format!("{place} {op} {list}")),
        (choose(places), choose(&["<", "<="]), choose(&["<", "<="]), literal.clone(), literal)
            .prop_map(|(place, first, second, low, high)| format!(
                "{low} {first} {place} {second} {high}"
            )),
    ]
}

fn pattern_term(places: &[&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        (choose(places), "[ab%_\u{e9}]{0,5}")
            .prop_map(|(place, pattern)| format!("{place} like \"{pattern}\"")),
        (choose(places), choose(&["=~", "!~"]), r"\^?([ab.\u{e9}]\*?){0,3}\$?")
            .prop_map(|(place, op, pattern)| format!("{place} {op} \"{pattern}\"")),
    ]
}

fn contains_term(
    places: &[&'static str],
    literal: impl Strategy<Value = String> + 'static,
) -> impl Strategy<Value = String> {
    let literal = literal.boxed();
    prop_oneof![
        (choose(places), literal.clone())
            .prop_map(|(place, literal)| format!("array_contains({place}, {literal})")),
        (choose(places), choose(&["all", "any"]), list(literal))
            .prop_map(|(place, mode, list)| format!("array_contains_{mode}({place}, {list})")),
    ]
}

fn json_literal() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        int_text(),
        float_text(),
        choose(&["true", "false", "\"a\"", "\"ab\"", "\"\u{e9}\""]).prop_map(str::to_owned),
    ];
    prop_oneof![
        5 => one.clone(),
        1 => prop::collection::vec(one, 0..3)
            .prop_map(|elements| format!("[{}]", elements.join(", "))),
    ]
}

const PLACES: [&str; 6] = ["j", "j[\"k\"]", "j[\"l\"]", "j[0]", "j[\"k\"][0]", "j[1][\"k\"]"];

fn json_term() -> impl Strategy<Value = String> {
    let place = || choose(&PLACES);
    let arithmetic = (
        choose(&["j[\"k\"]", "j[0]"]),
        choose(&["+", "-", "*", "/"]),
        prop_oneof![choose(&["1", "-3", "9223372036854775807"]), choose(&["0.5", "-2.0"])],
        comparison(),
        prop_oneof![int_text(), float_text()],
    );
    prop_oneof![
        3 => number_term(&PLACES, json_literal()),
        1 => pattern_term(&PLACES),
        2 => contains_term(&PLACES, json_literal()),
        1 => (place(), choose(&["is null", "is not null"]))
            .prop_map(|(place, test)| format!("{place} {test}")),
        1 => choose(&PLACES[1..]).prop_map(|place| format!("exists {place}")),
        1 => (place(), comparison(), 0..4)
            .prop_map(|(place, op, length)| format!("array_length({place}) {op} {length}")),
        1 => arithmetic.prop_map(|(place, op, by, compare, literal)| {
            format!("{place} {op} {by} {compare} {literal}")
        }),
    ]
}

fn list_term() -> impl Strategy<Value = String> {
    let lists = |places: &[&'static str], literal: BoxedStrategy<String>| {
        let whole = list(literal).boxed();
        prop_oneof![
            (choose(places), choose(&["==", "!="]), whole.clone())
                .prop_map(|(place, op, list)| format!("{place} {op} {list}")),
            (choose(places), prop::collection::vec(whole, 0..9))
                .prop_map(|(place, lists)| format!("{place} in [{}]", lists.join(", "))),
        ]
    };
    prop_oneof![
        number_term(&["a64[0]", "a64[2]", "a32[1]"], int_text()),
        number_term(&["af[0]", "ad[1]"], float_text()),
        number_term(&["as[0]", "as[1]"], quoted()),
        pattern_term(&["as[0]", "as[1]"]),
        contains_term(&["a64", "a32"], int_text()),
        contains_term(&["af", "ad"], float_text()),
        contains_term(&["as"], quoted()),
        contains_term(&["ab"], choose(&["true", "false"]).prop_map(str::to_owned)),
        lists(&["a64", "a32"], int_text().boxed()),
        lists(&["af", "ad"], float_text().boxed()),
        lists(&["as"], quoted().boxed()),
        (choose(&["a64", "as", "ab"]), comparison(), 0..4)
            .prop_map(|(place, op, length)| format!("array_length({place}) {op} {length}")),
        (choose(&["ab[0]", "ab[1]"]), choose(&["==", "!="]), any::<bool>())
            .prop_map(|(place, op, value)| format!("{place} {op} {value}")),
        (choose(&["a64[0]", "as[3]", "ab[1]"]), choose(&["is null", "is not null"]))
            .prop_map(|(place, test)| format!("{place} {test}")),
    ]
}

fn column_term() -> impl Strategy<Value = String> {
    let int_op = choose(&["+", "-", "*", "/", "%", "&", "|", "^"]);
    let divisor = choose(&["1", "2", "-1", "-3", "9223372036854775807", "-9223372036854775808"]);
    prop_oneof![
        number_term(&["i8", "i32", "i64"], int_text()),
        number_term(&["f", "d"], float_text()),
        number_term(&["s"], quoted()),
        pattern_term(&["s"]),
        (choose(&["i8", "i32", "i64", "a64[0]"]), int_op, divisor, comparison(), int_text())
            .prop_map(|(place, op, by, compare, literal)| format!(
                "({place} {op} {by}) {compare} {literal}"
            )),
        (
            choose(&["f", "d", "af[0]"]),
            choose(&["+", "-", "*", "/"]),
            choose(&["0.5", "-2.0"]),
            comparison(),
            float_text()
        )
            .prop_map(|(place, op, by, compare, literal)| format!(
                "{place} {op} {by} {compare} {literal}"
            )),
        (choose(&["i8", "i32", "i64", "f", "d"]), comparison(), choose(&["i8", "i64", "f", "d"]))
            .prop_map(|(left, op, right)| format!("{left} {op} {right}")),
        (comparison(), choose(&["s", "t"])).prop_map(|(op, right)| format!("t {op} {right}")),
        comparison().prop_map(|op| format!("b {op} c")),
        (choose(&["+", "-"]), choose(&["P1M", "P1Y2M3DT4H", "P9999999D"]), comparison()).prop_map(
            |(sign, by, op)| format!("ts {sign} INTERVAL '{by}' {op} ISO '1970-02-01T00:00:00Z'")
        ),
    ]
}

/// Compares the answers for every row.
fn check(text: &str, rows: &[Row]) -> Result<(), TestCaseError> {
    let collection = schema();
    // A range the wrong way round, or a number too large for its field, is no filter.
    let Ok(filter) = pandion_filter::parse(text, &collection, &Templates::new()) else {
        return Ok(());
    };
    let positions: HashMap<FieldId, usize> =
        collection.fields.iter().enumerate().map(|(at, field)| (field.id, at)).collect();
    // Columns that begin in the middle of their buffers.
    let skipped = rows.len() / 4;
    let arrays: Vec<ArrayRef> =
        arrays(rows).into_iter().map(|array| array.slice(skipped, rows.len() - skipped)).collect();
    let fields = collection
        .fields
        .iter()
        .zip(&arrays)
        .map(|(field, array)| Field::new(&field.name, array.data_type().clone(), true));
    let batch_schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(Arc::clone(&batch_schema), arrays.clone()).unwrap();
    let columns = Columns { schema: batch_schema, positions: positions.clone() };

    let (term, negated) = match &filter.predicate {
        Predicate::Not(inner) => (inner.as_ref(), true),
        term => (term, false),
    };
    let reference = Reference::new(term, positions);
    let expected: Vec<Option<bool>> = (0..batch.num_rows())
        .map(|row| reference.test(&arrays, row).unwrap().map(|value| value != negated))
        .collect();
    let compiled = compile::predicate(&filter.predicate, &columns, 0).unwrap();
    prop_assert_eq!(evaluate(&compiled, &batch), expected, "{}", text);
    // Terms that DataFusion has an operator for have to be right here, too.
    let own = RowTest::compile(term, &columns).unwrap();
    let own: Vec<Option<bool>> =
        evaluate(&own, &batch).into_iter().map(|it| it.map(|value| value != negated)).collect();
    let expected: Vec<Option<bool>> = (0..batch.num_rows())
        .map(|row| reference.test(&arrays, row).unwrap().map(|value| value != negated))
        .collect();
    prop_assert_eq!(own, expected, "{}", text);
    Ok(())
}

fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Vec<Option<bool>> {
    let answers = expr.evaluate(batch).unwrap().into_array(batch.num_rows()).unwrap();
    answers.as_boolean().iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn terms_on_plain_columns(
        text in column_term(),
        rows in prop::collection::vec(row(), 0..90),
    ) {
        check(&text, &rows)?;
    }

    #[test]
    fn terms_on_arrays(text in list_term(), rows in prop::collection::vec(row(), 0..90)) {
        check(&text, &rows)?;
    }

    #[test]
    fn terms_on_documents(text in json_term(), rows in prop::collection::vec(row(), 0..90)) {
        check(&text, &rows)?;
    }
}

/// More rows than the short columns above have.
#[test]
fn long_columns() {
    let row = |at: i64| Row {
        integer: (at % 7 != 0).then_some(at),
        other: Some(at % 100),
        float: None,
        text: Some(format!("{}x{at}", "y".repeat(usize::try_from(at % 50).unwrap()))),
        bool: None,
        document: Some(format!("{{\"k\": {at}}}")),
        integers: (at % 5 != 0).then(|| vec![at; usize::try_from(at % 4).unwrap()]),
        floats: None,
        texts: None,
        booleans: None,
    };
    let rows: Vec<Row> = (0..9_000).map(row).collect();
    for text in [
        "(i64 % 10) == 3",
        "a64[1] > 4000",
        "array_length(a64) == 2",
        "i8 < i32",
        "array_contains(a64, 7001)",
        "j[\"k\"] >= 1234",
        "s like '%x77%'",
        "s like '%yyx%7_%'",
    ] {
        check(text, &rows).unwrap();
    }
}
