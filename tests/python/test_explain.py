"""`explain`: the facts about a plan that an answer carries when it is asked for them. The stock
client neither passes the parameter of a query on nor shows the facts, so both are seen on the
wire."""

import json

import pytest

import helpers
import products

KEYS = {
    "files", "files_pruned", "row_groups", "row_groups_pruned", "strategy", "rows", "requests",
    "bytes", "cache_hits", "stages",
}  # fmt: skip


def facts_of(answer):
    facts = json.loads(answer.status.extra_info["explain"])
    assert set(facts) >= KEYS
    for key in KEYS - {"strategy", "stages"}:
        assert isinstance(facts[key], int) and facts[key] >= 0, key
    assert facts["strategy"] and facts["stages"]
    return facts


def explained_search(client, name, **options):
    query = products.queries("embedding", 1)
    with helpers.watched(client, "Search") as answers:
        options = {"search_params": {"explain": True}, **options}
        helpers.search(client, name, query, limit=5, **options)
    return facts_of(answers[0])


def explained_query(client, name, expression, **options):
    with helpers.watched(client, "Query", explain="true") as answers:
        helpers.rows_of(client, name, expression=expression, **options)
    return facts_of(answers[0])


def test_nothing_is_told_that_was_not_asked(client, shop):
    for parameters in ({}, {"explain": False}):
        with helpers.watched(client, "Search") as answers:
            data = products.queries("embedding", 1)
            helpers.search(client, shop, data, search_params=parameters)
        assert "explain" not in answers[0].status.extra_info
    with helpers.watched(client, "Query") as answers:
        helpers.rows_of(client, shop)
    assert "explain" not in answers[0].status.extra_info


def test_search(client, shop):
    facts = explained_search(client, shop)
    assert (facts["files"], facts["files_pruned"]) == (4, 0)


def test_query(client, shop):
    facts = explained_query(client, shop, "small > 0")
    assert (facts["files"], facts["files_pruned"]) == (4, 0)


def test_files_and_row_groups_are_pruned(client, shop):
    """Numbers grow from file to file, so that a range of them needs one file, and in it two of its
    eight row groups. Each filter is a new one: one that was asked before is answered from memory."""
    for facts in (
        explained_search(client, shop, filter="30 <= id < 40"),
        explained_query(client, shop, "47 <= id < 57"),
    ):
        assert facts["files"] == 4
        assert facts["files_pruned"] == 3
        assert facts["row_groups_pruned"] >= 6


@pytest.mark.parametrize("wrong", ["maybe", "2"])
def test_what_is_no_truth_value_is_refused(client, shop, wrong):
    with pytest.raises(helpers.MilvusException, match="explain"):
        explained_search(client, shop, search_params={"explain": wrong})


def test_a_filter_that_was_just_asked_costs_no_requests(client, name, lake):
    products.fill(lake)
    helpers.make(client, name, lake, products.FIELDS, products.METRICS)
    first = explained_search(client, name, filter="small > 0", output=())
    again = explained_search(client, name, filter="small > 0", output=())
    assert first["requests"] > 0
    assert again["requests"] == 0
    # Matches that are kept count by file, pages and vectors that are kept one by one.
    assert again["files_from_cache"] + again["cache_hits"] > 0
