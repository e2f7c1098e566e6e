"""The ways to search: by range, in groups, in windows, rounded, in another order, by primary keys;
each against a full sort in numpy. And what does not go together."""

import numpy as np
import pytest
from pymilvus import DataType
from pymilvus.client import field_data_extractors

import helpers
import products
from helpers import PK
from products import ALL, FIRST, METRICS

ROWS = ALL[:FIRST]


def search(client, shop, field, data, **options):
    return helpers.search(client, shop, products.as_data(field, data), field, **options)


# --- ranges and windows ---------------------------------------------------------------------------


@pytest.mark.parametrize("field", METRICS)
@pytest.mark.parametrize("nested", [True, False], ids=["nested", "flat"])
def test_range(client, shop, field, nested):
    data = products.queries(field, 2)
    for number, query in enumerate(data):
        truth = [score for score, _ in products.scored(field, query, ROWS)]
        # Bit distances are whole numbers, so the borders fall on rows: one is in, the other not.
        near, far = truth[10], truth[60]
        if field != "bits":
            near, far = (truth[10] + truth[11]) / 2, (truth[60] + truth[61]) / 2
        if METRICS[field] in helpers.LARGER_IS_NEARER:
            inside = [score for score in truth if far < score <= near]
        else:
            inside = [score for score in truth if near <= score < far]
        limits = {"radius": far, "range_filter": near}
        options = {"search_params": {"params": limits} if nested else limits}
        hits = search(client, shop, field, data, limit=FIRST, **options)[number]
        assert 0 < len(inside) < FIRST - 20
        np.testing.assert_allclose([hit["distance"] for hit in hits], inside, rtol=1e-4)


@pytest.mark.parametrize("field", METRICS)
def test_radius_alone(client, shop, field):
    query = products.queries(field, 1)
    truth = products.scored(field, query[0], ROWS)
    far = truth[40][0] if field == "bits" else (truth[40][0] + truth[41][0]) / 2
    if METRICS[field] in helpers.LARGER_IS_NEARER:
        inside = [pair for pair in truth if pair[0] > far]
    else:
        inside = [pair for pair in truth if pair[0] < far]
    parameters = {"params": {"radius": far}}
    hits = search(client, shop, field, query, limit=FIRST, search_params=parameters)[0]
    products.check_hits(hits, inside)
    few = search(client, shop, field, query, limit=7, search_params=parameters)[0]
    products.check_hits(few, inside[:7])


def test_range_with_a_filter(client, shop):
    query = products.queries("embedding", 1)
    rows = products.matching(lambda v: v.small > 0)
    truth = products.scored("embedding", query[0], rows)
    far = (truth[20][0] + truth[21][0]) / 2
    hits = search(
        client, shop, "embedding", query, limit=100, filter="small > 0",
        search_params={"params": {"radius": far}},
    )[0]  # fmt: skip
    products.check_hits(hits, truth[:21])


def test_range_in_which_nothing_lies(client, shop):
    query = products.queries("embedding", 1)
    parameters = {"params": {"radius": 1e-3, "range_filter": 0.0}}
    assert list(search(client, shop, "embedding", query, search_params=parameters)[0]) == []


@pytest.mark.parametrize("field", METRICS)
def test_window(client, shop, field):
    data = products.queries(field, 3)
    for offset, limit in [(0, 5), (3, 5), (470, 20), (479, 1), (600, 5)]:
        answer = search(client, shop, field, data, limit=limit, offset=offset)
        for hits, query in zip(answer, data, strict=True):
            products.check_search(hits, field, query, ROWS, limit, offset)


def test_windows_join_without_gap_or_overlap(client, shop):
    query = products.queries("bits", 1)
    pages = [
        [hit["entity"]["id"] for hit in search(client, shop, "bits", query, limit=50, offset=at)[0]]
        for at in range(0, 500, 50)
    ]
    assert sorted(sum(pages, [])) == list(range(FIRST))


@pytest.mark.parametrize("places", [0, 1, 3, 6])
def test_rounded(client, shop, places):
    query = products.queries("dot", 1)
    truth = products.scored("dot", query[0], ROWS)[:10]
    hits = helpers.search(client, shop, query, "dot", round_decimal=places)[0]
    for hit, (score, _) in zip(hits, truth, strict=True):
        assert hit["distance"] == pytest.approx(round(score, places), abs=2 * 10.0**-places)
        text = f"{round(hit['distance'], places):.{places}f}"
        assert hit["distance"] == pytest.approx(float(text), rel=1e-6)


