"""A lake behind a second S3 server, which shares no code with the first: listing, ranged reads,
pinned reads, and signatures, as another implementation understands them."""

import json
import pathlib
import subprocess

import pytest

import helpers
import products
from helpers import ACCESS_KEY, CALL_TIMEOUT_S, REGION, SECRET_KEY
from products import ALL, FIRST, METRICS

SCRIPT = pathlib.Path(__file__).parent.parent / "fixtures" / "moto_s3.py"


class SecondS3Server(helpers.S3Server):
    """The other server; it counts nothing and makes no faults."""

    def __init__(self):
        self.bucket = "lake"
        self.ca_file = None
        command = [helpers.binary("PANDION_SECOND_S3_PYTHON"), SCRIPT, "--bucket", self.bucket]
        command += ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY, "--region", REGION]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.host = f"127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def second():
    server = SecondS3Server()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(second, tmp_path_factory):
    """A client of a server that may go to the second S3 server and nowhere else."""
    directory = tmp_path_factory.mktemp("second")
    server = helpers.PandionServer(directory, endpoints=[second.host]).start()
    yield server.client()
    server.stop()
    assert SECRET_KEY not in server.log()


@pytest.mark.parametrize("scheme", ["s3", "minio"])
def test_rows_and_hits(client, second, name, scheme):
    lake = helpers.S3Lake(second, f"{name}-{scheme}", scheme=scheme)
    products.fill(lake)
    collection = f"{name}_{scheme}"
    helpers.make(client, collection, lake, products.FIELDS, METRICS)
    rows = helpers.rows_of(client, collection, ["id", "small", "name", "info", "tags", "words"])
    assert len(rows) == FIRST
    for row, expected in zip(rows, ALL, strict=False):
        assert all(row[field] == expected[field] for field in row if field in products.FIELDS)
    for field in METRICS:
        query = products.queries(field, 1)
        hits = helpers.search(
            client, collection, products.as_data(field, query), field, limit=20, filter="small > 0"
        )[0]
        matching = products.matching(lambda v: v.small > 0)
        products.check_search(hits, field, query[0], matching, 20)


def test_changes_of_the_lake(client, second, name):
    lake = helpers.S3Lake(second, name)
    products.fill(lake)
    helpers.make(client, name, lake, products.FIELDS, METRICS)
    products.append(lake)
    lake.delete("b.parquet")
    assert helpers.count(client, name) == FIRST
    helpers.refresh(client, name)
    left = ALL[:120] + ALL[240:]
    assert sorted(helpers.ids_of(client, name)) == [row["id"] for row in left]
    query = products.queries("embedding", 1)
    hits = helpers.search(client, name, query, limit=30)[0]
    products.check_search(hits, "embedding", query[0], left, 30)


def test_an_overwritten_file_is_never_read_for_the_old_one(client, second, name):
    """The rows have the same shape as before, so that only the identity of the file tells."""
    lake = helpers.S3Lake(second, name)
    lake.put("a.parquet", products.table(ALL[:120]))
    helpers.make(client, name, lake, products.FIELDS, METRICS)
    lake.put("a.parquet", products.table(ALL[120:240]))
    error = helpers.error_of(client.query, name, filter="id >= 0", output_fields=["id"], limit=5)
    assert "a.parquet" in error.message
    helpers.refresh(client, name)
    assert helpers.ids_of(client, name) == list(range(120, 240))


def test_wrong_signature(client, second, name):
    lake = helpers.S3Lake(second, name)
    lake.put("a.parquet", products.table(ALL[:20]))
    schema = helpers.external_schema(
        lake.source, lake.spec_with(access_key_value="another secret"), products.FIELDS
    )
    client.create_collection(name, schema=schema, timeout=CALL_TIMEOUT_S)
    assert "another secret" not in helpers.failed_refresh(client, name)


def test_many_files(client, second, name):
    """More than one page of a listing."""
    lake = helpers.S3Lake(second, name)
    for number in range(1030):
        second.put(f"{name}/ignored-{number:04}.crc", b"x")
    lake.put("z.parquet", products.table(ALL[:20]))
    helpers.make(client, name, lake, products.FIELDS, METRICS)
    assert helpers.count(client, name) == 20
