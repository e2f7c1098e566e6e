//! One contiguous run of bytes that starts at a multiple of 64.
//!
//! It never grows beyond the capacity that it was made with: growing would move it and lose the
//! alignment. It knows nothing of vectors.

use bytemuck::{AnyBitPattern, Pod};
use pandion_types::{Error, Result};

/// Bytes of a cache line, and of the widest register that the kernels load.
pub(crate) const ALIGNMENT: usize = 64;

/// Bytes whose first is at an address divisible by [`ALIGNMENT`].
#[derive(Debug)]
pub(crate) struct AlignedBytes {
    /// `start` bytes of padding, then the content.
    data: Vec<u8>,
    start: usize,
    capacity: usize,
}

impl AlignedBytes {
    /// An empty run with room for `capacity` bytes.
    ///
    /// # Errors
    /// `Unavailable` when the memory cannot be had.
    pub(crate) fn with_capacity(capacity: usize) -> Result<Self> {
        let refused = || Error::unavailable(format!("no memory for {capacity} bytes of vectors"));
        let mut data = Vec::<u8>::new();
        let padded = capacity.checked_add(ALIGNMENT).ok_or_else(refused)?;
        data.try_reserve_exact(padded).map_err(|error| refused().caused_by(error))?;
        prefer_huge_pages(&mut data);
        let start = data.as_ptr().addr().wrapping_neg() % ALIGNMENT;
        data.resize(start, 0);
        Ok(Self { data, start, capacity })
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.data.len() - self.start
    }

    /// Bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.data.capacity()
    }

    /// The bytes written so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.data[self.start..]
    }

    /// The bytes written so far as numbers; their count must be a multiple of the number's size.
    pub(crate) fn view<T: AnyBitPattern>(&self) -> &[T] {
        bytemuck::cast_slice(self.bytes())
    }

    /// As [`Self::view`], to be written to.
    pub(crate) fn view_mut<T: Pod>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.data[self.start..])
    }

    /// Appends a copy of `bytes`, for which there must be room.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.check_room(bytes.len());
        self.data.extend_from_slice(bytes);
    }

    /// Appends `len` zero bytes, for which there must be room, and hands them out.
    pub(crate) fn grow_zeroed(&mut self, len: usize) -> &mut [u8] {
        self.check_room(len);
        let from = self.data.len();
        self.data.resize(from + len, 0);
        &mut self.data[from..]
    }

    /// Forgets everything after the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.data.truncate(self.start + len);
    }

    /// The vector must not be moved by its growth, or its start would no longer be aligned.
    fn check_room(&self, more: usize) {
        assert!(more <= self.capacity - self.len(), "an aligned buffer was overfilled");
    }
}

/// Asks the kernel to back a large buffer with huge pages: filling a fresh buffer is otherwise bound
/// by a page fault for every 4 KiB, and reading it by misses of the translation buffer.
#[cfg(target_os = "linux")]
fn prefer_huge_pages(data: &mut Vec<u8>) {
    /// Smaller buffers come from the heap, whose pages they share with others.
    const LARGE: usize = 8 << 20;
    const PAGE: usize = 4096;
    if data.capacity() < LARGE {
        return;
    }
    let start = data.as_mut_ptr();
    let skip = start.addr().wrapping_neg() % PAGE;
    let len = (data.capacity() - skip) / PAGE * PAGE;
    #[expect(unsafe_code, reason = "the standard library has no call for it")]
    // SAFETY: the range lies inside the buffer's allocation, which this function borrows, and the
    // advice changes neither content nor validity of its pages.
    let advised = unsafe { libc::madvise(start.add(skip).cast(), len, libc::MADV_HUGEPAGE) };
    // Without huge pages everything works, slower: the answer changes nothing.
    debug_assert!(advised == 0 || advised == -1);
}

#[cfg(not(target_os = "linux"))]
fn prefer_huge_pages(_: &mut Vec<u8>) {}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;

    use super::*;

    #[test]
    fn content_starts_at_a_cache_line_and_stays_there() {
        for capacity in [0, 1, 63, 64, 1000] {
            let mut buffer = AlignedBytes::with_capacity(capacity).unwrap();
            let before = buffer.bytes().as_ptr();
            buffer.grow_zeroed(capacity / 2).fill(7);
            buffer.extend(&vec![9; capacity - capacity / 2]);
            assert_eq!(buffer.bytes().as_ptr(), before);
            assert_eq!(before.addr() % ALIGNMENT, 0);
            assert_eq!(buffer.len(), capacity);
            buffer.truncate(capacity / 2);
            assert_eq!(buffer.bytes(), vec![7; capacity / 2]);
        }
    }

    #[test]
    fn absurd_sizes_are_refused() {
        for capacity in [usize::MAX, usize::MAX / 2, usize::MAX - 10] {
            let error = AlignedBytes::with_capacity(capacity).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
        }
    }
}
