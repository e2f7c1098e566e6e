"""The lake that the tests of the query language share, and the oracle over its rows.

A row is a plain dictionary. The columns have every scalar type, with nulls in all of them but `id`,
and four vector fields, each with a metric of its own; `other` has nulls too. What the server must
answer is worked out here from the rows, in plain Python and numpy, and never read from the server.
"""

import datetime
import json
import math

import numpy as np
import pyarrow as pa
from pymilvus import DataType

import helpers

DIM = 8
BITS = 32
# What a lake holds at first, and what it holds after `append`.
FIRST = 480
ROWS = 600
EPOCH = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
KINDS = ["fruit", "car", "wool", "tool", "book"]
NAMES = ["red apple", "green apple", "red_car", "100% wool", "", "Ünïcode ☃"]

FIELDS = {
    "id": DataType.INT64,
    "small": DataType.INT8,
    "medium": DataType.INT16,
    "number": DataType.INT32,
    "price": DataType.DOUBLE,
    "ratio": DataType.FLOAT,
    "flag": DataType.BOOL,
    "kind": DataType.VARCHAR,
    "name": DataType.VARCHAR,
    "moment": DataType.TIMESTAMPTZ,
    "place": DataType.GEOMETRY,
    "info": DataType.JSON,
    "tags": (DataType.ARRAY, {"element_type": DataType.INT64, "max_capacity": 16}),
    "words": (
        DataType.ARRAY,
        {"element_type": DataType.VARCHAR, "max_capacity": 16, "max_length": 64},
    ),
    "embedding": (DataType.FLOAT_VECTOR, {"dim": DIM}),
    "other": (DataType.FLOAT_VECTOR, {"dim": DIM}),
    "dot": (DataType.FLOAT_VECTOR, {"dim": DIM}),
    "bits": (DataType.BINARY_VECTOR, {"dim": BITS}),
}
METRICS = {"embedding": "L2", "other": "COSINE", "dot": "IP", "bits": "HAMMING"}
SCALARS = [field for field in FIELDS if field not in METRICS]

EMBEDDING = helpers.vectors(ROWS, DIM, seed=51)
# Every ninth row has no vector here.
OTHER = helpers.vectors(ROWS, DIM, seed=52)
# All components are positive, so that inner products are, too.
DOT = np.abs(helpers.vectors(ROWS, DIM, seed=53))
BIT_ROWS = np.random.default_rng(54).integers(0, 2, (ROWS, BITS)).astype(np.uint8)
VECTORS = {"embedding": EMBEDDING, "other": OTHER, "dot": DOT, "bits": BIT_ROWS}


def info_of(number):
    """Documents whose `size` is a number or a text, whose `rare` is seldom there, and whose
    `maybe` is there, null, or missing."""
    document = {
        "color": ["red", "blue", "green"][number % 3],
        "size": "large" if number % 10 == 9 else number % 9 + (0.5 if number % 10 == 4 else 0),
        "deep": {"list": [number % 4, 7], "flag": number % 2 == 0},
        "rating": number % 6,
    }
    if number % 8 == 1:
        document["rare"] = number
    if number % 5 < 2:
        document["maybe"] = None if number % 5 == 0 else "yes"
    return document


