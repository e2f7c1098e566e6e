"""The tables of the test kit's own writer, which makes what no local writer makes: equality
deletes beside deletion vectors, row lineage, migrated tables, many files. Answers are compared with
what the writer remembers, and with PyIceberg as a second reader where it can read."""

import json
import math
import subprocess

import numpy as np
import pytest
from pyiceberg.table import StaticTable
from pymilvus import DataType

import helpers
import tables
from helpers import PK

FIELDS = {
    "id": DataType.INT64,
    "kind": DataType.VARCHAR,
    "price": DataType.DOUBLE,
    "ts": DataType.TIMESTAMPTZ,
    "embedding": (DataType.FLOAT_VECTOR, {"dim": 8}),
}
RENAMED = {**FIELDS, "kind": (DataType.VARCHAR, {"external_field": "category"})}
SAMPLES = {
    "position-deletes": FIELDS,
    "equality-deletes": FIELDS,
    "deletion-vectors": FIELDS,
    "partitioned": FIELDS,
    "lineage": FIELDS,
    "migrated": RENAMED,
    "many-files": FIELDS,
    "evolved": {
        **{key: field for key, field in RENAMED.items() if key != "price"},
        "stock": DataType.INT64,
        "rating": DataType.INT32,
    },
}
CONDITIONS = [
    ("id >= 50 and id < 130", lambda row: 50 <= row["id"] < 130),
    ("price > 20", lambda row: row["price"] is not None and row["price"] > 20),
    ("price is null", lambda row: row["price"] is None),
    ('kind == "book"', lambda row: row["kind"] == "book"),
    ("kind is null", lambda row: row["kind"] is None),
    ('kind in ["apple", "car"] and id < 90',
     lambda row: row["kind"] in ("apple", "car") and row["id"] < 90),
    ("ts < ISO '2024-01-02T00:00:00Z'", lambda row: row["ts"] < 1_704_153_600_000_000),
    ("stock is null", lambda row: row["stock"] is None),
    ("rating == 3", lambda row: row["rating"] == 3),
]  # fmt: skip


def write(folder, sample, *options, files=3, rows=40):
    """Writes a table of some files of some rows for each append, and returns what its writer says
    of it; rows as a reader finds them."""
    command = [helpers.binary("PANDION_ICEBERG_BIN"), "--out", folder, "--sample", sample]
    command += ["--files", str(files), "--rows-per-file", str(rows), "--print-rows", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)
    for row in written["rows"]:
        if row.get("price") == "NaN":
            row["price"] = math.nan
        if isinstance(row["embedding"], str):
            row["embedding"] = bytes.fromhex(row["embedding"])
        if "category" in row:
            row["kind"] = row["category"]
    written["rows"].sort(key=lambda row: row["id"])
    return written


def lake_of(written, **keys):
    """The table by its folder, or fixed as `keys` say."""
    spec = json.dumps({"format": "iceberg-table", **keys})
    return tables.Lake(written["location"], spec)


def plain(name, value):
    if value is None:
        return None
    if name == "ts":
        return tables.microseconds(tables.moment(value)) if isinstance(value, str) else value
    if name == "embedding":
        return helpers.vector_bytes(value)
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def check_newest(client, name, written, fields):
    """All rows, filters and searches of the newest snapshot against the writer's memory."""
    expected = written["rows"]
    found = sorted(tables.served(client, name, fields), key=lambda row: row["id"])
    assert len(found) == len(expected)
    for field in fields:
        assert [plain(field, row[field]) for row in found] == [
            plain(field, row[field]) for row in expected
        ], field
    for expression, condition in CONDITIONS:
        if expression.split()[0] in fields:
            ids = [row["id"] for row in expected if condition(row)]
            assert sorted(helpers.ids_of(client, name, expression)) == ids, expression
    tables.check_search(client, name, expected)


@pytest.mark.parametrize("sample", SAMPLES)
def test_newest(client, name, local_root, sample):
    written = write(local_root / name, sample)
    fields = SAMPLES[sample]
    helpers.make(client, name, lake_of(written), fields)
    check_newest(client, name, written, fields)