# --- order by other fields ------------------------------------------------------------------------


def ordered(rows, *keys):
    """Rows sorted by pairs of field and direction; rows without a value come last."""
    for field, direction in reversed(keys):
        known = [row for row in rows if row[field] is not None]
        known.sort(key=lambda row: row[field], reverse=direction == "desc")
        rows = known + [row for row in rows if row[field] is None]
    return rows


@pytest.mark.parametrize(
    "keys",
    [
        [("id", "desc")],
        [("price", "asc"), ("id", "asc")],
        [("kind", "desc"), ("id", "desc")],
        [("flag", "asc"), ("number", "desc"), ("id", "asc")],
    ],
    ids=str,
)
def test_ordered_by_fields(client, shop, keys):
    query = products.queries("embedding", 1)
    rows = products.matching(lambda v: not any(v.is_null(field) for field, _ in keys))
    present = " and ".join(f"{field} is not null" for field, _ in keys)
    nearest = [row for _, row in products.scored("embedding", query[0], rows)[:25]]
    hits = search(
        client, shop, "embedding", query, limit=25, filter=present,
        order_by_fields=[{"field": field, "order": direction} for field, direction in keys],
    )[0]  # fmt: skip
    expected = [row["id"] for row in ordered(nearest, *keys)]
    assert [hit["entity"]["id"] for hit in hits] == expected


@pytest.mark.parametrize("nulls", ["nulls_first", "nulls_last"])
def test_order_of_nulls(client, shop, nulls):
    query = products.queries("embedding", 1)
    hits = search(
        client, shop, "embedding", query, limit=FIRST, output=["id", "small"],
        order_by_fields=f"small:asc:{nulls}",
    )[0]  # fmt: skip
    found = [hit["entity"]["small"] for hit in hits]
    missing = [row for row in ROWS if row["small"] is None]
    known = sorted(row["small"] for row in ROWS if row["small"] is not None)
    blank = [None] * len(missing)
    assert found == (blank + known if nulls == "nulls_first" else known + blank)


# --- primary keys instead of vectors --------------------------------------------------------------


@pytest.mark.parametrize("field", METRICS)
def test_search_by_primary_keys(client, shop, field):
    keys = {row["id"]: row[PK] for row in helpers.rows_of(client, shop)}
    wanted = [16, 4, 300]
    answer = client.search(
        shop, ids=[keys[number] for number in wanted], anns_field=field, limit=12,
        output_fields=["id"], filter="id != 4", timeout=helpers.CALL_TIMEOUT_S,
    )  # fmt: skip
    rows = [row for row in ROWS if row["id"] != 4]
    assert len(answer) == len(wanted)
    for hits, number in zip(answer, wanted, strict=True):
        products.check_search(hits, field, ALL[number][field], rows, 12)


def test_search_by_a_primary_key_that_has_no_vector(client, shop):
    keys = {row["id"]: row[PK] for row in helpers.rows_of(client, shop)}
    assert ALL[8]["other"] is None
    options = {"anns_field": "other", "limit": 3}
    error = helpers.error_of(client.search, shop, ids=[keys[8]], **options)
    assert error.is_input_error
    error = helpers.error_of(client.search, shop, ids=[keys[479] + 5], **options)
    assert str(keys[479] + 5) in error.message


# --- several vector fields, and their values ------------------------------------------------------


def test_null_vectors_are_never_hits(client, shop):
    query = products.queries("other", 1)
    hits = search(client, shop, "other", query, limit=FIRST)[0]
    assert len(hits) == len([row for row in ROWS if row["other"] is not None]) < FIRST
    products.check_search(hits, "other", query[0], ROWS, FIRST)


def test_vectors_come_back_as_stored(client, shop):
    query = products.queries("dot", 1)
    hits = search(client, shop, "dot", query, limit=40, output=["id", *METRICS])[0]
    assert any(hit["entity"]["other"] is None for hit in hits)
    for hit in hits:
        row = ALL[hit["entity"]["id"]]
        for field in METRICS:
            stored = row[field]
            if stored is not None:
                stored = products.packed(stored) if field == "bits" else stored.tobytes()
            assert helpers.vector_bytes(hit["entity"][field]) == stored, field


