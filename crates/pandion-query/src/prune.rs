//! Leaves out files, row groups and pages in which no row can match, before anything is read.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::datasource::physical_plan::parquet::{
    PagePruningAccessPlanFilter, ParquetAccessPlan, ParquetFileMetrics, RowGroupAccessPlanFilter,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::reassign_expr_columns;
use datafusion::physical_optimizer::pruning::PruningPredicate;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use pandion_connector_parquet::ParquetFile;
use pandion_manifest::{ColumnStatistics, DataFile, Manifest, StatValue};
use pandion_source::IoStats;
use pandion_types::{FieldSchema, Result};

/// What of a filter can be decided from statistics.
#[derive(Debug)]
pub(crate) struct Pruner {
    /// The columns that the filter reads, by the names of the source.
    columns: SchemaRef,
    fields: Vec<FieldSchema>,
    predicate: Arc<dyn PhysicalExpr>,
    /// Over the statistics of whole files; `None` when nothing can be told from them.
    files: Option<PruningPredicate>,
    /// What was made for the file before: most files of a source have the same columns.
    latest: Mutex<Option<Arc<FilePruner>>>,
}

/// A filter over the columns of a file as the file has them.
#[derive(Debug)]
struct FilePruner {
    /// The file's own schema.
    found: SchemaRef,
    /// Where in it the filter's columns stand.
    places: Vec<Option<usize>>,
    /// The same with the filter's columns under their names in the filter, in their canonical types.
    schema: SchemaRef,
    row_groups: PruningPredicate,
    pages: PagePruningAccessPlanFilter,
}

impl Pruner {
    /// `columns` names the filter's columns as the source does, in the order of `fields`, in their
    /// canonical types.
    pub(crate) fn new(
        predicate: &Arc<dyn PhysicalExpr>,
        columns: &SchemaRef,
        fields: &[FieldSchema],
    ) -> Self {
        // A predicate that DataFusion cannot turn into one over statistics prunes nothing.
        let pruning = PruningPredicate::try_new(Arc::clone(predicate), Arc::clone(columns))
            .ok()
            .filter(|pruning| !pruning.always_true());
        Self {
            columns: Arc::clone(columns),
            fields: fields.to_vec(),
            predicate: Arc::clone(predicate),
            files: pruning,
            latest: Mutex::default(),
        }
    }

    /// For each file of the manifest, whether a row of it may match.
    pub(crate) fn files(&self, manifest: &Manifest) -> Vec<bool> {
        let all = || vec![true; manifest.files.len()];
        let Some(predicate) = &self.files else { return all() };
        let statistics = FileStatistics { files: &manifest.files, pruner: self };
        predicate.prune(&statistics).unwrap_or_else(|_| all())
    }

    /// The row groups and pages of a file that may hold matching rows. Reads the page index when
    /// the filter can use it, and nothing else.
    pub(crate) async fn pages(
        &self,
        file: &ParquetFile,
        stats: &IoStats,
    ) -> Result<ParquetAccessPlan> {
        let groups = file.metadata().num_row_groups();
        let mut plan = ParquetAccessPlan::new_all(groups);
        // A filter on primary keys alone is decided without the file.
        let pruner = if self.fields.is_empty() { None } else { self.for_file(file) };
        let Some(pruner) = pruner else { return Ok(plan) };
        let metrics = ParquetFileMetrics::new(0, "", &ExecutionPlanMetricsSet::new());
        let parquet_schema = file.metadata().file_metadata().schema_descr();
        let mut filter = RowGroupAccessPlanFilter::new(plan);
        filter.prune_by_statistics(
            &pruner.schema,
            parquet_schema,
            file.metadata().row_groups(),
            &pruner.row_groups,
            &metrics,
        );
        plan = filter.build();
        if plan.row_group_index_iter().next().is_none() || pruner.pages.filter_number() == 0 {
            return Ok(plan);
        }
        let metadata = file.page_index(stats).await?;
        let pages = &pruner.pages;
        Ok(pages.prune_plan_with_page_index(
            plan,
            &pruner.schema,
            parquet_schema,
            &metadata,
            &metrics,
        ))
    }

