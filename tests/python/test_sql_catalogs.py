"""Tables of catalogs that PostgreSQL or a file of SQLite holds: PyIceberg's SqlCatalog writes, a
collection follows what the catalog names."""

import json

import pytest
from pyiceberg.catalog.sql import SqlCatalog

import helpers
import tables
from helpers import CALL_TIMEOUT_S
from postgres import Postgres
from tables import FIELDS

PASSWORD = "canary-of-the-reader-77aé"
WRONG = "canary-of-nobody-1234"


class Lakehouse:
    """Catalogs of both kinds, and a server that may ask them."""

    def __init__(self, directory, folder, s3):
        self.s3, self.folder = s3, folder
        self.postgres = Postgres()
        self.postgres.execute(
            "CREATE DATABASE catalogs",
            f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'",
            f"CREATE ROLE stranger LOGIN PASSWORD '{PASSWORD}'",
        )
        in_postgres = SqlCatalog(
            "lake",
            uri=self.postgres.uri(database="catalogs"),
            warehouse=f"s3://{s3.bucket}/sql",
            **tables.s3_properties(s3),
        )
        # All that a reader needs.
        self.postgres.execute("GRANT SELECT ON iceberg_tables TO reader", database="catalogs")
        in_file = SqlCatalog(
            "lake", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}"
        )
        self.catalogs = {"postgres": in_postgres, "sqlite": in_file}
        for catalog in self.catalogs.values():
            catalog.create_namespace("ns")
        endpoints = [s3.host, self.postgres.host]
        self.server = helpers.PandionServer(directory, endpoints=endpoints, local_roots=[folder])
        self.server.start()
        self.client = self.server.client()

    def create(self, kind, name):
        return self.catalogs[kind].create_table(("ns", name), tables.SCHEMA)

    def lake(self, kind, name, user="reader", **keys):
        """A table of a catalog; a key that is `None` is left out."""
        settings = {"type": "sql", "catalog_name": "lake", "table": f"ns.{name}"}
        document = {"format": "iceberg-table"}
        if kind == "sqlite":
            source = f"file://{self.folder}"
            settings["uri"] = f"sqlite:///{self.folder}/catalog.db"
        else:
            source = f"s3://{self.s3.host}/{self.s3.bucket}/sql/"
            document["extfs"] = tables.s3_extfs()
            settings["uri"] = f"postgresql://{user}@{self.postgres.host}/catalogs"
            settings |= {"password": PASSWORD, "sslmode": "disable"}
        settings = {key: value for key, value in (settings | keys).items() if value is not None}
        return tables.Lake(source, json.dumps({**document, "catalog": settings}))

    def refused(self, name, lake):
        """Why the refresh of a new collection fails."""
        helpers.create(self.client, name, lake, FIELDS)
        return helpers.failed_refresh(self.client, name)

    def stop(self):
        self.server.stop()
        self.postgres.stop()
        log = self.server.log()
        assert PASSWORD not in log and WRONG not in log, "the log holds a secret"


@pytest.fixture(scope="module")
def lakehouse(tmp_path_factory, local_root, s3):
    folder = local_root / "sql"
    folder.mkdir()
    lakehouse = Lakehouse(tmp_path_factory.mktemp("sql-server"), folder, s3)
    yield lakehouse
    lakehouse.stop()


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_a_collection_follows_the_catalog(lakehouse, name, kind):
    client, table = lakehouse.client, lakehouse.create(kind, name)
    snapshots = [tables.append(table, 0, 60)]
    helpers.make(client, name, lakehouse.lake(kind, name), FIELDS)
    tables.check_rows(tables.served(client, name), tables.scanned(table, snapshots[0]), FIELDS)

    snapshots.append(tables.append(table, 60, 40))
    table.delete("id < 25")
    table.refresh()
    snapshots.append(table.current_snapshot().snapshot_id)
    helpers.refresh(client, name)
    expected = tables.scanned(table, snapshots[2])
    tables.check_rows(tables.served(client, name), expected, FIELDS)
    tables.check_search(client, name, expected)

    described = client.describe_collection(name, timeout=CALL_TIMEOUT_S)
    spec = json.loads(described["external_spec"])
    assert spec["catalog"].get("password", "***") == "***"
    assert PASSWORD not in json.dumps(spec)


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_what_is_not_there_is_named(lakehouse, name, kind):
    reason = lakehouse.refused(name, lakehouse.lake(kind, "nothing"))
    assert "table ns.nothing not found in the catalog" in reason
    lakehouse.create(kind, name)
    reason = lakehouse.refused(name + "_other", lakehouse.lake(kind, name, catalog_name="pond"))
    assert 'under catalog_name "pond"' in reason


@pytest.mark.parametrize(
    "user, keys, expected",
    [
        ("reader", {"password": WRONG}, 'refuses user "reader"'),
        ("nobody", {}, 'refuses user "nobody"'),
        ("reader", {"password": None}, "set catalog.password"),
        ("stranger", {}, "may not read iceberg_tables"),
        ("reader", {"sslmode": None}, "has no TLS"),
    ],
)
def test_who_may_not_ask_is_told_why(lakehouse, name, user, keys, expected):
    reason = lakehouse.refused(name, lakehouse.lake("postgres", "any", user, **keys))
    assert expected in reason
    assert PASSWORD not in reason and WRONG not in reason


def test_a_database_that_is_no_catalog(lakehouse, name):
    uri = f"postgresql://reader@{lakehouse.postgres.host}"
    for database, expected in [
        ("nowhere", 'has no database "nowhere"'),
        ("postgres", "has no table iceberg_tables"),
    ]:
        lake = lakehouse.lake("postgres", "any", uri=f"{uri}/{database}")
        assert expected in lakehouse.refused(f"{name}_{database}", lake)


def test_what_the_operator_has_not_allowed_is_refused(lakehouse, client, name):
    """By a server that may go to the same storage, but neither to the database nor to the folder."""
    schema = helpers.external_schema(*lakehouse.lake("postgres", "any"), FIELDS)
    error = helpers.error_of(client.create_collection, name, schema=schema)
    assert f"--allow-endpoint {lakehouse.postgres.host}" in error.message
    outside = f"sqlite:///{lakehouse.folder.parent.parent}/catalog.db"
    schema = helpers.external_schema(*lakehouse.lake("sqlite", "any", uri=outside), FIELDS)
    error = helpers.error_of(client.create_collection, name, schema=schema)
    assert "--local-root" in error.message
