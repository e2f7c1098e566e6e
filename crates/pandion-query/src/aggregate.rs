//! Answers aggregations: counts, sums, means and extremes of the rows that match, by group.
//!
//! The columns are streamed row group after row group through DataFusion's hash aggregation; what
//! is kept is one state per group, within the memory that a request may use. No answer is ever a
//! wrong number: sums of integers are exact, and one that does not fit in Int64 is an error.

mod inputs;
mod outputs;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{SortOptions, concat_batches};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::{average, count, min_max, sum};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::sorts::sort::SortExec;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use pandion_types::{CollectionSchema, DataType, Error, FieldId, FieldSchema, Result};

use self::inputs::{Form, Input};
use self::outputs::Output;
use crate::engine::{QueryEngine, compile};
use crate::limits::QueryLimits;
use crate::plan;
use crate::request::{
    Aggregate, AggregateFunction, AggregateOutput, AggregateRequest, AggregateResult, OrderBy,
    OutputColumn,
};
use crate::scan::Counters;
use crate::selected::selected_columns;
use crate::snapshot::Snapshot;
use crate::take::{answer_too_large, value_bytes};

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
        let filter = compile(request.filter.as_ref(), snapshot)?;
        let aggregation = Aggregation::new(snapshot.schema(), &request)?;
        let batches = selected_columns(
            snapshot,
            filter.as_ref(),
            &aggregation.fields,
            &counters,
            self.in_flight(),
        )?;
        let columns = aggregation.run(batches, self.limits()).await?;
        Ok(AggregateResult { columns, cost: counters.cost(snapshot) })
    }
}

/// A request in the terms of DataFusion.
#[derive(Debug)]
struct Aggregation {
    /// The fields that are read.
    fields: Vec<FieldSchema>,
    /// The columns that are made of them; the first `groups` are grouped by.
    inputs: Vec<Input>,
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
            fields: Vec::new(),
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
        let at = position_or_push(&mut self.fields, field.clone());
        position_or_push(&mut self.inputs, Input { field: at, form })
    }

    fn call(&mut self, function: AggregateFunction, input: Option<usize>) -> usize {
        position_or_push(&mut self.calls, Call { function, input })
    }

    /// Where the field stands among those that are grouped by.
    fn group_position(&self, field: FieldId) -> Option<usize> {
        let groups = self.inputs.iter().take(self.groups);
        groups.map(|input| &self.fields[input.field]).position(|group| group.id == field)
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

    /// Aggregates batches of `self.fields`.
    async fn run(
        &self,
        batches: BoxStream<'static, Result<RecordBatch>>,
        limits: QueryLimits,
    ) -> Result<Vec<OutputColumn>> {
        let schema = self.input_schema()?;
        let (inputs, input_schema) = (self.inputs.clone(), Arc::clone(&schema));
        let batches =
            batches.map(move |batch| inputs::convert(&batch?, &inputs, &input_schema)).boxed();
        let plan = self.plan(plan::source(&schema, batches)?)?;
        let groups = self.collect(&plan, limits).await?;
        let columns = groups.columns();
        self.outputs
            .iter()
            .map(|(field, output)| {
                let values = output.finish(field, columns)?;
                Ok(OutputColumn { field: field.clone(), values })
            })
            .collect()
    }

    fn input_schema(&self) -> Result<SchemaRef> {
        let columns = self
            .inputs
            .iter()
            .enumerate()
            .map(|(at, input)| {
                let data_type = input.form.arrow_type(&self.fields[input.field])?;
                Ok(Field::new(format!("input {at}"), data_type, true))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Schema::new(columns)))
    }

    fn plan(&self, source: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = source.schema();
        let column = |at: usize| Arc::new(Column::new(schema.field(at).name(), at)) as _;
        let groups = (0..self.groups).map(|at| (column(at), format!("group {at}"))).collect();
        let calls = self
            .calls
            .iter()
            .enumerate()
            .map(|(at, call)| call.expression(&schema, at))
            .collect::<Result<Vec<_>>>()?;
        let filters = vec![None; calls.len()];
        let aggregate = AggregateExec::try_new(
            AggregateMode::Single,
            PhysicalGroupBy::new_single(groups),
            calls,
            filters,
            source,
            Arc::clone(&schema),
        )
        .map_err(plan::unplanned)?;
        let aggregate: Arc<dyn ExecutionPlan> = Arc::new(aggregate);
        let order = self.order.iter().map(|&(at, options)| {
            let column = Column::new(aggregate.schema().field(at).name(), at);
            PhysicalSortExpr::new(Arc::new(column), options)
        });
        let Some(order) = LexOrdering::new(order) else { return Ok(aggregate) };
        let fetch = self.limit.map(|limit| limit.saturating_add(self.offset));
        Ok(Arc::new(SortExec::new(order, aggregate).with_fetch(fetch)))
    }

    /// The groups of the page that is asked for, in one batch.
    async fn collect(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        limits: QueryLimits,
    ) -> Result<RecordBatch> {
        let mut batches = plan::execute(plan, limits.memory_bytes_max)?;
        let (mut groups, mut bytes) = (Vec::new(), 0_usize);
        while let Some(batch) = batches.try_next().await? {
            let sizes = batch.columns().iter().map(|column| value_bytes(column, None));
            bytes = sizes.fold(bytes, usize::saturating_add);
            if bytes > limits.answer_bytes_max {
                return Err(answer_too_large(bytes, limits.answer_bytes_max));
            }
            groups.push(batch);
        }
        let groups = concat_batches(&plan.schema(), &groups)
            .map_err(|error| Error::internal("joining groups failed").caused_by(error))?;
        let first = self.offset.min(groups.num_rows());
        let rows = self.limit.unwrap_or(usize::MAX).min(groups.num_rows() - first);
        Ok(groups.slice(first, rows))
    }
}

impl Call {
    fn expression(self, schema: &SchemaRef, at: usize) -> Result<Arc<AggregateFunctionExpr>> {
        let argument: Arc<dyn PhysicalExpr> = match self.input {
            Some(input) => Arc::new(Column::new(schema.field(input).name(), input)),
            None => Arc::new(Literal::new(ScalarValue::Int64(Some(1)))),
        };
        AggregateExprBuilder::new(self.udaf(), vec![argument])
            .schema(Arc::clone(schema))
            .alias(format!("call {at}"))
            .build()
            .map(Arc::new)
            .map_err(plan::unplanned)
    }

    fn udaf(self) -> Arc<AggregateUDF> {
        match self.function {
            AggregateFunction::Count => count::count_udaf(),
            AggregateFunction::Sum => sum::sum_udaf(),
            AggregateFunction::Avg => average::avg_udaf(),
            AggregateFunction::Min => min_max::min_udaf(),
            AggregateFunction::Max => min_max::max_udaf(),
        }
    }
}

/// How Arrow sorts what `key` asks for.
pub(crate) fn sort_options(key: &OrderBy) -> SortOptions {
    SortOptions { descending: key.descending, nulls_first: key.nulls_first }
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
