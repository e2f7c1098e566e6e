use std::collections::BTreeMap;

use pandion_proto::schema::{IDs, LongArray, StringArray};
use pandion_types::{DataType, ErrorKind};

use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    pairs
        .iter()
        .map(|(key, value)| KeyValuePair { key: (*key).to_owned(), value: (*value).to_owned() })
        .collect()
}

fn decode(list: &[(&str, &str)]) -> Result<SearchParams> {
    decode_search_params(Params(&pairs(list)))
}

fn refusal(list: &[(&str, &str)]) -> String {
    let error = decode(list).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    error.message().to_owned()
}

fn schema(fields: &[(&str, DataType)]) -> CollectionSchema {
    let fields = (101..)
        .zip(fields)
        .map(|(id, (name, data_type))| FieldSchema {
            type_params: BTreeMap::from([("dim".to_owned(), "8".to_owned())]),
            ..FieldSchema::mapped(id, name, *data_type)
        })
        .collect();
    CollectionSchema { fields, ..CollectionSchema::default() }
}

#[test]
fn what_python_sends_is_understood() {
    let params = decode(&[
        ("topk", "10"),
        ("round_decimal", "-1"),
        ("ignore_growing", "False"),
        ("metric_type", "L2"),
        ("anns_field", "v"),
        ("params", r#"{"metric_type":"L2","radius":0.5,"range_filter":0.1,"ef":64}"#),
        ("timezone", "Asia/Tokyo"),
    ])
    .unwrap();
    assert_eq!((params.limit, params.offset), (10, 0));
    assert_eq!(params.round_decimal, None);
    assert_eq!(params.metric_type.as_deref(), Some("L2"));
    assert_eq!(params.anns_field.as_deref(), Some("v"));
    assert_eq!((params.radius, params.range_filter), (Some(0.5), Some(0.1)));
    assert_eq!(params.index_params["ef"], 64);
    assert_eq!(params.timezone, Some(Tz::Asia__Tokyo));
    assert_eq!(params.iterator, None);
}

#[test]
fn what_node_sends_is_understood() {
    let params = decode(&[
        ("topk", "5"),
        ("offset", "2"),
        ("metric_type", ""),
        ("anns_field", ""),
        ("params", "{}"),
        ("radius", "2"),
        ("round_decimal", "3"),
    ])
    .unwrap();
    assert_eq!((params.limit, params.offset), (5, 2));
    assert_eq!(params.metric_type, None);
    assert_eq!(params.anns_field, None);
    assert_eq!((params.radius, params.range_filter), (Some(2.0), None));
    assert_eq!(params.round_decimal, Some(3));
}

#[test]
fn bounds_may_be_texts_and_null() {
    let params = decode(&[
        ("topk", "1"),
        ("params", r#"{"radius":"1.5","range_filter":null}"#),
        ("range_filter", "-2"),
    ])
    .unwrap();
    assert_eq!((params.radius, params.range_filter), (Some(1.5), Some(-2.0)));
    assert!(
        refusal(&[("topk", "1"), ("params", r#"{"radius":"wide"}"#)]).contains("radius [wide]")
    );
    assert!(refusal(&[("topk", "1"), ("radius", "nan")]).contains("radius [nan]"));
    assert!(refusal(&[("topk", "1"), ("range_filter", "1")]).contains("requires radius to be set"));
}

#[test]
fn windows_have_limits() {
    assert_eq!(refusal(&[]), "topk is required");
    assert_eq!(refusal(&[("topk", "ten")]), "topk [ten] is invalid");
    for topk in ["0", "-1", "16385"] {
        let expected =
            format!("topk [{topk}] is invalid, it should be in range [1, 16384], but got {topk}");
        assert_eq!(refusal(&[("topk", topk)]), expected);
    }
    assert!(refusal(&[("topk", "1"), ("offset", "-1")]).starts_with("offset [-1] is invalid"));
    assert!(refusal(&[("topk", "1"), ("offset", "16385")]).starts_with("offset [16385] is"));
    assert!(refusal(&[("topk", "10"), ("offset", "16380")]).starts_with("offset+topk [16390] is"));
    let params = decode(&[("topk", "16383"), ("offset", "1")]).unwrap();
    assert_eq!((params.limit, params.offset), (16_383, 1));
}

#[test]
fn decimals_have_limits() {
    for bad in ["7", "-2", "x", "1.5"] {
        let text = refusal(&[("topk", "1"), ("round_decimal", bad)]);
        assert!(text.starts_with(&format!("round_decimal [{bad}] is invalid")), "{text}");
    }
    assert!((round(1.236_7, Some(2)) - 1.24).abs() < 1e-6);
    assert!((round(1.236_7, None) - 1.236_7).abs() < 1e-9);
}

#[test]
fn params_must_be_a_json_object() {
    assert!(refusal(&[("topk", "1"), ("params", "[1]")]).contains("is not a JSON object"));
    assert!(refusal(&[("topk", "1"), ("params", "{")]).contains("is not valid JSON"));
}

#[test]
fn iterators_are_recognised() {
    let params = decode(&[("topk", "99999"), ("iterator", "True")]).unwrap();
    assert_eq!((params.iterator, params.limit), (Some(SearchIterator::V1), 16_384));
    let token = Uuid::new_v4();
    let params = decode(&[
        ("topk", "99999"),
        ("iterator", "True"),
        ("search_iter_v2", "True"),
        ("search_iter_batch_size", "20"),
        ("search_iter_last_bound", "0.25"),
        ("search_iter_id", &token.to_string()),
    ])
    .unwrap();
    let expected = SearchIterator::V2 { last_bound: Some(0.25), id: Some(token) };
    assert_eq!((params.iterator, params.limit), (Some(expected), 20));
}

#[test]
fn iterators_are_refused_with_milvus_texts() {
    let with = |extra: &[(&str, &str)]| {
        let base = [
            ("topk", "10"),
            ("iterator", "True"),
            ("search_iter_v2", "True"),
            ("search_iter_batch_size", "10"),
        ];
        // The first value of a key counts.
        refusal(&[extra, base.as_slice()].concat())
    };
    let prefix = "parse iterator v2 info failed: ";
    for (extra, text) in [
        (("iterator", "False"), "both iterator and search_iter_v2 must be set in the SDK"),
        (("offset", "1"), "Setting an offset is not permitted when using a search iterator v2"),
        (("search_iter_id", "abc"), "invalid token format"),
        (("search_iter_batch_size", ""), "batch size is required"),
        (("search_iter_batch_size", "x"), "batch size is invalid"),
        (("search_iter_batch_size", "16385"), "batch size is invalid"),
        (("search_iter_last_bound", "far"), "failed to parse input last bound"),
    ] {
        let found = with(&[extra]);
        assert!(found.starts_with(prefix) && found.contains(text), "{extra:?}: {found}");
    }
}

#[test]
fn parts_of_a_hybrid_search_take_its_limit_and_no_offset() {
    let part = |list: &[(&str, &str)]| decode_part_params(Params(&pairs(list)), 7);
    let found = part(&[("offset", "5"), ("anns_field", "v")]).unwrap();
    assert_eq!((found.limit, found.offset), (7, 0));
    assert_eq!(part(&[("topk", "3")]).unwrap().limit, 3);
    assert!(part(&[("topk", "0")]).is_err());
    let error = part(&[("iterator", "True")]).unwrap_err();
    assert!(error.message().contains("not supported in hybrid search"), "{error}");
}

#[test]
fn an_iterator_stays_with_its_collection() {
    let params = decode(&[("topk", "1"), ("collection_id", "7")]).unwrap();
    params.check_collection(CollectionId(7)).unwrap();
    let error = params.check_collection(CollectionId(8)).unwrap_err();
    assert!(
        error.message().contains("collection id:7 in the request is not consistent"),
        "{error}"
    );
    SearchParams::default().check_collection(CollectionId(8)).unwrap();
}

#[test]
fn parts_of_points_in_time_are_named() {
    let params = decode(&[("topk", "1"), ("time_fields", "year, day")]).unwrap();
    assert_eq!(params.time_parts, [TimePart::Year, TimePart::Day]);
    assert!(refusal(&[("topk", "1"), ("time_fields", "century")]).contains("century"));
}

#[test]
fn explain_is_a_switch() {
    assert!(decode(&[("topk", "1"), ("explain", "true")]).unwrap().explain);
    assert!(!decode(&[("topk", "1")]).unwrap().explain);
    for (params, explains) in [
        (r#"{"explain": true}"#, true),
        (r#"{"explain": "True"}"#, true),
        (r#"{"explain": 0}"#, false),
    ] {
        assert_eq!(decode(&[("topk", "1"), ("params", params)]).unwrap().explain, explains);
    }
    assert!(refusal(&[("topk", "1"), ("params", r#"{"explain": 2}"#)]).contains("explain [2]"));
}

#[test]
fn field_is_named_or_the_only_one() {
    let one = schema(&[("n", DataType::Int64), ("v", DataType::FloatVector)]);
    let two = schema(&[("v", DataType::FloatVector), ("w", DataType::BinaryVector)]);
    let unnamed = SearchParams::default();
    let named =
        |name: &str| SearchParams { anns_field: Some(name.to_owned()), ..SearchParams::default() };
    assert_eq!(unnamed.field(&one).unwrap().name, "v");
    assert_eq!(named("w").field(&two).unwrap().name, "w");
    let error = unnamed.field(&two).unwrap_err();
    assert_eq!(
        error.message(),
        "multiple anns_fields exist, please specify a anns_field in search_params"
    );
    let error = named("x").field(&one).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("fieldName(x) not found"), "{error}");
    assert_eq!(named("n").field(&one).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn metric_is_that_of_the_index() {
    let asked =
        |name: &str| SearchParams { metric_type: Some(name.to_owned()), ..SearchParams::default() };
    assert_eq!(SearchParams::default().metric(MetricType::L2).unwrap(), MetricType::L2);
    assert_eq!(asked("cosine").metric(MetricType::Cosine).unwrap(), MetricType::Cosine);
    let error = asked("IP").metric(MetricType::L2).unwrap_err();
    assert!(error.message().contains("metric type not match"), "{error}");
    assert!(error.message().contains("[expected=L2][actual=IP]"), "{error}");
}

#[test]
fn range_must_leave_room() {
    let range = |radius: f64, range_filter: f64| SearchParams {
        radius: Some(radius),
        range_filter: Some(range_filter),
        ..SearchParams::default()
    };
    range(2.0, 1.0).check_range(MetricType::L2).unwrap();
    range(0.1, 0.9).check_range(MetricType::Cosine).unwrap();
    assert!(range(1.0, 2.0).check_range(MetricType::L2).is_err());
    assert!(range(1.0, 1.0).check_range(MetricType::L2).is_err());
    assert!(range(0.9, 0.1).check_range(MetricType::Ip).is_err());
    SearchParams::default().check_range(MetricType::L2).unwrap();
}

#[test]
fn features_are_listed_by_name() {
    let plain = SearchRequest { search_params: pairs(&[("topk", "1")]), ..Default::default() };
    assert_eq!(requested_features(&plain), []);
    let request = SearchRequest {
        search_params: pairs(&[("analyzer_name", "en")]),
        namespace: Some("n".to_owned()),
        ..Default::default()
    };
    let features = requested_features(&request);
    assert_eq!(features, [Feature::Namespace, Feature::Analyzer]);
    let refusal = features[1].refusal();
    assert_eq!(refusal.kind(), ErrorKind::Unsupported);
    assert!(refusal.message().starts_with("analyzer_name is not supported"), "{refusal}");
}

#[test]
fn input_is_vectors_or_ids() {
    let decode = |search_input: Option<WireInput>| {
        decode_search_input(&SearchRequest { search_input, ..Default::default() })
    };
    let ids = |id_field: Option<IdField>| Some(WireInput::Ids(IDs { id_field }));
    let group = bytes::Bytes::from_static(b"group");
    assert_eq!(
        decode(Some(WireInput::PlaceholderGroup(group.clone()))).unwrap(),
        SearchInput::Vectors(group)
    );
    let int = IdField::IntId(LongArray { data: vec![7, 8] });
    assert_eq!(decode(ids(Some(int))).unwrap(), SearchInput::Ids(vec![7, 8]));
    let text = IdField::StrId(StringArray { data: vec!["a".to_owned()] });
    assert!(decode(ids(Some(text))).unwrap_err().message().contains("Int64"));
    for nothing in [None, ids(None), ids(Some(IdField::IntId(LongArray { data: Vec::new() })))] {
        assert!(decode(nothing).unwrap_err().message().starts_with("nq [0] is invalid"));
    }
}
