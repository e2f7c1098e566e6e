use pandion_types::FieldId;

use super::testing::{owned, schema};
use super::*;

fn names(fields: &[FieldSchema]) -> Vec<&str> {
    fields.iter().map(|field| field.name.as_str()).collect()
}

fn query(list: &[&str]) -> Result<QueryOutput> {
    query_output(&schema(), &owned(list), &[])
}

fn grouped(list: &[&str], group_by: &[&str]) -> Result<QueryOutput> {
    query_output(&schema(), &owned(list), &owned(group_by))
}

fn refusal(result: Result<QueryOutput>) -> String {
    result.unwrap_err().message().to_owned()
}

#[test]
fn query_always_returns_the_key() {
    let check = |list: &[&str], expected: &[&str]| match query(list).unwrap() {
        QueryOutput::Fields(fields) => assert_eq!(names(&fields), expected),
        other => panic!("{other:?} is not a list of fields"),
    };
    check(&["*"], &["__virtual_pk__", "price", "v", "name", "size", "doc"]);
    check(&["price"], &["price", "__virtual_pk__"]);
    check(&[" price ", "price", "v"], &["price", "v", "__virtual_pk__"]);
    check(&[], &["__virtual_pk__"]);
}

#[test]
fn search_returns_the_key_only_when_asked() {
    let search = |list: &[&str]| search_output(&schema(), &owned(list));
    assert_eq!(names(&search(&[" price"]).unwrap()), ["price"]);
    assert_eq!(names(&search(&["*"]).unwrap())[..2], ["__virtual_pk__", "price"]);
    assert!(search(&[]).unwrap().is_empty());
    assert!(search(&["count(*)"]).unwrap_err().message().contains("aggregation count(*)"));
}

#[test]
fn unknown_fields_are_named() {
    assert_eq!(refusal(query(&["colour"])), "field colour not exist");
    assert_eq!(refusal(query(&["count(*)", "colour"])), "field colour not exist");
    assert_eq!(refusal(grouped(&["count(*)"], &["colour"])), "field colour not exist");
    assert!(refusal(query(&["max(colour)"])).contains("target field colour for aggregation:max"));
}

#[test]
fn a_single_count_of_all_rows_stands_for_itself() {
    for text in ["count(*)", "COUNT( * )", " Count (*)"] {
        let output = query(&[text]).unwrap();
        assert_eq!(output, QueryOutput::Count(text.trim().to_owned()), "{text}");
        assert!(output.aggregates() && output.counts_all_rows());
    }
}

#[test]
fn groups_and_aggregates_keep_their_names_and_order() {
    let output = grouped(&["SUM(price)", "name", "count(*)", "name"], &[" name ", "name"]).unwrap();
    assert!(output.aggregates() && !output.counts_all_rows());
    let QueryOutput::Groups { by, columns } = output else { panic!("{output:?}") };
    assert_eq!(names(&by), ["name"]);
    let aggregate = |name: &str, function, field| {
        let name = name.to_owned();
        AggregateOutput::Aggregate(Aggregate { name, function, field })
    };
    let expected = [
        aggregate("SUM(price)", AggregateFunction::Sum, Some(FieldId(101))),
        AggregateOutput::Group(FieldId(103)),
        aggregate("count(*)", AggregateFunction::Count, None),
    ];
    let (found, outputs): (Vec<String>, Vec<AggregateOutput>) = columns.into_iter().unzip();
    assert_eq!(found, ["SUM(price)", "name", "count(*)"]);
    assert_eq!(outputs, expected);
}

#[test]
fn aggregates_without_groups_and_groups_without_aggregates() {
    let output = query(&["max(name)", "count(v)"]).unwrap();
    assert!(output.aggregates() && !output.counts_all_rows());
    assert!(query(&["max(name)", "count(*)"]).unwrap().counts_all_rows());
    let output = grouped(&["size"], &["size"]).unwrap();
    assert!(!output.aggregates() && !output.counts_all_rows());
}

#[test]
fn what_cannot_be_aggregated_is_named() {
    assert!(refusal(query(&["sum(*)"])).contains("sum(*) is not supported, only count(*) is"));
    for (text, function, data_type) in [
        ("sum(name)", "sum", "VarChar"),
        ("AVG(doc)", "avg", "JSON"),
        ("min(v)", "min", "FloatVector"),
    ] {
        let expected =
            format!("aggregation operator {function} does not support data type {data_type}");
        assert_eq!(refusal(query(&[text])), expected);
    }
    for (name, data_type) in [("price", "Double"), ("v", "FloatVector"), ("doc", "JSON")] {
        let expected = format!("group by field {name} has unsupported data type {data_type}");
        assert_eq!(refusal(grouped(&[name, "count(*)"], &[name])), expected);
    }
}

#[test]
fn fields_that_are_not_grouped_by_cannot_stand_beside_groups() {
    for refused in
        [grouped(&["name", "price", "count(*)"], &["name"]), query(&["price", "count(*)"])]
    {
        assert!(refusal(refused).starts_with("no indices found for output field 'price'"));
    }
    assert!(
        refusal(grouped(&["*"], &["name"])).starts_with("no indices found for output field '*'")
    );
    assert!(refusal(grouped(&[], &["name"])).contains("output_fields must name"));
}

#[test]
fn text_that_only_looks_like_an_aggregate_is_a_field() {
    for text in ["median(price)", "count", "count(", "count()", "sum(a b)", "count(*) x"] {
        assert_eq!(parse_aggregate(text), None, "{text}");
        assert_eq!(refusal(query(&[text])), format!("field {text} not exist"));
    }
    let aggregate = parse_aggregate("MIN(price)").unwrap();
    assert_eq!(aggregate.function, AggregateFunction::Min);
    assert_eq!(aggregate.field, Some("price"));
}
