//! The predicates that are counted, in the words of every system, with literals that differ from
//! round to round so that no answer can be kept for the next.

use crate::filter_lake::{CODE, DOC, KIND, NUM, NUM_END, NUMS, TAGS, tag};
use pandion_testkit::lake::ID;

/// Rounds for which there are literals of their own.
pub(crate) const LITERALS: usize = 10;

/// What a predicate looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Numbers in the order of the rows.
    Ordered,
    /// Numbers in no order.
    Random,
    /// Strings of which there are few.
    Few,
    /// Strings of which there are as many as rows.
    Distinct,
    /// A number in a JSON document.
    JsonNumber,
    /// A string deeper in a JSON document.
    JsonText,
    /// Arrays of numbers.
    Numbers,
    /// Arrays of strings.
    Strings,
}

/// The share of the rows that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    Half,
    Hundredth,
    TenThousandth,
}

/// One predicate in the languages of the systems that are measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) milvus: String,
    pub(crate) duckdb: String,
    /// `None` where its Python package has no such function: it has none for JSON.
    pub(crate) datafusion: Option<String>,
}

impl Subject {
    pub(crate) const ALL: [Self; 8] = [
        Self::Ordered,
        Self::Random,
        Self::Few,
        Self::Distinct,
        Self::JsonNumber,
        Self::JsonText,
        Self::Numbers,
        Self::Strings,
    ];

    /// The shares that are measured.
    pub(crate) fn shares(self) -> &'static [Share] {
        match self {
            // The time goes into finding the string, whatever it is then compared with.
            Self::JsonText => &[Share::Hundredth],
            _ => &[Share::Half, Share::Hundredth, Share::TenThousandth],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ordered => "int64 in order",
            Self::Random => "int64 random",
            Self::Few => "string, 531 distinct",
            Self::Distinct => "string, all distinct",
            Self::JsonNumber => "JSON number",
            Self::JsonText => "JSON string, nested",
            Self::Numbers => "array of int64",
            Self::Strings => "array of string",
        }
    }

    /// Field, name and parameters of an index for it.
    pub(crate) fn index(
        self,
    ) -> (&'static str, &'static str, &'static [(&'static str, &'static str)]) {
        const AUTO: &[(&str, &str)] = &[("index_type", "AUTOINDEX")];
        match self {
            Self::Ordered => (ID, "by_id", AUTO),
            Self::Random => (NUM, "by_num", AUTO),
            Self::Few => (KIND, "by_kind", AUTO),
            Self::Distinct => (CODE, "by_code", AUTO),
            Self::Numbers => (NUMS, "by_nums", AUTO),
            Self::Strings => (TAGS, "by_tags", AUTO),
            Self::JsonNumber => (
                DOC,
                "by_doc_a",
                &[
                    ("index_type", "INVERTED"),
                    ("json_path", r#"doc["a"]"#),
                    ("json_cast_type", "DOUBLE"),
                ],
            ),
            Self::JsonText => (
                DOC,
                "by_doc_b_c",
                &[
                    ("index_type", "INVERTED"),
                    ("json_path", r#"doc["b"]["c"]"#),
                    ("json_cast_type", "VARCHAR"),
                ],
            ),
        }
    }

    /// The predicate of a round, which is below [`LITERALS`], over so many rows.
    pub(crate) fn texts(self, share: Share, round: u64, rows: u64) -> Texts {
        match self {
            Self::Ordered => {
                let from = rows / 25 * round + 7;
                between(ID, ID, true, from, from + share.of(rows))
            }
            Self::Random => {
                let from = NUM_END / 25 * round + 7;
                between(NUM, NUM, true, from, from + share.of(NUM_END))
            }
            Self::JsonNumber => {
                let from = NUM_END / 25 * round + 7;
                let sql = "cast(doc->>'$.a' as bigint)";
                between(r#"doc["a"]"#, sql, false, from, from + share.of(NUM_END))
            }
            Self::JsonText => {
                let value = kinds(share, round).remove(0);
                Texts {
                    milvus: format!(r#"doc["b"]["c"] == "{value}""#),
                    duckdb: format!("(doc->>'$.b.c') = '{value}'"),
                    datafusion: None,
                }
            }
            Self::Few => few(share, round),
            Self::Distinct => distinct(share, round),
            Self::Numbers => contains(NUMS, &elements(share, round), |element| {
                (element.to_string(), element.to_string())
            }),
            Self::Strings => contains(TAGS, &elements(share, round), |element| {
                (format!("\"{}\"", tag(element)), format!("'{}'", tag(element)))
            }),
        }
    }
}

impl Share {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Half => "50 %",
            Self::Hundredth => "1 %",
            Self::TenThousandth => "0.01 %",
        }
    }

    /// This share of a number.
    pub(crate) fn of(self, all: u64) -> u64 {
        match self {
            Self::Half => all / 2,
            Self::Hundredth => all / 100,
            Self::TenThousandth => all / 10_000,
        }
    }
}

fn between(milvus: &str, sql: &str, in_datafusion: bool, from: u64, to: u64) -> Texts {
    let duckdb = format!("{sql} >= {from} and {sql} < {to}");
    Texts {
        milvus: format!("{milvus} >= {from} and {milvus} < {to}"),
        datafusion: in_datafusion.then(|| duckdb.clone()),
        duckdb,
    }
}

/// The strings of a share: some of those that are frequent, or one.
fn kinds(share: Share, round: u64) -> Vec<String> {
    match share {
        Share::Half => (0..12).map(|at| format!("large-{:02}", (round + at) % 20)).collect(),
        Share::Hundredth => vec![format!("middle-{round:02}")],
        Share::TenThousandth => vec![format!("rare-{round:03}")],
    }
}

fn few(share: Share, round: u64) -> Texts {
    let kinds = kinds(share, round);
    if let [kind] = kinds.as_slice() {
        let sql = format!("{KIND} = '{kind}'");
        let milvus = format!("{KIND} == \"{kind}\"");
        return Texts { milvus, duckdb: sql.clone(), datafusion: Some(sql) };
    }
    let sql = format!("{KIND} in ('{}')", kinds.join("', '"));
    let milvus = format!("{KIND} in [\"{}\"]", kinds.join("\", \""));
    Texts { milvus, duckdb: sql.clone(), datafusion: Some(sql) }
}

fn distinct(share: Share, round: u64) -> Texts {
    let from = u64::MAX / 25 * round + 1;
    let to = from + share.of(u64::MAX);
    let sql = format!("{CODE} >= '{from:016x}' and {CODE} < '{to:016x}'");
    let milvus = format!("{CODE} >= \"{from:016x}\" and {CODE} < \"{to:016x}\"");
    Texts { milvus, duckdb: sql.clone(), datafusion: Some(sql) }
}

/// The elements of which a matching array has one at least.
fn elements(share: Share, round: u64) -> Vec<u64> {
    const PAIRS: [[u64; 2]; 6] = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];
    match share {
        // Two of the four values that the first element has, or of those of the second.
        Share::Half => {
            let pair = PAIRS[usize::try_from(round / 2).unwrap_or(0) % PAIRS.len()];
            pair.map(|value| value + round % 2 * 4).to_vec()
        }
        Share::Hundredth => vec![100 + round],
        Share::TenThousandth => vec![100_000 + round],
    }
}

