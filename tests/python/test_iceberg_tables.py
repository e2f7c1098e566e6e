"""Tables as PyIceberg writes them: what it appends, overwrites, deletes and evolves is what a
refreshed collection answers, row by row, filter by filter, and distance by distance."""

import datetime
import decimal
import json
import uuid

import numpy as np
import pyarrow as pa
import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    TruncateTransform,
    YearTransform,
)
from pyiceberg.types import (
    BinaryType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimeType,
    UUIDType,
)
from pymilvus import DataType

import helpers
import tables
from tables import DIM, FIELDS, FILTERS


@pytest.fixture
def table(warehouse, name):
    """A table with one snapshot of sixty rows."""
    table = warehouse.create(name)
    tables.append(table, 0, 60)
    return table


@pytest.fixture
def filled(client, name, warehouse, table):
    """A loaded collection over the newest snapshot of `table`."""
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    return table


def test_append(client, name, filled):
    tables.check_snapshot(client, name, filled)
    for first in (60, 100):
        tables.append(filled, first, 40)
        tables.check_latest(client, name, filled)


def test_overwrite(client, name, filled):
    filled.overwrite(tables.arrow(filled, tables.rows(200, 50)))
    tables.check_latest(client, name, filled)
    replaced = tables.rows(210, 10, kind="replaced")
    filled.overwrite(tables.arrow(filled, replaced), overwrite_filter="id >= 210 and id < 220")
    filters = [*FILTERS, ('kind == "replaced"', "kind = 'replaced'")]
    tables.check_latest(client, name, filled, filters=filters)


def test_delete(client, name, filled):
    tables.append(filled, 60, 60)
    before = tables.keys_of(client, name)
    filled.delete("id < 10 or kind == 'car'")
    tables.check_latest(client, name, filled)
    # A whole file goes.
    filled.delete("id >= 60")
    tables.check_latest(client, name, filled)
    after = tables.keys_of(client, name)
    assert set(after) < set(before)
    rewritten = set(after.values()) - set(before.values())
    assert len(rewritten) == len(after), "a rewritten row kept the key of another file's row"


def test_upsert(client, name, filled):
    changed = tables.rows(50, 20, kind="changed")
    filled.upsert(tables.arrow(filled, changed), join_cols=["id"])
    filters = [*FILTERS, ('kind == "changed"', "kind = 'changed'")]
    tables.check_latest(client, name, filled, filters=filters)


def test_several_changes_between_two_refreshes(client, name, filled):
    before = tables.keys_of(client, name)
    tables.append(filled, 60, 30)
    filled.delete("id >= 60 and id < 75")
    tables.append(filled, 90, 30)
    tables.check_latest(client, name, filled)
    after = tables.keys_of(client, name)
    assert {row: after[row] for row in before} == before, "rows of kept files changed their keys"


def test_rollback(client, name, filled):
    first = filled.current_snapshot().snapshot_id
    before = tables.keys_of(client, name)
    filled.overwrite(tables.arrow(filled, tables.rows(300, 30)))
    tables.check_latest(client, name, filled)
    filled.manage_snapshots().set_current_snapshot(snapshot_id=first).commit()
    tables.check_latest(client, name, filled)
    assert set(tables.keys_of(client, name)) == set(before)


def test_empty_table(client, name, warehouse):
    """A table without a snapshot has no rows, and is no error."""
    table = warehouse.create(name)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    assert helpers.count(client, name) == 0
    assert helpers.rows_of(client, name) == []
    assert list(helpers.search(client, name, helpers.vectors(1, DIM, 0))[0]) == []
    helpers.refresh(client, name)
    tables.append(table, 0, 50)
    tables.check_latest(client, name, table)


def test_an_emptied_table(client, name, filled):
    """Losing every row is refused, as it is for folders, unless the property allows it."""
    filled.delete("id >= 0")
    assert "refusing to drop all" in helpers.failed_refresh(client, name)
    assert helpers.count(client, name) == 60
    client.alter_collection_properties(name, {"refresh.allow_empty": "true"})
    helpers.refresh(client, name)
    assert helpers.count(client, name) == 0
    tables.append(filled, 100, 20)
    tables.check_latest(client, name, filled)


def test_expired_snapshots(client, name, filled):
    first = filled.current_snapshot().snapshot_id
    second = tables.append(filled, 60, 30)
    filled.delete("id < 30")
    filled.refresh()
    filled.maintenance.expire_snapshots().by_ids([first, second]).commit()
    tables.check_latest(client, name, filled)


