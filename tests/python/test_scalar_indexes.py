"""Scalar indexes: every type on every field that it fits, the same answers with and without, what
is refused, what describe tells, and that an index follows the files of its lake."""

import concurrent.futures
import re

import pytest

import helpers
import products
from helpers import CALL_TIMEOUT_S
from products import ALL, FIRST, both, either

NUMBERS = ["id", "small", "medium", "number"]
FRACTIONS = ["price", "ratio"]
TEXTS = ["kind", "name"]
NGRAM = {"min_gram": 2, "max_gram": 3}
# The fields that a type fits, with the parameters that it needs.
FITTING = {
    "INVERTED": dict.fromkeys([*NUMBERS, *FRACTIONS, *TEXTS, "flag", "tags", "words"], {}),
    "BITMAP": dict.fromkeys([*NUMBERS, *TEXTS, "flag", "tags", "words"], {}),
    "STL_SORT": dict.fromkeys([*NUMBERS, *FRACTIONS, "kind", "moment"], {}),
    "TRIE": dict.fromkeys(TEXTS, {}),
    "NGRAM": dict.fromkeys(TEXTS, NGRAM),
    "RTREE": {"place": {}},
    "AUTOINDEX": dict.fromkeys([field for field in products.SCALARS if field != "info"], {}),
}
PATHS = {
    "color": {"json_path": 'info["color"]', "json_cast_type": "varchar"},
    "size": {"json_path": 'info["size"]', "json_cast_type": "double"},
    "flag": {"json_path": 'info["deep"]["flag"]', "json_cast_type": "bool"},
    "list": {"json_path": 'info["deep"]["list"]', "json_cast_type": "array_double"},
}
BOX = "POLYGON ((2.5 2.5, 6.5 2.5, 6.5 6.5, 2.5 6.5, 2.5 2.5))"

# What is asked of each field, whatever its index.
ASKED = {
    "id": [("id == 77", lambda v: v.id == 77), ("100 <= id < 140", lambda v: 100 <= v.id < 140)],
    "small": [
        ("small == 7", lambda v: v.small == 7),
        ("small != 7", lambda v: v.small != 7),
        ("small > 90", lambda v: v.small > 90),
        ("small in [1, 2, -3]", lambda v: v.small in (1, 2, -3)),
        ("not (small in [1, 2, -3])", lambda v: v.small not in (1, 2, -3)),
        ("small is null", lambda v: v.is_null("small")),
        ("small + 3 == 10", lambda v: v.small == 7),
        ("small % 10 == 3 and small > 0", lambda v: v.small > 0 and v.small % 10 == 3),
    ],
    "medium": [("medium < -2500", lambda v: v.medium < -2500)],
    "number": [
        ("number == 49", lambda v: v.number == 49),
        ("number > 90000 or number < -90000", lambda v: abs(v.number) > 90_000),
    ],
    "price": [
        ("price >= 49.5", lambda v: v.price >= 49.5),
        ("1 < price <= 1.5", lambda v: 1 < v.price <= 1.5),
    ],
    "ratio": [
        ("ratio in [0.25, -1.5]", lambda v: v.ratio in (0.25, -1.5)),
        ("not (ratio < 4)", lambda v: v.ratio >= 4),
    ],
    "flag": [("flag == true", lambda v: v.flag), ("flag is not null", lambda v: v.flag in (0, 1))],
    "kind": [
        ('kind == "car"', lambda v: v.kind == "car"),
        ('kind in ["book", "none"]', lambda v: v.kind == "book"),
        ('kind > "fruit"', lambda v: v.kind > "fruit"),
        ("kind is null", lambda v: v.is_null("kind")),
    ],
    "name": [
        ('name == "red apple 0"', lambda v: v.name == "red apple 0"),
        ('name like "red%"', lambda v: v.name.startswith("red")),
        ('name like "%apple%"', lambda v: "apple" in v.name),
        ('name like "%ode ☃%"', lambda v: "ode ☃" in v.name),
        ('name like "%e"', lambda v: v.name.endswith("e")),
        (r'name like r"%100\% w%"', lambda v: "100% w" in v.name),
        ('not (name like "%apple%")', lambda v: "apple" not in v.name),
        ('name =~ "app.e [12]"', lambda v: "apple 1" in v.name or "apple 2" in v.name),
    ],
    "moment": [
        ("moment < ISO '2025-01-02T00:00:00Z'", lambda v: v.id < 24 and not v.is_null("moment")),
        ("moment is null", lambda v: v.is_null("moment")),
    ],
    "place": [
        (f"st_within(place, '{BOX}')", lambda v: all(2.5 < part < 6.5 for part in v.place)),
        ("st_equals(place, 'POINT (3 4)')", lambda v: v.place == (3, 4)),
        ("st_dwithin(place, 'POINT (0 0)', 150000)",
         lambda v: products.degrees_apart(v.place, (0, 0)) <= 150_000),
    ],
    "tags": [
        ("array_contains(tags, 4)", lambda v: 4 in v.tags),
        ("array_contains_any(tags, [3, 9])", lambda v: bool({3, 9} & set(v.tags))),
        ("array_contains_all(tags, [1, 2])", lambda v: {1, 2} <= set(v.tags)),
        ("not (array_contains(tags, 4))", lambda v: 4 not in v.tags),
        ("array_length(tags) == 2", lambda v: len(v.tags) == 2),
        ("tags is null", lambda v: v.is_null("tags")),
        ("tags[0] > 2", lambda v: v.element("tags", 0) > 2),
    ],
    "words": [
        ('array_contains(words, "red")', lambda v: "red" in v.words),
        ("array_length(words) == 0", lambda v: len(v.words) == 0),
    ],
    "info": [
        ('info["color"] == "red"', lambda v: v.text_at("color") == "red"),
        ('info["color"] in ["blue", "none"]', lambda v: v.text_at("color") == "blue"),
        ('info["color"] like "%re%"', lambda v: "re" in v.text_at("color")),
        ('info["size"] > 6', lambda v: v.number_at("size") > 6),
        ('info["size"] == 4.5', lambda v: v.number_at("size") == 4.5),
        ('info["size"] == "large"', lambda v: v.text_at("size") == "large"),
        ('not (info["size"] > 6)', lambda v: v.number_at("size") <= 6),
        ('exists info["size"]', lambda v: not v.is_null("info")),
        ('info["deep"]["flag"] == true', lambda v: v.at("deep", "flag")),
        ('json_contains(info["deep"]["list"], 2)', lambda v: 2 in v.at("deep", "list")),
        ('info["rating"] in [1, 2]', lambda v: v.number_at("rating") in (1, 2)),
    ],
}  # fmt: skip


