//! Makes the scalar indexes of one file from its columns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType as ArrowType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimeUnit, TimestampMicrosecondType,
};
use bytes::Bytes;
use pandion_connector_parquet::ParquetFile;
use pandion_filter::PathSegment;
use pandion_index::scalar::{
    Datum, IndexedValues, JsonCast, ScalarIndexBuilder, ScalarIndexSpec, scalar_index_builder,
};
use pandion_source::IoStats;
use pandion_types::{Error, ErrorKind, FieldSchema, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::json::{JsonValue, value_at};

/// Reads the columns that `wanted` names once, row group by row group, and makes an index of each;
/// the answers are in the order of `wanted`. Holds one row group and what the indexes themselves
/// need in memory. The work is done on a thread of its own, which takes a permit of `cores` while it
/// calculates and gives it back while it waits for the lake; dropping the future stops it soon.
///
/// # Errors
/// For each index those of the file and the store, and `Unsupported` when the file has more rows or
/// values than an index holds. When several columns cannot be read together, each is read alone, so
/// that one bad column does not cost the others their indexes.
pub async fn build_segments(
    file: &ParquetFile,
    wanted: Vec<(FieldSchema, ScalarIndexSpec)>,
    stats: &Arc<IoStats>,
    cores: &Arc<Semaphore>,
) -> Vec<Result<Bytes>> {
    let abandoned = Abandoned(Arc::new(AtomicBool::new(false)));
    let work = Work {
        file: file.clone(),
        stats: Arc::clone(stats),
        cores: Arc::clone(cores),
        abandoned: Arc::clone(&abandoned.0),
    };
    let count = wanted.len();
    let runtime = tokio::runtime::Handle::current();
    let task = tokio::task::spawn_blocking(move || runtime.block_on(work.all(&wanted)));
    let outcome = task.await;
    drop(abandoned);
    outcome.unwrap_or_else(|error| {
        let error = Arc::new(error);
        let ended = || {
            Error::internal("a thread that built scalar indexes ended abnormally")
                .caused_by(Arc::clone(&error))
        };
        (0..count).map(|_| Err(ended())).collect()
    })
}

/// Tells the building thread, when dropped, that nobody waits for it.
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Work {
    file: ParquetFile,
    stats: Arc<IoStats>,
    cores: Arc<Semaphore>,
    abandoned: Arc<AtomicBool>,
}

type Wanted = (FieldSchema, ScalarIndexSpec);

impl Work {
    async fn all(&self, wanted: &[Wanted]) -> Vec<Result<Bytes>> {
        let fields = distinct_fields(wanted);
        let error = match self.together(&fields, wanted).await {
            Ok(built) => return built,
            Err(error) => error,
        };
        if let [_] = wanted {
            return vec![Err(error)];
        }
        let mut built = Vec::with_capacity(wanted.len());
        for one in wanted {
            let (field, one) = (std::slice::from_ref(&one.0), std::slice::from_ref(one));
            let alone = self.together(field, one).await;
            built.push(alone.and_then(|mut alone| {
                alone.pop().unwrap_or_else(|| Err(Error::internal("no index was built")))
            }));
        }
        built
    }

    /// One pass over the file. The error is one of reading; what is wrong with one index is told
    /// beside it.
    async fn together(
        &self,
        fields: &[FieldSchema],
        wanted: &[Wanted],
    ) -> Result<Vec<Result<Bytes>>> {
        let mut builders: Vec<Result<Box<dyn ScalarIndexBuilder>>> =
            wanted.iter().map(|(_, spec)| scalar_index_builder(spec)).collect();
        for row_group in 0..self.file.row_groups() {
            let batches = self.file.read(fields, row_group, None, &self.stats).await?;
            let _core = self.core().await?;
            for batch in batches {
                self.check_wanted()?;
                for ((field, spec), builder) in wanted.iter().zip(&mut builders) {
                    if let Ok(open) = builder
                        && let Err(error) = push(open.as_mut(), &batch, field, spec)
                    {
                        *builder = Err(error);
                    }
                }
            }
        }
        let _core = self.core().await?;
        let finish = |builder: Result<Box<dyn ScalarIndexBuilder>>| {
            self.check_wanted()?;
            builder?.finish()
        };
        Ok(builders.into_iter().map(finish).collect())
    }

    async fn core(&self) -> Result<SemaphorePermit<'_>> {
        let core = self.cores.acquire().await.map_err(|error| {
            Error::new(ErrorKind::Cancelled, "indexes are no longer built").caused_by(error)
        })?;
        self.check_wanted()?;
        Ok(core)
    }

    fn check_wanted(&self) -> Result<()> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Cancelled, "the index is no longer wanted"));
        }
        Ok(())
    }
}

fn distinct_fields(wanted: &[Wanted]) -> Vec<FieldSchema> {
    let mut fields: Vec<FieldSchema> = Vec::new();
    for (field, _) in wanted {
        if !fields.iter().any(|known| known.id == field.id) {
            fields.push(field.clone());
        }
    }
    fields
}

