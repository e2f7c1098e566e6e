//! Query: rows, counts and aggregates.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::Array as _;
use chrono_tz::Tz;
use pandion_filter::Filter;
use pandion_proto::milvus;
use pandion_proto::schema::FieldData;
use pandion_query::{
    AggregateOutput, AggregateRequest, OrderBy, QueryCost, QueryOptions, QueryRequest, Snapshot,
};
use pandion_types::{CollectionId, Error, FieldSchema, Result, VIRTUAL_PK_NAME};

use super::reading::{filter, with_cost};
use super::{Caller, Door, partitions};
use crate::access::{Action, Resource};
use crate::clock;
use crate::explain::{EXPLAIN, explain};
use crate::field_data::encode_count;
use crate::order_fields::{check_order_of_groups, order_by};
use crate::output_fields::{QueryOutput, query_output};
use crate::params::timezone_of;
use crate::query_params::{QueryParams, decode_query_params};
use crate::time_parts::encode_columns;
use crate::time_travel::one_choice;

pub(super) async fn query(
    door: &Door,
    caller: &Caller,
    request: milvus::QueryRequest,
) -> Result<milvus::QueryResults> {
    let started = Instant::now();
    let (collection, choice) =
        door.collection_at(caller, &request.db_name, &request.collection_name)?;
    door.authorize(caller, Action::Read, Resource::Collection(&collection))?;
    partitions::check(&request.partition_names)?;
    let params = decode_query_params(&request)?;
    if let Some(feature) = params.features.first() {
        return Err(feature.refusal());
    }
    check_collection(&params, collection.id)?;
    let timezone = timezone_of(params.timezone, &collection.properties)?;
    let choice = one_choice(choice, params.snapshot.as_ref())?;
    let snapshot = door.node().snapshot_at(&collection, choice.as_ref()).await?;
    let schema = snapshot.schema();
    let text = filter_text(&params, request.expr);
    let filter = filter(schema, &text, &request.expr_template_values, timezone)?;
    let output = query_output(schema, &request.output_fields, &params.group_by)?;
    if !matches!(output, QueryOutput::Fields(_)) {
        check_order_of_groups(&params.order_by, output.groups())?;
    }
    let order = order_by(schema, &params.order_by)?;
    params.check_use(filter.is_some(), &output)?;
    let explains = params.explain;
    let asked = Asked { params, order, filter, timezone };
    let answer = asked.answer(door, &snapshot, output).await?;
    door.count_read("query", &answer.cost, started);
    let mut status = with_cost(&answer.cost);
    if explains {
        status.extra_info.insert(EXPLAIN.to_owned(), explain(&answer.cost, answer.rows));
    }
    Ok(milvus::QueryResults {
        status: Some(status),
        fields_data: answer.fields_data,
        collection_name: collection.name.clone(),
        output_fields: answer.names,
        session_ts: clock::hybrid_timestamp(),
        primary_field_name: VIRTUAL_PK_NAME.to_owned(),
        ..milvus::QueryResults::default()
    })
}

/// An iterator goes on with the collection that it began with, whatever its name means now.
fn check_collection(params: &QueryParams, collection: CollectionId) -> Result<()> {
    match params.collection_id {
        Some(id) if id > 0 && id != collection.0 => Err(Error::invalid_argument(
            "Input collection id is not consistent to collectionID in the context,alias or database \
             may have changed",
        )),
        _ => Ok(()),
    }
}

/// The filter with what an iterator has seen left out.
fn filter_text(params: &QueryParams, text: String) -> String {
    match params.after_key {
        None => text,
        Some(key) if text.trim().is_empty() => format!("{VIRTUAL_PK_NAME} > {key}"),
        Some(key) => format!("{VIRTUAL_PK_NAME} > {key} and ({text})"),
    }
}

/// What is asked of the rows that match.
struct Asked {
    params: QueryParams,
    order: Vec<OrderBy>,
    filter: Option<Filter>,
    timezone: Tz,
}

struct Answer {
    fields_data: Vec<FieldData>,
    names: Vec<String>,
    rows: usize,
    cost: QueryCost,
}

impl Asked {
    async fn answer(
        self,
        door: &Door,
        snapshot: &Arc<Snapshot>,
        output: QueryOutput,
    ) -> Result<Answer> {
        let engine = door.node().engine();
        match output {
            QueryOutput::Count(name) => {
                let filter = self.filter.as_ref();
                let (count, cost) = engine.count(snapshot, filter, QueryOptions::default()).await?;
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                let fields_data = vec![encode_count(&name, count)];
                Ok(Answer { fields_data, names: vec![name], rows: 1, cost })
            }
            QueryOutput::Fields(fields) => {
                let asked = QueryRequest {
                    filter: self.filter,
                    output: fields.iter().map(|field| field.id).collect(),
                    order: self.order,
                    limit: self.params.limit,
                    offset: self.params.offset,
                    options: QueryOptions::default(),
                };
                let result = engine.query(snapshot, asked).await?;
                let names = fields.into_iter().map(|field| field.name).collect();
                let parts = &self.params.time_parts;
                let fields_data = encode_columns(&result.columns, self.timezone, parts)?;
                Ok(Answer { fields_data, names, rows: result.rows.len(), cost: result.cost })
            }
            QueryOutput::Groups { by, columns } => {
                let (names, output) = columns.into_iter().unzip();
                self.aggregate(door, snapshot, &by, names, output).await
            }
        }
    }

    async fn aggregate(
        self,
        door: &Door,
        snapshot: &Arc<Snapshot>,
        by: &[FieldSchema],
        names: Vec<String>,
        output: Vec<AggregateOutput>,
    ) -> Result<Answer> {
        let asked = AggregateRequest {
            filter: self.filter,
            group_by: by.iter().map(|field| field.id).collect(),
            output,
            order: self.order,
            limit: self.params.limit,
            offset: self.params.offset,
            options: QueryOptions::default(),
        };
        let result = door.node().engine().aggregate(snapshot, asked).await?;
        let fields_data = encode_columns(&result.columns, self.timezone, &self.params.time_parts)?;
        let rows = result.columns.first().map_or(0, |column| column.values.len());
        Ok(Answer { fields_data, names, rows, cost: result.cost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterators_stay_with_their_collection() {
        let check = |collection_id| {
            let params = QueryParams { collection_id, ..QueryParams::default() };
            check_collection(&params, CollectionId(449))
        };
        check(None).unwrap();
        check(Some(0)).unwrap();
        check(Some(449)).unwrap();
        let error = check(Some(450)).unwrap_err();
        assert!(error.message().starts_with("Input collection id is not consistent"), "{error}");
    }

    #[test]
    fn iterators_leave_out_what_they_have_seen() {
        let text = |after_key, text: &str| {
            filter_text(&QueryParams { after_key, ..QueryParams::default() }, text.to_owned())
        };
        assert_eq!(text(None, "a > 1"), "a > 1");
        assert_eq!(text(Some(7), " "), "__virtual_pk__ > 7");
        assert_eq!(text(Some(7), "a > 1 or b < 2"), "__virtual_pk__ > 7 and (a > 1 or b < 2)");
    }
}
