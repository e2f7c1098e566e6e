//! The reciprocal lengths of a block's vectors, computed when a COSINE search first needs them.
//!
//! They are always computed by the detected kernels, so that they do not depend on who asked
//! first. Binary vectors have none.

use std::sync::OnceLock;

use pandion_types::VectorElement;

use crate::VectorBlock;
use crate::kernels::{Kernels, RowSet};

/// Rows whose norms are computed together. Threads that search different parts of a block then
/// rarely wait for each other.
const CHUNK_ROWS: usize = 4096;

/// One slot per [`CHUNK_ROWS`] rows.
#[derive(Debug)]
pub(crate) struct RowNorms {
    rows: usize,
    chunks: Box<[OnceLock<Box<[f32]>>]>,
}

impl RowNorms {
    /// For vectors that have no length.
    pub(crate) fn none() -> Self {
        Self { rows: 0, chunks: Box::default() }
    }

    /// Empty slots for `rows` rows.
    pub(crate) fn for_rows(rows: usize) -> Self {
        Self { rows, chunks: (0..rows.div_ceil(CHUNK_ROWS)).map(|_| OnceLock::new()).collect() }
    }

    /// Bytes held when every norm has been computed.
    pub(crate) fn memory_bytes_max(&self) -> usize {
        size_of_val(&*self.chunks) + self.rows * size_of::<f32>()
    }

    /// Computes what is missing of the rows `start..end`. Reads whole chunks.
    pub(crate) fn fill(&self, block: &VectorBlock, start: usize, end: usize) {
        let last = end.div_ceil(CHUNK_ROWS).min(self.chunks.len());
        for (at, chunk) in self.chunks.iter().enumerate().take(last).skip(start / CHUNK_ROWS) {
            chunk.get_or_init(|| chunk_norms(block, at * CHUNK_ROWS));
        }
    }

    /// Writes 1 / |row| for each of `ids` to `out`, and 0 for a zero vector. Norms that have been
    /// computed before are looked up, others computed and not kept.
    pub(crate) fn gather(&self, block: &VectorBlock, ids: &[u32], out: &mut [f32]) {
        for (slot, &id) in out.iter_mut().zip(ids) {
            let row = id as usize;
            let Some(chunk) = self.chunks.get(row / CHUNK_ROWS).and_then(OnceLock::get) else {
                inverse_norms(block, ids, out);
                return;
            };
            *slot = chunk[row % CHUNK_ROWS];
        }
    }
}

fn chunk_norms(block: &VectorBlock, start: usize) -> Box<[f32]> {
    let end = block.rows().min(start + CHUNK_ROWS);
    let mut norms = vec![0.0; end - start];
    let mut ids = [0; 64];
    for (at, part) in norms.chunks_mut(ids.len()).enumerate() {
        let ids = &mut ids[..part.len()];
        for (within, id) in ids.iter_mut().enumerate() {
            *id = row_number(start + at * 64 + within);
        }
        inverse_norms(block, ids, part);
    }
    norms.into_boxed_slice()
}

#[expect(clippy::cast_possible_truncation, reason = "a block has fewer than 2^32 rows")]
fn row_number(row: usize) -> u32 {
    row as u32
}

fn inverse_norms(block: &VectorBlock, ids: &[u32], out: &mut [f32]) {
    let dim = block.vector_type().dim;
    let element = block.vector_type().element;
    match element {
        VectorElement::Float32 => {
            (Kernels::detect().squares_f32)(RowSet { data: block.view(), dim, ids }, out);
        }
        VectorElement::Float16 => {
            (Kernels::detect().squares_f16)(RowSet { data: block.view(), dim, ids }, out);
        }
        VectorElement::BFloat16 => {
            (Kernels::detect().squares_bf16)(RowSet { data: block.view(), dim, ids }, out);
        }
        VectorElement::Int8 => {
            (Kernels::detect().squares_i8)(RowSet { data: block.view(), dim, ids }, out);
        }
        VectorElement::Bit => out.fill(0.0),
    }
    out.iter_mut().for_each(|value| *value = inverse_root(*value));
}

/// `1 / sqrt(square)`, and 0 for 0. The smallest positive square gives 2.7e22, so the result is
/// always finite.
pub(crate) fn inverse_root(square: f32) -> f32 {
    if square == 0.0 { 0.0 } else { square.sqrt().recip() }
}
