use proptest::prelude::*;

use super::*;

fn path(text: &str) -> Vec<PathSegment> {
    let steps = text.split('/').filter(|step| !step.is_empty());
    steps
        .map(|step| match step.parse() {
            Ok(index) => PathSegment::Index(index),
            Err(_) => PathSegment::Key(step.to_owned()),
        })
        .collect()
}

fn at<'a>(document: &'a str, steps: &str) -> JsonValue<'a> {
    value_at(document, &path(steps))
}

fn text(value: &str) -> JsonValue<'_> {
    JsonValue::Text(Cow::Borrowed(value))
}

#[test]
fn paths_lead_to_values() {
    let document = r#" { "a" : 1 , "b":{"c":[true,null,"x",-2.5e1,{"d":"deep"},[1]],"":0},"7":8} "#;
    let table = [
        ("a", JsonValue::Int(1)),
        ("b", JsonValue::Object),
        ("b/c/0", JsonValue::Bool(true)),
        ("b/c/1", JsonValue::Null),
        ("b/c/2", text("x")),
        ("b/c/3", JsonValue::Float(-25.0)),
        ("b/c/4/d", text("deep")),
        ("b/c/5/0", JsonValue::Int(1)),
        ("b/c/6", JsonValue::Missing),
        ("b/c/18446744073709551615", JsonValue::Missing),
        ("b/d", JsonValue::Missing),
        ("a/0", JsonValue::Missing),
        ("b/c/a", JsonValue::Missing),
        // A number names the member of an object, too.
        ("7", JsonValue::Int(8)),
        ("", JsonValue::Object),
    ];
    for (steps, expected) in table {
        assert_eq!(at(document, steps), expected, "{steps}");
    }
}

#[test]
fn a_document_may_be_any_value() {
    assert_eq!(at("5", ""), JsonValue::Int(5));
    assert_eq!(at(" \"x\"\n", ""), text("x"));
    assert_eq!(at("null", ""), JsonValue::Null);
    assert_eq!(at("5", "a"), JsonValue::Missing);
    assert_eq!(at("{}", "a"), JsonValue::Missing);
    assert_eq!(at("[]", "0"), JsonValue::Missing);
    let JsonValue::Array(array) = at("[1, \"b\", [2, 3], {\"c\": [4]}, null]", "") else {
        panic!("it is an array")
    };
    let elements: Vec<JsonValue<'_>> = array.iter().collect();
    assert_eq!(array.len(), 5);
    assert!(matches!(elements[2], JsonValue::Array(inner) if inner.len() == 2));
    assert_eq!((&elements[1], &elements[3]), (&text("b"), &JsonValue::Object));
    assert_eq!((&elements[0], &elements[4]), (&JsonValue::Int(1), &JsonValue::Null));
}

#[test]
fn numbers_keep_what_they_can() {
    let table = [
        ("0", JsonValue::Int(0)),
        ("-0", JsonValue::Int(0)),
        ("999999999999999999", JsonValue::Int(999_999_999_999_999_999)),
        ("9223372036854775807", JsonValue::Int(i64::MAX)),
        ("-9223372036854775808", JsonValue::Int(i64::MIN)),
        ("9223372036854775808", JsonValue::Float(9_223_372_036_854_775_808.0)),
        ("1.5", JsonValue::Float(1.5)),
        ("1e3", JsonValue::Float(1000.0)),
        ("1E-2", JsonValue::Float(0.01)),
        ("1.0", JsonValue::Float(1.0)),
        ("1e-999", JsonValue::Float(0.0)),
    ];
    for (document, expected) in table {
        assert_eq!(at(document, ""), expected, "{document}");
        assert_eq!(at(&format!("[{document} ]"), "0"), expected, "{document}");
    }
    for document in ["01", "-", "1.", "1.e5", ".5", "+1", "1e", "1e999", "inf", "nan", "0x1", "1_0"]
    {
        assert_eq!(at(document, ""), JsonValue::Missing, "{document}");
    }
}

#[test]
fn names_and_strings_may_be_escaped() {
    let document =
        r#"{"a\"b":"q\"\\\/\n\u00e9\ud83d\ude00","\u0063":1,"long long long":"0123456789\"a"}"#;
    assert_eq!(at(document, "a\"b"), text("q\"\\/\n\u{e9}\u{1f600}").clone_escaped());
    assert_eq!(at(document, "c"), JsonValue::Int(1));
    assert_eq!(at(document, "long long long"), text("0123456789\"a"));
    for broken in [r#""\x""#, r#""\ud800""#, "\"a\nb\"", "\"a", r#""a\"#, r#""a\""#] {
        assert_eq!(at(broken, ""), JsonValue::Missing, "{broken}");
    }
}

impl JsonValue<'_> {
    fn clone_escaped(&self) -> JsonValue<'static> {
        match self {
            JsonValue::Text(text) => JsonValue::Text(Cow::Owned(text.clone().into_owned())),
            other => panic!("{other:?} is no string"),
        }
    }
}

