"""What tables cost: a refresh reads the metadata that it does not have and no data file, a query
opens the files that it needs, and nobody ever writes to a source."""

import re

import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    TruncateTransform,
)
from pyiceberg.types import FixedType, NestedField

import helpers
import tables
from tables import FIELDS

# The metadata tell everything of vectors in this form, so that no file has to be looked into.
TOLD = Schema(
    *[field for field in tables.SCHEMA.fields if field.name != "embedding"],
    NestedField(9, "embedding", FixedType(tables.DIM * 4)),
)
# No data file may be read inside of a block with this fault, and no manifest in one with the other.
NO_DATA = {"key": r"\.parquet$", "status": 403}
NO_MANIFEST = {"key": r"\.avro$", "status": 403}


def append(table, first, count):
    tables.append(table, first, count, embedding=vector)


def vector(number):
    return helpers.vectors(1, tables.DIM, number)[0].tobytes()


@pytest.fixture
def table(warehouse, name):
    """A table of five snapshots, each with a manifest and a file of its own."""
    table = warehouse.create(name, TOLD)
    for first in range(0, 100, 20):
        append(table, first, 20)
    return table


@pytest.fixture
def filled(client, name, warehouse, table):
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    return table


def requests(cost):
    return cost["list"] + cost["get"] + cost["head"]


def test_the_first_refresh_reads_metadata_alone(client, name, warehouse, table, s3):
    helpers.create(client, name, warehouse.latest(table), FIELDS)
    with s3.faults(NO_DATA), s3.counted() as cost:
        helpers.refresh(client, name)
    manifests = len(table.current_snapshot().manifests(table.io))
    assert manifests == 5
    assert cost["faults"] == 0
    # The hint that PyIceberg does not write, the listing, the metadata, and the list of manifests.
    assert requests(cost) <= 4 + manifests, cost


def test_nothing_changed(client, name, filled, s3):
    before = tables.keys_of(client, name)
    with s3.faults(NO_DATA, NO_MANIFEST), s3.counted() as cost:
        helpers.refresh(client, name)
    assert cost["faults"] == 0
    assert requests(cost) <= 3, cost
    assert tables.keys_of(client, name) == before


def test_nothing_changed_in_a_fixed_table(client, name, warehouse, table, s3):
    helpers.make(client, name, warehouse.fixed(table), FIELDS)
    with s3.counted() as cost:
        helpers.refresh(client, name)
    assert requests(cost) <= 1, cost


@pytest.mark.parametrize("files", [1, 6])
def test_an_append(client, name, warehouse, s3, files):
    """At most five requests and one for each new file, however many manifests there are."""
    spec = PartitionSpec(PartitionField(1, 1000, TruncateTransform(10), "part"))
    table = warehouse.create(name, TOLD, spec)
    for first in range(0, 100, 20):
        append(table, first, 20)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    old = [manifest.manifest_path for manifest in table.current_snapshot().manifests(table.io)]
    append(table, 1000, files * 10)
    kept = "|".join(re.escape(path.rsplit("/", 1)[1]) for path in old)
    with s3.faults(NO_DATA, {"key": kept, "status": 403}), s3.counted() as cost:
        helpers.refresh(client, name)
    assert cost["faults"] == 0
    assert requests(cost) <= 5 + files, cost
    tables.check_snapshot(client, name, table)


def test_one_new_file_is_looked_into_for_lists(client, name, warehouse, s3):
    """How long vectors are is told by the files alone."""
    table = warehouse.create(name)
    for first in range(0, 100, 20):
        tables.append(table, first, 20)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    old = [task.file.file_path.rsplit("/", 1)[1] for task in table.scan().plan_files()]
    tables.append(table, 100, 20)
    with s3.faults({"key": "|".join(map(re.escape, old)), "status": 403}), s3.counted() as cost:
        helpers.refresh(client, name)
    assert cost["faults"] == 0
    assert requests(cost) <= 6, cost
    tables.check_snapshot(client, name, table)


def test_a_rewrite_reads_the_new_manifests(client, name, filled, s3):
    filled.delete("id >= 10 and id < 30")
    filled.refresh()
    new = {manifest.manifest_path for manifest in filled.current_snapshot().manifests(filled.io)}
    with s3.faults(NO_DATA), s3.counted() as cost:
        helpers.refresh(client, name)
    assert cost["faults"] == 0
    assert requests(cost) <= 4 + len(new), cost
    tables.check_snapshot(client, name, filled)


def test_a_refresh_of_a_table_with_indexes_reads_new_files_alone(
    client, name, warehouse, table, s3
):
    helpers.make(client, name, warehouse.latest(table), FIELDS, {"embedding": "L2", "kind": None})
    old = [task.file.file_path.rsplit("/", 1)[1] for task in table.scan().plan_files()]
    append(table, 100, 20)
    kept = {"key": "|".join(map(re.escape, old)), "status": 403}
    with s3.faults(kept), s3.counted() as cost:
        helpers.refresh(client, name)
    assert cost["faults"] == 0
    tables.check_snapshot(client, name, table)


