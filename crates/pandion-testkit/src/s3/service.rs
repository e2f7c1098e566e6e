//! The S3 operations over the [`Store`], and who may ask for them. Versions, ACLs, tags and the
//! like are not built: asking for them gives `NotImplemented`, never a wrong answer.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use hyper::{HeaderMap, Uri};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CommonPrefix,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput,
    CopyObjectResult, CopySource, CreateBucketInput, CreateBucketOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition,
    GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput, GetObjectOutput,
    HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
    ListBucketsOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput,
    StreamingBlob, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::host::{S3Host, VirtualHost};
use s3s::path::S3Path;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};

use super::identities::{Denial, Identities};
use super::stats::Counters;
use super::store::{ListQuery, Object, Precondition, Refusal, Store};
use crate::convert::{to_i32, to_i64, to_u64, to_usize};

/// What S3 lists in one page at most.
const LIST_KEYS_MAX: i32 = 1000;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) counters: Counters,
    pub(crate) faults: super::faults::Faults,
    /// Who may sign requests, and for what.
    pub(crate) identities: Identities,
    /// The token that must come with the owner's keys; with `None`, none may come.
    pub(crate) session_token: Option<String>,
    pub(crate) region: String,
    pub(crate) domain: String,
}

/// The implementation that `s3s` calls.
#[derive(Clone, Debug)]
pub(crate) struct Service(pub(crate) Arc<Shared>);

/// The bucket that a `Host` header names below `domain`.
pub(crate) fn bucket_of_host<'a>(domain: &str, host: &'a str) -> Option<&'a str> {
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    name.strip_suffix(domain)?.strip_suffix('.')
}

/// Tells the two styles of addressing apart.
#[derive(Debug)]
pub(crate) struct Domain(pub(crate) String);

impl S3Host for Domain {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let virtual_host = VirtualHost::new(self.0.as_str());
        Ok(match bucket_of_host(&self.0, host) {
            Some(bucket) => virtual_host.with_bucket(bucket),
            None => virtual_host,
        })
    }
}

#[async_trait::async_trait]
impl S3Auth for Service {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let bearer = self.0.identities.bearer(access_key);
        let bearer = bearer.ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        Ok(SecretKey::from(bearer.secret))
    }
}

#[async_trait::async_trait]
impl S3Access for Service {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = context.credentials() else {
            return Err(s3_error!(AccessDenied, "anonymous requests are refused"));
        };
        let bearer = self.0.identities.bearer(&credentials.access_key);
        let bearer = bearer.ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        if !is_scoped(context.headers(), context.uri(), &self.0.region, "s3") {
            return Err(s3_error!(
                AuthorizationHeaderMalformed,
                "the scope must be that of s3 in {}",
                self.0.region
            ));
        }
        let token = token_of(context.headers(), context.uri());
        bearer.check(token.as_deref()).map_err(|denial| match denial {
            Denial::Expired => s3_error!(ExpiredToken, "the session has expired"),
            Denial::UnknownKey => s3_error!(InvalidAccessKeyId, "the key needs its session token"),
            Denial::WrongToken => {
                s3_error!(InvalidToken, "the security token is not the expected one")
            }
        })?;
        let resource = match context.s3_path() {
            S3Path::Root => "arn:aws:s3:::".to_owned(),
            S3Path::Bucket { bucket } => format!("arn:aws:s3:::{bucket}"),
            S3Path::Object { bucket, key } => format!("arn:aws:s3:::{bucket}/{key}"),
        };
        let action = permission(context.s3_op().name());
        let prefix = parameter(context.uri(), "prefix").unwrap_or_default();
        if bearer.may(&action, &resource, &[("s3:prefix", &prefix)]) {
            return Ok(());
        }
        Err(s3_error!(AccessDenied, "{} may not do {action}", bearer.principal))
    }
}

/// The permission that an operation needs.
fn permission(operation: &str) -> String {
    let action = match operation {
        "HeadObject" => "GetObject",
        "ListObjects" | "ListObjectsV2" | "HeadBucket" => "ListBucket",
        "ListBuckets" => "ListAllMyBuckets",
        "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" | "CopyObject" => {
            "PutObject"
        }
        "DeleteObjects" => "DeleteObject",
        named => named,
    };
    format!("s3:{action}")
}

