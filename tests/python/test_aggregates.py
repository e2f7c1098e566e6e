"""Aggregates of a query, groups and orders of rows, and their limits, against plain Python."""

import itertools

import pytest

import helpers
import products
from helpers import CALL_TIMEOUT_S, PK
from products import ALL, FIRST

ROWS = ALL[:FIRST]


def query(client, shop, output, expression="", **options):
    options = {"timeout": CALL_TIMEOUT_S, **options}
    return list(client.query(shop, filter=expression, output_fields=output, **options))


def known(rows, column):
    return [row[column] for row in rows if row[column] is not None]


def mean(values):
    return sum(values) / len(values) if values else None


FUNCTIONS = {
    "count": len,
    "sum": lambda values: sum(values) if values else None,
    "avg": mean,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
}
CHOSEN = products.matching(lambda v: v.id % 3 == 1)


@pytest.mark.parametrize("column", ["id", "small", "medium", "number", "price", "ratio"])
def test_aggregates_of_numbers(client, shop, column):
    names = [f"{function}({column})" for function in FUNCTIONS]
    row = query(client, shop, names, "id % 3 == 1")
    assert len(row) == 1
    for function, name in zip(FUNCTIONS, names, strict=True):
        expected = FUNCTIONS[function](known(CHOSEN, column))
        assert row[0][name] == pytest.approx(expected, rel=1e-9), name
        is_whole = function != "avg" and column not in ("price", "ratio")
        assert isinstance(row[0][name], int if is_whole or function == "count" else float), name


@pytest.mark.parametrize("column", ["kind", "name"])
def test_aggregates_of_texts(client, shop, column):
    names = [f"{function}({column})" for function in ("count", "min", "max")]
    row = query(client, shop, names, "id % 3 == 1")[0]
    values = known(CHOSEN, column)
    assert [row[name] for name in names] == [len(values), min(values), max(values)]


def test_the_name_of_a_column_is_the_text_as_given(client, shop):
    names = ["COUNT(*)", "Sum( small )", "max(id)"]
    row = query(client, shop, names)[0]
    assert row["COUNT(*)"] == FIRST
    assert row["Sum( small )"] == sum(known(ROWS, "small"))
    assert row["max(id)"] == FIRST - 1


def test_aggregates_of_no_rows(client, shop):
    row = query(client, shop, ["count(*)", "count(small)"], "id < 0")
    assert row == [{"count(*)": 0, "count(small)": 0}]


def test_count(client, shop):
    assert helpers.count(client, shop) == FIRST
    assert helpers.count(client, shop, "small > 0") == len(products.matching(lambda v: v.small > 0))
    assert helpers.count(client, shop, "small is null") == FIRST - len(known(ROWS, "small"))


# --- groups ---------------------------------------------------------------------------------------