def test_a_table_in_a_folder(client, name, local_warehouse):
    table = local_warehouse.create(name)
    tables.append(table, 0, 60)
    helpers.make(client, name, local_warehouse.latest(table), FIELDS)
    tables.check_snapshot(client, name, table)
    tables.append(table, 60, 40)
    table.delete("small == 3")
    tables.check_latest(client, name, table)


def test_format_version_1(client, name, warehouse):
    table = warehouse.create(name, format_version="1")
    tables.append(table, 0, 60)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    tables.append(table, 60, 40)
    table.delete("id < 20")
    tables.check_latest(client, name, table)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "zstd", "uncompressed"])
def test_codecs(client, name, warehouse, codec):
    """Of the data; the metadata are compressed too."""
    table = warehouse.create(
        name,
        **{"write.parquet.compression-codec": codec, "write.metadata.compression-codec": "gzip"},
    )
    tables.append(table, 0, 60)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    tables.check_snapshot(client, name, table)


# --- schema evolution -----------------------------------------------------------------------------


def made_again(client, name, warehouse, table, fields, **options):
    """Checks a second collection, whose fields are those of the table's schema of today."""
    again = f"{name}_again"
    helpers.make(client, again, warehouse.latest(table), fields)
    tables.check_snapshot(client, again, table, fields=fields, **options)


def test_added_column(client, name, warehouse, filled):
    """Rows that were written before are null."""
    with filled.update_schema() as update:
        update.add_column("note", StringType())
    tables.check_latest(client, name, filled)
    fields = {**FIELDS, "note": DataType.VARCHAR}
    tables.append(filled, 60, 40, note=lambda number: f"note {number % 3}")
    filters = [
        *FILTERS,
        ("note is null", "note is null"),
        ('note == "note 1"', "note == 'note 1'"),
        ("note is not null and small > 4", "note is not null and small > 4"),
    ]
    tables.check_latest(client, name, filled)
    made_again(client, name, warehouse, filled, fields, filters=filters)


def test_added_vectors(client, name, warehouse, filled):
    """Rows that were written before have no vector, and no search finds them."""
    with filled.update_schema() as update:
        update.add_column("second", ListType(1, FloatType(), element_required=False))
    filled.refresh()
    tables.append(
        filled, 60, 40, second=lambda number: helpers.vectors(1, 4, number + 1000)[0].tolist()
    )
    fields = {**FIELDS, "second": (DataType.FLOAT_VECTOR, {"dim": 4})}
    helpers.make(
        client,
        name + "_again",
        warehouse.latest(filled),
        fields,
        {"second": "L2", "embedding": "L2"},
    )
    expected = tables.scanned(filled)
    tables.check_rows(tables.served(client, name + "_again", fields), expected, fields)
    known = [row for row in expected if row["second"] is not None]
    assert len(known) == 40
    queries = helpers.vectors(2, 4, 5)
    answer = helpers.search(client, name + "_again", queries, "second", limit=100)
    base = np.array([row["second"] for row in known], np.float32)
    helpers.check_exact(answer, "L2", base, queries, 100, ids=[row["id"] for row in known])


def test_renamed_column(client, name, warehouse, filled):
    """The field of the old name finds no column; a field of the new name finds all rows."""
    with filled.update_schema() as update:
        update.rename_column("kind", "category")
    tables.append(filled, 60, 40, category=lambda number: f"kind {number % 3}")
    reason = helpers.failed_refresh(client, name)
    assert "Column 'kind' not found in schema" in reason
    assert helpers.count(client, name) == 60
    fields = {**FIELDS, "kind": (DataType.VARCHAR, {"external_field": "category"})}
    filters = [
        ('kind == "kind 1"', "category == 'kind 1'"),
        ('kind == "car"', "category == 'car'"),
        ("kind is null", "category is null"),
    ]
    made_again(client, name, warehouse, filled, fields, filters=filters)


def test_names_that_change_places(client, name, warehouse, filled):
    """Two columns take each other's names: only the ids tell them apart."""
    with filled.update_schema() as update:
        update.rename_column("price", "was_price")
    with filled.update_schema() as update:
        update.add_column("price", FloatType())
    filled.refresh()
    tables.append(filled, 60, 40, was_price=7.5, price=-1.0)
    fields = {**FIELDS, "was_price": DataType.FLOAT}
    filters = [("price < 0", "price < 0"), ("was_price > 5", "was_price > 5")]
    made_again(client, name, warehouse, filled, fields, filters=filters)


