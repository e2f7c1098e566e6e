//! A filter, ready to be evaluated on batches of a file's columns.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use pandion_filter::{CompareOp, Filter, PkConstraint, Predicate};
use pandion_manifest::{DataFile, Manifest};
use pandion_source::columns;
use pandion_types::{
    CollectionSchema, Error, FieldSchema, Result, RowId, Subject, VIRTUAL_PK_NAME,
};

use crate::bloom::{self, BloomTerm};
use crate::compile::{self, Columns};
use crate::prune::Pruner;

/// A filter of one collection, compiled for DataFusion.
#[derive(Debug)]
pub(crate) struct CompiledFilter {
    /// The fields that are read from files, in the order of the batch's first columns.
    fields: Vec<FieldSchema>,
    /// Whether the batch has the primary key as its last column.
    uses_key: bool,
    /// The batch, its columns named as the source names them, so that statistics can be found.
    columns: SchemaRef,
    predicate: Arc<dyn PhysicalExpr>,
    pruner: Pruner,
    key: Option<PkConstraint>,
}

impl CompiledFilter {
    /// Compiles a filter; `seed` is what a random sample draws from.
    ///
    /// # Errors
    /// As [`compile::predicate`].
    pub(crate) fn new(filter: &Filter, schema: &CollectionSchema, seed: u64) -> Result<Self> {
        let mut referenced = filter.referenced_fields();
        if filter.is_sampled() {
            let keys = schema.fields.iter().filter(|field| field.is_primary_key);
            referenced.extend(keys.map(|key| key.id));
        }
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        let mut positions = HashMap::new();
        let mut key = None;
        for field in schema.fields.iter().filter(|field| referenced.contains(&field.id)) {
            if field.is_primary_key {
                key = Some(field.id);
                continue;
            }
            positions.insert(field.id, columns.len());
            let name = field.external_field.as_ref().unwrap_or(&field.name);
            columns.push(Field::new(name, columns::canonical_type(field)?, true));
            fields.push(field.clone());
        }
        if let Some(key) = key {
            positions.insert(key, columns.len());
            let int64 = arrow::datatypes::DataType::Int64;
            columns.push(Field::new(VIRTUAL_PK_NAME, int64, false));
        }
        let columns = Columns { schema: Arc::new(Schema::new(columns)), positions };
        let predicate = compile::predicate(&filter.predicate, &columns, seed)?;
        let told = filter.predicate.conjuncts().iter().filter(|conjunct| !admits_nan(conjunct));
        let told: Vec<Predicate> = told.cloned().collect();
        let refutable = if told.len() == filter.predicate.conjuncts().len() {
            Arc::clone(&predicate)
        } else {
            compile::predicate(&Predicate::and(told), &columns, seed)?
        };
        let pruner = Pruner::new(&refutable, &columns.schema, &fields);
        Ok(Self {
            fields,
            uses_key: key.is_some(),
            columns: columns.schema,
            predicate,
            pruner,
            key: pandion_filter::pk_constraint(&filter.predicate),
        })
    }

    /// Whether the filter reads the primary key of a row.
    pub(crate) fn uses_key(&self) -> bool {
        self.uses_key
    }

    pub(crate) fn fields(&self) -> &[FieldSchema] {
        &self.fields
    }

    pub(crate) fn pruner(&self) -> &Pruner {
        &self.pruner
    }

    /// The rows of a file that the filter's terms on the primary key leave, as ascending ranges;
    /// `None` when the filter has no such term.
    pub(crate) fn key_rows(&self, file: &DataFile) -> Option<Vec<Range<u32>>> {
        let rows = u32::try_from(file.rows()).unwrap_or(u32::MAX);
        let first = RowId::new(file.id, 0).get();
        Some(match self.key.as_ref()? {
            PkConstraint::Range { lower, upper } => {
                let last = first + i64::from(rows) - 1;
                let (from, to) = ((*lower).max(first), (*upper).min(last));
                if from > to {
                    return Some(Vec::new());
                }
                let from = offset(from - first);
                let to = offset(to - first);
                std::iter::once(from..to + 1).collect()
            }
            PkConstraint::Ids(keys) => {
                let from = keys.partition_point(|&key| key < first);
                let to = keys.partition_point(|&key| key < first + i64::from(rows));
                let keys = keys.get(from..to).unwrap_or_default();
                keys.iter().map(|key| offset(key - first)).map(|row| row..row + 1).collect()
            }
        })
    }

    /// Evaluates the filter on `rows` decoded rows.
    ///
    /// `columns` are those of [`Self::fields`]; `keys` gives the primary keys of the rows, and is
    /// called only when the filter reads them.
    pub(crate) fn test(
        &self,
        mut columns: Vec<ArrayRef>,
        rows: usize,
        keys: impl FnOnce() -> Int64Array,
    ) -> Result<BooleanArray> {
        if self.uses_key {
            columns.push(Arc::new(keys()));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.columns), columns, &options)
            .map_err(|error| {
                Error::internal("the columns of the filter do not fit together").caused_by(error)
            })?;
        let values = self
            .predicate
            .evaluate(&batch)
            .and_then(|values| values.into_array(rows))
            .map_err(failed)?;
        values
            .as_boolean_opt()
            .cloned()
            .ok_or_else(|| Error::internal("a filter gave something other than booleans"))
    }
}

