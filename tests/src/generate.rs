//! Random rows of every type that filters treat differently, and random filters over them whose
//! literals come from the same small pools as the rows, so that terms are true, false and unknown
//! about equally often.

mod terms;

use anyhow::{Context as _, Result};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::dataset::{Column, Dataset, Datum, Layout, Row, narrowed};

pub use self::terms::predicate;

/// The columns of a random data set.
const COLUMNS: [(&str, &str); 16] = [
    ("id", "Int64"),
    ("b", "Bool"),
    ("b2", "Bool"),
    ("i8", "Int8"),
    ("i32", "Int32"),
    ("i64", "Int64"),
    ("f", "Float"),
    ("d", "Double"),
    ("s", "VarChar"),
    ("t", "Text"),
    ("ts", "Timestamptz"),
    ("j", "JSON"),
    ("ai", "Array<Int64>"),
    ("af", "Array<Float>"),
    ("ab", "Array<Bool>"),
    ("at", "Array<VarChar>"),
];

/// Integers near each other, at the ends of the types, and beyond what doubles tell apart.
const INTEGERS: [i64; 16] = [
    0,
    1,
    2,
    3,
    4,
    5,
    -1,
    -2,
    10,
    127,
    -128,
    i32::MAX as i64,
    1 << 53,
    (1 << 53) + 1,
    i64::MAX,
    i64::MIN,
];

const FLOATS: [f64; 14] = [
    0.0,
    -0.0,
    0.1,
    0.5,
    1.0,
    1.5,
    2.0,
    3.0,
    -1.0,
    -2.5,
    1e10,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

const STRINGS: [&str; 16] = [
    "",
    "a",
    "b",
    "ab",
    "abc",
    "aab",
    "a%",
    "a_b",
    "a\\b",
    "A",
    "\u{e4}",
    "\u{4f60}\u{597d}",
    "1",
    "true",
    "a\nb",
    "b a",
];

/// Microseconds: around the epoch, at the ends of months, and fractions.
const INSTANTS: [i64; 8] = [
    0,
    -1,
    1_735_689_600_000_000,
    1_738_281_600_000_000,
    1_738_281_600_000_001,
    1_740_700_800_000_000,
    1_709_164_800_000_000,
    -62_135_596_800_000_000,
];

/// Regular expressions, and what they ask for in other words.
type Meaning = fn(&str) -> bool;
const REGEXES: [(&str, Meaning); 9] = [
    ("", |_| true),
    ("^a", |text| text.starts_with('a')),
    ("b$", |text| text.ends_with('b')),
    ("ab", |text| text.contains("ab")),
    ("^a.*b$", |text| text.starts_with('a') && text.ends_with('b') && text.len() > 1),
    ("^[ab]*$", |text| text.chars().all(|char| "ab".contains(char))),
    ("^.$", |text| text.chars().count() == 1),
    (r"^\d+$", |text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())),
    ("(?i)^A", |text| text.starts_with(['a', 'A'])),
];

/// Whether a part of the text matches one of the expressions that random filters use.
///
/// # Errors
/// It is none of them.
pub fn regex_matches(pattern: &str, text: &str) -> Result<bool> {
    let meaning = REGEXES.iter().find(|(known, _)| *known == pattern);
    let (_, meaning) = meaning.with_context(|| format!("the oracle cannot read {pattern}"))?;
    Ok(meaning(text))
}

/// A data set of this many rows in files, row groups and pages of uneven sizes.
pub fn dataset(rows: usize) -> impl Strategy<Value = Dataset> {
    let values = (1..COLUMNS.len()).map(|at| option::weighted(0.85, datum(COLUMNS[at].1)));
    let row = values.map(Strategy::boxed).collect::<Vec<_>>();
    let layout = (20_usize..60, 7_usize..20, 1_usize..7);
    (vec(row, rows), layout).prop_map(|(rows, (file, row_group, page))| {
        let columns =
            COLUMNS.iter().filter_map(|(name, data_type)| Column::new(name, data_type).ok());
        let number = |(mut row, id): (Row, i64)| {
            row.insert(0, Some(Datum::Int(id)));
            row
        };
        Dataset {
            name: "random".to_owned(),
            columns: columns.collect(),
            rows: rows.into_iter().zip(1..).map(number).collect(),
            layout: Layout { file, row_group, page },
        }
    })
}