def test_reordered_columns(client, name, filled):
    with filled.update_schema() as update:
        update.move_first("embedding")
        update.move_after("small", "flag")
    tables.check_latest(client, name, filled)
    tables.append(filled, 60, 40)
    tables.check_latest(client, name, filled)


def test_dropped_column(client, name, warehouse, filled):
    with filled.update_schema() as update:
        update.delete_column("amount")
    reason = helpers.failed_refresh(client, name)
    assert "Column 'amount' not found in schema" in reason
    tables.append(filled, 60, 40)
    fields = {key: field for key, field in FIELDS.items() if key != "amount"}
    filters = [pair for pair in FILTERS if "amount" not in pair[0]]
    made_again(client, name, warehouse, filled, fields, filters=filters)


def test_dropped_and_added_again(client, name, warehouse, filled):
    """The new column is another one: old rows have no value, although their files have the name."""
    with filled.update_schema() as update:
        update.delete_column("kind")
    with filled.update_schema() as update:
        update.add_column("kind", StringType())
    tables.append(filled, 60, 40)
    tables.check_latest(client, name, filled)
    old = helpers.rows_of(client, name, ["kind"], "id < 60")
    assert {row["kind"] for row in old} == {None}
    made_again(client, name, warehouse, filled, FIELDS)


def test_widened_columns(client, name, warehouse, filled):
    filled.delete("id >= 55")
    with filled.update_schema() as update:
        update.update_column("small", LongType())
        update.update_column("price", DoubleType())
    reason = helpers.failed_refresh(client, name)
    assert "small" in reason or "price" in reason
    tables.append(filled, 60, 40, small=lambda number: number + 2**40, price=lambda n: n / 3)
    fields = {**FIELDS, "small": DataType.INT64, "price": DataType.DOUBLE}
    filters = [
        ("small > 1000000", "small > 1000000"),
        ("small in [1, 2, 1099511627846]", "small in (1, 2, 1099511627846)"),
        ("price > 10.5", "price > 10.5"),
        ("price <= 20", "price <= 20.0"),
    ]
    made_again(client, name, warehouse, filled, fields, filters=filters)


# --- partitions -----------------------------------------------------------------------------------