fn push(
    builder: &mut dyn ScalarIndexBuilder,
    batch: &RecordBatch,
    field: &FieldSchema,
    spec: &ScalarIndexSpec,
) -> Result<()> {
    let column = batch.column_by_name(&field.name).ok_or_else(|| {
        Error::internal(format!("column {} was lost on the way to its index", field.name))
    })?;
    match &spec.values {
        IndexedValues::Field(_) => {
            values(column.as_ref())?.into_iter().try_for_each(|value| builder.push(value))
        }
        IndexedValues::Elements(_) => {
            let lists = column.as_list_opt::<i32>().ok_or_else(|| unexpected(column.as_ref()))?;
            let elements = values(lists.values().as_ref())?;
            for (row, ends) in lists.value_offsets().windows(2).enumerate() {
                let list = match *ends {
                    [start, end] if lists.is_valid(row) => {
                        elements.get(to_index(start)..to_index(end)).unwrap_or_default()
                    }
                    _ => {
                        builder.push(Datum::Null)?;
                        continue;
                    }
                };
                builder.push(Datum::List(list))?;
            }
            Ok(())
        }
        IndexedValues::Json { path, cast } => {
            let documents =
                column.as_string_opt::<i32>().ok_or_else(|| unexpected(column.as_ref()))?;
            let mut documents = documents.iter();
            documents.try_for_each(|document| match document {
                Some(document) => push_json(builder, document, path, *cast),
                None => builder.push(Datum::Null),
            })
        }
    }
}

/// Offsets of a list array are never negative.
fn to_index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

/// The values of a column of single values in its canonical form.
fn values(array: &dyn Array) -> Result<Vec<Datum<'_>>> {
    Ok(match array.data_type() {
        ArrowType::Boolean => {
            array.as_boolean().iter().map(|value| value.map_or(Datum::Null, Datum::Bool)).collect()
        }
        ArrowType::Int8 => numbers::<Int8Type>(array, |value| Datum::Int(value.into())),
        ArrowType::Int16 => numbers::<Int16Type>(array, |value| Datum::Int(value.into())),
        ArrowType::Int32 => numbers::<Int32Type>(array, |value| Datum::Int(value.into())),
        ArrowType::Int64 => numbers::<Int64Type>(array, Datum::Int),
        ArrowType::Float32 => numbers::<Float32Type>(array, |value| Datum::Float(value.into())),
        ArrowType::Float64 => numbers::<Float64Type>(array, Datum::Float),
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers::<TimestampMicrosecondType>(array, Datum::Int)
        }
        ArrowType::Utf8 => {
            let texts = array.as_string::<i32>().iter();
            texts.map(|value| value.map_or(Datum::Null, Datum::Text)).collect()
        }
        _ => return Err(unexpected(array)),
    })
}

fn numbers<T: ArrowPrimitiveType>(
    array: &dyn Array,
    datum: impl Fn(T::Native) -> Datum<'static>,
) -> Vec<Datum<'static>> {
    array.as_primitive::<T>().iter().map(|value| value.map_or(Datum::Null, &datum)).collect()
}

fn unexpected(array: &dyn Array) -> Error {
    Error::internal(format!("a scalar index cannot be made of {} values", array.data_type()))
}

/// Shows the builder the value at a path of a document.
fn push_json(
    builder: &mut dyn ScalarIndexBuilder,
    document: &str,
    path: &[PathSegment],
    cast: JsonCast,
) -> Result<()> {
    let value = value_at(document, path);
    match (&value, cast) {
        (JsonValue::Missing | JsonValue::Null, _) => builder.push(Datum::Null),
        (value, JsonCast::Bool | JsonCast::Double | JsonCast::Text) => {
            builder.push(json_datum(value, cast))
        }
        (JsonValue::Array(array), _) => {
            let elements: Vec<JsonValue<'_>> = array.iter().collect();
            let elements: Vec<Datum<'_>> =
                elements.iter().map(|element| json_datum(element, cast)).collect();
            builder.push(Datum::List(&elements))
        }
        _ => builder.push(Datum::Other),
    }
}

/// A single value, if it is of the kind that the index holds, or whose arrays it holds.
fn json_datum<'a>(value: &'a JsonValue<'_>, cast: JsonCast) -> Datum<'a> {
    match (value, cast) {
        (JsonValue::Bool(value), JsonCast::Bool | JsonCast::BoolElements) => Datum::Bool(*value),
        (JsonValue::Int(value), JsonCast::Double | JsonCast::DoubleElements) => Datum::Int(*value),
        (JsonValue::Float(value), JsonCast::Double | JsonCast::DoubleElements) => {
            Datum::Float(*value)
        }
        (JsonValue::Text(text), JsonCast::Text | JsonCast::TextElements) => Datum::Text(text),
        _ => Datum::Other,
    }
}
