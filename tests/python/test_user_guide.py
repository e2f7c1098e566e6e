"""The flow of Milvus's page "Create external collection", from an empty server to a dropped
collection, over every kind of source."""

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType

import helpers
from helpers import CALL_TIMEOUT_S, PK

DIM = 16
ROWS = 300
FIELDS = {
    "product_id": (DataType.INT64, {}),
    "product_name": (DataType.VARCHAR, {"max_length": 512, "external_field": "name"}),
    "price": (DataType.DOUBLE, {}),
    "id": (DataType.INT64, {"external_field": "product_id_copy"}),
    "embedding": (DataType.FLOAT_VECTOR, {"dim": DIM}),
}
BASE = helpers.vectors(ROWS, DIM, seed=1)
PRICES = np.round(np.random.default_rng(2).uniform(1, 100, ROWS), 2)


def fill(lake):
    """Three files of one hundred products."""
    for first in range(0, ROWS, 100):
        part = slice(first, first + 100)
        numbers = pa.array(np.arange(first, first + 100))
        table = {
            "product_id": numbers,
            "product_id_copy": numbers,
            "name": pa.array([f"product {number}" for number in range(first, first + 100)]),
            "price": pa.array(PRICES[part]),
            "embedding": helpers.fixed_size_lists(BASE[part]),
            "not_mapped": pa.array(["ignored"] * 100),
        }
        lake.put(f"part-{first:04}.parquet", pa.table(table))


@pytest.fixture(params=["s3", "minio", "virtual_host", "tls", "file"])
def source(request, name, s3, s3_tls, local_root):
    """A filled lake of each kind."""
    kinds = {
        "s3": lambda: helpers.S3Lake(s3, name),
        "minio": lambda: helpers.S3Lake(s3, name, scheme="minio"),
        "virtual_host": lambda: helpers.S3Lake(s3, name, virtual_host=True),
        "tls": lambda: helpers.S3Lake(s3_tls, name),
        "file": lambda: helpers.LocalLake(local_root / name),
    }
    lake = kinds[request.param]()
    fill(lake)
    return lake


def test_user_guide(client, name, source):
    # 1. Create: the collection is there, empty, and describes where its rows will come from.
    schema = helpers.external_schema(source.source, source.spec, FIELDS)
    client.create_collection(name, schema=schema, timeout=CALL_TIMEOUT_S)
    assert client.has_collection(name)
    assert name in client.list_collections()
    described = client.describe_collection(name)
    assert described["external_source"] == source.source
    fields = {field["name"]: field for field in described["fields"]}
    assert list(fields) == [PK, *FIELDS]
    assert fields[PK]["is_primary"] and fields[PK]["auto_id"]
    assert fields["product_name"]["external_field"] == "name"
    assert all(fields[field]["nullable"] for field in FIELDS)

    # 2. Index the vectors and a scalar.
    helpers.create_indexes(client, name, {"embedding": "COSINE", "price": None})
    assert sorted(client.list_indexes(name)) == ["embedding", "price"]

    # 3. Refresh, and follow the job.
    job_id = client.refresh_external_collection(name, timeout=CALL_TIMEOUT_S)
    assert job_id > 0
    job = helpers.finish(client, job_id)
    assert (job.state, job.progress, job.reason) == ("RefreshCompleted", 100, "")
    assert (job.job_id, job.collection_name) == (job_id, name)
    assert job.external_source == source.source
    assert 0 < job.start_time <= job.end_time
    later = helpers.refresh(client, name)
    listed = client.list_refresh_external_collection_jobs(name, timeout=CALL_TIMEOUT_S)
    assert [one.job_id for one in listed] == [later.job_id, job_id]
    assert client.get_collection_stats(name)["row_count"] == ROWS
    index = client.describe_index(name, "embedding")
    assert (index["metric_type"], index["index_type"]) == ("COSINE", "AUTOINDEX")
    assert (index["total_rows"], index["indexed_rows"], index["pending_index_rows"]) == (
        300,
        300,
        0,
    )

    # 4. Load.
    assert str(client.get_load_state(name)["state"]) == "NotLoad"
    assert helpers.error_of(client.query, name, filter="", limit=1).code == 101
    client.load_collection(name, timeout=CALL_TIMEOUT_S)
    assert str(client.get_load_state(name)["state"]) == "Loaded"

    # 5. Search, with and without a filter.
    queries = helpers.vectors(3, DIM, seed=3)
    answer = helpers.search(client, name, queries, limit=7)
    helpers.check_exact(answer, "COSINE", BASE, queries, 7)
    cheap = np.flatnonzero(PRICES < 20)
    answer = helpers.search(client, name, queries, limit=5, filter="price < 20")
    helpers.check_exact(answer, "COSINE", BASE[cheap], queries, 5, ids=cheap)

    # 6. Query, get, count.
    rows = helpers.rows_of(client, name, ["product_name", "price"], "product_id in [5, 250]")
    assert [row["product_name"] for row in rows] == ["product 5", "product 250"]
    assert [row["price"] for row in rows] == [PRICES[5], PRICES[250]]
    got = client.get(name, [rows[1][PK]], output_fields=["product_id"])
    assert [dict(row) for row in got] == [{PK: rows[1][PK], "product_id": 250}]
    assert helpers.count(client, name) == ROWS
    assert helpers.count(client, name, "price < 20") == len(cheap)

    # 7. Release and drop. The lake is left as it was.
    client.release_collection(name, timeout=CALL_TIMEOUT_S)
    error = helpers.error_of(client.search, name, data=queries, anns_field="embedding")
    assert error.code == 101
    assert "not loaded" in error.message
    client.drop_collection(name, timeout=CALL_TIMEOUT_S)
    assert not client.has_collection(name)
    assert name not in client.list_collections()
    helpers.make(client, name, source, FIELDS)
    assert helpers.count(client, name) == ROWS