TRANSFORMS = {
    "identity": (6, IdentityTransform()),
    "bucket": (1, BucketTransform(4)),
    "bucket_of_text": (6, BucketTransform(3)),
    "truncate": (1, TruncateTransform(10)),
    "truncate_of_text": (6, TruncateTransform(2)),
    "year": (7, YearTransform()),
    "month": (7, MonthTransform()),
    "day": (7, DayTransform()),
    "hour": (7, HourTransform()),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_partitions(client, name, warehouse, transform):
    source, function = TRANSFORMS[transform]
    spec = PartitionSpec(PartitionField(source, 1000, function, "part"))
    table = warehouse.create(name, partitions=spec)
    # Few rows, so that hours do not make a file each for hundreds of them.
    tables.append(table, 0, 24)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    tables.append(table, 20, 24)
    table.delete("kind == 'apple'")
    filters = [
        *FILTERS,
        ("id == 7", "id == 7"),
        ("id in [3, 21, 22]", "id in (3, 21, 22)"),
        ('kind in ["boat", "car"]', "kind in ('boat', 'car')"),
        ("moment >= ISO '2026-01-01T20:00:00Z' and moment < ISO '2026-01-02T00:00:00Z'",
         "moment >= '2026-01-01T20:00:00+00:00' and moment < '2026-01-02T00:00:00+00:00'"),
        ("moment is null", "moment is null"),
    ]  # fmt: skip
    helpers.refresh(client, name)
    table.refresh()
    # Ids from 20 to 23 are there twice, so that searches compare rows that hold them once.
    expected = tables.scanned(table)
    found = helpers.rows_of(client, name, FIELDS)
    assert sorted(row["id"] for row in found) == [row["id"] for row in expected]
    for ours, theirs in filters:
        ids = [row["id"] for row in tables.scanned(table, row_filter=theirs)]
        assert sorted(helpers.ids_of(client, name, ours)) == ids, ours
    table.delete("id >= 20")
    tables.append(table, 20, 24)
    tables.check_latest(client, name, table, filters=filters)


def test_partition_evolution(client, name, warehouse, filled):
    """Unpartitioned, then by identity, then by bucket and day: all in one table."""
    with filled.update_spec() as update:
        update.add_field("kind", IdentityTransform(), "kind_as_is")
    tables.append(filled, 60, 30)
    tables.check_latest(client, name, filled)
    with filled.update_spec() as update:
        update.remove_field("kind_as_is")
        update.add_field("id", BucketTransform(2), "id_bucket")
        update.add_field("moment", DayTransform(), "moment_day")
    tables.append(filled, 90, 30)
    tables.check_latest(client, name, filled)
    filled.delete("id >= 50 and id < 100")
    tables.check_latest(client, name, filled)
    assert len(filled.specs()) == 3


def test_partition_of_a_renamed_column(client, name, warehouse):
    spec = PartitionSpec(PartitionField(6, 1000, IdentityTransform(), "part"))
    table = warehouse.create(name, partitions=spec)
    tables.append(table, 0, 40)
    with table.update_schema() as update:
        update.rename_column("kind", "category")
    table.refresh()
    tables.append(table, 40, 40, category=lambda number: f"a/b c={number % 3}%")
    fields = {**FIELDS, "kind": (DataType.VARCHAR, {"external_field": "category"})}
    filters = [
        ('kind == "a/b c=1%"', "category == 'a/b c=1%'"),
        ('kind == "größe & ☃"', "category == 'größe & ☃'"),
        ("kind is null", "category is null"),
    ]
    helpers.make(client, name, warehouse.latest(table), fields)
    tables.check_snapshot(client, name, table, fields=fields, filters=filters)


# --- types ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["fixed", "binary"])
def test_vectors_as_bytes(client, name, warehouse, form):
    column = FixedType(DIM * 4) if form == "fixed" else BinaryType()
    schema = Schema(
        *[field for field in tables.SCHEMA.fields if field.name != "embedding"],
        NestedField(9, "embedding", column),
    )
    table = warehouse.create(name, schema)

    def vector(number):
        return None if number % 6 == 5 else helpers.vectors(1, DIM, number)[0].tobytes()

    tables.append(table, 0, 60, embedding=vector)
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    tables.append(table, 60, 40, embedding=vector)
    table.delete("id < 10")
    tables.check_latest(client, name, table)


def after(start, **units):
    """Times that lie one unit after the other."""
    return lambda number: start + number * datetime.timedelta(**units)


def array(element):
    options = {"element_type": element, "max_capacity": 8}
    if element == DataType.VARCHAR:
        options["max_length"] = 64
    return DataType.ARRAY, options


STRUCT = StructType(
    NestedField(60, "x", IntegerType()),
    NestedField(61, "y", StringType()),
    NestedField(62, "deep", StructType(NestedField(63, "z", DoubleType()))),
)
# The column, the field, and the value of the row with an id.
TYPES = {
    "decimal_as_double": (
        DecimalType(12, 3),
        DataType.DOUBLE,
        lambda number: decimal.Decimal(number * 1001) / 1000,
    ),
    "decimal_as_text": (
        DecimalType(20, 2),
        DataType.VARCHAR,
        lambda number: decimal.Decimal(number * 7 - 90) / 100,
    ),
    "date_as_moment": (
        DateType(),
        DataType.TIMESTAMPTZ,
        after(datetime.date(2020, 1, 1), days=1),
    ),
    "date_as_text": (DateType(), DataType.VARCHAR, after(datetime.date(1969, 12, 1), days=1)),
    "time": (
        TimeType(),
        DataType.INT64,
        lambda number: datetime.time(number % 24, number % 60, 1, number),
    ),
    "naive_moment": (
        TimestampType(),
        DataType.TIMESTAMPTZ,
        after(datetime.datetime(1969, 12, 31), hours=1, microseconds=1),
    ),
    "naive_microseconds": (
        TimestampType(),
        DataType.INT64,
        after(datetime.datetime(2020, 1, 1), seconds=1),
    ),
    "uuid": (UUIDType(), DataType.VARCHAR, lambda number: uuid.UUID(int=number * 2**70 + number)),
    "bytes_as_text": (
        BinaryType(),
        DataType.VARCHAR,
        lambda number: f"bytes {number} ☃".encode(),
    ),
    "words": (
        ListType(50, StringType()),
        array(DataType.VARCHAR),
        lambda number: [f"word {word}" for word in range(number % 4)],
    ),
    "numbers": (
        ListType(51, IntegerType()),
        array(DataType.INT32),
        lambda number: [number, -number],
    ),
    "document": (
        StringType(),
        DataType.JSON,
        lambda number: json.dumps({"n": number, "list": [1, number]}),
    ),
    "record": (
        STRUCT,
        DataType.JSON,
        lambda number: {"x": number, "y": f"y {number}", "deep": {"z": number / 2}},
    ),
    "pairs": (
        MapType(70, StringType(), 71, LongType()),
        DataType.JSON,
        lambda number: [(f"key {key}", key * number) for key in range(number % 3)],
    ),
}


@pytest.fixture(scope="module")
def typed(client, warehouse, module_name):
    """A collection with a field of each type, and its table."""
    columns = [
        NestedField(number, key, column)
        for number, (key, (column, _, _)) in enumerate(TYPES.items(), start=10)
    ]
    table = warehouse.create(module_name, Schema(*tables.SCHEMA.fields, *columns))
    # PyIceberg gives its own ids to all columns.
    changes = {
        key: lambda number, value=value: None if number % 6 == 2 else value(number)
        for key, (_, _, value) in TYPES.items()
    }
    tables.append(table, 0, 30, **changes)
    tables.append(table, 30, 30, **changes)
    fields = {**FIELDS, **{key: field for key, (_, field, _) in TYPES.items()}}
    helpers.make(client, module_name, warehouse.latest(table), fields)
    return module_name, table, fields


@pytest.mark.parametrize("column", TYPES)
def test_values_of_type(client, typed, column):
    name, table, fields = typed
    expected = tables.scanned(table)
    found = sorted(helpers.rows_of(client, name, ["id", column]), key=lambda row: row["id"])
    if column == "document":
        assert [row[column] for row in found] == [
            None if row[column] is None else {"n": row["id"], "list": [1, row["id"]]}
            for row in expected
        ]
        return
    tables.check_rows(found, expected, {column: fields[column]})
    missing = [row["id"] for row in expected if row[column] is None]
    assert len(missing) == 10
    assert sorted(helpers.ids_of(client, name, f"{column} is null")) == missing


TYPED_FILTERS = [
    ("decimal_as_double >= 20.02", "decimal_as_double >= 20.020"),
    ('decimal_as_text == "-0.06"', "decimal_as_text == -0.06"),
    ("date_as_moment < ISO '2020-01-20T00:00:00Z'", "date_as_moment < '2020-01-20'"),
    ('date_as_text >= "1970-01-01"', "date_as_text >= '1970-01-01'"),
    ("naive_moment >= ISO '1970-01-01T00:00:00Z'", "naive_moment >= '1970-01-01T00:00:00'"),
    ("naive_microseconds < 1577836820000000", "naive_microseconds < '2020-01-01T00:00:20'"),
]


@pytest.mark.parametrize("ours, theirs", TYPED_FILTERS)
def test_filter_on_type(client, typed, ours, theirs):
    name, table, _ = typed
    ids = [row["id"] for row in tables.scanned(table, row_filter=theirs)]
    assert ids
    assert sorted(helpers.ids_of(client, name, ours)) == ids


def test_filters_that_arrow_has_not(client, typed):
    name, table, _ = typed
    records = {row["id"]: row for row in tables.scanned(table)}

    def ids(condition):
        return [key for key, row in records.items() if condition(row)]

    asked = [
        ('record["x"] > 40', lambda row: row["record"] and row["record"]["x"] > 40),
        ('record["deep"]["z"] == 1.5', lambda row: row["record"] and row["id"] == 3),
        ('pairs["key 1"] >= 20',
         lambda row: dict(row["pairs"] or []).get("key 1", -1) >= 20),
        ('array_contains(words, "word 2")', lambda row: "word 2" in (row["words"] or [])),
        ("array_contains(numbers, -9)", lambda row: -9 in (row["numbers"] or [])),
        ('document["list"][1] == 9', lambda row: row["document"] and row["id"] == 9),
        # Arrow does not compare these.
        (f'uuid == "{uuid.UUID(int=7 * 2**70 + 7)}"', lambda row: row["uuid"] and row["id"] == 7),
        ('uuid > "00000000-0000-0a"', lambda row: row["uuid"] and row["id"] >= 40),
    ]  # fmt: skip
    for expression, condition in asked:
        expected = ids(condition)
        assert expected, expression
        assert sorted(helpers.ids_of(client, name, expression)) == expected, expression


REFUSED = {
    "long_as_int": (LongType(), DataType.INT32),
    "int_as_long": (IntegerType(), DataType.INT64),
    "double_as_float": (DoubleType(), DataType.FLOAT),
    "text_as_long": (StringType(), DataType.INT64),
    "struct_as_text": (StructType(NestedField(60, "x", IntegerType())), DataType.VARCHAR),
    "fixed_of_another_length": (FixedType(12), (DataType.FLOAT_VECTOR, {"dim": 8})),
    "list_of_another_type": (ListType(61, DoubleType()), (DataType.FLOAT_VECTOR, {"dim": 8})),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_type_that_does_not_fit_is_named(client, name, warehouse, case):
    """Before any data file is opened: there is none."""
    column, field = REFUSED[case]
    table = warehouse.create(name, Schema(*tables.SCHEMA.fields, NestedField(10, "odd", column)))
    lake = warehouse.latest(table)
    helpers.create(client, name, lake, {**FIELDS, "odd": field}, indexes={})
    reason = helpers.failed_refresh(client, name)
    assert "odd" in reason and "mismatch" in reason, reason


def test_wrong_column(client, name, warehouse, table):
    fields = {**FIELDS, "other": (DataType.INT64, {"external_field": "ID"})}
    helpers.create(client, name, warehouse.latest(table), fields)
    reason = helpers.failed_refresh(client, name)
    assert "Column 'ID' not found in schema" in reason
    assert "embedding" in reason, "the columns that there are should be named"


def test_vectors_of_wrong_dimension(client, name, warehouse, table):
    """A list tells its length in the file alone: one new file is looked into. It tells how many
    numbers its rows have, of which no vectors of this dimension can be made."""
    fields = {**FIELDS, "embedding": (DataType.FLOAT_VECTOR, {"dim": 12})}
    helpers.create(client, name, warehouse.latest(table), fields)
    reason = helpers.failed_refresh(client, name)
    assert ".parquet" in reason and "embedding" in reason, reason
    good = f"{name}_good"
    helpers.make(client, good, warehouse.latest(table), FIELDS)
    tables.append(table, 60, 5, embedding=[1.0, 2.0])
    reason = helpers.failed_refresh(client, good)
    assert ".parquet" in reason and "embedding" in reason, reason
    assert helpers.count(client, good) == 60


def test_vectors_of_several_lengths(client, name, warehouse, table):
    """As many numbers as vectors of the right length would have: whoever reads them finds out, be
    it a search or a refresh that has to read all vectors. The error names the file."""
    odd = {0: [1.0] * (DIM - 2), 1: [1.0] * (DIM + 2)}
    tables.append(table, 60, 6, embedding=lambda number: odd[number % 2])
    helpers.make(client, name, warehouse.latest(table), FIELDS)
    data = helpers.vectors(1, DIM, 0)
    error = helpers.error_of(client.search, name, data=data, anns_field="embedding")
    assert ".parquet" in error.message and "embedding" in error.message, error.message
    assert sorted(helpers.ids_of(client, name)) == list(range(66))
    checked = f"{name}_checked"
    properties = {"refresh.verify": "true"}
    helpers.create(client, checked, warehouse.latest(table), FIELDS, properties=properties)
    reason = helpers.failed_refresh(client, checked)
    assert ".parquet" in reason and "embedding" in reason, reason


def test_a_table_of_arrow_types(client, name, warehouse):
    """A schema that PyIceberg makes from Arrow's, as most Python programs have it."""
    values = tables.rows(0, 50)
    embedding = helpers.fixed_size_lists(np.array([row["embedding"] for row in values], np.float32))
    arrow = pa.Table.from_pylist(values).drop_columns(["embedding"])
    arrow = arrow.append_column("embedding", embedding.cast(pa.list_(pa.float32())))
    table = warehouse.create(name, arrow.schema)
    table.append(arrow)
    fields = {**FIELDS, "small": DataType.INT64, "price": DataType.DOUBLE}
    helpers.make(client, name, warehouse.latest(table), fields)
    tables.check_snapshot(client, name, table, fields=fields)
