"""How a source names an Iceberg table and one of its snapshots, in every form that is accepted, and
what is said of those that are not."""

import json

import pytest

import helpers
import tables
from helpers import CALL_TIMEOUT_S
from tables import FIELDS

FEW = {"id": FIELDS["id"], "kind": FIELDS["kind"], "embedding": FIELDS["embedding"]}


@pytest.fixture(scope="module")
def history(warehouse, module_name):
    """A table with three snapshots on its main branch, a branch with one more, and a tag."""
    table = warehouse.create(module_name)
    snapshots = [tables.append(table, 0, 40), tables.append(table, 40, 40)]
    table.delete("id < 20")
    table.refresh()
    snapshots.append(table.current_snapshot().snapshot_id)
    table.manage_snapshots().create_tag(snapshots[0], "first").commit()
    table.manage_snapshots().create_branch(snapshots[1], "audit").commit()
    table.refresh()
    snapshots.append(tables.append(table, 500, 7, branch="audit"))
    return table, snapshots


def check(client, name, lake, table, snapshot_id):
    """Makes a collection and compares all of its rows."""
    helpers.make(client, name, lake, FEW)
    expected = tables.scanned(table, snapshot_id)
    tables.check_rows(tables.served(client, name, FEW), expected, FEW)
    tables.check_search(client, name, expected)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("written", [int, str])
def test_snapshot_id(client, name, warehouse, history, number, written):
    """As a number and as a string, beside the metadata file: Milvus's form."""
    table, snapshots = history
    lake = warehouse.fixed(table, snapshot_id=written(snapshots[number]))
    check(client, name, lake, table, snapshots[number])
    described = client.describe_collection(name)
    spec = json.loads(described["external_spec"])
    assert spec["snapshot_id"] == str(snapshots[number])
    assert helpers.SECRET_KEY not in described["external_spec"]


@pytest.mark.parametrize("file_format", ["iceberg_table", "iceberg-table"])
def test_format(client, name, warehouse, history, file_format):
    table, snapshots = history
    lake = warehouse.fixed(table, file_format=file_format, snapshot_id=snapshots[0])
    check(client, name, lake, table, snapshots[0])


def test_a_metadata_file_alone_means_its_current_snapshot(client, name, warehouse, history):
    table, snapshots = history
    check(client, name, warehouse.fixed(table), table, snapshots[2])


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_location_means_the_newest(client, name, warehouse, history, ending):
    table, snapshots = history
    lake = warehouse.latest(table)
    lake = lake._replace(source=lake.source.rstrip("/") + ending)
    check(client, name, lake, table, snapshots[2])


def test_a_metadata_file_stays_what_it_is(client, name, warehouse):
    table = warehouse.create(name)
    first = tables.append(table, 0, 30)
    lake = warehouse.fixed(table)
    tables.append(table, 30, 30)
    check(client, name, lake, table, first)
    helpers.refresh(client, name)
    assert helpers.count(client, name) == 30
    # Another metadata file is another source, as Milvus has it.
    lake = warehouse.fixed(table)
    helpers.refresh(client, name, external_source=lake.source, external_spec=lake.spec)
    tables.check_snapshot(client, name, table, fields=FEW, filters=[])


def test_tag(client, name, warehouse, history):
    table, snapshots = history
    check(client, name, warehouse.latest(table, tag="first"), table, snapshots[0])


def test_branch(client, name, warehouse, history):
    table, snapshots = history
    check(client, name, warehouse.latest(table, branch="audit"), table, snapshots[3])


def test_main_is_a_branch(client, name, warehouse, history):
    table, snapshots = history
    check(client, name, warehouse.latest(table, branch="main"), table, snapshots[2])


def test_a_branch_is_followed(client, name, warehouse):
    """A refresh takes what the branch has come to, and nothing of the main branch."""
    table = warehouse.create(name)
    first = tables.append(table, 0, 30)
    table.manage_snapshots().create_branch(first, "audit").commit()
    table.refresh()
    check(client, name, warehouse.latest(table, branch="audit"), table, first)
    tables.append(table, 30, 30)
    helpers.refresh(client, name)
    assert helpers.count(client, name) == 30
    second = tables.append(table, 100, 10, branch="audit")
    helpers.refresh(client, name)
    tables.check_snapshot(client, name, table, second, FEW, [])


