//! `pandion demo`: a small lake, and the whole loop on it through the same door that users take.

mod client;
mod lake;

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use pandion_proto::milvus::RefreshExternalCollectionState;

use self::client::Client;
use self::lake::{DIM, FILES, Lake, ROWS_PER_FILE};
use crate::settings::{Log, Settings};

/// Flags of `pandion demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Keep serving at the end, until the process is interrupted.
    #[arg(long)]
    keep: bool,
    /// Port of the Milvus gRPC door; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

const COLLECTION: &str = "demo";

/// Shows the loop; ends by itself unless told to keep serving.
pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    crate::start_logging(&Log { level: "warn".to_owned(), json: false })?;
    let folder = tempfile::tempdir().context("making a temporary directory")?;
    let lake = Lake::new(folder.path().join("lake"))?;
    let mut settings = Settings::default();
    settings.server.listen.set_port(arguments.port);
    settings.server.admin_listen.set_port(0);
    settings.server.data_dir = folder.path().join("data");
    settings.source.local_roots.push(folder.path().to_path_buf());

    say(&format!("A lake of {FILES} Parquet files in {}", lake.folder().display()))?;
    lake.write_all()?;
    let server = crate::serve::start(&settings).await?;
    say(&format!("Serving Milvus clients at http://{}", server.address()))?;
    let mut client = Client::connect(server.address()).await?;
    walk(&mut client, &lake).await?;
    if arguments.keep {
        say(&format!(
            "\nStill serving; try:  MilvusClient(\"http://{}\").query(\"{COLLECTION}\", \
             filter=\"price < 10\", limit=3)   End with Ctrl-C.",
            server.address()
        ))?;
        tokio::signal::ctrl_c().await.context("waiting for an interrupt")?;
    }
    server.stop().await;
    Ok(())
}

async fn walk(client: &mut Client, lake: &Lake) -> Result<()> {
    say("\n1. Create an external collection over the folder, and an index")?;
    client.create(COLLECTION, &lake.source(), DIM).await?;
    client.create_index(COLLECTION, "embedding").await?;

    say("\n2. Refresh: list, read footers and vectors, publish a manifest")?;
    refresh(client).await?;
    client.load(COLLECTION).await?;
    say(&format!("   rows: {}", client.row_count(COLLECTION).await?))?;

    let query = lake.vector(0, 7);
    say("\n3. Search for the vector of row 7 of the first file")?;
    show(&client.search(COLLECTION, &query, "").await?)?;
    say("\n4. The same, where price < 20 and title like \"%blue%\"")?;
    show(&client.search(COLLECTION, &query, "price < 20 and title like \"%blue%\"").await?)?;
    say("\n5. Query: price < 1")?;
    show(&client.query(COLLECTION, "price < 1").await?)?;

    say("\n6. Refresh again: nothing has changed, so nothing but the listing is read")?;
    refresh(client).await?;
    say("\n7. Append one file and overwrite another in place, then refresh")?;
    lake.write(FILES, 1)?;
    lake.write(0, 2)?;
    refresh(client).await?;
    say(&format!(
        "   rows: {} ({FILES} files of {ROWS_PER_FILE} rows, and one more)",
        client.row_count(COLLECTION).await?
    ))?;
    show(&client.search(COLLECTION, &query, "").await?)
}

/// Refreshes and prints how it goes and what it cost.
async fn refresh(client: &mut Client) -> Result<()> {
    let started = Instant::now();
    let job = client.refresh(COLLECTION).await?;
    loop {
        let info = client.progress(job).await?;
        match info.state() {
            RefreshExternalCollectionState::RefreshCompleted => {
                say(&format!(
                    "   job {job}: {} after {} ms; {}",
                    info.state().as_str_name(),
                    started.elapsed().as_millis(),
                    client.receipt(job).await?
                ))?;
                return Ok(());
            }
            RefreshExternalCollectionState::RefreshFailed => {
                anyhow::bail!("the refresh failed: {}", info.reason)
            }
            RefreshExternalCollectionState::RefreshPending
            | RefreshExternalCollectionState::RefreshInProgress => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn show(lines: &[String]) -> Result<()> {
    lines.iter().try_for_each(|line| say(&format!("   {line}")))
}

fn say(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").context("writing to standard output")
}
