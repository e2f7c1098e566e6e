//! How fast this machine reads memory in order: the measure of a search that must look at all of
//! it. Also the clock that the search is measured with, so that both are measured alike.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use pandion_index::VectorBlock;
use rayon::ThreadPool;

use crate::process::thread_cpu;

/// Bytes that a thread reads before it looks for more; as many as the search takes.
const RANGE_BYTES: usize = 2 * 1024 * 1024;
/// Words that are added side by side, so that additions do not wait for each other.
const LANES: usize = 16;

/// What some work cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// CPU time of all threads of the pool together.
    pub(crate) cpu: Duration,
}

/// Does some work in a pool and tells what it cost.
///
/// # Errors
/// Those of the work; the kernel does not tell CPU times.
pub(crate) fn timed<T: Send>(
    pool: &ThreadPool,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<(T, Cost)> {
    let before = pool_cpu(pool)?;
    let begun = Instant::now();
    let done = pool.install(work)?;
    let wall = begun.elapsed();
    let cpu = pool_cpu(pool)?.saturating_sub(before);
    Ok((done, Cost { wall, cpu }))
}

/// How a thread reads a range.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reader {
    /// From its first byte to its last.
    OneStream,
    /// Its four quarters side by side, which keeps more of the memory busy on some machines.
    FourStreams,
}

/// Reads all bytes of the blocks on all threads of the current pool. Returns a sum of them, so that
/// none can be left out.
///
/// # Errors
/// A block does not lie at a multiple of a word.
pub(crate) fn read_all(blocks: &[VectorBlock], reader: Reader) -> Result<u64> {
    let words = blocks
        .iter()
        .map(|block| bytemuck::try_cast_slice::<u8, u64>(block.bytes()).ok())
        .collect::<Option<Vec<&[u64]>>>()
        .context("a block is not aligned")?;
    let ranges: Vec<&[u64]> =
        words.iter().flat_map(|words| words.chunks(RANGE_BYTES / size_of::<u64>())).collect();
    let taken = AtomicUsize::new(0);
    let sums = rayon::broadcast(|_| {
        let mut sum = 0_u64;
        while let Some(range) = ranges.get(taken.fetch_add(1, Ordering::Relaxed)) {
            sum = sum.wrapping_add(read(black_box(range), reader));
        }
        sum
    });
    Ok(black_box(sums.into_iter().fold(0, u64::wrapping_add)))
}

fn read(words: &[u64], reader: Reader) -> u64 {
    match reader {
        Reader::OneStream => {
            let (whole, rest) = words.as_chunks::<LANES>();
            let mut lanes = [0; LANES];
            whole.iter().for_each(|part| add(&mut lanes, part));
            total(&lanes).wrapping_add(total(rest))
        }
        Reader::FourStreams => {
            let quarter = words.len() / (4 * LANES) * LANES;
            let (first, others) = words.split_at(quarter);
            let (second, others) = others.split_at(quarter);
            let (third, others) = others.split_at(quarter);
            let (fourth, rest) = others.split_at(quarter);
            let mut lanes = [[0; LANES / 4]; 4];
            let parts = [first, second, third, fourth].map(|part| part.as_chunks().0);
            for at in 0..parts[0].len() {
                for (lanes, part) in lanes.iter_mut().zip(&parts) {
                    add(lanes, &part[at]);
                }
            }
            total(lanes.as_flattened()).wrapping_add(total(rest))
        }
    }
}

fn add<const N: usize>(lanes: &mut [u64; N], words: &[u64; N]) {
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane = lane.wrapping_add(*word);
    }
}

fn total(words: &[u64]) -> u64 {
    words.iter().copied().fold(0, u64::wrapping_add)
}

fn pool_cpu(pool: &ThreadPool) -> Result<Duration> {
    pool.broadcast(|_| thread_cpu()).into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readers_read_every_word() {
        for len in [0, 1, 15, 16, 63, 64, 65, 1000] {
            let words: Vec<u64> = (0..len).map(|at| at * at + 1).collect();
            let expected = words.iter().sum::<u64>();
            assert_eq!(read(&words, Reader::OneStream), expected);
            assert_eq!(read(&words, Reader::FourStreams), expected);
        }
    }
}
