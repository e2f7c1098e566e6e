//! What processes and threads have used, as Linux tells it in `/proc`, and making memory ready.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pandion_index::VectorBlockBuilder;
use pandion_types::{VectorElement, VectorType};

/// Clock ticks per second in `/proc/PID/stat`: Linux fixes what it shows there at 100.
const TICKS_PER_SECOND: u64 = 100;
/// What Linux says (`ESRCH`) when a thread ends while its file is open.
const NO_SUCH_PROCESS: i32 = 3;

/// What a process has used since it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// CPU time of all its threads, those that ended included, in steps of 10 ms.
    pub(crate) cpu: Duration,
    /// The most memory that was ever resident, in bytes.
    pub(crate) peak_bytes: u64,
}

impl Usage {
    /// Of the process with this id.
    ///
    /// # Errors
    /// There is no such process.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        let status = read(&format!("/proc/{pid}/status"))?;
        let ticks = cpu_ticks(&stat).with_context(|| format!("no CPU times in {stat:?}"))?;
        let peak = kibibytes(&status, "VmHWM:").context("no VmHWM in the status of a process")?;
        let cpu = Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND);
        Ok(Self { cpu, peak_bytes: peak * 1024 })
    }
}

/// CPU time of the calling thread.
///
/// # Errors
/// The kernel keeps no such statistics.
pub(crate) fn thread_cpu() -> Result<Duration> {
    // The kernel adds the time since the last tick when it looks for another thread to run.
    std::thread::yield_now();
    run_time(&read("/proc/thread-self/schedstat")?)
}

/// CPU time of the threads of this process that are alive, to the nanosecond for those that sleep.
/// Threads that end between two calls are missing from the second.
///
/// # Errors
/// The kernel keeps no such statistics.
pub(crate) fn process_cpu() -> Result<Duration> {
    // As in `thread_cpu`.
    std::thread::yield_now();
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir("/proc/self/task").context("cannot list the threads")? {
        match fs::read_to_string(thread?.path().join("schedstat")) {
            Ok(text) => sum += run_time(&text)?,
            // It ended meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(NO_SUCH_PROCESS) => {}
            Err(error) => return Err(error).context("cannot read the CPU time of a thread"),
        }
    }
    Ok(sum)
}

/// The first number of a `schedstat`: nanoseconds on a CPU.
fn run_time(schedstat: &str) -> Result<Duration> {
    let nanoseconds = schedstat.split_whitespace().next().and_then(|text| text.parse().ok());
    nanoseconds.map(Duration::from_nanos).with_context(|| format!("no CPU time in {schedstat:?}"))
}

/// Writes to so much memory, or half of what is free if that is less, and gives it back.
///
/// A virtual machine may get its memory from its host only when a page is first written to, and
/// lend it back when it is idle. Whoever comes next then does not pay for that.
///
/// # Errors
/// The kernel does not tell how much is free.
pub(crate) fn touch_memory(bytes: usize) -> Result<()> {
    const DIM: usize = 1024;
    const ROWS: usize = 8192;
    let vector_type = VectorType { element: VectorElement::Float32, dim: DIM };
    let block_bytes = ROWS * vector_type.bytes();
    let free = kibibytes(&read("/proc/meminfo")?, "MemAvailable:").context("no MemAvailable")?;
    let bytes = usize::try_from(free * 1024 / 2)?.min(bytes);
    // As blocks, so that it is the same kind of pages that a search gets.
    let mut blocks = Vec::new();
    for _ in 0..bytes.div_ceil(block_bytes) {
        let mut block = VectorBlockBuilder::new(vector_type, ROWS)?;
        block.append_bytes_with(block_bytes, |bytes| {
            bytes.fill(1);
            Ok(())
        })?;
        blocks.push(block);
    }
    drop(std::hint::black_box(blocks));
    Ok(())
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The name, in brackets, may hold anything; the numbers follow its last bracket.
    let (_, numbers) = stat.rsplit_once(')')?;
    let mut times = numbers.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(user + system)
}

/// The number after this name in a text of lines like `VmHWM:   2048 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_texts_are_understood() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 8 0 100 4096 512";
        assert_eq!(cpu_ticks(stat), Some(300));
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t1 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(2048));
        assert_eq!(kibibytes(status, "VmLck:"), None);
    }

    #[test]
    fn work_shows_in_the_times_of_thread_and_process() {
        let before = (thread_cpu().unwrap(), Usage::of(std::process::id()).unwrap());
        let mut number = 1_u64;
        while thread_cpu().unwrap() - before.0 < Duration::from_millis(50) {
            (0..100_000).for_each(|at| number = std::hint::black_box(number.wrapping_mul(at | 1)));
        }
        let after = Usage::of(std::process::id()).unwrap();
        assert!(after.cpu - before.1.cpu >= Duration::from_millis(30), "{before:?} {after:?}");
        let own = thread_cpu().unwrap();
        assert!(process_cpu().unwrap() >= own, "the sum of all threads holds this one");
        assert!(after.peak_bytes > 1 << 20);
    }
}
