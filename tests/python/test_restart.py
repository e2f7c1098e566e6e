"""Kills, restarts, crashes at every step of a refresh, and readers beside a refresh."""

import concurrent.futures
import contextlib
import threading

import grpc
import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType, MilvusException

import helpers
from helpers import CALL_TIMEOUT_S, PK

STEPS = [
    "job-created",
    "listed",
    "diffed",
    "footers-read",
    "verified",
    "manifest-written",
    "before-publish",
    "published",
]


@pytest.fixture
def own(tmp_path, s3):
    """A server that the test may kill."""
    server = helpers.PandionServer(tmp_path, endpoints=[s3.host])
    yield server
    server.stop()
    assert helpers.SECRET_KEY not in server.log(), "the log holds a secret"


def refresh_into_death(client, name):
    """Asks for a refresh of a server that may die before it answers."""
    with contextlib.suppress(MilvusException, grpc.RpcError):
        client.refresh_external_collection(name, timeout=5)


def test_a_killed_server_comes_back_with_everything(own, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 20))
    client = own.start().client()
    helpers.make(client, name, lake)
    client.create_alias(name, f"{name}_alias")
    client.create_database("other")
    helpers.create(own.client(db_name="other"), "inside", lake)
    lake.put("b.parquet", helpers.rows_table(20, 20))
    helpers.refresh(client, name)
    queries = helpers.vectors(2, 8, 5)

    def told(client):
        return {
            "described": client.describe_collection(name),
            "collections": client.list_collections(),
            "databases": sorted(client.list_databases()),
            "alias": client.describe_alias(f"{name}_alias"),
            "index": client.describe_index(name, "embedding"),
            "jobs": list(map(str, client.list_refresh_external_collection_jobs(name))),
            "stats": client.get_collection_stats(name),
            "load": str(client.get_load_state(name)["state"]),
            "keys": helpers.rows_of(client, name),
            "hits": [[dict(hit) for hit in hits] for hits in helpers.search(client, name, queries)],
        }

    before = told(client)
    own.kill()
    client = own.start().client()
    assert told(client) == before
    assert before["load"] == "Loaded"
    lake.put("c.parquet", helpers.rows_table(40, 20))
    helpers.refresh(client, name)
    assert helpers.ids_of(client, name) == list(range(60))
    assert own.client(db_name="other").list_collections() == ["inside"]


def test_dropped_stays_dropped(own, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 20))
    client = own.start().client()
    helpers.make(client, name, lake)
    client.drop_collection(name)
    own.kill()
    client = own.start().client()
    assert not client.has_collection(name)
    helpers.make(client, name, lake)
    assert helpers.count(client, name) == 20


def test_a_crash_at_any_step_leaves_a_whole_version(own, name, lake):
    lake.put("part-0.parquet", helpers.rows_table(0, 10))
    helpers.make(own.start().client(), name, lake)
    own.kill()
    rows = 10
    for number, step in enumerate(STEPS, start=1):
        lake.put(f"part-{number}.parquet", helpers.rows_table(number * 10, 10))
        client = own.start(PANDION_FAULT_POINT=f"refresh.{step}").client()
        refresh_into_death(client, name)
        assert own.wait_for_death() != 0, f"the server did not crash at {step}"

        client = own.start().client()
        found = helpers.ids_of(client, name)
        old, new = list(range(rows)), list(range(rows + 10))
        assert found in ([new] if step == "published" else [old]), step
        base = np.concatenate([helpers.vectors(10, 8, first) for first in found[::10]])
        queries = helpers.vectors(2, 8, 5)
        answer = helpers.search(client, name, queries, limit=5)
        helpers.check_exact(answer, "L2", base, queries, 5, ids=found)

        helpers.refresh(client, name)
        rows += 10
        assert helpers.ids_of(client, name) == list(range(rows)), step
        states = {job.state for job in client.list_refresh_external_collection_jobs(name)}
        assert states <= {"RefreshCompleted", "RefreshFailed"}, step
        own.kill()


