//! The output fields of a request: names, `*`, aggregates, and what is grouped by.
//!
//! Names are resolved against the schema; which values they stand for is not looked at.

use pandion_query::{Aggregate, AggregateFunction, AggregateOutput};
use pandion_types::{CollectionSchema, DataType, Error, FieldSchema, Result};

/// What a query returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueryOutput {
    /// The values of these fields, the primary key among them.
    Fields(Vec<FieldSchema>),
    /// The number of rows, in a column of this name.
    Count(String),
    /// One row per group.
    Groups {
        /// The fields that are grouped by; none when all rows are one group.
        by: Vec<FieldSchema>,
        /// The columns, each with its name.
        columns: Vec<(String, AggregateOutput)>,
    },
}

/// An aggregate, as it may stand among the output fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AggregateText<'a> {
    /// What is computed.
    pub(crate) function: AggregateFunction,
    /// The field; `None` for `*`.
    pub(crate) field: Option<&'a str>,
}

impl QueryOutput {
    /// The fields that are grouped by.
    pub(crate) fn groups(&self) -> &[FieldSchema] {
        match self {
            Self::Fields(_) | Self::Count(_) => &[],
            Self::Groups { by, .. } => by,
        }
    }

    /// Whether rows are aggregated, so that the answer is small without a limit.
    pub(crate) fn aggregates(&self) -> bool {
        match self {
            Self::Fields(_) => false,
            Self::Count(_) => true,
            Self::Groups { columns, .. } => {
                let mut columns = columns.iter();
                columns.any(|(_, column)| matches!(column, AggregateOutput::Aggregate(_)))
            }
        }
    }

    /// Whether all matching rows are counted into one number, of which there are no pages.
    pub(crate) fn counts_all_rows(&self) -> bool {
        match self {
            Self::Fields(_) => false,
            Self::Count(_) => true,
            Self::Groups { by, columns } => {
                let is_count = |column: &AggregateOutput| match column {
                    AggregateOutput::Aggregate(aggregate) => aggregate.field.is_none(),
                    AggregateOutput::Group(_) => false,
                };
                by.is_empty() && columns.iter().any(|(_, column)| is_count(column))
            }
        }
    }
}

/// Resolves the output fields of a query and the fields that it groups by. Of rows, the primary key
/// is always returned, because the iterators of clients page by it; of groups, only what is named.
///
/// # Errors
/// `InvalidArgument` for a name that is no field, an aggregate that does not exist or is not defined
/// for its field, a type that cannot be grouped by, and a field beside aggregates that is not grouped
/// by.
pub(crate) fn query_output(
    schema: &CollectionSchema,
    names: &[String],
    group_by: &[String],
) -> Result<QueryOutput> {
    let columns: Vec<(&str, Option<Aggregate>)> = names
        .iter()
        .map(|name| {
            let name = name.trim();
            let text = parse_aggregate(name);
            Ok((name, text.map(|text| aggregate(schema, name, text)).transpose()?))
        })
        .collect::<Result<_>>()?;
    let plain: Vec<&str> =
        columns.iter().filter(|(_, found)| found.is_none()).map(|(name, _)| *name).collect();
    let mut fields = resolve(schema, &plain)?;
    let groups = group_fields(schema, group_by)?;
    if groups.is_empty() && plain.len() == columns.len() {
        if let Some(key) = schema.fields.iter().find(|field| field.is_primary_key)
            && !fields.contains(key)
        {
            fields.push(key.clone());
        }
        return Ok(QueryOutput::Fields(fields));
    }
    if let ([(name, Some(Aggregate { field: None, .. }))], true) = (&*columns, groups.is_empty()) {
        return Ok(QueryOutput::Count((*name).to_owned()));
    }
    let mut outputs: Vec<(String, AggregateOutput)> = Vec::new();
    for (name, aggregate) in columns {
        let output = match aggregate {
            Some(aggregate) => AggregateOutput::Aggregate(aggregate),
            None => match groups.iter().find(|group| group.name == name) {
                Some(group) => AggregateOutput::Group(group.id),
                None => {
                    return Err(Error::invalid_argument(format!(
                        "no indices found for output field '{name}': beside aggregates and groups, \
                         only fields of group_by_fields can be returned"
                    )));
                }
            },
        };
        if outputs.iter().all(|(known, _)| known != name) {
            outputs.push((name.to_owned(), output));
        }
    }
    if outputs.is_empty() {
        return Err(Error::invalid_argument(
            "output_fields must name the fields of group_by_fields or aggregates to return",
        ));
    }
    Ok(QueryOutput::Groups { by: groups, columns: outputs })
}

/// The fields that are grouped by, each once.
fn group_fields(schema: &CollectionSchema, names: &[String]) -> Result<Vec<FieldSchema>> {
    let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
    let mut fields: Vec<FieldSchema> = Vec::new();
    for name in names {
        let field = schema.field(name).map_err(|error| no_field(name).caused_by(error))?;
        let data_type = field.data_type;
        if !data_type.is_integer()
            && !matches!(data_type, DataType::VarChar | DataType::Timestamptz)
        {
            return Err(Error::invalid_argument(format!(
                "group by field {name} has unsupported data type {data_type}"
            )));
        }
        if !fields.contains(field) {
            fields.push(field.clone());
        }
    }
    Ok(fields)
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
    let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
    resolve(schema, &names)
}

/// The aggregate that an output field is, if it is one: `count(*)`, `SUM( price )`.
#[must_use]
pub(crate) fn parse_aggregate(text: &str) -> Option<AggregateText<'_>> {
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
        "*" => Some(AggregateText { function, field: None }),
        field if is_name => Some(AggregateText { function, field: Some(field) }),
        _ => None,
    }
}

fn aggregate(schema: &CollectionSchema, name: &str, text: AggregateText<'_>) -> Result<Aggregate> {
    let function = text.function.name();
    let field = match text.field {
        None if text.function != AggregateFunction::Count => {
            return Err(Error::invalid_argument(format!(
                "{function}(*) is not supported, only count(*) is allowed"
            )));
        }
        None => None,
        Some(name) => Some(schema.field(name).map_err(|error| {
            Error::invalid_argument(format!(
                "target field {name} for aggregation:{function} does not exist"
            ))
            .caused_by(error)
        })?),
    };
    if let Some(field) = field
        && !text.function.takes(field.data_type)
    {
        return Err(Error::invalid_argument(format!(
            "aggregation operator {function} does not support data type {}",
            field.data_type
        )));
    }
    let field = field.map(|field| field.id);
    Ok(Aggregate { name: name.to_owned(), function: text.function, field })
}

/// The fields of these names, each once, in the order in which they are first named.
fn resolve(schema: &CollectionSchema, names: &[&str]) -> Result<Vec<FieldSchema>> {
    let mut fields: Vec<FieldSchema> = Vec::new();
    let mut add = |field: &FieldSchema| {
        if !fields.contains(field) {
            fields.push(field.clone());
        }
    };
    for &name in names {
        match name {
            "*" => schema.fields.iter().for_each(&mut add),
            name => add(schema.field(name).map_err(|error| no_field(name).caused_by(error))?),
        }
    }
    Ok(fields)
}

fn no_field(name: &str) -> Error {
    Error::invalid_argument(format!("field {name} not exist"))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
