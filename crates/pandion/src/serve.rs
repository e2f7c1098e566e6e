//! `pandion serve`.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use pandion_server::{PublishPolicy, Server, ServerOptions};

use crate::settings::{Publish, Settings};

/// Flags of `pandion serve`; what is not given comes from the settings.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// YAML file with settings; environment variables `PANDION_SECTION__KEY` override it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where the catalogue and the manifests are kept.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Address of the Milvus gRPC door.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Address of health and metrics.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,
    /// Allow file:// sources below this directory; may be repeated.
    #[arg(long, value_name = "DIR")]
    local_root: Vec<PathBuf>,
    /// Allow this object store although its address is loopback or private; may be repeated.
    #[arg(long, value_name = "HOST:PORT")]
    allow_endpoint: Vec<String>,
    /// When a refreshed version serves.
    #[arg(long, value_enum)]
    publish: Option<Publish>,
    /// Serve on an address that other machines reach, although nobody is asked who they are.
    #[arg(long)]
    insecure_network: bool,
}

impl Arguments {
    fn settings(self) -> Result<Settings> {
        let mut settings = Settings::load(self.config.as_deref())?;
        if let Some(data_dir) = self.data_dir {
            settings.server.data_dir = data_dir;
        }
        if let Some(listen) = self.listen {
            settings.server.listen = listen;
        }
        if let Some(admin_listen) = self.admin_listen {
            settings.server.admin_listen = admin_listen;
        }
        if let Some(publish) = self.publish {
            settings.refresh.publish = publish;
        }
        settings.server.insecure_network |= self.insecure_network;
        settings.source.local_roots.extend(self.local_root);
        settings.source.allow_endpoints.extend(self.allow_endpoint);
        Ok(settings)
    }
}

/// Serves until the process is asked to end.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let settings = arguments.settings()?;
    crate::start_logging(&settings.log)?;
    let server = start(&settings).await?;
    writeln!(
        io::stdout(),
        "pandion serves Milvus clients at http://{} (health at http://{}/healthz)",
        server.address(),
        server.admin_address()
    )
    .context("writing to standard output")?;
    asked_to_end().await?;
    server.stop().await;
    Ok(())
}

/// Starts a server with these settings.
pub(crate) async fn start(settings: &Settings) -> Result<Server> {
    for address in [settings.server.listen, settings.server.admin_listen] {
        anyhow::ensure!(
            address.ip().is_loopback() || settings.server.insecure_network,
            "{address} can be reached by other machines, and there is no authentication yet: listen \
             on a loopback address, or give --insecure-network where the network itself is trusted"
        );
    }
    let options = ServerOptions {
        listen: settings.server.listen,
        admin_listen: settings.server.admin_listen,
        data_dir: settings.server.data_dir.clone(),
        local_roots: settings.source.local_roots.clone(),
        allow_endpoints: settings.source.allow_endpoints.clone(),
        named_sources: settings.source.named().context("reading the settings of sources")?,
        publish: match settings.refresh.publish {
            Publish::Immediate => PublishPolicy::Immediate,
            Publish::OnLoad => PublishPolicy::OnLoad,
        },
        vector_cache_bytes: settings.cache.vector_bytes,
        scalar_index_bytes: settings.cache.scalar_index_bytes,
        column_cache_bytes: settings.cache.column_bytes,
        matches_cache_bytes: settings.cache.matches_bytes,
    };
    Server::start(options).await.context("starting the server")
}

/// Waits for an interrupt or a request to terminate.
async fn asked_to_end() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("waiting for a signal")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("waiting for a signal"),
        _ = terminate.recv() => Ok(()),
    }
}