/// A filter of one request, with what of it is left when indexes have answered some of its terms.
#[derive(Debug)]
pub(crate) struct FilterPlan {
    filter: Filter,
    /// The filter in its normalised form.
    text: String,
    /// What `random_sample` draws from.
    seed: u64,
    schema: Arc<CollectionSchema>,
    whole: Arc<CompiledFilter>,
    /// Names the filter and the columns that it reads, across collections; `None` when its answer
    /// depends on more than the values of a file.
    digest: Option<FilterDigest>,
    /// What Bloom filters can refute.
    bloom_terms: Vec<BloomTerm>,
    /// What is left when these conjuncts are answered.
    residuals: Mutex<HashMap<Vec<bool>, Option<Arc<CompiledFilter>>>>,
}

/// See [`FilterPlan::digest`].
pub(crate) type FilterDigest = [u8; 32];

impl FilterPlan {
    /// Compiles a filter.
    ///
    /// # Errors
    /// As [`CompiledFilter::new`].
    pub(crate) fn new(
        filter: Filter,
        schema: &Arc<CollectionSchema>,
        manifest: &Manifest,
        seed: u64,
    ) -> Result<Self> {
        let whole = Arc::new(CompiledFilter::new(&filter, schema, seed)?);
        let text = filter.to_string();
        let random = |term: &Predicate| matches!(term, Predicate::RandomSample { .. });
        let cacheable = !whole.uses_key && !filter.predicate.conjuncts().iter().any(random);
        let digest = cacheable.then(|| digest(&text, &whole.fields, manifest));
        let bloom_terms = bloom::terms(filter.predicate.conjuncts());
        Ok(Self {
            filter,
            text,
            seed,
            schema: Arc::clone(schema),
            whole,
            digest,
            bloom_terms,
            residuals: Mutex::default(),
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn bloom_terms(&self) -> &[BloomTerm] {
        &self.bloom_terms
    }

    pub(crate) fn digest(&self) -> Option<FilterDigest> {
        self.digest
    }

    pub(crate) fn whole(&self) -> &Arc<CompiledFilter> {
        &self.whole
    }

    /// The terms that all have to hold.
    pub(crate) fn conjuncts(&self) -> &[Predicate] {
        self.filter.predicate.conjuncts()
    }

    /// What is left to test when the conjuncts marked are answered; `None` when nothing is.
    pub(crate) fn residual(&self, answered: &[bool]) -> Result<Option<Arc<CompiledFilter>>> {
        if !answered.contains(&true) {
            return Ok(Some(Arc::clone(&self.whole)));
        }
        let mut residuals = self.residuals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(residual) = residuals.get(answered) {
            return Ok(residual.clone());
        }
        let left = self.conjuncts().iter().zip(answered).filter(|(_, answered)| !**answered);
        let left: Vec<Predicate> = left.map(|(conjunct, _)| conjunct.clone()).collect();
        let residual = if left.is_empty() {
            None
        } else {
            let filter = Filter { predicate: Predicate::and(left) };
            Some(Arc::new(CompiledFilter::new(&filter, &self.schema, self.seed)?))
        };
        residuals.insert(answered.to_vec(), residual.clone());
        Ok(residual)
    }
}

/// Whether the predicate has a term that NaN meets. NaN lies outside of all bounds: that every float
/// between the bounds of a column fails to meet such a term does not mean that no row meets it.
fn admits_nan(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::And(operands) | Predicate::Or(operands) => operands.iter().any(admits_nan),
        Predicate::Not(inner) => admits_nan(inner),
        Predicate::Compare { operand, op: CompareOp::NotEqual, .. } => {
            operand.field().data_type.is_float()
        }
        _ => false,
    }
}

fn digest(text: &str, fields: &[FieldSchema], manifest: &Manifest) -> FilterDigest {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &str| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    };
    add(text);
    for field in fields {
        add(&field.name);
        add(&manifest.column_key(field));
        add(&format!("{:?} {:?}", field.data_type, field.element_type));
    }
    *hasher.finalize().as_bytes()
}

fn failed(error: DataFusionError) -> Error {
    match error {
        // Raised for values of the file that are not what their column says.
        DataFusionError::Execution(text) => Error::corrupt(text).about(Subject::Source),
        error => Error::internal("evaluating the filter failed").caused_by(error),
    }
}

/// A difference of two keys of one file; both lie inside the file, so that it fits.
fn offset(difference: i64) -> u32 {
    debug_assert!((0..=i64::from(u32::MAX)).contains(&difference));
    u32::try_from(difference).unwrap_or(u32::MAX)
}
