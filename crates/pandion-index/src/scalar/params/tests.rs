use pandion_filter::PathSegment;
use pandion_types::ErrorKind;

use super::*;

fn field(data_type: DataType, element_type: Option<DataType>) -> FieldSchema {
    FieldSchema { element_type, ..FieldSchema::mapped(101, "f", data_type) }
}

fn params(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The canonical text of the index, or the message.
fn check(field: &FieldSchema, given: &str, expect: &str) {
    let outcome = match resolve_spec(field, &params(given)) {
        Ok(spec) => spec.canonical(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            error.to_string()
        }
    };
    assert_eq!(outcome, expect, "{} {given}", field.data_type);
}

/// The message of a fault of the parameters.
fn check_wrong(field: &FieldSchema, given: &str, fault: &str) {
    let expect = format!(
        "{fault}: invalid parameter[expected=valid index params][actual=invalid index params]"
    );
    check(field, given, &expect);
}

#[test]
fn every_kind_on_the_types_that_it_fits() {
    use DataType::{
        Array, Bool, Double, Float, Geometry, Int8, Int16, Int32, Int64, Text, Timestamptz, VarChar,
    };
    let of = |data_type| field(data_type, None);
    for data_type in [Bool, Int8, Int16, Int32, Int64, VarChar, Text] {
        check(&of(data_type), "index_type=BITMAP", &format!("BITMAP {data_type}"));
    }
    for data_type in [Int8, Int64, Float, Double, VarChar, Timestamptz] {
        check(&of(data_type), "index_type=STL_SORT", &format!("STL_SORT {data_type}"));
    }
    for data_type in [Bool, Int16, Float, Double, VarChar, Text] {
        check(&of(data_type), "index_type=INVERTED", &format!("INVERTED {data_type}"));
    }
    for data_type in [Bool, Int32, Float, VarChar, Timestamptz] {
        check(&of(data_type), "index_type=AUTOINDEX", &format!("AUTOINDEX {data_type}"));
        check(&of(data_type), "index_type=", &format!("AUTOINDEX {data_type}"));
        check(&of(data_type), "", &format!("AUTOINDEX {data_type}"));
    }
    check(&of(VarChar), "index_type=TRIE", "TRIE VarChar");
    check(&of(VarChar), "index_type=Trie", "TRIE VarChar");
    check(&of(VarChar), "index_type=NGRAM;min_gram=2;max_gram=3", "NGRAM(2,3) VarChar");
    check(&of(Geometry), "index_type=RTREE", "RTREE Geometry");
    check(&of(Geometry), "index_type=AUTOINDEX", "RTREE Geometry");
    let array = field(Array, Some(Int64));
    check(&array, "index_type=INVERTED", "INVERTED Array<Int64>");
    check(&array, "index_type=BITMAP", "BITMAP Array<Int64>");
    check(&array, "index_type=AUTOINDEX;metric_type=", "AUTOINDEX Array<Int64>");
}

#[test]
fn kinds_that_do_not_fit_say_so() {
    use DataType::{Array, Bool, Double, FloatVector, Geometry, Int64, Json, Timestamptz, VarChar};
    let of = |data_type| field(data_type, None);
    let table = [
        (Double, "BITMAP", "bitmap index are only supported on bool, int, string and array field"),
        (
            Bool,
            "STL_SORT",
            "STL_SORT are only supported on numeric, varchar or timestamptz field, got Bool",
        ),
        (Timestamptz, "INVERTED", "INVERTED are not supported on Timestamptz field"),
        (Geometry, "INVERTED", "INVERTED are not supported on Geometry field"),
        (FloatVector, "INVERTED", "INVERTED are not supported on FloatVector field"),
        (Int64, "TRIE", "TRIE are only supported on varchar field"),
        (Json, "TRIE", "TRIE are only supported on varchar field"),
        (Int64, "NGRAM", "ngram index can only be created on VARCHAR or JSON field"),
        (VarChar, "RTREE", "RTREE index can only be built on geometry field, got VarChar"),
    ];
    for (data_type, kind, fault) in table {
        check_wrong(&of(data_type), &format!("index_type={kind}"), fault);
    }
    check_wrong(
        &field(Array, Some(Double)),
        "index_type=BITMAP",
        "bitmap index are only supported on bool, int, string for array field",
    );
    let key = FieldSchema { is_primary_key: true, ..of(Int64) };
    check_wrong(&key, "index_type=BITMAP", "create bitmap index on primary key not supported");
    check(
        &of(Int64),
        "index_type=HYBRID",
        "invalid parameter[expected=valid index][actual=invalid index type: HYBRID]",
    );
    check(
        &of(FloatVector),
        "",
        "invalid parameter[expected=supported field][actual=create auto index on type:FloatVector is \
         not supported]",
    );
}

#[test]
fn pieces_need_their_lengths() {
    let field = field(DataType::VarChar, None);
    let both = "Ngram index must specify both min_gram and max_gram";
    check_wrong(&field, "index_type=NGRAM", both);
    check_wrong(&field, "index_type=NGRAM;min_gram=1", both);
    for (min, max) in [("0", "2"), ("-1", "2"), ("3", "2"), ("1", "99999999999")] {
        check_wrong(
            &field,
            &format!("index_type=NGRAM;min_gram={min};max_gram={max}"),
            &format!(
                "invalid min_gram or max_gram value for Ngram index, min_gram: {min}, max_gram: {max}"
            ),
        );
    }
    check_wrong(
        &field,
        "index_type=NGRAM;min_gram=a;max_gram=2",
        "min_gram for Ngram index must be an integer, got: a",
    );
}

#[test]
fn json_needs_a_cast() {
    let field = field(DataType::Json, None);
    let spec = |text: &str| resolve_spec(&field, &params(text)).unwrap().values;
    let path = vec![PathSegment::Key("a".to_owned()), PathSegment::Index(0)];
    assert_eq!(
        spec("index_type=INVERTED;json_path=f[\"a\"][0];json_cast_type=double"),
        IndexedValues::Json { path: path.clone(), cast: JsonCast::Double }
    );
    assert_eq!(
        spec("index_type=AUTOINDEX;json_path=/a/0;json_cast_type=ARRAY_VARCHAR"),
        IndexedValues::Json { path, cast: JsonCast::TextElements }
    );
    assert_eq!(
        spec("index_type=INVERTED;json_cast_type=BOOL"),
        IndexedValues::Json { path: vec![], cast: JsonCast::Bool }
    );
    let at = "json_path=f['a'];";
    check(
        &field,
        &format!("{at}index_type=NGRAM;json_cast_type=varchar;min_gram=2;max_gram=2"),
        r#"NGRAM(2,2) JSON["a"] as VARCHAR"#,
    );
    check(
        &field,
        &format!(
            "{at}index_type=INVERTED;json_cast_type=DOUBLE;json_cast_function=STRING_TO_DOUBLE"
        ),
        r#"INVERTED JSON["a"] as DOUBLE"#,
    );
    let table = [
        (
            "index_type=INVERTED",
            "json index must specify cast type: missing parameter[missing_param=json_cast_type]",
        ),
        ("index_type=INVERTED;json_cast_type=INT", "json_cast_type INT is not supported"),
        (
            "index_type=BITMAP;json_cast_type=DOUBLE",
            "json_cast_type DOUBLE is not supported for BITMAP index",
        ),
        (
            "index_type=STL_SORT;json_cast_type=BOOL",
            "json_cast_type BOOL is not supported for STL_SORT index",
        ),
        (
            "index_type=STL_SORT;json_cast_type=DOUBLE",
            "json index must specify json path: missing parameter[missing_param=json_path]",
        ),
        (
            "index_type=NGRAM;min_gram=1;max_gram=1;json_cast_type=DOUBLE",
            "JSON field with ngram index only supports VARCHAR cast type, got: DOUBLE",
        ),
        (
            "index_type=INVERTED;json_cast_type=BOOL;json_cast_function=STRING_TO_DOUBLE",
            "json_cast_function STRING_TO_DOUBLE is not supported for json_cast_type BOOL",
        ),
        (
            "index_type=INVERTED;json_cast_type=BOOL;json_cast_function=X",
            "json_cast_function X is not supported",
        ),
    ];
    for (given, fault) in table {
        check_wrong(&field, given, fault);
    }
    let error =
        resolve_spec(&field, &params("index_type=INVERTED;json_cast_type=BOOL;json_path=g[\"a\"]"));
    assert!(error.unwrap_err().message().contains("cannot parse json path: g[\"a\"]"));
}
