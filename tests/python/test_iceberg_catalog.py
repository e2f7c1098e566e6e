"""Tables of a REST catalog: PyIceberg writes through it, a collection follows it, tokens and handed
out credentials end in the middle of their use and are renewed, and no secret is ever shown."""

import datetime
import json
import re
import urllib.parse
import urllib.request

import pytest
from pyiceberg.catalog.rest import RestCatalog as Client
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import load_file_io

import helpers
import tables
from helpers import CALL_TIMEOUT_S
from rest_catalog import RestCatalog
from tables import FIELDS

CREDENTIAL = "pandion:canary-of-the-client-55d1"
TOKEN = "canary-of-the-bearer-90ab"
LOAD = "GET namespaces/*/tables/*"
EXPIRED = {"op": "get", "status": 400, "code": "ExpiredToken", "count": 1}


class Lakehouse:
    """An S3 server, catalogs over it, and a server that may go to all of them."""

    def __init__(self, directory, s3):
        self.s3, self.directory = s3, directory
        behind = SqlCatalog(
            "behind",
            uri=f"sqlite:///{directory}/catalog.db",
            warehouse=f"s3://{s3.bucket}/behind",
            **tables.s3_properties(s3),
        )
        behind.create_namespace("ns")
        self.open = RestCatalog(behind)
        self.bearer = RestCatalog(behind, token=TOKEN, prefix="warehouse-one")
        self.oauth = RestCatalog(behind, credential=CREDENTIAL)
        self.vending = RestCatalog(behind, credential=CREDENTIAL, vend=self.keys)
        self.catalogs = [self.open, self.bearer, self.oauth, self.vending]
        hosts = [s3.host, *(catalog.host for catalog in self.catalogs)]
        self.server = helpers.PandionServer(directory, endpoints=hosts).start()
        self.client = self.server.client()

    def keys(self, location):
        """What a catalog hands out for a table."""
        return {
            "s3.access-key-id": helpers.ACCESS_KEY,
            "s3.secret-access-key": helpers.SECRET_KEY,
            "s3.region": helpers.REGION,
            # Nobody may follow this: data come from the endpoint of the source.
            "s3.endpoint": "http://127.0.0.1:1",
        }

    def writer(self, catalog, **properties):
        """PyIceberg's client of one of the catalogs."""
        properties = {**tables.s3_properties(self.s3), **properties}
        return Client("writer", uri=catalog.uri, **properties)

    def lake(self, catalog, name, **keys):
        """A table of a catalog. Keys that begin with `spec_` stand at the top, the others are
        for the catalog."""
        source = f"s3://{self.s3.host}/{self.s3.bucket}/behind/"
        settings = {"type": "rest", "uri": catalog.uri, "table": f"ns.{name}"}
        document = {"format": "iceberg-table", "extfs": tables.s3_extfs()}
        for key, value in keys.items():
            if key.startswith("spec_"):
                document[key.removeprefix("spec_")] = value
            else:
                settings[key] = value
        if settings.get("vended_credentials") == "true":
            document["extfs"] = tables.s3_extfs(access_key_id=None, access_key_value=None)
        return tables.Lake(source, json.dumps({**document, "catalog": settings}))

    def stop(self):
        self.server.stop()
        for catalog in self.catalogs:
            catalog.stop()


@pytest.fixture(scope="module")
def lakehouse(tmp_path_factory, s3):
    lakehouse = Lakehouse(tmp_path_factory.mktemp("lakehouse"), s3)
    yield lakehouse
    lakehouse.stop()
    log = lakehouse.server.log()
    for secret in (helpers.SECRET_KEY, TOKEN, CREDENTIAL.split(":")[1]):
        assert secret not in log, "the log holds a secret"
    assert "token-" not in log, "the log holds a token"


@pytest.fixture
def client(lakehouse):
    return lakehouse.client


@pytest.fixture
def table(lakehouse, name):
    """A table with one snapshot, written through the open catalog."""
    table = lakehouse.writer(lakehouse.open).create_table(("ns", name), tables.SCHEMA)
    tables.append(table, 0, 60)
    return table


def follow(client, name, lake, table):
    """Makes a collection, and checks it through two further commits."""
    helpers.make(client, name, lake, FIELDS)
    tables.check_snapshot(client, name, table)
    tables.append(table, 60, 30)
    tables.check_latest(client, name, table)
    table.delete("id >= 40 and id < 70")
    tables.check_latest(client, name, table)


