//! The server: listeners, doors and an orderly end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use pandion_catalog::{DEFAULT_DATABASE, PublishPolicy};
use pandion_proto::milvus::milvus_service_server::MilvusServiceServer;
use pandion_query::{QueryEngine, Snapshot};
use pandion_source::NamedSources;
use pandion_types::{Error, Result};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::grpc::{ANSWER_BYTES_MAX, Door, REQUEST_BYTES_MAX};
use crate::metrics::render_scalar_indexes;
use crate::node::Node;

/// How long requests under way may take to end when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a server is told.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Address of the Milvus gRPC door; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address of health and metrics; port 0 takes a free one.
    pub admin_listen: SocketAddr,
    /// Where the catalogue and the manifests are kept; made when it does not exist.
    pub data_dir: PathBuf,
    /// Directories below which `file://` sources are allowed.
    pub local_roots: Vec<PathBuf>,
    /// `HOST:PORT` of object stores that are allowed although their address is loopback or private.
    pub allow_endpoints: Vec<String>,
    /// Volumes, credentials and the default storage, which users refer to by name.
    pub named_sources: NamedSources,
    /// When a refreshed version serves.
    pub publish: PublishPolicy,
    /// Bytes of decoded vectors that are kept in memory.
    pub vector_cache_bytes: usize,
    /// Bytes of scalar indexes that are kept in memory.
    pub scalar_index_bytes: usize,
    /// Bytes of decoded filter columns kept in memory.
    pub column_cache_bytes: usize,
    /// Bytes of the matching rows of filters kept in memory.
    pub matches_cache_bytes: usize,
}

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    admin_address: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    node: Arc<Node>,
}

impl Server {
    /// Opens the data directory and serves.
    ///
    /// # Errors
    /// `Unavailable` when an address is taken or the data directory is in use, `Corrupt` when the
    /// catalogue is, `InvalidArgument` for a bad root or endpoint.
    pub async fn start(options: ServerOptions) -> Result<Self> {
        let node = Node::open(&options).await?;
        let (listener, address) = bind(options.listen).await?;
        let (admin_listener, admin_address) = bind(options.admin_listen).await?;
        let stop = CancellationToken::new();
        let tasks = vec![
            serve("milvus", listener, doors(&node), stop.clone()),
            serve("admin", admin_listener, admin(&node), stop.clone()),
        ];
        tracing::info!(%address, %admin_address, "serving");
        Ok(Self { address, admin_address, stop, tasks, node })
    }

    /// The address of the Milvus gRPC door.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of health and metrics.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The engine that answers requests, for programs that hold the server in their own process.
    #[must_use]
    pub fn engine(&self) -> &Arc<QueryEngine> {
        self.node.engine()
    }

    /// The version that a loaded collection serves now. An empty `database` means the default one.
    ///
    /// # Errors
    /// `NotFound` about the collection, `Conflict` when it is not loaded; those of reading its
    /// manifest and of opening its source.
    pub async fn snapshot(&self, database: &str, collection: &str) -> Result<Arc<Snapshot>> {
        let database = if database.is_empty() { DEFAULT_DATABASE } else { database };
        let state = self.node.catalog().state();
        let collection = Arc::clone(state.collection(database, collection)?);
        self.node.snapshot(&collection).await
    }

    /// Stops refresh jobs, lets requests under way end, and returns when all is quiet.
    pub async fn stop(mut self) {
        self.node.refresh().stop().await;
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            match tokio::time::timeout(DRAIN_TIMEOUT, task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a listener ended abnormally"),
                Err(_) => tracing::warn!("a client did not close its connection in time"),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let failed = |error: std::io::Error| {
        Error::unavailable(format!("{address} cannot be listened on: {error}")).caused_by(error)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Everything on port 19530.
fn doors(node: &Arc<Node>) -> Router {
    let milvus = MilvusServiceServer::new(Door::new(Arc::clone(node)))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    tonic::service::Routes::new(milvus).prepare().into_axum_router()
}

/// Everything on port 9091: nothing that reads or changes a collection.
fn admin(node: &Arc<Node>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "OK" }))
        .route("/livez", get(|| async { "OK" }))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(node))
}

async fn metrics(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let engine = node.engine();
    let mut text = node.metrics().render(engine.vectors().usage());
    if let Some(segments) = engine.scalar_segments() {
        text.push_str(&render_scalar_indexes(segments.usage(), segments.damaged()));
    }
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

fn serve(
    name: &'static str,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        // Answers are small and awaited: they must not wait for more to send.
        let listener = listener.tap_io(|connection| {
            if let Err(error) = connection.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps its delay");
            }
        });
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(async move { stop.cancelled().await })
            .await;
        if let Err(error) = served {
            tracing::error!(listener = name, %error, "a listener failed");
        }
    })
}