def add(client, name, indexes):
    """Creates indexes, each given as a field, a type, and parameters. The client sleeps half a
    second in each call, so that they are made at once."""

    def make(field, index_type, params):
        index = client.prepare_index_params()
        index.add_index(field, index_type, name_of(field, params), params=params)
        client.create_index(name, index, timeout=60)

    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        for made in [pool.submit(make, *index) for index in indexes]:
            made.result()


def name_of(field, params):
    """The name of an index: that of its field, or that of its path."""
    path = params.get("json_path", field)
    return "_".join(re.findall(r"\w+", path))


def check_progress(client, name, index_name, rows):
    described = client.describe_index(name, index_name, timeout=CALL_TIMEOUT_S)
    progress = [described[key] for key in ("total_rows", "indexed_rows", "pending_index_rows")]
    assert progress == [rows, rows, 0], index_name
    assert described["state"] == "Finished"
    return described


def check_answers(client, name, fields, rows=ALL[:FIRST]):
    query = products.queries("embedding", 1)
    for field in fields:
        for expression, condition in ASKED[field]:
            matching = products.matching(condition, rows)
            assert helpers.ids_of(client, name, expression) == [row["id"] for row in matching], (
                expression
            )
            assert helpers.count(client, name, expression) == len(matching), expression
        hits = helpers.search(client, name, query, limit=8, filter=expression)[0]
        products.check_search(hits, "embedding", query[0], matching, 8)


@pytest.fixture
def own(client, name, lake):
    """A loaded collection of its own."""
    products.fill(lake)
    helpers.make(client, name, lake, products.FIELDS, products.METRICS)
    yield name
    client.drop_collection(name)


def test_answers_without_an_index(client, shop):
    check_answers(client, shop, ASKED)


@pytest.mark.parametrize("index_type", FITTING)
def test_type(client, own, index_type):
    """An index of each type that fits: described, used for the same answers, and dropped again."""
    fields = FITTING[index_type]
    add(client, own, [(field, index_type, params) for field, params in fields.items()])
    for field, params in fields.items():
        described = check_progress(client, own, field, FIRST)
        assert described["field_name"] == described["index_name"] == field
        assert described["index_type"].upper() == index_type
        for key, value in params.items():
            echoed = described.get(key, described.get("params", {}).get(key))
            assert int(echoed) == value
        assert field in client.list_indexes(own)
    check_answers(client, own, fields)
    for field in fields:
        client.drop_index(own, field, timeout=CALL_TIMEOUT_S)
        assert client.describe_index(own, field, timeout=CALL_TIMEOUT_S) is None
    assert set(client.list_indexes(own)) == set(products.METRICS)
    check_answers(client, own, fields)


