"""What a refresh costs and changes: only what changed in the lake, and all of it."""

import re

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType

import helpers
from helpers import CALL_TIMEOUT_S, PK

FIELDS = {**helpers.ROW_FIELDS, "text": DataType.VARCHAR}


def table(first, text, count=20):
    """Rows `first` and following, marked with a text."""
    return helpers.rows_table(first, count, text=pa.array([text] * count))


@pytest.fixture
def filled(client, name, lake):
    """A loaded collection of three files of twenty rows."""
    for number in range(3):
        lake.put(f"part-{number}.parquet", table(number * 20, "first"))
    helpers.make(client, name, lake, FIELDS)
    return lake


def keys(client, name):
    """The primary key of each `id`."""
    return {row["id"]: row[PK] for row in helpers.rows_of(client, name)}


def test_nothing_changed_costs_one_listing(client, name, filled, s3):
    before = keys(client, name)
    with s3.counted() as cost:
        helpers.refresh(client, name)
    assert (cost["list"], cost["get"], cost["head"]) == (1, 0, 0), cost
    assert keys(client, name) == before


def test_an_added_file_is_the_only_one_read(client, name, filled, s3):
    before = keys(client, name)
    filled.put("part-3.parquet", table(60, "added"))
    old_files = {"op": "get", "key": r"/part-[012]\.parquet$", "status": 403}
    old_heads = {**old_files, "op": "head"}
    with s3.counted() as cost, s3.faults(old_files, old_heads):
        helpers.refresh(client, name)
    assert cost["list"] == 1
    assert cost["get"] > 0 and cost["faults"] == 0, cost
    assert cost["get"] == cost["get_pinned"], "a read was not pinned to the file's identity"
    after = keys(client, name)
    assert len(after) == 80
    assert {row: after[row] for row in before} == before


def test_an_overwritten_file_of_the_same_length_is_noticed(client, name, filled):
    before = keys(client, name)
    filled.put("part-1.parquet", table(20, "again"))
    helpers.refresh(client, name)
    texts = {row["id"]: row["text"] for row in helpers.rows_of(client, name, ["id", "text"])}
    assert [texts[row] for row in range(60)] == ["first"] * 20 + ["again"] * 20 + ["first"] * 20
    after = keys(client, name)
    kept = [row for row in range(60) if not 20 <= row < 40]
    assert [after[row] for row in kept] == [before[row] for row in kept]
    assert not {after[row] for row in range(20, 40)} & set(before.values()), "a key was used again"


def test_rows_of_a_deleted_file_are_gone(client, name, filled):
    before = keys(client, name)
    filled.delete("part-0.parquet")
    helpers.refresh(client, name)
    assert helpers.ids_of(client, name) == list(range(20, 60))
    assert helpers.count(client, name) == 40
    assert client.get_collection_stats(name)["row_count"] == 40
    base = np.concatenate([helpers.vectors(20, 8, first) for first in (20, 40)])
    queries = helpers.vectors(3, 8, 0)
    answer = helpers.search(client, name, queries, limit=60)
    helpers.check_exact(answer, "L2", base, queries, 60, ids=range(20, 60))
    assert list(client.get(name, [before[5]], timeout=CALL_TIMEOUT_S)) == []


def test_a_file_that_comes_back_has_new_keys(client, name, filled):
    before = keys(client, name)
    filled.delete("part-0.parquet")
    helpers.refresh(client, name)
    filled.put("part-0.parquet", table(0, "back"))
    helpers.refresh(client, name)
    after = keys(client, name)
    assert set(after) == set(before)
    assert not {after[row] for row in range(20)} & set(before.values())


def test_losing_every_file_is_refused(client, name, filled):
    for number in range(3):
        filled.delete(f"part-{number}.parquet")
    reason = helpers.failed_refresh(client, name)
    assert re.search("refusing to drop all|no files found", reason), reason
    assert client.get_collection_stats(name)["row_count"] == 60


def test_replacing_every_file_is_allowed(client, name, filled):
    for number in range(3):
        filled.delete(f"part-{number}.parquet")
    filled.put("other.parquet", table(100, "other"))
    helpers.refresh(client, name)
    assert helpers.ids_of(client, name) == list(range(100, 120))


def test_stray_files_are_not_read(client, name, filled, s3):
    strays = ["_SUCCESS", "part-0.parquet.crc", "README.md", "notes.txt", "deeper/part-9.parquet"]
    for stray in strays:
        filled.put_bytes(stray, b"this is no Parquet file")
    with s3.counted() as cost:
        helpers.refresh(client, name)
    assert cost["get"] == 0
    assert helpers.count(client, name) == 60


def test_a_neighbouring_prefix_is_not_read(client, name, s3):
    lake, neighbour = helpers.S3Lake(s3, f"{name}/a"), helpers.S3Lake(s3, f"{name}/ab")
    lake.put("x.parquet", table(0, "mine"))
    neighbour.put("x.parquet", table(20, "not mine"))
    lake.source = lake.source.rstrip("/")
    helpers.make(client, name, lake, FIELDS)
    assert helpers.ids_of(client, name) == list(range(20))


def test_a_broken_file_fails_the_refresh_and_the_old_version_serves(client, name, filled):
    filled.put_bytes("part-3.parquet", b"PAR1 this is no Parquet file PAR1")
    reason = helpers.failed_refresh(client, name)
    assert "part-3.parquet" in reason
    assert helpers.count(client, name) == 60
    filled.put("part-3.parquet", table(60, "mended"))
    helpers.refresh(client, name)
    assert helpers.count(client, name) == 80


