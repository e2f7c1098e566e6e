//! A Milvus client with just the calls that are measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use pandion_proto::common::{
    IndexState, KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue, Status,
};
use pandion_proto::milvus::milvus_service_client::MilvusServiceClient;
use pandion_proto::milvus::search_request::SearchInput;
use pandion_proto::milvus::{
    CreateCollectionRequest, CreateIndexRequest, DescribeIndexRequest,
    GetRefreshExternalCollectionProgressRequest, LoadCollectionRequest,
    RefreshExternalCollectionRequest, RefreshExternalCollectionState, SearchRequest,
};
use pandion_proto::schema::{
    CollectionSchema, DataType, FieldData, FieldSchema, SearchResultData, field_data, scalar_field,
};
use pandion_testkit::lake::{ID, VEC};
use prost::Message as _;
use tonic::transport::Channel;

const POLL_INTERVAL: Duration = Duration::from_millis(2);
const REFRESH_TIMEOUT: Duration = Duration::from_secs(300);
const INDEX_TIMEOUT: Duration = Duration::from_secs(900);

/// A row that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    /// The value of the lake's id column.
    pub(crate) id: i64,
    /// As the metric defines it.
    pub(crate) distance: f64,
}

/// What a refresh says of itself, by the names that its receipt has.
#[derive(Clone, Debug)]
pub(crate) struct Receipt(pub(crate) BTreeMap<String, u64>);

impl Receipt {
    pub(crate) fn count(&self, name: &str) -> Result<u64> {
        self.0.get(name).copied().with_context(|| format!("the receipt has no {name}"))
    }
}

