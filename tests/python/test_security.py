"""Where the server may go, and what it may tell."""

import http.client
import json
import os

import pytest
from pymilvus import MilvusException

import helpers
from helpers import ACCESS_KEY, CALL_TIMEOUT_S, SECRET_KEY


@pytest.fixture
def listener():
    listener = helpers.Listener()
    yield listener
    listener.close()


# Refused as a wrong request, or as one that is not permitted.
REFUSED = (1100, 1401)


class Elsewhere:
    """A source at any endpoint."""

    def __init__(self, lake, source):
        self.source = source
        self.spec = lake.spec


def endpoints(listener):
    """Ways to name an address that no operator has allowed, all of them on this machine."""
    port = listener.host.rsplit(":", 1)[1]
    return [
        f"127.0.0.1:{port}",
        f"localhost:{port}",
        f"[::1]:{port}",
        f"[::ffff:127.0.0.1]:{port}",
        f"127.1:{port}",
        f"2130706433:{port}",
        f"0.0.0.0:{port}",
    ]


def test_an_endpoint_that_is_not_allowed_is_refused_at_create(client, name, lake, listener):
    for scheme in ("s3", "minio"):
        for host in endpoints(listener):
            elsewhere = Elsewhere(lake, f"{scheme}://{host}/lake/x/")
            with pytest.raises(MilvusException) as caught:
                helpers.create(client, name, elsewhere, indexes={})
            assert caught.value.code in REFUSED, caught.value.message
            assert SECRET_KEY not in caught.value.message
    assert not client.has_collection(name)
    assert listener.connections == 0


def test_an_endpoint_that_is_not_allowed_is_refused_at_refresh(client, name, lake, listener):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    helpers.make(client, name, lake)
    for host in endpoints(listener):
        error = helpers.error_of(
            client.refresh_external_collection,
            name,
            external_source=f"s3://{host}/lake/x/",
            external_spec=lake.spec,
        )
        assert error.code in REFUSED, error.message
    assert listener.connections == 0
    assert client.describe_collection(name)["external_source"] == lake.source


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "10.0.0.1:9000", "192.168.0.1"])
def test_private_networks_are_refused(client, name, lake, host):
    with pytest.raises(MilvusException) as caught:
        helpers.create(client, name, Elsewhere(lake, f"s3://{host}/lake/x/"), indexes={})
    assert caught.value.code in REFUSED


def test_other_endpoints_in_the_specification_are_refused(client, name, lake, listener):
    lake_spec = json.loads(lake.spec)
    lake_spec["extfs"]["iam_endpoint"] = f"http://{listener.host}"
    elsewhere = Elsewhere(lake, lake.source)
    elsewhere.spec = json.dumps(lake_spec)
    try:
        helpers.create(client, name, elsewhere, indexes={})
        helpers.failed_refresh(client, name)
    except MilvusException as error:
        assert error.code in REFUSED
    assert listener.connections == 0


def assert_not_readable(client, name, source):
    """A source is refused, at create or at the latest by the refresh."""

    class Lake:
        spec = json.dumps({"format": "parquet"})

    Lake.source = source
    try:
        helpers.create(client, name, Lake, indexes={})
    except MilvusException as error:
        assert error.code in REFUSED, error.message
        return
    helpers.failed_refresh(client, name)
    client.drop_collection(name)


def test_files_outside_the_allowed_folder_are_refused(client, name, local_root, tmp_path):
    outside = helpers.LocalLake(tmp_path / "outside")
    outside.put("a.parquet", helpers.rows_table(0, 10))
    inside = local_root / name
    inside.mkdir()
    (inside / "link").symlink_to(outside.folder)
    sibling = helpers.LocalLake(f"{local_root}-sibling")
    sibling.put("a.parquet", helpers.rows_table(0, 10))
    climb = os.path.relpath(outside.folder, inside)
    for source in [
        outside.source,
        sibling.source,
        f"file://{inside}/link/",
        f"file://{inside}/{climb}/",
        f"file://{inside}/%2e%2e/%2e%2e/",
        f"file://somehost{inside}/",
        "file:///etc/",
        "file:///",
        f"{inside}/",
    ]:
        assert_not_readable(client, name, source)


