//! Named tables: one for each thing that a reader of Iceberg must be able to do.

use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{
    ArrayRef, FixedSizeBinaryArray, Float32Array, Float64Array, Int64Array, LargeBinaryArray,
    ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use iceberg::spec::{
    FormatVersion, ListType, Literal, NestedField, PrimitiveType, Schema, Transform, Type,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{
    Change, DeleteLayout, EqualityDelete, Place, Row, SchemaChange, TableOptions, TableWriter,
};
use crate::convert::{to_i32, to_i64, to_u64, to_usize};

/// Values of the column `kind`; every fifth row has none.
const KINDS: [&str; 4] = ["apple", "book", "car", "a kind with a long name"];
/// The time of the row with id 0, in microseconds since 1970: the first hour of 2024.
const FIRST_MICROS: i64 = 1_704_067_200_000_000;
const HOUR_MICROS: i64 = 3_600_000_000;

/// How a table keeps vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VectorForm {
    /// `list<float>`.
    #[default]
    List,
    /// `fixed(4 × dim)`, little endian.
    Fixed,
    /// `binary`, little endian.
    Binary,
}

/// How rows of the sample with many files are deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeleteKind {
    /// Not at all.
    None,
    /// By position: position delete files, or deletion vectors in format version 3.
    #[default]
    Position,
    /// By the value of `id`.
    Equality,
}

/// What samples look like.
#[derive(Clone, Debug)]
pub struct SampleOptions {
    /// Data files of an append.
    pub files: usize,
    /// Rows of a data file.
    pub rows_per_file: usize,
    /// Dimension of the vectors.
    pub dim: usize,
    /// Form of the vectors.
    pub vectors: VectorForm,
    /// Share of the rows that are deleted, between 0 and 1.
    pub delete_share: f64,
    /// How rows are deleted where the sample leaves it open.
    pub deletes: DeleteKind,
    /// Layout of position deletes where the sample leaves it open.
    pub layout: DeleteLayout,
    /// How the table is written. The sample chooses the format version where it needs one.
    pub table: TableOptions,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            files: 4,
            rows_per_file: 100,
            dim: 8,
            vectors: VectorForm::default(),
            delete_share: 0.1,
            deletes: DeleteKind::default(),
            layout: DeleteLayout::default(),
            table: TableOptions::default(),
        }
    }
}

/// The named tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Version 2: deletes by position, for many files at once and for each file.
    PositionDeletes,
    /// Version 2: deletes by value, with null, with rows that come back, and in the same commit as
    /// their successors.
    EqualityDeletes,
    /// Version 3: deletion vectors, replaced by larger ones, beside an equality delete.
    DeletionVectors,
    /// Version 3: columns added with defaults, dropped, renamed, moved and widened; a tag and a
    /// branch.
    Evolved,
    /// Version 2: partitions by identity, then by day and bucket; deletes in partitions.
    Partitioned,
    /// Version 3: compactions that keep row lineage.
    Lineage,
    /// Version 2: data files without field ids, a name mapping, and a renamed column.
    Migrated,
    /// Any version: one append of many files, and one delete.
    ManyFiles,
}

/// The schema of samples: `id` (long, required), `kind` (string), `price` (double), `ts`
/// (timestamptz), `embedding`.
///
/// # Errors
/// None in practice.
pub fn sample_schema(dim: usize, vectors: VectorForm) -> anyhow::Result<Schema> {
    let primitive = |id: i32, name: &str, primitive: PrimitiveType| {
        Arc::new(NestedField::optional(id, name, Type::Primitive(primitive)))
    };
    let embedding = match vectors {
        VectorForm::List => {
            let float = Type::Primitive(PrimitiveType::Float);
            Type::List(ListType::new(Arc::new(NestedField::list_element(6, float, false))))
        }
        VectorForm::Fixed => Type::Primitive(PrimitiveType::Fixed(to_u64(dim * 4))),
        VectorForm::Binary => Type::Primitive(PrimitiveType::Binary),
    };
    let fields = [
        Arc::new(NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long))),
        primitive(2, "kind", PrimitiveType::String),
        primitive(3, "price", PrimitiveType::Double),
        primitive(4, "ts", PrimitiveType::Timestamptz),
        Arc::new(NestedField::optional(5, "embedding", embedding)),
    ];
    Ok(Schema::builder().with_fields(fields).build()?)
}

