use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType as ArrowType, Field, Schema};
use pandion_filter::{TemplateValue, Templates};
use pandion_types::{CollectionSchema, ErrorKind, FieldSchema};

use super::*;

fn schema() -> CollectionSchema {
    let fields = [
        (VIRTUAL_PK_NAME, DataType::Int64),
        ("a", DataType::Int64),
        ("s", DataType::VarChar),
        ("t", DataType::VarChar),
        ("j", DataType::Json),
        ("g", DataType::Geometry),
        ("m", DataType::VarChar),
    ];
    let fields = fields.into_iter().zip(100..).map(|((name, data_type), id)| FieldSchema {
        is_primary_key: name == VIRTUAL_PK_NAME,
        type_params: BTreeMap::from([("enable_match".to_owned(), "true".to_owned())]),
        ..FieldSchema::mapped(id, name, data_type)
    });
    CollectionSchema { fields: fields.collect(), ..CollectionSchema::default() }
}

fn batch() -> (RecordBatch, Columns) {
    let texts =
        |values: [Option<&str>; 4]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
        Arc::new(Int64Array::from(vec![Some(10), None, Some(-5), Some(999_999)])),
        texts([Some("a_b"), Some(""), None, Some("axb")]),
        texts([Some("a"), Some(""), Some("x"), None]),
        texts([Some("{\"k\": 1}"), Some("{\"k\": "), Some(""), None]),
        texts([Some("POINT(1 1)"), Some("POINT(9 9)"), Some("nonsense"), None]),
        texts([Some("x"), None, None, None]),
    ];
    let schema = schema();
    let fields: Vec<Field> = schema
        .fields
        .iter()
        .zip(&arrays)
        .map(|(field, array)| Field::new(&field.name, array.data_type().clone(), true))
        .collect();
    let positions = schema.fields.iter().enumerate().map(|(at, field)| (field.id, at)).collect();
    let batch_schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&batch_schema), arrays).unwrap();
    (batch, Columns { schema: batch_schema, positions })
}

fn parsed(text: &str, templates: &Templates) -> Predicate {
    let filter = pandion_filter::parse(text, &schema(), templates);
    filter.unwrap_or_else(|error| panic!("{text}: {error}")).predicate
}

fn evaluate(predicate: &Predicate) -> Vec<Option<bool>> {
    let (batch, columns) = batch();
    let expr = self::predicate(predicate, &columns, 0).unwrap();
    let answers = expr.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap();
    answers.as_boolean().iter().collect()
}

/// One letter for each row: true, false, unknown.
fn answers(text: &str) -> String {
    let letter = |answer| match answer {
        Some(true) => 't',
        Some(false) => 'f',
        None => 'u',
    };
    evaluate(&parsed(text, &Templates::new())).into_iter().map(letter).collect()
}

fn refusal(text: &str) -> Error {
    let (_, columns) = batch();
    predicate(&parsed(text, &Templates::new()), &columns, 0).unwrap_err()
}

#[test]
fn documents_that_are_malformed_lead_nowhere() {
    assert_eq!(answers("j[\"k\"] == 1"), "tuuu");
    assert_eq!(answers("j[\"k\"] != 1"), "fuuu");
    assert_eq!(answers("j[\"k\"] is null"), "fttt");
    assert_eq!(answers("j is null"), "ffft");
    assert_eq!(answers("j is not null"), "tttf");
    assert_eq!(answers("exists j[\"k\"]"), "tfff");
    assert_eq!(answers("not exists j[\"k\"]"), "fttt");
}

#[test]
fn functions_of_milvus_for_strings() {
    assert_eq!(answers("empty(s)"), "ftuf");
    assert_eq!(answers("starts_with(s, 'a_')"), "tfuf");
    assert_eq!(answers("starts_with(s, 'a')"), "tfut");
    assert_eq!(answers("starts_with(s, '')"), "ttut");
    assert_eq!(answers("starts_with(s, t)"), "ttuu");
    assert_eq!(answers("starts_with('ab', t)"), "ttfu");
    assert_eq!(answers("starts_with(s, s)"), "ttut");
    assert_eq!(answers("not starts_with(s, 'a')"), "ftuf");
    assert_eq!(answers("starts_with('ab', 'a') and empty('')"), "tttt");
}

#[test]
fn shapes_are_tested_and_what_is_none_is_unknown() {
    assert_eq!(answers("st_within(g, 'POLYGON((0 0,2 0,2 2,0 2,0 0))')"), "tfuu");
    assert_eq!(answers("st_equals(g, 'POINT(9 9)')"), "ftuu");
    assert_eq!(answers("st_dwithin(g, 'POINT(1 1)', 5)"), "tfuu");
    assert_eq!(answers("st_isvalid(g)"), "ttfu");
    assert_eq!(refusal("st_within(g, 'nonsense')").kind(), ErrorKind::InvalidArgument);
}

