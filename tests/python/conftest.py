"""Fixtures that most tests share: one server, one S3 server, one client, and fresh names.

Tests that restart the server, or start it with other options, make their own from `helpers`.
"""

import itertools
import os

import pytest

import helpers
import products
import tables

# PyArrow else signs uploads in a way that few S3 servers beside AWS know.
os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """An S3 server without TLS."""
    server = helpers.S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3_tls(tmp_path_factory):
    """An S3 server with TLS, whose authority no system store knows."""
    server = helpers.S3Server(tmp_path_factory.mktemp("s3-tls"), tls=True)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def local_root(tmp_path_factory):
    """The only folder below which the server may read `file://` sources."""
    return tmp_path_factory.mktemp("local-root")


@pytest.fixture(scope="session")
def server(tmp_path_factory, s3, s3_tls, local_root):
    """The server that most tests share. No secret may have reached its log by the end."""
    directory = tmp_path_factory.mktemp("server")
    server = helpers.PandionServer(
        directory, endpoints=[s3.host, s3_tls.host], local_roots=[local_root]
    )
    server.start()
    yield server
    server.stop()
    assert helpers.SECRET_KEY not in server.log(), "the log holds a secret"


@pytest.fixture(scope="session")
def client(server):
    """A client of the shared server."""
    return server.client()


@pytest.fixture(scope="session")
def shop(client, s3):
    """The name of a loaded collection over the lake of `products`. No test may change it."""
    lake = helpers.S3Lake(s3, "shop")
    products.fill(lake)
    helpers.make(client, "shop", lake, products.FIELDS, products.METRICS)
    return "shop"


@pytest.fixture
def name(request):
    """A name that no other test uses."""
    return f"c{next(_numbers)}_{request.node.originalname.removeprefix('test_')}"


@pytest.fixture(scope="module")
def module_name(request):
    """A name that no other module uses."""
    return f"c{next(_numbers)}_{request.module.__name__.removeprefix('test_')}"


@pytest.fixture
def lake(s3, name):
    """An empty prefix in the bucket of the S3 server."""
    return helpers.S3Lake(s3, name)


@pytest.fixture
def local_lake(local_root, name):
    """An empty folder below the allowed root."""
    return helpers.LocalLake(local_root / name)


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory, s3):
    """A warehouse of Iceberg tables in the S3 server."""
    return tables.Warehouse.in_s3(tmp_path_factory.mktemp("warehouse"), s3, "warehouse")


@pytest.fixture(scope="session")
def local_warehouse(tmp_path_factory, local_root):
    """A warehouse of Iceberg tables below the allowed root."""
    directory = tmp_path_factory.mktemp("local-warehouse")
    return tables.Warehouse.in_folder(directory, local_root / "warehouse")
