//! How a column of a file holds vectors.

use pandion_types::{Error, FieldSchema, Result, VectorElement, VectorType};
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::schema::types::{ColumnDescriptor, Type};

use super::values::{Storage, ValueFormat};

/// How a column holds the vectors of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) vector_type: VectorType,
    pub(crate) format: ValueFormat,
    /// Values of a vector: 1 unless the column holds lists.
    pub(crate) per_row: usize,
    /// Whether the column holds lists.
    pub(crate) is_list: bool,
    pub(crate) levels: DefinitionLevels,
}

/// What the definition levels of a column say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DefinitionLevels {
    /// A value is there.
    pub(crate) max: u8,
    /// At and above, an element is there, though it may be null.
    pub(crate) element: u8,
    /// At and above, the row is not null.
    pub(crate) row: u8,
}

impl Layout {
    /// How the top-level column `root`, whose only leaf is `leaf`, holds vectors of `field`.
    ///
    /// # Errors
    /// `InvalidArgument` when it cannot hold such vectors, or not of this dimension.
    pub(crate) fn new(field: &FieldSchema, root: &Type, leaf: &ColumnDescriptor) -> Result<Self> {
        let vector_type = field.vector_type().filter(|vector| vector.dim > 0).ok_or_else(|| {
            Error::invalid_argument(format!("field {} has no vector dimension", field.name))
        })?;
        let wrong = || {
            Error::invalid_argument(format!(
                "field type mismatch for {}, dim {}: the column holds {}",
                field.data_type,
                vector_type.dim,
                describe(leaf)
            ))
        };
        let levels = DefinitionLevels::new(root, leaf).ok_or_else(wrong)?;
        let is_list = leaf.max_rep_level() == 1;
        let raw = vector_type.bytes();
        let (storage, unit, per_row) = match (is_list, leaf.physical_type()) {
            (true, PhysicalType::FLOAT) if vector_type.element == VectorElement::Float32 => {
                (Storage::Direct, 4, vector_type.dim)
            }
            (true, PhysicalType::FIXED_LEN_BYTE_ARRAY)
                if vector_type.element == VectorElement::Float16 && leaf.type_length() == 2 =>
            {
                (Storage::Direct, 2, vector_type.dim)
            }
            // Bytes, signed only as the components of int8 vectors.
            (true, PhysicalType::INT32) => match byte_signed(leaf) {
                Some(signed) if !signed || vector_type.element == VectorElement::Int8 => {
                    (Storage::Widened, 1, raw)
                }
                _ => return Err(wrong()),
            },
            (false, PhysicalType::FIXED_LEN_BYTE_ARRAY) => {
                if usize::try_from(leaf.type_length()).ok() != Some(raw) {
                    return Err(wrong());
                }
                (Storage::Direct, raw, 1)
            }
            (false, PhysicalType::BYTE_ARRAY) => (Storage::Counted, raw, 1),
            _ => return Err(wrong()),
        };
        if unit == 0 || per_row == 0 {
            return Err(wrong());
        }
        Ok(Self { vector_type, format: ValueFormat { storage, unit }, per_row, is_list, levels })
    }

    /// Whether `values`, the number of a chunk's values with nulls and empty lists, can be those of
    /// `rows` vectors, some of which may be null. Needs no data.
    pub(crate) fn admits(&self, rows: u64, values: u64) -> bool {
        let per_row = self.per_row as u64;
        if !self.is_list {
            return values == rows;
        }
        // A null row counts once. Either all rows may be null, or none.
        let vectors = match (values.checked_sub(rows), per_row - 1) {
            (Some(0), 0) => return true,
            (Some(more), step) if step > 0 && more.is_multiple_of(step) => more / step,
            _ => return false,
        };
        vectors <= rows && (self.levels.row > 0 || vectors == rows)
    }
}

impl DefinitionLevels {
    /// `None` when the column is nested in another way than as a list of values.
    fn new(root: &Type, leaf: &ColumnDescriptor) -> Option<Self> {
        let max = u8::try_from(leaf.max_def_level()).ok()?;
        if leaf.max_rep_level() > 1 {
            return None;
        }
        let (mut level, mut row, mut element) = (0_u8, 0, 0);
        let mut node = root;
        loop {
            let info = node.get_basic_info();
            if info.has_repetition() {
                match info.repetition() {
                    parquet::basic::Repetition::REQUIRED => {}
                    parquet::basic::Repetition::OPTIONAL => level += 1,
                    parquet::basic::Repetition::REPEATED => {
                        row = level;
                        level += 1;
                        element = level;
                    }
                }
            }
            match node {
                Type::PrimitiveType { .. } => break,
                Type::GroupType { fields, .. } => node = fields.first()?,
            }
        }
        if leaf.max_rep_level() == 0 {
            (row, element) = (level, level);
        }
        (level == max).then_some(Self { max, element, row })
    }
}

/// Whether the column holds bytes, and if so whether these are signed.
fn byte_signed(leaf: &ColumnDescriptor) -> Option<bool> {
    match (leaf.logical_type_ref(), leaf.converted_type()) {
        (Some(LogicalType::Integer { bit_width: 8, is_signed }), _) => Some(*is_signed),
        (None, ConvertedType::INT_8) => Some(true),
        (None, ConvertedType::UINT_8) => Some(false),
        _ => None,
    }
}

fn describe(leaf: &ColumnDescriptor) -> String {
    let physical = match leaf.physical_type() {
        PhysicalType::FIXED_LEN_BYTE_ARRAY => {
            format!("fixed_size_binary of {} bytes", leaf.type_length())
        }
        physical => physical.to_string(),
    };
    match leaf.max_rep_level() {
        0 => physical,
        1 => format!("lists of {physical}"),
        _ => format!("nested lists of {physical}"),
    }
}