def test_the_source_is_never_written(client, name, warehouse, table, s3):
    """Whatever is done: creating, indexing, refreshing, searching, travelling, dropping."""
    first = table.snapshots()[0].snapshot_id
    lake = warehouse.latest(table)
    with s3.counted() as cost:
        helpers.make(client, name, lake, FIELDS, {"embedding": "L2", "kind": None, "small": None})
        helpers.ids_of(client, name, "small > 3")
        helpers.search(client, name, helpers.vectors(1, tables.DIM, 0))
        helpers.ids_of(client, f"{name}@snapshot_id={first}")
        helpers.refresh(client, name)
        client.drop_collection(name)
    assert (cost["put"], cost["delete"], cost["other"], cost["bytes_written"]) == (0, 0, 0, 0)
    assert cost["get"] > 0


def test_reads_are_pinned(client, name, filled, s3):
    """After the first answer for a file, every read names the content that it expects."""
    with s3.counted() as cost:
        helpers.rows_of(client, name, FIELDS)
        helpers.search(client, name, helpers.vectors(1, tables.DIM, 0))
    files = 5
    assert cost["get"] - cost["get_pinned"] <= files, cost
    assert cost["get_pinned"] > 0


PRUNED = {
    "identity": (6, IdentityTransform(), ['kind == "car"', 'kind in ["boat", "book"]']),
    "bucket": (1, BucketTransform(8), ["id == 17", "id in [3, 40]"]),
    "truncate": (1, TruncateTransform(10), ["id == 17", "id >= 30 and id < 40", "id > 43"]),
    "truncate_of_text": (6, TruncateTransform(2), ['kind == "car"', 'kind like "bo%"']),
    "day": (
        7,
        DayTransform(),
        [
            "moment < ISO '2026-01-01T20:00:00Z'",
            "moment >= ISO '2026-01-02T03:00:00Z' and moment < ISO '2026-01-02T05:00:00Z'",
        ],
    ),
    "hour": (7, HourTransform(), ["moment < ISO '2026-01-01T05:30:00Z'"]),
}
# The conditions as PyIceberg writes them.
TRANSLATED = {
    'kind in ["boat", "book"]': "kind in ('boat', 'book')",
    "id in [3, 40]": "id in (3, 40)",
}


def translated(condition):
    text = TRANSLATED.get(condition, condition).replace('"', "'")
    return text.replace("ISO ", "").replace("Z'", "+00:00'")


@pytest.mark.parametrize(
    "transform, condition",
    [(key, condition) for key, (_, _, conditions) in PRUNED.items() for condition in conditions],
)
def test_only_files_that_can_match_are_opened(client, name, warehouse, s3, transform, condition):
    """PyIceberg plans the files of the condition; all others cannot be read."""
    source, function, _ = PRUNED[transform]
    spec = PartitionSpec(PartitionField(source, 1000, function, "part"))
    table = warehouse.create(name, partitions=spec)
    tables.append(table, 0, 48)
    theirs = translated(condition)
    everything = {task.file.file_path for task in table.scan().plan_files()}
    planned = {task.file.file_path for task in table.scan(row_filter=theirs).plan_files()}
    assert 0 < len(planned) < len(everything)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    others = "|".join(re.escape(path.rsplit("/", 1)[1]) for path in everything - planned)
    expected = tables.scanned(table, row_filter=theirs)
    # Files of the same name lie in several partitions.
    partitions = {path.rsplit("/", 2)[1] for path in everything - planned}
    assert partitions.isdisjoint(path.rsplit("/", 2)[1] for path in planned)
    with s3.faults({"key": others, "status": 403}), s3.counted() as cost:
        found = sorted(helpers.ids_of(client, name, condition))
        tables.check_search(client, name, expected, filter=condition)
    assert found == [row["id"] for row in expected]
    assert cost["faults"] == 0, "a file was opened that cannot match"


def test_statistics_of_the_metadata_prune(client, name, filled, s3):
    """Five files that hold a range of ids each."""
    paths = sorted(
        (task.file.file_path for task in filled.scan(row_filter="id >= 20").plan_files())
    )
    assert len(paths) == 4
    others = "|".join(re.escape(path.rsplit("/", 1)[1]) for path in paths)
    with s3.faults({"key": others, "status": 403}), s3.counted() as cost:
        assert helpers.ids_of(client, name, "id < 12") == list(range(12))
        assert helpers.count(client, name, "id == 7") == 1
    assert cost["faults"] == 0


def test_a_count_of_all_rows_opens_no_file(client, name, filled, s3):
    with s3.faults(NO_DATA), s3.counted() as cost:
        assert helpers.count(client, name) == 100
    assert cost["faults"] == 0