def test_alias(client, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    helpers.make(client, name, lake)
    alias, other = f"{name}_alias", f"{name}_other"
    client.create_alias(name, alias)
    assert client.describe_alias(alias)["collection_name"] == name
    assert client.list_aliases(name)["aliases"] == [alias]
    assert helpers.count(client, alias) == 10
    assert len(helpers.search(client, alias, helpers.vectors(1, 8, 0))[0]) == 10
    assert client.describe_collection(alias)["collection_name"] == name

    helpers.create(client, other, lake)
    client.alter_alias(other, alias)
    assert client.describe_alias(alias)["collection_name"] == other
    assert helpers.error_of(client.query, alias, filter="", limit=1).code == 101
    client.drop_alias(alias)
    assert helpers.error_of(client.query, alias, filter="", limit=1).code == 100
    assert helpers.error_of(client.describe_alias, alias).code == 1600


def test_rename(client, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    helpers.make(client, name, lake)
    client.rename_collection(name, f"{name}_renamed")
    assert not client.has_collection(name)
    assert helpers.count(client, f"{name}_renamed") == 10
    helpers.refresh(client, f"{name}_renamed")


def test_database(server, client, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    assert helpers.error_of(client.describe_database, name).code == 800
    client.create_database(name)
    assert {"default", name} <= set(client.list_databases())
    inside = server.client(db_name=name)
    helpers.make(inside, "same_name", lake)
    assert helpers.count(inside, "same_name") == 10
    assert inside.list_collections() == ["same_name"]
    assert not client.has_collection("same_name")
    assert "not empty" in helpers.error_of(client.drop_database, name).message
    inside.drop_collection("same_name")
    client.drop_database(name)
    assert name not in client.list_databases()


def test_partitions_are_the_default_one(client, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    helpers.make(client, name, lake)
    assert client.list_partitions(name) == ["_default"]
    assert client.has_partition(name, "_default")
    assert not client.has_partition(name, "other")
    answer = helpers.search(client, name, helpers.vectors(1, 8, 0), partition_names=["_default"])
    assert len(answer[0]) == 10
    error = helpers.error_of(client.query, name, filter="", limit=1, partition_names=["other"])
    assert "other" in error.message


def test_index_and_load_order(client, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    helpers.create(client, name, lake, indexes={})
    helpers.refresh(client, name)
    assert helpers.error_of(client.load_collection, name).code == 700
    helpers.create_indexes(client, name, {"id": None})
    error = helpers.error_of(client.load_collection, name)
    assert "there is no vector index on field: [embedding]" in error.message
    helpers.create_indexes(client, name, {"embedding": "IP"})
    client.load_collection(name, timeout=CALL_TIMEOUT_S)
    assert "loaded" in helpers.error_of(client.drop_index, name, "embedding").message
    client.release_collection(name)
    client.drop_index(name, "embedding")
    assert client.list_indexes(name) == ["id"]


def test_server_version_and_health(server, client):
    assert client.get_server_version()
    details = client.get_server_version(detail=True)
    assert details
    assert server.process.poll() is None