def test_open_catalog(client, lakehouse, name, table):
    follow(client, name, lakehouse.lake(lakehouse.open, name), table)


def test_bearer_token_and_prefix(client, lakehouse, name, table):
    lake = lakehouse.lake(lakehouse.bearer, name, token=TOKEN)
    writer = lakehouse.writer(lakehouse.bearer, token=TOKEN)
    follow(client, name, lake, writer.load_table(("ns", name)))
    assert lakehouse.bearer.requests[LOAD] > 0


def test_client_credentials(client, lakehouse, name, table):
    lake = lakehouse.lake(lakehouse.oauth, name, credential=CREDENTIAL)
    # PyIceberg warns when nobody says where tokens are got.
    server = {"oauth2-server-uri": f"{lakehouse.oauth.uri}/v1/oauth/tokens"}
    writer = lakehouse.writer(lakehouse.oauth, credential=CREDENTIAL, **server)
    follow(client, name, lake, writer.load_table(("ns", name)))


def test_handed_out_credentials(client, lakehouse, name, table):
    """The specification has no key of the store at all."""
    lake = lakehouse.lake(lakehouse.vending, name, credential=CREDENTIAL, vended_credentials="true")
    assert helpers.ACCESS_KEY not in lake.spec
    follow(client, name, lake, table)


def test_tokens_end_in_the_middle_of_their_use(client, lakehouse, name, table):
    catalog = lakehouse.oauth
    lake = lakehouse.lake(catalog, name, credential=CREDENTIAL)
    helpers.make(client, name, lake, FIELDS)
    for first in (60, 80):
        tables.append(table, first, 20)
        catalog.end_tokens()
        before = catalog.requests["POST oauth/tokens"]
        tables.check_latest(client, name, table)
        assert catalog.requests["POST oauth/tokens"] == before + 1


def test_credentials_end_in_the_middle_of_their_use(client, lakehouse, name, table, s3):
    """The store says that they have ended: others are asked for, and nobody notices."""
    catalog = lakehouse.vending
    lake = lakehouse.lake(catalog, name, credential=CREDENTIAL, vended_credentials="true")
    helpers.make(client, name, lake, FIELDS)

    def handed_out():
        return catalog.requests[LOAD] + catalog.requests[f"{LOAD}/credentials"]

    before, expected = handed_out(), tables.scanned(table)
    with s3.faults(EXPIRED), s3.counted() as cost:
        tables.check_search(client, name, expected)
    assert cost["faults"] == 1
    assert handed_out() > before, "nobody asked for other credentials"
    tables.append(table, 60, 30)
    with s3.faults(EXPIRED), s3.counted() as cost:
        helpers.refresh(client, name)
    assert cost["faults"] == 1
    tables.check_snapshot(client, name, table)


def test_nothing_changed_costs_the_catalog_alone(client, lakehouse, name, table, s3):
    lake = lakehouse.lake(lakehouse.open, name)
    helpers.make(client, name, lake, FIELDS)
    before = sum(lakehouse.open.requests.values())
    with s3.counted() as cost:
        helpers.refresh(client, name)
    # The catalog itself looks for the metadata and reads them.
    assert (cost["list"], cost["get"], cost["head"]) == (0, 1, 1), cost
    assert sum(lakehouse.open.requests.values()) - before <= 2
    assert lakehouse.open.requests["POST namespaces/*/tables/*"] > 0, "the writer used the catalog"


@pytest.mark.parametrize("choice", ["snapshot_id", "branch", "tag", "timestamp"])
def test_snapshots_of_a_catalogs_table(client, lakehouse, name, table, choice):
    first = table.current_snapshot()
    table.manage_snapshots().create_tag(first.snapshot_id, "first").commit()
    table.manage_snapshots().create_branch(first.snapshot_id, "audit").commit()
    table.refresh()
    tables.append(table, 60, 30)
    values = {
        "snapshot_id": first.snapshot_id,
        "branch": "audit",
        "tag": "first",
        "timestamp": first.timestamp_ms,
    }
    lake = lakehouse.lake(lakehouse.open, name, **{f"spec_{choice}": values[choice]})
    helpers.make(client, name, lake, FIELDS)
    tables.check_snapshot(client, name, table, first.snapshot_id)