def is_read(table, snapshot_id):
    """PyIceberg refuses snapshots with equality deletes."""
    summary = table.snapshot_by_id(snapshot_id).summary.additional_properties
    return int(summary["total-equality-delete-files"]) == 0


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_snapshot(client, name, local_root, sample):
    """A collection is moved from snapshot to snapshot, so that each refresh builds on the one
    before; then each snapshot is travelled to."""
    written = write(local_root / name, sample)
    read = StaticTable.from_metadata(written["metadata_location"])
    fields = {key: FIELDS[key] for key in ("id", "ts", "embedding")}
    first = written["snapshots"][0]["id"]
    helpers.make(client, name, lake_of(written, snapshot_id=first), fields)

    def check(collection, snapshot):
        ids = helpers.ids_of(client, collection)
        assert (len(ids), sum(ids)) == (snapshot["rows"], snapshot["id_sum"]), snapshot
        if is_read(read, snapshot["id"]):
            expected = tables.scanned(read, snapshot["id"])
            rows = helpers.rows_of(client, collection, fields)
            tables.check_rows(rows, expected, fields)
            tables.check_search(client, collection, expected)

    for snapshot in written["snapshots"]:
        lake = lake_of(written, snapshot_id=snapshot["id"])
        helpers.refresh(client, name, external_source=lake.source, external_spec=lake.spec)
        check(name, snapshot)
    for snapshot in written["snapshots"]:
        check(f"{name}@snapshot_id={snapshot['id']}", snapshot)


@pytest.mark.parametrize("sample", ["position-deletes", "equality-deletes", "deletion-vectors"])
@pytest.mark.parametrize("vectors", ["fixed", "binary"])
def test_vectors_as_bytes(client, name, local_root, sample, vectors):
    written = write(local_root / name, sample, "--vectors", vectors, "--versioned", "--gzip")
    helpers.make(client, name, lake_of(written), FIELDS)
    check_newest(client, name, written, FIELDS)


@pytest.mark.parametrize("deletes", ["none", "position", "equality"])
@pytest.mark.parametrize("version", ["2", "3"])
def test_many_files(client, name, local_root, deletes, version):
    options = ["--deletes", deletes, "--format-version", version]
    written = write(local_root / name, "many-files", *options, files=60, rows=5)
    helpers.make(client, name, lake_of(written), FIELDS)
    check_newest(client, name, written, FIELDS)


@pytest.mark.parametrize("share", ["0.5", "0.99"])
@pytest.mark.parametrize("deletes", ["position", "equality"])
def test_most_rows_deleted(client, name, local_root, deletes, share):
    """k live rows that match exist, so k come back."""
    options = ["--deletes", deletes, "--delete-share", share]
    written = write(local_root / name, "many-files", *options, rows=150)
    helpers.make(client, name, lake_of(written), FIELDS)
    check_newest(client, name, written, FIELDS)


def test_compaction_keeps_what_rows_are(client, name, local_root):
    """Files are rewritten into others; rows stay what they were, whatever their keys."""
    written = write(local_root / name, "lineage")
    first = written["snapshots"][0]["id"]
    helpers.make(client, name, lake_of(written, snapshot_id=first), FIELDS)
    for snapshot in written["snapshots"][1:]:
        before = tables.keys_of(client, name)
        lake = lake_of(written, snapshot_id=snapshot["id"])
        helpers.refresh(client, name, external_source=lake.source, external_spec=lake.spec)
        after = tables.keys_of(client, name)
        assert len(after) == snapshot["rows"]
        assert len(set(after.values())) == len(after)
        owners = {key: row for row, key in before.items()}
        for row, key in after.items():
            assert owners.get(key, row) == row, "a key was given to another row"
    check_newest(client, name, written, FIELDS)


