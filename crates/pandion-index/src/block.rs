//! A block of vectors as the kernels read them, and its builder.
//!
//! Nothing here computes a distance or knows where the bytes came from.

use bytemuck::AnyBitPattern;
use pandion_types::{Error, Result, VectorElement, VectorType};

use crate::Bitmap;
use crate::aligned::AlignedBytes;
use crate::finite::first_non_finite;
use crate::norms::RowNorms;

/// Components of the longest vector that Milvus admits, but for bits. It also keeps sums of
/// int8 products and squares below 2^31: 255^2 * 32768 < 2^31.
const DIM_MAX: usize = 32_768;

/// Bits of the longest binary vector that Milvus admits.
const DIM_MAX_BITS: usize = 262_144;

/// Vectors of consecutive rows, one after the other without gaps, 64-byte aligned at the start.
///
/// A row without a vector has a slot of zero bytes and is absent from `validity`.
#[derive(Debug)]
pub struct VectorBlock {
    vector_type: VectorType,
    rows: usize,
    data: AlignedBytes,
    validity: Option<Bitmap>,
    norms: RowNorms,
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
        self.data.bytes()
    }

    /// The bytes of one row's vector, or `None` when the row has none or does not exist.
    #[must_use]
    pub fn row(&self, row: usize) -> Option<&[u8]> {
        if row >= self.rows || self.validity.as_ref().is_some_and(|valid| !valid.get(row)) {
            return None;
        }
        let bytes = self.vector_type.bytes();
        self.bytes().get(row * bytes..(row + 1) * bytes)
    }

    /// The rows that have a vector; `None` when all have.
    #[must_use]
    pub fn validity(&self) -> Option<&Bitmap> {
        self.validity.as_ref()
    }

    /// The first row that has an infinite or not-a-number component. Reads every byte once.
    #[must_use]
    pub fn first_non_finite(&self) -> Option<usize> {
        first_non_finite(self.vector_type.element, self.bytes()).map(|at| at / self.vector_type.dim)
    }

    /// Bytes of memory that the block holds or may come to hold: the vectors, the validity, and
    /// the norms that COSINE searches compute on first use. It does not change over time.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let validity = self.validity.as_ref().map_or(0, |valid| size_of_val(valid.words()));
        size_of::<Self>() + self.data.memory_bytes() + validity + self.norms.memory_bytes_max()
    }

    /// All components, row after row, as numbers.
    pub(crate) fn view<T: AnyBitPattern>(&self) -> &[T] {
        self.data.view()
    }

    pub(crate) fn norms(&self) -> &RowNorms {
        &self.norms
    }
}

/// Fills a [`VectorBlock`] front to back.
#[derive(Debug)]
pub struct VectorBlockBuilder {
    vector_type: VectorType,
    rows: usize,
    row_bytes: usize,
    data: AlignedBytes,
    validity: Option<Bitmap>,
}

impl VectorBlockBuilder {
    /// A builder for `rows` rows. Memory for all of them is taken at once.
    ///
    /// # Errors
    /// `InvalidArgument` for a dimension that no vector field can have or for more than 2^32 - 1
    /// rows; `Unavailable` when the memory cannot be had.
    pub fn new(vector_type: VectorType, rows: usize) -> Result<Self> {
        check_dim(vector_type)?;
        if u32::try_from(rows).is_err() {
            return Err(Error::invalid_argument(format!(
                "a block of {rows} vectors is too long: at most {} are possible",
                u32::MAX
            )));
        }
        let row_bytes = vector_type.bytes();
        let total = rows.checked_mul(row_bytes).ok_or_else(|| {
            Error::unavailable(format!("no memory for {rows} vectors of {row_bytes} bytes"))
        })?;
        let data = AlignedBytes::with_capacity(total)?;
        Ok(Self { vector_type, rows, row_bytes, data, validity: None })
    }

    /// Rows that are filled completely so far, with and without a vector.
    #[must_use]
    pub fn rows_filled(&self) -> usize {
        self.data.len() / self.row_bytes
    }