def test_time_travel(client, lakehouse, name, table):
    first = table.current_snapshot().snapshot_id
    table.overwrite(tables.arrow(table, tables.rows(200, 30)))
    lake = lakehouse.lake(lakehouse.vending, name, credential=CREDENTIAL, vended_credentials="true")
    helpers.make(client, name, lake, FIELDS)
    expected = tables.scanned(table, first)
    tables.check_search(client, f"{name}@snapshot_id={first}", expected)
    tables.check_rows(
        helpers.rows_of(client, f"{name}@snapshot_id={first}", FIELDS), expected, FIELDS
    )


def test_a_table_made_again_is_another_table(client, lakehouse, name, table):
    lake = lakehouse.lake(lakehouse.open, name)
    helpers.make(client, name, lake, FIELDS)
    before = tables.keys_of(client, name)
    writer = lakehouse.writer(lakehouse.open)
    writer.drop_table(("ns", name))
    location = f"s3://{lakehouse.s3.bucket}/behind/ns/{name}_again"
    again = writer.create_table(("ns", name), tables.SCHEMA, location=location)
    tables.append(again, 0, 20, kind="again")
    tables.check_latest(client, name, again)
    assert not set(tables.keys_of(client, name).values()) & set(before.values())


def test_nested_namespaces_and_odd_names(client, lakehouse, name):
    writer = lakehouse.writer(lakehouse.open)
    namespace = (f"{name}.a", "b c")
    lakehouse.open.behind.create_namespace(namespace)
    table = lakehouse.open.behind.create_table((*namespace, "t.1"), tables.SCHEMA)
    tables.append(table, 0, 20)
    assert writer.table_exists((*namespace, "t.1"))
    lake = lakehouse.lake(lakehouse.open, name)
    document = json.loads(lake.spec)
    document["catalog"]["table"] = [*namespace, "t.1"]
    helpers.make(client, name, lake._replace(spec=json.dumps(document)), FIELDS)
    tables.check_snapshot(client, name, table)


def test_a_restart_keeps_the_secrets(lakehouse, name, table, tmp_path):
    hosts = [lakehouse.s3.host, lakehouse.vending.host]
    server = helpers.PandionServer(tmp_path, endpoints=hosts).start()
    lake = lakehouse.lake(lakehouse.vending, name, credential=CREDENTIAL, vended_credentials="true")
    helpers.make(server.client(), name, lake, FIELDS)
    server.kill()
    client = server.start().client()
    client.load_collection(name, timeout=CALL_TIMEOUT_S)
    tables.check_snapshot(client, name, table)
    tables.append(table, 60, 20)
    tables.check_latest(client, name, table)
    server.stop()


def test_secrets_are_not_shown(client, lakehouse, name, table):
    lake = lakehouse.lake(lakehouse.vending, name, credential=CREDENTIAL, vended_credentials="true")
    helpers.make(client, name, lake, FIELDS)
    described = client.describe_collection(name)["external_spec"]
    catalog = json.loads(described)["catalog"]
    assert catalog["credential"] == "***"
    assert catalog["uri"] == lakehouse.vending.uri
    job = helpers.refresh(client, name)
    assert CREDENTIAL.split(":")[1] not in described + job.external_spec


# --- sessions that end ----------------------------------------------------------------------------

ROLE = "arn:aws:iam::123456789012:role/readers"
WEB_IDENTITY = "canary-of-the-identity-77aa"
SESSION_SECONDS = 2


