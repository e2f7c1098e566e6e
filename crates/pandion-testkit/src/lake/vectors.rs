//! Rows with a vector, the way they lie in real lakes: clustered vectors beside a few scalar
//! columns. Every value follows from the specification, so that a test can say what it expects;
//! scalar values follow from the row's id alone ([`Row`]).

use std::f32::consts::TAU;
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::layout::{Layout, write_parquet};
use crate::convert::{to_i32, to_i64};

/// Column of row numbers, Int64, never null: the first id of the file and upwards.
pub const ID: &str = "id";
/// Column of integers, Int32.
pub const NUM: &str = "num";
/// Column of floats, Float32.
pub const SCORE: &str = "score";
/// Column of strings, Utf8.
pub const NAME: &str = "name";
/// Column of JSON texts, Utf8.
pub const META: &str = "meta";
/// Column of times, Timestamp in microseconds, UTC.
pub const TS: &str = "ts";
/// Column of vectors of Float32.
pub const VEC: &str = "vec";

/// The time of the row with id 0, in microseconds since 1970.
const TS_FIRST_MICROS: i64 = 1_700_000_000_000_000;

/// The scalar values of a row, unless they are null.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// [`NUM`]: the id modulo 1000.
    pub num: i32,
    /// [`SCORE`]: the id modulo 997, over 997.
    pub score: f32,
    /// [`NAME`]: `name-` and the id modulo 100.
    pub name: String,
    /// [`META`]: an object of `k` (the id modulo 10), `tag` (`t` and the id modulo 7) and
    /// `nested.even`.
    pub meta: String,
    /// [`TS`]: one second per id from 2023-11-14T22:13:20Z.
    pub ts_micros: i64,
}

impl Row {
    /// The values of the row with this id.
    #[must_use]
    pub fn of(id: i64) -> Self {
        let meta = serde_json::json!({
            "k": id.rem_euclid(10),
            "tag": format!("t{}", id.rem_euclid(7)),
            "nested": { "even": id.rem_euclid(2) == 0 },
        });
        Self {
            num: i32::try_from(id.rem_euclid(1000)).unwrap_or_default(),
            score: id.rem_euclid(997) as f32 / 997.0,
            name: format!("name-{}", id.rem_euclid(100)),
            meta: meta.to_string(),
            ts_micros: TS_FIRST_MICROS + id * 1_000_000,
        }
    }
}

/// The Arrow type of the vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorLayout {
    /// Lists of one fixed size.
    FixedSizeList,
    /// Lists that could be of any size.
    List,
}

/// What a file is to hold. Equal specifications make equal rows.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorsSpec {
    /// Number of rows.
    pub rows: usize,
    /// Dimension of the vectors.
    pub dim: usize,
    /// Id of the first row.
    pub first_id: i64,
    /// Seed of everything random. The clusters depend on nothing else but their number and
    /// dimension, so that files of one seed share them.
    pub seed: u64,
    /// Changes vectors and nulls, but not ids and scalars: a file that was written again.
    pub generation: u64,
    /// Number of clusters; their centres are normally distributed with deviation 1.
    pub clusters: usize,
    /// Deviation of the vectors from their centre.
    pub spread: f32,
    /// Arrow type of the vectors.
    pub vector_layout: VectorLayout,
    /// Whether the type allows null components, as most writers declare. None ever is.
    pub element_nullable: bool,
    /// Share of nulls in each scalar column but the id, 0 to 1.
    pub null_fraction: f64,
    /// Share of rows without a vector, 0 to 1.
    pub null_vector_fraction: f64,
    /// Layout of the file.
    pub layout: Layout,
}

impl Default for VectorsSpec {
    fn default() -> Self {
        Self {
            rows: 1_000,
            dim: 16,
            first_id: 0,
            seed: 42,
            generation: 0,
            clusters: 32,
            spread: 0.3,
            vector_layout: VectorLayout::FixedSizeList,
            element_nullable: true,
            null_fraction: 0.0,
            null_vector_fraction: 0.0,
            layout: Layout::default(),
        }
    }
}

impl VectorsSpec {
    /// The schema of the rows.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let element = Arc::new(Field::new("element", DataType::Float32, self.element_nullable));
        let vector = match self.vector_layout {
            VectorLayout::FixedSizeList => DataType::FixedSizeList(element, to_i32(self.dim)),
            VectorLayout::List => DataType::List(element),
        };
        Arc::new(Schema::new(vec![
            Field::new(ID, DataType::Int64, false),
            Field::new(NUM, DataType::Int32, true),
            Field::new(SCORE, DataType::Float32, true),
            Field::new(NAME, DataType::Utf8, true),
            Field::new(META, DataType::Utf8, true),
            Field::new(TS, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Field::new(VEC, vector, true),
        ]))
    }