    /// Rows that are not filled yet.
    #[must_use]
    pub fn rows_left(&self) -> usize {
        self.rows - self.rows_filled()
    }

    /// Appends whole vectors, little endian, one after the other.
    ///
    /// # Errors
    /// `InvalidArgument` when `bytes` are not whole vectors or more than there are rows left.
    /// Nothing is appended then.
    pub fn push_raw(&mut self, bytes: &[u8]) -> Result<()> {
        if !bytes.len().is_multiple_of(self.row_bytes) {
            return Err(Error::invalid_argument(format!(
                "{} bytes are no whole number of vectors of {} bytes",
                bytes.len(),
                self.row_bytes
            )));
        }
        self.check_room(bytes.len())?;
        self.check_row_boundary()?;
        self.data.extend(bytes);
        Ok(())
    }

    /// Lets `fill` write the next `len` bytes, which it finds zeroed. They need not end where a
    /// vector ends, so that a decoder can go on where a page cut a vector in two.
    ///
    /// # Errors
    /// Those of `fill`, and `InvalidArgument` when fewer than `len` bytes are left. Nothing is
    /// appended then.
    pub fn append_bytes_with(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        self.check_room(len)?;
        let before = self.data.len();
        let filled = fill(self.data.grow_zeroed(len));
        if filled.is_err() {
            self.data.truncate(before);
        }
        filled
    }

    /// Appends a row without a vector.
    ///
    /// # Errors
    /// `InvalidArgument` when no row is left or the last vector is not complete.
    pub fn push_null(&mut self) -> Result<()> {
        self.push_nulls(1)
    }

    /// Appends `count` rows without a vector.
    ///
    /// # Errors
    /// `InvalidArgument` when fewer rows are left or the last vector is not complete. Nothing is
    /// appended then.
    pub fn push_nulls(&mut self, count: usize) -> Result<()> {
        self.check_row_boundary()?;
        let first = self.rows_filled();
        if count > self.rows - first {
            return Err(self.too_many(first.saturating_add(count)));
        }
        if count == 0 {
            return Ok(());
        }
        self.data.grow_zeroed(count * self.row_bytes);
        let validity = self.validity.get_or_insert_with(|| Bitmap::full(self.rows));
        (first..first + count).for_each(|row| validity.remove(row));
        Ok(())
    }

    /// The block.
    ///
    /// # Errors
    /// `Corrupt` when fewer rows were filled than the builder was made for.
    pub fn finish(self) -> Result<VectorBlock> {
        if self.data.len() != self.rows * self.row_bytes {
            return Err(Error::corrupt(format!(
                "a block of {} vectors of {} bytes got only {} bytes",
                self.rows,
                self.row_bytes,
                self.data.len()
            )));
        }
        let norms = match self.vector_type.element {
            VectorElement::Bit => RowNorms::none(),
            _ => RowNorms::for_rows(self.rows),
        };
        let Self { vector_type, rows, data, validity, .. } = self;
        Ok(VectorBlock { vector_type, rows, data, validity, norms })
    }

    fn check_room(&self, more: usize) -> Result<()> {
        let left = self.rows * self.row_bytes - self.data.len();
        if more > left {
            let total = self.data.len().saturating_add(more);
            return Err(self.too_many(total.div_ceil(self.row_bytes)));
        }
        Ok(())
    }

    fn check_row_boundary(&self) -> Result<()> {
        let over = self.data.len() % self.row_bytes;
        if over != 0 {
            return Err(Error::invalid_argument(format!(
                "row {} is not complete: it has {over} of {} bytes",
                self.rows_filled(),
                self.row_bytes
            )));
        }
        Ok(())
    }

    fn too_many(&self, rows: usize) -> Error {
        Error::invalid_argument(format!("{rows} vectors for a block of {}", self.rows))
    }
}

