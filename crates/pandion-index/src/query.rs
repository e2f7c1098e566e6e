//! Query vectors: as they came, and made ready for a metric.
//!
//! Nothing here decodes a wire format; the vectors arrive as bytes, one slice each.

use std::ops::Range;
use std::sync::Arc;

use bytemuck::{AnyBitPattern, Pod};
use half::{bf16, f16};
use pandion_types::{Error, MetricType, Result, VectorElement, VectorType};

use crate::aligned::AlignedBytes;
use crate::block::check_dim;
use crate::kernels::{Kernels, query_stride};
use crate::{VectorBlock, VectorBlockBuilder};

/// Query vectors of one type, as received.
#[derive(Clone, Debug)]
pub struct QueryBatch {
    vectors: Arc<VectorBlock>,
}

impl QueryBatch {
    /// A batch of these vectors, little endian.
    ///
    /// # Errors
    /// `InvalidArgument` when a vector does not have the bytes that the type asks for, or no field
    /// can have the type; `Unavailable` when the memory cannot be had.
    pub fn new<V: AsRef<[u8]>>(vector_type: VectorType, vectors: &[V]) -> Result<Self> {
        check_dim(vector_type)?;
        let expected = vector_type.bytes();
        if let Some(wrong) = vectors.iter().find(|vector| vector.as_ref().len() != expected) {
            return Err(dimension_mismatch(expected, wrong.as_ref().len()));
        }
        let mut builder = VectorBlockBuilder::new(vector_type, vectors.len())?;
        vectors.iter().try_for_each(|vector| builder.push_raw(vector.as_ref()))?;
        Ok(Self { vectors: Arc::new(builder.finish()?) })
    }

    /// Element and dimension.
    #[must_use]
    pub fn vector_type(&self) -> VectorType {
        self.vectors.vector_type()
    }

    /// Number of vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vectors.rows()
    }

    /// Whether there is no vector.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of one vector, or `None` beyond the last.
    #[must_use]
    pub fn vector(&self, query: usize) -> Option<&[u8]> {
        self.vectors.row(query)
    }

    /// The first vector that has an infinite or not-a-number component.
    #[must_use]
    pub fn first_non_finite(&self) -> Option<usize> {
        self.vectors.first_non_finite()
    }

    /// Makes the vectors ready for searches by this metric, with the kernels of this machine.
    ///
    /// # Errors
    /// `InvalidArgument` when the metric does not compare such vectors; `Unavailable` when the
    /// memory cannot be had.
    pub fn prepare(&self, metric: MetricType) -> Result<PreparedQueries> {
        self.prepare_for(metric, Kernels::detect())
    }

    /// As [`Self::prepare`], with kernels of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_for(
        &self,
        metric: MetricType,
        kernels: &'static Kernels,
    ) -> Result<PreparedQueries> {
        let vector_type = self.vector_type();
        let binary_metric = matches!(metric, MetricType::Hamming | MetricType::Jaccard);
        if binary_metric != (vector_type.element == VectorElement::Bit) {
            return Err(Error::invalid_argument(format!(
                "metric type {metric} does not compare vectors of {:?}",
                vector_type.element
            )));
        }
        let vectors = &self.vectors;
        let data = match vector_type.element {
            VectorElement::Float32 => padded(vectors, |component: f32| component)?,
            VectorElement::Float16 => padded(vectors, |bits| f16::from_bits(bits).to_f32())?,
            VectorElement::BFloat16 => padded(vectors, |bits| bf16::from_bits(bits).to_f32())?,
            VectorElement::Int8 => padded(vectors, |component: i8| i16::from(component))?,
            VectorElement::Bit => padded(vectors, |byte: u8| byte)?,
        };
        let mut inverse_norms = Vec::new();
        if metric == MetricType::Cosine {
            inverse_norms = vec![0.0; self.len()];
            vectors.norms().fill(vectors, 0, self.len());
            for (row, norm) in (0..).zip(inverse_norms.chunks_mut(1)) {
                vectors.norms().gather(vectors, &[row], norm);
            }
        }
        Ok(PreparedQueries { vector_type, metric, len: self.len(), kernels, data, inverse_norms })
    }
}

/// Query vectors in the form that the kernels read.
#[derive(Debug)]
pub struct PreparedQueries {
    vector_type: VectorType,
    metric: MetricType,
    len: usize,
    kernels: &'static Kernels,
    /// f32, i16 or bytes, each vector padded with zeros to whole cache lines.
    data: AlignedBytes,
    /// 1 / |query|, for COSINE only.
    inverse_norms: Vec<f32>,
}

impl PreparedQueries {
    /// Element and dimension of the vectors.
    #[must_use]
    pub fn vector_type(&self) -> VectorType {
        self.vector_type
    }