@pytest.mark.parametrize("index_type", ["INVERTED", "AUTOINDEX"])
def test_paths_of_documents(client, own, index_type):
    add(client, own, [("info", index_type, params) for params in PATHS.values()])
    for params in PATHS.values():
        described = check_progress(client, own, name_of("info", params), FIRST)
        assert described["field_name"] == "info"
        flat = {**described, **described.get("params", {})}
        assert flat["json_cast_type"].lower() == params["json_cast_type"]
        assert "json_path" in flat
    check_answers(client, own, ["info"])
    client.drop_index(own, "info_size", timeout=CALL_TIMEOUT_S)
    check_answers(client, own, ["info"])


def test_short_grams_of_a_path(client, own):
    params = {**PATHS["color"], **NGRAM}
    add(client, own, [("info", "NGRAM", params)])
    check_progress(client, own, name_of("info", params), FIRST)
    check_answers(client, own, ["info"])


def test_several_indexes_together(client, own):
    """A conjunction and a disjunction over columns with indexes of several kinds and none."""
    add(client, own, [("small", "STL_SORT", {}), ("kind", "BITMAP", {}), ("tags", "INVERTED", {}),
                      ("name", "NGRAM", NGRAM), ("place", "RTREE", {}),
                      ("info", "INVERTED", PATHS["color"])])  # fmt: skip
    parts = [
        ("small > 0", lambda v: v.small > 0),
        ('kind in ["car", "book"]', lambda v: v.kind in ("car", "book")),
        ("array_contains(tags, 1)", lambda v: 1 in v.tags),
        ('name like "%apple%"', lambda v: "apple" in v.name),
        (f"st_within(place, '{BOX}')", lambda v: all(2.5 < part < 6.5 for part in v.place)),
        ('info["color"] == "red"', lambda v: v.text_at("color") == "red"),
        ("price < 25", lambda v: v.price < 25),
    ]
    rows = ALL[:FIRST]
    for first, one in parts:
        for second, two in parts:
            for word, joined in (("and", products.both), ("or", products.either)):
                condition = joined(one, two)
                for prefix, wanted in (("", True), ("not ", False)):
                    expected = [
                        row["id"] for row in rows if products.outcome(condition, row) is wanted
                    ]
                    text = f"{prefix}(({first}) {word} ({second}))"
                    assert helpers.ids_of(client, own, text) == expected, text


def test_an_index_answers_for_its_own_field_only(client, own):
    """Beside each field with an index stands another of the same type without one."""
    add(client, own, [("kind", "BITMAP", {}), ("small", "STL_SORT", {}), ("price", "INVERTED", {}),
                      ("info", "INVERTED", PATHS["color"])])  # fmt: skip
    for expression, condition in [
        (
            'kind in ["car", "book"] and name == "red apple 0"',
            both(lambda v: v.kind in ("car", "book"), lambda v: v.name == "red apple 0"),
        ),
        ("small > 0 and id > 300", both(lambda v: v.small > 0, lambda v: v.id > 300)),
        ("small > 90 or medium > 2900", either(lambda v: v.small > 90, lambda v: v.medium > 2900)),
        ("price < 5 and ratio > 0", both(lambda v: v.price < 5, lambda v: v.ratio > 0)),
        (
            'info["color"] == "red" and info["size"] == "large"',
            both(lambda v: v.text_at("color") == "red", lambda v: v.text_at("size") == "large"),
        ),
    ]:
        expected = [row["id"] for row in products.matching(condition)]
        assert expected
        assert helpers.ids_of(client, own, expression) == expected, expression


def test_an_index_follows_the_files(client, name, lake):
    """An index made before the first refresh, over new, removed and replaced files: each refresh
    leaves it complete."""
    fields = {"small": "STL_SORT", "kind": "BITMAP", "tags": "INVERTED", "name": "NGRAM"}
    helpers.create(client, name, lake, products.FIELDS, products.METRICS)
    add(client, name, [(field, kind, NGRAM if kind == "NGRAM" else {})
                       for field, kind in fields.items()])  # fmt: skip
    for field in fields:
        check_progress(client, name, field, 0)
    products.fill(lake)
    helpers.refresh(client, name)
    client.load_collection(name, timeout=CALL_TIMEOUT_S)
    states = [(ALL[:FIRST], lambda: None)]
    states.append((ALL, lambda: products.append(lake)))
    states.append((ALL[:120] + ALL[240:], lambda: lake.delete("b.parquet")))
    replaced = ALL[150:180]
    states.append((
        replaced + ALL[240:],
        lambda: lake.put("a.parquet", products.table(replaced), row_group_size=7),
    ))  # fmt: skip
    for rows, change in states:
        change()
        helpers.refresh(client, name)
        rows = sorted(rows, key=lambda row: row["id"])
        for field in fields:
            check_progress(client, name, field, len(rows))
            for expression, condition in ASKED[field]:
                expected = [row["id"] for row in products.matching(condition, rows)]
                assert sorted(helpers.ids_of(client, name, expression)) == expected, expression


