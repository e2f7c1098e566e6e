"""Hybrid search and re-ranking: the fused scores by definition, from full sorts in numpy."""

import math

import numpy as np
import pytest
from pymilvus import (
    AnnSearchRequest,
    Function,
    FunctionScore,
    FunctionType,
    RRFRanker,
    WeightedRanker,
)

import helpers
import products
from helpers import CALL_TIMEOUT_S
from products import ALL, FIRST, METRICS

ROWS = ALL[:FIRST]
ALL_FIELDS = list(METRICS)


def requests_for(data, limit, filters=None, params=None):
    """A request for each field, with the queries of `data`."""
    return [
        AnnSearchRequest(
            data=products.as_data(field, queries), anns_field=field, limit=limit,
            param=params or {}, filter=(filters or {}).get(field),
        )
        for field, queries in data.items()
    ]  # fmt: skip


def hybrid(client, shop, requests, ranker, **options):
    options = {"limit": 10, "output_fields": ["id"], "timeout": CALL_TIMEOUT_S, **options}
    return client.hybrid_search(shop, requests, ranker, **options)


def data_for(fields, count=1):
    return {field: products.queries(field, count) for field in fields}


def fused(lists, score_of):
    """Rows with the sum of what each list gives them, the best first. `score_of` takes the number
    of the list, the place of the row in it, from 1, and its score."""
    sums, rows = {}, {}
    for number, pairs in enumerate(lists):
        for place, (score, row) in enumerate(pairs, start=1):
            sums[row["id"]] = sums.get(row["id"], 0.0) + score_of(number, place, score)
            rows[row["id"]] = row
    return sorted(((value, rows[key]) for key, value in sums.items()), key=lambda pair: -pair[0])


def check(hits, expected, limit, offset=0):
    """Checks scores in order, and each hit with the score of its row: ties come in any order."""
    products.check_hits(hits, expected[offset : offset + limit])
    own = {row["id"]: score for score, row in expected}
    for hit in hits:
        assert hit["distance"] == pytest.approx(own[hit["entity"]["id"]], rel=1e-4, abs=1e-5)


def normal(field, score):
    """A score on the scale from 0 to 1 on which larger is better."""
    match METRICS[field]:
        case "COSINE":
            return (1 + score) / 2
        case "IP":
            return 0.5 + math.atan(score) / math.pi
        case _:
            return 1 - 2 * math.atan(score) / math.pi


def nearest(data, limit, number=0, rows=ROWS):
    """The list of each field for one of the queries."""
    return [
        products.scored(field, queries[number], rows)[:limit] for field, queries in data.items()
    ]


# --- fusion ---------------------------------------------------------------------------------------


# Bit distances tie, and places in a list of ties are anyone's choice.
@pytest.mark.parametrize("k", [60, 1, 1000])
@pytest.mark.parametrize("fields", [["embedding", "dot"], ["embedding", "other", "dot"]], ids=len)
def test_reciprocal_ranks(client, shop, fields, k):
    data = data_for(fields, count=3)
    answer = hybrid(client, shop, requests_for(data, 30), RRFRanker(k), limit=20)
    assert len(answer) == 3
    for number, hits in enumerate(answer):
        expected = fused(nearest(data, 30, number), lambda _, place, __: 1 / (k + place))
        check(hits, expected, 20)


@pytest.mark.parametrize("weights", [(0.7, 0.3), (1.0, 0.0), (0.5, 0.5)], ids=str)
@pytest.mark.parametrize("fields", [["embedding", "dot"], ["other", "dot"]], ids=str)
def test_weights_of_normal_scores(client, shop, fields, weights):
    data = data_for(fields, count=2)
    ranker = WeightedRanker(*weights, norm_score=True)
    answer = hybrid(client, shop, requests_for(data, FIRST), ranker, limit=25)
    for number, hits in enumerate(answer):
        expected = fused(
            nearest(data, FIRST, number),
            lambda list_, _, score: weights[list_] * normal(fields[list_], score),
        )
        check(hits, expected, 25)


def test_weights_of_all_metrics(client, shop):
    weights = (0.4, 0.3, 0.2, 0.1)
    data = data_for(ALL_FIELDS)
    hits = hybrid(client, shop, requests_for(data, FIRST), WeightedRanker(*weights), limit=40)[0]
    expected = fused(
        nearest(data, FIRST),
        lambda list_, _, score: weights[list_] * normal(ALL_FIELDS[list_], score),
    )
    check(hits, expected, 40)