def moment_of(table, snapshot_id):
    return table.snapshot_by_id(snapshot_id).timestamp_ms


@pytest.mark.parametrize("written", [int, str, tables.iso])
@pytest.mark.parametrize("number", [0, 1])
def test_timestamp(client, name, warehouse, history, number, written):
    """The snapshot that was current then, be the time its own or just before that of the next."""
    table, snapshots = history
    timestamp = moment_of(table, snapshots[number])
    lake = warehouse.latest(table, timestamp=written(timestamp))
    check(client, name, lake, table, snapshots[number])
    later = moment_of(table, snapshots[number + 1]) - 1
    if later > timestamp:
        lake = warehouse.latest(table, timestamp=written(later))
        helpers.refresh(client, name, external_source=lake.source, external_spec=lake.spec)
        assert helpers.count(client, name) == len(tables.scanned(table, snapshots[number]))


def refused(client, name, lake):
    """What a refresh says of a source that it cannot follow."""
    helpers.create(client, name, lake, FEW, indexes={})
    return helpers.failed_refresh(client, name)


def test_unknown_snapshot(client, name, warehouse, history):
    table, snapshots = history
    reason = refused(client, name, warehouse.fixed(table, snapshot_id=12345))
    assert "12345" in reason
    for snapshot in snapshots:
        assert str(snapshot) in reason, "the snapshots that there are should be listed"


def test_unknown_branch_and_tag(client, name, warehouse, history):
    table, _ = history
    reason = refused(client, name, warehouse.latest(table, branch="nightly"))
    assert "nightly" in reason and "audit" in reason and "main" in reason
    reason = refused(client, f"{name}_tag", warehouse.latest(table, tag="second"))
    assert "second" in reason and "first" in reason


def test_a_tag_is_no_branch(client, name, warehouse, history):
    table, _ = history
    reason = refused(client, name, warehouse.latest(table, branch="first"))
    assert "first" in reason and "tag" in reason


def test_before_the_first_snapshot(client, name, warehouse, history):
    table, snapshots = history
    early = moment_of(table, snapshots[0]) - 1000
    reason = refused(client, name, warehouse.latest(table, timestamp=early))
    assert str(early) in reason


def test_no_table_at_the_location(client, name, warehouse, s3):
    lake = tables.Lake(f"s3://{s3.host}/{s3.bucket}/nothing/here", warehouse.spec())
    reason = refused(client, name, lake)
    assert "nothing/here" in reason and "metadata" in reason


def test_missing_metadata_file(client, name, warehouse, history):
    table, _ = history
    lake = warehouse.fixed(table)
    lake = lake._replace(source=lake.source.replace("/metadata/", "/metadata/not-"))
    assert "metadata/not-" in refused(client, name, lake)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1, 2]", b'{"format-version": 9}', b'{"format-version": 2}', b"\x1f\x8b\x08oops"],
)
def test_malformed_metadata(client, name, warehouse, s3, body):
    s3.put(f"{name}/metadata/v1.metadata.json", body)
    lake = tables.Lake(f"s3://{s3.host}/{s3.bucket}/{name}", warehouse.spec())
    assert "v1.metadata.json" in refused(client, name, lake)


@pytest.mark.parametrize(
    "keys, named",
    [
        ({"snapshot_id": 1, "branch": "main"}, ["snapshot_id", "branch"]),
        ({"tag": "a", "timestamp": 1}, ["tag", "timestamp"]),
        ({"snapshot_id": "first"}, ["snapshot_id"]),
        ({"timestamp": "yesterday"}, ["timestamp"]),
    ],
)
def test_malformed_choice(client, name, warehouse, history, keys, named):
    """Refused when the collection is created."""
    table, _ = history
    lake = warehouse.latest(table, **keys)
    schema = helpers.external_schema(lake.source, lake.spec, FEW)
    error = helpers.error_of(client.create_collection, name, schema=schema)
    assert all(word in error.message for word in named), error.message


