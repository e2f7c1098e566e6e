"""Deletes in tables that Spark wrote: position deletes, deletion vectors, equality deletes, and the
evolution of schema and partitions, in every snapshot. What PyIceberg reads is compared row by row,
the rest with what Spark read and with the statements that made it."""

import contextlib
import io
import json
import pathlib
import tarfile

import numpy as np
import pytest
from pyiceberg.exceptions import NamespaceAlreadyExistsError
from pymilvus import DataType

import helpers
import tables

ARCHIVE = pathlib.Path(__file__).parent.parent / "fixtures" / "iceberg" / "spark.tar.gz"
PLAIN = {
    "id": DataType.INT64,
    "cat": DataType.VARCHAR,
    "emb": (DataType.FLOAT_VECTOR, {"dim": 3}),
}
# The lists of this table have one number, which is no vector: another column is added for vectors.
PARTITIONED = {
    "id": DataType.INT64,
    "ts": DataType.TIMESTAMPTZ,
    "cat": (DataType.VARCHAR, {"external_field": "category"}),
    "st": DataType.JSON,
    "emb": (DataType.ARRAY, {"element_type": DataType.FLOAT, "max_capacity": 4}),
    "added": (DataType.FLOAT_VECTOR, {"dim": 4}),
}
FILTERS = [
    ("id >= 95 and id < 1007", "id >= 95 and id < 1007"),
    ('cat == "b"', "cat == 'b'"),
    ("id in [3, 5, 13, 100, 1003, 1004]", "id in (3, 5, 13, 100, 1003, 1004)"),
]


def unpacked():
    """The files of the archive: key in the bucket, and body."""
    with tarfile.open(ARCHIVE) as archive:
        for member in archive.getmembers():
            if member.isfile():
                yield member.name, archive.extractfile(member).read()


class Spark:
    """The tables in an S3 server, and what Spark read from them."""

    def __init__(self, server):
        self.server = server
        for name, body in unpacked():
            if name.endswith("expected.json"):
                self.expected = json.load(io.BytesIO(body))
            else:
                server.put(name.removeprefix("./").removeprefix("lake/"), body)

    def lake(self, table, **keys):
        source = f"s3://{self.server.host}/{self.server.bucket}/fx/ns/{table}"
        spec = {"format": "iceberg-table", "extfs": tables.s3_extfs(), **keys}
        return tables.Lake(source, json.dumps(spec))

    def read(self, table):
        return tables.table_at(self.server, f"s3://{self.server.bucket}/fx/ns/{table}")

    def snapshots(self, table):
        """The ids of all snapshots, and the rows of each."""
        return {int(key): rows for key, rows in self.expected[table]["snapshots"].items()}


@pytest.fixture(scope="module")
def spark(s3):
    return Spark(s3)


def fields_without_vectors(fields):
    return {name: field for name, field in fields.items() if name != "emb"}


@pytest.mark.parametrize("table", ["pos", "dv", "v1"])
def test_every_snapshot(client, name, spark, table):
    """One collection is moved from snapshot to snapshot, forwards and then back to the first."""
    snapshots = spark.snapshots(table)
    read = spark.read(table)
    first = next(iter(snapshots))
    helpers.make(client, name, spark.lake(table, snapshot_id=first), PLAIN, {"emb": "L2"})
    for snapshot in [*snapshots, first]:
        lake = spark.lake(table, snapshot_id=snapshot)
        helpers.refresh(client, name, external_source=lake.source, external_spec=lake.spec)
        expected = tables.scanned(read, snapshot)
        assert helpers.count(client, name) == snapshots[snapshot] == len(expected)
        # A row that MERGE inserted into `pos` has a vector of another length.
        odd = any(len(row["emb"]) != 3 for row in expected)
        fields = fields_without_vectors(PLAIN) if odd else PLAIN
        tables.check_rows(tables.served(client, name, fields, batch_size=500), expected, fields)
        for ours, theirs in FILTERS:
            ids = [row["id"] for row in tables.scanned(read, snapshot, row_filter=theirs)]
            assert sorted(helpers.ids_of(client, name, ours)) == ids, (snapshot, ours)
        if not odd:
            check_search(client, name, expected)


