//! The servers around a measurement, and what an action asks of them.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use pandion_proto::schema::{DataType, FieldSchema};
use pandion_testkit::iceberg::{Place, TableWriter};
use pandion_testkit::lake::{ID, VEC};
use pandion_testkit::rest_catalog::{RestCatalogOptions, RestCatalogServer};
use pandion_testkit::s3::{S3Fault, S3Options, S3Server, S3Stats};
use serde_json::{Value, json};

use crate::client::{Client, Receipt, field};
use crate::server::{Allow, Server};

const BUCKET: &str = "lake";
const NAMESPACE: &str = "bench";
/// The table's column of strings.
pub(super) const KIND: &str = "kind";

/// What is read of a table, by the names that its writer gives.
const KINDS: [(&str, &str); 6] = [
    ("version hint", r"/version-hint\.text$"),
    ("metadata", r"\.metadata\.json$"),
    ("manifest list", r"/snap-[^/]*\.avro$"),
    ("manifest", r"-m\d+\.avro$"),
    ("delete file", r"-(deletes|equality)\.(parquet|puffin)$"),
    ("data file", r"-[0-9a-f]{12}\.parquet$"),
];
const DATA_FILE: usize = 5;

/// How a collection names its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Folder,
    Metadata,
    Catalog,
}

impl Form {
    pub(super) const ALL: [Self; 3] = [Self::Folder, Self::Metadata, Self::Catalog];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Folder => "by folder",
            Self::Metadata => "by metadata file and snapshot_id",
            Self::Catalog => "by REST catalog",
        }
    }
}

/// What one action cost.
#[derive(Clone, Debug)]
pub(super) struct Cost {
    /// Seconds, as the client sees it.
    pub(super) wall: f64,
    /// CPU seconds of the server.
    pub(super) cpu: f64,
    pub(super) stats: S3Stats,
    /// Requests for each of [`KINDS`].
    kinds: Vec<u64>,
    /// Requests to the catalog.
    catalog: u64,
}

impl Cost {
    /// Requests to the store and the catalog.
    pub(super) fn requests(&self) -> u64 {
        self.stats.requests() + self.catalog
    }

    /// Reads of objects that are there.
    pub(super) fn reads(&self) -> u64 {
        (self.stats.get + self.stats.head).saturating_sub(self.stats.failed)
    }

    pub(super) fn data_file_reads(&self) -> u64 {
        self.kinds.get(DATA_FILE).copied().unwrap_or_default()
    }

    /// Requests by what they were for.
    pub(super) fn text(&self) -> String {
        let named = KINDS.iter().zip(&self.kinds).map(|((name, _), count)| (*name, *count));
        let others = [("listing", self.stats.list), ("catalog", self.catalog)];
        let all = named.chain(others).filter(|(_, count)| *count > 0);
        let parts: Vec<String> = all.map(|(name, count)| format!("{count} {name}")).collect();
        format!("{} requests ({})", self.requests(), parts.join(", "))
    }

    /// Wall and CPU time.
    pub(super) fn time(&self) -> String {
        format!("{:.0} ms wall, {:.0} ms CPU", self.wall * 1e3, self.cpu * 1e3)
    }

    pub(super) fn detail(&self) -> Value {
        let kinds = KINDS.iter().zip(&self.kinds);
        let kinds: serde_json::Map<String, Value> =
            kinds.map(|((name, _), count)| ((*name).to_owned(), json!(count))).collect();
        json!({
            "wall_s": self.wall, "cpu_s": self.cpu, "s3": self.stats, "kinds": kinds,
            "catalog": self.catalog,
        })
    }
}

/// A lake, a catalog and the server that reads them.
#[derive(Debug)]
pub(super) struct World {
    s3: S3Server,
    catalog: RestCatalogServer,
    /// Where the catalog has its metadata from, so that the S3 server does not count it.
    catalog_files: Arc<InMemory>,
    pub(super) server: Server,
    pub(super) client: Client,
}

impl World {
    pub(super) async fn start() -> Result<Self> {
        let s3 = S3Server::start(S3Options::default()).await?;
        let catalog_files = Arc::new(InMemory::new());
        let store = Arc::clone(&catalog_files);
        let catalog = RestCatalogServer::start(RestCatalogOptions::default(), store).await?;
        let endpoints = [s3.host_port(), catalog.host_port()];
        let server = Server::start(Allow::Endpoints(&endpoints)).await?;
        let client = Client::connect(server.address()).await?;
        Ok(Self { s3, catalog, catalog_files, server, client })
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.server.stop().await?;
        self.s3.shutdown().await
    }

    /// Where a table of this name is written.
    pub(super) fn place(&self, table: &str) -> Result<Place> {
        Place::in_bucket(self.s3.bucket(BUCKET)?, BUCKET, table)
    }

    /// Source and specification of a table as it is now; by metadata file at this snapshot.
    pub(super) async fn naming(
        &self,
        form: Form,
        name: &str,
        table: &TableWriter,
        snapshot: i64,
    ) -> Result<(String, String)> {
        let metadata = table.metadata_location();
        Ok(match form {
            Form::Folder => (self.uri(table.place().location())?, self.spec(json!({}))),
            Form::Metadata => self.at(metadata, snapshot)?,
            Form::Catalog => {
                let bytes = table.place().get(metadata).await?;
                let key = table.place().key(metadata)?;
                self.catalog_files.put(&key, bytes.into()).await.context("filling the catalog")?;
                self.catalog.register(&[NAMESPACE], name, metadata);
                let catalog = json!({
                    "type": "rest", "uri": self.catalog.uri(), "table": format!("{NAMESPACE}.{name}"),
                });
                let source = self.uri(table.place().location())?;
                (source, self.spec(json!({ "catalog": catalog })))
            }
        })
    }