def test_a_crash_in_the_first_refresh(own, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    client = own.start(PANDION_FAULT_POINT="refresh.before-publish").client()
    helpers.create(client, name, lake)
    refresh_into_death(client, name)
    assert own.wait_for_death() != 0
    client = own.start().client()
    assert client.get_collection_stats(name)["row_count"] == 0
    helpers.refresh(client, name)
    client.load_collection(name, timeout=CALL_TIMEOUT_S)
    assert helpers.count(client, name) == 10


def test_a_crash_when_new_files_are_indexed(own, name, lake):
    """The indexes of a version that was never published are no harm, and the next refresh has its
    own complete."""
    lake.put("a.parquet", helpers.rows_table(0, 10))
    client = own.start(PANDION_FAULT_POINT="refresh.indexed").client()
    helpers.create(client, name, lake, indexes={"embedding": "L2", "id": None})
    for rows in (10, 20):
        refresh_into_death(client, name)
        assert own.wait_for_death() != 0
        client = own.start().client()
        client.load_collection(name, timeout=CALL_TIMEOUT_S)
        assert helpers.count(client, name) == rows - 10
        helpers.refresh(client, name)
        index = client.describe_index(name, "id", timeout=CALL_TIMEOUT_S)
        assert (index["state"], index["total_rows"], index["indexed_rows"]) == ("Finished", rows, rows)
        assert helpers.ids_of(client, name, "id >= 5") == list(range(5, rows))
        own.kill()
        lake.put("b.parquet", helpers.rows_table(10, 10))
        client = own.start(PANDION_FAULT_POINT="refresh.indexed").client()


def test_a_lake_that_is_away_does_not_stop_the_server(own, tmp_path, name):
    """The server starts, describes and refuses cleanly while its lake cannot be reached."""
    directory = tmp_path / "lake"
    directory.mkdir()
    lake_server = helpers.S3Server(directory)
    own.arguments += ["--allow-endpoint", lake_server.host]
    lake = helpers.S3Lake(lake_server, name)
    lake.put("a.parquet", helpers.rows_table(0, 10))
    helpers.make(own.start().client(), name, lake)
    own.kill()
    lake_server.stop()
    client = own.start().client()
    assert client.has_collection(name)
    assert client.get_collection_stats(name)["row_count"] == 10
    assert helpers.failed_refresh(client, name)


@pytest.mark.parametrize("mode", ["immediate", "on_load"])
def test_publish_mode(own, name, lake, mode):
    own.arguments += ["--publish", mode]
    lake.put("a.parquet", helpers.rows_table(0, 10))
    client = own.start().client()
    helpers.make(client, name, lake)
    lake.put("b.parquet", helpers.rows_table(10, 10))
    helpers.refresh(client, name)
    expected = {"immediate": 20, "on_load": 10}[mode]
    assert helpers.count(client, name) == expected
    hits = helpers.search(client, name, helpers.vectors(1, 8, 0), limit=100)[0]
    assert len(hits) == expected
    client.release_collection(name)
    client.load_collection(name, timeout=CALL_TIMEOUT_S)
    assert helpers.ids_of(client, name) == list(range(20))


def test_a_reader_never_sees_two_versions(server, client, name, s3):
    """Every version lies under a prefix of its own and marks all its rows with one number."""
    rows = 60

    def version(number):
        lake = helpers.S3Lake(s3, f"{name}_{number}")
        for part in range(3):
            mark = pa.array([number] * 20)
            lake.put(f"{part}.parquet", helpers.rows_table(part * 20, 20, seed=number, mark=mark))
        return lake

    def check(reader):
        found = helpers.rows_of(reader, name, ["id", "mark"])
        assert [row["id"] for row in found] == list(range(rows))
        marks = {row["mark"] for row in found}
        assert len(marks) == 1, f"a query saw the versions {marks}"
        hits = helpers.search(reader, name, queries, limit=rows, output=["id", "mark"])
        for row in hits:
            seen = {hit["entity"]["mark"] for hit in row}
            assert len(seen) == 1, f"a search saw the versions {seen}"
            number = seen.pop()
            part = helpers.vectors(20, 8, number)
            helpers.check_exact([row], "L2", np.concatenate([part] * 3), queries[:1], rows)
        return marks.pop()

    queries = helpers.vectors(1, 8, 1000)
    fields = {**helpers.ROW_FIELDS, "mark": DataType.INT64}
    helpers.make(client, name, version(0), fields)
    done = threading.Event()

    def read():
        reader = server.client()
        seen = []
        while not done.is_set():
            seen.append(check(reader))
        return seen

    with concurrent.futures.ThreadPoolExecutor() as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for number in range(1, 9):
                lake = version(number)
                helpers.refresh(client, name, external_source=lake.source, external_spec=lake.spec)
                assert check(client) == number, "a completed refresh was not visible at once"
        finally:
            done.set()
        for reader in readers:
            seen = reader.result()
            assert seen == sorted(seen), "a reader went back to an older version"
            assert len(set(seen)) > 1


def test_keys_are_not_used_again_after_a_restart(own, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 5))
    client = own.start().client()
    helpers.make(client, name, lake)
    seen = {row[PK] for row in helpers.rows_of(client, name)}
    for number in range(1, 4):
        own.kill()
        client = own.start().client()
        lake.put("a.parquet", helpers.rows_table(number * 5, 5))
        helpers.refresh(client, name)
        keys = {row[PK] for row in helpers.rows_of(client, name)}
        assert len(keys) == 5 and not keys & seen
        seen |= keys