def test_every_field_comes_back_as_stored(client, shop):
    query = products.queries("bits", 1)
    hits = search(client, shop, "bits", query, limit=60, output=["*"])[0]
    for hit in hits:
        entity = dict(hit["entity"])
        assert set(entity) == {PK, *products.FIELDS}
        row = ALL[entity["id"]]
        for field in products.SCALARS:
            if field not in ("moment", "place"):
                assert entity[field] == row[field], field


# --- groups ---------------------------------------------------------------------------------------


def groups_of(field, query, key, limit, size=1, offset=0, rows=ROWS):
    """The groups nearest to a query, each with its nearest rows: a list of lists of pairs."""
    found = {}
    for score, row in products.scored(field, query, rows):
        found.setdefault(key(row), []).append((score, row))
    return [pairs[:size] for pairs in list(found.values())[offset : offset + limit]]


def by(column):
    return lambda row: row[column]


def check_groups(hits, groups, key, strict=True):
    """Checks that hits fall into just these groups, each with its nearest rows."""
    found = {}
    for hit in hits:
        row = ALL[hit["entity"]["id"]]
        found.setdefault(key(row), []).append(hit)
    assert set(found) == {key(group[0][1]) for group in groups}
    for group in groups:
        own = found[key(group[0][1])]
        assert len(own) == len(group) if strict else 0 < len(own) <= len(group)
        products.check_hits(own, group[: len(own)])


@pytest.mark.parametrize("column", ["kind", "small", "medium", "number", "flag"])
@pytest.mark.parametrize("field", ["embedding", "other", "dot"])
def test_grouped(client, shop, field, column):
    data = products.queries(field, 2)
    answer = search(
        client, shop, field, data, limit=12, group_by_field=column, output=["id", column]
    )
    for hits, query in zip(answer, data, strict=True):
        groups = groups_of(field, query, by(column), 12)
        # One of each group, the nearest first: the answer is a sorted list of its own.
        products.check_hits(hits, [group[0] for group in groups])
        for hit in hits:
            assert hit["entity"][column] == ALL[hit["entity"]["id"]][column]


def test_rows_without_a_value_are_a_group(client, shop):
    query = products.queries("embedding", 1)
    hits = search(client, shop, "embedding", query, limit=20, group_by_field="kind")[0]
    kinds = {ALL[hit["entity"]["id"]]["kind"] for hit in hits}
    assert kinds == {*products.KINDS, None}


@pytest.mark.parametrize("strict", [True, False])
def test_group_size(client, shop, strict):
    data = products.queries("embedding", 2)
    answer = search(
        client, shop, "embedding", data, limit=4, group_by_field="kind", group_size=6,
        strict_group_size=strict,
    )  # fmt: skip
    for hits, query in zip(answer, data, strict=True):
        groups = groups_of("embedding", query, by("kind"), 4, 6)
        check_groups(hits, groups, by("kind"), strict)


def test_strict_groups_of_few_rows(client, shop):
    query = products.queries("embedding", 1)
    hits = search(
        client, shop, "embedding", query, limit=40, group_by_field="medium", group_size=10,
        strict_group_size=True, filter="id < 60",
    )[0]  # fmt: skip
    groups = groups_of("embedding", query[0], by("medium"), 40, 10, rows=ALL[:60])
    check_groups(hits, groups, by("medium"))


def test_window_of_groups(client, shop):
    query = products.queries("dot", 1)
    groups = groups_of("dot", query[0], by("small"), 60)
    pages = [
        search(client, shop, "dot", query, limit=10, offset=at, group_by_field="small")[0]
        for at in (0, 10, 20)
    ]
    found = [hit["entity"]["id"] for page in pages for hit in page]
    assert found == [group[0][1]["id"] for group in groups[:30]]


def test_groups_with_a_filter(client, shop):
    query = products.queries("embedding", 1)
    rows = products.matching(lambda v: v.flag)
    hits = search(
        client, shop, "embedding", query, limit=3, group_by_field="kind", group_size=2,
        strict_group_size=True, filter="flag == true",
    )[0]  # fmt: skip
    groups = groups_of("embedding", query[0], by("kind"), 3, 2, rows=rows)
    check_groups(hits, groups, by("kind"))


