"""The tables of the testkit's writer as PyIceberg reads them: every row of every snapshot must be what
the writer remembers. Nothing here asks the server; tests that do may trust the writer.
"""

import datetime
import json
import math
import subprocess

import pytest
from pyiceberg.table import StaticTable

import helpers

UNIX_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MICROSECOND = datetime.timedelta(microseconds=1)
SAMPLES = [
    "position-deletes",
    "deletion-vectors",
    "equality-deletes",
    "evolved",
    "partitioned",
    "lineage",
    "migrated",
    "many-files",
]


def write(folder, sample, *options):
    command = [helpers.binary("PANDION_ICEBERG_BIN"), "--out", folder, "--sample", sample]
    command += ["--files", "3", "--rows-per-file", "40", "--print-rows", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def plain(value):
    """A value as the writer prints it."""
    if isinstance(value, datetime.datetime):
        return (value - UNIX_EPOCH) // MICROSECOND
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return value


def is_read(table, snapshot):
    """PyIceberg refuses snapshots with equality deletes."""
    deletes = table.snapshot_by_id(snapshot).summary.additional_properties
    return int(deletes["total-equality-delete-files"]) == 0


def check(written):
    table = StaticTable.from_metadata(written["metadata_location"])
    read = [snapshot for snapshot in written["snapshots"] if is_read(table, snapshot["id"])]
    for snapshot in read:
        ids = table.scan(snapshot_id=snapshot["id"], selected_fields=("id",)).to_arrow()["id"]
        assert (len(ids), sum(ids.to_pylist())) == (snapshot["rows"], snapshot["id_sum"])
    assert table.current_snapshot().snapshot_id == written["head"]
    if is_read(table, written["head"]):
        expected = [dict(row) for row in written["rows"]]
        for row in expected:
            del row["_row_id"]
        found = table.scan().to_arrow().to_pylist()
        found = [{name: plain(value) for name, value in row.items()} for row in found]
        for rows in (expected, found):
            rows.sort(key=lambda row: row["id"])
        assert found == expected
    return len(read)


@pytest.mark.parametrize("sample", SAMPLES)
def test_pyiceberg_reads_what_was_written(tmp_path, sample):
    written = write(tmp_path / "table", sample)
    assert check(written) >= (1 if sample == "equality-deletes" else 2)


@pytest.mark.parametrize("version", ["1", "2", "3"])
@pytest.mark.parametrize("vectors", ["list", "fixed", "binary"])
def test_vectors_and_names_of_metadata(tmp_path, version, vectors):
    options = ["--format-version", version, "--vectors", vectors, "--versioned", "--gzip"]
    if version == "1":
        options += ["--deletes", "none"]
    written = write(tmp_path / "table", "many-files", *options)
    assert written["metadata_location"].endswith(".gz.metadata.json")
    assert check(written) == len(written["snapshots"])
    hint = (tmp_path / "table" / "metadata" / "version-hint.text").read_text()
    assert written["metadata_location"].endswith(f"/v{hint}.gz.metadata.json")


def test_the_same_seed_makes_the_same_table(tmp_path):
    # Locations differ, so tables are written to the same place, one after the other.
    first = write(tmp_path / "table", "lineage")
    (tmp_path / "table").rename(tmp_path / "earlier")
    assert write(tmp_path / "table", "lineage") == first
    assert write(tmp_path / "other", "lineage", "--seed", "7") != first
