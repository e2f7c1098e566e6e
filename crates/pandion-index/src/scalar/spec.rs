//! What an index is, as text for its name and as bytes inside of it.

use std::fmt::Write as _;

use bytemuck::NoUninit;
use pandion_filter::PathSegment;
use pandion_types::{DataType, Result};

use super::format::damaged;
use super::section::SectionKind;
use super::{IndexedValues, JsonCast, ScalarIndexKind, ScalarIndexSpec};

impl JsonCast {
    const ALL: [Self; 6] = [
        Self::Bool,
        Self::Double,
        Self::Text,
        Self::BoolElements,
        Self::DoubleElements,
        Self::TextElements,
    ];

    /// The name that clients give it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Double => "DOUBLE",
            Self::Text => "VARCHAR",
            Self::BoolElements => "ARRAY_BOOL",
            Self::DoubleElements => "ARRAY_DOUBLE",
            Self::TextElements => "ARRAY_VARCHAR",
        }
    }

    /// The cast with this name, in upper or lower case.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cast| cast.name().eq_ignore_ascii_case(name.trim()))
    }

    /// Whether the elements of arrays are indexed.
    #[must_use]
    pub fn is_elements(self) -> bool {
        matches!(self, Self::BoolElements | Self::DoubleElements | Self::TextElements)
    }

    fn sections(self) -> &'static [SectionKind] {
        match self {
            Self::Bool | Self::BoolElements => &[SectionKind::Bool],
            Self::Double | Self::DoubleElements => &[SectionKind::Int, SectionKind::Float],
            Self::Text | Self::TextElements => &[SectionKind::Text],
        }
    }
}

impl ScalarIndexKind {
    /// The name that clients know.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "AUTOINDEX",
            Self::Bitmap => "BITMAP",
            Self::Inverted => "INVERTED",
            Self::Sort => "STL_SORT",
            Self::Trie => "TRIE",
            Self::Ngram { .. } => "NGRAM",
            Self::RTree => "RTREE",
        }
    }
}

impl IndexedValues {
    /// The dictionaries that the values take; `None` when no dictionary can hold them.
    pub(super) fn sections(&self) -> Option<&'static [SectionKind]> {
        match self {
            Self::Json { cast, .. } => Some(cast.sections()),
            Self::Field(data_type) | Self::Elements(data_type) => Some(match data_type {
                DataType::Bool => &[SectionKind::Bool],
                DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                    &[SectionKind::Int]
                }
                DataType::Float | DataType::Double => &[SectionKind::Float],
                DataType::VarChar | DataType::Text => &[SectionKind::Text],
                DataType::Timestamptz => &[SectionKind::Instant],
                DataType::Array
                | DataType::Json
                | DataType::Geometry
                | DataType::BinaryVector
                | DataType::FloatVector
                | DataType::Float16Vector
                | DataType::BFloat16Vector
                | DataType::SparseFloatVector
                | DataType::Int8Vector => return None,
            }),
        }
    }

    /// Whether a row has several values.
    pub(super) fn is_elements(&self) -> bool {
        match self {
            Self::Field(_) => false,
            Self::Elements(_) => true,
            Self::Json { cast, .. } => cast.is_elements(),
        }
    }
}

impl ScalarIndexSpec {
    /// The same text for the same index, and another for every other: a part of the name under
    /// which an index is stored. It will not change while [`super::SCALAR_INDEX_FORMAT`] does not.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut text = self.kind.name().to_owned();
        if let ScalarIndexKind::Ngram { min, max } = self.kind {
            push(&mut text, format_args!("({min},{max})"));
        }
        match &self.values {
            IndexedValues::Field(data_type) => push(&mut text, format_args!(" {data_type}")),
            IndexedValues::Elements(data_type) => {
                push(&mut text, format_args!(" Array<{data_type}>"));
            }
            IndexedValues::Json { path, cast } => {
                text.push_str(" JSON");
                for step in path {
                    match step {
                        // The debug form escapes quotes, so that no key reads as two.
                        PathSegment::Key(key) => push(&mut text, format_args!("[{key:?}]")),
                        PathSegment::Index(at) => push(&mut text, format_args!("[{at}]")),
                    }
                }
                push(&mut text, format_args!(" as {}", cast.name()));
            }
        }
        text
    }

    /// The specification as words, then bytes: see [`Self::decode`].
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, min, max) = match self.kind {
            ScalarIndexKind::Auto => (0, 0, 0),
            ScalarIndexKind::Bitmap => (1, 0, 0),
            ScalarIndexKind::Inverted => (2, 0, 0),
            ScalarIndexKind::Sort => (3, 0, 0),
            ScalarIndexKind::Trie => (4, 0, 0),
            ScalarIndexKind::Ngram { min, max } => (5, min, max),
            ScalarIndexKind::RTree => (6, 0, 0),
        };
        let mut bytes = Vec::new();
        put(&mut bytes, &[kind, min, max]);
        match &self.values {
            IndexedValues::Field(data_type) => put(&mut bytes, &[0, data_type.code()]),
            IndexedValues::Elements(data_type) => put(&mut bytes, &[1, data_type.code()]),
            IndexedValues::Json { path, cast } => {
                let cast = JsonCast::ALL.iter().position(|other| other == cast).unwrap_or_default();
                put(&mut bytes, &[2_u32]);
                put(&mut bytes, &[cast as u64, path.len() as u64]);
                for step in path {
                    match step {
                        PathSegment::Index(at) => put(&mut bytes, &[0, *at]),
                        PathSegment::Key(key) => {
                            put(&mut bytes, &[1, key.len() as u64]);
                            bytes.extend_from_slice(key.as_bytes());
                        }
                    }
                }
            }
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut rest = Rest(bytes);
        rest.spec()
            .filter(|_| rest.0.is_empty())
            .ok_or_else(|| damaged("it does not say what it is of"))
    }
}

