//! The output fields of a request: names, `*`, and aggregates.
//!
//! Names are resolved against the schema; which values they stand for is not looked at.

use pandion_types::{CollectionSchema, Error, FieldSchema, Result};

use crate::feature::Feature;

/// What a query returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueryOutput {
    /// The values of these fields, the primary key among them.
    Fields(Vec<FieldSchema>),
    /// The number of rows, in a column of this name.
    Count(String),
}

/// An aggregate, as it may stand among the output fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aggregate<'a> {
    /// What is computed.
    pub(crate) function: AggregateFunction,
    /// The field; `None` for `*`.
    pub(crate) field: Option<&'a str>,
}

/// The functions that Milvus's queries know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateFunction {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

/// Resolves the output fields of a query. The primary key is always returned, because the iterators
/// of clients page by it.
///
/// # Errors
/// `InvalidArgument` for a name that is no field and for an aggregate that does not exist;
/// `Unsupported` for aggregates other than a single `count(*)`.
pub(crate) fn query_output(schema: &CollectionSchema, names: &[String]) -> Result<QueryOutput> {
    let mut aggregates = names.iter().filter_map(|name| parse_aggregate(name));
    if let Some(aggregate) = aggregates.next() {
        check_aggregate(schema, aggregate)?;
        return match (aggregate, names) {
            (Aggregate { function: AggregateFunction::Count, field: None }, [name]) => {
                Ok(QueryOutput::Count(name.trim().to_owned()))
            }
            _ => Err(Feature::Aggregates.refusal()),
        };
    }
    let mut fields = resolve(schema, names)?;
    if let Some(key) = schema.fields.iter().find(|field| field.is_primary_key)
        && !fields.contains(key)
    {
        fields.push(key.clone());
    }
    Ok(QueryOutput::Fields(fields))
}

/// Resolves the output fields of a search. The primary key is a column only when asked for: every
/// hit carries it already.
///
/// # Errors
/// `InvalidArgument` for a name that is no field, and for an aggregate.
pub(crate) fn search_output(
    schema: &CollectionSchema,
    names: &[String],
) -> Result<Vec<FieldSchema>> {
    if let Some(name) = names.iter().find(|name| parse_aggregate(name).is_some()) {
        return Err(Error::invalid_argument(format!(
            "aggregation {name} is not allowed in the output fields of a search"
        )));
    }
    resolve(schema, names)
}

/// The aggregate that an output field is, if it is one: `count(*)`, `SUM( price )`.
#[must_use]
pub(crate) fn parse_aggregate(text: &str) -> Option<Aggregate<'_>> {
    let (name, rest) = text.trim().split_once('(')?;
    let argument = rest.strip_suffix(')')?.trim();
    let function = match name.trim_end().to_ascii_lowercase().as_str() {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "avg" => AggregateFunction::Avg,
        "min" => AggregateFunction::Min,
        "max" => AggregateFunction::Max,
        _ => return None,
    };
    let is_name = !argument.is_empty()
        && argument.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    match argument {
        "*" => Some(Aggregate { function, field: None }),
        field if is_name => Some(Aggregate { function, field: Some(field) }),
        _ => None,
    }
}

fn check_aggregate(schema: &CollectionSchema, aggregate: Aggregate<'_>) -> Result<()> {
    let function = format!("{:?}", aggregate.function).to_ascii_lowercase();
    match aggregate.field {
        None if aggregate.function != AggregateFunction::Count => Err(Error::invalid_argument(
            format!("{function}(*) is not supported, only count(*) is allowed"),
        )),
        Some(name) if schema.field(name).is_err() => Err(Error::invalid_argument(format!(
            "target field {name} for aggregation:{function} does not exist"
        ))),
        _ => Ok(()),
    }
}