    /// The rows, a row group at a time.
    ///
    /// # Errors
    /// A specification that makes no rows: no clusters, a dimension of 0, a share outside [0, 1].
    pub fn batches(&self) -> anyhow::Result<impl Iterator<Item = anyhow::Result<RecordBatch>>> {
        ensure!(self.dim > 0 && self.clusters > 0, "no dimensions or no clusters");
        ensure!(self.layout.row_group_rows > 0 && self.layout.page_rows > 0, "no rows in a group");
        for share in [self.null_fraction, self.null_vector_fraction] {
            ensure!((0.0..=1.0).contains(&share), "a share of nulls of {share}");
        }
        let centres = self.centres();
        let starts = (0..self.rows).step_by(self.layout.row_group_rows);
        Ok(starts.map(move |start| {
            let rows = self.layout.row_group_rows.min(self.rows - start);
            self.batch_at(start, rows, &centres)
        }))
    }

    /// All rows at once.
    ///
    /// # Errors
    /// As [`Self::batches`].
    pub fn batch(&self) -> anyhow::Result<RecordBatch> {
        let batches: Vec<RecordBatch> = self.batches()?.collect::<anyhow::Result<_>>()?;
        concat_batches(&self.schema(), &batches).context("batches of one schema do not join")
    }

    /// Writes the rows as one Parquet file, holding no more than a row group in memory.
    ///
    /// # Errors
    /// As [`Self::batches`], or the writer's.
    pub fn write(&self, writer: impl Write + Send) -> anyhow::Result<()> {
        let rows = write_parquet(writer, self.schema(), self.properties(), self.batches()?)?;
        ensure!(rows == self.rows, "wrote {rows} rows of {}", self.rows);
        Ok(())
    }

    /// The bytes of the Parquet file.
    ///
    /// # Errors
    /// As [`Self::batches`].
    pub fn bytes(&self) -> anyhow::Result<Bytes> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)?;
        Ok(bytes.into())
    }

    /// Vectors from the same clusters that are in no file.
    #[must_use]
    pub fn queries(&self, count: usize) -> Vec<Vec<f32>> {
        let centres = self.centres();
        let mut random = self.random(&[u64::MAX]);
        (0..count).map(|_| self.vector(&centres, &mut random)).collect()
    }

    fn properties(&self) -> WriterProperties {
        // A dictionary of floats that hardly repeat would only be thrown away by the writer.
        let path = [VEC, "list", "element"].map(str::to_owned).to_vec();
        self.layout
            .properties()
            .into_builder()
            .set_column_dictionary_enabled(ColumnPath::new(path), false)
            .build()
    }

    /// A generator for one purpose, told apart by numbers.
    fn random(&self, purpose: &[u64]) -> StdRng {
        // The multiplier of a linear congruential generator keeps the numbers' order significant.
        let seed = purpose.iter().fold(self.seed, |seed, number| {
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(number.wrapping_add(1))
        });
        StdRng::seed_from_u64(seed)
    }

    fn centres(&self) -> Vec<Vec<f32>> {
        let mut random = self.random(&[]);
        let mut centre = || (0..self.dim).map(|_| normal(&mut random)).collect();
        (0..self.clusters).map(|_| centre()).collect()
    }

    fn vector(&self, centres: &[Vec<f32>], random: &mut StdRng) -> Vec<f32> {
        let centre = &centres[random.random_range(0..centres.len())];
        centre.iter().map(|component| component + self.spread * normal(random)).collect()
    }

    fn batch_at(
        &self,
        start: usize,
        rows: usize,
        centres: &[Vec<f32>],
    ) -> anyhow::Result<RecordBatch> {
        let first_id = self.first_id + to_i64(start);
        let ids = first_id..first_id + to_i64(rows);
        let mut random = self.random(&[self.generation, first_id.cast_unsigned()]);

        let mut columns = Scalars::default();
        let mut vectors = Vec::with_capacity(rows);
        for row in ids.clone().map(Row::of) {
            let mut is_valid = || !random.random_bool(self.null_fraction);
            columns.num.push(is_valid().then_some(row.num));
            columns.score.push(is_valid().then_some(row.score));
            columns.name.push(is_valid().then_some(row.name));
            columns.meta.push(is_valid().then_some(row.meta));
            columns.ts.push(is_valid().then_some(row.ts_micros));
            let has_vector = !random.random_bool(self.null_vector_fraction);
            vectors.push(has_vector.then(|| self.vector(centres, &mut random)));
        }
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(ids)),
            Arc::new(Int32Array::from(columns.num)),
            Arc::new(Float32Array::from(columns.score)),
            Arc::new(StringArray::from(columns.name)),
            Arc::new(StringArray::from(columns.meta)),
            Arc::new(TimestampMicrosecondArray::from(columns.ts).with_timezone("UTC")),
            self.vector_array(&vectors)?,
        ];
        RecordBatch::try_new(self.schema(), arrays).context("columns do not fit the schema")
    }

    fn vector_array(&self, vectors: &[Option<Vec<f32>>]) -> anyhow::Result<ArrayRef> {
        let element = Arc::new(Field::new("element", DataType::Float32, self.element_nullable));
        let nulls = NullBuffer::from_iter(vectors.iter().map(Option::is_some));
        let zeros = vec![0.0; self.dim];
        Ok(match self.vector_layout {
            VectorLayout::FixedSizeList => {
                let rows = vectors.iter().map(|vector| vector.as_ref().unwrap_or(&zeros));
                let values = Float32Array::from_iter_values(rows.flatten().copied());
                let size = to_i32(self.dim);
                Arc::new(FixedSizeListArray::try_new(element, size, Arc::new(values), Some(nulls))?)
            }
            VectorLayout::List => {
                let values =
                    Float32Array::from_iter_values(vectors.iter().flatten().flatten().copied());
                let lengths = vectors.iter().map(|vector| vector.as_ref().map_or(0, Vec::len));
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(ListArray::try_new(element, offsets, Arc::new(values), Some(nulls))?)
            }
        })
    }
}

