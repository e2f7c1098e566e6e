"""Requests that read another snapshot than the one that is served: by id, time, tag and branch, in
searches and queries, beside refreshes, and at what cost."""

import concurrent.futures

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, RRFRanker

import helpers
import tables
from helpers import CALL_TIMEOUT_S, PK
from tables import DIM, FIELDS, FILTERS

# Nobody may read the table's metadata inside of a block with this fault.
NO_METADATA = {"key": "/metadata/", "status": 403}


class Travelled:
    """A table of several snapshots and a collection over the newest."""

    def __init__(self, client, name, warehouse):
        self.name, self.table = name, warehouse.create(name)
        self.snapshots = [tables.append(self.table, 0, 60), tables.append(self.table, 60, 40)]
        self.table.delete("id < 30 or kind == 'car'")
        self.table.refresh()
        self.snapshots.append(self.table.current_snapshot().snapshot_id)
        self.table.manage_snapshots().create_tag(self.snapshots[0], "first").commit()
        self.table.manage_snapshots().create_branch(self.snapshots[1], "audit").commit()
        self.table.refresh()
        self.snapshots.append(tables.append(self.table, 500, 20, branch="audit"))
        self.snapshots.append(tables.append(self.table, 100, 30))
        helpers.make(client, name, warehouse.latest(self.table), FIELDS)

    def moment_of(self, number):
        return self.table.snapshot_by_id(self.snapshots[number]).timestamp_ms

    def rows(self, number, **options):
        return tables.scanned(self.table, self.snapshots[number], **options)


@pytest.fixture(scope="module")
def travelled(client, warehouse, module_name):
    """No test may refresh it or write to its table."""
    return Travelled(client, module_name, warehouse)


def ways(travelled, number):
    """Every way to name one of the snapshots."""
    yield {"snapshot_id": travelled.snapshots[number]}
    yield {"snapshot_id": str(travelled.snapshots[number])}
    if number != 3:
        yield {"snapshot_timestamp": travelled.moment_of(number)}
        yield {"snapshot_timestamp": tables.iso(travelled.moment_of(number))}
    if number == 0:
        yield {"snapshot_tag": "first"}
    if number == 3:
        yield {"snapshot_branch": "audit"}
    if number == 4:
        yield {"snapshot_branch": "main"}


def search(client, name, way, limit=15, expression="", queries=None):
    queries = helpers.vectors(3, DIM, 7) if queries is None else queries
    return helpers.search(
        client, name, queries, limit=limit, filter=expression, search_params={"params": way}
    )


def check_search(client, name, way, expected, expression=""):
    queries = helpers.vectors(3, DIM, 7)
    base = np.array([row["embedding"] for row in expected], np.float32)
    answer = search(client, name, way, expression=expression, queries=queries)
    helpers.check_exact(answer, "L2", base, queries, 15, ids=[row["id"] for row in expected])


def query(client, name, way, fields=("id",), expression=f"{PK} > 0"):
    """The client drops parameters of a query that it does not know; they are put back here."""
    parameters = {key: str(value) for key, value in way.items()}
    with helpers.watched(client, "Query", **parameters):
        return helpers.rows_of(client, name, [PK, *fields], expression)


@pytest.mark.parametrize("number", range(5))
def test_search(client, travelled, number):
    for way in ways(travelled, number):
        check_search(client, travelled.name, way, travelled.rows(number))
        ours, theirs = FILTERS[0]
        chosen = travelled.rows(number, row_filter=theirs)
        if chosen:
            check_search(client, travelled.name, way, chosen, expression=ours)


@pytest.mark.parametrize("number", range(5))
def test_query(client, travelled, number):
    for way in ways(travelled, number):
        expected = travelled.rows(number)
        tables.check_rows(query(client, travelled.name, way, FIELDS), expected, FIELDS)
    way = {"snapshot_id": travelled.snapshots[number]}
    for ours, theirs in FILTERS:
        ids = [row["id"] for row in travelled.rows(number, row_filter=theirs)]
        found = query(client, travelled.name, way, expression=ours)
        assert sorted(row["id"] for row in found) == ids, ours
    with helpers.watched(client, "Query", snapshot_id=str(travelled.snapshots[number])):
        assert helpers.count(client, travelled.name) == len(travelled.rows(number))