/// `literal` writes an element for Milvus and in SQL.
fn contains(column: &str, elements: &[u64], literal: impl Fn(u64) -> (String, String)) -> Texts {
    let (milvus, sql): (Vec<String>, Vec<String>) =
        elements.iter().map(|&element| literal(element)).unzip();
    if let ([milvus], [sql]) = (milvus.as_slice(), sql.as_slice()) {
        return Texts {
            milvus: format!("array_contains({column}, {milvus})"),
            duckdb: format!("list_contains({column}, {sql})"),
            datafusion: Some(format!("array_has({column}, {sql})")),
        };
    }
    let (milvus, sql) = (milvus.join(", "), sql.join(", "));
    Texts {
        milvus: format!("array_contains_any({column}, [{milvus}])"),
        duckdb: format!("list_has_any({column}, [{sql}])"),
        datafusion: Some(format!("array_has_any({column}, make_array({sql}))")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_round_repeats_the_literals_of_another() {
        for subject in Subject::ALL {
            for &share in subject.shares() {
                let texts: HashSet<String> = (0..LITERALS as u64)
                    .map(|round| subject.texts(share, round, 100_000).milvus)
                    .collect();
                assert_eq!(texts.len(), LITERALS, "{subject:?} {share:?}");
            }
        }
    }

    #[test]
    fn ranges_end_before_the_last_value() {
        let last = LITERALS as u64 - 1;
        assert!(NUM_END / 25 * last + 7 + Share::Half.of(NUM_END) < NUM_END);
        assert!(u64::MAX / 25 * last < u64::MAX / 2);
    }

    #[test]
    fn the_same_is_said_in_every_language() {
        let texts = Subject::Strings.texts(Share::Half, 3, 1);
        assert_eq!(texts.milvus, r#"array_contains_any(tags, ["a-4", "a-6"])"#);
        assert_eq!(texts.duckdb, "list_has_any(tags, ['a-4', 'a-6'])");
        assert_eq!(
            texts.datafusion.as_deref(),
            Some("array_has_any(tags, make_array('a-4', 'a-6'))")
        );
        let texts = Subject::Distinct.texts(Share::Half, 0, 1);
        let range = "code >= '0000000000000001' and code < '8000000000000000'";
        assert_eq!(texts.duckdb, range);
        assert_eq!(texts.milvus, range.replace('\'', "\""));
        assert_eq!(Subject::JsonNumber.texts(Share::Half, 0, 1).datafusion, None);
    }
}