#[derive(Default)]
struct Scalars {
    num: Vec<Option<i32>>,
    score: Vec<Option<f32>>,
    name: Vec<Option<String>>,
    meta: Vec<Option<String>>,
    ts: Vec<Option<i64>>,
}

/// A normally distributed number, mean 0 and deviation 1, by the method of Box and Muller.
fn normal(random: &mut StdRng) -> f32 {
    let radius = (-2.0 * (1.0 - random.random::<f32>()).ln()).sqrt();
    radius * (TAU * random.random::<f32>()).cos()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray as _};
    use arrow::datatypes::Float32Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::metadata::PageIndexPolicy;

    use super::super::layout::Codec;
    use super::*;

    fn check(spec: &VectorsSpec) {
        let bytes = spec.bytes().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let metadata = Arc::clone(reader.metadata());
        let groups = spec.rows.div_ceil(spec.layout.row_group_rows);
        assert_eq!(metadata.num_row_groups(), groups, "{spec:?}");
        let schema = Arc::clone(reader.schema());
        let batches: Vec<RecordBatch> =
            reader.with_batch_size(300).build().unwrap().map(Result::unwrap).collect();
        let read = concat_batches(&schema, &batches).unwrap();
        assert_eq!(read.columns(), spec.batch().unwrap().columns(), "{spec:?}");
    }

    #[test]
    fn files_read_back_in_every_layout() {
        let small = VectorsSpec {
            rows: 1_050,
            null_fraction: 0.1,
            null_vector_fraction: 0.05,
            layout: Layout { row_group_rows: 400, page_rows: 70, ..Layout::default() },
            ..VectorsSpec::default()
        };
        for codec in Codec::ALL {
            for vector_layout in [VectorLayout::FixedSizeList, VectorLayout::List] {
                let layout = Layout { codec, ..small.layout.clone() };
                check(&VectorsSpec { layout, vector_layout, ..small.clone() });
            }
        }
        let layout =
            Layout { v2_pages: true, page_index: false, dictionary: false, ..small.layout.clone() };
        check(&VectorsSpec { layout, element_nullable: false, ..small });
    }

    #[test]
    fn pages_and_their_index_are_as_asked() {
        let pages = |page_index| {
            let layout = Layout { page_rows: 50, page_index, ..Layout::default() };
            let bytes = VectorsSpec { layout, ..VectorsSpec::default() }.bytes().unwrap();
            let metadata = parquet::file::metadata::ParquetMetaDataReader::new()
                .with_page_index_policy(PageIndexPolicy::Optional)
                .parse_and_finish(&bytes)
                .unwrap();
            let index = metadata.offset_index()?.first()?;
            Some(index.iter().map(|column| column.page_locations().len()).collect::<Vec<_>>())
        };
        assert_eq!(pages(true), Some(vec![20; 7]));
        assert_eq!(pages(false), None);
    }

    #[test]
    fn vectors_are_clustered_seeded_and_regenerated() {
        let spec = VectorsSpec { clusters: 4, spread: 0.01, ..VectorsSpec::default() };
        let batch = spec.batch().unwrap();
        assert_eq!(batch, spec.batch().unwrap());
        let again = VectorsSpec { generation: 1, ..spec.clone() }.batch().unwrap();
        assert_eq!(batch.column(4), again.column(4));
        assert_ne!(batch.column(6), again.column(6));

        let vectors = batch.column(6).as_fixed_size_list();
        assert_eq!(vectors.null_count(), 0);
        let distance = |left: &[f32], right: &[f32]| -> f32 {
            left.iter().zip(right).map(|(left, right)| (left - right).powi(2)).sum()
        };
        for query in spec.queries(8) {
            let near = (0..vectors.len())
                .filter(|row| {
                    let vector = vectors.value(*row);
                    distance(vector.as_primitive::<Float32Type>().values(), &query) < 1.0
                })
                .count();
            assert!((150..400).contains(&near), "{near} of 1000 rows in a cluster of four");
        }
    }

    #[test]
    fn nulls_have_their_share() {
        let spec =
            VectorsSpec { null_fraction: 0.2, null_vector_fraction: 0.1, ..VectorsSpec::default() };
        let nulls: Vec<usize> =
            spec.batch().unwrap().columns().iter().map(Array::null_count).collect();
        assert_eq!(nulls[0], 0);
        assert!(nulls[1..6].iter().all(|nulls| (150..250).contains(nulls)), "{nulls:?}");
        assert!((60..140).contains(&nulls[6]), "{nulls:?}");
    }
}
