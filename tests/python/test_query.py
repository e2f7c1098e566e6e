"""Query, get and filters against pandas: paging, counts, nulls, limits, typed empty answers."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pymilvus import DataType
from pymilvus.grpc_gen import schema_pb2

import helpers
from helpers import CALL_TIMEOUT_S, PK

ROWS = 240
FIELDS = {
    "id": DataType.INT64,
    "small": DataType.INT8,
    "price": DataType.DOUBLE,
    "ratio": DataType.FLOAT,
    "name": DataType.VARCHAR,
    "flag": DataType.BOOL,
    "info": DataType.JSON,
    "tags": (
        DataType.ARRAY,
        {"element_type": DataType.INT64, "max_capacity": 16},
    ),
    "embedding": (DataType.FLOAT_VECTOR, {"dim": 8}),
}


def make_frame():
    """Rows with nulls in every column but `id`, at different places."""
    random = np.random.default_rng(21)
    numbers = np.arange(ROWS)
    frame = pd.DataFrame({"id": numbers})
    frame["small"] = pd.array(random.integers(-100, 100, ROWS), "Int8")
    frame["price"] = pd.array(np.round(random.uniform(0, 50, ROWS), 1), "Float64")
    frame["ratio"] = pd.array((random.integers(-40, 40, ROWS) / 8).astype(np.float32), "Float32")
    words = ["red apple", "green apple", "red_car", "100% wool", "", "Ünïcode ☃"]
    frame["name"] = pd.array([f"{words[n % 6]} {n % 7}".strip() for n in numbers], "string")
    frame["flag"] = pd.array(numbers % 3 == 0, "boolean")
    frame["info"] = [
        {"color": "red" if n % 2 else "blue", "size": int(n % 9), "deep": {"list": [int(n % 4), 7]}}
        for n in numbers
    ]
    frame["tags"] = [[int(n % 5), int(n % 11)][: n % 3] for n in numbers]
    for place, column in enumerate(frame.columns[1:], start=2):
        frame[column] = frame[column].astype(object)
        frame.loc[numbers % (11 + place) == 0, column] = None
    return frame


FRAME = make_frame()


def to_table(frame):
    def column(name, arrow_type):
        values = [None if value is None or value is pd.NA else value for value in frame[name]]
        return pa.array(values, arrow_type)

    info = [None if value is None else json.dumps(value) for value in frame["info"]]
    return pa.table(
        {
            "id": pa.array(frame["id"]),
            "small": column("small", pa.int8()),
            "price": column("price", pa.float64()),
            "ratio": column("ratio", pa.float32()),
            "name": column("name", pa.string()),
            "flag": column("flag", pa.bool_()),
            "info": pa.array(info, pa.string()),
            "tags": column("tags", pa.list_(pa.int64())),
            "embedding": helpers.fixed_size_lists(helpers.vectors(len(frame), 8, 22)),
        }
    )


@pytest.fixture(scope="module")
def name(client, module_name, s3):
    """A loaded collection of three files, one of them with many row groups."""
    lake = helpers.S3Lake(s3, module_name)
    lake.put("a.parquet", to_table(FRAME[:80]), row_group_size=9)
    lake.put("b.parquet", to_table(FRAME[80:160]), use_dictionary=False)
    lake.put("c.parquet", to_table(FRAME[160:]), data_page_version="2.0")
    helpers.make(client, module_name, lake, FIELDS)
    return module_name


def known(value):
    return value is not None and value is not pd.NA


def has(condition):
    """A condition that no null fulfils."""

    def check(*values):
        return all(known(value) for value in values) and bool(condition(*values))

    return check


# The expression, the columns that the condition takes, and the condition.
FILTERS = [
    ("id < 10", ["id"], has(lambda v: v < 10)),
    ("10 < id <= 20", ["id"], has(lambda v: 10 < v <= 20)),
    ("20 > id >= 10", ["id"], has(lambda v: 10 <= v < 20)),
    ("small == -7 or small > 90", ["small"], has(lambda v: v == -7 or v > 90)),
    ("small != 5", ["small"], has(lambda v: v != 5)),
    ("not (small > 0)", ["small"], has(lambda v: not v > 0)),
    ("price >= 25.5", ["price"], has(lambda v: v >= 25.5)),
    ("price < 3", ["price"], has(lambda v: v < 3)),
    ("ratio == 0.125", ["ratio"], has(lambda v: v == 0.125)),
    ("ratio in [0.25, -1.5]", ["ratio"], has(lambda v: v in (0.25, -1.5))),
    ("id in [3, 5, 500]", ["id"], has(lambda v: v in (3, 5))),
    ("id in []", ["id"], has(lambda v: False)),
    ("name not in [\"red apple 0\", 'red_car 2']", ["name"],
     has(lambda v: v not in ("red apple 0", "red_car 2"))),
    ('name == "Ünïcode ☃ 5"', ["name"], has(lambda v: v == "Ünïcode ☃ 5")),
    ('name > "red"', ["name"], has(lambda v: v > "red")),
    ('name like "red%"', ["name"], has(lambda v: v.startswith("red"))),
    ('name like "%apple%"', ["name"], has(lambda v: "apple" in v)),
    ('name like "red_car _"', ["name"],
     has(lambda v: len(v) == 9 and v.startswith("red") and v[4:8] == "car ")),
    ("flag == true", ["flag"], has(lambda v: v)),
    ("flag != true", ["flag"], has(lambda v: not v)),
    ("small is null", ["small"], lambda v: not known(v)),
    ("name IS NOT NULL", ["name"], known),
    ("tags is null", ["tags"], lambda v: not known(v)),
    ("small + 1 == 8", ["small"], has(lambda v: v + 1 == 8)),
    ("id % 10 == 3", ["id"], has(lambda v: v % 10 == 3)),
    ("id * 2 > 400", ["id"], has(lambda v: v * 2 > 400)),
    ("id < 10 or id > 200 and id < 205", ["id"], has(lambda v: v < 10 or 200 < v < 205)),
    ("(id < 10 || id > 200) && id < 205", ["id"], has(lambda v: v < 10 or 200 < v < 205)),
    ('info["color"] == "red"', ["info"], has(lambda v: v["color"] == "red")),
    ('info["size"] > 6', ["info"], has(lambda v: v["size"] > 6)),
    ('info["size"] in [1, 2]', ["info"], has(lambda v: v["size"] in (1, 2))),
    ('info["deep"]["list"][0] == 3', ["info"], has(lambda v: v["deep"]["list"][0] == 3)),
    ('info["none_such"] == 1', ["info"], has(lambda v: False)),
    ('exists info["color"]', ["info"], known),
    ('json_contains(info["deep"]["list"], 2)', ["info"], has(lambda v: 2 in v["deep"]["list"])),
    ("array_contains(tags, 4)", ["tags"], has(lambda v: 4 in v)),
    ("array_contains_any(tags, [4, 9])", ["tags"], has(lambda v: bool({4, 9} & set(v)))),
    ("array_contains_all(tags, [4, 9])", ["tags"], has(lambda v: {4, 9} <= set(v))),
    ("array_length(tags) == 2", ["tags"], has(lambda v: len(v) == 2)),
    ("tags[0] > 2", ["tags"], has(lambda v: len(v) > 0 and v[0] > 2)),
    ("true", [], lambda: True),
    ("small > 0 and (name like 'red%' or flag == false)", ["small", "name", "flag"],
     lambda small, name, flag: known(small) and small > 0
     and (has(lambda v: v.startswith("red"))(name) or has(lambda v: not v)(flag))),
]  # fmt: skip


def expected_ids(columns, condition):
    rows = FRAME[columns].itertuples(index=False) if columns else [()] * ROWS
    return [number for number, row in enumerate(rows) if condition(*row)]


@pytest.mark.parametrize(("expression", "columns", "condition"), FILTERS, ids=lambda v: str(v)[:40])
def test_filter(client, name, expression, columns, condition):
    expected = expected_ids(columns, condition)
    assert helpers.ids_of(client, name, expression) == expected
    assert helpers.count(client, name, expression) == len(expected)


def test_filters_choose_some_rows_and_not_all():
    """A filter that chooses nothing on purpose is rare; most must tell rows apart."""
    telling = [f for f in FILTERS if 0 < len(expected_ids(f[1], f[2])) < ROWS]
    assert len(telling) >= len(FILTERS) - 5


def test_a_condition_its_negation_and_null_make_all_rows(client, name):
    for condition in ("small > 3", 'name like "red%"', "price in [1.0, 2.5]", "tags[0] == 1"):
        field = condition.split()[0].removesuffix("[0]")
        true = set(helpers.ids_of(client, name, condition))
        false = set(helpers.ids_of(client, name, f"not ({condition})"))
        assert not true & false
        rest = set(range(ROWS)) - true - false
        null = set(helpers.ids_of(client, name, f"{field} is null"))
        assert null <= rest
        if field != "tags":
            assert null == rest


def test_template(client, name):
    options = {"filter_params": {"numbers": [7, 8, 9], "top": 8}}
    rows = helpers.rows_of(client, name, expression="id in {numbers} and id <= {top}", **options)
    assert [row["id"] for row in rows] == [7, 8]


def test_rows_hold_the_values_of_the_files(client, name):
    rows = helpers.rows_of(client, name, [field for field in FIELDS if field != "embedding"])
    assert len(rows) == ROWS
    for row, expected in zip(rows, FRAME.to_dict("records"), strict=True):
        for field, value in expected.items():
            found = row[field]
            assert found == (value if known(value) else None), (row["id"], field)


def test_primary_key_comes_along_and_rows_are_in_its_order(client, name):
    rows = helpers.rows_of(client, name, ["id"])
    keys = [row[PK] for row in rows]
    assert keys == sorted(set(keys))
    assert all(key > 0 for key in keys)
    assert all(set(row) == {PK, "id"} for row in rows)


def test_get(client, name):
    keys = {row["id"]: row[PK] for row in helpers.rows_of(client, name)}
    wanted = [keys[200], keys[3], keys[3]]
    got = client.get(name, wanted, output_fields=["id"], timeout=CALL_TIMEOUT_S)
    assert sorted(row["id"] for row in got) == [3, 200]
    missing = client.get(name, [1, -5, keys[239] + 1], output_fields=["id"], timeout=CALL_TIMEOUT_S)
    assert list(missing) == []
    whole = client.get(name, [keys[7]], timeout=CALL_TIMEOUT_S)[0]
    assert set(whole) == {PK, *FIELDS}


def test_paging(client, name):
    pages = [
        [row["id"] for row in helpers.rows_of(client, name, limit=100, offset=offset)]
        for offset in (0, 100, 200, 300)
    ]
    assert pages == [list(range(100)), list(range(100, 200)), list(range(200, 240)), []]
    filtered = helpers.rows_of(client, name, expression="id % 2 == 0", limit=5, offset=50)
    assert [row["id"] for row in filtered] == [100, 102, 104, 106, 108]


def test_query_iterator(client, name):
    iterator = client.query_iterator(name, batch_size=70, filter="id >= 20", output_fields=["id"])
    found = []
    while batch := iterator.next():
        found += [row["id"] for row in batch]
    iterator.close()
    assert found == list(range(20, ROWS))


def test_empty_answers_have_typed_columns(client, name):
    assert helpers.rows_of(client, name, ["*"], "id < 0") == []
    with helpers.watched(client, "Query") as answers:
        helpers.rows_of(client, name, ["*"], "id < 0")
    columns = {column.field_name: column for column in answers[0].fields_data}
    assert set(columns) == {PK, *FIELDS}
    assert columns["small"].type == schema_pb2.Int8
    assert columns["name"].type == schema_pb2.VarChar
    assert columns["embedding"].type == schema_pb2.FloatVector
    assert columns["embedding"].vectors.dim == 8


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"filter": ""}, "empty expression should be used with limit"),
        ({"filter": "id > 0", "limit": 16385}, "range [1, 16384]"),
        ({"filter": "id > 0", "limit": 10, "offset": 16380}, "range [1, 16384]"),
        ({"filter": "id > 0", "output_fields": ["none_such"]}, "field none_such not exist"),
        ({"filter": "id > 0", "output_fields": ["count(*)"], "limit": 1}, "pagination"),
        ({"filter": "none_such > 0"}, "field none_such not exist"),
        ({"filter": "id > "}, "cannot parse expression"),
        ({"filter": "id"}, "predicate is not a boolean expression"),
        ({"filter": 'id == "text"'}, "cannot parse expression"),
        ({"filter": "(" * 5000 + "id > 0" + ")" * 5000}, "cannot parse expression"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_refused(client, name, options, text):
    error = helpers.error_of(client.query, name, **options)
    assert text in error.message
    assert error.is_input_error