def identities(folder):
    """What the S3 server knows: a role that may read below a folder, for whoever has a token."""
    read = {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::lake/{folder}/*"}
    listed = {"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::lake"}
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": "oidc"},
        "Action": "sts:AssumeRoleWithWebIdentity",
    }
    role = {
        "arn": ROLE,
        "trust": {"Version": "2012-10-17", "Statement": [trust]},
        "policy": {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", **read}, {"Effect": "Allow", **listed}],
        },
        "web_identity_tokens": [WEB_IDENTITY],
    }
    return {"roles": [role], "session_seconds": SESSION_SECONDS}


class Sessions:
    """Keys that the token service of an S3 server gives for a table, good for two seconds."""

    def __init__(self, s3):
        self.s3, self.opened = s3, []

    def keys(self, location):
        bucket, _, key = location.removeprefix("s3://").partition("/")
        own = {"Effect": "Allow", "Action": "s3:GetObject"}
        own["Resource"] = f"arn:aws:s3:::{bucket}/{key}/*"
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": ROLE,
            "RoleSessionName": "catalog",
            "WebIdentityToken": WEB_IDENTITY,
            "Policy": json.dumps({"Version": "2012-10-17", "Statement": [own]}),
        }
        body = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(f"http://{self.s3.host}/", body, timeout=10) as answer:
            found = dict(re.findall(r"<(\w+)>([^<]+)</", answer.read().decode()))
        self.opened.append(
            {
                "s3.access-key-id": found["AccessKeyId"],
                "s3.secret-access-key": found["SecretAccessKey"],
                "s3.session-token": found["SessionToken"],
            }
        )
        end = datetime.datetime.fromisoformat(found["Expiration"])
        milliseconds = int(end.timestamp() * 1000)
        return {**self.opened[-1], "s3.session-token-expires-at-ms": str(milliseconds)}

    def wait_for_the_end(self, location):
        """Waits until the store refuses the newest keys."""
        properties = {**tables.s3_properties(self.s3), **self.opened[-1]}

        def is_refused():
            # A new client each time: nothing is to be remembered.
            try:
                with load_file_io(properties).new_input(location).open() as file:
                    file.read(1)
            except OSError:
                return True

        helpers.wait_until(is_refused, 30, "the session did not end")


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A lakehouse whose S3 server knows roles and ends sessions."""
    directory = tmp_path_factory.mktemp("strict")
    s3 = helpers.S3Server(directory, identities=identities("behind"))
    lakehouse = Lakehouse(directory, s3)
    lakehouse.sessions = Sessions(s3)
    lakehouse.vending.vend = lakehouse.sessions.keys
    yield lakehouse
    lakehouse.stop()
    s3.stop()
    log = lakehouse.server.log()
    for keys in lakehouse.sessions.opened:
        assert keys["s3.secret-access-key"] not in log, "the log holds a secret"
        assert keys["s3.session-token"] not in log, "the log holds a token"


def test_sessions_end_in_the_middle_of_their_use(strict, name):
    """The keys that the catalog hands out are really good for two seconds, and for one table."""
    table = strict.writer(strict.open).create_table(("ns", name), tables.SCHEMA)
    tables.append(table, 0, 60)
    lake = strict.lake(strict.vending, name, credential=CREDENTIAL, vended_credentials="true")
    client = strict.client
    helpers.make(client, name, lake, FIELDS)
    tables.check_snapshot(client, name, table)
    for first in (60, 90):
        before = len(strict.sessions.opened)
        strict.sessions.wait_for_the_end(table.metadata_location)
        # New files, so that no cache can answer.
        tables.append(table, first, 30)
        tables.check_latest(client, name, table)
        assert len(strict.sessions.opened) > before, "nobody asked for other keys"


def test_keys_of_one_table_open_no_other(strict, name):
    """The source is the whole warehouse, and yet the keys of a table end at its folder."""
    writer = strict.writer(strict.open)
    other = writer.create_table(("ns", f"{name}_other"), tables.SCHEMA)
    tables.append(other, 0, 10)
    table = writer.create_table(("ns", name), tables.SCHEMA)
    table.add_files([next(iter(other.scan().plan_files())).file.file_path])
    lake = strict.lake(strict.vending, name, credential=CREDENTIAL, vended_credentials="true")
    reason = refused(strict.client, name, lake)
    assert f"{name}_other" in reason and "AccessDenied" in reason


# --- what goes wrong ------------------------------------------------------------------------------


def refused(client, name, lake):
    helpers.create(client, name, lake, FIELDS, indexes={})
    reason = helpers.failed_refresh(client, name)
    for secret in (helpers.SECRET_KEY, TOKEN, CREDENTIAL.split(":")[1], "token-"):
        assert secret not in reason
    return reason


def test_unknown_table_and_namespace(client, lakehouse, name):
    reason = refused(client, name, lakehouse.lake(lakehouse.open, "no_such_table"))
    assert "no_such_table" in reason
    lake = lakehouse.lake(lakehouse.open, name)
    other = lake._replace(spec=lake.spec.replace(f"ns.{name}", f"no_such_ns.{name}"))
    assert "no_such_ns" in refused(client, f"{name}_other", other)


def test_wrong_token(client, lakehouse, name, table):
    lake = lakehouse.lake(lakehouse.bearer, name, token="wrong-token-3141")
    reason = refused(client, name, lake)
    assert lakehouse.bearer.host in reason and "wrong-token-3141" not in reason


def test_wrong_credential(client, lakehouse, name, table):
    lake = lakehouse.lake(lakehouse.oauth, name, credential="pandion:wrong-2718")
    reason = refused(client, name, lake)
    assert lakehouse.oauth.host in reason and "wrong-2718" not in reason


def test_no_credentials_are_handed_out(client, lakehouse, name, table):
    lake = lakehouse.lake(lakehouse.open, name, vended_credentials="true")
    assert "credentials" in refused(client, name, lake)


def test_a_catalog_that_is_down_for_a_moment(client, lakehouse, name, table):
    helpers.make(client, name, lakehouse.lake(lakehouse.open, name), FIELDS)
    tables.append(table, 60, 20)
    lakehouse.open.failures.extend([(503, {}), (429, {"Retry-After": "0"}), (500, {})])
    tables.check_latest(client, name, table)


def test_a_catalog_that_forgets_the_token_once(client, lakehouse, name, table):
    lake = lakehouse.lake(lakehouse.oauth, name, credential=CREDENTIAL)
    helpers.make(client, name, lake, FIELDS)
    tables.append(table, 60, 20)
    before = lakehouse.oauth.requests["POST oauth/tokens"]
    lakehouse.oauth.failures.append((401, {}))
    tables.check_latest(client, name, table)
    assert lakehouse.oauth.requests["POST oauth/tokens"] == before + 2, "no other token was got"


def test_a_redirect_is_not_followed(client, lakehouse, name, table):
    """Whoever waits there sees nobody, and no token."""
    helpers.make(client, name, lakehouse.lake(lakehouse.open, name), FIELDS)
    listener = helpers.Listener()
    lakehouse.open.failures.append((307, {"Location": f"http://{listener.host}/v1/config"}))
    reason = helpers.failed_refresh(client, name)
    assert "redirect" in reason
    assert listener.connections == 0
    listener.close()
    assert helpers.count(client, name) == 60


def test_a_catalog_that_nobody_allowed(client, lakehouse, name, table, tmp_path):
    """On a server whose operator allowed the store alone."""
    server = helpers.PandionServer(tmp_path, endpoints=[lakehouse.s3.host]).start()
    before = sum(lakehouse.open.requests.values())
    lake = lakehouse.lake(lakehouse.open, name)
    schema = helpers.external_schema(lake.source, lake.spec, FIELDS)
    error = helpers.error_of(server.client().create_collection, name, schema=schema)
    assert lakehouse.open.host in error.message and "--allow-endpoint" in error.message
    assert sum(lakehouse.open.requests.values()) == before
    server.stop()


def test_a_table_outside_of_the_source(client, lakehouse, name):
    """The source names the place in which the table must lie."""
    table = lakehouse.open.behind.create_table(
        ("ns", name), tables.SCHEMA, location=f"s3://{lakehouse.s3.bucket}/elsewhere/{name}"
    )
    tables.append(table, 0, 10)
    lake = lakehouse.lake(lakehouse.open, name)
    assert "elsewhere" in refused(client, name, lake)
    root = f"minio://{lakehouse.s3.host}/{lakehouse.s3.bucket}/"
    helpers.make(client, f"{name}_root", lake._replace(source=root), FIELDS)
    tables.check_snapshot(client, f"{name}_root", table)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"type": "hive"}, ["hive", "rest"]),
        ({"type": "glue"}, ["glue", "sigv4"]),
        ({"password": "x"}, ["password"]),
        ({"token": "a", "credential": "b:c"}, ["token", "credential"]),
        ({"uri": "ftp://127.0.0.1"}, ["catalog.uri"]),
        ({"table": "alone"}, ["catalog.table"]),
    ],
)
def test_malformed_settings(client, lakehouse, name, settings, words):
    lake = lakehouse.lake(lakehouse.open, name, **settings)
    schema = helpers.external_schema(lake.source, lake.spec, FIELDS)
    error = helpers.error_of(client.create_collection, name, schema=schema)
    assert all(word in error.message for word in words), error.message
