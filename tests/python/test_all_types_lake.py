"""The file of the testkit that has a column for every type and encoding: every column read,
searched and filtered on. What must come back is printed by the maker of the file."""

import datetime
import json
import re
import subprocess

import numpy as np
import pytest
from pymilvus import DataType

import helpers
from helpers import PK

ROWS = 53
# What a collection of Milvus holds at most.
FIELDS_MAX = 60
VECTOR_FIELDS_MAX = 10
UNIX_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def milvus_type(name):
    return DataType[re.sub("Vector$", "_VECTOR", name).upper()]


def field_of(column, dim):
    data_type, options = milvus_type(column["type"]), {}
    if column["type"].endswith("Vector"):
        options["dim"] = dim
    if data_type == DataType.ARRAY:
        element = milvus_type(column["element_type"])
        options = {"element_type": element, "max_capacity": 4096}
        if element == DataType.VARCHAR:
            options["max_length"] = 65535
    if data_type == DataType.VARCHAR:
        options["max_length"] = 65535
    return data_type, options


def metric_of(column):
    return "HAMMING" if column["type"] == "BinaryVector" else "L2"


@pytest.fixture(scope="module")
def made(client, local_root, module_name):
    """Loaded collections that have all columns between them: pairs of a name and columns."""
    lake = helpers.LocalLake(local_root / module_name)
    command = [helpers.binary("PANDION_LAKE_BIN"), "--out", lake.folder]
    command += ["--all-types", str(ROWS), "--row-group-rows", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)
    assert written["rows"] == ROWS
    collections = []
    for number, columns in enumerate(shares(written["columns"])):
        name = f"{module_name}_{number}"
        fields = {column["name"]: field_of(column, written["dim"]) for column in columns}
        vectors = {c["name"]: metric_of(c) for c in columns if c["type"].endswith("Vector")}
        helpers.make(client, name, lake, fields, vectors)
        collections.append((name, columns))
    return collections