def grouped(rows, columns):
    """Rows by the values of columns; null is a value here."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    return groups


@pytest.mark.parametrize(
    "columns", [["kind"], ["small"], ["medium"], ["number"], ["kind", "small"]], ids=str
)
def test_groups(client, shop, columns):
    names = ["count(*)", "count(price)", "sum(small)", "avg(price)", "min(id)", "max(ratio)"]
    answer = query(client, shop, [*columns, *names], "id >= 5", group_by_fields=columns)
    groups = grouped(ROWS[5:], columns)
    found = {tuple(row[column] for column in columns): row for row in answer}
    assert len(found) == len(answer)
    assert set(found) == set(groups)
    for key, rows in groups.items():
        row = found[key]
        assert row["count(*)"] == len(rows)
        assert row["count(price)"] == len(known(rows, "price"))
        assert row["sum(small)"] == (sum(known(rows, "small")) if known(rows, "small") else None)
        assert row["avg(price)"] == pytest.approx(mean(known(rows, "price")))
        assert row["min(id)"] == min(known(rows, "id"))
        assert row["max(ratio)"] == max(known(rows, "ratio"), default=None)


def test_groups_without_aggregates_are_the_distinct_values(client, shop):
    answer = query(client, shop, ["kind"], "id >= 0", group_by_fields=["kind"])
    found = [row["kind"] for row in answer]
    assert len(found) == len(set(found))
    assert set(found) == {*products.KINDS, None}


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_ordered_groups(client, shop, direction):
    answer = query(
        client, shop, ["kind", "count(*)"], "kind is not null", group_by_fields=["kind"],
        order_by_fields=[{"field": "kind", "order": direction}], limit=4,
    )  # fmt: skip
    kinds = sorted(products.KINDS, reverse=direction == "desc")[:4]
    assert [row["kind"] for row in answer] == kinds
    counts = [len([row for row in ROWS if row["kind"] == kind]) for kind in kinds]
    assert [row["count(*)"] for row in answer] == counts


def test_limited_groups(client, shop):
    answer = query(client, shop, ["kind", "count(*)"], "id >= 0", group_by_fields=["kind"], limit=3)
    assert len(answer) == 3
    groups = grouped(ROWS, ["kind"])
    assert all(row["count(*)"] == len(groups[row["kind"],]) for row in answer)


# --- order of rows --------------------------------------------------------------------------------

ORDERS = [
    [("price", "asc"), ("id", "asc")],
    [("price", "desc"), ("id", "desc")],
    [("kind", "asc"), ("number", "desc"), ("id", "asc")],
    [("name", "desc"), ("id", "asc")],
    [("ratio", "asc"), ("id", "desc")],
    [("moment", "desc")],
]


def in_order(rows, keys):
    for column, direction in reversed(keys):
        rows = sorted(rows, key=lambda row: row[column], reverse=direction == "desc")
    return rows


@pytest.mark.parametrize("keys", ORDERS, ids=str)
def test_ordered_rows(client, shop, keys):
    expression = " and ".join(f"{column} is not null" for column, _ in keys)
    rows = [row for row in ROWS if all(row[column] is not None for column, _ in keys)]
    expected = [row["id"] for row in in_order(rows, keys)]
    order = [f"{column}:{direction}" for column, direction in keys]
    for offset, limit in [(0, 25), (25, 25), (len(expected) - 4, 10), (0, 16384)]:
        answer = query(
            client, shop, ["id"], expression, order_by_fields=order, limit=limit, offset=offset
        )
        assert [row["id"] for row in answer] == expected[offset : offset + limit]
        assert all(PK in row for row in answer)


def test_rows_without_a_value_are_together_at_one_end(client, shop):
    answer = query(client, shop, ["small"], "id >= 0", order_by_fields=["small:asc"], limit=16384)
    values = [row["small"] for row in answer]
    runs = [is_null for is_null, _ in itertools.groupby(value is None for value in values)]
    assert runs in ([True, False], [False, True])
    assert [value for value in values if value is not None] == sorted(known(ROWS, "small"))


# --- windows and limits ---------------------------------------------------------------------------


def test_pages_are_in_the_order_of_the_primary_key(client, shop):
    pages = [query(client, shop, ["id"], "flag == true", limit=40, offset=at)
             for at in range(0, 200, 40)]  # fmt: skip
    expected = [row["id"] for row in products.matching(lambda v: v.flag)]
    assert [row["id"] for page in pages for row in page] == expected


def test_query_by_primary_keys(client, shop):
    keys = {row["id"]: row[PK] for row in helpers.rows_of(client, shop)}
    wanted = [keys[400], keys[2], keys[2], keys[479] + 7]
    rows = list(client.query(shop, ids=wanted, output_fields=["id"], timeout=CALL_TIMEOUT_S))
    assert [row["id"] for row in rows] == [2, 400]


REFUSED = [
    ({"output_fields": ["count(*)"], "limit": 5}, "count entities with pagination is not allowed"),
    ({"output_fields": ["id"]}, "empty expression should be used with limit"),
    ({"output_fields": ["id"], "limit": 16385}, "should be in range [1, 16384], but got 16385"),
    (
        {"output_fields": ["id"], "limit": 10, "offset": 16380},
        "invalid max query result window, (offset+limit) should be in range [1, 16384], but got "
        "16390",
    ),
    ({"output_fields": ["id"], "limit": 0}, "limit [0] is invalid"),
    ({"output_fields": ["id"], "limit": -1}, "limit [-1] is invalid"),
    ({"output_fields": ["id"], "limit": 1, "offset": -1}, "offset [-1] is invalid"),
    ({"output_fields": ["sum(*)"]}, "*"),
    ({"output_fields": ["sum(name)"]}, "VarChar"),
    ({"output_fields": ["avg(kind)"]}, "VarChar"),
    ({"output_fields": ["min(info)"]}, "JSON"),
    ({"output_fields": ["max(nothing)"]}, "nothing"),
    ({"output_fields": ["price", "count(*)"], "group_by_fields": ["kind"]}, "price"),
    (
        {"output_fields": ["price", "count(*)"], "group_by_fields": ["price"]},
        "group by field price has unsupported data type Double",
    ),
    (
        {"output_fields": ["tags", "count(*)"], "group_by_fields": ["tags"]},
        "group by field tags has unsupported data type Array",
    ),
    ({"output_fields": ["count(*)"], "group_by_fields": ["nothing"]}, "nothing"),
    (
        {"output_fields": ["kind"], "group_by_fields": ["kind"], "order_by_fields": ["price:asc"],
         "limit": 3},
        "price",
    ),
    ({"output_fields": ["id"], "order_by_fields": ["nothing:asc"], "limit": 3}, "nothing"),
    ({"output_fields": ["id"], "order_by_fields": ["id:up"], "limit": 3}, "up"),
    ({"output_fields": ["id"], "order_by_fields": ["info:asc"], "limit": 3}, "info"),
    ({"output_fields": ["id"], "filter": "id >= 0", "order_by_fields": ["id:asc"]}, "limit"),
    ({"output_fields": ["nothing"], "limit": 1}, "field nothing not exist"),
    ({"output_fields": ["id"], "limit": 1, "partition_names": ["p"]}, "partition name p not found"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "text"), REFUSED, ids=str)
def test_refused(client, shop, options, text):
    error = helpers.error_of(client.query, shop, **options)
    assert text in error.message
    assert error.is_input_error
