"""The filter language over every type against plain Python: what is true, what is false, and what
is neither; templates; and refusals with the words that Milvus has for them."""

import datetime

import pytest

import helpers
import products
from helpers import PK
from products import EPOCH, FIRST, both, either

HOUR = datetime.timedelta(hours=1)


def hours(number):
    """A moment that many hours after the first row's, in the language of filters."""
    return f"ISO '2025-01-{1 + number // 24:02}T{number % 24:02}:00:00Z'"


def after(values, number):
    """Whether the moment of a row comes after the one that many hours after the first row's."""
    return values.moment > EPOCH + number * HOUR


def label(value):
    """What stands for a parameter in the name of a test: conditions have no name."""
    return "" if callable(value) else str(value)[:60]


BOX = "POLYGON ((2.5 2.5, 6.5 2.5, 6.5 6.5, 2.5 6.5, 2.5 2.5))"
EDGED = "POLYGON ((2 2, 6 2, 6 6, 2 6, 2 2))"


# An expression and its condition. Each is asked as it stands and negated.
FILTERS = [
    # integers
    ("small == 7", lambda v: v.small == 7),
    ("small != 7", lambda v: v.small != 7),
    ("small > 50", lambda v: v.small > 50),
    ("7 == small", lambda v: v.small == 7),
    ("-5 <= small < 5", lambda v: -5 <= v.small < 5),
    ("5 > small >= -5", lambda v: -5 <= v.small < 5),
    ("small in [1, 2, -3, 44]", lambda v: v.small in (1, 2, -3, 44)),
    ("small not in [1, 2, -3, 44]", lambda v: v.small not in (1, 2, -3, 44)),
    ("medium in []", lambda v: v.medium in ()),
    ("medium not in []", lambda v: v.medium not in ()),
    ("medium <= -0x40", lambda v: v.medium <= -64),
    ("number == 0b11111", lambda v: v.number == 31),
    ("number > 1000 or number < -1000", lambda v: abs(v.number) > 1000),
    ("small + 3 == 10", lambda v: v.small + 3 == 10),
    ("number - 10 < -50", lambda v: v.number - 10 < -50),
    ("number * 2 >= 80", lambda v: v.number * 2 >= 80),
    ("id / 4 == 3", lambda v: v.id // 4 == 3),
    ("id % 7 == 3", lambda v: v.id % 7 == 3),
    ("small < medium", lambda v: v.small < v.medium),
    ("small == number", lambda v: v.small == v.number),
    # floating point
    ("ratio == 0.125", lambda v: v.ratio == 0.125),
    ("ratio > -1", lambda v: v.ratio > -1),
    ("ratio in [0.25, -1.5, 2]", lambda v: v.ratio in (0.25, -1.5, 2)),
    ("price >= 25.5", lambda v: v.price >= 25.5),
    ("1.5 < price <= 2e1", lambda v: 1.5 < v.price <= 20),
    ("price not in [1.5, 2]", lambda v: v.price not in (1.5, 2)),
    ("ratio * 2 < 0.5", lambda v: v.ratio * 2 < 0.5),
    ("ratio < price", lambda v: v.ratio < v.price),
    # booleans
    ("flag == true", lambda v: v.flag),
    ("flag != TRUE", lambda v: not v.flag),
    ("flag in [false]", lambda v: not v.flag),
    # texts
    ('kind == "car"', lambda v: v.kind == "car"),
    ("kind != 'car'", lambda v: v.kind != "car"),
    ('kind in ["car", "book"]', lambda v: v.kind in ("car", "book")),
    ('"c" <= kind < "g"', lambda v: "c" <= v.kind < "g"),
    ('name > "red"', lambda v: v.name > "red"),
    ('name like "red%"', lambda v: v.name.startswith("red")),
    ('name like "%5"', lambda v: v.name.endswith("5")),
    ('name like "%apple%"', lambda v: "apple" in v.name),
    ('name like "red_apple _"', lambda v: v.name.startswith("red apple ") and len(v.name) == 11),
    (r'name like r"100\%%"', lambda v: v.name.startswith("100%")),
    (r'name like r"red\_%"', lambda v: v.name.startswith("red_")),
    ('name == "Ünïcode ☃ 5"', lambda v: v.name == "Ünïcode ☃ 5"),
    ('name =~ "apple [0-3]$"', lambda v: "apple" in v.name and v.name[-1] in "0123"),
    ('name !~ "^red"', lambda v: not v.name.startswith("red")),
    # moments
    (f"moment > {hours(100)}", lambda v: after(v, 100)),
    ("moment <= ISO '2025-01-05T12:00:00+08:00'", lambda v: not after(v, 100)),
    (f"moment == {hours(99)}", lambda v: v.moment == EPOCH + 99 * HOUR),
    (f"moment != {hours(99)}", lambda v: v.moment != EPOCH + 99 * HOUR),
    (f"moment + INTERVAL 'P1DT2H' > {hours(126)}", lambda v: after(v, 100)),
    (f"moment - INTERVAL 'PT30M' > {hours(99)}", lambda v: after(v, 99.5)),
    # places
    (f"st_within(place, '{BOX}')", lambda v: all(2.5 < part < 6.5 for part in v.place)),
    (f"st_within(place, '{EDGED}')", lambda v: all(2 < part < 6 for part in v.place)),
    (f"st_intersects(place, '{EDGED}')", lambda v: all(2 <= part <= 6 for part in v.place)),
    ("ST_EQUALS(place, 'POINT (3 4)')", lambda v: v.place == (3, 4)),
    ("st_touches(place, 'LINESTRING (1 1, 5 5)')", lambda v: v.place in ((1, 1), (5, 5))),
    ("st_dwithin(place, 'POINT (0 0)', 150000)",
     lambda v: products.degrees_apart(v.place, (0, 0)) <= 150_000),
    ("st_isvalid(place)", lambda v: v.place is not None),
    # documents
    ('info["color"] == "red"', lambda v: v.text_at("color") == "red"),
    ('info["color"] in ["red", "blue"]', lambda v: v.text_at("color") in ("red", "blue")),
    ('info["color"] like "%e%"', lambda v: "e" in v.text_at("color")),
    ('info["size"] > 6', lambda v: v.number_at("size") > 6),
    ('2 <= info["size"] < 4.5', lambda v: 2 <= v.number_at("size") < 4.5),
    ('info["size"] == 4.5', lambda v: v.number_at("size") == 4.5),
    ('info["size"] == "large"', lambda v: v.text_at("size") == "large"),
    ('info["rating"] + 1 == 4', lambda v: v.number_at("rating") == 3),
    ('info["rating"] in [1, 2]', lambda v: v.number_at("rating") in (1, 2)),
    ('info["deep"]["list"][0] == 3', lambda v: v.number_at("deep", "list", 0) == 3),
    ('info["deep"]["flag"] == true', lambda v: v.at("deep", "flag")),
    ('info["deep"]["list"] == [1, 7]', lambda v: v.at("deep", "list") == [1, 7]),
    ('exists info["rare"]', lambda v: not v.is_null("info") and v.has("rare")),
    ('json_contains(info["deep"]["list"], 2)', lambda v: 2 in v.at("deep", "list")),
    ('json_contains_all(info["deep"]["list"], [2, 7])', lambda v: 2 in v.at("deep", "list")),
    ('JSON_CONTAINS_ANY(info["deep"]["list"], [0, 1])',
     lambda v: v.at("deep", "list")[0] in (0, 1)),
    ('info["maybe"] is null', lambda v: v.is_null("info") or not _known(v, "maybe")),
    ('info["maybe"] is not null', lambda v: not v.is_null("info") and _known(v, "maybe")),
    # arrays
    ("array_contains(tags, 4)", lambda v: 4 in v.tags),
    ("array_contains_any(tags, [3, 9])", lambda v: bool({3, 9} & set(v.tags))),
    ("ARRAY_CONTAINS_ALL(tags, [1, 2])", lambda v: {1, 2} <= set(v.tags)),
    ('array_contains(words, "red")', lambda v: "red" in v.words),
    ('array_contains_any(words, ["w1", "blue"])', lambda v: bool({"w1", "blue"} & set(v.words))),
    ("array_length(tags) == 2", lambda v: len(v.tags) == 2),
    ("array_length(words) > 0", lambda v: len(v.words) > 0),
    # logic
    ("true", products.everything),
    ("small is null", lambda v: v.is_null("small")),
    ("tags IS NOT NULL", lambda v: not v.is_null("tags")),
    ("small > 0 and flag == true", both(lambda v: v.small > 0, lambda v: v.flag)),
    ("small > 0 || flag == true", either(lambda v: v.small > 0, lambda v: v.flag)),
    ("id < 10 or id > 200 and id < 205", lambda v: v.id < 10 or 200 < v.id < 205),
    ("(id < 10 || id > 200) && id < 205", lambda v: v.id < 10 or 200 < v.id < 205),
    ("small > 0 AND NOT (kind LIKE 'c%' OR price IS NULL)",
     both(lambda v: v.small > 0,
          lambda v: not either(lambda w: w.kind.startswith("c"),
                               lambda w: w.is_null("price"))(v))),
    ("not (small > 0) and !(flag == true)", both(lambda v: v.small <= 0, lambda v: not v.flag)),
]  # fmt: skip


def _known(values, key):
    return values.has(key) and values.info[key] is not None


@pytest.mark.parametrize(("expression", "condition"), FILTERS, ids=label)
def test_filter(client, shop, expression, condition):
    for text, wanted in ((expression, True), (f"not ({expression})", False)):
        rows = products.ALL[:FIRST]
        expected = [row["id"] for row in rows if products.outcome(condition, row) is wanted]
        assert helpers.ids_of(client, shop, text) == expected, text
        assert helpers.count(client, shop, text) == len(expected), text


def test_filters_choose_some_rows_and_not_all():
    """A filter that chooses nothing on purpose is rare; most must tell rows apart."""
    telling = [f for f in FILTERS if 0 < len(products.matching(f[1])) < FIRST]
    assert len(telling) >= len(FILTERS) - 5


# An array that is too short is asked as it stands only: neither true nor false is documented.
ELEMENTS = [
    ("tags[0] > 2", lambda v: v.element("tags", 0) > 2),
    ("tags[2] == 1", lambda v: v.element("tags", 2) == 1),
    ("tags[0] in [0, 4]", lambda v: v.element("tags", 0) in (0, 4)),
    ("tags[1] + 1 == 3", lambda v: v.element("tags", 1) == 2),
    ('words[0] == "blue"', lambda v: v.element("words", 0) == "blue"),
    ('words[1] like "w%"', lambda v: v.element("words", 1).startswith("w")),
    ('info["size"] in [2, "large"]', lambda v: v.at("size") in (2, "large")),
    ("array_contains_all(tags, [])", lambda v: v.tags is not None),
    ("array_contains_any(tags, [])", lambda v: not v.tags and False),
]


@pytest.mark.parametrize(("expression", "condition"), ELEMENTS, ids=label)
def test_element(client, shop, expression, condition):
    expected = [row["id"] for row in products.matching(condition)]
    assert helpers.ids_of(client, shop, expression) == expected


def test_primary_key(client, shop):
    keys = {row["id"]: row[PK] for row in helpers.rows_of(client, shop)}
    chosen = [keys[3], keys[200], keys[479]]
    for expression, expected in [
        (f"{PK} in {chosen}", [3, 200, 479]),
        (f"{PK} == {chosen[1]}", [200]),
        (f"{PK} > {keys[476]}", [477, 478, 479]),
        (f"{keys[1]} <= {PK} < {keys[4]}", [1, 2, 3]),
        (f"{PK} not in {chosen} and id >= 478", [478]),
        (f"{PK} > -9223372036854775807 and id < 2", [0, 1]),
        (f"{PK} is null", []),
    ]:
        assert helpers.ids_of(client, shop, expression) == expected, expression


def test_random_sample_takes_about_that_share_of_the_rows_that_match(client, shop):
    even = set(range(0, FIRST, 2))
    sizes = []
    for _ in range(8):
        found = helpers.ids_of(client, shop, "id % 2 == 0 and random_sample(0.5)")
        assert set(found) <= even and found == sorted(set(found))
        sizes.append(len(found))
    # Half of 1920 draws, eight standard deviations either way.
    assert 780 < sum(sizes) < 1140
    all_rows = helpers.ids_of(client, shop, "random_sample(0.25)")
    assert 0 < len(all_rows) < FIRST


def test_filters_in_another_time_zone(client, shop):
    naive = "moment > ISO '2025-01-05T12:00:00'"
    found = helpers.rows_of(client, shop, expression=naive, timezone="Asia/Shanghai")
    expected = products.matching(lambda v: after(v, 100))
    assert [row["id"] for row in found] == [row["id"] for row in expected]


# --- templates ------------------------------------------------------------------------------------

TEMPLATES = [
    ("small == {x}", {"x": 7}, lambda v: v.small == 7),
    ("small in {x}", {"x": [1, 2, -3]}, lambda v: v.small in (1, 2, -3)),
    ("small in {x}", {"x": []}, lambda v: v.small in ()),
    ("price > {x}", {"x": 25.5}, lambda v: v.price > 25.5),
    ("price > {x}", {"x": 25}, lambda v: v.price > 25),
    ("flag == {x}", {"x": True}, lambda v: v.flag),
    ("name == {x}", {"x": "Ünïcode ☃ 5"}, lambda v: v.name == "Ünïcode ☃ 5"),
    ("kind in {x}", {"x": ["car", 'a "quoted" word']}, lambda v: v.kind == "car"),
    ("{low} <= small < {high}", {"low": -5, "high": 5}, lambda v: -5 <= v.small < 5),
    ('info["color"] == {x}', {"x": "red"}, lambda v: v.text_at("color") == "red"),
    ('info["rating"] in {x}', {"x": [1, 2]}, lambda v: v.number_at("rating") in (1, 2)),
    ("array_contains_any(tags, {x})", {"x": [3, 9]}, lambda v: bool({3, 9} & set(v.tags))),
    ('json_contains(info["deep"]["list"], {x})', {"x": 2}, lambda v: 2 in v.at("deep", "list")),
    ("small + {x} == 10", {"x": 3}, lambda v: v.small == 7),
]


@pytest.mark.parametrize(("expression", "values", "condition"), TEMPLATES, ids=label)
def test_template(client, shop, expression, values, condition):
    expected = [row["id"] for row in products.matching(condition)]
    rows = helpers.rows_of(client, shop, expression=expression, filter_params=values)
    assert [row["id"] for row in rows] == expected
    query = products.queries("embedding", 1)
    hits = helpers.search(client, shop, query, limit=9, filter=expression, filter_params=values)[0]
    products.check_search(hits, "embedding", query[0], products.matching(condition), 9)


@pytest.mark.parametrize(
    ("expression", "values"),
    [("small == {x}", {}), ("small == {x}", {"x": "text"}), ("small in {x}", {"x": 5})],
    ids=str,
)
def test_template_that_does_not_fit(client, shop, expression, values):
    error = helpers.error_of(client.query, shop, filter=expression, filter_params=values, limit=1)
    assert error.code == 1100
    assert "cannot parse expression" in error.message


# --- refusals -------------------------------------------------------------------------------------

REFUSED = [
    ("not small == 1", "not op can only be applied on boolean expression"),
    ("not small in [1]", "not op can only be applied on boolean expression"),
    ("flag", "predicate is not a boolean expression"),
    ("flag and small > 1", ""),
    ("small", "predicate is not a boolean expression"),
    ("1 + 1", ""),
    ("small == 1.5", ""),
    ("small == 'x'", ""),
    ("kind == 1", ""),
    ("flag == 1", ""),
    ("small in 5", ""),
    ("small in [1.5]", "cannot be casted to"),
    ("kind in [1]", "cannot be casted to"),
    ('small like "1%"', "like operation on non-string or no-json field is unsupported"),
    ("small + id == 3", "not supported to do arithmetic operations between multiple fields"),
    ("small / 0 == 1", "division or modulus by zero"),
    ("small << 1 == 2", "shift is not supported"),
    ("small ** 2 == 4", "power can only apply on constants"),
    ("10 < small < 5", "invalid range"),
    ("nothing == 1", "field nothing not exist"),
    ("small == ", ""),
    ("small is  null", ""),
    ("(small) is null", ""),
    ("small == NULL", ""),
    ("Not (small == 1)", ""),
    ("exists small", ""),
    ('name == "open', ""),
    ("embedding == 1", ""),
    ('text_match(name, "red")', "does not enable match"),
    ('phrase_match(name, "red apple", 1)', "does not enable match"),
    ("random_sample(1.5)", "the sample factor should be between 0 and 1"),
    ("random_sample(0.5) and id > 3", ""),
    ("st_within(place, 'POLYGON ((')", ""),
    ("st_within(name, 'POINT (1 1)')", ""),
    ("moment > ISO 'yesterday'", ""),
    ("array_contains(small, 1)", ""),
    ("array_length(small) == 1", ""),
    ("json_contains(name, 1)", ""),
]


@pytest.mark.parametrize(("expression", "text"), REFUSED, ids=label)
def test_refused(client, shop, expression, text):
    error = helpers.error_of(client.query, shop, filter=expression, limit=1)
    assert error.code == 1100
    assert error.is_input_error
    assert "failed to create query plan" in error.message
    assert text in error.message


# --- expressions that are too much ----------------------------------------------------------------


def refused_or_answered(client, name, expression):
    """Any answer will do but a broken server. Returns the rows, or `None` for a refusal."""
    try:
        rows = client.query(name, filter=expression, output_fields=["id"], limit=16384, timeout=60)
    except helpers.MilvusException as error:
        assert error.code == 1100, error
        return None
    return [row["id"] for row in rows]


def test_an_expression_that_is_too_deep_is_refused(client, shop):
    for expression in (
        "(" * 100_000 + "id > 0" + ")" * 100_000,
        "not " * 100_000 + "(id > 0)",
        "id > " + "-" * 100_000 + "1",
    ):
        assert refused_or_answered(client, shop, expression) is None
    path = 'info["a"' + "][0" * 100_000 + "] == 1"
    assert refused_or_answered(client, shop, path) in (None, [])
    assert helpers.ids_of(client, shop, "id < 2") == [0, 1]


def test_an_expression_that_is_long_but_flat_is_refused_or_answered(client, shop):
    for word in (" or ", " and "):
        found = refused_or_answered(client, shop, word.join(["id >= 0"] * 10_000))
        assert found in (None, list(range(FIRST)))
    assert helpers.ids_of(client, shop, "id < 2") == [0, 1]


def test_a_list_of_a_million_is_refused_or_answered(client, shop):
    numbers = range(470, 1_000_470)
    found = refused_or_answered(client, shop, f"id in {list(numbers)}")
    assert found in (None, list(range(470, FIRST)))
    assert helpers.ids_of(client, shop, "id < 2") == [0, 1]


def test_a_list_of_a_hundred_thousand_is_answered(client, shop):
    options = {"filter_params": {"x": list(range(470, 100_470))}}
    rows = helpers.rows_of(client, shop, expression="id in {x}", **options)
    assert [row["id"] for row in rows] == list(range(470, FIRST))


@pytest.mark.parametrize(
    "pattern", ["(a*)*b", "(a|a)*$", "((a{1000}){1000}){1000}", "(", "a{9999999}"]
)
def test_a_pattern_made_to_be_slow_is_refused_or_answered(client, shop, pattern):
    refused_or_answered(client, shop, f'name =~ "{pattern}"')
    assert helpers.ids_of(client, shop, "id < 2") == [0, 1]
