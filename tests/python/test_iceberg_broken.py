"""Tables that are broken: what is missing or unreadable is named, deleted rows never come back, and
the version before keeps serving."""

import pathlib
import urllib.parse

import pytest
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import StaticTable

import helpers
import tables
from test_iceberg_samples import FIELDS, lake_of, write

DELETES = ["position-deletes", "equality-deletes", "deletion-vectors"]


def path_of(uri):
    return pathlib.Path(urllib.parse.urlparse(uri).path)


class Broken:
    """A table in a folder, and a collection over its first snapshot, which has no deletes."""

    def __init__(self, client, name, folder, sample):
        self.client, self.name = client, name
        self.written = write(folder, sample)
        self.table = StaticTable.from_metadata(self.written["metadata_location"])
        self.first = self.written["snapshots"][0]
        lake = lake_of(self.written, snapshot_id=self.first["id"])
        helpers.make(client, name, lake, FIELDS)

    def manifests(self, content, snapshot_id=None):
        snapshot = self.table.snapshot_by_id(snapshot_id or self.written["head"])
        manifests = snapshot.manifests(self.table.io)
        return [manifest for manifest in manifests if manifest.content == content]

    def files(self, content, snapshot_id=None):
        """The live files of a snapshot."""
        return [
            path_of(entry.data_file.file_path)
            for manifest in self.manifests(content, snapshot_id)
            for entry in manifest.fetch_manifest_entry(self.table.io, discard_deleted=True)
        ]

    def newest(self):
        lake = lake_of(self.written)
        return {"external_source": lake.source, "external_spec": lake.spec}

    def check_refused(self, path):
        """A refresh to the newest snapshot fails, names the file, and changes nothing."""
        reason = helpers.failed_refresh(self.client, self.name, **self.newest())
        assert path.name in reason, reason
        ids = helpers.ids_of(self.client, self.name)
        assert (len(ids), sum(ids)) == (self.first["rows"], self.first["id_sum"])
        tables.check_search(self.client, self.name, tables.scanned(self.table, self.first["id"]))

    def check_mended(self):
        helpers.refresh(self.client, self.name, **self.newest())
        assert helpers.count(self.client, self.name) == len(self.written["rows"])
        tables.check_search(self.client, self.name, self.written["rows"])


@pytest.fixture
def broken(client, name, local_root):
    return lambda sample: Broken(client, name, local_root / name, sample)


@pytest.mark.parametrize("sample", DELETES)
def test_missing_delete_file(broken, sample):
    table = broken(sample)
    for path in set(table.files(ManifestContent.DELETES)):
        body = path.read_bytes()
        path.unlink()
        table.check_refused(path)
        path.write_bytes(body)
    table.check_mended()