def test_a_link_to_a_file_outside_is_not_followed(client, name, local_lake, tmp_path):
    outside = helpers.LocalLake(tmp_path / "outside")
    outside.put("b.parquet", helpers.rows_table(10, 10))
    local_lake.put("a.parquet", helpers.rows_table(0, 10))
    (local_lake.folder / "b.parquet").symlink_to(outside.folder / "b.parquet")
    helpers.create(client, name, local_lake, indexes={"embedding": "L2"})
    job = helpers.finish(client, client.refresh_external_collection(name, timeout=CALL_TIMEOUT_S))
    if job.state == "RefreshCompleted":
        client.load_collection(name, timeout=CALL_TIMEOUT_S)
        assert helpers.ids_of(client, name) == list(range(10))
    else:
        assert "b.parquet" in job.reason


def test_local_files_are_refused_unless_allowed(tmp_path, s3):
    lake = helpers.LocalLake(tmp_path / "lake")
    lake.put("a.parquet", helpers.rows_table(0, 10))
    server = helpers.PandionServer(tmp_path)
    server.start()
    try:
        assert_not_readable(server.client(), "local", lake.source)
    finally:
        server.stop()


def test_secrets_are_told_to_nobody(client, server, name, lake, s3_tls):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    lake_tls = helpers.S3Lake(s3_tls, name)
    lake_tls.put("a.parquet", helpers.rows_table(0, 10))
    told = []

    def tell(answer):
        told.append(str(answer))

    def tell_all():
        tell(client.describe_collection(name))
        for job in client.list_refresh_external_collection_jobs(name, timeout=CALL_TIMEOUT_S):
            tell(job)
            tell(client.get_refresh_external_collection_progress(job.job_id))

    helpers.make(client, name, lake)
    tell_all()
    described = json.loads(client.describe_collection(name)["external_spec"])
    assert described["format"] == "parquet"
    assert described["extfs"]["access_key_id"] == "***"
    assert described["extfs"]["access_key_value"] == "***"
    assert described["extfs"]["region"] == helpers.REGION

    helpers.refresh(client, name, external_source=lake_tls.source, external_spec=lake_tls.spec)
    tell_all()
    described = json.loads(client.describe_collection(name)["external_spec"])
    assert described["extfs"]["ssl_ca_cert"] == "***"

    untrusted = lake_tls.spec_with(ssl_ca_cert=None)
    tell(
        helpers.failed_refresh(
            client, name, external_source=lake_tls.source, external_spec=untrusted
        )
    )
    embedded = lake.source.replace("://", f"://{ACCESS_KEY}:{SECRET_KEY}@")
    for source, spec in (
        (lake.source, lake.spec[:-1]),
        (lake.source, lake.spec.replace("access_key_value", "access_key_valeu")),
        (lake.source, lake.spec.replace('"us-east-1"', "7")),
        (embedded, lake.spec),
    ):
        override = {"external_source": source, "external_spec": spec}
        tell(helpers.error_of(client.refresh_external_collection, name, **override))
    tell_all()

    certificate_line = s3_tls.ca_pem.splitlines()[1]
    for text in [*told, server.log()]:
        assert SECRET_KEY not in text
        assert ACCESS_KEY not in text
        assert certificate_line not in text
    assert told


def test_secrets_are_kept_in_the_catalogue_only(client, server, name, lake):
    lake.put("a.parquet", helpers.rows_table(0, 10))
    helpers.make(client, name, lake)
    helpers.refresh(client, name)
    holders = [
        file.relative_to(server.data_dir)
        for file in server.data_dir.rglob("*")
        if file.is_file() and SECRET_KEY.encode() in file.read_bytes()
    ]
    own = {("meta", "catalog"), ("meta", "checkpoint")}
    assert all(file.parts[:2] in own for file in holders), holders
    for file in server.data_dir.rglob("*"):
        if file.is_file() and SECRET_KEY.encode() in file.read_bytes():
            assert file.stat().st_mode & 0o077 == 0, f"{file} is readable by others"


def test_no_business_on_the_admin_port(server):
    for method, path in [
        ("POST", "/v2/vectordb/collections/list"),
        ("POST", "/api/v1/collections"),
        ("GET", "/expr"),
        ("GET", "/management/stop"),
    ]:
        # A connection each: a server that refuses a request need not read its body, and may close.
        connection = http.client.HTTPConnection(f"127.0.0.1:{server.admin_port}", timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (401, 403, 404, 405), (method, path, answer.status)
        finally:
            connection.close()