@pytest.mark.parametrize("number", range(5))
def test_behind_the_name(client, travelled, number):
    """Clients that have no parameter for it write the snapshot behind the collection's name."""
    names = [f"{travelled.name}@snapshot_id={travelled.snapshots[number]}"]
    if number != 3:
        names.append(f"{travelled.name}@timestamp={travelled.moment_of(number)}")
    if number == 0:
        names.append(f"{travelled.name}@tag=first")
    if number == 3:
        names.append(f"{travelled.name}@branch=audit")
    expected = travelled.rows(number)
    for name in names:
        assert helpers.count(client, name) == len(expected)
        tables.check_rows(helpers.rows_of(client, name, FIELDS), expected, FIELDS)
        tables.check_search(client, name, expected)


def test_a_search_without_a_choice_reads_what_is_served(client, travelled):
    search(client, travelled.name, {"snapshot_id": travelled.snapshots[0]})
    tables.check_snapshot(client, travelled.name, travelled.table)


def test_hybrid_search(client, travelled):
    """All of its searches read one snapshot."""
    data = helpers.vectors(1, DIM, 3)
    requests = [
        AnnSearchRequest(data, "embedding", {"metric_type": "L2"}, 200, expr=expression)
        for expression in ("", "small > 2")
    ]
    for number in (0, 3):
        name = f"{travelled.name}@snapshot_id={travelled.snapshots[number]}"
        hits = client.hybrid_search(
            name, requests, RRFRanker(), 200, output_fields=["id"], timeout=CALL_TIMEOUT_S
        )[0]
        known = [row["id"] for row in travelled.rows(number)]
        assert sorted(hit["entity"]["id"] for hit in hits) == known


def drain(iterator):
    found = []
    while page := iterator.next():
        found += list(page)
    iterator.close()
    return found


@pytest.mark.parametrize("number", [0, 3])
def test_iterators(client, travelled, number):
    """All pages are of the snapshot that the iterator began with."""
    name = f"{travelled.name}@snapshot_id={travelled.snapshots[number]}"
    expected = travelled.rows(number)
    tables.check_rows(tables.served(client, name, FIELDS), expected, FIELDS)
    query = helpers.vectors(1, DIM, 9)
    iterator = client.search_iterator(
        name,
        data=query,
        anns_field="embedding",
        batch_size=13,
        output_fields=["id"],
        timeout=CALL_TIMEOUT_S,
    )
    base = np.array([row["embedding"] for row in expected], np.float32)
    ids = [row["id"] for row in expected]
    helpers.check_exact([drain(iterator)], "L2", base, query, len(base), ids=ids)


def test_get_and_alias(client, travelled):
    alias = f"{travelled.name}_alias"
    client.create_alias(travelled.name, alias)
    name = f"{alias}@tag=first"
    keys = tables.keys_of(client, name)
    assert sorted(keys) == [row["id"] for row in travelled.rows(0)]
    some = list(keys.items())[5:9]
    got = client.get(name, [key for _, key in some], output_fields=["id"], timeout=CALL_TIMEOUT_S)
    assert {row["id"]: row[PK] for row in got} == dict(some)
    client.drop_alias(alias)


def test_names_that_say_nothing(client, travelled):
    """What stands behind the sign is no choice, or a request chooses in both ways."""
    for suffix in ("@", "@snapshot_id", "@version=1", "@tag=", "@snapshot_id=first"):
        error = helpers.error_of(client.query, f"{travelled.name}{suffix}", filter="id >= 0")
        assert suffix.strip("@").split("=")[0] in error.message, suffix
    way = {"snapshot_id": travelled.snapshots[0]}
    error = helpers.error_of(
        client.search,
        f"{travelled.name}@tag=first",
        data=helpers.vectors(1, DIM, 0),
        anns_field="embedding",
        search_params={"params": way},
    )
    assert '"first"' in error.message and str(travelled.snapshots[0]) in error.message