def shares(columns):
    """Columns in shares that a collection may have, each with at least one of vectors."""
    vectors = [column for column in columns if column["type"].endswith("Vector")]
    scalars = [column for column in columns if not column["type"].endswith("Vector")]
    count = -(-len(vectors) // VECTOR_FIELDS_MAX)
    count = max(count, -(-len(columns) // FIELDS_MAX))
    return [vectors[number::count] + scalars[number::count] for number in range(count)]


def found_value(column, value):
    """A value of an answer in the form that the maker of the file prints."""
    if value is None:
        return None
    if column["type"] == "Timestamptz":
        moment = datetime.datetime.fromisoformat(value)
        return (moment - UNIX_EPOCH) // datetime.timedelta(microseconds=1)
    if column["type"].endswith("Vector"):
        return helpers.vector_bytes(value).hex()
    if column["type"] == "Array":
        return list(value)
    if column["type"] == "Geometry":
        return shape(value)
    return value


def shape(text):
    """The kind of a geometry and its numbers, however the text is spaced."""
    kind = re.match(r"\s*([A-Za-z]+)", text).group(1).upper()
    return kind, [float(number) for number in re.findall(r"-?[0-9.]+(?:[eE][-+]?\d+)?", text)]


def expected_value(column, value):
    return shape(value) if column["type"] == "Geometry" and value is not None else value


def test_every_value_comes_back(client, made):
    """Every column of every type, by a query."""
    seen = 0
    for name, columns in made:
        rows = helpers.rows_of(client, name, [column["name"] for column in columns])
        assert len(rows) == ROWS
        for column in columns:
            found = [found_value(column, row[column["name"]]) for row in rows]
            expected = [expected_value(column, value) for value in column["values"]]
            assert found == expected, column["name"]
            seen += 1
    assert seen > 80


def test_every_column_knows_its_nulls(client, made):
    for name, columns in made:
        for column in columns:
            if column["type"].endswith("Vector"):
                continue
            nulls = [number for number, value in enumerate(column["values"]) if value is None]
            rows = helpers.rows_of(client, name, [], f"{column['name']} is null")
            assert [row[PK] & 0xFFFFFFFF for row in rows] == nulls, column["name"]
            present = helpers.count(client, name, f"{column['name']} is not null")
            assert present == ROWS - len(nulls), column["name"]


def literal(column, value):
    """A value in the language of filters."""
    if column["type"] in ("VarChar", "Text"):
        return json.dumps(value, ensure_ascii=False)
    if column["type"] == "Timestamptz":
        moment = UNIX_EPOCH + datetime.timedelta(microseconds=value)
        return f"ISO '{moment.isoformat(timespec='microseconds').replace('+00:00', 'Z')}'"
    return json.dumps(value)


COMPARED = {"Bool", "Int8", "Int16", "Int32", "Int64", "Float", "Double", "VarChar", "Timestamptz"}


def test_every_column_can_be_filtered_on(client, made):
    """By a value that the column has, or an element, or the length, or a path."""
    filtered = set()
    for name, columns in made:
        for column in columns:
            for expression, condition in conditions(column):
                expected = [
                    number
                    for number, value in enumerate(column["values"])
                    if value is not None and condition(value)
                ]
                assert expected, f"{expression} chooses nothing"
                rows = helpers.rows_of(client, name, [], expression)
                found = [row[PK] & 0xFFFFFFFF for row in rows]
                assert found == expected, (column["name"], expression)
                filtered.add(column["type"])
    assert filtered >= COMPARED | {"Array", "JSON", "Geometry"}


def conditions(column):
    name, known = column["name"], [value for value in column["values"] if value is not None]
    if column["type"] in COMPARED:
        # Neither the smallest nor the largest of the values, for those have no literal everywhere.
        chosen = known[len(known) // 2]
        text = literal(column, chosen)
        yield f"{name} == {text}", lambda value: value == chosen
        if column["type"] != "Bool":
            yield f"{name} >= {text}", lambda value: value >= chosen
    elif column["type"] == "Array":
        longest = max(known, key=len)
        yield f"array_length({name}) == {len(longest)}", lambda value: len(value) == len(longest)
        element = longest[-1]
        if column["element_type"] not in ("Float", "Double"):
            text = json.dumps(element, ensure_ascii=False)
            yield f"array_contains({name}, {text})", lambda value: element in value
    elif column["type"] == "JSON":
        yield f'{name}["nested"]["list"][1] == 2', lambda value: _has(value, "nested")
        yield f'exists {name}["flag"]', lambda value: _has(value, "flag")
    elif column["type"] == "Geometry":
        box = "POLYGON ((-0.4 -3.4, 3.4 -3.4, 3.4 0.6, -0.4 0.6, -0.4 -3.4))"
        yield f"st_within({name}, '{box}')", lambda value: _inside(value)


def _has(document, key):
    return isinstance(document, dict) and key in document


def _inside(text):
    _, numbers = shape(text)
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    return all(-0.4 < x < 3.4 and -3.4 < y < 0.6 for x, y in points)


def test_every_vector_column_is_searched(client, made):
    """The vector of a row finds that row, or one with the same vector, at no distance."""
    searched = 0
    for name, columns in made:
        for column in columns:
            if not column["type"].endswith("Vector"):
                continue
            number = next(n for n, value in enumerate(column["values"]) if value and n > 20)
            vector = bytes.fromhex(column["values"][number])
            data = [vector]
            if column["type"] == "FloatVector":
                data = [np.frombuffer(vector, np.float32)]
            hits = helpers.search(client, name, data, column["name"], limit=5, output=())[0]
            nearest = hits[0][PK] & 0xFFFFFFFF
            assert hits[0]["distance"] == pytest.approx(0, abs=1e-5), column["name"]
            assert column["values"][nearest] == column["values"][number], column["name"]
            searched += 1
    assert searched > 20