def test_weights_of_raw_scores(client, shop):
    """Scores of one direction are added as they are."""
    data = data_for(["other", "dot"])
    ranker = WeightedRanker(0.8, 0.2, norm_score=False)
    hits = hybrid(client, shop, requests_for(data, FIRST), ranker, limit=15)[0]
    weights = (0.8, 0.2)
    expected = fused(nearest(data, FIRST), lambda list_, _, score: weights[list_] * score)
    check(hits, expected, 15)


def test_filters_of_their_own(client, shop):
    fields = ["embedding", "dot"]
    data = data_for(fields)
    filters = {"embedding": "flag == true", "dot": "id < 200"}
    lists = [
        products.scored("embedding", data["embedding"][0], products.matching(lambda v: v.flag)),
        products.scored("dot", data["dot"][0], ALL[:200]),
    ]
    hits = hybrid(client, shop, requests_for(data, 50, filters), RRFRanker(), limit=60)[0]
    expected = fused([pairs[:50] for pairs in lists], lambda _, place, __: 1 / (60 + place))
    check(hits, expected, 60)


def test_window(client, shop):
    data = data_for(["embedding", "dot"])
    expected = fused(nearest(data, 40), lambda _, place, __: 1 / (60 + place))
    for offset, limit in [(0, 10), (10, 10), (len(expected) - 3, 10), (200, 5)]:
        hits = hybrid(
            client, shop, requests_for(data, 40), RRFRanker(), limit=limit, offset=offset
        )[0]
        check(hits, expected, limit, offset)


def test_rounded(client, shop):
    data = data_for(["embedding", "dot"])
    hits = hybrid(client, shop, requests_for(data, 40), RRFRanker(), round_decimal=3)[0]
    expected = fused(nearest(data, 40), lambda _, place, __: 1 / (60 + place))
    for hit, (score, _) in zip(hits, expected, strict=False):
        assert hit["distance"] == pytest.approx(round(score, 3), abs=1e-7)


def test_one_list_alone(client, shop):
    data = data_for(["embedding"])
    hits = hybrid(client, shop, requests_for(data, 12), RRFRanker(), limit=12)[0]
    assert [hit["entity"]["id"] for hit in hits] == [row["id"] for _, row in nearest(data, 12)[0]]


def test_output_fields(client, shop):
    data = data_for(["embedding", "other"])
    requests = requests_for(data, 20)
    hits = hybrid(client, shop, requests, RRFRanker(), output_fields=["id", "name", "dot"])[0]
    for hit in hits:
        row = ALL[hit["entity"]["id"]]
        assert hit["entity"]["name"] == row["name"]
        assert helpers.vector_bytes(hit["entity"]["dot"]) == row["dot"].tobytes()


def test_groups(client, shop):
    data = data_for(["embedding", "dot"])
    hits = hybrid(
        client, shop, requests_for(data, 100), RRFRanker(), limit=4, group_by_field="kind",
        output_fields=["id", "kind"],
    )[0]  # fmt: skip
    kinds = [hit["entity"]["kind"] for hit in hits]
    assert len(kinds) == len(set(kinds)) == 4
    scores = [hit["distance"] for hit in hits]
    assert scores == sorted(scores, reverse=True)


# --- functions ------------------------------------------------------------------------------------


def rerank(reranker, field=None, **params):
    return Function(
        name=reranker,
        function_type=FunctionType.RERANK,
        input_field_names=[field] if field else [],
        params={"reranker": reranker, **params},
    )


def test_fusion_as_a_function(client, shop):
    data = data_for(["embedding", "dot"])
    requests = requests_for(data, 30)
    expected = fused(nearest(data, 30), lambda _, place, __: 1 / (20 + place))
    check(hybrid(client, shop, requests, rerank("rrf", k=20))[0], expected, 10)
    requests = requests_for(data, FIRST)
    weights = (0.9, 0.1)
    function = rerank("weighted", weights=[0.9, 0.1], norm_score=True)
    expected = fused(
        nearest(data, FIRST),
        lambda list_, _, score: weights[list_] * normal(["embedding", "dot"][list_], score),
    )
    check(hybrid(client, shop, requests, function)[0], expected, 10)


def decay(kind, distance, scale, offset, decay_at_scale):
    """What is left of a score at a distance from the origin."""
    beyond = max(0.0, distance - offset)
    match kind:
        case "gauss":
            return math.exp(-(beyond**2) / (-(scale**2) / math.log(decay_at_scale)))
        case "exp":
            return math.exp(math.log(decay_at_scale) / scale * beyond)
        case "linear":
            # Beyond the scale it falls no further.
            return max(decay_at_scale, 1 - (1 - decay_at_scale) * beyond / scale)