def test_two_collections_of_one_table(client, name, warehouse, travelled):
    """Each knows its own rows; what one travels to is nothing to the other."""
    other = {"id": FIELDS["id"], "embedding": FIELDS["embedding"]}
    lake = warehouse.latest(travelled.table, snapshot_id=travelled.snapshots[1])
    helpers.make(client, name, lake, other)
    for number in (0, 2, 4):
        expected = [row["id"] for row in travelled.rows(number)]
        for collection in (name, travelled.name):
            found = query(client, collection, {"snapshot_id": travelled.snapshots[number]})
            assert sorted(row["id"] for row in found) == expected
    assert helpers.count(client, name) == len(travelled.rows(1))


def test_row_ids_are_those_of_the_served_version(client, travelled):
    """A row whose file both snapshots have is one row."""
    now = {row["id"]: row[PK] for row in helpers.rows_of(client, travelled.name)}
    audit = {
        row["id"]: row[PK] for row in query(client, travelled.name, {"snapshot_branch": "audit"})
    }
    again = {
        row["id"]: row[PK] for row in query(client, travelled.name, {"snapshot_branch": "audit"})
    }
    assert audit == again
    before = {}
    for number in range(3):
        found = query(client, travelled.name, {"snapshot_id": travelled.snapshots[number]})
        keys = {row["id"]: row[PK] for row in found}
        assert len(set(keys.values())) == len(keys)
        before[number] = keys
    # The second snapshot has the file of the first, and the branch has both.
    assert {row: before[1][row] for row in before[0]} == before[0]
    assert {row: audit[row] for row in before[1]} == before[1]
    # The rows that the delete rewrote are other rows; those of the third are served still.
    assert {row: now[row] for row in before[2]} == before[2]


def test_a_shared_file_keeps_its_rows(client, name, warehouse):
    """Rows of files that have left the table keep the keys that they had when they were served."""
    table = warehouse.create(name)
    first = tables.append(table, 0, 30)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    before = tables.keys_of(client, name)
    table.overwrite(tables.arrow(table, tables.rows(100, 20)))
    helpers.refresh(client, name)
    found = query(client, name, {"snapshot_id": first})
    assert {row["id"]: row[PK] for row in found} == before


def test_nothing_is_indexed_again(client, travelled):
    before = client.describe_index(travelled.name, "embedding")
    version = client.get_collection_stats(travelled.name)
    for number in range(5):
        search(client, travelled.name, {"snapshot_id": travelled.snapshots[number]})
    assert client.describe_index(travelled.name, "embedding") == before
    assert client.get_collection_stats(travelled.name) == version


def test_a_second_search_reads_no_metadata(client, travelled, s3):
    for way in (
        {"snapshot_id": travelled.snapshots[1]},
        {"snapshot_tag": "first"},
        {"snapshot_timestamp": travelled.moment_of(2)},
    ):
        expected = search(client, travelled.name, way)
        with s3.faults(NO_METADATA), s3.counted() as cost:
            assert search(client, travelled.name, way) == expected
        assert (cost["list"], cost["faults"], cost["put"]) == (0, 0, 0), cost


def test_at_a_refresh_a_choice_is_not_lost(client, name, warehouse):
    """Snapshots stay readable when newer ones are served, and nothing of them is served."""
    table = warehouse.create(name)
    snapshots = [tables.append(table, 0, 30)]
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    for first in (30, 60):
        snapshots.append(tables.append(table, first, 30))
        helpers.refresh(client, name)
        for number, snapshot in enumerate(snapshots):
            found = query(client, name, {"snapshot_id": snapshot})
            assert sorted(row["id"] for row in found) == list(range(30 * (number + 1)))
        assert helpers.count(client, name) == 30 * len(snapshots)


def test_a_snapshot_newer_than_the_served_one(client, name, warehouse):
    """What the table has now can be read before a refresh serves it."""
    table = warehouse.create(name)
    tables.append(table, 0, 30)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    newer = tables.append(table, 30, 30)
    found = query(client, name, {"snapshot_id": newer}, FIELDS)
    tables.check_rows(found, tables.scanned(table), FIELDS)
    assert helpers.count(client, name) == 30
    branch = query(client, name, {"snapshot_branch": "main"})
    assert len(branch) == 60
    tables.append(table, 60, 10)
    assert len(query(client, name, {"snapshot_branch": "main"})) == 70, "a branch is asked for anew"


