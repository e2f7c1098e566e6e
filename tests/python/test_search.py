"""Vector search against numpy: every metric, filters, many queries, offsets, output, limits."""

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType

import helpers
from helpers import PK

DIM = 32
BITS = 64
ROWS = 500
FIELDS = {
    "id": DataType.INT64,
    "group": DataType.INT32,
    "l2": (DataType.FLOAT_VECTOR, {"dim": DIM, "external_field": "vector"}),
    "ip": (DataType.FLOAT_VECTOR, {"dim": DIM, "external_field": "vector_ip"}),
    "cosine": (DataType.FLOAT_VECTOR, {"dim": DIM, "external_field": "vector_cosine"}),
    "hamming": (DataType.BINARY_VECTOR, {"dim": BITS, "external_field": "bits"}),
    "jaccard": (DataType.BINARY_VECTOR, {"dim": BITS, "external_field": "bits_jaccard"}),
}
METRICS = {"l2": "L2", "ip": "IP", "cosine": "COSINE", "hamming": "HAMMING", "jaccard": "JACCARD"}
VECTORS = helpers.vectors(ROWS, DIM, seed=11)
BIT_ROWS = np.random.default_rng(12).integers(0, 2, (ROWS, BITS)).astype(np.uint8)
GROUPS = np.arange(ROWS) % 10
BASE = {field: BIT_ROWS if field in ("hamming", "jaccard") else VECTORS for field in METRICS}


@pytest.fixture(scope="module")
def name(client, module_name, s3):
    """A loaded collection of five files with several row groups each."""
    lake = helpers.S3Lake(s3, module_name)
    packed = np.packbits(BIT_ROWS, axis=1, bitorder="little")
    for first in range(0, ROWS, 100):
        part = slice(first, first + 100)
        floats = helpers.fixed_size_lists(VECTORS[part])
        bits = pa.array([row.tobytes() for row in packed[part]], pa.binary(BITS // 8))
        table = {
            "id": pa.array(np.arange(first, first + 100)),
            "group": pa.array(GROUPS[part], pa.int32()),
            "vector": floats,
            "vector_ip": floats,
            "vector_cosine": floats,
            "bits": bits,
            "bits_jaccard": bits,
        }
        lake.put(f"{first:03}.parquet", pa.table(table), row_group_size=40)
    helpers.make(client, module_name, lake, FIELDS, METRICS)
    return module_name


def queries_for(field, rows, seed=13):
    """Query vectors as the client takes them, and as the oracle does."""
    if BASE[field] is VECTORS:
        matrix = helpers.vectors(rows, DIM, seed)
        return matrix, matrix
    matrix = np.random.default_rng(seed).integers(0, 2, (rows, BITS)).astype(np.uint8)
    return [row.tobytes() for row in np.packbits(matrix, axis=1, bitorder="little")], matrix


@pytest.mark.parametrize("field", METRICS)
def test_metric(client, name, field):
    data, matrix = queries_for(field, 4)
    answer = helpers.search(client, name, data, field, limit=20)
    helpers.check_exact(answer, METRICS[field], BASE[field], matrix, 20)


@pytest.mark.parametrize("field", METRICS)
@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("group == 3", GROUPS == 3),
        ("id >= 497", np.arange(ROWS) >= 497),
        ("group in [1, 2] and id < 250", np.isin(GROUPS, [1, 2]) & (np.arange(ROWS) < 250)),
        ("id == 77", np.arange(ROWS) == 77),
    ],
)
def test_filtered(client, name, field, expression, chosen):
    data, matrix = queries_for(field, 2)
    ids = np.flatnonzero(chosen)
    answer = helpers.search(client, name, data, field, limit=15, filter=expression)
    helpers.check_exact(answer, METRICS[field], BASE[field][ids], matrix, 15, ids=ids)