/// Whether a signature is scoped to the region and service.
pub(crate) fn is_scoped(headers: &HeaderMap, uri: &Uri, region: &str, service: &str) -> bool {
    let scope = header(headers, "authorization")
        .and_then(|text| text.split_once("Credential="))
        .map(|(_, scope)| scope.to_owned())
        .or_else(|| parameter(uri, "X-Amz-Credential"))
        .unwrap_or_default();
    let expected = format!("/{region}/{service}/aws4_request");
    scope.split(',').next().is_some_and(|scope| scope.ends_with(&expected))
}

/// The session token of a request.
pub(crate) fn token_of(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    header(headers, "x-amz-security-token")
        .map(str::to_owned)
        .or_else(|| parameter(uri, "X-Amz-Security-Token"))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|text| text.to_str().ok())
}

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let text = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned())
}

fn refuse(refusal: Refusal) -> s3s::S3Error {
    match refusal {
        Refusal::NoSuchBucket => s3_error!(NoSuchBucket),
        Refusal::NoSuchKey => s3_error!(NoSuchKey),
        Refusal::NoSuchUpload => s3_error!(NoSuchUpload),
        Refusal::PreconditionFailed => s3_error!(PreconditionFailed),
    }
}

fn respond<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

fn strong(etag: &str) -> Option<ETag> {
    Some(ETag::Strong(etag.to_owned()))
}

fn write_precondition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<Precondition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Precondition::None),
        (None, Some(ETagCondition::Any)) => Ok(Precondition::Absent),
        (Some(ETagCondition::Any), None) => Ok(Precondition::Present),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Precondition::ETag(etag.into_value())),
        (_, Some(_)) => Err(s3_error!(NotImplemented, "If-None-Match of a write must be *")),
    }
}