def check_search(client, name, expected):
    """Queries on and between rows, so that deleted rows would be among the nearest."""
    queries = np.array([[3.0, 0.5, 1.5], [101.5, 0.5, 1.5], [13.0, 0.0, 0.0]], np.float32)
    base = np.array([row["emb"] for row in expected], np.float32)
    ids = [row["id"] for row in expected]
    answer = helpers.search(client, name, queries, "emb", limit=20)
    helpers.check_exact(answer, "L2", base, queries, 20, ids=ids)
    chosen = [row for row in expected if row["cat"] == "a"]
    base = np.array([row["emb"] for row in chosen], np.float32)
    answer = helpers.search(client, name, queries, "emb", limit=20, filter='cat == "a"')
    ids = [row["id"] for row in chosen]
    helpers.check_exact(answer, "L2", base, queries, 20, ids=ids)


@pytest.mark.parametrize("table", ["pos", "dv", "v1", "eq"])
def test_the_newest_is_what_spark_read(client, name, spark, table):
    helpers.make(client, name, spark.lake(table), PLAIN, {"emb": "L2"})
    expected = spark.expected[table]
    assert helpers.count(client, name) == expected["count"]
    assert sum(helpers.ids_of(client, name)) == expected["sum_id"]
    assert client.get_collection_stats(name)["row_count"] == expected["count"]


def after_equality_deletes():
    """The rows of each snapshot of `eq`, by the statements that made it."""
    rows = {(number, "a") for number in range(100)}
    yield rows
    rows = rows | {(number, "b") for number in range(100, 200)}
    yield rows
    rows = rows - {(3, "a"), (150, "b")}
    yield rows
    rows = rows | {(3, "again")}
    yield rows
    rows = {row for row in rows if row[1] != "b"}
    yield rows
    yield rows - {(7, "a")}


def test_equality_deletes(client, name, spark):
    """In every snapshot. A row that comes back after its delete stays."""
    snapshots = spark.snapshots("eq")
    first = next(iter(snapshots))
    helpers.make(client, name, spark.lake("eq", snapshot_id=first), PLAIN, {"emb": "L2"})
    for (snapshot, count), rows in zip(snapshots.items(), after_equality_deletes(), strict=True):
        assert len(rows) == count
        lake = spark.lake("eq", snapshot_id=snapshot)
        helpers.refresh(client, name, external_source=lake.source, external_spec=lake.spec)
        expected = [
            {"id": key, "cat": cat, "emb": [float(key), 0.5, 1.5]} for key, cat in sorted(rows)
        ]
        tables.check_rows(tables.served(client, name, PLAIN), expected, PLAIN)
        check_search(client, name, expected)


@pytest.fixture(scope="module")
def partitioned(spark, warehouse, module_name):
    """The table `part`, in which PyIceberg has added a column for vectors; no row has one."""
    with contextlib.suppress(NamespaceAlreadyExistsError):
        warehouse.catalog.create_namespace("ns")
    location = spark.read("part").metadata_location
    table = warehouse.catalog.register_table(("ns", module_name), location)
    with table.update_schema() as update:
        update.add_column("added", tables.VECTORS)
    table.refresh()
    return table


def test_evolved_partitions_and_columns(client, name, spark, warehouse, partitioned):
    """With today's names: the column was called otherwise in the first snapshots."""
    helpers.make(client, name, warehouse.fixed(partitioned), PARTITIONED, {"added": "L2"})
    expected = tables.scanned(partitioned)
    assert len(expected) == spark.expected["part"]["count"]
    found = tables.served(client, name, PARTITIONED, batch_size=200)
    tables.check_rows(found, expected, PARTITIONED)
    filters = [
        ("ts >= ISO '2026-01-02T00:00:00Z' and ts < ISO '2026-01-03T00:00:00Z'",
         "ts >= '2026-01-02T00:00:00+00:00' and ts < '2026-01-03T00:00:00+00:00'"),
        ('cat == "c1"', "category == 'c1'"),
        ("id in [49, 50, 59, 60, 400, 401]", "id in (49, 50, 59, 60, 400, 401)"),
        ('cat == "c2" and id > 290 and id < 310', "category == 'c2' and id > 290 and id < 310"),
    ]  # fmt: skip
    for ours, theirs in filters:
        ids = [row["id"] for row in tables.scanned(partitioned, row_filter=theirs)]
        assert ids
        assert sorted(helpers.ids_of(client, name, ours)) == ids, ours
    assert helpers.ids_of(client, name, 'st["x"] == 17') == [17]
    assert list(helpers.search(client, name, helpers.vectors(1, 4, 0), "added")[0]) == []