def make_rows():
    random = np.random.default_rng(50)
    rows = []
    for number in range(ROWS):
        row = {
            "id": number,
            "small": int(random.integers(-100, 100)),
            "medium": int(random.integers(-3000, 3000)),
            "number": int(random.integers(-100_000, 100_000)) if number % 2 else number % 50,
            "price": float(random.integers(0, 500)) / 10,
            "ratio": float(random.integers(-40, 40)) / 8,
            "flag": number % 3 == 0,
            "kind": KINDS[number * 7 % 5],
            "name": f"{NAMES[number % 6]} {number % 7}".strip(),
            "moment": EPOCH + datetime.timedelta(hours=number, microseconds=number % 3),
            "place": (number % 10, number // 10 % 10),
            "info": info_of(number),
            "tags": [number % 5, number % 11, number % 3][: number % 4],
            "words": [["red", "green", "blue"][number % 3], f"w{number % 4}"][: number % 3],
        }
        for place, column in enumerate(SCALARS[1:], start=2):
            if number % (11 + place) == 0:
                row[column] = None
        for field, matrix in VECTORS.items():
            row[field] = matrix[number]
        if number % 9 == 8:
            row["other"] = None
        rows.append(row)
    return rows


ALL = make_rows()


def table(rows):
    """Rows as an Arrow table that a collection with `FIELDS` can be refreshed from."""

    def column(name, arrow_type, convert=lambda value: value):
        values = [None if row[name] is None else convert(row[name]) for row in rows]
        return pa.array(values, arrow_type)

    floats = pa.list_(pa.float32(), DIM)
    return pa.table(
        {
            "id": column("id", pa.int64()),
            "small": column("small", pa.int8()),
            "medium": column("medium", pa.int16()),
            "number": column("number", pa.int32()),
            "price": column("price", pa.float64()),
            "ratio": column("ratio", pa.float32()),
            "flag": column("flag", pa.bool_()),
            "kind": column("kind", pa.string()),
            "name": column("name", pa.string()),
            "moment": column("moment", pa.timestamp("us", "UTC")),
            "place": column("place", pa.string(), lambda point: f"POINT ({point[0]} {point[1]})"),
            "info": column("info", pa.string(), json.dumps),
            "tags": column("tags", pa.list_(pa.int64())),
            "words": column("words", pa.list_(pa.string())),
            "embedding": column("embedding", floats),
            "other": column("other", floats),
            "dot": column("dot", floats),
            "bits": column("bits", pa.binary(BITS // 8), packed),
        }
    )


def packed(bits):
    """A bit vector as the client and the file have it."""
    return np.packbits(bits, bitorder="little").tobytes()


def fill(lake):
    """The first rows, in four files of different make."""
    lake.put("a.parquet", table(ALL[:120]), row_group_size=17)
    lake.put("b.parquet", table(ALL[120:240]), use_dictionary=False, write_page_index=True)
    lake.put("c.parquet", table(ALL[240:360]), data_page_version="2.0", row_group_size=50)
    lake.put("d.parquet", table(ALL[360:FIRST]), compression="zstd")


def append(lake):
    """The other rows, in one more file."""
    lake.put("e.parquet", table(ALL[FIRST:]))


# --- the oracle -----------------------------------------------------------------------------------


class Unknown(Exception):
    """A condition asked for a value that is null, missing, or of another kind."""


class Values:
    """A row as a condition sees it: what is null cannot be looked at."""

    def __init__(self, row):
        self._row = row

    def __getattr__(self, name):
        value = self._row[name]
        if value is None:
            raise Unknown
        return value

    def is_null(self, name):
        return self._row[name] is None

    def has(self, *path):
        """Whether the document has something at the path, be it null."""
        try:
            self._walk(path)
        except Unknown:
            return False
        return True

    def at(self, *path):
        """What the document has at the path."""
        value = self._walk(path)
        if value is None:
            raise Unknown
        return value

    def number_at(self, *path):
        value = self.at(*path)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unknown
        return value

    def text_at(self, *path):
        value = self.at(*path)
        if not isinstance(value, str):
            raise Unknown
        return value

    def element(self, name, index):
        elements = getattr(self, name)
        if index >= len(elements):
            raise Unknown
        return elements[index]

    def _walk(self, path):
        value = self.info
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                raise Unknown from None
        return value


def outcome(condition, row):
    """True, False, or None for a condition that meets a null."""
    try:
        return bool(condition(Values(row)))
    except Unknown:
        return None


def both(*conditions):
    """Conjunction in the logic of three values."""
    return lambda values: _joined([outcome(part, values._row) for part in conditions], False)


def either(*conditions):
    """Disjunction in the logic of three values."""
    return lambda values: _joined([outcome(part, values._row) for part in conditions], True)


def _joined(parts, decisive):
    if decisive in parts:
        return decisive
    if None in parts:
        raise Unknown
    return not decisive


def matching(condition, rows=None):
    """The rows that a condition is true for."""
    return [row for row in (ALL[:FIRST] if rows is None else rows) if outcome(condition, row)]


def everything(_values):
    return True


def degrees_apart(one, two):
    """The distance in metres of two points given as longitude and latitude, on the sphere."""
    (lon1, lat1), (lon2, lat2) = ([math.radians(part) for part in point] for point in (one, two))
    half = math.sin((lat2 - lat1) / 2) ** 2
    half += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6_371_008.8 * math.asin(math.sqrt(half))


def scored(field, query, rows):
    """Pairs of score and row for the rows that have a vector, the nearest first."""
    rows = [row for row in rows if row[field] is not None]
    if not rows:
        return []
    metric = METRICS[field]
    scores = helpers.scores(metric, np.array([row[field] for row in rows]), np.array([query]))[0]
    sign = -1 if metric in helpers.LARGER_IS_NEARER else 1
    order = np.lexsort((np.arange(len(rows)), sign * scores))
    return [(float(scores[place]), rows[place]) for place in order]


def queries(field, count, seed=60):
    """Query vectors as the oracle takes them."""
    if field == "bits":
        return np.random.default_rng(seed).integers(0, 2, (count, BITS)).astype(np.uint8)
    matrix = helpers.vectors(count, DIM, seed)
    return np.abs(matrix) if field == "dot" else matrix


def as_data(field, matrix):
    """Query vectors as the client takes them."""
    return [packed(row) for row in matrix] if field == "bits" else matrix


def check_hits(hits, expected, key="distance", tolerance=1e-4):
    """Checks hits against pairs of score and row, in order. Rows with the same score may come in
    any order, so it is the scores that are compared."""
    np.testing.assert_allclose(
        [hit[key] for hit in hits], [score for score, _ in expected], rtol=tolerance, atol=tolerance
    )
    found = [hit["entity"]["id"] for hit in hits]
    assert len(set(found)) == len(found), "a row came twice"


def check_search(hits, field, query, rows, limit, offset=0, tolerance=1e-4):
    """Checks that hits are exactly the nearest of the rows, with their true scores."""
    truth = scored(field, query, rows)
    check_hits(hits, truth[offset : offset + limit], tolerance=tolerance)
    own = {row["id"]: score for score, row in truth}
    for hit in hits:
        score = own[hit["entity"]["id"]]
        assert math.isclose(hit["distance"], score, rel_tol=tolerance, abs_tol=tolerance)
