"""The oracle of the query language itself: logic of three values, data that tell things apart."""

import math

import numpy as np
import pytest

import products
from products import ALL, METRICS, SCALARS, both, either


def constant(value):
    def condition(values):
        return values.small if value is None else value

    return condition


UNKNOWN_ROW = {"small": None}
TRUTHS = [True, False, None]


@pytest.mark.parametrize("one", TRUTHS)
@pytest.mark.parametrize("two", TRUTHS)
def test_logic_of_three_values(one, two):
    parts = constant(one), constant(two)
    conjunction = False if False in (one, two) else None if None in (one, two) else True
    disjunction = True if True in (one, two) else None if None in (one, two) else False
    assert products.outcome(both(*parts), UNKNOWN_ROW) is conjunction
    assert products.outcome(either(*parts), UNKNOWN_ROW) is disjunction


def test_every_column_has_nulls_and_values():
    for column in (*SCALARS, "other"):
        values = [row[column] for row in ALL[: products.FIRST]]
        assert any(value is None for value in values) == (column != "id"), column
        assert any(value is not None for value in values)


def test_documents_have_all_kinds():
    sizes = {type(row["info"]["size"]) for row in ALL if row["info"]}
    assert sizes == {int, float, str}
    maybe = {row["info"].get("maybe", "missing") for row in ALL if row["info"]}
    assert maybe == {"yes", "missing", None}


def test_a_path_that_is_not_there_is_unknown():
    row = {"info": {"size": "large", "maybe": None, "deep": {"list": [1, 7]}}}
    assert products.outcome(lambda v: v.number_at("size") > 1, row) is None
    assert products.outcome(lambda v: v.at("maybe") == 1, row) is None
    assert products.outcome(lambda v: v.at("none") == 1, row) is None
    assert products.outcome(lambda v: v.at("deep", "list", 1) == 7, row) is True
    assert products.outcome(lambda v: v.at("deep", "list", 2) == 7, row) is None
    assert products.outcome(lambda v: v.has("maybe") and not v.has("none"), row) is True


def test_the_table_holds_the_rows():
    table = products.table(ALL[:30]).to_pydict()
    for place, row in enumerate(ALL[:30]):
        for column in ("id", "small", "price", "kind", "flag", "moment", "tags", "words"):
            assert table[column][place] == row[column], column
        assert np.float32(table["dot"][place]).tobytes() == row["dot"].tobytes()
        assert table["bits"][place] == products.packed(row["bits"])


@pytest.mark.parametrize("field", METRICS)
def test_the_nearest_row_of_a_row_is_itself(field):
    row = ALL[19]
    pairs = products.scored(field, row[field], ALL)
    assert all(pair[1][field] is not None for pair in pairs)
    if METRICS[field] != "IP":
        assert pairs[0][1]["id"] == 19
    scores = [score for score, _ in pairs]
    assert scores == sorted(scores, reverse=METRICS[field] in ("IP", "COSINE"))


def test_degrees():
    """A degree of the equator is a 360th part of the circumference."""
    assert products.degrees_apart((0, 0), (1, 0)) == pytest.approx(2 * math.pi * 6371008.8 / 360)
    assert products.degrees_apart((3, 4), (3, 4)) == 0


def test_checks_can_fail():
    query = products.queries("dot", 1)[0]
    truth = products.scored("dot", query, ALL)[:5]
    hits = [{"distance": score, "entity": {"id": row["id"]}} for score, row in truth]
    products.check_search(hits, "dot", query, ALL, 5)
    wrong = [
        hits[:4],
        [*hits[:4], hits[3]],
        [hits[1], hits[0], *hits[2:]],
        [{**hits[0], "entity": hits[1]["entity"]}, *hits[1:]],
    ]
    for answer in wrong:
        with pytest.raises(AssertionError):
            products.check_search(answer, "dot", query, ALL, 5)