#[test]
fn what_is_not_built_says_so() {
    for (text, expected) in [
        ("text_match(m, 'x')", "text_match is not supported"),
        ("phrase_match(m, 'x')", "phrase_match is not supported"),
        ("text_match_fuzzy(m, 'x', max_edit_distance=1)", "text_match_fuzzy is not supported"),
        ("now()", "function now() not found"),
        ("empty(a)", "function empty(Int64) not found"),
        ("starts_with(j['k'], 'x')", "function starts_with(JSON, VarChar) not found"),
        ("starts_with(s, 5)", "function starts_with(VarChar, Int64) not found"),
        ("starts_with(s)", "function starts_with(VarChar) not found"),
        ("s =~ '(a'", "invalid regular expression \"(a\""),
        ("j['k'] =~ '(a{1000}){1000}'", "invalid regular expression"),
    ] {
        let error = refusal(text);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
        assert!(error.message().starts_with("failed to create query plan: "), "{error}");
        assert!(error.message().contains(expected), "{error}");
    }
}

#[test]
fn a_sample_is_taken_of_the_rows_that_meet_the_rest() {
    let (batch, columns) = batch();
    let term = parsed("a > 0 and random_sample(0.5)", &Templates::new());
    let mut seen = [0; 4];
    for seed in 0..200 {
        let expr = predicate(&term, &columns, seed).unwrap();
        let once = expr.evaluate(&batch).unwrap().into_array(4).unwrap();
        let again = predicate(&term, &columns, seed).unwrap();
        assert_eq!(&again.evaluate(&batch).unwrap().into_array(4).unwrap(), &once);
        for (count, kept) in seen.iter_mut().zip(once.as_boolean()) {
            *count += usize::from(kept == Some(true));
        }
    }
    assert_eq!((seen[1], seen[2]), (0, 0));
    assert!((60..140).contains(&seen[0]) && (60..140).contains(&seen[3]), "{seen:?}");
}

#[test]
fn lists_of_a_million_values() {
    let integers: Vec<TemplateValue> = (0..1_000_000).map(TemplateValue::Int64).collect();
    let far: Vec<TemplateValue> =
        (0..1_000_000).map(|value| TemplateValue::Int64(value * 1_000_003 + 10)).collect();
    let texts: Vec<TemplateValue> =
        (0..1_000_000).map(|value| TemplateValue::String(format!("a{value}b"))).collect();
    let templates = Templates::from_iter([
        ("integers", TemplateValue::Array(integers)),
        ("far", TemplateValue::Array(far)),
        ("texts", TemplateValue::Array(texts)),
    ]);
    let evaluated = |text: &str| evaluate(&parsed(text, &templates));
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(evaluated("a in {integers}"), [yes, None, no, yes]);
    assert_eq!(evaluated("a in {far}"), [yes, None, no, no]);
    assert_eq!(evaluated("s in {texts}"), [no, no, None, no]);
    assert_eq!(evaluated("j[\"k\"] in {integers}"), [yes, None, None, None]);
    assert_eq!(evaluated("json_contains_all(j[\"k\"], {integers})"), [None; 4]);
}

#[test]
fn deep_and_long_filters_fit_in_a_small_stack() {
    let depth = 60;
    let texts = [
        vec!["a == 10"; 100_000].join(" or "),
        format!("{}(a > 1)", "not ".repeat(120)),
        // Each level has a long chain of its own.
        format!(
            "{}a == 10{}",
            format!("({} and ", vec!["a < 1000"; 300].join(" and ")).repeat(depth),
            ")".repeat(depth)
        ),
        format!(
            "{}a == 10{}",
            format!("a > 1 and (({}) or ", vec!["a == 3"; 100].join(" or ")).repeat(depth / 2),
            ")".repeat(depth / 2)
        ),
    ];
    let stack = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
    let worker = stack.spawn(move || {
        for text in texts {
            let answers = evaluate(&parsed(&text, &Templates::new()));
            assert_eq!(answers[..3], [Some(true), None, Some(false)]);
        }
    });
    worker.unwrap().join().unwrap();
}

#[test]
fn cheap_terms_are_evaluated_first() {
    let (_, columns) = batch();
    let text = "j[\"k\"] == 1 and s like '%x%' and a > 1";
    let expr = predicate(&parsed(text, &Templates::new()), &columns, 0).unwrap();
    let shown = expr.to_string();
    let place = |part: &str| shown.find(part).unwrap_or_else(|| panic!("{part} in {shown}"));
    assert!(place("a@1 > 1") < place("like") && place("like") < place("j["), "{shown}");
    assert_eq!(expr.data_type(&columns.schema).unwrap(), ArrowType::Boolean);
}