fn put<T: NoUninit>(bytes: &mut Vec<u8>, values: &[T]) {
    bytes.extend_from_slice(bytemuck::cast_slice(values));
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(arguments);
    debug_assert!(written.is_ok(), "writing to a String does not fail");
}

/// Bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn spec(&mut self) -> Option<ScalarIndexSpec> {
        let (kind, min, max) = (self.u32()?, self.u32()?, self.u32()?);
        let kind = match kind {
            0 => ScalarIndexKind::Auto,
            1 => ScalarIndexKind::Bitmap,
            2 => ScalarIndexKind::Inverted,
            3 => ScalarIndexKind::Sort,
            4 => ScalarIndexKind::Trie,
            5 => ScalarIndexKind::Ngram { min, max },
            6 => ScalarIndexKind::RTree,
            _ => return None,
        };
        let values = match self.u32()? {
            0 => IndexedValues::Field(self.data_type()?),
            1 => IndexedValues::Elements(self.data_type()?),
            2 => {
                let cast = *JsonCast::ALL.get(usize::try_from(self.u64()?).ok()?)?;
                let steps = self.u64()?;
                let mut path = Vec::new();
                for _ in 0..steps {
                    path.push(self.step()?);
                }
                IndexedValues::Json { path, cast }
            }
            _ => return None,
        };
        Some(ScalarIndexSpec { kind, values })
    }

    fn data_type(&mut self) -> Option<DataType> {
        DataType::from_code(i32::try_from(self.u32()?).ok()?)
    }

    fn step(&mut self) -> Option<PathSegment> {
        match (self.u64()?, self.u64()?) {
            (0, at) => Some(PathSegment::Index(at)),
            (1, length) => {
                let key = std::str::from_utf8(self.take(usize::try_from(length).ok()?)?).ok()?;
                Some(PathSegment::Key(key.to_owned()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs() -> Vec<ScalarIndexSpec> {
        let mut kinds = vec![
            ScalarIndexKind::Auto,
            ScalarIndexKind::Bitmap,
            ScalarIndexKind::Inverted,
            ScalarIndexKind::Sort,
            ScalarIndexKind::Trie,
            ScalarIndexKind::RTree,
        ];
        kinds.extend([(1, 2), (2, 3)].map(|(min, max)| ScalarIndexKind::Ngram { min, max }));
        let key = |key: &str| PathSegment::Key(key.to_owned());
        let paths = [
            vec![],
            vec![key("a"), key("b")],
            vec![key("a\"][\"b")],
            vec![key("0")],
            vec![PathSegment::Index(0)],
        ];
        let mut values = vec![
            IndexedValues::Field(DataType::VarChar),
            IndexedValues::Field(DataType::Text),
            IndexedValues::Elements(DataType::VarChar),
        ];
        for path in paths {
            values
                .extend(JsonCast::ALL.map(|cast| IndexedValues::Json { path: path.clone(), cast }));
        }
        let with = |kind: ScalarIndexKind| {
            values.iter().map(move |values| ScalarIndexSpec { kind, values: values.clone() })
        };
        kinds.into_iter().flat_map(with).collect()
    }

    #[test]
    fn bytes_round_trip_and_texts_differ() {
        let mut texts = std::collections::BTreeSet::new();
        for spec in specs() {
            assert_eq!(ScalarIndexSpec::decode(&spec.encode()).unwrap(), spec);
            assert!(texts.insert(spec.canonical()), "{}", spec.canonical());
            let bytes = spec.encode();
            for length in 0..bytes.len() {
                assert!(ScalarIndexSpec::decode(&bytes[..length]).is_err());
            }
        }
    }

    #[test]
    fn texts_do_not_change() {
        let spec = ScalarIndexSpec {
            kind: ScalarIndexKind::Ngram { min: 2, max: 3 },
            values: IndexedValues::Json {
                path: vec![PathSegment::Key("a".to_owned()), PathSegment::Index(1)],
                cast: JsonCast::Text,
            },
        };
        assert_eq!(spec.canonical(), r#"NGRAM(2,3) JSON["a"][1] as VARCHAR"#);
        let spec = ScalarIndexSpec {
            kind: ScalarIndexKind::Auto,
            values: IndexedValues::Elements(DataType::Int64),
        };
        assert_eq!(spec.canonical(), "AUTOINDEX Array<Int64>");
    }
}