def test_a_refresh_that_changes_nothing_reads_nothing(client, name, lake):
    products.fill(lake)
    helpers.make(client, name, lake, products.FIELDS, products.METRICS)
    add(client, name, [("small", "STL_SORT", {}), ("kind", "BITMAP", {})])
    with lake.server.counted() as cost:
        helpers.refresh(client, name)
    assert cost["get"] == 0
    assert cost["list"] == 1


def test_an_index_survives_a_restart(tmp_path, s3):
    lake = helpers.S3Lake(s3, "restarted-index")
    products.fill(lake)
    server = helpers.PandionServer(tmp_path, endpoints=[s3.host]).start()
    try:
        client = server.client()
        helpers.make(client, "own", lake, products.FIELDS, products.METRICS)
        add(client, "own", [("small", "STL_SORT", {}), ("kind", "BITMAP", {})])
        server.kill()
        server.start()
        client = server.client()
        client.load_collection("own", timeout=CALL_TIMEOUT_S)
        for field in ("small", "kind"):
            check_progress(client, "own", field, FIRST)
        check_answers(client, "own", ["small", "kind"])
    finally:
        server.stop()


# --- what is refused ------------------------------------------------------------------------------

UNFIT = [
    ("price", "BITMAP", {}, "bitmap index are only supported on bool, int, string and array field"),
    ("ratio", "BITMAP", {}, "bitmap index are only supported on bool, int, string and array field"),
    ("small", "TRIE", {}, "TRIE are only supported on varchar field"),
    ("flag", "TRIE", {}, "TRIE are only supported on varchar field"),
    ("tags", "STL_SORT", {}, "STL_SORT are only supported on numeric"),
    ("flag", "STL_SORT", {}, "STL_SORT are only supported on numeric"),
    ("small", "NGRAM", NGRAM, "ngram index can only be created on VARCHAR or JSON field"),
    ("small", "RTREE", {}, "RTREE index can only be built on geometry field"),
    ("name", "RTREE", {}, "RTREE index can only be built on geometry field"),
    ("place", "INVERTED", {}, "INVERTED are not supported on Geometry field"),
    ("embedding", "INVERTED", {"metric_type": "L2"}, "INVERTED"),
    ("embedding", "BITMAP", {"metric_type": "L2"}, "BITMAP"),
    ("small", "HNSW", {}, "HNSW"),
    ("small", "NONE_SUCH", {}, "invalid index type: NONE_SUCH"),
    ("small", "HYBRID", {}, "invalid index type: HYBRID"),
]


@pytest.fixture(scope="module")
def bare(client, module_name, s3):
    """A collection without any index, which no test adds one to."""
    lake = helpers.S3Lake(s3, module_name)
    products.fill(lake)
    helpers.create(client, module_name, lake, products.FIELDS, indexes={})
    return module_name


def refusal(client, name, field, index_type, params):
    with pytest.raises(helpers.MilvusException) as caught:
        add(client, name, [(field, index_type, params)])
    assert caught.value.is_input_error
    assert client.list_indexes(name) == []
    return caught.value


@pytest.mark.parametrize(("field", "index_type", "params", "text"), UNFIT, ids=str)
def test_type_that_does_not_fit(client, bare, field, index_type, params, text):
    error = refusal(client, bare, field, index_type, params)
    assert error.code == 1100
    assert text.lower() in error.message.lower()


@pytest.mark.parametrize(
    ("field", "index_type", "params", "text"),
    [
        ("nothing", "INVERTED", {}, "cannot create index on non-exist field: nothing"),
        ("name", "NGRAM", {}, "min_gram"),
        ("name", "NGRAM", {"min_gram": 3, "max_gram": 2}, "min_gram"),
        ("name", "NGRAM", {"min_gram": 0, "max_gram": 2}, "min_gram"),
        ("info", "INVERTED", {}, "json_"),
        ("info", "INVERTED", {"json_path": 'info["color"]'}, "json_cast_type"),
        (
            "info", "INVERTED",
            {"json_path": 'info["color"]', "json_cast_type": "blob"}, "json_cast_type",
        ),
        (
            "info", "INVERTED",
            {"json_path": 'other["color"]', "json_cast_type": "double"}, "other",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_parameters_that_do_not_fit(client, bare, field, index_type, params, text):
    assert text in refusal(client, bare, field, index_type, params).message


def test_a_second_index_on_a_field(client, own):
    add(client, own, [("small", "STL_SORT", {})])
    add(client, own, [("small", "STL_SORT", {})])
    with pytest.raises(helpers.MilvusException, match="at most one distinct index is allowed"):
        add(client, own, [("small", "INVERTED", {})])
    check_progress(client, own, "small", FIRST)