    /// The filter over the file's columns; `None` when nothing can be told from its statistics.
    fn for_file(&self, file: &ParquetFile) -> Option<Arc<FilePruner>> {
        self.files.as_ref()?;
        let places: Vec<_> = self.fields.iter().map(|field| self.place_of(field, file)).collect();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pruner) = latest.as_ref()
            && pruner.places == places
            && (Arc::ptr_eq(&pruner.found, file.arrow_schema())
                || pruner.found == *file.arrow_schema())
        {
            return Some(Arc::clone(pruner));
        }
        let schema: SchemaRef = Arc::new(self.file_schema(file, &places));
        // DataFusion looks columns up by their position, too.
        let predicate = reassign_expr_columns(Arc::clone(&self.predicate), &schema).ok()?;
        let row_groups =
            PruningPredicate::try_new(Arc::clone(&predicate), Arc::clone(&schema)).ok()?;
        let pages = PagePruningAccessPlanFilter::new(&predicate, Arc::clone(&schema));
        let found = Arc::clone(file.arrow_schema());
        let pruner = Arc::new(FilePruner { found, places, schema, row_groups, pages });
        *latest = Some(Arc::clone(&pruner));
        Some(pruner)
    }

    /// Where the file has a column of the filter, if its statistics can be read in the units that
    /// the filter compares in.
    fn place_of(&self, field: &FieldSchema, file: &ParquetFile) -> Option<usize> {
        let place = file.plain_column(field)?;
        let found = file.arrow_schema().fields().get(place)?.data_type();
        let (_, canonical) = self.column(column_name(field))?;
        same_statistics(found, canonical).then_some(place)
    }

    /// The file's own Arrow schema with the filter's columns by the names and in the types that they
    /// have in the filter. Columns whose statistics do not help, as those that the file lacks, stand
    /// behind all others, where no statistics are found for them.
    fn file_schema(&self, file: &ParquetFile, places: &[Option<usize>]) -> Schema {
        let wanted: HashSet<&str> =
            self.columns.fields().iter().map(|field| field.name().as_str()).collect();
        let found = file.arrow_schema().fields().iter().enumerate();
        // What a table called by a name of the filter once is another column.
        let mut fields: Vec<Arc<Field>> = found
            .map(|(place, field)| match wanted.contains(field.name().as_str()) {
                true => Arc::new(field.as_ref().clone().with_name(format!("\0{place}"))),
                false => Arc::clone(field),
            })
            .collect();
        let mut taken = HashSet::new();
        for (at, column) in self.columns.fields().iter().enumerate() {
            // The primary key, behind the other columns, is in no file.
            let place = places.get(at).copied().flatten().filter(|&place| taken.insert(place));
            match place.and_then(|place| fields.get_mut(place)) {
                Some(field) => {
                    let plain =
                        Field::new(column.name(), column.data_type().clone(), field.is_nullable());
                    *field = Arc::new(plain);
                }
                None => fields.push(Arc::clone(column)),
            }
        }
        Schema::new(fields)
    }

    fn column(&self, name: &str) -> Option<(&FieldSchema, &ArrowType)> {
        let at = self.columns.index_of(name).ok()?;
        Some((self.fields.get(at)?, self.columns.field(at).data_type()))
    }
}

/// The name of a field's column in filters.
fn column_name(field: &FieldSchema) -> &str {
    field.external_field.as_deref().unwrap_or(&field.name)
}

/// Whether the statistics of a column of type `found` mean the same when read as `canonical`.
fn same_statistics(found: &ArrowType, canonical: &ArrowType) -> bool {
    let string = |data_type: &ArrowType| {
        matches!(data_type, ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View)
    };
    let micros = |data_type: &ArrowType| {
        matches!(data_type, ArrowType::Timestamp(TimeUnit::Microsecond, _) | ArrowType::Int64)
    };
    found == canonical
        || (string(found) && string(canonical))
        || (micros(found) && matches!(canonical, ArrowType::Timestamp(TimeUnit::Microsecond, _)))
}

/// The statistics in a manifest, one container per file.
struct FileStatistics<'a> {
    files: &'a [DataFile],
    pruner: &'a Pruner,
}

impl FileStatistics<'_> {
    fn bounds(
        &self,
        column: &Column,
        bound: impl Fn(&ColumnStatistics) -> Option<&StatValue>,
    ) -> Option<ArrayRef> {
        let (field, arrow_type) = self.pruner.column(&column.name)?;
        let null = ScalarValue::try_from(arrow_type).ok()?;
        let values = self.files.iter().map(|file| {
            let statistics = statistics_of(file, field);
            let value = statistics.and_then(&bound).and_then(|value| scalar(value, arrow_type));
            value.unwrap_or_else(|| null.clone())
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for FileStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |statistics| statistics.min.as_ref())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |statistics| statistics.max.as_ref())
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (field, _) = self.pruner.column(&column.name)?;
        let counts = self.files.iter().map(|file| statistics_of(file, field)?.null_count);
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = self.files.iter().map(|file| Some(file.rows()));
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

fn statistics_of<'a>(file: &'a DataFile, field: &FieldSchema) -> Option<&'a ColumnStatistics> {
    let at = file.columns.binary_search_by_key(&field.id, |column| column.field).ok()?;
    file.columns.get(at)
}

/// A bound in the type that the filter compares in; `None` when it does not fit, which only means
/// that it is not used.
fn scalar(value: &StatValue, arrow_type: &ArrowType) -> Option<ScalarValue> {
    Some(match (value, arrow_type) {
        (StatValue::Bool(value), ArrowType::Boolean) => ScalarValue::Boolean(Some(*value)),
        (StatValue::Int(value), ArrowType::Int8) => {
            ScalarValue::Int8(Some((*value).try_into().ok()?))
        }
        (StatValue::Int(value), ArrowType::Int16) => {
            ScalarValue::Int16(Some((*value).try_into().ok()?))
        }
        (StatValue::Int(value), ArrowType::Int32) => {
            ScalarValue::Int32(Some((*value).try_into().ok()?))
        }
        (StatValue::Int(value), ArrowType::Int64) => ScalarValue::Int64(Some(*value)),
        (StatValue::Int(value), ArrowType::Timestamp(TimeUnit::Microsecond, zone)) => {
            ScalarValue::TimestampMicrosecond(Some(*value), zone.clone())
        }
        #[expect(clippy::cast_possible_truncation, reason = "the bound came from a binary32")]
        (StatValue::Float(value), ArrowType::Float32) => ScalarValue::Float32(Some(*value as f32)),
        (StatValue::Float(value), ArrowType::Float64) => ScalarValue::Float64(Some(*value)),
        (StatValue::String(value), ArrowType::Utf8) => ScalarValue::Utf8(Some(value.clone())),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
