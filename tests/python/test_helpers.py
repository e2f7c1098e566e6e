"""The oracles and the signer of these tests, against published values and by hand."""

import datetime

import numpy as np
import pytest

import helpers


def test_scores_by_hand():
    base, query = [[3.0, 4.0], [0.0, 0.0], [0.0, -5.0]], [[0.0, 1.0]]
    np.testing.assert_allclose(helpers.scores("L2", base, query), [[18, 1, 36]])
    np.testing.assert_allclose(helpers.scores("IP", base, query), [[4, 0, -5]])
    np.testing.assert_allclose(helpers.scores("COSINE", base, query), [[0.8, 0, -1]])
    bits, none = [[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], [[1, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(helpers.scores("HAMMING", bits, none), [[2, 3, 2], [2, 1, 0]])
    np.testing.assert_allclose(helpers.scores("JACCARD", bits, none), [[2 / 3, 1, 1], [1, 1, 0]])


def hits(*pairs):
    return [[{"distance": distance, "entity": {"id": row}} for row, distance in pairs]]


def test_an_exact_answer_passes_and_others_do_not():
    base, query = [[0.0], [1.0], [2.0], [-1.0]], [[0.0]]

    def check(answer, limit=2, offset=0):
        helpers.check_exact(answer, "L2", base, query, limit, offset=offset)

    check(hits((0, 0), (1, 1)))
    check(hits((0, 0), (3, 1)))
    check(hits((3, 1), (1, 1)), offset=1)
    for wrong in (
        hits((0, 0)),
        hits((0, 0), (2, 4)),
        hits((0, 0), (2, 1)),
        hits((0, 0), (0, 0)),
        hits((1, 1), (0, 0)),
        [],
    ):
        with pytest.raises(AssertionError):
            check(wrong)


def test_signature_is_stable_and_depends_on_everything():
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    headers = helpers.signature_v4("PUT", "127.0.0.1:9", "/lake/a", b"x", now)
    assert headers["x-amz-date"] == "20260102T030405Z"
    assert "20260102/us-east-1/s3/aws4_request" in headers["Authorization"]
    assert headers == helpers.signature_v4("PUT", "127.0.0.1:9", "/lake/a", b"x", now)
    for other in (
        ("GET", "127.0.0.1:9", "/lake/a", b"x"),
        ("PUT", "127.0.0.1:8", "/lake/a", b"x"),
        ("PUT", "127.0.0.1:9", "/lake/b", b"x"),
        ("PUT", "127.0.0.1:9", "/lake/a", b"y"),
    ):
        signed = helpers.signature_v4(*other, now)
        assert signed["Authorization"] != headers["Authorization"], other


def test_vectors_of_answers_become_bytes():
    floats = np.array([1.5, -2.0], np.float32)
    assert helpers.vector_bytes(list(map(float, floats))) == floats.tobytes()
    assert helpers.vector_bytes([b"ab"]) == helpers.vector_bytes(b"ab") == b"ab"
    assert helpers.vector_bytes(None) is None
