//! Answers aggregations: counts, sums, means and extremes of the rows that match, by group.
//!
//! The columns are streamed row group after row group through DataFusion's hash aggregation; what
//! is kept is one state per group, within the memory that a request may use. No answer is ever a
//! wrong number: sums of integers are exact, and one that does not fit in Int64 is an error.

mod outputs;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::{average, count, min_max, sum};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use pandion_types::{CollectionSchema, DataType, Error, FieldId, FieldSchema, Result};

use self::outputs::Output;
use crate::bounded;
use crate::counters::Counters;
use crate::engine::QueryEngine;
use crate::ordered_rows::{sort_options, sorted};
use crate::plan::{ColumnsExec, Form, FormedColumn, unplanned};
use crate::request::{
    Aggregate, AggregateFunction, AggregateOutput, AggregateRequest, AggregateResult, OrderBy,
    OutputColumn,
};
use crate::snapshot::Snapshot;

impl QueryEngine {
    /// Aggregates over the matching rows, one row per group in the order that was asked for. Reads
    /// the columns that are grouped by and aggregated, of all matching rows.
    ///
    /// # Errors
    /// As [`Self::search`]; `InvalidArgument` when a sum of integers does not fit in Int64, and when
    /// the groups need more memory or the answer more bytes than the limits allow.
    pub async fn aggregate(
        &self,
        snapshot: &Arc<Snapshot>,
        request: AggregateRequest,
    ) -> Result<AggregateResult> {
        let counters = Arc::new(Counters::default());
        let filter =
            self.filter_plan(snapshot, request.filter.as_ref(), request.options, &counters)?;
        let aggregation = Aggregation::new(snapshot.schema(), &request)?;
        let columns: Arc<dyn ExecutionPlan> = Arc::new(ColumnsExec::new(
            filter,
            Arc::clone(snapshot),
            aggregation.inputs.clone(),
            self.in_flight(),
            Arc::clone(&counters),
        )?);
        let plan = self.transported(aggregation.plan(&columns)?)?;
        let groups = bounded::collect(&plan, self.limits()).await?;
        let columns = aggregation.finish(&groups)?;
        Ok(AggregateResult { columns, cost: counters.cost(snapshot) })
    }
}

/// A request in the terms of DataFusion.
#[derive(Debug)]
struct Aggregation {
    /// The columns that are read; the first `groups` are grouped by.
    inputs: Vec<FormedColumn>,
    groups: usize,
    calls: Vec<Call>,
    outputs: Vec<(FieldSchema, Output)>,
    /// The columns among the first `groups` that the groups are sorted by.
    order: Vec<(usize, SortOptions)>,
    limit: Option<usize>,
    offset: usize,
}

/// An aggregate of DataFusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Call {
    function: AggregateFunction,
    /// A column of `inputs`; `None` for the rows themselves.
    input: Option<usize>,
}

impl Aggregation {
    fn new(schema: &CollectionSchema, request: &AggregateRequest) -> Result<Self> {
        let mut aggregation = Self {
            inputs: Vec::new(),
            groups: 0,
            calls: Vec::new(),
            outputs: Vec::new(),
            order: Vec::new(),
            limit: request.limit,
            offset: request.offset,
        };
        for &field in &request.group_by {
            aggregation.input(known(schema, field)?, Form::Plain);
        }
        aggregation.groups = aggregation.inputs.len();
        for output in &request.output {
            let output = match output {
                AggregateOutput::Group(field) => aggregation.group(known(schema, *field)?)?,
                AggregateOutput::Aggregate(aggregate) => {
                    aggregation.aggregate(schema, aggregate)?
                }
            };
            aggregation.outputs.push(output);
        }
        aggregation.sort_by(&request.order)?;
        Ok(aggregation)
    }

    /// The column that holds this form of a field.
    fn input(&mut self, field: &FieldSchema, form: Form) -> usize {
        position_or_push(&mut self.inputs, FormedColumn { field: field.clone(), form })
    }

    fn call(&mut self, function: AggregateFunction, input: Option<usize>) -> usize {
        position_or_push(&mut self.calls, Call { function, input })
    }

    /// Where the field stands among those that are grouped by.
    fn group_position(&self, field: FieldId) -> Option<usize> {
        self.inputs.iter().take(self.groups).position(|group| group.field.id == field)
    }

    fn group(&self, field: &FieldSchema) -> Result<(FieldSchema, Output)> {
        let at = self.group_position(field.id).ok_or_else(|| {
            Error::internal(format!("field {} is returned but not grouped by", field.name))
        })?;
        Ok((field.clone(), Output::Column(at)))
    }

    fn aggregate(
        &mut self,
        schema: &CollectionSchema,
        aggregate: &Aggregate,
    ) -> Result<(FieldSchema, Output)> {
        use AggregateFunction::{Avg, Count, Max, Min, Sum};

        let function = aggregate.function;
        let field = aggregate.field.map(|field| known(schema, field)).transpose()?;
        if field.is_none_or(|field| !function.takes(field.data_type))
            && (function, field) != (Count, None)
        {
            let name = &aggregate.name;
            return Err(Error::internal(format!("the aggregate {name} is not defined")));
        }
        let Some(field) = field else {
            let output = Output::Column(self.groups + self.call(Count, None));
            return Ok((result_field(aggregate, DataType::Int64), output));
        };
        let is_float = field.data_type.is_float();
        let form = match function {
            Count => Form::Present,
            Sum | Avg if is_float => Form::Double,
            Sum | Avg => Form::Exact,
            Min | Max if is_float => Form::Ordered,
            Min | Max => Form::Plain,
        };
        let input = self.input(field, form);
        let groups = self.groups;
        let (data_type, output) = match (function, form) {
            (Sum, Form::Exact) => {
                let sum = groups + self.call(Sum, Some(input));
                (DataType::Int64, Output::Integer { sum })
            }
            (Avg, Form::Exact) => {
                let sum = groups + self.call(Sum, Some(input));
                let present = self.input(field, Form::Present);
                let count = groups + self.call(Count, Some(present));
                (DataType::Double, Output::Mean { sum, count })
            }
            (Min | Max, Form::Ordered) => {
                (field.data_type, Output::Float(groups + self.call(function, Some(input))))
            }
            (Min | Max, _) => {
                (field.data_type, Output::Column(groups + self.call(function, Some(input))))
            }
            (Sum | Avg, _) => {
                (DataType::Double, Output::Column(groups + self.call(function, Some(input))))
            }
            (Count, _) => (DataType::Int64, Output::Column(groups + self.call(Count, Some(input)))),
        };
        Ok((result_field(aggregate, data_type), output))
    }

