//! A Milvus client with just the calls that the demo shows.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use pandion_proto::common::{
    ConsistencyLevel, KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue, Status,
};
use pandion_proto::milvus::milvus_service_client::MilvusServiceClient;
use pandion_proto::milvus::{
    CreateCollectionRequest, CreateIndexRequest, GetCollectionStatisticsRequest,
    GetRefreshExternalCollectionProgressRequest, LoadCollectionRequest, QueryRequest,
    RefreshExternalCollectionJobInfo, RefreshExternalCollectionRequest, SearchRequest,
};
use pandion_proto::schema::{
    CollectionSchema, DataType, FieldData, FieldSchema, field_data, scalar_field,
};
use prost::Message as _;
use tonic::transport::{Channel, Endpoint};

const OUTPUT: [&str; 4] = ["__virtual_pk__", "product_id", "title", "price"];

pub(super) struct Client {
    milvus: MilvusServiceClient<Channel>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        let channel = Endpoint::new(format!("http://{address}"))?
            .connect()
            .await
            .context("connecting to the server")?;
        Ok(Self { milvus: MilvusServiceClient::new(channel) })
    }

    pub(super) async fn create(&mut self, name: &str, source: &str, dim: usize) -> Result<()> {
        let field = |name: &str, data_type: DataType, params: &[(&str, String)]| FieldSchema {
            name: name.to_owned(),
            data_type: data_type.into(),
            type_params: pairs(params),
            external_field: name.to_owned(),
            ..FieldSchema::default()
        };
        let schema = CollectionSchema {
            name: name.to_owned(),
            fields: vec![
                field("product_id", DataType::Int64, &[]),
                field("title", DataType::VarChar, &[("max_length", "64".to_owned())]),
                field("price", DataType::Double, &[]),
                field("embedding", DataType::FloatVector, &[("dim", dim.to_string())]),
            ],
            external_source: source.to_owned(),
            external_spec: r#"{"format":"parquet"}"#.to_owned(),
            ..CollectionSchema::default()
        };
        let request = CreateCollectionRequest {
            collection_name: name.to_owned(),
            schema: schema.encode_to_vec().into(),
            ..CreateCollectionRequest::default()
        };
        check(Some(self.milvus.create_collection(request).await?.into_inner()))
    }

    pub(super) async fn create_index(&mut self, name: &str, field: &str) -> Result<()> {
        let request = CreateIndexRequest {
            collection_name: name.to_owned(),
            field_name: field.to_owned(),
            extra_params: pairs(&[
                ("index_type", "AUTOINDEX".to_owned()),
                ("metric_type", "L2".to_owned()),
            ]),
            ..CreateIndexRequest::default()
        };
        check(Some(self.milvus.create_index(request).await?.into_inner()))
    }

    pub(super) async fn refresh(&mut self, name: &str) -> Result<i64> {
        let request = RefreshExternalCollectionRequest {
            collection_name: name.to_owned(),
            ..RefreshExternalCollectionRequest::default()
        };
        let response = self.milvus.refresh_external_collection(request).await?.into_inner();
        check(response.status)?;
        Ok(response.job_id)
    }

    pub(super) async fn progress(&mut self, job: i64) -> Result<RefreshExternalCollectionJobInfo> {
        Ok(self.job(job).await?.0)
    }

    /// What a finished job did and read, as the status of its description says it.
    pub(super) async fn receipt(&mut self, job: i64) -> Result<String> {
        let (_, status) = self.job(job).await?;
        let info = |key: &str| status.extra_info.get(key).cloned().unwrap_or_default();
        Ok(format!(
            "{} files added, {} changed, {} removed, {} kept; {} listings, {} reads, {} bytes",
            info("files_added"),
            info("files_changed"),
            info("files_removed"),
            info("files_kept"),
            info("list_requests"),
            info("read_requests"),
            info("bytes_read"),
        ))
    }

    async fn job(&mut self, job: i64) -> Result<(RefreshExternalCollectionJobInfo, Status)> {
        let request = GetRefreshExternalCollectionProgressRequest { job_id: job };
        let response =
            self.milvus.get_refresh_external_collection_progress(request).await?.into_inner();
        check(response.status.clone())?;
        Ok((response.job_info.unwrap_or_default(), response.status.unwrap_or_default()))
    }

    pub(super) async fn load(&mut self, name: &str) -> Result<()> {
        let request = LoadCollectionRequest {
            collection_name: name.to_owned(),
            ..LoadCollectionRequest::default()
        };
        check(Some(self.milvus.load_collection(request).await?.into_inner()))
    }

    pub(super) async fn row_count(&mut self, name: &str) -> Result<String> {
        let request = GetCollectionStatisticsRequest {
            collection_name: name.to_owned(),
            ..GetCollectionStatisticsRequest::default()
        };
        let response = self.milvus.get_collection_statistics(request).await?.into_inner();
        check(response.status)?;
        let count = response.stats.into_iter().find(|pair| pair.key == "row_count");
        Ok(count.map(|pair| pair.value).unwrap_or_default())
    }

    /// The three nearest rows, a line each.
    pub(super) async fn search(
        &mut self,
        name: &str,
        vector: &[f32],
        filter: &str,
    ) -> Result<Vec<String>> {
        let group = PlaceholderGroup {
            placeholders: vec![PlaceholderValue {
                tag: "$0".to_owned(),
                r#type: PlaceholderType::FloatVector.into(),
                values: vec![vector.iter().flat_map(|value| value.to_le_bytes()).collect()],
                ..PlaceholderValue::default()
            }],
        };
        let request = SearchRequest {
            collection_name: name.to_owned(),
            dsl: filter.to_owned(),
            dsl_type: 1,
            nq: 1,
            output_fields: OUTPUT.map(str::to_owned).to_vec(),
            search_params: pairs(&[
                ("anns_field", "embedding".to_owned()),
                ("topk", "3".to_owned()),
            ]),
            consistency_level: ConsistencyLevel::Bounded.into(),
            search_input: Some(
                pandion_proto::milvus::search_request::SearchInput::PlaceholderGroup(
                    group.encode_to_vec().into(),
                ),
            ),
            ..SearchRequest::default()
        };
        let response = self.milvus.search(request).await?.into_inner();
        check(response.status)?;
        let results = response.results.unwrap_or_default();
        let rows = lines(&results.fields_data);
        let hits = rows.into_iter().zip(results.scores);
        Ok(hits.map(|(row, score)| format!("distance {score:<8.4} {row}")).collect())
    }

    /// Up to five matching rows, a line each.
    pub(super) async fn query(&mut self, name: &str, filter: &str) -> Result<Vec<String>> {
        let request = QueryRequest {
            collection_name: name.to_owned(),
            expr: filter.to_owned(),
            output_fields: OUTPUT.map(str::to_owned).to_vec(),
            query_params: pairs(&[("limit", "5".to_owned())]),
            ..QueryRequest::default()
        };
        let response = self.milvus.query(request).await?.into_inner();
        check(response.status)?;
        Ok(lines(&response.fields_data))
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
    anyhow::ensure!(status.code == 0, "{} (code {})", status.reason, status.code);
    Ok(())
}

/// The rows of an answer as `name=value` texts.
fn lines(columns: &[FieldData]) -> Vec<String> {
    let columns: Vec<Vec<String>> = columns.iter().map(cells).collect();
    let rows = columns.first().map_or(0, Vec::len);
    (0..rows)
        .map(|row| {
            let cells: Vec<&str> =
                columns.iter().filter_map(|column| column.get(row)).map(String::as_str).collect();
            cells.join("  ")
        })
        .collect()
}

fn cells(column: &FieldData) -> Vec<String> {
    let show = |value: &dyn std::fmt::Display| format!("{}={value}", column.field_name);
    let Some(field_data::Field::Scalars(scalars)) = &column.field else { return Vec::new() };
    match &scalars.data {
        Some(scalar_field::Data::LongData(values)) => {
            values.data.iter().map(|value| show(value)).collect()
        }
        Some(scalar_field::Data::DoubleData(values)) => {
            values.data.iter().map(|value| show(value)).collect()
        }
        Some(scalar_field::Data::StringData(values)) => {
            values.data.iter().map(|value| show(value)).collect()
        }
        _ => Vec::new(),
    }
}