def test_a_truncated_file_fails_the_refresh(client, name, filled):
    filled.put_bytes("part-3.parquet", helpers.parquet(table(60, "cut"))[:-200])
    assert "part-3.parquet" in helpers.failed_refresh(client, name)


def test_throttling_is_ridden_out(client, name, filled, s3):
    filled.put("part-3.parquet", table(60, "added"))
    with s3.faults({"status": 503, "count": 3}, {"op": "get", "cut_after": 10, "count": 1}):
        helpers.refresh(client, name)
    assert helpers.ids_of(client, name) == list(range(80))


def test_a_listing_that_breaks_off_is_no_deletion(client, name, filled, s3):
    with s3.faults({"op": "list", "status": 403}):
        helpers.failed_refresh(client, name)
    assert helpers.count(client, name) == 60


def test_override_moves_the_collection(client, name, filled, s3):
    other = helpers.S3Lake(s3, f"{name}_other")
    other.put("a.parquet", table(500, "other"))
    job = helpers.refresh(client, name, external_source=other.source, external_spec=other.spec)
    assert job.external_source == other.source
    assert helpers.ids_of(client, name) == list(range(500, 520))
    assert client.describe_collection(name)["external_source"] == other.source
    other.put("b.parquet", table(520, "other"))
    helpers.refresh(client, name)
    assert helpers.ids_of(client, name) == list(range(500, 540))


def test_failed_override_changes_nothing(client, name, filled, s3):
    other = helpers.S3Lake(s3, f"{name}_empty")
    helpers.failed_refresh(client, name, external_source=other.source, external_spec=other.spec)
    assert client.describe_collection(name)["external_source"] == filled.source
    assert helpers.count(client, name) == 60
    helpers.refresh(client, name)


def test_a_local_lake_is_refreshed_by_content(client, name, local_lake):
    for number in range(2):
        local_lake.put(f"part-{number}.parquet", table(number * 20, "first"))
    helpers.make(client, name, local_lake, FIELDS)
    before = keys(client, name)
    local_lake.put("part-1.parquet", table(20, "again"))
    local_lake.put("part-2.parquet", table(40, "added"))
    helpers.refresh(client, name)
    rows = helpers.rows_of(client, name, ["id", "text"])
    texts = {row["id"]: row["text"] for row in rows}
    assert [texts[row] for row in range(60)] == ["first"] * 20 + ["again"] * 20 + ["added"] * 20
    assert [keys(client, name)[row] for row in range(20)] == [before[row] for row in range(20)]


def large(first, seed):
    """Rows with long texts, so that reading the footer of their file reads few of them."""
    random = np.random.default_rng(seed)
    return table(first, "", 20).set_column(
        2, "text", pa.array([random.bytes(30_000).hex() for _ in range(20)])
    )


@pytest.fixture
def filled_with_large(client, name, lake):
    """A loaded collection of two files, of which no text has been read."""
    for number in range(2):
        lake.put(f"part-{number}.parquet", large(number * 20, number), compression="none")
    fields = {**helpers.ROW_FIELDS, "text": (DataType.VARCHAR, {"max_length": 65535})}
    helpers.make(client, name, lake, fields)
    return lake


def test_a_file_changed_behind_our_back_is_an_error_that_names_it(client, name, filled_with_large):
    again = large(20, seed=9)
    filled_with_large.put("part-1.parquet", again, compression="none")
    error = helpers.error_of(client.query, name, filter="id == 25", output_fields=["text"])
    assert "part-1.parquet" in error.message
    untouched = helpers.rows_of(client, name, ["text"], "id == 5")
    assert [row["text"] for row in untouched] == [large(0, 0)["text"][5].as_py()]
    helpers.refresh(client, name)
    rows = helpers.rows_of(client, name, ["text"], "id == 25")
    assert [row["text"] for row in rows] == [again["text"][5].as_py()]


def test_a_file_deleted_behind_our_back_is_an_error_that_names_it(client, name, filled_with_large):
    filled_with_large.delete("part-1.parquet")
    error = helpers.error_of(client.query, name, filter="id == 25", output_fields=["text"])
    assert "part-1.parquet" in error.message
    helpers.refresh(client, name)
    assert helpers.ids_of(client, name) == list(range(20))


def test_only_one_refresh_at_a_time(client, name, filled, s3):
    with s3.faults({"op": "list", "latency_ms": 1500}):
        job_id = client.refresh_external_collection(name, timeout=CALL_TIMEOUT_S)
        error = helpers.error_of(client.refresh_external_collection, name)
        assert error.code == 1100
        assert "in progress" in error.message
        assert helpers.count(client, name) == 60, "a refresh must not stop queries"
        assert helpers.finish(client, job_id).state == "RefreshCompleted"
    helpers.refresh(client, name)


def test_jobs_are_listed_newest_first(client, name, filled):
    later = [helpers.refresh(client, name).job_id for _ in range(2)]
    jobs = client.list_refresh_external_collection_jobs(name, timeout=CALL_TIMEOUT_S)
    assert len(jobs) == 3
    assert [job.job_id for job in jobs[:2]] == later[::-1]
    assert {job.collection_name for job in jobs} == {name}
    every = client.list_refresh_external_collection_jobs(timeout=CALL_TIMEOUT_S)
    assert {job.job_id for job in jobs} <= {job.job_id for job in every}


def test_index_counts_follow_the_refresh(client, name, filled):
    filled.put("part-3.parquet", table(60, "added"))
    helpers.refresh(client, name)
    index = client.describe_index(name, "embedding")
    counts = [index[key] for key in ("total_rows", "indexed_rows", "pending_index_rows")]
    assert counts == [80, 80, 0]
