//! A server in this process: what stands behind its door can then be asked directly too.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use pandion_proto::schema::FieldSchema;
use pandion_query::{EngineOptions, QueryEngine, Snapshot};
use pandion_server::{NamedSources, PublishPolicy, Server, ServerOptions};
use tempfile::TempDir;

use crate::client::Client;

/// Bytes of scalar indexes that a server keeps in memory when nobody sets another budget.
const SCALAR_INDEX_BYTES: usize = 1 << 30;

/// A server with one collection, its data directory and a client on loopback.
#[derive(Debug)]
pub(crate) struct LocalNode {
    server: Server,
    pub(crate) client: Client,
    pub(crate) snapshot: Arc<Snapshot>,
    data: TempDir,
}

impl LocalNode {
    /// Starts a server with an empty data directory beside the lake, and loads the lake as a
    /// collection.
    ///
    /// # Errors
    /// The server does not start, or a call fails.
    pub(crate) async fn serving(
        collection: &str,
        lake: &Path,
        fields: Vec<FieldSchema>,
    ) -> Result<Self> {
        let beside = lake.parent().context("a lake lies in a directory")?;
        let data = tempfile::tempdir_in(beside).context("making a data directory")?;
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // Those that somebody has who sets none.
        let budgets = EngineOptions::default();
        let server = Server::start(ServerOptions {
            listen: any_port,
            admin_listen: any_port,
            data_dir: data.path().to_owned(),
            local_roots: vec![lake.to_owned()],
            allow_endpoints: Vec::new(),
            named_sources: NamedSources::default(),
            publish: PublishPolicy::Immediate,
            scalar_index_bytes: SCALAR_INDEX_BYTES,
            vector_cache_bytes: budgets.vector_cache_bytes,
            column_cache_bytes: budgets.column_cache_bytes,
            matches_cache_bytes: budgets.matches_cache_bytes,
        })
        .await?;
        let mut client = Client::connect(&format!("http://{}", server.address())).await?;
        let source = format!("file://{}/", lake.display());
        client.create_with(collection, &source, r#"{"format":"parquet"}"#, fields).await?;
        client.refresh(collection).await?;
        client.load(collection).await?;
        let snapshot = server.snapshot("", collection).await?;
        Ok(Self { server, client, snapshot, data })
    }

    /// The engine behind the door.
    pub(crate) fn engine(&self) -> &Arc<QueryEngine> {
        self.server.engine()
    }

    /// Takes the version that the collection serves now, for instance with indexes made since.
    ///
    /// # Errors
    /// The collection is not loaded.
    pub(crate) async fn look_again(&mut self, collection: &str) -> Result<()> {
        self.snapshot = self.server.snapshot("", collection).await?;
        Ok(())
    }

    /// Bytes of all files in the data directory.
    ///
    /// # Errors
    /// It cannot be listed.
    pub(crate) fn stored_bytes(&self) -> Result<u64> {
        bytes_below(self.data.path())
    }

    /// Ends the server.
    pub(crate) async fn stop(self) {
        // The client's connection would be waited for.
        drop(self.client);
        self.server.stop().await;
    }
}

fn bytes_below(directory: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        sum += if kind.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}
