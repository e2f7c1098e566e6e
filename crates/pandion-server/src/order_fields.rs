//! `order_by_fields` of a query: from text to fields of the schema.
//!
//! The rules and texts are Milvus's; beyond them, points in time may be ordered by.

use pandion_query::OrderBy;
use pandion_types::{CollectionSchema, DataType, Error, FieldSchema, Result};

use crate::output_fields::parse_aggregate;

/// Resolves `field`, `field:desc` and `field:asc:nulls_first`. Values are ascending unless said
/// otherwise; rows without one come last when ascending and first when descending.
///
/// # Errors
/// `InvalidArgument` for a direction or a place of nulls that does not exist, a field that does not
/// exist and a type without an order.
pub(crate) fn order_by(schema: &CollectionSchema, texts: &[String]) -> Result<Vec<OrderBy>> {
    texts.iter().map(|text| order_by_field(schema, text)).collect()
}

fn order_by_field(schema: &CollectionSchema, text: &str) -> Result<OrderBy> {
    let mut parts = text.split(':').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let direction = parts.next().unwrap_or_default().to_lowercase();
    let descending = match direction.as_str() {
        "" | "asc" | "ascending" => false,
        "desc" | "descending" => true,
        _ => {
            return Err(Error::invalid_argument(format!(
                "invalid order direction '{direction}' for field '{name}', must be 'asc' or 'desc'"
            )));
        }
    };
    let nulls_first = match parts.next().map(str::to_lowercase).as_deref() {
        None => descending,
        Some("nulls_first") => true,
        Some("nulls_last") => false,
        Some(other) => {
            return Err(Error::invalid_argument(format!(
                "invalid null ordering '{other}', must be 'nulls_first' or 'nulls_last'"
            )));
        }
    };
    let field = schema.field(name).map_err(|error| {
        Error::invalid_argument(format!(
            "order_by field '{name}' does not exist in collection schema"
        ))
        .caused_by(error)
    })?;
    if !is_sortable(field.data_type) {
        return Err(Error::invalid_argument(format!(
            "order_by field '{name}' has type {} which is not sortable",
            field.data_type
        )));
    }
    Ok(OrderBy { field: field.id, descending, nulls_first })
}

fn is_sortable(data_type: DataType) -> bool {
    data_type.is_integer()
        || data_type.is_float()
        || matches!(data_type, DataType::Bool | DataType::VarChar | DataType::Timestamptz)
}

/// Checks that groups are ordered by what they are grouped by.
///
/// # Errors
/// `InvalidArgument` that names the field and what may be ordered by.
pub(crate) fn check_order_of_groups(texts: &[String], groups: &[FieldSchema]) -> Result<()> {
    for text in texts {
        let name = text.split(':').next().unwrap_or_default().trim().to_lowercase();
        if parse_aggregate(&name).is_some() {
            return Err(Error::invalid_argument(format!(
                "ORDER BY on aggregate expression '{name}' is not yet supported"
            )));
        }
        if groups.iter().all(|group| group.name.to_lowercase() != name) {
            let groups: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
            return Err(Error::invalid_argument(format!(
                "ORDER BY field '{name}' is not valid: when using GROUP BY or aggregates, ORDER BY \
                 can only reference GROUP BY columns. Valid targets are: [{}]",
                groups.join(" ")
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pandion_types::FieldId;

    use super::*;
    use crate::output_fields::testing::{owned, schema};

    fn order(texts: &[&str]) -> Result<Vec<OrderBy>> {
        order_by(&schema(), &owned(texts))
    }

    #[test]
    fn directions_and_places_of_nulls_are_understood() {
        let by = |descending, nulls_first| OrderBy { field: FieldId(101), descending, nulls_first };
        for (text, expected) in [
            ("price", by(false, false)),
            ("price:", by(false, false)),
            ("price:asc", by(false, false)),
            (" price : Ascending ", by(false, false)),
            ("price:DESC", by(true, true)),
            ("price:descending:nulls_last", by(true, false)),
            ("price:asc:NULLS_FIRST", by(false, true)),
        ] {
            assert_eq!(order(&[text]).unwrap(), [expected], "{text}");
        }
        let both = order(&["price", "__virtual_pk__:desc"]).unwrap();
        assert_eq!(both[1].field, FieldId(100));
    }

    #[test]
    fn what_cannot_be_ordered_by_is_named() {
        for (text, message) in [
            ("price:up", "invalid order direction 'up' for field 'price', must be 'asc' or 'desc'"),
            ("price:asc:x", "invalid null ordering 'x', must be 'nulls_first' or 'nulls_last'"),
            ("colour", "order_by field 'colour' does not exist in collection schema"),
            (":asc", "order_by field '' does not exist in collection schema"),
            ("v", "order_by field 'v' has type FloatVector which is not sortable"),
            ("doc:desc", "order_by field 'doc' has type JSON which is not sortable"),
            ("doc[\"a\"]:asc", "does not exist in collection schema"),
        ] {
            let error = order(&[text]).unwrap_err();
            assert!(error.message().contains(message), "{error}");
        }
    }

    #[test]
    fn groups_are_ordered_by_what_they_are_grouped_by() {
        let schema = schema();
        let groups = [schema.field("name").unwrap().clone(), schema.field("size").unwrap().clone()];
        let check =
            |text: &str, groups: &[FieldSchema]| check_order_of_groups(&owned(&[text]), groups);
        check("name:desc", &groups).unwrap();
        let text = |result: Result<()>| result.unwrap_err().message().to_owned();
        assert_eq!(
            text(check("price:asc", &groups)),
            "ORDER BY field 'price' is not valid: when using GROUP BY or aggregates, ORDER BY can \
             only reference GROUP BY columns. Valid targets are: [name size]"
        );
        assert!(text(check("name", &[])).ends_with("Valid targets are: []"));
        assert_eq!(
            text(check("COUNT(*):desc", &groups)),
            "ORDER BY on aggregate expression 'count(*)' is not yet supported"
        );
    }
}