/// Errors with 412 or 304 when a read's conditions do not hold.
fn check_read(
    object: &Object,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    times: [Option<&Timestamp>; 2],
) -> S3Result<()> {
    if times.iter().any(Option::is_some) {
        return Err(s3_error!(NotImplemented, "conditions on the time of modification"));
    }
    let matches = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.as_strong() == Some(object.etag.as_str()),
    };
    if if_match.is_some_and(|condition| !matches(condition)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(matches) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let chunks: Vec<Bytes> = body
        .try_collect()
        .await
        .map_err(|error| s3_error!(InvalidRequest, "the body broke off: {error}"))?;
    Ok(match <[Bytes; 1]>::try_from(chunks) {
        Ok([whole]) => whole,
        Err(chunks) => chunks.concat().into(),
    })
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        if !self.0.store.create_bucket(&request.input.bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        respond(CreateBucketOutput::default())
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        if !self.0.store.has_bucket(&request.input.bucket) {
            return Err(s3_error!(NoSuchBucket));
        }
        respond(HeadBucketOutput {
            bucket_region: Some(self.0.region.clone()),
            ..HeadBucketOutput::default()
        })
    }

    async fn get_bucket_location(
        &self,
        _request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        // No location constraint is how S3 names us-east-1.
        respond(GetBucketLocationOutput::default())
    }

    async fn list_buckets(
        &self,
        _request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let names = self.0.store.bucket_names().into_iter();
        let bucket = |name| s3s::dto::Bucket { name: Some(name), ..Default::default() };
        respond(ListBucketsOutput {
            buckets: Some(names.map(bucket).collect()),
            ..ListBucketsOutput::default()
        })
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        if input.version_id.is_some() {
            return Err(s3_error!(NotImplemented, "versions"));
        }
        let object = self.0.store.get(&input.bucket, &input.key).map_err(refuse)?;
        let times = [input.if_modified_since.as_ref(), input.if_unmodified_since.as_ref()];
        check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref(), times)?;
        let size = to_u64(object.data.len());
        let (data, content_range) = match input.range {
            None => (object.data.clone(), None),
            Some(range) => {
                let range = range.check(size)?;
                let text = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
                (object.data.slice(to_usize(range.start)..to_usize(range.end)), Some(text))
            }
        };
        respond(GetObjectOutput {
            content_length: Some(to_i64(data.len())),
            content_range,
            accept_ranges: Some("bytes".to_owned()),
            e_tag: strong(&object.etag),
            last_modified: Some(object.modified.into()),
            metadata: object.metadata.clone(),
            body: Some(StreamingBlob::from(Body::from(data))),
            ..GetObjectOutput::default()
        })
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        if input.version_id.is_some() {
            return Err(s3_error!(NotImplemented, "versions"));
        }
        let object = self.0.store.get(&input.bucket, &input.key).map_err(refuse)?;
        let times = [input.if_modified_since.as_ref(), input.if_unmodified_since.as_ref()];
        check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref(), times)?;
        respond(HeadObjectOutput {
            content_length: Some(to_i64(object.data.len())),
            accept_ranges: Some("bytes".to_owned()),
            e_tag: strong(&object.etag),
            last_modified: Some(object.modified.into()),
            metadata: object.metadata.clone(),
            ..HeadObjectOutput::default()
        })
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let precondition = write_precondition(input.if_match, input.if_none_match.as_ref())?;
        let data = collect(input.body).await?;
        self.0.counters.count_written(to_u64(data.len()));
        let object = Object::new(data, input.metadata);
        let e_tag = strong(&object.etag);
        self.0.store.put(&input.bucket, &input.key, object, &precondition).map_err(refuse)?;
        respond(PutObjectOutput { e_tag, ..PutObjectOutput::default() })
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let CopySource::Bucket { bucket, key, .. } = input.copy_source else {
            return Err(s3_error!(NotImplemented, "copies from access points"));
        };
        let source = self.0.store.get(&bucket, &key).map_err(refuse)?;
        let copy = Object::new(source.data.clone(), source.metadata.clone());
        let result = CopyObjectResult {
            e_tag: strong(&copy.etag),
            last_modified: Some(copy.modified.into()),
            ..CopyObjectResult::default()
        };
        let precondition = Precondition::None;
        self.0.store.put(&input.bucket, &input.key, copy, &precondition).map_err(refuse)?;
        respond(CopyObjectOutput {
            copy_object_result: Some(result),
            ..CopyObjectOutput::default()
        })
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        // S3 does not say whether there was an object.
        self.0.store.delete(&request.input.bucket, &request.input.key).map_err(refuse)?;
        respond(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut deleted = Vec::new();
        for object in request.input.delete.objects {
            self.0.store.delete(&request.input.bucket, &object.key).map_err(refuse)?;
            deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        }
        respond(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() })
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let after = input.continuation_token.as_ref().or(input.start_after.as_ref());
        let max_keys = input.max_keys.unwrap_or(LIST_KEYS_MAX).clamp(0, LIST_KEYS_MAX);
        let query = ListQuery {
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
            after: after.map(String::as_str).unwrap_or_default(),
            keys_max: usize::try_from(max_keys).unwrap_or_default(),
        };
        let page = self.0.store.list(&input.bucket, &query).map_err(refuse)?;
        let key_count = to_i32(page.objects.len() + page.prefixes.len());
        let object = |(key, object): (String, Arc<Object>)| s3s::dto::Object {
            key: Some(key),
            size: Some(to_i64(object.data.len())),
            e_tag: strong(&object.etag),
            last_modified: Some(object.modified.into()),
            ..Default::default()
        };
        let prefix = |prefix| CommonPrefix { prefix: Some(prefix) };
        respond(ListObjectsV2Output {
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            contents: Some(page.objects.into_iter().map(object).collect()),
            common_prefixes: Some(page.prefixes.into_iter().map(prefix).collect()),
            key_count: Some(key_count),
            max_keys: Some(max_keys),
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            ..ListObjectsV2Output::default()
        })
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        if !self.0.store.has_bucket(&request.input.bucket) {
            return Err(s3_error!(NoSuchBucket));
        }
        respond(CreateMultipartUploadOutput {
            upload_id: Some(self.0.store.begin_upload()),
            bucket: Some(request.input.bucket),
            key: Some(request.input.key),
            ..CreateMultipartUploadOutput::default()
        })
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let data = collect(input.body).await?;
        self.0.counters.count_written(to_u64(data.len()));
        let part = self.0.store.put_part(&input.upload_id, input.part_number, data);
        let e_tag = strong(&part.map_err(refuse)?);
        respond(UploadPartOutput { e_tag, ..UploadPartOutput::default() })
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let precondition = write_precondition(input.if_match, input.if_none_match.as_ref())?;
        let store = &self.0.store;
        let etag = store
            .complete_upload(&input.bucket, &input.key, &input.upload_id, &precondition)
            .map_err(refuse)?;
        respond(CompleteMultipartUploadOutput {
            e_tag: strong(&etag),
            bucket: Some(input.bucket),
            key: Some(input.key),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.0.store.abort_upload(&request.input.upload_id);
        respond(AbortMultipartUploadOutput::default())
    }
}