    /// Source and specification of a snapshot in a metadata file.
    pub(super) fn at(&self, metadata: &str, snapshot: i64) -> Result<(String, String)> {
        Ok((self.uri(metadata)?, self.spec(json!({ "snapshot_id": snapshot.to_string() }))))
    }

    /// Does something, and tells what it cost.
    pub(super) async fn metered<T>(
        &mut self,
        act: impl AsyncFnOnce(&mut Client) -> Result<T>,
    ) -> Result<(T, Cost)> {
        let of_kind =
            |(_, key): &(&str, &str)| S3Fault { key: (*key).to_owned(), ..S3Fault::default() };
        self.s3.set_faults(KINDS.iter().map(of_kind).collect())?;
        self.s3.reset_stats();
        self.catalog.reset_stats();
        let before = self.server.usage()?.cpu;
        let begun = Instant::now();
        let done = act(&mut self.client).await?;
        let wall = begun.elapsed().as_secs_f64();
        let cpu = self.server.usage()?.cpu.saturating_sub(before).as_secs_f64();
        let stats = self.s3.stats();
        ensure!(stats.put + stats.delete == 0, "the lake is only read: {stats:?}");
        let asked = self.catalog.stats();
        let catalog = asked.config + asked.table + asked.credentials + asked.token + asked.other;
        let cost = Cost { wall, cpu, stats, kinds: self.s3.fault_hits(), catalog };
        // Without rules the server counts nothing beside its totals.
        self.s3.set_faults(Vec::new())?;
        Ok((done, cost))
    }

    /// Refreshes a collection, from another source unless both texts are empty.
    pub(super) async fn refresh(
        &mut self,
        collection: &str,
        source: &str,
        spec: &str,
    ) -> Result<(Receipt, Cost)> {
        let act = async |client: &mut Client| client.refresh_from(collection, source, spec).await;
        let (receipt, cost) = self.metered(act).await?;
        let told = receipt.count("list_requests")? + receipt.count("read_requests")?;
        let counted = cost.requests();
        ensure!(told == counted, "the receipt says {told} requests, the servers {}", cost.text());
        Ok((receipt, cost))
    }

    /// The URI of an object or folder at the server's own endpoint.
    fn uri(&self, uri: &str) -> Result<String> {
        let rest = uri.strip_prefix("s3://").with_context(|| format!("{uri} is not in S3"))?;
        Ok(format!("s3://{}/{rest}", self.s3.host_port()))
    }

    fn spec(&self, more: Value) -> String {
        let options = self.s3.options();
        let mut spec = json!({
            "format": "iceberg-table",
            "extfs": {
                "access_key_id": options.access_key, "access_key_value": options.secret_key,
                "region": options.region, "cloud_provider": "minio", "use_ssl": "false",
            },
        });
        if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
            spec.extend(more);
        }
        spec.to_string()
    }
}

/// The fields of a collection over a table of samples whose vectors have this dimension.
pub(super) fn fields(dim: usize) -> Vec<FieldSchema> {
    let vectors = field(VEC, DataType::FloatVector, &[("dim", dim.to_string())]);
    vec![
        field(ID, DataType::Int64, &[]),
        field(KIND, DataType::VarChar, &[("max_length", "64".to_owned())]),
        FieldSchema { external_field: "embedding".to_owned(), ..vectors },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_object_of_a_table_is_of_one_kind() {
        use object_store::path::Path;
        use pandion_testkit::iceberg::{MetadataNames, Sample, SampleOptions, TableOptions};

        let table =
            TableOptions { metadata_names: MetadataNames::Versioned, ..TableOptions::default() };
        let options =
            SampleOptions { files: 2, rows_per_file: 20, table, ..SampleOptions::default() };
        let s3 = S3Server::start(S3Options::default()).await.unwrap();
        for sample in [Sample::Partitioned, Sample::DeletionVectors] {
            let name = format!("{sample:?}");
            let place = Place::in_bucket(s3.bucket(BUCKET).unwrap(), BUCKET, &name).unwrap();
            sample.write(place, &options).await.unwrap();
        }
        let of_kind =
            |(_, key): &(&str, &str)| S3Fault { key: (*key).to_owned(), ..S3Fault::default() };
        s3.set_faults(KINDS.iter().map(of_kind).collect()).unwrap();
        let store = s3.bucket(BUCKET).unwrap();
        let keys = s3.keys(BUCKET);
        for key in &keys {
            let before = s3.fault_hits();
            store.get(&Path::parse(key).unwrap()).await.unwrap();
            let hits: u64 = s3.fault_hits().iter().zip(&before).map(|(now, then)| now - then).sum();
            assert_eq!(hits, 1, "{key}");
        }
        assert!(s3.fault_hits().iter().all(|hits| *hits > 0), "{:?}", s3.fault_hits());
    }
}
