"""Refusals: which, with which code, and with the words that clients look for."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType, MilvusException

import helpers
from helpers import ACCESS_KEY, CALL_TIMEOUT_S, PK, SECRET_KEY

VECTOR = (DataType.FLOAT_VECTOR, {"dim": 8})


def refused(client, name, schema, **options):
    """The error with which a collection must be refused; none of it may stay behind."""
    error = helpers.error_of(client.create_collection, name, schema=schema, **options)
    assert not client.has_collection(name)
    return error


# --- schemas --------------------------------------------------------------------------------------

SCHEMAS = {
    "user primary key": (
        {"id": (DataType.INT64, {"is_primary": True}), "embedding": VECTOR},
        {},
        "primary key field",
    ),
    "dynamic field": (
        {"embedding": VECTOR},
        {"enable_dynamic_field": True},
        "does not support dynamic field",
    ),
    "partition key": (
        {"id": (DataType.INT64, {"is_partition_key": True}), "embedding": VECTOR},
        {},
        "does not support partition key",
    ),
    "clustering key": (
        {"id": (DataType.INT64, {"is_clustering_key": True}), "embedding": VECTOR},
        {},
        "does not support clustering key",
    ),
    "no mapping": (
        {"id": (DataType.INT64, {"external_field": ""}), "embedding": VECTOR},
        {},
        "must have external_field mapping",
    ),
    "mapped twice": (
        {
            "one": (DataType.INT64, {"external_field": "x"}),
            "two": (DataType.INT64, {"external_field": "x"}),
            "embedding": VECTOR,
        },
        {},
        "mapped by multiple fields",
    ),
    "sparse vector": (
        {"embedding": VECTOR, "sparse": (DataType.SPARSE_FLOAT_VECTOR, {})},
        {},
        "SparseFloatVector",
    ),
    "no vector": ({"id": DataType.INT64}, {}, "schema does not contain vector field"),
    "reserved name": (
        {PK: (DataType.INT64, {"external_field": "x"}), "embedding": VECTOR},
        {},
        PK,
    ),
    "dimension too large": (
        {"embedding": (DataType.FLOAT_VECTOR, {"dim": 32769})},
        {},
        "32768",
    ),
    "binary dimension": (
        {"embedding": (DataType.BINARY_VECTOR, {"dim": 12})},
        {},
        "8",
    ),
}


@pytest.mark.parametrize(("fields", "arguments", "text"), SCHEMAS.values(), ids=SCHEMAS)
def test_schema(client, name, lake, fields, arguments, text):
    schema = helpers.external_schema(lake.source, lake.spec, fields, **arguments)
    error = refused(client, name, schema)
    assert error.code == 1100
    assert text in error.message


def test_several_shards(client, name, lake):
    schema = helpers.external_schema(lake.source, lake.spec, helpers.ROW_FIELDS)
    error = refused(client, name, schema, num_shards=2)
    assert error.code == 1100
    assert "multiple shards" in error.message


@pytest.mark.parametrize("bad", ["1abc", "a-b", "a b", "", "x" * 256])
def test_name(client, lake, bad):
    schema = helpers.external_schema(lake.source, lake.spec, helpers.ROW_FIELDS)
    with pytest.raises(MilvusException):
        client.create_collection(bad, schema=schema, timeout=CALL_TIMEOUT_S)


def test_a_name_that_is_taken(client, name, lake):
    helpers.create(client, name, lake, indexes={})
    schema = helpers.external_schema(lake.source, lake.spec, {"embedding": VECTOR})
    error = helpers.error_of(client.create_collection, name, schema=schema)
    assert name in error.message
    assert len(client.describe_collection(name)["fields"]) == 3


# --- sources and specifications -------------------------------------------------------------------

GOOD = {
    "access_key_id": ACCESS_KEY,
    "access_key_value": SECRET_KEY,
    "region": "us-east-1",
    "cloud_provider": "minio",
    "use_ssl": "false",
}


def spec(**changes):
    extfs = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    return {"format": "parquet", "extfs": extfs}


SOURCES = {
    "no scheme": ("bucket/prefix/", spec(), "explicit scheme"),
    "http": ("http://{host}/lake/x/", spec(), "scheme"),
    "ftp": ("ftp://{host}/lake/x/", spec(), "scheme"),
    "credentials": ("s3://user:word@{host}/lake/x/", spec(), "must not embed credentials"),
    "no host": ("s3:///lake/x/", spec(), "non-empty host"),
    "format": ("s3://{host}/lake/x/", {**spec(), "format": "csv"}, "unsupported format"),
    "key": ("s3://{host}/lake/x/", spec(address="x"), "is not allowed"),
    "boolean": ("s3://{host}/lake/x/", spec(use_ssl="yes"), 'must be "true" or "false"'),
    "provider": ("s3://{host}/lake/x/", spec(cloud_provider="acme"), "is not supported"),
    "provider missing": (
        "s3://{host}/lake/x/",
        spec(cloud_provider=None),
        "cloud_provider is required",
    ),
    "provider case": ("s3://{host}/lake/x/", spec(cloud_provider="MinIO"), "canonical lowercase"),
    "half a key": (
        "s3://{host}/lake/x/",
        spec(access_key_value=None),
        "must be set together",
    ),
    "no mode": (
        "s3://{host}/lake/x/",
        spec(access_key_id=None, access_key_value=None),
        "credential mode missing",
    ),
    "two modes": ("s3://{host}/lake/x/", spec(anonymous="true"), "mutually exclusive"),
    "no region": ("s3://{host}/lake/x/", spec(region=None), "region is required"),
}


@pytest.mark.parametrize(("source", "specification", "text"), SOURCES.values(), ids=SOURCES)
def test_source(client, name, s3, source, specification, text):
    source = source.format(host=s3.host)
    schema = helpers.external_schema(source, json.dumps(specification), helpers.ROW_FIELDS)
    error = refused(client, name, schema)
    assert error.code in (1100, 1101)
    assert text in error.message
    assert SECRET_KEY not in error.message and "word" not in error.message


@pytest.mark.parametrize("text", ["{", "[]", '{"extfs": 7}', '{"extfs": {"region": 7}}'])
def test_specification_is_no_json(client, name, lake, text):
    error = refused(client, name, helpers.external_schema(lake.source, text, helpers.ROW_FIELDS))
    assert error.code == 1100


def test_source_without_specification(client, name, lake):
    schema = helpers.external_schema(lake.source, "", helpers.ROW_FIELDS)
    assert "both" in refused(client, name, schema).message


def test_the_same_rules_hold_for_a_refresh(client, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    helpers.make(client, name, lake)
    for source, specification, text in SOURCES.values():
        error = helpers.error_of(
            client.refresh_external_collection,
            name,
            external_source=source.format(host=lake.server.host),
            external_spec=json.dumps(specification),
        )
        assert error.code in (1100, 1101)
        assert text in error.message
    for half in ({"external_source": lake.source}, {"external_spec": lake.spec}):
        error = helpers.error_of(client.refresh_external_collection, name, **half)
        assert error.code == 1100
        assert "both provided or both omitted" in error.message
    assert len(client.list_refresh_external_collection_jobs(name)) == 1


# --- refreshes that fail --------------------------------------------------------------------------


def column_reason(client, name, lake, column, data_type, options=None):
    """The reason with which a refresh fails over a column of a wrong kind."""
    lake.put("fine.parquet", helpers.rows_table(0, 10, x=pa.array([None] * 10, pa.int64())))
    lake.put("a.parquet", helpers.rows_table(10, 10, x=column))
    fields = {
        **helpers.ROW_FIELDS,
        "mapped": (data_type, {"external_field": "x", **(options or {})}),
    }
    helpers.create(client, name, lake, fields, indexes={})
    return helpers.failed_refresh(client, name)


def test_missing_column(client, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    fields = {
        **helpers.ROW_FIELDS,
        "mapped": (DataType.INT64, {"external_field": "no_such_column"}),
    }
    helpers.create(client, name, lake, fields, indexes={})
    reason = helpers.failed_refresh(client, name)
    for word in ("no_such_column", "not found", "external_field mappings"):
        assert word in reason
    assert client.get_collection_stats(name)["row_count"] == 0


def test_a_column_missing_in_one_file_of_many(client, name, lake):
    for number in range(5):
        lake.put(f"{number}.parquet", helpers.rows_table(number, 1, x=pa.array([1])))
    lake.put("5.parquet", helpers.rows_table(5, 1))
    fields = {**helpers.ROW_FIELDS, "x": DataType.INT64}
    helpers.create(client, name, lake, fields, indexes={})
    reason = helpers.failed_refresh(client, name)
    assert "5.parquet" in reason and "'x'" in reason.replace('"', "'").replace("`", "'")


@pytest.mark.parametrize(
    ("arrow_type", "data_type"),
    [
        (pa.int32(), DataType.INT64),
        (pa.float64(), DataType.FLOAT),
        (pa.string(), DataType.BOOL),
        (pa.int64(), DataType.VARCHAR),
        (pa.bool_(), DataType.INT8),
    ],
    ids=str,
)
def test_type_mismatch(client, name, lake, arrow_type, data_type):
    column = pa.array([None] * 10, arrow_type)
    reason = column_reason(client, name, lake, column, data_type)
    assert "field type mismatch" in reason
    assert "mapped" in reason and "a.parquet" in reason


@pytest.mark.parametrize(
    "column",
    [
        helpers.fixed_size_lists(helpers.vectors(10, 4, 1)),
        pa.array(list(helpers.vectors(10, 4, 1)), pa.list_(pa.float32())),
        pa.array([row.tobytes() for row in helpers.vectors(10, 4, 1)], pa.binary()),
        pa.array([row.tobytes() for row in helpers.vectors(10, 4, 1)], pa.binary(16)),
        pa.array(np.arange(80, dtype=np.float64).reshape(10, 8).tolist(), pa.list_(pa.float64())),
        pa.array([[1.0, None] * 4] * 10, pa.list_(pa.float32())),
        pa.array([[1.0, np.nan] * 4] * 10, pa.list_(pa.float32())),
    ],
    ids=["fixed", "list", "binary", "fixed binary", "element", "null inside", "not finite"],
)
def test_vector_mismatch(client, name, lake, column):
    lake.put("a.parquet", helpers.rows_table(10, 10, x=column))
    fields = {
        **helpers.ROW_FIELDS,
        "mapped": (DataType.FLOAT_VECTOR, {"dim": 8, "external_field": "x"}),
    }
    helpers.create(client, name, lake, fields, indexes={})
    reason = helpers.failed_refresh(client, name)
    assert "mapped" in reason and "a.parquet" in reason


def test_missing_bucket(client, name, lake):
    lake.source = lake.source.replace("/lake/", "/no-such-bucket/")
    helpers.create(client, name, lake, indexes={})
    reason = helpers.failed_refresh(client, name)
    assert "bucket" in reason and "no-such-bucket" in reason


def test_empty_prefix(client, name, lake):
    helpers.create(client, name, lake, indexes={})
    assert "no files found" in helpers.failed_refresh(client, name)


def test_wrong_secret(client, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    wrong = "wrong-canary-5e1f"
    schema = helpers.external_schema(
        lake.source, lake.spec_with(access_key_value=wrong), helpers.ROW_FIELDS
    )
    client.create_collection(name, schema=schema, timeout=CALL_TIMEOUT_S)
    reason = helpers.failed_refresh(client, name)
    assert lake.server.bucket in reason
    assert wrong not in reason
    helpers.refresh(client, name, external_source=lake.source, external_spec=lake.spec)


# --- things that are not there --------------------------------------------------------------------


def test_unknown_collection(client):
    data = helpers.vectors(1, 8, 1)
    for call, arguments in [
        (client.describe_collection, {}),
        (client.query, {"filter": "id > 0"}),
        (client.search, {"data": data, "anns_field": "embedding"}),
        (client.load_collection, {}),
        (client.get_collection_stats, {}),
        (client.refresh_external_collection, {}),
    ]:
        error = helpers.error_of(call, "no_such_collection", **arguments)
        assert error.code == 100, call
        assert "no_such_collection" in error.message
    client.drop_collection("no_such_collection")


def test_unknown_job(client):
    error = helpers.error_of(client.get_refresh_external_collection_progress, 987654321)
    assert "987654321" in error.message and "not found" in error.message


def test_unknown_database(server):
    with pytest.raises(MilvusException, match="no_such_database") as caught:
        server.client(db_name="no_such_database").list_collections()
    assert caught.value.code == 800


def test_unknown_index(client, name, lake):
    helpers.create(client, name, lake, indexes={})
    assert client.list_indexes(name) == []
    with pytest.raises(MilvusException, match="none_such"):
        helpers.create_indexes(client, name, {"none_such": "L2"})
    for field, metric in (("embedding", "HAMMING"), ("embedding", "NONE_SUCH")):
        with pytest.raises(MilvusException, match=metric):
            helpers.create_indexes(client, name, {field: metric})


# --- operations that do not fit a collection of foreign files -------------------------------------


@pytest.fixture(scope="module")
def made(client, module_name, s3):
    lake = helpers.S3Lake(s3, module_name)
    lake.put("a.parquet", helpers.rows_table(0, 10))
    helpers.make(client, module_name, lake)
    return module_name


ROW = {"id": 1, "embedding": [0.0] * 8}
BLOCKED = {
    "insert": (lambda client: client.insert, {"data": [ROW]}),
    "upsert": (lambda client: client.upsert, {"data": [{PK: 1, **ROW}]}),
    "delete": (lambda client: client.delete, {"filter": "id > 0"}),
    "flush": (lambda client: client.flush, {}),
    "create partition": (lambda client: client.create_partition, {"partition_name": "p"}),
    "drop partition": (lambda client: client.drop_partition, {"partition_name": "p"}),
    "alter field": (
        lambda client: client.alter_collection_field,
        {"field_name": "id", "field_params": {"max_length": 5}},
    ),
}


@pytest.mark.parametrize("operation", BLOCKED)
def test_blocked_operation(client, made, operation):
    call, arguments = BLOCKED[operation]
    error = helpers.error_of(call(client), made, **arguments)
    assert error.code == 1100
    text = f"{operation} operation is not supported for external collection {made}"
    assert text in error.message
    assert helpers.count(client, made) == 10


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda client: client.compact, "compaction is not supported for external collection"),
        (lambda client: client.truncate_collection, "not supported on external collections"),
    ],
    ids=["compact", "truncate"],
)
def test_blocked_maintenance(client, made, call, text):
    error = helpers.error_of(call(client), made)
    assert error.code == 1100
    assert text in error.message


def test_blocked_changes_of_the_schema(client, made):
    error = helpers.error_of(client.drop_collection_field, made, field_name="id")
    assert error.code == 1100
    assert "alter collection schema operation is not supported for external collection" in (
        error.message
    )


@pytest.mark.parametrize("key", ["collection.external_source", "collection.external_spec"])
def test_source_is_changed_by_a_refresh_only(client, made, key):
    error = helpers.error_of(client.alter_collection_properties, made, properties={key: "x"})
    assert error.code == 1100
    assert "use RefreshExternalCollection instead" in error.message


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.list_resource_groups(timeout=CALL_TIMEOUT_S),
        lambda client: client.create_resource_group("g", timeout=CALL_TIMEOUT_S),
        lambda client: client.run_analyzer("some text", {}, timeout=CALL_TIMEOUT_S),
        lambda client: client.create_privilege_group("g", timeout=CALL_TIMEOUT_S),
        lambda client: client.list_users(timeout=CALL_TIMEOUT_S),
    ],
    ids=["list groups", "create group", "analyzer", "privileges", "users"],
)
def test_what_is_not_built_says_so(client, call):
    with pytest.raises(MilvusException) as caught:
        call(client)
    assert caught.value.code == 10