#[test]
fn the_first_of_several_members_counts() {
    assert_eq!(at(r#"{"a":1,"a":2}"#, "a"), JsonValue::Int(1));
}

#[test]
fn what_is_malformed_before_the_value_leads_nowhere() {
    for document in [
        "",
        " ",
        "{",
        "[",
        "{]",
        "{\"a\"",
        "{\"a\" 1}",
        "{a:1}",
        "{\"b\":1 \"a\":1}",
        "{,\"a\":1}",
        "nonsense",
        "{\"b\":[1,\"a\":1}",
        "\u{feff}{\"a\":1}",
    ] {
        assert_eq!(at(document, "a"), JsonValue::Missing, "{document}");
    }
    for document in ["[1,]", "[1 2]", "[,1]", "[1", "[1,\"2]", "tru", "nullx"] {
        assert_eq!(at(document, ""), JsonValue::Missing, "{document}");
    }
    // What stands after the value does not matter.
    assert_eq!(at("{\"a\":1,,,", "a"), JsonValue::Int(1));
    assert_eq!(at("{\"a\":1", "a"), JsonValue::Int(1));
    // An element that is no value is none, but it is counted.
    let JsonValue::Array(array) = at("[1,nonsense,2]", "") else { panic!("it is an array") };
    let elements: Vec<JsonValue<'_>> = array.iter().collect();
    assert_eq!(elements, [JsonValue::Int(1), JsonValue::Missing, JsonValue::Int(2)]);
}

#[test]
fn depth_costs_no_stack() {
    let depth = 1_000_000;
    let document = format!("{{\"x\":{}{},\"a\":1}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(at(&document, "a"), JsonValue::Int(1));
    assert!(matches!(at(&document, "x"), JsonValue::Array(array) if array.len() == 1));
    let open = "[".repeat(depth);
    assert_eq!(at(&open, ""), JsonValue::Missing);
    assert_eq!(value_at(&open, &vec![PathSegment::Index(0); depth + 1]), JsonValue::Missing);
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value as Tree;
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        (-1e9..1e9).prop_map(Tree::from),
        "[a-c\"\\\\\n\u{e9}]{0,12}".prop_map(Tree::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::from),
            prop::collection::btree_map("[ab\"0-2]{0,2}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// Whether a value is this tree; every element of an array is looked at, of an object none.
fn is(value: &JsonValue<'_>, tree: Option<&serde_json::Value>) -> bool {
    use serde_json::Value as Tree;
    match (value, tree) {
        (JsonValue::Missing, None)
        | (JsonValue::Null, Some(Tree::Null))
        | (JsonValue::Object, Some(Tree::Object(_))) => true,
        (JsonValue::Bool(value), Some(Tree::Bool(tree))) => value == tree,
        (JsonValue::Int(value), Some(Tree::Number(tree))) => tree.as_i64() == Some(*value),
        (JsonValue::Float(value), Some(Tree::Number(tree))) => {
            tree.as_i64().is_none() && tree.as_f64() == Some(*value)
        }
        (JsonValue::Text(value), Some(Tree::String(tree))) => value == tree,
        (JsonValue::Array(value), Some(Tree::Array(tree))) => {
            value.len() == tree.len()
                && value.iter().zip(tree).all(|(value, tree)| is(&value, Some(tree)))
        }
        _ => false,
    }
}

fn find<'a>(tree: &'a serde_json::Value, steps: &[PathSegment]) -> Option<&'a serde_json::Value> {
    steps.iter().try_fold(tree, |tree, step| match step {
        PathSegment::Key(key) => tree.as_object()?.get(key),
        PathSegment::Index(index) => {
            let element = tree.as_array().and_then(|all| all.get(usize::try_from(*index).ok()?));
            element.or_else(|| tree.as_object()?.get(&index.to_string()))
        }
    })
}

proptest! {
    #[test]
    fn every_path_leads_where_a_whole_tree_says(
        tree in tree(),
        steps in prop::collection::vec(
            prop_oneof![
                "[ab\"]{1,2}".prop_map(PathSegment::Key),
                (0_u64..4).prop_map(PathSegment::Index),
            ],
            0..4,
        ),
        pretty in any::<bool>(),
    ) {
        let document = if pretty {
            serde_json::to_string_pretty(&tree)
        } else {
            serde_json::to_string(&tree)
        };
        let document = document.unwrap();
        let value = value_at(&document, &steps);
        prop_assert!(is(&value, find(&tree, &steps)), "{value:?} at {steps:?} of {document}");
    }

    #[test]
    fn no_text_makes_it_fail(document in "[\\[\\]{}\",:0-2a\\\\ e.-]{0,24}", steps in "[a0-2/]{0,6}") {
        let value = value_at(&document, &path(&steps));
        if let JsonValue::Array(array) = value {
            prop_assert_eq!(array.iter().count(), array.len());
        }
    }
}