def in_todays_columns(row):
    """A row of a snapshot of `part` as the newest schema has it."""
    record = {"z": None, **row["st"]}
    category = row["category"] if "category" in row else row["cat"]
    return {**row, "category": category, "st": record, "added": None}


@pytest.mark.parametrize("snapshot", range(5))
def test_every_snapshot_of_an_evolved_table(client, name, spark, warehouse, partitioned, snapshot):
    """Travelled to, with the columns that fields are mapped to today."""
    helpers.make(client, name, warehouse.fixed(partitioned), PARTITIONED, {"added": "L2"})
    snapshot_id, count = list(spark.snapshots("part").items())[snapshot]
    travelled = f"{name}@snapshot_id={snapshot_id}"
    assert helpers.count(client, travelled) == count
    expected = [in_todays_columns(row) for row in tables.scanned(partitioned, snapshot_id)]
    tables.check_rows(helpers.rows_of(client, travelled, PARTITIONED), expected, PARTITIONED)
    for category in ("c1", "br"):
        ids = [row["id"] for row in expected if row["category"] == category]
        assert sorted(helpers.ids_of(client, travelled, f'cat == "{category}"')) == ids


def test_branch_and_tag(client, name, spark, warehouse, partitioned):
    lake = warehouse.fixed(partitioned, branch="dev")
    helpers.make(client, name, lake, PARTITIONED, {"added": "L2"})
    assert helpers.count(client, name) == spark.expected["part@dev"]["count"]
    assert helpers.ids_of(client, name, 'cat == "br"') == [9000]
    assert helpers.count(client, f"{name}@tag=t1") == spark.expected["part"]["count"]
    assert helpers.ids_of(client, f"{name}@tag=t1", 'cat == "br"') == []


def test_a_column_that_the_snapshot_of_a_tag_did_not_have(client, name, warehouse, partitioned):
    """A tag is read in the schema of its snapshot."""
    lake = warehouse.fixed(partitioned, tag="t1")
    helpers.create(client, name, lake, PARTITIONED, {"added": "L2"})
    assert "Column 'added' not found in schema" in helpers.failed_refresh(client, name)


def test_deletes_and_time_travel(client, name, spark):
    """Rows that a delete has taken are there in the snapshots before it, under the same keys."""
    helpers.make(client, name, spark.lake("dv"), PLAIN, {"emb": "L2"})
    now = tables.keys_of(client, name)
    for snapshot, count in spark.snapshots("dv").items():
        before = tables.keys_of(client, f"{name}@snapshot_id={snapshot}")
        assert len(before) == count
        shared = now.keys() & before.keys()
        assert {row: now[row] for row in shared} == {row: before[row] for row in shared}
    first = next(iter(spark.snapshots("dv")))
    expected = tables.scanned(spark.read("dv"), first)
    check_search(client, f"{name}@snapshot_id={first}", expected)


def test_deleted_rows_are_not_got(client, name, spark):
    """By their keys, as the vectors of a search, or as groups and aggregates."""
    snapshots = list(spark.snapshots("dv"))
    lake = spark.lake("dv", snapshot_id=snapshots[0])
    helpers.make(client, name, lake, PLAIN, {"emb": "L2"})
    before = tables.keys_of(client, name)
    lake = spark.lake("dv", snapshot_id=snapshots[2])
    helpers.refresh(client, name, external_source=lake.source, external_spec=lake.spec)
    dead, alive = before[13], before[14]
    got = client.get(name, [dead, alive], output_fields=["id"], timeout=helpers.CALL_TIMEOUT_S)
    assert [row["id"] for row in got] == [14]
    hits = helpers.search(client, name, [[13.0, 0.5, 1.5]], "emb", limit=1000)[0]
    assert 13 not in [hit["entity"]["id"] for hit in hits]
    assert helpers.count(client, name, f"{helpers.PK} == {dead}") == 0