/// Rows of [`sample_schema`] with ids from `first_id`. Scalar values follow from the id alone: every
/// fifth kind and every seventh price is null, every eleventh price is not a number, times are hours
/// apart.
///
/// # Errors
/// None in practice.
pub fn sample_batch(
    first_id: i64,
    rows: usize,
    options: &SampleOptions,
) -> anyhow::Result<RecordBatch> {
    let ids: Vec<i64> = (first_id..).take(rows).collect();
    let kind = |id: &i64| (id % 5 != 4).then(|| KINDS[usize::try_from(id % 4).unwrap_or(0)]);
    let price = |id: &i64| match id {
        id if id % 7 == 6 => None,
        id if id % 11 == 10 => Some(f64::NAN),
        id => i32::try_from(*id).ok().map(|id| f64::from(id) / 2.0),
    };
    let ts = ids.iter().map(|id| FIRST_MICROS + id * HOUR_MICROS);
    let ts = TimestampMicrosecondArray::from_iter_values(ts).with_timezone("+00:00");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(ids.clone()))),
        ("kind", Arc::new(ids.iter().map(kind).collect::<StringArray>())),
        ("price", Arc::new(ids.iter().map(price).collect::<Float64Array>())),
        ("ts", Arc::new(ts)),
        ("embedding", embeddings(first_id, rows, options)?),
    ];
    RecordBatch::try_from_iter(columns).context("columns of different lengths")
}

fn embeddings(first_id: i64, rows: usize, options: &SampleOptions) -> anyhow::Result<ArrayRef> {
    let mut rng = StdRng::seed_from_u64(options.table.seed ^ first_id.unsigned_abs());
    let dim = options.dim;
    let numbers: Vec<f32> = (0..rows * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
    let bytes = || numbers.iter().flat_map(|number| number.to_le_bytes());
    Ok(match options.vectors {
        VectorForm::List => {
            let field = Arc::new(Field::new("element", DataType::Float32, true));
            let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(dim, rows));
            let values = Arc::new(Float32Array::from(numbers));
            Arc::new(ListArray::try_new(field, offsets, values, None)?)
        }
        VectorForm::Fixed => {
            let bytes = bytes().collect::<Vec<u8>>();
            Arc::new(FixedSizeBinaryArray::try_new(to_i32(dim * 4), bytes.into(), None)?)
        }
        VectorForm::Binary => {
            let bytes = bytes().collect::<Vec<u8>>();
            Arc::new(LargeBinaryArray::from_iter_values(bytes.chunks(dim.max(1) * 4)))
        }
    })
}

/// Whether the row with this number is in a share of the rows; each span of rows has its part.
fn is_in_share(number: i64, share: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "numbers of rows are far below 2^52")]
    let reached = |number: i64| (number as f64 * share).floor();
    reached(number + 1) > reached(number)
}

/// The id of a row of a sample.
fn id_of(row: &Row) -> i64 {
    match row.values.get("id") {
        Some(Some(Literal::Primitive(iceberg::spec::PrimitiveLiteral::Long(id)))) => *id,
        _ => -1,
    }
}

fn ids(ids: impl IntoIterator<Item = i64>) -> anyhow::Result<RecordBatch> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    RecordBatch::try_from_iter([("id", ids)]).context("a batch of ids")
}

impl Sample {
    /// Writes the table.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn write(self, place: Place, options: &SampleOptions) -> anyhow::Result<TableWriter> {
        let mut options = options.clone();
        match self {
            Self::PositionDeletes | Self::EqualityDeletes | Self::Partitioned | Self::Migrated => {
                options.table.format_version = FormatVersion::V2;
            }
            Self::DeletionVectors | Self::Evolved | Self::Lineage => {
                options.table.format_version = FormatVersion::V3;
            }
            Self::ManyFiles => {}
        }
        options.table.field_ids = self != Self::Migrated;
        let schema = sample_schema(options.dim, options.vectors)?;
        let partitions: &[(&str, Transform)] = match self {
            Self::Partitioned => &[("kind", Transform::Identity)],
            _ => &[],
        };
        let table = options.table.clone();
        let table = TableWriter::create(place, schema, partitions, table).await?;
        let mut maker = Maker { table, options, next_id: 0 };
        match self {
            Self::PositionDeletes => maker.position_deletes().await?,
            Self::EqualityDeletes => maker.equality_deletes().await?,
            Self::DeletionVectors => maker.deletion_vectors().await?,
            Self::Evolved => maker.evolved().await?,
            Self::Partitioned => maker.partitioned().await?,
            Self::Lineage => maker.lineage().await?,
            Self::Migrated => maker.migrated().await?,
            Self::ManyFiles => maker.many_files().await?,
        }
        Ok(maker.table)
    }
}