def test_groups_of_several_fields(client, shop):
    query = products.queries("embedding", 1)

    def key(row):
        return row["kind"], row["flag"]

    hits = search(client, shop, "embedding", query, limit=8, group_by_fields=["kind", "flag"])[0]
    groups = groups_of("embedding", query[0], key, 8)
    check_groups(hits, groups, key)


def test_groups_by_a_path_into_a_document(client, shop):
    query = products.queries("embedding", 1)

    def key(row):
        return row["info"]["color"]

    hits = search(
        client, shop, "embedding", query, limit=3, group_by_field="info", json_path="/color",
        json_type=DataType.VARCHAR, filter='exists info["color"]',
    )[0]  # fmt: skip
    rows = products.matching(lambda v: v.text_at("color"))
    check_groups(hits, groups_of("embedding", query[0], key, 3, rows=rows), key)


@pytest.mark.parametrize("columns", [["kind"], ["small"], ["flag"], ["kind", "medium"]], ids=str)
def test_the_values_of_groups_come_along(client, shop, columns):
    """As columns of their own, whatever the output fields; the client shows them to nobody."""
    query = products.queries("embedding", 1)
    if len(columns) == 1:
        wish = {"group_by_field": columns[0]}
    else:
        wish = {"group_by_fields": columns}
    with helpers.watched(client, "Search") as answers:
        hits = search(client, shop, "embedding", query, limit=15, **wish)[0]
    results = answers[0].results
    values = [results.group_by_field_value] if len(columns) == 1 else results.group_by_field_values
    assert [column.field_name for column in values] == columns
    rows = [ALL[hit["entity"]["id"]] for hit in hits]
    for column in values:
        found = [field_data_extractors.decode_cell(column, place) for place in range(len(rows))]
        assert found == [row[column.field_name] for row in rows]


# --- what is refused ------------------------------------------------------------------------------

RANGE = {"params": {"radius": 5.0, "range_filter": 1.0}}
REFUSED = [
    ({"limit": 16385}, "should be in range [1, 16384]"),
    ({"limit": 10, "offset": 16380}, "should be in range [1, 16384]"),
    ({"search_params": {"params": {"range_filter": 1.0}}}, "radius"),
    ({"search_params": {"params": {"radius": 1.0, "range_filter": 5.0}}}, "range_filter"),
    ({"search_params": {"params": {"radius": "far"}}}, "radius"),
    (
        {"group_by_field": "kind", "search_params": RANGE},
        "Not allowed to do range-search when doing search-group-by",
    ),
    ({"group_by_field": "nothing"}, "groupBy field not found in schema"),
    ({"group_by_field": "kind", "group_size": 0}, "group"),
    ({"group_by_field": "kind", "group_size": 11}, "group"),
    ({"field": "bits", "group_by_field": "kind"}, "group"),
    ({"group_by_field": "price"}, "Double"),
    ({"order_by_fields": "nothing:asc"}, "nothing"),
    ({"order_by_fields": "id:sideways"}, "sideways"),
    ({"order_by_fields": "embedding:asc"}, "embedding"),
    ({"output": ["count(*)"]}, "count(*)"),
    ({"output": ["sum(small)"]}, "sum(small)"),
    ({"partition_names": ["nothing"]}, "partition name nothing not found"),
]


@pytest.mark.parametrize(("options", "text"), REFUSED, ids=str)
def test_refused(client, shop, options, text):
    options = {"field": "embedding", **options}
    field = options["field"]
    data = products.as_data(field, products.queries(field, 1))
    with pytest.raises(helpers.MilvusException) as caught:
        helpers.search(client, shop, data, **options)
    assert text in caught.value.message
    assert caught.value.is_input_error


def test_the_answers_of_many_queries_stay_apart(client, shop):
    data = products.queries("embedding", 200, seed=61)
    answer = search(client, shop, "embedding", data, limit=3)
    assert len(answer) == 200
    for hits, query in zip(answer, data, strict=True):
        products.check_search(hits, "embedding", query, ROWS, 3)