def test_nothing_matches(client, name):
    answer = helpers.search(client, name, helpers.vectors(3, DIM, 1), "l2", filter="id < 0")
    assert [list(hits) for hits in answer] == [[], [], []]


def test_64_queries(client, name):
    data, matrix = queries_for("l2", 64)
    answer = helpers.search(client, name, data, "l2", limit=10)
    helpers.check_exact(answer, "L2", VECTORS, matrix, 10)


def test_every_row(client, name):
    data, matrix = queries_for("ip", 1)
    answer = helpers.search(client, name, data, "ip", limit=16384)
    assert len(answer[0]) == ROWS
    helpers.check_exact(answer, "IP", VECTORS, matrix, ROWS)


def test_offset(client, name):
    data, matrix = queries_for("l2", 2)
    for offset, limit in [(0, 5), (3, 5), (490, 20), (600, 5)]:
        answer = helpers.search(
            client, name, data, "l2", limit=limit, search_params={"offset": offset}
        )
        helpers.check_exact(answer, "L2", VECTORS, matrix, limit, offset=offset)


def test_range(client, name):
    data, matrix = queries_for("l2", 1)
    truth = np.sort(helpers.scores("L2", VECTORS, matrix)[0])
    low, high = float(truth[10]) - 1e-3, float(truth[30]) + 1e-3
    inside = truth[(truth >= low) & (truth < high)]
    parameters = {"params": {"radius": high, "range_filter": low}}
    answer = helpers.search(client, name, data, "l2", limit=100, search_params=parameters)
    np.testing.assert_allclose([hit["distance"] for hit in answer[0]], inside, rtol=1e-4)


def test_output_fields(client, name):
    data, _ = queries_for("l2", 1)
    bare = helpers.search(client, name, data, "l2", limit=1, output=())[0][0]
    assert dict(bare["entity"]) == {}
    whole = helpers.search(client, name, data, "l2", limit=3, output=["*"])[0]
    for hit in whole:
        entity = dict(hit["entity"])
        assert set(entity) == {PK, *FIELDS}
        row = entity["id"]
        assert (entity[PK], entity["group"]) == (hit[PK], GROUPS[row])
        assert helpers.vector_bytes(entity["l2"]) == VECTORS[row].tobytes()
        packed = np.packbits(BIT_ROWS[row], bitorder="little").tobytes()
        assert helpers.vector_bytes(entity["hamming"]) == packed


def test_the_same_search_gives_the_same_answer(client, name):
    data, _ = queries_for("hamming", 3)
    answers = [helpers.search(client, name, data, "hamming", limit=50) for _ in range(3)]
    keys = [[[hit[PK] for hit in hits] for hits in answer] for answer in answers]
    assert keys[0] == keys[1] == keys[2]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"limit": 16385}, "16384"),
        ({"limit": 16000, "search_params": {"offset": 400}}, "16384"),
        ({"field": "none_such"}, "none_such"),
        ({"output": ["none_such"]}, "field none_such not exist"),
        ({"filter": "none_such == 1"}, "field none_such not exist"),
        ({"filter": "id =="}, "cannot parse expression"),
        ({"search_params": {"metric_type": "IP"}}, "metric type not match"),
        ({"field": ""}, "multiple anns_fields exist"),
    ],
    ids=str,
)
def test_refused(client, name, options, text):
    options = {"field": "l2", **options}
    with pytest.raises(helpers.MilvusException) as caught:
        helpers.search(client, name, helpers.vectors(1, DIM, 1), **options)
    assert text in caught.value.message
    assert caught.value.is_input_error


def test_wrong_dimension_is_refused(client, name):
    with pytest.raises(helpers.MilvusException, match="vector dimension mismatch"):
        helpers.search(client, name, helpers.vectors(1, DIM // 2, 1), "l2")


def test_too_many_queries_are_refused(client, name):
    with pytest.raises(helpers.MilvusException, match="nq"):
        helpers.search(client, name, helpers.vectors(16385, DIM, 1), "l2", limit=1)