/// Checks that a vector field can have this type.
pub(crate) fn check_dim(vector_type: VectorType) -> Result<()> {
    let VectorType { element, dim } = vector_type;
    let (dim_max, step) = match element {
        VectorElement::Bit => (DIM_MAX_BITS, 8),
        _ => (DIM_MAX, 1),
    };
    if dim == 0 || dim > dim_max || !dim.is_multiple_of(step) {
        return Err(Error::invalid_argument(format!(
            "vector dimension {dim} is not a multiple of {step} in [{step}, {dim_max}]"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;

    use super::*;

    const TWO_BYTES: VectorType = VectorType { element: VectorElement::Int8, dim: 2 };

    #[test]
    fn rows_arrive_in_the_order_of_the_calls() {
        let mut builder = VectorBlockBuilder::new(TWO_BYTES, 7).unwrap();
        builder.push_raw(&[1, 2, 3, 4]).unwrap();
        builder.push_null().unwrap();
        let filled = builder.append_bytes_with(3, |tail| {
            assert_eq!(tail, [0, 0, 0]);
            tail.copy_from_slice(&[5, 6, 7]);
            Ok(())
        });
        filled.unwrap();
        assert_eq!((builder.rows_filled(), builder.rows_left()), (4, 3));
        let filled = builder.append_bytes_with(1, |tail| {
            tail[0] = 8;
            Ok(())
        });
        filled.unwrap();
        builder.push_nulls(2).unwrap();
        let block = builder.finish().unwrap();
        assert_eq!(block.bytes(), [1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0, 0, 0]);
        assert_eq!(block.validity().unwrap().iter().collect::<Vec<_>>(), [0, 1, 3, 4]);
        assert_eq!(block.row(3), Some([5, 6].as_slice()));
        assert_eq!((block.row(2), block.row(7)), (None, None));
        assert_eq!(block.bytes().as_ptr().addr() % 64, 0);
        assert!(block.memory_bytes() > 14 + 64 + 7 * 4);
    }

    #[test]
    fn calls_out_of_bounds_change_nothing() {
        let mut builder = VectorBlockBuilder::new(TWO_BYTES, 2).unwrap();
        assert!(builder.push_raw(&[1]).is_err());
        assert!(builder.push_raw(&[0; 6]).is_err());
        assert!(builder.push_nulls(3).is_err());
        assert!(builder.push_nulls(usize::MAX).is_err());
        assert!(builder.append_bytes_with(5, |_| Ok(())).is_err());
        assert!(builder.append_bytes_with(usize::MAX, |_| Ok(())).is_err());
        assert!(builder.append_bytes_with(4, |_| Err(Error::corrupt("bad page"))).is_err());
        assert_eq!(builder.rows_filled(), 0);
        builder.append_bytes_with(1, |_| Ok(())).unwrap();
        assert!(builder.push_null().is_err(), "inside a vector");
        assert!(builder.push_raw(&[1, 2]).is_err(), "inside a vector");
        let error = builder.finish().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.message(), "a block of 2 vectors of 2 bytes got only 1 bytes");
    }

    #[test]
    fn impossible_blocks_are_refused() {
        let new = |element, dim, rows| VectorBlockBuilder::new(VectorType { element, dim }, rows);
        for (element, dim) in [
            (VectorElement::Float32, 0),
            (VectorElement::Float32, DIM_MAX + 1),
            (VectorElement::Bit, 12),
            (VectorElement::Bit, DIM_MAX_BITS + 8),
        ] {
            let error = new(element, dim, 1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{element:?} {dim}");
        }
        let error = new(VectorElement::Float32, 4, 1 << 32).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let empty = new(VectorElement::Bit, DIM_MAX_BITS, 0).unwrap().finish().unwrap();
        assert_eq!(
            (empty.rows(), empty.bytes(), empty.first_non_finite()),
            (0, [].as_slice(), None)
        );
    }

    #[test]
    fn the_first_row_with_a_non_finite_component_is_named() {
        let vector_type = VectorType { element: VectorElement::Float32, dim: 3 };
        let mut builder = VectorBlockBuilder::new(vector_type, 4).unwrap();
        let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, f32::NAN, f32::INFINITY, 0.0, 0.0];
        builder.push_raw(bytemuck::cast_slice(&values)).unwrap();
        assert_eq!(builder.finish().unwrap().first_non_finite(), Some(2));
    }
}