@pytest.mark.parametrize("sample", DELETES)
@pytest.mark.parametrize("harm", ["truncated", "overwritten", "empty"])
def test_unreadable_delete_file(broken, sample, harm):
    table = broken(sample)
    path = table.files(ManifestContent.DELETES)[0]
    body = path.read_bytes()
    harmed = {
        "truncated": body[: len(body) // 2],
        "overwritten": bytes(255 - byte for byte in body),
        "empty": b"",
    }
    path.write_bytes(harmed[harm])
    table.check_refused(path)
    path.write_bytes(body)
    table.check_mended()


def test_a_flipped_bit_in_a_deletion_vector(broken):
    """One bit of the bitmap: only the checksum can tell."""
    table = broken("deletion-vectors")
    path = next(path for path in table.files(ManifestContent.DELETES) if path.suffix == ".puffin")
    body = bytearray(path.read_bytes())
    magic = body.index(bytes.fromhex("d1d33964"))
    body[magic + 24] ^= 1
    path.write_bytes(body)
    table.check_refused(path)


@pytest.mark.parametrize("content", list(ManifestContent))
@pytest.mark.parametrize("harm", ["missing", "truncated", "overwritten"])
def test_broken_manifest(broken, content, harm):
    table = broken("position-deletes")
    known = {manifest.manifest_path for manifest in table.manifests(content, table.first["id"])}
    new = [path for path in table.manifests(content) if path.manifest_path not in known]
    check_harmed(table, path_of(new[0].manifest_path), harm)


@pytest.mark.parametrize("harm", ["missing", "truncated", "overwritten"])
def test_broken_manifest_list(broken, harm):
    table = broken("position-deletes")
    snapshot = table.table.snapshot_by_id(table.written["head"])
    check_harmed(table, path_of(snapshot.manifest_list), harm)


def check_harmed(table, path, harm):
    body = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(body[: len(body) * 2 // 3])
    else:
        path.write_bytes(bytes(255 - byte for byte in body))
    table.check_refused(path)
    path.write_bytes(body)
    table.check_mended()


def test_missing_data_file(broken, client):
    """A refresh need not notice. Queries that need the file fail and name it, others do not."""
    table = broken("position-deletes")
    helpers.refresh(client, table.name, **table.newest())
    gone = table.files(ManifestContent.DATA)[0]
    read = [row["id"] for row in parquet_rows(gone)]
    body = gone.read_bytes()
    gone.unlink()
    data = helpers.vectors(1, 8, 0)
    error = helpers.error_of(client.search, table.name, data=data, anns_field="embedding")
    assert gone.name in error.message
    error = helpers.error_of(
        client.query, table.name, filter=f"id == {read[0]}", output_fields=["kind"]
    )
    assert gone.name in error.message
    others = [row["id"] for row in table.written["rows"] if row["id"] > max(read)]
    if others:
        assert sorted(helpers.ids_of(client, table.name, f"id > {max(read)}")) == others
    gone.write_bytes(body)
    tables.check_search(client, table.name, table.written["rows"])


def parquet_rows(path):
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=["id"]).to_pylist()


@pytest.mark.parametrize("harm", ["truncated", "overwritten"])
def test_unreadable_data_file(broken, client, harm):
    table = broken("position-deletes")
    path = table.files(ManifestContent.DATA)[0]
    body = path.read_bytes()
    harmed = body[: len(body) // 2] if harm == "truncated" else bytes(len(body))
    path.write_bytes(harmed)
    helpers.refresh(client, table.name, **table.newest())
    data = helpers.vectors(1, 8, 0)
    error = helpers.error_of(client.search, table.name, data=data, anns_field="embedding")
    assert path.name in error.message
    # With the property, the refresh looks into files.
    checked = f"{table.name}_checked"
    properties = {"refresh.verify": "true"}
    helpers.create(client, checked, lake_of(table.written), FIELDS, properties=properties)
    assert path.name in helpers.failed_refresh(client, checked)


def test_missing_data_file_of_equality_deletes(broken):
    """Its rows have to be compared with the deleted keys, so that the refresh needs it."""
    table = broken("equality-deletes")
    path = table.files(ManifestContent.DATA)[0]
    # The version that is served has read it already; the newest has others as well.
    served = set(table.files(ManifestContent.DATA, table.first["id"]))
    path = next(path for path in table.files(ManifestContent.DATA) if path in served)
    body = path.read_bytes()
    path.unlink()
    reason = helpers.failed_refresh(table.client, table.name, **table.newest())
    assert path.name in reason, reason
    path.write_bytes(body)
    table.check_mended()


def test_travelling_to_a_broken_snapshot(broken, client):
    """The error names the file; what is served is not touched."""
    table = broken("position-deletes")
    path = table.files(ManifestContent.DELETES)[0]
    body = path.read_bytes()
    path.unlink()
    error = helpers.error_of(
        client.query, f"{table.name}@snapshot_id={table.written['head']}", filter="id >= 0"
    )
    assert path.name in error.message
    ids = helpers.ids_of(client, table.name)
    assert (len(ids), sum(ids)) == (table.first["rows"], table.first["id_sum"])
    path.write_bytes(body)
    ids = helpers.ids_of(client, f"{table.name}@snapshot_id={table.written['head']}")
    assert sorted(ids) == [row["id"] for row in table.written["rows"]]


def test_a_local_table_does_not_lead_out_of_its_root(client, name, local_warehouse, tmp_path):
    """Its metadata lie below the allowed folder, and name a file that does not."""
    table = local_warehouse.create(name)
    tables.append(table, 0, 20)
    outside = tmp_path / "outside.parquet"
    inside = path_of(next(iter(table.scan().plan_files())).file.file_path)
    outside.write_bytes(inside.read_bytes())
    helpers.make(client, name, local_warehouse.latest(table), tables.FIELDS)
    table.add_files([f"file://{outside}"])
    assert "outside.parquet" in helpers.failed_refresh(client, name)
    assert helpers.count(client, name) == 20


@pytest.mark.parametrize("status", [403, 500])
def test_a_store_that_fails(client, name, warehouse, s3, status):
    """An S3 server that refuses, or is down for longer than anybody waits, is no empty table."""
    table = warehouse.create(name)
    tables.append(table, 0, 30)
    helpers.make(client, name, warehouse.latest(table), tables.FIELDS)
    tables.append(table, 30, 30)
    with s3.faults({"key": r"\.avro$", "status": status}):
        reason = helpers.failed_refresh(client, name)
    assert ".avro" in reason
    assert helpers.SECRET_KEY not in reason
    assert helpers.count(client, name) == 30
    tables.check_latest(client, name, table)


def test_throttling_is_ridden_out(client, name, warehouse, s3):
    table = warehouse.create(name)
    tables.append(table, 0, 30)
    helpers.make(client, name, warehouse.latest(table), tables.FIELDS)
    tables.append(table, 30, 30)
    with s3.faults({"status": 503, "count": 3}, {"op": "get", "cut_after": 10, "count": 1}):
        helpers.refresh(client, name)
    tables.check_snapshot(client, name, table)