/// A value of a column of this type.
fn datum(type_name: &str) -> BoxedStrategy<Datum> {
    if let Some(element) = type_name.strip_prefix("Array<").and_then(|rest| rest.strip_suffix('>'))
    {
        return vec(datum(element), 0..4).prop_map(Datum::List).boxed();
    }
    let integers = |least: i64, most: i64| {
        let within = INTEGERS.into_iter().filter(|value| (least..=most).contains(value));
        select(within.collect::<Vec<_>>()).prop_map(Datum::Int).boxed()
    };
    match type_name {
        "Bool" => any::<bool>().prop_map(Datum::Bool).boxed(),
        "Int8" => integers(i8::MIN.into(), i8::MAX.into()),
        "Int32" => integers(i32::MIN.into(), i32::MAX.into()),
        "Int64" => integers(i64::MIN, i64::MAX),
        "Float" => select(&FLOATS).prop_map(|value| Datum::Float(narrowed(value))).boxed(),
        "Double" => select(&FLOATS).prop_map(Datum::Float).boxed(),
        "Timestamptz" => select(&INSTANTS).prop_map(Datum::Timestamp).boxed(),
        "JSON" => document().prop_map(Datum::Text).boxed(),
        _ => select(&STRINGS).prop_map(|text| Datum::Text(text.to_owned())).boxed(),
    }
}

/// The text of a JSON document: mostly an object whose members are of any kind.
fn document() -> BoxedStrategy<String> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let scalar = prop_oneof![
        4 => select(&INTEGERS).prop_map(|value| value.to_string()),
        2 => select(vec!["0.5", "1.0", "1.5", "-2.5", "1e2", "3.0", "-0.0", "1e300"])
            .prop_map(str::to_owned),
        3 => select(&STRINGS).prop_map(quoted),
        1 => select(vec!["true", "false"]).prop_map(str::to_owned),
        1 => Just("null".to_owned()),
    ];
    let list = vec(scalar.clone(), 0..4).prop_map(|elements| format!("[{}]", elements.join(", ")));
    let nested = scalar.clone().prop_map(|value| format!("{{\"l\": {value}, \"0\": 1}}"));
    let member = prop_oneof![5 => scalar.clone(), 2 => list.clone(), 1 => nested];
    let object = vec((select(vec!["k", "l", "m", "a b"]), member), 0..4).prop_map(|members| {
        let mut seen = std::collections::BTreeSet::new();
        let members = members.into_iter().filter(|(name, _)| seen.insert(*name));
        let members: Vec<String> =
            members.map(|(name, value)| format!("\"{name}\": {value}")).collect();
        format!("{{{}}}", members.join(", "))
    });
    // Malformed from the first character on: how far a reader goes makes no difference.
    let broken = select(vec!["", "}", "?"]).prop_map(str::to_owned);
    prop_oneof![14 => object, 2 => list, 2 => scalar, 1 => broken].boxed()
}

#[cfg(test)]
mod tests {
    use regex::RegexBuilder;

    use super::*;

    #[test]
    fn every_meaning_is_that_of_the_expression() {
        for (pattern, _) in REGEXES {
            let expression = RegexBuilder::new(pattern).dot_matches_new_line(true).build().unwrap();
            for text in STRINGS {
                let matches = regex_matches(pattern, text).unwrap();
                assert_eq!(matches, expression.is_match(text), "{pattern} on {text:?}");
            }
        }
        assert!(regex_matches("other", "").is_err());
    }
}
