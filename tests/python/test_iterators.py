"""Iterators: every row once and in order, through ties and duplicates, while the lake changes, and
with the iterators of the older interface, which ask in other ways."""

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import Collection, MilvusException, connections
from pymilvus.client.iterator import SearchIterator

import helpers
import products
from helpers import CALL_TIMEOUT_S, PK
from products import ALL, FIRST, METRICS

ROWS = ALL[:FIRST]


def drain(iterator):
    """All hits of an iterator, page by page, and the sizes of the pages."""
    hits, sizes = [], []
    while page := iterator.next():
        hits += list(page)
        sizes.append(len(page))
        assert len(sizes) < 2000, "the iterator does not end"
    iterator.close()
    return hits, sizes


def iterate(client, name, field, query, **options):
    options = {"batch_size": 50, "output_fields": ["id"], **options}
    iterator = client.search_iterator(
        name, data=products.as_data(field, query), anns_field=field, timeout=CALL_TIMEOUT_S,
        **options,
    )  # fmt: skip
    # The client falls back to the first version by itself when a server does not know the second.
    assert type(iterator).__name__ == "SearchIteratorV2"
    return iterator


# --- search iterators -----------------------------------------------------------------------------


@pytest.mark.parametrize("field", METRICS)
@pytest.mark.parametrize("batch_size", [7, 100, 16384])
def test_every_row_once(client, shop, field, batch_size):
    query = products.queries(field, 1)
    hits, sizes = drain(iterate(client, shop, field, query, batch_size=batch_size))
    expected = products.scored(field, query[0], ROWS)
    products.check_hits(hits, expected)
    assert all(size == batch_size for size in sizes[:-1])


def test_filtered(client, shop):
    query = products.queries("embedding", 1)
    rows = products.matching(lambda v: v.flag)
    hits, _ = drain(iterate(client, shop, "embedding", query, filter="flag == true"))
    products.check_hits(hits, products.scored("embedding", query[0], rows))
    assert drain(iterate(client, shop, "embedding", query, filter="id < 0"))[0] == []


def test_limit(client, shop):
    query = products.queries("dot", 1)
    hits, sizes = drain(iterate(client, shop, "dot", query, limit=120))
    products.check_hits(hits, products.scored("dot", query[0], ROWS)[:120])
    assert sizes == [50, 50, 20]


def test_range(client, shop):
    query = products.queries("embedding", 1)
    truth = products.scored("embedding", query[0], ROWS)
    far = (truth[150][0] + truth[151][0]) / 2
    parameters = {"params": {"radius": far}}
    hits, _ = drain(iterate(client, shop, "embedding", query, search_params=parameters))
    products.check_hits(hits, truth[:151])


def test_filter_of_the_client(client, shop):
    query = products.queries("embedding", 1)
    iterator = iterate(
        client, shop, "embedding", query, batch_size=20,
        external_filter_func=lambda hits: [hit for hit in hits if hit["entity"]["id"] % 3 == 0],
    )  # fmt: skip
    hits, _ = drain(iterator)
    rows = [row for row in ROWS if row["id"] % 3 == 0]
    products.check_hits(hits, products.scored("embedding", query[0], rows))


TIES = 700


@pytest.fixture(scope="module")
def ties(client, module_name, s3):
    """All vectors of `embedding` are equal; those of `dot` repeat every five rows."""
    lake = helpers.S3Lake(s3, module_name)
    five = np.abs(helpers.vectors(5, 8, seed=70))
    for first in range(0, TIES, 250):
        numbers = np.arange(first, min(first + 250, TIES))
        columns = {
            "id": pa.array(numbers),
            "embedding": helpers.fixed_size_lists(np.ones((len(numbers), 8), np.float32)),
            "dot": helpers.fixed_size_lists(five[numbers % 5]),
        }
        lake.put(f"{first:03}.parquet", pa.table(columns), row_group_size=60)
    fields = {field: products.FIELDS[field] for field in ("id", "embedding", "dot")}
    indexes = {field: METRICS[field] for field in ("embedding", "dot")}
    helpers.make(client, module_name, lake, fields, indexes)
    return module_name