    /// The metric for which they were prepared.
    #[must_use]
    pub fn metric(&self) -> MetricType {
        self.metric
    }

    /// Number of vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no vector.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    pub(crate) fn inverse_norms(&self) -> &[f32] {
        &self.inverse_norms
    }

    /// The padded components of some queries. `T` is the type that the element is widened to.
    pub(crate) fn components<T: AnyBitPattern>(&self, queries: Range<usize>) -> &[T] {
        let stride = query_stride::<T>(self.row_components());
        &self.data.view()[queries.start * stride..queries.end * stride]
    }

    /// Components as the kernels count them: bytes for bits.
    pub(crate) fn row_components(&self) -> usize {
        match self.vector_type.element {
            VectorElement::Bit => self.vector_type.dim / 8,
            _ => self.vector_type.dim,
        }
    }

    /// Bytes of one query, with its padding.
    pub(crate) fn padded_bytes(&self) -> usize {
        let components = self.row_components();
        match self.vector_type.element {
            VectorElement::Float32 | VectorElement::Float16 | VectorElement::BFloat16 => {
                query_stride::<f32>(components) * size_of::<f32>()
            }
            VectorElement::Int8 => query_stride::<i16>(components) * size_of::<i16>(),
            VectorElement::Bit => query_stride::<u8>(components),
        }
    }

    /// Checks that rows of this type can be compared with the queries.
    pub(crate) fn check_rows(&self, vector_type: VectorType) -> Result<()> {
        if vector_type.bytes() != self.vector_type.bytes() {
            return Err(dimension_mismatch(vector_type.bytes(), self.vector_type.bytes()));
        }
        if vector_type != self.vector_type {
            return Err(Error::invalid_argument(format!(
                "queries of {:?} cannot be compared with vectors of {:?}",
                self.vector_type.element, vector_type.element
            )));
        }
        Ok(())
    }
}

/// The wording is Milvus's; clients look for it.
fn dimension_mismatch(expected: usize, actual: usize) -> Error {
    Error::invalid_argument(format!(
        "vector dimension mismatch, expected vector size(byte) {expected}, actual {actual}."
    ))
}

fn padded<T: AnyBitPattern, W: Pod>(
    vectors: &VectorBlock,
    widen: impl Fn(T) -> W,
) -> Result<AlignedBytes> {
    let row_components = vectors.vector_type().bytes() / size_of::<T>();
    let stride = query_stride::<W>(row_components);
    let bytes = vectors.rows() * stride * size_of::<W>();
    let mut data = AlignedBytes::with_capacity(bytes)?;
    data.grow_zeroed(bytes);
    let from = vectors.view::<T>().chunks_exact(row_components);
    for (to, from) in data.view_mut::<W>().chunks_exact_mut(stride).zip(from) {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to = widen(from));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;

    use super::*;

    const FLOATS: VectorType = VectorType { element: VectorElement::Float32, dim: 128 };

    #[test]
    fn a_vector_of_another_length_is_named_in_bytes() {
        let error = QueryBatch::new(FLOATS, &[vec![0; 512], vec![0; 256]]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(
            error.message(),
            "vector dimension mismatch, expected vector size(byte) 512, actual 256."
        );
        let batch = QueryBatch::new(FLOATS, &[[1; 512], [2; 512]]).unwrap();
        assert_eq!((batch.len(), batch.is_empty()), (2, false));
        assert_eq!((batch.vector(1), batch.vector(2)), (Some([2; 512].as_slice()), None));
    }

    #[test]
    fn metrics_compare_only_vectors_of_their_kind() {
        let floats = QueryBatch::new(FLOATS, &[[0; 512]]).unwrap();
        assert!(floats.prepare(MetricType::Hamming).is_err());
        assert!(floats.prepare(MetricType::Ip).is_ok());
        let bits = VectorType { element: VectorElement::Bit, dim: 16 };
        let bits = QueryBatch::new(bits, &[[0; 2]]).unwrap();
        let error = bits.prepare(MetricType::L2).unwrap_err();
        assert_eq!(error.message(), "metric type L2 does not compare vectors of Bit");
        assert!(bits.prepare(MetricType::Jaccard).is_ok());
    }

    #[test]
    fn a_batch_says_which_vector_is_not_finite() {
        let mut bad = [0; 512];
        bad[508..].copy_from_slice(&f32::INFINITY.to_le_bytes());
        let batch = QueryBatch::new(FLOATS, &[[0; 512], bad]).unwrap();
        assert_eq!(batch.first_non_finite(), Some(1));
        let none = QueryBatch::new::<Vec<u8>>(FLOATS, &[]).unwrap();
        assert!(none.is_empty() && none.first_non_finite().is_none());
    }
}
