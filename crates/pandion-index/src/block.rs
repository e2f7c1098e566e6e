//! A block of vectors as the kernels read them.

use pandion_types::{Result, VectorType};

use crate::Bitmap;

/// Vectors of consecutive rows, one after the other without gaps, 64-byte aligned at the start.
///
/// A row without a vector has a slot of zero bytes and is absent from `validity`.
#[derive(Debug)]
pub struct VectorBlock {
    vector_type: VectorType,
    rows: usize,
    /// Owned storage in u64s or a custom aligned buffer; to be settled by this module.
    data: Vec<u8>,
    validity: Option<Bitmap>,
}

impl VectorBlock {
    /// Element and dimension.
    #[must_use]
    pub fn vector_type(&self) -> VectorType {
        self.vector_type
    }

    /// Number of rows, with and without a vector.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The vectors, row after row, little endian.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// The rows that have a vector; `None` when all have.
    #[must_use]
    pub fn validity(&self) -> Option<&Bitmap> {
        self.validity.as_ref()
    }
}

/// Fills a [`VectorBlock`] front to back.
#[derive(Debug)]
pub struct VectorBlockBuilder {
    block: VectorBlock,
}

impl VectorBlockBuilder {
    /// A builder for up to `rows` rows.
    ///
    /// # Errors
    /// `Unavailable` when the memory cannot be had.
    pub fn new(vector_type: VectorType, rows: usize) -> Result<Self> {
        let block = VectorBlock { vector_type, rows, data: Vec::new(), validity: None };
        Ok(Self { block })
    }
}
