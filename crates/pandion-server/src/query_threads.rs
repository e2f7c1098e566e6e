//! Threads on which searches and queries are planned, read and evaluated.
//!
//! Evaluating a filter keeps a thread busy for as long as a row group takes. On threads of their
//! own, requests cannot hold up the network: connections, health checks and other answers go on.

use std::future::Future;

use pandion_types::{Error, Result};
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// A runtime beside the one that serves the network.
#[derive(Debug)]
pub(crate) struct QueryThreads {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl QueryThreads {
    /// As many threads as the machine has processors.
    ///
    /// # Errors
    /// `Unavailable` when they cannot be started.
    pub(crate) fn start() -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("pandion-query")
            .enable_all()
            .build()
            .map_err(|error| {
                Error::unavailable("the query threads could not be started").caused_by(error)
            })?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `work` on these threads. Dropping the future stops the work.
    ///
    /// # Errors
    /// Those of `work`; `Internal` when it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let Some(runtime) = &self.runtime else {
            return Err(Error::unavailable("the server is stopping"));
        };
        AbortOnDropHandle::new(runtime.spawn(work)).await.map_err(|error| {
            tracing::error!(%error, "a query ended abnormally");
            Error::internal("the request failed because of a defect of the server").caused_by(error)
        })?
    }
}

impl Drop for QueryThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for its threads is not allowed on the threads of another runtime.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_elsewhere_and_its_panic_is_an_error() {
        let threads = QueryThreads::start().unwrap();
        let name = threads.run(async { Ok(std::thread::current().name().map(str::to_owned)) });
        assert_eq!(name.await.unwrap().as_deref(), Some("pandion-query"));
        let failed: Result<()> = threads.run(async { panic!("a defect") }).await;
        assert!(failed.unwrap_err().message().contains("defect of the server"));
    }
}