@pytest.mark.parametrize("field", ["embedding", "dot"])
@pytest.mark.parametrize("batch_size", [1, 9, 140, 699])
def test_ties(client, ties, field, batch_size):
    limit = 60 if batch_size == 1 else -1
    query = products.queries(field, 1)
    hits, _ = drain(iterate(client, ties, field, query, batch_size=batch_size, limit=limit))
    found = [hit["entity"]["id"] for hit in hits]
    assert len(set(found)) == len(found), "a row came twice"
    assert len(found) == (60 if batch_size == 1 else TIES)
    distances = [hit["distance"] for hit in hits]
    assert distances == sorted(distances, reverse=field == "dot")


def test_ties_with_a_filter_and_a_window(client, ties):
    query = products.queries("embedding", 1)
    options = {"batch_size": 33, "filter": "id % 2 == 1", "limit": 200}
    hits, sizes = drain(iterate(client, ties, "embedding", query, **options))
    found = {hit["entity"]["id"] for hit in hits}
    assert len(found) == 200 and all(number % 2 == 1 for number in found)
    assert sizes == [33] * 6 + [2]


def test_two_iterators_do_not_disturb_each_other(client, ties):
    one, two = (iterate(client, ties, "dot", products.queries("dot", 1, seed)) for seed in (1, 2))
    found = {"one": [], "two": []}
    for _ in range(TIES // 50):
        for name, iterator in (("one", one), ("two", two)):
            found[name] += [hit["entity"]["id"] for hit in iterator.next()]
    assert sorted(found["one"]) == sorted(found["two"]) == list(range(TIES))


def test_iterator_that_a_refresh_meets(client, name, lake):
    """Pages of one iterator are of one version: a refresh shows up in the next iterator."""
    products.fill(lake)
    helpers.make(client, name, lake, products.FIELDS, METRICS)
    query = products.queries("embedding", 1)
    iterator = iterate(client, name, "embedding", query)
    seen = list(iterator.next())
    products.append(lake)
    helpers.refresh(client, name)
    rest, _ = drain(iterator)
    products.check_hits(seen + rest, products.scored("embedding", query[0], ROWS))
    assert helpers.count(client, name) == len(ALL)
    hits, _ = drain(iterate(client, name, "embedding", query))
    products.check_hits(hits, products.scored("embedding", query[0], ALL))


def test_iterator_whose_file_vanishes(client, name, lake):
    """A version whose files are gone is an error that names the file, never fewer rows."""
    products.fill(lake)
    helpers.make(client, name, lake, products.FIELDS, METRICS)
    query = products.queries("embedding", 1)
    iterator = iterate(client, name, "embedding", query)
    list(iterator.next())
    lake.delete("b.parquet")
    helpers.refresh(client, name)
    with pytest.raises(MilvusException, match="b.parquet"):
        drain(iterator)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"group_by_field": "kind"}, "Not allowed to do groupBy when doing iteration"),
        ({"order_by_fields": "id:asc"}, "order"),
        ({"filter": "id =="}, "cannot parse expression"),
        ({"anns_field": "nothing"}, "nothing"),
    ],
    ids=str,
)
def test_refused(client, shop, options, text):
    query = products.queries("embedding", 1)
    error = helpers.error_of(
        client.search_iterator, shop, data=query, **{"anns_field": "embedding", **options}
    )
    assert text in error.message


@pytest.mark.parametrize("token", ["no token", "", "5f0c8dd6-3a8c-4f0f-9c0e-000000000000"])
def test_pages_of_an_iterator_that_nobody_opened(client, shop, token):
    """An empty token opens an iterator; any other must be one that the server gave out."""
    options = {
        "iterator": True, "search_iter_v2": True, "search_iter_batch_size": 5,
        "search_iter_id": token, "search_iter_last_bound": 0.5,
    }  # fmt: skip
    query = products.queries("embedding", 1)
    if token == "":
        del options["search_iter_id"], options["search_iter_last_bound"]
        answer = helpers.search(client, shop, query, limit=5, **options)
        info = answer.get_search_iterator_v2_results_info()
        assert info.token and info.last_bound == pytest.approx(answer[0][-1]["distance"])
        return
    with pytest.raises(helpers.MilvusException) as caught:
        helpers.search(client, shop, query, limit=5, **options)
    assert caught.value.is_input_error
    if token == "no token":
        assert "invalid token format" in caught.value.message


