//! The schema of a collection, as users declare it and as every layer reads it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, FieldId, Result, Subject};

/// The name of the primary key that every external collection has.
pub const VIRTUAL_PK_NAME: &str = "__virtual_pk__";

/// The types of Milvus fields, with the published numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum DataType {
    Bool = 1,
    Int8 = 2,
    Int16 = 3,
    Int32 = 4,
    Int64 = 5,
    Float = 10,
    Double = 11,
    VarChar = 21,
    Array = 22,
    Json = 23,
    Geometry = 24,
    Text = 25,
    Timestamptz = 26,
    BinaryVector = 100,
    FloatVector = 101,
    Float16Vector = 102,
    BFloat16Vector = 103,
    SparseFloatVector = 104,
    Int8Vector = 105,
}

impl DataType {
    /// Every type.
    pub const ALL: [Self; 19] = [
        Self::Bool,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Float,
        Self::Double,
        Self::VarChar,
        Self::Array,
        Self::Json,
        Self::Geometry,
        Self::Text,
        Self::Timestamptz,
        Self::BinaryVector,
        Self::FloatVector,
        Self::Float16Vector,
        Self::BFloat16Vector,
        Self::SparseFloatVector,
        Self::Int8Vector,
    ];

    /// The published number.
    #[must_use]
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The type with this published number.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|data_type| data_type.code() == code)
    }

    /// The name as Milvus's messages write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "Bool",
            Self::Int8 => "Int8",
            Self::Int16 => "Int16",
            Self::Int32 => "Int32",
            Self::Int64 => "Int64",
            Self::Float => "Float",
            Self::Double => "Double",
            Self::VarChar => "VarChar",
            Self::Array => "Array",
            Self::Json => "JSON",
            Self::Geometry => "Geometry",
            Self::Text => "Text",
            Self::Timestamptz => "Timestamptz",
            Self::BinaryVector => "BinaryVector",
            Self::FloatVector => "FloatVector",
            Self::Float16Vector => "Float16Vector",
            Self::BFloat16Vector => "BFloat16Vector",
            Self::SparseFloatVector => "SparseFloatVector",
            Self::Int8Vector => "Int8Vector",
        }
    }

    /// Whether values are vectors.
    #[must_use]
    pub fn is_vector(self) -> bool {
        self.is_dense_vector() || self == Self::SparseFloatVector
    }

    /// Whether values are vectors of a fixed dimension.
    #[must_use]
    pub fn is_dense_vector(self) -> bool {
        self.vector_element().is_some()
    }

    /// What a dense vector of this type is made of.
    #[must_use]
    pub fn vector_element(self) -> Option<VectorElement> {
        match self {
            Self::BinaryVector => Some(VectorElement::Bit),
            Self::FloatVector => Some(VectorElement::Float32),
            Self::Float16Vector => Some(VectorElement::Float16),
            Self::BFloat16Vector => Some(VectorElement::BFloat16),
            Self::Int8Vector => Some(VectorElement::Int8),
            Self::Bool
            | Self::Int8
            | Self::Int16
            | Self::Int32
            | Self::Int64
            | Self::Float
            | Self::Double
            | Self::VarChar
            | Self::Array
            | Self::Json
            | Self::Geometry
            | Self::Text
            | Self::Timestamptz
            | Self::SparseFloatVector => None,
        }
    }

    /// Int8 to Int64.
    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(self, Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64)
    }

    /// Float or Double.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::Double)
    }

    /// VarChar or Text.
    #[must_use]
    pub fn is_string(self) -> bool {
        matches!(self, Self::VarChar | Self::Text)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The element of a dense vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VectorElement {
    /// IEEE 754 binary32, little endian.
    Float32,
    /// IEEE 754 binary16, little endian.
    Float16,
    /// The upper half of a binary32, little endian.
    BFloat16,
    /// Signed byte.
    Int8,
    /// One bit, eight to a byte.
    Bit,
}

/// The element and dimension of a dense vector field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VectorType {
    /// What one component is.
    pub element: VectorElement,
    /// Number of components; a multiple of 8 for bits.
    pub dim: usize,
}

impl VectorType {
    /// Bytes of one vector, without padding.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self.element {
            VectorElement::Float32 => self.dim * 4,
            VectorElement::Float16 | VectorElement::BFloat16 => self.dim * 2,
            VectorElement::Int8 => self.dim,
            VectorElement::Bit => self.dim / 8,
        }
    }
}