def test_columns_are_found_by_id(client, name, warehouse):
    """An old snapshot is read by the fields of today: what was renamed is the same column, what was
    added later is null."""
    table = warehouse.create(name)
    first = tables.append(table, 0, 30)
    with table.update_schema() as update:
        update.rename_column("kind", "category")
        update.add_column("note", tables.SCHEMA.find_field("kind").field_type)
    table.refresh()
    tables.append(table, 30, 30, category="new", note="noted")
    fields = {
        **FIELDS,
        "kind": (FIELDS["kind"], {"external_field": "category"}),
        "note": FIELDS["kind"],
    }
    helpers.make(client, name, warehouse.latest(table), fields)
    found = query(client, name, {"snapshot_id": first}, fields)
    expected = [
        {**row, "category": row["kind"], "note": None} for row in tables.scanned(table, first)
    ]
    tables.check_rows(found, expected, fields)
    found = query(client, name, {"snapshot_id": first}, expression='kind == "car"')
    assert sorted(row["id"] for row in found) == [
        row["id"] for row in expected if row["category"] == "car"
    ]


@pytest.mark.parametrize(
    "way, words",
    [
        ({"snapshot_id": 4711}, ["4711"]),
        ({"snapshot_id": "first"}, ["snapshot_id", "first"]),
        ({"snapshot_tag": "second"}, ["second", "first"]),
        ({"snapshot_branch": "nightly"}, ["nightly", "audit"]),
        ({"snapshot_timestamp": 1000}, ["1000"]),
        ({"snapshot_timestamp": 4102444800000}, ["snapshot_timestamp", "not come"]),
        ({"snapshot_id": 1, "snapshot_tag": "first"}, ["snapshot_id", "snapshot_tag"]),
    ],
)
def test_refused(client, travelled, way, words):
    data = helpers.vectors(1, DIM, 0)
    error = helpers.error_of(
        client.search,
        travelled.name,
        data=data,
        anns_field="embedding",
        search_params={"params": way},
    )
    assert all(word in error.message for word in words), error.message
    parameters = {key: str(value) for key, value in way.items()}
    with helpers.watched(client, "Query", **parameters):
        error = helpers.error_of(client.query, travelled.name, filter="id > 0")
    assert all(word in error.message for word in words), error.message
    tables.check_search(client, travelled.name, travelled.rows(4))


def test_an_expired_snapshot_is_gone(client, name, warehouse):
    table = warehouse.create(name)
    first = tables.append(table, 0, 30)
    second = tables.append(table, 30, 30)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    table.maintenance.expire_snapshots().by_id(first).commit()
    helpers.refresh(client, name)
    error = helpers.error_of(
        client.search,
        name,
        data=helpers.vectors(1, DIM, 0),
        anns_field="embedding",
        search_params={"params": {"snapshot_id": first}},
    )
    assert str(first) in error.message and str(second) in error.message


def test_a_folder_has_no_snapshots(client, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    helpers.make(client, name, lake)
    error = helpers.error_of(
        client.search,
        name,
        data=helpers.vectors(1, 8, 0),
        anns_field="embedding",
        search_params={"params": {"snapshot_id": 1}},
    )
    assert "snapshot" in error.message


def test_beside_refreshes(client, name, warehouse, server):
    """While snapshots are published, each search is of the one that it asks for."""
    table = warehouse.create(name)
    first = tables.append(table, 0, 40)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    expected = tables.scanned(table, first)
    base = np.array([row["embedding"] for row in expected], np.float32)
    ids = [row["id"] for row in expected]
    queries = helpers.vectors(2, DIM, 7)

    def travel(number):
        own = server.client()
        for _ in range(5):
            way = {"snapshot_id": first}
            answer = search(own, name, way, limit=40, queries=queries)
            helpers.check_exact(answer, "L2", base, queries, 40, ids=ids)
        return number

    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        running = [pool.submit(travel, number) for number in range(4)]
        for number in range(3):
            tables.append(table, 40 + number * 10, 10)
            helpers.refresh(client, name)
        assert [one.result() for one in running] == list(range(4))
    assert helpers.count(client, name) == 70
