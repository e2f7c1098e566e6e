"""Iceberg tables as sources of collections: warehouses that PyIceberg writes to, rows of most
types, and PyIceberg's own reading of a snapshot as the oracle of every answer.

PyIceberg shares no code with the server. What it does not read, equality deletes, is compared with
what the tables' writers say.
"""

import contextlib
import datetime
import decimal
import json
import typing
import uuid

import numpy as np
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable
from pyiceberg.types import (
    BooleanType,
    DoubleType,
    FloatType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)
from pymilvus import DataType

import helpers
from helpers import ACCESS_KEY, CALL_TIMEOUT_S, PK, REGION, SECRET_KEY

DIM = 8
VECTORS = ListType(element_id=101, element_type=FloatType(), element_required=False)
SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "small", IntegerType()),
    NestedField(3, "price", FloatType()),
    NestedField(4, "amount", DoubleType()),
    NestedField(5, "flag", BooleanType()),
    NestedField(6, "kind", StringType()),
    NestedField(7, "moment", TimestamptzType()),
    NestedField(8, "tags", ListType(element_id=100, element_type=LongType())),
    NestedField(9, "embedding", VECTORS),
)
FIELDS = {
    "id": DataType.INT64,
    "small": DataType.INT32,
    "price": DataType.FLOAT,
    "amount": DataType.DOUBLE,
    "flag": DataType.BOOL,
    "kind": DataType.VARCHAR,
    "moment": DataType.TIMESTAMPTZ,
    "tags": (DataType.ARRAY, {"element_type": DataType.INT64, "max_capacity": 16}),
    "embedding": (DataType.FLOAT_VECTOR, {"dim": DIM}),
}
# The same condition in the language of Milvus and in PyIceberg's.
FILTERS = [
    ("id >= 20 and id < 45", "id >= 20 and id < 45"),
    ("small == 3", "small == 3"),
    ("small in [1, 2, 90]", "small in (1, 2, 90)"),
    ("price > 10.5", "price > 10.5"),
    ("amount <= 2.25 or flag == true", "amount <= 2.25 or flag == true"),
    ('kind == "car"', "kind == 'car'"),
    ('kind like "bo%"', "kind like 'bo%'"),
    ("kind is null", "kind is null"),
    ("moment < ISO '2026-01-02T12:00:00Z'", "moment < '2026-01-02T12:00:00+00:00'"),
    ("not (small > 4) and id > 10", "small <= 4 and id > 10"),
]
KINDS = ["apple", "book", "boat", "car", "größe & ☃"]
EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def rows(first, count, **changes):
    """Rows with the ids from `first`, the same for the same ids. `changes` maps a column to its
    value in every row, or to a function of the row's id; new columns come last."""
    made = []
    for number in range(first, first + count):
        row = {
            "id": number,
            "small": None if number % 9 == 4 else number % 11,
            "price": None if number % 13 == 5 else number / 4,
            "amount": None if number % 8 == 1 else number / 8 - 1,
            "flag": None if number % 10 == 7 else number % 3 == 0,
            "kind": None if number % 7 == 3 else KINDS[number % 5],
            "moment": None
            if number % 12 == 6
            else EPOCH + datetime.timedelta(hours=number, microseconds=number % 3),
            "tags": None if number % 5 == 4 else list(range(number % 4)),
            "embedding": helpers.vectors(1, DIM, number)[0].tolist(),
        }
        for column, value in changes.items():
            row[column] = value(number) if callable(value) else value
        made.append(row)
    return made


def arrow(table, made):
    """Rows in the current schema of a table; columns that it does not have are left out."""
    schema = table.schema().as_arrow()
    return pa.Table.from_pylist([{n: row.get(n) for n in schema.names} for row in made], schema)


def append(table, first, count, branch="main", **changes):
    """Appends rows, and returns the id of the new snapshot."""
    table.append(arrow(table, rows(first, count, **changes)), branch=branch)
    return table.refs()[branch].snapshot_id


class Lake(typing.NamedTuple):
    """What the functions of `helpers` take as a source."""

    source: str
    spec: str