# --- scalar indexes -------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", ["position-deletes", "equality-deletes", "deletion-vectors"])
def test_scalar_indexes(client, name, local_root, sample):
    """The same answers with and without, in every snapshot, and every row is covered."""
    written = write(local_root / name, sample)
    indexed = f"{name}_indexed"
    first = written["snapshots"][0]["id"]
    helpers.make(client, name, lake_of(written, snapshot_id=first), FIELDS)
    indexes = {"embedding": "L2", "id": None, "kind": None, "price": None}
    helpers.make(client, indexed, lake_of(written, snapshot_id=first), FIELDS, indexes)
    for snapshot in written["snapshots"]:
        lake = lake_of(written, snapshot_id=snapshot["id"])
        for collection in (name, indexed):
            override = {"external_source": lake.source, "external_spec": lake.spec}
            helpers.refresh(client, collection, **override)
        for expression, _ in CONDITIONS:
            if expression.split()[0] in FIELDS:
                expected = sorted(helpers.ids_of(client, name, expression))
                assert sorted(helpers.ids_of(client, indexed, expression)) == expected
        check_covered(client, indexed, snapshot["rows"])
    check_newest(client, indexed, written, FIELDS)


def check_covered(client, name, rows):
    """Describe tells of all rows once the index is built. Rows that deletes took may count or not:
    what is not pending is indexed."""

    def described():
        index = client.describe_index(name, "kind")
        return index if index["pending_index_rows"] == 0 else None

    index = helpers.wait_until(described, 30, "the index was not built")
    assert index["indexed_rows"] == index["total_rows"] >= rows


def test_an_index_follows_the_table(client, name, warehouse):
    """Created first, and then through appends, deletes and a rename."""
    table = warehouse.create(name)
    tables.append(table, 0, 60)
    indexes = {"embedding": "L2", "small": None, "kind": None, "moment": None}
    helpers.make(client, name, warehouse.latest(table), tables.FIELDS, indexes)
    tables.check_snapshot(client, name, table)
    before = client.describe_index(name, "kind")
    assert (before["total_rows"], before["indexed_rows"]) == (60, 60)
    tables.append(table, 60, 40)
    tables.check_latest(client, name, table)
    table.delete("id >= 20 and id < 70")
    tables.check_latest(client, name, table)
    index = client.describe_index(name, "kind")
    assert (index["total_rows"], index["indexed_rows"], index["pending_index_rows"]) == (50, 50, 0)
    tables.append(table, 200, 30)
    client.release_collection(name)
    client.drop_index(name, "kind")
    client.load_collection(name)
    tables.check_latest(client, name, table)
    helpers.create_indexes(client, name, {"kind": None})
    check_covered(client, name, 80)
    tables.check_snapshot(client, name, table)


def test_an_index_serves_other_snapshots(client, name, warehouse, s3):
    """Files that another snapshot shares are answered by the same index."""
    table = warehouse.create(name)
    first = tables.append(table, 0, 60)
    tables.append(table, 60, 60)
    helpers.make(
        client, name, warehouse.latest(table), tables.FIELDS, {"embedding": "L2", "kind": None}
    )
    for ours, theirs in tables.FILTERS:
        expected = [row["id"] for row in tables.scanned(table, first, row_filter=theirs)]
        found = helpers.ids_of(client, f"{name}@snapshot_id={first}", ours)
        assert sorted(found) == expected, ours


# --- other ways to read ---------------------------------------------------------------------------


def test_iterators_leave_deleted_rows_out(client, name, local_root):
    written = write(local_root / name, "deletion-vectors")
    helpers.make(client, name, lake_of(written), FIELDS)
    query = helpers.vectors(1, 8, 3)
    iterator = client.search_iterator(
        name, data=query, anns_field="embedding", batch_size=17, output_fields=["id"],
        timeout=helpers.CALL_TIMEOUT_S,
    )  # fmt: skip
    hits = []
    while page := iterator.next():
        hits += list(page)
    iterator.close()
    base = np.array([row["embedding"] for row in written["rows"]], np.float32)
    ids = [row["id"] for row in written["rows"]]
    helpers.check_exact([hits], "L2", base, query, len(base), ids=ids)


def test_aggregates_leave_deleted_rows_out(client, name, local_root):
    written = write(local_root / name, "equality-deletes")
    helpers.make(client, name, lake_of(written), FIELDS)
    for expression, condition in CONDITIONS[:7]:
        expected = [row for row in written["rows"] if condition(row)]
        assert helpers.count(client, name, expression) == len(expected), expression
    keys = tables.keys_of(client, name)
    some = list(keys.values())[:10]
    got = client.get(name, some, output_fields=["id", PK], timeout=helpers.CALL_TIMEOUT_S)
    assert {row["id"]: row[PK] for row in got} == dict(list(keys.items())[:10])