# --- iterators of the first version, and of the older interface -----------------------------------


def first_version(client, name, field, query, **options):
    """The iterator that asks by ranges and names the rows that it has seen."""
    connection = client._get_connection()
    schema, _ = connection._get_schema(name, timeout=CALL_TIMEOUT_S)
    return SearchIterator(
        handler=connection, context=None, collection_name=name,
        data=products.as_data(field, query), ann_field=field,
        param={"metric_type": METRICS[field], "params": {}}, schema=schema,
        output_fields=["id"], timeout=CALL_TIMEOUT_S, **options,
    )  # fmt: skip


@pytest.mark.parametrize("field", ["embedding", "dot"])
def test_first_version(client, shop, field):
    query = products.queries(field, 1)
    hits, _ = drain(first_version(client, shop, field, query, batch_size=40, limit=250))
    products.check_hits(hits, products.scored(field, query[0], ROWS)[:250])


def test_first_version_through_ties(client, ties):
    query = products.queries("embedding", 1)
    hits, _ = drain(first_version(client, ties, "embedding", query, batch_size=100, limit=400))
    found = [hit["entity"]["id"] for hit in hits]
    assert len(found) == len(set(found)) == 400


@pytest.fixture
def collection(server, shop):
    """The shared collection as the older interface has it."""
    connections.connect("older", uri=f"http://127.0.0.1:{server.port}", timeout=CALL_TIMEOUT_S)
    yield Collection(shop, using="older")
    connections.disconnect("older")


@pytest.mark.filterwarnings("ignore")
def test_older_search_iterator(collection):
    query = products.queries("embedding", 1)
    iterator = collection.search_iterator(
        data=query, anns_field="embedding", param={"metric_type": "L2", "params": {}},
        batch_size=60, limit=200, expr="flag == true", output_fields=["id"],
    )  # fmt: skip
    hits, _ = drain(iterator)
    rows = products.matching(lambda v: v.flag)
    products.check_hits(hits, products.scored("embedding", query[0], rows)[:200])


@pytest.mark.filterwarnings("ignore")
def test_older_query_iterator(collection):
    iterator = collection.query_iterator(batch_size=90, expr="id >= 20", output_fields=["id"])
    rows, sizes = drain(iterator)
    assert [row["id"] for row in rows] == list(range(20, FIRST))
    assert sizes == [90] * 5 + [10]


# --- query iterators ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "condition"),
    [
        ("", products.everything),
        ("small > 0", lambda v: v.small > 0),
        ("flag == true or id > 400", products.either(lambda v: v.flag, lambda v: v.id > 400)),
        ("id < 0", lambda v: False),
    ],
    ids=["all", "numbers", "logic", "none"],
)
def test_query_iterator(client, shop, expression, condition):
    iterator = client.query_iterator(
        shop, batch_size=70, filter=expression, output_fields=["id", "small"]
    )
    rows, _ = drain(iterator)
    expected = products.matching(condition)
    assert [(row["id"], row["small"]) for row in rows] == [
        (row["id"], row["small"]) for row in expected
    ]
    keys = [row[PK] for row in rows]
    assert keys == sorted(set(keys))


def test_query_iterator_with_a_limit_and_an_offset(client, shop):
    options = {"batch_size": 40, "output_fields": ["id"], "filter": "id >= 0"}
    rows, sizes = drain(client.query_iterator(shop, limit=100, **options))
    assert [row["id"] for row in rows] == list(range(100))
    assert sizes == [40, 40, 20]
    rows, _ = drain(client.query_iterator(shop, offset=450, **options))
    assert [row["id"] for row in rows] == list(range(450, FIRST))


def test_query_iterator_goes_on_after_a_break(client, shop, tmp_path):
    """An iterator that keeps its place in a file goes on from there."""
    options = {
        "batch_size": 100, "output_fields": ["id"], "filter": "id >= 0",
        "iterator_cp_file": str(tmp_path / "place"),
    }  # fmt: skip
    first = client.query_iterator(shop, **options)
    found = [row["id"] for row in first.next()] + [row["id"] for row in first.next()]
    second, _ = drain(client.query_iterator(shop, **options))
    assert found + [row["id"] for row in second] == list(range(FIRST))