class Warehouse:
    """A catalog of PyIceberg's whose tables lie in the bucket of an S3 server, or in a folder."""

    def __init__(self, catalog, extfs, host=None):
        self.catalog, self.extfs, self.host = catalog, extfs, host

    @classmethod
    def in_s3(cls, directory, server, prefix):
        properties = {"warehouse": f"s3://{server.bucket}/{prefix}", **s3_properties(server)}
        catalog = SqlCatalog("lake", uri=f"sqlite:///{directory}/catalog.db", **properties)
        return cls(catalog, s3_extfs(), server.host)

    @classmethod
    def in_folder(cls, directory, folder):
        location = f"sqlite:///{directory}/catalog.db"
        return cls(SqlCatalog("folder", uri=location, warehouse=f"file://{folder}"), None)

    def create(self, name, schema=SCHEMA, partitions=UNPARTITIONED_PARTITION_SPEC, **properties):
        """A new, empty table. Format version 2 unless the properties say otherwise."""
        with contextlib.suppress(NamespaceAlreadyExistsError):
            self.catalog.create_namespace("ns")
        properties = {key.replace("_", "-"): value for key, value in properties.items()}
        identifier = ("ns", name)
        return self.catalog.create_table(
            identifier, schema, partition_spec=partitions, properties=properties
        )

    def source_of(self, location):
        """A location of a table as Milvus writes it, with the endpoint in front of the bucket."""
        if self.host is None:
            return location
        return location.replace("s3://", f"s3://{self.host}/", 1)

    def spec(self, file_format="iceberg-table", **keys):
        document = {"format": file_format, **keys}
        if self.extfs is not None:
            document["extfs"] = self.extfs
        return json.dumps(document)

    def latest(self, table, **keys):
        """The table by its location: whatever is newest, or what `keys` choose."""
        return Lake(self.source_of(table.location()), self.spec(**keys))

    def fixed(self, table, **keys):
        """The table by its present metadata file, as Milvus names tables."""
        return Lake(self.source_of(table.metadata_location), self.spec(**keys))


def s3_properties(server, access_key=ACCESS_KEY, secret_key=SECRET_KEY):
    """What PyIceberg needs to know of an S3 server of the test kit."""
    return {
        "s3.endpoint": f"http://{server.host}",
        "s3.region": REGION,
        "s3.access-key-id": access_key,
        "s3.secret-access-key": secret_key,
        "s3.force-virtual-addressing": "false",
    }


def s3_extfs(**changes):
    extfs = {
        "access_key_id": ACCESS_KEY,
        "access_key_value": SECRET_KEY,
        "region": REGION,
        "cloud_provider": "minio",
        "use_ssl": "false",
    }
    extfs.update(changes)
    return {key: value for key, value in extfs.items() if value is not None}


def table_at(server, location):
    """A table that no catalog has, read from its newest metadata by the version hint."""
    return StaticTable.from_metadata(location, s3_properties(server))