struct Maker {
    table: TableWriter,
    options: SampleOptions,
    next_id: i64,
}

impl Maker {
    fn batches(&mut self) -> anyhow::Result<Vec<RecordBatch>> {
        let rows = self.options.rows_per_file;
        let mut batches = Vec::new();
        for _ in 0..self.options.files {
            batches.push(sample_batch(self.next_id, rows, &self.options)?);
            self.next_id += to_i64(rows);
        }
        Ok(batches)
    }

    async fn append(&mut self) -> anyhow::Result<i64> {
        let batches = self.batches()?;
        self.table.append(&batches).await
    }

    /// A share of the rows that is another one for each `shift`.
    fn share(&self, shift: i64) -> anyhow::Result<Vec<(String, Vec<u64>)>> {
        let share = self.options.delete_share;
        self.table.positions_where(|row| is_in_share(id_of(row) + shift, share))
    }

    async fn delete_share(&mut self, shift: i64, layout: DeleteLayout) -> anyhow::Result<i64> {
        let positions = self.share(shift)?;
        self.table.delete_positions(&positions, layout).await
    }

    async fn position_deletes(&mut self) -> anyhow::Result<()> {
        self.append().await?;
        self.delete_share(0, DeleteLayout::Shared).await?;
        self.append().await?;
        self.delete_share(3, DeleteLayout::PerFile).await?;
        let first = self.table.head().context("a snapshot")?;
        let files = self.table.data_files(first)?;
        self.table.compact(&files[..2.min(files.len())]).await?;
        Ok(())
    }

    async fn equality_deletes(&mut self) -> anyhow::Result<()> {
        self.append().await?;
        let share = self.options.delete_share;
        let dead = (0..self.next_id).filter(|id| is_in_share(*id, share));
        self.table.delete_where_equal(&["id"], ids(dead)?).await?;
        // The first dead row comes back, and a row without a kind goes in all but the new file.
        let again = (0..self.next_id).find(|id| is_in_share(*id, share)).unwrap_or(0);
        let back = sample_batch(again, 1, &self.options)?;
        self.table.append(&[back]).await?;
        let missing: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        let delete = EqualityDelete {
            columns: vec!["kind".to_owned()],
            rows: RecordBatch::try_from_iter_with_nullable([("kind", missing, true)])?,
            in_all_partitions: false,
        };
        let batches = self.batches()?;
        self.table.commit(Change { equality: vec![delete], ..Change::append(&batches) }).await?;
        Ok(())
    }

    async fn deletion_vectors(&mut self) -> anyhow::Result<()> {
        self.append().await?;
        self.delete_share(0, DeleteLayout::Shared).await?;
        self.append().await?;
        self.delete_share(3, DeleteLayout::PerFile).await?;
        let dead = (0..self.next_id).filter(|id| id % 50 == 1);
        self.table.delete_where_equal(&["id"], ids(dead)?).await?;
        Ok(())
    }

    async fn evolved(&mut self) -> anyhow::Result<()> {
        let first = self.append().await?;
        self.table.tag("first", first).await?;
        let long = Type::Primitive(PrimitiveType::Int);
        self.table.evolve_schema(&[SchemaChange::add("stock", long)]).await?;
        let batches = self.batches()?;
        let batches = batches.iter().map(with_stock).collect::<anyhow::Result<Vec<_>>>()?;
        let second = self.table.append(&batches).await?;
        self.table.branch("audit", second).await?;
        let rating = Literal::int(3);
        self.table
            .evolve_schema(&[
                SchemaChange::Promote { name: "stock".to_owned(), to: PrimitiveType::Long },
                SchemaChange::Rename { from: "kind".to_owned(), to: "category".to_owned() },
                SchemaChange::Drop("price".to_owned()),
                SchemaChange::add_with_default("rating", PrimitiveType::Int, rating),
                SchemaChange::MoveFirst("embedding".to_owned()),
            ])
            .await?;
        let dropped = ["price"];
        let batches = self.batches()?;
        let batches = batches.iter().map(|batch| renamed(batch, &dropped, "category"));
        let batches = batches.collect::<anyhow::Result<Vec<_>>>()?;
        self.table.append(&batches).await?;
        self.table.use_branch("audit")?;
        let third = self.share(0)?;
        self.table.delete_positions(&third, DeleteLayout::Shared).await?;
        self.table.use_branch("main")?;
        self.delete_share(3, DeleteLayout::Shared).await?;
        Ok(())
    }