/// The fields of these names, each once, in the order in which they are first named.
fn resolve(schema: &CollectionSchema, names: &[String]) -> Result<Vec<FieldSchema>> {
    let mut fields: Vec<FieldSchema> = Vec::new();
    let mut add = |field: &FieldSchema| {
        if !fields.contains(field) {
            fields.push(field.clone());
        }
    };
    for name in names {
        match name.trim() {
            "*" => schema.fields.iter().for_each(&mut add),
            name => add(schema.field(name).map_err(|error| {
                Error::invalid_argument(format!("field {name} not exist")).caused_by(error)
            })?),
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pandion_types::{DataType, ErrorKind, FieldId};

    use super::*;

    fn schema() -> CollectionSchema {
        let field = |id: i64, name: &str, data_type, is_primary_key: bool| FieldSchema {
            id: FieldId(id),
            name: name.to_owned(),
            description: String::new(),
            data_type,
            element_type: None,
            nullable: !is_primary_key,
            is_primary_key,
            auto_id: is_primary_key,
            external_field: (!is_primary_key).then(|| name.to_owned()),
            type_params: BTreeMap::new(),
        };
        CollectionSchema {
            fields: vec![
                field(100, "__virtual_pk__", DataType::Int64, true),
                field(101, "price", DataType::Double, false),
                field(102, "v", DataType::FloatVector, false),
            ],
            ..CollectionSchema::default()
        }
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn names(fields: &[FieldSchema]) -> Vec<&str> {
        fields.iter().map(|field| field.name.as_str()).collect()
    }

    fn query(list: &[&str]) -> Result<QueryOutput> {
        query_output(&schema(), &owned(list))
    }

    #[test]
    fn query_always_returns_the_key() {
        let check = |list: &[&str], expected: &[&str]| match query(list).unwrap() {
            QueryOutput::Fields(fields) => assert_eq!(names(&fields), expected),
            QueryOutput::Count(name) => panic!("{name} is not a list of fields"),
        };
        check(&["*"], &["__virtual_pk__", "price", "v"]);
        check(&["price"], &["price", "__virtual_pk__"]);
        check(&[" price ", "price", "*"], &["price", "__virtual_pk__", "v"]);
        check(&[], &["__virtual_pk__"]);
    }

    #[test]
    fn search_returns_the_key_only_when_asked() {
        let search = |list: &[&str]| search_output(&schema(), &owned(list));
        assert_eq!(names(&search(&["price"]).unwrap()), ["price"]);
        assert_eq!(names(&search(&["*"]).unwrap()), ["__virtual_pk__", "price", "v"]);
        assert!(search(&[]).unwrap().is_empty());
        assert!(search(&["count(*)"]).unwrap_err().message().contains("aggregation count(*)"));
    }

    #[test]
    fn unknown_field_is_named() {
        let error = query(&["colour"]).unwrap_err();
        assert_eq!(error.message(), "field colour not exist");
    }

    #[test]
    fn count_of_all_rows_is_served() {
        for text in ["count(*)", "COUNT( * )", "Count (*)"] {
            assert_eq!(query(&[text]).unwrap(), QueryOutput::Count(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn other_aggregates_are_refused_by_name() {
        for list in [vec!["sum(price)"], vec!["count(price)"], vec!["count(*)", "price"]] {
            let error = query(&list).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{list:?}: {error}");
        }
        assert!(query(&["sum(*)"]).unwrap_err().message().contains("only count(*) is allowed"));
        assert!(query(&["max(colour)"]).unwrap_err().message().contains("target field colour"));
    }

    #[test]
    fn text_that_only_looks_like_an_aggregate_is_a_field() {
        for text in ["median(price)", "count", "count(", "count()", "sum(a b)", "count(*) x"] {
            assert_eq!(parse_aggregate(text), None, "{text}");
        }
        let aggregate = parse_aggregate("MIN(price)").unwrap();
        assert_eq!(aggregate.function, AggregateFunction::Min);
        assert_eq!(aggregate.field, Some("price"));
    }
}