@pytest.mark.parametrize("kind", ["gauss", "exp", "linear"])
def test_decay(client, shop, kind):
    """A cosine fades with the distance of a column from its origin."""
    query = products.queries("other", 1)
    function = rerank("decay", "id", function=kind, origin=100, scale=60, offset=10, decay=0.4)
    hits = helpers.search(
        client, shop, query, "other", limit=FIRST, ranker=function, filter="id < 300"
    )[0]
    expected = [
        (score * decay(kind, abs(row["id"] - 100), 60, 10, 0.4), row)
        for score, row in products.scored("other", query[0], ALL[:300])
    ]
    expected.sort(key=lambda pair: -pair[0])
    check(hits, expected, FIRST)


def test_boost(client, shop):
    """The score of the rows that a filter chooses is multiplied."""
    query = products.queries("dot", 1)
    function = rerank("boost", filter="id % 3 == 0", weight=1.7)
    hits = helpers.search(
        client, shop, query, "dot", limit=FIRST, ranker=function, filter="id < 200"
    )[0]
    expected = [
        (score * (1.7 if row["id"] % 3 == 0 else 1), row)
        for score, row in products.scored("dot", query[0], ALL[:200])
    ]
    expected.sort(key=lambda pair: -pair[0])
    check(hits, expected, FIRST)


def test_several_boosts(client, shop):
    query = products.queries("dot", 1)
    functions = [
        rerank("boost", filter="flag == true", weight=2.0),
        rerank("boost", filter="id < 50", weight=0.5),
    ]
    functions[1]._name = "second"
    score_function = FunctionScore(
        functions, params={"boost_mode": "multiply", "function_mode": "multiply"}
    )
    hits = helpers.search(
        client, shop, query, "dot", limit=FIRST, ranker=score_function, filter="id < 100"
    )[0]
    expected = []
    for score, row in products.scored("dot", query[0], ALL[:100]):
        weight = (2.0 if row["flag"] else 1.0) * (0.5 if row["id"] < 50 else 1.0)
        expected.append((score * weight, row))
    expected.sort(key=lambda pair: -pair[0])
    check(hits, expected, FIRST)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "ranker", "options", "text"),
    [
        (["embedding", "dot"], WeightedRanker(0.5), {}, "the length of weights param mismatch"),
        (["embedding", "dot"], WeightedRanker(0.5, 1.5), {}, "[0, 1]"),
        (["embedding", "dot"], RRFRanker(0), {}, "16384"),
        (["embedding", "dot"], RRFRanker(16384), {}, "16384"),
        (["embedding", "dot"], RRFRanker(), {"limit": 16385}, "16384"),
        (["embedding", "dot"], RRFRanker(), {"output_fields": ["nothing"]}, "nothing"),
        (["embedding", "dot"], rerank("model"), {}, "model"),
        (["embedding", "dot"], rerank("nothing"), {}, "nothing"),
        (["embedding", "dot"], rerank("decay", "id", function="gauss"), {}, "origin"),
        (
            ["embedding", "dot"],
            rerank("decay", "name", function="gauss", origin=1, scale=1),
            {},
            "name",
        ),
    ],
)
def test_refused(client, shop, fields, ranker, options, text):
    requests = requests_for(data_for(fields), 10)
    with pytest.raises(helpers.MilvusException) as caught:
        hybrid(client, shop, requests, ranker, **options)
    assert text in caught.value.message


def test_too_many_requests(client, shop):
    requests = requests_for(data_for(["dot"]), 1) * 1025
    with pytest.raises(helpers.MilvusException, match="1024"):
        hybrid(client, shop, requests, RRFRanker())


def test_requests_that_do_not_fit(client, shop):
    data = {"embedding": products.queries("embedding", 2), "dot": products.queries("dot", 1)}
    with pytest.raises(helpers.MilvusException):
        hybrid(client, shop, requests_for(data, 10), RRFRanker())
    for broken in (
        AnnSearchRequest(np.ones((1, 8)), "nothing", {}, 10),
        AnnSearchRequest(np.ones((1, 4)), "embedding", {}, 10),
        AnnSearchRequest(np.ones((1, 8)), "embedding", {}, 10, filter="id =="),
        AnnSearchRequest(np.ones((1, 8)), "embedding", {"metric_type": "IP"}, 10),
    ):
        good = requests_for(data_for(["dot"]), 10)
        with pytest.raises(helpers.MilvusException):
            hybrid(client, shop, [*good, broken], RRFRanker())
