"""Random histories of a table: whatever is written, rolled back and expired, the collection is what
PyIceberg reads, now and in the snapshots before. A failure repeats with the seed in its name."""

import random

import pytest
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, TruncateTransform

import helpers
import tables
from tables import FIELDS, FILTERS

STEPS = 7
TRANSFORMS = [
    (1, BucketTransform(3)),
    (1, TruncateTransform(20)),
    (6, IdentityTransform()),
    (6, TruncateTransform(1)),
    (7, DayTransform()),
]
CONDITIONS = ["kind == 'car'", "small == 3", "flag == true and id < 20", "amount < 1.5"]
INDEXES = {"embedding": "L2", "kind": None, "small": None, "moment": None}


class History:
    """A table to which things happen."""

    def __init__(self, warehouse, name, seed):
        self.random = random.Random(seed)
        partitions = UNPARTITIONED_PARTITION_SPEC
        if self.random.random() < 0.6:
            source, transform = self.random.choice(TRANSFORMS)
            partitions = PartitionSpec(PartitionField(source, 1000, transform, "part"))
        version = self.random.choice(["1", "2"])
        self.table = warehouse.create(name, partitions=partitions, format_version=version)
        self.next_id = 0
        self.append()

    def step(self):
        changes = [
            self.append,
            self.delete_ids,
            self.delete_some,
            self.upsert,
            self.overwrite,
            self.roll_back,
            self.expire,
        ]
        self.random.choice(changes)()
        self.table.refresh()
        if self.table.scan().count() == 0:
            # Losing every row is refused, and is tested elsewhere.
            self.append()

    def append(self):
        tables.append(self.table, self.next_id, 25)
        self.next_id += 25

    def some_ids(self, count):
        first = self.random.randrange(self.next_id)
        self.next_id = max(self.next_id, first + count)
        return first, f"id >= {first} and id < {first + count}"

    def delete_ids(self):
        self.table.delete(self.some_ids(self.random.randrange(1, 15))[1])

    def delete_some(self):
        self.table.delete(self.random.choice(CONDITIONS))

    def upsert(self):
        first, _ = self.some_ids(8)
        changed = tables.rows(first, 8, kind="changed")
        self.table.upsert(tables.arrow(self.table, changed), join_cols=["id"])

    def overwrite(self):
        first, condition = self.some_ids(10)
        again = tables.arrow(self.table, tables.rows(first, 10))
        self.table.overwrite(again, overwrite_filter=condition)

    def roll_back(self):
        to = self.random.choice(self.table.snapshots()).snapshot_id
        self.table.manage_snapshots().set_current_snapshot(snapshot_id=to).commit()

    def expire(self):
        current = self.table.current_snapshot().snapshot_id
        known = [snapshot.snapshot_id for snapshot in self.table.snapshots()]
        others = [snapshot for snapshot in known if snapshot != current]
        if others:
            chosen = self.random.choice(others)
            self.table.maintenance.expire_snapshots().by_id(chosen).commit()


@pytest.mark.filterwarnings("ignore:Delete operation did not match any records")
@pytest.mark.parametrize("seed", range(5))
def test_random_history(client, name, warehouse, seed):
    history = History(warehouse, name, seed)
    table, choose = history.table, history.random
    indexes = INDEXES if choose.random() < 0.5 else None
    helpers.make(client, name, warehouse.latest(table), FIELDS, indexes)
    for _ in range(STEPS):
        history.step()
        # Several changes may lie between two refreshes.
        if choose.random() < 0.7:
            tables.check_latest(client, name, table)
        for snapshot in choose.sample(table.snapshots(), min(2, len(table.snapshots()))):
            check_travelled(client, name, table, snapshot.snapshot_id, choose.sample(FILTERS, 3))
    tables.check_latest(client, name, table)


def check_travelled(client, name, table, snapshot_id, filters):
    travelled = f"{name}@snapshot_id={snapshot_id}"
    expected = tables.scanned(table, snapshot_id)
    tables.check_rows(helpers.rows_of(client, travelled, FIELDS), expected, FIELDS)
    if expected:
        tables.check_search(client, travelled, expected)
    for ours, theirs in filters:
        ids = [row["id"] for row in tables.scanned(table, snapshot_id, row_filter=theirs)]
        assert sorted(helpers.ids_of(client, travelled, ours)) == ids, ours