def iso(timestamp_ms):
    """A time in milliseconds since 1970 as RFC 3339 writes it."""
    moment = datetime.datetime.fromtimestamp(timestamp_ms / 1000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- the oracle -----------------------------------------------------------------------------------


def scanned(table, snapshot_id=None, **options):
    """The rows of a snapshot as PyIceberg reads them, by `id`."""
    found = table.scan(snapshot_id=snapshot_id, **options).to_arrow().to_pylist()
    return sorted(found, key=lambda row: row["id"])


MICROSECOND = datetime.timedelta(microseconds=1)
UNIX_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def moment(value):
    """A point in time; what has no zone is in UTC, and a date is its midnight."""
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
        assert value.tzinfo is not None, "an answer without a time zone"
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    return value if value.tzinfo else value.replace(tzinfo=datetime.UTC)


def microseconds(value):
    """Since midnight, or since 1970; what is a number already stays."""
    if isinstance(value, datetime.time):
        midnight = datetime.datetime.combine(UNIX_EPOCH, value, datetime.UTC)
        return (midnight - UNIX_EPOCH) // MICROSECOND
    if isinstance(value, datetime.datetime):
        return (moment(value) - UNIX_EPOCH) // MICROSECOND
    return value


def _text(value):
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode()
    return str(value) if isinstance(value, decimal.Decimal | uuid.UUID) else value


def _document(value):
    """JSON as it is meant: an Arrow map comes as pairs, an empty one as an empty list."""
    if isinstance(value, list) and all(isinstance(inner, tuple) for inner in value):
        return {key: _document(inner) for key, inner in value}
    return value


READERS = {
    DataType.TIMESTAMPTZ: moment,
    DataType.INT64: microseconds,
    DataType.VARCHAR: _text,
    DataType.DOUBLE: float,
    DataType.ARRAY: list,
    DataType.JSON: _document,
    DataType.FLOAT_VECTOR: helpers.vector_bytes,
}


def comparable(field, value):
    """A value of an answer or of the oracle, so that equal ones are equal."""
    data_type = field[0] if isinstance(field, tuple) else field
    if value is None:
        return None
    return READERS.get(data_type, lambda same: same)(value)


def column_of(name, field):
    """The column that a field is mapped to."""
    return field[1].get("external_field", name) if isinstance(field, tuple) else name


def check_rows(found, expected, fields):
    """Checks that the rows of an answer are those of the oracle, value by value."""
    assert len(found) == len(expected)
    found = sorted(found, key=lambda row: row["id"])
    for name, field in fields.items():
        values = [comparable(field, row[name]) for row in found]
        assert values == [comparable(field, row[column_of(name, field)]) for row in expected], name


def served(client, name, fields=FIELDS, expression="", batch_size=37):
    """Every matching row, page by page."""
    iterator = client.query_iterator(
        name,
        batch_size=batch_size,
        filter=expression,
        output_fields=[PK, *fields],
        timeout=CALL_TIMEOUT_S,
    )
    found = []
    while page := iterator.next():
        found += page
    iterator.close()
    keys = [row[PK] for row in found]
    assert len(set(keys)) == len(keys), "a row came twice"
    return found


def check_search(client, name, expected, metric="L2", column="embedding", **options):
    """Checks that a search finds the nearest rows of the oracle's, at their true distances."""
    known = [row for row in expected if row[column] is not None]
    assert known, "there is nothing to be found"
    base = [np.frombuffer(helpers.vector_bytes(row[column]), np.float32) for row in known]
    queries = helpers.vectors(3, len(base[0]), seed=len(known))
    answer = helpers.search(client, name, queries, limit=15, **options)
    ids = [row["id"] for row in known]
    helpers.check_exact(answer, metric, np.stack(base), queries, 15, ids=ids)


def check_snapshot(
    client, name, table, snapshot_id=None, fields=FIELDS, filters=FILTERS, column="embedding"
):
    """Checks every answer of a collection against PyIceberg's reading of a snapshot: all rows, the
    counts, each filter, and searches with and without a filter."""
    expected = scanned(table, snapshot_id)
    check_rows(served(client, name, fields), expected, fields)
    assert helpers.count(client, name) == len(expected)
    matching = 0
    for ours, theirs in filters:
        ids = [row["id"] for row in scanned(table, snapshot_id, row_filter=theirs)]
        assert sorted(helpers.ids_of(client, name, ours)) == ids, ours
        assert helpers.count(client, name, ours) == len(ids), ours
        matching += len(ids)
    assert matching or not expected or not filters, "no filter chooses anything"
    if any(row[column] is not None for row in expected):
        check_search(client, name, expected, column=column)
        for ours, theirs in filters[:1]:
            chosen = scanned(table, snapshot_id, row_filter=theirs)
            if chosen:
                check_search(client, name, chosen, column=column, filter=ours)


def check_latest(client, name, table, **options):
    """Refreshes, and checks that the collection is what the table is now."""
    helpers.refresh(client, name)
    table.refresh()
    check_snapshot(client, name, table, **options)


def keys_of(client, name, expression=f"{PK} > 0"):
    """The primary key of each `id`."""
    found = helpers.rows_of(client, name, ["id"], expression)
    return {row["id"]: row[PK] for row in found}