def test_a_choice_is_for_tables_alone(client, name, lake):
    document = {**json.loads(lake.spec), "branch": "main"}
    schema = helpers.external_schema(lake.source, json.dumps(document), FEW)
    error = helpers.error_of(client.create_collection, name, schema=schema)
    assert "branch" in error.message and "iceberg-table" in error.message


def test_a_table_in_another_bucket(client, name, warehouse, s3):
    """Metadata that name files of another bucket: nobody gave credentials for that one."""
    table = warehouse.create(name)
    tables.append(table, 0, 10)
    text = table.io.new_input(table.metadata_location).open().read()
    moved = text.replace(b"s3://lake/", b"s3://pond/")
    s3.put(f"{name}_moved/metadata/v1.metadata.json", moved)
    lake = tables.Lake(f"s3://{s3.host}/{s3.bucket}/{name}_moved", warehouse.spec())
    reason = refused(client, name, lake)
    assert "s3://pond/" in reason and "lake" in reason


def test_version_hint_and_both_conventions(client, name, warehouse, s3):
    """The hint names the newest; without a hint, or with one that is of no use, the highest version
    counts, whatever its file is called."""
    table = warehouse.create(name)
    bodies = []
    for first in (0, 10, 20):
        tables.append(table, first, 10)
        bodies.append(table.io.new_input(table.metadata_location).open().read())
    prefix = f"{name}_hinted"
    lake = tables.Lake(f"s3://{s3.host}/{s3.bucket}/{prefix}", warehouse.spec())
    folder = f"{prefix}/metadata"
    s3.put(f"{folder}/v1.metadata.json", bodies[0])
    s3.put(f"{folder}/version-hint.text", b"1")
    helpers.make(client, name, lake, FEW)
    assert helpers.count(client, name) == 10
    # Writers write the metadata before the hint.
    s3.put(f"{folder}/v2.metadata.json", bodies[1])
    helpers.refresh(client, name)
    assert helpers.count(client, name) == 20
    s3.delete(f"{folder}/version-hint.text")
    s3.put(f"{folder}/00003-0f6a5a9e-8f4e-4c4f-9a57-7f0c8a1c6f11.metadata.json", bodies[2])
    helpers.refresh(client, name)
    assert helpers.count(client, name) == 30
    s3.put(f"{folder}/version-hint.text", b"99")
    helpers.refresh(client, name)
    assert helpers.count(client, name) == 30


def test_override_moves_a_collection_of_a_folder_to_a_table(client, name, lake, warehouse):
    lake.put("a.parquet", helpers.rows_table(0, 20))
    helpers.make(client, name, lake)
    table = warehouse.create(name)
    tables.append(table, 100, 30)
    moved = warehouse.latest(table)
    job = helpers.refresh(client, name, external_source=moved.source, external_spec=moved.spec)
    assert job.external_source == moved.source
    tables.check_snapshot(client, name, table, fields=helpers.ROW_FIELDS, filters=[])
    helpers.refresh(client, name, external_source=lake.source, external_spec=lake.spec)
    assert helpers.ids_of(client, name) == list(range(20))


def test_a_restart_keeps_the_snapshot(s3, warehouse, name, tmp_path):
    table = warehouse.create(name)
    first = tables.append(table, 0, 40)
    table.delete("id < 5")
    table.refresh()
    server = helpers.PandionServer(tmp_path, endpoints=[s3.host]).start()
    client = server.client()
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    before = tables.keys_of(client, name)
    lake = warehouse.fixed(table, snapshot_id=first)
    helpers.make(client, f"{name}_first", lake, FIELDS)
    server.kill()
    client = server.start().client()
    for collection, snapshot in ((name, None), (f"{name}_first", first)):
        client.load_collection(collection, timeout=CALL_TIMEOUT_S)
        tables.check_snapshot(client, collection, table, snapshot)
    assert tables.keys_of(client, name) == before
    tables.append(table, 40, 20)
    tables.check_latest(client, name, table)
    server.stop()
    assert helpers.SECRET_KEY not in server.log()