    /// The columns that groups are sorted by: those asked for, then the others.
    fn sort_by(&mut self, order: &[OrderBy]) -> Result<()> {
        for key in order {
            let at = self.group_position(key.field).ok_or_else(|| {
                Error::internal(format!("groups are ordered by field {}, not grouped", key.field))
            })?;
            self.order.push((at, sort_options(key)));
        }
        let last = SortOptions { descending: false, nulls_first: false };
        for at in 0..self.groups {
            if self.order.iter().all(|(known, _)| *known != at) {
                self.order.push((at, last));
            }
        }
        Ok(())
    }

    /// The groups of the page that is asked for, or of all pages up to it, from rows with the
    /// columns `self.inputs`.
    fn plan(&self, source: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = source.output_partitioning().partition_count();
        let aggregate = if partitions == 1 {
            self.node(AggregateMode::Single, source, source)?
        } else {
            let partial = self.node(AggregateMode::Partial, source, source)?;
            let partial = Arc::new(CoalescePartitionsExec::new(partial)) as _;
            self.node(AggregateMode::Final, &partial, source)?
        };
        let order = self.order.iter().map(|&(at, options)| {
            let column = Column::new(aggregate.schema().field(at).name(), at);
            PhysicalSortExpr::new(Arc::new(column), options)
        });
        let Some(order) = LexOrdering::new(order) else { return Ok(aggregate) };
        let fetch = self.limit.map(|limit| limit.saturating_add(self.offset));
        Ok(sorted(aggregate, order, fetch))
    }

    /// One step of the aggregation; `source` gives the rows before the first.
    fn node(
        &self,
        mode: AggregateMode,
        input: &Arc<dyn ExecutionPlan>,
        source: &Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = source.schema();
        let column = |at: usize| Arc::new(Column::new(schema.field(at).name(), at)) as _;
        let groups = (0..self.groups).map(|at| (column(at), format!("group {at}"))).collect();
        let mut groups = PhysicalGroupBy::new_single(groups);
        if mode == AggregateMode::Final {
            groups = groups.as_final();
        }
        let calls = self.calls.iter().enumerate();
        let calls = calls.map(|(at, call)| call.expression(&schema, at));
        let calls = calls.collect::<Result<Vec<_>>>()?;
        let filters = vec![None; calls.len()];
        AggregateExec::try_new(mode, groups, calls, filters, Arc::clone(input), schema)
            .map(|node| Arc::new(node) as Arc<dyn ExecutionPlan>)
            .map_err(unplanned)
    }

    /// The answer from what the plan gave.
    fn finish(&self, groups: &RecordBatch) -> Result<Vec<OutputColumn>> {
        let first = self.offset.min(groups.num_rows());
        let rows = self.limit.unwrap_or(usize::MAX).min(groups.num_rows() - first);
        let groups = groups.slice(first, rows);
        let columns = self.outputs.iter().map(|(field, output)| {
            let values = output.finish(field, groups.columns())?;
            Ok(OutputColumn { field: field.clone(), values })
        });
        columns.collect()
    }
}

impl Call {
    fn expression(self, schema: &SchemaRef, at: usize) -> Result<Arc<AggregateFunctionExpr>> {
        let argument: Arc<dyn PhysicalExpr> = match self.input {
            Some(input) => Arc::new(Column::new(schema.field(input).name(), input)),
            None => Arc::new(Literal::new(ScalarValue::Int64(Some(1)))),
        };
        AggregateExprBuilder::new(udaf(self.function), vec![argument])
            .schema(Arc::clone(schema))
            .alias(format!("call {at}"))
            .build()
            .map(Arc::new)
            .map_err(unplanned)
    }
}

/// The function of DataFusion.
pub(crate) fn udaf(function: AggregateFunction) -> Arc<AggregateUDF> {
    match function {
        AggregateFunction::Count => count::count_udaf(),
        AggregateFunction::Sum => sum::sum_udaf(),
        AggregateFunction::Avg => average::avg_udaf(),
        AggregateFunction::Min => min_max::min_udaf(),
        AggregateFunction::Max => min_max::max_udaf(),
    }
}

fn known(schema: &CollectionSchema, field: FieldId) -> Result<&FieldSchema> {
    schema.field_by_id(field).ok_or_else(|| Error::internal(format!("no field with id {field}")))
}

fn position_or_push<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

/// The column of an aggregate, described as if it were a field.
fn result_field(aggregate: &Aggregate, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(0),
        name: aggregate.name.clone(),
        description: String::new(),
        data_type,
        element_type: None,
        // A count is 0 where everything else has no value.
        nullable: aggregate.function != AggregateFunction::Count,
        is_primary_key: false,
        auto_id: false,
        external_field: None,
        type_params: std::collections::BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests;