/// One field of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldSchema {
    /// Number of the field, 100 or above; never reused inside a collection.
    pub id: FieldId,
    /// Name as clients use it.
    pub name: String,
    /// Free text of the user.
    #[serde(default)]
    pub description: String,
    /// Type of the values.
    pub data_type: DataType,
    /// Type of the elements, for [`DataType::Array`].
    #[serde(default)]
    pub element_type: Option<DataType>,
    /// Whether rows may lack a value. Fields that come from a source always may.
    #[serde(default)]
    pub nullable: bool,
    /// Whether it is the primary key.
    #[serde(default)]
    pub is_primary_key: bool,
    /// Whether the server makes the values.
    #[serde(default)]
    pub auto_id: bool,
    /// Column of the source that the field is read from; case matters.
    #[serde(default)]
    pub external_field: Option<String>,
    /// `dim`, `max_length`, `max_capacity`, `mmap.enabled` and the like, as the user gave them.
    #[serde(default)]
    pub type_params: BTreeMap<String, String>,
}

impl FieldSchema {
    /// A field that is read from the source's column of the same name, nullable and without
    /// parameters.
    #[must_use]
    pub fn mapped(id: i64, name: &str, data_type: DataType) -> Self {
        Self {
            id: FieldId(id),
            name: name.to_owned(),
            description: String::new(),
            data_type,
            element_type: None,
            nullable: true,
            is_primary_key: false,
            auto_id: false,
            external_field: Some(name.to_owned()),
            type_params: BTreeMap::new(),
        }
    }

    /// The element and dimension of a dense vector field; `None` for every other field.
    #[must_use]
    pub fn vector_type(&self) -> Option<VectorType> {
        let element = self.data_type.vector_element()?;
        let dim = self.type_params.get("dim")?.parse().ok()?;
        Some(VectorType { element, dim })
    }

    /// The largest number of bytes of a VarChar value.
    #[must_use]
    pub fn max_length(&self) -> Option<usize> {
        self.type_params.get("max_length")?.parse().ok()
    }

    /// The largest number of elements of an Array value.
    #[must_use]
    pub fn max_capacity(&self) -> Option<usize> {
        self.type_params.get("max_capacity")?.parse().ok()
    }
}

/// The fields of a collection, and where its rows come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionSchema {
    /// Free text of the user.
    #[serde(default)]
    pub description: String,
    /// The fields in the order in which they are described; the primary key is first.
    pub fields: Vec<FieldSchema>,
    /// URI of the source; empty when a later refresh is to give it.
    #[serde(default)]
    pub external_source: String,
    /// The JSON text of the source's specification with every secret replaced by stars.
    #[serde(default)]
    pub external_spec: String,
    /// Counts the changes of the fields.
    #[serde(default)]
    pub version: i32,
}

impl CollectionSchema {
    /// The field with this name.
    ///
    /// # Errors
    /// `NotFound` about [`Subject::Field`] that names the field.
    pub fn field(&self, name: &str) -> Result<&FieldSchema> {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .ok_or_else(|| Error::not_found(Subject::Field, format!("field {name} not exist")))
    }

    /// The field with this number.
    #[must_use]
    pub fn field_by_id(&self, id: FieldId) -> Option<&FieldSchema> {
        self.fields.iter().find(|field| field.id == id)
    }

    /// The fields that hold vectors, in order.
    pub fn vector_fields(&self) -> impl Iterator<Item = &FieldSchema> {
        self.fields.iter().filter(|field| field.data_type.is_vector())
    }

    /// The fields that are read from the source, in order.
    pub fn mapped_fields(&self) -> impl Iterator<Item = &FieldSchema> {
        self.fields.iter().filter(|field| field.external_field.is_some())
    }

    /// Whether rows come from files that Pandion does not own.
    #[must_use]
    pub fn is_external(&self) -> bool {
        !self.external_source.is_empty() || self.mapped_fields().next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for data_type in DataType::ALL {
            assert_eq!(DataType::from_code(data_type.code()), Some(data_type));
        }
        assert_eq!(DataType::from_code(999), None);
    }

    #[test]
    fn vector_bytes_follow_the_element() {
        let bytes = |element| VectorType { element, dim: 16 }.bytes();
        assert_eq!(bytes(VectorElement::Float32), 64);
        assert_eq!(bytes(VectorElement::Float16), 32);
        assert_eq!(bytes(VectorElement::Int8), 16);
        assert_eq!(bytes(VectorElement::Bit), 2);
    }
}
