"""Every field type from every Arrow encoding that a Parquet file may hold it in, with nulls."""

import datetime
import json
import struct

import numpy as np
import pyarrow as pa
import pytest
from pymilvus import DataType
from pymilvus.grpc_gen import schema_pb2

import helpers
from helpers import PK

ROWS = 40
NULL = [row % 7 == 3 for row in range(ROWS)]
VECTOR = {"embedding": (DataType.FLOAT_VECTOR, {"dim": 8})}
BASE = helpers.vectors(ROWS, 8, seed=31)


def with_nulls(values):
    return [None if null else value for null, value in zip(NULL, values, strict=True)]


def scalar_field_bytes(slot, values):
    """An array as Milvus itself serialises one."""
    field = schema_pb2.ScalarField()
    getattr(field, slot).data.extend(values)
    return field.SerializeToString()


INTEGERS = [(row * 37 - 100) % 120 for row in range(ROWS)]
TEXTS = [f"text {row} – ☃" for row in range(ROWS)]
OBJECTS = [{"row": row, "nested": {"list": [row, "x", None]}} for row in range(ROWS)]
OBJECT_TEXTS = [json.dumps(value) for value in OBJECTS]
LISTS = [list(range(row % 4)) for row in range(ROWS)]
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MOMENTS = [
    datetime.datetime(2024, 2, 29, 12, 30, 15, row * 1000, datetime.UTC)
    + datetime.timedelta(days=row)
    for row in range(ROWS)
]
MICROSECONDS = [(moment - EPOCH) // datetime.timedelta(microseconds=1) for moment in MOMENTS]
POINTS = [(float(row), -row / 2) for row in range(ROWS)]


def wkb(point):
    return struct.pack("<BIdd", 1, 1, *point)


def moment_of(text):
    moment = datetime.datetime.fromisoformat(text)
    assert moment.tzinfo is not None, f"{text} names no time zone"
    return moment


def point_of(text):
    """The coordinates in a WKT point, however it is spaced."""
    assert text.upper().startswith("POINT"), text
    return tuple(map(float, text[text.index("(") + 1 : text.index(")")].split()))


def same(value):
    return value


def scalar(data_type, arrow_type, values, expected=None, read=same, **options):
    """A case: the field, the column, the values to come back, and how to read them."""
    column = pa.array(with_nulls(values), arrow_type)
    return (data_type, options), column, with_nulls(expected or values), read


def array(element, arrow_type, values, expected=None):
    options = {"element_type": element, "max_capacity": 64}
    if element == DataType.VARCHAR:
        options["max_length"] = 64
    return scalar(DataType.ARRAY, arrow_type, values, expected, **options)


BOOLEANS = [row % 2 == 0 for row in range(ROWS)]
FRACTIONS = [value / 16 for value in INTEGERS]
WKT = [f"POINT ({x} {y})" for x, y in POINTS]
BYTES = [text.encode() for text in TEXTS]

SCALARS = {
    "bool": scalar(DataType.BOOL, pa.bool_(), BOOLEANS),
    "int8": scalar(DataType.INT8, pa.int8(), INTEGERS),
    "int16": scalar(DataType.INT16, pa.int16(), [value * 250 for value in INTEGERS]),
    "int32": scalar(DataType.INT32, pa.int32(), [value * 10**7 for value in INTEGERS]),
    "int64": scalar(DataType.INT64, pa.int64(), [value * 10**16 for value in INTEGERS]),
    "float": scalar(DataType.FLOAT, pa.float32(), FRACTIONS),
    "double": scalar(DataType.DOUBLE, pa.float64(), [value / 3 for value in INTEGERS]),
    "varchar_string": scalar(DataType.VARCHAR, pa.string(), TEXTS),
    "varchar_large_string": scalar(DataType.VARCHAR, pa.large_string(), TEXTS),
    "varchar_string_view": scalar(DataType.VARCHAR, pa.string_view(), TEXTS),
    "varchar_binary": scalar(DataType.VARCHAR, pa.binary(), BYTES, TEXTS),
    "varchar_large_binary": scalar(DataType.VARCHAR, pa.large_binary(), BYTES, TEXTS),
    "varchar_binary_view": scalar(DataType.VARCHAR, pa.binary_view(), BYTES, TEXTS),
    "text_string": scalar(DataType.TEXT, pa.string(), TEXTS),
    "json_string": scalar(DataType.JSON, pa.string(), OBJECT_TEXTS, OBJECTS),
    "json_binary": scalar(DataType.JSON, pa.binary(), [t.encode() for t in OBJECT_TEXTS], OBJECTS),
    "array_int64": array(DataType.INT64, pa.list_(pa.int64()), LISTS),
    "array_int32_large": array(DataType.INT32, pa.large_list(pa.int32()), LISTS),
    "array_int8": array(DataType.INT8, pa.list_(pa.int8()), LISTS),
    "array_bool": array(DataType.BOOL, pa.list_(pa.bool_()), [[True, False]] * ROWS),
    "array_double": array(DataType.DOUBLE, pa.list_(pa.float64()), [[0.5, -2.0]] * ROWS),
    "array_varchar": array(DataType.VARCHAR, pa.list_(pa.string()), [["a", "☃"]] * ROWS),
    "array_binary": array(
        DataType.INT64, pa.binary(), [scalar_field_bytes("long_data", v) for v in LISTS], LISTS
    ),
    "time_s": scalar(
        DataType.TIMESTAMPTZ, pa.timestamp("s", "UTC"),
        [moment.replace(microsecond=0) for moment in MOMENTS], read=moment_of,
    ),
    "time_ms": scalar(DataType.TIMESTAMPTZ, pa.timestamp("ms", "UTC"), MOMENTS, read=moment_of),
    "time_us": scalar(DataType.TIMESTAMPTZ, pa.timestamp("us", "UTC"), MOMENTS, read=moment_of),
    "time_ns": scalar(DataType.TIMESTAMPTZ, pa.timestamp("ns", "UTC"), MOMENTS, read=moment_of),
    "time_naive": scalar(
        DataType.TIMESTAMPTZ, pa.timestamp("us"),
        [moment.replace(tzinfo=None) for moment in MOMENTS], MOMENTS, read=moment_of,
    ),
    "time_int64": scalar(
        DataType.TIMESTAMPTZ, pa.int64(), MICROSECONDS, MOMENTS, read=moment_of
    ),
    "geometry_wkt": scalar(DataType.GEOMETRY, pa.string(), WKT, POINTS, read=point_of),
    "geometry_wkb": scalar(DataType.GEOMETRY, pa.binary(), list(map(wkb, POINTS)), POINTS,
                           read=point_of),
}  # fmt: skip


def embedding():
    return {"embedding": helpers.fixed_size_lists(BASE)}


@pytest.fixture(scope="module")
def scalars(client, module_name, s3):
    lake = helpers.S3Lake(s3, module_name)
    columns = {name: column for name, (_, column, _, _) in SCALARS.items()}
    lake.put("all.parquet", pa.table({**columns, **embedding()}), row_group_size=13)
    fields = {name: field for name, (field, _, _, _) in SCALARS.items()}
    helpers.make(client, module_name, lake, {**fields, **VECTOR})
    return module_name


@pytest.mark.parametrize("field", SCALARS)
def test_scalar(client, scalars, field):
    _, _, expected, read = SCALARS[field]
    found = [row[field] for row in helpers.rows_of(client, scalars, [field])]
    assert [value if value is None else read(value) for value in found] == expected
    assert helpers.count(client, scalars, f"{field} is null") == sum(NULL)


@pytest.mark.parametrize("field", SCALARS)
def test_scalar_in_hits(client, scalars, field):
    _, _, expected, read = SCALARS[field]
    hits = helpers.search(client, scalars, BASE[5:7], limit=1, output=[field])
    values = [hit[0]["entity"][field] for hit in hits]
    assert [value if value is None else read(value) for value in values] == expected[5:7]


def test_scalars_describe_themselves(client, scalars):
    described = client.describe_collection(scalars)["fields"]
    types = {field["name"]: field["type"] for field in described}
    assert types == {
        PK: DataType.INT64,
        **{name: field[0] for name, (field, _, _, _) in SCALARS.items()},
        "embedding": DataType.FLOAT_VECTOR,
    }


# --- vectors --------------------------------------------------------------------------------------

DIM = 16


def bfloat16(matrix):
    """The upper halves of the binary32 numbers."""
    return (matrix.view(np.uint32) >> 16).astype(np.uint16)


FLOATS = helpers.vectors(ROWS, DIM, seed=32)
# Numbers that a bfloat16 holds exactly, so that the oracle needs no rounding rule.
EXACT = (bfloat16(FLOATS).astype(np.uint32) << 16).view(np.float32)
HALVES = FLOATS.astype(np.float16)
SMALL = np.random.default_rng(33).integers(-128, 128, (ROWS, DIM)).astype(np.int8)
BITS = np.random.default_rng(34).integers(0, 2, (ROWS, DIM)).astype(np.uint8)
PACKED = np.packbits(BITS, axis=1, bitorder="little")


def as_list(matrix, element):
    return pa.array(with_nulls(list(matrix)), pa.list_(element))


def as_fixed(matrix, element):
    return pa.array(with_nulls(list(matrix)), pa.list_(element, matrix.shape[1]))


def as_bytes(matrix, arrow_type):
    return pa.array(with_nulls([row.tobytes() for row in matrix]), arrow_type)


def raw(matrix):
    """The four encodings of vectors as raw bytes."""
    matrix = np.ascontiguousarray(matrix)
    octets = matrix.view(np.uint8).reshape(ROWS, -1)
    return {
        "list_u8": as_list(octets, pa.uint8()),
        "fsl_u8": as_fixed(octets, pa.uint8()),
        "fsb": as_bytes(octets, pa.binary(octets.shape[1])),
        "binary": as_bytes(octets, pa.binary()),
    }


def lists(matrix, element):
    return {"list": as_list(matrix, element), "fsl": as_fixed(matrix, element)}


# The type, its metric, the vectors as stored, as numbers for the oracle, and the encodings.
KINDS = {
    "float": (
        DataType.FLOAT_VECTOR, "L2", FLOATS, FLOATS,
        {**lists(FLOATS, pa.float32()), **raw(FLOATS),
         "large_list": pa.array(with_nulls(list(FLOATS)), pa.large_list(pa.float32()))},
    ),
    "float16": (
        DataType.FLOAT16_VECTOR, "IP", HALVES, HALVES,
        {**lists(HALVES, pa.float16()), **raw(HALVES)},
    ),
    "bfloat16": (
        DataType.BFLOAT16_VECTOR, "COSINE", bfloat16(EXACT), EXACT, raw(bfloat16(EXACT)),
    ),
    "int8": (
        DataType.INT8_VECTOR, "L2", SMALL, SMALL, {**lists(SMALL, pa.int8()), **raw(SMALL)},
    ),
    "binary": (DataType.BINARY_VECTOR, "HAMMING", PACKED, BITS, raw(PACKED)),
}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def kind(request, client, module_name, s3):
    """A loaded collection with one field for each encoding of one type of vector."""
    data_type, metric, _, _, encodings = KINDS[request.param]
    name = f"{module_name}_{request.param}"
    lake = helpers.S3Lake(s3, name)
    numbers = pa.array(np.arange(ROWS))
    lake.put("all.parquet", pa.table({"id": numbers, **encodings}), row_group_size=11)
    fields = {field: (data_type, {"dim": DIM}) for field in encodings}
    indexes = dict.fromkeys(encodings, metric)
    helpers.make(client, name, lake, {"id": DataType.INT64, **fields}, indexes)
    yield request.param, name
    client.drop_collection(name)


def test_vector_comes_back_as_stored(client, kind):
    case, name = kind
    _, _, stored, _, encodings = KINDS[case]
    rows = helpers.rows_of(client, name, ["id", *encodings])
    assert [row["id"] for row in rows] == list(range(ROWS))
    expected = with_nulls([vector.tobytes() for vector in stored])
    for encoding in encodings:
        found = [helpers.vector_bytes(row[encoding]) for row in rows]
        assert found == expected, encoding


def test_vector_is_searched_and_null_never_matches(client, kind):
    case, name = kind
    _, metric, stored, numbers, encodings = KINDS[case]
    ids = np.flatnonzero(~np.array(NULL))
    chosen = [0, 1, 2]
    if case == "float":
        data = stored[chosen]
    else:
        data = [stored[row].tobytes() for row in chosen]
    tolerance = {"float16": 2e-3}.get(case, 1e-4)
    for encoding in encodings:
        answer = helpers.search(client, name, data, encoding, limit=ROWS)
        assert [len(hits) for hits in answer] == [len(ids)] * len(chosen), encoding
        helpers.check_exact(
            answer, metric, numbers[ids], numbers[chosen], ROWS, ids=ids, tolerance=tolerance
        )
        assert helpers.count(client, name, f"{encoding} is null") == sum(NULL)


# --- files ----------------------------------------------------------------------------------------


def test_every_codec_and_layout(client, name, lake):
    layouts = [
        {"compression": "none"},
        {"compression": "snappy", "row_group_size": 7},
        {"compression": "gzip", "data_page_version": "2.0"},
        {"compression": "zstd", "use_dictionary": False},
        {"compression": "lz4", "data_page_size": 64},
        {"compression": "brotli", "write_statistics": False},
        {"store_schema": False, "write_page_index": True},
        {"column_encoding": "DELTA_BINARY_PACKED", "use_dictionary": False},
    ]
    for number, layout in enumerate(layouts):
        columns = {}
        if "column_encoding" in layout:
            layout["column_encoding"] = {"id": layout["column_encoding"]}
        lake.put(f"{number}.parquet", helpers.rows_table(number * 30, 30, **columns), **layout)
    helpers.make(client, name, lake)
    assert helpers.ids_of(client, name) == list(range(30 * len(layouts)))
    base = np.concatenate([helpers.vectors(30, 8, number * 30) for number in range(len(layouts))])
    queries = helpers.vectors(2, 8, 99)
    helpers.check_exact(helpers.search(client, name, queries, limit=40), "L2", base, queries, 40)


def test_a_file_without_rows(client, name, lake):
    lake.put("empty.parquet", helpers.rows_table(0, 10)[:0])
    lake.put("full.parquet", helpers.rows_table(0, 10))
    helpers.make(client, name, lake)
    assert helpers.ids_of(client, name) == list(range(10))


def test_extra_columns_and_any_order_of_columns(client, name, lake):
    table = helpers.rows_table(0, 10)
    lake.put("a.parquet", table)
    extra = {"extra": pa.array([{"any": [1]}] * 10), "embedding": table["embedding"]}
    lake.put("b.parquet", pa.table({**extra, "id": pa.array(range(10, 20))}))
    helpers.make(client, name, lake)
    assert helpers.ids_of(client, name) == list(range(20))


def test_column_names_are_case_sensitive(client, name, lake):
    table = helpers.rows_table(0, 3, name=pa.array(["a", "b", "c"]), Name=pa.array(["X", "Y", "Z"]))
    lake.put("a.parquet", table)
    fields = {
        **helpers.ROW_FIELDS,
        "lower": (DataType.VARCHAR, {"external_field": "name"}),
        "upper": (DataType.VARCHAR, {"external_field": "Name"}),
    }
    helpers.make(client, name, lake, fields)
    rows = helpers.rows_of(client, name, ["lower", "upper"])
    assert [(row["lower"], row["upper"]) for row in rows] == [("a", "X"), ("b", "Y"), ("c", "Z")]


def test_a_column_of_another_case_is_not_found(client, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 3, Name=pa.array(["X", "Y", "Z"])))
    fields = {**helpers.ROW_FIELDS, "lower": (DataType.VARCHAR, {"external_field": "name"})}
    helpers.create(client, name, lake, fields, indexes={})
    reason = helpers.failed_refresh(client, name)
    assert "name" in reason and "not found" in reason