    async fn partitioned(&mut self) -> anyhow::Result<()> {
        self.append().await?;
        self.delete_share(0, DeleteLayout::Shared).await?;
        self.table
            .evolve_partition(&[("ts", Transform::Day), ("id", Transform::Bucket(3))])
            .await?;
        self.append().await?;
        self.delete_share(3, DeleteLayout::PerFile).await?;
        let dead = (0..self.next_id).filter(|id| id % 40 == 1);
        let delete = EqualityDelete {
            columns: vec!["id".to_owned()],
            rows: ids(dead)?,
            in_all_partitions: true,
        };
        self.table.commit(Change { equality: vec![delete], ..Change::default() }).await?;
        Ok(())
    }

    async fn lineage(&mut self) -> anyhow::Result<()> {
        self.append().await?;
        let second = self.append().await?;
        self.delete_share(0, DeleteLayout::Shared).await?;
        let files = self.table.data_files(second)?;
        self.table.compact(&files[1..]).await?;
        let last = self.append().await?;
        let files = self.table.data_files(last)?;
        self.table.compact(&files).await?;
        Ok(())
    }

    async fn migrated(&mut self) -> anyhow::Result<()> {
        self.append().await?;
        let to = "category".to_owned();
        self.table.evolve_schema(&[SchemaChange::Rename { from: "kind".to_owned(), to }]).await?;
        let batches = self.batches()?;
        let batches = batches.iter().map(|batch| renamed(batch, &[], "category"));
        let batches = batches.collect::<anyhow::Result<Vec<_>>>()?;
        self.table.append(&batches).await?;
        self.delete_share(0, DeleteLayout::Shared).await?;
        Ok(())
    }

    async fn many_files(&mut self) -> anyhow::Result<()> {
        let snapshot = self.append().await?;
        let share = self.options.delete_share;
        let rows = to_u64(self.options.rows_per_file);
        match self.options.deletes {
            DeleteKind::None => {}
            DeleteKind::Position => {
                let files = self.table.data_files(snapshot)?.into_iter().enumerate();
                let positions = files.map(|(file, uri)| {
                    let first = to_u64(file) * rows;
                    let is_dead = |row: &u64| is_in_share(to_i64(to_usize(first + row)), share);
                    (uri, (0..rows).filter(is_dead).collect())
                });
                let positions = positions.filter(|(_, rows): &(_, Vec<u64>)| !rows.is_empty());
                let positions: Vec<_> = positions.collect();
                self.table.delete_positions(&positions, self.options.layout).await?;
            }
            DeleteKind::Equality => {
                let dead = (0..self.next_id).filter(|id| is_in_share(*id, share));
                self.table.delete_where_equal(&["id"], ids(dead)?).await?;
            }
        }
        Ok(())
    }
}

/// The batch with a column of integers.
fn with_stock(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let stock = (0..to_i32(batch.num_rows())).collect::<arrow::array::Int32Array>();
    let mut fields = batch.schema_ref().fields().to_vec();
    fields.push(Arc::new(Field::new("stock", DataType::Int32, true)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(stock));
    Ok(RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)?)
}

/// The batch without some columns, and with another name for `kind`.
fn renamed(batch: &RecordBatch, dropped: &[&str], kind: &str) -> anyhow::Result<RecordBatch> {
    let fields = batch.schema_ref().fields().iter().zip(batch.columns());
    let kept = fields.filter(|(field, _)| !dropped.contains(&field.name().as_str()));
    let kept = kept.map(|(field, column)| {
        let name = if field.name() == "kind" { kind } else { field.name() };
        (name.to_owned(), Arc::clone(column), true)
    });
    RecordBatch::try_from_iter_with_nullable(kept).context("columns of different lengths")
}