#[derive(Debug)]
pub(crate) struct Client {
    milvus: MilvusServiceClient<Channel>,
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let channel = Channel::from_shared(address.to_owned())?
            .connect()
            .await
            .with_context(|| format!("connecting to {address}"))?;
        Ok(Self { milvus: MilvusServiceClient::new(channel) })
    }

    /// Creates a collection over a lake of this dimension, and the index without which Milvus
    /// clients cannot load it.
    pub(crate) async fn create(
        &mut self,
        name: &str,
        source: &str,
        spec: &str,
        dim: usize,
    ) -> Result<()> {
        let fields = vec![
            field(ID, DataType::Int64, &[]),
            field(VEC, DataType::FloatVector, &[("dim", dim.to_string())]),
        ];
        self.create_with(name, source, spec, fields).await
    }

    /// As [`Self::create`], with fields of one's own; the vectors are in [`VEC`].
    pub(crate) async fn create_with(
        &mut self,
        name: &str,
        source: &str,
        spec: &str,
        fields: Vec<FieldSchema>,
    ) -> Result<()> {
        let schema = CollectionSchema {
            name: name.to_owned(),
            fields,
            external_source: source.to_owned(),
            external_spec: spec.to_owned(),
            ..CollectionSchema::default()
        };
        let request = CreateCollectionRequest {
            collection_name: name.to_owned(),
            schema: schema.encode_to_vec().into(),
            ..CreateCollectionRequest::default()
        };
        check(Some(self.milvus.create_collection(request).await?.into_inner()))?;
        self.create_index(name, VEC, VEC, &[("index_type", "FLAT"), ("metric_type", "L2")]).await
    }

    /// Asks for an index with this name; it may be built when this returns or later.
    pub(crate) async fn create_index(
        &mut self,
        collection: &str,
        field: &str,
        name: &str,
        params: &[(&str, &str)],
    ) -> Result<()> {
        let params: Vec<(&str, String)> =
            params.iter().map(|&(key, value)| (key, value.to_owned())).collect();
        let request = CreateIndexRequest {
            collection_name: collection.to_owned(),
            field_name: field.to_owned(),
            index_name: name.to_owned(),
            extra_params: pairs(&params),
            ..CreateIndexRequest::default()
        };
        check(Some(self.milvus.create_index(request).await?.into_inner()))
            .with_context(|| format!("creating the index {name}"))
    }

    /// Waits until every index of a collection is built.
    pub(crate) async fn wait_for_indexes(&mut self, collection: &str) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < INDEX_TIMEOUT {
            let request = DescribeIndexRequest {
                collection_name: collection.to_owned(),
                ..DescribeIndexRequest::default()
            };
            let response = self.milvus.describe_index(request).await?.into_inner();
            check(response.status)?;
            let indexes = response.index_descriptions;
            if let Some(failed) = indexes.iter().find(|index| index.state() == IndexState::Failed) {
                bail!("index {}: {}", failed.index_name, failed.index_state_fail_reason);
            }
            if indexes.iter().all(|index| index.state() == IndexState::Finished) {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        bail!("the indexes of {collection} take more than {} s", INDEX_TIMEOUT.as_secs())
    }

    /// Refreshes and waits until it is done.
    pub(crate) async fn refresh(&mut self, name: &str) -> Result<Receipt> {
        self.refresh_from(name, "", "").await
    }

    /// As [`Self::refresh`], from this source with this specification from now on.
    pub(crate) async fn refresh_from(
        &mut self,
        name: &str,
        source: &str,
        spec: &str,
    ) -> Result<Receipt> {
        let request = RefreshExternalCollectionRequest {
            collection_name: name.to_owned(),
            external_source: source.to_owned(),
            external_spec: spec.to_owned(),
            ..RefreshExternalCollectionRequest::default()
        };
        let response = self.milvus.refresh_external_collection(request).await?.into_inner();
        check(response.status)?;
        let begun = Instant::now();
        while begun.elapsed() < REFRESH_TIMEOUT {
            if let Some(receipt) = self.receipt(response.job_id).await? {
                return Ok(receipt);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        bail!("the refresh of {name} takes more than {} s", REFRESH_TIMEOUT.as_secs())
    }

    /// The receipt of a job, once it is completed.
    async fn receipt(&mut self, job: i64) -> Result<Option<Receipt>> {
        let request = GetRefreshExternalCollectionProgressRequest { job_id: job };
        let response =
            self.milvus.get_refresh_external_collection_progress(request).await?.into_inner();
        check(response.status.clone())?;
        let info = response.job_info.context("a job without information")?;
        match info.state() {
            RefreshExternalCollectionState::RefreshCompleted => {}
            RefreshExternalCollectionState::RefreshFailed => {
                bail!("the refresh failed: {}", info.reason)
            }
            RefreshExternalCollectionState::RefreshPending
            | RefreshExternalCollectionState::RefreshInProgress => return Ok(None),
        }
        let counts = response.status.unwrap_or_default().extra_info;
        let counts = counts.into_iter().map(|(name, count)| Ok((name, count.parse()?)));
        Ok(Some(Receipt(counts.collect::<Result<_>>().context("a receipt of no numbers")?)))
    }

    pub(crate) async fn load(&mut self, name: &str) -> Result<()> {
        let request = LoadCollectionRequest {
            collection_name: name.to_owned(),
            ..LoadCollectionRequest::default()
        };
        check(Some(self.milvus.load_collection(request).await?.into_inner()))
    }

    /// Performs a search as [`search_request`] makes it, and returns what came.
    pub(crate) async fn search(&mut self, request: SearchRequest) -> Result<SearchResultData> {
        let response = self.milvus.search(request).await?.into_inner();
        check(response.status)?;
        response.results.context("an answer without results")
    }
}

/// The `k` nearest rows of each query, with these output fields.
pub(crate) fn search_request(
    name: &str,
    queries: &[Vec<f32>],
    k: usize,
    output: &[&str],
) -> Result<SearchRequest> {
    let bytes =
        |query: &Vec<f32>| query.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let values = queries.iter().map(|query| bytes(query).into()).collect();
    let group = PlaceholderGroup {
        placeholders: vec![PlaceholderValue {
            tag: "$0".to_owned(),
            r#type: PlaceholderType::FloatVector.into(),
            values,
            ..PlaceholderValue::default()
        }],
    };
    Ok(SearchRequest {
        collection_name: name.to_owned(),
        dsl_type: 1,
        nq: i64::try_from(queries.len())?,
        output_fields: output.iter().map(|&name| name.to_owned()).collect(),
        search_params: pairs(&[
            ("anns_field", VEC.to_owned()),
            ("topk", k.to_string()),
            ("metric_type", "L2".to_owned()),
        ]),
        search_input: Some(SearchInput::PlaceholderGroup(group.encode_to_vec().into())),
        ..SearchRequest::default()
    })
}

/// The same search of another snapshot of the collection's table.
pub(crate) fn at_snapshot(mut request: SearchRequest, snapshot: i64) -> SearchRequest {
    request.search_params.extend(pairs(&[("snapshot_id", snapshot.to_string())]));
    request
}

/// The hits of an answer to one query that was asked to bring the lake's ids.
pub(crate) fn found(answer: &SearchResultData) -> Result<Vec<Found>> {
    let ids = ids(&answer.fields_data).context("the answer has no column of ids")?;
    ensure!(ids.len() == answer.scores.len(), "{} ids, {} scores", ids.len(), answer.scores.len());
    let hits = ids.iter().zip(&answer.scores);
    Ok(hits.map(|(&id, &distance)| Found { id, distance: f64::from(distance) }).collect())
}

fn ids(columns: &[FieldData]) -> Option<&[i64]> {
    let column = columns.iter().find(|column| column.field_name == ID)?;
    let Some(field_data::Field::Scalars(scalars)) = &column.field else { return None };
    match &scalars.data {
        Some(scalar_field::Data::LongData(values)) => Some(&values.data),
        _ => None,
    }
}

/// A field of the column with its name.
pub(crate) fn field(name: &str, data_type: DataType, params: &[(&str, String)]) -> FieldSchema {
    FieldSchema {
        name: name.to_owned(),
        data_type: data_type.into(),
        type_params: pairs(params),
        external_field: name.to_owned(),
        ..FieldSchema::default()
    }
}

fn pairs(pairs: &[(&str, String)]) -> Vec<KeyValuePair> {
    pairs
        .iter()
        .map(|(key, value)| KeyValuePair { key: (*key).to_owned(), value: value.clone() })
        .collect()
}

fn check(status: Option<Status>) -> Result<()> {
    let status = status.context("the answer has no status")?;
    ensure!(status.code == 0, "{} (code {})", status.reason, status.code);
    Ok(())
}
